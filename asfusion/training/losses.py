"""Losses per row, so that weights and batches are applied in one place.

Dimensions: B rows of a batch, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from asfusion.exceptions import ConfigurationError
from asfusion.training.settings import TrainingSettings

RowLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
_FOCUS = 2.0  # the exponent of the paper
# Losses whose targets can be smoothed, and by how much they are where nobody says: chosen inside
# training folds (`benchmarks/choose_joint.py`).
_SMOOTHED, _USUAL, _FEW = frozenset({"classes", "labels"}), 0.1, 0.2


def row_loss(loss: str | RowLoss, settings: TrainingSettings) -> RowLoss:
    """Return a loss by its name, as the settings ask for it, or one that a target brings."""
    return LOSSES[loss](settings) if isinstance(loss, str) else loss


def usual_smoothing(loss: str | RowLoss, *, few: bool) -> float:
    """Return the label smoothing of a loss where none is asked for; more where rows are few."""
    if loss not in _SMOOTHED:
        return 0.0
    return _FEW if few else _USUAL


def class_loss(settings: TrainingSettings) -> RowLoss:
    """Return the loss of classes that the settings ask for."""
    smoothing = settings.label_smoothing
    if settings.loss == "focal":
        return partial(focal_loss, smoothing=smoothing)
    return partial(cross_entropy, smoothing=smoothing) if smoothing else cross_entropy


def plain_grade_loss(settings: TrainingSettings) -> RowLoss:
    """Return the loss of grades, which has neither a focus nor smoothing."""
    if settings.loss == "focal" or settings.label_smoothing:
        msg = (
            "loss: expected 'cross_entropy' without label_smoothing for grades, which have a loss "
            "of their own, got another."
        )
        raise ConfigurationError(msg)
    return grade_loss


def cross_entropy(outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the negative log-probability of the true class (B,) from logits (B, K).

    With `smoothing`, that share of the target is spread over all classes [1]_.

    References
    ----------
    .. [1] Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
       CVPR 2016. https://doi.org/10.1109/CVPR.2016.308
    """
    return functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=smoothing)


def focal_loss(outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the cross entropy (B,), times ``(1 - p) ** 2`` of each class [1]_.

    Rows that are right already count little. `smoothing` is that of `cross_entropy`.

    References
    ----------
    .. [1] Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
       https://doi.org/10.1109/ICCV.2017.324
    """
    log_p = functional.log_softmax(outputs, dim=1)
    truth = functional.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
    truth = (1.0 - smoothing) * truth + smoothing / outputs.shape[1]
    return -(truth * (1.0 - torch.exp(log_p)) ** _FOCUS * log_p).sum(dim=1)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error over targets (B,) from outputs (B, K)."""
    return (outputs - targets).square().mean(dim=1)


def grade_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the negative log-probability of the true grade (B,) from steps (B, K - 1) [1]_.

    Each output is the log odds that a row which reaches a grade is above it.

    References
    ----------
    .. [1] Shi, Cao, Raschka, "Deep neural networks for rank-consistent ordinal regression based
       on conditional probabilities", Pattern Analysis and Applications 2023.
       https://doi.org/10.1007/s10044-023-01181-9
    """
    grades = torch.arange(outputs.shape[1], device=outputs.device)
    reached, above = targets[:, None] >= grades, targets[:, None] > grades
    costs = functional.binary_cross_entropy_with_logits(
        outputs, above.to(outputs.dtype), reduction="none"
    )
    return (costs * reached).sum(dim=1)


def count_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the Poisson deviance (B,), up to what no output changes, from log means (B, K)."""
    return (outputs.exp() - targets * outputs).mean(dim=1)


def bounded_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error (B,) of shares of a span, whose log odds are given (B, K)."""
    return squared_error(torch.sigmoid(outputs), targets)


def label_loss(outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross entropy (B,) over the labels that a row has, from log odds (B, L).

    Labels that are NaN in `targets` teach nothing. `smoothing` is that of `cross_entropy`.
    """
    known = ~torch.isnan(targets)
    truth = torch.where(known, targets, torch.zeros_like(targets))
    truth = (1.0 - smoothing) * truth + smoothing / 2
    costs = functional.binary_cross_entropy_with_logits(outputs, truth, reduction="none")
    return (costs * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)


def hazard_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the negative log-likelihood (B,) of discrete-time hazards [1]_.

    `outputs` (B, K) are the log-odds that a row which has lived to an interval has its event in
    it; `targets` (B, 2) the intervals lived through, and 1 where the event ended the next.

    References
    ----------
    .. [1] Gensheimer, Narasimhan, "A scalable discrete-time survival model for neural
       networks", PeerJ 2019. https://doi.org/10.7717/peerj.6257
    """
    lived, seen = targets[:, 0].long(), targets[:, 1]
    # What it costs to live through each interval; a last column for those who outlive all.
    costs = functional.pad(functional.softplus(outputs).cumsum(dim=1), (1, 0))
    ending = functional.pad(functional.softplus(-outputs), (0, 1))
    place = lived[:, None]
    return costs.gather(1, place)[:, 0] + seen * ending.gather(1, place)[:, 0]


def cox_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return minus the log partial likelihood (B,) of log risks (B, 1) within the batch [1]_.

    `targets` (B, 2) are times and events; rows without an event cost nothing themselves. Events
    at one time are counted by Breslow's approximation.

    References
    ----------
    .. [1] Katzman et al., "DeepSurv", BMC Medical Research Methodology 2018.
       https://doi.org/10.1186/s12874-018-0482-1
    """
    risk, time, event = outputs[:, 0], targets[:, 0], targets[:, 1]
    order = torch.argsort(time, descending=True, stable=True)
    at_risk = torch.logcumsumexp(risk[order], dim=0)
    # Rows of one time are at risk together: each takes the sum behind the last of them.
    falling = -time[order]
    last = torch.searchsorted(falling, -time, right=True) - 1
    return event * (at_risk[last] - risk)


def more_is_not_worse(more: Tensor, fewer: Tensor) -> Tensor:
    """Return the mean of two losses (B,), and half of what the first is above the second.

    Rows had more modalities in `more` than in `fewer`. NOTE[DIFF]: the paper [1]_ weighs the second
    part freely. At this weight, rows that break the rule learn from all that they have, and none is
    taught to be worse with less.

    References
    ----------
    .. [1] Li et al., "SimMLM: A Simple Framework for Multi-modal Learning with Missing Modality",
       ICCV 2025. https://doi.org/10.48550/arXiv.2507.19264
    """
    return 0.5 * (more + fewer) + 0.5 * functional.relu(more - fewer)


# What a target calls its loss.
LOSSES: dict[str, Callable[[TrainingSettings], RowLoss]] = {
    "classes": class_loss,
    "numbers": lambda settings: squared_error,
    "grades": plain_grade_loss,
    "counts": lambda settings: count_loss,
    "bounded": lambda settings: bounded_loss,
    "labels": lambda settings: partial(label_loss, smoothing=settings.label_smoothing),
    "hazards": lambda settings: hazard_loss,
    "cox": lambda settings: cox_loss,
}
