"""The network that draws: a mask for each region, by MONAI, and the box around each.

Dimensions: B images, S side of an image, R regions.
Places go from -1 to 1 along each side, x first; extents are logarithms of shares of half the side.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from asfusion._optional import import_optional
from asfusion.anatomy._network import standardised

_WIDTHS = (16, 32, 64, 96, 96)
_IN = 0.5  # probability from which on a pixel is of a region


class Drawn(NamedTuple):
    """What is drawn on a batch, as boxes."""

    centres: Tensor  # (B, R, 2)
    log_extents: Tensor  # (B, R, 2), of widths and heights
    sure: Tensor  # (B, R): the overlap with the truth to be expected

    def peaks(self) -> Tensor:
        """Return how sure each is (B, R)."""
        return self.sure


class MaskNetwork(nn.Module):
    """A U-Net of MONAI that draws a mask for each region; masks may overlap.

    Parameters
    ----------
    n_marks : int
        Regions, R.

    Raises
    ------
    MissingDependencyError
        If MONAI is not installed.
    """

    learning_rate: ClassVar[float] = 1e-2

    def __init__(self, n_marks: int) -> None:
        super().__init__()
        nets = import_optional(
            "monai.networks.nets", needed_for="A finder with method='masks'", extra="monai"
        )
        self.body = nets.UNet(
            2, 1, n_marks, channels=_WIDTHS, strides=(2,) * (len(_WIDTHS) - 1), num_res_units=0,
            norm=("GROUP", {"num_groups": 1}),
        )  # fmt: skip

    def logits(self, images: Tensor) -> Tensor:
        """Return the log odds (B, R, S, S) of being of each region."""
        drawn: Tensor = self.body(standardised(images))
        return drawn

    def forward(self, images: Tensor) -> Drawn:
        """Return the boxes around what is drawn on images (B, 1, S, S)."""
        masks = self.logits(images).sigmoid().double().numpy()
        found = [[_around(mask) for mask in film] for film in masks]
        numbers = torch.as_tensor(np.array(found), dtype=images.dtype)
        half = images.shape[-1] / 2
        low, high = numbers[..., :2] / half - 1, numbers[..., 2:4] / half - 1
        return Drawn((low + high) / 2, (high - low).log(), numbers[..., 4])


def loss_of_masks(logits: Tensor, masks: Tensor, known: Tensor) -> Tensor:
    """Return Dice and cross-entropy of masks (B, R, S, S) of regions that are known (B, R)."""
    losses = import_optional(
        "monai.losses", needed_for="A finder with method='masks'", extra="monai"
    )
    dice = losses.DiceLoss(sigmoid=True, reduction="none")(logits, masks).flatten(1)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean(dim=(2, 3))
    return torch.sum((dice + entropy) * known) / known.sum().clamp_min(1)


def _around(mask: NDArray[np.float64]) -> tuple[float, float, float, float, float]:
    """Return the box (x0, y0, x1, y1) around the largest whole of a mask, and how sure it is."""
    parts, n_parts = ndimage.label(mask >= _IN)
    if not n_parts:
        row, column = np.unravel_index(mask.argmax(), mask.shape)
        return float(column), float(row), column + 1.0, row + 1.0, float(mask.max() / mask.size)
    sizes = np.bincount(parts.ravel())[1:]
    own = parts == 1 + sizes.argmax()
    near = np.where(ndimage.binary_dilation(own), mask, 0.0)  # pixels that it covers in part
    (x0, x1), (y0, y1) = (_edges(near.max(axis=axis)) for axis in (0, 1))
    inside = mask[own].sum()
    return x0, y0, x1, y1, float(inside / (own.sum() + mask.sum() - inside))


def _edges(profile: NDArray[np.float64]) -> tuple[float, float]:
    """Return where a profile begins and ends; pixels at its ends count by their share."""
    first, last = np.flatnonzero(profile >= _IN)[[0, -1]]
    padded = np.pad(profile, 1)
    low = first + 1 - padded[first + 1] - padded[first]
    return float(low), float(last + padded[last + 1] + padded[last + 2])
