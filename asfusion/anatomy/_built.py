"""Networks that are built once for what was learned."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import nn

from asfusion.anatomy._learning import Weights
from asfusion.anatomy._mask_network import MaskNetwork
from asfusion.anatomy._network import HeatNetwork
from asfusion.nn._budget import at_most_values

Built = tuple[list[Weights], list[nn.Module]]


class BuildsNetworks:
    """Builds a network for each of its weights, and keeps them as long as the weights.

    They are neither saved nor pickled: weights are. Two threads that ask at once may both build;
    what they get is equal, and only read from then on.
    """

    names_: tuple[str, ...]

    @property
    @abstractmethod
    def _finds_boxes(self) -> bool:
        """Return whether these are boxes."""

    @property
    def _draws_masks(self) -> bool:
        """Return whether masks are drawn, and boxes are around these."""
        return False

    @abstractmethod
    def _all_weights(self) -> list[Weights]:
        """Return the weights of all networks."""

    def _networks(self) -> list[nn.Module]:
        """Return a network for each of all weights."""
        weights = self._all_weights()
        built: Built | None = self.__dict__.get("_built")
        if built is None or not _same(built[0], weights):
            built = self._built = (weights[:], [self._network(own) for own in weights])
        return built[1]

    def _network(self, weights: Weights) -> nn.Module:
        with at_most_values(sum(value.numel() for value in weights.values())):
            # Without values: those of the weights come, and what is drawn from stays as it is.
            with torch.device("meta"):
                network = self._new_network()
            network.to_empty(device="cpu")
        network.load_state_dict(weights)
        return network.eval()

    def _new_network(self) -> nn.Module:
        if self._draws_masks:
            return MaskNetwork(len(self.names_))
        return HeatNetwork(len(self.names_), boxes=self._finds_boxes)

    def _forget_networks(self) -> None:
        self.__dict__.pop("_built", None)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the networks out."""
        return {name: value for name, value in vars(self).items() if name != "_built"}


def _same(one: list[Weights], other: list[Weights]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
