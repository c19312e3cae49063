"""The network that points: a heat map for each thing to find.

Dimensions: B images, S side of an image, R things to find, E numbers read at each, H W the map.
Places go from -1 to 1 along each side of the square, x first, as in `grid_sample`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTHS = (16, 32, 64, 96)
_GROUPS = 8


class Sight(NamedTuple):
    """What a network says of a batch: heat (B, R, H, W) sums to 1, the rest follows from it."""

    log_heat: Tensor
    centres: Tensor  # (B, R, 2)
    numbers: Tensor  # (B, R, E)


class HeatNetwork(nn.Module):
    """A small fully convolutional network, down to a sixteenth of the side and up again.

    Parameters
    ----------
    n_marks : int
        Things to find, R.
    n_numbers : int
        Numbers to read at each, E.
    stride : {2, 4}
        Side of the image over the side of the heat map.
    """

    def __init__(self, n_marks: int, n_numbers: int = 0, stride: int = 4) -> None:
        super().__init__()
        self.n_marks, self.n_numbers = n_marks, n_numbers
        self.down = nn.ModuleList(
            nn.Sequential(_layer(n, m, stride=2), _layer(m, m))
            for n, m in zip((1, *_WIDTHS[:-1]), _WIDTHS, strict=True)
        )
        above = _WIDTHS[::-1] if stride == 2 else _WIDTHS[:0:-1]
        steps = list(pairwise(above))
        self.side = nn.ModuleList(nn.Conv2d(n, m, 1) for n, m in steps)
        self.up = nn.ModuleList(_layer(m, m) for _, m in steps)
        self.heat = nn.Conv2d(above[-1], n_marks, 1)
        self.read = nn.Conv2d(above[-1], n_marks * n_numbers, 1) if n_numbers else None

    def forward(self, images: Tensor) -> Sight:
        """Return what is seen on images (B, 1, S, S)."""
        x = _standardised(images)
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
        heat = log_heat.exp()
        centres = (heat[:, :, None] * _places(heat)).sum(dim=(3, 4))
        return Sight(log_heat, centres, self._numbers(x, heat))

    def _numbers(self, x: Tensor, heat: Tensor) -> Tensor:
        if self.read is None:
            return heat.new_zeros(*heat.shape[:2], 0)
        maps = self.read(x).unflatten(1, (self.n_marks, self.n_numbers))
        return torch.sum(maps * heat[:, :, None], dim=(3, 4))


def _layer(n: int, m: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(n, m, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, m),
        nn.ReLU(inplace=True),
    )


def _standardised(images: Tensor) -> Tensor:
    """Return images with mean 0 and deviation 1, whatever the exposure was."""
    flat = images.flatten(1)
    spread = flat.std(dim=1).clamp_min(1e-3)[:, None, None, None]
    moved: Tensor = (images - flat.mean(dim=1)[:, None, None, None]) / spread
    return moved


def _places(heat: Tensor) -> Tensor:
    """Return the places (2, H, W) of the cells of a map."""
    height, width = heat.shape[-2:]
    x = (torch.arange(width) + 0.5) * 2 / width - 1
    y = (torch.arange(height) + 0.5) * 2 / height - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy")).to(heat)


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
