"""Jobs for workers: a module of its own, which they import quickly."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np


def napped(seconds: float) -> int:
    """Return the number of the process."""
    time.sleep(seconds)
    return os.getpid()


def where(item: int, shared: tuple[np.ndarray, str]) -> tuple[int, bool, bool, int]:
    """Return the item, and whether its array is mapped, may be written to, and which it is."""
    array, _ = shared
    base: Any = array
    while isinstance(base, np.ndarray | memoryview) and not isinstance(base, np.memmap):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return item, isinstance(base, np.memmap), array.flags.writeable, id(array)


def dying(item: int, shared: tuple[Path, int]) -> int:
    """End the worker that is at the fifth item: once where the folder is so called, or always."""
    folder, here = shared
    time.sleep(0.02)
    if item == 5 and os.getpid() != here and not (folder / "died").exists():
        if folder.name == "once":
            (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item
