"""Columns of files: the paths in them, and what cannot be read."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asfusion._frames import Frame
from asfusion.exceptions import ColumnError, ConfigurationError
from asfusion.imaging._cells import NO_ADDRESS, is_address
from asfusion.imaging._films import Film, Root, as_film

FIX = " Correct the path or the file, or pass on_error='missing' to do without it."
_BY_PARAMETERS = re.compile(r"\s[^.]*\b(?:on_error|root)=.*", re.DOTALL)
_RELATIVE = {
    False: " The path is relative to the working directory: root= names another folder.",
    True: " The path is relative to root=.",
}


def with_fix(told: str, fix: str) -> str:
    """Return the words of an error with another fix than the parameters of an encoder."""
    return _BY_PARAMETERS.sub(fix, told)


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
    _refuse_addresses(frame, column, paths)
    return [path if path is None or root is None else str(Path(root, path)) for path in paths]


def films_of(frame: Frame, column: str, root: Root = None) -> list[Film | None]:
    """Return the cells of a column as paths or as pictures that are in memory, None for none."""
    if frame.kind(column) != "text":
        return [*paths_of(frame, column, root=root)]
    cells, known = frame.cells(column), frame.known(column)
    _refuse_addresses(frame, column, [cell if isinstance(cell, str) else None for cell in cells])
    return [
        _film(cell, column, row, root) if there else None
        for row, cell, there in zip(frame.origin.tolist(), cells, known, strict=True)
    ]


def _refuse_addresses(frame: Frame, column: str, paths: Sequence[str | None]) -> None:
    for row, path in zip(frame.origin.tolist(), paths, strict=True):
        if path is not None and is_address(path):
            raise ColumnError(f"Column {column!r}, row {row}: {NO_ADDRESS}")


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
