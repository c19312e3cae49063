"""Blocks of the pixels of an image, or the voxels of a volume: the parts that curves ask about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asfusion.explanation._coalitions import Floats, Masks, Play, in_steps

_MOST_IMAGES = 16
_BLOCKS = 8  # along each side


def number_blocks(shape: Sequence[int]) -> NDArray[np.int64]:
    """Return the number of the block that each pixel or voxel lies in, 8 along each side."""
    places = [np.arange(extent) * min(_BLOCKS, extent) // extent for extent in shape]
    sides = [min(_BLOCKS, extent) for extent in shape]
    grid = np.meshgrid(*places, indexing="ij")
    return np.asarray(np.ravel_multi_index(grid, sides), dtype=np.int64)


def sum_blocks(values: Floats, blocks: NDArray[np.int64]) -> Floats:
    """Return what each block adds."""
    return np.bincount(blocks.ravel(), values.ravel()).astype(np.float64)


def play_blocks(forward: Callable[[Tensor], Any], image: Tensor, blocks: NDArray[np.int64]) -> Play:
    """Return the worth of an image of which only some blocks are left, the rest black.

    `blocks` has the number of each pixel's block, in the shape of the image without its
    channels.
    """
    numbers = torch.from_numpy(blocks)

    def play(masks: Masks) -> Floats:
        shown = torch.from_numpy(masks)[:, numbers].unsqueeze(1).to(image.dtype)
        return np.asarray(forward(image.unsqueeze(0) * shown))

    return in_steps(play, _MOST_IMAGES)
