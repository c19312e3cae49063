"""The network that points: a heat map for each thing to find.

Dimensions: B images, S side of an image, R things to find, H W the map.
Places go from -1 to 1 along each side of the square, x first, as in `grid_sample`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTHS = (16, 24, 48, 96)
_GROUPS = 8


class Sight(NamedTuple):
    """What a network says of a batch; heat and edges are logarithms of what sums to 1.

    Of points, extents and edges are empty.
    """

    log_heat: Tensor  # (B, R, H, W)
    centres: Tensor  # (B, R, 2)
    log_extents: Tensor  # (B, R, 2), of widths and heights
    log_edges: Tensor  # (B, R, 4, W): x0, y0, x1, y1 along their sides

    def peaks(self) -> Tensor:
        """Return the largest heat of a cell (B, R)."""
        return self.log_heat.flatten(2).amax(dim=2).exp()


class HeatNetwork(nn.Module):
    """A small fully convolutional network, down to a sixteenth of the side and up again.

    Parameters
    ----------
    n_marks : int
        Things to find, R.
    boxes : bool
        Whether these are boxes; an edge of one is a place along a side, found as points are.
    """

    learning_rate: ClassVar[float] = 3e-3

    def __init__(self, n_marks: int, *, boxes: bool) -> None:
        super().__init__()
        self.n_marks = n_marks
        # One layer at half the side: a second would take a fifth of the time.
        first = _layer(1, _WIDTHS[0], stride=2)
        deeper = (nn.Sequential(_layer(n, m, stride=2), _layer(m, m)) for n, m in pairwise(_WIDTHS))
        self.down = nn.ModuleList([first, *deeper])
        above = _WIDTHS[:0:-1] if boxes else _WIDTHS[::-1]
        steps = list(pairwise(above))
        self.side = nn.ModuleList(nn.Conv2d(n, m, 1) for n, m in steps)
        self.up = nn.ModuleList(_layer(m, m) for _, m in steps)
        self.heat = nn.Conv2d(above[-1], n_marks, 1)
        self.edges = nn.Conv2d(above[-1], 4 * n_marks, 1) if boxes else None

    def forward(self, images: Tensor) -> Sight:
        """Return what is seen on images (B, 1, S, S)."""
        x = standardised(images)
        levels = []
        for down in self.down:
            x = down(x)
            levels.append(x)
        for number, (side, up) in enumerate(zip(self.side, self.up, strict=True)):
            below = levels[-2 - number]
            x = F.interpolate(side(x), below.shape[-2:], mode="bilinear", align_corners=False)
            x = up(x + below)
        logits = self.heat(x)
        log_heat = F.log_softmax(logits.flatten(2), dim=2).view_as(logits)
        if self.edges is None:
            centres = (log_heat.exp()[:, :, None] * _places(logits)).sum(dim=(3, 4))
            return Sight(log_heat, centres, centres[..., :0], log_heat[:, :, :0])
        maps = torch.unflatten(self.edges(x), 1, (self.n_marks, 4))
        log_edges = F.log_softmax(_along_sides(maps), dim=3)
        places = (log_edges.exp() * _cells(maps.shape[-1]).to(maps)).sum(dim=3)
        low, high = places[:, :, :2], places[:, :, 2:]
        extents = (high - low).clamp_min(1e-2)
        return Sight(log_heat, (low + high) / 2, extents.log(), log_edges)


def _along_sides(maps: Tensor) -> Tensor:
    """Return maps (B, R, 4, S, S) of edges along the side that each moves on, (B, R, 4, S)."""
    across, down = maps.logsumexp(dim=3), maps.logsumexp(dim=4)
    return torch.stack([across[:, :, 0], down[:, :, 1], across[:, :, 2], down[:, :, 3]], dim=2)


def _layer(n: int, m: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(n, m, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, m),
        nn.ReLU(inplace=True),
    )


def standardised(images: Tensor) -> Tensor:
    """Return images with mean 0 and deviation 1, whatever the exposure was."""
    flat = images.flatten(1)
    spread = flat.std(dim=1).clamp_min(1e-3)[:, None, None, None]
    moved: Tensor = (images - flat.mean(dim=1)[:, None, None, None]) / spread
    return moved


def _places(heat: Tensor) -> Tensor:
    """Return the places (2, H, W) of the cells of a map."""
    height, width = heat.shape[-2:]
    return torch.stack(torch.meshgrid(_cells(width), _cells(height), indexing="xy")).to(heat)


def _cells(n: int) -> Tensor:
    """Return the places (n,) of the cells of a side."""
    return (torch.arange(n) + 0.5) * 2 / n - 1


def target_heat(centres: Tensor, shape: tuple[int, int], sigma: float) -> Tensor:
    """Return maps (B, R, H, W) of which each sums to 1 around a place.

    Parameters
    ----------
    centres : Tensor of shape (B, R, 2)
        The places.
    shape : (int, int)
        H and W.
    sigma : float
        Standard deviation, as a share of half the side.
    """
    places = _places(centres.new_zeros(*shape))
    squares = ((places - centres[..., None, None]) ** 2).sum(dim=2)
    return (-squares / (2 * sigma**2)).flatten(2).softmax(dim=2).view(*centres.shape[:2], *shape)


def target_edges(edges: Tensor, n: int, sigma: float) -> Tensor:
    """Return what sums to 1 along a side (B, R, 4, n) around edges (B, R, 4)."""
    squares = (_cells(n).to(edges) - edges[..., None]) ** 2
    return (-squares / (2 * sigma**2)).softmax(dim=3)
