"""Rows as a list of dicts, or as an array, read as those of a data frame are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import (
    Kind,
    days_of_objects,
    is_known,
    kind_of_objects,
    numbers_of_objects,
    text_of,
    text_or_none,
)
from asfusion._frames import Frame
from asfusion.exceptions import InputError

_MOST_ROWS = 1_000_000
_FEW = 64


class Records(Frame):
    """Rows whose cells are held by column, with neither pandas nor polars."""

    is_streamed = False

    def __init__(
        self, cells: Mapping[str, list[Any]], n_rows: int, columns: Sequence[str] | None = None
    ) -> None:
        self._cells, self._n_rows = dict(cells), n_rows
        self.is_array, self._origin = False, None
        self.columns = tuple(self._cells if columns is None else columns)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._n_rows

    def take(self, rows: NDArray[Any]) -> Records:
        """Return the given rows, as positions."""
        chosen = np.asarray(rows).tolist()
        cells = {name: [own[row] for row in chosen] for name, own in self._cells.items()}
        made = Records(cells, len(chosen))
        made._origin = self.origin[rows]
        return made

    @cached_property
    def plain(self) -> frozenset[str]:
        """No column is stored as numbers."""
        return frozenset()

    def kind(self, name: str) -> Kind:
        """Return what a column holds."""
        return kind_of_objects(self._cells[name])

    def order(self, name: str) -> tuple[str, ...]:
        """Return the levels of an ordered category: there is none."""
        return ()

    def cells(self, name: str) -> list[Any]:
        """Return the cells of a column as they are."""
        return list(self._cells[name])

    def known(self, name: str) -> NDArray[np.bool_]:
        """Return which cells are neither missing, blank text nor empty lists."""
        return np.asarray([is_known(cell) for cell in self._cells[name]], dtype=bool)

    def days(self, name: str) -> NDArray[np.float64]:
        """Return dates as days since 1970-01-01."""
        return days_of_objects(self._cells[name], name, self.origin)

    def strings(self, name: str) -> list[str | None]:
        """Return a column as strings, missing cells (also blank ones) as None."""
        return [_string(cell) for cell in self._cells[name]]

    def _numbers_alone(self, name: str) -> NDArray[np.float64]:
        return numbers_of_objects(self._cells[name], name, self.origin)


def _string(cell: Any) -> str | None:
    if isinstance(cell, str):
        return text_or_none(cell)
    return text_of(cell) if is_known(cell) else None


def rows_of(X: Any, wanted: Sequence[str]) -> Frame:
    """Return rows as a Frame.

    Parameters
    ----------
    X : DataFrame, list of dict, or 2-D array
        One patient (or visit) in each row; a key that a dict lacks is a missing cell.
    wanted : sequence of str
        The columns that are read.

    Raises
    ------
    InputError
        If it is none of these.
    ColumnError
        If names of columns are no strings, or not each there once.
    """
    if isinstance(X, np.ndarray) and X.ndim == 2:
        return Records({f"x{n}": list(X[:, n]) for n in range(X.shape[1])}, len(X))
    if isinstance(X, Mapping):
        msg = "X: expected a DataFrame or a list of dicts, got one dict. Put it into a list: [row]."
        raise InputError(msg)
    if isinstance(X, Sequence) and not isinstance(X, str | bytes):
        return _of_dicts(X)
    return _of_few(X, wanted) or Frame.read(X)


def _of_few(X: Any, wanted: Sequence[str]) -> Records | None:
    """Return a few rows of a table by column: to look at types takes longer than to read them."""
    library = type(X).__module__.partition(".")[0]
    if library not in ("pandas", "polars") or type(X).__name__ != "DataFrame" or len(X) > _FEW:
        return None
    names = list(X.columns)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        return None
    there = set(names)
    cells = {name: _listed(X[name]) for name in wanted if name in there}
    return Records(cells, len(X), names)


def _listed(column: Any) -> list[Any]:
    """Return the cells of a column; those of a category as text, whatever it is a category of."""
    cells: list[Any] = column.to_list()
    name = str(column.dtype)
    if name == "category" or name.startswith(("Categorical", "Enum")):
        return [text_of(cell) if is_known(cell) else None for cell in cells]
    return cells


def _of_dicts(rows: Sequence[Any]) -> Records:
    if len(rows) > _MOST_ROWS:
        raise InputError(f"X: expected at most {_MOST_ROWS} dicts, got {len(rows)}.")
    names: dict[str, None] = {}
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            msg = f"X: expected a list of dicts, got {type(row).__name__} at position {place}."
            raise InputError(msg)
        if any(not isinstance(name, str) for name in row):
            raise InputError(f"X: expected names of columns as text, at position {place}.")
        names |= dict.fromkeys(row)
    cells = {name: [row.get(name) for row in rows] for name in names}
    return Records(cells, len(rows))
