"""JPEG of twelve bits, extended or progressive, for pydicom, by way of imagecodecs.

None of the decoders that pydicom knows and that are free to use reads it.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from asfusion.imaging.dicom.encoding import JPEG_EXTENDED

DECODER_DEPENDENCIES = {JPEG_EXTENDED: ("imagecodecs>=2024.6",)}
_LABEL = "imagecodecs"


def is_available(uid: str) -> bool:
    """Return whether the decoder can be used."""
    return uid == JPEG_EXTENDED and importlib.util.find_spec("imagecodecs") is not None


def register() -> None:
    """Make the decoder known to pydicom, once."""
    from pydicom.pixels.decoders import JPEGExtended12BitDecoder as decoder

    known = {*decoder.available_plugins, *decoder.missing_dependencies}
    if not any(_LABEL in name for name in known):
        decoder.add_plugin(_LABEL, (__name__, "_decode_frame"))


def _decode_frame(src: bytes, runner: Any) -> bytearray:
    """Return the samples of one frame, as pydicom asks of a plugin."""
    import imagecodecs

    pixels = np.ascontiguousarray(imagecodecs.jpeg_decode(src))
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    if pixels.ndim == 3:
        runner.set_option("planar_configuration", 0)
    return bytearray(pixels.tobytes())
