"""NIfTI files to volumes: the header by nibabel, the voxels as it says."""

from __future__ import annotations

import io
import math
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asfusion._optional import import_optional
from asfusion.exceptions import ImageReadError
from asfusion.imaging._limits import LARGE, MAX_VOLUME_BYTES
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.volumes._geometry import orientation_of
from asfusion.imaging.volumes._gzip import MARK, Inflated
from asfusion.imaging.volumes.volume import Volume, volume_window

_MAGIC = (b"n+1\x00", b"ni1\x00", b"n+2\x00", b"ni2\x00")
_PAIR = (b"ni1\x00", b"ni2\x00")
_MARKED = 348  # bytes that tell what it is
_HEAD = 540  # bytes of the longer kind of header
_FIRST = {False: 352, True: 544}  # byte of voxels, where nothing is said; of the longer kind
_MOST_BETWEEN = 16 * 2**20  # bytes of extensions, which are passed over
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
        head = file.read(_HEAD)
        if not head.startswith(MARK):
            return head
        file.seek(0)
        view = memoryview(bytearray(_HEAD))
        inside = Inflated(file)
        with suppress(ValueError):  # for the reader to say
            inside.fill(view[:_MARKED])
            inside.fill(view[_MARKED:])
        return bytes(view)


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
        too large, or holds more or less than its header says.
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
    is_wide = start[4:8] in _MAGIC
    kind = nibabel.Nifti2Header if is_wide else nibabel.Nifti1Header
    try:
        with quiet_readers():  # again: nibabel is imported by now
            block = start[: kind.sizeof_hdr]
            header = kind(block)
            bits = int(kind(block, check=False)["bitpix"])  # as it is said: a check corrects it
            affine = np.asarray(header.get_best_affine(), dtype=np.float64).copy()
            shape = tuple(int(extent) for extent in header.get_data_shape())
            dtype = header.get_data_dtype()
            scale = _scale(header)
            units = int(header["xyzt_units"]) & 7
            first = int(header["vox_offset"]) or _FIRST[is_wide]
    except ImageReadError:
        raise
    except Exception:
        raise _damaged() from None
    _check(shape, dtype, bits, first - _FIRST[is_wide])
    values = _scaled(_voxels(path, first, shape[2::-1], dtype), scale)
    affine[:3] *= _MM.get(units, 1.0)
    return _volume(values, affine, () if _is_placed(header) else (_NO_PLACE,))


def _damaged() -> ImageReadError:
    return ImageReadError("expected a readable NIfTI file, got one that is damaged or cut short.")


def _scale(header: Any) -> tuple[float, float]:
    """Return slope and intercept from stored values; 1 and 0 where none is said."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0.0 or math.isnan(slope):
        return 1.0, 0.0
    if math.isinf(slope) or not math.isfinite(intercept):
        msg = (
            "expected a NIfTI file whose scale is a number, got another one. Correct its scl_slope "
            "and scl_inter."
        )
        raise ImageReadError(msg)
    return slope, intercept


def _voxels(path: Path, first: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the voxels (Z, Y, X) as they are stored, if the file holds them and no more."""
    n_bytes = math.prod(shape) * dtype.itemsize
    file_size = path.stat().st_size
    with path.open("rb") as file:
        packed = file.read(2) == MARK
        held = file_size * (1032 if n_bytes < LARGE else 250) if packed else file_size
        if n_bytes > held:
            msg = "expected a complete NIfTI file, got one that cannot hold what it declares."
            raise ImageReadError(msg)
        data = np.empty(n_bytes, np.uint8)
        a_slice = n_bytes // shape[0]
        file.seek(0)
        try:
            n_more = (_unpack if packed else _read)(file, first, data.data, a_slice)
        except ValueError:
            raise _damaged() from None
    if n_more >= a_slice:
        msg = (
            f"expected a NIfTI file of the {' x '.join(map(str, shape[::-1]))} voxels that its "
            "header declares, got one of more. Correct its header, or save one volume alone."
        )
        raise ImageReadError(msg)
    return data.view(dtype).reshape(shape)


def _read(file: BinaryIO, first: int, view: memoryview, most: int) -> int:
    """Fill a buffer from a byte of a file on; return how many bytes follow."""
    end = file.seek(0, io.SEEK_END)
    file.seek(first)
    if file.readinto(view) < len(view):  # type: ignore[attr-defined]
        raise ValueError
    return end - file.tell()


def _unpack(file: BinaryIO, first: int, view: memoryview, most: int) -> int:
    """Do the same from inside a packed file, with at most so many bytes that follow.

    It is read to its end, where its checksum stands.
    """
    inside = Inflated(file)
    if inside.skip(first) < first or inside.fill(view) < len(view):
        raise ValueError
    return inside.skip(most)


def _scaled(values: NDArray[Any], scale: tuple[float, float]) -> NDArray[Any]:
    """Return values of this machine's byte order, in single precision if no integers."""
    slope, intercept = scale
    if scale != (1.0, 0.0):
        out = np.empty(values.shape, np.float32)
        for level, stored in enumerate(values):
            out[level] = stored.astype(np.float64) * slope + intercept
        return out
    if values.dtype.kind == "f" or values.dtype.itemsize > 4:
        return values.astype(np.float32)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _is_placed(header: Any) -> bool:
    """Return whether a header says where voxels lie; else nibabel makes an affine up."""
    return bool(int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0)


def _check(shape: tuple[int, ...], dtype: np.dtype[Any], bits: int, n_between: int) -> None:
    if len(shape) < 3 or any(extent != 1 for extent in shape[3:]) or min(shape) < 1:
        msg = (
            f"expected a NIfTI file of one volume, got {len(shape)} dimensions. Save the volume "
            "that matters as a file of its own."
        )
        raise ImageReadError(msg)
    if dtype.kind not in "iuf":
        msg = "expected a NIfTI file of numbers, got colours or complex values."
        raise ImageReadError(msg)
    if bits != 8 * dtype.itemsize:
        msg = (
            f"expected a NIfTI file whose bitpix is that of its data type, {8 * dtype.itemsize}, "
            f"got {bits}. One of the two is wrong: correct the header."
        )
        raise ImageReadError(msg)
    if max(math.prod(shape) * dtype.itemsize, 4 * math.prod(shape)) > MAX_VOLUME_BYTES:
        msg = (
            f"expected a volume of at most {MAX_VOLUME_BYTES // 2**20} MiB, got a NIfTI file that "
            "declares more."
        )
        raise ImageReadError(msg)
    if not 0 <= n_between <= _MOST_BETWEEN:
        msg = (
            "expected voxels behind the header and at most "
            f"{_MOST_BETWEEN // 2**20} MiB of extensions, got a NIfTI file that says otherwise."
        )
        raise ImageReadError(msg)


def _volume(values: Any, affine: Any, notes: tuple[str, ...]) -> Volume:
    """Return a volume from voxels (Z, Y, X) and the affine of (i, j, k)."""
    axes = (_TO_DICOM @ affine[:3, :3]).T[::-1]  # rows: along Z, Y and X
    lengths = np.linalg.norm(axes, axis=1)
    if not np.isfinite(affine).all() or lengths.min() < 1e-3:
        msg = "expected a NIfTI file with the place of its voxels, got one without."
        raise ImageReadError(msg)
    directions = axes / lengths[:, None]
    if np.abs(directions @ directions.T - np.eye(3)).max() > 0.02:
        msg = "expected voxels at right angles, got a sheared NIfTI file. Resample it first."
        raise ImageReadError(msg)
    return Volume(
        values=values,
        spacing=(float(lengths[0]), float(lengths[1]), float(lengths[2])),
        orientation=orientation_of(directions),
        directions=directions,
        origin=_TO_DICOM @ affine[:3, 3],
        window=volume_window(values),
        notes=notes,
    )
