"""One image file to 8-bit pixels, whatever the file is made of."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, in_words
from asfusion._door import public
from asfusion.exceptions import ConfigurationError, DicomReadError, ImageReadError
from asfusion.imaging._guard import checked_path, first_bytes, guarded
from asfusion.imaging._picture import Picture, on_square, resize_inside
from asfusion.imaging._pillow import decode_pillow, opened, shown_size
from asfusion.imaging.dicom._workers import fill
from asfusion.imaging.dicom.encoding import looks_like_dicom
from asfusion.imaging.dicom.picture import read_dicom

if TYPE_CHECKING:
    from PIL import Image

WHO = "Image file: "


@public
def read_image(
    path: str | os.PathLike[str], *, size: int | None = None, channels: int = 1
) -> NDArray[np.uint8]:
    """Read one image file as 8-bit pixels.

    Parameters
    ----------
    path : str or PathLike
        A PNG, JPEG, TIFF or single-frame DICOM file.
    size : int, optional
        Side of the square that the image is fitted into, in pixels; as stored by default.
        Proportions are kept (for DICOM in mm, if pixels are not square) and the rest of
        the square is black: angles and the shape of a vertebra survive, which a stretch
        to the square would change.
    channels : {1, 3}
        1 for grey, 3 for RGB (grey images are repeated).

    Returns
    -------
    ndarray of shape (channels, H, W), uint8
        Bright is dense, also for DICOM and TIFF files stored the other way round.

    Raises
    ------
    ImageReadError
        If the file is missing, is not a single readable image, or declares more than an
        image has or the file can hold: `DicomReadError` for DICOM files. The message names
        neither the path nor anything in the file.
    ConfigurationError
        If `size` or `channels` is unusable.

    Notes
    -----
    Eight-bit images keep their grey values. DICOM files are shown as their header says:
    modality table or rescale, then VOI table or first window, MONOCHROME1 inverted,
    padding black. Where no usable window is given, and for 16-bit PNG and TIFF files,
    percentiles 0.5 and 99.5 of the pixels are black and white. A rescale that is there and
    no number, or a slope of 0, is refused.
    A photo's EXIF orientation is applied. Transparent pixels are black.

    A file is walked through before it is decoded. What may cost more than its pixels do, such
    as many scans or a very empty picture, is decoded by a worker process with limits on memory
    and time (6 s).

    Smaller means, for every format, that a pixel is the mean over exactly the area of the
    source that it covers; the window is applied to the means. JPEG and JPEG 2000 files that
    are at least four times too large are decoded at a fraction of their size first (JPEG 2000
    less so where the window is narrow or missing), which changes the grey levels of radiographs
    by less than 1 of 255 on average, and by more at sharp edges.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from PIL import Image
    >>> from asfusion.imaging import read_image
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name) / "hand.png"
    >>> Image.fromarray(np.full((40, 20), 200, dtype=np.uint8)).save(file)
    >>> pixels = read_image(file, size=32)
    >>> pixels.shape, pixels[0, 16].tolist()[6:10]
    ((1, 32, 32), [0, 0, 200, 200])
    >>> folder.cleanup()
    """
    if size is not None:
        check_integer(size, "size", minimum=1)
    if channels not in (1, 3) or isinstance(channels, bool):
        msg = f"channels: expected 1 (grey) or 3 (RGB), got {in_words(channels)}."
        raise ConfigurationError(msg)
    return read_pixels(path, size, channels)


def read_pixels(
    path: str | os.PathLike[str], size: int | None, channels: int, bits: int = 8
) -> NDArray[Any]:
    """Return what `read_image` does, with 8 or 16 `bits` per pixel, its parameters checked."""
    file = checked_path(WHO, path)
    with guarded(WHO, "PNG, JPEG, TIFF or single-frame DICOM file", ImageReadError):
        pixels = _read(file, size, channels, bits)
    return np.ascontiguousarray(pixels)


def _read(path: Path, size: int | None, channels: int, bits: int = 8) -> NDArray[Any]:
    """Return pixels (C, H, W) of 8 or 16 `bits`."""
    if not looks_like_dicom(first_bytes(path)):
        return read_ordinary(path, path, size, channels, bits)
    with guarded("", "single-frame DICOM file", DicomReadError):
        return shown(read_dicom(path, size), size, channels, bits)


def read_ordinary(
    source: Path | IO[bytes],
    path: Path | AbstractContextManager[Path],
    size: int | None,
    channels: int,
    bits: int,
) -> NDArray[Any]:
    """Return pixels (C, H, W) of a file that is no DICOM file.

    What costs more to decode than its pixels do, or has very many of them, is decoded by a
    worker: from `path`, which may be one that is only lent.
    """
    with opened(source) as held:
        height, width = shown_size(held.image) if size is None else (size, size)
        n_pixels = held.image.height * held.image.width
        held.reduce(size, channels)
        if not held.is_hard:
            return shown(decode_pillow(held.image), size, channels, bits)
    pixels = np.empty((1, channels, height, width), np.uint8 if bits == 8 else np.uint16)
    question = {
        "do": "picture", "size": size, "channels": channels, "bits": bits,
        "shape": pixels.shape[1:], "n_pixels": n_pixels,
    }  # fmt: skip
    with nullcontext(path) if isinstance(path, Path) else path as file:
        try:
            fill(pixels, question, file, n_bytes=0)
        except DicomReadError as error:
            raise ImageReadError(str(error)) from None
    return np.asarray(pixels[0])


def decode_here(file: IO[bytes], size: int | None, channels: int, bits: int) -> NDArray[Any]:
    """Return what `read_ordinary` does, without a worker: for inside one."""
    with opened(file) as held:
        held.reduce(size, channels)
        return shown(decode_pillow(held.image), size, channels, bits)


def shown(
    decoded: Picture | Image.Image | NDArray[np.uint8], size: int | None, channels: int, bits: int
) -> NDArray[Any]:
    """Return what was decoded as pixels (C, H, W) of 8 or 16 `bits`."""
    if isinstance(decoded, Picture):
        grey = decoded.render(size, bits)
        return np.repeat(grey[None], channels, axis=0)
    if isinstance(decoded, np.ndarray):
        from PIL import Image

        decoded = Image.fromarray(decoded)
    pixels = _finish(decoded, size, channels)
    return pixels if bits == 8 else pixels * np.uint16(257)


def _finish(image: Image.Image, size: int | None, channels: int) -> NDArray[np.uint8]:
    """Return an 8-bit image at its final size and number of channels (C, H, W)."""
    mode = "L" if channels == 1 else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    if size is not None:
        pixels = on_square(resize_inside(pixels, size), size)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
