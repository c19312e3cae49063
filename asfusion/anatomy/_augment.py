"""What a film may look like: moved, turned, zoomed, exposed, cut and blurred, batches at a time.

Left and right are never exchanged. Dimensions: B images, R places, S side of an image; places go
from -1 to 1 along each side, x first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_ROTATION_DEG, _ZOOM, _SHIFT = 20.0, (0.6, 1.5), 0.15
_INVERTED, _BLURRED, _CUT, _COVERED = 0.1, 0.3, 0.3, 0.2  # how often


class Moves(NamedTuple):
    """Where each image of a batch is looked at: ``matrix @ place + shift`` for a place there."""

    matrix: Tensor  # (B, 2, 2)
    shift: Tensor  # (B, 2)

    def applied(self, images: Tensor, size: int | None = None) -> Tensor:
        """Return images (B, C, S, S) as they look after the move; black from outside."""
        theta = torch.cat([self.matrix, self.shift[:, :, None]], dim=2)
        side = size or images.shape[-1]
        grid = F.affine_grid(theta, [*images.shape[:2], side, side], align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)

    def of(self, places: Tensor) -> Tensor:
        """Return where places (B, R, 2) of the images went."""
        moved = torch.linalg.solve(self.matrix, (places - self.shift[:, None]).transpose(1, 2))
        return torch.transpose(moved, 1, 2)

    def back(self, places: Tensor) -> Tensor:
        """Return where places (B, R, 2) after the move were before."""
        return places @ self.matrix.transpose(1, 2) + self.shift[:, None]

    def log_zoom(self) -> Tensor:
        """Return by how much the images grew, as a logarithm (B,)."""
        return -0.5 * torch.log(torch.linalg.det(self.matrix))

    def angle(self) -> Tensor:
        """Return by how much they were turned, in radians (B,)."""
        return torch.atan2(self.matrix[:, 1, 0], self.matrix[:, 0, 0])


def make_moves(angle: Tensor, zoom: Tensor, shift: Tensor) -> Moves:
    """Return moves from angles (B,) in radians, zooms (B,), and shifts (B, 2) in half sides."""
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    matrix = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)
    return Moves(matrix, -(matrix @ shift[:, :, None])[:, :, 0])


def draw_moves(n: int, draw: torch.Generator) -> Moves:
    """Return moves as films meet them."""
    return draw_turns(n, draw, _ROTATION_DEG, _ZOOM, 2 * _SHIFT)


def draw_turns(
    n: int, draw: torch.Generator, degrees: float, zooms: tuple[float, float], shift: float
) -> Moves:
    """Return moves within limits; `shift` is in half sides.

    Zooms and shifts are far within the limits for most: usual films are most of what will be
    looked at, and moves as large as the limits cost them accuracy. Angles are spread evenly: few
    films that are turned are not enough to learn from.
    """
    share = torch.rand(n, generator=draw)
    angle = _uniform(n, -1, 1, draw) * math.radians(degrees)
    zoom = (_uniform(n, math.log(zooms[0]), math.log(zooms[1]), draw) * share).exp()
    moved = (2 * torch.rand(n, 2, generator=draw) - 1) * shift * share[:, None]
    return make_moves(angle, zoom, moved)


def turned_extent(log_extent: Tensor, moves: Moves) -> Tensor:
    """Return logarithms of widths and heights (B, R, 2) after a move, as those of ellipses.

    What is found in a box seldom fills its corners: the box around a turned box would be too
    large.
    """
    angle = moves.angle()[:, None]
    cos, sin = torch.cos(angle) ** 2, torch.sin(angle) ** 2
    wide, tall = (2 * log_extent).exp().unbind(dim=2)
    squares = torch.stack([wide * cos + tall * sin, wide * sin + tall * cos], dim=2)
    return 0.5 * squares.clamp_min(1e-12).log() + moves.log_zoom()[:, None, None]


def exposed(images: Tensor, draw: torch.Generator) -> Tensor:
    """Return images (B, 1, S, S) in [0, 1] as another detector may have shown them."""
    n = len(images)
    images = images.clamp(0, 1) ** _each(_normal(n, 0.35, draw).exp())
    images = images * _each(_normal(n, 0.2, draw).exp()) + _each(_normal(n, 0.08, draw))
    images = torch.where(_each(_some(n, _INVERTED, draw)), 1 - images, images)
    soft = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    share = _each(_uniform(n, 0, 1, draw) * _some(n, _BLURRED, draw))
    images = (1 - share) * images + share * soft
    images = _cut(images, draw)
    noise = torch.randn(images.shape, generator=draw)
    return images + noise * _each(_uniform(n, 0, 0.06, draw))


def _cut(images: Tensor, draw: torch.Generator) -> Tensor:
    """Return images with collimated borders, and with a patch of one grey on some."""
    n, side = len(images), images.shape[-1]
    cell = (torch.arange(side) + 0.5) / side
    edges = torch.rand(n, 4, generator=draw) * 0.2 * _some(n, _CUT, draw)[:, None]
    lit = _between(cell, edges[:, 0], 1 - edges[:, 1])[:, None, :]
    lit = lit & _between(cell, edges[:, 2], 1 - edges[:, 3])[:, :, None]
    images = images * lit[:, None]
    corner = torch.rand(n, 2, generator=draw)
    extent = (0.05 + 0.15 * torch.rand(n, 2, generator=draw)) * _some(n, _COVERED, draw)[:, None]
    patch = _between(cell, corner[:, 0], corner[:, 0] + extent[:, 0])[:, None, :]
    patch = patch & _between(cell, corner[:, 1], corner[:, 1] + extent[:, 1])[:, :, None]
    return torch.where(patch[:, None], _each(torch.rand(n, generator=draw)), images)


def _between(cell: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (cell >= low[:, None]) & (cell <= high[:, None])


def _uniform(n: int, low: float, high: float, draw: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=draw)


def _normal(n: int, spread: float, draw: torch.Generator) -> Tensor:
    return spread * torch.randn(n, generator=draw)


def _some(n: int, share: float, draw: torch.Generator) -> Tensor:
    return torch.rand(n, generator=draw) < share


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]
