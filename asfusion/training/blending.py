"""How much the losses of the modalities ought to count, by what each gains and how it overfits."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from asfusion._progress import progress_shown
from asfusion.nn._placed import placed
from asfusion.nn.network import FusionNetwork
from asfusion.training.apart import LossWeights, losses_apart
from asfusion.training.feed import Feed
from asfusion.training.halves import PREDICT_BATCH
from asfusion.training.loop import train
from asfusion.training.losses import RowLoss
from asfusion.training.rows import Rows, precision_of, rows_per_pass
from asfusion.training.runner import Runner
from asfusion.training.settings import TrainingSettings

_TRIAL_EPOCHS = 10
_LEAST = 1e-2  # overfitting below which losses are alike
_LEAST_FUSED = 1e-2  # the network predicts by what is fused, too: that has to learn


def gradient_blend(
    network: FusionNetwork,
    rows: Rows,
    validation: Rows,
    *,
    loss: RowLoss,
    settings: TrainingSettings,
) -> LossWeights:
    """Return weights by what each loss gains on `validation`, and by its overfitting [1]_.

    A copy of the network learns for a while from `rows` by all losses at once. The weight of a
    loss is its gain on `validation` over the square of how much the gap to `rows` grew; weights
    sum to the number of losses, but that of what is fused is never zero. NOTE[DIFF]: in the paper
    each modality learns in a run of its own.

    References
    ----------
    .. [1] Wang, Tran, Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?",
       CVPR 2020. https://doi.org/10.1109/CVPR42600.2020.01271
    """
    trial, names = copy.deepcopy(network), list(network.encoders)
    trial.hybrid = False  # what is fused is judged without what modalities say by themselves
    n_epochs = min(_TRIAL_EPOCHS, settings.max_epochs)
    brief = replace(settings, max_epochs=n_epochs, head_first=0, average_weights=None)
    equal = LossWeights(1.0, dict.fromkeys(names, 1.0))
    before = [_means(trial, part, loss, settings) for part in (rows, validation)]
    with progress_shown(False):
        train(trial, rows, None, loss=loss, settings=brief, weights=equal)
    after = [_means(trial, part, loss, settings) for part in (rows, validation)]
    fused, *others = blended(torch.stack(before), torch.stack(after)).tolist()
    return LossWeights(max(fused, _LEAST_FUSED), dict(zip(names, others, strict=True)))


def blended(before: Tensor, after: Tensor) -> Tensor:
    """Return weights (L,) from losses (2, L) on learned and on other rows, before and after."""
    gain = (before[1] - after[1]).clamp(min=0.0)
    overfitting = ((after[1] - after[0]) - (before[1] - before[0])).clamp(min=_LEAST)
    shares = gain / overfitting.square()
    if not bool(shares.any()):
        return torch.ones_like(shares)
    return len(shares) * shares / shares.sum()


@torch.no_grad()
def _means(network: FusionNetwork, rows: Rows, loss: RowLoss, settings: TrainingSettings) -> Tensor:
    """Return the mean loss of the fused outputs and of each modality alone (1 + M,)."""
    runner = Runner(settings.device, precision_of(rows.modalities, settings.precision), "float32")
    feed = Feed(rows, runner)
    total = torch.zeros(1 + len(network.encoders), dtype=torch.float64)
    network.keeps_apart = True
    try:
        runner.place(network)
        network.eval()
        size = rows_per_pass(rows.modalities, PREDICT_BATCH)
        for part in torch.split(torch.arange(len(rows)), size):
            batch = feed.load(part)
            present = placed(batch.present, runner.device)
            outputs = runner.outputs(network, batch.inputs, present)
            fused = (loss(outputs, batch.targets) * batch.weights).mean()
            apart = losses_apart(network, loss, batch.targets, batch.weights, present)
            own = torch.stack([fused, *apart.values()])
            total += own.double().cpu() * len(part)
    finally:
        network.keeps_apart, network.apart = False, {}
        runner.release(network)
    return total / len(rows)
