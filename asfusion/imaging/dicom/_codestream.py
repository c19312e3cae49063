"""How large a compressed frame says it is, read without decoding it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from asfusion.exceptions import DicomReadError
from asfusion.imaging.formats.jpeg import FRAMES

_J2K = b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  "
# Start of frame: every JPEG process, and JPEG-LS.
_FRAMES = FRAMES | {0xF7}
_ALONE = {0x01, *range(0xD0, 0xD8)}


def begins_codestream(fragment: bytes) -> bool:
    """Return whether a fragment is the first of a frame: of a JPEG of any kind, or run lengths."""
    if fragment[:2] == b"\xff\xd8" or fragment[:4] == _J2K or fragment[:8] == _JP2:
        return True
    n_segments, first = struct.unpack("<2L", fragment[:8].ljust(8, b"\0"))
    return 1 <= n_segments <= 15 and bool(first == 64)


def check_codestream(stream: bytes, rows: int, columns: int, bits: int) -> None:
    """Raise `DicomReadError` if a codestream is invalid or not of what the header says.

    Parameters
    ----------
    stream : bytes
        One compressed frame.
    rows, columns : int
        What the header declares, in pixels.
    bits : int
        How many bits the header allocates to a sample.
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
    depth = _depth(stream)
    if depth is not None and depth > bits:
        msg = (
            f"expected compressed samples of at most {bits} bits as the header declares, got "
            "deeper ones. Correct the header."
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
    stream = _unboxed(stream)
    if stream[:4] == _J2K and len(stream) >= 24:
        right, bottom, left, top = struct.unpack(">4L", stream[8:24])
        return max(0, bottom - top), max(0, right - left)
    return _jpeg_size(stream) if stream[:2] == b"\xff\xd8" else None


def jpeg2000_depth(stream: bytes) -> int | None:
    """Return how many bits the first samples of a JPEG 2000 codestream have, None if signed.

    Parameters
    ----------
    stream : bytes
        One compressed frame.
    """
    form = _unboxed(stream)[42:43]
    return form[0] + 1 if form and form[0] < 128 else None


def _unboxed(stream: bytes) -> bytes:
    """Return the codestream inside a JP2 file, and any other stream as it is."""
    if stream[:8] != _JP2:
        return stream
    start = stream.find(_J2K)
    return stream[start:] if start >= 0 else b""


def _depth(stream: bytes) -> int | None:
    """Return how many bits the samples of a codestream have, None where there is none."""
    stream = _unboxed(stream)
    if stream[:4] == _J2K and len(stream) > 42:
        return (stream[42] & 127) + 1
    frame = _jpeg_frame(stream) if stream[:2] == b"\xff\xd8" else None
    return None if frame is None else frame[0]


def _jpeg_size(stream: bytes) -> tuple[int, int] | None:
    frame = _jpeg_frame(stream)
    return None if frame is None else (frame[1], frame[2])


def _jpeg_frame(stream: bytes) -> tuple[int, int, int] | None:
    """Return bits per sample, height and width of a JPEG or JPEG-LS."""
    for marker, at in _segments(stream):
        if marker in _FRAMES and at + 9 <= len(stream):
            depth, height, width = struct.unpack(">BHH", stream[at + 4 : at + 9])
            return depth, height, width
    return None


def _is_sequential_scan(stream: bytes) -> bool:
    """Return False where a baseline or extended JPEG has a scan of another process.

    Decoders disagree about such data: some guess, others refuse. They agree on a scan that says
    only zeros, as some encoders of twelve bits write it: it has all coefficients.
    """
    sequential = False
    if stream[:2] != b"\xff\xd8":
        return True
    for marker, at in _segments(stream):
        sequential |= marker in (0xC0, 0xC1)
        if marker == 0xDA and sequential:
            n_components = stream[at + 4] if at + 4 < len(stream) else 0
            end = at + 5 + 2 * n_components
            return stream[end : end + 3] in (b"\x00\x3f\x00", b"\x00\x00\x00")
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
