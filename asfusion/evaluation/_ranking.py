"""Scores that only the order of predictions decides, for many weightings at once.

Predictions are sorted once. A bootstrap replicate is a vector of row counts; with those
as weights, its ROC curve is two cumulative sums, which is what makes thousands of
replicates cheap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Ranking:
    """Rows of two classes, sorted by falling score.

    Parameters
    ----------
    positive : ndarray of shape (N,), bool
        Rows of the positive class.
    score : ndarray of shape (N,)
        Higher means more likely positive; ties are one step of the curve.

    Attributes
    ----------
    order : ndarray of shape (N,)
        Row at each place, highest score first.
    thresholds : ndarray of shape (S,)
        The S distinct scores, falling.
    """

    def __init__(self, positive: NDArray[np.bool_], score: Floats) -> None:
        self.order = np.argsort(-score, kind="stable")
        ranked = score[self.order]
        self._positive = positive[self.order].astype(np.float64)
        self._ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
        self._has_ties = len(self._ends) < len(score)
        self.thresholds = ranked[self._ends]

    def cumulate(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the weight of true and of false positives at each threshold.

        Parameters
        ----------
        weights : ndarray of shape (R, N)
            One weighting per replicate, columns in the order of `order`.

        Returns
        -------
        true_positive, false_positive : ndarray of shape (R, S)
            Cumulative weights; the last column is the total of the class.
        """
        true_positive = weights * self._positive
        np.cumsum(true_positive, axis=1, out=true_positive)
        false_positive = np.cumsum(weights, axis=1)
        false_positive -= true_positive
        if self._has_ties:
            return true_positive[:, self._ends], false_positive[:, self._ends]
        return true_positive, false_positive


def area_under_curve(true_positive: Floats, false_positive: Floats) -> Floats:
    """Return the area under each ROC curve (R,); NaN where a class has no weight.

    The trapezoid rule over tie blocks equals the probability that a positive outranks a
    negative, ties counting one half.
    """
    steps = np.diff(false_positive, axis=1)
    heights = true_positive[:, 1:] + true_positive[:, :-1]
    area = np.einsum("rs,rs->r", steps, heights)
    area += false_positive[:, 0] * true_positive[:, 0]
    return divide(area, 2.0 * true_positive[:, -1] * false_positive[:, -1])


def average_precision(true_positive: Floats, false_positive: Floats) -> Floats:
    """Return the mean precision over recall steps (R,); NaN without positive weight."""
    # Before the first row with weight there is neither precision nor a step of recall.
    predicted = true_positive + false_positive
    np.maximum(predicted, np.finfo(np.float64).tiny, out=predicted)
    np.divide(true_positive, predicted, out=predicted)
    area = np.einsum("rs,rs->r", np.diff(true_positive, axis=1), predicted[:, 1:])
    area += true_positive[:, 0] * predicted[:, 0]
    return divide(area, true_positive[:, -1])


def divide(numerator: Floats | float, denominator: Floats) -> Floats:
    """Return the ratio, NaN where the denominator is zero."""
    out = np.full(np.broadcast_shapes(np.shape(numerator), denominator.shape), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator != 0)
    return out
