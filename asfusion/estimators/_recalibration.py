"""Maps from probabilities to better ones: what a recalibrated classifier learns.

Dimensions: N rows, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.isotonic import IsotonicRegression

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

_FLOOR = 1e-6  # forests say 0 and 1, whose logarithms are infinite
_LARGEST = np.log(100.0)  # of the temperature and of one over it


def log_probabilities(probabilities: Array) -> Array:
    """Return logarithms (N, K), those of 0 as if it were one millionth."""
    return np.asarray(np.log(np.clip(probabilities, _FLOOR, 1.0)))


def fit_temperature(probabilities: Array, y: Numbers, weight: Array) -> float:
    """Return the temperature by which log-probabilities are divided for the least log-loss."""
    logs, rows = log_probabilities(probabilities), np.arange(len(y))

    def loss(log_temperature: float) -> float:
        cooled = log_softmax(logs / np.exp(log_temperature), axis=1)
        return float(-np.average(cooled[rows, y], weights=weight))

    found = minimize_scalar(
        loss, bounds=(-_LARGEST, _LARGEST), method="bounded", options={"xatol": 1e-9}
    )
    return float(np.exp(found.x))


def apply_temperature(probabilities: Array, temperature: float) -> Array:
    """Return softened (above 1) or sharpened (below 1) probabilities (N, K)."""
    return np.asarray(softmax(log_probabilities(probabilities) / temperature, axis=1))


def fit_lines(probabilities: Array, y: Numbers, weight: Array) -> Array:
    """Return slope and shift of the log-odds (C, 2): one line for two classes, else K.

    Targets are drawn in a little, as Platt proposed: perfect separation has a finite line.
    """
    lines = []
    for k in _columns(probabilities):
        z = _log_odds(probabilities[:, k])
        positive = y == k
        n_positive, n_negative = weight[positive].sum(), weight[~positive].sum()
        target = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
        lines.append(_line(z, target, weight))
    return np.asarray(lines)


def apply_lines(probabilities: Array, lines: Array) -> Array:
    """Return probabilities (N, K) whose log-odds are moved along each line."""
    moved = [
        expit(slope * _log_odds(probabilities[:, k]) + shift)
        for k, (slope, shift) in zip(_columns(probabilities), lines, strict=True)
    ]
    return _together(np.stack(moved, axis=1))


def fit_steps(probabilities: Array, y: Numbers, weight: Array) -> list[Any]:
    """Return rising step functions of the probability: one for two classes, else K."""
    return [
        IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(
            probabilities[:, k], (y == k).astype(np.float64), sample_weight=weight
        )
        for k in _columns(probabilities)
    ]


def apply_steps(probabilities: Array, steps: list[Any]) -> Array:
    """Return probabilities (N, K) through the step functions."""
    moved = [
        step.predict(probabilities[:, k])
        for k, step in zip(_columns(probabilities), steps, strict=True)
    ]
    return _together(np.stack(moved, axis=1))


def fit_shifts(probabilities: Array, y: Numbers, weight: Array) -> Array:
    """Return what to add to log-probabilities (K,) so that the mean of each class is right."""
    logs, rows = log_probabilities(probabilities), np.arange(len(y))
    n_classes = probabilities.shape[1]
    share = np.bincount(y, weights=weight, minlength=n_classes) / weight.sum()

    def loss(free: Array) -> tuple[float, Array]:
        moved = log_softmax(logs + np.append(0.0, free), axis=1)
        mean = np.average(np.exp(moved), axis=0, weights=weight)
        return float(-np.average(moved[rows, y], weights=weight)), (mean - share)[1:]

    found = minimize(loss, np.zeros(n_classes - 1), jac=True, method="BFGS")
    return np.append(0.0, found.x)


def apply_shifts(probabilities: Array, shifts: Array) -> Array:
    """Return probabilities (N, K) after adding to their logarithms."""
    return np.asarray(softmax(log_probabilities(probabilities) + shifts, axis=1))


def _columns(probabilities: Array) -> range:
    """Return the classes that need a map of their own: of two, the second says all."""
    n_classes = probabilities.shape[1]
    return range(1, 2) if n_classes == 2 else range(n_classes)


def _together(moved: Array) -> Array:
    if moved.shape[1] == 1:
        return np.hstack([1.0 - moved, moved])
    total = moved.sum(axis=1, keepdims=True)
    n_classes = moved.shape[1]
    return np.where(total > 0, moved / np.where(total > 0, total, 1.0), 1.0 / n_classes)


def _log_odds(probability: Array) -> Array:
    clipped = np.clip(probability, _FLOOR, 1.0 - _FLOOR)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _line(z: Array, target: Array, weight: Array) -> Array:
    def loss(line: Array) -> tuple[float, Array]:
        score = line[0] * z + line[1]
        error = weight * (expit(score) - target)
        value = weight @ (np.logaddexp(0.0, score) - target * score)
        return float(value / weight.sum()), np.asarray([error @ z, error.sum()]) / weight.sum()

    return np.asarray(minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x)
