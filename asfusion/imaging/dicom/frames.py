"""Stored values of a DICOM file, in this process or inside a worker.

Sizes are compared with what the file can hold before anything is decoded: the declared size
with the limits and the length of the data, and each compressed frame with the size that its
codestream says.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import DicomReadError
from asfusion.imaging.dicom._codestream import begins_codestream, check_codestream
from asfusion.imaging.dicom._jpeg12 import register
from asfusion.imaging.dicom.declared import bits_below, declared, n_bytes_of
from asfusion.imaging.dicom.encoding import inflate, swapped, transfer_syntax
from asfusion.imaging.dicom.header import Header

_OTHER_FRAMES = "expected {} frames as the header declares, got {}."


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
    n_below = bits_below(header)
    n_done, n_wanted = 0, shape[0] if frame is None else 1
    try:
        for pixels in _decoded(dataset, frame):
            values = np.asarray(pixels)
            if n_done == n_wanted or values.shape != shape[1:]:
                break
            n_done += 1
            values = _as_declared(values, dtype)
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


def _as_declared(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return decoded values in the type that the header says, if they are of it."""
    cast = values.astype(dtype, copy=False)
    alike = values.dtype.kind == dtype.kind and values.dtype.itemsize <= dtype.itemsize
    if not alike and not np.array_equal(cast, values):
        msg = (
            "expected compressed samples of the depth and sign that the header says, got values "
            "beyond it. Correct the header."
        )
        raise DicomReadError(msg)
    return cast


def _decoded(dataset: Any, frame: int | None) -> Iterator[NDArray[Any]]:
    """Yield frames as the decoders of pydicom give them."""
    from pydicom.pixels import get_decoder

    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    if dataset.BitsAllocated == 1 and not decoder.is_encapsulated:
        yield from _of_bits(dataset, frame)
        return
    options: dict[str, Any] = {} if dataset.SamplesPerPixel == 1 else {"raw": False}
    if frame is not None:
        yield decoder.as_array(dataset, index=frame, **options)[0]
        return
    if dataset.NumberOfFrames == 1:
        yield decoder.as_array(dataset, index=0, **options)[0]
        return
    for values, _ in decoder.iter_array(dataset, **options):
        yield values


def _of_bits(dataset: Any, frame: int | None) -> Iterator[NDArray[Any]]:
    """Yield frames of one bit per pixel: each goes on where the last one ended, inside a byte."""
    n_pixels = dataset.Rows * dataset.Columns
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    for index in range(dataset.NumberOfFrames) if frame is None else (frame,):
        start, end = index * n_pixels, (index + 1) * n_pixels
        bits = np.unpackbits(packed[start // 8 : -(-end // 8)], bitorder="little")
        yield bits[start % 8 :][:n_pixels].reshape(dataset.Rows, dataset.Columns)


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
        stored = header.integer("BitsStored", bits) + bits_below(header)
        dataset.BitsStored = stored  # all up to the high bit; those below are dropped later
        dataset.HighBit = header.integer("HighBit", stored - 1)
        dataset.PixelRepresentation = header.integer("PixelRepresentation", 0)
    data = _data(file, header)
    if bits <= 8 and header.big_endian and header.in_words:
        data = swapped(data)
    if bits == 12:
        data = _apart(data)
        dataset.BitsAllocated = 16
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
    if header.is_compressed:
        return file.read(header.length)
    n_bytes = n_bytes_of(header)
    return file.read(min(header.length, n_bytes + n_bytes % 2))


def _apart(data: bytes) -> bytes:
    """Return samples of twelve bits, which once stood two in three bytes, in two bytes each."""
    n_pairs = -(-len(data) // 3)
    parts = np.frombuffer(data.ljust(3 * n_pairs, b"\0"), np.uint8).reshape(-1, 3).astype("<u2")
    pairs = np.empty((n_pairs, 2), "<u2")
    pairs[:, 0] = parts[:, 0] | (parts[:, 1] & 15) << 8
    pairs[:, 1] = parts[:, 1] >> 4 | parts[:, 2] << 4
    return pairs.tobytes()


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
    """Compare the codestream of each frame, and how many there are, with the header."""
    from pydicom.encaps import generate_frames

    n_frames, n_found = header.n_frames, 0
    try:
        n_begun = _n_begun(dataset.PixelData)
        if n_begun > n_frames:
            raise DicomReadError(_OTHER_FRAMES.format(n_frames, n_begun))
        for stream in generate_frames(dataset.PixelData, number_of_frames=n_frames):
            check_codestream(stream, dataset.Rows, dataset.Columns, dataset.BitsAllocated)
            n_found += 1
    except DicomReadError:
        raise
    except Exception:
        msg = "expected compressed pixel data, got data that are not divided into frames."
        raise DicomReadError(msg) from None
    if n_found != n_frames:
        raise DicomReadError(_OTHER_FRAMES.format(n_frames, n_found))


def _n_begun(data: bytes) -> int:
    """Return how many fragments begin as a codestream does."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    buffer = io.BytesIO(data)
    parse_basic_offsets(buffer)
    return sum(begins_codestream(fragment) for fragment in generate_fragments(buffer))
