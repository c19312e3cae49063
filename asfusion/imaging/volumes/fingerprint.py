"""What tells whether two series, or files of voxels, show the same volume."""

from __future__ import annotations

import os
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import ImageReadError, MissingDependencyError
from asfusion.imaging.fingerprint import Fingerprint, array_digest, file_digest, folder_digest
from asfusion.imaging.volumes.grid import Grid, to_eight_bits, window_of
from asfusion.imaging.volumes.series import read_series
from asfusion.imaging.volumes.volume import Volume

_BOX = (16, 32, 32)  # voxels of the reduced volume
_FREQUENCIES = 8  # kept along each axis, save the mean
_FLATTEST = 2.0  # grey values of standard deviation below which there is nothing to compare


def fingerprint_series(path: str | os.PathLike[str]) -> Fingerprint | None:
    """Return the names of a volume, the same whatever files it is stored in.

    Parameters
    ----------
    path : str or PathLike
        What `asfusion.imaging.read_series` reads, or any folder of files.

    Returns
    -------
    Fingerprint or None
        Equal where files or voxels are, along the axes of the patient; alike where volumes
        are. With names of the content alone where it is no one volume, or where the package
        that reads it is not installed. None if nothing can be read.
    """
    try:
        content = folder_digest(path) if Path(path).is_dir() else file_digest(path)
    except (OSError, ValueError):
        return None
    if content is None:
        return None
    try:
        voxels = upright(read_series(path, on_gap="fill"))
    except (ImageReadError, MissingDependencyError):
        return Fingerprint(content, None, None)
    return Fingerprint(content, array_digest(voxels.astype(np.float32)), volume_hash(voxels))


def upright(volume: Volume) -> NDArray[Any]:
    """Return voxels along the axes of the patient: to the head, the back and the left.

    Each axis of an oblique volume is the one of the patient that it is nearest to.
    """
    cosines = volume.directions[:, ::-1]  # of Z, Y and X with the patient's z, y and x
    every = list(permutations(range(3)))
    near = [float(np.abs(cosines[axes, range(3)]).sum()) for axes in every]
    nearest = every[int(np.argmax(near))]
    signs = cosines[nearest, range(3)]
    steps = tuple(slice(None, None, -1 if sign < 0 else 1) for sign in signs)
    return volume.values.transpose(nearest)[steps]


def volume_hash(voxels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return the signs (511,) of the lowest frequencies; None if there is nothing to see."""
    from scipy.fft import dctn

    steps = [extent / n for extent, n in zip(voxels.shape, _BOX, strict=True)]
    grey = to_eight_bits(voxels, window_of(voxels))
    small = Grid.over(grey.shape, (1.0, 1.0, 1.0), shape=_BOX, spacing=steps).sample(grey)
    if float(small.std()) < _FLATTEST:
        return None
    low = dctn(small, norm="ortho")[:_FREQUENCIES, :_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    return np.asarray(low > np.median(low))
