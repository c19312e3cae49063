"""The directories of a TIFF file, and of the EXIF block of another."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, NamedTuple

from asfusion.exceptions import ImageReadError
from asfusion.imaging.formats.claim import MAX_DIRECTORY, MAX_PARTS, check_beside, damaged

_WIDTHS = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
    17: 8, 18: 8,
}  # fmt: skip
_NESTED = {34665, 34853, 40965}  # EXIF, position, interoperability
_MUCH = 2**62
_WHOLE = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}  # kinds of whole numbers
_FORMS = {
    b"II*\0": ("<", False),
    b"MM\0*": (">", False),
    b"II+\0": ("<", True),
    b"MM\0+": (">", True),
}


class Entry(NamedTuple):
    """One entry of a directory: its tag, its kind, how many values, and where they lie."""

    tag: int
    kind: int
    n_values: int
    place: int
    n_bytes: int


class Directories:
    """What a file of this form holds, read a few bytes at a time.

    Parameters
    ----------
    file : binary file
        It starts with the mark of its byte order.

    Raises
    ------
    ImageReadError
        If it starts otherwise.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.n_bytes = file.seek(0, io.SEEK_END)
        form = _FORMS.get(self._read(0, 4))
        if form is None:
            raise damaged("TIFF")
        self._order, self._wide = form
        self.first = self._number(8, "Q") if self._wide else self._number(4, "L")

    def at(self, start: int, *, cut: bool = False) -> list[Entry]:
        """Return the entries of a directory; those that are there of one that may be `cut`."""
        count, first = self._count(start)
        width = 20 if self._wide else 12
        if cut:
            count = min(count, max(0, self.n_bytes - first) // width)
        elif count > MAX_PARTS:
            raise damaged("TIFF")
        data = self._read(first, count * width)
        return [self._entry(data, i * width, first) for i in range(count)]

    def next_of(self, start: int) -> int:
        """Return where the directory behind one lies, 0 for none."""
        count, first = self._count(start)
        end = first + count * (20 if self._wide else 12)
        if end + (8 if self._wide else 4) > self.n_bytes:
            return 0
        return self._number(end, "Q" if self._wide else "L")

    def numbers(self, entry: Entry, most: int) -> list[int]:
        """Return the whole numbers of an entry, of others none; raise if there are more."""
        form = _WHOLE.get(entry.kind)
        if form is None or entry.n_values > most:
            raise damaged("TIFF")
        data = self._read(entry.place, entry.n_bytes)
        return list(struct.unpack(f"{self._order}{entry.n_values}{form}", data))

    def weight(self, entries: list[Entry], depth: int = 2) -> int:
        """Return how many bytes of the file entries point at, those of EXIF inside included."""
        inside = 8 if self._wide else 4
        n_bytes = sum(
            entry.n_bytes
            for entry in entries
            if entry.n_bytes > inside and entry.place + entry.n_bytes <= self.n_bytes
        )
        nested = {entry.tag: entry for entry in entries if depth and entry.tag in _NESTED}
        return n_bytes + sum(self._nested(entry, depth - 1) for entry in nested.values())

    def _nested(self, entry: Entry, depth: int) -> int:
        """Return the weight of the directory that an entry leads to; a broken one has none."""
        try:
            entries = self.at(self.numbers(entry, 1)[0], cut=True)
        except (ImageReadError, IndexError):
            return 0
        return self.weight(entries, depth) if len(entries) <= MAX_PARTS else _MUCH

    def _count(self, start: int) -> tuple[int, int]:
        if self._wide:
            return self._number(start, "Q"), start + 8
        return self._number(start, "H"), start + 2

    def _entry(self, data: bytes, at: int, first: int) -> Entry:
        head, offset = ("HHQ", "Q") if self._wide else ("HHL", "L")
        tag, kind, count = struct.unpack_from(self._order + head, data, at)
        n_bytes = _WIDTHS.get(kind, 1) * count
        inside = at + struct.calcsize("<" + head)
        if n_bytes <= struct.calcsize("<" + offset):
            return Entry(tag, kind, count, first + inside, n_bytes)
        (place,) = struct.unpack_from(self._order + offset, data, inside)
        return Entry(tag, kind, count, place, n_bytes)

    def _number(self, at: int, form: str) -> int:
        (number,) = struct.unpack(self._order + form, self._read(at, struct.calcsize("<" + form)))
        return int(number)

    def _read(self, at: int, n: int) -> bytes:
        if at + n > self.n_bytes:
            raise damaged("TIFF")
        self._file.seek(at)
        return self._file.read(n)


def check_block(block: bytes, kind: str) -> None:
    """Raise where a block of EXIF or the like points at far more than it holds."""
    try:
        found = Directories(io.BytesIO(block))
        entries = found.at(found.first, cut=True)
    except ImageReadError:
        return  # no such block, or a broken one, which does not spoil the pixels
    n_bytes = found.weight(entries) if len(entries) <= MAX_PARTS else _MUCH
    check_beside(kind, n_bytes, MAX_DIRECTORY)
