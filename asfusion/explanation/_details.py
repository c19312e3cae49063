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
from asfusion._tokens import Prepared, Tokens
from asfusion.encoders._base import Encoder
from asfusion.encoders.image import ImageEncoder
from asfusion.encoders.text import TextEncoder
from asfusion.estimators.joint import _JointFusion
from asfusion.exceptions import ConfigurationError
from asfusion.explanation._game import Game
from asfusion.explanation.images import ImageAttribution, attribute_image
from asfusion.explanation.players import shapley
from asfusion.explanation.tables import TableAttribution
from asfusion.explanation.text import TextAttribution, attribute_words

Floats = NDArray[np.float64]
Detail: TypeAlias = TableAttribution | list[TextAttribution | None] | list[ImageAttribution | None]
ImageMethod: TypeAlias = Literal["auto", "integrated_gradients", "grad_cam", "occlusion"]

PRESENCE = "(having it at all)"
_MOST_CELLS = 400_000


@dataclass(frozen=True, eq=False)
class Details:
    """Attributes the value of one modality to what stands in it.

    Parameters
    ----------
    game : Game
        Outcomes of coalitions of modalities.
    frame : Frame
        The N explained rows and, below them, the background rows.
    n_background : int
        How many of the rows are background.
    output_names : tuple of str
        Name of the explained output of each row.
    units : mapping of str to str
        Unit of a column, where the user gave it.
    image_method : str
        How pixels are attributed.
    n_samples : int
        Coalitions of words that are tried.
    seed : int
        Seeds everything that is drawn.
    """

    game: Game
    frame: Frame
    n_background: int
    output_names: tuple[str, ...]
    units: Mapping[str, str]
    image_method: ImageMethod
    n_samples: int
    seed: int

    def of(self, name: str, totals: Floats) -> Detail:
        """Return the attribution within a modality, whose values in each row are `totals`."""
        encoder = self.game.model._modality_encoders()[name]
        if isinstance(encoder, ImageEncoder):
            return self._images(name, encoder)
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
        found: list[TextAttribution | None] = []
        for row in self._rows(name):
            cells = [self.frame.take(np.array([row])).strings(c)[0] for c in encoder.columns_]
            text = "\n".join(cell for cell in cells if cell)
            if not text or not self._has(row, name):
                found.append(None)
                continue
            found.append(
                attribute_words(
                    self._score_notes(row, name, encoder.columns_),
                    text,
                    n_samples=self.n_samples,
                    seed=derive_seed(self.seed, "words", name, row),
                )
            )
        return found

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
                forward = self._differentiable(row, name)
                network: Any = self.game.model.network_.encoders[name]
                layer = network.backbone.last_block() if method == "grad_cam" else None
            found.append(attribute_image(forward, image, method=method, layer=layer))
        return found

    def _image_method(self) -> Any:
        check_choice(
            self.image_method,
            "image_method",
            ("auto", "integrated_gradients", "grad_cam", "occlusion"),
        )
        is_network = isinstance(self.game.model, _JointFusion)
        if self.image_method == "auto":
            return "integrated_gradients" if is_network else "occlusion"
        if self.image_method != "occlusion" and not is_network:
            msg = (
                f"image_method: expected 'occlusion' for {type(self.game.model).__name__}, which "
                f"has no gradient from output to pixel, got {self.image_method!r}."
            )
            raise ConfigurationError(msg)
        return self.image_method

    def _black_box(self, row: int, name: str) -> Callable[[Tensor], Tensor]:
        worth = self.game.marginal(row, name)

        def forward(images: Tensor) -> Tensor:
            pixels = (images.detach() * 255.0).round().clamp(0, 255).to(torch.uint8)
            rows = Prepared({"pixels": pixels}, torch.ones(len(pixels), dtype=torch.bool))
            return torch.from_numpy(worth(*self.game.encode(name, rows)))

        return forward

    def _differentiable(self, row: int, name: str) -> Callable[[Tensor], Tensor]:
        """Return the worth of images as torch computes it, for gradients."""
        model: Any = self.game.model
        network = model.network_.eval()
        kept, weights = self.game._coalitions_without(name, row)
        column = int(self.game.columns[row])
        rows = self.game.parts.take(np.full(len(kept), row)).keep(kept)
        share = torch.from_numpy(weights)
        if self.game.n_background:
            msg = "image_method: expected 'occlusion' with absence='background', got a gradient."
            raise ConfigurationError(msg)

        def forward(images: Tensor) -> Tensor:
            # A frozen backbone keeps no gradient when it is asked through its encoder.
            encoder = network.encoders[name]
            own: Tokens = encoder(encoder.backbone({"pixels": images}))
            n, c = len(images), len(kept)
            tokens = {}
            for m, other in enumerate(self.game.names):
                if other == name:
                    tokens[other] = Tokens(
                        own.values.repeat_interleave(c, 0), own.mask.repeat_interleave(c, 0)
                    )
                    continue
                content = rows.contents[other]
                assert isinstance(content, Tokens)
                content = content.keep(torch.from_numpy(rows.present[:, m].copy()))
                tokens[other] = Tokens(content.values.repeat(n, 1, 1), content.mask.repeat(n, 1))
            outputs = network.predict(tokens).to(torch.float64)
            if model.is_classifier:
                picked = torch.softmax(outputs, dim=1)[:, column]
            else:
                picked = outputs[:, column] * float(model.y_scale_[column])
            return picked.reshape(n, c) @ share

        return forward
