"""A cohort of series, decoded and laid on their grid once, to be read as batches ever after."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice
from asfusion._door import public
from asfusion.exceptions import ConfigurationError, DicomReadError
from asfusion.imaging._guard import guarded
from asfusion.imaging.stores._content import ContentStore, file_key
from asfusion.imaging.stores._records import FileKey, Records
from asfusion.imaging.volumes._grid_plan import (
    GridPlan,
    Layout,
    Window,
    check_shape,
    check_spacing,
    check_window,
)
from asfusion.imaging.volumes._sources import is_read, members
from asfusion.imaging.volumes.series import WHO, read_series

# Part of the folder's name: raised when the same series would be read as other voxels.
_READER = 1
_TAIL = 1024  # bytes of a record behind its voxels: number of slices, and notes
_COUNT = struct.Struct("<L")
_KEY = struct.Struct("<4Q")
_STAT = struct.Struct("<5Q")


class SeriesStore(ContentStore):
    """A folder of series on voxels of one shape, memory-mapped.

    What `asfusion.imaging.ImageStore` is for images: each series is decoded and laid on its
    grid once, whatever its folder is called and however often it is used. Records are
    found by the content of the files: a moved or copied folder is not decoded again, one in
    which any file has changed, came or went is. Several processes may fill one
    store, and a killed one leaves it whole.

    Parameters
    ----------
    folder : str or PathLike
        Where the store is, or is to be. Stores of other settings may share the folder.
    shape : tuple of three int
        Voxels (Z, Y, X) of a record.
    layout : {"volume", "slices"}
        ``"volume"`` lays the whole series over the voxels, as `asfusion.VolumeEncoder` does.
        ``"slices"`` keeps slices as they are, behind the last one black, and brings only
        stacks of more than Z slices to Z, as `asfusion.SliceEncoder` does.
    spacing : tuple of three float, optional
        Distance of the voxels along Z, Y and X in mm, for ``"volume"``: the series is then
        centred, and cut or filled with black. By default it is fitted in as a whole.
    window : (float, float) or "auto"
        What becomes black and what white, in the units of the file; ``"auto"`` takes
        percentiles 0.5 and 99.5 of each series.
    on_gap : {"raise", "fill"}
        What becomes of a series in which slices are missing; see
        `asfusion.imaging.read_series`.

    Raises
    ------
    ConfigurationError
        If a parameter is unusable.
    StoreError
        If the folder cannot be made or written.

    Notes
    -----
    The store holds voxels, numbers of slices, what `read_series` noted (counts, no words of a
    header), and digests (SHA-256) of files and of their numbers and times on the disk; no
    names. The voxels are as confidential as the files. Each record has a checksum that is
    compared the first time a process reads it. What cannot be read is not stored, and is tried
    anew each time.

    Examples
    --------
    >>> import pathlib, tempfile, asfusion as af
    >>> from asfusion.imaging import SeriesStore
    >>> folder = tempfile.TemporaryDirectory()
    >>> cohort = af.datasets.make_axspa_cohort(
    ...     3, random_state=0, path=folder.name, modalities=["mri"])
    >>> store = SeriesStore(pathlib.Path(folder.name) / "store", shape=(8, 32, 32))
    >>> rows = store.ingest(cohort.X["mri_stir"])
    >>> store.read(rows).shape
    (3, 8, 32, 32)
    >>> store.n_slices(rows).tolist()
    [12, 12, 12]
    >>> del store
    >>> folder.cleanup()
    """

    _noun: ClassVar[str] = "series"
    _nouns: ClassVar[str] = "series"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        shape: tuple[int, int, int] = (16, 96, 96),
        *,
        layout: Layout = "volume",
        spacing: tuple[float, float, float] | None = None,
        window: Window = "auto",
        on_gap: Literal["raise", "fill"] = "raise",
    ) -> None:
        check_choice(layout, "layout", ("volume", "slices"))
        if layout == "slices" and spacing is not None:
            msg = "spacing: expected None with layout='slices', which keeps slices as they are."
            raise ConfigurationError(msg)
        plan = GridPlan(check_shape(shape), layout, check_spacing(spacing), check_window(window))
        self.shape, self.layout, self.spacing, self.window = plan
        check_choice(on_gap, "on_gap", ("raise", "fill"))
        self.on_gap = on_gap
        self._n_voxels = int(np.prod(plan.shape))
        super().__init__(folder, _Recipe(str(Path(folder).absolute()), plan, self.on_gap))

    @public
    def read(self, rows: Any) -> NDArray[np.uint8]:
        """Return voxels by row, or by path, in one index operation.

        Parameters
        ----------
        rows : array-like of int, or iterable of str, PathLike or None
            N rows as `ingest` returned them, -1 for no series; or N paths, which are
            ingested first where they are new.

        Returns
        -------
        ndarray of shape (N, Z, Y, X), uint8
            A copy, zeros where there is no series; `torch.from_numpy` takes it as it is.

        Raises
        ------
        InputError
            If a row is not in the store.
        StoreError
            If a record is damaged and only its row is known.
        ImageReadError
            If a series cannot be read.
        """
        return self._take(rows, slice(self._n_voxels)).reshape(-1, *self.shape)

    @public
    def n_slices(self, rows: Any) -> NDArray[np.int64]:
        """Return how many slices there are in the files, zero where there is no series.

        Parameters
        ----------
        rows : array-like of int, or iterable of str, PathLike or None
            N rows or paths, as for `read`.

        Returns
        -------
        ndarray of shape (N,), int64
            Slices that were filled in among them.

        Raises
        ------
        InputError
            If a row is not in the store.
        StoreError
            If a record is damaged and only its row is known.
        ImageReadError
            If a series cannot be read.
        """
        counts = self._take(rows, slice(self._n_voxels, self._n_voxels + _COUNT.size))
        return counts.view("<u4").reshape(-1).astype(np.int64)

    @public
    def notes(self, rows: Any) -> list[tuple[str, ...]]:
        """Return what `asfusion.imaging.read_series` noted when the series were decoded.

        Parameters
        ----------
        rows : array-like of int, or iterable of str, PathLike or None
            N rows or paths, as for `read`.

        Returns
        -------
        list of tuple of str
            N times `Volume.notes`: what was left out, filled in or converted on the way.

        Raises
        ------
        InputError
            If a row is not in the store.
        StoreError
            If a record is damaged and only its row is known.
        ImageReadError
            If a series cannot be read.
        """
        return [_unpacked(tail) for tail in self._take(rows, slice(self._n_voxels, None))]

    @property
    def info(self) -> dict[str, Any]:
        """Number of series, settings, and room on the disk (bytes)."""
        return {
            "n_series": len(self),
            "shape": self.shape,
            "layout": self.layout,
            "spacing": self.spacing,
            "window": self.window,
            "on_gap": self.on_gap,
            "n_bytes": len(self._records) * self._records.record_bytes,
        }

    def __repr__(self) -> str:
        """Return the settings and the number of series."""
        return f"<SeriesStore of {len(self)} series, {self._extent()}, {self.layout}>"

    def _repr_html_(self) -> str:
        """Return the settings and middle slices of the first series, for notebooks."""

        def pictures(rows: list[int]) -> NDArray[np.uint8]:
            n = np.full(len(rows), self.shape[0])
            if self.layout == "slices":
                n = np.minimum(n, self.n_slices(rows))
            middle: NDArray[np.uint8] = self.read(rows)[np.arange(len(rows)), n // 2]
            return middle[:, None]

        return self._sheet(pictures, f"series of {self._extent()} voxels")

    def _extent(self) -> str:
        return " x ".join(str(n) for n in self.shape)


class _Recipe(NamedTuple):
    """What a process needs to decode series for a store."""

    folder: str
    plan: GridPlan
    on_gap: Literal["raise", "fill"]

    @property
    def who(self) -> str:
        return WHO

    def open(self) -> Records:
        shape, layout, spacing, window = self.plan
        parts = [
            layout,
            "x".join(map(str, shape)),
            "whole" if spacing is None else "x".join(map(repr, spacing)) + "mm",
            "auto" if window == "auto" else "to".join(map(repr, window)),
            self.on_gap,
            f"r{_READER}",
        ]
        n_bytes = int(np.prod(shape)) + _TAIL
        name = "_".join(parts)
        return Records(Path(self.folder) / name, (n_bytes,), np.dtype(np.uint8), "SeriesStore")

    def key(self, path: str) -> tuple[FileKey, int] | None:
        try:
            keys = [file_key(file.stat()) for file in members(Path(path))]
        except Exception:  # whatever it is, the reader says it in its words
            return None
        sound = [key for key in keys if key is not None]
        if not sound or len(sound) < len(keys):
            return None
        name = hashlib.sha256(b"".join(_STAT.pack(*key) for key in sound)).digest()
        first, second, third, fourth = _KEY.unpack(name)
        return (first, second, third, fourth, len(sound)), max(max(key[3:]) for key in sound)

    def digest(self, path: str) -> bytes:
        with guarded(WHO, "DICOM series or NIfTI file", DicomReadError):
            files = members(Path(path))
            if Path(path).is_dir():
                parts = [b"folder", *map(_content, files)]
            else:  # itself of any size, and the files that a DICOMDIR names
                parts = [b"file", _hash(files[0]), *map(_content, files[1:])]
            return hashlib.sha256(b"".join(parts)).digest()

    def decode(self, path: str) -> NDArray[np.uint8]:
        volume = read_series(path, on_gap=self.on_gap)
        voxels = self.plan.voxels_of(volume)
        return np.concatenate([voxels.reshape(-1), _packed(len(volume.values), volume.notes)])


def _content(file: Path) -> bytes:
    """Return 32 bytes that name what is in a file, the same for all that nobody reads.

    They come in the order in which the files are read, as files that agree but for rounding
    give the first one's directions to the volume.
    """
    return _hash(file) if is_read(file.stat()) else bytes(32)


def _hash(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _packed(n_slices: int, notes: Iterable[str]) -> NDArray[np.uint8]:
    """Return the tail of a record; notes that find no room are left out."""
    tail = np.zeros(_TAIL, dtype=np.uint8)
    tail[: _COUNT.size] = np.frombuffer(_COUNT.pack(n_slices), dtype=np.uint8)
    start = _COUNT.size
    for note in notes:
        line = np.frombuffer(f"{note}\n".encode(), dtype=np.uint8)
        if start + len(line) <= _TAIL:
            tail[start : start + len(line)] = line
            start += len(line)
    return tail


def _unpacked(tail: NDArray[np.uint8]) -> tuple[str, ...]:
    text = tail[_COUNT.size :].tobytes().rstrip(b"\0").decode()
    return tuple(text.splitlines())
