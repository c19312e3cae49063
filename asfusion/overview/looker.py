"""A look at a table before the first fit, as a careful statistician takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_row_labels
from asfusion._door import public
from asfusion._frames import Frame
from asfusion.duplicates.finder import find_among
from asfusion.duplicates.found import Duplicates
from asfusion.encoders._given import read_encoders
from asfusion.encoders.infer import Role, column_roles, encoders_of
from asfusion.encoders.judged import find_suspects, patient_numbers
from asfusion.evaluation._small_cells import FEWEST
from asfusion.exceptions import InputError
from asfusion.overview._classes import Parts, compare_classes
from asfusion.overview._columns import ColumnFacts, describe_column
from asfusion.overview._modalities import find_subsets
from asfusion.overview._sample_size import (
    SampleSize,
    needed_for_classes,
    needed_for_numbers,
    needed_for_times,
)
from asfusion.overview._sites import find_parted
from asfusion.overview.result import Overview
from asfusion.survival._read import known_times
from asfusion.suspects.after_index import read_index
from asfusion.suspects.missingness import find_missingness
from asfusion.suspects.outcome import Outcome, read_outcomes
from asfusion.suspects.suspect import Suspect

_ALL_ROWS = "all rows"
_TO_COMPARE = ("image", "note", "series")
_MOST_LEVELS = 20  # of a category that become features


@public
def look(
    X: Any,
    y: Any = None,
    groups: Any = None,
    *,
    index_date: Any = None,
    encoders: Any = "auto",
    duplicates: bool = True,
    verbose: int = 1,
) -> Overview:
    """Look at a table before the first fit: columns, classes, sample size, possible leaks.

    Parameters
    ----------
    X : pandas or polars DataFrame, or array of shape (n_rows, n_columns)
        One patient (or visit) per row.
    y : array, Series or DataFrame of n_rows rows, optional
        What is to be predicted: classes, numbers, several columns, or a survival target with an
        event and a time. A name that it carries finds its relatives among the columns.
    groups : array of shape (n_rows,), optional
        Patient of each row.
    index_date : date, str, or sequence of n_rows dates, optional
        The day that a prediction is made for: one for all as YYYY-MM-DD, the name of a column, or
        one for each row. Later dates are told.
    encoders : "auto" or dict of str to Encoder
        What the modalities are, to count which rows have which.
    duplicates : bool
        Whether films and notes are compared, for which every film is read once.
    verbose : int
        0 is silent; 1 shows a progress bar while films are read.

    Returns
    -------
    Overview
        It prints, draws itself in a notebook, and is written by ``to_html``.

    Raises
    ------
    InputError
        If rows, targets, groups or dates do not fit together.
    ColumnError
        If a column of dates is not there, or a column cannot be read.
    ConfigurationError
        If `encoders` are neither ``"auto"`` nor encoders by name.

    Notes
    -----
    What determines the target is judged on patients that it was not learned from, on rows where
    the column is known: categories by the commonest class of each; numbers by their order, and by
    cuts. A measurement that parts two kinds of patients well is no leak: where both gather
    on their own side of a valley, nothing is said. With fewer than 20 patients, or 5 of the
    second class, nothing is judged; of cuts of a measurement, with fewer than 100.

    Nothing here proves that there is no leak: a note written after the fact, or two columns that
    determine the target only together, are not found.

    References
    ----------
    .. [1] Riley et al., "Calculating the sample size required for developing a clinical
       prediction model", BMJ 2020;368:m441. https://doi.org/10.1136/bmj.m441
    .. [2] Kaufman et al., "Leakage in data mining: formulation, detection, and avoidance", ACM
       Trans Knowl Discov Data 2012. https://doi.org/10.1145/2382577.2382579

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"crp": rng.gamma(2, 5, 80), "patient": np.arange(80)})
    >>> y = pd.Series(X["crp"] + rng.normal(0, 5, 80) > 10, name="flare")
    >>> overview = af.look(X, y)
    >>> overview.suspects[0].column, overview.suspects[0].kind
    ('patient', 'identifier')
    """
    frame = Frame.read(X)
    check_row_labels(X, y=y, groups=groups)
    if not len(frame) or not frame.columns:
        shape = f"({len(frame)}, {len(frame.columns)})"
        raise InputError(f"X: expected at least 1 row and 1 column, got shape={shape}.")
    numbers = patient_numbers(groups, len(frame))
    patients = np.arange(len(frame)) if numbers is None else numbers
    outcomes = () if y is None else read_outcomes(y, len(frame))
    index = None if index_date is None else read_index(index_date, frame)
    roles = column_roles(frame)
    suspects = find_suspects(frame, roles, outcomes, numbers, index)
    apart = {suspect.column for suspect in suspects}
    kept = [name for name in frame.columns if name not in apart and roles[name] != "empty"]
    suspects += find_missingness(_known(frame, kept), outcomes, patients) if outcomes else []
    found = _compare(frame, groups, roles, verbose) if duplicates else None
    columns = _modalities(encoders, frame, {name: roles[name] for name in kept})
    suspects += _shared(found)
    roles |= {s.column: "identifier" for s in suspects if s.kind == "identifier"}
    facts = tuple(describe_column(frame, name, roles[name], patients) for name in frame.columns)
    parts = _parts(outcomes, patients)
    taken_for = {fact.name: fact.taken_for for fact in facts if fact.name in set(kept)}
    presence = {name: frame.present(own) for name, own in columns.items()}
    return Overview(
        n_rows=len(frame),
        n_groups=len(np.unique(patients)),
        is_grouped=numbers is not None,
        target=", ".join(outcome.name for outcome in outcomes if outcome.name),
        classes=dict(zip(parts.names, parts.counts(), strict=True)),
        columns=facts,
        modalities=columns,
        subsets=find_subsets(presence, parts),
        lines=compare_classes(frame, taken_for, parts),
        sample_sizes=_sample_sizes(y, outcomes, patients, _count_features(facts, taken_for)),
        suspects=tuple(suspects),
        duplicates=found,
        advice=find_parted(frame, columns),
    )


def _known(frame: Frame, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which cells are known, a column for each name."""
    if not names:
        return np.empty((len(frame), 0), dtype=bool)
    return np.stack([frame.known(name) for name in names], axis=1)


def _compare(
    frame: Frame, groups: Any, roles: Mapping[str, Role], verbose: int
) -> Duplicates | None:
    """Return films and notes that different patients share; None where there are none."""
    compared = {name: role for name, role in roles.items() if role in _TO_COMPARE}
    return find_among(frame, groups, compared, verbose=verbose) if compared else None


def _shared(found: Duplicates | None) -> list[Suspect]:
    """Return columns whose contents stand in rows of different patients."""
    links = () if found is None else found.links
    pairs: dict[str, int] = {}
    for link in links:
        pairs[link.columns] = pairs.get(link.columns, 0) + 1
    unit = "patients" if found is not None and found.is_grouped else "rows"
    return [
        Suspect(
            name,
            "duplicates",
            f"{n if n >= FEWEST else f'fewer than {FEWEST}'} pairs of {unit} share a content",
        )
        for name, n in pairs.items()
    ]


def _modalities(
    encoders: Any, frame: Frame, kept: Mapping[str, Role]
) -> dict[str, tuple[str, ...]]:
    """Return the columns of each modality; those that are kept by their roles, for ``"auto"``."""
    if isinstance(encoders, str) and encoders == "auto":
        chosen = encoders_of(kept, frame)
    else:
        chosen = read_encoders(encoders)
    columns = {}
    for name, encoder in chosen.items():
        own = encoder._columns_among(frame.columns) or frame.columns
        frame.check_columns(own, f"Modality {name!r}")
        columns[str(name)] = tuple(own)
    return columns


def _parts(outcomes: Sequence[Outcome], patients: NDArray[np.int64]) -> Parts:
    """Return rows by the classes of the first outcome that has some; all rows otherwise."""
    outcome = next((outcome for outcome in outcomes if outcome.levels), None)
    if outcome is None:
        return Parts((_ALL_ROWS,), (np.arange(len(patients)),), patients)
    rows = [np.flatnonzero(outcome.values == k) for k in range(len(outcome.levels))]
    return Parts(outcome.levels, tuple(rows), patients)


def _count_features(facts: Sequence[ColumnFacts], taken_for: Mapping[str, str]) -> int:
    """Return how many features tables offer: of a category one less than it has levels."""
    count = 0
    for fact in facts:
        kind = taken_for.get(fact.name)
        if kind in ("number", "yes or no", "date", "genotype"):
            count += 1
        elif kind == "category":
            count += max(1, min(fact.n_distinct, _MOST_LEVELS) - 1)
    return count


def _sample_sizes(
    y: Any, outcomes: Sequence[Outcome], patients: NDArray[np.int64], n_candidates: int
) -> tuple[SampleSize, ...]:
    """Return what is there and what is needed, of outcomes that vary."""
    if (told := known_times(y)) is not None:
        return _size_of_times(*told, patients, n_candidates)
    found = []
    for outcome in outcomes:
        values = outcome.values[outcome.known]
        if len(np.unique(values)) > 1:
            people = np.unique(patients[outcome.known], return_inverse=True)[1]
            found.append(_sample_size(outcome, values, people, n_candidates))
    return tuple(found)


def _size_of_times(
    event: NDArray[np.float64],
    time: NDArray[np.float64],
    patients: NDArray[np.int64],
    n_candidates: int,
) -> tuple[SampleSize, ...]:
    """Return what is needed for a time to an event; a patient counts for the longest time."""
    known = np.isin(event, (0.0, 1.0)) & np.isfinite(time) & (time > 0)
    people = np.unique(patients[known], return_inverse=True)[1]
    longest, ever = np.zeros(people.max(initial=-1) + 1), np.zeros(people.max(initial=-1) + 1)
    np.maximum.at(longest, people, time[known])
    np.maximum.at(ever, people, event[known])
    if not ever.any():
        return ()
    follow_up, horizon = float(longest.mean()), float(np.median(longest[ever == 1.0]))
    rate, p = float(ever.sum() / longest.sum()), n_candidates
    needed = needed_for_times(rate, follow_up, horizon, p) if p else {}
    name = "the time to the event"
    return (SampleSize(name, len(ever), int(ever.sum()), p, needed, "with the event"),)


def _sample_size(
    outcome: Outcome, values: NDArray[np.float64], people: NDArray[np.int64], n_candidates: int
) -> SampleSize:
    """Return patients, not visits: of a class those who ever have it, of a quantity their mean."""
    name, n, p = outcome.label, int(people.max()) + 1, n_candidates
    if not outcome.levels:
        means = np.bincount(people, weights=values) / np.bincount(people)
        mean, spread = float(means.mean()), float(means.std(ddof=1)) if n > 1 else 0.0
        return SampleSize(name, n, None, p, needed_for_numbers(mean, spread, p) if p else {})
    ever = [len(np.unique(people[values == k])) for k in np.unique(values)]
    # One class against the rest, the worst of them; of two the rarer.
    shares = [min(max(count / n, 1.0 / n), 1.0 - 1.0 / n) for count in ever if n > 1]
    asked = [needed_for_classes(share, p) for share in shares] if p else []
    if len(ever) == 2 and asked:
        asked = [asked[int(np.argmin(ever))]]
    needed = {key: max(each[key] for each in asked) for key in (asked[0] if asked else ())}
    return SampleSize(name, n, min(ever), p, needed)
