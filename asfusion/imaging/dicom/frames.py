"""Stored values of a DICOM file, in this process or inside a worker.

Sizes are compared with what the file can hold before anything is decoded: the declared size
with the limits and the length of the data, and each compressed frame with the size that its
codestream says.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import DicomReadError
from asfusion.imaging._limits import LARGE, MAX_FRAMES, MAX_VOLUME_BYTES, check_declared
from asfusion.imaging.dicom._codestream import check_codestream
from asfusion.imaging.dicom._jpeg12 import register
from asfusion.imaging.dicom.encoding import inflate, transfer_syntax
from asfusion.imaging.dicom.header import Header

NO_PIXELS = "expected a DICOM image, got a DICOM file without pixel data."
_RUN_LENGTHS = "1.2.840.10008.1.2.5"
_DEPTHS = (1, 8, 16, 32, 64)


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
    rows, columns = header.integer("Rows", 0), header.integer("Columns", 0)
    samples, bits = header.integer("SamplesPerPixel", 1), header.integer("BitsAllocated", 16)
    floats = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
    bits = floats.get(header.pixels, bits)
    if samples not in (1, 3) or bits not in _DEPTHS:
        msg = (
            "expected pixels of 1 or 3 samples of 1, 8, 16, 32 or 64 bits, got "
            f"{samples} of {bits}."
        )
        raise DicomReadError(msg)
    width = max(1, bits // 8)
    # Palettes turn one sample of eight bits into three.
    check_declared(rows, columns, max(3.0, samples * width), error=DicomReadError)
    n_frames = header.n_frames
    if n_frames > MAX_FRAMES or n_frames * rows * columns * samples * width > MAX_VOLUME_BYTES:
        msg = (
            f"expected at most {MAX_FRAMES} frames and {MAX_VOLUME_BYTES // 2**20} MiB, got a "
            f"file that declares {n_frames} frames of {rows} x {columns}."
        )
        raise DicomReadError(msg)
    if header.pixels not in floats and not 1 <= header.integer("BitsStored", bits) <= bits:
        msg = (
            f"expected 1 to {bits} bits stored of {bits} that are allocated, got "
            f"{header.integer('BitsStored', bits)}."
        )
        raise DicomReadError(msg)
    if _bits_below(header) > bits - header.integer("BitsStored", bits):
        msg = (
            f"expected a high bit below the {bits} bits that are allocated, got "
            f"{header.integer('HighBit', 0)}."
        )
        raise DicomReadError(msg)
    kind = "f" if header.pixels in floats else "i" if header.integer(
        "PixelRepresentation", 0
    ) == 1 and bits > 1 else "u"  # fmt: skip
    shape = (n_frames, rows, columns) + ((samples,) if samples > 1 else ())
    return shape, np.dtype(f"{kind}{width}")


def check_size(header: Header, file_size: int) -> None:
    """Raise `DicomReadError` unless the file can hold what it declares, and not far more."""
    shape, dtype = declared(header)
    n_values = math.prod(shape)
    bits = 1 if header.integer("BitsAllocated", 16) == 1 else 8 * dtype.itemsize
    expected = math.ceil(n_values * bits / 8)
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
    if "422" in header.code("PhotometricInterpretation"):
        expected = 2 * expected // 3  # two pixels share their colour
    available = file_size - header.start
    if header.is_deflated:
        available = header.length
    if 0 <= header.length < available and not header.is_deflated:
        available = header.length
    if available < expected:
        msg = "expected a complete file, got one that ends before its pixel data does."
        raise DicomReadError(msg)


def stored_frames(
    file: BinaryIO, header: Header, frame: int | None = None
) -> Iterator[NDArray[Any]]:
    """Decode frames one after another.

    Parameters
    ----------
    file : binary file
        The file that `header` was read from, after `check_size`.
    header : Header
        What the file says.
    frame : int, optional
        The only frame to decode; all by default.

    Yields
    ------
    ndarray of shape (H, W) or (H, W, samples)
        Stored values; colours as RGB.

    Raises
    ------
    DicomReadError
        If no decoder is installed, or the data are damaged.
    """
    register()
    dataset = decoder_dataset(file, header)
    name = dataset.file_meta.TransferSyntaxUID.name
    _check_decoder(dataset.file_meta.TransferSyntaxUID, name)
    if header.is_compressed:
        _check_frames(dataset, header)
    shape, dtype = declared(header)
    n_below = _bits_below(header)
    n_done, n_wanted = 0, shape[0] if frame is None else 1
    try:
        for pixels in _decoded(dataset, frame):
            values = np.asarray(pixels)
            if n_done == n_wanted or values.shape != shape[1:]:
                break
            n_done += 1
            values = values.astype(dtype, copy=False)
            yield values >> n_below if n_below else values
    except DicomReadError:
        raise
    except MemoryError:
        raise
    except Exception:
        msg = (
            f"expected pixel data that can be decoded here, got {name} that is damaged or of a "
            "kind that none of the decoders here reads."
        )
        raise DicomReadError(msg) from None
    if n_done != n_wanted:
        msg = f"expected {n_wanted} frames as the header declares, got pixel data of another size."
        raise DicomReadError(msg)


def _bits_below(header: Header) -> int:
    """Return how many bits lie below the stored ones, PS3.5 8.1.1.

    A codestream says itself where its samples lie; run lengths are plain bytes.
    """
    if header.pixels != "PixelData" or (header.is_compressed and header.syntax != _RUN_LENGTHS):
        return 0
    stored = header.integer("BitsStored", header.integer("BitsAllocated", 16))
    return max(0, header.integer("HighBit", stored - 1) + 1 - stored)


def _decoded(dataset: Any, frame: int | None) -> Iterator[NDArray[Any]]:
    """Yield frames as the decoders of pydicom give them."""
    from pydicom.pixels import get_decoder

    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    options: dict[str, Any] = {} if dataset.SamplesPerPixel == 1 else {"raw": False}
    if frame is not None:
        yield decoder.as_array(dataset, index=frame, **options)[0]
        return
    if dataset.NumberOfFrames == 1:
        yield decoder.as_array(dataset, index=0, **options)[0]
        return
    for values, _ in decoder.iter_array(dataset, **options):
        yield values


def decoder_dataset(file: BinaryIO, header: Header) -> Any:
    """Return a dataset of what a decoder needs and nothing else.

    Parameters
    ----------
    file : binary file
        The file that `header` was read from.
    header : Header
        What the file says.
    """
    from pydicom import Dataset, FileMetaDataset

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = header.syntax
    bits = header.integer("BitsAllocated", 16)
    dataset.Rows, dataset.Columns = header.integer("Rows", 0), header.integer("Columns", 0)
    dataset.SamplesPerPixel = samples = header.integer("SamplesPerPixel", 1)
    colour = header.code("PhotometricInterpretation")
    dataset.PhotometricInterpretation = colour or ("RGB" if samples == 3 else "MONOCHROME2")
    dataset.NumberOfFrames = header.n_frames
    dataset.BitsAllocated = bits
    if samples > 1:
        dataset.PlanarConfiguration = header.integer("PlanarConfiguration", 0)
    if header.pixels == "PixelData":
        stored = header.integer("BitsStored", bits) + _bits_below(header)
        dataset.BitsStored = stored  # all up to the high bit; those below are dropped later
        dataset.HighBit = header.integer("HighBit", stored - 1)
        dataset.PixelRepresentation = header.integer("PixelRepresentation", 0)
    data = _data(file, header)
    dataset.add_new(header.pixels, "OB" if header.is_compressed or bits <= 8 else "OW", data)
    if header.pixels != "PixelData":
        dataset[header.pixels].VR = "OF" if header.pixels == "FloatPixelData" else "OD"
    else:
        dataset["PixelData"].is_undefined_length = header.length == -1
    dataset.set_original_encoding(False, not header.big_endian)
    return dataset


def _data(file: BinaryIO, header: Header) -> bytes:
    """Return the bytes of the pixel data; deflated files are small enough by now."""
    if header.is_deflated:
        _, start = transfer_syntax(file)
        file = io.BytesIO(inflate(file, start))
    file.seek(header.start)
    if header.is_compressed or header.length == -1:
        return file.read(header.length)
    shape, dtype = declared(header)
    bits = 1 if header.integer("BitsAllocated", 16) == 1 else 8 * dtype.itemsize
    expected = math.ceil(math.prod(shape) * bits / 8)
    return file.read(min(header.length, expected + expected % 2))


def _check_decoder(syntax: Any, name: str) -> None:
    from pydicom.pixels import get_decoder

    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        msg = (
            f"expected pixel data that can be decoded here, got {name}. Install the decoders "
            'with pip install "asfusion[dicom]", or store the file uncompressed.'
        )
        raise DicomReadError(msg)


def _check_frames(dataset: Any, header: Header) -> None:
    """Compare the codestream of each frame with the header."""
    from pydicom.encaps import generate_frames

    n_frames, n_found = header.n_frames, 0
    try:
        for stream in generate_frames(dataset.PixelData, number_of_frames=n_frames):
            check_codestream(stream, dataset.Rows, dataset.Columns)
            n_found += 1
    except DicomReadError:
        raise
    except Exception:
        msg = "expected compressed pixel data, got data that are not divided into frames."
        raise DicomReadError(msg) from None
    if n_found < n_frames:
        msg = f"expected {n_frames} frames as the header declares, got {n_found}."
        raise DicomReadError(msg)
