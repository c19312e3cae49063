"""Small image files of every kind, written where a test wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

SECRET = "DOE^JANE^1971"


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    """Return grey values that rise from left to right, 0 to 255."""
    return np.tile(np.linspace(0, 255, width).round().astype(np.uint8), (height, 1))


def dicom(pixels: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **header: Any) -> Dataset:
    """Return a DICOM image of grey values (H, W) or colours (H, W, 3) with further entries."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.PatientName = SECRET
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    return dataset


def write_dicom(path: Path, pixels: np.ndarray, **header: Any) -> Path:
    """Write `dicom` to a file."""
    dicom(pixels, **header).save_as(path, enforce_file_format=True)
    return path


def raw(keyword: str, value: bytes) -> RawDataElement:
    """Return an entry of decimal text as it stands in a file, whatever it says."""
    value += b" " * (len(value) % 2)
    return RawDataElement(Tag(keyword), "DS", len(value), value, 0, False, True)
