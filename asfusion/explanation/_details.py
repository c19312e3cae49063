"""What within a modality mattered: columns, words, pixels, each in the units of the output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asfusion._checks import check_choice
from asfusion._frames import Frame
from asfusion._progress import progress
from asfusion._random import derive_seed
from asfusion._tokens import Prepared
from asfusion.encoders._base import Encoder
from asfusion.encoders._series import SeriesEncoder
from asfusion.encoders.image import ImageEncoder
from asfusion.encoders.text import TextEncoder
from asfusion.exceptions import ConfigurationError
from asfusion.explanation._game import Game
from asfusion.explanation._gradients import (
    check_gradients,
    embed_note,
    has_gradients,
    worth_of_images,
)
from asfusion.explanation.images import ImageAttribution, attribute_image
from asfusion.explanation.players import shapley
from asfusion.explanation.tables import TableAttribution
from asfusion.explanation.text import TextAttribution, attribute_tokens, attribute_words
from asfusion.explanation.volumes import VolumeAttribution, attribute_row
from asfusion.notes.cleaning import join_notes

Floats = NDArray[np.float64]
Detail: TypeAlias = (
    TableAttribution
    | list[TextAttribution | None]
    | list[ImageAttribution | None]
    | list[VolumeAttribution | None]
)
WordMethod: TypeAlias = Literal["shapley", "deletion", "integrated_gradients"]
ImageMethod: TypeAlias = Literal["auto", "integrated_gradients", "grad_cam", "occlusion"]

WORD_METHODS = ("shapley", "deletion", "integrated_gradients")
PRESENCE = "(having it at all)"
_MOST_CELLS = 400_000
_NOTE_STEPS = 128  # the way from empty embeddings bends sharply behind a layer norm


@dataclass(frozen=True, eq=False)
class Details:
    """Attributes the value of one modality to what stands in it.

    Parameters
    ----------
    game : Game
        Outcomes of coalitions of modalities.
    frame : Frame
        The N explained rows and, below them, the background rows.
    output_names : tuple of str
        Name of the explained output of each row.
    units : mapping of str to str
        Unit of a column, where the user gave it.
    image_method, word_method : str
        How pixels and words are attributed.
    n_samples : int
        Coalitions of words that are tried.
    seed : int
        Seeds everything that is drawn.
    """

    game: Game
    frame: Frame
    output_names: tuple[str, ...]
    units: Mapping[str, str]
    image_method: ImageMethod
    word_method: WordMethod
    n_samples: int
    seed: int

    def of(self, name: str) -> Detail:
        """Return the attribution within a modality."""
        encoder = self.game.model._modality_encoders()[name]
        if isinstance(encoder, ImageEncoder):
            return self._images(name, encoder)
        if isinstance(encoder, SeriesEncoder):
            return self._volumes(name, encoder)
        if isinstance(encoder, TextEncoder):
            return self._notes(name, encoder)
        return self._table(name, encoder)

    def _rows(self, name: str) -> Any:
        return progress(range(self.game.n_rows), f"Explaining {name}", unit="row")

    def _has(self, row: int, name: str) -> bool:
        return bool(self.game.present[row, self.game.names.index(name)])

    # -- tables ------------------------------------------------------------------------

    def _table(self, name: str, encoder: Encoder) -> TableAttribution:
        columns = list(encoder.columns_)
        n, names = self.game.n_rows, [PRESENCE, *columns]
        values, errors = np.zeros((n, len(names))), np.zeros((n, len(names)))
        base = np.zeros(n)
        references = self._references(name)
        for row in self._rows(name):
            base[row] = self.game.without(row, name)
            if not self._has(row, name):
                continue
            result = shapley(
                self._columns_game(row, name, columns, references),
                len(columns),
                seed=derive_seed(self.seed, "columns", name, row),
            )
            values[row, 0] = float(np.ravel(result.base)[0]) - base[row]
            values[row, 1:] = np.ravel(result.values)
            if result.errors is not None:
                errors[row, 1:] = np.ravel(result.errors)
        cells = np.empty((n, len(names)), dtype=object)
        present = self.game.present[:, self.game.names.index(name)]
        cells[:, 0] = present
        for j, column in enumerate(columns, start=1):
            cells[:, j] = self._cells(column)[:n]
        return TableAttribution(
            values=values,
            base_value=base,
            data=cells,
            feature_names=tuple(names),
            output_name=", ".join(dict.fromkeys(self.output_names)),
            units={c: self.units[c] for c in names if c in self.units},
            method="Shapley values over columns",
            error=errors if errors.any() else None,
        )

    def _cells(self, column: str) -> list[Any]:
        if self.frame.kind(column) in ("number", "boolean"):
            return [None if np.isnan(v) else v for v in self.frame.numbers(column).tolist()]
        return list(self.frame.strings(column))

    def _references(self, name: str) -> NDArray[np.int64]:
        """Return background rows that have the modality: what a column is replaced from."""
        n = self.game.n_rows
        _, there = self.game.encode_frame(name, self.frame.take(np.arange(n, len(self.frame))))
        found = n + np.flatnonzero(there)
        if not len(found):
            msg = (
                f"background: expected rows that have the modality {name!r}, got none. Pass the "
                "training rows."
            )
            raise ConfigurationError(msg)
        return found

    def _columns_game(
        self, row: int, name: str, columns: list[str], references: NDArray[np.int64]
    ) -> Callable[[NDArray[np.bool_]], Floats]:
        worth = self.game.marginal(row, name)

        def play(masks: NDArray[np.bool_]) -> Floats:
            step = max(1, _MOST_CELLS // (len(references) * max(1, len(columns))))
            return np.concatenate(
                [some(masks[start : start + step]) for start in range(0, len(masks), step)]
            )

        def some(masks: NDArray[np.bool_]) -> Floats:
            other = np.tile(references, len(masks))
            kept = np.repeat(masks, len(references), axis=0)
            rows = {c: np.where(kept[:, j], row, other) for j, c in enumerate(columns)}
            content, there = self.game.encode_frame(name, self.frame.gather(rows))
            return np.asarray(worth(content, there).reshape(len(masks), -1).mean(axis=1))

        return play

    # -- notes -------------------------------------------------------------------------

    def _notes(self, name: str, encoder: TextEncoder) -> list[TextAttribution | None]:
        self._check_word_method(encoder)
        found: list[TextAttribution | None] = []
        for row in self._rows(name):
            cells = [self.frame.take(np.array([row])).strings(c)[0] for c in encoder.columns_]
            [text] = join_notes([[cell] for cell in cells])
            if not text or not self._has(row, name):
                found.append(None)
            elif self.word_method == "integrated_gradients":
                note = embed_note(self.game, row, name, encoder, text)
                found.append(
                    attribute_tokens(
                        note.forward,
                        note.embeddings,
                        note.offsets,
                        text,
                        baseline=note.baseline,
                        n_steps=_NOTE_STEPS,
                    )
                )
            else:
                found.append(
                    attribute_words(
                        self._score_notes(row, name, encoder.columns_),
                        text,
                        method=self.word_method,
                        n_samples=self.n_samples,
                        seed=derive_seed(self.seed, "words", name, row),
                    )
                )
        return found

    def _check_word_method(self, encoder: TextEncoder) -> None:
        if self.word_method != "integrated_gradients":
            return
        check_gradients(self.game, "word_method", "shapley")
        if encoder.tfidf_ is not None:
            msg = (
                "word_method: expected 'shapley' or 'deletion' for a note that is counted words "
                "(tf-idf), which have no embeddings, got 'integrated_gradients'."
            )
            raise ConfigurationError(msg)

    def _score_notes(
        self, row: int, name: str, columns: tuple[str, ...]
    ) -> Callable[[list[str]], Floats]:
        """Return what texts are worth in place of the row's note; without a word, no note."""
        worth = self.game.marginal(row, name)
        without = self.game.without(row, name)
        first, *rest = columns

        def score(texts: list[str]) -> Floats:
            rows = self.frame.take(np.full(len(texts), row)).select(columns)
            rows = rows.replace(first, texts)
            for column in rest:
                rows = rows.replace(column, [None] * len(texts))
            found = worth(*self.game.encode_frame(name, rows))
            return np.where([bool(text.strip()) for text in texts], found, without)

        return score

    # -- images ------------------------------------------------------------------------

    def _images(self, name: str, encoder: ImageEncoder) -> list[ImageAttribution | None]:
        method = self._image_method()
        prepared = encoder.prepare(self.frame.take(np.arange(self.game.n_rows)))
        found: list[ImageAttribution | None] = []
        for row in self._rows(name):
            if not self._has(row, name):
                found.append(None)
                continue
            image = prepared.tensors["pixels"][row].to(torch.float32) / 255.0
            layer = None
            if method == "occlusion":
                forward = self._black_box(row, name)
            else:
                forward = worth_of_images(self.game, row, name)
                network: Any = self.game.model.network_.encoders[name]
                layer = network.backbone.last_block() if method == "grad_cam" else None
            found.append(attribute_image(forward, image, method=method, layer=layer))
        return found

    def _volumes(self, name: str, encoder: SeriesEncoder) -> list[VolumeAttribution | None]:
        method = self._image_method()
        paths = {c: self.frame.strings(c) for c in encoder.columns_}
        found: list[VolumeAttribution | None] = []
        for row in self._rows(name):
            if not self._has(row, name):
                found.append(None)
                continue
            alone = encoder.prepare(self.frame.take(np.array([row])))
            own = {c: paths[c][row] for c in encoder.columns_}
            found.append(attribute_row(self.game, row, name, encoder, alone, own, method))
        return found

    def _image_method(self) -> Any:
        check_choice(
            self.image_method,
            "image_method",
            ("auto", "integrated_gradients", "grad_cam", "occlusion"),
        )
        if self.image_method == "auto":
            return "integrated_gradients" if has_gradients(self.game) else "occlusion"
        if self.image_method != "occlusion":
            check_gradients(self.game, "image_method", "occlusion")
        return self.image_method

    def _black_box(self, row: int, name: str) -> Callable[[Tensor], Tensor]:
        worth = self.game.marginal(row, name)

        def forward(images: Tensor) -> Tensor:
            pixels = (images.detach() * 255.0).round().clamp(0, 255).to(torch.uint8)
            rows = Prepared({"pixels": pixels}, torch.ones(len(pixels), dtype=torch.bool))
            return torch.from_numpy(worth(*self.game.encode(name, rows)))

        return forward
