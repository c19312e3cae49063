"""The one answer to a part that no saved model has: it is unlike what save writes."""

from __future__ import annotations

from typing import Any


class Unlike(ValueError):
    """A part is not as it was written; the message names what, and never a value."""


class NamesCache(Unlike):
    """A part names a folder of pickles, which a later fit would read."""


def require(holds: Any, what: str) -> None:
    """Raise `Unlike` unless the condition holds."""
    if not holds:
        raise Unlike(what)
