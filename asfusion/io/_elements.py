"""A walk along the elements of a DICOM file that reads little and passes over the rest.

`pydicom` keeps what it meets; a folder of thousands of files has to be looked at for a score of
short entries of each. No length that a file states is believed beyond the end of the file, no
value beyond a thousand bytes is kept, and what is read is counted.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from asfusion.exceptions import DicomReadError
from asfusion.imaging._limits import HEADER_BUDGET
from asfusion.imaging.dicom.encoding import DEFLATED, encoding_of, looks_like_dicom

NOT_DICOM = "expected a DICOM file, got one of another kind."
CUT = "expected a complete DICOM file, got one that is cut short."
DAMAGED = "expected a readable DICOM header, got a damaged one."
_WINDOW = 2**13  # bytes that are read at once; most headers end before their pixels do so
_LONGEST = 1024  # bytes of a value that is kept
_MOST_WINDOWS = 1000
_UNDEFINED, _UNKNOWN = 0xFFFFFFFF, -1
_OF_ITEMS, _ITEM_END, _SEQUENCE_END = 0xFFFE, 0xFFFEE00D, 0xFFFEE0DD
_SYNTAX = 0x00020010
_LONG = frozenset(
    {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UR", b"UT", b"UN", b"SV", b"UV"}
)
_SHORT = frozenset(
    {
        b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN",
        b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
    }
)  # fmt: skip
# Whether representations are implicit, and numbers little endian, of the usual ones.
_ENCODINGS = {"1.2.840.10008.1.2": (True, True), "1.2.840.10008.1.2.1": (False, True)}
_FORMS = {
    order: (
        struct.Struct(order + "HH2sH").unpack_from,
        struct.Struct(order + "HHL").unpack_from,
        struct.Struct(order + "L").unpack_from,
    )
    for order in "<>"
}
# Bytes before a value, by its representation as a number: of the usual encoding.
_SKIPS = {int.from_bytes(form, "little"): 8 for form in _SHORT} | {
    int.from_bytes(form, "little"): 12 for form in _LONG
}
_HEAD, _LENGTH = struct.Struct("<LHH").unpack_from, struct.Struct("<L").unpack_from


class OddError(Exception):
    """The header is written in a way that only a patient reader makes out."""


class Wanted:
    """Tags that are looked for, also as they read with their halves turned around."""

    __slots__ = ("tags", "turned")

    def __init__(self, tags: Iterable[int] = ()) -> None:
        self.tags = frozenset(tags)
        self.turned = {(tag & 0xFFFF) << 16 | tag >> 16: tag for tag in self.tags}


_META = Wanted([_SYNTAX])


class Elements:
    """Entries of a file that were looked for.

    Parameters
    ----------
    syntax : str
        Transfer syntax; empty where the file names none.
    little : bool
        Whether numbers are little endian.
    values : dict of int to bytes
        Values by tag, of the outermost level.
    end : int
        First byte that was not looked at.
    """

    __slots__ = ("end", "little", "syntax", "values")

    def __init__(self, syntax: str, little: bool, values: dict[int, bytes], end: int) -> None:
        self.syntax = syntax
        self.little = little
        self.values = values
        self.end = end


def read_elements(
    file: BinaryIO,
    size: int,
    wanted: Wanted,
    stop: int | None,
    windows: tuple[int, int] = (_WINDOW, _MOST_WINDOWS),
) -> Elements:
    """Return wanted entries of a file, up to the first tag from `stop` on.

    Parameters
    ----------
    file : binary file
        An open file.
    size : int
        Its length, in bytes.
    wanted : Wanted
        Tags of the outermost level.
    stop : int or None
        Where to stop; None walks to the end, and so sees whether the file is complete.
    windows : (int, int)
        Bytes that are read at once, and how often they are, at most.

    Raises
    ------
    DicomReadError
        If it is no DICOM file, is cut short, or takes too many steps.
    OddError
        If it can be one, written in a way that is not understood here.
    """
    start = file.read(max(windows[0], 348))
    if not looks_like_dicom(start[:132]):
        raise DicomReadError(NOT_DICOM)
    walk = _Walk(file, size, start, windows)
    meta: dict[int, bytes] = {}
    at = 132 if start[128:132] == b"DICM" else 0
    at = walk.along(at, False, "<", _META, 0x00030000, meta)
    syntax = meta.get(_SYNTAX, b"").rstrip(b"\0 ").decode("ascii", "replace")
    if syntax == DEFLATED:
        return _deflated(walk, at, wanted, stop)
    implicit, little = _ENCODINGS.get(syntax) or encoding_of(walk.copy(at), syntax, 0)
    values: dict[int, bytes] = {}
    if stop is not None and little and not implicit:
        at = walk.quickly(at, wanted, stop, values)
    end = walk.along(at, implicit, "<" if little else ">", wanted, stop, values)
    return Elements(syntax, little, values, end)


def _deflated(walk: _Walk, at: int, wanted: Wanted, stop: int | None) -> Elements:
    """Return wanted entries of a deflated file, of which only a header's worth is unpacked."""
    walk.file.seek(at)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(walk.file.read(HEADER_BUDGET), HEADER_BUDGET)
    except zlib.error:
        raise DicomReadError(DAMAGED) from None
    inner = _Walk(io.BytesIO(plain), len(plain), plain, (_WINDOW, walk.left))
    values: dict[int, bytes] = {}
    # Its end is nowhere in the file: what is walked to the end is no more than the header.
    inner.along(0, False, "<", wanted, stop or 0x7FE00000, values)
    return Elements(DEFLATED, True, values, at)


class _Walk:
    """Where a reader stands in a file, and the bytes around that place."""

    __slots__ = ("base", "data", "file", "left", "room", "size", "window")

    def __init__(self, file: BinaryIO, size: int, start: bytes, windows: tuple[int, int]) -> None:
        self.file, self.size = file, size
        self.window, self.left = windows
        self.base = 0
        self._hold(start)

    def _hold(self, data: bytes) -> None:
        # At the end of a file a last short element is read as if more came.
        self.data = data + bytes(4) if self.base + len(data) >= self.size else data
        self.room = len(self.data)

    def move(self, at: int, n: int) -> None:
        """Hold at least `n` bytes from a place on."""
        self.left -= 1
        if at + n > self.size + 4 or self.left < 0:
            raise DicomReadError(DAMAGED if self.left < 0 else CUT)
        self.file.seek(at)
        self.base = at
        self._hold(self.file.read(max(self.window, n)))
        if self.room < n:
            raise DicomReadError(CUT)

    def copy(self, at: int) -> BinaryIO:
        """Return the next few bytes as a file."""
        if at >= self.size:
            raise DicomReadError(CUT)
        if at - self.base + 16 > self.room:
            self.move(at, 0)
        return io.BytesIO(self.data[at - self.base : at - self.base + 16])

    def quickly(self, at: int, wanted: Wanted, stop: int, values: dict[int, bytes]) -> int:
        """Walk as `along` does as far as all is as usual, and is held; return how far it was."""
        data, limit, last = self.data, min(self.room, self.size), stop >> 16
        tags = wanted.turned
        at -= self.base
        while at + 12 <= limit:
            tag, form, length = _HEAD(data, at)
            skip = _SKIPS.get(form)
            if skip != 8:
                if skip is None:
                    break
                (length,) = _LENGTH(data, at + 8)
            start = at + skip
            end = start + length
            if end > limit or tag & 0xFFFF >= last:
                break
            if tag in tags and length <= _LONGEST:
                values[tags[tag]] = data[start:end]
            at = end
        return at + self.base

    def along(
        self,
        at: int,
        implicit: bool,
        order: str,
        wanted: Wanted,
        stop: int | None,
        values: dict[int, bytes],
    ) -> int:
        """Walk over elements of the outermost level; return where the first is that is not."""
        while at < self.size:
            tag, start, length = self._head(at, implicit, order)
            if stop is not None and tag >= stop:
                return at
            if length == _UNKNOWN:
                raise OddError
            if length == _UNDEFINED:
                at = self._over(start, implicit, order)
                continue
            at = start + length
            if at > self.size:
                raise DicomReadError(CUT)
            if tag in wanted.tags and length <= _LONGEST:
                if start - self.base + length > self.room:
                    self.move(start, length)
                values[tag] = self.data[start - self.base : at - self.base]
        return at

    def _over(self, at: int, implicit: bool, order: str) -> int:
        """Return where a sequence of undefined length ends, whatever is nested in it."""
        depth = 1
        while depth:
            tag, at, length = self._head(at, implicit, order)
            if tag in (_ITEM_END, _SEQUENCE_END):
                depth -= 1
            elif length == _UNKNOWN:
                raise OddError
            elif length == _UNDEFINED:
                depth += 1
            else:
                at += length
        return at

    def _head(self, at: int, implicit: bool, order: str) -> tuple[int, int, int]:
        """Return tag, first byte of the value and its length of the element at a place."""
        i = at - self.base
        if i + 12 > self.room or i < 0:
            self.move(at, 12)
            i = 0
        short, plain, long = _FORMS[order]
        group, element, form, length = short(self.data, i)
        tag = group << 16 | element
        if implicit or group == _OF_ITEMS:
            return tag, at + 8, plain(self.data, i)[2]
        if form in _SHORT:
            return tag, at + 8, length
        if form not in _LONG:
            return tag, at + 8, _UNKNOWN
        (length,) = long(self.data, i + 8)
        # What is unknown and of no length hides another encoding.
        return tag, at + 12, _UNKNOWN if form == b"UN" and length == _UNDEFINED else length
