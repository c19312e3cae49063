"""What estimators around another estimator share: fitting it, freezing it, saving it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags, _safe_indexing, get_tags, indexable
from sklearn.utils.validation import _num_samples, check_is_fitted, has_fit_parameter

from asfusion._arrays import check_width
from asfusion._checks import check_row_labels
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._origins import as_part
from asfusion.bundle._probe import Probed
from asfusion.bundle.objects import Bundled, save_bundle
from asfusion.estimators._inner_folds import group_options, inner_folds_by_patient, repeated
from asfusion.estimators.views.wrapped import WrapperDrawn
from asfusion.exceptions import ConfigurationError, InputError


class Wrapper(WrapperDrawn, Probed, Bundled, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator around another one, which it fits or, with ``prefit``, is given fitted."""

    estimator: Any
    prefit: bool
    estimator_: Any

    @public
    def save(self, path: str | Path) -> Path:
        """Save the fitted wrapper, with what it wraps, as a folder that `asfusion.load` reads.

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

    @property
    def n_features_in_(self) -> int:
        """Number of columns, as the wrapped estimator counts them."""
        check_is_fitted(self)
        return int(self.estimator_.n_features_in_)

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Names of columns, where the wrapped estimator has them."""
        check_is_fitted(self)
        names: NDArray[np.object_] = self.estimator_.feature_names_in_
        return names

    def _probe_rows(self) -> dict[str, list[Any]]:
        """Return the synthetic rows of the wrapped estimator, if it makes any."""
        inner = self.estimator_
        return inner._probe_rows() if isinstance(inner, Probed) else {}

    def _as_probed(self) -> Self:
        asked = copy.copy(self)
        asked.estimator_ = self.estimator_._as_probed()
        return asked

    def _given(self) -> Any:
        """Return the fitted estimator that was given, or None if it is to be fitted here."""
        frozen = isinstance(self.estimator, FrozenEstimator)
        if not (self.prefit or frozen):
            return None
        given = self.estimator.estimator if frozen else self.estimator
        try:
            check_is_fitted(given)
        except ValueError as error:
            msg = (
                f"estimator: expected a fitted {type(given).__name__} with prefit=True, got one "
                "that is not. Fit it first, on other rows, or leave prefit=False."
            )
            raise ConfigurationError(msg) from error
        return given

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted copy; a given fitted estimator is kept, not forgotten."""
        params = self.get_params(deep=False)
        copied = {
            name: value if name == "estimator" and self.prefit else clone(value, safe=False)
            for name, value in params.items()
        }
        return type(self)(**copied)

    def _bundle_state(self) -> dict[str, Any]:
        """Return parameters and what was learned; a given estimator is stored once."""
        state = super()._bundle_state()
        if self.prefit or isinstance(self.estimator, FrozenEstimator):
            state["params"] |= {"estimator": None, "prefit": True}
        return state

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        """Become what `_bundle_state` described."""
        super()._restore_bundle_state(state)
        if self.prefit and hasattr(self, "estimator_"):
            self.estimator = self.estimator_

    def __sklearn_tags__(self) -> Tags:
        """Take what the wrapped estimator takes."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.input_tags.sparse = inner.input_tags.sparse
        return tags


def fit_copy(
    estimator: Any, X: Any, y: NDArray[Any], groups: Any = None, sample_weight: Any = None
) -> Any:
    """Return a fitted copy of `estimator`, given the groups and weights that it takes.

    Where it counts folds itself, a patient's rows stay in one of them.
    """
    copy = clone(estimator)
    options = group_options(copy, groups)
    if sample_weight is not None:
        if not has_fit_parameter(copy, "sample_weight"):
            msg = (
                f"sample_weight: {type(copy).__name__} does not take any. Choose another "
                "estimator or no weights."
            )
            raise ConfigurationError(msg)
        options["sample_weight"] = sample_weight
    strata = np.unique(y, return_inverse=True)[1] if is_classifier(copy) else None
    with inner_folds_by_patient(copy, repeated(groups), n_rows=len(y), strata=strata, seed=0):
        return copy.fit(X, y, **options)


def take_rows(X: Any, rows: NDArray[np.int64]) -> Any:
    """Return the rows of a table, array or list at the given positions."""
    return as_part(_safe_indexing(X, rows), X, rows)


def read_rows(X: Any, y: Any, **columns: Any) -> tuple[Any, int]:
    """Return X as something that `take_rows` can divide, and its number of rows.

    The labels of rows must not contradict those of y, nor of other columns.
    """
    check_row_labels(X, y=y, **columns)
    if hasattr(X, "collect"):
        Frame.read(X)  # which says what to do with a lazy one
    try:
        (divisible,) = indexable(X)
        n_rows = int(_num_samples(divisible))
        take_rows(divisible, np.arange(min(n_rows, 1)))
    except Exception:  # containers fail to be divided in as many ways as there are of them
        msg = (
            f"X: expected a DataFrame, or an array with one patient in each row, got a "
            f"{type(X).__name__}, which has no rows to divide."
        )
        raise InputError(msg) from None
    return divisible, n_rows


def probabilities_of(estimator: Any, X: Any, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Return probabilities (N, K) in the order of `classes`, zero for those not known."""
    check_columns(estimator, X)
    known = estimator.predict_proba(X)
    table = np.zeros((len(known), len(classes)))
    # By label: grades of an estimator stand in an order of their own.
    table[:, class_numbers(np.asarray(estimator.classes_), classes)] = known
    return table


def check_columns(estimator: Any, X: Any) -> None:
    """Raise where a bare array has other columns than a foreign estimator was fitted on."""
    if not hasattr(X, "columns") and len(getattr(X, "shape", ())) == 2:
        check_width(estimator, X)


def class_numbers(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    """Return the position of each label (N,) in `classes`."""
    place = {label: number for number, label in enumerate(classes.tolist())}
    numbers = np.asarray([place.get(label, -1) for label in labels.tolist()], dtype=np.int64)
    strange = int((numbers < 0).sum())
    if strange:
        msg = (
            f"y: expected only the {len(classes)} classes that the estimator was fitted on, got "
            f"others in {strange} row(s). Check the spelling and the type of the labels."
        )
        raise InputError(msg)
    return numbers
