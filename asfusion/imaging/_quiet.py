"""Silence for third-party readers, whose warnings and logs show what a header holds."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_LOGGERS = ("pydicom", "PIL")

_lock = threading.Lock()
_inside = 0
_undo = ExitStack()


@contextmanager
def quiet_readers() -> Iterator[None]:
    """Drop warnings and log records of pydicom and Pillow inside the block.

    A header with a bad date makes pydicom warn with the date, which is patient data.
    ``warnings.catch_warnings`` alone is not made for threads: the first thread that
    enters silences, the last that leaves restores.
    """
    global _inside, _undo
    with _lock:
        _inside += 1
        if _inside == 1:
            _undo = _silence()
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _undo.close()


def _silence() -> ExitStack:
    undo = ExitStack()
    undo.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    for name in _LOGGERS:
        logger, handler = logging.getLogger(name), logging.NullHandler()
        # A logger without any handler prints to stderr.
        logger.addHandler(handler)
        undo.callback(logger.removeHandler, handler)
        undo.callback(setattr, logger, "propagate", logger.propagate)
        logger.propagate = False
    return undo
