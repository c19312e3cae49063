"""Encoders that learn before the targets do: modalities of one row are to be found by each other.

Dimensions: B rows of a batch, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from asfusion._progress import progress
from asfusion._random import derive_seed, torch_seed
from asfusion._tokens import Prepared, Tokens
from asfusion.exceptions import TrainingError
from asfusion.nn._placed import known, sent
from asfusion.nn.network import EncoderNetwork, FusionNetwork, Inputs
from asfusion.nn.optimizer import AdamW, clip_gradients
from asfusion.training.rows import Batch, batch_sizes, batches, collate, precision_of
from asfusion.training.runner import Runner
from asfusion.training.schedule import Schedule, parameter_groups
from asfusion.training.settings import TrainingSettings

_D_PROJECTED, _TEMPERATURE = 64, 0.1
_BATCH = 128  # of rows that cost little: each is told apart from all others of its batch


def pretrain(
    network: FusionNetwork,
    modalities: Mapping[str, Prepared],
    patients: Tensor,
    *,
    settings: TrainingSettings,
) -> list[dict[str, float]]:
    """Train the encoders of `network` in place, without targets [1]_.

    Of each two modalities, the vectors of one row are drawn together and those of different
    patients pushed apart. Features of tables are replaced in part by those of other rows [2]_;
    images are augmented as their encoder does it. It computes in full precision.

    Parameters
    ----------
    network : FusionNetwork
        Its encoders learn; fusion and output layer stay.
    modalities : mapping of str to Prepared
        N rows, with a target or without.
    patients : Tensor of shape (N,), int64
        Rows of one patient are never pushed apart.
    settings : TrainingSettings
        How to train.

    Returns
    -------
    list of dict
        ``epoch`` and ``loss`` of each epoch.

    Raises
    ------
    TrainingError
        If the loss becomes NaN or infinite.

    References
    ----------
    .. [1] Hager, Menten, Rueckert, "Best of Both Worlds: Multimodal Contrastive Learning with
       Tabular and Imaging Data", CVPR 2023. https://doi.org/10.48550/arXiv.2303.14080
    .. [2] Bahri et al., "SCARF: Self-Supervised Contrastive Learning using Random Feature
       Corruption", ICLR 2022. https://doi.org/10.48550/arXiv.2106.15147
    """
    runner = Runner(settings.device, precision_of(modalities, settings.precision))
    with torch_seed(derive_seed(settings.seed, "projections")):
        heads = nn.ModuleDict(
            {
                name: nn.Linear(cast(EncoderNetwork, encoder).d_out, _D_PROJECTED)
                for name, encoder in network.encoders.items()
            }
        )
    try:
        return _Pretraining(network, heads, modalities, patients, settings, runner).to_the_end()
    finally:
        runner.release(network)


class _Pretraining:
    """One run of it."""

    def __init__(
        self,
        network: FusionNetwork,
        heads: nn.ModuleDict,
        modalities: Mapping[str, Prepared],
        patients: Tensor,
        settings: TrainingSettings,
        runner: Runner,
    ) -> None:
        self.network, self.heads, self.modalities = network, heads, modalities
        self.patients, self.settings, self.runner = patients, settings, runner
        runner.place(network)
        runner.place(heads)
        rate = settings.learning_rate
        own = {id(p) for encoder in network.encoders.values() for p in encoder.parameters()}
        groups = parameter_groups(network, settings)
        for group in groups:
            group["params"] = [p for p in group["params"] if id(p) in own]
        groups.append({"params": list(heads.parameters()), "scale": 1.0, "weight_decay": 0.0})
        self.optimizer = AdamW([g for g in groups if g["params"]], lr=rate, fused=True)
        self.batch_size = min(settings.batch_size, _BATCH)
        self.n_batches = len(batch_sizes(len(patients), self.batch_size))
        self.schedule = Schedule(settings, self.n_batches, 0)

    def to_the_end(self) -> list[dict[str, float]]:
        """Run all epochs."""
        history = []
        epochs = range(self.settings.max_epochs)
        for epoch in progress(epochs, "Pretraining", total=len(epochs), unit="epoch"):
            seed = derive_seed(self.settings.seed, "pretraining", epoch)
            with torch_seed(seed, self.runner.device):
                loss = self._run_epoch(epoch)
            history.append({"epoch": float(epoch), "loss": loss})
        return history

    def _run_epoch(self, epoch: int) -> float:
        self.network.train()
        total, n_rows = self.runner.zero(), 0
        for step, rows in enumerate(batches(len(self.patients), self.batch_size)):
            for group in self.optimizer.param_groups:
                factor = self.schedule.rate(epoch * self.n_batches + step)
                group["lr"] = self.settings.learning_rate * group["scale"] * factor
            loss = self._loss_of(rows)
            if loss is None:
                continue
            self.optimizer.zero_grad(set_to_none=True)
            self.runner.backward(loss)
            learned = [p for group in self.optimizer.param_groups for p in group["params"]]
            clip_gradients(learned, self.settings.clip_norm)
            self.optimizer.step()
            total = total + loss.detach().to(total) * len(rows)
            n_rows += len(rows)
        mean = float(total) / max(1, n_rows)
        if not math.isfinite(mean):
            msg = (
                f"Pretraining diverged in epoch {epoch}: the loss is not finite. Lower "
                f"learning_rate (now {self.settings.learning_rate:g})."
            )
            raise TrainingError(msg)
        return mean

    def _loss_of(self, rows: Tensor) -> Tensor | None:
        device = self.runner.device
        batch = collate(self.modalities, rows, device=device, dtype=self.runner.dtype)
        tokens = self.network.encode(self._corrupted(batch), batch.present)
        vectors = {name: self.heads[name](part.pool()) for name, part in tokens.items()}
        patients = self.patients[rows].to(device)
        losses = [
            contrast(vectors[a][both], vectors[b][both], patients[both])
            for a, b in combinations(vectors, 2)
            if len(both := self._in_both(batch, a, b)) > 1
        ]
        return torch.stack(losses).mean() if losses else None

    def _in_both(self, batch: Batch, one: str, other: str) -> Tensor:
        rows = torch.nonzero(known(batch.present, one) & known(batch.present, other)).flatten()
        return sent(rows, self.runner.device)

    def _corrupted(self, batch: Batch) -> dict[str, Inputs | Tokens]:
        return {
            name: value
            if isinstance(value, Tokens)
            else self.network.encoders[name].backbone.corrupt(value, known(batch.present, name))  # type: ignore[union-attr, operator]
            for name, value in batch.inputs.items()
        }


def contrast(one: Tensor, other: Tensor, patients: Tensor) -> Tensor:
    """Return how badly rows of two modalities (B, D) are told apart by each other (InfoNCE).

    Other rows of a row's own patient are neither its partner nor a wrong one.
    """
    likeness = functional.normalize(one, dim=1) @ functional.normalize(other, dim=1).T
    own = torch.eye(len(one), dtype=torch.bool, device=one.device)
    kin = (patients[:, None] == patients[None, :]) & ~own
    logits = (likeness / _TEMPERATURE).masked_fill(kin, -torch.inf)
    truth = torch.arange(len(one), device=one.device)
    forth, back = (functional.cross_entropy(way, truth) for way in (logits, logits.T))
    return (forth + back) / 2
