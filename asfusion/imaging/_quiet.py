"""Silence for third-party readers, whose warnings and logs show what a header holds."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_READERS = ("pydicom", "PIL", "nibabel", "dicognito", "pynetdicom")

_lock = threading.Lock()
_thread = threading.local()
_n_modules = 0


@contextmanager
def quiet_readers() -> Iterator[None]:
    """Drop warnings and log records that readers make in this thread inside the block.

    A header with a bad date makes pydicom warn with the date, which is patient data. The
    filters of `warnings` belong to the whole process: whoever changes them in one thread
    undoes what another one did, and leaves behind what was to hold for a moment. So they
    stay as they are, and it is the readers that get another `warnings`, deaf inside the block.
    """
    _reach_readers()
    depth = getattr(_thread, "depth", 0)
    _thread.depth = depth + 1
    try:
        # What numpy says of values is no matter of warnings to a thread either.
        with np.errstate(all="ignore"):
            yield
    finally:
        _thread.depth = depth


def _is_inside() -> bool:
    return getattr(_thread, "depth", 0) > 0


def _drop(*_: Any, **__: Any) -> None:
    """Take a warning and do nothing."""


class _Warnings:
    """What readers have for the module `warnings`."""

    def __getattr__(self, name: str) -> Any:
        if name in ("warn", "warn_explicit") and _is_inside():
            return _drop
        # The function itself, so that it counts its callers as ever.
        return getattr(warnings, name)


class _Filter(logging.Filter):
    """Lets a record of a reader pass unless its thread is inside."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _is_inside()


_warnings = _Warnings()
_filter = _Filter()


def _reach_readers() -> None:
    """Put `_warnings` and `_filter` into what is imported of the readers, once each."""
    global _n_modules
    # Imported now, not inside the block, where their first words would be heard.
    import pydicom.pixels  # noqa: F401
    from PIL import JpegImagePlugin, PngImagePlugin, TiffImagePlugin  # noqa: F401

    if len(sys.modules) == _n_modules:
        return
    with _lock:
        for name, module in list(sys.modules.items()):
            if _is_readers(name) and getattr(module, "warnings", None) is warnings:
                setattr(module, "warnings", _warnings)  # noqa: B010 - a module of any kind
        for name in [*_READERS, *logging.root.manager.loggerDict]:
            if _is_readers(name):
                logging.getLogger(name).addFilter(_filter)
        _n_modules = len(sys.modules)


def _is_readers(name: str) -> bool:
    return name.partition(".")[0] in _READERS
