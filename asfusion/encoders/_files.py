"""Columns of files: the paths in them, what cannot be read, and several files at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from asfusion._frames import Frame
from asfusion._progress import progress, shown_by_caller
from asfusion.exceptions import ColumnError, ConfigurationError, ImageReadError

T = TypeVar("T")

FIX = " Correct the path or the file, or pass on_error='missing' to do without it."
_THREADS = min(8, os.cpu_count() or 1)  # decoders release the interpreter lock


def paths_of(frame: Frame, column: str, what: str = "image files") -> list[str | None]:
    """Return the cells of a column as paths, None where there is none."""
    paths = frame.strings(column)
    kind = frame.kind(column)
    if kind not in ("text", "category") and any(path is not None for path in paths):
        msg = (
            f"Column {column!r}: expected paths to {what}, got a {kind} column. Use "
            "TabularEncoder for it."
        )
        raise ColumnError(msg)
    return paths


def check_folder(folder: object, name: str) -> None:
    """Raise unless this names a folder, or none."""
    if folder is not None and not isinstance(folder, str | os.PathLike):
        msg = f"{name}: expected a path of a folder or None, got {type(folder).__name__}."
        raise ConfigurationError(msg)


def explain_file(column: str, row: int, error: ImageReadError, who: str) -> str:
    """Return what is wrong with a row's file, by position: a path is patient data, too."""
    return f"Column {column!r}, row {row}: {str(error).removeprefix(who)}"


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
