"""Features on disk, of which some rows are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.streams.spool import Stored


class Matrix:
    """Features (N, F) on disk, for models that read them in blocks, always the same ones.

    Parameters
    ----------
    stored : Stored
        All rows.
    rows : ndarray of int
        Those that are used, rising.
    """

    def __init__(self, stored: Stored, rows: NDArray[np.int64]) -> None:
        self._stored, self._rows = stored, rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and of features."""
        return len(self), self._stored.shape[1]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows in memory."""
        return self._stored.take(self._rows[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows in memory: for few of them."""
        return np.asarray(self._stored.take(self._rows), dtype=dtype)

    def blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield the places of some rows and their features, good until the next."""
        done = 0
        for place, block in self._stored.blocks():
            low, high = np.searchsorted(self._rows, (place.start, place.stop))
            if low == high:
                continue
            part = block if high - low == len(block) else block[self._rows[low:high] - place.start]
            yield slice(done, done + len(part)), part
            done += len(part)
