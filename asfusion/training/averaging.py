"""Averages of weights over steps or epochs, which predict better than the last ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from asfusion.nn._norms import is_batch_norm

_DECAY = 0.99


class WeightAverage:
    """The average of what training can change.

    Parameters
    ----------
    kind : {"ema", "swa"}
        ``"ema"`` is an exponential average over steps, of about the last hundred [1]_;
        ``"swa"`` the plain average over epochs [2]_.
    state : callable
        Returns the tensors that training can change, by name.

    References
    ----------
    .. [1] Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging",
       SIAM Journal on Control and Optimization 1992. https://doi.org/10.1137/0330046
    .. [2] Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
       Generalization", UAI 2018. https://doi.org/10.48550/arXiv.1803.05407
    """

    def __init__(self, kind: Literal["ema", "swa"], state: Callable[[], dict[str, Tensor]]) -> None:
        self.kind = kind
        self.tensors: dict[str, Tensor] = {}
        self.count = 0
        self._state = state

    @torch.no_grad()
    def add(self) -> None:
        """Take the present weights into the average."""
        present = self._state()
        self.count += 1
        if not self.tensors:
            self.tensors = {name: value.detach().clone() for name, value in present.items()}
            return
        if self.kind == "swa":
            share = 1.0 / self.count
        else:  # a short memory at first: the start is to be forgotten soon
            share = 1.0 - min(_DECAY, (1.0 + self.count) / (10.0 + self.count))
        for name, value in present.items():
            mean = self.tensors[name]
            mean.lerp_(value, share) if mean.is_floating_point() else mean.copy_(value)

    @contextmanager
    def in_place(self, network: nn.Module) -> Iterator[None]:
        """Let the network have the average for a while."""
        kept = {name: value.detach().clone() for name, value in self._state().items()}
        network.load_state_dict(self.tensors, strict=False)
        try:
            yield
        finally:
            network.load_state_dict(kept, strict=False)


@contextmanager
def fresh_statistics(network: nn.Module) -> Iterator[bool]:
    """Let batch norms that learn forget their statistics and take the plain mean of new ones.

    An average of weights has never seen a batch: the statistics of none of the networks that
    it is made of are its own. Gives whether there is any such norm.
    """
    network.train()
    norms = [m for m in network.modules() if is_batch_norm(m) and m.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()  # type: ignore[operator]
        norm.momentum = None  # type: ignore[assignment]
    try:
        with torch.no_grad():
            yield bool(norms)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.eval()
