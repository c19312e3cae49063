"""How fast each weight learns at each step: warm-up, phases, and layers by their depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from asfusion.nn.network import Backbone, EncoderNetwork, FusionNetwork
from asfusion.training.settings import TrainingSettings

_MOMENTUM = 0.9
# One cycle: share of steps that rise, start and end as shares of the peak, extremes of momentum.
_RISING, _START, _END = 0.3, 1 / 25, 1 / 250_000
_MOST, _LEAST = 0.95, 0.85
_AVERAGED = 0.25  # share of the epochs whose weights are averaged by "swa"
_SIZES = ((1 / 3, 0.5), (2 / 3, 0.75))  # share of epochs, until which, share of the side


@dataclass(frozen=True)
class Schedule:
    """Rates by step and epoch.

    Parameters
    ----------
    settings : TrainingSettings
        How to train.
    n_batches : int
        Steps of an epoch.
    head_epochs : int
        First epochs in which pretrained backbones wait; then the schedule begins anew.
    """

    settings: TrainingSettings
    n_batches: int
    head_epochs: int

    def rate(self, step: int) -> float:
        """Return the share of the peak learning rate at a step of the run."""
        done, total = self._place(step)
        if self.settings.schedule == "one_cycle":
            return one_cycle(done / max(1, total - 1))[0]
        return rate_factor(done, total, warmup=self.settings.warmup)

    def momentum(self, step: int) -> float:
        """Return the first moment's decay at a step of the run."""
        if self.settings.schedule != "one_cycle":
            return _MOMENTUM
        done, total = self._place(step)
        return one_cycle(done / max(1, total - 1))[1]

    def _place(self, step: int) -> tuple[int, int]:
        """Return the step within its phase, and the steps of that phase."""
        if self.settings.average_weights == "swa":
            # Weights that hardly move any more have an average that says nothing new.
            step = min(step, self.averages_from * self.n_batches)
        first = self.head_epochs * self.n_batches
        if step < first:
            return step, first
        return step - first, self.settings.max_epochs * self.n_batches - first

    @property
    def averages_from(self) -> int:
        """First epoch whose weights enter the average of ``"swa"``."""
        epochs = self.settings.max_epochs
        return min(epochs - 1, math.ceil((1 - _AVERAGED) * epochs))

    def side(self, epoch: int) -> float:
        """Return the share of their side that images have in an epoch."""
        if self.settings.progressive_resizing:
            for until, share in _SIZES:
                if epoch < math.floor(until * self.settings.max_epochs):
                    return share
        return 1.0


def rate_factor(step: int, total: int, *, warmup: float) -> float:
    """Return the share of the peak learning rate: linear warm-up, then half a cosine."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(1, total - rising)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def one_cycle(done: float) -> tuple[float, float]:
    """Return the share of the peak rate, and the momentum, when a share of steps is done.

    References
    ----------
    .. [1] Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using
       Large Learning Rates", 2019. https://doi.org/10.48550/arXiv.1708.07120
    """
    if done < _RISING:
        way = _half_cosine(done / _RISING)
        return _START + (1.0 - _START) * way, _MOST + (_LEAST - _MOST) * way
    way = _half_cosine(min(1.0, (done - _RISING) / (1.0 - _RISING)))
    return 1.0 + (_END - 1.0) * way, _LEAST + (_MOST - _LEAST) * way


def _half_cosine(share: float) -> float:
    return 0.5 * (1.0 - math.cos(math.pi * share))


def can_wait(network: nn.Module) -> bool:
    """Return whether a network has a pretrained backbone that learns."""
    return (
        isinstance(network, EncoderNetwork)
        and (network.learning_rate_scale < 1.0 or network.training_mode == "lora")
        and network.training_mode != "frozen"
    )


def parameter_groups(network: FusionNetwork, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Return parameter groups: matrices decay, pretrained backbones learn more slowly.

    With `layer_decay`, each stage of a backbone learns more slowly than the one behind it [1]_.

    References
    ----------
    .. [1] Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification",
       ACL 2018. https://doi.org/10.18653/v1/P18-1031
    """
    scales: dict[int, float] = {}
    for encoder in network.encoders.values():
        if isinstance(encoder, EncoderNetwork):
            scale, decay = encoder.learning_rate_scale, settings.layer_decay
            for parameter, depth in depths(encoder.backbone).items():
                scales[id(parameter)] = scale * decay**depth
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            weight_decay = settings.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((scales.get(id(parameter), 1.0), weight_decay), []).append(parameter)
    return [
        {"params": parameters, "scale": scale, "weight_decay": weight_decay}
        for (scale, weight_decay), parameters in groups.items()
    ]


def depths(backbone: Backbone) -> dict[nn.Parameter, int]:
    """Return how many stages lie behind each weight of a backbone, zero for the last.

    Stages are the modules beside the last block; what comes before them is a stage, too.
    """
    stages = _stages(backbone)
    found: dict[nn.Parameter, int] = {}
    for number, stage in enumerate(reversed(stages)):
        found |= dict.fromkeys(stage.parameters(), number)
    own = list(backbone.parameters())
    first = next((i for i, p in enumerate(own) if p in found), len(own))
    before = dict.fromkeys(own[:first], len(stages))
    after = dict.fromkeys([p for p in own[first:] if p not in found], 0)
    return before | found | after


def _stages(backbone: Backbone) -> list[nn.Module]:
    last = set(backbone.last_block().parameters())
    if not last or last >= set(backbone.parameters()):
        return []
    for module in backbone.modules():
        if isinstance(module, nn.Sequential | nn.ModuleList) and len(module) > 1:
            behind = set(module[-1].parameters())
            if behind and behind <= last:
                return list(module)
    return []
