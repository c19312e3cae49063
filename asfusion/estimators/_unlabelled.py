"""Rows whose y is missing, set aside before y is read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion._arrays import read_weights
from asfusion._cells import is_missing
from asfusion.estimators._rows import read_groups
from asfusion.estimators._wrapped import read_rows, take_rows
from asfusion.exceptions import InputError


class Unlabelled(NamedTuple):
    """Rows that lack y, and whose they are.

    Parameters
    ----------
    frame : table
        U rows, with the columns of fit.
    patients : ndarray of shape (U,)
        Number of the patient of each of them.
    labelled : ndarray of shape (N,)
        Number of the patient of each row that has y, in the order of fit.
    """

    frame: Any
    patients: NDArray[np.int64]
    labelled: NDArray[np.int64]


class Labelled(NamedTuple):
    """Rows that have y, as `fit` takes them."""

    X: Any
    y: Any
    groups: Any
    sample_weight: Any


def divide(X: Any, y: Any, groups: Any, sample_weight: Any) -> tuple[Labelled, Unlabelled]:
    """Return the rows that have y, and those that do not; the latter may be none.

    Raises
    ------
    InputError
        If X, y, groups and weights do not fit together.
    """
    X, n_rows = read_rows(X, y, groups=groups, sample_weight=sample_weight)
    missing = missing_rows(y, n_rows)
    weight = read_weights(sample_weight, n_rows)
    patients = read_groups(groups, n_rows)
    known, others = np.flatnonzero(~missing), np.flatnonzero(missing & (weight > 0))
    labelled = Labelled(
        take_rows(X, known),
        known_targets(y, known),
        None if groups is None else take_rows(np.asarray(groups), known),
        None if sample_weight is None else weight[known],
    )
    whose = np.arange(n_rows) if patients is None else patients
    return labelled, Unlabelled(take_rows(X, others), whose[others], whose[known])


def missing_rows(y: Any, n_rows: int) -> NDArray[np.bool_]:
    """Return which rows of y (N,) lack all that there is to predict."""
    if y is None:
        raise InputError("y: expected an entry for each row, missing where unknown, got None.")
    cells = np.asarray(y.to_numpy() if hasattr(y, "to_numpy") else y)
    if cells.ndim == 0 or len(cells) != n_rows:
        got = "a single value" if cells.ndim == 0 else str(len(cells))
        raise InputError(f"y: expected {n_rows} entries, one per row of X, got {got}.")
    if cells.dtype.names is not None:  # event and time: a boolean is never missing
        return np.isnan(cells[cells.dtype.names[-1]].astype(np.float64))
    if cells.ndim == 1:
        return np.array([is_missing(cell) for cell in cells.tolist()], dtype=bool)
    return np.array([all(map(is_missing, row)) for row in cells.tolist()], dtype=bool)


def known_targets(y: Any, rows: NDArray[np.int64]) -> Any:
    """Return the given rows of y, of the type that they have without missing entries."""
    if hasattr(y, "iloc"):
        return y.iloc[rows].infer_objects()
    if hasattr(y, "to_numpy"):  # columns of polars and Arrow have one type already
        return y[rows.tolist()]
    taken = np.asarray(y)[rows]
    return np.array(taken.tolist()) if taken.dtype == object else taken
