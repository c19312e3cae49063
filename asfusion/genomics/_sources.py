"""Where dosages come from: memory, or a PLINK bed file that is read in part."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._optional import import_optional
from asfusion.exceptions import InputError
from asfusion.genomics import _kernel

Ints = NDArray[np.int64]
Floats32 = NDArray[np.float32]

_BLOCK_BYTES = 32 << 20  # of dosages that are in memory at once
_WORD_BYTES = 4 << 20  # of calls as they stand in a file: as many as stay in a cache
_HEAD = 3  # bytes of a bed file before the calls


class Source(ABC):
    """Dosages of N samples and V variants, read in blocks of variants.

    `is_whole` says whether dosages are counts of alleles, 0, 1 or 2, not fractions.
    """

    is_whole: bool = True

    @abstractmethod
    def blocks(self, rows: Ints, columns: Ints) -> Iterator[tuple[Ints, Floats32]]:
        """Yield places among `columns` (K,) with their dosages (len(rows), K), NaN if missing.

        Parameters
        ----------
        rows, columns : ndarray of int
            Samples and variants by position, in any order.
        """


class ArraySource(Source):
    """Dosages that are in memory.

    Parameters
    ----------
    dosages : ndarray of shape (N, V), float32
        From 0 to 2, NaN if missing.
    """

    def __init__(self, dosages: Floats32) -> None:
        self.dosages = dosages
        known = dosages[~np.isnan(dosages)]
        self.is_whole = bool((known == np.round(known)).all())

    def blocks(self, rows: Ints, columns: Ints) -> Iterator[tuple[Ints, Floats32]]:
        for places in split_places(len(rows), len(columns)):
            yield places, self.dosages[np.ix_(rows, columns[places])]


class BedSource(Source):
    """Calls of a PLINK 1 bed file whose size has been checked.

    Parameters
    ----------
    path : Path
        The file.
    n_samples, n_variants : int
        What its companions list.
    """

    def __init__(self, path: Path, n_samples: int, n_variants: int) -> None:
        self.path, self.n_samples, self.n_variants = path, n_samples, n_variants

    def blocks(self, rows: Ints, columns: Ints) -> Iterator[tuple[Ints, Floats32]]:
        bed_reader = import_optional("bed_reader", needed_for="read_plink", extra="genomics")
        with self._one_error():
            opened: Any = bed_reader.open_bed(
                self.path, iid_count=self.n_samples, sid_count=self.n_variants, properties={}
            )
            with opened as bed:
                for places in split_places(len(rows), len(columns)):
                    index = (rows, columns[places])
                    yield places, bed.read(index=index, dtype="float32", order="C", num_threads=1)

    def words(self, columns: Ints) -> Iterator[tuple[Ints, NDArray[np.uint64]]]:
        """Yield places among `columns` with their calls as 64-bit words, all samples in each.

        The array that is yielded is filled anew each time. It is read, not mapped: what a
        mapping has touched counts as memory, and a file that is cut meanwhile ends the process.
        """
        n_bytes = -(-self.n_samples // 4)
        n_words = -(-self.n_samples // _kernel.PEOPLE_A_WORD)
        most = max(1, _WORD_BYTES // (8 * n_words * _kernel.GROUP)) * _kernel.GROUP
        buffer = np.zeros((min(most, _padded(len(columns))), n_words), dtype=np.uint64)
        slots = [row.view(np.uint8).data[:n_bytes] for row in buffer]
        order = np.argsort(columns, kind="stable")
        with self.path.open("rb", buffering=0) as file:
            for start in range(0, len(order), most):
                places = order[start : start + most]
                _fill(file.fileno(), slots, columns[places], n_bytes)
                yield places, buffer

    def _one_error(self) -> Any:
        return _Reworded()


class _Reworded:
    """Turn what bed-reader raises into one error without a path."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError | ValueError) and not isinstance(error, InputError):
            raise InputError(_CHANGED) from None


_CHANGED = (
    "read_plink: the .bed file could not be read as it was when it was opened. Was it moved, "
    "cut or replaced meanwhile?"
)


def _fill(handle: int, slots: list[memoryview], columns: Ints, n_bytes: int) -> None:
    """Read the calls of variants, in rising order, each into a slot of its own."""
    ends = np.flatnonzero(np.diff(columns) != 1) + 1
    most = min(1024, os.sysconf("SC_IOV_MAX") if hasattr(os, "sysconf") else 1)
    for run in np.split(np.arange(len(columns)), ends):
        for start in range(0, len(run), most):
            part = run[start : start + most]
            place = _HEAD + int(columns[part[0]]) * n_bytes
            wanted = slots[part[0] : part[-1] + 1]
            if _read_into(handle, wanted, place) != n_bytes * len(part):
                raise InputError(_CHANGED)


def _read_into(handle: int, slots: list[memoryview], place: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(handle, slots, place)
    os.lseek(handle, place, os.SEEK_SET)  # Windows
    content = os.read(handle, sum(len(slot) for slot in slots))
    done = 0
    for slot in slots:
        part = content[done : done + len(slot)]
        slot[: len(part)] = part
        done += len(part)
    return done


def _padded(n_variants: int) -> int:
    """Return the next multiple of the variants that the kernel takes together."""
    return -(-max(1, n_variants) // _kernel.GROUP) * _kernel.GROUP


def split_places(n_rows: int, n_columns: int) -> Iterator[Ints]:
    """Yield places of columns, a block's worth at a time."""
    most = max(1, _BLOCK_BYTES // (4 * max(1, n_rows)))
    for start in range(0, n_columns, most):
        yield np.arange(start, min(start + most, n_columns))
