"""Any bytes give pixels or one error: mutants of DICOM files, read.

    python benchmarks/fuzz_dicom.py [--n 20000] [--seed 0] [--files FOLDER]

Sources are small files made here in seven transfer syntaxes and, if given, the DICOM files of
a folder that are at most 64 KB. Each mutant (flipped, cut, doubled, overwritten or swapped
bytes, most of them in the header) is read by `read_image` and `read_stored_values`, one in
ten as a series. Counted is what came of it. Anything but pixels and `ImageReadError`, a
warning, a name in a message or more than 10 s is a failure, kept in ``fuzz-failures``.
"""

from __future__ import annotations

import argparse
import collections
import io
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset, FileMetaDataset, uid

from asfusion.exceptions import ImageReadError
from asfusion.imaging import read_image, read_series, read_stored_values

NAME = "CANARY^PATIENT"
LIMIT_S = 10.0


def made() -> list[bytes]:
    """Return small files of every kind that pydicom can write."""
    grey = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16)
    colour = np.stack([grey, grey[::-1], grey], axis=-1).astype(np.uint8)
    out = []
    for syntax in (
        uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian, uid.RLELossless, uid.JPEG2000Lossless,
        uid.JPEGLSLossless,
    ):  # fmt: skip
        for pixels in (grey, colour):
            out.append(encoded(pixels, syntax))
    return out


def encoded(pixels: np.ndarray, syntax: uid.UID) -> bytes:
    """Return a slice with everything in its header that is looked at."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = uid.MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.MRImageStorage, "1.2.3"
    dataset.PatientName, dataset.PatientID, dataset.Modality = NAME, NAME, "MR"
    dataset.SeriesInstanceUID = "1.2.4"
    dataset.ImagePositionPatient, dataset.PixelSpacing = [0, 0, 0], [1, 1]
    dataset.ImageOrientationPatient, dataset.SliceThickness = [1, 0, 0, 0, 1, 0], 3
    dataset.WindowCenter, dataset.WindowWidth, dataset.RescaleSlope = 30, 60, 2
    dataset.RescaleIntercept, dataset.PixelPaddingValue = -10, 0
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [64, 0, 16], list(range(64))
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    if pixels.ndim == 2:
        dataset.VOILUTSequence = [table]
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax.is_encapsulated:
        dataset.compress(syntax)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == uid.ExplicitVRBigEndian:  # words of sixteen bits, of two bytes or of one value
            dataset.PixelData = np.frombuffer(pixels.tobytes(), np.uint16).byteswap().tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def mutant(source: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one to eight things wrong."""
    data = bytearray(source)
    for _ in range(int(rng.integers(1, 5))):
        n = len(data)
        if n < 8:
            break
        # Most of a file are pixels; what matters stands in the first part.
        first = 132 if n > 200 and rng.random() < 0.98 else 0  # behind the preamble
        place = first + int(rng.random() ** 2 * (n - 1 - first))
        kind = int(rng.integers(7))
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(rng.choice([0, 1, 127, 128, 254, 255]))
        elif kind == 2:
            data[place : place + 4] = rng.bytes(4)
        elif kind == 3:
            data[place : place + 4] = b"\xff\xff\xff\xff"
        elif kind == 4:
            del data[place : place + int(rng.integers(1, 64))]
        elif kind == 5:
            data[place:place] = data[max(0, place - 64) : place]
        elif rng.random() < 0.3:
            del data[place:]
        else:
            other = int(rng.random() * (n - 4))
            data[place : place + 4] = data[other : other + 4]
    return bytes(data)


def outcome(read: Callable[[Path], object], path: Path, folder: str) -> str:
    """Return what reading came to."""
    begun = time.perf_counter()
    try:
        read(path)
        found = "pixels"
    except ImageReadError as error:
        words = str(error)
        shown = NAME in words or "CANARY" in words or folder in words
        found = "LEAK" if shown else type(error).__name__
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        found = f"FAILURE {type(error).__name__}"
    return "SLOW" if time.perf_counter() - begun > LIMIT_S else found


def main() -> None:
    parser = argparse.ArgumentParser(description="Read mutants of DICOM files.")
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=Path, default=None)
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    sources = made()
    if arguments.files is not None:
        paths = sorted(path for path in arguments.files.rglob("*") if path.is_file())
        found = [path.read_bytes() for path in paths if path.stat().st_size <= 64 * 1024]
        pixels = b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"
        sources += [data for data in found if any(tag in data for tag in pixels)]
    rng = np.random.default_rng(arguments.seed)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    slowest, begun = 0.0, time.perf_counter()
    readers: dict[str, Callable[[Path], object]] = {
        "image": lambda path: read_image(path, size=32), "stored": read_stored_values,
        "series": read_series,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "CANARY.dcm"
        for number in range(arguments.n):
            data = mutant(sources[int(rng.integers(len(sources)))], rng)
            path.write_bytes(data)
            for name, read in readers.items():
                if name == "series" and number % 10:
                    continue
                start = time.perf_counter()
                result = outcome(read, path, folder)
                slowest = max(slowest, time.perf_counter() - start)
                counts[name, result] += 1
                if result.isupper() or result.startswith("FAILURE"):
                    keep = Path("fuzz-failures")
                    keep.mkdir(exist_ok=True)
                    (keep / f"{arguments.seed}-{number}-{name}.dcm").write_bytes(data)
    seconds = time.perf_counter() - begun
    print(
        f"{arguments.n} mutants of {len(sources)} files in {seconds:.0f} s, slowest {slowest:.1f} s"
    )
    for (name, result), count in sorted(counts.items()):
        print(f"{name:<7} {result:<30} {count:>7}")
    bad = sum(n for (_, r), n in counts.items() if r.isupper() or r.startswith("FAILURE"))
    print(f"failures: {bad}")
    raise SystemExit(bad > 0)


if __name__ == "__main__":
    main()
