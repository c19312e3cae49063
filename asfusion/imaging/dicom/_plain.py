"""Stored values of an uncompressed DICOM image, read as they lie in the file.

Most radiographs are plain numbers behind a header. Reading those directly is several
times faster than through a general decoder; whatever is unusual is left to that.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging._resize import is_shrunk, resize, resize_rows
from asfusion.imaging.dicom.header import Header

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_PIXEL_DATA = b"\xe0\x7f\x10\x00"


class _Unusual(Exception):
    """The file does not hold what its header says, or holds more in bits said to be unused."""


class PlainRows:
    """The stored values (H, W) of a file, read as they are wanted.

    A radiograph is much larger than what is trained on. Worked on a few rows at a time, it
    never leaves the processor's cache.

    Parameters
    ----------
    path : Path
        The file.
    start : int
        Its first byte of pixels.
    shape : tuple of two int
        Rows and columns.
    dtype : dtype
        Type of the stored values.
    stored : int
        Bits that values may use.
    otherwise : callable
        Returns the values by another way, if something is unusual about them.
    """

    def __init__(
        self,
        path: Path,
        start: int,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        stored: int,
        otherwise: Callable[[], NDArray[Any]],
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self._path, self._start, self._stored, self._otherwise = path, start, stored, otherwise

    def whole(self) -> NDArray[Any]:
        """Return all values."""
        values = np.empty(self.shape, self.dtype)
        try:
            with self._path.open("rb", buffering=0) as file:
                self._fill(file, values, 0)
        except _Unusual:
            return self._otherwise()
        return values

    def resized(self, height: int, width: int) -> NDArray[np.float32]:
        """Return what `resize` makes of all values."""
        if not is_shrunk(self.shape, self.dtype, height, width):
            return resize(self.whole(), height, width)
        buffer = np.empty((0, 0), self.dtype)

        def read(first: int, last: int) -> NDArray[Any]:
            nonlocal buffer
            if len(buffer) < last - first:
                buffer = np.empty((last - first, self.shape[1]), self.dtype)
            self._fill(file, buffer[: last - first], first)
            return buffer[: last - first]

        try:
            with self._path.open("rb", buffering=0) as file:
                return resize_rows(read, self.shape, self.dtype, height, width)
        except _Unusual:
            return resize(self._otherwise(), height, width)

    def _fill(self, file: FileIO, values: NDArray[Any], first: int) -> None:
        """Read rows from `first` on. Not mapped: whoever cuts the file would end the process."""
        file.seek(self._start + first * self.shape[1] * self.dtype.itemsize)
        view = values.data.cast("B")
        while view:
            n = file.readinto(view)
            if not n:
                raise _Unusual
            view = view[n:]
        if not _fits(values, self._stored):
            raise _Unusual


def plain_rows(
    path: Path, header: Header, otherwise: Callable[[], NDArray[Any]]
) -> PlainRows | None:
    """Return the stored values (H, W) if they lie in the file as they are.

    Parameters
    ----------
    path : Path
        The file.
    header : Header
        Its header, checked already against what an image may be and what the file holds.
    otherwise : callable
        Returns the values by another way, if something is unusual about them after all.

    Returns
    -------
    PlainRows or None
        None if the image is not of one sample of 8 or 16 bits, uncompressed, of exactly
        the length that the header says.
    """
    if header.is_compressed or header.is_deflated or header.big_endian:
        return None
    dtype = _plain_dtype(header.view(), header.syntax)
    if dtype is None:
        return None
    rows, columns = header.integer("Rows", 0), header.integer("Columns", 0)
    n_bytes = rows * columns * dtype.itemsize
    explicit = header.syntax == _EXPLICIT
    with path.open("rb") as file:
        file.seek(max(0, header.start - (12 if explicit else 8)))
        length, start = _length(file, explicit=explicit), file.tell()
        if length not in (n_bytes, n_bytes + n_bytes % 2):
            return None
        if start + n_bytes > os.fstat(file.fileno()).st_size:
            return None
    stored = header.integer("BitsStored", 16)
    return PlainRows(path, start, (rows, columns), dtype, stored, otherwise)


def _plain_dtype(header: Any, syntax: str) -> np.dtype[Any] | None:
    """Return the type of the stored values if the header says nothing unusual."""
    try:
        allocated, stored = int(header.BitsAllocated), int(header.BitsStored)
        signed = int(header.PixelRepresentation)
        usual = (
            syntax in (_IMPLICIT, _EXPLICIT)
            and int(header.SamplesPerPixel) == 1
            and int(header.get("NumberOfFrames") or 1) == 1
            and str(header.PhotometricInterpretation).strip() in ("MONOCHROME1", "MONOCHROME2")
            and allocated in (8, 16)
            and 1 <= stored <= allocated
            and int(header.HighBit) == stored - 1
            and signed in (0, 1)
        )
    except (AttributeError, TypeError, ValueError):
        return None
    return np.dtype(f"<{'i' if signed else 'u'}{allocated // 8}") if usual else None


def _length(file: BinaryIO, *, explicit: bool) -> int | None:
    """Return the length of the pixel data, with the file at its first byte."""
    head = file.read(12 if explicit else 8)
    if len(head) < (12 if explicit else 8) or head[:4] != _PIXEL_DATA:
        return None
    if explicit and head[4:6] not in (b"OB", b"OW"):
        return None
    return int(struct.unpack("<L", head[-4:])[0])


def _fits(values: NDArray[Any], stored: int) -> bool:
    """Return whether no value needs more bits than are said to be stored."""
    if stored == 8 * values.dtype.itemsize:
        return True
    if values.dtype.kind == "u":
        return int(values.max()) < 1 << stored
    limit = 1 << (stored - 1)
    return -limit <= int(values.min()) and int(values.max()) < limit
