"""Augmentation that a patient and a machine could have made, whole batches at a time.

Nothing is turned upside down, and left and right are exchanged only together with what is
said about either side.

Dimensions: B images, C channels, H rows, W columns, S sequences, Z Y X voxels, K targets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asfusion._checks import check_number
from asfusion._door import public
from asfusion.exceptions import ShapeError


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

    @public
    def forward(self, images: Tensor) -> Tensor:
        """Return augmented images (B, C, H, W)."""
        if not self.training:
            return images
        draws = torch.rand(len(images), 4, dtype=images.dtype, device=images.device) * 2.0 - 1.0
        return self._dim(_moved(images, self._placements(images, draws)))

    @public
    def view(self, images: Tensor, number: int) -> Tensor:
        """Return images as they might have been taken as well.

        Parameters
        ----------
        images : Tensor of shape (B, C, H, W)
            Values in [0, 1].
        number : int
            Which view; each number is one turn, shift and scale within the strengths above,
            the same for all images and at all times. Number 0 is the images themselves.

        Returns
        -------
        Tensor of shape (B, C, H, W)
            Moved, not dimmed, and neither noisy nor mirrored.
        """
        if number == 0:
            return images
        stream = torch.Generator().manual_seed(number)
        draws = torch.rand(1, 4, generator=stream).to(images) * 2.0 - 1.0
        draws = draws.expand(len(images), -1)
        return _moved(images, self._placements(images, draws, mirrored=False))

    def _placements(self, images: Tensor, draws: Tensor, *, mirrored: bool = True) -> Tensor:
        """Return one affine map (B, 2, 3) per image, in coordinates from -1 to 1."""
        height, width = images.shape[2], images.shape[3]
        angle = draws[:, 0] * math.radians(self.rotation)
        size = 1.0 + draws[:, 1] * self.scale
        mirror = torch.ones_like(angle)
        if mirrored and self.flip > 0.0:
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


class StackAugment(RadiographAugment):
    """Move, turn and dim stacks of slices a little, all slices of a patient alike.

    Slices are moved in their plane, and brighter towards one side or another as they are
    nearer to a coil. Left and right, up and down, first and last stay what they are. In
    evaluation mode stacks pass unchanged.

    Parameters
    ----------
    rotation : float
        Largest rotation in the plane, in degrees.
    translation : float
        Largest shift, as a share of the slice's side.
    scale : float
        Largest relative change of size.
    brightness : float
        Largest shift of grey values, in units of the full range.
    contrast : float
        Largest relative change of contrast.
    noise : float
        Standard deviation of added noise, in units of the full range.
    shading : float
        Largest relative change of brightness from the middle to an edge.

    Shape
    -----
    - Input: (B, S, Z, Y, X), floating, values in [0, 1].
    - Output: the same. What moves in from outside is black.

    Raises
    ------
    ConfigurationError
        If a strength is out of range.

    Examples
    --------
    >>> import torch
    >>> from asfusion.imaging import StackAugment
    >>> augment, stacks = StackAugment(), torch.rand(2, 1, 4, 32, 32)
    >>> augment(stacks).shape, torch.equal(augment.eval()(stacks), stacks)
    (torch.Size([2, 1, 4, 32, 32]), True)
    """

    def __init__(
        self,
        rotation: float = 7.0,
        translation: float = 0.05,
        scale: float = 0.1,
        brightness: float = 0.05,
        contrast: float = 0.1,
        noise: float = 0.02,
        shading: float = 0.15,
    ) -> None:
        super().__init__(rotation, translation, scale, brightness, contrast, noise)
        self.shading = check_number(shading, "shading", minimum=0.0, maximum=1.0)

    @public
    def forward(self, images: Tensor) -> Tensor:
        """Return augmented stacks (B, S, Z, Y, X)."""
        if not self.training:
            return images
        planes = super().forward(images.flatten(1, 2))
        return (planes * self._shades(planes)).clamp(0.0, 1.0).reshape(images.shape)

    @public
    def view(self, images: Tensor, number: int) -> Tensor:
        """Return stacks as they might have been taken as well; see `RadiographAugment.view`."""
        return super().view(images.flatten(1, 2), number).reshape(images.shape)

    def _shades(self, planes: Tensor) -> Tensor:
        """Return what each place of each stack is multiplied by (B, 1, Y, X)."""
        draws = torch.rand(len(planes), 2, 1, 1, dtype=planes.dtype, device=planes.device)
        slope = self.shading * (2.0 * draws - 1.0)
        rows, columns = (
            torch.linspace(-1.0, 1.0, n, dtype=planes.dtype, device=planes.device)
            for n in planes.shape[2:]
        )
        return (1.0 + slope[:, :1] * rows[:, None] + slope[:, 1:] * columns).clamp(min=0.0)


@public
def mirror_sides(
    images: Tensor, targets: Tensor | None = None, pairs: Sequence[tuple[int, int]] = ()
) -> tuple[Tensor, Tensor | None]:
    """Exchange left and right in images, and in what is said about either side.

    Parameters
    ----------
    images : Tensor of shape (B, ..., W)
        Images or volumes whose last axis runs from one side of the body to the other.
    targets : Tensor of shape (B, K), optional
        What is said of each image, some of it about a side.
    pairs : sequence of pairs of int
        Columns of `targets` that say the same of the right and of the left, such as grades
        of the two sacroiliac joints.

    Returns
    -------
    images : Tensor of shape (B, ..., W)
        Mirrored.
    targets : Tensor of shape (B, K) or None
        With the columns of each pair exchanged.

    Raises
    ------
    ShapeError
        If `pairs` name columns that `targets` does not have.

    Examples
    --------
    >>> import torch
    >>> from asfusion.imaging import mirror_sides
    >>> image, grades = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[0, 3]])
    >>> mirror_sides(image, grades, pairs=[(0, 1)])
    (tensor([[[2., 1.]]]), tensor([[3, 0]]))
    """
    n_targets = 0 if targets is None else targets.shape[1]
    order = list(range(n_targets))
    for right, left in pairs:
        if not (0 <= right < n_targets and 0 <= left < n_targets):
            msg = f"pairs: expected columns of the {n_targets} target(s), got ({right}, {left})."
            raise ShapeError(msg)
        order[right], order[left] = order[left], order[right]
    return images.flip(-1), None if targets is None else targets[:, order]


def _moved(images: Tensor, placements: Tensor) -> Tensor:
    grid = F.affine_grid(placements, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
