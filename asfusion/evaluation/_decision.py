"""Net benefit of acting on predictions, over a range of thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from asfusion.evaluation._confusion import at_prevalence, net_benefit
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation.intervals import draw_counts, percentile_interval

Floats = NDArray[np.float64]


class Curve(Protocol):
    """Net benefit (R, T) of predictions and of treating all, for counts (R, G) of groups."""

    def __call__(self, counts: Floats) -> tuple[Floats, Floats]: ...


class DecisionCurve:
    """Net benefit at many thresholds, each group counted as often as asked.

    Parameters
    ----------
    judged : Judged
        Rows of a binary task.
    thresholds : ndarray of shape (T,)
        Rising.
    prevalence : float or None
        Share of positives; None for that of the rows.
    """

    def __init__(self, judged: Judged, thresholds: Floats, prevalence: float | None) -> None:
        self.thresholds, self._prevalence = thresholds, prevalence
        # A row is called at the thresholds before its bin; the bins of each group are few.
        bins = np.searchsorted(thresholds, judged.predicted, side="right")
        shape = (len(thresholds) + 1, judged.n_groups)
        self._called = [
            csr_array(((judged.y == k).astype(np.float64), (bins, judged.groups)), shape=shape)
            for k in (1, 0)
        ]

    def __call__(self, counts: Floats) -> tuple[Floats, Floats]:
        """Return net benefit (R, T) of the predictions and of treating all, for counts (R, G)."""
        turned = np.ascontiguousarray(counts.T)
        in_bins = [(matrix @ turned).T for matrix in self._called]
        # (R, T): weight of true and of false positives at each threshold.
        true, false = (np.cumsum(part[:, ::-1], axis=1)[:, ::-1][:, 1:] for part in in_bins)
        positives, negatives = (part.sum(axis=1, keepdims=True) for part in in_bins)
        cells = np.stack(np.broadcast_arrays(true, false, positives - true, negatives - false), -1)
        table = at_prevalence(cells.reshape(-1, 4), self._prevalence).reshape(cells.shape)
        total = table.sum(axis=2)
        with_all = table[..., 0] + table[..., 2], table[..., 1] + table[..., 3]
        model = net_benefit(table[..., 0], table[..., 1], total, self.thresholds)
        return model, net_benefit(*with_all, total, self.thresholds)


def percent_grid(low: float, high: float) -> Floats:
    """Return the thresholds from `low` to `high` in whole percent."""
    return np.arange(round(100 * low), round(100 * high) + 1) / 100


def decision_curve(
    judged: Judged,
    thresholds: Floats,
    prevalence: float | None,
    *,
    n_bootstrap: int,
    confidence: float,
    seed: int,
) -> dict[str, list[float]]:
    """Return a decision curve with its band, and that of treating all; of none it is zero."""
    curve = DecisionCurve(judged, thresholds, prevalence)
    options: dict[str, Any] = {"n_bootstrap": n_bootstrap, "confidence": confidence, "seed": seed}
    return with_band(curve, thresholds, judged.n_groups, width=4 * len(thresholds), **options)


def with_band(
    curve: Curve,
    thresholds: Floats,
    n_groups: int,
    *,
    width: int,
    n_bootstrap: int,
    confidence: float,
    seed: int,
) -> dict[str, list[float]]:
    """Return a curve as a report keeps it; `width` is that of `draw_counts`."""
    estimate, treat_all = curve(np.ones((1, n_groups)))
    draws = draw_counts(n_groups, n_bootstrap, seed, width=width)
    replicates = np.concatenate([curve(counts)[0] for counts in draws])
    bounds = [
        percentile_interval(float(value), column, confidence)
        for value, column in zip(estimate[0], replicates.T, strict=True)
    ]
    return {
        "threshold": thresholds.tolist(),
        "net_benefit": estimate[0].tolist(),
        "low": [bound.low for bound in bounds],
        "high": [bound.high for bound in bounds],
        "treat_all": treat_all[0].tolist(),
    }


def where_useful(curve: Mapping[str, Any]) -> str:
    """Say at which thresholds a decision curve is above treating all and treating none."""
    thresholds = 100 * np.asarray(curve["threshold"])
    best_plain = np.maximum(np.asarray(curve["treat_all"]), 0.0)
    useful = np.flatnonzero(np.asarray(curve["net_benefit"]) > best_plain + 1e-12)
    span = f"{thresholds[0]:.0f} to {thresholds[-1]:.0f} %"
    if not len(useful):
        return f"at no threshold from {span}"
    first, last = thresholds[useful[[0, -1]]]
    if last - first + 1.5 > len(useful) > last - first + 0.5:
        return f"at thresholds from {first:.0f} to {last:.0f} %, of {span}"
    return f"at {len(useful)} of the {len(thresholds)} thresholds from {span}"
