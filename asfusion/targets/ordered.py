"""Any classifier of two classes, asked once for each step between ordered grades."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from asfusion._door import learns, public
from asfusion.bundle.objects import Bundled
from asfusion.exceptions import InputError

Floats = NDArray[np.float64]


class OrderedClassifier(Bundled, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Ordered grades by one classifier for each step between them, of who is above it.

    Parameters
    ----------
    estimator : classifier
        With `predict_proba`; a copy is fitted for each of the K - 1 steps.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The grades that were seen, rising.
    steps_ : list of K - 1 classifiers
        Each gives the probability to be above a grade.

    References
    ----------
    .. [1] Frank, Hall, "A simple approach to ordinal classification", ECML 2001.
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

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @learns
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to rows of at least two grades."""
        y = np.asarray(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise InputError("y: expected rows of at least 2 grades, got 1.")
        options = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.steps_ = [
            clone(self.estimator).fit(X, (y > grade).astype(np.int64), **options)
            for grade in self.classes_[:-1]
        ]
        return self

    @public
    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each grade (N, K)."""
        above = np.stack([step.predict_proba(X)[:, 1] for step in self.steps_], axis=1)
        # Steps are fitted apart: where they cross, a row is no likelier above the higher one.
        return between_steps(np.minimum.accumulate(above, axis=1))

    @public
    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable grade (N,)."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def between_steps(above: Floats) -> Floats:
    """Return the probability of each grade (N, K) from those to be above each step (N, K - 1)."""
    ones, zeros = np.ones((len(above), 1)), np.zeros((len(above), 1))
    return -np.diff(np.concatenate([ones, above, zeros], axis=1), axis=1)
