"""Low-rank adaptation: a network as it was learned, and small matrices that learn beside it.

Dimensions: D_in, D_out widths of a linear layer, R rank.
"""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from asfusion.exceptions import ConfigurationError

_RANK: Final = 8


class LowRankLinear(nn.Linear):
    """A linear layer whose weight stays, plus the product of two narrow matrices that learn.

    To begin with the second is zero, so that the layer gives what it gave.

    Parameters
    ----------
    layer : nn.Linear
        The layer, whose weight and bias are taken over.
    rank : int
        Width R between the two, which are called and drawn as peft does it; their scale is 1.

    References
    ----------
    .. [1] Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022.
       https://doi.org/10.48550/arXiv.2106.09685
    """

    def __init__(self, layer: nn.Linear, rank: int = _RANK) -> None:
        nn.Module.__init__(self)  # no second weight, not even for a moment
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self._parameters.update(layer._parameters)
        rank = min(rank, layer.in_features, layer.out_features)
        self.lora_A = nn.Parameter(layer.weight.new_empty(rank, layer.in_features))
        self.lora_B = nn.Parameter(layer.weight.new_zeros(layer.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, values: Tensor) -> Tensor:
        """Return values (..., D_out)."""
        narrow = functional.linear(functional.linear(values, self.lora_A), self.lora_B)
        return super().forward(values) + narrow


def add_low_rank(backbone: nn.Module) -> None:
    """Let the linear layers within the stacks of a backbone learn by low-rank matrices, in place.

    Raises
    ------
    ConfigurationError
        If there are no linear layers in its stacks, as in networks of convolutions.
    """
    stacks = [m for m in backbone.modules() if isinstance(m, nn.ModuleList)]
    found: dict[nn.Linear, None] = {}
    for stack in stacks:
        # Subclasses have reasons of their own, such as a weight that is read past `forward`.
        found |= {m: None for m in stack.modules() if type(m) is nn.Linear}
    if not found:
        msg = (
            "mode: expected 'full', 'last_block' or 'frozen' for a network without linear layers "
            "in its stages, such as one of convolutions, got 'lora'. Transformers can be adapted "
            "by low-rank matrices."
        )
        raise ConfigurationError(msg)
    adapted = {layer: LowRankLinear(layer) for layer in found}
    for module in list(backbone.modules()):
        for name, child in list(module.named_children()):
            if child in adapted:
                setattr(module, name, adapted[child])


def is_low_rank(name: str) -> bool:
    """Return whether a parameter of that name is one that learns in the mode ``"lora"``."""
    return name.rpartition(".")[2] in ("lora_A", "lora_B")
