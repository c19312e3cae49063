"""read_series on NIfTI files."""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asfusion.exceptions import ImageReadError, MissingDependencyError
from asfusion.imaging import read_series
from tests.imaging.files import SECRET
from tests.imaging.slices import voxels, write_slices

nibabel = pytest.importorskip("nibabel")
VALUES = voxels().astype(np.int16)
# Voxels (x, y, z) of 0.75 x 0.5 x 4 mm, along the axes of DICOM: to the left, the back, the head.
AFFINE = np.diag([-0.75, -0.5, 4.0, 1.0])
AFFINE[:3, 3] = [10.0, 20.0, 0.0]


def write(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE, **header: Any) -> Path:
    image = nibabel.Nifti1Image(values.transpose(*range(values.ndim)[::-1]), affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def refuse(path: Path, match: str) -> None:
    with pytest.raises(ImageReadError, match=match) as caught:
        read_series(path)
    assert str(path.parent) not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_volume_equals_that_of_the_slices(tmp_path: Path, ending: str) -> None:
    write_slices(tmp_path / "slices", VALUES)
    slices = read_series(tmp_path / "slices")
    volume = read_series(write(tmp_path / f"a{ending}", VALUES))
    assert np.array_equal(volume.values, slices.values)
    assert volume.values.dtype == np.int16
    assert volume.spacing == pytest.approx(slices.spacing)
    assert volume.orientation == "axial"
    assert np.allclose(volume.directions, slices.directions)
    assert np.allclose(volume.origin, slices.origin)


def test_scaled_values(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", VALUES)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<2f", 2.0, -5.0)
    path.write_bytes(content)
    volume = read_series(path)
    assert volume.values.dtype == np.float32
    assert np.array_equal(volume.values, VALUES * 2.0 - 5.0)


def test_content_decides_not_the_ending(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", VALUES)
    path.rename(tmp_path / "volume")
    assert read_series(tmp_path / "volume").n_slices == 6
    (tmp_path / "b.nii.gz").write_bytes(b"\x1f\x8bno gzip")
    refuse(tmp_path / "b.nii.gz", "of another kind under its name")


def test_one_volume_of_four_dimensions(tmp_path: Path) -> None:
    assert read_series(write(tmp_path / "a.nii", VALUES[None])).n_slices == 6
    refuse(write(tmp_path / "b.nii", np.stack([VALUES, VALUES])), "one volume, got 4 dimensions")


def test_colours(tmp_path: Path) -> None:
    refuse(write(tmp_path / "a.nii", VALUES.astype(np.complex64)), "got colours or complex")


def test_shear_and_no_place(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[0, 2] = 1.0
    refuse(write(tmp_path / "a.nii", VALUES, sheared), "sheared NIfTI file")
    flat = AFFINE.copy()
    flat[:, 2] = 0.0
    path = write(tmp_path / "b.nii", VALUES)
    content = bytearray(path.read_bytes())
    content[280:328] = flat[:3].astype("<f4").tobytes()
    path.write_bytes(content)
    refuse(path, "with the place of its voxels|damaged")


def test_declared_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", VALUES)
    content = bytearray(path.read_bytes())
    content[42:48] = struct.pack("<3h", 3000, 3000, 3000)
    path.write_bytes(content)
    refuse(path, "NIfTI file that declares more")
    content[42:48] = struct.pack("<3h", 24, 20, 600)
    path.write_bytes(content)
    refuse(path, "cannot hold what it declares")
    content[42:48] = struct.pack("<3h", 300, 300, 300)
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(bytes(content) + bytes(2 * 300**3)))
    refuse(packed, "cannot hold what it declares")


def test_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii.gz", VALUES)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refuse(path, "damaged or cut short")


def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.nii", VALUES)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingDependencyError, match=r"asfusion\[nifti\]"):
        read_series(path)


@pytest.mark.parametrize(("code", "mm"), [(0, 1.0), (1, 1000.0), (2, 1.0), (3, 0.001)])
def test_lengths_are_in_mm_whatever_their_unit(tmp_path: Path, code: int, mm: float) -> None:
    affine = np.diag([-7.5, -5.0, 40.0, 1.0])
    affine[:3, 3] = [10.0, 20.0, 30.0]
    affine[:3] *= 0.01 if code == 1 else 1.0
    volume = read_series(write(tmp_path / "a.nii", VALUES, affine, xyzt_units=code | 8))
    scale = mm * (0.01 if code == 1 else 1.0)
    assert volume.spacing == pytest.approx((40.0 * scale, 5.0 * scale, 7.5 * scale))
    assert np.allclose(volume.origin, np.array([-10.0, -20.0, 30.0]) * scale)


def test_unknown_place_is_noted(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES.T, None)
    image.header.set_zooms((0.75, 0.5, 4.0))
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_series(tmp_path / "a.nii")
    assert volume.spacing == pytest.approx((4.0, 0.5, 0.75))
    (note,) = volume.notes
    assert note.endswith("its voxels lie in the patient: directions and origin are made up")
    assert read_series(write(tmp_path / "b.nii", VALUES)).notes == ()


def test_infinite_voxels_do_not_spread(tmp_path: Path) -> None:
    values = VALUES.astype(np.float32)
    values[0, 0, 0], values[1, 2, 3], values[4, 4, 4] = np.nan, np.inf, -np.inf
    path = write(tmp_path / "a.nii", values)
    usable = values[np.isfinite(values)]
    small = read_series(path, size=(3, 10, 12)).values
    assert np.isfinite(small).all()
    assert usable.min() <= small.min() <= small.max() <= usable.max()
    assert np.isinf(read_series(path).values).sum() == 2
    path = write(tmp_path / "b.nii", np.full((4, 4, 4), np.nan, np.float32))
    assert (read_series(path, size=2).values == 0).all()


@pytest.mark.parametrize("kind", ["Nifti1Pair", "Nifti2Pair"])
def test_header_of_a_pair_is_named(tmp_path: Path, kind: str) -> None:
    nibabel.save(getattr(nibabel, kind)(VALUES.T, AFFINE), tmp_path / "a.img")
    refuse(tmp_path / "a.hdr", "got the header of a pair. Save the pair as one .nii file")
