"""Any classifier, once for each label."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator

from asfusion._arrays import read_weights
from asfusion._door import learns, public
from asfusion.bundle.objects import Bundled
from asfusion.exceptions import InputError
from asfusion.targets._fit_on import fit_on

Floats = NDArray[np.float64]


class PerLabel(Bundled, BaseEstimator):  # type: ignore[misc]
    """One classifier for each label, fitted to the rows where that label is known.

    Parameters
    ----------
    estimator : classifier
        With `predict_proba`.

    Attributes
    ----------
    models_ : list of L classifiers, or None
        None for a label that is the same in all rows where it is known.
    shares_ : ndarray of shape (L,)
        Share of rows with each label.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from asfusion.targets import PerLabel
    >>> X = np.arange(6.0)[:, None]
    >>> y = np.array([[0, 1], [0, 1], [np.nan, 1], [1, 0], [1, 0], [1, np.nan]])
    >>> PerLabel(LogisticRegression()).fit(X, y).predict_proba(X).shape
    (6, 2)
    """

    _passes_rows_to = "estimator"  # where that counts folds, these are made of patients

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @learns
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to labels (N, L) of 1, 0 and NaN."""
        y = np.asarray(y, dtype=np.float64)
        if y.ndim != 2:
            msg = f"y: expected a column for each label, got {y.ndim} dimension(s)."
            raise InputError(msg)
        X, weight = _as_matrix(X), read_weights(sample_weight, len(y))
        self.shares_ = np.full(y.shape[1], 0.5)
        self.models_: list[Any] = []
        given = None if sample_weight is None else weight
        for k in range(y.shape[1]):
            known = np.flatnonzero(~np.isnan(y[:, k]))
            labels = y[known, k]
            self.shares_[k] = labels.mean() if len(labels) else 0.5
            varies = len(np.unique(labels)) == 2
            whole = np.nan_to_num(y[:, k]).astype(np.int64)
            model = fit_on(known, self.estimator, X, whole, given) if varies else None
            self.models_.append(model)
        return self

    @public
    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each label (N, L)."""
        X = _as_matrix(X)
        out = np.tile(self.shares_, (X.shape[0], 1))
        for k, model in enumerate(self.models_):
            if model is not None:
                out[:, k] = model.predict_proba(X)[:, 1]
        return out


def _as_matrix(X: Any) -> Any:
    return X if issparse(X) else np.asarray(X)
