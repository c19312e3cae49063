"""Estimators of scikit-learn that split their rows themselves, made to split by patient.

A number of folds, as in searches, calibration, stacking, or a model whose name ends in CV, is
folds of rows to scikit-learn: visits of one patient stand on both sides.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from asfusion._splits import Split, make_folds, patient_folds
from asfusion.exceptions import InputError

_USUAL_FOLDS = 5  # what scikit-learn means by cv=None


class _ByPatient(list[Split]):
    """Folds by patient in the place of the number of folds that was asked for."""

    asked: Any = None


@contextmanager
def inner_folds_by_patient(
    estimator: Any,
    groups: NDArray[Any] | None,
    *,
    n_rows: int,
    strata: NDArray[Any] | None = None,
    seed: int,
    few: bool = True,
) -> Iterator[None]:
    """Let `estimator`, where it is fitted in the block and counts folds, split by patient.

    Behind the block stands again what was asked for: positions of rows are not for a saved
    model. Only what is fitted to these very rows is meant. An estimator inside of a search
    sees a part of them, at other positions, and splits as it did.

    Parameters
    ----------
    estimator : estimator
        Unfitted; a copy that nobody else holds.
    groups : ndarray of shape (N,) or None
        Patient of each row; None leaves everything as it is.
    n_rows : int
        Number N of rows.
    strata : ndarray of shape (N,) or None
        Class number of each row.
    seed : int
        Shuffles the patients.
    few : bool
        Whether there are fewer folds where there are too few patients; an error otherwise.

    Raises
    ------
    InputError
        If there are too few patients, and `few` is False.
    """
    counting = [] if groups is None else [e for e in _see_the_rows(estimator) if _counts_folds(e)]
    for part in counting:
        n_splits = _USUAL_FOLDS if part.cv is None else int(part.cv)
        if few:
            folds = patient_folds(groups, n_splits, n_rows=n_rows, strata=strata, seed=seed)
        else:
            folds = _enough_folds(part, groups, n_splits, n_rows, strata, seed)
        if folds:
            made = _ByPatient(folds)
            made.asked = part.cv
            part.set_params(cv=made)
    try:
        yield
    finally:
        if counting:
            _ask_again(estimator, set())


def repeated(groups: NDArray[Any] | None) -> NDArray[Any] | None:
    """Return groups, or None where each has one row: folds of rows are folds of patients then."""
    return groups if groups is not None and len(np.unique(groups)) < len(groups) else None


def group_options(estimator: Any, groups: NDArray[Any] | None) -> dict[str, Any]:
    """Return groups under the name by which `fit` takes them; nothing if it does not."""
    if groups is None:
        return {}
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = {} if isinstance(last, str) or last is None else group_options(last, groups)
        return {f"{name}__{key}": value for key, value in inner.items()}
    if isinstance(estimator, BaseSearchCV):
        # The splitter of a search gets "groups" and the estimator in it does not; what is in a
        # pipeline has a name of its own.
        asked = getattr(estimator, "estimator", None)
        return {"groups": groups, **({} if asked is None else group_options(asked, groups))}
    return {"groups": groups} if has_fit_parameter(estimator, "groups") else {}


def _enough_folds(
    part: Any,
    groups: NDArray[Any] | None,
    n_splits: int,
    n_rows: int,
    strata: NDArray[Any] | None,
    seed: int,
) -> list[Split]:
    try:
        return make_folds(np.zeros(n_rows), n_splits, groups=groups, strata=strata, seed=seed)
    except InputError as error:
        raise InputError(f"{type(part).__name__}, inner {error}") from None


# What passes its rows on as they are, by the parameter that holds the estimator within.
_PASS_ON = {
    "sklearn.model_selection:FixedThresholdClassifier": "estimator",
    "sklearn.multioutput:MultiOutputClassifier": "estimator",
    "sklearn.multioutput:MultiOutputRegressor": "estimator",
    "sklearn.multiclass:OneVsRestClassifier": "estimator",
    "sklearn.feature_selection:SelectFromModel": "estimator",
    "sklearn.compose:TransformedTargetRegressor": "regressor",
}
# The same for several, by name.
_PASS_ON_TO_SEVERAL = {
    "sklearn.compose:ColumnTransformer": "transformers",
    "sklearn.pipeline:FeatureUnion": "transformer_list",
    "sklearn.pipeline:Pipeline": "steps",
    "sklearn.ensemble:VotingClassifier": "estimators",
    "sklearn.ensemble:VotingRegressor": "estimators",
}
# Ridge leaves out row by row, and a chain learns from the targets themselves.
_NO_FOLDS_UNASKED = (
    "sklearn.linear_model:RidgeCV",
    "sklearn.linear_model:RidgeClassifierCV",
    "sklearn.multioutput:ClassifierChain",
    "sklearn.multioutput:RegressorChain",
)


def _is(estimator: Any, kind: str) -> bool:
    """Return whether it is of a class that is named; of a module never imported nothing is."""
    module, _, name = kind.partition(":")
    found = getattr(sys.modules.get(module), name, None)
    return found is not None and isinstance(estimator, found)


def _see_the_rows(estimator: Any) -> Iterator[Any]:
    """Yield every estimator that is fitted to the rows as they are."""
    own = getattr(estimator, "_passes_rows_to", None)  # of asfusion's own, which says so
    if own is not None:
        yield from _see_the_rows(getattr(estimator, own))
    for kind, name in _PASS_ON.items():
        if _is(estimator, kind):
            yield from _see_the_rows(getattr(estimator, name))
    for kind, name in _PASS_ON_TO_SEVERAL.items():
        if _is(estimator, kind):
            for part in getattr(estimator, name):
                yield from _see_the_rows(part[1])
    if hasattr(estimator, "get_params"):
        yield estimator


def _counts_folds(estimator: Any) -> bool:
    """Return whether `cv` is a number of folds of rows, and folds may stand in its place."""
    if "cv" not in estimator.get_params(deep=False) or has_fit_parameter(estimator, "groups"):
        return False  # who takes groups keeps them together
    known = getattr(estimator, "_parameter_constraints", {}).get("cv", ["cv_object"])
    if "cv_object" not in known:  # older encoders of targets take a number and nothing else
        return False
    if estimator.cv is None:
        return not any(_is(estimator, kind) for kind in _NO_FOLDS_UNASKED)
    return isinstance(estimator.cv, Integral)


def _ask_again(value: Any, seen: set[int]) -> None:
    """Put back what was asked for in an estimator and in every copy within it."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, list | tuple):
        parts: Iterable[Any] = value
    elif hasattr(value, "get_params") and not isinstance(value, type):
        if isinstance(getattr(value, "cv", None), _ByPatient):
            value.cv = value.cv.asked
        parts = list(getattr(value, "__dict__", {}).values())
    else:
        return
    for part in parts:
        _ask_again(part, seen)
