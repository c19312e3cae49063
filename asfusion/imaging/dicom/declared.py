"""What a DICOM header declares of its pixels: believed only as far as it can be true.

Nothing is decoded here. What decides what the bytes mean has to be there, and to be possible;
sizes are compared with the limits and with the length of the data.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from asfusion.exceptions import DicomReadError
from asfusion.imaging._limits import LARGE, MAX_FRAMES, MAX_VOLUME_BYTES, check_declared
from asfusion.imaging.dicom.header import Header

NO_PIXELS = "expected a DICOM image, got a DICOM file without pixel data."
_RUN_LENGTHS = "1.2.840.10008.1.2.5"
_DEPTHS = (1, 8, 12, 16, 32, 64)
# What decides what the bytes mean, and what of it no length of the data tells.
_DECISIVE = (
    "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PlanarConfiguration", "NumberOfFrames",
)  # fmt: skip
_NEEDED = ("BitsAllocated", "BitsStored", "PixelRepresentation")
_FLAGS = ("PixelRepresentation", "PlanarConfiguration")
_COLOURS = {
    1: {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"},
    3: {
        "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT",
        "YBR_RCT",
    },
}  # fmt: skip


def declared(header: Header) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of what the frames decode to.

    Parameters
    ----------
    header : Header
        What the file says.

    Returns
    -------
    shape : tuple of int
        (frames, H, W), and 3 samples where pixels have colours.
    dtype : dtype
        Type of the values, in the byte order of this machine.

    Raises
    ------
    DicomReadError
        If the file declares no image, an impossible one or one beyond the limits.
    """
    if header.pixels is None or "Rows" not in header.entries or "Columns" not in header.entries:
        raise DicomReadError(NO_PIXELS)
    _check_decisive(header)
    rows, columns = header.integer("Rows", 0), header.integer("Columns", 0)
    samples, bits = header.integer("SamplesPerPixel", 1), bits_of(header)
    packs = bits != 12 or not (header.is_compressed or header.big_endian)  # of old, see `frames`
    if samples not in (1, 3) or bits not in _DEPTHS or not packs:
        msg = (
            "expected pixels of 1 or 3 samples of 1, 8, 16, 32 or 64 bits, got "
            f"{samples} of {bits}."
        )
        raise DicomReadError(msg)
    _check_colours(header, samples)
    _check_needed(header, samples)
    width = math.ceil(bits / 8)
    # Palettes turn one sample of eight bits into three.
    check_declared(rows, columns, max(3.0, samples * width), error=DicomReadError)
    n_frames = header.n_frames
    if n_frames > MAX_FRAMES or n_frames * rows * columns * samples * width > MAX_VOLUME_BYTES:
        msg = (
            f"expected at most {MAX_FRAMES} frames and {MAX_VOLUME_BYTES // 2**20} MiB, got a "
            f"file that declares {n_frames} frames of {rows} x {columns}."
        )
        raise DicomReadError(msg)
    if header.pixels == "PixelData" and not 1 <= header.integer("BitsStored", bits) <= bits:
        msg = (
            f"expected 1 to {bits} bits stored of {bits} that are allocated, got "
            f"{header.integer('BitsStored', bits)}."
        )
        raise DicomReadError(msg)
    if bits_below(header) > bits - header.integer("BitsStored", bits):
        msg = (
            f"expected a high bit below the {bits} bits that are allocated, got "
            f"{header.integer('HighBit', 0)}."
        )
        raise DicomReadError(msg)
    kind = "f" if header.pixels != "PixelData" else "i" if header.integer(
        "PixelRepresentation", 0
    ) == 1 and bits > 1 else "u"  # fmt: skip
    shape = (n_frames, rows, columns) + ((samples,) if samples > 1 else ())
    return shape, np.dtype(f"{kind}{width}")


def bits_of(header: Header) -> int:
    """Return how many bits a sample takes."""
    floats = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
    return floats.get(header.pixels or "", header.integer("BitsAllocated", 16))


def _check_decisive(header: Header) -> None:
    """Raise where an entry is there that decides what bytes mean, and cannot be what it says."""
    for keyword in _DECISIVE:
        values = header.entries.get(keyword, [])
        if values and (len(values) > 1 or not _can_be(keyword, values[0])):
            kind = "0 or 1" if keyword in _FLAGS else "one whole number"
            msg = f"expected a header whose {keyword} is {kind}, got another. Correct the header."
            raise DicomReadError(msg)


def _check_needed(header: Header, samples: int) -> None:
    """Raise where an entry is not there without which bytes could mean this or that."""
    has_planes = samples > 1 and not header.is_compressed
    needed = (*_NEEDED, "PlanarConfiguration") if has_planes else _NEEDED
    absent = [keyword for keyword in needed if keyword not in header.entries]
    if absent and header.pixels == "PixelData":
        msg = (
            f"expected a header that says what its pixels are, got one without {absent[0]}. "
            "Correct the header."
        )
        raise DicomReadError(msg)


def _can_be(keyword: str, value: float | None) -> bool:
    """Return whether an entry can have this value, as far as its keyword tells."""
    if value is None or value != int(value):
        return False
    return value in (0, 1) if keyword in _FLAGS else value >= 0


def _check_colours(header: Header, samples: int) -> None:
    """Raise where the photometric interpretation is none, or not of so many samples."""
    if not header.entries.get("PhotometricInterpretation"):
        return
    if header.code("PhotometricInterpretation") not in _COLOURS[samples]:
        msg = (
            f"expected a photometric interpretation of {samples} sample(s) per pixel, got another "
            "one or one that cannot be read. Correct the header."
        )
        raise DicomReadError(msg)


def check_size(header: Header, file_size: int) -> None:
    """Raise `DicomReadError` unless the file holds what it declares, and not far more."""
    expected = n_bytes_of(header)
    if header.is_compressed:
        # Run lengths unpack to at most 64 times their size: bounded by the image's own.
        if file_size > 4 * expected + 2**24:
            msg = "expected compressed pixel data, got several times what the image would take."
            raise DicomReadError(msg)
        if expected > LARGE and expected > 1000 * file_size:
            msg = (
                "expected compressed pixel data of at least a thousandth of what the image "
                "would take, got less. The file is cut short or made to exhaust memory."
            )
            raise DicomReadError(msg)
        return
    if header.length < 0:
        msg = "expected plain pixel data of a stated length, got data of an undefined one."
        raise DicomReadError(msg)
    rest = header.length if header.is_deflated else file_size - header.start
    if min(header.length, rest) < expected:
        msg = "expected a complete file, got one that ends before its pixel data does."
        raise DicomReadError(msg)
    if header.length > expected + expected % 2:  # a byte of padding makes it even
        msg = (
            f"expected {expected} bytes of pixel data as the header declares {header.n_frames} "
            f"frame(s), got {header.length}. The number of frames, the size or the depth that the "
            "header says is wrong: correct it."
        )
        raise DicomReadError(msg)


def n_bytes_of(header: Header) -> int:
    """Return how many bytes the pixels take that the header declares, uncompressed."""
    shape, _ = declared(header)
    n_bytes = math.ceil(math.prod(shape) * bits_of(header) / 8)
    if "422" in header.code("PhotometricInterpretation") and not header.is_compressed:
        return 2 * n_bytes // 3  # two pixels share their colour
    return n_bytes


def bits_below(header: Header) -> int:
    """Return how many bits lie below the stored ones, PS3.5 8.1.1.

    A codestream says itself where its samples lie; run lengths are plain bytes.
    """
    if header.pixels != "PixelData" or (header.is_compressed and header.syntax != _RUN_LENGTHS):
        return 0
    stored = header.integer("BitsStored", header.integer("BitsAllocated", 16))
    return max(0, header.integer("HighBit", stored - 1) + 1 - stored)
