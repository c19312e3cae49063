"""Files of others pass the guard: nobody beside it opens them with a foreign reader."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

import asfusion
from asfusion.imaging import deidentify, quality
from asfusion.imaging.extent import read_extent
from tests.imaging.files import dicom, gradient, write_dicom

ROOMS = ("duplicates", "encoders", "explanation", "imaging")
FOREIGN = {
    r"Image\.open\(": {"imaging/_pillow.py", "imaging/dicom/_jpeg2000.py"},
    # Written anew, it has to be read whole.
    r"dcmread\(|FileDataset": {"imaging/deidentification.py"},
    r"read_dataset\(": {"imaging/dicom/header.py"},
    r"nibabel\.|\.from_stream\(": {"imaging/volumes/_nifti.py"},
    r"pixel_array|get_decoder\(|imagecodecs\.": {
        "imaging/dicom/frames.py", "imaging/dicom/_jpeg12.py"
    },
    r"SimpleITK|skimage|imageio|cv2": set(),
}  # fmt: skip


@pytest.mark.parametrize("call", FOREIGN)
def test_foreign_readers_are_called_in_one_place(call: str) -> None:
    package = Path(asfusion.__file__).parent
    files = [file for room in ROOMS for file in (package / room).rglob("*.py")]
    found = {
        file.relative_to(package).as_posix()
        for file in files
        for line in file.read_text().splitlines()
        if re.search(call, line) and ">>>" not in line
    }
    assert found == FOREIGN[call]


def test_headers_are_read_under_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dicom(
        tmp_path / "a.dcm", gradient(80, 100), PixelSpacing=[0.2, 0.2], BurnedInAnnotation="YES",
        BodyPartExamined="PELVIS", ViewPosition="AP",
    )  # fmt: skip
    monkeypatch.setattr(pydicom, "dcmread", lambda *_, **__: pytest.fail("beside the guard"))
    assert read_extent(path).spacing_mm == (0.2, 0.2)
    row = quality([path]).table.iloc[0]
    assert (row["view"], row["text"], row["spacing"]) == ("ap pelvis", "declared", 0.2)


# -- de-identification -----------------------------------------------------------------

KEY = "a secret of the hospital"


def test_compressed_frames_are_decoded_by_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dicognito")
    dataset = dicom(gradient(64, 64), NumberOfFrames=3)
    dataset.PixelData = np.repeat(gradient(64, 64)[None], 3, axis=0).tobytes()
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    decode = property(lambda _: pytest.fail("in this process"))
    monkeypatch.setattr(pydicom.Dataset, "pixel_array", decode)
    report = deidentify([tmp_path / "a.dcm"], tmp_path / "out", key=KEY)
    assert report.outcomes == ("written",)


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path) -> None:
    pytest.importorskip("dicognito")
    dataset = dicom(gradient(64, 64), syntax=DeflatedExplicitVRLittleEndian)
    dataset.add_new(0x00420011, "OB", bytes(2**26))  # an encapsulated document
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    report = deidentify([tmp_path / "a.dcm"], tmp_path / "out", key=KEY, burned_in="keep")
    assert report.outcomes == ("unreadable",)
