"""What tells whether two image files show the same image."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging._cells import is_pillow
from asfusion.imaging._in_memory import Content, content_digest, read_content
from asfusion.imaging._picture import robust_window
from asfusion.imaging._resize import resize
from asfusion.imaging.read import read_image

N_BITS = 255
"""Bits of a perceptual hash."""

_SIDE = 64  # pixels of the reduced image
_FREQUENCIES = 16  # kept along each side, save the mean
_FLATTEST = 2.0  # grey values of standard deviation below which there is nothing to compare
_SMALL = 96  # pixels along a side of the image that is kept
_LIT = 10  # grey values above the darkest
_NARROWEST = 16  # pixels


class Fingerprint(NamedTuple):
    """Names of one image or volume, each deaf to more than the one before.

    Parameters
    ----------
    content : str or None
        SHA-256 of the bytes of the file, or of the files of a folder; None for an array and an
        image of Pillow, which have none.
    pixels : str or None
        SHA-256 of the decoded pixels: the same for an image stored in another format
        without loss, or with another header. None for a folder that is no one volume.
    perceptual : ndarray of bool, or None
        Signs of the low frequencies: few differ after a JPEG compression, a change of
        size or of brightness. None for an image of one grey.
    small : ndarray of shape (96, 96), uint8, or None
        What is not black at the borders of an image, small; None for an image of one grey,
        and for a volume.
    """

    content: str | None
    pixels: str | None
    perceptual: NDArray[np.bool_] | None
    small: NDArray[np.uint8] | None = None


def fingerprint_image(film: str | os.PathLike[str] | Content) -> Fingerprint:
    """Return the names of an image.

    Parameters
    ----------
    film : str, PathLike, bytes, ndarray or PIL.Image.Image
        A PNG, JPEG, TIFF or single-frame DICOM file, or a picture that is in memory.

    Returns
    -------
    Fingerprint
        Equal where files, pixels or pictures are.

    Raises
    ------
    ImageReadError
        If it cannot be read.

    Notes
    -----
    The perceptual hash is the sign of each of the lowest 16 by 16 frequencies of a cosine
    transform of the image reduced to 64 by 64 pixels, against their median [1]_. NOTE[DIFF]
    8 by 8 frequencies, as usual, do not tell radiographs of one region apart.

    References
    ----------
    .. [1] Zauner, "Implementation and benchmarking of perceptual image hash functions",
       Upper Austria University of Applied Sciences, 2010.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from PIL import Image
    >>> from asfusion.imaging.fingerprint import fingerprint_image
    >>> pixels = np.random.default_rng(0).integers(0, 255, (40, 30), dtype=np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = [pathlib.Path(folder, name) for name in ("a.png", "b.tif")]
    ...     for file in files:
    ...         Image.fromarray(pixels).save(file)
    ...     a, b = map(fingerprint_image, files)
    >>> a.content == b.content, a.pixels == b.pixels
    (False, True)
    """
    if isinstance(film, str | os.PathLike):
        pixels, content = read_image(film)[0], file_digest(film)
        return _fingerprint(pixels, content)
    is_bare = isinstance(film, np.ndarray) or is_pillow(film)  # without the bytes of a file
    return _fingerprint(read_content(film, None, 1)[0], None if is_bare else content_digest(film))


def _fingerprint(pixels: NDArray[np.uint8], content: str | None) -> Fingerprint:
    look = perceptual_hash(pixels)
    small = None if look is None else small_image(pixels)
    return Fingerprint(content, array_digest(pixels), look, small)


def small_image(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what is not black at the borders of grey pixels (H, W), at (96, 96).

    The darkest grey becomes black, so that bars beside a picture are told, however bright.
    """
    black, _ = robust_window(pixels)
    lit = pixels > black + _LIT
    inner = pixels[_where_mostly(lit.mean(axis=1)), _where_mostly(lit.mean(axis=0))]
    grey = np.clip(resize(inner, _SMALL, _SMALL) - np.float32(black), 0.0, 255.0)
    return np.asarray(np.rint(grey), dtype=np.uint8)


def _where_mostly(shares: NDArray[np.float64]) -> slice:
    """Return the lines from the first to the last of which half is lit; all, if those are few."""
    lit = np.flatnonzero(shares > 0.5)
    if len(lit) < _NARROWEST:
        return slice(None)
    return slice(int(lit[0]), int(lit[-1]) + 1)


def perceptual_hash(pixels: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Return the hash (255,) of grey pixels (H, W), or None if there is nothing to see."""
    from PIL import Image
    from scipy.fft import dctn

    if float(pixels.std()) < _FLATTEST:
        return None
    reduced = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    waves = dctn(np.asarray(reduced, dtype=np.float64), norm="ortho")
    low = waves[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    return np.asarray(low > np.median(low))


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of the bytes of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_digest(values: NDArray[Any]) -> str:
    """Return the SHA-256 of the shape and the numbers of an array."""
    return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()


def folder_digest(path: str | os.PathLike[str]) -> str | None:
    """Return a name for the contents of a folder of files, whatever they are called.

    Parameters
    ----------
    path : str or PathLike
        A folder, such as a series of slices.

    Returns
    -------
    str or None
        SHA-256 over the sorted SHA-256 of its files; None if none can be read.
    """
    try:
        names = [file_digest(entry) for entry in Path(path).iterdir() if entry.is_file()]
    except (OSError, ValueError):
        return None
    return hashlib.sha256("".join(sorted(names)).encode()).hexdigest() if names else None
