"""Stored values of an uncompressed DICOM image, read in one step.

Most radiographs are plain numbers behind a header. Reading those directly is several
times faster than through a general decoder; whatever is unusual is left to that.
"""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_PIXEL_DATA = b"\xe0\x7f\x10\x00"


def plain_values(file: BinaryIO, header: Any, syntax: str) -> NDArray[Any] | None:
    """Return the stored values (H, W) if they lie in the file as they are.

    Parameters
    ----------
    file : binary file
        Where reading the header stopped: at the element of the pixel data.
    header : Dataset
        The header, checked already against what an image may be and what the file holds.
    syntax : str
        UID of the transfer syntax.

    Returns
    -------
    ndarray or None
        None if the image is not of one sample of 8 or 16 bits, uncompressed, of exactly
        the length that the header says, without anything in unused bits.
    """
    dtype = _plain_dtype(header, syntax)
    if dtype is None:
        return None
    rows, columns = int(header.Rows), int(header.Columns)
    n_bytes = rows * columns * dtype.itemsize
    length = _length(file, explicit=syntax == _EXPLICIT)
    start = file.tell()
    if length not in (n_bytes, n_bytes + n_bytes % 2):
        return None
    if start + n_bytes > os.fstat(file.fileno()).st_size:
        return None
    # Not mapped: another process that cuts the file would end this one.
    values = np.fromfile(file, dtype=dtype, count=rows * columns)
    if values.size != rows * columns or not _fits(values, int(header.BitsStored)):
        return None
    return values.reshape(rows, columns)


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
