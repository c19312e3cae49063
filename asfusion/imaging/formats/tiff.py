"""The pages and strips of a TIFF file."""

from __future__ import annotations

import math
from typing import BinaryIO

from asfusion.exceptions import ImageReadError
from asfusion.imaging._limits import MAX_PIXELS, check_declared
from asfusion.imaging.formats.claim import (
    MAX_BESIDE,
    MAX_IMAGES,
    Claim,
    check_beside,
    damaged,
)
from asfusion.imaging.formats.directories import Directories, Entry

_WIDTH, _HEIGHT, _BITS, _PACKING, _SAMPLES, _ROWS = 256, 257, 258, 259, 277, 278
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_TILE_WIDTH, _TILE_HEIGHT, _PLANES = 322, 323, 284
_ASKED = {
    _WIDTH, _HEIGHT, _BITS, _PACKING, _SAMPLES, _ROWS, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES,
    _TILE_WIDTH, _TILE_HEIGHT, _PLANES,
}  # fmt: skip
# None, LZW, deflate (twice) and run lengths: what they cost is bounded by what comes of them.
_EASY = {1, 5, 8, 32946, 32773}
_MOST_PIECES = 100_000  # strips or tiles
_MOST_SAMPLES = 16
_EASY_PIECE = 16 * 2**20  # bytes of one, unpacked


def walk_tiff(file: BinaryIO, n_bytes: int) -> Claim:
    """Return what a TIFF file asks for, or raise `ImageReadError`.

    Pages are a chain that may lead back, entries may all point at the same bytes, and so may
    strips, each of which is read whole however little it gives.
    """
    found = Directories(file)
    n_images = _n_pages(found)
    entries = found.at(found.first)
    check_beside("TIFF", found.weight(entries))
    asked = [entry for entry in entries if entry.tag in _ASKED]
    if len({entry.tag for entry in asked}) < len(asked):
        raise damaged("TIFF")
    return Claim("TIFF", n_images, _is_hard(found, {entry.tag: entry for entry in asked}))


def _n_pages(found: Directories) -> int:
    """Return how many pages there are, at most `MAX_IMAGES`."""
    seen, at = {found.first}, found.next_of(found.first)
    while at and len(seen) < MAX_IMAGES:
        if at in seen:
            raise damaged("TIFF")
        seen.add(at)
        at = found.next_of(at)
    return len(seen)


def _is_hard(found: Directories, asked: dict[int, Entry]) -> bool:
    """Return whether a page is packed in another way than most, or in odd pieces."""

    def one(tag: int, default: int) -> int:
        return found.numbers(asked[tag], _MOST_SAMPLES)[0] if tag in asked else default

    width, height = one(_WIDTH, 0), one(_HEIGHT, 0)
    check_declared(height, width)
    n_samples = one(_SAMPLES, 1)
    depths = found.numbers(asked[_BITS], _MOST_SAMPLES) if _BITS in asked else [1]
    if not 1 <= n_samples <= _MOST_SAMPLES or not depths or not 1 <= max(depths) <= 64:
        raise damaged("TIFF")
    wide, tall = width, min(height, one(_ROWS, height))
    if _TILES in asked:
        wide, tall = one(_TILE_WIDTH, 0), one(_TILE_HEIGHT, 0)
    if not 0 < wide * tall <= MAX_PIXELS:
        raise damaged("TIFF")
    pieces = -(-width // wide) * -(-height // tall)
    sizes = _sizes(found, asked, pieces * (n_samples if one(_PLANES, 1) == 2 else 1))
    if sum(sizes) > found.n_bytes:
        msg = (
            "expected a TIFF file whose strips lie beside each other, got one whose strips share "
            "their bytes. It was made to take long; save the picture anew."
        )
        raise ImageReadError(msg)
    piece = math.ceil(wide * tall * n_samples * max(depths) / 8)
    return one(_PACKING, 1) not in _EASY or piece > _EASY_PIECE or not sizes or min(sizes) < 1


def _sizes(found: Directories, asked: dict[int, Entry], n_pieces: int) -> list[int]:
    """Return how many bytes each strip or tile takes; none where that is not said."""
    places = asked.get(_TILES) or asked.get(_STRIPS)
    sizes = asked.get(_TILE_BYTES if _TILES in asked else _STRIP_BYTES)
    if n_pieces > _MOST_PIECES or places is None or places.n_values > _MOST_PIECES:
        msg = (
            f"expected a TIFF file of 1 to {_MOST_PIECES} strips or tiles, got one of none or "
            "more. Save the picture anew."
        )
        raise ImageReadError(msg)
    if sizes is None:
        return []
    if sizes.n_bytes > MAX_BESIDE:
        raise damaged("TIFF")
    return found.numbers(sizes, _MOST_PIECES)
