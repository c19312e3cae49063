"""From what the user passes to checked rows: X, y, groups and weights in one record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from asfusion._arrays import (
    check_finite,
    check_width,
    numbers_of_array,
)
from asfusion._frames import Frame, group_labels
from asfusion.encoders._base import Encoder
from asfusion.encoders._columns import check_names
from asfusion.exceptions import CircularityError, ColumnError, InputError


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """N rows to fit on, all checked and of one length.

    Parameters
    ----------
    frame : Frame
        The columns.
    y : ndarray of shape (N,) or (N, T)
        Class numbers (int64), or regression targets (float64, always 2-D).
    sample_weight : ndarray of shape (N,)
        As the user gave it; ones by default. Never zero: such rows are not there.
    loss_weight : ndarray of shape (N,)
        The same times the class weights.
    groups : ndarray of shape (N,), optional
        Whose rows belong together in every split.
    origin : ndarray of shape (N,)
        Position of each row in what the user passed.
    names : tuple of str
        Names of the targets, where y carried some.
    """

    frame: Frame
    y: NDArray[Any]
    sample_weight: NDArray[np.float64]
    loss_weight: NDArray[np.float64]
    groups: NDArray[Any] | None
    origin: NDArray[np.int64]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.y)

    def take(self, rows: NDArray[Any]) -> TrainingRows:
        """Return the rows at the given positions."""
        return replace(
            self,
            frame=self.frame.take(rows),
            y=self.y[rows],
            sample_weight=self.sample_weight[rows],
            loss_weight=self.loss_weight[rows],
            groups=None if self.groups is None else self.groups[rows],
            origin=self.origin[rows],
        )


def is_table(X: Any) -> bool:
    """Return whether X has named columns (also one that will be refused, such as a lazy one).

    A DataFrame none of whose columns is named by a string is a bare array to
    scikit-learn, and so it is here.
    """
    if isinstance(X, Frame) or hasattr(X, "collect") or hasattr(X, "column_names"):
        return True
    names = list(getattr(X, "columns", ()))
    # Names of several levels are refused as such, rather than dropped.
    named = any(isinstance(name, str | tuple) for name in names)
    return named or (hasattr(X, "columns") and not names)


def read_table(estimator: BaseEstimator, X: Any, *, columns: Any, reset: bool) -> Frame:
    """Return a DataFrame as a Frame of the columns that the estimator uses.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose ``feature_names_in_`` is set or compared.
    X : DataFrame
        The rows.
    columns : sequence of str or None
        Columns to use; None for all, in which case their order counts, too.
    reset : bool
        True in fit.
    """
    frame = Frame.read(X)
    if columns is not None:
        try:
            frame = frame.select(list(columns), type(estimator).__name__)
        except ColumnError as error:
            if reset:
                raise
            msg = f"{error} Give what is absent as a column of missing cells."
            raise ColumnError(msg) from None
    if not len(frame) or not frame.columns:
        msg = (
            f"X: expected at least 1 row and 1 column, got shape=({len(frame)}, "
            f"{len(frame.columns)})."
        )
        raise InputError(msg)
    fitted_on_names = reset or hasattr(estimator, "feature_names_in_")
    check_names(estimator, frame, reset=reset)
    if fitted_on_names:
        return frame
    return Frame.read(frame.numbers_of(frame.columns))


def read_array(estimator: BaseEstimator, X: Any, *, reset: bool) -> Frame:
    """Return a 2-D array (or list of rows) of numbers as a Frame."""
    array = numbers_of_array(X)
    check_finite(array)
    if not reset:
        check_width(estimator, array)
    names = getattr(estimator, "feature_names_in_", None)
    if reset or names is not None or not isinstance(X, np.ndarray):
        # For names and numbers of columns, and scikit-learn's warning where an array lacks names.
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return Frame.read(array)
    import pandas as pd

    return Frame.read(pd.DataFrame(array, columns=list(names)))


def target_names(y: Any) -> tuple[str, ...]:
    """Return the names that y carries: of a Series, of columns, or of fields of a record."""
    fields = getattr(getattr(y, "dtype", None), "names", None)
    names = fields or (y.columns if hasattr(y, "columns") else [getattr(y, "name", None)])
    return tuple(name for name in names if isinstance(name, str) and name)


def check_target_apart(frame: Frame, y: Any) -> None:
    """Raise when the target itself stands among the columns, under its own name.

    The name alone says little: what is computed from a column inherits it.
    """
    name = getattr(y, "name", None)
    if frame.is_array or not isinstance(name, str) or name not in frame.columns:
        return
    if len(y) == len(frame) and frame.cells(name) == list(y):
        msg = (
            f"Target {name!r}: expected features without it, got it as a column of X. Drop the "
            "column."
        )
        raise CircularityError(msg)


def read_groups(groups: Any, n_rows: int) -> NDArray[Any] | None:
    """Return one group label per row, as numbers from zero."""
    if groups is None:
        return None
    shape = _shape(groups)
    if shape != (n_rows,):
        msg = f"groups: expected shape ({n_rows},), one label per row, got {shape}."
        raise InputError(msg)
    # In the order of their text: folds depend on the numbers, and figures on the folds.
    return np.unique(group_labels(groups, n_rows).astype(str), return_inverse=True)[1]


def _shape(groups: Any) -> Any:
    try:
        return np.shape(groups)
    except ValueError:
        return "rows of several lengths"


def cells_present(frame: Frame, columns: Any) -> NDArray[np.bool_]:
    """Return which rows have at least one cell in the given columns."""
    return frame.present(columns)


def check_some(name: str, encoder: Encoder, present: NDArray[np.bool_]) -> None:
    """Raise where an encoder could read nothing of any training row."""
    if not present.any():
        msg = (
            f"encoders[{name!r}]: expected something that it can read in at least one training "
            f"row, got {len(present)} row(s) without. {encoder._why_absent()}"
        )
        raise InputError(msg)
