"""What Flower runs for `asfusion federate`: it finds the files of the study in the environment.

Only these few lines travel to the hospitals as the app of the study; what they do there is the
asfusion that is installed there, on the hospital's own file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asfusion.cli._study import SiteFile, read_site, read_study
from asfusion.exceptions import AsfusionError, InputError

if TYPE_CHECKING:
    from asfusion.federated.site import Site

SITE, STUDY = "ASFUSION_SITE", "ASFUSION_STUDY"

PROJECT = """\
[project]
name = "asfusion-study"
version = "1.0.0"
dependencies = []

[tool.flwr.app]
publisher = "asfusion"

[tool.flwr.app.components]
serverapp = "at_the_server:app"
clientapp = "in_a_hospital:app"
"""
MODULES = {
    "pyproject.toml": PROJECT,
    "at_the_server.py": "from asfusion.cli import _federate_apps\n\n"
    "app = _federate_apps.at_the_server()\n",
    "in_a_hospital.py": "from asfusion.cli import _federate_apps\n\n"
    "app = _federate_apps.in_a_hospital()\n",
}


def at_the_server() -> Any:
    """Return the ServerApp of the study."""
    from asfusion.federated.flower import server_app

    study = read_study(Path(os.environ[STUDY]))
    return server_app(study.model, **study.settings)


def in_a_hospital() -> Any:
    """Return the ClientApp of the hospital whose file the environment names."""
    from asfusion.federated.flower import client_app

    own = read_site(Path(os.environ[SITE]))
    secure = bool(own.study.settings.get("secure", False))
    return client_app(lambda context: _site(own), ledger=own.ledger, secure=secure)


def _site(own: SiteFile) -> Site:
    """Return the hospital; why it cannot be made names files, and so is said here alone."""
    try:
        return own.site()
    except AsfusionError as error:
        print(f"asfusion federate client: {error}", file=sys.stderr)
        msg = "Site: expected rows that can be read, got none. The hospital's own log says why."
        raise InputError(msg) from None
