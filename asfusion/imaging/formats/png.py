"""The chunks of a PNG file."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

from asfusion.imaging.formats.claim import (
    MAX_BESIDE,
    Claim,
    check_beside,
    damaged,
)
from asfusion.imaging.formats.directories import check_block

_PIXELS, _END = b"IDAT", b"IEND"
_PACKED = (b"zTXt", b"iTXt", b"iCCP")
_BLOCK = 2**18
_UNPACKED_EACH = 2**20  # more of one text no reader unpacks
_CHUNKS, _MOST_CHUNKS = 1000, 100_000  # and one more for each `_BYTES`, up to the most
_BYTES = 512


def walk_png(file: BinaryIO, n_bytes: int) -> Claim:
    """Return what a PNG file asks for, or raise `ImageReadError`.

    Chunks that hold no pixels are read whole, and texts unpacked, by whoever opens the file.
    Pixels are compared with their checksum here, which Pillow passes over.
    """
    at, beside, n_images = 8, 0, 1
    for _ in range(min(_MOST_CHUNKS, _CHUNKS + n_bytes // _BYTES)):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return Claim("PNG", n_images)  # for the decoder to say
        length, name = struct.unpack(">L4s", head)
        if name == _PIXELS:
            _check_sum(file, length)
        else:
            beside += length
            check_beside("PNG", beside)
            if name in _PACKED:
                beside += _unpacked(name, file.read(length), MAX_BESIDE - beside)
                check_beside("PNG", beside)
            if name == b"eXIf":
                check_block(file.read(length).removeprefix(b"Exif\0\0"), "PNG")
            if name == b"acTL":
                n_images = max(n_images, int.from_bytes(file.read(4), "big"))
        if name == _END:
            return Claim("PNG", n_images)
        at += 12 + length
    raise damaged("PNG")


def _check_sum(file: BinaryIO, length: int) -> None:
    """Raise where the bytes of a chunk of pixels are not those that were written."""
    total, left = zlib.crc32(_PIXELS), length
    while left and (data := file.read(min(left, _BLOCK))):
        total, left = zlib.crc32(data, total), left - len(data)
    if left or file.read(4) != struct.pack(">L", total):
        raise damaged("PNG")


def _unpacked(name: bytes, data: bytes, most: int) -> int:
    """Return how many bytes a text or profile takes unpacked, if not more than `most`."""
    _, _, rest = data.partition(b"\0")
    if name == b"iTXt":
        if rest[:1] != b"\1":
            return 0
        rest = rest[2:].split(b"\0", 2)[-1]
    else:
        rest = rest[1:]
    try:
        return len(zlib.decompressobj().decompress(rest, min(_UNPACKED_EACH, max(1, most + 1))))
    except zlib.error:
        return 0
