"""What a linear model reads of a modality whose network would have to learn first.

Dimensions: N rows, C channels, H rows and W columns of pixels, Z Y X voxels, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asfusion._later import torch
from asfusion._tokens import Prepared

if TYPE_CHECKING:
    from torch import Tensor

_SIDE = 16  # of small images, in pixels
_BLOCK = (4, 8, 8)  # of small volumes, in voxels
SMALL_VOLUME = 4 * 8 * 8


def small_images(pixels: Tensor) -> Tensor:
    """Return images (N, C, H, W) as small grey ones (N, D), each with mean 0 and variance 1."""
    grey = pixels.to(torch.float32).mean(dim=1, keepdim=True)
    return _standardised(torch.nn.functional.adaptive_avg_pool2d(grey, _SIDE).flatten(1).double())


def small_volume(voxels: Tensor) -> Tensor:
    """Return a volume (Z, Y, X) as a small one (D,), with mean 0 and variance 1."""
    small = torch.nn.functional.adaptive_avg_pool3d(voxels.to(torch.float32)[None], _BLOCK)
    return _standardised(small.flatten(1).double())[0]


def numbers_of(prepared: Prepared) -> NDArray[np.float64]:
    """Return whatever was prepared as features (N, D), NaN for rows without the modality.

    Vectors are read as they are; what has more dimensions is averaged down to at most 16 numbers
    along each of the last two.
    """
    parts = [_flat(tensor) for _, tensor in sorted(prepared.tensors.items())]
    return with_absent(torch.cat(parts, dim=1), prepared.present)


def with_absent(features: Tensor, present: Tensor) -> NDArray[np.float64]:
    """Return features (N, D) with NaN in the rows that lack the modality."""
    found: NDArray[np.float64] = torch.nan_to_num(features.double()).numpy().copy()
    found[~present.numpy()] = np.nan
    return found


def _flat(tensor: Tensor) -> Tensor:
    if tensor.dim() < 3:
        return tensor.double().reshape(len(tensor), -1)
    pooled = tensor.float().reshape(len(tensor), -1, *tensor.shape[-2:]).mean(dim=1)
    height, width = (min(_SIDE, side) for side in pooled.shape[-2:])
    return torch.nn.functional.adaptive_avg_pool2d(pooled, (height, width)).flatten(1).double()


def _standardised(values: Tensor) -> Tensor:
    spread = values.std(dim=1, keepdim=True).clamp(min=1e-6)
    return (values - values.mean(dim=1, keepdim=True)) / spread
