"""Losses per row, so that weights and batches are applied in one place.

Dimensions: B rows of a batch, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional

RowLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the negative log-probability of the true class (B,) from logits (B, K)."""
    return functional.cross_entropy(outputs, targets, reduction="none")


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error over targets (B,) from outputs (B, K)."""
    return (outputs - targets).square().mean(dim=1)
