"""One run in several processes: each encodes a share of every batch, and all decide alike.

All ranks draw the same batches, hide the same modalities and blend the same rows. Each encodes
its share of a batch; tokens are gathered, and what follows encoders is computed by each rank from
the whole batch. So blending, losses that compare rows, and what a head does to a batch are those of
one process, and one sum of gradients makes one step of all of them.

Dimensions: B rows of a batch, T tokens, D width, W ranks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from asfusion._launch import launch
from asfusion._random import derive_seed, torch_seed
from asfusion._tokens import Prepared, Tokens
from asfusion.exceptions import ConfigurationError, OutOfMemoryError
from asfusion.nn._asked import Precision
from asfusion.nn._placed import Placed, known, placed, sent
from asfusion.nn._ranks import Ranks
from asfusion.nn.network import FusionNetwork, Inputs, Mix
from asfusion.training.rows import Batch, Rows, inputs_of
from asfusion.training.runner import Runner
from asfusion.training.settings import TrainingSettings
from asfusion.training.weights import learned_state


class RankRunner(Runner):
    """One of several processes that train one network.

    Parameters
    ----------
    ranks : Ranks
        All of them.
    device, dtype, precision, compiled
        As of `Runner`.
    """

    def __init__(
        self,
        ranks: Ranks,
        device: str,
        dtype: torch.dtype,
        precision: Precision = "float32",
        *,
        compiled: bool = False,
    ) -> None:
        super().__init__(device, dtype, precision, compiled=compiled)
        self.ranks = ranks
        self.writes = ranks.rank == 0
        self._passes, self._epoch_seed, self._share = 0, -1, 1.0
        _check_device(self.device)

    # -- a run -------------------------------------------------------------------------

    def begin(self, network: nn.Module, settings: TrainingSettings, parts: Iterable[Rows]) -> None:
        """Make sure that all learn the same thing, from the same weights."""
        shapes = {k: list(v.shape) for k, v in learned_state(network).items()}
        chosen = {k: v for k, v in asdict(settings).items() if k != "device"}
        digest = hashlib.sha256(json.dumps([chosen, shapes], sort_keys=True).encode())
        for rows in parts:
            digest.update(_outline(rows))
        self.ranks.check_same(digest.digest(), "rows, settings and networks")
        self.level(network)

    def level(self, network: nn.Module) -> None:
        """Take over the weights of the first rank."""
        for tensor in learned_state(network).values():
            self.ranks.first_(tensor.detach())

    def share_statistics(self, network: nn.Module) -> None:
        """Take the mean of what layers have noted of the rows that each saw."""
        with torch.no_grad():
            state = learned_state(network).values()
            for tensor in (t for t in state if not isinstance(t, nn.Parameter)):
                if tensor.is_floating_point():
                    tensor.copy_(self.ranks.sum_(tensor.clone()) / self.ranks.world)
                else:
                    self.ranks.first_(tensor)

    def agree(self, numbers: list[int], what: str) -> None:
        """Raise in all ranks unless they stand at the same place."""
        self.ranks.check_same(json.dumps(numbers).encode().ljust(64), what)

    # -- a step ------------------------------------------------------------------------

    def collate(self, modalities: Mapping[str, Prepared], rows: Tensor) -> Batch:
        """Return a batch with the contents of this rank's share, and the presence of all rows."""
        own, inputs = self._own(rows), {}
        for name, part in modalities.items():
            # What is embedded already costs nothing worth sharing.
            some = rows if part.is_embedded else own
            inputs[name] = inputs_of(part, some, part.present[some], self.device, self.dtype)
        present = {name: part.present[rows] for name, part in modalities.items()}
        return Batch(inputs, placed(present, self.device))

    def outputs(
        self,
        network: FusionNetwork,
        inputs: Mapping[str, Inputs | Tokens],
        present: Mapping[str, Tensor],
        mix: Mix | None = None,
    ) -> Tensor:
        """Return what the network says of the whole batch (B, K)."""
        n_rows = len(next(iter(present.values())))
        rows = torch.arange(n_rows)
        own = self._own(rows)
        self._share = len(own) * self.ranks.world / n_rows if len(own) < n_rows else 1.0
        with self._autocast():
            tokens = {
                name: network.encode_one(name, part, present)
                if isinstance(part, Tokens)
                else self._encode_own(network, name, part, present, own)
                for name, part in inputs.items()
            }
            if len(own) < n_rows:
                shared = [name for name, part in inputs.items() if not isinstance(part, Tokens)]
                tokens |= self._gathered({name: tokens[name] for name in shared}, n_rows)
            said = network.predict(tokens, mix)
        return said.to(self.dtype)

    def own_loss(self, network: FusionNetwork) -> Tensor | None:
        """Return the losses of encoders, by the share of rows that they saw, and of the head."""
        found = [(network.encoders[name], self._share) for name in network.encoders]
        losses = [
            share * loss
            for part, share in [*found, (network.fusion, 1.0)]
            if (loss := getattr(part, "auxiliary_loss", lambda: None)()) is not None
        ]
        return torch.stack(losses).sum() if losses else None

    def share_gradients(self, weights: list[Tensor]) -> None:
        """Take the mean of the gradients of all ranks; what none has a gradient of keeps none."""
        some = self.ranks.most([int(weight.grad is not None) for weight in weights])
        moved = [weight for weight, there in zip(weights, some, strict=True) if there]
        flat = [torch.zeros_like(w) if w.grad is None else w.grad for w in moved]
        whole = torch.cat([part.flatten() for part in flat])
        self.ranks.sum_(whole).div_(self.ranks.world)
        parts = torch.split(whole, [weight.numel() for weight in moved])
        for weight, part in zip(moved, parts, strict=True):
            weight.grad = part.view_as(weight)

    def out_of_memory(self, n_rows: int) -> None:
        """Raise: a batch that one rank takes in halves would leave the others waiting."""
        msg = (
            f"Memory ran out in one of {self.ranks.world} processes. Give a smaller batch_size "
            f"(now up to {n_rows} rows); several processes cannot halve it by themselves."
        )
        raise OutOfMemoryError(msg)

    def _own(self, rows: Tensor) -> Tensor:
        """Return this rank's share of a batch; all of one that has fewer rows than ranks."""
        return self.ranks.own(rows) if len(rows) >= self.ranks.world else rows

    def _encode_own(
        self,
        network: FusionNetwork,
        name: str,
        inputs: Inputs,
        present: Mapping[str, Tensor],
        own: Tensor,
    ) -> Tokens:
        """Return the tokens of this rank's rows, without touching the stream that all share."""
        where = sent(own, self.device)
        some = Placed({name: present[name][where]}, {name: known(present, name)[own]})
        with torch_seed(self._next_seed(), self.device):
            return network.encode_one(name, inputs, some)

    def _next_seed(self) -> int:
        seed = torch.initial_seed()  # of the epoch
        self._passes = 0 if seed != self._epoch_seed else self._passes + 1
        self._epoch_seed = seed
        return derive_seed(seed, "rank", self.ranks.rank, self._passes)

    def _gathered(self, tokens: Mapping[str, Tokens], n_rows: int) -> dict[str, Tokens]:
        """Return the tokens of all rows, as many as the longest row of any rank has."""
        if not tokens:
            return {}
        longest = self.ranks.most([part.mask.shape[1] for part in tokens.values()])
        found = {}
        for (name, (values, mask)), length in zip(tokens.items(), longest, strict=True):
            more = length - mask.shape[1]
            marked = torch.cat([values, mask.unsqueeze(2).to(values.dtype)], dim=2)
            marked = nn.functional.pad(marked, (0, 0, 0, more))
            whole: Tensor = _Gather.apply(marked, self.ranks, n_rows)  # type: ignore[no-untyped-call]
            found[name] = Tokens(whole[:, :, :-1], whole[:, :, -1].detach() > 0.5)
        return found


class _Gather(torch.autograd.Function):
    """Rows of all ranks in their order, and back to each the gradient of its own.

    Each rank has the gradient of the whole loss by its own rows; times W, so that the mean over
    ranks, which is right for what all compute, is right for encoders, too.
    """

    @staticmethod
    def forward(context: Any, own: Tensor, ranks: Ranks, n_rows: int) -> Tensor:
        context.ranks = ranks
        return ranks.interleave(own, n_rows)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        ranks: Ranks = context.ranks
        return ranks.own(gradients[0]) * ranks.world, None, None


def _outline(rows: Rows) -> bytes:
    """Return a hash of targets, weights, presence and shapes.

    Not of contents, which another kind of processor may have rounded otherwise.
    """
    digest = hashlib.sha256()
    parts = [rows.targets, rows.weights]
    for name, prepared in sorted(rows.modalities.items()):
        shapes = {key: list(value.shape[1:]) for key, value in prepared.tensors.items()}
        digest.update(json.dumps([name, shapes], sort_keys=True).encode())
        parts.append(prepared.present)
    for whole in parts:
        tensor = whole if rows.positions is None else whole[rows.positions]
        digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def _check_device(device: torch.device) -> None:
    """Raise unless each rank has a device of its own."""
    found = launch()
    assert found is not None
    own = device.type == "cpu" or (device.type == "cuda" and device.index == found.local_rank)
    if not own:
        msg = (
            f"device: expected 'auto' or 'cpu' with {found.world} processes, which gives each its "
            f"own card, got '{device}' in rank {found.rank}."
        )
        raise ConfigurationError(msg)
