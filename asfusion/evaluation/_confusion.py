"""Scores of calling rows positive from one threshold on, for many weightings at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._ranking import divide

Floats = NDArray[np.float64]


def confusion_scores(
    cells: Floats, threshold: float, prevalence: float | None
) -> dict[str, Floats]:
    """Return scores from a confusion table.

    Parameters
    ----------
    cells : ndarray of shape (R, 4)
        Weights of true and false positives, false and true negatives.
    threshold : float
        The threshold behind the table, which prices a false positive in net benefit.
    prevalence : float or None
        Share of positives for predictive values and net benefit; None for that of the rows.

    Returns
    -------
    dict of str to ndarray of shape (R,)
        NaN where undefined. Likelihood ratios are infinite where nothing is called falsely.
    """
    tp, fp, fn, tn = cells.T
    sensitivity, specificity = divide(tp, tp + fn), divide(tn, tn + fp)
    true, false, missed, spared = at_prevalence(cells, prevalence).T
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": divide(true, true + false),
        "npv": divide(spared, spared + missed),
        "lr_positive": _ratio(sensitivity, divide(fp, tn + fp)),
        "lr_negative": _ratio(divide(fn, tp + fn), specificity),
        "net_benefit": net_benefit(true, false, true + false + missed + spared, threshold),
        "balanced_accuracy": (sensitivity + specificity) / 2.0,
        "accuracy": divide(tp + tn, tp + fp + fn + tn),
    }


def at_prevalence(cells: Floats, prevalence: float | None) -> Floats:
    """Return a confusion table (R, 4) as it would be among as many positives as stated."""
    if prevalence is None:
        return cells
    positives, negatives = cells[:, 0] + cells[:, 2], cells[:, 1] + cells[:, 3]
    up, down = divide(prevalence, positives), divide(1.0 - prevalence, negatives)
    return cells * np.stack([up, down, up, down], axis=1)


def net_benefit(true: Floats, false: Floats, total: Floats, threshold: Floats | float) -> Floats:
    """Return true positives per row less false ones, at the exchange rate of the threshold."""
    # At a threshold of 1 no number of true positives is worth a false one.
    odds = divide(np.asarray(threshold, np.float64), 1.0 - np.asarray(threshold, np.float64))
    return np.asarray(divide(true - odds * false, total))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return a ratio that is infinite, not undefined, for something over nothing."""
    ratio = divide(numerator, denominator)
    ratio[(denominator == 0) & (numerator > 0)] = np.inf
    return ratio
