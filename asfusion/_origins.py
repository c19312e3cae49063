"""Where rows of a part of a table stand in the whole, for messages: the user counts there."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Tables that are parts of others, and the row of each of their rows there, while they live.
_taken: dict[int, tuple[weakref.ref[Any], NDArray[np.int64]]] = {}


def as_part(part: Any, whole: Any, rows: NDArray[np.int64]) -> Any:
    """Return rows of a table that somebody took, known to be those of the whole."""
    if not hasattr(part, "columns"):
        return part
    origin = origin_of(whole)
    return remembered(part, rows if origin is None else origin[rows])


def remembered(native: Any, origin: NDArray[np.int64]) -> Any:
    """Return a table, whose rows are known by where they stand in another from now on."""
    key = id(native)
    _taken[key] = weakref.ref(native, lambda _: _taken.pop(key, None)), origin
    return native


def origin_of(native: Any) -> NDArray[np.int64] | None:
    """Return the `origin` of a table that is a part, None of any other."""
    known, origin = _taken.get(id(native), (None, None))
    return origin if known is not None and known() is native else None
