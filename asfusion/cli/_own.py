"""Classes of the user's own, named on the command line as ``module:Class``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any

from asfusion._checks import quoted
from asfusion._stubs import fusion_heads


def own_class(text: str) -> type:
    """Return the class that ``module:Class`` names; the module is imported, so its code runs.

    Modules of the working folder are found, as by ``python -m``.
    """
    module, _, name = text.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 (a string among strings)
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        found = None
    if not isinstance(found, type):
        msg = (
            f"expected the module and the name of a class, such as my_heads:LowRank, got {text!r}, "
            "which cannot be imported"
        )
        raise argparse.ArgumentTypeError(msg)
    return found


def fusion_head(text: str) -> Any:
    """Return the name of a fusion head, or a head of the user's own, made by its defaults."""
    if ":" in text:
        return own_class(text)()
    if text not in fusion_heads():
        msg = f"expected {quoted(fusion_heads(), 20)} or module:Class, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return text
