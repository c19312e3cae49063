"""Columns of files: the paths in them, what cannot be read, and several files at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from asfusion._frames import Frame
from asfusion._progress import progress, shown_by_caller
from asfusion.exceptions import ColumnError, ConfigurationError
from asfusion.imaging._cells import is_content
from asfusion.imaging._in_memory import Content

T = TypeVar("T")

FIX = " Correct the path or the file, or pass on_error='missing' to do without it."
_RELATIVE = {
    False: " The path is relative to the working directory: root= names another folder.",
    True: " The path is relative to root=.",
}
_THREADS = min(8, os.cpu_count() or 1)  # decoders release the interpreter lock

Root: TypeAlias = "str | os.PathLike[str] | None"
Film: TypeAlias = "str | Content"


def paths_of(
    frame: Frame, column: str, what: str = "image files", root: Root = None
) -> list[str | None]:
    """Return the cells of a column as paths, relative ones below `root`, None for none."""
    paths = frame.strings(column)
    kind = frame.kind(column)
    if kind not in ("text", "category") and any(path is not None for path in paths):
        msg = (
            f"Column {column!r}: expected paths to {what}, got a {kind} column. Use "
            "TabularEncoder for it."
        )
        raise ColumnError(msg)
    return [path if path is None or root is None else str(Path(root, path)) for path in paths]


def films_of(frame: Frame, column: str, root: Root = None) -> list[Film | None]:
    """Return the cells of a column as paths or as pictures that are in memory, None for none."""
    if frame.kind(column) != "text":
        return [*paths_of(frame, column, root=root)]
    cells, known = frame.cells(column), frame.known(column)
    return [
        _film(cell, column, row, root) if there else None
        for row, (cell, there) in enumerate(zip(cells, known, strict=True))
    ]


def as_film(cell: Any, root: Root) -> Film | None:
    """Return a cell as a path or as a picture that is in memory, None if it can be neither."""
    if isinstance(cell, str | os.PathLike):
        return str(cell if root is None else Path(root, cell))
    if is_content(cell):
        content: Content = cell
        return content
    return None


def _film(cell: Any, column: str, row: int, root: Root) -> Film:
    film = as_film(cell, root)
    if film is not None:
        return film
    msg = (
        f"Column {column!r}, row {row}: expected the path of an image file, its bytes, an array or "
        f"an image of Pillow, got {type(cell).__name__}. In polars, dtype=pl.Object keeps arrays."
    )
    raise ColumnError(msg)


def check_folder(folder: object, name: str) -> None:
    """Raise unless this names a folder, or none."""
    if folder is not None and not isinstance(folder, str | os.PathLike):
        msg = f"{name}: expected a path of a folder or None, got {type(folder).__name__}."
        raise ConfigurationError(msg)


def explain_file(column: str, row: int, problem: str, source: object, root: Root) -> str:
    """Return what is wrong with a row's file, by position: a path is patient data, too."""
    told = f"Column {column!r}, row {row}: {problem}"
    if not isinstance(source, str) or _exists(source):
        return told
    path = Path(source)
    is_relative = not path.is_absolute() if root is None else path.is_relative_to(root)
    return told + _RELATIVE[root is not None] * is_relative


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return True  # too long, or with a null byte: no folder would help


def in_threads(
    work: Callable[[Any], T], items: Sequence[Any], what: str, unit: str = "file"
) -> Any:
    """Yield ``work(item)`` in order, several at once; closing drops what has not begun."""
    if len(items) < 2:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(max_workers=_THREADS)
    try:
        results = pool.map(work, items)
        with shown_by_caller():
            shown = progress(results, what, total=len(items), unit=unit)
        yield from shown
    finally:
        pool.shutdown(cancel_futures=True)
