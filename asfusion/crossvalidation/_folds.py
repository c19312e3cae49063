"""Which folds are sites, and what is known of each fold alone and of the canary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._random import derive_seed
from asfusion._splits import Split, site_folds
from asfusion.evaluation._inputs import Judged, read_complete, read_groups
from asfusion.evaluation._judge import fold_rules, make_scorer
from asfusion.evaluation.intervals import Interval, bootstrap_scores, percentile_interval
from asfusion.exceptions import ConfigurationError

Floats = NDArray[np.float64]

_BY_SITE = "leave-one-site-out"


@dataclass(frozen=True)
class Fold:
    """Scores of one fold alone.

    Parameters
    ----------
    repeat, number : int
        Which repeat, and which fold of it, from 0.
    site : str or None
        The site that was left out, if sites were.
    n_rows, n_groups : int
        Rows tested, and the patients that they belong to.
    scores : mapping of str to float
        Every score; NaN where it is undefined, as the AUC is on one class.
    """

    repeat: int
    number: int
    site: str | None
    n_rows: int
    n_groups: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Canary:
    """The score of the same cross-validation on permuted labels.

    Parameters
    ----------
    name : {"auc", "r2"}
        The score: area under the curve for classes, R² for a regression.
    score : Interval
        What it was.
    chance : float
        What it is where nothing leaks: 0.5, or at most 0.
    """

    name: str
    score: Interval
    chance: float

    @property
    def sings(self) -> bool:
        """Whether the interval lies above chance, as it does once in 40 times by chance alone."""
        return bool(self.score.low > self.chance)


def score_folds(
    judged: Sequence[Judged], folds: NDArray[np.int64], sites: tuple[str, ...]
) -> tuple[Fold, ...]:
    """Return the scores of every fold.

    Parameters
    ----------
    judged : sequence of Judged
        All rows with the predictions of each repeat.
    folds : ndarray of shape (N, R)
        Number of the fold of each row, -1 if none.
    sites : tuple of str
        Names of the folds, or empty.

    Returns
    -------
    tuple of Fold
        By repeat, then number.
    """
    found = []
    for repeat, rows in enumerate(judged):
        for number in range(int(folds[:, repeat].max()) + 1):
            part = rows.take(np.flatnonzero(folds[:, repeat] == number))
            scores = make_scorer(part)(np.ones((1, part.n_groups)))
            values = {name: float(value[0]) for name, value in scores.items()}
            site = sites[number] if sites else None
            found.append(Fold(repeat, number, site, len(part), part.n_groups, values))
    return tuple(found)


def split_by_site(
    cv: Any, sites: Any, n_rows: int, groups: NDArray[np.int64] | None
) -> tuple[tuple[str, ...], list[Split]] | None:
    """Return the names of the sites and the folds that leave one out, None for any other `cv`.

    Raises
    ------
    ConfigurationError
        If there are sites and another `cv`, or `cv` is another word.
    InputError
        If sites cannot be used as given, or a patient was seen at two.
    """
    by_site = isinstance(cv, str) and cv == _BY_SITE
    if isinstance(cv, str) and not by_site:
        msg = (
            "cv: expected an integer, a scikit-learn splitter, an iterable of (train, test) "
            f"or {_BY_SITE!r}, got {cv!r}."
        )
        raise ConfigurationError(msg)
    if by_site == (sites is None):
        fix = "Pass the hospital of each row." if by_site else f"Pass cv={_BY_SITE!r} with them."
        got = "None" if sites is None else "some beside another cv"
        msg = f"sites: expected sites exactly when cv={_BY_SITE!r}, got {got}. {fix}"
        raise ConfigurationError(msg)
    if not by_site:
        return None
    labels = read_complete(sites, "sites", n_rows)
    numbers, _ = read_groups(labels, n_rows)
    return tuple(str(name) for name in np.unique(labels)), site_folds(numbers, groups)


def mean_within(
    judged: Judged, parts: NDArray[np.int64], *, n_bootstrap: int, confidence: float, seed: int
) -> tuple[dict[str, Interval], dict[str, Floats]]:
    """Return the mean over parts of the rows of each score within them, and its replicates.

    Rows of different parts are never ranked against each other: models that were fitted on
    different sites have different offsets. A part in which a score is undefined has no say in it.

    Parameters
    ----------
    judged : Judged
        The rows.
    parts : ndarray of shape (N,)
        Number of the part of each row; all rows of a patient are in one.
    n_bootstrap, confidence, seed
        Of the intervals. Patients are drawn within each part; of two models with the same parts
        and seed, the same ones.

    Returns
    -------
    intervals, replicates
        As from `score_intervals`, without the expected calibration error, which is too large in
        small parts.
    """
    estimates, replicates = [], []
    horizons = fold_rules(judged).horizons  # the same in every part
    for number in np.unique(parts):
        rows = judged.take(np.flatnonzero(parts == number))
        scorer = make_scorer(rows, replace(fold_rules(rows), horizons=horizons))
        estimates.append(scorer(np.ones((1, scorer.n_groups))))
        drawn_by = derive_seed(seed, "part", int(number))
        replicates.append(
            bootstrap_scores(scorer, n_bootstrap=n_bootstrap, seed=drawn_by, width=len(rows))
        )
    found, drawn = {}, {}
    shared = [name for name in estimates[0] if all(name in scores for scores in estimates)]
    for name in [name for name in shared if name != "ece"]:
        values = np.asarray([float(scores[name][0]) for scores in estimates])
        told = np.flatnonzero(~np.isnan(values))
        drawn[name] = np.full(n_bootstrap, np.nan)
        if len(told):
            drawn[name] = np.mean([replicates[k][name] for k in told], axis=0)
        estimate = float(values[told].mean()) if len(told) else np.nan
        found[name] = percentile_interval(estimate, drawn[name], confidence)
    return found, drawn
