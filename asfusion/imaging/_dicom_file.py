"""A DICOM file's header and stored values, each read where it is safe to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging._header import Header, HeaderTooLarge, read_directory, read_header
from asfusion.imaging._limits import HEADER_BUDGET
from asfusion.imaging._stored import check_size, declared, stored_frames


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
            return read_header(file, None)


def directory_of(path: Path) -> list[list[str]]:
    """Return the files that a DICOMDIR names, each as the parts of its path."""
    with path.open("rb") as file:
        try:
            return read_directory(file, HEADER_BUDGET)
        except HeaderTooLarge:
            return read_directory(file, None)


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
    with path.open("rb") as file:
        for place, pixels in enumerate(stored_frames(file, header, frame)):
            values[place] = pixels
    return values
