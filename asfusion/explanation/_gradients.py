"""The worth of one modality's content as torch computes it, so that gradients pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from asfusion._tokens import Tokens
from asfusion.encoders.text import TextEncoder
from asfusion.estimators._joint import JointFusion
from asfusion.estimators._parts import Parts
from asfusion.exceptions import ConfigurationError
from asfusion.explanation._game import Game
from asfusion.nn.text import TransformerBackbone
from asfusion.notes.cells import NOTE_SEPARATOR

Worth = Callable[[Tokens], Tensor]


def has_gradients(game: Game) -> bool:
    """Return whether gradients lead from the output to what a modality holds."""
    return isinstance(game.model, JointFusion) and not game.n_background


def check_gradients(game: Game, parameter: str, instead: str) -> None:
    """Raise unless `has_gradients`."""
    if not isinstance(game.model, JointFusion):
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
        picked: Tensor = model.target_.activate(outputs, model.scaling_)[:, column]
        if model.target_.is_probability:
            picked = game.linked_tensor(picked)
        return picked.reshape(n, c) @ share

    return worth


def _tokens_of(rows: Parts, n: int) -> dict[str, Tokens]:
    """Return the tokens of the coalitions' rows, `n` times over."""
    found = {}
    for m, (name, content) in enumerate(rows.contents.items()):
        if isinstance(content, Tokens):
            there = content.keep(torch.from_numpy(rows.present[:, m].copy()))
            found[name] = Tokens(there.values.repeat(n, 1, 1), there.mask.repeat(n, 1))
    return found


def worth_of_images(game: Game, row: int, name: str) -> Callable[[Tensor], Tensor]:
    """Return the worth of images (B, C, H, W) in [0, 1]."""
    worth = worth_of_tokens(game, row, name)
    encoder: Any = game.model.network_.encoders[name]  # type: ignore[attr-defined, unused-ignore]

    def forward(images: Tensor) -> Tensor:
        # A frozen backbone keeps no gradient when it is asked through its encoder.
        return worth(encoder(encoder.backbone({"pixels": images})))

    return forward


def map_layer(game: Game, name: str) -> nn.Module:
    """Return what gives the last feature map of a modality's network, for Grad-CAM."""
    network: Any = game.model.network_.encoders[name]  # type: ignore[attr-defined, unused-ignore]
    layer: nn.Module | None = network.backbone.map_layer()
    if layer is None:
        msg = (
            "image_method: 'grad_cam' expected a network of convolutions, got one of patches "
            f"for modality {name!r}. Choose 'integrated_gradients' or 'occlusion'."
        )
        raise ConfigurationError(msg)
    return layer


@dataclass(frozen=True, eq=False)
class Embedded:
    """A note as token embeddings, and what they are worth.

    Parameters
    ----------
    forward : callable
        From embeddings (B, T, D) to the worth (B,).
    embeddings : Tensor of shape (1, T, D)
        Those of the note.
    baseline : Tensor of shape (1, T, D)
        Zeros, but for the tokens that frame every note.
    offsets : list of pairs of int
        Place of each token in the note, (0, 0) for those that frame it.
    """

    forward: Callable[[Tensor], Tensor]
    embeddings: Tensor
    baseline: Tensor
    offsets: list[tuple[int, int]]


def embed_note(game: Game, row: int, name: str, encoder: TextEncoder, text: str) -> Embedded:
    """Return the embeddings of a cleaned note, and their worth as a function."""
    worth = worth_of_tokens(game, row, name)
    network: Any = game.model.network_.encoders[name]  # type: ignore[attr-defined, unused-ignore]
    backbone = network.backbone
    tokenizer = Tokenizer.from_str(str(encoder.tokenizer_))
    tokenizer.encode_special_tokens = True  # a note that spells one out says it as text
    tokenizer.enable_truncation(encoder.max_tokens_)
    coding = tokenizer.encode(text)
    if coding.overflowing or NOTE_SEPARATOR in text:
        msg = (
            "word_method: expected 'shapley' or 'deletion' for rows with several notes or windows, "
            "got 'integrated_gradients', which reads one window. Raise max_tokens, or use those."
        )
        raise ConfigurationError(msg)
    ids = torch.tensor([coding.ids])
    table: nn.Module = (
        backbone.embedding
        if isinstance(backbone, TransformerBackbone)
        else backbone.model.get_input_embeddings()
    )
    with torch.no_grad():
        embeddings = table(ids).detach()
    frame = torch.tensor([offset == (0, 0) for offset in coding.offsets])

    def forward(many: Tensor) -> Tensor:
        same = ids.expand(len(many), -1)
        handle = table.register_forward_hook(lambda module, inputs, output: many)
        try:
            tokens = backbone({"ids": same, "mask": torch.ones_like(same, dtype=torch.bool)})
        finally:
            handle.remove()
        return worth(network(tokens))

    baseline = embeddings * frame[None, :, None]
    return Embedded(forward, embeddings, baseline, list(coding.offsets))
