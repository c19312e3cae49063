"""Drawn radiographs and MR series as DICOM files that any viewer opens.

Lengths in mm; places in the patient's coordinates (x to the left, y to the back, z to the
head). No file is forced to the disk: what a power failure takes can be drawn again.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_integer, check_number
from asfusion._files import clear_leftovers, temporary_of, write_file
from asfusion.datasets._phantoms.dicom_header import (
    PULSES,
    REGION_CODES,
    VIEW_CODES,
    checked_source,
    encoded,
    film_header,
    header,
    set_pixels,
    undecoded,
)
from asfusion.exceptions import ConfigurationError, ShapeError

Photometric = Literal["MONOCHROME1", "MONOCHROME2"]
View = Literal["AP", "PA", "LL", "RL"]
BodyPart = Literal["PELVIS", "LSPINE", "CSPINE"]
Sequence2D = Literal["STIR", "T1"]

_TAIL_PERCENT = 0.5  # of the pixels that the stored window leaves black or white


def write_radiograph(
    path: str | os.PathLike[str],
    pixels: NDArray[np.unsignedinteger[Any]],
    *,
    spacing_mm: Sequence[float],
    patient_key: str,
    site: str,
    scanner: str,
    sex: str,
    age_years: float,
    date: datetime.date,
    photometric: Photometric = "MONOCHROME2",
    view: View = "AP",
    body_part: BodyPart = "PELVIS",
    modality: Literal["DX", "CR"] = "DX",
    bits_stored: int = 12,
    window: tuple[int, int] | None = None,
    seed: int = 0,
) -> None:
    """Write a radiograph as a Digital X-Ray or Computed Radiography file.

    Parameters
    ----------
    path : str or PathLike
        File to write; its folder is made, what was there before is replaced.
    pixels : ndarray of shape (H, W), uint8 or uint16
        Grey values below ``2 ** bits_stored``; bright is dense.
    spacing_mm : sequence of two float
        Distance of rows and of columns, in mm.
    patient_key : str
        Letters, digits and hyphens; the name becomes ``SYNTHETIC^`` and the key.
    site, scanner : str
        Hospital and device, plain ASCII, at most 40 characters.
    sex : {"female", "male"}
        Sex of the patient.
    age_years : float
        Age at the visit, in years; stored in whole years.
    date : datetime.date
        Day of the film.
    photometric : {"MONOCHROME1", "MONOCHROME2"}
        How grey is stored; MONOCHROME1 stores the negative. Both look the same.
    view : {"AP", "PA", "LL", "RL"}
        Direction of the beam.
    body_part : {"PELVIS", "LSPINE", "CSPINE"}
        What is on the film.
    modality : {"DX", "CR"}
        Kind of detector, and with it the kind of file.
    bits_stored : int
        Bits per pixel, 8 to 16.
    window : tuple of two int, optional
        Grey values that are shown black and white; by default percentiles 0.5 and 99.5.
    seed : int
        Seed of the cohort: equal patients of two cohorts are two patients.

    Raises
    ------
    ShapeError
        If `pixels` is not such an array.
    ConfigurationError
        If another parameter is unusable.

    Examples
    --------
    >>> import datetime, pathlib, tempfile
    >>> import numpy as np
    >>> from asfusion.imaging import read_image
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name) / "pelvis.dcm"
    >>> film = np.tile(np.arange(4096, dtype=np.uint16), (16, 1))
    >>> write_radiograph(
    ...     file, film, spacing_mm=(0.5, 0.5), patient_key="P0001", site="A", scanner="DX 1",
    ...     sex="female", age_years=34, date=datetime.date(2021, 3, 9), window=(0, 4095),
    ...     photometric="MONOCHROME1",
    ... )
    >>> read_image(file)[0, 0, ::819].tolist()
    [0, 51, 102, 153, 204, 255]
    >>> folder.cleanup()
    """
    check_choice(photometric, "photometric", ("MONOCHROME1", "MONOCHROME2"))
    check_choice(view, "view", VIEW_CODES)
    check_choice(body_part, "body_part", REGION_CODES)
    check_choice(modality, "modality", ("DX", "CR"))
    grey = _check_pixels(pixels, "pixels", 2, bits_stored)
    rows_mm, columns_mm = _check_spacing(spacing_mm, 2)
    source = checked_source(patient_key, site, scanner, sex, age_years, date, seed)
    top = 2**bits_stored - 1
    low, high = _check_window(window, grey, top)
    inverted = photometric == "MONOCHROME1"
    if inverted:
        grey, low, high = (top - grey).astype("<u2"), top - high, top - low
    dataset = header(source, modality)
    set_pixels(dataset, grey, photometric, bits_stored, (low, high))
    dataset.update(
        film_header(modality, view, body_part, inverted)
        | {
            "ImagerPixelSpacing": [rows_mm, columns_mm],
            "PixelSpacing": [rows_mm, columns_mm],
            "SeriesInstanceUID": source.uid("series", modality, body_part, view),
        }
    )
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_file(target, encoded(dataset, source), durable=False)


def write_series(
    folder: str | os.PathLike[str],
    volume: NDArray[np.unsignedinteger[Any]],
    *,
    spacing_mm: Sequence[float],
    sequence: Sequence2D,
    patient_key: str,
    site: str,
    scanner: str,
    sex: str,
    age_years: float,
    date: datetime.date,
    tilt_degrees: float = 30.0,
    slice_thickness_mm: float | None = None,
    bits_stored: int = 12,
    seed: int = 0,
) -> list[Path]:
    """Write a semicoronal MR stack, one file per slice.

    Parameters
    ----------
    folder : str or PathLike
        Folder of the series; made if it is not there, else empty or of an equal series.
    volume : ndarray of shape (Z, Y, X), uint8 or uint16
        Grey values below ``2 ** bits_stored``: from front to back, from head to foot, from
        the patient's right to the left.
    spacing_mm : sequence of three float
        Distance of slices, rows and columns, in mm.
    sequence : {"STIR", "T1"}
        Weighting.
    patient_key : str
        Letters, digits and hyphens; the name becomes ``SYNTHETIC^`` and the key.
    site, scanner : str
        Hospital and device, plain ASCII, at most 40 characters.
    sex : {"female", "male"}
        Sex of the patient.
    age_years : float
        Age at the visit, in years; stored in whole years.
    date : datetime.date
        Day of the examination. Sequences of one day share their study and frame of reference.
    tilt_degrees : float
        Angle between the stack and the coronal plane, in degrees: 0 is coronal, and the foot
        end of a sacrum points to the back.
    slice_thickness_mm : float, optional
        Thickness of a slice in mm, at most the distance of slices, which it is by default.
    bits_stored : int
        Bits per pixel, 8 to 16.
    seed : int
        Seed of the cohort: equal patients of two cohorts are two patients.

    Returns
    -------
    list of Path
        The files from front to back.

    Raises
    ------
    ShapeError
        If `volume` is not such an array.
    ConfigurationError
        If another parameter is unusable, or the folder holds something else.

    Examples
    --------
    >>> import datetime, tempfile
    >>> import numpy as np
    >>> folder = tempfile.TemporaryDirectory()
    >>> files = write_series(
    ...     folder.name, np.zeros((3, 8, 8), dtype=np.uint16), spacing_mm=(4.0, 1.5, 1.5),
    ...     sequence="STIR", patient_key="P0001", site="A", scanner="MR 1", sex="male",
    ...     age_years=34, date=datetime.date(2021, 3, 9),
    ... )
    >>> [file.name for file in files]
    ['IM0001.dcm', 'IM0002.dcm', 'IM0003.dcm']
    >>> folder.cleanup()
    """
    check_choice(sequence, "sequence", PULSES)
    check_number(tilt_degrees, "tilt_degrees", minimum=-90.0, maximum=90.0)
    grey = _check_pixels(volume, "volume", 3, bits_stored)
    gap, *in_plane = _check_spacing(spacing_mm, 3)
    thickness = gap
    if slice_thickness_mm is not None:
        check_number(slice_thickness_mm, "slice_thickness_mm", minimum=0.01, maximum=gap)
        (thickness,) = _decimals([slice_thickness_mm])
    source = checked_source(patient_key, site, scanner, sex, age_years, date, seed)
    target = Path(folder)
    files = [target / f"IM{number:04d}.dcm" for number in range(1, len(grey) + 1)]
    _clear_folder(target, files)
    dataset = header(source, "MR")
    window = _check_window(None, grey, 2**bits_stored - 1)
    # Voxels are part of the identity: another render of the same day is another series.
    series = source.uid("series", "MR", sequence, _digest(grey))
    dataset.update(
        {
            **PULSES[sequence],
            "SeriesInstanceUID": series,
            "SeriesDescription": f"SIJ semicoronal {sequence}",
            "ProtocolName": f"SIJ semicoronal {sequence}",
            "FrameOfReferenceUID": source.uid("frame of reference"),
            "PositionReferenceIndicator": "",
            "PatientPosition": "HFS",
            "BodyPartExamined": "SIJOINT",
            "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
            "ScanOptions": "",
            "MRAcquisitionType": "2D",
            "MagneticFieldStrength": 1.5,
            "SliceThickness": thickness,
            "SpacingBetweenSlices": gap,
            "PixelSpacing": in_plane,
        }
    )
    set_pixels(dataset, grey[0], "MONOCHROME2", bits_stored, window)
    right, down, back = _axes(tilt_degrees)
    dataset.ImageOrientationPatient = _decimals([*right, *down])
    # What all slices share is encoded once; a writer copies what a reader left undecoded.
    dataset = undecoded(dataset, source)
    # The middle of the stack is the origin.
    centre = -0.5 * (np.array(grey.shape) - 1.0) * [gap, *in_plane]
    for number, (file, picture) in enumerate(zip(files, grey, strict=True), start=1):
        depth = centre[0] + (number - 1) * gap
        place = depth * back + centre[1] * down + centre[2] * right
        dataset.InstanceNumber = number
        dataset.ImagePositionPatient = _decimals(place)
        dataset.SliceLocation = _decimals([depth])[0]
        dataset.add_new("PixelData", "OW", picture.tobytes())
        write_file(file, encoded(dataset, source), durable=False)
    return files


def _axes(tilt_degrees: float) -> tuple[NDArray[np.float64], ...]:
    """Return unit vectors along columns, rows and slices in the patient's coordinates."""
    sine, cosine = math.sin(math.radians(tilt_degrees)), math.cos(math.radians(tilt_degrees))
    right = np.array([1.0, 0.0, 0.0])
    down = np.array([0.0, sine, -cosine])
    return right, down, np.cross(right, down)


def _decimals(values: Sequence[float] | NDArray[np.float64]) -> list[float]:
    """Return numbers that fit into the sixteen characters of a decimal string."""
    return [round(float(value), 8) + 0.0 for value in values]


def _digest(grey: NDArray[np.uint16]) -> str:
    return hashlib.sha256(grey.tobytes()).hexdigest()


def _check_pixels(values: Any, name: str, n_dims: int, bits_stored: int) -> NDArray[np.uint16]:
    """Return grey values as 16-bit little endian."""
    check_integer(bits_stored, "bits_stored", minimum=8)
    check_number(bits_stored, "bits_stored", maximum=16)
    array = np.asarray(values)
    axes = "(H, W)" if n_dims == 2 else "(Z, Y, X)"
    if array.ndim != n_dims or array.dtype not in (np.uint8, np.uint16) or array.size == 0:
        msg = (
            f"{name}: expected a uint8 or uint16 array of shape {axes} that is not empty, got "
            f"{array.dtype} of shape {array.shape}."
        )
        raise ShapeError(msg)
    if int(array.max()) >= 2**bits_stored:
        msg = (
            f"{name}: expected grey values below 2 ** bits_stored = {2**bits_stored}, got larger "
            "ones. Raise bits_stored, or scale the grey values."
        )
        raise ShapeError(msg)
    if max(array.shape) >= 2**16:
        msg = f"{name}: expected at most {2**16 - 1} pixels a side, got shape {array.shape}."
        raise ShapeError(msg)
    return np.ascontiguousarray(array, dtype="<u2")


def _check_spacing(spacing_mm: Sequence[float], n: int) -> list[float]:
    values = list(spacing_mm) if isinstance(spacing_mm, Sequence | np.ndarray) else []
    if len(values) != n:
        msg = f"spacing_mm: expected {n} lengths in mm, one for each axis, got {len(values)}."
        raise ConfigurationError(msg)
    return _decimals(
        [check_number(value, "spacing_mm", minimum=0.01, maximum=100.0) for value in values]
    )


def _check_window(
    window: tuple[int, int] | None, grey: NDArray[np.uint16], top: int
) -> tuple[int, int]:
    """Return the grey values that are shown black and white."""
    if window is None:
        low, high = np.percentile(grey, [_TAIL_PERCENT, 100.0 - _TAIL_PERCENT]).astype(int)
        # A flat picture has a window too.
        low = min(int(low), top - 1)
        return low, max(int(high), low + 1)
    low, high = (check_integer(value, "window", minimum=0) for value in window)
    if low >= high:
        msg = "window: expected black below white, got black at or above white. Swap the two."
        raise ConfigurationError(msg)
    if high > top:
        msg = f"window: expected white below 2 ** bits_stored = {top + 1}, got a larger value."
        raise ConfigurationError(msg)
    return low, high


def _clear_folder(folder: Path, files: Sequence[Path]) -> None:
    """Make a folder ready for a series: a reader takes whatever files it finds there."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {file.name for file in files}
    found = {entry.name for entry in folder.iterdir()}
    strangers = sum(name not in names and temporary_of(name) not in names for name in found)
    if strangers:
        msg = (
            "folder: expected an empty folder, or one that holds an earlier copy of this series, "
            f"got one with {strangers} other files. Choose another folder."
        )
        raise ConfigurationError(msg)
    if found - names:
        for file in files:
            clear_leftovers(file)
