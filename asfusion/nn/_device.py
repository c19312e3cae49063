"""Where networks compute."""

from __future__ import annotations

import torch

from asfusion.exceptions import ConfigurationError


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; ``"auto"`` is CUDA where there is one, else the CPU.

    Raises
    ------
    ConfigurationError
        If the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        msg = f"device: expected 'auto' or a torch device of this machine, got {name!r}."
        raise ConfigurationError(msg) from error
    return device
