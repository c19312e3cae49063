"""Randomness: one seed in, independent and repeatable streams out."""

from __future__ import annotations

import hashlib
import numbers
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from asfusion.exceptions import ConfigurationError

if TYPE_CHECKING:
    import torch

RandomState: TypeAlias = "int | np.random.RandomState | np.random.Generator | None"

_LIMIT = 2**31 - 1
_SEEDING = threading.RLock()


def draw_seed(random_state: RandomState) -> int:
    """Return one seed in ``[0, 2**31 - 1)``; an int seeds itself, None draws afresh."""
    if random_state is None:
        return int(np.random.default_rng().integers(_LIMIT))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(_LIMIT))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(_LIMIT))
    if isinstance(random_state, numbers.Integral) and int(random_state) >= 0:
        return int(random_state) % _LIMIT
    msg = (
        "random_state: expected None, a non-negative integer, or a numpy RandomState or "
        f"Generator, got {type(random_state).__name__}."
    )
    raise ConfigurationError(msg)


def derive_seed(seed: int, *keys: object) -> int:
    """Return a seed that depends on `seed` and `keys` alone.

    Streams named by keys (a fold, an epoch, a modality) stay the same whatever else
    draws random numbers, which is what lets a resumed run equal the straight one.
    """
    text = repr((seed, *keys)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") % _LIMIT


@contextmanager
def torch_seed(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators inside the block and restore them after it.

    Layers draw from generators that a process has once. So one thread at a time is inside such a
    block: others would draw from its stream, and it from theirs.
    """
    import torch

    kind = "cpu" if device is None else device.type
    with _SEEDING, torch.random.fork_rng(devices=[device] if kind == "cuda" else []):
        # `torch.manual_seed` notes the call stack for each kind of device that may come: as long
        # as an epoch over a small table takes.
        seeded = torch.default_generator.manual_seed if kind == "cpu" else torch.manual_seed
        seeded(seed)
        yield
