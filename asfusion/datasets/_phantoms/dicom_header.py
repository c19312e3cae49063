"""The header of a drawn picture's DICOM file, and the bytes of the file.

Equal input gives equal bytes: no clock, no machine name and no random identifier.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import numbers
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer
from asfusion.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pydicom import Dataset

# Directions of the rows and columns of a film, as the patient stands before the detector.
_FILM_AXES = {"AP": ["L", "F"], "PA": ["L", "F"], "LL": ["P", "F"], "RL": ["A", "F"]}
VIEW_CODES = {
    "AP": ("399348003", "antero-posterior"),
    "PA": ("272479007", "postero-anterior"),
    "LL": ("399173006", "left lateral"),
    "RL": ("399198007", "right lateral"),
}
REGION_CODES = {
    "PELVIS": ("816092008", "Pelvis"),
    "LSPINE": ("122496007", "Lumbar spine"),
    "CSPINE": ("122494005", "Cervical spine"),
}
# Times in ms, for 1.5 T.
PULSES: dict[str, dict[str, Any]] = {
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
_KEY = re.compile(r"[A-Za-z0-9-]{1,40}")
_SHORT_TEXT = re.compile(r"[ -\[\]-~]{1,40}")  # ASCII without the backslash
_SEXES = {"female": "F", "male": "M"}


@dataclass(frozen=True)
class Source:
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


def checked_source(
    patient_key: object,
    site: object,
    scanner: object,
    sex: object,
    age_years: object,
    date: object,
    seed: object,
) -> Source:
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
    return Source(
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


def header(source: Source, modality: str) -> Dataset:
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


def film_header(modality: str, view: str, body_part: str, inverted: bool) -> dict[str, Any]:
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
        "AnatomicRegionSequence": [_code(*REGION_CODES[body_part])],
        "ViewCodeSequence": [_code(*VIEW_CODES[view])],
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


def set_pixels(
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


def encoded(dataset: Dataset, source: Source) -> bytes:
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


def undecoded(dataset: Dataset, source: Source) -> Dataset:
    """Return a header as a reader leaves it: bytes that are decoded when asked for."""
    from pydicom import dcmread

    return dcmread(io.BytesIO(encoded(dataset, source)))
