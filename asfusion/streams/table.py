"""A polars LazyFrame as X: its rows are read in pieces, and never all at once.

A scan of Parquet files is read where it lies. What is more than a scan (a filter, a join) is
run once, into a private file: run again it could give its rows in another order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.selectors import by_name

from asfusion._checks import quoted
from asfusion._frames import Frame
from asfusion._warn import warn_user
from asfusion.exceptions import InputError
from asfusion.streams.memory import BLOCK_BYTES, ROW_BYTES, SORTED_BYTES, resident_bytes
from asfusion.streams.reading import asked, collected, count
from asfusion.streams.spool import Spool, Stored

T = TypeVar("T")
Floats = NDArray[np.float64]

_CELL_BYTES, _TEXT_BYTES = 8, 48  # text is taken to be so long
_LEAST_ROWS, _MOST_ROWS = 256, 2**17
_SAMPLED = 0.25  # share of the bound for rows that an encoder learns from as a whole
_PLAIN = re.compile(r"\s*(Parquet SCAN|DF) \[")


class Stream(Frame):
    """The rows of a LazyFrame behind the face of a `Frame`: columns, length, selections.

    Cells are read by `each`, some rows at a time, or by `by_columns`, some columns at a time.
    Whoever asks for more is told that the rows are not in memory.

    Parameters
    ----------
    lazy : LazyFrame
        The rows: a scan.
    spool : Spool
        Where what is made of them is kept.
    memory_gb : float
        Most memory that the process may take.
    """

    is_streamed = True

    def __init__(self, lazy: pl.LazyFrame, spool: Spool, memory_gb: float) -> None:
        self._lazy, self._spool, self._memory_gb = lazy, spool, memory_gb
        self._schema = asked(lazy.collect_schema)
        self.columns: tuple[str, ...] = tuple(self._schema.names())
        self.is_array = False
        self._rows: NDArray[np.int64] | None = None
        self._n_rows = count(lazy)

    @classmethod
    def of(cls, lazy: pl.LazyFrame, spool: Spool, memory_gb: float) -> Stream:
        """Return the rows of a LazyFrame, which is run first if it is more than a scan."""
        if not _PLAIN.match(asked(lazy.slice(1, 1).explain)):
            file = spool.file("rows.parquet")
            asked(lambda: lazy.sink_parquet(file, compression="lz4", row_group_size=2**16))
            lazy = pl.scan_parquet(file)
        return cls(lazy, spool, memory_gb)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._n_rows

    @property
    def spool(self) -> Spool:
        """Where what is made of the rows is kept."""
        return self._spool

    def column(self, name: Any) -> Any:
        """Return the column of that name, or the columns; what is no name as it is."""
        if isinstance(name, str):
            return self._in_memory([name]).column(name)
        named = isinstance(name, list) and name and all(isinstance(one, str) for one in name)
        return self._in_memory(name).to_native() if named else name

    def __getattr__(self, name: str) -> Any:
        """Say of the table in memory, which all other methods read, that there is none."""
        if name != "_frame":
            raise AttributeError(name)
        self._refuse()

    def _refuse(self) -> NoReturn:
        msg = (
            "X: expected rows in memory for this, got a LazyFrame, whose rows are read in pieces. "
            "Pass X.collect(), or a part of it, such as X.head(100_000).collect()."
        )
        raise InputError(msg)

    def to_native(self) -> pl.DataFrame:
        """Return the columns and their types, without a row."""
        return pl.DataFrame(schema=self._schema)

    def select(self, names: Sequence[str], who: str = "X") -> Stream:
        """Return the named columns, in that order."""
        if tuple(names) == self.columns:
            return self
        self.check_columns(names, who)
        made = self._copy()
        made._lazy = self._lazy.select([by_name(name) for name in names])
        made._schema = pl.Schema({name: self._schema[name] for name in names})
        made.columns = tuple(names)
        return made

    def take(self, rows: NDArray[Any]) -> Stream:
        """Return the given rows, as rising positions or a bool mask."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        if len(rows) > 1 and (np.diff(rows) <= 0).any():
            self._refuse()
        made = self._copy()
        made._rows = rows if self._rows is None else self._rows[rows]
        made._n_rows = len(rows)
        return made

    def cells(self, name: str) -> list[Any]:
        """Return the cells of one column."""
        return self._in_memory([name]).cells(name)

    def known(self, name: str) -> NDArray[np.bool_]:
        """Return which cells of one column are known."""
        return self._in_memory([name]).known(name)

    def present(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return which rows have a known cell in at least one of the columns."""
        own = self.select(names)
        found = own.each(lambda piece: piece.present(own.columns))
        return np.concatenate([np.zeros(0, dtype=bool), *found])

    # -- cells -------------------------------------------------------------------------

    def each(self, read: Callable[[Frame], T], row_bytes: int = 0) -> Iterator[T]:
        """Yield what `read` makes of all rows, in order, some at a time.

        How many are together follows from the columns and from `row_bytes`, what becomes of a
        row: never from the memory that there is, so that results do not depend on it.
        """
        own = sum(map(self._cell_bytes, self.columns))
        at_once = int(np.clip(BLOCK_BYTES // max(own, 1), _LEAST_ROWS, _MOST_ROWS))
        together = int(np.clip(BLOCK_BYTES // max(row_bytes, 1), 1, at_once))
        for table in self._tables(at_once):
            for first in range(0, len(table), together):
                rows = np.arange(first, min(first + together, len(table)))
                yield read(table if len(rows) == len(table) else table.take(rows))

    def by_columns(self, names: Sequence[str]) -> Iterator[tuple[list[str], Frame]]:
        """Yield names, and all rows with these columns: as many as there is memory for.

        What is learned of each column by itself, such as its median, is exact in this way.
        """
        room = int(self._memory_gb * 1e9) - resident_bytes()
        room = room // 2 - len(self) * (ROW_BYTES + SORTED_BYTES)
        part: list[str] = []
        taken = 0
        for name in names:
            cost = 2 * len(self) * self._cell_bytes(name)
            if part and taken + cost > room:
                yield part, self._in_memory(part)
                part, taken = [], 0
            part.append(name)
            taken += cost
        yield part, self._in_memory(part)

    def sample(self, names: Sequence[str], weight: Floats) -> tuple[Frame, Floats]:
        """Return some columns in memory: all rows, or as many as a share of the bound holds.

        Which rows these are depends on the bound and on nothing else.
        """
        own = self.select(names)
        size = sum(own.each(lambda piece: int(piece.to_native().estimated_size())))
        share = _SAMPLED * self._memory_gb * 1e9 / max(size, 1)
        if share >= 1.0:
            return self._in_memory(names), weight
        chosen = np.random.default_rng(0).random(len(self)) < share
        warn_user(
            f"Columns {quoted(names)}: {int(chosen.sum())} of {len(self)} rows are read to "
            "learn what their encoder starts from, which is what memory_gb has room for."
        )
        some = own.take(chosen)
        tables = list(some.each(lambda piece: piece.to_native()))
        return Frame(pl.concat(tables), is_array=False, origin=some._rows), weight[chosen]

    def read_by(self, read: Callable[[Frame], Any]) -> Any:
        """Return what `read` makes of the rows, as tensors on disk."""
        from asfusion.streams.prepared import store_prepared

        return store_prepared(self, read, self._spool)

    def store(self, read: Callable[[Frame], NDArray[Any]], dtype: Any) -> Stored:
        """Return the matrix that `read` makes of the rows, on disk."""
        width = read(self.first()).shape[1]
        stored = self._spool.array((width,), dtype)
        for rows in self.each(read, 8 * width):
            stored.append(rows)
        return stored.done()

    def first(self) -> Frame:
        """Return the first row, in memory."""
        return next(self._tables(1))

    def _tables(self, at_once: int) -> Iterator[Frame]:
        """Yield all rows, so many places in the files at a time."""
        last = self._n_rows if self._rows is None else int(self._rows.max(initial=-1)) + 1
        first = 0 if self._rows is None or not last else int(self._rows[0]) // at_once * at_once
        for start in range(first, last, at_once):
            if self._rows is None:
                yield self._slice(start, at_once)
                continue
            low, high = np.searchsorted(self._rows, (start, start + at_once))
            if low < high:
                yield self._slice(start, at_once).take(self._rows[low:high] - start)

    def _slice(self, start: int, n_rows: int) -> Frame:
        rows = collected(self._lazy.slice(start, n_rows), self.columns)
        return Frame(rows, is_array=False, origin=np.arange(start, start + len(rows)))

    def _in_memory(self, names: Sequence[str]) -> Frame:
        own = self.select(names)
        frame = Frame(collected(own._lazy, self.columns), is_array=False)
        return frame if self._rows is None else frame.take(self._rows)

    def _cell_bytes(self, name: str) -> int:
        dtype = self._schema[name]
        return _CELL_BYTES if dtype.is_numeric() or dtype.is_temporal() else _TEXT_BYTES

    def _copy(self) -> Stream:
        made = object.__new__(Stream)
        made.__dict__.update(self.__dict__)
        return made
