"""How a scikit-learn estimator is fitted and asked as a part of a fusion."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from asfusion._random import derive_seed
from asfusion.estimators._rows import TrainingRows
from asfusion.estimators._splits import patient_folds
from asfusion.exceptions import ConfigurationError
from asfusion.targets._base import Target

_USUAL_FOLDS = 5  # what scikit-learn means by cv=None


def fit_part(
    estimator: Any,
    features: NDArray[np.float64],
    rows: TrainingRows,
    *,
    target: Target,
    seed: int,
    name: str,
) -> BaseEstimator:
    """Return a fitted copy of `estimator`; an unset ``random_state`` gets one.

    Classes of the copy are numbers; a class without rows here is unknown to it. Where it splits
    the rows itself, into a number of folds, a patient's rows stay in one of them.
    """
    copy = clone(estimator)
    seeds = {
        key: derive_seed(seed, key)
        for key, value in sorted(copy.get_params(deep=True).items())
        if (key == "random_state" or key.endswith("__random_state")) and value is None
    }
    copy.set_params(**seeds)
    copy, y = target.for_part(copy, rows.y)
    options: dict[str, Any] = {}
    if rows.is_weighted:
        options[_weight_parameter(copy, name)] = rows.loss_weight
    if isinstance(copy, BaseSearchCV) and rows.groups is not None:
        options["groups"] = rows.groups
    asked = _split_by_patient(copy, rows, target=target, seed=seed)
    copy.fit(features, y, **options)
    _ask_again(copy, asked)
    return copy


def _split_by_patient(
    estimator: Any, rows: TrainingRows, *, target: Target, seed: int
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
        strata = target.strata(rows.y)
        y = rows.y if strata is None else strata
        folds = patient_folds(y, groups, n_splits, stratify=strata is not None, seed=seed)
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
