"""Scores of a subgroup and of the rest on the same bootstrap replicates, and their gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._inputs import Judged, Task
from asfusion.evaluation._ranking import divide
from asfusion.evaluation._small_cells import FEWEST
from asfusion.evaluation.intervals import (
    Interval,
    draw_counts,
    paired_difference,
    percentile_interval,
)
from asfusion.evaluation.metrics import BinaryScorer, MulticlassScorer, RegressionScorer, Scorer

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

SHOWN: dict[Task, tuple[str, ...]] = {
    "binary": (
        "auc",
        "calibration_intercept",
        "calibration_slope",
        "sensitivity",
        "specificity",
        "net_benefit",
    ),
    "multiclass": ("auc", "balanced_accuracy", "brier", "ece"),
    "regression": ("mae", "mean_error", "r2"),
}
# Net benefit follows how common the outcome is, R² how much it varies: a gap is no bias.
COMPARED: dict[Task, tuple[str, ...]] = {
    "binary": SHOWN["binary"][:-1],
    "multiclass": ("auc", "balanced_accuracy", "brier"),
    "regression": ("mae", "mean_error"),
}


@dataclass(frozen=True)
class Gap:
    """A score of a subgroup less that of all other rows.

    Parameters
    ----------
    estimate, low, high : float
        The difference and its interval, from replicates that both share.
    p_value : float
        Two-sided, of no difference: the difference over its bootstrap standard error.
    adjusted : float
        The same after Holm's correction for all distinct gaps of the audit.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    adjusted: float = np.nan

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return bool(self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Subgroup:
    """Rows of one level of one factor.

    Parameters
    ----------
    factor, level : str
        What divides the rows, and which part this is.
    n_rows, n_groups : int or None
        Number of rows, and of their patients; None where it is not shown.
    refused : str
        Why there are no scores; empty where there are.
    scores : mapping of str to Interval
        The scores of these rows.
    gaps : mapping of str to Gap
        Each score less that of all other rows; fewer than `scores`, since not every
        score can be compared between rows of another prevalence.
    """

    factor: str
    level: str
    n_rows: int | None
    n_groups: int | None
    refused: str
    scores: Mapping[str, Interval]
    gaps: Mapping[str, Gap]


def why_refused(judged: Judged, rows: Rows) -> str:
    """Return why rows are too few to be scored, or nothing."""
    if min(len(rows), len(np.unique(judged.groups[rows]))) < FEWEST:
        return f"under {FEWEST}"
    if judged.task == "binary" and np.bincount(judged.y[rows], minlength=2).min() < FEWEST:
        return f"under {FEWEST} of a class"
    return ""


class SubgroupScores:
    """Every score of any subset of the rows, on replicates of all patients."""

    def __init__(
        self,
        judged: Judged,
        threshold: float | None,
        *,
        n_bootstrap: int,
        confidence: float,
        seed: int,
    ) -> None:
        self._judged, self._confidence = judged, confidence
        self._threshold = 0.5 if threshold is None else threshold
        self._draw = n_bootstrap, seed
        self._known: dict[bytes, tuple[dict[str, float], dict[str, Floats]]] = {}

    def scores(self, rows: Rows) -> dict[str, Interval]:
        """Return the scores of some rows with intervals."""
        estimates, replicates = self._both(rows)
        return {
            name: percentile_interval(estimates[name], replicates[name], self._confidence)
            for name in SHOWN[self._judged.task]
        }

    def gaps(self, rows: Rows) -> dict[str, Gap]:
        """Return the differences between some rows and all others."""
        rest = np.setdiff1d(np.arange(len(self._judged)), rows)
        if why_refused(self._judged, rest):
            return {}
        (one, ones), (other, others) = self._both(rows), self._both(rest)
        found = {}
        for name in COMPARED[self._judged.task]:
            pair = (one[name], other[name]), (ones[name], others[name])
            interval = paired_difference(*pair, self._confidence)
            if np.isfinite(interval.low):
                drawn = ones[name] - others[name]
                spread = float(np.std(drawn[np.isfinite(drawn)]))
                found[name] = Gap(
                    interval.estimate,
                    interval.low,
                    interval.high,
                    _p_value(interval.estimate, spread),
                )
        return found

    def _both(self, rows: Rows) -> tuple[dict[str, float], dict[str, Floats]]:
        """Return estimates and replicates; a subgroup may be the rest of another."""
        key = rows.tobytes()
        if key not in self._known:
            score = _score(self._judged, rows, self._threshold)
            n_groups, (n_bootstrap, seed) = self._judged.n_groups, self._draw
            blocks = [score(c) for c in draw_counts(n_groups, n_bootstrap, seed, width=len(rows))]
            estimates = {k: float(v[0]) for k, v in score(np.ones((1, n_groups))).items()}
            replicates = {k: np.concatenate([b[k] for b in blocks]) for k in estimates}
            self._known[key] = estimates, replicates
        return self._known[key]


class _score:
    """Scores of some rows for counts of all patients (R, n_groups)."""

    def __init__(self, judged: Judged, rows: Rows, threshold: float) -> None:
        y, p, groups = judged.y[rows], judged.predicted[rows], judged.groups[rows]
        self._n_groups = int(groups.max()) + 1
        self._odds = threshold / max(1.0 - threshold, 1e-12)
        self._scorer: Scorer
        columns: list[Floats]
        if judged.task == "binary":
            self._scorer = BinaryScorer(y == 1, p, threshold=threshold, groups=groups)
            called = p >= threshold
            columns = [called & (y == 1), called & (y == 0)]
        elif judged.task == "multiclass":
            self._scorer = MulticlassScorer(y, p, names=judged.classes, groups=groups)
            columns = []
        else:
            self._scorer = RegressionScorer(y, p, groups=groups)
            columns = [(p - y).mean(axis=1)]
        table = np.stack([np.ones(len(rows)), *columns], axis=1)
        self._sums = np.zeros((self._n_groups, table.shape[1]))
        np.add.at(self._sums, groups, table)
        self._task = judged.task

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        counts = counts[:, : self._n_groups]
        scores = dict(self._scorer(counts))
        sums = counts @ self._sums
        if self._task == "binary":
            benefit = sums[:, 1] - self._odds * sums[:, 2]
            scores["net_benefit"] = divide(benefit, sums[:, 0])
        elif self._task == "regression":
            scores["mean_error"] = divide(sums[:, 1], sums[:, 0])
        return {name: scores[name] for name in SHOWN[self._task]}


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's correction for their number."""
    order = np.argsort(p_values)
    adjusted, highest = np.empty(len(order)), 0.0
    for place, index in enumerate(order):
        highest = max(highest, (len(order) - place) * p_values[index])
        adjusted[index] = min(highest, 1.0)
    return [float(p) for p in adjusted]


def _p_value(estimate: float, spread: float) -> float:
    if spread <= 0:
        return 1.0 if estimate == 0 else 0.0
    return 2.0 * (1.0 - NormalDist().cdf(abs(estimate) / spread))
