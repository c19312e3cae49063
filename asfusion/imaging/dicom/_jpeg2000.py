"""JPEG 2000 at half, a quarter or an eighth of its size, without decoding the rest.

The format keeps an image as a small one and what has to be added for the next larger one.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging.dicom._codestream import jpeg2000_depth

_SYNTAXES = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_SPARE = 2  # decoded at least this many times as large as wanted: the rest is an exact mean
_MOST = 3  # halvings; encoders seldom keep more levels


def halvings(rows: int, columns: int, size: int) -> int:
    """Return how often both sides may be halved, exactly, and stay twice as long as `size`."""
    count = 0
    while (
        count < _MOST and rows % 2 == columns % 2 == 0 and max(rows, columns) // 2 >= _SPARE * size
    ):
        rows, columns, count = rows // 2, columns // 2, count + 1
    return count


def reduced_values(dataset: Any, syntax: str, size: int | None) -> NDArray[Any] | None:
    """Return stored values (H, W) at a fraction of their size, or None where that is no use.

    Parameters
    ----------
    dataset : Dataset
        A checked image with its pixel data.
    syntax : str
        UID of the transfer syntax.
    size : int, optional
        Side of the square that the image is wanted for, in pixels.

    Returns
    -------
    ndarray or None
        None unless the image is JPEG 2000 of one unsigned sample of at most 16 bits, and
        at least four times as large as wanted.
    """
    if size is None or not is_reducible(dataset, syntax):
        return None
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    count = halvings(rows, columns, size)
    if not count:
        return None
    from PIL import Image
    from pydicom.encaps import get_frame

    code = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if jpeg2000_depth(code) != int(dataset.BitsStored):
        return None
    try:
        with Image.open(io.BytesIO(code), formats=["JPEG2000"]) as image:
            stored = int(dataset.BitsStored)
            if image.size != (columns, rows) or image.mode != ("L" if stored == 8 else "I;16"):
                return None
            setattr(image, "reduce", count)  # noqa: B010 - a property there, a method elsewhere
            image.load()
            values: NDArray[Any] = np.asarray(image)
    except (OSError, ValueError, SyntaxError):
        return None  # fewer levels than asked for, or damaged: for the general decoder to say
    if values.shape != (rows >> count, columns >> count):
        return None
    if stored > 8:
        values = values >> (16 - stored)  # Pillow fills sixteen bits from the top
    return _centred(values, count)


def _centred(values: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Return reduced values moved to the middle of the pixels that they stand for.

    A wavelet keeps every second sample where it was, so that of a block of two, four or eight
    the reduced value sits on the first. Uncorrected, this shift is nearly all of the
    difference to the whole image.
    """
    shift = (1.0 - 0.5**count) / 2.0
    moved = values.astype(np.float32)
    moved[:-1] += shift * (moved[1:] - moved[:-1])
    moved[:, :-1] += shift * (moved[:, 1:] - moved[:, :-1])
    return moved


def is_reducible(dataset: Any, syntax: str) -> bool:
    """Return whether samples are JPEG 2000, single, unsigned, of a depth that Pillow keeps.

    Parameters
    ----------
    dataset : Dataset
        The header of an image.
    syntax : str
        UID of the transfer syntax.
    """
    try:
        return (
            syntax in _SYNTAXES
            and int(dataset.SamplesPerPixel) == 1
            and str(dataset.PhotometricInterpretation).strip() in ("MONOCHROME1", "MONOCHROME2")
            and int(dataset.PixelRepresentation) == 0
            and (int(dataset.BitsStored) == 8 or 9 <= int(dataset.BitsStored) <= 16)
            and not dataset.get("VOILUTSequence")
            and not dataset.get("ModalityLUTSequence")
            and "PixelPaddingValue" not in dataset  # its border would be blurred into the rest
        )
    except (AttributeError, TypeError, ValueError):
        return False
