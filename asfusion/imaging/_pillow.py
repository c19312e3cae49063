"""PNG, JPEG and TIFF files, opened and decoded within limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from asfusion.exceptions import ImageReadError
from asfusion.imaging._limits import LARGE, check_declared
from asfusion.imaging._picture import Picture, inside

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("PNG", "JPEG", "TIFF")
_ORIENTATION, _PHOTOMETRIC = 0x0112, 0x0106


def read_pillow(path: Path, size: int | None, channels: int) -> Image.Image | Picture:
    """Return the image of a file that is no DICOM file; see `decode_pillow`.

    Raises
    ------
    ImageReadError
        If the file is of another kind, of several images, or declares too much.
    """
    with open_pillow(path) as image:
        return decode_pillow(image, path.stat().st_size, size, channels)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Give a single image of a sensible size whose pixels are not decoded yet."""
    with open_pillow(path) as image:
        check_single(image, path.stat().st_size)
        yield image


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
        Side of the square that it is wanted for, in pixels: a large photo is then decoded at
        a fraction of its size.
    channels : {1, 3}
        Whether grey or colours are wanted.
    """
    from PIL import Image

    check_single(image, n_bytes)
    turn = orientation(image)
    if n_bytes is not None and size is not None and image.format in ("JPEG", "MPO"):
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


def check_single(image: Image.Image, n_bytes: int | None) -> None:
    """Raise unless an image of a file of so many bytes is one, and of a sensible size."""
    check_declared(image.height, image.width, 4.0)
    n_frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    if n_frames > 1:
        msg = f"expected a single image, got a {image.format} file of {n_frames} images."
        raise ImageReadError(msg)
    if n_bytes is not None:
        _check_ratio(image, n_bytes)


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


def orientation(image: Image.Image) -> Any:
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


def shown_size(image: Image.Image) -> tuple[int, int]:
    """Return height and width, turned as the image is shown."""
    from PIL import Image

    turns = Image.Transpose
    sideways = (turns.TRANSPOSE, turns.ROTATE_270, turns.TRANSVERSE, turns.ROTATE_90)
    is_turned = orientation(image) in sideways
    return (image.width, image.height) if is_turned else (image.height, image.width)


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
