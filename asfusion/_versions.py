"""What is installed, for bug reports."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys

from asfusion._version import __version__


def show_versions() -> None:
    """Print the versions that a bug report should carry.

    Nothing of the user is printed: no path, no host name, no environment variable.

    Examples
    --------
    >>> import asfusion
    >>> asfusion.show_versions()  # doctest: +ELLIPSIS
    asfusion ...
    """
    rows = {"asfusion": __version__, **_platform(), **_packages()}
    width = max(len(name) for name in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows.items()]
    sys.stdout.write("\n".join(lines) + "\n")


def _platform() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "accelerator": _accelerator(),
    }


def _accelerator() -> str:
    """Return what torch would compute on, in torch's words."""
    import torch

    if torch.cuda.is_available():
        return f"cuda {torch.version.cuda}, {torch.cuda.device_count()} device(s)"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _packages() -> dict[str, str]:
    """Return the installed version of each package that asfusion can use at run time."""
    try:
        declared = importlib.metadata.requires("asfusion") or []
    except importlib.metadata.PackageNotFoundError:
        return {}  # imported from a folder of sources that was never installed
    used = [line for line in declared if not re.search(r"extra == .(docs|test)", line)]
    names = sorted({re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in used})
    return {name: _version_of(name) for name in names}


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
