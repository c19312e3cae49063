"""Findings that are wrong by intent: what confidence learns from where few others are wrong.

Dimensions: N films, R things to find, F features of a finding, S side of an image (pixels).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asfusion._random import derive_seed

Floats = NDArray[np.float64]

_TILES = 4


def scrambled(images: Tensor, seed: int) -> Tensor:
    """Return images (N, 1, S, S) cut into tiles that are laid out anew: they show no whole."""
    draw = torch.Generator().manual_seed(derive_seed(seed, "scrambled"))
    side = images.shape[-1] // _TILES
    tiles = images.unfold(2, side, side).unfold(3, side, side).flatten(2, 3)
    tiles = tiles[:, :, torch.randperm(tiles.shape[2], generator=draw)]
    rows = tiles.reshape(len(images), 1, _TILES, _TILES, side, side).permute(0, 1, 2, 4, 3, 5)
    return torch.reshape(rows, images.shape)


def taken_for_another(
    values: Floats, other: NDArray[np.int64]
) -> tuple[Floats, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return values of which one per film is its neighbour's, and which: they take turns.

    Parameters
    ----------
    values : ndarray of shape (N, R, ...)
        Places, or features.
    other : ndarray of shape (R,)
        The neighbour of each.
    """
    films = np.arange(len(values))
    taken = films % values.shape[1]
    changed = values.copy()
    changed[films, taken] = values[films, other[taken]]
    return changed, (films, taken)
