"""Drawn radiographs and MR series as DICOM files that any viewer opens.

Lengths in mm; places in the patient's coordinates (x to the left, y to the back, z to the
head). Equal input gives equal bytes: no clock, no machine name and no random identifier.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import math
import numbers
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_integer, check_number
from asfusion._files import clear_leftovers, temporary_of, write_file
from asfusion.exceptions import ConfigurationError, ShapeError

if TYPE_CHECKING:
    from pydicom import Dataset

Photometric = Literal["MONOCHROME1", "MONOCHROME2"]
View = Literal["AP", "PA", "LL", "RL"]
BodyPart = Literal["PELVIS", "LSPINE", "CSPINE"]
Sequence2D = Literal["STIR", "T1"]

# Directions of the rows and columns of a film, as the patient stands before the detector.
_FILM_AXES = {"AP": ["L", "F"], "PA": ["L", "F"], "LL": ["P", "F"], "RL": ["A", "F"]}
_VIEW_CODES = {
    "AP": ("399348003", "antero-posterior"),
    "PA": ("272479007", "postero-anterior"),
    "LL": ("399173006", "left lateral"),
    "RL": ("399198007", "right lateral"),
}
_REGION_CODES = {
    "PELVIS": ("816092008", "Pelvis"),
    "LSPINE": ("122496007", "Lumbar spine"),
    "CSPINE": ("122494005", "Cervical spine"),
}
# Times in ms, for 1.5 T.
_PULSES: dict[str, dict[str, Any]] = {
    "T1": {
        "SeriesNumber": 1,
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "RepetitionTime": 560,
        "EchoTime": 11,
        "EchoTrainLength": 3,
    },
    "STIR": {
        "SeriesNumber": 2,
        "ScanningSequence": ["SE", "IR"],
        "SequenceVariant": "SK",
        "RepetitionTime": 4200,
        "EchoTime": 58,
        "InversionTime": 150,
        "EchoTrainLength": 12,
    },
}
_TAIL_PERCENT = 0.5  # of the pixels that the stored window leaves black or white
_KEY = re.compile(r"[A-Za-z0-9-]{1,40}")
_SHORT_TEXT = re.compile(r"[ -\[\]-~]{1,40}")  # ASCII without the backslash
_SEXES = {"female": "F", "male": "M"}


@dataclass(frozen=True)
class _Source:
    """Where a picture comes from, checked: the part of the header that all files share."""

    patient_key: str
    site: str
    scanner: str
    sex: str
    age_years: int
    date: str
    seed: int

    def uid(self, *parts: object) -> str:
        """Return the identifier of a part of this visit; equal parts, equal identifier."""
        from pydicom.uid import generate_uid

        words = repr(("asfusion", self.seed, self.patient_key, self.date, self.site, *parts))
        return str(generate_uid(entropy_srcs=[words]))


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
    check_choice(view, "view", _VIEW_CODES)
    check_choice(body_part, "body_part", _REGION_CODES)
    check_choice(modality, "modality", ("DX", "CR"))
    grey = _check_pixels(pixels, "pixels", 2, bits_stored)
    rows_mm, columns_mm = _check_spacing(spacing_mm, 2)
    source = _check_source(patient_key, site, scanner, sex, age_years, date, seed)
    top = 2**bits_stored - 1
    low, high = _check_window(window, grey, top)
    inverted = photometric == "MONOCHROME1"
    if inverted:
        grey, low, high = (top - grey).astype("<u2"), top - high, top - low
    dataset = _header(source, modality)
    _set_pixels(dataset, grey, photometric, bits_stored, (low, high))
    dataset.update(
        _film(modality, view, body_part, inverted)
        | {
            "ImagerPixelSpacing": [rows_mm, columns_mm],
            "PixelSpacing": [rows_mm, columns_mm],
            "SeriesInstanceUID": source.uid("series", modality, body_part, view),
        }
    )
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_file(target, _encode(dataset, source))


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
    check_choice(sequence, "sequence", _PULSES)
    check_number(tilt_degrees, "tilt_degrees", minimum=-90.0, maximum=90.0)
    grey = _check_pixels(volume, "volume", 3, bits_stored)
    gap, *in_plane = _check_spacing(spacing_mm, 3)
    thickness = gap
    if slice_thickness_mm is not None:
        check_number(slice_thickness_mm, "slice_thickness_mm", minimum=0.01, maximum=gap)
        (thickness,) = _decimals([slice_thickness_mm])
    source = _check_source(patient_key, site, scanner, sex, age_years, date, seed)
    target = Path(folder)
    files = [target / f"IM{number:04d}.dcm" for number in range(1, len(grey) + 1)]
    _clear_folder(target, files)
    dataset = _header(source, "MR")
    window = _check_window(None, grey, 2**bits_stored - 1)
    # Voxels are part of the identity: another render of the same day is another series.
    series = source.uid("series", "MR", sequence, _digest(grey))
    dataset.update(
        {
            **_PULSES[sequence],
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
    _set_pixels(dataset, grey[0], "MONOCHROME2", bits_stored, window)
    right, down, back = _axes(tilt_degrees)
    dataset.ImageOrientationPatient = _decimals([*right, *down])
    # What all slices share is encoded once; a writer copies what a reader left undecoded.
    dataset = _undecoded(dataset, source)
    # The middle of the stack is the origin.
    centre = -0.5 * (np.array(grey.shape) - 1.0) * [gap, *in_plane]
    for number, (file, picture) in enumerate(zip(files, grey, strict=True), start=1):
        depth = centre[0] + (number - 1) * gap
        place = depth * back + centre[1] * down + centre[2] * right
        dataset.InstanceNumber = number
        dataset.ImagePositionPatient = _decimals(place)
        dataset.SliceLocation = _decimals([depth])[0]
        dataset.add_new("PixelData", "OW", picture.tobytes())
        write_file(file, _encode(dataset, source))
    return files


# -- the header ------------------------------------------------------------------------


def _header(source: _Source, modality: str) -> Dataset:
    """Return what every file of a visit says, whatever is on it."""
    from pydicom import Dataset, uid

    classes = {
        "DX": uid.DigitalXRayImageStorageForPresentation,
        "CR": uid.ComputedRadiographyImageStorage,
        "MR": uid.MRImageStorage,
    }
    dataset = Dataset()
    dataset.update(
        {
            "SpecificCharacterSet": "ISO_IR 100",
            "SOPClassUID": classes[modality],
            "Modality": modality,
            "StudyInstanceUID": source.uid("study", modality),
            "StudyID": "1",
            "SeriesNumber": 1,
            "InstanceNumber": 1,
            "AcquisitionNumber": 1,
            "StudyDate": source.date,
            "SeriesDate": source.date,
            "AcquisitionDate": source.date,
            "ContentDate": source.date,
            "StudyTime": "",
            "ContentTime": "",
            "AccessionNumber": "",
            "ReferringPhysicianName": "",
            "Manufacturer": "SYNTHETIC",
            "InstitutionName": source.site,
            "ManufacturerModelName": source.scanner,
            "PatientName": f"SYNTHETIC^{source.patient_key}",
            "PatientID": f"SYNTHETIC-{source.patient_key}",
            "PatientBirthDate": "",
            "PatientSex": source.sex,
            "PatientAge": f"{source.age_years:03d}Y",
            "ImageComments": "Synthetic picture, drawn by a program; not of a person",
            "BurnedInAnnotation": "NO",
            "LossyImageCompression": "00",
        }
    )
    return dataset


def _film(modality: str, view: str, body_part: str, inverted: bool) -> dict[str, Any]:
    """Return what a radiograph says of its making."""
    shared: dict[str, Any] = {
        "BodyPartExamined": body_part,
        "ViewPosition": view,
        "PatientOrientation": _FILM_AXES[view],
        "SeriesDescription": f"{body_part} {view}",
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
        "PresentationLUTShape": "INVERSE" if inverted else "IDENTITY",
    }
    if modality == "CR":
        return shared | {"ImageType": ["ORIGINAL", "PRIMARY"]}
    return shared | {
        # The third value of a DX image type may be empty, but not left out.
        "ImageType": ["ORIGINAL", "PRIMARY", ""],
        "PresentationIntentType": "FOR PRESENTATION",
        "ImageLaterality": "U",
        "AnatomicRegionSequence": [_code(*_REGION_CODES[body_part])],
        "ViewCodeSequence": [_code(*_VIEW_CODES[view])],
        "PixelIntensityRelationship": "LOG",
        # -1: a higher stored value means that fewer rays came through.
        "PixelIntensityRelationshipSign": 1 if inverted else -1,
        "DetectorType": "SCINTILLATOR",
        "PositionerType": "COLUMN",
        "AcquisitionContextSequence": [],
    }


def _code(value: str, meaning: str) -> Dataset:
    """Return an item of a code sequence, SNOMED CT."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def _set_pixels(
    dataset: Dataset,
    grey: NDArray[np.uint16],
    photometric: str,
    bits_stored: int,
    window: tuple[int, int],
) -> None:
    """Put grey values and how they are shown into a header."""
    low, high = window
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = grey.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits_stored, bits_stored - 1
    dataset.PixelRepresentation = 0
    # PS3.3 C.11.2.1.2.1: black at c - w / 2, white at c + w / 2 - 1.
    width = high - low + 1
    dataset.WindowWidth, dataset.WindowCenter = width, low + width / 2
    dataset.add_new("PixelData", "OW", grey.tobytes())


def _encode(dataset: Dataset, source: _Source) -> bytes:
    """Return the bytes of a file, uncompressed, explicit VR, little endian."""
    from pydicom import FileMetaDataset, dcmwrite
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    dataset.SOPInstanceUID = source.uid(
        "image",
        dataset.SeriesInstanceUID,
        dataset.InstanceNumber,
        dataset.PhotometricInterpretation,
        hashlib.sha256(dataset.PixelData).hexdigest(),
    )
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # Ours, so that the bytes do not change with the version of the writer.
    meta.ImplementationClassUID = generate_uid(entropy_srcs=["asfusion implementation"])
    meta.ImplementationVersionName = "ASFUSION"
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _undecoded(dataset: Dataset, source: _Source) -> Dataset:
    """Return a header as a reader leaves it: bytes that are decoded when asked for."""
    from pydicom import dcmread

    return dcmread(io.BytesIO(_encode(dataset, source)))


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


# -- checks ----------------------------------------------------------------------------


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


def _check_source(
    patient_key: object,
    site: object,
    scanner: object,
    sex: object,
    age_years: object,
    date: object,
    seed: object,
) -> _Source:
    """Return where a picture comes from; messages show nothing of it."""
    usable = {
        "patient_key: expected 1 to 40 letters, digits and hyphens": _matches(_KEY, patient_key),
        "site: expected 1 to 40 ASCII characters without a backslash": _matches(_SHORT_TEXT, site),
        "scanner: expected 1 to 40 ASCII characters without a backslash": _matches(
            _SHORT_TEXT, scanner
        ),
        "sex: expected 'female' or 'male'": isinstance(sex, str) and sex in _SEXES,
        "age_years: expected a number of years from 0 to 130": isinstance(age_years, numbers.Real)
        and 0.0 <= float(age_years) <= 130.0,
        "date: expected a datetime.date": isinstance(date, datetime.date),
    }
    for expected, good in usable.items():
        if not good:
            msg = f"{expected}, got something else."
            raise ConfigurationError(msg)
    return _Source(
        patient_key=str(patient_key),
        site=str(site),
        scanner=str(scanner),
        sex=_SEXES[str(sex)],
        age_years=int(age_years),  # type: ignore[call-overload]
        date=date.strftime("%Y%m%d"),  # type: ignore[attr-defined]
        seed=check_integer(seed, "seed", minimum=0),
    )


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


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
