"""How a network learns to point.

Dimensions: N films, B of them in a batch, R things to find, S side of the square. Places go from
-1 to 1; extents are logarithms of shares of half the side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asfusion._progress import progress
from asfusion._random import derive_seed, torch_seed
from asfusion.anatomy._augment import Moves, draw_moves, exposed, turned_extent
from asfusion.anatomy._mask_network import MaskNetwork, loss_of_masks
from asfusion.anatomy._network import HeatNetwork, Sight, target_edges, target_heat
from asfusion.nn.optimizer import AdamW

Floats = NDArray[np.float64]
Weights = dict[str, Tensor]
DrawMoves = Callable[[int, torch.Generator], Moves]

_BATCH = 8
_WARM_UP, _DECAY = 0.1, 1e-4
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
    masks : Tensor of shape (N, R, S, S) or None, uint8
        Shares of each pixel (0 to 255) that are of regions, where masks are learned.
    """

    images: Tensor
    centres: Tensor
    extents: Tensor | None = None
    masks: Tensor | None = None

    @property
    def n_marks(self) -> int:
        """Number of things to find."""
        return self.centres.shape[1]

    def in_pixels(self) -> tuple[Floats, Floats]:
        """Return centres and extents (N, R, 2) in pixels of the square; of points, NaN."""
        half = self.images.shape[-1] / 2
        centres = ((self.centres + 1) * half).double().numpy()
        if self.extents is None:
            return centres, np.full(centres.shape, np.nan)
        return centres, (self.extents.exp() * half).double().numpy()

    def take(self, rows: Tensor) -> Lesson:
        """Return some of the films."""
        extents = None if self.extents is None else self.extents[rows]
        masks = None if self.masks is None else self.masks[rows]
        return Lesson(self.images[rows], self.centres[rows], extents, masks)

    def new_network(self) -> HeatNetwork | MaskNetwork:
        """Return a network that can learn this, from the current torch seed."""
        if self.masks is not None:
            return MaskNetwork(self.n_marks)
        return HeatNetwork(self.n_marks, boxes=self.extents is not None)


def teach(
    lesson: Lesson,
    *,
    epochs: int,
    seed: int,
    what: str,
    moves: DrawMoves = draw_moves,
    size: int | None = None,
    per_epoch: int | None = None,
) -> Weights:
    """Return the weights of a network that learned from a lesson.

    Parameters
    ----------
    lesson : Lesson
        Films, or windows of films.
    epochs, seed : int
        Passes, and what everything is drawn from.
    what : str
        What the progress bar says.
    moves : callable
        From a number of images and a generator to moves.
    size : int, optional
        Side of the images that the network looks at (pixels).
    per_epoch : int, optional
        Images of one pass; all by default.
    """
    with torch_seed(derive_seed(seed, "weights")):
        network = lesson.new_network()
    lr = network.learning_rate
    optimiser = AdamW(network.parameters(), lr=lr, weight_decay=_DECAY, fused=True)
    n = len(lesson.images)
    n_seen = min(n, per_epoch or n)
    steps = epochs * -(-n_seen // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, lr, total_steps=steps + 1, pct_start=max(_WARM_UP, 1.5 / (steps + 1))
    )
    draw = torch.Generator().manual_seed(derive_seed(seed, "draws"))
    network.train()
    with torch.enable_grad():
        for _ in progress(range(epochs), what, unit="epoch"):
            for rows in torch.split(torch.randperm(n, generator=draw)[:n_seen], _BATCH):
                optimiser.zero_grad()
                torch.autograd.backward(
                    _loss(network, lesson.take(rows), moves(len(rows), draw), size, draw)
                )
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                schedule.step()
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _loss(
    network: nn.Module, batch: Lesson, moves: Moves, size: int | None, draw: torch.Generator
) -> Tensor:
    """Return the loss of a batch that is moved, and exposed anew."""
    images = exposed(moves.applied(batch.images.float() / 255, size), draw)
    if batch.masks is not None:
        masks = moves.applied(batch.masks.float() / 255, size)
        logits = cast("MaskNetwork", network).logits(images)
        return loss_of_masks(logits, masks, batch.centres.isfinite().all(dim=2))
    centres = moves.of(batch.centres)
    seen = (centres.abs() < _INSIDE).all(dim=2)  # false for NaN
    sight = network(images)
    centres = torch.where(seen[:, :, None], centres, 0.0)
    loss = _mean(_of_heat(sight, centres), seen)
    if batch.extents is None:
        return loss + 2 * _mean((sight.centres - centres).abs().sum(dim=2), seen)
    extents = turned_extent(torch.where(seen[:, :, None], batch.extents, 0.0), moves)
    return loss + _of_boxes(sight, centres, extents, seen)


def _of_boxes(sight: Sight, centres: Tensor, extents: Tensor, seen: Tensor) -> Tensor:
    """Return the loss of edges that are on the images, and of boxes of which all four are."""
    low, high = _edges(centres, extents)
    true = torch.cat([low, high], dim=2)
    there = (true.abs() < _INSIDE) & seen[:, :, None]
    found = torch.cat(_edges(sight.centres, sight.log_extents), dim=2)
    loss = _mean(_of_edges(sight, true), there) + 2 * _mean((found - true).abs(), there)
    shared = _not_shared(sight.centres, sight.log_extents, centres, extents)
    return loss + _mean(shared, there.all(dim=2))


def _mean(parts: Tensor, counted: Tensor) -> Tensor:
    return torch.sum(parts * counted) / counted.sum().clamp_min(1)


def _of_edges(sight: Sight, edges: Tensor) -> Tensor:
    """Return the cross-entropy (B, R, 4) of edges, less what it cannot fall below."""
    n = sight.log_edges.shape[-1]
    target = target_edges(edges, n, _SIGMA_CELLS * 2 / n)
    own = torch.xlogy(target, target).sum(dim=3)
    return (own - (target * sight.log_edges).sum(dim=3)) / math.log(n)


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
