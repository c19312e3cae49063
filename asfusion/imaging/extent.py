"""How large the picture in a file is, in pixels and in mm, without decoding it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from asfusion.exceptions import ImageReadError
from asfusion.imaging._picture import inside
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.dicom.encoding import looks_like_dicom

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")
_TAGS = ["Rows", "Columns", *_SPACINGS, "PixelAspectRatio"]
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # EXIF: the camera was held upright


class Extent(NamedTuple):
    """The size of the picture in a file.

    Parameters
    ----------
    rows, columns : int
        In pixels, turned as it is shown.
    aspect : float
        Height of a pixel divided by its width, unitless.
    spacing_mm : (float, float) or None
        Height and width of a pixel in mm, where the header says so; for a radiograph at the
        detector, if nothing else is said.
    """

    rows: int
    columns: int
    aspect: float = 1.0
    spacing_mm: tuple[float, float] | None = None

    def spacing_at(self, size: int) -> tuple[float, float] | None:
        """Return the spacing in mm after `read_image` has fitted the picture into a square."""
        if self.spacing_mm is None:
            return None
        width, height = inside(self.columns, self.rows, size, self.aspect)
        tall, wide = self.spacing_mm
        return tall * self.rows / height, wide * self.columns / width


def read_extent(path: str | os.PathLike[str]) -> Extent:
    """Return the size of the picture in a file that `read_image` has read before.

    Parameters
    ----------
    path : path
        A PNG, JPEG, TIFF or single-frame DICOM file. The guards against hostile files are
        those of `read_image`, which is to come first.

    Returns
    -------
    Extent
        Pixels, aspect and spacing.

    Raises
    ------
    ImageReadError
        If the header cannot be read. The message names nothing in the file.
    """
    try:
        with quiet_readers():
            with Path(path).open("rb") as file:
                is_dicom = looks_like_dicom(file.read(132))
            return _of_dicom(Path(path)) if is_dicom else _of_picture(Path(path))
    except Exception:
        msg = "Image file: expected a readable header with rows and columns, got none."
        raise ImageReadError(msg) from None


def _of_dicom(path: Path) -> Extent:
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
    spacing = next((s for s in (_pair(header, k) for k in _SPACINGS) if s is not None), None)
    ratio = spacing or _pair(header, "PixelAspectRatio") or (1.0, 1.0)
    return Extent(int(header.Rows), int(header.Columns), ratio[0] / ratio[1], spacing)


def _of_picture(path: Path) -> Extent:
    from PIL import Image

    with Image.open(path, formats=("PNG", "JPEG", "TIFF")) as image:
        turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _SIDEWAYS
        columns, rows = image.size[::-1] if turned else image.size
    return Extent(rows, columns)


def _pair(header: Any, keyword: str) -> tuple[float, float] | None:
    """Return height and width of a pixel if both are usable."""
    try:
        height, width = (float(part) for part in header.get(keyword) or ())
    except (TypeError, ValueError):
        return None
    usable = height > 0 and width > 0 and 0.1 <= height / width <= 10.0
    return (height, width) if usable else None
