"""What scikit-learn calls the score, of targets that were read as those of `fit` are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score

from asfusion._arrays import read_weights
from asfusion._checks import check_row_labels
from asfusion._door import public
from asfusion.exceptions import InputError
from asfusion.targets.classes import Classes
from asfusion.targets.numbers import Numbers

_TEXT = "OUST"


class ScoredClassifier(ClassifierMixin):  # type: ignore[misc]
    """A classifier that is scored by its accuracy."""

    @public
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of rows whose class is predicted.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit.
        y : array of shape (n_rows,)
            Class labels.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row.

        Returns
        -------
        float
            Accuracy, from 0 to 1. `asfusion.evaluate` says more.

        Raises
        ------
        InputError
            If rows, labels or weights cannot be used as given.
        """
        check_row_labels(X, y=y, sample_weight=sample_weight)
        predicted: NDArray[Any] = self.predict(X)
        labels = Classes().read(y, len(predicted))
        if (labels.dtype.kind in _TEXT) != (predicted.dtype.kind in _TEXT):
            msg = (
                f"y: expected labels of the type of fit, {predicted.dtype}, got {labels.dtype}. "
                "Convert them."
            )
            raise InputError(msg)
        return float(np.average(labels == predicted, weights=_weights(sample_weight, len(labels))))


class ScoredRegressor(RegressorMixin):  # type: ignore[misc]
    """A regressor that is scored by the share of variance that it explains."""

    @public
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R2, averaged over several targets.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit.
        y : array of shape (n_rows,) or (n_rows, n_targets)
            Targets.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row.

        Returns
        -------
        float
            One is perfect, zero no better than the mean of `y`. `asfusion.evaluate` says more.

        Raises
        ------
        InputError
            If rows, targets or weights cannot be used as given.
        """
        check_row_labels(X, y=y, sample_weight=sample_weight)
        predicted = np.asarray(self.predict(X))
        targets = Numbers().read(y, len(predicted))
        columns = predicted.reshape(len(predicted), -1).shape[1]
        if targets.reshape(len(targets), -1).shape[1] != columns:
            msg = f"y: expected {columns} target(s) per row, as in fit, got shape {targets.shape}."
            raise InputError(msg)
        weights = _weights(sample_weight, len(targets))
        return float(r2_score(targets.reshape(predicted.shape), predicted, sample_weight=weights))


def _weights(sample_weight: Any, n_rows: int) -> NDArray[np.float64] | None:
    return None if sample_weight is None else read_weights(sample_weight, n_rows)
