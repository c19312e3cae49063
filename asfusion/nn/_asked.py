"""The precision that frozen backbones were asked to compute in; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, TypeAlias

Precision: TypeAlias = Literal["auto", "float32", "float64", "bfloat16"]

_asked: ContextVar[Precision] = ContextVar("asfusion_precision", default="auto")


@contextmanager
def precision_asked(precision: Precision) -> Iterator[None]:
    """Let frozen backbones compute in a precision inside the block."""
    token = _asked.set(precision)
    try:
        yield
    finally:
        _asked.reset(token)


def asked_precision() -> Precision:
    """Return the precision that a call around this one asked for."""
    return _asked.get()
