"""Cells of image columns: paths, and pictures themselves."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from asfusion.exceptions import InputError

# A scheme, as "https://"; of a drive of Windows, as "C:/", it has one letter.
_ADDRESS = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]+://")
NO_ADDRESS = (
    "expected the path of a file, got an address (URL), and no connection is opened. Fetch it "
    "first, as asfusion.io.fetch_series does from archives, and give the path."
)


def is_content(cell: object) -> bool:
    """Return whether a cell is a picture's content, not a path to it."""
    return isinstance(cell, bytes | bytearray | memoryview | np.ndarray) or is_pillow(cell)


def is_pillow(cell: object) -> bool:
    """Return whether a cell is an image of Pillow, without importing that."""
    return any(kind.__module__ == "PIL.Image" for kind in type(cell).__mro__)


def is_address(text: str) -> bool:
    """Return whether this names something on a network, not a file."""
    return "://" in text and _ADDRESS.match(text) is not None


def image_cells(paths: Iterable[Any]) -> list[str | None]:
    """Return paths as str, None where a cell is missing."""
    if isinstance(paths, str | bytes | os.PathLike):
        msg = "paths: expected several paths, such as a column or a list, got a single one."
        raise InputError(msg)
    shape = getattr(paths, "shape", ())
    if len(shape) > 1:
        # To walk along a table gives the names of its columns.
        msg = (
            f"paths: expected one column, got a table of {len(shape)} dimensions. Choose its "
            'column of paths, such as table["xray"].'
        )
        raise InputError(msg)
    return [_cell(i, value) for i, value in enumerate(paths)]


def _cell(position: int, value: Any) -> str | None:
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value) or None
        if path and is_address(path):
            raise InputError(f"paths, at {position}: {NO_ADDRESS}")
        return path
    if value is None or type(value).__name__ == "NAType" or value != value:
        return None
    msg = f"paths: expected paths or missing cells, got {type(value).__name__} at {position}."
    raise InputError(msg)
