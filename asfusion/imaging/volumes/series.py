"""A series of slices to a volume, or the name of what keeps it from being one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_integer
from asfusion._door import public
from asfusion.exceptions import ConfigurationError, DicomReadError
from asfusion.imaging._guard import checked_path, guarded
from asfusion.imaging._limits import MAX_FRAMES, MAX_VOLUME_BYTES
from asfusion.imaging.dicom._padding import is_padding
from asfusion.imaging.dicom.file import stored_of
from asfusion.imaging.dicom.lookup import apply_palette, apply_table
from asfusion.imaging.volumes._fit import fit_volume
from asfusion.imaging.volumes._geometry import Stack, orientation_of, stack_slices
from asfusion.imaging.volumes._nifti import is_nifti, read_nifti
from asfusion.imaging.volumes._slices import Slice, choose, is_inverted, listing, series_of
from asfusion.imaging.volumes._sources import find_slices
from asfusion.imaging.volumes.volume import Volume, volume_window

WHO = "Series: "


@public
def read_series(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int, int] | None = None,
    on_gap: Literal["raise", "fill"] = "raise",
    series: int | None = None,
) -> Volume:
    """Read the slices of one series as a volume.

    Parameters
    ----------
    path : str or PathLike
        A folder of DICOM slices (folders inside it are searched too), a ``DICOMDIR``, a
        DICOM file of one or many frames, or a NIfTI file (``.nii``, ``.nii.gz``; needs the
        extra ``nifti``).
    size : int or tuple of three int, optional
        Side of the square that each slice is fitted into, in pixels; or numbers of slices,
        rows and columns of a box that the volume is fitted into. Proportions in mm are kept
        in the plane, and what is left over has the lowest value. As stored by default.
    on_gap : {"raise", "fill"}
        What to do with missing slices: raise, or draw a line between the neighbours and note
        how many were filled in.
    series : int, optional
        Which series of the folder, counted from 0 as the error lists them; by default the
        only one that is no localizer.

    Returns
    -------
    Volume
        Slices sorted by their place in the patient, with spacing and directions in mm.

    Raises
    ------
    DicomReadError
        If the slices make no volume: several series (also under one UID, if slices differ in
        study, frame of reference, modality, size, bits or in whether low values are bright),
        mixed orientation, gantry tilt, repeated or missing slices, uneven distances, slices
        without a place; or if a file
        cannot be read. The message names counts and distances, never a name.
    ImageReadError
        If there is no such file or folder, or a NIfTI file that cannot be read.
    ConfigurationError
        If `size`, `on_gap` or `series` is unusable.
    MissingDependencyError
        If a NIfTI file is given and nibabel is not installed.

    Notes
    -----
    Values are the stored whole numbers, or float32 after the rescale or modality table of the
    header; a rescale that is there and no number is refused. Where slices do not share one usable
    window, `Volume.window` leaves out the tails of the values. Files that are not images are left
    out and counted in `Volume.notes`, localizers too. Padding outside the scanned field gets the
    darkest value inside it, with a note. Colours are turned to grey. Lengths of a NIfTI file are
    in mm unless it says metres or micrometres. Where `size` is given, voxels that are no number
    count as the lowest value, and infinite ones as the lowest or the highest.

    Examples
    --------
    >>> import datetime, tempfile
    >>> import numpy as np
    >>> from asfusion.datasets._phantoms.dicom_files import write_series
    >>> from asfusion.imaging import read_series
    >>> folder = tempfile.TemporaryDirectory()
    >>> files = write_series(
    ...     folder.name, np.zeros((3, 8, 8), dtype=np.uint16), spacing_mm=(4.0, 1.5, 1.5),
    ...     sequence="STIR", patient_key="P0001", site="A", scanner="MR 1", sex="male",
    ...     age_years=34, date=datetime.date(2021, 3, 9),
    ... )
    >>> read_series(folder.name)
    Volume(3 x 8 x 8 uint16, 4 x 1.5 x 1.5 mm, coronal, MR)
    >>> files[1].unlink()
    >>> read_series(folder.name)
    Traceback (most recent call last):
        ...
    asfusion.exceptions.DicomReadError: Series: expected slices without a gap, got 2 slices ...
    >>> folder.cleanup()
    """
    check_choice(on_gap, "on_gap", ("raise", "fill"))
    if series is not None:
        check_integer(series, "series", minimum=0)
    _check_size(size)
    source = checked_path(WHO, path)
    with guarded(WHO, "DICOM series or NIfTI file", DicomReadError):
        volume = _read(source, on_gap, series)
        return volume if size is None else fit_volume(volume, size)


def _check_size(size: object) -> None:
    if isinstance(size, tuple) and len(size) != 3:
        msg = f"size: expected an integer, or three of them in a tuple, got {len(size)}."
        raise ConfigurationError(msg)
    for extent in size if isinstance(size, tuple) else () if size is None else (size,):
        check_integer(extent, "size", minimum=1)


def _read(path: Path, on_gap: str, series: int | None) -> Volume:
    if is_nifti(path):
        return read_nifti(path)
    slices, notes, n_absent = find_slices(path)
    groups = series_of(slices)
    if n_absent and series is None:
        msg = (
            f"expected the files that the DICOMDIR names, got {len(slices)} and {n_absent} that "
            "are not there. Copy the whole medium, or choose a series that is complete: "
            f"series=0 to series={len(groups) - 1}.{listing(groups)}"
        )
        raise DicomReadError(msg)
    if n_absent:
        notes.append(f"{n_absent} files that the DICOMDIR names are not there")
    chosen, n_localizers = choose(groups, series)
    if n_localizers:
        notes.append(f"{n_localizers} slices of localizers were left out")
    stack, spacing = _stacked(chosen)
    if stack.n_missing and (on_gap == "raise" or stack.n_missing > len(chosen)):
        advice = (
            ' Complete the folder, or pass on_gap="fill" to draw a line between neighbours.'
            if stack.n_missing <= len(chosen)
            else " Complete the folder."
        )
        msg = (
            f"expected slices without a gap, got {len(chosen)} slices and {stack.n_missing} "
            f"missing between them.{advice}"
        )
        raise DicomReadError(msg)
    ordered = [chosen[i] for i in stack.order]
    values, outside = _values(ordered, notes)
    if outside is not None:
        _blacken(values, outside, ordered[0], notes)
    window = _window(ordered, values, outside)
    if stack.n_missing:
        values = _filled(values, stack)
        notes.append(f"{stack.n_missing} missing slices were filled in between their neighbours")
    if is_inverted(ordered[0].header):
        notes.append("values are stored the other way round (MONOCHROME1): low is bright")
    return Volume(
        values=values,
        spacing=(_distance(stack, ordered, notes), *spacing),
        orientation=orientation_of(stack.directions),
        directions=stack.directions,
        origin=stack.origin,
        modality=ordered[0].header.code("Modality"),
        window=window,
        notes=tuple(notes),
    )


def _stacked(slices: Sequence[Slice]) -> tuple[Stack, tuple[float, float]]:
    """Return how slices are stacked, and the distance of rows and columns in mm."""
    places, cosines, spacings = [], [], []
    for one in slices:
        place, direction, spacing = one.place, one.cosines, one.pixel_mm
        if place is None or direction is None or spacing is None:
            continue
        places.append(place)
        cosines.append(direction)
        spacings.append(spacing)
    if len(places) < len(slices):
        msg = (
            f"expected slices with position, orientation and pixel spacing, got "
            f"{len(slices) - len(places)} of {len(slices)} without. They cannot be put in order; "
            "`read_stored_values` reads the frames of a file as they are stored."
        )
        raise DicomReadError(msg)
    stack = stack_slices(
        np.array(places), np.array(cosines), min(min(s) for s in spacings), _stated_gap(slices)
    )
    if float(np.ptp(np.array(spacings), axis=0).max()) > 1e-3 * min(spacings[0]):
        msg = "expected slices of one pixel spacing, got several. Read each from its own folder."
        raise DicomReadError(msg)
    return stack, spacings[0]


def _stated_gap(slices: Sequence[Slice]) -> float | None:
    """Return the distance of slices that all headers state, if it is to be believed."""
    stated = {one.number("SpacingBetweenSlices") for one in slices}
    thickness = {one.number("SliceThickness") or 0.0 for one in slices}
    length = stated.pop()
    # Some makers mean the empty space between slices, which is less than a slice.
    if stated or length is None or not 0.99 * max(thickness) <= length <= 1e3 or length < 1e-3:
        return None
    return length


def _distance(stack: Stack, slices: Sequence[Slice], notes: list[str]) -> float:
    """Return the distance of slices in mm; for a single one what its header says."""
    if stack.gap_mm is not None:
        return stack.gap_mm
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        length = slices[0].number(keyword)
        if length is not None and 1e-3 <= length <= 1e3:
            return float(length)
    notes.append("a single slice of unknown thickness: its spacing of 1 mm is made up")
    return 1.0


def _values(
    slices: Sequence[Slice], notes: list[str]
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the values of slices, in this order, and which are padding, if any are."""
    first = slices[0].header
    n_bytes = len(slices) * first.integer("Rows", 0) * first.integer("Columns", 0) * 4
    if len(slices) > MAX_FRAMES or n_bytes > MAX_VOLUME_BYTES:
        msg = (
            f"expected a volume of at most {MAX_VOLUME_BYTES // 2**20} MiB, got a larger one. "
            "Read fewer slices."
        )
        raise DicomReadError(msg)
    out: NDArray[Any] | None = None
    outside: NDArray[np.bool_] | None = None
    coloured = False
    for level, (one, stored) in enumerate(_stored(slices)):
        has_colours = stored.ndim == 3 or _is_palette(one.header)
        padding = None if has_colours else is_padding(stored, one.header)
        coloured |= has_colours
        values = _rescaled(_grey(stored, one), one)
        if out is None:
            out = np.empty((len(slices), *values.shape), values.dtype)
        elif np.result_type(out.dtype, values.dtype) != out.dtype:
            out = out.astype(np.result_type(out.dtype, values.dtype))
        out[level] = values
        if padding is not None and padding.any():
            outside = np.zeros(out.shape, dtype=bool) if outside is None else outside
            outside[level] = padding
    if coloured:
        notes.append("colours were turned to grey")
    if out is None:
        msg = "expected slices, got none."
        raise DicomReadError(msg)
    # Padding everywhere is not believed.
    outside = None if outside is None or outside.all() else outside
    return out.astype(np.float32) if out.dtype.itemsize > 4 else out, outside


def _stored(slices: Sequence[Slice]) -> Iterator[tuple[Slice, NDArray[Any]]]:
    """Yield slices with their stored values; a file of many frames is read once."""
    whole = len({one.path for one in slices}) == 1 and len(slices) > 1
    frames = stored_of(slices[0].path, slices[0].header) if whole else None
    for one in slices:
        if frames is not None:
            yield one, frames[one.frame]
        else:
            yield one, stored_of(one.path, one.header, one.frame)[0]


def _blacken(
    values: NDArray[Any], outside: NDArray[np.bool_], first: Slice, notes: list[str]
) -> None:
    """Give padding the value of what is darkest of the scanned field."""
    inside = values[~outside]
    inside = inside[np.isfinite(inside)]
    if inside.size:
        values[outside] = inside.max() if is_inverted(first.header) else inside.min()
        notes.append("padding outside the scanned field got the darkest value inside it")


def _is_palette(header: Any) -> bool:
    return bool(header.code("PhotometricInterpretation") == "PALETTE COLOR")


def _grey(stored: NDArray[Any], one: Slice) -> NDArray[Any]:
    """Return one number per pixel; colours by their luminance (ITU-R BT.601)."""
    if _is_palette(one.header):
        stored = apply_palette(one.header.tables.get("palette"), stored)
    if stored.ndim == 2:
        return stored
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    grey: NDArray[Any] = np.rint(stored[..., :3].astype(np.float32) @ weights).astype(stored.dtype)
    return grey


def _rescaled(values: NDArray[Any], one: Slice) -> NDArray[Any]:
    """Return values in the units of the modality."""
    table = one.header.modality_table()
    if table is not None and values.dtype.kind in "iu":
        return apply_table(table, values, values.dtype.kind == "i")
    slope, intercept = one.header.rescale(one.frame)
    if (slope, intercept) == (1.0, 0.0):
        return values
    return np.asarray(values * np.float64(slope) + intercept, dtype=np.float32)


def _filled(values: NDArray[Any], stack: Stack) -> NDArray[Any]:
    """Return values with a straight line through the levels that are missing."""
    levels = np.arange(int(stack.level[-1]) + 1)
    below = np.searchsorted(stack.level, levels, side="right") - 1
    above = np.minimum(below + 1, len(values) - 1)
    out = np.empty((len(levels), *values.shape[1:]), values.dtype)
    for level, low, high in zip(levels, below, above, strict=True):
        span = max(1, int(stack.level[high] - stack.level[low]))
        share = float(level - stack.level[low]) / span
        mixed = (1.0 - share) * values[low].astype(np.float32) + share * values[high]
        out[level] = values[low] if share == 0.0 else (
            np.rint(mixed) if values.dtype.kind in "iu" else mixed
        )  # fmt: skip
    return out


def _window(
    slices: Sequence[Slice], values: NDArray[Any], outside: NDArray[np.bool_] | None
) -> tuple[float, float]:
    """Return the window that all slices share; else what leaves out the tails."""
    windows = {(one.number("WindowCenter"), one.number("WindowWidth")) for one in slices}
    center, width = windows.pop()
    if not windows and center is not None and width is not None and width > 1:
        return center - width / 2, center + width / 2 - 1.0
    return volume_window(values, outside)
