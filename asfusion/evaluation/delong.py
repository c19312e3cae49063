"""DeLong's variance of areas under ROC curves, for rows and for clusters of rows.

An area is the share of pairs of a positive and a negative row that are in the right order.
Its variance follows from how often each single row wins its pairs, and these shares come out
of three rankings: no pair is ever formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from asfusion.evaluation._inputs import check_confidence, read_complete, read_groups
from asfusion.evaluation.intervals import Interval
from asfusion.exceptions import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AreaTest:
    """Two areas under ROC curves of the same rows, compared.

    Parameters
    ----------
    first, second : float
        The two areas.
    difference : Interval
        First minus second.
    statistic : float
        The difference over its standard error; NaN where that is zero or undefined.
    p_value : float
        Two-sided, from the normal distribution; NaN where the statistic is.
    """

    first: float
    second: float
    difference: Interval
    statistic: float
    p_value: float


def delong_interval(
    y: Any, score: Any, *, groups: Any = None, confidence: float = 0.95
) -> Interval:
    """Return the area under a ROC curve with DeLong's interval.

    Parameters
    ----------
    y : array of shape (N,), bool or 0 and 1
        Whether each row is positive.
    score : array of shape (N,)
        Higher means more likely positive.
    groups : array of shape (N,), optional
        Patient of each row; each row is its own by default.
    confidence : float
        Coverage that the interval aims at.

    Returns
    -------
    Interval
        Estimate plus and minus a multiple of its standard error, cut at 0 and 1. Without
        limits where fewer than two patients have a positive or a negative row, or the
        variance is zero, as for a perfect order: zero then says that rows are few, not that
        the area is certain.

    Raises
    ------
    InputError
        If entries are missing or do not fit together, or rows are of one class only.

    Notes
    -----
    The variance is that of DeLong et al. [1]_, by midranks [2]_ in O(N log N) time. With
    `groups` it is Obuchowski's for clustered rows [3]_, which is the same if each patient has
    one row.

    References
    ----------
    .. [1] DeLong et al., "Comparing the areas under two or more correlated receiver operating
       characteristic curves: a nonparametric approach", Biometrics 1988.
       https://doi.org/10.2307/2531595
    .. [2] Sun, Xu, "Fast implementation of DeLong's algorithm for comparing the areas under
       correlated receiver operating characteristic curves", IEEE Signal Processing Letters
       2014. https://doi.org/10.1109/LSP.2014.2337313
    .. [3] Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 1997.
       https://doi.org/10.2307/2533958

    Examples
    --------
    >>> from asfusion.evaluation.delong import delong_interval
    >>> found = delong_interval([0, 1, 0, 1, 1, 0], [0.1, 0.4, 0.6, 0.8, 0.7, 0.3])
    >>> round(found.estimate, 3), round(found.low, 3), round(found.high, 3)
    (0.889, 0.581, 1.0)
    """
    positive, scores, numbers = _read(y, [score], groups)
    areas, covariance = area_covariance(positive, np.stack(scores), numbers)
    return _wald(areas[0], covariance[0, 0], check_confidence(confidence), (0.0, 1.0))


def delong_test(
    y: Any, first: Any, second: Any, *, groups: Any = None, confidence: float = 0.95
) -> AreaTest:
    """Compare the areas under two ROC curves of the same rows.

    Parameters
    ----------
    y : array of shape (N,), bool or 0 and 1
        Whether each row is positive.
    first, second : array of shape (N,)
        Scores of two models; higher means more likely positive.
    groups : array of shape (N,), optional
        Patient of each row; each row is its own by default.
    confidence : float
        Coverage that the interval of the difference aims at.

    Returns
    -------
    AreaTest
        The areas, their difference with an interval, and the test that it is zero.

    Raises
    ------
    InputError
        If entries are missing or do not fit together, or rows are of one class only.

    Notes
    -----
    The test is meant for two models that were both fixed beforehand. For nested models,
    one of which adds columns to the other, it is known to be
    misleading [1]_.

    References
    ----------
    .. [1] Demler et al., "Misuse of DeLong test to compare AUCs for nested models",
       Statistics in Medicine 2012. https://doi.org/10.1002/sim.5328

    Examples
    --------
    >>> from asfusion.evaluation.delong import delong_test
    >>> y = [0, 1, 0, 1, 1, 0]
    >>> test = delong_test(y, [0.1, 0.4, 0.6, 0.8, 0.7, 0.3], [0.2, 0.3, 0.6, 0.5, 0.7, 0.4])
    >>> round(test.difference.estimate, 3), round(test.p_value, 3)
    (0.222, 0.157)
    """
    positive, scores, numbers = _read(y, [first, second], groups)
    areas, covariance = area_covariance(positive, np.stack(scores), numbers)
    variance = covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1]
    # Of two equal orders rounding is all that is left.
    if variance <= 1e-14 * (covariance[0, 0] + covariance[1, 1]):
        variance = 0.0
    gap = float(areas[0] - areas[1])
    statistic = gap / float(np.sqrt(variance)) if variance > 0 else np.nan
    return AreaTest(
        first=float(areas[0]),
        second=float(areas[1]),
        difference=_wald(gap, variance, check_confidence(confidence), (-1.0, 1.0)),
        statistic=statistic,
        p_value=float(2.0 * ndtr(-abs(statistic))),
    )


def area_covariance(
    positive: NDArray[np.bool_], scores: Floats, groups: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return areas under ROC curves and their covariance.

    Parameters
    ----------
    positive : ndarray of shape (N,), bool
        Rows of the positive class.
    scores : ndarray of shape (M, N)
        Scores of M models.
    groups : ndarray of shape (N,), int
        Number from 0 of the patient of each row.

    Returns
    -------
    areas : ndarray of shape (M,)
        NaN where a class has no row.
    covariance : ndarray of shape (M, M)
        NaN where fewer than two patients have a row of a class.
    """
    n_models, n_groups = len(scores), int(groups.max()) + 1
    n_positive = np.bincount(groups[positive], minlength=n_groups).astype(np.float64)
    n_negative = np.bincount(groups[~positive], minlength=n_groups).astype(np.float64)
    m, n = n_positive.sum(), n_negative.sum()
    if not m or not n:
        return np.full(n_models, np.nan), np.full((n_models, n_models), np.nan)
    areas = np.empty(n_models)
    # Of each patient: wins of its positive and of its negative rows beyond what is expected.
    hits, passes = np.zeros((n_models, n_groups)), np.zeros((n_models, n_groups))
    for k, score in enumerate(scores):
        wins, losses = _placements(score[positive], score[~positive])
        areas[k] = wins.mean()
        hits[k] = np.bincount(groups[positive], wins, n_groups) - n_positive * areas[k]
        passes[k] = np.bincount(groups[~positive], losses, n_groups) - n_negative * areas[k]
    with_positive, with_negative = (int((c > 0).sum()) for c in (n_positive, n_negative))
    if min(with_positive, with_negative) < 2:
        return areas, np.full((n_models, n_models), np.nan)
    cross = hits @ passes.T
    covariance = (
        hits @ hits.T * (with_positive / (with_positive - 1) / m**2)
        + passes @ passes.T * (with_negative / (with_negative - 1) / n**2)
        + (cross + cross.T) * (n_groups / (n_groups - 1) / (m * n))
    )
    return areas, covariance


def _placements(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Return the share of pairs that each positive and each negative row wins, ties half."""
    m, n = len(positive), len(negative)
    together = rankdata(np.concatenate([positive, negative]))
    wins = (together[:m] - rankdata(positive)) / n
    losses = 1.0 - (together[m:] - rankdata(negative)) / m
    return wins, losses


def _wald(
    estimate: float, variance: float, confidence: float, limits: tuple[float, float]
) -> Interval:
    if not variance > 0:
        return Interval(float(estimate), np.nan, np.nan)
    reach = float(ndtri(0.5 + confidence / 2.0) * np.sqrt(variance))
    low, high = max(estimate - reach, limits[0]), min(estimate + reach, limits[1])
    return Interval(float(estimate), float(low), float(high))


def _read(
    y: Any, scores: list[Any], groups: Any
) -> tuple[NDArray[np.bool_], list[Floats], NDArray[np.int64]]:
    labels = np.asarray(y)
    n_rows = len(labels) if labels.ndim else 0
    labels = read_complete(y, "y", n_rows)
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all() or len(np.unique(labels)) != 2:
        msg = "y: expected one 0 or 1 (or False or True) per row, both of them present, got others."
        raise InputError(msg)
    columns = [read_complete(score, "scores", n_rows) for score in scores]
    if any(c.ndim != 1 or c.dtype.kind not in "biuf" or np.isinf(c).any() for c in columns):
        raise InputError("scores: expected one finite number per row, got other values.")
    numbers, _ = read_groups(groups, n_rows)
    return labels.astype(bool), [c.astype(np.float64) for c in columns], numbers
