"""Start the clinician's page: Streamlit on this machine, without statistics or a look outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from asfusion._optional import import_optional
from asfusion.serving._answering import digest_at

SETTINGS = "ASFUSION_PAGE"
_APP = Path(__file__).with_name("_page_app.py")
# No usage statistics, no watch on files, no stack with values on the page, no menu that deploys.
_OPTIONS = {
    "browser.gatherUsageStats": "false",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "64",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
}


def run(
    path: Path,
    *,
    port: int,
    units: Mapping[str, str],
    patients: Path | None = None,
    background: Path | None = None,
    report: Path | None = None,
    finder: Path | None = None,
) -> int:
    """Show the page until told to stop, on the loopback address alone; return the exit status."""
    import_optional("streamlit", needed_for="page", extra="page")
    digest_at(path)  # or an error here, not on the page
    files = {"patients": patients, "background": background, "report": report, "finder": finder}
    named = {name: None if file is None else str(file.absolute()) for name, file in files.items()}
    settings = {"path": str(path.absolute()), "units": dict(units), **named}
    words = [sys.executable, "-m", "streamlit", "run", str(_APP)]
    options = {**_OPTIONS, "server.address": "127.0.0.1", "server.port": str(port)}
    words += [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(words, env={**os.environ, SETTINGS: json.dumps(settings)}, check=False)
    return done.returncode
