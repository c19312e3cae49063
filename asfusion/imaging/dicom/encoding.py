"""How a DICOM file is encoded: its meta group, its byte order, and where its pixels begin."""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

import numpy as np

from asfusion.exceptions import DicomReadError
from asfusion.imaging._limits import LARGE, MAX_BYTES

DEFLATED = "1.2.840.10008.1.2.1.99"
PIXEL_TAGS = {
    0x7FE00010: "PixelData",
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
}
_IMPLICIT_LITTLE, _EXPLICIT_LITTLE, _EXPLICIT_BIG = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
)
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
# Retired: progressive JPEG, which the decoder of twelve bits reads as well.
_PROGRESSIVE = ("1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55")
SYNTAX, SOP_CLASS = b"\x10\x00", b"\x02\x00"  # elements of the meta group
CUT_IMAGE = (
    "expected a complete DICOM image, got a DICOM file without pixel data: it is damaged or cut "
    "short inside its header."
)
GUESSED = {
    (True, True): _IMPLICIT_LITTLE,
    (False, True): _EXPLICIT_LITTLE,
    (False, False): _EXPLICIT_BIG,
}
_LONG_FORMS = (
    b"OB",
    b"OW",
    b"OF",
    b"OD",
    b"OL",
    b"OV",
    b"SQ",
    b"UC",
    b"UR",
    b"UT",
    b"UN",
    b"SV",
    b"UV",
)
_SHORT_FORMS = (
    b"AE",
    b"AS",
    b"AT",
    b"CS",
    b"DA",
    b"DS",
    b"DT",
    b"FD",
    b"FL",
    b"IS",
    b"LO",
    b"LT",
    b"PN",
    b"SH",
    b"SL",
    b"SS",
    b"ST",
    b"TM",
    b"UI",
    b"UL",
    b"US",
)


class HeaderTooLarge(Exception):
    """The header needs more bytes than the budget allows."""


class Metered:
    """A file of which only so many bytes may be read."""

    def __init__(self, file: BinaryIO, start: int, budget: int | None) -> None:
        self._file = file
        self._left = budget
        self._size = file.seek(0, io.SEEK_END)
        file.seek(start)

    def read(self, n: int = -1) -> bytes:
        """Return up to `n` bytes, never more than the file has left."""
        # Never ask for more than is there: a file makes room before it looks.
        rest = max(0, self._size - self._file.tell())
        n = rest if n is None or n < 0 else min(n, rest)
        if self._left is not None:
            self._left -= n
            if self._left < 0:
                raise HeaderTooLarge
        return self._file.read(n)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return where the file stands."""
        return self._file.tell()


def looks_like_dicom(start: bytes) -> bool:
    """Return whether a file starts as DICOM does, with its preamble or without one."""
    bare = start[:2] in (b"\x02\x00", b"\x08\x00") and start[3:4] == b"\x00"
    return start[128:132] == b"DICM" or bare


def transfer_syntax(file: BinaryIO) -> tuple[str, int]:
    """Return the transfer syntax that the file meta group names and where the group ends."""
    meta, start = meta_group(file)
    return (meta or {}).get(SYNTAX, ""), start


def meta_group(file: BinaryIO) -> tuple[dict[bytes, str] | None, int]:
    """Return identifiers of the file meta group, None without preamble, and where it ends."""
    file.seek(128)
    has_preamble = file.read(4) == b"DICM"
    if not has_preamble:
        file.seek(0)
    found: dict[bytes, str] = {}
    while True:
        start = file.tell()
        head = file.read(8)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            return found if has_preamble or found else None, start
        skip = 8
        if head[4:6] in _LONG_FORMS:
            (length,) = struct.unpack("<L", file.read(4).ljust(4, b"\x00"))
            skip = 12
        elif head[4:6] in _SHORT_FORMS:
            (length,) = struct.unpack("<H", head[6:8])
        else:
            (length,) = struct.unpack("<L", head[4:8])
        if head[2:4] in (SYNTAX, SOP_CLASS):
            value = file.read(min(length, 64))
            if len(value) == min(length, 64):  # else cut
                found[head[2:4]] = value.rstrip(b"\x00 ").decode("ascii", "replace")
        file.seek(start + skip + length)


def known_syntax(syntax: str) -> str:
    """Return the transfer syntax to decode with if pydicom knows it, else raise."""
    from pydicom import uid

    if syntax in _PROGRESSIVE:
        return JPEG_EXTENDED
    if uid.UID(syntax) not in uid.AllTransferSyntaxes:
        msg = "expected pixel data that can be decoded here, got an unknown transfer syntax."
        raise DicomReadError(msg)
    return syntax


def encoding_of(file: BinaryIO, syntax: str, start: int) -> tuple[bool, bool]:
    """Return whether value representations are implicit, and numbers little endian."""
    if syntax:
        return syntax == _IMPLICIT_LITTLE, syntax != _EXPLICIT_BIG
    file.seek(start)
    head = file.read(6).ljust(6, b"\x00")
    if head[4:6] not in _LONG_FORMS + _SHORT_FORMS:
        return True, True
    # The first group of a big endian file, 0x0008, is 0x0800 the other way round.
    return False, struct.unpack("<H", head[:2])[0] < 1024


def pixel_element(file: Metered, little: bool) -> tuple[str | None, int, int, bool]:
    """Return keyword, first byte and length of the pixel data at which a reader stopped.

    Last comes whether they are words of sixteen bits, whose bytes a big endian file swaps.
    """
    order = "<" if little else ">"
    head = file.read(8)
    if len(head) < 8:
        return None, -1, -1, False
    group, element = struct.unpack(f"{order}HH", head[:4])
    keyword = PIXEL_TAGS.get(group << 16 | element)
    if keyword is None:
        return None, -1, -1, False
    (length,) = struct.unpack(f"{order}L", head[4:])
    # No implicit length looks like one of these: it would be odd.
    if head[4:6] in _LONG_FORMS:
        (length,) = struct.unpack(f"{order}L", file.read(4).ljust(4, b"\x00"))
    return keyword, file.tell(), -1 if length == 0xFFFFFFFF else length, head[4:6] == b"OW"


def inflate(file: BinaryIO, start: int) -> bytes:
    """Return what a deflated file holds behind its meta group, if that is no bomb."""
    file.seek(start)
    inflater, parts, n_bytes = zlib.decompressobj(-zlib.MAX_WBITS), [], 0
    while data := file.read(2**16):
        while data:
            parts.append(inflater.decompress(data, 2**20))
            n_bytes += len(parts[-1])
            data = inflater.unconsumed_tail
            if n_bytes > MAX_BYTES or n_bytes > max(LARGE, 250 * file.tell()):
                msg = (
                    f"expected at most {MAX_BYTES // 2**20} MiB and 250 times the size of the "
                    "file, got a deflated DICOM file that holds more."
                )
                raise DicomReadError(msg)
    if not inflater.eof:
        msg = "expected a complete file, got a deflated DICOM file that is cut short."
        raise DicomReadError(msg)
    return b"".join(parts)


def swapped(data: bytes) -> bytes:
    """Return words of sixteen bits with their bytes the other way round."""
    words = np.frombuffer(data + b"\0" * (len(data) % 2), np.uint16)
    return words.byteswap().tobytes()
