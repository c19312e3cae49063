"""How a scikit-learn estimator is fitted and asked as a part of a fusion."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from asfusion._random import derive_seed
from asfusion.estimators._rows import TrainingRows
from asfusion.estimators._splits import patient_folds
from asfusion.exceptions import ConfigurationError

_USUAL_FOLDS = 5  # what scikit-learn means by cv=None


def check_part(estimator: Any, name: str, *, classify: bool) -> None:
    """Raise unless `estimator` can be a part of a fusion for this task."""
    if not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
        msg = f"{name}: expected a scikit-learn estimator, got {type(estimator).__name__}."
        raise ConfigurationError(msg)
    if classify and not hasattr(estimator, "predict_proba"):
        fix = "Wrap it in sklearn.calibration.CalibratedClassifierCV."
        if is_regressor(estimator):
            fix = "That is a regressor: pass a classifier, or use a Regressor for numbers."
        msg = (
            f"{name}: expected a classifier with predict_proba, got {type(estimator).__name__}. "
            f"{fix}"
        )
        raise ConfigurationError(msg)
    if not classify and is_classifier(estimator):
        msg = f"{name}: expected a regressor, got the classifier {type(estimator).__name__}."
        raise ConfigurationError(msg)


def fit_part(
    estimator: Any,
    features: NDArray[np.float64],
    rows: TrainingRows,
    *,
    classify: bool,
    seed: int,
    name: str,
) -> BaseEstimator:
    """Return a fitted copy of `estimator`; an unset ``random_state`` gets one.

    Classes of the copy are numbers; a class without rows here is unknown to it (see
    `class_probabilities`). Where it splits the rows itself, into a number of folds, a
    patient's rows stay in one of them.
    """
    copy = clone(estimator)
    seeds = {
        key: derive_seed(seed, key)
        for key, value in sorted(copy.get_params(deep=True).items())
        if (key == "random_state" or key.endswith("__random_state")) and value is None
    }
    copy.set_params(**seeds)
    y = rows.y
    if not classify:
        y = y[:, 0] if y.shape[1] == 1 else y
        if y.ndim == 2 and not get_tags(copy).target_tags.multi_output:
            copy = MultiOutputRegressor(copy)
    options: dict[str, Any] = {}
    if rows.is_weighted:
        options[_weight_parameter(copy, name)] = rows.loss_weight
    if isinstance(copy, BaseSearchCV) and rows.groups is not None:
        options["groups"] = rows.groups
    known: NDArray[Any] | None = None
    if classify:
        # Boosting libraries want class numbers without gaps.
        known, y = np.unique(y, return_inverse=True)
    asked = _split_by_patient(copy, rows, classify=classify, seed=seed)
    copy.fit(features, y, **options)
    _ask_again(copy, asked)
    if known is not None:
        copy.known_classes_ = known
    return copy


def _split_by_patient(
    estimator: Any, rows: TrainingRows, *, classify: bool, seed: int
) -> dict[str, Any]:
    """Put folds by patient where rows are split into a number of folds; return what was there.

    Only the estimator itself, or a step of a pipeline, splits these very rows: what is inside
    of a search sees a part of them, at other positions.
    """
    groups = rows.groups
    if groups is None or len(np.unique(groups)) == len(rows):
        return {}
    asked = {
        f"{prefix}cv": step.cv
        for prefix, step in _see_the_rows(estimator)
        if "cv" in getattr(step, "get_params", dict)() and _counts_folds(step)
    }
    for key, cv in asked.items():
        n_splits = _USUAL_FOLDS if cv is None else int(cv)
        folds = patient_folds(rows.y, groups, n_splits, stratify=classify, seed=seed)
        if folds:
            estimator.set_params(**{key: folds})
    return asked


def _counts_folds(estimator: Any) -> bool:
    """Return whether `cv` is a number of folds; Ridge without one leaves out row by row."""
    if estimator.cv is None:
        return not isinstance(estimator, (RidgeCV, RidgeClassifierCV))
    return isinstance(estimator.cv, Integral)


def _ask_again(estimator: Any, asked: dict[str, Any]) -> None:
    """Put back what `_split_by_patient` found: positions of rows are not for a saved model."""
    estimator.set_params(**asked)
    if isinstance(estimator, MultiOutputRegressor):
        inner = {key.removeprefix("estimator__"): cv for key, cv in asked.items()}
        for fitted in estimator.estimators_:
            fitted.set_params(**inner)


def _see_the_rows(estimator: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is fitted to the rows as they are, with the prefix of its parameters."""
    if isinstance(estimator, Pipeline):
        for name, step in estimator.steps:
            yield from _see_the_rows(step, f"{prefix}{name}__")
    elif isinstance(estimator, MultiOutputRegressor):
        yield from _see_the_rows(estimator.estimator, f"{prefix}estimator__")
    else:
        yield prefix, estimator


def class_probabilities(
    estimator: Any, features: NDArray[np.float64], n_classes: int
) -> NDArray[np.float64]:
    """Return probabilities (N, n_classes), zero for classes that the part never saw."""
    probabilities = np.zeros((len(features), n_classes))
    probabilities[:, estimator.known_classes_] = estimator.predict_proba(features)
    return probabilities


def _weight_parameter(estimator: Any, name: str) -> str:
    if has_fit_parameter(estimator, "sample_weight"):
        return "sample_weight"
    if isinstance(estimator, Pipeline):
        step, last = estimator.steps[-1]
        if has_fit_parameter(last, "sample_weight"):
            return f"{step}__sample_weight"
    msg = (
        f"{name}: rows are weighted (sample_weight or class_weight), which "
        f"{type(estimator).__name__} does not support. Choose another estimator or no weights."
    )
    raise ConfigurationError(msg)
