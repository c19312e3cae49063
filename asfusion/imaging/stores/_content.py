"""What stores of decoded files share: ingest once, find by content, heal what is damaged."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice
from asfusion._processes import side_by_side
from asfusion._progress import progress
from asfusion._warn import warn_user
from asfusion.exceptions import ImageReadError, InputError, StoreError
from asfusion.imaging._cells import image_cells
from asfusion.imaging._sheet import sheet_html
from asfusion.imaging.stores._records import FileKey, Records

_BATCH = 64  # records written at once; a killed ingest loses at most these
_BATCH_BYTES = 32 * 2**20
_BATCH_S = 5.0
_SETTLED_NS = 2_000_000_000  # a file changed just now may change again within one tick
_ON_SHEET = 24
_WHOLE = slice(None)


class Recipe(Protocol):
    """What a process needs to decode for a store; hashable, and small to send."""

    def __hash__(self) -> int: ...

    @property
    def who(self) -> str:
        """Start of the reader's messages, which the store's own replace."""
        ...

    def open(self) -> Records:
        """Return the records of these settings, and of no others."""
        ...

    def key(self, path: str) -> tuple[FileKey, int] | None:
        """Return what changes when the content does, and the newest time in it (ns).

        None if there is nothing at the path.
        """
        ...

    def digest(self, path: str) -> bytes:
        """Return 32 bytes that name the content."""
        ...

    def decode(self, path: str) -> NDArray[Any]:
        """Return one record, or raise `ImageReadError`."""
        ...


class ContentStore:
    """A folder of records decoded from files, memory-mapped and found by content.

    Parameters
    ----------
    folder : str or PathLike
        Where the store is, or is to be.
    recipe : Recipe
        How a path becomes a record.
    """

    _noun: ClassVar[str]  # one of the things stored, for messages
    _nouns: ClassVar[str]  # several of them, or one

    def __init__(self, folder: str | os.PathLike[str], recipe: Recipe) -> None:
        self.folder = Path(folder)
        self._recipe = recipe
        self._records = recipe.open()

    def ingest(
        self,
        paths: Iterable[Any],
        n_jobs: int | None = None,
        on_error: Literal["raise", "missing"] = "raise",
    ) -> NDArray[np.int64]:
        """Decode what is not in the store yet, and say where all of it is.

        Parameters
        ----------
        paths : iterable of str, PathLike or None
            N paths, such as a column of a data frame; None or NaN where there is nothing.
        n_jobs : int, optional
            Processes of joblib that decode; one by default, -1 for all processors. Inside
            ``joblib.parallel_config(backend="dask")`` or ``"ray"`` a cluster decodes.
        on_error : {"raise", "missing"}
            What becomes of paths that cannot be read: an error that names the position,
            or -1 with a warning that counts them.

        Returns
        -------
        ndarray of shape (N,), int64
            The row of each in the store, -1 where there is none.

        Raises
        ------
        ImageReadError
            If a path cannot be read and `on_error` is ``"raise"``; `DicomReadError` where a
            DICOM file is to blame. What was decoded before it stays in the store.
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
                f"{self._noun.capitalize()} {position}: {problems[position]} Correct the path or "
                "the file, or pass on_error='missing' to do without it."
            )
            raise type(problems[position])(msg)
        if problems:
            message = (
                f"{len(problems)} of {len(rows)} {self._nouns} cannot be read, and have row -1. "
                f"The first is {self._noun} {min(problems)}: {problems[min(problems)]}"
            )
            warn_user(message)
        return rows

    def find(
        self, paths: Iterable[Any], n_jobs: int | None = None, *, stop: bool = False
    ) -> tuple[NDArray[np.int64], dict[int, ImageReadError]]:
        """Ingest what is missing; return rows, and what is wrong with paths that have none.

        Parameters
        ----------
        paths : iterable of str, PathLike or None
            N paths, None or NaN where there is nothing.
        n_jobs : int, optional
            Processes of joblib that decode.
        stop : bool
            Whether to stop at the first path that cannot be read.

        Returns
        -------
        rows : ndarray of shape (N,), int64
            Rows in the store, -1 where there is nothing, or nothing readable.
        problems : dict of int to ImageReadError
            By position, in words that show nothing of the file.
        """
        cells = image_cells(paths)
        self._records.refresh()
        digests: list[bytes | None] = [self._known(cell) for cell in cells]
        n_repaired, n_rebuilt = self._records.n_repaired, self._records.n_rebuilt
        n_lost = sum(map(self._is_lost, cells))
        self._drop_damaged(digests)
        open_ = [i for i, cell in enumerate(cells) if cell is not None and digests[i] is None]
        # A file that is named twice is read once.
        first: dict[str, int] = {}
        for i in open_:
            first.setdefault(str(cells[i]), i)
        problems: dict[int, ImageReadError] = {}
        for paths, trust in self._rounds(first, digests):
            with closing(self._made(paths, n_jobs, trust)) as steps:
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
        n_rebuilt = self._records.n_rebuilt - n_rebuilt
        n_damaged = self._records.n_repaired - n_repaired + max(0, n_lost - n_rebuilt)
        if n_damaged:
            message = (
                f"{self._records.who}: {n_damaged} damaged record(s) were read again from their "
                "files. If this happens again, look at the disk."
            )
            warn_user(message)
        return self._rows_of(digests), problems

    def verify(self) -> NDArray[np.int64]:
        """Compare every record with its checksum.

        Returns
        -------
        ndarray of int64
            Rows that are damaged. `ingest` of their files reads them again. A row of which the
            pixels and the entry in the index are damaged stays so; its file gets another one.
        """
        self._records.look_again()
        return np.asarray(self._records.damaged(range(len(self._records))), dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of records."""
        self._records.refresh()
        return len(self._records) - self._records.n_lost

    # -- steps -------------------------------------------------------------------------

    def _sheet(self, pictures: Callable[[list[int]], NDArray[np.uint8]], what: str) -> str:
        """Return the first records, as `pictures` (N, C, H, W) of rows, as HTML."""
        shown = range(min(len(self._records), _ON_SHEET))
        bad = set(self._records.damaged(shown))
        rows = [row for row in shown if row not in bad]
        megabytes = len(self._records) * self._records.record_bytes / 1e6
        more = f"; the first {len(rows)}" if len(self) > len(rows) else ""
        title = f"{len(self)} {what}, {megabytes:,.1f} MB{more}"
        return sheet_html(pictures(rows), [str(row) for row in rows], title)

    def _take(self, rows: Any, part: slice = _WHOLE) -> NDArray[Any]:
        """Return records (N, ...) by row or path, zeros for row -1.

        `part` is what is wanted of the first axis of each record.
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
        taken = self._records.take(there, part)
        if len(there) == len(positions):
            return taken
        records = np.zeros((len(positions), *taken.shape[1:]), dtype=taken.dtype)
        records[~empty] = taken
        return records

    def _known(self, cell: str | None) -> bytes | None:
        """Return the digest of a file that was seen before as it is now."""
        found = None if cell is None else self._recipe.key(cell)
        digest = None if found is None else self._records.seen.get(found[0])
        return digest if digest in self._records.positions else None

    def _is_lost(self, cell: str | None) -> bool:
        """Return whether a file was stored as it is now, but the index does not know where."""
        found = None if cell is None else self._recipe.key(cell)
        digest = None if found is None else self._records.seen.get(found[0])
        return digest is not None and digest not in self._records.positions

    def _rounds(
        self, first: dict[str, int], digests: list[bytes | None]
    ) -> Iterator[tuple[list[str], bool]]:
        """Yield the paths to make; then those that are said to be stored, but are not.

        A process that wrote an entry goes on to believe in it after the index was damaged.
        """
        yield list(first), True
        self._records.refresh()
        known = self._records.positions
        made = {path: digests[i] for path, i in first.items()}
        yield [p for p, digest in made.items() if digest is not None and digest not in known], False

    def _drop_damaged(self, digests: list[bytes | None]) -> None:
        """Forget digests whose records are damaged."""
        place = {d: self._records.positions[d] for d in digests if d is not None}
        bad = set(self._records.damaged(place.values()))
        for i, digest in enumerate(digests):
            if digest is not None and place[digest] in bad:
                digests[i] = None

    def _rows_of(self, digests: Sequence[bytes | None]) -> NDArray[np.int64]:
        """Return rows by digest; what is stored must not look like what is missing."""
        places = self._records.positions
        if any(d is not None and d not in places for d in digests):
            self._records.refresh()  # another process wrote it meanwhile
            places = self._records.positions
        try:
            return np.asarray([-1 if d is None else places[d] for d in digests], dtype=np.int64)
        except KeyError:
            msg = (
                f"{self._records.who}: expected records to stay, got a store that was deleted "
                "while it was read. Ingest again."
            )
            raise StoreError(msg) from None

    def _made(
        self, paths: list[str], n_jobs: int | None, trust: bool
    ) -> Generator[tuple[str, _Made], None, None]:
        """Yield each path with what became of it, once that is in the store."""
        if not paths:
            return
        results = side_by_side(partial(_make if trust else _make_anew, self._recipe), paths, n_jobs)
        full = max(1, min(_BATCH, _BATCH_BYTES // self._records.record_bytes))
        waiting: list[tuple[str, _Made]] = []
        begun = time.monotonic()
        try:
            made = progress(results, "Ingesting", total=len(paths), unit=self._noun)
            for path, one in zip(paths, made, strict=True):
                waiting.append((path, one))
                late = time.monotonic() - begun > _BATCH_S
                if len(waiting) >= full or late or one.problem is not None:
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
            f"{self._records.who}: expected records as they were written, got {n_bad} damaged "
            "one(s). Ingest their files again, and use the rows that this returns: only damaged "
            "ones are decoded."
        )
        raise StoreError(msg)


# -- one path --------------------------------------------------------------------------


class _Made(NamedTuple):
    """What became of one path: its digest, its pixels unless they were there, a problem."""

    digest: bytes | None = None
    pixels: NDArray[Any] | None = None
    key: FileKey | None = None
    problem: ImageReadError | None = None


@lru_cache(maxsize=8)
def _records_of_process(recipe: Recipe) -> Records:
    return recipe.open()


def _make_anew(recipe: Recipe, path: str) -> _Made:
    """Do what `_make` does, after all that this process knows of stores is forgotten."""
    _records_of_process.cache_clear()
    return _make(recipe, path)


def _make(recipe: Recipe, path: str) -> _Made:
    """Hash one path, and decode it unless a sound record of its content is there."""
    before = recipe.key(path)
    try:
        if before is None:  # nothing there: in the reader's words
            recipe.decode(path)
        digest = recipe.digest(path)
        known = _records_of_process(recipe).holds(digest)
        pixels = None if known else recipe.decode(path)
    except ImageReadError as error:
        return _Made(problem=type(error)(str(error).removeprefix(recipe.who)))
    except OSError:
        return _Made(problem=ImageReadError("expected a readable file."))
    if recipe.key(path) != before:
        words = "expected a file at rest, got one that changed while it was read."
        return _Made(problem=ImageReadError(words))
    if before is None or time.time_ns() - before[1] <= _SETTLED_NS:
        return _Made(digest, pixels)
    return _Made(digest, pixels, before[0])


def file_key(status: os.stat_result) -> FileKey | None:
    """Return what changes when a file does; None if its numbers fit no key.

    The time of the last change of the entry, which nobody can set, is part of it: two
    files unpacked over one another may agree in all the rest.
    """
    parts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return parts if all(0 <= part < 2**64 for part in parts) else None


# -- cells -----------------------------------------------------------------------------


def key_of_file(path: str) -> tuple[FileKey, int] | None:
    """Return the key of a file and when it last changed, for `Recipe.key`."""
    try:
        key = file_key(Path(path).stat())
    except (OSError, ValueError):
        return None
    return None if key is None else (key, max(key[3:]))


def digest_of_file(path: str) -> bytes:
    """Return a name for what is in a file, for `Recipe.digest`."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _are_rows(rows: Any) -> bool:
    """Return whether these are row numbers, not paths."""
    kind = getattr(getattr(rows, "dtype", None), "kind", None)
    if kind in ("i", "u"):
        return True
    if kind is not None or not isinstance(rows, Sequence) or isinstance(rows, str):
        return False
    return all(isinstance(row, int | np.integer) and not isinstance(row, bool) for row in rows)
