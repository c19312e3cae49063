"""Numbers by a foundation model of tables."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from asfusion._door import public
from asfusion.foundation._base import TableFoundation
from asfusion.foundation._engines import Task


class TableFoundationRegressor(RegressorMixin, TableFoundation):  # type: ignore[misc]
    """Predict a number by a network that was trained on very many tables: TabICL or TabPFN.

    As `TableFoundationClassifier`, for numbers.

    Parameters
    ----------
    name : {"tabicl", "tabpfn"}
        The model, whose package you install.
    weights : str or PathLike
        Its weights in a safetensors file; nothing is downloaded, and no checkpoint unpickled.
    n_estimators : int
        Views of the table, whose answers are averaged.
    save_rows : bool
        Whether `save` may write the training rows, without which the model cannot answer.
        **They are your patients' data, in the saved model as they are.**
    device : str
        Where it computes: ``"auto"``, or a torch device such as ``"cuda:0"``.
    random_state : int or None
        Seed of the views.

    Attributes
    ----------
    digest_ : str
        SHA-256 of the weights, by which a saved model knows them again.
    seed_ : int
        Seed of the views.
    rows_, answers_ : ndarray
        The training rows, and their numbers.
    n_features_in_ : int
        Number of columns.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter or the file of weights is unusable.
    MissingDependencyError
        On `fit`, if the package of the model is not installed.

    References
    ----------
    .. [1] Qu et al., "TabICL: a tabular foundation model for in-context learning on large
       data", ICML 2025. https://doi.org/10.48550/arXiv.2502.05564
    .. [2] Hollmann et al., "Accurate predictions on small data with a tabular foundation
       model", Nature 2025. https://doi.org/10.1038/s41586-024-08328-6

    Examples
    --------
    >>> from asfusion.foundation import TableFoundationRegressor
    >>> TableFoundationRegressor("tabicl").fit([[0.0], [1.0]], [0.5, 1.5])
    Traceback (most recent call last):
    asfusion.exceptions.ConfigurationError: weights: expected the safetensors file of tabicl, ...
    """

    _task: ClassVar[Task] = "Regressor"

    @public
    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the expected number of each row.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            Numbers; NaN is a missing one.

        Returns
        -------
        ndarray of shape (n_rows,)
            In the unit of y.

        Raises
        ------
        ConfigurationError
            If the weights are not where they were, or are others.
        """
        return np.asarray(self._shown().predict(self._read(X)), dtype=np.float64).reshape(-1)
