"""Pixels of equal shape in one file, found by the content that they were made of.

A folder holds ``pixels.raw`` (records one after another), ``index.bin`` (one entry per record:
what it was made of, a checksum of its pixels, a checksum of the entry; the first entry is a
random name of the store), ``seen.bin`` (files whose content is known, by `FileKey`; no names)
and ``lock``. Writers append under the lock, pixels first: a record exists once its entry is
whole, so that a killed writer leaves nothing but bytes that the next one overwrites. Nothing is
forced to the disk: what a power failure takes is seen by its checksum, and can be made again.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._files import hold, write_file
from asfusion.exceptions import StoreError

FileKey = tuple[int, int, int, int, int]
"""Device, number, size and the two times of a file, which change when its content does.

For a series: the digest of those of all its files, and how many they are.
"""

_ENTRY = struct.Struct("<32sLL")  # digest of the source, checksum of pixels, of the entry
_SEEN = struct.Struct("<5Q32sL")
_FILES = ("lock", "pixels.raw", "seen.bin", "index.bin")
_FORMAT = 1
_WHOLE = slice(None)


class Records:
    """Records of one shape and type in a folder that several processes may write.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    shape : tuple of int
        Shape of one record.
    dtype : dtype
        Type of its numbers.
    who : str
        The store that these are the records of, for messages.

    Raises
    ------
    StoreError
        If the folder is not there and cannot be made.
    """

    def __init__(
        self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any], who: str
    ) -> None:
        self.folder, self.shape, self.dtype, self.who = folder, shape, dtype, who
        self.record_bytes = int(np.prod(shape)) * dtype.itemsize
        self.n_repaired = self.n_rebuilt = 0  # by this process: places, and entries among them
        self._guard = threading.RLock()
        self._forget(b"")
        self.refresh()

    def _forget(self, name: bytes) -> None:
        """Start anew, with the store of another name."""
        self._name = name
        self.positions: dict[bytes, int] = {}
        self.seen: dict[FileKey, bytes] = {}
        self._sums: list[int | None] = []  # None where the entry itself is damaged
        self._sound: set[int] = set()  # records whose checksum was right once
        self._seen_bytes = 0
        self._pixels: NDArray[Any] | None = None

    def __len__(self) -> int:
        """Return the number of places, damaged ones among them."""
        return len(self._sums)

    @property
    def n_lost(self) -> int:
        """Number of places whose entry is damaged: nobody knows what was there."""
        return sum(1 for total in self._sums if total is None)

    # -- reading -----------------------------------------------------------------------

    def refresh(self) -> None:
        """Learn what other processes have written since, or that the store is another one.

        Raises
        ------
        StoreError
            If the store is not there and cannot be made.
        """
        try:
            with self._guard:
                self._learn_all()
        except OSError as error:
            raise StoreError(self._cannot("be opened", error)) from None

    def _learn_all(self) -> None:
        name, size = self._read_name()
        if name is None:
            self._make()
            name, size = self._read_name()
        known = (len(self._sums) + 1) * _ENTRY.size
        if name != self._name or size < known:
            self._forget(name or b"")
            known = _ENTRY.size
        for entry in _ENTRY.iter_unpack(self._tail("index.bin", known, _ENTRY.size)):
            self._learn(len(self._sums), *entry)
        seen = self._tail("seen.bin", self._seen_bytes, _SEEN.size)
        self._seen_bytes += len(seen)
        for *key, digest, check in _SEEN.iter_unpack(seen):
            if check == zlib.crc32(_SEEN.pack(*key, digest, 0)):
                self.seen[(key[0], key[1], key[2], key[3], key[4])] = digest

    def _read_name(self) -> tuple[bytes | None, int]:
        """Return the name of the store and the size of its index; None if it has no whole one."""
        if not all((self.folder / name).is_file() for name in _FILES):
            return None, 0
        with (self.folder / "index.bin").open("rb") as file:
            head, size = file.read(_ENTRY.size), os.fstat(file.fileno()).st_size
        return (head if _is_head(head) else None), size

    def _make(self) -> None:
        """Make a store, or what is missing of it; one whose name is damaged gets another.

        Its entries stay, as each has a checksum, unless they are of another version. Rows do, too:
        what was in them is known again once it is ingested.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            (self.folder / name).touch()
        with self._locked():
            if self._read_name()[0] is None:  # nobody else was quicker
                digest = os.urandom(32)
                check = zlib.crc32(_ENTRY.pack(digest, _FORMAT, 0))
                head = _ENTRY.pack(digest, _FORMAT, check)
                write_file(self.folder / "index.bin", head + self._old_entries(), durable=False)

    def _old_entries(self) -> bytes:
        """Return the entries behind a damaged name, and an empty one for each further record."""
        old = (self.folder / "index.bin").read_bytes()
        if _is_whole(old[: _ENTRY.size]):
            return b""
        rest = old[_ENTRY.size : len(old) // _ENTRY.size * _ENTRY.size]
        n_records = (self.folder / "pixels.raw").stat().st_size // self.record_bytes
        return rest.ljust(n_records * _ENTRY.size, b"\0")

    def _learn(self, position: int, digest: bytes, total: int, check: int) -> None:
        whole = check == zlib.crc32(_ENTRY.pack(digest, total, 0))
        if position == len(self._sums):
            self._sums.append(None)
        self._sums[position] = total if whole else None
        if whole:
            self.positions[digest] = position

    def _tail(self, name: str, start: int, unit: int) -> bytes:
        """Return whole entries of a file from a byte on."""
        with (self.folder / name).open("rb") as file:
            file.seek(start)
            data = file.read()
        return data[: len(data) // unit * unit]

    def damaged(self, positions: Iterable[int]) -> list[int]:
        """Return those of the positions whose pixels are not what was written.

        Each record is compared with its checksum once per process.
        """
        with self._guard:
            pixels = self._map()  # first: what was cut since is not sound any more
            bad = []
            for position in sorted(set(positions) - self._sound):
                if self._is_sound(pixels, position):
                    self._sound.add(position)
                else:
                    bad.append(position)
            return bad

    def _is_sound(self, pixels: NDArray[Any], position: int) -> bool:
        total = self._sums[position]
        if total is None or position >= len(pixels):
            return False
        return zlib.crc32(pixels[position].data) == total

    def holds(self, digest: bytes) -> bool:
        """Return whether a record of this content is there and sound at this moment."""
        with self._guard:
            self.refresh()
            position = self.positions.get(digest)
            return position is not None and self._is_sound(self._map(), position)

    def take(self, positions: NDArray[np.int64], part: slice = _WHOLE) -> NDArray[Any]:
        """Return records (N, ...) by position, known to be sound, in one operation.

        `part` is what is wanted of the first axis of each record.
        """
        with self._guard:
            pixels = self._map()
        return np.take(pixels[:, part], positions, axis=0)

    def look_again(self) -> None:
        """Read the index anew, and compare every record with its checksum when it is asked for."""
        with self._guard:
            self._forget(b"")
            self.refresh()

    def _map(self) -> NDArray[Any]:
        """Return all records that the file holds, mapped; longer once there are more."""
        size = (self.folder / "pixels.raw").stat().st_size
        n_whole = min(size // self.record_bytes, len(self._sums))
        if self._pixels is None or len(self._pixels) != n_whole:
            if self._pixels is not None and n_whole < len(self._pixels):
                self._sound.clear()
            self._pixels = (
                np.asarray(
                    np.memmap(
                        self.folder / "pixels.raw", self.dtype, "r", shape=(n_whole, *self.shape)
                    )
                )
                if n_whole
                else np.empty((0, *self.shape), self.dtype)
            )
        return self._pixels

    # -- writing -----------------------------------------------------------------------

    def write(self, records: Mapping[bytes, NDArray[Any]], files: Mapping[FileKey, bytes]) -> None:
        """Add records by the digest of their source, and files whose digest is known.

        A digest that is there already is written again only if its pixels are damaged.

        Raises
        ------
        StoreError
            If the disk is full or the folder cannot be written; what was there stays.
        """
        try:
            with self._guard, self._locked():
                self._learn_all()
                self._cut("index.bin", _ENTRY.size)
                self._cut("seen.bin", _SEEN.size)
                self._rebuild({d: r for d, r in records.items() if d not in self.positions})
                known = {d: self.positions[d] for d in records if d in self.positions}
                bad = set(self.damaged(known.values()))
                self._repair({p: (d, records[d]) for d, p in known.items() if p in bad})
                self._append([(d, r) for d, r in records.items() if d not in known])
                new = [_SEEN.pack(*k, d, 0) for k, d in files.items() if self.seen.get(k) != d]
                with (self.folder / "seen.bin").open("ab") as file:
                    file.write(b"".join(e[:-4] + struct.pack("<L", zlib.crc32(e)) for e in new))
                self._learn_all()
        except OSError as error:
            raise StoreError(self._cannot("be written", error)) from None

    def _append(self, records: list[tuple[bytes, NDArray[Any]]]) -> None:
        if not records:
            return
        start = len(self._sums) * self.record_bytes
        try:
            with (self.folder / "pixels.raw").open("r+b") as file:
                file.seek(start)
                for _, pixels in records:
                    file.write(np.ascontiguousarray(pixels).data)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self.folder / "pixels.raw", start)
            raise
        with (self.folder / "index.bin").open("ab") as file:
            file.write(b"".join(_entry(digest, pixels) for digest, pixels in records))

    def _rebuild(self, records: Mapping[bytes, NDArray[Any]]) -> None:
        """Write entries again that are damaged, where the pixels in their places are these."""
        pixels = self._map()
        lost = [p for p, total in enumerate(self._sums) if total is None and p < len(pixels)]
        places = {zlib.crc32(pixels[place].data): place for place in lost} if records else {}
        found: dict[int, tuple[bytes, NDArray[Any]]] = {}
        for digest, record in records.items():
            place = places.get(zlib.crc32(np.ascontiguousarray(record).data))
            if place is not None and place not in found and np.array_equal(pixels[place], record):
                found[place] = digest, record
        self._repair(found)
        self.n_rebuilt += len(found)

    def _repair(self, records: Mapping[int, tuple[bytes, NDArray[Any]]]) -> None:
        """Write records again in their places."""
        for position, (digest, pixels) in records.items():
            entry = _entry(digest, pixels)
            _put(self.folder / "pixels.raw", position * self.record_bytes, pixels.data)
            _put(self.folder / "index.bin", (position + 1) * _ENTRY.size, entry)
            self._learn(position, *_ENTRY.unpack(entry))
            self.n_repaired += 1

    def _cut(self, name: str, unit: int) -> None:
        """Drop the part of an entry that a killed writer left at the end."""
        size = (self.folder / name).stat().st_size
        if size % unit:
            os.truncate(self.folder / name, size - size % unit)

    def _cannot(self, what: str, error: OSError) -> str:
        return (
            f"{self.who}: expected a folder with room that may be written, but the store cannot "
            f"{what} ({error.strerror or type(error).__name__}). What was stored before is still "
            "there; free space or choose another folder, and ingest again."
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("r+b") as file:
            # The system lets go of it when the file is closed, or the process dies.
            hold(file.fileno())
            yield


def _is_head(head: bytes) -> bool:
    return _is_whole(head) and bool(_ENTRY.unpack(head)[1] == _FORMAT)


def _is_whole(head: bytes) -> bool:
    """Return whether this is an entry with its checksum, or a name of any version."""
    if len(head) < _ENTRY.size:
        return False
    name, form, check = _ENTRY.unpack(head)
    return bool(check == zlib.crc32(_ENTRY.pack(name, form, 0)))


def _entry(digest: bytes, pixels: NDArray[Any]) -> bytes:
    total = zlib.crc32(np.ascontiguousarray(pixels).data)
    return _ENTRY.pack(digest, total, zlib.crc32(_ENTRY.pack(digest, total, 0)))


def _put(path: Path, start: int, data: Any) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)
