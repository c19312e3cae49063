"""The processes of ``asfusion serve``: each makes its own application, of the same settings."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asfusion._optional import import_optional
from asfusion._tables import read_table
from asfusion.serving._telling import SEVERAL
from asfusion.serving.service import Limits, hosts_of, make_app

_SETTINGS = "ASFUSION_SERVE"
_GRACE_S = 30
_LATER = 64  # connections beyond those that may wait, which are told that it is busy


def run(
    path: Path,
    *,
    host: str,
    port: int,
    token: str | None,
    units: Mapping[str, str],
    background: Path | None,
    limits: Limits,
    workers: int,
) -> None:
    """Serve until told to stop: by SIGTERM or Ctrl-C, after what was asked is answered."""
    uvicorn: Any = import_optional("uvicorn", needed_for="serve", extra="serve")
    settings = {
        "path": str(path.absolute()),
        "token": token,
        "hosts": hosts_of(host),
        "units": dict(units),
        "background": None if background is None else str(background.absolute()),
        "limits": asdict(limits),
    }
    os.environ[_SETTINGS] = json.dumps(settings)
    with tempfile.TemporaryDirectory() as counts:
        if workers > 1:
            os.environ[SEVERAL] = counts
            # Each takes its share of the cores.
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
        uvicorn.run(
            f"{__name__}:app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=limits.waiting + _LATER,
            timeout_graceful_shutdown=_GRACE_S,
        )


def app() -> Any:
    """Return the application of this process."""
    settings = json.loads(os.environ[_SETTINGS])
    background = settings["background"]
    if background is not None:
        background = read_table(Path(background))
    return make_app(
        settings["path"],
        token=settings["token"],
        hosts=tuple(settings["hosts"]),
        units=settings["units"],
        background=background,
        limits=Limits(**settings["limits"]),
    )
