"""How large a pixel is: one reading of it, whoever asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asfusion.exceptions import DicomReadError
from asfusion.imaging import quality, read_image, read_series
from asfusion.imaging.dicom.file import header_of
from asfusion.imaging.dicom.spacing import pixel_spacing
from asfusion.imaging.extent import read_extent
from tests.imaging.files import raw, write_dicom
from tests.imaging.slices import enhanced, one_slice, voxels

PIXELS = np.tile(np.arange(20, dtype=np.uint16), (40, 1))
FILM = {"ImagerPixelSpacing": [0.2, 0.1], "NominalScannedPixelSpacing": [0.75, 0.25]}


def written(folder: Path, **header: Any) -> Path:
    return write_dicom(folder / "film.dcm", PIXELS, **header)


@pytest.mark.parametrize(
    ("header", "spacing", "aspect"),
    [
        ({"PixelSpacing": [0.4, 0.2], **FILM}, (0.4, 0.2), 2.0),
        (FILM, (0.2, 0.1), 2.0),
        ({"NominalScannedPixelSpacing": [0.75, 0.25]}, (0.75, 0.25), 3.0),
        ({"PixelSpacing": [0.1, 2.0], "PixelAspectRatio": [2, 1]}, (0.1, 2.0), 2.0),
        ({"PixelAspectRatio": [4000, 2000]}, None, 2.0),
        ({}, None, 1.0),
    ],
)
def test_everybody_reads_the_same(
    tmp_path: Path, header: dict[str, Any], spacing: tuple[float, float] | None, aspect: float
) -> None:
    path = written(tmp_path, **header)
    extent, found = read_extent(path), quality([path]).table.loc[0, "spacing"]
    assert (extent.spacing_mm, extent.aspect) == (spacing, aspect)
    assert np.isnan(found) if spacing is None else found == spacing[0]
    rows = (read_image(path, size=60)[0] > 0).any(axis=1).sum()
    assert rows == min(60, round(60 * 40 * aspect / max(20, 40 * aspect)))


@pytest.mark.parametrize(
    "value",
    [
        [0.4], [0.4, 0.4, 0.4], [0.0, 0.4], [-0.4, 0.4], [0.0001, 0.4], [0.4, 2000.0],
        raw("PixelSpacing", b"0.4\\wide"), raw("PixelSpacing", b"0.4,0.4"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_pair_of_lengths_is_passed_over(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "slice.dcm"
    dataset = one_slice(PIXELS, 0.0, ImagerPixelSpacing=[0.2, 0.2])
    if isinstance(value, list):
        dataset.PixelSpacing = value
    else:
        dataset._dict[value.tag] = value
    dataset.save_as(path, enforce_file_format=True)
    assert pixel_spacing(header_of(path)) == (0.2, 0.2)
    with pytest.raises(DicomReadError, match="pixel spacing, got 1 of 1 without"):
        read_series(path)  # at the detector is no place in the patient


def test_a_frame_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "enhanced.dcm"
    enhanced(voxels(3)).save_as(path, enforce_file_format=True)
    assert pixel_spacing(header_of(path), frame=2) == (0.5, 0.75)
