"""Films as cells name them, and work on several of them at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from asfusion._progress import progress, shown_by_caller
from asfusion.imaging._cells import is_content
from asfusion.imaging._in_memory import Content

T = TypeVar("T")

_THREADS = min(8, os.cpu_count() or 1)  # decoders release the interpreter lock

Root: TypeAlias = "str | os.PathLike[str] | None"
Film: TypeAlias = "str | Content"


def as_film(cell: Any, root: Root) -> Film | None:
    """Return a cell as a path or as a picture that is in memory, None if it can be neither."""
    if isinstance(cell, str | os.PathLike):
        return str(cell if root is None else Path(root, cell))
    if is_content(cell):
        content: Content = cell
        return content
    return None


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
