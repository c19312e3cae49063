"""The voxels of a patient's series, on the voxels of their files.

Dimensions: B volumes, T tokens, D width, S sequences, Z Y X voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asfusion._tokens import Prepared, Tokens
from asfusion.explanation._blocks import number_blocks, sum_blocks
from asfusion.explanation._coalitions import Floats, Masks, in_steps
from asfusion.explanation._curves import Claim
from asfusion.explanation._gradients import map_layer, network_of, worth_of_tokens
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.of_images import PixelAttributor
from asfusion.explanation.pixels import ImageMethod, attribute_image
from asfusion.explanation.volumes import VolumeAttribution
from asfusion.imaging.volumes.grid import to_eight_bits, window_of
from asfusion.imaging.volumes.series import read_series

_MOST_VOLUMES = 8

Forward = Callable[[Tensor], Tensor]
Paths = Mapping[str, str | None]


class SeriesAttributor(PixelAttributor):
    """Attributes to voxels, sequence by sequence, the others being as they are."""

    def claim(self, row: int, found: Any) -> Claim | None:
        """Return blocks of the voxels that a network reads of a row, to be made black or put in."""
        part = found[row]
        if part is None:
            return None
        prepared = self._prepared(row)
        sequences = np.flatnonzero(_sequences_there(prepared)).tolist()
        voxels = prepared.tensors["voxels"]
        blocks = number_blocks(voxels.shape[2:])
        maps = [self._on_grid(row, prepared, s, part.method).values for s in sequences]
        worth, numbers = self.game.marginal(row, self.name), torch.from_numpy(blocks)

        def play(masks: Masks) -> Floats:
            shown = torch.from_numpy(masks).reshape(len(masks), len(sequences), -1)[:, :, numbers]
            rows = _repeated(prepared, len(masks))
            rows.tensors["voxels"][:, sequences] *= shown
            return worth(*self.game.encode(self.name, rows))

        values = np.concatenate([sum_blocks(part, blocks) for part in maps])
        return Claim(values, in_steps(play, _MOST_VOLUMES))

    @cached_property
    def _paths(self) -> dict[str, list[str | None]]:
        read = self.encoder._cell_sources
        return {column: read(self.frame, column) for column in self.encoder.columns_}

    def _prepared(self, row: int) -> Prepared:
        prepared: Prepared = self.encoder.prepare(self.asking.row(row))
        return prepared

    def _of_row(self, row: int, method: ImageMethod) -> VolumeAttribution:
        prepared = self._prepared(row)
        there = _sequences_there(prepared)
        paths = {column: known[row] for column, known in self._paths.items()}
        maps: dict[str, ImageAttribution] = {}
        for s, (column, path) in enumerate(paths.items()):
            if path is not None and there[s]:
                found = self._on_grid(row, prepared, s, method)
                maps[column] = replace(self._on_files(found, path), unit=self.asking.unit(row))
        held = sum(part.total for part in maps.values())
        rest = self.game.own_value(row, self.name) - held
        return VolumeAttribution(maps, self._attention(prepared, paths), elsewhere=rest)

    def _on_grid(
        self, row: int, prepared: Prepared, sequence: int, method: ImageMethod
    ) -> ImageAttribution:
        """Return the attribution of one sequence on the voxels that the network reads."""
        image = prepared.tensors["voxels"][0, sequence][None].to(torch.float32) / 255.0
        if method == "occlusion":
            black_box = self._worth_of_any(row, prepared, sequence)
            return attribute_image(black_box, image, method=method)
        forward = self._differentiable_worth(row, prepared, sequence)
        layer = map_layer(self.game, self.name) if method == "grad_cam" else None
        return attribute_image(forward, image, method=method, layer=layer, batch_size=4)

    def _differentiable_worth(self, row: int, prepared: Prepared, sequence: int) -> Forward:
        """Return the worth of volumes (B, 1, Z, Y, X) in place of one sequence of the row."""
        worth, network = (
            worth_of_tokens(self.game, row, self.name),
            network_of(self.game, self.name),
        )
        backbone = network.backbone
        with torch.no_grad():
            values, mask = backbone(dict(prepared.tensors))
        n = values.shape[1] // prepared.tensors["voxels"].shape[1]
        before, after = values[:, : sequence * n], values[:, (sequence + 1) * n :]

        def forward(volumes: Tensor) -> Tensor:
            b = len(volumes)
            own = backbone.of_sequence(volumes[:, 0], sequence)
            parts = [before.expand(b, -1, -1), own, after.expand(b, -1, -1)]
            return worth(network(Tokens(torch.cat(parts, dim=1), mask.expand(b, -1))))

        return forward

    def _worth_of_any(self, row: int, prepared: Prepared, sequence: int) -> Forward:
        """Return the same of a model that has no gradients."""
        worth = self.game.marginal(row, self.name)

        def forward(volumes: Tensor) -> Tensor:
            rows = _repeated(prepared, len(volumes))
            eight = (volumes[:, 0].detach() * 255.0).round().clamp(0, 255).to(torch.uint8)
            rows.tensors["voxels"][:, sequence] = eight
            return torch.from_numpy(worth(*self.game.encode(self.name, rows)))

        return forward

    def _on_files(self, found: ImageAttribution, path: str) -> ImageAttribution:
        """Return an attribution on the voxels of the series that it is about, sums kept."""
        volume = read_series(path, on_gap=self.encoder.on_gap)
        window = self.encoder.window
        window = window_of(volume.values) if window == "auto" else window
        return ImageAttribution(
            values=self.encoder.grid_of(volume).spread(found.values),
            image=to_eight_bits(volume.values, window) / 255.0,
            method=found.method,
            gap=found.gap,
            spacing_mm=volume.spacing,
        )

    def _attention(self, prepared: Prepared, paths: Paths) -> dict[str, Floats]:
        """Return what each slice of the files weighs in its sequence, if anything attends."""
        if not hasattr(self.encoder, "attention_of"):
            return {}
        weights = self.encoder.attention_of(prepared)[0]
        found: dict[str, Floats] = {}
        for s, (column, path) in enumerate(paths.items()):
            if path is not None and weights[s].any():
                volume = read_series(path, on_gap=self.encoder.on_gap)
                found[column] = self.encoder.grid_of(volume).axes[0].T @ weights[s]
        return found


def _sequences_there(prepared: Prepared) -> Masks:
    """Return which sequences (S,) the one row has."""
    n_sequences = prepared.tensors["voxels"].shape[1]
    there: Masks = prepared.tensors["mask"][0].reshape(n_sequences, -1).any(dim=1).numpy()
    return there


def _repeated(prepared: Prepared, n: int) -> Prepared:
    """Return one row `n` times, all of which have the modality, to be changed."""
    tensors = {k: v.expand(n, *v.shape[1:]).clone() for k, v in prepared.tensors.items()}
    return Prepared(tensors, torch.ones(n, dtype=torch.bool))
