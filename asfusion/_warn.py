"""Warnings in the name of the user's own line."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from types import FrameType

from asfusion.exceptions import AsfusionWarning

_PACKAGE = str(Path(__file__).parent) + os.sep

# What may stand between the user and the package, or between two calls of the package.
_BETWEEN = frozenset(
    {"captum", "concurrent", "contextlib", "functools", "joblib", "shap", "sklearn", "threading"}
    | {"torch"}
)


def warn_user(message: str, category: type[Warning] = AsfusionWarning) -> None:
    """Warn once for each line of the user that leads here, however deep the call.

    The line is the first outside the package and outside of the libraries that call it, such
    as a pipeline; in a process of its own, where nothing of the user is, the outermost line.
    """
    frame = _users_frame(sys._getframe())
    warnings.warn_explicit(
        message,
        category,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=frame.f_globals.get("__name__", "<unknown>"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _users_frame(frame: FrameType) -> FrameType:
    while _is_between(frame) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _is_between(frame: FrameType) -> bool:
    file, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))
    if file == "<string>":  # what `dataclass` writes
        return module.startswith("asfusion.")
    return file.startswith(_PACKAGE) or module.partition(".")[0] in _BETWEEN
