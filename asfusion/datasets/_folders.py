"""Folders for made files that nobody asked to keep."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def temporary_folder() -> Path:
    """Return a new folder that is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="asfusion-cohort-"))
    owner = os.getpid()

    def remove() -> None:
        # A forked child runs this too when it ends, and must not.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
