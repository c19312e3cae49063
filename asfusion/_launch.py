"""Whether this process is one of several that `torchrun` has started, and which."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

_CLAIM = "_ASFUSION_RANK_PID"
_together: ContextVar[bool] = ContextVar("asfusion_ranks_together", default=False)


class Launch(NamedTuple):
    """What torchrun says of a process.

    Parameters
    ----------
    rank : int
        Number of this process among all.
    world : int
        Number of processes, at least two.
    local_rank : int
        Number of this process on its machine.
    """

    rank: int
    world: int
    local_rank: int


def launch() -> Launch | None:
    """Return which of torchrun's processes this is; None for any other, and for one alone.

    Processes that a rank starts (workers of joblib, decoders) inherit what torchrun said, but
    are none of its ranks: those are main processes, and the first to ask.
    """
    known = os.environ
    if "TORCHELASTIC_RUN_ID" not in known or int(known.get("WORLD_SIZE", "1")) < 2:
        return None
    if multiprocessing.current_process().name != "MainProcess":
        return None
    # Set for those that this process will start.
    if known.setdefault(_CLAIM, str(os.getpid())) != str(os.getpid()):
        return None
    return Launch(int(known["RANK"]), int(known["WORLD_SIZE"]), int(known["LOCAL_RANK"]))


def is_first() -> bool:
    """Return whether this process is the one that shows and writes; one alone is."""
    found = launch()
    return found is None or found.rank == 0


@contextmanager
def together() -> Iterator[None]:
    """Let the ranks of torchrun, if there are any, share the work inside the block."""
    token = _together.set(True)
    try:
        yield
    finally:
        _together.reset(token)


def shares_work() -> bool:
    """Return whether work is shared with other ranks: in one thread, as several have no order."""
    own = threading.current_thread() is threading.main_thread()
    return _together.get() and own and launch() is not None
