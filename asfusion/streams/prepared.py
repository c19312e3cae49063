"""Rows of a modality as tensors that lie on disk and come into memory batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion._later import torch
from asfusion._tokens import Prepared
from asfusion.streams.memory import BLOCK_BYTES
from asfusion.streams.spool import Spool, Stored

if TYPE_CHECKING:
    from torch import Tensor


class Pieces:
    """Rows of one tensor on disk; sequences may be longer in some pieces than in others."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._parts: list[Stored] = []
        self._starts = [0]

    def append(self, rows: NDArray[Any]) -> None:
        """Write rows behind the others."""
        if not self._parts or self._parts[-1].shape[1:] != rows.shape[1:]:
            self._parts.append(self._spool.array(rows.shape[1:], rows.dtype))
            self._starts.append(self._starts[-1])
        self._parts[-1].append(rows)
        self._starts[-1] += len(rows)

    def done(self) -> Pieces:
        """End writing."""
        for part in self._parts:
            part.done()
        return self

    @property
    def row_bytes(self) -> int:
        """The size of the longest row."""
        return max(part.row_bytes for part in self._parts)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows in memory, shorter ones filled up with zeros."""
        if len(self._parts) == 1:
            return self._parts[0].take(rows)
        longest = np.max([part.shape[1:] for part in self._parts], axis=0)
        found = np.zeros((len(rows), *longest), self._parts[0].dtype)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(part_of):
            places = np.flatnonzero(part_of == number)
            own = self._parts[number].take(rows[places] - self._starts[number])
            shorter: Any = (places, *(slice(size) for size in own.shape[1:]))
            found[shorter] = own
        return found


class OnDisk:
    """Rows of a tensor on disk; those that are asked for by position come into memory.

    Parameters
    ----------
    pieces : Pieces
        All rows.
    rows : ndarray of int64
        Those that are meant.
    """

    def __init__(self, pieces: Pieces, rows: NDArray[np.int64]) -> None:
        self._pieces, self._rows = pieces, rows
        none = self[:0]
        self.dtype, self.shape = none.dtype, (len(rows), *none.shape[1:])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __getitem__(self, rows: int | slice | Tensor) -> Tensor:
        """Return some rows, or one, as a tensor in memory."""
        if isinstance(rows, int):
            return self[rows : rows + 1][0]
        chosen = self._rows[rows if isinstance(rows, slice) else rows.numpy()]
        return torch.from_numpy(self._pieces.take(chosen))


class StoredPrepared(Prepared):
    """Rows of one modality of which a batch at a time comes into memory."""

    _stored: Mapping[str, Pieces]
    _rows: NDArray[np.int64]

    def __init__(
        self,
        stored: Mapping[str, Pieces],
        present: Tensor,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        rows = np.arange(len(present)) if rows is None else rows
        own: Any = {name: OnDisk(pieces, rows) for name, pieces in stored.items()}
        # The record is frozen, and its check has nothing to say of these.
        vars(self).update(tensors=own, present=present, _stored=stored, _rows=rows)

    def take(self, rows: Tensor) -> StoredPrepared:
        """Return the given rows, which stay on disk until they are asked for."""
        return StoredPrepared(self._stored, self.present[rows], self._rows[rows.numpy()])

    @property
    def n_near(self) -> int:
        """How many rows may be in one shuffle: those that a block of memory holds."""
        row_bytes = sum(pieces.row_bytes for pieces in self._stored.values())
        return max(1, 2 * BLOCK_BYTES // row_bytes)


def store_prepared(stream: Any, read: Callable[[Frame], Prepared], spool: Spool) -> StoredPrepared:
    """Return what `read` makes of all rows, on disk."""
    present: list[Tensor] = []
    stored: dict[str, Pieces] = {}
    for part in _read_all(stream, read):
        present.append(part.present)
        for name, tensor in part.tensors.items():
            stored.setdefault(name, Pieces(spool)).append(tensor.numpy())
    done = {name: pieces.done() for name, pieces in stored.items()}
    return StoredPrepared(done, torch.cat(present))


def _read_all(stream: Any, read: Callable[[Frame], Prepared]) -> Iterator[Prepared]:
    first = read(stream.first())
    size = sum(tensor.numel() * tensor.element_size() for tensor in first.tensors.values())
    yield from stream.each(read, size)
