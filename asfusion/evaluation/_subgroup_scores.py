"""Scores of a subgroup and of the rest on the same bootstrap replicates, and their gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._small_cells import FEWEST
from asfusion.evaluation.intervals import (
    Interval,
    draw_counts,
    paired_difference,
    percentile_interval,
)
from asfusion.evaluation.registry import scoring_of
from asfusion.evaluation.scoring import Rules

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


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
    return scoring_of(judged).why_refused(judged.among(rows))


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
        self._scoring, self._rules = scoring_of(judged), Rules(threshold)
        self._draw = n_bootstrap, seed
        self._known: dict[bytes, tuple[dict[str, float], dict[str, Floats]]] = {}

    def scores(self, rows: Rows) -> dict[str, Interval]:
        """Return the scores of some rows with intervals."""
        estimates, replicates = self._both(rows)
        return {
            name: percentile_interval(estimates[name], replicates[name], self._confidence)
            for name in self._scoring.audited
        }

    def gaps(self, rows: Rows) -> dict[str, Gap]:
        """Return the differences between some rows and all others."""
        rest = np.setdiff1d(np.arange(len(self._judged)), rows)
        if why_refused(self._judged, rest):
            return {}
        (one, ones), (other, others) = self._both(rows), self._both(rest)
        found = {}
        for name in self._scoring.compared:
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
            scorer = self._scoring.audit_scorer(self._judged.among(rows), self._rules)
            n_groups, (n_bootstrap, seed) = self._judged.n_groups, self._draw
            draws = draw_counts(n_groups, n_bootstrap, seed, width=len(rows))
            # The last patients of all may have no row here, and so no number in the scorer.
            blocks = [scorer(counts[:, : scorer.n_groups]) for counts in draws]
            estimates = scorer(np.ones((1, scorer.n_groups)))
            self._known[key] = (
                {k: float(estimates[k][0]) for k in self._scoring.audited},
                {k: np.concatenate([b[k] for b in blocks]) for k in self._scoring.audited},
            )
        return self._known[key]


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
