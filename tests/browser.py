"""Pages as a browser sees them after whatever runs in them has run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from PIL import Image

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


def screenshot(page: Path, picture: str, profile: Path, width: int, scheme: str) -> tuple[int, int]:
    """Return the size in pixels of the picture of a page in light or in dark, which is written.

    No window is narrower than 500 pixels: a page is drawn in a frame of the width asked for.
    """
    frame = page.with_name("frame.html")
    style = f"width:{width}px;height:2900px;border:0"
    frame.write_text(f'<body style="margin:0"><iframe src="{page.name}" style="{style}"></iframe>')
    command = [
        str(find_chromium()), *_OPTIONS[:-1], f"--user-data-dir={profile}",
        f"--window-size={max(width, 500)},2900", f"--screenshot={picture}",
        *(["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []),
        frame.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, check=True)
    with Image.open(picture) as shot:
        return shot.size
