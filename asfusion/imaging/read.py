"""One image file to 8-bit pixels, whatever the file is made of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer
from asfusion.exceptions import ConfigurationError, DicomReadError, ImageReadError
from asfusion.imaging._guard import checked_path, guarded
from asfusion.imaging._limits import LARGE, check_declared
from asfusion.imaging._picture import Picture, inside, on_square, resize_inside
from asfusion.imaging.dicom.encoding import looks_like_dicom
from asfusion.imaging.dicom.picture import read_dicom
from asfusion.imaging.volumes._sources import first_bytes

if TYPE_CHECKING:
    from PIL import Image

WHO = "Image file: "
_FORMATS = ("PNG", "JPEG", "TIFF")
_ORIENTATION, _PHOTOMETRIC = 0x0112, 0x0106


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
        msg = f"channels: expected 1 (grey) or 3 (RGB), got {channels!r}."
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
        with open_pillow(path) as image:
            decoded = decode_pillow(image, path.stat().st_size, size, channels)
        return shown(decoded, size, channels, bits)
    with guarded("", "single-frame DICOM file", DicomReadError):
        return shown(read_dicom(path, size), size, channels, bits)


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
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    if size is not None:
        pixels = on_square(resize_inside(pixels, size), size)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


# -- PNG, JPEG, TIFF -------------------------------------------------------------------


def open_pillow(source: Path | IO[bytes]) -> Image.Image:
    """Return a PNG, JPEG or TIFF file, not decoded yet."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(source, formats=_FORMATS)
    except Image.DecompressionBombError:
        check_declared(2**31, 2**31)
        raise
    except UnidentifiedImageError:
        msg = "expected a PNG, JPEG, TIFF or single-frame DICOM file, got another kind."
        raise ImageReadError(msg) from None


def decode_pillow(
    image: Image.Image, n_bytes: int | None, size: int | None, channels: int
) -> Image.Image | Picture:
    """Return an 8-bit image, or grey values of more than eight bits.

    Parameters
    ----------
    image : PIL.Image.Image
        What `open_pillow` returned, or an image that somebody else holds.
    n_bytes : int or None
        Bytes of its file; None for an image of somebody else, which stays as it is.
    size : int or None
        Side of the square that it is wanted for, in pixels.
    channels : {1, 3}
        Whether grey or colours are wanted.
    """
    from PIL import Image

    check_declared(image.height, image.width, 4.0)
    n_frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    if n_frames > 1:
        msg = f"expected a single image, got a {image.format} file of {n_frames} images."
        raise ImageReadError(msg)
    turn = orientation_of(image)
    if n_bytes is not None:
        _check_ratio(image, n_bytes)
        if size is not None and image.format in ("JPEG", "MPO"):
            # The decoder halves a large photo for free; twice the target is left for us.
            width, height = inside(image.width, image.height, size)
            image.draft("L" if channels == 1 else "RGB", (2 * width, 2 * height))
    image.load()
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if turn is not None:
            values = np.asarray(Image.fromarray(values).transpose(turn))
        return Picture(values, inverted=_is_white_zero(image))
    flat = _without_transparency(image)
    return flat if turn is None else flat.transpose(turn)


def _check_ratio(image: Image.Image, file_bytes: int) -> None:
    """Raise if a small file claims to be a large picture: none of a patient is so empty."""
    n_bytes = image.height * image.width * (1 if image.mode in ("1", "L", "P") else 4)
    if n_bytes > LARGE and n_bytes > 250 * file_bytes:
        msg = (
            f"expected a file of at least a 250th of what its {image.height} x {image.width} "
            "pixels take, got less. The file is cut short or made to exhaust memory."
        )
        raise ImageReadError(msg)


def _is_white_zero(image: Image.Image) -> bool:
    """Return whether low values are bright, which Pillow turns round for eight bits alone."""
    return image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0


def orientation_of(image: Image.Image) -> Any:
    """Return how a photo is to be turned, or None. Pillow turns TIFF files itself."""
    from PIL import Image

    if image.format == "TIFF":
        return None
    turns = Image.Transpose
    try:
        stored = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return None  # a broken tag block does not spoil the pixels
    return {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(stored)


def _without_transparency(image: Image.Image) -> Image.Image:
    """Return the image as ``L`` or ``RGB``, transparent pixels black."""
    from PIL import Image

    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layer).convert("RGB")
    return image.convert("RGB")
