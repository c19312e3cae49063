"""Pages as a browser sees them after whatever runs in them has run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

NO_BROWSER = "no chromium binary; name one in $CHROMIUM"
_OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-quic", "--disable-sync", "--dump-dom",
]  # fmt: skip


def find_chromium() -> str | None:
    """Return the browser's binary, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def rendered(page: Path, profile: Path) -> str:
    """Return the document that a page has become."""
    command = [str(find_chromium()), *_OPTIONS, f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout
