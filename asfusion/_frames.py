"""X, as the rest of the library reads it: named columns with one reading each.

This is the only module that knows pandas, polars and narwhals. Everything else asks
a `Frame` for numbers, strings or rows and never sees the user's container.
"""

from __future__ import annotations

import datetime
import numbers
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted, suggestion
from asfusion.exceptions import ColumnError, InputError

Kind: TypeAlias = Literal["number", "boolean", "date", "category", "text"]

_MICROSECONDS_A_DAY = 86_400e6
_A_DAY = datetime.timedelta(days=1)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?", re.ASCII
)
# Also with a limit of detection, a decimal comma or a percent sign; 007 is a code.
_NUMBER_TEXT = re.compile(
    r"[<>≤≥]?=?\s*[-+]?(0|[1-9]\d*|(?=[.,]))([.,]\d+)?(e[-+]?\d+)?\s*%?", re.ASCII | re.IGNORECASE
)
_OTHER_DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{2,4}([ T].{1,20})?", re.ASCII)
_NUMBERS = (numbers.Real, Decimal, np.bool_, datetime.timedelta)
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
            An array becomes numeric columns ``x0``, ``x1``, ... An Arrow table is read as
            a polars DataFrame.

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
        if _is_arrow(X):
            return cls(_arrow_to_native(X), is_array=False)
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
        present = set(self.columns)
        absent = [name for name in names if name not in present]
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
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        return Frame(self._frame[positions, :].to_native(), is_array=self.is_array)

    def stack(self, other: Frame) -> Frame:
        """Return these rows and, below them, those of a frame of the same container and columns."""
        own = nw.maybe_reset_index(self._frame)
        below = nw.maybe_reset_index(other.select(self.columns)._frame)
        if nw.get_native_namespace(own) is not nw.get_native_namespace(below):
            msg = (
                f"Rows: expected tables of one library, got {type(self.to_native()).__module__} "
                f"and {type(other.to_native()).__module__}. Convert one of them."
            )
            raise InputError(msg)
        rows = nw.maybe_reset_index(nw.concat([own, below], how="vertical"))
        return Frame(rows.to_native(), is_array=self.is_array)

    def gather(self, rows: Mapping[str, NDArray[Any]]) -> Frame:
        """Return new rows whose cells come from rows of their own in every column.

        Parameters
        ----------
        rows : mapping of str to ndarray of shape (N,)
            For each column that is kept, the positions that its N cells are taken from.
        """
        cells = [
            nw.maybe_reset_index(self._frame.get_column(name)[positions.astype(np.int64)])
            for name, positions in rows.items()
        ]
        made = nw.concat([column.to_frame() for column in cells], how="horizontal")
        return Frame(made.to_native(), is_array=self.is_array)

    def replace(self, name: str, texts: Sequence[str | None]) -> Frame:
        """Return the same rows with other texts in one column."""
        column = nw.new_series(
            name, list(texts), nw.String, backend=nw.get_native_namespace(self._frame)
        )
        plain = nw.maybe_reset_index(self._frame)
        return Frame(plain.with_columns(column).to_native(), is_array=self.is_array)

    def blank(self, kept: Mapping[str, NDArray[np.bool_]]) -> Frame:
        """Return the same rows, in which cells of some columns are missing.

        Parameters
        ----------
        kept : mapping of str to ndarray of shape (N,), bool
            For each column that is named, which cells stay. What does stay reads as before: a
            whole number beside a missing one is still no fraction.
        """
        plain = nw.maybe_reset_index(self._frame)
        for name, mask in kept.items():
            column = plain.get_column(name)
            if column.dtype.is_integer() or column.dtype == nw.Boolean:
                plain = plain.with_columns(nw.maybe_convert_dtypes(column))
            stays = nw.new_series(
                name, mask, nw.Boolean, backend=nw.get_native_namespace(self._frame)
            )
            plain = plain.with_columns(nw.when(stays).then(nw.col(name)).alias(name))
        return Frame(plain.to_native(), is_array=self.is_array)

    def to_native(self) -> Any:
        """Return the pandas or polars DataFrame that this Frame views."""
        return self._frame.to_native()

    def kind(self, name: str) -> Kind:
        """Return what the column holds; strings are ``"text"``, to be told apart later."""
        column = self._frame.get_column(name)
        dtype = column.dtype
        if _is_numeric(dtype):
            return "number"
        if dtype == nw.Boolean:
            return "boolean"
        if _is_date(dtype):
            return "date"
        if dtype == nw.Categorical or dtype == nw.Enum:
            return "category"
        if dtype == nw.String:
            return "text"
        return _kind_of_objects(column.to_list())

    def is_nested(self, name: str) -> bool:
        """Return whether cells of a column may be lists or tables of their own."""
        dtype = self._frame.get_column(name).dtype
        return bool(dtype == nw.List or dtype == nw.Array or dtype == nw.Object)

    def cells(self, name: str) -> list[Any]:
        """Return the cells of a column as they are."""
        return list(self._frame.get_column(name).to_list())

    def known(self, name: str) -> NDArray[np.bool_]:
        """Return which cells of a column are neither missing, blank text nor empty lists."""
        column = self._frame.get_column(name)
        if _is_date(column.dtype):
            return ~np.asarray(column.is_null().to_numpy(), dtype=bool)
        if _is_numeric(column.dtype) or column.dtype == nw.Boolean:
            return ~np.isnan(_stored_numbers(column))
        return np.asarray([_is_known(cell) for cell in column.to_list()], dtype=bool)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a number or boolean column as float64, missing cells as NaN.

        Durations are numbers, too: they come in days.

        Raises
        ------
        ColumnError
            If a cell is not a number.
        InputError
            If a cell is infinite.
        """
        column = self._frame.get_column(name)
        if _is_numeric(column.dtype) or column.dtype == nw.Boolean:
            values = _stored_numbers(column)
        else:
            values = _numbers_of_objects(column.to_list(), name)
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
        """Return a date column as days since 1970-01-01, missing cells as NaN.

        Times with a zone are converted to UTC, those without are taken to be in UTC.

        Raises
        ------
        ColumnError
            If a cell is not a date, or a text that is none.
        """
        column = self._frame.get_column(name)
        if _is_date(column.dtype):
            microseconds = column.cast(nw.Datetime("us")) if column.dtype == nw.Date else column
            return _as_floats(microseconds.dt.timestamp("us")) / _MICROSECONDS_A_DAY
        return _days_of_objects(column.to_list(), name)

    def strings(self, name: str) -> list[str | None]:
        """Return a column as strings, missing cells (also blank ones) as None."""
        column = self._frame.get_column(name)
        cells = column.to_list()
        if column.dtype == nw.String:
            return [_text_or_none(cell) if isinstance(cell, str) else None for cell in cells]
        if _is_numeric(column.dtype) or column.dtype == nw.Boolean or _is_date(column.dtype):
            known = self.known(name)
            return [str(cell) if there else None for cell, there in zip(cells, known, strict=True)]
        return [_text_of(cell) if _is_known(cell) else None for cell in cells]


def is_missing(cell: object) -> bool:
    """Return whether one cell is None, NaN, NaT or pd.NA."""
    if cell is None:
        return True
    if isinstance(cell, float | np.floating):
        return bool(cell != cell)
    if isinstance(cell, np.datetime64 | np.timedelta64):
        return bool(np.isnat(cell))
    if isinstance(cell, Decimal):
        return cell.is_nan()
    return type(cell).__name__ in {"NAType", "NaTType"}


def looks_like_date(text: str) -> bool:
    """Return whether a text is written as ``YYYY-MM-DD``, with or without a time.

    A day that no calendar has looks like a date, too: `Frame.days` refuses it, so that a
    slip of the pen does not turn a column of dates into one of categories.
    """
    return _DATE.fullmatch(text.strip()) is not None


def looks_measured(text: str) -> bool:
    """Return whether a text is a number such as ``5,2`` or ``<5``, or a date such as 31.1.2024."""
    bare = text.strip()
    return any(form.fullmatch(bare) is not None for form in (_NUMBER_TEXT, _OTHER_DATE))


def _is_numeric(dtype: Any) -> bool:
    return bool(dtype.is_numeric() or dtype == nw.Duration)


def _is_date(dtype: Any) -> bool:
    return bool(dtype == nw.Date or dtype == nw.Datetime)


def _as_floats(column: nw.Series[Any]) -> NDArray[np.float64]:
    """Return a copy, which callers may write to."""
    return np.array(column.cast(nw.Float64).to_numpy(), dtype=np.float64)


def _stored_numbers(column: nw.Series[Any]) -> NDArray[np.float64]:
    """Return a column that is stored as numbers, booleans or durations (in days)."""
    if column.dtype == nw.Duration:
        return _as_floats(column.dt.total_microseconds()) / _MICROSECONDS_A_DAY
    return _as_floats(column)


def _text_or_none(text: str) -> str | None:
    return text if text and not text.isspace() else None


def _is_known(cell: object) -> bool:
    """Return whether a cell is neither missing, nor blank text, nor a list or table of nothing."""
    if isinstance(cell, str):
        return _text_or_none(cell) is not None
    if hasattr(cell, "__len__"):
        return len(cell) > 0
    return not is_missing(cell)


def _text_of(cell: Any) -> str | None:
    """Return a cell as text, all of it: tables and long arrays print themselves cut short.

    A level 1 that has become 1.0, as numbers do beside a missing one, is the same level.
    """
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    if hasattr(cell, "to_dict"):
        plain = hasattr(cell, "select")  # polars gives Series otherwise
        cell = cell.to_dict(as_series=False) if plain else cell.to_dict()
    elif isinstance(cell, np.ndarray):
        cell = cell.tolist()
    return _text_or_none(str(cell))


def _is_arrow(X: Any) -> bool:
    return type(X).__module__.split(".")[0] == "pyarrow" and hasattr(X, "column_names")


def _arrow_to_native(X: Any) -> Any:
    import polars as pl

    _check_names(list(X.column_names))
    return pl.from_arrow(X)


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
    n_levels = getattr(X.columns, "nlevels", 1)
    if n_levels > 1:
        msg = (
            f"X: expected one level of column names, got {n_levels}. Join them, for example "
            "X.columns = ['_'.join(map(str, name)) for name in X.columns]."
        )
        raise ColumnError(msg)
    _check_names(list(X.columns))
    index = getattr(X, "index", None)
    if index is not None and not getattr(index, "is_unique", True):
        count = int(index.duplicated().sum())
        msg = (
            f"X: expected a unique row index, got {count} duplicated label(s). Use "
            "X.reset_index(drop=True), and pass patient identifiers as groups= instead."
        )
        raise InputError(msg)


def _check_names(names: list[Any]) -> None:
    """Raise unless columns are named by strings that differ."""
    unnamed = [name for name in names if not isinstance(name, str)]
    if unnamed:
        msg = (
            f"X: expected column names that are strings, got {len(unnamed)} of another type. "
            "Rename them, for example X.columns = X.columns.astype(str)."
        )
        raise ColumnError(msg)
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        msg = f"X: expected each column once, got {quoted(repeated)} more than once. Rename them."
        raise ColumnError(msg)


def _kind_of_objects(cells: list[Any]) -> Kind:
    """Return the kind of an object column from its cells."""
    known = [cell for cell in cells if not is_missing(cell)]
    if known and all(isinstance(cell, bool | np.bool_) for cell in known):
        return "boolean"
    if all(isinstance(cell, _NUMBERS) for cell in known):
        return "number"
    if all(isinstance(cell, datetime.date | np.datetime64) for cell in known):
        return "date"
    return "text"


def _numbers_of_objects(cells: list[Any], name: str) -> NDArray[np.float64]:
    out = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if is_missing(cell):
            continue
        try:
            out[row] = cell / _A_DAY if isinstance(cell, datetime.timedelta) else float(cell)
        except OverflowError:
            out[row] = np.inf
        except (TypeError, ValueError):
            msg = (
                f"Column {name!r}, row {row}: expected a number, got {type(cell).__name__}. "
                "Convert the column first, or use it as a category."
            )
            raise ColumnError(msg) from None
    return out


def _days_of_objects(cells: list[Any], name: str) -> NDArray[np.float64]:
    out = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
            continue
        date = _parse_date(cell, name, row) if isinstance(cell, str) else cell
        if isinstance(date, np.datetime64):
            date = date.astype("datetime64[us]").item()
        if not isinstance(date, datetime.date):
            msg = (
                f"Column {name!r}, row {row}: expected a date, got {type(cell).__name__}. "
                "Convert the column to dates first."
            )
            raise ColumnError(msg)
        out[row] = _day(date)
    return out


def _day(date: datetime.date) -> float:
    """Return days since 1970-01-01 in UTC."""
    if not isinstance(date, datetime.datetime):
        return float((date - _EPOCH.date()).days)
    return float((date - (_EPOCH.replace(tzinfo=None) if date.tzinfo is None else _EPOCH)) / _A_DAY)


def _parse_date(text: str, name: str, row: int) -> datetime.datetime:
    where = f"Column {name!r}, row {row}: expected a date as YYYY-MM-DD"
    if not looks_like_date(text):
        msg = f"{where}, got other text. Convert the column to dates first."
        raise ColumnError(msg)
    try:
        return datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        msg = f"{where}, got a day or a time that does not exist. Correct or blank the cell."
        raise ColumnError(msg) from None
