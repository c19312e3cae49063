"""A cohort of images, decoded once, to be read as batches ever after."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_integer
from asfusion._processes import steady_workers
from asfusion._progress import progress
from asfusion.exceptions import (
    AsfusionWarning,
    ConfigurationError,
    ImageReadError,
    InputError,
    StoreError,
)
from asfusion.imaging._cells import image_cells
from asfusion.imaging._records import FileKey, Records
from asfusion.imaging._sheet import sheet_html
from asfusion.imaging.read import WHO, read_pixels

# Part of the folder's name: raised when the same file would be read as other pixels.
_READER = 1
_BATCH = 64  # records written at once; a killed ingest loses at most these
_BATCH_S = 5.0
_SETTLED_NS = 2_000_000_000  # a file changed just now may change again within one tick
_ON_SHEET = 24


class ImageStore:
    """A folder of decoded images at training size, memory-mapped.

    Each image is decoded once, whatever its file is called and however often it is used:
    records are found by the content of the file. A renamed or copied file is not decoded
    again, a changed one is. Several processes may fill one store, and a killed one leaves
    it whole.

    Parameters
    ----------
    folder : str or PathLike
        Where the store is, or is to be. Stores of other settings may share the folder.
    size : int
        Side of the images, in pixels; see `asfusion.imaging.read_image`.
    channels : {1, 3}
        1 for grey, 3 for RGB.
    dtype : {"uint8", "uint16"}
        ``"uint16"`` keeps finer steps of grey of files that have them, at twice the room.

    Raises
    ------
    ConfigurationError
        If a parameter is unusable.
    StoreError
        If the folder cannot be made or written.

    Notes
    -----
    The store holds pixels, digests (SHA-256) of files, and their numbers and times on the
    disk; no names. The pixels are as confidential as the files. Each record has a checksum
    that is compared the first time a process reads it.

    Examples
    --------
    >>> import pathlib, tempfile, numpy as np
    >>> from PIL import Image
    >>> from asfusion.imaging import ImageStore
    >>> folder = tempfile.TemporaryDirectory()
    >>> files = [pathlib.Path(folder.name) / f"{i}.png" for i in range(3)]
    >>> for i, file in enumerate(files):
    ...     Image.fromarray(np.full((40, 30), 80 * i, dtype=np.uint8)).save(file)
    >>> store = ImageStore(pathlib.Path(folder.name) / "store", size=32)
    >>> rows = store.ingest([files[0], None, files[2]])
    >>> rows.tolist(), len(store)
    ([0, -1, 1], 2)
    >>> store.read(rows).shape
    (3, 1, 32, 32)
    >>> del store
    >>> folder.cleanup()
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        size: int = 224,
        channels: int = 1,
        dtype: Literal["uint8", "uint16"] = "uint8",
    ) -> None:
        self.size = check_integer(size, "size", minimum=1)
        if channels not in (1, 3) or isinstance(channels, bool):
            msg = f"channels: expected 1 (grey) or 3 (RGB), got {channels!r}."
            raise ConfigurationError(msg)
        self.channels = channels
        self.dtype = check_choice(dtype, "dtype", ("uint8", "uint16"))
        self.folder = Path(folder)
        self._recipe = _Recipe(str(self.folder.absolute()), self.size, channels, self.dtype)
        self._records = self._recipe.open()

    def ingest(
        self,
        paths: Iterable[Any],
        n_jobs: int | None = None,
        on_error: Literal["raise", "missing"] = "raise",
    ) -> NDArray[np.int64]:
        """Decode the images that are not in the store yet, and say where all of them are.

        Parameters
        ----------
        paths : iterable of str, PathLike or None
            N image files, such as a column of a data frame; None or NaN where there is no
            image.
        n_jobs : int, optional
            Processes of joblib that decode; one by default, -1 for all processors. Inside
            ``joblib.parallel_config(backend="dask")`` or ``"ray"`` a cluster decodes.
        on_error : {"raise", "missing"}
            What becomes of files that cannot be read: an error that names the position,
            or -1 with a warning that counts them.

        Returns
        -------
        ndarray of shape (N,), int64
            The row of each image in the store, -1 where there is none.

        Raises
        ------
        ImageReadError
            If a file cannot be read and `on_error` is ``"raise"``. Images that were decoded
            before it stay in the store.
        StoreError
            If the store cannot be written, for want of room for example.
        InputError
            If a cell is neither a path nor missing.

        Warns
        -----
        AsfusionWarning
            If records were damaged and were read again from their files.
        """
        check_choice(on_error, "on_error", ("raise", "missing"))
        rows, problems = self.find(paths, n_jobs, stop=on_error == "raise")
        if problems and on_error == "raise":
            position = min(problems)
            msg = (
                f"Image {position}: {problems[position]} Correct the path or the file, or pass "
                "on_error='missing' to do without it."
            )
            raise ImageReadError(msg)
        if problems:
            message = (
                f"{len(problems)} of {len(rows)} image file(s) cannot be read, and have row -1. "
                f"The first is image {min(problems)}: {problems[min(problems)]}"
            )
            warnings.warn(message, AsfusionWarning, stacklevel=2)
        return rows

    def find(
        self, paths: Iterable[Any], n_jobs: int | None = None, *, stop: bool = False
    ) -> tuple[NDArray[np.int64], dict[int, str]]:
        """Ingest what is missing; return rows, and what is wrong with files that have none.

        Parameters
        ----------
        paths : iterable of str, PathLike or None
            N image files, None or NaN where there is no image.
        n_jobs : int, optional
            Processes of joblib that decode.
        stop : bool
            Whether to stop at the first file that cannot be read.

        Returns
        -------
        rows : ndarray of shape (N,), int64
            Rows in the store, -1 where there is no image or no readable one.
        problems : dict of int to str
            By position, in words that show nothing of the file.
        """
        cells = image_cells(paths)
        self._records.refresh()
        digests: list[bytes | None] = [self._known(cell) for cell in cells]
        n_repaired = self._records.n_repaired
        self._drop_damaged(digests)
        open_ = [i for i, cell in enumerate(cells) if cell is not None and digests[i] is None]
        # A file that is named twice is read once.
        first: dict[str, int] = {}
        for i in open_:
            first.setdefault(str(cells[i]), i)
        problems: dict[int, str] = {}
        with closing(self._made(list(first), n_jobs)) as steps:
            for path, made in steps:
                digests[first[path]] = made.digest
                if made.problem is not None:
                    problems[first[path]] = made.problem
                    if stop:
                        break
        for i in open_:
            source = first[str(cells[i])]
            digests[i] = digests[source]
            if source in problems:
                problems[i] = problems[source]
        rows = [-1 if d is None else self._records.positions.get(d, -1) for d in digests]
        if self._records.n_repaired > n_repaired:
            n_repaired = self._records.n_repaired - n_repaired
            message = (
                f"ImageStore: {n_repaired} damaged record(s) were read again from their files. If "
                "this happens again, look at the disk."
            )
            warnings.warn(message, AsfusionWarning, stacklevel=3)
        return np.asarray(rows, dtype=np.int64), problems

    def read(self, rows: Any) -> NDArray[Any]:
        """Return images by row, or by path, in one index operation.

        Parameters
        ----------
        rows : array-like of int, or iterable of str, PathLike or None
            N rows as `ingest` returned them, -1 for no image; or N paths, which are
            ingested first where they are new.

        Returns
        -------
        ndarray of shape (N, channels, size, size), uint8 or uint16
            A copy, zeros where there is no image; `torch.from_numpy` takes it as it is.

        Raises
        ------
        InputError
            If a row is not in the store.
        StoreError
            If a record is damaged and only its row is known.
        ImageReadError
            If a file cannot be read.
        """
        positions = np.asarray(rows) if _are_rows(rows) else self.ingest(rows)
        positions = positions.astype(np.int64).reshape(-1)
        if len(positions) and int(positions.max()) >= len(self._records):
            self._records.refresh()
        n = len(self._records)
        if len(positions) and not -1 <= int(positions.min()) <= int(positions.max()) < n:
            msg = (
                f"rows: expected integers from -1 to {n - 1}, got others. Use what ingest returns."
            )
            raise InputError(msg)
        empty = positions < 0
        there = positions[~empty] if empty.any() else positions
        bad = self._records.damaged(there.tolist())
        if bad:
            self._raise_damaged(len(bad))
        if len(there) == len(positions):
            return self._records.take(positions)
        pixels = np.zeros((len(positions), *self._recipe.shape), dtype=self.dtype)
        pixels[~empty] = self._records.take(there)
        return pixels

    def verify(self) -> NDArray[np.int64]:
        """Compare every record with its checksum.

        Returns
        -------
        ndarray of int64
            Rows that are damaged. `ingest` of their files reads them again.
        """
        self._records.refresh()
        self._records.forget_checks()
        return np.asarray(self._records.damaged(range(len(self._records))), dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of images."""
        self._records.refresh()
        return len(self._records) - self._records.n_lost

    @property
    def info(self) -> dict[str, Any]:
        """Number of images, size (pixels), channels, dtype and room on the disk (bytes)."""
        return {
            "n_images": len(self),
            "size": self.size,
            "channels": self.channels,
            "dtype": self.dtype,
            "n_bytes": len(self._records) * self._records.record_bytes,
        }

    def __repr__(self) -> str:
        """Return the settings and the number of images."""
        return (
            f"<ImageStore of {len(self)} images, {self.channels} x {self.size} x {self.size} "
            f"{self.dtype}>"
        )

    def _repr_html_(self) -> str:
        """Return the settings and a sheet of the first images, for notebooks."""
        shown = range(min(len(self._records), _ON_SHEET))
        bad = set(self._records.damaged(shown))
        rows = [row for row in shown if row not in bad]
        pixels = self.read(rows)
        eight = (pixels >> 8).astype(np.uint8) if self.dtype == "uint16" else pixels
        megabytes = self.info["n_bytes"] / 1e6
        return sheet_html(
            eight,
            [str(row) for row in rows],
            f"{len(self)} images of {self.channels} x {self.size} x {self.size} {self.dtype}, "
            f"{megabytes:,.1f} MB" + (f"; the first {len(rows)}" if len(self) > len(rows) else ""),
        )

    # -- steps -------------------------------------------------------------------------

    def _known(self, cell: str | None) -> bytes | None:
        """Return the digest of a file that was seen before as it is now."""
        key = None if cell is None else _file_key(cell)
        digest = None if key is None else self._records.seen.get(key)
        return digest if digest in self._records.positions else None

    def _drop_damaged(self, digests: list[bytes | None]) -> None:
        """Forget digests whose records are damaged."""
        place = {d: self._records.positions[d] for d in digests if d is not None}
        bad = set(self._records.damaged(place.values()))
        for i, digest in enumerate(digests):
            if digest is not None and place[digest] in bad:
                digests[i] = None

    def _made(
        self, paths: list[str], n_jobs: int | None
    ) -> Generator[tuple[str, _Made], None, None]:
        """Yield each path with what became of it, once that is in the store."""
        from joblib import Parallel, delayed

        if not paths:
            return
        with steady_workers():
            results = Parallel(n_jobs=n_jobs, return_as="generator")(
                delayed(_make)(path, self._recipe) for path in paths
            )
            waiting: list[tuple[str, _Made]] = []
            begun = time.monotonic()
            try:
                made = progress(results, "Ingesting", total=len(paths), unit="file")
                for path, one in zip(paths, made, strict=True):
                    waiting.append((path, one))
                    late = time.monotonic() - begun > _BATCH_S
                    if len(waiting) >= _BATCH or late or one.problem is not None:
                        self._write(waiting)
                        yield from waiting
                        waiting, begun = [], time.monotonic()
            finally:
                results.close()
                self._write(waiting)  # also when interrupted: what is decoded is kept
        yield from waiting

    def _write(self, made: Sequence[tuple[str, _Made]]) -> None:
        pixels = {m.digest: m.pixels for _, m in made if m.digest and m.pixels is not None}
        files = {m.key: m.digest for _, m in made if m.digest and m.key is not None}
        if pixels or files:
            self._records.write(pixels, files)

    def _raise_damaged(self, n_bad: int) -> None:
        msg = (
            f"ImageStore: expected records as they were written, got {n_bad} damaged one(s). "
            "Ingest their files again: only damaged ones are decoded."
        )
        raise StoreError(msg)


# -- one file --------------------------------------------------------------------------


class _Recipe(NamedTuple):
    """What a process needs to decode for a store."""

    folder: str
    size: int
    channels: int
    dtype: str

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.size, self.size

    def open(self) -> Records:
        name = f"{self.dtype}-{self.channels}x{self.size}x{self.size}-r{_READER}"
        return Records(Path(self.folder) / name, self.shape, np.dtype(self.dtype))


class _Made(NamedTuple):
    """What became of one file: its digest, its pixels unless they were there, a problem."""

    digest: bytes | None = None
    pixels: NDArray[Any] | None = None
    key: FileKey | None = None
    problem: str | None = None


_records_of_process = lru_cache(maxsize=8)(_Recipe.open)


def _make(path: str, recipe: _Recipe) -> _Made:
    """Hash one file, and decode it unless a sound record of its content is there."""
    before = _file_key(path)
    try:
        if before is None:  # no file: in the reader's words
            read_pixels(path, recipe.size, recipe.channels)
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        known = _records_of_process(recipe).holds(digest)
        bits = 16 if recipe.dtype == "uint16" else 8
        pixels = None if known else read_pixels(path, recipe.size, recipe.channels, bits)
    except (ImageReadError, OSError) as error:
        words = str(error) if isinstance(error, ImageReadError) else "expected a readable file."
        return _Made(problem=words.removeprefix(WHO))
    if _file_key(path) != before:
        return _Made(problem="expected a file at rest, got one that changed while it was read.")
    settled = before is not None and time.time_ns() - max(before[3:]) > _SETTLED_NS
    return _Made(digest, pixels, before if settled else None)


def _file_key(path: str) -> FileKey | None:
    """Return what changes when a file does; None if there is none.

    The time of the last change of the entry, which nobody can set, is part of it: two
    files unpacked over one another may agree in all the rest.
    """
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    parts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return parts if all(0 <= part < 2**64 for part in parts) else None


# -- cells -----------------------------------------------------------------------------


def _are_rows(rows: Any) -> bool:
    """Return whether these are row numbers, not paths."""
    kind = getattr(getattr(rows, "dtype", None), "kind", None)
    if kind in ("i", "u"):
        return True
    if kind is not None or not isinstance(rows, Sequence) or isinstance(rows, str):
        return False
    return all(isinstance(row, int | np.integer) and not isinstance(row, bool) for row in rows)
