"""How a scikit-learn estimator is fitted and asked as a part of a fusion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from asfusion._random import derive_seed
from asfusion.estimators._inner_folds import group_options, inner_folds_by_patient, repeated
from asfusion.estimators._rows import TrainingRows
from asfusion.exceptions import ConfigurationError
from asfusion.targets._base import Target


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
    copy, y = target.for_part(seeded_copy(estimator, seed), rows.y)
    options = group_options(copy, rows.groups) | weight_options(copy, rows.loss_weight, name)
    strata, groups = target.strata(rows.y), repeated(rows.groups)
    with inner_folds_by_patient(copy, groups, n_rows=len(rows), strata=strata, seed=seed):
        copy.fit(features, y, **options)
    return copy


def seeded_copy(estimator: Any, seed: int) -> Any:
    """Return an unfitted copy with a seed of its own for each ``random_state`` that is unset."""
    copy = clone(estimator)
    seeds = {
        key: derive_seed(seed, key)
        for key, value in sorted(copy.get_params(deep=True).items())
        if (key == "random_state" or key.endswith("__random_state")) and value is None
    }
    return copy.set_params(**seeds)


def weight_options(
    estimator: Any, weight: NDArray[np.float64], name: str
) -> dict[str, NDArray[np.float64]]:
    """Return weights of rows under the name by which `fit` takes them; nothing if all are equal."""
    return {} if (weight == weight[0]).all() else {_weight_parameter(estimator, name): weight}


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
