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
from asfusion.imaging.dicom._codestream import begins_codestream, check_codestream
from asfusion.imaging.dicom._jpeg12 import register
from asfusion.imaging.dicom.encoding import inflate, transfer_syntax
from asfusion.imaging.dicom.header import Header

NO_PIXELS = "expected a DICOM image, got a DICOM file without pixel data."
_OTHER_FRAMES = "expected {} frames as the header declares, got {}."
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
    samples, bits = header.integer("SamplesPerPixel", 1), _bits(header)
    packs = bits != 12 or not (header.is_compressed or header.big_endian)  # of old, see `_apart`
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
    if _bits_below(header) > bits - header.integer("BitsStored", bits):
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


def _bits(header: Header) -> int:
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
    expected = _n_bytes(header)
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


def _n_bytes(header: Header) -> int:
    """Return how many bytes the pixels take that the header declares, uncompressed."""
    shape, _ = declared(header)
    n_bytes = math.ceil(math.prod(shape) * _bits(header) / 8)
    if "422" in header.code("PhotometricInterpretation") and not header.is_compressed:
        return 2 * n_bytes // 3  # two pixels share their colour
    return n_bytes


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
        stored = header.integer("BitsStored", bits) + _bits_below(header)
        dataset.BitsStored = stored  # all up to the high bit; those below are dropped later
        dataset.HighBit = header.integer("HighBit", stored - 1)
        dataset.PixelRepresentation = header.integer("PixelRepresentation", 0)
    data = _data(file, header)
    if bits <= 8 and header.big_endian and header.in_words:
        data = _swapped(data)
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
    n_bytes = _n_bytes(header)
    return file.read(min(header.length, n_bytes + n_bytes % 2))


def _swapped(data: bytes) -> bytes:
    """Return words of sixteen bits with their bytes the other way round."""
    words = np.frombuffer(data + b"\0" * (len(data) % 2), np.uint16)
    return words.byteswap().tobytes()


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
