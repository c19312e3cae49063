"""Classes by a foundation model of tables."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from asfusion._door import public
from asfusion.foundation._base import TableFoundation
from asfusion.foundation._engines import Task


class TableFoundationClassifier(ClassifierMixin, TableFoundation):  # type: ignore[misc]
    """Predict classes by a network that was trained on very many tables: TabICL or TabPFN.

    It learns nothing from your rows: it is shown them with each question, and answers in one
    pass. As the `estimator` of `EarlyFusionClassifier`, it reads embeddings beside the table [3]_.

    Parameters
    ----------
    name : {"tabicl", "tabpfn"}
        The model [1]_, [2]_, whose package you install.
    weights : str or PathLike
        Its weights in a safetensors file; nothing is downloaded, and no checkpoint unpickled.
    n_estimators : int
        Views of the table (orders of columns and classes, scales), whose answers are averaged.
    save_rows : bool
        Whether `save` may write the training rows, without which the model cannot answer.
        **They are your patients' data, in the saved model as they are.**
    device : str
        Where it computes: ``"auto"``, or a torch device such as ``"cuda:0"``.
    random_state : int or None
        Seed of the views.

    Attributes
    ----------
    classes_ : ndarray
        The classes, sorted.
    digest_ : str
        SHA-256 of the weights, by which a saved model knows them again.
    seed_ : int
        Seed of the views.
    rows_, answers_ : ndarray
        The training rows, and the positions of their classes.
    n_features_in_ : int
        Number of columns.

    Raises
    ------
    ConfigurationError
        On `fit`, if a parameter or the file of weights is unusable.
    MissingDependencyError
        On `fit`, if the package of the model is not installed.

    Notes
    -----
    Weights of the rows are not supported. Weights of TabPFN from version 2.5 on, and what is
    predicted by them, may not be used commercially; those of TabICL are under BSD-3-Clause.

    References
    ----------
    .. [1] Qu et al., "TabICL: a tabular foundation model for in-context learning on large
       data", ICML 2025. https://doi.org/10.48550/arXiv.2502.05564
    .. [2] Hollmann et al., "Accurate predictions on small data with a tabular foundation
       model", Nature 2025. https://doi.org/10.1038/s41586-024-08328-6
    .. [3] "MultiModalPFN", CVPR 2026. https://doi.org/10.48550/arXiv.2602.20223

    Examples
    --------
    >>> from asfusion.foundation import TableFoundationClassifier
    >>> model = TableFoundationClassifier("tabicl", weights="models/tabicl.safetensors")
    >>> model.fit([[0.0], [1.0]], [0, 1])
    Traceback (most recent call last):
    asfusion.exceptions.ConfigurationError: weights: expected a safetensors file, ...
    """

    _task: ClassVar[Task] = "Classifier"

    def _encoded(self, y: NDArray[Any]) -> NDArray[np.int64]:
        check_classification_targets(y)
        self.classes_, positions = np.unique(y, return_inverse=True)
        return positions.astype(np.int64)

    @public
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            Numbers; NaN is a missing one.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Rows sum to one; columns as in ``classes_``.

        Raises
        ------
        ConfigurationError
            If the weights are not where they were, or are others.
        """
        X = self._read(X)
        if len(self.classes_) == 1:
            return np.ones((len(X), 1))
        found = np.asarray(self._shown().predict_proba(X), dtype=np.float64)
        proba: NDArray[np.float64] = found / found.sum(axis=1, keepdims=True)
        return proba

    @public
    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            Numbers; NaN is a missing one.

        Returns
        -------
        ndarray of shape (n_rows,)
            Of ``classes_``.
        """
        chosen = self.predict_proba(X).argmax(axis=1)
        predicted: NDArray[Any] = self.classes_[chosen]
        return predicted
