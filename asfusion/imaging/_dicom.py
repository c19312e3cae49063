"""One frame of a DICOM file to grey values or colours, guarded and without names.

Nothing here puts a value of the header into a message: sizes, frame counts and
names of transfer syntaxes are all that an error shows.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import ImageReadError
from asfusion.imaging._jpeg2000 import reduced_values
from asfusion.imaging._limits import MAX_BYTES, check_declared
from asfusion.imaging._picture import Picture
from asfusion.imaging._plain import plain_values

_DEFLATED = "1.2.840.10008.1.2.1.99"
_LONG_FORMS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UR", b"UT", b"UN", b"SV")
_HEADER = [
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "PixelSpacing", "ImagerPixelSpacing",
    "PixelAspectRatio", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
]  # fmt: skip
_PIXELS = ["PixelData", "FloatPixelData", "DoubleFloatPixelData"]


def looks_like_dicom(start: bytes) -> bool:
    """Return whether a file starts as DICOM does, with its preamble or without one."""
    bare = start[:2] in (b"\x02\x00", b"\x08\x00") and start[3:4] == b"\x00"
    return start[128:132] == b"DICM" or bare


def read_dicom(path: Path, size: int | None = None) -> Picture | NDArray[np.uint8]:
    """Return the one frame of a DICOM file.

    Parameters
    ----------
    path : Path
        A file for which `looks_like_dicom` holds.
    size : int, optional
        Side of the square that it is wanted for, in pixels: what is far larger may be
        decoded at a fraction of its size.

    Returns
    -------
    Picture or ndarray of shape (H, W, 3), uint8
        Grey values with their window, or colours.

    Raises
    ------
    ImageReadError
        If the file holds no single image, or one that cannot be decoded.
    """
    import pydicom

    with path.open("rb") as file:
        _check_inflated(file)
        file.seek(0)
        # Header first: a file of a thousand frames is refused before they are read.
        header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_HEADER)
        _check_header(header, path.stat().st_size)
        plain = plain_values(file, header, str(_syntax(header)))
    if plain is not None:
        return _grey(plain, header)
    dataset = pydicom.dcmread(path, force=True, specific_tags=[*_HEADER, *_PIXELS])
    if not any(keyword in dataset for keyword in _PIXELS):
        msg = "expected a DICOM image, got a DICOM file without pixel data."
        raise ImageReadError(msg)
    pixels = reduced_values(dataset, str(_syntax(dataset)), size)
    if pixels is None:
        pixels = _decode(dataset)
    if pixels.ndim == 3:
        return _eight_bits(pixels, _integer(dataset, "BitsStored", 8))
    if str(dataset.get("PhotometricInterpretation", "")).strip() == "PALETTE COLOR":
        return _palette(pixels, dataset)
    return _grey(pixels, dataset)


# -- before decoding -------------------------------------------------------------------


def _check_inflated(file: BinaryIO) -> None:
    """Raise if a deflated file is larger inside than any single image.

    pydicom inflates the whole file before it looks at it, so the check has to come
    first; nothing of what is inflated here is kept.
    """
    syntax, start = _transfer_syntax(file)
    if syntax != _DEFLATED:
        return
    file.seek(start)
    inflater, n_bytes = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while data := file.read(2**16):
        while data:
            n_bytes += len(inflater.decompress(data, 2**20))
            data = inflater.unconsumed_tail
            if n_bytes > MAX_BYTES:
                msg = (
                    f"expected at most {MAX_BYTES // 2**20} MiB of data, got a deflated DICOM "
                    "file that holds more."
                )
                raise ImageReadError(msg)


def _transfer_syntax(file: BinaryIO) -> tuple[str, int]:
    """Return the transfer syntax that the file meta group names and where the group ends."""
    file.seek(128)
    if file.read(4) != b"DICM":
        return "", 0
    syntax = b""
    while True:
        start = file.tell()
        head = file.read(8)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            return syntax.rstrip(b"\x00 ").decode("ascii", "replace"), start
        if head[4:6] in _LONG_FORMS:
            (length,) = struct.unpack("<L", file.read(4).ljust(4, b"\x00"))
        else:
            (length,) = struct.unpack("<H", head[6:8])
        if head[2:4] == b"\x10\x00":
            syntax = file.read(min(length, 64))
        file.seek(start + (12 if head[4:6] in _LONG_FORMS else 8) + length)


def _check_header(header: Any, file_size: int) -> None:
    """Raise unless the header declares one frame that fits into memory and into the file."""
    n_frames = _integer(header, "NumberOfFrames", 1)
    if n_frames > 1:
        msg = (
            f"expected a single image, got a multi-frame DICOM file of {n_frames} frames. "
            "Export the frame that matters as a file of its own."
        )
        raise ImageReadError(msg)
    if "Rows" not in header or "Columns" not in header:
        msg = "expected a DICOM image, got a DICOM file without pixel data."
        raise ImageReadError(msg)
    rows, columns = _integer(header, "Rows", 0), _integer(header, "Columns", 0)
    samples = _integer(header, "SamplesPerPixel", 1)
    bits = _integer(header, "BitsAllocated", 16)
    # Palettes turn one sample of eight bits into three.
    check_declared(rows, columns, max(3.0, samples * bits / 8.0))
    expected = math.ceil(rows * columns * samples * bits / 8)
    syntax = _syntax(header)
    if syntax.is_encapsulated:
        # Run lengths unpack to at most 64 times their size: bounded by the image's own.
        if file_size > 4 * expected + 2**24:
            msg = "expected compressed pixel data, got several times what the image would take."
            raise ImageReadError(msg)
        return
    if "422" in str(header.get("PhotometricInterpretation", "")):
        expected = 2 * expected // 3  # two pixels share their colour
    if syntax != _DEFLATED and file_size < expected:
        msg = "expected a complete file, got one that ends before its pixel data does."
        raise ImageReadError(msg)


def _syntax(dataset: Any) -> Any:
    """Return the transfer syntax, guessed from the encoding where the file names none."""
    from pydicom import uid

    named = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if named:
        syntax = uid.UID(str(named))
        if syntax not in uid.AllTransferSyntaxes:
            msg = "expected pixel data that can be decoded here, got an unknown transfer syntax."
            raise ImageReadError(msg)
        return syntax
    implicit, little = dataset.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _decode(dataset: Any) -> NDArray[Any]:
    """Return stored values (H, W), or colours (H, W, 3) as RGB."""
    from pydicom.pixels import get_decoder, pixel_array

    syntax = _syntax(dataset)
    dataset.file_meta.TransferSyntaxUID = syntax
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        msg = (
            f"expected pixel data that can be decoded here, got {syntax.name}. Install a decoder "
            "(pylibjpeg-openjpeg, pyjpegls or python-gdcm), or store the file uncompressed."
        )
        raise ImageReadError(msg)
    try:
        pixels: NDArray[Any] = np.asarray(pixel_array(dataset))
    except Exception:
        if not syntax.is_encapsulated:
            raise
        msg = (
            f"expected pixel data that can be decoded here, got {syntax.name} that is damaged or "
            "that needs another decoder (12-bit JPEG needs python-gdcm, for example)."
        )
        raise ImageReadError(msg) from None
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        msg = f"expected one grey or RGB frame, got pixel data with {pixels.ndim} dimensions."
        raise ImageReadError(msg)
    return pixels


# -- from stored values to grey --------------------------------------------------------


def _grey(pixels: NDArray[Any], dataset: Any) -> Picture:
    """Return stored values with modality and VOI transformations applied or described."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    padding = _padding(pixels, dataset)
    inverted = str(dataset.get("PhotometricInterpretation", "")).strip() == "MONOCHROME1"
    look: dict[str, Any] = {"inverted": inverted, "padding": padding, "aspect": _aspect(dataset)}
    slope, intercept = _rescale(dataset)
    if dataset.get("ModalityLUTSequence"):
        pixels, slope, intercept = apply_modality_lut(pixels, dataset), 1.0, 0.0
    if dataset.get("VOILUTSequence"):
        # A table takes whole numbers, so it comes before the resize.
        steps: NDArray[Any] = pixels
        if (slope, intercept) != (1.0, 0.0) or pixels.dtype.kind == "f":
            values = pixels.astype(np.float32) * np.float32(slope) + np.float32(intercept)
            steps = np.rint(values).astype(np.int64)
        shown = apply_voi(steps, dataset)
        return Picture(shown, window=_lut_range(dataset), **look)
    return _windowed(pixels, dataset, {**look, "slope": slope, "intercept": intercept})


def _windowed(values: NDArray[Any], dataset: Any, look: dict[str, Any]) -> Picture:
    """Return values with the first window of the header, PS3.3 C.11.2.1.2."""
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    function = str(dataset.get("VOILUTFunction", "LINEAR") or "LINEAR").strip()
    if center is None or width is None or width <= 0:
        return Picture(values, **look)
    if function == "SIGMOID":

        def ramp(values: NDArray[np.float32]) -> NDArray[np.float32]:
            exponent = np.clip(-4.0 * (values - center) / width, -60.0, 60.0)
            return np.asarray(1.0 / (1.0 + np.exp(exponent)), dtype=np.float32)

        return Picture(values, (center - width / 2, center + width / 2), ramp, **look)
    if function == "LINEAR" and width > 1:
        return Picture(values, (center - width / 2, center + width / 2 - 1.0), **look)
    return Picture(values, (center - width / 2, center + width / 2), **look)


def _padding(pixels: NDArray[Any], dataset: Any) -> NDArray[np.bool_] | None:
    """Return the pixels outside the scanned field, in stored values, if there are any."""
    value = _number(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = _number(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((value, value if limit is None else limit))
    padding: NDArray[np.bool_] = (pixels >= low) & (pixels <= high)
    return padding if padding.any() and not padding.all() else None


def _rescale(dataset: Any) -> tuple[float, float]:
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    return (slope or 1.0), (intercept or 0.0)


def _lut_range(dataset: Any) -> tuple[float, float]:
    """Return the range that the entries of the VOI table have."""
    bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
    entries = np.asarray(dataset.VOILUTSequence[0].LUTData)
    if entries.dtype.kind in "iu" and entries.size and int(entries.max()) >= 2**bits:
        bits = 16  # a descriptor that says less than its table holds
    return 0.0, float(2**bits - 1)


def _aspect(dataset: Any) -> float:
    """Return the height of a pixel divided by its width; 1 where nothing usable is said."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        try:
            height, width = (float(part) for part in dataset.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if height > 0 and width > 0 and 0.1 <= height / width <= 10.0:
            return height / width
    return 1.0


def _palette(pixels: NDArray[Any], dataset: Any) -> NDArray[np.uint8]:
    """Return the colours (H, W, 3) that stored values point at."""
    from pydicom.pixels import apply_color_lut

    descriptor = [int(part) for part in dataset.RedPaletteColorLookupTableDescriptor]
    n_entries = descriptor[0] or 2**16
    if not dataset.original_encoding[1]:
        # pydicom reads 16-bit tables in the machine's byte order, whatever the file's is.
        for colour in ("Red", "Green", "Blue"):
            element = dataset.get_item(f"{colour}PaletteColorLookupTableData")
            if element is not None and len(element.value) == 2 * n_entries:
                swapped = np.frombuffer(element.value, dtype=">u2").astype("<u2").tobytes()
                setattr(dataset, f"{colour}PaletteColorLookupTableData", swapped)
    colours = apply_color_lut(pixels, dataset)[..., :3]
    # Entries of eight bits may stand in sixteen.
    deep = colours.dtype.itemsize == 2 and (descriptor[2] != 8 or int(colours.max()) > 255)
    return _eight_bits(colours, 16 if deep else 8)


def _eight_bits(colours: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return colours (H, W, 3) of any depth as uint8."""
    if colours.dtype == np.uint8:
        return colours
    shifted = colours.astype(np.int64) >> max(0, bits - 8)
    return np.asarray(np.clip(shifted, 0, 255), dtype=np.uint8)


def _integer(dataset: Any, keyword: str, default: int) -> int:
    number = _number(dataset, keyword)
    return default if number is None else int(number)


def _number(dataset: Any, keyword: str) -> float | None:
    """Return the first value of a header entry if it is a finite number."""
    try:
        value = dataset.get(keyword)
        if hasattr(value, "__iter__") and not isinstance(value, str | bytes):
            value = next(iter(value), None)
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
