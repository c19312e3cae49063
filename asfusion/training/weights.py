"""What training changes of a network: as tensors, and as arrays that leave it and come back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asfusion._checks import quoted
from asfusion.exceptions import ShapeError


def learned_state(network: nn.Module) -> dict[str, Tensor]:
    """Return what training can change: parameters that learn, and buffers."""
    learned = {k: v for k, v in network.named_parameters() if v.requires_grad}
    persistent = network.state_dict(keep_vars=True)
    buffers = {k: v for k, v in persistent.items() if not isinstance(v, nn.Parameter)}
    return learned | buffers


def weights_of(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Return copies of what training can change, by name; what stays frozen is not among them."""
    return {k: v.detach().cpu().numpy().copy() for k, v in learned_state(network).items()}


def set_weights(network: nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Give a network what `weights_of` returned of one that was built alike.

    Parameters
    ----------
    network : nn.Module
        Takes over the values, and the precision that they have.
    weights : mapping of str to ndarray
        One array for each name that `weights_of` gives of `network`.

    Raises
    ------
    ShapeError
        If a name is missing or unknown, or an array has another shape.
    """
    own = {name: tuple(value.shape) for name, value in learned_state(network).items()}
    given = {name: np.shape(value) for name, value in weights.items()}
    odd = [name for name in own | given if own.get(name) != given.get(name)]
    if odd:
        msg = (
            f"Weights: expected those of a network built alike, got others for {quoted(odd)}. "
            "Build both from one plan."
        )
        raise ShapeError(msg)
    tensors = {name: torch.tensor(np.asarray(value)) for name, value in weights.items()}
    network.to(dtype=next(t.dtype for t in tensors.values() if t.is_floating_point()))
    network.load_state_dict(tensors, strict=False)


@contextmanager
def pulled(network: nn.Module, strength: float) -> Iterator[None]:
    """Add the gradient of a spring to each weight that learns: to where it is now."""

    def spring(weight: nn.Parameter) -> Any:
        start = weight.detach().clone()
        hook: Any = weight.register_hook
        return hook(lambda gradient: gradient + strength * (weight.detach() - start.to(weight)))

    weights = [p for p in network.parameters() if p.requires_grad] if strength else []
    hooks = [spring(weight) for weight in weights]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
