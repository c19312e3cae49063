"""Any classifier of two classes, asked once for each step between ordered grades."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import _num_samples

from asfusion._arrays import read_weights
from asfusion._door import learns, public
from asfusion.bundle.objects import Bundled
from asfusion.exceptions import InputError
from asfusion.targets._fit_on import fit_on

Floats = NDArray[np.float64]

_ROUNDING = 1e-12  # sums of probabilities that should be one half may miss it by so much


class OrderedClassifier(Bundled, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Ordered grades by one classifier for each step between them.

    Each learns, of the rows that reach a grade, who is above it (a sequential model, also called
    continuation ratio [1]_), so that the probability of a grade is a product of what the steps
    say. Classifiers of "above this grade?" that are fitted to all rows [2]_ contradict each
    other, and leave grades without any probability. Each step is drawn in a little, by Laplace's
    rule of succession: as if one more row had stayed there, and one more had gone on.

    Parameters
    ----------
    estimator : classifier
        With `predict_proba`; a copy is fitted for each of the K - 1 steps.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The grades that were seen, rising.
    steps_ : list of K - 1 classifiers
        Each gives the probability to be above a grade, of rows that reach it; None where all of
        these weigh nothing.
    sizes_ : ndarray of shape (K - 1,)
        Rows that each step learned from; of weighted rows, how many equal ones tell as much.

    Notes
    -----
    Predicted is the middle grade, the median of the probabilities: no other is expected to be
    wrong by fewer grades.

    References
    ----------
    .. [1] Bürkner, Vuorre, "Ordinal regression models in psychology: a tutorial", Advances in
       Methods and Practices in Psychological Science 2019. https://doi.org/10.1177/2515245918823199
    .. [2] Frank, Hall, "A simple approach to ordinal classification", ECML 2001.
       https://doi.org/10.1007/3-540-44795-4_13

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from asfusion.targets import OrderedClassifier
    >>> X = np.arange(30.0)[:, None]
    >>> model = OrderedClassifier(LogisticRegression()).fit(X, np.repeat([0, 1, 2], 10))
    >>> model.predict([[1.0], [15.0], [29.0]])
    array([0, 1, 2])
    """

    _passes_rows_to = "estimator"  # where that counts folds, these are made of patients

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @learns
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows of at least two grades."""
        y = np.asarray(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise InputError("y: expected rows of at least 2 grades, got 1.")
        weight = read_weights(sample_weight, len(y))
        given = None if sample_weight is None else weight
        reaching = [np.flatnonzero(y >= grade) for grade in self.classes_[:-1]]
        self.sizes_ = np.asarray([equal_rows(weight[rows]) for rows in reaching])
        self.steps_ = [
            fit_on(rows, self.estimator, X, (y > grade).astype(np.int64), given) if size else None
            for grade, rows, size in zip(self.classes_[:-1], reaching, self.sizes_, strict=True)
        ]
        return self

    @public
    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each grade (N, K)."""
        told = np.full((_num_samples(X), len(self.steps_)), 0.5)
        for k, step in enumerate(self.steps_):
            if step is not None:
                told[:, k] = step.predict_proba(X)[:, 1]
        return step_by_step(told, self.sizes_)

    @public
    def predict(self, X: Any) -> NDArray[Any]:
        """Return the middle grade (N,)."""
        return np.asarray(self.classes_[middle_grade(self.predict_proba(X))])


def step_by_step(told: Floats, sizes: Floats) -> Floats:
    """Return the probability of each grade (..., K) from those (..., K - 1) to go on from one.

    A step that few rows taught is drawn towards one half, so that no grade is impossible.
    """
    going_on = (told * sizes + 1.0) / (sizes + 2.0)
    above = going_on.cumprod(axis=-1)
    edge = [(0, 0)] * (above.ndim - 1)
    whole = np.pad(above, [*edge, (1, 1)], constant_values=0.0)
    whole[..., 0] = 1.0
    return -np.diff(whole, axis=-1)


def equal_rows(weight: Floats) -> float:
    """Return how many rows of equal weight tell as much as these."""
    return float(weight.sum() ** 2 / np.square(weight).sum()) if weight.any() else 0.0


def middle_grade(probabilities: Floats) -> NDArray[np.int64]:
    """Return the place (N,) of the median grade, by probabilities (N, K) of grades in order.

    It is the lowest grade that a row is at least as likely not to be above as to be, and no other
    is expected to be wrong by fewer grades.
    """
    below = np.cumsum(probabilities[:, :-1], axis=1)
    return np.asarray((below < 0.5 - _ROUNDING).sum(axis=1), dtype=np.int64)
