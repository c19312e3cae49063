"""How a scikit-learn estimator is fitted and asked as a part of a fusion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from asfusion._random import derive_seed
from asfusion.estimators._rows import TrainingRows
from asfusion.exceptions import ConfigurationError


def check_part(estimator: Any, name: str, *, classify: bool) -> None:
    """Raise unless `estimator` can be a part of a fusion for this task."""
    if not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
        msg = f"{name}: expected a scikit-learn estimator, got {type(estimator).__name__}."
        raise ConfigurationError(msg)
    if classify and not hasattr(estimator, "predict_proba"):
        msg = (
            f"{name}: expected a classifier with predict_proba, got {type(estimator).__name__}. "
            "Wrap it in sklearn.calibration.CalibratedClassifierCV."
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
    `class_probabilities`).
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
    if classify:
        # Boosting libraries want class numbers without gaps.
        known, y = np.unique(y, return_inverse=True)
        copy.fit(features, y, **options)
        copy.known_classes_ = known
        return copy
    return copy.fit(features, y, **options)


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
