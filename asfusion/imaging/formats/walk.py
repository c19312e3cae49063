"""The door: which format a file has, and what it asks for."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

from asfusion.exceptions import ImageReadError
from asfusion.imaging.formats.claim import Claim
from asfusion.imaging.formats.jpeg import walk_jpeg
from asfusion.imaging.formats.png import walk_png
from asfusion.imaging.formats.tiff import walk_tiff

_WALKS: dict[bytes, Callable[[BinaryIO, int], Claim]] = {
    b"\x89PNG\r\n\x1a\n": walk_png, b"\xff\xd8\xff": walk_jpeg,
    b"II*\0": walk_tiff, b"MM\0*": walk_tiff, b"II+\0": walk_tiff, b"MM\0+": walk_tiff,
}  # fmt: skip


def claim_of(file: BinaryIO) -> Claim:
    """Return what a PNG, JPEG or TIFF file asks for; the file is left at its start.

    Raises
    ------
    ImageReadError
        If it is of another kind, damaged, or asks for more than a picture takes.
    """
    file.seek(0)
    start = file.read(8)
    for mark, walk in _WALKS.items():
        if start.startswith(mark):
            claim = walk(file, file.seek(0, io.SEEK_END))
            file.seek(0)
            return claim
    msg = "expected a PNG, JPEG, TIFF or single-frame DICOM file, got another kind."
    raise ImageReadError(msg)
