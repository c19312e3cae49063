"""The segments of a JPEG file."""

from __future__ import annotations

import re
import struct
from typing import BinaryIO, NamedTuple

from asfusion.exceptions import ImageReadError
from asfusion.imaging._limits import LARGE
from asfusion.imaging.formats.claim import (
    MAX_PARTS,
    Claim,
    check_beside,
    damaged,
)
from asfusion.imaging.formats.directories import check_block

_MAX_SCANS = 128  # those who write them for the network make ten to thirty
_EASY_PIXELS = 50_000_000  # of all scans together: half a second
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END = 0xDA, 0xD9
_BESIDE = {*range(0xE0, 0xF0), 0xFE}
_JUNK = 1024  # bytes between segments that belong to none
_BLOCK = 2**20
# What ends a scan: 0 stands for a byte of 255, and restarts belong to it.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


class _Frame(NamedTuple):
    """The process, size and number of components of an image."""

    process: int
    n_pixels: int
    n_components: int


def walk_jpeg(file: BinaryIO, n_bytes: int) -> Claim:
    """Return what a JPEG file asks for, or raise `ImageReadError`.

    A progressive image is gone through once for each scan, and a scan of a few bytes may say
    nothing about all of it: so scans are counted. One that comes in a single scan ends with it.
    """
    frame, at = _to_first_scan(file, n_bytes)
    file.seek(at + 4)
    in_scan = file.read(1)
    is_sequential = frame.process in (_BASELINE, _EXTENDED)
    if is_sequential and in_scan == bytes([frame.n_components]):
        return Claim("JPEG")
    n_scans = _count_scans(file, at, n_bytes)
    if n_scans > _MAX_SCANS:
        msg = (
            f"expected a JPEG file of at most {_MAX_SCANS} scans, got more. It was made to take "
            "long; if you know where it comes from, save it anew."
        )
        raise ImageReadError(msg)
    # Until the last scan all coefficients are kept, two bytes each.
    is_hard = (
        not (is_sequential or frame.process == _PROGRESSIVE)
        or n_scans * frame.n_pixels > _EASY_PIXELS
        or 2 * frame.n_components * frame.n_pixels > LARGE
    )
    return Claim("JPEG", is_hard=is_hard)


def _to_first_scan(file: BinaryIO, n_bytes: int) -> tuple[_Frame, int]:
    """Return what the header says of the image, and where its first scan begins."""
    frame: _Frame | None = None
    beside = n_junk = 0
    exif = b""
    at = 2
    for _ in range(MAX_PARTS):
        at, junk = _next_marker(file, at, n_junk)
        n_junk += junk
        marker, length = struct.unpack(">xBH", _read(file, at, 4))
        if marker == _SCAN and frame is not None:
            check_block(exif, "JPEG")
            return frame, at
        if length < 2 or at + 2 + length > n_bytes or marker in (_SCAN, _END):
            raise damaged("JPEG")
        if marker in FRAMES:
            if frame is not None:
                raise damaged("JPEG")
            height, width, n_components = struct.unpack(">HHB", _read(file, at + 5, 5))
            frame = _Frame(marker, height * width, n_components)
        if marker in _BESIDE:
            beside += length
            check_beside("JPEG", beside)
            exif += _looked_at(file, at, length)
        at += 2 + length
    raise damaged("JPEG")


def _looked_at(file: BinaryIO, at: int, length: int) -> bytes:
    """Return a piece of EXIF; what lists the further pictures of a file is checked at once."""
    start = _read(file, at + 4, min(6, length - 2))
    if start == b"Exif\0\0":
        return _read(file, at + 10, length - 8)
    if start[:4] == b"MPF\0":
        check_block(_read(file, at + 8, length - 6), "JPEG")
    return b""


def _next_marker(file: BinaryIO, at: int, n_junk: int) -> tuple[int, int]:
    """Return where the next segment begins, and how many bytes before it belong to none."""
    file.seek(at)
    data = file.read(_JUNK + 2)
    for junk in range(len(data) - 1):
        if junk + n_junk > _JUNK:
            break
        if data[junk] == 0xFF and data[junk + 1] not in (0x00, 0xFF):
            return at + junk, junk
    raise damaged("JPEG")


def _count_scans(file: BinaryIO, at: int, n_bytes: int) -> int:
    """Return how many scans there are from a byte on; one more than may be is enough."""
    n_scans, n_segments = 0, 0
    while n_scans <= _MAX_SCANS and n_segments < MAX_PARTS:
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[1] == _END:
            return n_scans
        n_segments += 1
        n_scans += head[1] == _SCAN
        length = struct.unpack(">H", head[2:])[0] if head[1] > 0x01 else 0
        at = _to_marker(file, at + 2 + length, n_bytes)
    return _MAX_SCANS + 1


def _to_marker(file: BinaryIO, at: int, n_bytes: int) -> int:
    """Return where the next marker is, that of a restart not counted."""
    n = 2**12
    while at < n_bytes:
        file.seek(at)
        data = file.read(n)
        found = _MARKER.search(data)
        if found:
            return at + found.start()
        at += max(1, len(data) - 1)
        n = min(2 * n, _BLOCK)
    return n_bytes


def _read(file: BinaryIO, at: int, n: int) -> bytes:
    file.seek(at)
    data = file.read(n)
    if len(data) < n:
        raise damaged("JPEG")
    return data
