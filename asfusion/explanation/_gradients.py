"""The worth of one modality's content as torch computes it, so that gradients pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from asfusion._tokens import Tokens
from asfusion.estimators._parts import Parts
from asfusion.exceptions import ConfigurationError
from asfusion.explanation._game import Game

Worth = Callable[[Tokens], Tensor]


def has_gradients(game: Game) -> bool:
    """Return whether gradients lead from the output to what a modality holds."""
    return game.model.has_gradients and not game.n_background


def check_gradients(game: Game, parameter: str, instead: str) -> None:
    """Raise unless `has_gradients`."""
    if not game.model.has_gradients:
        msg = (
            f"{parameter}: expected {instead!r} for {type(game.model).__name__}, which has no "
            "gradient from the output to what it reads, got a method that needs one."
        )
        raise ConfigurationError(msg)
    if game.n_background:
        msg = (
            f"{parameter}: expected {instead!r} with absence='background', got a method that "
            "needs a gradient."
        )
        raise ConfigurationError(msg)


def network_of(game: Game, name: str) -> Any:
    """Return the trained network of a modality, of a model that has gradients."""
    model: Any = game.model
    return model.network_.encoders[name]


def worth_of_tokens(game: Game, row: int, name: str) -> Worth:
    """Return `Game.marginal` of one modality's tokens (B, T, D) as a differentiable function."""
    model: Any = game.model
    network = model.network_.eval()
    kept, weights = game.coalitions_without(name, row)
    rows = game.parts.take(np.full(len(kept), row)).keep(kept)
    column, share = int(game.columns[row]), torch.from_numpy(weights)

    def worth(own: Tokens) -> Tensor:
        n, c = len(own.values), len(kept)
        tokens = _tokens_of(rows, n)
        tokens[name] = Tokens(own.values.repeat_interleave(c, 0), own.mask.repeat_interleave(c, 0))
        outputs = network.predict(tokens).to(torch.float64)
        target = model.target_
        told: Tensor = target.explained(target.activate(outputs, model.scaling_))
        picked = game.linked_tensor(told[:, column])
        return picked.reshape(n, c) @ share

    return worth


def _tokens_of(rows: Parts, n: int) -> dict[str, Tokens]:
    """Return the tokens of the coalitions' rows, `n` times over."""
    found = {}
    for m, (name, content) in enumerate(rows.contents.items()):
        there = cast(Tokens, content).keep(torch.from_numpy(rows.present[:, m].copy()))
        found[name] = Tokens(there.values.repeat(n, 1, 1), there.mask.repeat(n, 1))
    return found


def map_layer(game: Game, name: str) -> nn.Module:
    """Return what gives the last feature map of a modality's network, for Grad-CAM."""
    layer: nn.Module | None = network_of(game, name).backbone.map_layer()
    if layer is None:
        msg = (
            "image_method: 'grad_cam' expected a network of convolutions, got one of patches "
            f"for modality {name!r}. Choose 'integrated_gradients' or 'occlusion'."
        )
        raise ConfigurationError(msg)
    return layer
