"""Where a run computes, in which precision, and who writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from asfusion._tokens import Prepared, Tokens
from asfusion.nn._asked import Precision
from asfusion.nn._device import resolve_device
from asfusion.nn._passes import copies, passes
from asfusion.nn.network import EncoderNetwork, FusionNetwork, Inputs, Mix
from asfusion.training.rows import Batch, Rows, collate
from asfusion.training.settings import TrainingSettings


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
    precision : {"auto", "float32", "float64", "bfloat16"}
        Of passes that are learned from; ``"auto"`` is bfloat16 on CUDA devices that have it.
    compiled : bool
        Whether backbones that learn are compiled first.

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

    def __init__(
        self,
        device: str,
        dtype: torch.dtype,
        precision: Precision = "float32",
        *,
        compiled: bool = False,
    ) -> None:
        self.device = resolve_device(device)
        self.dtype = dtype
        self.precision = precision
        self.compiled = compiled

    # -- a network ---------------------------------------------------------------------

    def place(self, network: nn.Module) -> None:
        """Move a network to where it computes; its weights stay the same objects."""
        network.to(device=self.device, dtype=self.dtype)
        if self.compiled:
            for encoder in getattr(network, "encoders", {}).values():
                if isinstance(encoder, EncoderNetwork):
                    encoder.backbone.compile(dynamic=True)

    def release(self, network: nn.Module) -> None:
        """Bring a network back to the CPU, ready to predict."""
        for module in network.modules() if self.compiled else ():
            module._compiled_call_impl = None
        network.to("cpu").eval()

    @contextmanager
    def holding(self, network: nn.Module) -> Iterator[Any]:
        """Give a network that predicts where it computes: itself on a CPU, else a copy that stays.

        It comes back also from an error.
        """
        try:
            if self.device.type == "cpu":
                self.place(network)
                there = network.eval()
            else:
                there = copies.of(network, self.device, self.dtype)
            with torch.no_grad(), passes(self.device, self.precision):
                yield there
        finally:
            if self.device.type == "cpu":
                self.release(network)

    # -- a run -------------------------------------------------------------------------

    def begin(self, network: nn.Module, settings: TrainingSettings, parts: Iterable[Rows]) -> None:
        """Agree with others, where there are any, on what is to be learned."""

    def agree(self, numbers: list[int], what: str) -> None:
        """Agree with others on where a run stands."""

    def share_statistics(self, network: nn.Module) -> None:
        """Agree with others on what layers have noted of rows."""

    def level(self, network: nn.Module) -> None:
        """Agree with others on all that was learned."""

    # -- a step ------------------------------------------------------------------------

    def collate(self, modalities: Mapping[str, Prepared], rows: Tensor) -> Batch:
        """Return the given rows as a batch on the device."""
        return collate(modalities, rows, device=self.device, dtype=self.dtype)

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

    def own_loss(self, network: FusionNetwork) -> Tensor | None:
        """Return what encoders and head add to the loss of the last training pass, if anything."""
        return network.auxiliary_loss()

    def backward(self, objective: Tensor) -> None:
        """Add the gradients of a loss to those that the weights have."""
        objective.backward()  # type: ignore[no-untyped-call]

    def share_gradients(self, weights: list[Tensor]) -> None:
        """Add up what others have learned from their rows of a batch."""

    @property
    def wide(self) -> torch.dtype:
        """Precision in which losses are added up."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    def zero(self) -> Tensor:
        """Return a zero on the device to add losses to: one that is read makes the host wait."""
        return torch.zeros((), dtype=self.wide, device=self.device)

    def out_of_memory(self, n_rows: int) -> None:
        """Give back what the device holds for later, so that the batch can pass in halves."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _autocast(self) -> AbstractContextManager[Any]:
        wanted = self.precision
        if wanted == "auto":
            capable = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
            wanted = "bfloat16" if capable and self.dtype == torch.float32 else "auto"
        return passes(self.device, wanted)
