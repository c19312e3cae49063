"""Arrays on disk, in a private folder that is gone when the work is.

Dimensions: N rows of any shape.
"""

from __future__ import annotations

import math
import mmap
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from asfusion.streams.memory import BLOCK_BYTES

SMALL = 8  # of these parts is a block made that is copied while it is changed
_AROUND = 2**16
_DROP = getattr(mmap, "MADV_DONTNEED", None)


class Spool:
    """A folder in the system's temporary one (`TMPDIR`) that nobody else may read."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._n_files = 0
        self._arrays: list[Stored] = []

    def __enter__(self) -> Self:
        """Return the spool, to be closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove everything."""
        for array in self._arrays:
            with suppress(OSError):  # a disk that is full says so once more
                array.close()
        if self._folder is not None:
            with suppress(OSError):  # Windows removes no file that is still mapped
                self._folder.cleanup()

    def file(self, name: str) -> Path:
        """Return a path that nothing has been written to."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(
                prefix="asfusion-", ignore_cleanup_errors=True
            )
        self._n_files += 1
        return Path(self._folder.name) / f"{self._n_files}-{name}"

    def array(self, shape: tuple[int, ...], dtype: Any) -> Stored:
        """Return an array without rows yet, each of which will be of the given shape."""
        made = Stored(self.file("array.bin"), shape, dtype)
        self._arrays.append(made)
        return made


class Stored:
    """An array on disk: written row by row, then read in any order.

    Pages that were read are let go of again, so that they do not count as memory of the process;
    the system keeps them as long as nobody else needs the room.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        Shape of a row.
    dtype : dtype
        Type of the values.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any) -> None:
        self._path, self._row, self.dtype = path, shape, np.dtype(dtype)
        self._file: BinaryIO | None = path.open("wb")
        self._map: NDArray[Any] | None = None
        self._n_rows, self._read = 0, 0
        self._width: int | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._n_rows

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all rows."""
        row = self._row if self._width is None else (self._width,)
        return (self._n_rows, *row)

    @property
    def row_bytes(self) -> int:
        """The size of a row on disk."""
        return max(1, math.prod(self._row) * int(self.dtype.itemsize))

    @property
    def block_rows(self) -> int:
        """How many rows a block has: by their size alone."""
        return max(1, BLOCK_BYTES // self.row_bytes)

    def append(self, rows: NDArray[Any]) -> None:
        """Write rows behind the others."""
        assert self._file is not None
        self._file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)
        self._n_rows += len(rows)

    def close(self) -> None:
        """Let go of the file, if it is still written to."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def done(self) -> Self:
        """End writing."""
        self.close()
        shape = (self._n_rows, *self._row)
        if math.prod(shape):
            self._map = np.memmap(self._path, self.dtype, "r", shape=shape)
        else:
            self._map = np.zeros(shape, self.dtype)
        return self

    def rewrite(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Self:
        """Put what `change` makes of each block (n, at most W) in its place."""
        self._map = None
        with self._path.open("r+b") as file:
            step = max(1, self.block_rows // SMALL)
            for start in range(0, self._n_rows, step):
                n_rows = min(step, self._n_rows - start)
                file.seek(start * self.row_bytes)
                block = np.empty((n_rows, *self._row), self.dtype)
                file.readinto(block.data)
                made = change(block)
                self._width = made.shape[1]
                block[:, : self._width] = made
                file.seek(start * self.row_bytes)
                file.write(block.data)
        return self.done()

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows, in memory."""
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        # The system brings in pages around each row.
        size = max(self.row_bytes, _AROUND)
        step = max(1, BLOCK_BYTES // 4 // size)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            found[start : start + step] = self._all[part]
            self._let_go(len(part) * size)
        return found

    def between(self, start: int, end: int) -> NDArray[Any]:
        """Return rows that lie together; good until more is read."""
        self._let_go((end - start) * self.row_bytes)
        return self._all[start:end]

    def blocks(self, part: int = 1) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield all rows in blocks, or parts of such, each good until the next."""
        step = max(1, self.block_rows // part)
        for start in range(0, self._n_rows, step):
            place = slice(start, min(start + step, self._n_rows))
            yield place, self.between(place.start, place.stop)

    @property
    def _all(self) -> NDArray[Any]:
        assert self._map is not None
        return self._map if self._width is None else self._map[:, : self._width]

    def _let_go(self, size: int) -> None:
        """Let go of pages once many bytes were read."""
        self._read += size
        pages = getattr(self._map, "_mmap", None)
        if self._read >= BLOCK_BYTES // 4 and pages is not None and _DROP is not None:
            pages.madvise(_DROP)
            self._read = 0
