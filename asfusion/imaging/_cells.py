"""Cells of image columns: paths, and pictures themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from asfusion.exceptions import InputError


def is_content(cell: object) -> bool:
    """Return whether a cell is a picture's content, not a path to it."""
    return isinstance(cell, bytes | bytearray | memoryview | np.ndarray) or is_pillow(cell)


def is_pillow(cell: object) -> bool:
    """Return whether a cell is an image of Pillow, without importing that."""
    return any(kind.__module__ == "PIL.Image" for kind in type(cell).__mro__)


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
        return os.fspath(value) or None
    if value is None or type(value).__name__ == "NAType" or value != value:
        return None
    msg = f"paths: expected paths or missing cells, got {type(value).__name__} at {position}."
    raise InputError(msg)
