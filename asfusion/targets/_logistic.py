"""Logistic regression of two classes by several ridge penalties at once.

Dimensions: N rows, F features, P penalties.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]

_MOST_STEPS = 50
_MOST_HALVINGS = 20
_TOLERANCE = 1e-6  # of the gradient, per row
MOST_FEATURES = 100  # Newton's steps cost their square; beyond that, others are quicker


def logistic_path(
    features: Array, y: Array, weight: Array, penalties: Sequence[float]
) -> tuple[Array, Array]:
    """Return coefficients (P, F) and intercepts (P,), as scikit-learn's at ``C = 1 / penalty``.

    By Newton's steps, each penalty from where the one before it ended.

    Parameters
    ----------
    features : ndarray of shape (N, F)
        Finite, `MOST_FEATURES` at most.
    y : ndarray of shape (N,)
        1 or 0.
    weight : ndarray of shape (N,)
        Weight of each row.
    penalties : sequence of float
        Falling, above zero.
    """
    design = np.column_stack([features, np.ones(len(features))])
    found = np.zeros((len(penalties), design.shape[1]))
    coef = np.zeros(design.shape[1])
    for place, penalty in enumerate(penalties):
        ridge = np.append(np.full(features.shape[1], penalty), 0.0)
        coef = _newton(design, y, weight, ridge, coef)
        found[place] = coef
    return found[:, :-1], found[:, -1]


def probability_path(
    features: Array, y: Array, weight: Array, asked: Array, penalties: Sequence[float]
) -> Array:
    """Return the probability (P, N) of 1 in the rows `asked`, whose features are (N, F)."""
    coef, intercept = logistic_path(features, y, weight, penalties)
    return np.asarray(expit(coef @ asked.T + intercept[:, None]))


def _newton(design: Array, y: Array, weight: Array, ridge: Array, coef: Array) -> Array:
    score = design @ coef
    loss = _loss(score, y, weight, ridge, coef)
    for _ in range(_MOST_STEPS):
        p = expit(score)
        slope = design.T @ (weight * (p - y)) + ridge * coef
        if np.abs(slope).max() <= _TOLERANCE * weight.sum():
            break
        curvature = (design.T * (weight * np.maximum(p * (1.0 - p), 1e-10))) @ design
        curvature[np.diag_indices_from(curvature)] += ridge
        step = np.linalg.solve(curvature, slope)
        for halving in range(_MOST_HALVINGS):
            tried = coef - step / 2.0**halving
            reached = design @ tried
            now = _loss(reached, y, weight, ridge, tried)
            if now <= loss:
                break
        coef, score, loss = tried, reached, now
    return coef


def _loss(score: Array, y: Array, weight: Array, ridge: Array, coef: Array) -> float:
    return float(weight @ (np.logaddexp(0.0, score) - y * score) + 0.5 * ridge @ coef**2)
