"""Progress bars on long work, switched by whoever is in charge of the call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

_shown: ContextVar[bool] = ContextVar("asfusion_progress_shown", default=True)
_DELAY_S = 2.0  # short work shows nothing


@contextmanager
def progress_shown(shown: bool) -> Iterator[None]:
    """Show or hide every progress bar that opens inside the block."""
    token = _shown.set(shown and _shown.get())
    try:
        yield
    finally:
        _shown.reset(token)


def progress(items: Iterable[T], what: str, *, total: int | None = None, unit: str = "it") -> Any:
    """Return `items` with a progress bar that appears after two seconds."""
    from tqdm.auto import tqdm

    hidden = not _shown.get()
    return tqdm(
        items, desc=what, total=total, unit=unit, disable=hidden, delay=_DELAY_S, leave=False
    )
