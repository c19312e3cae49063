"""How a network learns to point.

Dimensions: N films, B of them in a batch, R things to find, S side of the square. Places go from
-1 to 1; extents are logarithms of shares of half the side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from asfusion._progress import progress
from asfusion._random import derive_seed, torch_seed
from asfusion.anatomy._augment import draw_moves, exposed, turned_extent
from asfusion.anatomy._network import HeatNetwork, Sight, target_heat

Weights = dict[str, Tensor]

_BATCH = 16
_LR, _WARM_UP, _DECAY = 4e-3, 0.1, 1e-4
_SIGMA_CELLS = 1.2
_INSIDE = 0.98


@dataclass(frozen=True, eq=False)
class Lesson:
    """Films and what is on them.

    Parameters
    ----------
    images : Tensor of shape (N, 1, S, S), uint8
        Films in squares.
    centres : Tensor of shape (N, R, 2)
        Places; NaN where nobody said.
    extents : Tensor of shape (N, R, 2) or None
        Widths and heights; None where points are learned.
    """

    images: Tensor
    centres: Tensor
    extents: Tensor | None = None

    @property
    def n_marks(self) -> int:
        """Number of things to find."""
        return self.centres.shape[1]

    def take(self, rows: Tensor) -> Lesson:
        """Return some of the films."""
        extents = None if self.extents is None else self.extents[rows]
        return Lesson(self.images[rows], self.centres[rows], extents)


def make_network(n_marks: int, *, boxes: bool) -> HeatNetwork:
    """Return the network for regions or for points, without having learned."""
    return HeatNetwork(n_marks, 2 if boxes else 0, stride=4 if boxes else 2)


def teach(lesson: Lesson, *, epochs: int, seed: int, what: str) -> Weights:
    """Return the weights of a network that learned from a lesson."""
    with torch_seed(derive_seed(seed, "weights")):
        network = make_network(lesson.n_marks, boxes=lesson.extents is not None)
    optimiser = torch.optim.AdamW(network.parameters(), lr=_LR, weight_decay=_DECAY)
    n = len(lesson.images)
    steps = epochs * -(-n // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, _LR, total_steps=steps + 1, pct_start=_WARM_UP
    )
    draw = torch.Generator().manual_seed(derive_seed(seed, "draws"))
    network.train()
    with torch.enable_grad():
        for _ in progress(range(epochs), what, unit="epoch"):
            for rows in torch.split(torch.randperm(n, generator=draw), _BATCH):
                optimiser.zero_grad()
                torch.autograd.backward(_loss(network, lesson.take(rows), draw))
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                schedule.step()
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _loss(network: HeatNetwork, batch: Lesson, draw: torch.Generator) -> Tensor:
    """Return the loss of a batch that is moved and exposed anew."""
    moves = draw_moves(len(batch.images), draw)
    images = exposed(moves.applied(batch.images.float() / 255), draw)
    centres = moves.of(batch.centres)
    seen = (centres.abs() < _INSIDE).all(dim=2)  # false for NaN
    sight = network(images)
    centres = torch.where(seen[:, :, None], centres, 0.0)
    parts = _of_heat(sight, centres) + 2 * (sight.centres - centres).abs().sum(dim=2)
    if batch.extents is not None:
        extents = turned_extent(torch.where(seen[:, :, None], batch.extents, 0.0), moves)
        parts = parts + (sight.numbers - extents).abs().sum(dim=2)
        parts = parts + 2 * _not_shared(sight.centres, sight.numbers, centres, extents)
    return torch.sum(parts * seen) / seen.sum().clamp_min(1)


def _of_heat(sight: Sight, centres: Tensor) -> Tensor:
    """Return the cross-entropy (B, R) of the heat, less what it cannot fall below."""
    height, width = sight.log_heat.shape[-2:]
    target = target_heat(centres, (height, width), _SIGMA_CELLS * 2 / width)
    own = torch.xlogy(target, target).sum(dim=(2, 3))
    return (own - (target * sight.log_heat).sum(dim=(2, 3))) / math.log(height * width)


def _not_shared(centres: Tensor, extents: Tensor, true_centres: Tensor, true: Tensor) -> Tensor:
    """Return one minus the generalised overlap (B, R) of boxes."""
    low, high = _edges(centres, extents)
    true_low, true_high = _edges(true_centres, true)
    shared = (torch.minimum(high, true_high) - torch.maximum(low, true_low)).clamp_min(0).prod(2)
    both = (high - low).prod(2) + (true_high - true_low).prod(2) - shared
    around = (torch.maximum(high, true_high) - torch.minimum(low, true_low)).prod(2)
    return 1 - shared / both.clamp_min(1e-9) + (around - both) / around.clamp_min(1e-9)


def _edges(centres: Tensor, extents: Tensor) -> tuple[Tensor, Tensor]:
    half = extents.clamp(-8, 3).exp() / 2
    return centres - half, centres + half
