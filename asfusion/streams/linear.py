"""Linear models that are fitted in passes over features on disk, as scikit-learn fits them.

The logistic regression takes the steps of scikit-learn's (L-BFGS from zero, the same tolerance),
its loss and gradient summed over blocks; the ridge regression solves the same equations, from
sums of squares. So both are those of the same rows in memory, but for rounding.

Dimensions: N rows, F features, K classes or targets.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

Floats = NDArray[np.float64]


class Blocks(Protocol):
    """Features (N, F) that are read some rows at a time, in any pass the same ones."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and of features."""

    def blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield the places of some rows and their features, good until the next."""


_LINE_SEARCH = 50  # steps, as in scikit-learn


def can_fit_linear(model: Any) -> bool:
    """Return whether `fit_linear` fits the model."""
    kind, module = type(model).__name__, type(model).__module__
    return module.startswith("sklearn.linear_model") and kind in ("LogisticRegression", "Ridge")


def fit_linear(model: Any, features: Blocks, y: NDArray[Any], weight: Floats) -> Any:
    """Fit a logistic (`y` counts classes from 0) or a ridge regression, and return it."""
    if (weight == weight[0]).all():  # as where rows are in memory, which then have none
        weight = np.ones(len(weight))
    fit = _fit_ridge if type(model).__name__ == "Ridge" else _fit_logistic
    fit(model, features, y, weight)
    model.n_features_in_ = features.shape[1]
    return model


def _fit_logistic(model: Any, features: Blocks, y: NDArray[Any], weight: Floats) -> None:
    highest = int(y.max())
    n_rows = 1 if highest == 1 else highest + 1
    total = float(weight.sum())
    penalty = 1.0 / (model.C * total)

    def loss_and_gradient(flat: Floats) -> tuple[float, Floats]:
        coef = flat.reshape((n_rows, -1), order="F")
        slopes, gradient = coef[:, :-1], np.zeros_like(coef)
        loss = 0.0
        for place, block in features.blocks():
            raw = block @ slopes.T + coef[:, -1]
            losses, errors = _pointwise(raw, y[place])
            errors *= weight[place, None] / total
            loss += float(losses @ weight[place])
            gradient[:, :-1] += errors.T @ block
            gradient[:, -1] += errors.sum(axis=0)
        gradient[:, :-1] += penalty * slopes
        value = loss / total + 0.5 * penalty * float(np.square(slopes).sum())
        return value, gradient.ravel(order="F")

    found = minimize(
        loss_and_gradient,
        np.zeros(n_rows * (features.shape[1] + 1)),
        method="L-BFGS-B",
        jac=True,
        options={
            "maxiter": model.max_iter,
            "maxls": _LINE_SEARCH,
            "gtol": model.tol,
            "ftol": 64 * np.finfo(float).eps,
        },
    )
    coef = found.x.reshape((n_rows, -1), order="F")
    model.classes_ = np.arange(highest + 1)
    model.coef_, model.intercept_ = np.ascontiguousarray(coef[:, :-1]), coef[:, -1].copy()
    model.n_iter_ = np.asarray([min(int(found.nit), model.max_iter)], dtype=np.int32)


def _pointwise(raw: Floats, y: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the log-loss (n,) of each row, and its derivative by what is said of it (n, K)."""
    if raw.shape[1] == 1:
        said = raw[:, 0]
        return np.logaddexp(0.0, said) - y * said, (expit(said) - y)[:, None]
    errors = softmax(raw, axis=1)
    rows = np.arange(len(y))
    losses = logsumexp(raw, axis=1) - raw[rows, y]
    errors[rows, y] -= 1.0
    return losses, errors


def _fit_ridge(model: Any, features: Blocks, y: Floats, weight: Floats) -> None:
    targets = y.reshape(len(y), -1)
    total = float(weight.sum())
    center = sum(weight[place] @ block for place, block in features.blocks()) / total
    middle = weight @ targets / total
    n_features = features.shape[1]
    squares, products = np.zeros((n_features, n_features)), np.zeros((n_features, targets.shape[1]))
    for place, block in features.blocks():
        around = block - center
        weighed = around * weight[place, None]
        squares += weighed.T @ around
        products += weighed.T @ (targets[place] - middle)
    squares[np.diag_indices(n_features)] += model.alpha
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a column that is constant, and an alpha near zero
        coef = solve(squares, products, assume_a="pos").T
    intercept = middle - coef @ center
    one = y.ndim == 1
    model.coef_, model.intercept_ = (coef[0], float(intercept[0])) if one else (coef, intercept)
    model.n_iter_, model.solver_ = None, "cholesky"
