"""A DICOM file's header and stored values, each read where it is safe to.

Plain numbers behind a small header are read here. What is compressed, deflated or behind a
large header is read by a worker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import DicomReadError
from asfusion.imaging._guard import first_bytes
from asfusion.imaging._limits import HEADER_BUDGET
from asfusion.imaging.dicom._jpeg2000 import halvings, is_reducible
from asfusion.imaging.dicom._workers import fill, plain_answer
from asfusion.imaging.dicom.declared import check_size, declared
from asfusion.imaging.dicom.encoding import HeaderTooLarge, looks_like_dicom
from asfusion.imaging.dicom.frames import stored_frames
from asfusion.imaging.dicom.header import Header, read_directory, read_header


def header_of(path: Path) -> Header:
    """Return the header of a DICOM file, in bounded memory.

    Parameters
    ----------
    path : Path
        A file for which `looks_like_dicom` holds.
    """
    with path.open("rb") as file:
        try:
            return read_header(file, HEADER_BUDGET)
        except HeaderTooLarge:
            return Header(**plain_answer("header", path))


def header_if_dicom(path: Path) -> Header | None:
    """Return the header of a DICOM file, None for an ordinary file of another kind."""
    return header_of(path) if looks_like_dicom(first_bytes(path)) else None


def directory_of(path: Path) -> list[list[str]]:
    """Return the files that a DICOMDIR names, each as the parts of its path."""
    with path.open("rb") as file:
        try:
            return read_directory(file, HEADER_BUDGET)
        except HeaderTooLarge:
            return [[str(part) for part in parts] for parts in plain_answer("directory", path)]


def stored_of(path: Path, header: Header, frame: int | None = None) -> NDArray[Any]:
    """Return the stored values of a DICOM file.

    Parameters
    ----------
    path : Path
        The file that `header` was read from.
    header : Header
        What the file says.
    frame : int, optional
        The only frame to read; all by default.

    Returns
    -------
    ndarray of shape (frames, H, W) or (frames, H, W, samples)
        Values as they are stored, colours as RGB.
    """
    check_size(header, path.stat().st_size)
    shape, dtype = declared(header)
    values = np.empty((shape[0] if frame is None else 1, *shape[1:]), dtype)
    if header.is_compressed or header.is_deflated:
        fill(values, {"do": "pixels", "header": header.for_pixels(), "frame": frame}, path)
        return values
    with path.open("rb") as file:
        for place, pixels in enumerate(stored_frames(file, header, frame)):
            values[place] = pixels
    return values


def reduced_values(path: Path, header: Header, size: int | None) -> NDArray[Any] | None:
    """Return stored values (H, W) at a fraction of their size, or None where that is no use.

    Parameters
    ----------
    path : Path
        The file that `header` was read from.
    header : Header
        What the file says.
    size : int, optional
        Side of the square that the image is wanted for, in pixels.
    """
    if size is None or not is_reducible(header.view(), header.syntax):
        return None
    rows, columns = header.integer("Rows", 0), header.integer("Columns", 0)
    size = _careful(size, header)
    count = halvings(rows, columns, size)
    if not count:
        return None
    values = np.empty((1, rows >> count, columns >> count), np.float32)
    try:
        fill(values, {"do": "reduced", "header": header.for_pixels(), "size": size}, path)
    except DicomReadError:
        return None  # for the general decoder to say
    return np.asarray(values[0])


def _careful(size: int, header: Header) -> int:
    """Return the size to reduce for, larger where the window shows more of what that changes.

    What a halving changes of the values, a window that spans less than half of what can be
    stored makes visible: then one halving less. Where none is said it is found from the pixels,
    whose tails get shorter with each: then one at most.
    """
    width, center = header.number("WindowWidth", 0), header.number("WindowCenter", 0)
    if width is None or center is None or width <= 0:
        longest = max(header.integer("Rows", 0), header.integer("Columns", 0))
        return max(2 * size, longest // 8 + 1)
    span = 2.0 ** header.integer("BitsStored", 16)
    return 2 * size if width / abs(header.rescale(0)[0]) < span / 2 else size
