"""Augmentation of radiographs, whole batches at a time.

Dimensions: B images, C channels, H rows, W columns.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asfusion._checks import check_number


class RadiographAugment(nn.Module):
    """Move, turn and dim images a little, each of them differently.

    Left and right are not exchanged unless asked for: the side of a finding is part of
    it. In evaluation mode images pass unchanged.

    Parameters
    ----------
    rotation : float
        Largest rotation, in degrees.
    translation : float
        Largest shift, as a share of the image's side.
    scale : float
        Largest relative change of size.
    brightness : float
        Largest shift of grey values, in units of the full range.
    contrast : float
        Largest relative change of contrast.
    noise : float
        Standard deviation of added noise, in units of the full range.
    flip : float
        Probability of exchanging left and right.

    Shape
    -----
    - Input: (B, C, H, W), floating, values in [0, 1].
    - Output: the same. What moves in from outside is black.

    Raises
    ------
    ConfigurationError
        If a strength is out of range.

    Notes
    -----
    Random numbers come from torch's global generator, so that a seeded fit repeats.

    Examples
    --------
    >>> import torch
    >>> from asfusion.imaging import RadiographAugment
    >>> augment, images = RadiographAugment(), torch.rand(4, 1, 64, 64)
    >>> augment(images).shape, torch.equal(augment.eval()(images), images)
    (torch.Size([4, 1, 64, 64]), True)
    """

    def __init__(
        self,
        rotation: float = 7.0,
        translation: float = 0.05,
        scale: float = 0.1,
        brightness: float = 0.1,
        contrast: float = 0.1,
        noise: float = 0.02,
        flip: float = 0.0,
    ) -> None:
        super().__init__()
        self.rotation = check_number(rotation, "rotation", minimum=0.0, maximum=180.0)
        self.translation = check_number(translation, "translation", minimum=0.0, maximum=1.0)
        self.scale = check_number(scale, "scale", minimum=0.0, maximum=0.9)
        self.brightness = check_number(brightness, "brightness", minimum=0.0, maximum=1.0)
        self.contrast = check_number(contrast, "contrast", minimum=0.0, maximum=1.0)
        self.noise = check_number(noise, "noise", minimum=0.0, maximum=1.0)
        self.flip = check_number(flip, "flip", minimum=0.0, maximum=1.0)

    def forward(self, images: Tensor) -> Tensor:
        """Return augmented images (B, C, H, W)."""
        if not self.training:
            return images
        grid = F.affine_grid(self._placements(images), list(images.shape), align_corners=False)
        moved = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
        return self._dim(moved)

    def _placements(self, images: Tensor) -> Tensor:
        """Return one random affine map (B, 2, 3) per image, in coordinates from -1 to 1."""
        n, height, width = len(images), images.shape[2], images.shape[3]
        draws = torch.rand(n, 4, dtype=images.dtype, device=images.device) * 2.0 - 1.0
        angle = draws[:, 0] * math.radians(self.rotation)
        size = 1.0 + draws[:, 1] * self.scale
        mirror = torch.ones_like(angle)
        if self.flip > 0.0:
            mirror = torch.where(torch.rand_like(angle) < self.flip, -mirror, mirror)
        cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
        # The grid is relative to each side: a turn mixes sides of different length.
        ratio = height / width
        shift = 2.0 * self.translation * draws[:, 2:]
        across = torch.stack([mirror * cos, -mirror * sin * ratio, shift[:, 0]], dim=1)
        down = torch.stack([sin / ratio, cos, shift[:, 1]], dim=1)
        return torch.stack([across, down], dim=1)

    def _dim(self, images: Tensor) -> Tensor:
        """Return images with other contrast and brightness, and noise, within [0, 1]."""
        n = len(images)
        draws = torch.rand(n, 2, 1, 1, 1, dtype=images.dtype, device=images.device) * 2.0 - 1.0
        gain, lift = 1.0 + self.contrast * draws[:, 0], self.brightness * draws[:, 1]
        dimmed = (images - 0.5) * gain + 0.5 + lift
        if self.noise > 0.0:
            dimmed = dimmed + self.noise * torch.randn_like(dimmed)
        return dimmed.clamp(0.0, 1.0)
