"""The training loop: AdamW, schedules, clipping, averaging, early stopping, resuming.

Everything random in an epoch is seeded by the run's seed and the epoch's number, so a
run that is killed and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asfusion._progress import progress
from asfusion._random import derive_seed, torch_seed
from asfusion._tokens import Tokens
from asfusion.exceptions import CheckpointError, OutOfMemoryError, TrainingError
from asfusion.nn._passes import is_out_of_memory
from asfusion.nn._placed import Placed, placed, sent
from asfusion.nn._ranks import ranks
from asfusion.nn.network import FusionNetwork, Inputs, Mix
from asfusion.nn.optimizer import AdamW, clip_gradients
from asfusion.training.apart import LossWeights, losses_apart
from asfusion.training.averaging import WeightAverage, fresh_statistics
from asfusion.training.checkpoint import read_checkpoint, write_checkpoint
from asfusion.training.feed import Feed
from asfusion.training.halves import PREDICT_BATCH
from asfusion.training.losses import RowLoss, more_is_not_worse
from asfusion.training.ranks import RankRunner
from asfusion.training.rows import (
    Rows,
    batch_sizes,
    drop_modalities,
    fewer_modalities,
    precision_of,
    rows_per_pass,
)
from asfusion.training.runner import Runner
from asfusion.training.schedule import Schedule, can_wait, parameter_groups
from asfusion.training.settings import TrainingSettings
from asfusion.training.weights import learned_state

_MODEL, _BEST, _AVERAGE, _OPTIMIZER = "model.", "best.", "average.", "optimizer."


@dataclass
class Progress:
    """Where a run stands between two epochs; everything else is in tensors."""

    epoch: int = 0
    best_loss: float | None = None
    best_epoch: int = -1
    finished: bool = False
    micro_batch: int = 0
    n_averaged: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    network: FusionNetwork,
    rows: Rows,
    validation: Rows | None,
    *,
    loss: RowLoss,
    settings: TrainingSettings,
    checkpoint: Path | None = None,
    resume: bool = False,
    runner: Runner | None = None,
    weights: LossWeights | None = None,
) -> list[dict[str, float]]:
    """Train `network` in place.

    Parameters
    ----------
    network : FusionNetwork
        It learns from where its weights are, and is left on the CPU, in evaluation mode, with
        the weights of the best epoch (the last one without validation rows), or with their
        average; after an error, too, with those that it had then.
    rows, validation : Rows
        Training rows, and the rows whose loss decides when to stop, if any.
    loss : callable
        Outputs and targets to one loss per row.
    settings : TrainingSettings
        How to train.
    checkpoint : Path, optional
        File that always holds a complete checkpoint once the first was written.
    resume : bool
        Whether to go on from `checkpoint` if it exists.
    runner : Runner, optional
        Where it computes; one on the device of the settings by default.
    weights : LossWeights, optional
        How much the loss of the fused outputs and of those of each modality count; by default
        as the settings have it.

    Returns
    -------
    list of dict
        One record per epoch: ``epoch``, ``loss``, ``validation_loss`` (if any),
        ``learning_rate``.

    Raises
    ------
    TrainingError
        If the loss becomes NaN or infinite.
    OutOfMemoryError
        If memory runs out even at one row per pass.
    CheckpointError
        If `checkpoint` is damaged or belongs to another run.
    """
    dtype = precision_of(rows.modalities, settings.precision)
    runner = runner or runner_of(settings, dtype)
    try:
        run = _Run(
            network, rows, validation, loss=loss, settings=settings, runner=runner, weights=weights
        )
        network.keeps_apart = bool(run.weights.unimodal)
        if checkpoint is not None and resume and checkpoint.exists():
            run.restore(*read_checkpoint(checkpoint))
        run.begin()
        run.to_the_end(checkpoint)
    finally:
        network.keeps_apart, network.apart = False, {}
        runner.release(network)
    return run.at.history


def runner_of(settings: TrainingSettings, dtype: torch.dtype) -> Runner:
    """Return where a run computes: on one device, or on those of all ranks of torchrun."""
    chosen = settings.device, dtype, settings.precision
    others = ranks()
    if others is None:
        return Runner(*chosen, compiled=settings.compile)
    return RankRunner(others, *chosen, compiled=settings.compile)


class _Run:
    """One run: the state that an epoch reads and changes."""

    def __init__(
        self,
        network: FusionNetwork,
        rows: Rows,
        validation: Rows | None,
        *,
        loss: RowLoss,
        settings: TrainingSettings,
        runner: Runner,
        weights: LossWeights | None = None,
    ) -> None:
        self.network, self.rows, self.validation = network, rows, validation
        self.loss, self.settings, self.runner = loss, settings, runner
        self.feed = Feed(rows, runner)
        self.is_weighted = bool((rows.weights != 1.0).any())
        self.mixup = settings.mixup_of(len(network.blended))
        self.weights = weights or LossWeights.of(settings, network.blended)
        runner.place(network)
        self.optimizer = AdamW(
            parameter_groups(network, settings), lr=settings.learning_rate, fused=True
        )
        self.n_batches = len(batch_sizes(len(rows), settings.batch_size))
        waiting = any(can_wait(encoder) for encoder in network.encoders.values())
        self.schedule = Schedule(settings, self.n_batches, settings.head_first * waiting)
        self.average = (
            WeightAverage(settings.average_weights, lambda: learned_state(network))
            if settings.average_weights
            else None
        )
        self.best: dict[str, Tensor] = {}
        self.at = Progress(micro_batch=settings.batch_size)

    def begin(self) -> None:
        """See that all who learn together start at the same place, with the same rows."""
        parts = [self.rows] if self.validation is None else [self.rows, self.validation]
        self.runner.begin(self.network, self.settings, parts)
        self.runner.agree([self.at.epoch], "checkpoint")

    def to_the_end(self, checkpoint: Path | None) -> None:
        """Run the epochs that are left."""
        written = -math.inf
        epochs = range(self.at.epoch, 0 if self.at.finished else self.settings.max_epochs)
        bar = progress(epochs, "Training", total=len(epochs), unit="epoch")
        for epoch in bar:
            record = self.run_epoch(epoch)
            shown = {key: f"{value:.3g}" for key, value in record.items() if key != "epoch"}
            bar.set_postfix(shown, refresh=False)  # a refresh would end the delay
            due = time.monotonic() - written >= self.settings.checkpoint_every_s
            if checkpoint is not None and self.runner.writes and (due or self.at.finished):
                self.save(checkpoint)
                written = time.monotonic()
            if self.at.finished:
                break
        bar.close()
        self._keep_the_best()
        self.runner.level(self.network)

    def _keep_the_best(self) -> None:
        """Leave the network with the weights of the best epoch, or their average."""
        average = self.average.tensors if self.average is not None else {}
        is_swa = self.average is not None and self.average.kind == "swa"
        chosen = average if is_swa else self.best or average
        self.network.load_state_dict(chosen, strict=False)
        if is_swa and average:
            self._refresh_statistics()

    def _refresh_statistics(self) -> None:
        """Let an average of weights see the training rows once."""
        seed = derive_seed(self.settings.seed, "statistics")
        with torch_seed(seed, self.runner.device), fresh_statistics(self.network) as needed:
            for part in self.rows.batches(self.settings.batch_size) if needed else ():
                self._loss_of(self.rows, part)
            self.runner.share_statistics(self.network)

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch, judge it, and return its record."""
        seed = derive_seed(self.settings.seed, "epoch", epoch)
        with torch_seed(seed, self.runner.device):
            mean_loss = self._learn(epoch)
        self.runner.share_statistics(self.network)
        record = {"epoch": float(epoch), "loss": mean_loss}
        if self.average is not None and self._averages(epoch):
            self.average.add()
        if self.validation is not None:
            record["validation_loss"] = self._judge_and_remember(epoch, self.validation)
        record["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        self.at.history.append(record)
        self.at.epoch = epoch + 1
        waited = (
            self.validation is not None
            and epoch - self.at.best_epoch >= self.settings.patience
            and self.schedule.side(epoch) == 1.0
            and self.settings.average_weights != "swa"  # which needs the last epochs
        )
        self.at.finished = waited or self.at.epoch >= self.settings.max_epochs
        return record

    def _averages(self, epoch: int) -> bool:
        """Return whether the weights at the end of an epoch enter the average."""
        swa = self.average is not None and self.average.kind == "swa"
        return swa and epoch >= self.schedule.averages_from

    def _learn(self, epoch: int) -> float:
        for encoder in self.network.encoders.values():
            if can_wait(encoder):
                encoder.waits = epoch < self.schedule.head_epochs  # type: ignore[assignment]
        self.network.train()
        total, side = self.runner.zero(), self.schedule.side(epoch)
        parts = self.feed.ahead(self.rows.batches(self.settings.batch_size))
        for step, batch in enumerate(parts):
            self._set_rate(epoch * self.n_batches + step)
            total += self._step(batch, side=side) * len(batch)
        mean_loss = float(total) / len(self.rows)  # the one answer that an epoch waits for
        if not math.isfinite(mean_loss):
            msg = (
                f"Training diverged in epoch {epoch}: the loss is not finite. Lower learning_rate "
                f"(now {self.settings.learning_rate:g}) and check the columns for extreme values."
            )
            raise TrainingError(msg)
        return mean_loss

    def _set_rate(self, step: int) -> None:
        factor, momentum = self.schedule.rate(step), self.schedule.momentum(step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * group["scale"] * factor
            group["betas"] = (momentum, group["betas"][1])

    def _step(self, batch: Tensor, *, side: float) -> Tensor:
        """Take one step; when memory runs out, pass the batch in halves and sum gradients."""
        while True:
            try:
                value = self._accumulate(batch, side)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(len(batch))
        learned = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.runner.share_gradients(learned)
        clip_gradients(learned, self.settings.clip_norm)
        self.optimizer.step()
        if self.average is not None and self.average.kind == "ema":
            self.average.add()
        return value

    def _accumulate(self, batch: Tensor, side: float) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        total = None
        whole = len(batch) <= self.at.micro_batch
        for part in [batch] if whole else torch.split(batch, self.at.micro_batch):
            value = self._loss_of(
                self.rows,
                part,
                drop=self.settings.modality_dropout,
                side=side,
                mix=draw_mix(len(part), self.mixup, self.runner.device),
                ranks=self.settings.objective is not None,
            )
            extra = self.runner.own_loss(self.network)
            objective = value if extra is None else value + extra
            wide = value.detach().to(self.runner.wide)
            if not whole:
                share = len(part) / len(batch)
                objective, wide = objective * share, wide * share
            self.runner.backward(objective)
            total = wide if total is None else total + wide
        assert total is not None  # a batch has rows
        return total

    def _shrink(self, n_rows: int) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.network.apart = {}  # it holds on to the whole pass
        self.runner.out_of_memory(n_rows)
        self.at.micro_batch = min(self.at.micro_batch, n_rows) // 2
        if self.at.micro_batch < 1:
            msg = (
                "Memory ran out at one row per pass. Use smaller images (size=), a smaller "
                "backbone, or mode='frozen', which embeds each row once."
            )
            raise OutOfMemoryError(msg)

    def _loss_of(
        self,
        rows: Rows,
        part: Tensor,
        *,
        drop: float = 0.0,
        side: float = 1.0,
        mix: Mix | None = None,
        ranks: bool = False,
    ) -> Tensor:
        """Return the weighted mean loss of some rows; `ranks` them against fewer modalities."""
        loaded = (self.feed if rows is self.rows else Feed(rows, self.runner)).load(part)
        inputs = loaded.inputs if side == 1.0 else self._shrunk(loaded.inputs, side)
        targets, weights = loaded.targets, loaded.weights
        present = drop_modalities(loaded.present, drop)

        def losses_with(some: Mapping[str, Tensor]) -> Tensor:
            self.given = placed(some, self.runner.device)
            outputs = self.runner.outputs(self.network, inputs, self.given, mix)
            losses = self.loss(outputs, targets)
            if self.is_weighted or rows is not self.rows:  # to multiply by one is a pass, and back
                losses = losses * weights
            if mix is None:
                return losses
            other = self.loss(outputs, targets[mix.partner]) * weights[mix.partner]
            return mix.share * losses + (1.0 - mix.share) * other

        losses = losses_with(present)
        apart = self._apart(targets, weights)
        fused = (self._ranked(losses, present, losses_with) if ranks else losses).mean()
        if apart is None:
            return fused
        return self.weights.fused * fused + apart if self.weights.fused else apart

    def _apart(self, targets: Tensor, weights: Tensor) -> Tensor | None:
        """Return the losses of what modalities said by themselves, where they count."""
        if not self.network.apart or (self.weights.fused and not self.network.training):
            return None
        losses = losses_apart(self.network, self.loss, targets, weights, self.given)
        return self.weights.of_modalities(losses)

    def _ranked(
        self,
        losses: Tensor,
        present: Mapping[str, Tensor],
        losses_with: Callable[[Mapping[str, Tensor]], Tensor],
    ) -> Tensor:
        """Return losses that also say where a row with fewer of its modalities has a lower one."""
        can_lose = torch.stack(list(present.values())).sum(dim=0) > 1
        if not bool(can_lose.any()):  # asked of the host
            return losses
        with_fewer = losses_with(fewer_modalities(present))
        several = sent(can_lose, self.runner.device)
        return torch.where(several, more_is_not_worse(losses, with_fewer), losses)

    def _shrunk(
        self, inputs: Mapping[str, Placed | Tokens], side: float
    ) -> dict[str, Inputs | Tokens]:
        """Return inputs with smaller images, where a network still reads images."""
        return {
            name: value
            if isinstance(value, Tokens)
            else self.network.encoders[name].backbone.shrink(value, side)  # type: ignore[union-attr, operator]
            for name, value in inputs.items()
        }

    def _judge_and_remember(self, epoch: int, rows: Rows) -> float:
        """Return the validation loss of the weights that would be kept."""
        ema = self.average if self.average is not None and self.average.kind == "ema" else None
        with ema.in_place(self.network) if ema is not None else nullcontext():
            value = self.judge(rows)
            self._remember(epoch, value)
        return value

    def judge(self, rows: Rows) -> float:
        """Return the weighted mean loss of rows that are not learned from."""
        self.network.eval()
        total = self.runner.zero()
        with torch.no_grad():
            size = rows_per_pass(rows.modalities, PREDICT_BATCH)
            for part in torch.split(torch.arange(len(rows)), size):
                total += self._loss_of(rows, part).to(total) * len(part)
        return float(total) / len(rows)

    def _remember(self, epoch: int, validation_loss: float) -> None:
        if self.at.best_loss is None or validation_loss < self.at.best_loss:
            self.at.best_loss, self.at.best_epoch = validation_loss, epoch
            self.best = {k: v.detach().clone() for k, v in learned_state(self.network).items()}

    @cached_property
    def fingerprint(self) -> str:
        """What a checkpoint must share with this run to be its own: all rows are hashed."""
        shapes = {k: list(v.shape) for k, v in learned_state(self.network).items()}
        chosen = {k: v for k, v in asdict(self.settings).items() if k != "checkpoint_every_s"}
        parts = [chosen, shapes, self.rows.fingerprint(), asdict(self.weights)]
        if self.validation is not None:
            parts.append(self.validation.fingerprint())
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on."""
        tensors = {_MODEL + k: v for k, v in learned_state(self.network).items()}
        tensors |= {_BEST + k: v for k, v in self.best.items()}
        if self.average is not None:
            tensors |= {_AVERAGE + k: v for k, v in self.average.tensors.items()}
            self.at.n_averaged = self.average.count
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{_OPTIMIZER}{number}.{key}": value for key, value in values.items()}
        state = {"fingerprint": self.fingerprint, **asdict(self.at)}
        write_checkpoint(path, {k: v.detach().cpu() for k, v in tensors.items()}, state)

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Continue from what `save` wrote."""
        if state.pop("fingerprint", None) != self.fingerprint:
            msg = (
                "Checkpoint: it belongs to a run with other data, settings or networks. "
                "Fit with resume=False to start anew, or name another checkpoint."
            )
            raise CheckpointError(msg)
        self.at = Progress(**state)
        self.network.load_state_dict(_with_prefix(tensors, _MODEL), strict=False)
        self.best = {k: v.to(self.runner.device) for k, v in _with_prefix(tensors, _BEST).items()}
        if self.average is not None:
            average = _with_prefix(tensors, _AVERAGE)
            self.average.tensors = {k: v.to(self.runner.device) for k, v in average.items()}
            self.average.count = self.at.n_averaged
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _with_prefix(tensors, _OPTIMIZER).items():
            number, key = name.split(".", 1)
            moments.setdefault(int(number), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def draw_mix(n_rows: int, alpha: float, device: torch.device) -> Mix | None:
    """Return how rows of a batch are blended, None if they are not.

    NOTE[DIFF]: rows are blended behind fusion [2]_, not as pixels [1]_: words and absent
    modalities have no mean.

    References
    ----------
    .. [1] Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
       https://doi.org/10.48550/arXiv.1710.09412
    .. [2] Verma et al., "Manifold Mixup: Better Representations by Interpolating Hidden
       States", ICML 2019. https://proceedings.mlr.press/v97/verma19a.html
    """
    if alpha <= 0.0:
        return None
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    return Mix(share, sent(torch.randperm(n_rows), device))


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
