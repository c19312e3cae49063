"""Scores of a predicted clinical index, and its conformal interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._ranking import divide
from asfusion.evaluation.metrics import RegressionScorer
from asfusion.exceptions import InputError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_ROUNDING = 1e-9  # 4.1 - 3.4 is a change of 0.7, whatever binary fractions say


@dataclass(frozen=True)
class IndexInfo:
    """What is known of an index.

    Parameters
    ----------
    label : str
        How it is called in tables.
    target : str or None
        Its standard name, from which its ingredients are known.
    value_range : tuple of two floats, or None
        Lowest and highest possible value.
    change : float or None
        Minimal clinically important change, in units of the index.
    change_active : float or None
        The same for patients with active disease, where it differs.
    active_from : float or None
        Value of the index itself from which on disease is active; None if another score
        says so.
    """

    label: str
    target: str | None = None
    value_range: tuple[float, float] | None = None
    change: float | None = None
    change_active: float | None = None
    active_from: float | None = None

    def changes(self, y: Floats, active: Flags | None) -> Floats | None:
        """Return the important change for each row, None if the index has none."""
        if self.change is None:
            return None
        if active is None and self.active_from is not None:
            active = y >= self.active_from
        if active is None or self.change_active is None:
            return np.full(len(y), self.change)
        return np.where(active, self.change_active, self.change)


class IndexScorer:
    """Score a predicted index, with each patient counted as often as asked.

    Parameters
    ----------
    y, predicted : ndarray of shape (N,)
        Measured and predicted index.
    changes : ndarray of shape (N,), or None
        Important change for each row.
    groups : ndarray of shape (N,)
        Number from 0 of the patient of each row.
    """

    def __init__(
        self, y: Floats, predicted: Floats, changes: Floats | None, groups: NDArray[np.int64]
    ) -> None:
        self._errors = RegressionScorer(y[:, None], predicted[:, None], groups=groups)
        self.n_groups = self._errors.n_groups
        self._sums = None
        if changes is not None:
            within = np.abs(predicted - y) <= changes + _ROUNDING
            self._sums = self._errors.sums([within.astype(np.float64), np.ones(len(y))])

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        """Return each score (R,) for counts of patients (R, n_groups)."""
        scores = self._errors(counts)
        if self._sums is not None:
            hits, total = (counts @ self._sums).T
            scores["within_change"] = divide(hits, total)
        return scores


def patient_weights(groups: NDArray[np.int64]) -> Floats:
    """Return a weight per row: each patient one part in the number of patients plus one.

    The part left over is that of the new patient, whose error may be anything.
    """
    sizes = np.bincount(groups)
    return np.asarray(1.0 / (sizes[groups] * (len(sizes) + 1.0)))


def cv_plus(
    centres: Floats, residuals: Floats, folds: NDArray[np.int64], weights: Floats, coverage: float
) -> Floats:
    """Return CV+ intervals (M, 2).

    Parameters
    ----------
    centres : ndarray of shape (M, K)
        What the model of each fold says of the new rows.
    residuals : ndarray of shape (N,)
        Absolute error in each training row of the model that had not seen it.
    folds : ndarray of shape (N,)
        Which fold that was.
    weights : ndarray of shape (N,)
        See `patient_weights`.
    coverage : float
        Share of patients to cover.
    """
    intervals = np.empty((len(centres), 2))
    for row, centre in enumerate(centres):
        values = centre[folds]
        intervals[row, 0] = -_upper_quantile(residuals - values, weights, coverage)
        intervals[row, 1] = _upper_quantile(residuals + values, weights, coverage)
    # For spread out folds and a low coverage, the two ends may cross.
    return np.sort(intervals, axis=1)


def _upper_quantile(values: Floats, weights: Floats, share: float) -> float:
    """Return the lowest value with at least `share` of all weight up to it, or infinity."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) >= share - _ROUNDING
    return float(values[order[np.argmax(reached)]]) if reached.any() else np.inf


def check_range(y: Floats, index: IndexInfo) -> None:
    """Raise if a measured index lies outside its range."""
    if index.value_range is None:
        return
    low, high = index.value_range
    outside = int(((y < low) | (y > high)).sum())
    if outside:
        msg = (
            f"y: expected {index.label} from {low:g} to {high:g}, got {outside} row(s) outside. "
            "Convert another scale first (0 to 100 mm: divide by 10), and drop codes for "
            "missing values."
        )
        raise InputError(msg)
