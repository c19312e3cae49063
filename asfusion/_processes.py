"""What joblib's pools of processes need to last."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def steady_workers() -> Iterator[None]:
    """Let joblib replace a worker inside the block, also where warnings are errors.

    A worker that has grown, or that idled for long, leaves and another starts. The thread
    that sees to it warns; made an error, that warning ends the thread, and whoever waits for
    the pool waits for ever.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        yield
