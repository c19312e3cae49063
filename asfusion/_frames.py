"""X, as the rest of the library reads it: named columns with one reading each.

This is the only module that knows pandas, polars and narwhals. Everything else asks
a `Frame` for numbers, strings or rows and never sees the user's container.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from asfusion._arrays import filled, refuse_masked
from asfusion._cells import (
    Kind,
    days_of_objects,
    is_known,
    is_missing,
    kind_of_objects,
    numbers_of_objects,
    text_of,
    text_or_none,
)
from asfusion._checks import quoted, suggestion
from asfusion._origins import origin_of, remembered
from asfusion.exceptions import ColumnError, InputError

_MICROSECONDS_A_DAY = 86_400e6
# Cells of a block that are in memory at once: 8 MB of a table of any size.
_CELLS_AT_ONCE = 2**20
# What numpy's own numbers are called; others are looked up, which takes long for a single row.
_TYPES = {
    np.dtype(name.lower()): getattr(nw, name)()
    for name in ("Float64", "Float32", "Int64", "Int32", "Int16", "Int8", "UInt8")
}
_MOST_WIDTHS = 32  # of arrays, whose names are kept
_LAZY_FIX = "Call .collect() (or .compute()) first and pass the result."


class Frame:
    """A table of rows with named columns, over pandas, polars or a 2-D array.

    Build it with `Frame.read`. Missing cells are None in `strings` and NaN in
    `numbers`, whatever the container calls them (None, NaN, NaT, pd.NA, null).
    """

    # Whether rows are read in pieces, see `asfusion.streams`.
    is_streamed: bool = False

    def __init__(
        self, native: Any, *, is_array: bool, origin: NDArray[np.int64] | None = None
    ) -> None:
        self._frame = nw.from_native(native, eager_only=True)
        self.is_array = is_array
        self._origin = origin_of(native) if origin is None else origin
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
            If `X` is lazy or not a table.
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

    @property
    def origin(self) -> NDArray[np.int64]:
        """Where each row stands in what the user passed: messages name it so."""
        return np.arange(len(self)) if self._origin is None else self._origin

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
        if tuple(names) == self.columns:
            return self
        self.check_columns(names, who)
        native = self.to_native()
        if self._frame.implementation.is_pandas():  # by place: names take it five times as long
            places = {name: place for place, name in enumerate(self.columns)}
            chosen = native.take([places[name] for name in names], axis=1)
        else:  # not by `select`: there, polars takes a name such as "^a$" for a pattern
            chosen = native[list(names)]
        return Frame(chosen, is_array=self.is_array, origin=self._origin)

    def take(self, rows: NDArray[Any]) -> Frame:
        """Return the given rows, as positions or a bool mask."""
        rows = np.asarray(rows)
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        taken = self._frame[positions, :].to_native()
        return Frame(taken, is_array=self.is_array, origin=self.origin[positions])

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
        return self._alike(plain.with_columns(column))

    def with_cells(self, name: str, cells: Sequence[Any]) -> Frame:
        """Return the same rows with other cells, of any kind, in one column."""
        native = self.to_native()
        if self._frame.implementation.is_pandas():
            column = native[name].astype(object).copy()
            column[:] = np.fromiter(cells, object, len(cells))
            return self._alike(nw.from_native(native.assign(**{name: column})))
        import polars as pl

        column = pl.Series(name, list(cells), dtype=pl.Object)
        return self._alike(nw.from_native(native.with_columns(column)))

    def with_numbers(self, columns: Mapping[str, NDArray[np.float64]]) -> Frame:
        """Return the same rows with other or further columns of numbers, NaN for missing ones."""
        plain = nw.maybe_reset_index(self._frame)
        backend = nw.get_native_namespace(self._frame)
        made = [nw.new_series(name, cells, backend=backend) for name, cells in columns.items()]
        return self._alike(plain.with_columns(*made)) if made else self

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
                column = nw.maybe_convert_dtypes(column)
            stays = nw.new_series(
                name, mask, nw.Boolean, backend=nw.get_native_namespace(self._frame)
            )
            # Not by `nw.col`: there, polars takes a name such as "^a$" for a pattern.
            plain = plain.with_columns(nw.when(stays).then(column).alias(name))
        return self._alike(plain)

    def to_native(self) -> Any:
        """Return the pandas or polars DataFrame that this Frame views."""
        return self._frame.to_native()

    def as_part(self) -> Any:
        """Return what `to_native` does; who reads this very table again knows its `origin`."""
        native = self.to_native()
        return native if self._origin is None else remembered(native, self._origin)

    def kind(self, name: str) -> Kind:
        """Return what the column holds; strings are ``"text"``, to be told apart later."""
        dtype = self._types[name]
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
        return kind_of_objects(self.cells(name))

    def order(self, name: str) -> tuple[str, ...]:
        """Return the levels of an ordered category from low to high, as `strings` writes them.

        None for a column that is none. What polars calls an Enum is ordered.
        """
        dtype = self._types[name]
        levels = map(text_of, dtype.categories) if dtype == nw.Enum else ()
        return tuple(level for level in levels if level is not None)

    def is_nested(self, name: str) -> bool:
        """Return whether cells of a column may be lists or tables of their own."""
        dtype = self._types[name]
        return bool(dtype == nw.List or dtype == nw.Array or dtype == nw.Object)

    def cells(self, name: str) -> list[Any]:
        """Return the cells of a column as they are."""
        return list(self._frame.get_column(name).to_list())

    def column(self, name: str) -> Any:
        """Return a column as the pandas or polars Series that it is."""
        return self._frame.get_column(name).to_native()

    def known(self, name: str) -> NDArray[np.bool_]:
        """Return which cells of a column are neither missing, blank text nor empty lists."""
        dtype = self._types[name]
        if _is_date(dtype):
            missing = self._frame.get_column(name).is_null()
            return ~np.asarray(missing.to_numpy(), dtype=bool)
        if _is_numeric(dtype) or dtype == nw.Boolean:
            return ~np.isnan(self._numbers_alone(name))
        return np.asarray([is_known(cell) for cell in self.cells(name)], dtype=bool)

    def present(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return which rows have a known cell in at least one of the columns."""
        present = np.zeros(len(self), dtype=bool)
        for part in self._parts([name for name in names if name in self.plain]):
            present |= ~np.isnan(self._stored(part)).all(axis=1)
            if present.all():
                return present
        for name in names:
            if name not in self.plain:
                present |= self.known(name)
        return present

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
        values = self._numbers_alone(name)
        infinite = np.flatnonzero(np.isinf(values))
        if infinite.size:
            msg = (
                f"Column {name!r}: expected finite numbers or missing cells, got infinity in "
                f"{infinite.size} row(s), the first at position {self.origin[infinite[0]]}. "
                "Replace infinities by NaN if they mean 'not measured'."
            )
            raise InputError(msg)
        return values

    @cached_property
    def plain(self) -> frozenset[str]:
        """The columns that are stored as numbers or booleans: a block of them is read at once."""
        library = self._frame.implementation
        if not (library.is_polars() or library.is_pandas()):
            return frozenset()
        kinds = {id(dtype): dtype for dtype in self._types.values()}
        plain = {number for number, dtype in kinds.items() if _is_plain(dtype)}
        if library.is_pandas():
            # An Arrow decimal, which pandas would read cell by cell, is none.
            plain -= {number for number, dtype in kinds.items() if dtype.is_decimal()}
        return frozenset(name for name, dtype in self._types.items() if id(dtype) in plain)

    def numbers_of(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Return number and boolean columns (n_rows, n_names), each as `numbers` gives it.

        The block is the caller's own. What `numbers` refuses is refused here, the first of the
        names that it refuses.
        """
        try:
            block = self._block(names)
        except (ColumnError, InputError):
            self._refuse_first(names)
            raise
        if np.isinf(block).any():
            self._refuse_first(names)
        return block

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[list[str], NDArray[np.float64]]]:
        """Yield names and their `numbers_of`, as many at a time as keep a copy small."""
        for part in self._parts(names):
            yield part, self.numbers_of(part)

    def row_blocks(self, names: Sequence[str]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield rows and their `numbers_of` of plain columns, a few rows at a time.

        For what is done to each cell alone: a few rows stay in the processor's cache.
        """
        step = max(1, _CELLS_AT_ONCE // max(1, len(names)))
        for start in range(0, len(self) if names else 0, step):
            rows = slice(start, start + step)
            block = self._stored(names, rows)
            if np.isinf(block).any():
                self._refuse_first(names)
            yield rows, block

    def by_columns(self, names: Sequence[str]) -> Iterator[tuple[list[str], Frame]]:
        """Yield names, and all rows with these columns: in memory, all names at once."""
        yield list(names), self

    def sample(
        self, names: Sequence[str], weight: NDArray[np.float64]
    ) -> tuple[Frame, NDArray[np.float64]]:
        """Return rows in memory that have the columns, and their weights: here, all rows."""
        return self, weight

    def read_by(self, read: Callable[[Frame], Any]) -> Any:
        """Return what `read` makes of all rows."""
        return read(self)

    def days(self, name: str) -> NDArray[np.float64]:
        """Return a date column as days since 1970-01-01, missing cells as NaN.

        Times with a zone are converted to UTC, those without are taken to be in UTC.

        Raises
        ------
        ColumnError
            If a cell is not a date, or a text that is none.
        """
        column = self._frame.get_column(name)
        if _is_date(self._types[name]):
            microseconds = column.cast(nw.Datetime("us")) if column.dtype == nw.Date else column
            return _as_floats(microseconds.dt.timestamp("us")) / _MICROSECONDS_A_DAY
        return days_of_objects(column.to_list(), name, self.origin)

    def strings(self, name: str) -> list[str | None]:
        """Return a column as strings, missing cells (also blank ones) as None."""
        cells, dtype = self.cells(name), self._types[name]
        if dtype == nw.String:
            return [text_or_none(cell) if isinstance(cell, str) else None for cell in cells]
        if _is_numeric(dtype) or dtype == nw.Boolean or _is_date(dtype):
            known = self.known(name)
            return [str(cell) if there else None for cell, there in zip(cells, known, strict=True)]
        return [text_of(cell) if is_known(cell) else None for cell in cells]

    @cached_property
    def _types(self) -> dict[str, Any]:
        """The type of each column; columns that are stored alike are asked for it once."""
        types: dict[str, Any] = {}
        found: dict[Any, Any] = {}
        for name, stored in zip(self.columns, self.to_native().dtypes, strict=True):
            if getattr(stored, "kind", None) == "O":  # what these hold is each one's own
                types[name] = self._frame.get_column(name).dtype
                continue
            if stored not in found:
                found[stored] = _TYPES.get(stored) or self._frame.get_column(name).dtype
            types[name] = found[stored]
        return types

    def _alike(self, table: Any) -> Frame:
        """Return another table of the same rows."""
        return Frame(table.to_native(), is_array=self.is_array, origin=self._origin)

    def _parts(self, names: Sequence[str]) -> Iterator[list[str]]:
        width = max(1, _CELLS_AT_ONCE // max(1, len(self)))
        for start in range(0, len(names), width):
            yield list(names[start : start + width])

    def _block(self, names: Sequence[str]) -> NDArray[np.float64]:
        plain = [name for name in names if name in self.plain]
        if len(plain) == len(names):
            return self._stored(names)
        block = np.empty((len(self), len(names)), order="F")
        block[:, [name in self.plain for name in names]] = self._stored(plain)
        for place, name in enumerate(names):
            if name not in self.plain:
                block[:, place] = self.numbers(name)
        return block

    def _stored(self, names: Sequence[str], rows: slice | None = None) -> NDArray[np.float64]:
        """Return plain columns as a block of its own, missing cells as NaN."""
        if not names:
            return np.empty((len(self), 0))
        read = _read_polars if self._frame.implementation.is_polars() else _read_pandas
        native = self.to_native()
        if rows is not None:
            native = native[rows] if read is _read_polars else native.iloc[rows]
        whole = tuple(names) == self.columns
        block = read(native if whole else native[list(names)])
        # A column lies in one piece where whole ones are asked for.
        return np.array(block, dtype=np.float64, order="C" if rows else "F")

    def _numbers_alone(self, name: str) -> NDArray[np.float64]:
        """Return one column, infinity included."""
        dtype = self._types[name]
        if name in self.plain and self._frame.implementation.is_pandas():
            # Not by a cast, which Arrow refuses to integers that a float rounds, in words of
            # its own that show the cell.
            cells = self.to_native()[name].to_numpy(dtype=np.float64, na_value=np.nan)
            return np.array(cells)
        if _is_numeric(dtype) or dtype == nw.Boolean:
            return _stored_numbers(self._frame.get_column(name))
        return numbers_of_objects(self.cells(name), name, self.origin)

    def _refuse_first(self, names: Sequence[str]) -> None:
        """Raise what `numbers` raises first, in the order of the columns."""
        for name in names:
            self.numbers(name)


def _read_polars(table: Any) -> NDArray[Any]:
    import polars as pl

    if set(table.dtypes) != {pl.Float64}:
        table = table.select(pl.all().cast(pl.Float64))
    return np.asarray(table.to_numpy())


def _read_pandas(table: Any) -> NDArray[Any]:
    if all(isinstance(dtype, np.dtype) for dtype in set(table.dtypes)):
        return np.asarray(table.to_numpy(dtype=np.float64))  # a view of what is stored so
    return np.asarray(table.to_numpy(dtype=np.float64, na_value=np.nan))


def group_labels(groups: Any, n_rows: int) -> NDArray[Any]:
    """Return the group of each row, none of them missing; a single column is its entries."""
    refuse_masked(groups, "groups")
    labels = np.asarray(groups.to_numpy() if hasattr(groups, "to_numpy") else groups)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 0 or len(labels) != n_rows:
        got = "a single value" if labels.ndim == 0 else str(len(labels))
        raise InputError(f"groups: expected {n_rows} entries, one per row, got {got}.")
    if labels.ndim != 1:
        msg = f"groups: expected one label per row, got an array of {labels.ndim} dimensions."
        raise InputError(msg)
    missing = sum(is_missing(label) for label in labels.tolist())
    if missing:
        msg = (
            f"groups: expected a label for every row, got {missing} missing. "
            "Give each row without a known patient a label of its own."
        )
        raise InputError(msg)
    return labels


def _is_numeric(dtype: Any) -> bool:
    return bool(dtype.is_numeric() or dtype == nw.Duration)


def _is_plain(dtype: Any) -> bool:
    return bool(dtype.is_numeric() or dtype == nw.Boolean)


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
    if np.ma.isMaskedArray(X):
        X = filled(X)
    return pd.DataFrame(X, columns=_names_of_array(X.shape[1]), copy=False)


def is_lazy(X: Any) -> bool:
    """Return whether X is a polars LazyFrame, whose rows some can read in pieces."""
    return type(X).__name__ == "LazyFrame"


def _refuse_lazy(X: Any) -> None:
    """Raise for frames whose rows are not in memory yet."""
    module = type(X).__module__.split(".")[0]
    if is_lazy(X) or module in {"dask", "pyspark", "duckdb", "ibis"}:
        msg = f"X: expected a table in memory, got the lazy {type(X).__name__}. {_LAZY_FIX}"
        if is_lazy(X):
            msg += " Early, joint and late fusion fit on a LazyFrame; every fusion predicts."
        raise InputError(msg)


def _check_labels(X: Any) -> None:
    """Raise unless each column has a name of its own; labels of rows may repeat."""
    n_levels = getattr(X.columns, "nlevels", 1)
    if n_levels > 1:
        msg = (
            f"X: expected one level of column names, got {n_levels}. Join them, for example "
            "X.columns = ['_'.join(map(str, name)) for name in X.columns]."
        )
        raise ColumnError(msg)
    _check_names(list(X.columns))


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


_names: dict[int, Any] = {}  # by width: to make them takes as long as a prediction


def _names_of_array(width: int) -> Any:
    """Return the names of an array's columns, as pandas keeps them."""
    import pandas as pd

    names = _names.get(width)
    if names is None:
        if len(_names) >= _MOST_WIDTHS:
            _names.clear()
        names = _names[width] = pd.Index([f"x{i}" for i in range(width)])
    return names
