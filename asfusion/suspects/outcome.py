"""What is to be predicted, as far as a look at columns needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._arrays import array_of, refuse_masked
from asfusion._cells import is_missing, text_of
from asfusion._frames import Frame
from asfusion.exceptions import InputError

_FEW = 10  # whole numbers with more distinct values are a quantity


@dataclass(frozen=True, eq=False)
class Outcome:
    """One thing that is predicted of each row.

    Parameters
    ----------
    name : str or None
        Its name, if it carries one.
    values : ndarray of shape (N,), float64
        Numbers, or the number of each row's level; NaN where it is missing.
    levels : tuple of str
        Names of the levels; empty for a quantity.
    """

    name: str | None
    values: NDArray[np.float64]
    levels: tuple[str, ...]

    def take(self, rows: NDArray[Any]) -> Outcome:
        """Return the outcome of the given rows."""
        return Outcome(self.name, self.values[rows], self.levels)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which rows have a value."""
        return ~np.isnan(self.values)

    @property
    def label(self) -> str:
        """What it is called in a sentence."""
        return "the target" if self.name is None else repr(self.name)


def read_outcomes(y: Any, n_rows: int, names: Sequence[str] = ()) -> tuple[Outcome, ...]:
    """Return what y holds, column by column.

    Parameters
    ----------
    y : array, Series, DataFrame or structured array of N rows
        Classes, numbers, or several columns of them.
    n_rows : int
        Number N of rows.
    names : sequence of str
        Names of the columns where y carries none, or those of ours for event and time.

    Raises
    ------
    InputError
        If y has another number of rows.
    """
    refuse_masked(y, "y")
    columns = _columns(y, names)
    for _, cells in columns:
        if len(cells) != n_rows:
            msg = f"y: expected {n_rows} entries, one per row of X, got {len(cells)}."
            raise InputError(msg)
    return tuple(_outcome(name, cells) for name, cells in columns)


def column_outcome(frame: Frame, name: str) -> Outcome:
    """Return a column of a table as something to predict."""
    is_number = frame.kind(name) in ("number", "boolean")
    cells = frame.numbers(name) if is_number else frame.strings(name)
    column = np.asarray(cells, dtype=np.float64 if is_number else object)
    if frame.kind(name) == "boolean":
        column = np.asarray([None if c != c else bool(c) for c in column.tolist()], dtype=object)
    return _outcome(name, column)


def with_own_name(outcome: Outcome, frame: Frame) -> Outcome:
    """Return an outcome without a name that it only inherited.

    What is computed of a column of X, such as ``X["crp"] > 10``, carries that column's name.
    """
    if outcome.name is None or outcome.name not in frame.columns:
        return outcome
    column = column_outcome(frame, outcome.name)
    is_same = np.array_equal(column.values, outcome.values, equal_nan=True)
    return outcome if is_same and column.levels == outcome.levels else replace(outcome, name=None)


def _columns(y: Any, names: Sequence[str]) -> list[tuple[str | None, NDArray[Any]]]:
    if hasattr(y, "columns"):
        return [(str(name), np.asarray(y[name])) for name in y.columns]
    own = getattr(y, "name", None)
    array = array_of(y, "y")
    if fields := array.dtype.names:  # event and time of a survival package
        # Columns of event and time may have stood the other way round.
        is_other = len(names) == len(fields) and set(names) != set(fields)
        told = names if is_other else fields
        return [(name, array[field]) for name, field in zip(told, fields, strict=True)]
    if array.ndim == 0:
        raise InputError("y: expected one entry per row of X, got a single value.")
    if array.ndim == 1:
        # polars calls a column without a name "".
        name = own if isinstance(own, str) and own else (names[0] if len(names) == 1 else None)
        return [(name, array)]
    if array.ndim > 2:
        msg = f"y: expected one or two dimensions, got {array.ndim}."
        raise InputError(msg)
    known = list(names) if len(names) == array.shape[1] else [None] * array.shape[1]
    return list(zip(known, array.T, strict=True))


def _outcome(name: str | None, cells: NDArray[Any]) -> Outcome:
    if cells.dtype.kind in "iuf":
        values = cells.astype(np.float64)
    elif cells.dtype.kind in "bU":
        distinct, places = np.unique(cells, return_inverse=True)
        return Outcome(name, places.astype(np.float64), tuple(str(level) for level in distinct))
    elif cells.dtype.kind in "mM":
        values = np.where(np.isnat(cells), np.nan, cells.astype(np.int64).astype(np.float64))
    else:
        return _of_texts(name, cells)
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    if len(distinct) > _FEW or (known != np.round(known)).any():
        return Outcome(name, np.where(np.isfinite(values), values, np.nan), ())
    numbers = np.where(np.isnan(values), np.nan, np.searchsorted(distinct, values))
    return Outcome(name, numbers, tuple(f"{level:g}" for level in distinct))


def _of_texts(name: str | None, cells: NDArray[Any]) -> Outcome:
    listed = cells.tolist()
    known = [not is_missing(cell) for cell in listed]
    if all(isinstance(c, int | float) and not isinstance(c, bool) for c in _some(listed, known)):
        numbers = [float(c) if k else np.nan for c, k in zip(listed, known, strict=True)]
        return _outcome(name, np.asarray(numbers, dtype=np.float64))
    distinct = {cell: text_of(cell) for cell in set(_some(listed, known))}
    levels = sorted({text for text in distinct.values() if text is not None})
    place = {text: float(number) for number, text in enumerate(levels)}
    places = {cell: np.nan if text is None else place[text] for cell, text in distinct.items()}
    values = [places[cell] if there else np.nan for cell, there in zip(listed, known, strict=True)]
    return Outcome(name, np.asarray(values, dtype=np.float64), tuple(levels))


def _some(cells: list[Any], known: list[bool]) -> list[Any]:
    return [cell for cell, there in zip(cells, known, strict=True) if there]
