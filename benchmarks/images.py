"""What reading, storing and serving radiographs and MRI costs, beside what anyone would write.

Usage: python benchmarks/images.py [--files 2000] [--rounds 15] [--films FOLDER]
       python benchmarks/images.py --part series [--patients 50]
       python benchmarks/images.py --part one
(with asfusion installed)

All ratios come from one run, as medians of processor time over rounds in which the ways take
turns: what other processes of a busy machine do counts less than by the clock. The files are
2048 x 2048 of 12 bits, made for the run and deleted after it (8 MB each; one base image with
other first pixels per file). Beside each ratio stands the limit: reading the bytes, copying
them once. MRI is that of the synthetic cohort. Memory is read from /proc, so on Linux.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sklearn.base import clone

import asfusion.imaging._resize as resize_module
from asfusion.datasets import make_axspa_cohort
from asfusion.encoders.slices import SliceEncoder
from asfusion.encoders.volume import VolumeEncoder
from asfusion.imaging import ImageStore, read_image, read_series
from asfusion.imaging._burned_in import LETTERS, letters_in_a_row

_SIDE, _SIZE, _BATCH = 2048, 224, 64
_DX = "1.2.840.10008.5.1.4.1.1.1.1"


def radiograph() -> np.ndarray:
    """Return broad shapes with fine grain, 12 bits."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.standard_normal((1, 1, 32, 32)).astype(np.float32))
    field = F.interpolate(coarse, size=(_SIDE, _SIDE), mode="bicubic")[0, 0].numpy()
    field = (field - field.min()) / np.ptp(field)
    grain = rng.normal(0, 25, field.shape)
    return np.clip(300 + 3200 * field + grain, 0, 4000).astype(np.uint16)


def dicom_bytes(pixels: np.ndarray) -> bytes:
    """Return a plain DICOM file with a window, as a detector writes it."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = _DX
    dataset.SOPClassUID = _DX
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.BodyPartExamined, dataset.ViewPosition = "PELVIS", "AP"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 3600
    dataset.PixelData = pixels.tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def textbook(path: Path) -> torch.Tensor:
    """Return what tutorials write: pydicom, VOI in float64, resize by torch."""
    dataset = pydicom.dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    grey = torch.from_numpy(shown.astype(np.float32))[None, None] / (2**dataset.BitsStored - 1)
    return F.interpolate(grey, size=(_SIZE, _SIZE), mode="bilinear", antialias=True)[0]


def window_last(path: Path) -> torch.Tensor:
    """Return what one writes who knows that a window may wait: float32, shrunk, then windowed."""
    dataset = pydicom.dcmread(path)
    grey = torch.from_numpy(dataset.pixel_array.astype(np.float32))[None, None]
    small = F.interpolate(grey, size=(_SIZE, _SIZE), mode="bilinear", antialias=True)[0]
    slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    centre, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
    units = small * slope + intercept
    return ((units - (centre - 0.5)) / (width - 1.0) + 0.5).clamp(0.0, 1.0)


def ours(path: Path) -> torch.Tensor:
    """Return a training tensor in [0, 1] through `read_image`."""
    return torch.from_numpy(read_image(path, size=_SIZE)).to(torch.float32) / 255.0


def compare(
    ways: dict[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Return the median time of each way by `clock`, in seconds; the ways take turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for work in ways.values():
        work()
    for _ in range(rounds):
        for name, work in ways.items():
            begun = clock()
            work()
            times[name].append(clock() - begun)
    return {name: float(np.median(values)) for name, values in times.items()}


def show(title: str, times: dict[str, float]) -> None:
    base = next(iter(times.values()))
    print(f"\n{title}")
    for name, seconds in times.items():
        print(f"  {name:<52} {1e3 * seconds:9.2f} ms  {base / seconds:8.1f} x")


def one_file(folder: Path, rounds: int) -> None:
    pixels = radiograph()
    path = folder / "one.dcm"
    path.write_bytes(dicom_bytes(pixels))
    for name, way in (("asfusion", ours), ("window last", window_last)):
        gap = 255 * (textbook(path) - way(path)).abs()
        print(f"{name}: difference to the textbook, of 255: mean {float(gap.mean()):.2f}, "
              f"largest {float(gap.max()):.1f}")  # fmt: skip

    def compiled(after: int) -> Callable[[], object]:
        def work() -> object:
            resize_module._COMPILE_AFTER = after
            return ours(path)

        return work

    ways = {
        "textbook": lambda: textbook(path),
        "textbook, window last in float32": lambda: window_last(path),
        "asfusion, first 40 images (numpy)": compiled(10**9),
        "asfusion, after that (compiled)": compiled(-1),
        "limit: read the bytes": path.read_bytes,
        "limit: copy the pixels once": pixels.copy,
    }
    begun = time.perf_counter()
    ways["asfusion, after that (compiled)"]()
    print(f"compiling once: {time.perf_counter() - begun:.2f} s")
    show("one file of 2048 x 2048, 12 bits -> 224 x 224 tensor", compare(ways, rounds))
    encoded = jpeg2000(pixels)
    if encoded is not None:
        path2 = folder / "one_j2k.dcm"
        path2.write_bytes(encoded)
        # By the wall: a worker process decodes, whose time is none of this one's.
        both = {
            "textbook": lambda: textbook(path2),
            "textbook, window last in float32": lambda: window_last(path2),
            "asfusion": lambda: ours(path2),
        }
        show("the same as JPEG 2000, lossless", compare(both, 5, time.perf_counter))


def jpeg2000(pixels: np.ndarray) -> bytes | None:
    """Return the image as JPEG 2000; None without an encoder."""
    try:
        import imagecodecs
    except ImportError:
        return None
    code = imagecodecs.jpeg2k_encode(
        pixels, level=0, reversible=True, bitspersample=12, codecformat="J2K"
    )
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(pixels)))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    dataset.PixelData = pydicom.encaps.encapsulate([code])
    dataset["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def batches(folder: Path, rounds: int) -> None:
    """Serve random batches from the store and from one PNG per image."""
    small = read_image(folder / "one.dcm", size=_SIZE)[0]
    rng = np.random.default_rng(1)
    files = []
    for i in range(1000):
        pixels = np.clip(small + rng.normal(0, 3, small.shape), 0, 255).astype(np.uint8)
        files.append(folder / f"{i}.png")
        Image.fromarray(pixels).save(files[-1])
    store = ImageStore(folder / "batches", size=_SIZE)
    rows = store.ingest(files)
    draws = iter(rng.integers(0, len(files), (10_000, _BATCH)))

    def per_file() -> torch.Tensor:
        images = []
        for i in next(draws):
            with Image.open(files[i]) as image:
                images.append(np.asarray(image))
        return torch.from_numpy(np.stack(images)[:, None])

    copied = store.read(rows[:_BATCH])
    ways = {
        "one PNG per image": per_file,
        "store, by row": lambda: torch.from_numpy(store.read(rows[next(draws)])),
        "store, by path": lambda: torch.from_numpy(store.read([files[i] for i in next(draws)])),
        "limit: copy the batch once": copied.copy,
    }
    show("random batch of 64 at 224 x 224, uint8", compare(ways, rounds))


def series(folder: Path, n_patients: int, rounds: int) -> None:
    """Prepare a cohort's MRI from its folders, and from a store that has it already."""
    cohort = make_axspa_cohort(n_patients, random_state=0, path=folder / "mri", modalities=["mri"])
    X = cohort.X[["mri_stir", "mri_t1"]].dropna(how="all")
    described = {
        "VolumeEncoder, 16 x 96 x 96": VolumeEncoder(["mri_stir", "mri_t1"]),
        "SliceEncoder, 12 x 128 x 128": SliceEncoder(["mri_stir", "mri_t1"], size=128),
    }
    paths = [Path(path) for column in X for path in X[column].dropna()]
    files = [file for path in paths for file in path.iterdir()]
    shape = read_series(paths[0]).values.shape
    print(f"\n{len(paths)} series of {shape}, {sum(f.stat().st_size for f in files) / 1e6:.0f} MB")
    for name, plain in described.items():
        stored = clone(plain).set_params(store=folder / "series").fit(X)
        begun = time.process_time()
        voxels = stored.prepare(X).tensors["voxels"]
        first = time.process_time() - begun
        same = torch.equal(plain.fit(X).prepare(X).tensors["voxels"], voxels)
        ways = {
            "folders, read again": lambda plain=plain: plain.prepare(X),
            "store": lambda stored=stored: stored.prepare(X),
            "limit: read the bytes of the folders": lambda: [f.read_bytes() for f in files],
            "limit: copy the voxels once": voxels.clone,
        }
        show(f"{name}; store first filled in {first:.2f} s; same bits: {same}",
             compare(ways, rounds))  # fmt: skip


def ingest(folder: Path, n_files: int) -> None:
    """Ingest in a process of its own, and report its largest memory."""
    base = bytearray(dicom_bytes(radiograph()))
    start = len(base) - 2 * _SIDE * _SIDE
    cohort = folder / "cohort"
    cohort.mkdir()
    for i in range(n_files):  # other contents, the same size
        base[start : start + 2] = (i % 4096).to_bytes(2, "little")
        base[start + 2 : start + 4] = (i // 4096).to_bytes(2, "little")
        (cohort / f"{i}.dcm").write_bytes(base)
    for n_jobs in (1, 2):
        script = (
            "import os, sys, time; from pathlib import Path\n"
            "from asfusion.imaging import ImageStore\n"
            f"files = sorted(Path(sys.argv[1]).iterdir()); begun = time.perf_counter()\n"
            f"rows = ImageStore(sys.argv[2]).ingest(files, n_jobs={n_jobs})\n"
            "took = time.perf_counter() - begun\n"
            "def most(pid): return int(Path(f'/proc/{pid}/status').read_text()"
            ".split('VmHWM:')[1].split()[0]) / 1024\n"
            "workers = Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()\n"
            "peaks = [round(most(pid)) for pid in ['self', *workers]]\n"
            "print(len(rows), (rows >= 0).all(), f'{took:.1f} s, {1e3 * took / len(rows):.1f} ms "
            "per file, largest memory of each process {peaks} MB')\n"
            "begun = time.perf_counter(); ImageStore(sys.argv[2]).ingest(files)\n"
            "print(f'again: {time.perf_counter() - begun:.2f} s')\n"
        )
        command = [sys.executable, "-c", script, str(cohort), str(folder / f"store{n_jobs}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"\ningest of {n_files} files, n_jobs={n_jobs}: {done.stdout.strip()}")


def text(films: list[np.ndarray], name: str) -> None:
    """Plant a line of text on films, enlarged to 1792 pixels, and count what is suspected."""
    rng = np.random.default_rng(2)
    lines = ["DOE^JANE 12.03.1971", "ID 4711-0815", "1971-03-12 14:05", "MUSTER ERIKA F 044Y"]

    def suspected(images: list[np.ndarray]) -> str:
        found = [letters_in_a_row(image) >= LETTERS for image in images]
        return f"{sum(found)} of {len(found)}"

    print(f"\ntext on {name}: false alarms as they are {suspected(films)}")
    cubic = Image.Resampling.BICUBIC
    large = [Image.fromarray(film) for film in films[:: max(1, len(films) // 60)]]
    large = [film.resize((1792, 1792 * film.height // film.width), cubic) for film in large]
    print(f"  enlarged: false alarms {suspected([np.asarray(film) for film in large])}")
    for share in (0.015, 0.02, 0.03):
        font = ImageFont.load_default(round(share * 1792))
        counts = []
        for grey in (255, 0):
            planted = [film.copy() for film in large]
            for film in planted:
                at = (rng.uniform(20, 900), rng.uniform(0.02, 0.92) * film.height)
                ImageDraw.Draw(film).text(at, str(rng.choice(lines)), fill=grey, font=font)
            counts.append(suspected([np.asarray(film) for film in planted]))
        print(f"  letters of {share:.1%} of the width: white {counts[0]}, black {counts[1]}")


def find_text(folder: Path, real: Path | None) -> None:
    cohort = make_axspa_cohort(
        60, random_state=0, path=folder / "axspa", modalities=["labs", "xray"]
    )
    text([read_image(p)[0] for p in cohort.X["pelvis_xray"].dropna()], "synthetic pelvic films")
    if real is not None:
        text([read_image(p)[0] for p in sorted(real.iterdir())], "real films")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--part", choices=["all", "one", "series"], default="all")
    parser.add_argument("--patients", type=int, default=50, help="whose MRI is read")
    parser.add_argument("--films", type=Path, help="a folder of real films, to look for text in")
    parser.add_argument("--rounds", type=int, default=15, help="0 leaves out all but the ingest")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} processors, one thread; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.part == "one":
            one_file(folder, options.rounds)
            return
        if options.part == "series":
            series(folder, options.patients, options.rounds)
            return
        if options.rounds:
            one_file(folder, options.rounds)
            batches(folder, options.rounds)
            series(folder, options.patients, min(5, options.rounds))
            find_text(folder, options.films)
        if options.files:
            ingest(folder, options.files)


if __name__ == "__main__":
    main()
