"""What small hostile files cost the process that reads them.

    python benchmarks/bombs.py

Six files of at most a few hundred KB that ask for a gigabyte or more. Each is read in a fresh
process, whose peak of resident memory is compared with that of one that reads a harmless file
of the same kind. Workers that decode are not counted: their memory is capped and theirs.
Linux only. Exits with 1 if one costs more than 64 MB or 10 s, or is read as pixels.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset, FileMetaDataset, uid

MOST_MB, MOST_S = 64.0, 10.0

_READ = """
import json, re, sys, time
from asfusion.exceptions import ImageReadError
from asfusion.imaging import read_image, read_series, read_stored_values
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
read = {"image": read_image, "stored": read_stored_values, "series": read_series}[sys.argv[3]]
read(sys.argv[1])  # imports and a warm worker
before, begun = peak(), time.perf_counter()
try:
    read(sys.argv[2]); words = "PIXELS"
except ImageReadError as error:
    words = str(error)
print(json.dumps([peak() - before, time.perf_counter() - begun, words]))
"""


def dicom(syntax: str, rows: int, columns: int, data: bytes, frames: int = 1) -> Dataset:
    """Return a grey image of eight bits."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.SecondaryCaptureImageStorage, "1.2.3"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows, columns, frames
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = data
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = uid.UID(syntax).is_encapsulated
    return dataset


def save(path: Path, dataset: Dataset) -> Path:
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def jpeg2000(side: int) -> bytes:
    """Return a codestream of one empty picture."""
    import imagecodecs

    return bytes(
        imagecodecs.jpeg2k_encode(np.zeros((side, side), np.uint8), level=0, codecformat="j2k")
    )


def lying(code: bytes, side: int) -> bytes:
    """Return a codestream that says it is larger than it is: one tile, width and height."""
    size = struct.pack(">2L", side, side)
    return code[:8] + size + code[16:24] + size + code[32:]


def deflated(folder: Path) -> Path:
    path = save(folder / "deflate.dcm", dicom(uid.DeflatedExplicitVRLittleEndian, 8, 8, bytes(64)))
    content = path.read_bytes()
    start = 132 + 12 + int.from_bytes(content[140:144], "little")
    deflate = zlib.compressobj(9, wbits=-15)
    piece = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(content[:start] + 1024 * piece)
    return path


def run_lengths(n_bytes: int) -> bytes:
    """Return a segment that unpacks to zeros."""
    runs = b"\x81\x00" * (n_bytes // 128)
    return struct.pack("<16L", 1, 64, *[0] * 14) + runs + b"\x00" * (len(runs) % 2)


def bombs(folder: Path) -> dict[str, tuple[str, Path]]:
    """Return how to read each bomb, and its file."""
    wrap = pydicom.encaps.encapsulate
    small = jpeg2000(64)
    png = folder / "bomb.png"
    one_line = zlib.compressobj(9)
    packed = b"".join(one_line.compress(bytes(9_501)) for _ in range(9_500)) + one_line.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        code = zlib.crc32(kind + data)
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", code)

    head = struct.pack(">2L5B", 9_500, 9_500, 8, 0, 0, 0, 0)
    png.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )
    j2k, rle = uid.JPEG2000Lossless, uid.RLELossless
    big, wide = lying(small, 32_768), lying(small, 9_900)
    return {
        "deflate, 1 GiB of zeros": ("image", deflated(folder)),
        "JPEG 2000 of 9900 x 9900": (
            "image", save(folder / "j2k.dcm", dicom(j2k, 9_900, 9_900, wrap([wide]))),
        ),
        "JPEG 2000, header says 64 x 64": (
            "image", save(folder / "lie.dcm", dicom(j2k, 64, 64, wrap([big]))),
        ),
        "run lengths beyond the image": (
            "image", save(folder / "rle.dcm", dicom(rle, 9_900, 9_900, wrap([run_lengths(2**24)]))),
        ),
        "60000 frames, one stored": (
            "stored", save(folder / "many.dcm", dicom(j2k, 64, 64, wrap([small]), frames=60_000)),
        ),
        "PNG of 9500 x 9500": ("image", png),
    }  # fmt: skip


def harmless(folder: Path) -> dict[str, Path]:
    """Return a file to warm up with for each way of reading."""
    wrap = pydicom.encaps.encapsulate
    from PIL import Image

    plain = folder / "plain.png"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(plain)
    good = save(folder / "good.dcm", dicom(uid.JPEG2000Lossless, 64, 64, wrap([jpeg2000(64)])))
    return {".dcm": good, ".png": plain}


def cost(read: str, path: Path, warm: Path) -> tuple[float, float, str]:
    """Return megabytes, seconds and the message of reading a file in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(warm), str(path), read],
        capture_output=True, check=True, text=True, timeout=120,
    )  # fmt: skip
    megabytes, seconds, words = json.loads(done.stdout)
    return float(megabytes), float(seconds), str(words)


def main() -> None:
    begun = time.perf_counter()
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm = harmless(folder)
        for title, (read, path) in bombs(folder).items():
            megabytes, seconds, words = cost(read, path, warm[path.suffix])
            bad += megabytes > MOST_MB or seconds > MOST_S or words == "PIXELS"
            size = path.stat().st_size / 1000
            print(f"{title:<32} {size:7.1f} KB  {megabytes:6.1f} MB  {seconds:5.2f} s  {words}")
    print(f"{time.perf_counter() - begun:.0f} s in all; over the limits: {bad}")
    raise SystemExit(bad > 0)


if __name__ == "__main__":
    main()
