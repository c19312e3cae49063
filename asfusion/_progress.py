"""Progress bars on long work, switched by whoever is in charge of the call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from asfusion._launch import is_first

T = TypeVar("T")

# None where no call that has a `verbose` is under way.
_shown: ContextVar[bool | None] = ContextVar("asfusion_progress_shown", default=None)
# What was told inside a block that tells once; None outside of any.
_told: ContextVar[list[str] | None] = ContextVar("asfusion_told", default=None)
_DELAY_S = 2.0  # short work shows nothing


@contextmanager
def progress_shown(shown: bool) -> Iterator[None]:
    """Show or hide every progress bar that opens inside the block."""
    token = _shown.set(shown and _shown.get() is not False)
    try:
        yield
    finally:
        _shown.reset(token)


@contextmanager
def shown_by_caller() -> Iterator[None]:
    """Hide bars inside the block unless a call around it shows them.

    An encoder has no `verbose`: by itself, as in a pipeline, it is silent.
    """
    with progress_shown(_shown.get() is True):
        yield


@contextmanager
def told_once(shown: bool) -> Iterator[None]:
    """Let `tell` print once in the block, or never: folds are many and say much the same."""
    outer = _told.get()
    token = _told.set(([] if shown else [""]) if outer is None else outer)
    try:
        yield
    finally:
        _told.reset(token)


def tell(text: str) -> None:
    """Print a text, unless something was told in this block before."""
    told = _told.get()
    if told or not is_first():
        return
    if told is not None:
        told.append(text)
    print(text)  # noqa: T201 (this is what is told)


def progress(items: Iterable[T], what: str, *, total: int | None = None, unit: str = "it") -> Any:
    """Return `items` with a progress bar that appears after two seconds."""
    from tqdm.auto import tqdm

    hidden = _shown.get() is False or not is_first()
    return tqdm(
        items, desc=what, total=total, unit=unit, disable=hidden, delay=_DELAY_S, leave=False
    )
