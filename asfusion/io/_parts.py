"""Events as a folder of Parquet files, for more than memory holds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from asfusion._files import temporary_folder
from asfusion.exceptions import ConfigurationError

PART = 500_000  # events of one file


def free_folder(folder: Path) -> Path:
    """Return a folder to which events may be written.

    Raises
    ------
    ConfigurationError
        If it holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = (
            "to: expected a folder that is not there yet, or empty, got one that holds something. "
            "Choose another, or remove it."
        )
        raise ConfigurationError(msg)
    return folder


def written(parts: Iterator[pl.DataFrame], folder: Path, schema: Mapping[str, Any]) -> Path:
    """Write events to a folder that takes its name once all of them are in it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_folder(folder)
    try:
        for number, part in enumerate(_large(parts, schema)):
            part.write_parquet(temporary / f"part-{number:05d}.parquet")
        if folder.exists():
            folder.rmdir()
        temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder


def _large(parts: Iterator[pl.DataFrame], schema: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
    """Yield tables of a file's size, at least one."""
    held: list[pl.DataFrame] = []
    n = written = 0
    for part in parts:
        held.append(part)
        n += len(part)
        if n >= PART:
            yield pl.concat(held)
            held, n, written = [], 0, written + 1
    if held or not written:
        yield pl.concat(held) if held else pl.DataFrame(schema=schema)
