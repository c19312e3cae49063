"""Import of optional packages, with an error that says how to install them."""

from __future__ import annotations

import importlib
from types import ModuleType

from asfusion.exceptions import MissingDependencyError


def import_optional(module: str, *, needed_for: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra of asfusion brings it.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    needed_for : str
        What the user asked for, as the subject of the sentence.
    extra : str
        Name of the extra in asfusion's package metadata.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    MissingDependencyError
        If the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise  # installed, but one of its own imports fails: not ours to reword
        msg = (
            f"{needed_for} needs the package {module.split('.')[0]!r}, which is not installed. "
            f'Install it with: pip install "asfusion[{extra}]"'
        )
        raise MissingDependencyError(msg) from None
