"""Films as photographs while a network learns, whole batches at a time.

Dimensions: B images, C channels, H rows, W columns.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from asfusion._checks import check_number
from asfusion._door import public
from asfusion.imaging.augment import RadiographAugment

_TURN_DEG, _TILT, _AWAY, _OFF = 14.0, 0.25, 0.6, 0.15  # the most, of the worst photographs


class PhotographAugment(RadiographAugment):
    """Show a network some of its films as photographs of them, each of them differently.

    What `asfusion.imaging.photographs.degrade` does in detail, a batch gets in rough: films seen
    at an angle before something bright or dark, other exposure and white balance, shadow, glare,
    a monitor's stripes, blur and noise. The others are moved and dimmed as by
    `asfusion.imaging.RadiographAugment`. Left and right are not exchanged.

    Parameters
    ----------
    share : float
        Share of images that become photographs.

    Shape
    -----
    - Input: (B, C, H, W), floating, values in [0, 1].
    - Output: the same.

    Raises
    ------
    ConfigurationError
        If `share` is out of range.

    Notes
    -----
    Random numbers come from torch's global generator, so that a seeded fit repeats. `view` moves
    films and makes no photographs of them.

    Examples
    --------
    >>> import torch
    >>> from asfusion.imaging.photographs import PhotographAugment
    >>> augment, images = PhotographAugment(), torch.rand(4, 1, 64, 64)
    >>> augment(images).shape, torch.equal(augment.eval()(images), images)
    (torch.Size([4, 1, 64, 64]), True)
    """

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = check_number(share, "share", minimum=0.0, maximum=1.0)

    @public
    def forward(self, images: Tensor) -> Tensor:
        """Return augmented images (B, C, H, W)."""
        if not self.training:
            return images
        moved = super().forward(images)
        chosen = torch.rand(len(images), device=images.device) < self.share
        if chosen.any():
            moved[chosen] = _photographed(images[chosen])
        return moved


def _photographed(images: Tensor) -> Tensor:
    """Return images as photographs of all severities."""
    strength = torch.rand(_each(images), dtype=images.dtype, device=images.device)
    seen = _seen_aslant(images, strength)
    seen = seen.clamp(0.0, 1.0) ** torch.exp(0.7 * strength * _symmetric(images))
    y, x = _places(images)
    seen = seen * _stripes(images, strength, y, x) * _shade(images, strength, y, x)
    seen = _softened(seen + _spot(images, strength, y, x), strength)
    gains = torch.exp(0.2 * strength * _symmetric(images, images.shape[1]))
    noisy = gains * seen + 0.08 * strength * torch.randn_like(seen) * _uniform(images)
    return noisy.clamp(0.0, 1.0)


def _seen_aslant(images: Tensor, strength: Tensor) -> Tensor:
    """Return images as seen by a camera that is held aslant, before a plain wall."""
    y, x = _places(images)
    angle = math.radians(_TURN_DEG) * strength * _symmetric(images)
    away = 1.0 + _AWAY * strength * _uniform(images)
    depth = 1.0 + strength * _TILT * (_symmetric(images) * x + _symmetric(images) * y)
    ratio = images.shape[2] / images.shape[3]
    cos, sin = torch.cos(angle) * away / depth, torch.sin(angle) * away / depth
    across = cos * x - sin * ratio * y + _OFF * strength * _symmetric(images)
    down = sin / ratio * x + cos * y + _OFF * strength * _symmetric(images)
    grid = torch.stack([across[:, 0], down[:, 0]], dim=-1)
    wall = _uniform(images)
    return F.grid_sample(images - wall, grid, align_corners=False) + wall


def _stripes(images: Tensor, strength: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return what a monitor's grid multiplies by, on half of the images."""
    turn, waves = math.pi * _uniform(images), 4.0 + 50.0 * _uniform(images)
    along = torch.cos(turn) * x + torch.sin(turn) * y
    bent = along + 0.05 * _symmetric(images) * along.square()
    phase = torch.arange(images.shape[1], dtype=images.dtype, device=images.device) / 3.0
    stripes = torch.cos(math.pi * waves * bent + 2.0 * math.pi * phase[:, None, None])
    on = (_uniform(images) < 0.5).to(images.dtype)
    return 1.0 + 0.3 * on * strength * _uniform(images) * stripes


def _shade(images: Tensor, strength: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return what a vignette and a shadow multiply by."""
    vignette = 1.0 - 0.3 * strength * _uniform(images) * (x.square() + y.square())
    turn = 2.0 * math.pi * _uniform(images)
    into = torch.cos(turn) * x + torch.sin(turn) * y - 0.6 * _symmetric(images)
    dark = torch.sigmoid(into / (0.05 + 0.3 * _uniform(images)))
    return vignette.clamp(min=0.0) * (1.0 - 0.6 * strength * _uniform(images) * dark)


def _spot(images: Tensor, strength: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return the light of a reflected lamp and of a veil."""
    apart = (x - _symmetric(images)).square() + (y - _symmetric(images)).square()
    lamp = torch.exp(-apart / (2.0 * (0.05 + 0.3 * _uniform(images)).square()))
    return strength * (0.6 * _uniform(images) ** 1.5 * lamp + 0.2 * _uniform(images))


def _softened(images: Tensor, strength: Tensor) -> Tensor:
    """Return images out of focus, as mixtures with two means over neighbours."""
    near = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    far = F.avg_pool2d(near, 5, stride=1, padding=2, count_include_pad=False)
    share, much = strength * _uniform(images), strength * _uniform(images)
    return (1.0 - share) * images + share * ((1.0 - much) * near + much * far)


def _places(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and columns from -1 to 1, as (1, 1, H, 1) and (1, 1, 1, W)."""
    height, width = images.shape[2:]
    y, x = ((2.0 * torch.arange(n).to(images) + 1.0) / n - 1.0 for n in (height, width))
    return y[None, None, :, None], x[None, None, None, :]


def _each(images: Tensor, channels: int = 1) -> tuple[int, int, int, int]:
    return len(images), channels, 1, 1


def _uniform(images: Tensor) -> Tensor:
    return torch.rand(_each(images), dtype=images.dtype, device=images.device)


def _symmetric(images: Tensor, channels: int = 1) -> Tensor:
    draws = torch.rand(_each(images, channels), dtype=images.dtype, device=images.device)
    return 2.0 * draws - 1.0
