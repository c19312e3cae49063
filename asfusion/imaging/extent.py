"""How large the picture in a file is, in pixels and in mm, without decoding it."""

from __future__ import annotations

import os
from typing import NamedTuple

from asfusion.exceptions import ImageReadError
from asfusion.imaging._guard import checked_path, guarded
from asfusion.imaging._picture import inside
from asfusion.imaging._pillow import opened, shown_size
from asfusion.imaging.dicom.declared import declared
from asfusion.imaging.dicom.file import header_if_dicom
from asfusion.imaging.dicom.header import Header
from asfusion.imaging.dicom.spacing import pixel_aspect, pixel_spacing
from asfusion.imaging.read import WHO


class Extent(NamedTuple):
    """The size of the picture in a file.

    Parameters
    ----------
    rows, columns : int
        In pixels, turned as it is shown.
    aspect : float
        Height of a pixel divided by its width, unitless.
    spacing_mm : (float, float) or None
        Height and width of a pixel in mm, where the header says so: in the patient, else at
        the detector of a radiograph, else on a film that was scanned.
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
    """Return the size of the picture in a file that `read_image` reads.

    Parameters
    ----------
    path : path
        A PNG, JPEG, TIFF or single-frame DICOM file.

    Returns
    -------
    Extent
        Pixels, aspect and spacing.

    Raises
    ------
    ImageReadError
        If the header cannot be read, or declares no picture or one beyond the limits. The
        message names nothing in the file.
    """
    file = checked_path(WHO, path)
    with guarded(WHO, "header with rows and columns", ImageReadError):
        header = header_if_dicom(file)
        if header is not None:
            return _of_dicom(header)
        with opened(file) as held:
            return Extent(*shown_size(held.image))


def _of_dicom(header: Header) -> Extent:
    (_, rows, columns, *_), _ = declared(header)
    return Extent(rows, columns, pixel_aspect(header), pixel_spacing(header))
