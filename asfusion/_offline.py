"""No network while a model is looked for on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Offline, and quiet, are states of the whole process: one thread at a time asks for a model.
ASKING = threading.RLock()


@contextmanager
def without_network() -> Iterator[None]:
    """Let the hub's client refuse every request inside the block.

    ``local_files_only`` alone does not: the client also asks for what it wants to know of its
    caller, and looks for a safer copy of weights in a thread of its own.
    """
    from huggingface_hub import constants

    with ASKING:
        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before
