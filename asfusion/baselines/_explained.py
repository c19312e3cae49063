"""What the columns of an index regressor add to its predictions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._checks import check_choice
from asfusion._door import public
from asfusion._foreign import Algorithm, import_shap
from asfusion._frames import Frame
from asfusion._random import derive_seed
from asfusion.baselines._models import explain_model, pairs_of_features, reference_of
from asfusion.baselines._scores import IndexInfo
from asfusion.exceptions import ConfigurationError
from asfusion.tabular.preprocess import TablePreprocessor

Floats = NDArray[np.float64]

MEDIAN = "(median instead of mean)"


class Explained:
    """Shapley values of a fitted regressor: what it learned stands in these attributes."""

    plan_: Any
    model_: Any
    background_: Floats
    seed_: int

    @abstractmethod
    def _index(self) -> IndexInfo:
        """Return what is known of the index."""

    @abstractmethod
    def _read_X(self, X: Any, *, reset: bool) -> Frame:
        """Return checked rows."""

    @abstractmethod
    def _shown(self, column: str) -> str:
        """Return the name of a column as its user knows it."""

    def _measured_against(self, algorithm: Algorithm) -> str:
        """Return what columns that are not known are replaced by; see `reference_of`."""
        return reference_of(self.model_, algorithm)

    @public
    def shap_values(self, X: Any, background: Any = None, *, algorithm: Algorithm = "auto") -> Any:
        """Return what each column adds to the prediction, in the units of the index.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows to explain.
        background : DataFrame or array, optional
            Rows against which the linear model and models without a method of their own
            (support vectors and so on) are measured. By default one row: the mean of the
            training rows' features, so that no patient is kept in the model. Trees need
            none.
        algorithm : {"auto", "shap"}
            Who computes: ``"auto"`` takes `asfusion.trees` for trees, ``"shap"`` the
            package shap for everything.

        Returns
        -------
        shap.Explanation
            ``values`` of shape (n_rows, n_columns), one per column that was read: a
            column's value, its missing flag and its levels are added up. They sum, with
            ``base_values``, to the prediction before it is clipped to the index's range.
            ``data`` holds the cells of X. An AdaBoost model of more than 10 features gets
            one entry more, ``(median instead of mean)``, see Notes.

        Raises
        ------
        ConfigurationError
            If `algorithm` is unknown.

        Notes
        -----
        Forest, XGBoost and AdaBoost: exactly, along the trees' own paths
        (`asfusion.trees`). AdaBoost predicts a weighted median of its trees, which is
        explained as such for up to 10 features in use. With more, the weighted mean of the
        trees is explained, and the last entry is its distance from the median, row by row.
        Linear: shap.LinearExplainer, which takes features as independent. Mean: zeros.
        Anything else, and AdaBoost by ``"shap"``: shap.PermutationExplainer with the
        background above; an estimate from ten random orders of the features, the same for
        the same model.

        Values say what the model uses. They are not effects of the measurements on the
        patient, and correlated columns (CRP and ESR) share theirs in no unique way.

        References
        ----------
        .. [1] Lundberg et al., "From local explanations to global understanding with
           explainable AI for trees", Nat Mach Intell 2020.
           https://doi.org/10.1038/s42256-019-0138-9
        """
        check_is_fitted(self)
        check_choice(algorithm, "algorithm", ("auto", "shap"))
        frame = self._read_X(X, reset=False)
        plan = TablePreprocessor.from_state(self.plan_)
        reference = self.background_
        if background is not None:
            reference = plan.transform(self._read_X(background, reset=False))
        seed = derive_seed(self.seed_, "shap") % 2**31
        found = explain_model(
            self.model_, plan.transform(frame), reference, seed, algorithm=algorithm
        )
        values = found.values @ _columns_of_features(plan)
        cells = _cells(frame, [column.name for column in plan.plans])
        names = [self._shown(column.name) for column in plan.plans]
        if found.remainder is not None:
            values = np.column_stack([values, found.remainder])
            cells = np.column_stack([cells, np.full(len(frame), None, dtype=object)])
            names.append(MEDIAN)
        return import_shap().Explanation(
            values,
            base_values=found.base,
            data=cells,
            feature_names=names,
            output_names=self._index().label,
        )

    @public
    def shap_interactions(self, X: Any) -> Floats:
        """Return what pairs of columns add together, for models of trees.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows to explain.

        Returns
        -------
        ndarray of shape (n_rows, n_columns, n_columns)
            Off the diagonal half of what two columns add together beyond what each adds
            alone. Rows of a matrix sum to `shap_values`, in the units of the index.

        Raises
        ------
        ConfigurationError
            If the model is not made of trees that `asfusion.trees` reads.

        Examples
        --------
        >>> import numpy as np, pandas as pd, asfusion as af
        >>> rng = np.random.default_rng(0)
        >>> X = pd.DataFrame(rng.normal(size=(40, 2)), columns=["bmi", "crp"])
        >>> model = af.ClinicalIndexRegressor("forest", interval_folds=0, random_state=0)
        >>> pairs = model.fit(X, 4 + X["bmi"] * X["crp"]).shap_interactions(X[:3])
        >>> bool(np.allclose(pairs.sum(axis=2), model.shap_values(X[:3]).values))
        True
        """
        check_is_fitted(self)
        plan = TablePreprocessor.from_state(self.plan_)
        pairs = pairs_of_features(self.model_, plan.transform(self._read_X(X, reset=False)))
        if pairs is None:
            msg = (
                "shap_interactions: expected a forest, AdaBoost or gradient boosting of trees, "
                f"got a {type(self.model_).__name__}. Interactions are not known for it."
            )
            raise ConfigurationError(msg)
        columns = _columns_of_features(plan)
        return np.asarray(np.einsum("nfg,fc,gd->ncd", pairs, columns, columns, optimize=True))

    @public
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features that the model reads, such as ``crp_missing``.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's sake.

        Returns
        -------
        ndarray of str
            In the order in which ``model_`` reads them, with the names of `columns`.
        """
        check_is_fitted(self)
        state = [{**column, "name": self._shown(column["name"])} for column in self.plan_]
        names = TablePreprocessor.from_state(state).feature_names()
        return np.asarray(names, dtype=object)


def _columns_of_features(plan: TablePreprocessor) -> Floats:
    """Return (F, C), one where a feature is made from a column."""
    widths = [len(column.feature_names()) for column in plan.plans]
    return np.repeat(np.eye(len(widths)), widths, axis=0)


def _cells(frame: Frame, columns: Sequence[str]) -> NDArray[Any]:
    """Return the cells of X as numbers, or as objects where some column holds others."""
    numeric = {name: frame.kind(name) in ("number", "boolean") for name in columns}
    table = np.empty((len(frame), len(columns)), dtype=object)
    for number, name in enumerate(columns):
        table[:, number] = frame.numbers(name) if numeric[name] else frame.strings(name)
    return table.astype(np.float64) if all(numeric.values()) else table
