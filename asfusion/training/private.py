"""Differentially private steps: gradients by patient, clipped, summed and blurred.

Dimensions: B rows of a batch, U patients, K outputs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from asfusion._checks import quoted
from asfusion._progress import progress
from asfusion._random import torch_seed
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError, TrainingError
from asfusion.nn._norms import is_batch_norm
from asfusion.nn.network import FusionNetwork
from asfusion.nn.optimizer import AdamW
from asfusion.training.apart import LossWeights
from asfusion.training.feed import Feed
from asfusion.training.losses import RowLoss
from asfusion.training.rows import Rows, drop_modalities, precision_of
from asfusion.training.runner import Runner
from asfusion.training.schedule import parameter_groups, rate_factor
from asfusion.training.settings import TrainingSettings

_MOST_VALUES = 20_000_000  # of gradients at a time
_FEW = 4  # rows that a loss of a network's own shows itself on


class Privacy(Protocol):
    """What steps need to know of a promise."""

    clip: float
    sample_rate: float
    sites: int

    @property
    def noise_multiplier(self) -> float:
        """Spread of the noise, in gradients of the clipped length."""

    def steps_of(self, epochs: int) -> int:
        """Return how many steps make so many passes."""


class PrivateSteps:
    """Steps of one network over the rows of one place [1]_.

    In each step every patient is drawn with the same probability. The gradients of a patient's
    rows are summed and clipped together, and Gaussian noise is added to the sum over patients.
    What rows do to each other, such as batch norms, would pass by the clipping and is refused.
    Networks pass without dropout: noise is enough of it. Who is drawn, and the noise, come from
    the operating system anew each time: who knows a seed could take the noise away.

    Parameters
    ----------
    network : FusionNetwork
        It learns in place.
    rows : Rows
        What it learns from.
    patients : ndarray of shape (N,)
        Patient of each row.
    loss : callable
        Outputs and targets to one loss per row.
    settings : TrainingSettings
        How to train, with a promise of privacy.
    weights : LossWeights
        How much the losses of modalities count.

    References
    ----------
    .. [1] Abadi et al., "Deep Learning with Differential Privacy", CCS 2016.
       https://doi.org/10.1145/2976749.2978318
    """

    def __init__(
        self,
        network: FusionNetwork,
        rows: Rows,
        patients: NDArray[Any],
        *,
        loss: RowLoss,
        settings: TrainingSettings,
        weights: LossWeights,
    ) -> None:
        assert settings.privacy is not None
        self.network, self.settings = network, settings
        self.privacy: Privacy = settings.privacy
        self.noise = self.privacy.noise_multiplier * self.privacy.clip
        self.runner = Runner(settings.device, precision_of(rows.modalities, settings.precision))
        self.feed = Feed(rows, self.runner)
        self.order, self.starts = _by_patient(patients)
        self._of_row = _OfOneRow(network, loss, weights)
        prefix = "network."
        self.learned = {
            prefix + name: value
            for name, value in network.named_parameters()
            if value.requires_grad
        }
        n_values = sum(value.numel() for value in self.learned.values())
        self._at_once = max(1, _MOST_VALUES // max(1, n_values))

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(self.starts) - 1

    def run(self, epochs: int) -> list[dict[str, float]]:
        """Take the steps of so many passes, and return a record without anything of the rows."""
        n_steps = self.privacy.steps_of(epochs)
        with self._on_device(), torch_seed(self.settings.seed, self.runner.device):
            optimizer = AdamW(
                parameter_groups(self.network, self.settings),
                lr=self.settings.learning_rate,
                fused=True,
            )
            drawn = self.privacy.sample_rate * self.n_patients
            for step in progress(range(n_steps), "Training", total=n_steps, unit="step"):
                factor = rate_factor(step, n_steps, warmup=self.settings.warmup)
                for group in optimizer.param_groups:
                    group["lr"] = self.settings.learning_rate * group["scale"] * factor
                for name, value in self.noisy_sum(self.noise).items():
                    self.learned[name].grad = value / drawn
                optimizer.step()
        self._check_finite()
        rate = self.settings.learning_rate
        return [{"epoch": float(n), "learning_rate": rate} for n in range(epochs)]

    def one_sum(self) -> dict[str, NDArray[Any]]:
        """Return the gradient of one step, summed over patients, with this site's noise.

        Its share is so large that the noise of all sites together is that of the promise.
        """
        share = self.noise / math.sqrt(self.privacy.sites)
        with self._on_device(), torch_seed(self.settings.seed, self.runner.device):
            found = self.noisy_sum(share)
        return {name.removeprefix("network."): value.cpu().numpy() for name, value in found.items()}

    def noisy_sum(self, noise: float) -> dict[str, Tensor]:
        """Return clipped gradients of patients drawn now, summed, with noise of this spread."""
        drawn = np.flatnonzero(_uniform(self.n_patients) < self.privacy.sample_rate)
        total = {name: torch.zeros_like(value) for name, value in self.learned.items()}
        for patients in self._parts(drawn):
            for name, value in self._clipped(patients).items():
                total[name] += value
        for value in total.values():
            blur = torch.from_numpy(_normal(value.numel())).reshape(value.shape)
            value += noise * blur.to(value)
        return total

    # -- gradients ---------------------------------------------------------------------

    def _clipped(self, patients: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the sum over patients of their gradients, none of them longer than the clip."""
        rows = [self.order[self.starts[p] : self.starts[p + 1]] for p in patients]
        owner = np.repeat(np.arange(len(patients)), [len(own) for own in rows])
        found = self._of_rows(torch.from_numpy(np.concatenate(rows)))
        where = torch.from_numpy(owner).to(self.runner.device)
        summed = {
            name: value.new_zeros(len(patients), *value.shape[1:]).index_add_(0, where, value)
            for name, value in found.items()
        }
        squares = torch.stack([value.flatten(1).square().sum(1) for value in summed.values()])
        factors = self.privacy.clip / squares.sum(dim=0).sqrt().clamp(min=self.privacy.clip)
        sound = torch.isfinite(factors)
        return {name: _weighted(value, factors, sound) for name, value in summed.items()}

    def _of_rows(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the gradient of each of B rows."""
        loaded = self.feed.load(rows)
        device = self.runner.device
        present = drop_modalities(loaded.present, self.settings.modality_dropout)
        inputs = {name: _plain(value) for name, value in loaded.inputs.items()}
        there = {name: value.to(device) for name, value in present.items()}
        one_by_one = vmap(grad(self._loss), in_dims=(None, 0, 0, 0, 0))
        try:
            with sdpa_kernel(SDPBackend.MATH):  # others know no rows one by one
                found = one_by_one(self.learned, inputs, there, loaded.targets, loaded.weights)
        except RuntimeError as error:
            if "vmap" not in str(error):
                raise
            msg = (
                "privacy: expected networks through which rows pass one by one, got one that asks "
                "what is in its batch. Use another fusion, backbone or loss."
            )
            raise ConfigurationError(msg) from error
        finally:
            self.network.apart = {}
        return {name: value.detach() for name, value in found.items()}

    def _loss(self, learned: Mapping[str, Tensor], *row: Any) -> Tensor:
        return functional_call(self._of_row, dict(learned), row)  # type: ignore[no-any-return]

    def _parts(self, patients: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yield patients, so many that the gradients of their rows fit into memory."""
        n_rows = self.starts[patients + 1] - self.starts[patients]
        part = np.cumsum(n_rows) // self._at_once
        for number in np.unique(part):
            yield patients[part == number]

    # -- the network -------------------------------------------------------------------

    def _on_device(self) -> _Placed:
        return _Placed(self)

    def _check_finite(self) -> None:
        if not all(bool(torch.isfinite(value).all()) for value in self.learned.values()):
            msg = (
                "Training diverged: weights are not finite. Lower learning_rate (now "
                f"{self.settings.learning_rate:g})."
            )
            raise TrainingError(msg)

    def check_network(self) -> None:
        """Raise where rows of a batch would see each other."""
        self.network.train()
        norms = [
            name
            for name, module in self.network.named_modules()
            if is_batch_norm(module) and module.training
        ]
        if norms:
            msg = (
                "privacy: expected networks whose rows do not see each other, got batch norms: "
                f"{quoted(norms)}. Use norm='group', a backbone that is frozen, or another network."
            )
            raise ConfigurationError(msg)
        rows = torch.arange(min(_FEW, len(self.feed.rows)))
        loaded = self.feed.load(rows)
        with torch.no_grad():
            self.network(loaded.inputs, loaded.present)
        own = [name for name, part in self._parts_of_network() if part.auxiliary_loss() is not None]
        if own:
            msg = (
                "privacy: expected no loss over the rows of a batch beside that of the target, got "
                f"one of {quoted(own)}. Use another fusion or network."
            )
            raise ConfigurationError(msg)

    def _parts_of_network(self) -> list[tuple[str, Any]]:
        parts = [*self.network.encoders.items(), ("fusion", self.network.fusion)]
        return [(name, part) for name, part in parts if hasattr(part, "auxiliary_loss")]


class _Placed:
    """A network while it takes private steps: on its device, as in evaluation but for its outputs.

    What it is left as is what `train` leaves.
    """

    def __init__(self, steps: PrivateSteps) -> None:
        self.steps = steps

    def __enter__(self) -> None:
        network, steps = self.steps.network, self.steps
        try:
            steps.runner.place(network)
            steps.check_network()
            network.eval()
            network.training = True  # the fused outputs and those of modalities apart
            network.keeps_apart = bool(steps._of_row.weights.unimodal)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        network = self.steps.network
        network.keeps_apart, network.apart = False, {}
        network.zero_grad(set_to_none=True)
        self.steps.runner.release(network)


class _OfOneRow(nn.Module):
    """The loss of one row: fused, and of each modality that the row has."""

    def __init__(self, network: FusionNetwork, loss: RowLoss, weights: LossWeights) -> None:
        super().__init__()
        self.network, self.loss, self.weights = network, loss, weights

    def forward(
        self,
        inputs: Mapping[str, Mapping[str, Tensor]],
        present: Mapping[str, Tensor],
        target: Tensor,
        weight: Tensor,
    ) -> Tensor:
        given = {name: _alone(value) for name, value in inputs.items()}
        there = {name: value.unsqueeze(0) for name, value in present.items()}
        outputs = self.network(given, there).to(weight.dtype)
        target = target.unsqueeze(0)
        total = self.weights.fused * self.loss(outputs, target)
        for name, (said, has) in self.network.apart.items():
            own = self.loss(said.to(weight.dtype) + self.network.head.bias, target)
            own = torch.where(has, own, torch.zeros_like(own))
            total = total + self.weights.unimodal[name] * own
        return (weight * total).sum()


def _plain(value: Mapping[str, Tensor] | Tokens) -> dict[str, Tensor]:
    """Return what a network reads as tensors by name; those of tokens have no word in them."""
    if isinstance(value, Tokens):
        return {_VALUES: value.values, _MASK: value.mask}
    return dict(value)


_VALUES, _MASK = "tokens.values", "tokens.mask"


def _alone(value: Mapping[str, Tensor]) -> Mapping[str, Tensor] | Tokens:
    """Return one row as a batch."""
    batch = {name: tensor.unsqueeze(0) for name, tensor in value.items()}
    return Tokens(batch[_VALUES], batch[_MASK]) if _VALUES in batch else batch


def _weighted(values: Tensor, factors: Tensor, sound: Tensor) -> Tensor:
    """Return the sum of values (U, ...) by factors (U,); what is not sound counts nothing."""
    shape = (-1, *[1] * (values.dim() - 1))
    values = torch.where(sound.reshape(shape), values, torch.zeros_like(values))
    factors = torch.where(sound, factors, torch.zeros_like(factors))
    total: Tensor = torch.tensordot(factors, values, dims=1)
    return total


def _by_patient(patients: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows in the order of patients, and where each patient's begin; the end is last."""
    numbers = np.unique(patients, return_inverse=True)[1].ravel()
    counts = np.bincount(numbers)
    return np.argsort(numbers, kind="stable"), np.concatenate([[0], np.cumsum(counts)])


def _uniform(n: int) -> NDArray[np.float64]:
    """Return numbers from 0 to 1, of the operating system's generator: no seed repeats them."""
    return np.frombuffer(os.urandom(8 * n), dtype=np.uint64) / 2.0**64


def _normal(n: int) -> NDArray[np.float64]:
    """Return standard normal numbers of the operating system's generator."""
    half = (n + 1) // 2
    radius = np.sqrt(-2.0 * np.log1p(-np.minimum(_uniform(half), 1 - 2.0**-53)))
    angle = 2.0 * np.pi * _uniform(half)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]
