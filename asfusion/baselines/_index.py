"""What the index regressors share: reading a table, fitting, intervals, explanations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import ParameterGrid
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from asfusion._arrays import read_weights
from asfusion._checks import check_integer, check_number, check_row_labels
from asfusion._door import learns, public
from asfusion._frames import Frame
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion._splits import make_folds
from asfusion.baselines._explained import Explained
from asfusion.baselines._models import (
    make_grid,
    make_model,
)
from asfusion.baselines._runs import BoardOptions, judge_models
from asfusion.baselines._scores import IndexInfo, check_range, cv_plus, patient_weights
from asfusion.baselines.board import BaselineBoard
from asfusion.bundle._probe import Probed
from asfusion.bundle.objects import Bundled, save_bundle
from asfusion.clinical.provenance import check_circularity, standard_name
from asfusion.estimators._rows import (
    TrainingRows,
    is_table,
    read_array,
    read_groups,
    read_table,
)
from asfusion.estimators._scored import ScoredRegressor
from asfusion.estimators._sklearn import fit_part
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.tabular._synthetic import synthetic_cells
from asfusion.tabular.preprocess import TablePreprocessor, check_not_empty, tell_gaps
from asfusion.targets.numbers import Numbers, one_target

Floats = NDArray[np.float64]
Part = dict[str, Any]  # "plan" of the table, fitted "model", "chosen" parameters

_FEWEST_PER_FOLD = 2  # patients, or there are no intervals


class IndexRegressor(Explained, Probed, ScoredRegressor, Bundled, BaseEstimator):  # type: ignore[misc]
    """Common face of the regressors of clinical indices."""

    # What predictions are explained by.
    _explained_as: ClassVar[str] = "columns"

    model: Any
    columns: Any
    tune: bool
    param_grid: Any
    tune_folds: int
    interval_folds: int
    max_categories: int
    allow_circular: bool
    random_state: Any

    @abstractmethod
    def _index(self) -> IndexInfo:
        """Return what is known of the index."""

    # -- fitting -----------------------------------------------------------------------

    @learns
    def fit(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> Self:
        """Fit on rows that may lack cells.

        Parameters
        ----------
        X : pandas or polars DataFrame, or array of shape (n_rows, n_columns)
            One patient (or visit) per row: numbers, categories, booleans or dates.
        y : array of shape (n_rows,)
            The measured index.
        groups : array of shape (n_rows,), optional
            Patient of each row; a patient's rows stay together in every inner split.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row; zero is the same as leaving the row out.

        Returns
        -------
        self
            The fitted regressor.

        Raises
        ------
        InputError
            If rows, targets, groups or weights cannot be used as given, or the index lies
            outside its range.
        CircularityError
            If a column is an ingredient of the index, or shares one with it.
        ConfigurationError
            If a parameter is unusable.
        """
        self._check_parameters()
        rows = self._read_training(X, y, groups, sample_weight)
        self.seed_ = draw_seed(self.random_state)
        part = self._fit_part(rows, "all")
        self.plan_, self.model_, self.best_params_ = part["plan"], part["model"], part["chosen"]
        plan = TablePreprocessor.from_state(self.plan_)
        plan.tell_empty()
        features = plan.transform(rows.frame)
        self.background_ = np.average(features, axis=0, weights=rows.sample_weight)[None, :]
        self._fit_folds(rows)
        return self

    def _check_parameters(self) -> None:
        check_integer(self.tune_folds, "tune_folds", minimum=2)
        check_integer(self.max_categories, "max_categories", minimum=1)
        if check_integer(self.interval_folds, "interval_folds", minimum=0) == 1:
            msg = "interval_folds: expected 0 (no intervals) or at least 2, got 1."
            raise ConfigurationError(msg)
        self._names()
        make_model(self.model)

    def _read_training(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> TrainingRows:
        frame = self._read_X(X, reset=True)
        n_rows = len(frame)
        check_row_labels(X, y=y, groups=groups, sample_weight=sample_weight)
        self._check_circularity(frame, y)
        targets = one_target(Numbers().read(y, n_rows))
        if n_rows < 2:
            msg = f"X: expected at least 2 rows to fit, got n_samples={n_rows}."
            raise InputError(msg)
        check_range(targets, self._index())
        weights = read_weights(sample_weight, n_rows)
        rows = TrainingRows(
            frame=frame,
            y=targets[:, None],
            sample_weight=weights,
            loss_weight=weights,
            groups=read_groups(groups, n_rows),
            origin=np.arange(n_rows),
        )
        return rows.take(np.flatnonzero(weights)) if (weights == 0).any() else rows

    def _check_circularity(self, frame: Frame, y: Any) -> None:
        if self.allow_circular or frame.is_array:
            return
        names = self._names()
        used = list(names.values()) if names else list(frame.columns)
        columns = dict.fromkeys([*names, *used])
        target, given = self._index().target, getattr(y, "name", None)
        # The name of y may also say the visit, which decides what is an earlier value.
        if isinstance(given, str) and target in (None, standard_name(given)):
            target = given
        if target is not None:
            check_circularity(columns, target)

    def _fit_part(self, rows: TrainingRows, *keys: object) -> Part:
        """Return a table's plan and a fitted model, its parameters tuned if asked for."""
        chosen = self._choose(rows, *keys) if self.tune else {}
        plan, features = self._fit_plan(rows)
        model = self._fit_model(features, rows, chosen, *keys)
        return {"plan": plan.to_state(), "model": model, "chosen": chosen}

    def _fit_plan(self, rows: TrainingRows) -> tuple[TablePreprocessor, Floats]:
        columns = list(self._names().values() or rows.frame.columns)
        check_not_empty(rows.frame, columns)
        plan = TablePreprocessor(max_categories=self.max_categories)
        plan.fit(rows.frame, columns, rows.sample_weight)
        return plan, plan.transform(rows.frame)

    def _fit_model(
        self, features: Floats, rows: TrainingRows, chosen: dict[str, Any], *keys: object
    ) -> Any:
        model = make_model(self.model).set_params(**chosen)
        seed = derive_seed(self.seed_, "model", *keys)
        return fit_part(model, features, rows, target=Numbers(), seed=seed, name="model")

    def _choose(self, rows: TrainingRows, *keys: object) -> dict[str, Any]:
        """Return the parameters with the lowest mean absolute error in inner folds."""
        tried = list(ParameterGrid(make_grid(self.model, self.param_grid)))
        if len(tried) < 2:
            return dict(tried[0])
        seed = derive_seed(self.seed_, "tune", *keys)
        errors = np.zeros(len(tried))
        for train, test in self._folds(rows, self.tune_folds, seed):
            inner, held_out = rows.take(train), rows.take(test)
            plan, features = self._fit_plan(inner)
            unseen = plan.transform(held_out.frame)
            for number, params in enumerate(tried):
                model = self._fit_model(features, inner, params, "tune", *keys)
                missed = np.abs(self._clip(model.predict(unseen)) - held_out.y[:, 0])
                errors[number] += (held_out.sample_weight * missed).sum()
        return dict(tried[int(np.argmin(errors))])

    def _fit_folds(self, rows: TrainingRows) -> None:
        """Keep a model per fold with its errors on unseen patients, for intervals."""
        patients = np.arange(len(rows)) if rows.groups is None else rows.groups
        patients = np.unique(patients, return_inverse=True)[1]
        self.n_patients_ = int(patients.max()) + 1
        self.fold_parts_: list[Part] = []
        self.residuals_ = np.empty(0)
        self.residual_folds_ = np.empty(0, dtype=np.int64)
        self.residual_weights_ = np.empty(0)
        if not self.interval_folds or self.n_patients_ < _FEWEST_PER_FOLD * self.interval_folds:
            return
        self.residuals_ = np.zeros(len(rows))
        self.residual_folds_ = np.zeros(len(rows), dtype=np.int64)
        self.residual_weights_ = patient_weights(patients)
        seed = derive_seed(self.seed_, "intervals")
        for number, (train, test) in enumerate(self._folds(rows, self.interval_folds, seed)):
            part = self._fit_part(rows.take(train), "fold", number)
            predicted = self._ask(part, rows.take(test).frame)
            self.residuals_[test] = np.abs(predicted - rows.y[test, 0])
            self.residual_folds_[test] = number
            self.fold_parts_.append(part)

    def _folds(self, rows: TrainingRows, n_folds: int, seed: int) -> Any:
        groups = rows.groups
        if groups is not None:
            groups = np.unique(groups, return_inverse=True)[1]
        return make_folds(rows.y[:, 0], n_folds, groups=groups, seed=seed)

    # -- predicting --------------------------------------------------------------------

    @public
    def predict(self, X: Any) -> Floats:
        """Return the predicted index, never outside its range.

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit; any cell may be missing.

        Returns
        -------
        ndarray of shape (n_rows,)
            In the units of y.
        """
        check_is_fitted(self)
        frame = self._read_X(X, reset=False)
        predicted = self._ask(self._part(), frame)
        tell_gaps(self.plan_, frame)
        return predicted

    @public
    def predict_interval(self, X: Any, coverage: float = 0.9) -> Floats:
        """Return an interval that a new patient's measured index should lie in (CV+).

        Parameters
        ----------
        X : DataFrame or array of n_rows rows
            Rows with the columns of fit; any cell may be missing.
        coverage : float
            Share of new patients to cover, between 0 and 1.

        Returns
        -------
        ndarray of shape (n_rows, 2)
            Lower and upper end, in the units of y and within the index's range. Infinite
            where there is no range, and too few patients for that coverage.

        Raises
        ------
        InputError
            If the regressor was fitted without intervals, or on too few patients.
        ConfigurationError
            If `coverage` is not between 0 and 1.

        Notes
        -----
        `fit` kept one model per fold of patients, and its absolute errors on the patients
        of that fold, tuning included. The interval joins what these models say of the row
        with those errors [1]_. Whatever the model, it covers at least
        ``1 - 2 * (1 - coverage)`` of new patients, up to a term that goes to zero with more
        of them, and in practice close to `coverage`. That holds **on average over
        patients who are exchangeable with those of fit**: not for a clinic with other
        patients or another assay, and not for each subgroup or each predicted value. It
        says nothing for weighted rows.

        A patient's rows count together as one patient [2]_, and the new row is one of
        a new patient.

        References
        ----------
        .. [1] Barber, Candès, Ramdas, Tibshirani, "Predictive inference with the
           jackknife+", Ann Stat 2021. https://doi.org/10.1214/20-AOS1965
        .. [2] Lee, Barber, Willett, "Distribution-free inference with hierarchical data",
           2023. https://arxiv.org/abs/2306.06342
        """
        check_is_fitted(self)
        check_number(coverage, "coverage", minimum=0.0, maximum=1.0, exclusive=True)
        if not self.fold_parts_:
            least = _FEWEST_PER_FOLD * max(self.interval_folds, 2)
            msg = (
                f"predict_interval: expected a fit with interval_folds of at least 2 on at least "
                f"{least} patients, got interval_folds={self.interval_folds} and "
                f"{self.n_patients_} patients. Fit again."
            )
            raise InputError(msg)
        frame = self._read_X(X, reset=False)
        centres = np.column_stack([self._ask(part, frame) for part in self.fold_parts_])
        folds, weights = self.residual_folds_, self.residual_weights_
        return self._clip(cv_plus(centres, self.residuals_, folds, weights, coverage))

    def _ask(self, part: Part, frame: Frame) -> Floats:
        features = TablePreprocessor.from_state(part["plan"]).transform(frame)
        return self._clip(part["model"].predict(features))

    def _part(self) -> Part:
        return {"plan": self.plan_, "model": self.model_, "chosen": self.best_params_}

    def _clip(self, values: Any) -> Floats:
        array = np.asarray(values, dtype=np.float64)
        limits = self._index().value_range
        return array if limits is None else np.clip(array, *limits)

    # -- judging -----------------------------------------------------------------------

    @public
    def evaluate_nested(
        self,
        X: Any,
        y: Any,
        groups: Any = None,
        *,
        cv: Any = 5,
        active: Any = None,
        n_bootstrap: int = 1000,
        confidence: float = 0.95,
        random_state: RandomState = 0,
    ) -> BaselineBoard:
        """Judge the regressor by nested cross-validation, beside a linear model and the mean.

        Parameters
        ----------
        X : pandas or polars DataFrame, or array of shape (n_rows, n_columns)
            One patient (or visit) per row.
        y : array of shape (n_rows,)
            The measured index.
        groups : array of shape (n_rows,), optional
            Patient of each row. A patient's rows stay in one fold, in the outer and the
            inner loop, and intervals resample patients.
        cv : int, scikit-learn splitter, or iterable of (train, test)
            The outer folds.
        active : array of shape (n_rows,), bool, optional
            Rows of patients with active disease, for whom the important change is larger.
        n_bootstrap : int
            Number of bootstrap replicates.
        confidence : float
            Coverage that the intervals aim at.
        random_state : int, RandomState, Generator or None
            Seeds folds, models and replicates.

        Returns
        -------
        BaselineBoard
            Errors on unseen patients, with intervals, and the paired difference to the
            mean predictor and to the linear model.

        Notes
        -----
        The inner loop always tunes, whatever `tune` says, and sees the outer training rows
        only: imputation, scaling and parameters. The regressor itself is left as it is.
        """
        name = self.model if isinstance(self.model, str) else type(self.model).__name__
        options = BoardOptions(cv, active, n_bootstrap, confidence, random_state)
        return judge_models(self, {name: self.model}, X, y, groups, options)

    @public
    def save(self, path: str | Path) -> Path:
        """Save the fitted regressor as a folder that `asfusion.load` reads.

        Parameters
        ----------
        path : str or Path
            Folder to write; a saved model already there is replaced at once or not at all.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        BundleError
            If a part cannot be saved safely, or `path` holds something else.
        """
        check_is_fitted(self)
        save_bundle(self, Path(path))
        return Path(path)

    def _probe_cells(self) -> dict[str, list[Any]]:
        """Return cells made of what was learned of their columns."""
        return synthetic_cells(self.plan_)

    # -- columns -----------------------------------------------------------------------

    def _read_X(self, X: Any, *, reset: bool) -> Frame:
        if is_table(X):
            columns = list(self._names().values()) or None
            return read_table(self, X, columns=columns, reset=reset)
        frame = read_array(self, X, reset=reset)
        frame.check_columns(list(self._names().values()), type(self).__name__)
        return frame

    def _names(self) -> dict[str, str]:
        """Return the column of X behind each shown name; empty for all columns."""
        columns = self.columns
        if columns is None:
            return {}
        if isinstance(columns, str):
            columns = [columns]
        is_known = isinstance(columns, Mapping | Sequence)
        pairs = (
            dict(columns if isinstance(columns, Mapping) else zip(columns, columns, strict=True))
            if is_known
            else {}
        )
        texts = [*pairs, *pairs.values()]
        if (
            not pairs
            or not all(isinstance(text, str) for text in texts)
            or len(set(pairs.values())) < len(columns)
        ):
            msg = (
                "columns: expected None, a list of different column names, or a dict of shown name "
                "to column such as {'crp': 'CRP (mg/L)'}, got something else."
            )
            raise ConfigurationError(msg)
        return pairs

    def _shown(self, column: str) -> str:
        """Return the name under which a column of X is shown."""
        return {v: k for k, v in self._names().items()}.get(column, column)

    def __sklearn_tags__(self) -> Tags:
        """Say that cells may be missing, and that the mean predictor is poor on purpose."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.regressor_tags.poor_score = isinstance(self.model, str) and self.model == "mean"
        return tags
