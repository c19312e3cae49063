"""Files that are there completely or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.tmp")


def write_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file so that a reader, or a crash, never meets half of it.

    The content goes to a temporary sibling, is forced to the disk, and takes the name in
    one step. If that fails, what was there before still is. Without `durable` nothing is
    forced to the disk, so that a power failure may leave an empty file: quicker, for files
    that can be made again.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    if durable:
        sync_folder(path.parent)


def clear_leftovers(path: Path) -> None:
    """Remove what writing to `path` left beside it when it was killed."""
    for entry in path.parent.iterdir():
        if temporary_of(entry.name) != path.name:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                entry.unlink()


def temporary_of(name: str) -> str | None:
    """Return the file that a temporary name stands in for; None for any other name."""
    found = _TEMPORARY.fullmatch(name)
    return found and found["name"]


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk, where the system can do that."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
