"""Losses of what each modality says by itself, and how much they count.

Dimensions: B rows of a batch, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from asfusion.nn._placed import known, sent
from asfusion.nn.network import FusionNetwork
from asfusion.training.losses import RowLoss
from asfusion.training.settings import TrainingSettings


@dataclass(frozen=True)
class LossWeights:
    """How much each loss counts.

    Parameters
    ----------
    fused : float
        Weight of the loss of the fused outputs; zero where encoders learn each on its own.
    unimodal : mapping of str to float
        Weight of the loss of each modality; empty where there are none.
    """

    fused: float = 1.0
    unimodal: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: TrainingSettings, names: Sequence[str]) -> LossWeights:
        """Return the weights that settings ask for, the same for each modality that is blended."""
        asked = settings.unimodal_losses
        share = 1.0 if isinstance(asked, str) else float(asked)
        return cls(1.0, dict.fromkeys(names, share) if share else {})

    @classmethod
    def each_alone(cls, names: Sequence[str]) -> LossWeights:
        """Return the weights by which each encoder learns as if it were the only one."""
        return cls(0.0, dict.fromkeys(names, 1.0))

    def of_modalities(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the losses of modalities."""
        return torch.stack([self.unimodal[name] * loss for name, loss in losses.items()]).sum()


def losses_apart(
    network: FusionNetwork,
    loss: RowLoss,
    targets: Tensor,
    weights: Tensor,
    given: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the mean loss over B rows of what each modality said of them in the last pass.

    Rows that lack a modality cost nothing. `given` is which rows were passed as having it.
    """
    found = {}
    for name, (said, present) in network.apart.items():
        outputs = said.to(weights.dtype)  # mixed precision is for passes, not for losses
        here = given is None or present.device.type == "cpu"
        rows = torch.nonzero(present if given is None or here else known(given, name)).flatten()
        if len(rows):
            where, outputs = sent(rows, present.device), outputs + network.head.bias
            # Of rows that were given, some may say nothing: a device is not asked which.
            own = losses_at(where, None if here else present, loss, outputs, targets, weights)
            found[name] = own.sum() / len(weights)
        else:
            found[name] = outputs.sum() * 0.0
    return found


def losses_at(
    rows: Tensor,
    present: Tensor | None,
    loss: RowLoss,
    outputs: Tensor,
    targets: Tensor,
    weights: Tensor,
) -> Tensor:
    """Return the weighted losses of some rows, zeros for those that are not `present` (B,)."""
    own = loss(outputs[rows], targets[rows]) * weights[rows]
    return own if present is None else torch.where(present[rows], own, torch.zeros_like(own))
