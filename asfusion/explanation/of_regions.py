"""The regions of a film, each as if it had not been found where it is left out.

Dimensions: B images, T tokens, D width, R regions, M coalitions, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asfusion._tokens import Prepared, Tokens
from asfusion.encoders._embedding import embed_prepared
from asfusion.explanation._coalitions import Floats, Masks, Play
from asfusion.explanation._curves import Claim
from asfusion.explanation._gradients import map_layer, network_of, worth_of_tokens
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.of_images import PixelAttributor, on_film
from asfusion.explanation.pixels import ImageMethod, attribute_image
from asfusion.explanation.players import shapley
from asfusion.explanation.regions import RegionAttribution
from asfusion.imaging._in_memory import extent_of
from asfusion.imaging.original import read_original

Forward = Callable[[Tensor], Tensor]

_ON_PAGE = 512  # longest side of the film that is drawn, in pixels


class RegionAttributor(PixelAttributor):
    """Attributes to regions as players of one game, and to the pixels of each."""

    def claim(self, row: int, found: Any) -> Claim | None:
        """Return the regions of a row, to be taken away or put in."""
        part = found[row]
        if part is None:
            return None
        values = np.asarray(list(part.regions.values()), dtype=np.float64)
        return Claim(values, self._play(row, self._prepared(row)))

    def _of_row(self, row: int, method: ImageMethod) -> RegionAttribution:
        prepared, own = self._prepared(row), self.asking.row(row)
        there = np.flatnonzero(prepared.tensors["mask"][0].numpy()).tolist()
        names = [self.encoder.regions_[r] for r in there]
        seed = self.seed("regions", row)
        values = shapley(self._play(row, prepared), len(there), seed=seed).values
        places = {place.name: place for place in self.encoder._looked_at(own)[0]}
        source = self.encoder._cell_sources(own, self.encoder.columns_[0])[0]
        extent, unit = extent_of(source), self.asking.unit(row)
        maps = {
            name: on_film(self._pixels(row, prepared, r, method), extent, places.get(name), unit)
            for name, r in zip(names, there, strict=True)
        }
        regions = dict(zip(names, values.tolist(), strict=True))
        film = read_original(source).pixels[0]
        step = max(1, max(film.shape) // _ON_PAGE)
        return RegionAttribution(regions, maps, film[::step, ::step].copy(), extent, unit)

    def _prepared(self, row: int) -> Prepared:
        prepared: Prepared = self.encoder.prepare(self.asking.row(row))
        return prepared

    def _play(self, row: int, prepared: Prepared) -> Play:
        """Return the worth of a row of which only some regions (M, R) were found."""
        worth, without = self.game.marginal(row, self.name), self.game.without(row, self.name)
        there = torch.nonzero(prepared.tensors["mask"][0]).flatten()
        # The network of a joint model has learned; elsewhere it is the encoder's own.
        network = self.encoder._network()
        tokens = embed_prepared(network, prepared, self.encoder._embed_rows).tokens()

        def play(masks: Masks) -> Floats:
            n = len(masks)
            mask = torch.zeros(n, tokens.mask.shape[1], dtype=torch.bool)
            mask[:, there] = torch.from_numpy(masks)
            some = Tokens(tokens.values.expand(n, -1, -1), mask)
            rows = Prepared.embedded(some, mask.any(dim=1))
            content, present = self.game.encode(self.name, rows)
            return np.where(present, worth(content, present), without)

        return play

    def _pixels(
        self, row: int, prepared: Prepared, region: int, method: ImageMethod
    ) -> ImageAttribution:
        """Return what the pixels of one region add, the others being as they are."""
        image = prepared.tensors["pixels"][0, region].to(torch.float32) / 255.0
        if method == "occlusion":
            return attribute_image(self._worth_of_any(row, prepared, region), image, method=method)
        layer = map_layer(self.game, self.name) if method == "grad_cam" else None
        forward = self._differentiable_worth(row, prepared, region)
        return attribute_image(forward, image, method=method, layer=layer)

    def _differentiable_worth(self, row: int, prepared: Prepared, region: int) -> Forward:
        """Return the worth of images (B, C, H, W) in place of one region of the row."""
        worth = worth_of_tokens(self.game, row, self.name)
        network = network_of(self.game, self.name)
        with torch.no_grad():
            values, mask = network.backbone(dict(prepared.tensors))

        def forward(images: Tensor) -> Tensor:
            b = len(images)
            own = network.backbone.of_region(images)
            before = values[:, :region].expand(b, -1, -1)
            after = values[:, region + 1 :].expand(b, -1, -1)
            tokens = Tokens(torch.cat([before, own, after], dim=1), mask.expand(b, -1))
            return worth(network(tokens))

        return forward

    def _worth_of_any(self, row: int, prepared: Prepared, region: int) -> Forward:
        """Return the same of a model that has no gradients."""
        worth = self.game.marginal(row, self.name)

        def forward(images: Tensor) -> Tensor:
            tensors = {
                name: value.expand(len(images), *value.shape[1:]).clone()
                for name, value in prepared.tensors.items()
            }
            eight = (images.detach() * 255.0).round().clamp(0, 255).to(torch.uint8)
            tensors["pixels"][:, region] = eight
            rows = Prepared(tensors, torch.ones(len(images), dtype=torch.bool))
            return torch.from_numpy(worth(*self.game.encode(self.name, rows)))

        return forward
