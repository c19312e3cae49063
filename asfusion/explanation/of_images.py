"""The pixels of images, followed by their gradients or covered window by window."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asfusion._tokens import Prepared
from asfusion.explanation._asking import Attributor
from asfusion.explanation._attribution import PerRow
from asfusion.explanation._blocks import number_blocks, play_blocks, sum_blocks
from asfusion.explanation._curves import Claim
from asfusion.explanation._gradients import (
    check_gradients,
    has_gradients,
    map_layer,
    network_of,
    worth_of_tokens,
)
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.pixels import ImageMethod, attribute_image
from asfusion.imaging._in_memory import extent_of
from asfusion.imaging.extent import Extent
from asfusion.imaging.place import Place


class PixelAttributor(Attributor):
    """What attributing to pixels and to voxels has in common."""

    @property
    def method(self) -> ImageMethod:
        """How pixels are attributed; occlusion where no gradient leads to them."""
        asked = self.asking.image_method
        if asked == "auto":
            return "integrated_gradients" if has_gradients(self.game) else "occlusion"
        if asked != "occlusion":
            check_gradients(self.game, "image_method", "occlusion")
        return asked

    def check(self) -> None:
        """Raise if pixels cannot be attributed as asked."""
        if self.method == "grad_cam":
            map_layer(self.game, self.name)

    def attribute(self) -> PerRow:
        """Return the attribution of each row, None where there is nothing to see."""
        method = self.method
        return PerRow(self._of_row(row, method) if self.has(row) else None for row in self.rows())

    @abstractmethod
    def _of_row(self, row: int, method: ImageMethod) -> Any:
        """Return the attribution of a row that has the modality."""


class ImageAttributor(PixelAttributor):
    """Attributes to pixels."""

    def claim(self, row: int, found: Any) -> Claim | None:
        """Return blocks of the pixels of a row, to be made black or put in."""
        part = found[row]
        if part is None:
            return None
        image = self._pixels(row)
        blocks = number_blocks(image.shape[1:])
        play = play_blocks(self._worth_of_any(row), image, blocks)
        return Claim(sum_blocks(part.values, blocks), play)

    def _of_row(self, row: int, method: ImageMethod) -> ImageAttribution:
        layer = map_layer(self.game, self.name) if method == "grad_cam" else None
        if method == "occlusion":
            forward = self._worth_of_any(row)
        else:
            forward = self._differentiable_worth(row)
        # One by one: films of many rows are large.
        part = attribute_image(forward, self._pixels(row), method=method, layer=layer)
        rest = self.game.own_value(row, self.name) - part.total
        return replace(self._on_file(part, row), elsewhere=rest)

    def _on_file(self, part: ImageAttribution, row: int) -> ImageAttribution:
        """Return the attribution with the size of its file, for scale bars and the way back."""
        own = self.asking.row(row)
        places = self.encoder._looked_at(own)[0]
        place = places[0] if places else None
        source = self.encoder._cell_sources(own, self.encoder.columns_[0])[0]
        return on_film(part, extent_of(source), place, self.asking.unit(row))

    def _pixels(self, row: int) -> Tensor:
        """Return the image of a row (C, H, W), from 0 to 1."""
        prepared = self.encoder._prepare_rows(self.frame, np.asarray([row]))
        pixels: Tensor = prepared.tensors["pixels"].to(torch.float32)[0] / 255.0
        return pixels

    def _worth_of_any(self, row: int) -> Callable[[Tensor], Tensor]:
        """Return what images (B, C, H, W) from 0 to 1 are worth in place of a row's own."""
        worth = self.game.marginal(row, self.name)

        def forward(images: Tensor) -> Tensor:
            pixels = (images.detach() * 255.0).round().clamp(0, 255).to(torch.uint8)
            rows = Prepared({"pixels": pixels}, torch.ones(len(pixels), dtype=torch.bool))
            return torch.from_numpy(worth(*self.game.encode(self.name, rows)))

        return forward

    def _differentiable_worth(self, row: int) -> Callable[[Tensor], Tensor]:
        """Return the same with its gradient."""
        worth, network = (
            worth_of_tokens(self.game, row, self.name),
            network_of(self.game, self.name),
        )

        def forward(images: Tensor) -> Tensor:
            # A frozen backbone keeps no gradient when it is asked through its encoder.
            return worth(network(network.backbone({"pixels": images})))

        return forward


def on_film(
    part: ImageAttribution, extent: Extent, place: Place | None, unit: str
) -> ImageAttribution:
    """Return an attribution that knows the film of its pixels, and where it was cut from it."""
    size = part.values.shape[-1]
    spacing = (extent if place is None else place).spacing_at(size)
    return replace(part, extent=extent, spacing_mm=spacing, unit=unit, place=place)
