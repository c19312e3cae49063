"""The kinds of store, and small files to fill them with."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import asfusion.imaging.stores._content as store_module
import asfusion.imaging.stores.image_store as image_module
import asfusion.imaging.stores.series_store as series_module
from asfusion.imaging import ImageStore, SeriesStore, read_image, read_series
from asfusion.imaging.volumes._grid_plan import GridPlan
from tests.imaging.slices import voxels, write_slices

BOX = (4, 16, 16)


def settle_at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let files be known by their times at once; call what is returned before changing one."""
    monkeypatch.setattr(store_module, "_SETTLED_NS", -1)
    return lambda: time.sleep(0.02)  # longer than one tick of the file system's clock


class Kind(NamedTuple):
    """One kind of store.

    Attributes: its class, by name; the word for what it holds; how to draw something to store,
    spoil it, open a store, and read the same without one; where the reader's name lives; the
    bytes of a record; and how another process opens the store.
    """

    name: str
    noun: str
    draw: Callable[[Path, int], Path]
    spoil: Callable[[Path], str]
    open: Callable[[Path], Any]
    plain: Callable[[Path], np.ndarray]
    module: ModuleType
    reader: str
    n_bytes: int
    code: str


def draw_image(path: Path, seed: int) -> Path:
    """Write one small image that was changed long ago."""
    pixels = np.random.default_rng(seed).integers(0, 256, (50, 40)).astype(np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    os.utime(path, (1e9 + seed, 1e9 + seed))
    return path


def draw_series(path: Path, seed: int) -> Path:
    """Write a folder of three slices that were changed long ago."""
    rng = np.random.default_rng(seed)
    values = voxels(3) + rng.integers(0, 99, (3, 20, 24), dtype=np.uint16)
    for file in write_slices(path, values, SpacingBetweenSlices=4.0):
        os.utime(file, (1e9 + seed, 1e9 + seed))
    return path


def count_decoded(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with everything decoded in this process."""
    decoded: list[str] = []
    read = getattr(kind.module, kind.reader)

    def counted(path: str, *args: Any, **options: Any) -> Any:
        decoded.append(path)
        return read(path, *args, **options)

    monkeypatch.setattr(kind.module, kind.reader, counted)
    return decoded


def spoil_image(path: Path) -> str:
    """Make a file unreadable, and return what is then said of it."""
    path.write_bytes(b"not an image")
    return "expected a PNG"


def spoil_series(path: Path) -> str:
    """Make a folder unreadable, and return what is then said of it."""
    next(path.glob("*-1.dcm")).unlink()
    return "expected slices without a gap"


IMAGES = Kind(
    name="ImageStore",
    noun="image",
    draw=draw_image,
    spoil=spoil_image,
    open=lambda folder: ImageStore(folder, size=32),
    plain=lambda path: read_image(path, size=32),
    module=image_module,
    reader="read_pixels",
    n_bytes=32 * 32,
    code="asfusion.imaging.ImageStore({0}, size=32)",
)
SERIES = Kind(
    name="SeriesStore",
    noun="series",
    draw=draw_series,
    spoil=spoil_series,
    open=lambda folder: SeriesStore(folder, BOX),
    plain=lambda path: GridPlan(BOX).voxels_of(read_series(path)),
    module=series_module,
    reader="read_series",
    n_bytes=4 * 16 * 16 + series_module._TAIL,
    code="asfusion.imaging.SeriesStore({0}, (4, 16, 16))",
)
