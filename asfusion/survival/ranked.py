"""Survival curves of models that only rank: boosted trees and forests.

Dimensions: N rows, T times.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from asfusion._arrays import read_weights
from asfusion._checks import check_choice, check_integer
from asfusion._door import learns, public
from asfusion._frames import group_labels
from asfusion._splits import Split, patient_folds
from asfusion.bundle.objects import Bundled
from asfusion.exceptions import InputError
from asfusion.survival._read import read_moments, read_times
from asfusion.survival.concordance import harrell_c
from asfusion.survival.cox import CoxRegression
from asfusion.survival.kaplan_meier import counts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FEWEST_TREES = 30  # that a row is left out of, on average, for them to be a forest of their own
_OBJECTIVES = ("survival:cox", "survival:aft")


class _RankedSurvival(Bundled, BaseEstimator):  # type: ignore[misc]
    """A regressor that is taught who comes first, and a baseline that turns ranks into curves.

    On its own rows a flexible model is too sure. The baseline, and by how much its log risk has to
    be stretched, is therefore learned from predictions on rows that a copy of it did not see.

    Attributes
    ----------
    model_ : regressor
        Fitted to all rows.
    curve_ : CoxRegression
        Of one feature: the log risk on rows not seen.
    """

    cv: int

    @abstractmethod
    def _regressor(self) -> Any:
        """Return an unfitted regressor."""

    @abstractmethod
    def _labels(self, y: NDArray[np.void], weight: Floats) -> Floats:
        """Return what it is fitted to."""

    @abstractmethod
    def _risk(self, model: Any, X: Floats) -> Floats:
        """Return the log risk that a fitted one predicts."""

    @learns
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit to rows with an event, or censored.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            Numbers; NaN is a missing one.
        y : DataFrame or structured array of shape (n_rows,)
            ``event`` and ``time``.
        sample_weight : array of shape (n_rows,), optional
            Weight of each row.
        groups : array of shape (n_rows,), optional
            Patient of each row; the baseline is learned on other patients.

        Returns
        -------
        self
            The fitted model.

        Raises
        ------
        InputError
            If rows, times or groups cannot be used, or fewer than two events were seen, or those
            of one patient alone.
        """
        check_integer(self.cv, "cv", minimum=2)
        X = self._read(X, reset=True)
        y = read_times(y, len(X))
        if y["event"].sum() < 2:
            raise InputError(f"y: expected at least 2 events, got {int(y['event'].sum())}.")
        weight = read_weights(sample_weight, len(y))
        self.model_, unseen = self._learned(X, y, weight, _patients(groups, len(y)))
        self.curve_ = CoxRegression(alpha=1e-3).fit(unseen[:, None], y, sample_weight=weight)
        return self

    def _learned(
        self, X: Floats, y: NDArray[np.void], weight: Floats, patients: Ints
    ) -> tuple[Any, Floats]:
        """Return the regressor of all rows, and log risks (N,) of rows that were not seen."""
        unseen = np.empty(len(y))
        for learn, judge in self._splits(y, patients):
            model = self._fitted(X[learn], y[learn], weight[learn])
            unseen[judge] = self._risk(model, X[judge])
        return self._fitted(X, y, weight), unseen

    def _fitted(self, X: Floats, y: NDArray[np.void], weight: Floats) -> Any:
        return self._regressor().fit(X, self._labels(y, weight), sample_weight=weight)

    def _splits(self, y: NDArray[np.void], patients: Ints) -> list[Split]:
        """Return folds that share events evenly and, where there are some, keep patients whole."""
        n_patients, event = int(patients.max()) + 1, y["event"].astype(np.int64)
        n_ill = len(np.unique(patients[y["event"]]))
        own = None if n_patients == len(y) else patients
        n_folds = min(self.cv, n_ill, max(2, len(y) // 2))
        found = patient_folds(own, n_folds, n_rows=len(y), strata=event, seed=0)
        if not found or not all(event[learn].any() for learn, _ in found):
            msg = (
                f"groups: expected at least 2 patients, got {n_patients}, with events of several, "
                f"some of them outside of each fold, got those of {n_ill}. Use more patients."
            )
            raise InputError(msg)
        return found

    def _read(self, X: Any, *, reset: bool) -> Floats:
        checked = validate_data(
            self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=reset
        )
        return np.asarray(checked)

    @public
    def predict(self, X: Any) -> Floats:
        """Return the log risk of each row: higher means sooner.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            Numbers; NaN is a missing one.

        Returns
        -------
        ndarray of shape (n_rows,)
            Stretched to what was seen on held-out rows.
        """
        check_is_fitted(self)
        return self.curve_.predict(self._risk(self.model_, self._read(X, reset=False))[:, None])

    @public
    def predict_survival_function(self, X: Any, times: Any) -> Floats:
        """Return the probability that each row has had no event by each time.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            Numbers; NaN is a missing one.
        times : array of shape (n_times,)
            In the unit of y.

        Returns
        -------
        ndarray of shape (n_rows, n_times)
            Between 0 and 1, falling along each row.

        Raises
        ------
        InputError
            If `times` are no numbers.
        """
        check_is_fitted(self)
        times = read_moments(times)
        risk = self._risk(self.model_, self._read(X, reset=False))
        return self.curve_.predict_survival_function(risk[:, None], times)

    @public
    def score(self, X: Any, y: Any) -> float:
        """Return Harrell's C."""
        y = read_times(y, len(X))
        return harrell_c(y["event"], y["time"], self.predict(X))


class BoostedSurvival(_RankedSurvival):
    """XGBoost's gradient boosted trees on the Cox or the accelerated failure time likelihood.

    Parameters
    ----------
    objective : {"survival:cox", "survival:aft"}
        What is boosted.
    n_estimators, learning_rate, max_depth, subsample, colsample_bytree, min_child_weight
        As in XGBoost.
    cv : int
        Folds by which the baseline is learned.
    random_state : int, RandomState, Generator or None
        Seeds sampling; None is 0, as it is in XGBoost.

    References
    ----------
    .. [1] Chen, Guestrin, "XGBoost: a scalable tree boosting system", KDD 2016.
       https://doi.org/10.1145/2939672.2939785
    .. [2] Barnwal et al., "Survival regression with accelerated failure time model in
       XGBoost", J Comput Graph Stat 2022. https://doi.org/10.1080/10618600.2022.2067548

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from asfusion.survival import BoostedSurvival
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> y = pd.DataFrame({"event": True, "time": rng.exponential(np.exp(-X[:, 0]))})
    >>> BoostedSurvival(50, random_state=0).fit(X, y).predict_survival_function(X, [1.0]).shape
    (200, 1)
    """

    def __init__(
        self,
        n_estimators: int = 200,
        *,
        objective: str = "survival:cox",
        learning_rate: float = 0.05,
        max_depth: int = 3,
        subsample: float = 0.8,
        colsample_bytree: float = 0.5,
        min_child_weight: float = 1.0,
        cv: int = 3,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.objective = objective
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.min_child_weight = min_child_weight
        self.cv = cv
        self.random_state = random_state

    def _regressor(self) -> Any:
        from xgboost import XGBRegressor

        return XGBRegressor(**self._settings(), n_estimators=self.n_estimators)

    def _settings(self) -> dict[str, Any]:
        return {
            "objective": check_choice(self.objective, "objective", _OBJECTIVES),
            "learning_rate": self.learning_rate,
            "max_depth": self.max_depth,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "min_child_weight": self.min_child_weight,
            "random_state": self.random_state,
        }

    def _labels(self, y: NDArray[np.void], weight: Floats) -> Floats:
        """Return times, those of censored rows below zero: so XGBoost knows them."""
        return np.where(y["event"], y["time"], -y["time"])

    def _fitted(self, X: Floats, y: NDArray[np.void], weight: Floats) -> Any:
        if self.objective != _OBJECTIVES[1]:
            return super()._fitted(X, y, weight)
        import xgboost

        # The estimator's fit has no room for the two bounds of a censored time.
        upper = np.where(y["event"], y["time"], np.inf)
        rows = xgboost.DMatrix(
            X, weight=weight, label_lower_bound=y["time"], label_upper_bound=upper
        )
        model = self._regressor()
        # A number, whatever kind of generator was given.
        seed = model.get_params()["random_state"]
        settings = {**self._settings(), "random_state": 0 if seed is None else seed}
        booster = xgboost.train(settings, rows, self.n_estimators)
        model.load_model(booster.save_raw("ubj"))
        return model.set_params(**self._settings(), n_estimators=self.n_estimators)

    def _risk(self, model: Any, X: Floats) -> Floats:
        margin = np.asarray(model.predict(X, output_margin=True), dtype=np.float64)
        return -margin if self.objective == _OBJECTIVES[1] else margin


class ForestSurvival(_RankedSurvival):
    """A random forest on the martingale residuals of the Kaplan-Meier curve.

    The residual of a row, its events less the hazard that it lived through, is large where the
    event came early. A forest of those ranks rows much as one grown on log-rank splits does, and
    is scikit-learn's own [1]_. Its baseline is learned from what the trees that did not draw a row
    say of it, and by folds where patients have several rows or the trees are few.

    Parameters
    ----------
    n_estimators, min_samples_leaf, max_features
        As in scikit-learn.
    cv : int
        Folds by which the baseline is learned, where it needs some.
    random_state : int or None
        Seeds the forest.

    References
    ----------
    .. [1] Therneau, Grambsch, Fleming, "Martingale-based residuals for survival models",
       Biometrika 1990. https://doi.org/10.1093/biomet/77.1.147

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from asfusion.survival import ForestSurvival
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> y = pd.DataFrame({"event": True, "time": rng.exponential(np.exp(-X[:, 0]))})
    >>> ForestSurvival(50, random_state=0).fit(X, y).predict_survival_function(X, [1.0]).shape
    (200, 1)
    """

    def __init__(
        self,
        n_estimators: int = 200,
        *,
        min_samples_leaf: int = 10,
        max_features: Any = "sqrt",
        cv: int = 3,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.cv = cv
        self.random_state = random_state

    def _regressor(self) -> Any:
        from sklearn.ensemble import RandomForestRegressor

        settings = {name: value for name, value in self.get_params().items() if name != "cv"}
        return RandomForestRegressor(**settings)

    def _learned(
        self, X: Floats, y: NDArray[np.void], weight: Floats, patients: Ints
    ) -> tuple[Any, Floats]:
        check_integer(self.n_estimators, "n_estimators", minimum=1)
        is_left_out = (1.0 - weight / weight.sum()) ** len(y)
        few = self.n_estimators * float(is_left_out.min()) < _FEWEST_TREES
        if few or int(patients.max()) + 1 < len(y):
            return super()._learned(X, y, weight, patients)
        model = self._fitted(X, y, weight)
        return model, _out_of_bag(model, X)

    def _labels(self, y: NDArray[np.void], weight: Floats) -> Floats:
        times, at_risk, deaths = counts(y["event"], y["time"], weight)
        lived = np.append(0.0, np.cumsum(deaths / at_risk))
        return np.asarray(y["event"] - lived[np.searchsorted(times, y["time"], side="right")])

    def _risk(self, model: Any, X: Floats) -> Floats:
        return np.asarray(model.predict(X), dtype=np.float64)


def _patients(groups: Any, n_rows: int) -> Ints:
    """Return the number of the patient of each row; each its own where none are given."""
    labels = np.arange(n_rows) if groups is None else group_labels(groups, n_rows).astype(str)
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)


def _out_of_bag(forest: Any, X: Floats) -> Floats:
    """Return the mean (N,) over the trees that did not draw a row."""
    total, n_trees = np.zeros(len(X)), np.zeros(len(X))
    features = X.astype(np.float32)  # as trees read them
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        out = np.flatnonzero(np.bincount(drawn, minlength=len(X)) == 0)
        total[out] += tree.predict(features[out], check_input=False)
        n_trees[out] += 1
    return total / n_trees
