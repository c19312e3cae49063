"""Regions of a film: one network for all of them, a token for each.

Dimensions: B films, R regions, C channels, H rows, W columns, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from asfusion._tokens import Tokens
from asfusion.nn._placed import known, positions_there
from asfusion.nn.image import ImageBackbone
from asfusion.nn.network import Backbone, Inputs


class RegionBackbone(Backbone):
    """Pass each region through one image network: one token per region.

    Parameters
    ----------
    images : ImageBackbone
        The network of a single region, one token each.

    Shape
    -----
    - Input: ``pixels`` (B, R, C, H, W), uint8 or floating from 0 to 1, and ``mask`` (B, R),
      bool, which regions there are.
    - Output: `Tokens` (B, R, D).

    Examples
    --------
    >>> import torch
    >>> from asfusion.nn.image import build_image_backbone, describe_image_backbone
    >>> backbone = RegionBackbone(build_image_backbone(describe_image_backbone("compact")))
    >>> pixels = torch.zeros(3, 2, 1, 32, 32, dtype=torch.uint8)
    >>> backbone({"pixels": pixels, "mask": torch.ones(3, 2, dtype=torch.bool)}).values.shape
    torch.Size([3, 2, 128])
    """

    def __init__(self, images: ImageBackbone) -> None:
        super().__init__()
        self.images = images
        self.d_out = images.d_out

    def forward(self, inputs: Inputs) -> Tokens:
        """Return tokens (B, R, d_out)."""
        mask = inputs["mask"]
        pixels = inputs["pixels"].flatten(0, 1)
        learns = self.training or self.last_block().training
        # Black squares would move batch statistics.
        there = positions_there(known(inputs, "mask"), pixels.device) if learns else None
        vectors = self.images({"pixels": pixels if there is None else pixels[there]}).values[:, 0]
        if there is not None:
            whole = vectors.new_zeros(len(pixels), self.d_out)
            vectors = whole.index_copy(0, there, vectors)
        return Tokens(vectors.reshape(*mask.shape, self.d_out), mask)

    def of_region(self, pixels: Tensor) -> Tensor:
        """Return the tokens (B, 1, d_out) of squares (B, C, H, W) of one region."""
        return self.images({"pixels": pixels}).values  # type: ignore[no-any-return]

    def shrink(self, inputs: Inputs, share: float) -> Inputs:
        """Return regions with sides `share` as long, if the network reads any size."""
        pixels = inputs["pixels"]
        small = self.images.shrink({"pixels": pixels.flatten(0, 1)}, share)["pixels"]
        return {**inputs, "pixels": small.reshape(*pixels.shape[:3], *small.shape[-2:])}

    def view(self, inputs: Inputs, number: int) -> Inputs:
        """Return regions as augmentation could have moved them, all in the same way."""
        pixels = inputs["pixels"]
        moved = self.images.view({"pixels": pixels.flatten(0, 1)}, number)["pixels"]
        return {**inputs, "pixels": moved.reshape(pixels.shape)}

    def map_layer(self) -> nn.Module | None:
        """Return what gives the last feature map (B * R, D, h, w); None if that is patches."""
        return self.images.map_layer()

    def last_block(self) -> nn.Module:
        """Return the last stage of the network of a region."""
        return self.images.last_block()
