"""Series of slices, made where a test wants them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import DataElement, Dataset, FileMetaDataset, config
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from tests.imaging.files import SECRET, dicom

AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
SAGITTAL = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]


def voxels(n: int = 6, height: int = 20, width: int = 24) -> np.ndarray:
    """Return whole numbers (Z, Y, X) of which each slice is told from the others."""
    z, y, x = np.mgrid[:n, :height, :width]
    return (100 * z + 2 * y + x).astype(np.uint16)


def one_slice(pixels: np.ndarray, level_mm: float, **header: Any) -> Dataset:
    """Return an axial MR slice at a height above the origin."""
    entries: dict[str, Any] = {
        "SOPClassUID": MRImageStorage,
        "Modality": "MR",
        "SeriesInstanceUID": "1.2.3.4",
        "ImageOrientationPatient": AXIAL,
        "ImagePositionPatient": [-10.0, -20.0, level_mm],
        "PixelSpacing": [0.5, 0.75],
        "SliceThickness": 3,
        "PatientID": SECRET,
        **header,
    }
    return dicom(pixels, **entries)


def write_slices(
    folder: Path, values: np.ndarray, *, gap_mm: float = 4.0, prefix: str = "", **header: Any
) -> list[Path]:
    """Write slices under names that put them in another order."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for level, pixels in enumerate(values):
        file = folder / f"{prefix}{(level * 7) % 11:02d}-{level}.dcm"
        one_slice(pixels, level * gap_mm, **header).save_as(file, enforce_file_format=True)
        files.append(file)
    return files


def tilted(folder: Path, values: np.ndarray, degrees: float) -> None:
    """Write slices that move along z while they lean."""
    angle = math.radians(degrees)
    lean = [1.0, 0.0, 0.0, 0.0, math.cos(angle), -math.sin(angle)]
    write_slices(folder, values, ImageOrientationPatient=lean)


def enhanced(values: np.ndarray, *, gap_mm: float = 4.0, order: list[int] | None = None) -> Dataset:
    """Return an enhanced MR file: frames in any order, with their places in functional groups."""
    order = order or list(range(len(values)))
    dataset = dicom(values[0], SOPClassUID=EnhancedMRImageStorage, Modality="MR")
    dataset.NumberOfFrames = len(values)
    dataset.PixelData = values[order].tobytes()
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 3
    plane.ImageOrientationPatient = AXIAL
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for level in order:
        place, group, rescale = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [-10.0, -20.0, level * gap_mm]
        group.PlanePositionSequence = [place]
        rescale.RescaleSlope, rescale.RescaleIntercept = 1 + level, 0
        group.PixelValueTransformationSequence = [rescale]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    return dataset


def dicomdir(names: list[list[str]]) -> Dataset:
    """Return a directory that names files, each by the parts of its path."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9"
    records = []
    for parts in names:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.add(DataElement(0x00041500, "CS", parts, validation_mode=config.IGNORE))
        records.append(record)
    dataset.DirectoryRecordSequence = records
    return dataset
