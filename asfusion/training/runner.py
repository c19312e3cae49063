"""Where a run computes, in which precision, and who writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from asfusion._tokens import Tokens
from asfusion.nn._device import resolve_device
from asfusion.nn.network import FusionNetwork, Inputs, Mix
from asfusion.training.options import Precision


class Runner:
    """One device in one process.

    The loop decides what is learned and when that ends; all that depends on where it runs, it
    asks a runner. Several devices, or a site among several, are another class with the same
    methods.

    Parameters
    ----------
    device : str
        ``"auto"``, or a torch device.
    dtype : torch.dtype
        Of weights and inputs.
    precision : {"auto", "float32", "bfloat16"}
        Of passes that are learned from; ``"auto"`` is bfloat16 on CUDA devices that have it.

    Attributes
    ----------
    device : torch.device
        Where batches are to be.
    dtype : torch.dtype
        Of weights and inputs.
    writes : bool
        Whether this process writes checkpoints.
    """

    writes = True

    def __init__(self, device: str, dtype: torch.dtype, precision: Precision = "float32") -> None:
        self.device = resolve_device(device)
        self.dtype = dtype
        self.precision = precision

    def place(self, network: nn.Module) -> None:
        """Move a network to where it computes; its weights stay the same objects."""
        network.to(device=self.device, dtype=self.dtype)

    def release(self, network: nn.Module) -> None:
        """Bring a network back to the CPU, ready to predict."""
        network.to("cpu").eval()

    @contextmanager
    def holding(self, network: nn.Module) -> Iterator[None]:
        """Let a network predict where it computes; it comes back also from an error."""
        try:
            self.place(network)
            network.eval()
            with torch.no_grad():
                yield
        finally:
            self.release(network)

    def outputs(
        self,
        network: FusionNetwork,
        inputs: Mapping[str, Inputs | Tokens],
        present: Mapping[str, Tensor],
        mix: Mix | None = None,
    ) -> Tensor:
        """Return what the network says of a batch (B, K), in `dtype`."""
        with self._autocast():
            said: Tensor = network(inputs, present, mix)
        return said.to(self.dtype)

    def backward(self, objective: Tensor) -> None:
        """Add the gradients of a loss to those that the weights have."""
        objective.backward()  # type: ignore[no-untyped-call]

    def free_memory(self) -> None:
        """Give back what the device holds for later, after memory ran out."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _autocast(self) -> AbstractContextManager[Any]:
        wanted = self.precision
        if wanted == "auto":
            capable = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
            wanted = "bfloat16" if capable and self.dtype == torch.float32 else "float32"
        if wanted == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return "not enough memory" in text or "can't allocate memory" in text
