"""How large a compressed frame says it is, read without decoding it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from asfusion.exceptions import DicomReadError

_J2K = b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  "
# Start of frame: every JPEG process, and JPEG-LS.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD8)}


def check_codestream(stream: bytes, rows: int, columns: int) -> None:
    """Raise `DicomReadError` if a codestream is invalid or not of the size that the header says.

    Parameters
    ----------
    stream : bytes
        One compressed frame.
    rows, columns : int
        What the header declares, in pixels.
    """
    if not _is_sequential_scan(stream):
        msg = "expected valid JPEG data, got a sequential image whose scan says otherwise."
        raise DicomReadError(msg)
    found = codestream_size(stream)
    # A JPEG may leave its height open until its end.
    if found is not None and found != (rows, columns) and found != (0, columns):
        msg = (
            f"expected compressed data of {rows} x {columns} pixels as the header declares, got "
            "data of an image of another size."
        )
        raise DicomReadError(msg)


def codestream_size(stream: bytes) -> tuple[int, int] | None:
    """Return rows and columns of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Parameters
    ----------
    stream : bytes
        One compressed frame.

    Returns
    -------
    tuple of int or None
        None where there is no such codestream, as in run lengths.
    """
    if stream[:8] == _JP2:
        start = stream.find(_J2K)
        stream = stream[start:] if start >= 0 else b""
    if stream[:4] == _J2K and len(stream) >= 24:
        right, bottom, left, top = struct.unpack(">4L", stream[8:24])
        return max(0, bottom - top), max(0, right - left)
    return _jpeg_size(stream) if stream[:2] == b"\xff\xd8" else None


def _jpeg_size(stream: bytes) -> tuple[int, int] | None:
    for marker, at in _segments(stream):
        if marker in _FRAMES and at + 9 <= len(stream):
            height, width = struct.unpack(">HH", stream[at + 5 : at + 9])
            return height, width
    return None


def _is_sequential_scan(stream: bytes) -> bool:
    """Return False where a baseline or extended JPEG has a scan of another process.

    Decoders disagree about such data: some guess, others refuse.
    """
    sequential = False
    if stream[:2] != b"\xff\xd8":
        return True
    for marker, at in _segments(stream):
        sequential |= marker in (0xC0, 0xC1)
        if marker == 0xDA and sequential:
            n_components = stream[at + 4] if at + 4 < len(stream) else 0
            end = at + 5 + 2 * n_components
            return stream[end : end + 3] == b"\x00\x3f\x00"
    return True


def _segments(stream: bytes) -> Iterator[tuple[int, int]]:
    """Yield marker and place of the segments of a JPEG up to its first scan."""
    at = 2
    while at + 4 <= len(stream):
        at = stream.find(b"\xff", at)
        if at < 0 or at + 4 > len(stream):
            return
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _ALONE or marker == 0:
            at += 2
        else:
            yield marker, at
            if marker in (0xD9, 0xDA):
                return
            at += 2 + struct.unpack(">H", stream[at + 2 : at + 4])[0]
