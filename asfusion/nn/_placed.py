"""Tensors on a device, and what the host knows of them without asking: an answer makes it wait."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Placed(dict[str, Tensor]):
    """Tensors on a device by name, and some of them as the host has them.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        On the device.
    known : mapping of str to Tensor
        The same on the CPU, where what is computed depends on what is in them.
    """

    def __init__(self, tensors: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        self.known = known


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on the device, by a copy that nobody waits for."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def placed(tensors: Mapping[str, Tensor], device: torch.device) -> Placed:
    """Return tensors of the host on the device; the host knows those of truth values."""
    if device.type == "cpu":
        return Placed(tensors, {})
    known = {name: tensor for name, tensor in tensors.items() if tensor.dtype == torch.bool}
    return Placed({name: sent(tensor, device) for name, tensor in tensors.items()}, known)


def known(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """Return a tensor as the host has it, where it has it, and else as it is."""
    host = tensors.known if isinstance(tensors, Placed) else {}
    return host.get(name, tensors[name])


def rows_of(tensors: Mapping[str, Tensor], rows: Tensor, where: Tensor) -> Placed:
    """Return some rows of tensors, by their positions on the host and on the device."""
    some = {name: tensor[where] for name, tensor in tensors.items()}
    host = tensors.known if isinstance(tensors, Placed) else {}
    return Placed(some, {name: tensor[rows] for name, tensor in host.items()})


def positions_there(mask: Tensor, device: torch.device) -> Tensor | None:
    """Return where a mask is true, counted through all its places; None if it is everywhere."""
    if bool(mask.all()):
        return None
    return sent(torch.nonzero(mask.flatten()).flatten(), device)
