"""The network that grades a corner: small, told where the corner lies, and used to near misses.

Dimensions: N crops, B crops of a batch, S side in pixels, K grades.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from asfusion._tokens import Prepared, Tokens
from asfusion.corners._crops import SPARE, Patches
from asfusion.fusion.concat import Concat
from asfusion.nn.image import CompactCNN
from asfusion.nn.network import Backbone, EncoderNetwork, FusionNetwork, Inputs
from asfusion.targets.grades import Grades
from asfusion.training.halves import predict_rows
from asfusion.training.loop import train
from asfusion.training.losses import row_loss
from asfusion.training.rows import Rows
from asfusion.training.settings import TrainingSettings

N_GRADES = 4
_WIDTHS = (16, 32, 64)
_D_OUT, _DROPOUT, _BATCH, _RATE = 64, 0.1, 64, 2e-3
# What a crop meets while the network learns: a landmark is off by a millimetre, a film is turned.
_SHIFT_MM, _TURN, _SCALE, _CONTRAST, _NOISE = 1.0, 6.0, 0.08, 0.25, 0.1
_VIEWS = 5


class CornerBackbone(Backbone):
    """Cut turned crops out of patches, and make one token of each.

    A crop is standardised by its own mean and spread, so that exposure does not matter. Two more
    channels say where in the crop a pixel lies: a corner is always in the middle.

    Parameters
    ----------
    side_mm : float
        Side of a crop (mm).
    size : int
        Side of a crop (pixels).

    Shape
    -----
    - Input: ``pixels`` (B, 1, S, S) uint8 and ``placement`` (B, 2, 3).
    - Output: `Tokens` (B, 1, 64).
    """

    def __init__(self, side_mm: float, size: int) -> None:
        super().__init__()
        self.side_mm, self.size = side_mm, size
        self.body = CompactCNN(channels=3, widths=_WIDTHS)
        self.d_out = self.body.d_out

    def forward(self, inputs: Inputs) -> Tokens:
        """Return tokens (B, 1, d_out)."""
        placement = inputs["placement"]
        if self.training:
            placement = self._jittered(placement)
        images = self._crops(inputs["pixels"], placement)
        if self.training:
            images = _as_exposed(images)
        where = _coordinates(images)
        features = self.body(torch.cat([images, where], dim=1))
        return Tokens.single(features.mean(dim=(2, 3)))

    def view(self, inputs: Inputs, number: int) -> Inputs:
        """Return inputs as if each corner had been found a little beside where it was."""
        if number == 0:
            return inputs
        angle = 2.0 * math.pi * number / (_VIEWS - 1)
        reach = 0.7 * 2.0 * _SHIFT_MM / (SPARE * self.side_mm)
        moved = inputs["placement"].clone()
        moved[:, 0, 2] += reach * math.cos(angle)
        moved[:, 1, 2] += reach * math.sin(angle)
        return {**inputs, "placement": moved}

    def _crops(self, pixels: Tensor, placement: Tensor) -> Tensor:
        images = pixels.to(placement.dtype) / 255.0
        shape = [len(images), 1, self.size, self.size]
        grid = functional.affine_grid(placement, shape, align_corners=False)
        crops = functional.grid_sample(images, grid, align_corners=False)
        spread, mean = torch.std_mean(crops, dim=(1, 2, 3), keepdim=True)
        return (crops - mean) / (spread + 0.01)

    def _jittered(self, placement: Tensor) -> Tensor:
        """Return placements shifted, turned and scaled at random."""
        draws = torch.randn(len(placement), 4, dtype=placement.dtype, device=placement.device)
        angle = draws[:, 0] * math.radians(_TURN)
        size = torch.exp(draws[:, 1] * _SCALE)
        cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
        turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
        shift = 2.0 * _SHIFT_MM * draws[:, 2:] / (SPARE * self.side_mm)
        linear = placement[:, :, :2] @ turn
        return torch.cat([linear, placement[:, :, 2:] + shift[:, :, None]], dim=2)


def _as_exposed(images: Tensor) -> Tensor:
    """Return standardised crops with another contrast, and noisier ones among them."""
    draws = torch.randn(len(images), 2, 1, 1, 1, dtype=images.dtype, device=images.device)
    gain = torch.exp(_CONTRAST * draws[:, 0])
    noise = _NOISE * draws[:, 1].abs()
    return images * gain + noise * torch.randn_like(images)


def _coordinates(images: Tensor) -> Tensor:
    """Return where each pixel lies, across and down, from -1 to 1: (B, 2, S, S)."""
    n, _, height, width = images.shape
    down = torch.linspace(-1.0, 1.0, height, dtype=images.dtype, device=images.device)
    across = torch.linspace(-1.0, 1.0, width, dtype=images.dtype, device=images.device)
    planes = torch.stack(torch.meshgrid(down, across, indexing="ij")[::-1])
    return planes.expand(n, 2, height, width)


def grader(side_mm: float, size: int) -> FusionNetwork:
    """Return an untrained network from the current torch seed: one output for each step."""
    backbone = CornerBackbone(side_mm, size)
    encoder = EncoderNetwork(backbone, d_out=_D_OUT, dropout=_DROPOUT)
    head = Concat(d_out=_D_OUT).build({"corner": _D_OUT}, n_outputs=N_GRADES - 1)
    return FusionNetwork({"corner": encoder}, head, d_fused=_D_OUT, n_outputs=N_GRADES - 1)


def target_of_corners() -> Grades:
    """Return grades 0 to 3, whichever of them were seen."""
    return Grades(list(range(N_GRADES))).fit(np.arange(N_GRADES))


def prepared(patches: Sequence[Patches]) -> Prepared:
    """Return the known corners of films as one batch."""
    pixels = np.concatenate([part.pixels[part.known] for part in patches])
    placement = np.concatenate([part.placement[part.known] for part in patches])
    tensors = {"pixels": torch.from_numpy(pixels), "placement": torch.from_numpy(placement)}
    return Prepared(tensors, torch.ones(len(pixels), dtype=torch.bool))


def learn(
    network: FusionNetwork,
    crops: Prepared,
    grades: NDArray[np.int64],
    *,
    epochs: int,
    seed: int,
) -> list[dict[str, float]]:
    """Train a network in place on crops and their grades."""
    target = target_of_corners()
    settings = TrainingSettings(
        max_epochs=epochs, batch_size=_BATCH, learning_rate=_RATE, device="cpu", seed=seed,
        modality_dropout=0.0, average_weights="ema",
    )  # fmt: skip
    shares = np.bincount(grades, minlength=N_GRADES) + 1.0
    with torch.no_grad():
        start = target.start(shares / shares.sum())
        network.head.bias.copy_(torch.as_tensor(start))
    rows = Rows({"corner": crops}, torch.from_numpy(grades), torch.ones(len(grades)))
    loss = row_loss(target.loss, settings)
    return train(network, rows, None, loss=loss, settings=settings)


def ask(network: FusionNetwork, crops: Prepared, n_views: int = _VIEWS) -> NDArray[np.float64]:
    """Return the probability of each grade (N, K), the mean over places beside the one given."""
    backbone: Any = network.encoders["corner"].backbone
    target, told = target_of_corners(), []
    if not len(crops):
        return np.empty((0, N_GRADES))
    for number in range(n_views):
        moved = Prepared({**backbone.view(crops.tensors, number)}, crops.present)
        nothing = torch.zeros(len(crops))
        outputs = predict_rows(network, Rows({"corner": moved}, nothing, nothing), device="cpu")
        told.append(target.activate(outputs, None).numpy())
    found: NDArray[np.float64] = np.mean(told, axis=0)
    return found
