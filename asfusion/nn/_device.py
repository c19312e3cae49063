"""Where networks compute."""

from __future__ import annotations

import torch

from asfusion._launch import launch
from asfusion.exceptions import ConfigurationError


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; ``"auto"`` is CUDA where there is one, else the CPU.

    Of several processes that torchrun has started, each has the card of its own number.

    Raises
    ------
    ConfigurationError
        If the device does not exist here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    found = launch()
    if name == "cuda" and found is not None:
        name = f"cuda:{found.local_rank}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        msg = f"device: expected 'auto' or a torch device of this machine, got {name!r}."
        if found is not None:
            msg += " torchrun gives each process a card: start no more of them than there are."
        raise ConfigurationError(msg) from error
    return device
