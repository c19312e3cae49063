"""X, as the rest of the library reads it: named columns with one reading each.

This is the only module that knows pandas, polars and narwhals. Everything else asks
a `Frame` for numbers, strings or rows and never sees the user's container.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted, suggestion
from asfusion.exceptions import ColumnError, InputError

Kind: TypeAlias = Literal["number", "boolean", "date", "category", "text"]

_LAZY_FIX = "Call .collect() (or .compute()) first and pass the result."


class Frame:
    """A table of rows with named columns, over pandas, polars or a 2-D array.

    Build it with `Frame.read`. Missing cells are None in `strings` and NaN in
    `numbers`, whatever the container calls them (None, NaN, NaT, pd.NA, null).
    """

    def __init__(self, native: Any, *, is_array: bool) -> None:
        self._frame = nw.from_native(native, eager_only=True)
        self.is_array = is_array
        self.columns: tuple[str, ...] = tuple(self._frame.columns)

    @classmethod
    def read(cls, X: Any) -> Frame:
        """Return `X` as a Frame.

        Parameters
        ----------
        X : pandas or polars DataFrame, Frame, or 2-D array of shape (n_rows, n_columns)
            An array becomes numeric columns ``x0``, ``x1``, ...

        Returns
        -------
        Frame
            A view; nothing of `X` is changed.

        Raises
        ------
        InputError
            If `X` is lazy, not a table, or has a duplicated index.
        ColumnError
            If column names are duplicated or not strings.
        """
        if isinstance(X, cls):
            return X
        if isinstance(X, np.ndarray):
            return cls(_array_to_native(X), is_array=True)
        _refuse_lazy(X)
        if not (hasattr(X, "columns") and hasattr(X, "shape")):
            msg = (
                "X: expected a pandas or polars DataFrame or a 2-D array, "
                f"got {type(X).__name__}. Put one patient (or visit) in each row."
            )
            raise InputError(msg)
        _check_labels(X)
        try:
            return cls(X, is_array=False)
        except TypeError:
            msg = f"X: expected a pandas or polars DataFrame, got {type(X).__name__}."
            raise InputError(msg) from None

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._frame.shape[0])

    def check_columns(self, names: Sequence[str], who: str) -> None:
        """Raise `ColumnError` unless every one of `names` is a column."""
        absent = [name for name in names if name not in self.columns]
        if absent:
            hint = suggestion(absent[0], self.columns)
            msg = (
                f"{who}: expected the column{'s' * (len(absent) > 1)} {quoted(absent)} in X, "
                f"which has {quoted(self.columns, limit=10)}.{hint}"
            )
            raise ColumnError(msg)

    def select(self, names: Sequence[str], who: str = "X") -> Frame:
        """Return the named columns, in that order."""
        self.check_columns(names, who)
        return Frame(self._frame.select(list(names)).to_native(), is_array=self.is_array)

    def take(self, rows: NDArray[Any]) -> Frame:
        """Return the given rows, as positions or a bool mask."""
        rows = np.asarray(rows)
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        taken = self._frame[[int(i) for i in positions], :]
        return Frame(taken.to_native(), is_array=self.is_array)

    def to_native(self) -> Any:
        """Return the pandas or polars DataFrame that this Frame views."""
        return self._frame.to_native()

    def kind(self, name: str) -> Kind:
        """Return what the column holds; strings are ``"text"``, to be told apart later."""
        column = self._frame.get_column(name)
        dtype = column.dtype
        if dtype.is_numeric():
            return "number"
        if dtype == nw.Boolean:
            return "boolean"
        if dtype == nw.Date or dtype == nw.Datetime:
            return "date"
        if dtype == nw.Categorical or dtype == nw.Enum:
            return "category"
        if dtype == nw.String:
            return "text"
        return _kind_of_objects(column.to_list())

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a number or boolean column as float64, missing cells as NaN.

        Raises
        ------
        ColumnError
            If a cell is not a number.
        InputError
            If a cell is infinite.
        """
        values = _to_float(self._frame.get_column(name).to_list(), name)
        infinite = np.flatnonzero(np.isinf(values))
        if infinite.size:
            msg = (
                f"Column {name!r}: expected finite numbers or missing cells, got infinity in "
                f"{infinite.size} row(s), the first at position {infinite[0]}. "
                "Replace infinities by NaN if they mean 'not measured'."
            )
            raise InputError(msg)
        return values

    def days(self, name: str) -> NDArray[np.float64]:
        """Return a date column as days since 1970-01-01, missing cells as NaN."""
        out = np.full(len(self), np.nan)
        epoch = datetime.datetime(1970, 1, 1)
        for row, cell in enumerate(self._frame.get_column(name).to_list()):
            if is_missing(cell):
                continue
            if isinstance(cell, str):
                cell = _parse_date(cell, name, row)
            if not isinstance(cell, datetime.datetime):
                cell = datetime.datetime(cell.year, cell.month, cell.day)
            out[row] = (cell.replace(tzinfo=None) - epoch).total_seconds() / 86400.0
        return out

    def strings(self, name: str) -> list[str | None]:
        """Return a column as strings, missing cells (also blank ones) as None."""
        cells = self._frame.get_column(name).to_list()
        texts = (None if is_missing(cell) else str(cell) for cell in cells)
        return [text if text is not None and text.strip() else None for text in texts]


def is_missing(cell: object) -> bool:
    """Return whether one cell is None, NaN, NaT or pd.NA."""
    if cell is None:
        return True
    if isinstance(cell, float):
        return cell != cell
    return type(cell).__name__ in {"NAType", "NaTType"} or (
        isinstance(cell, np.floating) and bool(np.isnan(cell))
    )


def _array_to_native(X: NDArray[Any]) -> Any:
    import pandas as pd

    if X.ndim != 2:
        msg = f"X: expected a 2-D array of shape (n_rows, n_columns), got {X.ndim} dimension(s)."
        raise InputError(msg)
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])


def _refuse_lazy(X: Any) -> None:
    """Raise for frames whose rows are not in memory yet."""
    module = type(X).__module__.split(".")[0]
    is_lazy = type(X).__name__ == "LazyFrame" or module in {"dask", "pyspark", "duckdb", "ibis"}
    if is_lazy:
        msg = f"X: expected a table in memory, got the lazy {type(X).__name__}. {_LAZY_FIX}"
        raise InputError(msg)


def _check_labels(X: Any) -> None:
    """Raise when columns or a pandas index do not name their rows and columns once."""
    names = list(X.columns)
    unnamed = [name for name in names if not isinstance(name, str)]
    if unnamed:
        msg = (
            f"X: expected column names that are strings, got {len(unnamed)} of another type. "
            "Rename them, for example X.columns = X.columns.astype(str)."
        )
        raise ColumnError(msg)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        msg = f"X: expected each column once, got {quoted(repeated)} more than once. Rename them."
        raise ColumnError(msg)
    index = getattr(X, "index", None)
    if index is not None and not getattr(index, "is_unique", True):
        count = int(index.duplicated().sum())
        msg = (
            f"X: expected a unique row index, got {count} duplicated label(s). Use "
            "X.reset_index(drop=True), and pass patient identifiers as groups= instead."
        )
        raise InputError(msg)


def _kind_of_objects(cells: list[Any]) -> Kind:
    """Return the kind of an object column from its cells."""
    known = [cell for cell in cells if not is_missing(cell)]
    if known and all(isinstance(cell, bool | np.bool_) for cell in known):
        return "boolean"
    if all(isinstance(cell, int | float | np.number) for cell in known):
        return "number"
    if all(isinstance(cell, datetime.date) for cell in known):
        return "date"
    return "text"


def _to_float(cells: list[Any], name: str) -> NDArray[np.float64]:
    out = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if is_missing(cell):
            continue
        try:
            out[row] = float(cell)
        except (TypeError, ValueError):
            msg = (
                f"Column {name!r}, row {row}: expected a number, got {type(cell).__name__}. "
                "Convert the column first, or use it as a category."
            )
            raise ColumnError(msg) from None
    return out


def _parse_date(cell: str, name: str, row: int) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(cell.strip())
    except ValueError:
        msg = (
            f"Column {name!r}, row {row}: expected a date as YYYY-MM-DD, got other text. "
            "Convert the column to dates first."
        )
        raise ColumnError(msg) from None
