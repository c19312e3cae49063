"""NIfTI files to volumes, by nibabel."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from asfusion._optional import import_optional
from asfusion.exceptions import ImageReadError
from asfusion.imaging._limits import LARGE, MAX_VOLUME_BYTES
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.volumes._geometry import orientation_of
from asfusion.imaging.volumes.volume import Volume, volume_window

_MAGIC = (b"n+1\x00", b"ni1\x00", b"n+2\x00", b"ni2\x00")
_GZIP = b"\x1f\x8b"
_PAIR = (b"ni1\x00", b"ni2\x00")
_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # metre, millimetre, micrometre
_NO_PLACE = (
    "the file does not say how its voxels lie in the patient: directions and origin are made up"
)
# NIfTI's x runs to the right and y to the front; DICOM's to the left and the back.
_TO_DICOM = np.diag([-1.0, -1.0, 1.0])


def is_nifti(path: Path) -> bool:
    """Return whether a file is a NIfTI file, by its content or, damaged, by its ending."""
    if not path.is_file():
        return False
    start = _start(path)
    return start[344:348] in _MAGIC or start[4:8] in _MAGIC or path.name.lower().endswith(
        (".nii", ".nii.gz")
    )  # fmt: skip


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(348)
        if head[:2] != _GZIP:
            return head
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as inside:
                return inside.read(348)
        except (OSError, EOFError, ValueError):
            return b""
        except Exception:  # zlib has an error of its own
            return b""


def read_nifti(path: Path) -> Volume:
    """Return the volume of a NIfTI file with one volume.

    Parameters
    ----------
    path : Path
        A file for which `is_nifti` holds.

    Raises
    ------
    ImageReadError
        If the file is damaged, the header of a pair, of more than three dimensions, sheared or
        too large.
    MissingDependencyError
        If nibabel is not installed.
    """
    nibabel: Any = import_optional("nibabel", needed_for="A NIfTI file", extra="nifti")
    start = _start(path)
    if start[344:348] not in _MAGIC and start[4:8] not in _MAGIC:
        msg = "expected a NIfTI file, got one of another kind under its name."
        raise ImageReadError(msg)
    if start[344:348] in _PAIR or start[4:8] in _PAIR:
        msg = (
            "expected a NIfTI file of header and voxels in one, got the header of a pair. Save the "
            "pair as one .nii file."
        )
        raise ImageReadError(msg)
    try:
        with quiet_readers(), path.open("rb") as file:  # again: nibabel is imported by now
            packed = file.read(2) == _GZIP
            file.seek(0)
            stream: Any = gzip.GzipFile(fileobj=file) if packed else file
            wide = start[4:8] in _MAGIC
            kind = nibabel.Nifti2Image if wide else nibabel.Nifti1Image
            image = kind.from_stream(stream)
            _check(image, path.stat().st_size, packed)
            values = np.asanyarray(image.dataobj)
    except ImageReadError:
        raise
    except (struct.error, Exception):
        msg = "expected a readable NIfTI file, got one that is damaged or cut short."
        raise ImageReadError(msg) from None
    affine = np.asarray(image.affine, dtype=np.float64).copy()
    affine[:3] *= _MM.get(int(image.header["xyzt_units"]) & 7, 1.0)
    notes = () if _is_placed(image.header) else (_NO_PLACE,)
    return _volume(values.reshape(image.shape[:3]), affine, notes)


def _is_placed(header: Any) -> bool:
    """Return whether a header says where voxels lie; else nibabel makes an affine up."""
    return bool(int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0)


def _check(image: Any, file_size: int, packed: bool) -> None:
    shape = tuple(int(extent) for extent in image.shape)
    if len(shape) < 3 or any(extent != 1 for extent in shape[3:]) or min(shape) < 1:
        msg = (
            f"expected a NIfTI file of one volume, got {len(shape)} dimensions. Save the volume "
            "that matters as a file of its own."
        )
        raise ImageReadError(msg)
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        msg = "expected a NIfTI file of numbers, got colours or complex values."
        raise ImageReadError(msg)
    n_bytes = math.prod(shape) * int(dtype.itemsize)
    if max(n_bytes, 4 * math.prod(shape)) > MAX_VOLUME_BYTES:
        msg = (
            f"expected a volume of at most {MAX_VOLUME_BYTES // 2**20} MiB, got a NIfTI file that "
            "declares more."
        )
        raise ImageReadError(msg)
    held = file_size * (1032 if n_bytes < LARGE else 250) if packed else file_size
    if n_bytes > held:
        msg = "expected a complete NIfTI file, got one that cannot hold what it declares."
        raise ImageReadError(msg)


def _volume(values: Any, affine: Any, notes: tuple[str, ...]) -> Volume:
    """Return a volume from an array (i, j, k) and the affine of its voxels."""
    axes = (_TO_DICOM @ affine[:3, :3]).T[::-1]  # rows: along Z, Y and X
    lengths = np.linalg.norm(axes, axis=1)
    if not np.isfinite(affine).all() or lengths.min() < 1e-3:
        msg = "expected a NIfTI file with the place of its voxels, got one without."
        raise ImageReadError(msg)
    directions = axes / lengths[:, None]
    if np.abs(directions @ directions.T - np.eye(3)).max() > 0.02:
        msg = "expected voxels at right angles, got a sheared NIfTI file. Resample it first."
        raise ImageReadError(msg)
    values = values.transpose(2, 1, 0)
    if values.dtype.kind == "f" or values.dtype.itemsize > 4:
        values = values.astype(np.float32)
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    return Volume(
        values=values,
        spacing=(float(lengths[0]), float(lengths[1]), float(lengths[2])),
        orientation=orientation_of(directions),
        directions=directions,
        origin=_TO_DICOM @ affine[:3, 3],
        window=volume_window(values),
        notes=notes,
    )
