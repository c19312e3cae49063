"""One frame of a DICOM file to grey values or colours, guarded and without names.

Nothing here puts a value of the header into a message: sizes, frame counts and
names of transfer syntaxes are all that an error shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import DicomReadError
from asfusion.imaging._picture import Picture
from asfusion.imaging.dicom._padding import is_padding
from asfusion.imaging.dicom._plain import PlainRows, plain_rows
from asfusion.imaging.dicom.declared import check_size
from asfusion.imaging.dicom.file import header_of, reduced_values, stored_of
from asfusion.imaging.dicom.header import Header
from asfusion.imaging.dicom.lookup import apply_palette, apply_table
from asfusion.imaging.dicom.spacing import pixel_aspect


def read_dicom(path: Path, size: int | None = None) -> Picture | NDArray[np.uint8]:
    """Return the one frame of a DICOM file.

    Parameters
    ----------
    path : Path
        A file for which `looks_like_dicom` holds.
    size : int, optional
        Side of the square that it is wanted for, in pixels: what is far larger may be
        decoded at a fraction of its size.

    Returns
    -------
    Picture or ndarray of shape (H, W, 3), uint8
        Grey values with their window, or colours.

    Raises
    ------
    DicomReadError
        If the file holds no single image, or one that cannot be decoded.
    """
    # Header first: a file of a thousand frames is refused before they are read.
    header = header_of(path)
    _check_single(header)
    check_size(header, path.stat().st_size)
    rows = plain_rows(path, header, lambda: _decode(path, header))
    if rows is not None:
        return _grey(rows, header)
    pixels = reduced_values(path, header, size)
    if pixels is None:
        pixels = _decode(path, header)
    if pixels.ndim == 3:
        allocated = header.integer("BitsAllocated", 8)
        return _eight_bits(pixels, header.integer("BitsStored", allocated))
    if header.code("PhotometricInterpretation") == "PALETTE COLOR":
        return apply_palette(header.tables.get("palette"), pixels)
    return _grey(pixels, header)


def _check_single(header: Header) -> None:
    if header.n_frames > 1:
        msg = (
            f"expected a single image, got a multi-frame DICOM file of {header.n_frames} frames. "
            "Export the frame that matters as a file of its own, or read the volume with "
            "`read_series`."
        )
        raise DicomReadError(msg)


def _decode(path: Path, header: Header) -> NDArray[Any]:
    """Return stored values (H, W), or colours (H, W, 3) as RGB."""
    pixels: NDArray[Any] = stored_of(path, header)[0]
    return pixels


# -- from stored values to grey --------------------------------------------------------


def _grey(stored: PlainRows | NDArray[Any], header: Header) -> Picture:
    """Return stored values with modality and VOI transformations applied or described."""
    modality, voi = header.modality_table(), header.tables.get("voi")
    look: dict[str, Any] = {
        "inverted": header.code("PhotometricInterpretation") == "MONOCHROME1",
        "aspect": pixel_aspect(header),
    }
    has_table = modality is not None and stored.dtype.kind in "iu"
    slope, intercept = (1.0, 0.0) if has_table else header.rescale(0)
    straight = {"slope": slope, "intercept": intercept}
    is_padded = header.number("PixelPaddingValue") is not None
    if isinstance(stored, PlainRows):
        if not (is_padded or modality or voi):
            return _windowed(stored, header, look | straight)
        stored = stored.whole()
    outside = is_padding(stored, header)
    # Padding everywhere is not believed.
    look["padding"] = outside if outside is not None and not outside.all() else None
    signed = header.integer("PixelRepresentation", 0) == 1
    if modality is not None and has_table:
        stored = apply_table(modality, stored, signed)
    if voi is not None:
        # A table takes whole numbers, so it comes before the resize.
        steps: NDArray[Any] = stored
        if (slope, intercept) != (1.0, 0.0) or stored.dtype.kind == "f":
            values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
            steps = np.rint(np.clip(np.nan_to_num(values), -(2**31), 2**31)).astype(np.int64)
        shown = apply_table(voi, steps, signed or float(steps.min(initial=0)) < 0)
        return Picture(shown, window=(0.0, float(2 ** voi["bits"] - 1)), **look)
    return _windowed(stored, header, look | straight)


def _windowed(values: PlainRows | NDArray[Any], header: Header, look: dict[str, Any]) -> Picture:
    """Return values with the first window of the header, PS3.3 C.11.2.1.2."""
    center, width = header.number("WindowCenter", 0), header.number("WindowWidth", 0)
    function = header.code("VOILUTFunction") or "LINEAR"
    if center is None or width is None or width <= 0:
        return Picture(values, **look)
    if function == "SIGMOID":

        def ramp(values: NDArray[np.float32]) -> NDArray[np.float32]:
            exponent = np.clip(-4.0 * (values - center) / width, -60.0, 60.0)
            return np.asarray(1.0 / (1.0 + np.exp(exponent)), dtype=np.float32)

        return Picture(values, (center - width / 2, center + width / 2), ramp, **look)
    if function == "LINEAR" and width > 1:
        return Picture(values, (center - width / 2, center + width / 2 - 1.0), **look)
    return Picture(values, (center - width / 2, center + width / 2), **look)


def _eight_bits(colours: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return colours (H, W, 3) of any depth as uint8."""
    if colours.dtype == np.uint8:
        return colours
    shifted = colours.astype(np.int64) >> max(0, bits - 8)
    return np.asarray(np.clip(shifted, 0, 255), dtype=np.uint8)
