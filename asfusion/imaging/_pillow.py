"""PNG, JPEG and TIFF files, opened and decoded within limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np

from asfusion.exceptions import ImageReadError
from asfusion.imaging._limits import LARGE, check_declared
from asfusion.imaging._picture import Picture, inside
from asfusion.imaging.formats.claim import MAX_IMAGES, Claim
from asfusion.imaging.formats.directories import check_block
from asfusion.imaging.formats.walk import claim_of

if TYPE_CHECKING:
    from PIL import Image

_ORIENTATION, _PHOTOMETRIC, _BITS, _SAMPLE_FORMAT = 0x0112, 0x0106, 258, 339
_PROFILE = "Raw profile type exif"


_EASY_BYTES, _EASY_RATIO = 8 * 2**20, 32


class Opened(NamedTuple):
    """A single image of a sensible size whose pixels are not decoded yet, of so many bytes."""

    image: Image.Image
    claim: Claim
    n_bytes: int

    def reduce(self, size: int | None, channels: int) -> None:
        """Let a photo that is far too large be decoded at a fraction of its size."""
        if size is not None and self.claim.kind == "JPEG":
            # The decoder halves a large photo for free; twice the target is left for us.
            width, height = inside(self.image.width, self.image.height, size)
            self.image.draft("L" if channels == 1 else "RGB", (2 * width, 2 * height))

    @property
    def is_hard(self) -> bool:
        """Whether it is to be decoded where memory and time are limited.

        Few pictures are, of those that a camera or a scanner made.
        """
        n = _n_decoded(self.image)
        is_empty = n > max(_EASY_BYTES, _EASY_RATIO * self.n_bytes)
        return self.claim.is_hard or is_empty or n > LARGE


@contextmanager
def opened(source: Path | IO[bytes]) -> Iterator[Opened]:
    """Give the single image of a file, after a walk through it.

    Raises
    ------
    ImageReadError
        If the file is of another kind, of several images, or declares or asks for too much.
    """
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        claim = claim_of(cast(BinaryIO, file))
        n_bytes = file.seek(0, 2)
        file.seek(0)
        with _open(file, claim.kind) as image:
            check_declared(image.height, image.width, 4.0)
            _check_single(claim.kind, claim.n_images)
            _check_ratio(image, n_bytes)
            yield Opened(image, claim, n_bytes)


def _open(file: IO[bytes], kind: str) -> Image.Image:
    from PIL import Image

    try:
        return Image.open(file, formats=(kind,))
    except Image.DecompressionBombError:
        check_declared(2**31, 2**31)
        raise


def decode_pillow(image: Image.Image) -> Image.Image | Picture:
    """Return an 8-bit image, or grey values of more than eight bits, turned as it is shown."""
    from PIL import Image

    turn = orientation(image)
    image.load()
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if turn is not None:  # never of a TIFF file
            values = np.asarray(Image.fromarray(values).transpose(turn))
        if _is_unsigned(image):
            values = values.view(np.uint32)
        return Picture(values, inverted=_is_white_zero(image))
    flat = _without_transparency(image)
    return flat if turn is None else flat.transpose(turn)


def check_held(image: Image.Image) -> None:
    """Raise unless an image that somebody else holds is one, and of a sensible size."""
    check_declared(image.height, image.width, 4.0)
    if image.format == "TIFF":
        _check_single("TIFF", 2 if _has_second(image) else 1)
    elif image.format != "MPO":  # whose further ones belong to the first
        _check_single(str(image.format), int(getattr(image, "n_frames", 1)))


def _has_second(image: Any) -> bool:
    """Return whether there is a second page; to count all of them may take minutes."""
    page = image.tell()
    try:
        image.seek(page + 1 if page == 0 else page - 1)
    except EOFError:
        return False
    image.seek(page)
    return True


def _check_single(kind: str, n_images: int) -> None:
    if n_images > 1:
        more = " or more" if n_images >= MAX_IMAGES else ""
        msg = f"expected a single image, got a {kind} file of {n_images}{more} images."
        raise ImageReadError(msg)


def _n_decoded(image: Image.Image) -> int:
    """Return how many bytes an image takes once it is decoded."""
    wide = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    return image.height * image.width * wide


def _check_ratio(image: Image.Image, file_bytes: int) -> None:
    """Raise if a small file claims to be a large picture: none of a patient is so empty."""
    n_bytes = image.height * image.width * (1 if image.mode in ("1", "L", "P") else 4)
    if n_bytes > LARGE and n_bytes > 250 * file_bytes:
        msg = (
            f"expected a file of at least a 250th of what its {image.height} x {image.width} "
            "pixels take, got less. The file is cut short or made to exhaust memory."
        )
        raise ImageReadError(msg)


def _is_unsigned(image: Image.Image) -> bool:
    """Return whether values are of 32 bits without a sign, which Pillow reads with one."""
    if image.format != "TIFF" or image.mode != "I":
        return False
    tags: Any = getattr(image, "tag_v2", {})
    return tags.get(_BITS) == (32,) and tuple(tags.get(_SAMPLE_FORMAT, (1,))) == (1,)


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
        profile = image.info.get(_PROFILE)
        if profile is not None:  # hexadecimal, behind three lines
            check_block(bytes.fromhex("".join(profile.split("\n")[3:]))[6:], "PNG")
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
