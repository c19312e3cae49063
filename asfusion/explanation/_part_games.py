"""What a modality is worth to a row when only some of its parts are left in it.

Parts are columns, stretches of a note, or blocks of pixels. What is left out is replaced by
background rows, cut out of the note, or made black.

Dimensions: P parts, M coalitions of parts, N explained rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asfusion._frames import Frame
from asfusion._tokens import Prepared
from asfusion.encoders.genotypes import GenotypeEncoder
from asfusion.explanation._game import Game
from asfusion.explanation._text_words import cut_text

Floats = NDArray[np.float64]
Play = Callable[[NDArray[np.bool_]], Floats]

_MOST_CELLS = 400_000
_MOST_IMAGES = 16
_BLOCKS = 8  # along each side


def play_columns(
    game: Game,
    frame: Frame,
    row: int,
    name: str,
    columns: Sequence[str],
    references: NDArray[np.int64],
) -> Play:
    """Return the worth of a row whose columns outside a coalition are those of other rows."""
    worth = game.marginal(row, name)

    def play(masks: NDArray[np.bool_]) -> Floats:
        step = max(1, _MOST_CELLS // (len(references) * max(1, len(columns))))
        return np.concatenate(
            [some(masks[start : start + step]) for start in range(0, len(masks), step)]
        )

    def some(masks: NDArray[np.bool_]) -> Floats:
        other = np.tile(references, len(masks))
        kept = np.repeat(masks, len(references), axis=0)
        rows = {c: np.where(kept[:, j], row, other) for j, c in enumerate(columns)}
        content, there = game.encode_frame(name, frame.gather(rows))
        return np.asarray(worth(content, there).reshape(len(masks), -1).mean(axis=1))

    return play


def play_dosages(
    game: Game,
    encoder: GenotypeEncoder,
    frame: Frame,
    row: int,
    name: str,
    groups: Sequence[Sequence[int]],
    references: NDArray[np.int64],
) -> Play:
    """Return the worth of a row whose genotypes outside a coalition are those of other rows.

    Each part of the game is a group of columns. Interactions and scores follow from the mixed
    columns: they have no value of their own.
    """
    worth = game.marginal(row, name)
    cells = encoder.read_columns(frame)
    owner = np.zeros(cells.shape[1], dtype=np.int64)
    for part, group in enumerate(groups):
        owner[list(group)] = part

    def play(masks: NDArray[np.bool_]) -> Floats:
        step = max(1, _MOST_CELLS // (len(references) * cells.shape[1]))
        parts = [some(masks[start : start + step]) for start in range(0, len(masks), step)]
        return np.concatenate(parts)

    def some(masks: NDArray[np.bool_]) -> Floats:
        kept = np.repeat(masks[:, owner], len(references), axis=0)
        other = cells[np.tile(references, len(masks))]
        mixed = np.where(kept, cells[row], other)
        found = worth(*game.encode(name, encoder.prepare_dosages(mixed)))
        return np.asarray(found.reshape(len(masks), -1).mean(axis=1))

    return play


def play_features(
    game: Game,
    prepared: Prepared,
    row: int,
    name: str,
    groups: Sequence[Sequence[int]],
    references: NDArray[np.int64],
) -> Play:
    """Return the worth of a row whose features outside a coalition are those of other rows.

    `prepared` holds all rows as features; each part of the game is a group of them.
    """
    worth = game.marginal(row, name)
    x = prepared.tensors["x"]
    owner = torch.full((x.shape[1],), -1)
    for part, group in enumerate(groups):
        owner[list(group)] = part

    def play(masks: NDArray[np.bool_]) -> Floats:
        step = max(1, _MOST_CELLS // (len(references) * x.shape[1]))
        parts = [some(masks[start : start + step]) for start in range(0, len(masks), step)]
        return np.concatenate(parts)

    def some(masks: NDArray[np.bool_]) -> Floats:
        # Features outside all groups are the same in every row.
        padded = np.concatenate([masks, np.ones((len(masks), 1), dtype=bool)], axis=1)
        kept = torch.from_numpy(padded)[:, owner].repeat_interleave(len(references), dim=0)
        other = x[torch.from_numpy(np.tile(references, len(masks)))]
        mixed = torch.where(kept, x[row], other)
        rows = Prepared({"x": mixed}, torch.ones(len(mixed), dtype=torch.bool))
        found = worth(*game.encode(name, rows))
        return np.asarray(found.reshape(len(masks), -1).mean(axis=1))

    return play


def score_notes(
    game: Game, frame: Frame, row: int, name: str, columns: Sequence[str]
) -> Callable[[list[str]], Floats]:
    """Return what texts are worth in place of a row's note; without a word, no note."""
    worth = game.marginal(row, name)
    without = game.without(row, name)
    first, *rest = columns

    def score(texts: list[str]) -> Floats:
        rows = frame.take(np.full(len(texts), row)).select(columns)
        rows = rows.replace(first, texts)
        for column in rest:
            rows = rows.replace(column, [None] * len(texts))
        found = worth(*game.encode_frame(name, rows))
        return np.where([bool(text.strip()) for text in texts], found, without)

    return score


def play_words(
    score: Callable[[list[str]], Floats], text: str, places: Sequence[tuple[int, int]]
) -> Play:
    """Return the worth of a note of which only some stretches are left."""
    pieces = cut_text(text, places)

    def play(masks: NDArray[np.bool_]) -> Floats:
        texts = ["".join(p for p, kept in zip(pieces, m, strict=True) if kept) for m in masks]
        known = dict.fromkeys(texts)
        values = dict(zip(known, score(list(known)).tolist(), strict=True))
        return np.asarray([values[text] for text in texts])

    return play


def score_images(game: Game, row: int, name: str) -> Callable[[Tensor], Tensor]:
    """Return what images (B, C, H, W) from 0 to 1 are worth in place of a row's own."""
    worth = game.marginal(row, name)

    def forward(images: Tensor) -> Tensor:
        pixels = (images.detach() * 255.0).round().clamp(0, 255).to(torch.uint8)
        rows = Prepared({"pixels": pixels}, torch.ones(len(pixels), dtype=torch.bool))
        return torch.from_numpy(worth(*game.encode(name, rows)))

    return forward


def play_blocks(forward: Callable[[Tensor], Any], image: Tensor, blocks: NDArray[np.int64]) -> Play:
    """Return the worth of an image of which only some blocks are left, the rest black.

    `blocks` has the number of each pixel's block, in the shape of the image without its
    channels.
    """
    numbers = torch.from_numpy(blocks)

    def play(masks: NDArray[np.bool_]) -> Floats:
        found = []
        for start in range(0, len(masks), _MOST_IMAGES):
            kept = torch.from_numpy(masks[start : start + _MOST_IMAGES])
            shown = kept[:, numbers].unsqueeze(1).to(image.dtype)
            found.append(np.asarray(forward(image.unsqueeze(0) * shown)))
        return np.concatenate(found)

    return play


def number_blocks(shape: Sequence[int]) -> NDArray[np.int64]:
    """Return the number of the block that each pixel or voxel lies in, 8 along each side."""
    places = [np.arange(extent) * min(_BLOCKS, extent) // extent for extent in shape]
    sides = [min(_BLOCKS, extent) for extent in shape]
    grid = np.meshgrid(*places, indexing="ij")
    return np.asarray(np.ravel_multi_index(grid, sides), dtype=np.int64)
