"""What absence costs: scores of the same rows with every set of modalities."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion._frames import Frame
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._judge import judge, make_scorer
from asfusion.evaluation._labels import score_info
from asfusion.evaluation._patterns import Pattern, modality_columns, read_presence
from asfusion.evaluation._small_cells import FEWEST
from asfusion.evaluation.intervals import Interval, paired_difference, score_intervals
from asfusion.evaluation.registry import scoring_of
from asfusion.exceptions import AsfusionWarning, ConfigurationError, InputError

Floats = NDArray[np.float64]
Names = tuple[str, ...]

_MOST = 6  # modalities whose sets are all asked about: 63 of them


@dataclass(frozen=True)
class Subset:
    """The rows that have all modalities, asked with some of them.

    Parameters
    ----------
    present : tuple of str
        Modalities that were left; the cells of the others were emptied, but for columns that one
        of those that were left reads, too.
    n_rows : int or None
        Number of rows, the same for every set; None where the patterns of the report do not show
        it either.
    score : Interval
        The report's first score.
    cost : Interval or None
        By how much the score is worse than with all modalities, on the same replicates: above 0
        where it is. None for the set of all.
    spoilt_by : tuple of str
        Modalities that make it clearly worse when they are added to this set.
    """

    present: Names
    n_rows: int | None
    score: Interval
    cost: Interval | None
    spoilt_by: Names = ()


def score_subsets(
    model: Any,
    X: Any,
    y: Any,
    groups: Any,
    classes: Any,
    wanted: Any,
    patterns: Sequence[Pattern],
    options: Mapping[str, Any],
) -> tuple[Subset, ...]:
    """Return the first score with each set of modalities, those with most of them first.

    `patterns` are those of the same rows: what they hide is hidden here.

    Raises
    ------
    ConfigurationError
        If the model tells of no modalities, or such sets are not there.
    InputError
        If fewer than 10 rows or patients have all modalities.
    """
    presence = read_presence(model, X) if hasattr(model, "predict") else {}
    sets = _read_sets(wanted, list(presence))
    rows = np.flatnonzero(np.all(list(presence.values()), axis=0))
    columns = modality_columns(model)
    frame = Frame.read(X)
    found: dict[Names, tuple[Interval, Floats]] = {}
    n_groups = 0
    for names in sets:
        judged = _asked(model, frame, columns, names, (y, groups, classes)).take(rows)
        n_groups = judged.n_groups if len(rows) else 0
        if min(len(rows), n_groups) < FEWEST:
            msg = (
                f"subsets: expected at least {FEWEST} rows and patients that have all of "
                f"{quoted(presence)}, got {len(rows)} rows of {n_groups} patients. Judge on more "
                "rows, or leave subsets out: `patterns` has rows as they are."
            )
            raise InputError(msg)
        primary = scoring_of(judged).primary
        intervals, drawn = score_intervals(make_scorer(judged), width=len(rows), **options)
        found[names] = intervals[primary], drawn[primary]
    shown = {pattern.present: pattern.n_rows for pattern in patterns}
    return _compared(found, shown[sets[0]], primary, float(options["confidence"]))


def _read_sets(wanted: Any, modalities: list[str]) -> list[Names]:
    """Return sets of modalities, that of all first."""
    if len(modalities) < 2:
        msg = (
            f"subsets: expected a model of at least 2 modalities, and the columns of all of them "
            f"in X, got {len(modalities)}. Leave subsets out."
        )
        raise ConfigurationError(msg)
    if wanted is True:
        if len(modalities) > _MOST:
            msg = (
                f"subsets: expected at most {_MOST} modalities with True, got {len(modalities)}. "
                f"Name the sets, such as subsets=[{modalities[:2]!r}]."
            )
            raise ConfigurationError(msg)
        sizes = range(len(modalities), 0, -1)
        return [names for size in sizes for names in combinations(modalities, size)]
    sets = [_read_set(given, modalities) for given in _listed(wanted)]
    return list(dict.fromkeys([tuple(modalities), *sets]))


def _listed(wanted: Any) -> Sequence[Any]:
    if not isinstance(wanted, Sequence) or isinstance(wanted, str):
        msg = (
            "subsets: expected True, False or a list of lists of modalities, got "
            f"{type(wanted).__name__}."
        )
        raise ConfigurationError(msg)
    return wanted


def _read_set(given: Any, modalities: list[str]) -> Names:
    names = [given] if isinstance(given, str) else list(_listed(given))
    unknown = [name for name in names if name not in modalities]
    if unknown or not names:
        got = quoted(map(str, unknown)) if unknown else "an empty one"
        msg = f"subsets: expected sets of {quoted(modalities)}, got {got}."
        raise ConfigurationError(msg)
    return tuple(name for name in modalities if name in names)


def _asked(
    model: Any, frame: Frame, columns: Mapping[str, Names], names: Names, truth: tuple[Any, ...]
) -> Judged:
    """Return all rows as the model judges them with these modalities alone."""
    kept = {column for name in names for column in columns[name]}
    nowhere = np.zeros(len(frame), dtype=bool)
    emptied = {c: nowhere for own in columns.values() for c in own if c not in kept}
    y, groups, classes = truth
    with warnings.catch_warnings():
        # Rows that lack a modality anyway may have none now; they are not scored.
        warnings.simplefilter("ignore", AsfusionWarning)
        return judge(model, frame.blank(emptied).to_native(), y, groups, classes)


def _compared(
    found: Mapping[Names, tuple[Interval, Floats]],
    n_rows: int | None,
    primary: str,
    confidence: float,
) -> tuple[Subset, ...]:
    """Return each set with what it costs, and what spoils it."""
    sign = 1.0 if score_info(primary).better == "high" else -1.0
    best = next(iter(found))
    pairs = [(one, two) for one in found for two in found if _is_one_more(one, two)]
    # One of many comparisons is above any limit by chance: each has its share of the doubt.
    sure = 1.0 - (1.0 - confidence) / max(1, len(pairs))

    def worse(names: Names, other: Names, share: float) -> Interval:
        """Return by how much the first is worse than the other."""
        (one, drawn), (two, others) = found[names], found[other]
        estimates = sign * two.estimate, sign * one.estimate
        return paired_difference(estimates, (sign * others, sign * drawn), share)

    spoilt: dict[Names, list[str]] = {names: [] for names in found}
    for one, two in pairs:
        if worse(two, one, sure).low > 0:
            spoilt[one] += [name for name in two if name not in one]
    return tuple(
        Subset(
            names,
            n_rows,
            score,
            None if names == best else worse(names, best, confidence),
            tuple(spoilt[names]),
        )
        for names, (score, _) in found.items()
    )


def _is_one_more(one: Names, two: Names) -> bool:
    return len(two) == len(one) + 1 and set(one) < set(two)
