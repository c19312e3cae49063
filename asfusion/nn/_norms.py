"""Batch statistics where batches are small: held still, or replaced by groups of channels."""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

from torch import nn

from asfusion.exceptions import ConfigurationError

Norm: TypeAlias = Literal["auto", "batch", "frozen", "group"]
NORMS: Final = ("auto", "batch", "frozen", "group")
_GROUPS = 8


def resolve_norm(norm: Norm, *, pretrained: bool) -> Literal["batch", "frozen", "group"]:
    """Return what ``"auto"`` means: statistics of a pretrained network are kept.

    Raises
    ------
    ConfigurationError
        If pretrained weights are to be read by other norms than they were learned with, or
        statistics are to be kept that nobody has learned.
    """
    if norm == "auto":
        return "frozen" if pretrained else "batch"
    if norm == "group" and pretrained:
        msg = (
            "norm: expected 'frozen' or 'batch' with pretrained weights, which were learned with "
            "batch statistics, got 'group'."
        )
        raise ConfigurationError(msg)
    if norm == "frozen" and not pretrained:
        msg = (
            "norm: expected 'batch' or 'group' for a network without pretrained weights, whose "
            "statistics are still to be learned, got 'frozen'."
        )
        raise ConfigurationError(msg)
    return norm


def is_batch_norm(module: nn.Module) -> bool:
    """Return whether a module keeps running statistics of batches."""
    return isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)


def hold_statistics(network: nn.Module) -> None:
    """Put batch norms into evaluation mode: their scale and shift still learn."""
    for module in network.modules():
        if is_batch_norm(module):
            module.eval()


def use_group_norm(network: nn.Module) -> nn.Module:
    """Replace every batch norm by group norm over at most 8 groups of channels, in place.

    References
    ----------
    .. [1] Wu and He, "Group Normalization", ECCV 2018.
       https://doi.org/10.1007/978-3-030-01261-8_1
    """
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                groups = math.gcd(_GROUPS, child.num_features)
                setattr(module, name, nn.GroupNorm(groups, child.num_features, eps=child.eps))
    return network
