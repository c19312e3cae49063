"""What within a modality mattered: columns, words, pixels, each in the units of the output."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asfusion._frames import Frame
from asfusion._progress import progress, progress_shown
from asfusion._random import derive_seed
from asfusion.baselines._models import Algorithm
from asfusion.encoders._base import Encoder
from asfusion.encoders._series import SeriesEncoder
from asfusion.encoders.concepts import ConceptEncoder
from asfusion.encoders.genotypes import GenotypeEncoder
from asfusion.encoders.image import ImageEncoder
from asfusion.encoders.text import TextEncoder
from asfusion.encoders.visits import VisitEncoder
from asfusion.exceptions import AsfusionWarning, ConfigurationError
from asfusion.explanation._curves import Parts
from asfusion.explanation._game import Game
from asfusion.explanation._gradients import (
    check_gradients,
    embed_note,
    has_gradients,
    map_layer,
    worth_of_images,
)
from asfusion.explanation._part_games import (
    Play,
    number_blocks,
    play_blocks,
    play_columns,
    play_dosages,
    play_features,
    play_words,
    score_images,
    score_notes,
)
from asfusion.explanation._parts import PRESENCE, cells_of, name_outputs
from asfusion.explanation._visit_games import attribute_visits, play_visits, score_visits
from asfusion.explanation._with_shap import ShapleyOfColumns, ask_kernel_explainer
from asfusion.explanation.genotypes import GenotypeAttribution
from asfusion.explanation.images import METHODS, ImageAttribution, attribute_image
from asfusion.explanation.images import ImageMethod as PixelMethod
from asfusion.explanation.players import (
    AUTO_EXACT,
    exact_shapley,
    kernel_shap,
    play_all,
    shapley_interactions,
)
from asfusion.explanation.tables import TableAttribution, check_unit_names
from asfusion.explanation.text import TextAttribution, attribute_tokens, attribute_words
from asfusion.explanation.visits import VisitAttribution
from asfusion.explanation.volumes import VolumeAttribution, attribute_row, blocks_of_row
from asfusion.imaging.extent import read_extent
from asfusion.notes.cells import join_patient, read_notes

Floats = NDArray[np.float64]
Detail: TypeAlias = (
    TableAttribution
    | VisitAttribution
    | list[TextAttribution | None]
    | list[ImageAttribution | None]
    | list[VolumeAttribution | None]
)
WordMethod: TypeAlias = Literal["shapley", "deletion", "integrated_gradients"]
ImageMethod: TypeAlias = Literal["auto"] | PixelMethod

IMAGE_METHODS = ("auto", *METHODS)
WORD_METHODS = ("shapley", "deletion", "integrated_gradients")
_PACKAGE = str(Path(__file__).parents[1]) + os.sep
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
    algorithm : {"auto", "shap"}
        Who computes the values of columns.
    has_background : bool
        Whether background rows were given; else they are the explained rows themselves.
    verbose : bool
        Whether progress bars are shown.
    seed : int
        Seeds everything that is drawn.
    first : int
        Position of the first row among all that were explained, so that a row alone is
        given the draws that it has among the others.
    """

    game: Game
    frame: Frame
    output_names: tuple[str, ...]
    units: Mapping[str, str]
    image_method: ImageMethod
    word_method: WordMethod
    n_samples: int
    algorithm: Algorithm
    has_background: bool
    verbose: bool
    seed: int
    first: int = 0
    _known_references: dict[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def of(self, name: str) -> Detail:
        """Return the attribution within a modality."""
        with progress_shown(self.verbose), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = self._of(name)
        _say_once(caught)
        return found

    def alone(self, row: int) -> Details:
        """Return what attributes one row, without the time that the others take."""
        rows = np.concatenate([[row], np.arange(self.game.n_rows, len(self.frame))])
        return replace(
            self,
            game=self.game.alone(row),
            frame=self.frame.take(rows),
            output_names=(self.output_names[row],),
            first=self.first + row,
            _known_references={},
        )

    def check_methods(self) -> None:
        """Raise if pixels or words cannot be attributed as asked, before anything is computed."""
        for name, encoder in self.game.model._modality_encoders().items():
            if isinstance(encoder, ImageEncoder | SeriesEncoder):
                if self._image_method() == "grad_cam":
                    map_layer(self.game, name)
            elif isinstance(encoder, TextEncoder):
                self._check_word_method(encoder)

    def check_units(self, X: Any) -> None:
        """Raise if a unit is given for what is no column, concept or value of a visit."""
        known = {str(name) for name in getattr(X, "columns", ())} | set(self.frame.columns)
        for encoder in self.game.model._modality_encoders().values():
            known |= set(getattr(encoder, "columns_", ()))
            if isinstance(encoder, VisitEncoder):
                known |= set(encoder.values_)
            elif isinstance(encoder, ConceptEncoder):
                known |= set(encoder.feature_groups())
            elif isinstance(encoder, GenotypeEncoder):
                known |= set(encoder.locus_groups())
        check_unit_names(self.units, known)

    def _of(self, name: str) -> Detail:
        encoder = self.game.model._modality_encoders()[name]
        if isinstance(encoder, ImageEncoder):
            return self._images(name, encoder)
        if isinstance(encoder, SeriesEncoder):
            return self._volumes(name, encoder)
        if isinstance(encoder, TextEncoder):
            return self._notes(name, encoder)
        if isinstance(encoder, VisitEncoder):
            return self._visits(name, encoder)
        if isinstance(encoder, GenotypeEncoder):
            return self._genotypes(name, encoder)
        return self._table(name, encoder)

    def _rows(self, name: str, what: str = "Explaining") -> Any:
        return progress(range(self.game.n_rows), f"{what} {name}", unit="row")

    def _has(self, row: int, name: str) -> bool:
        return bool(self.game.present[row, self.game.names.index(name)])

    def parts(self, name: str, detail: Detail) -> Iterator[Parts]:
        """Yield the parts of each row that has the modality, to be taken away or put in."""
        encoder = self.game.model._modality_encoders()[name]
        for row in self._rows(name, "Checking"):
            if not self._has(row, name):
                continue
            if isinstance(detail, TableAttribution):
                play = self._play_columns(row, name, self._columns_of(encoder))
                yield Parts(np.asarray(detail.values[row, 1:]), play)
            elif isinstance(detail, VisitAttribution):
                visits = encoder.read_visits(self.frame.take(np.array([row])))
                score = score_visits(self.game, row, name, encoder, visits)
                yield Parts(detail.values[detail.of_row(row)], play_visits(score, visits))
            elif isinstance(part := detail[row], TextAttribution):
                told = score_notes(self.game, self.frame, row, name, encoder.columns_)
                places = [(span.start, span.end) for span in part.spans]
                values = np.asarray([span.value for span in part.spans])
                yield Parts(values, play_words(told, part.text, places))
            elif isinstance(part, ImageAttribution) and isinstance(encoder, ImageEncoder):
                image = self._pixels(encoder, [row])[0]
                blocks = number_blocks(image.shape[1:])
                values = np.bincount(blocks.ravel(), part.values.ravel()).astype(np.float64)
                yield Parts(values, play_blocks(score_images(self.game, row, name), image, blocks))
            elif isinstance(part, VolumeAttribution) and isinstance(encoder, SeriesEncoder):
                alone = encoder.prepare(self.frame.take(np.array([row])))
                yield blocks_of_row(self.game, row, name, alone, part.method)

    # -- tables ------------------------------------------------------------------------

    def _genotypes(self, name: str, encoder: GenotypeEncoder) -> GenotypeAttribution:
        """Return values of variants and, where some share a locus, of loci."""
        loci = encoder.locus_groups()
        shared = None
        if len(loci) < len(encoder.columns_):
            shared = self._table(name, encoder, list(loci))
        found = self._table(name, encoder)
        own = {field.name: getattr(found, field.name) for field in fields(found)}
        return GenotypeAttribution(**own, loci=shared)

    def _table(
        self, name: str, encoder: Encoder, players: list[str] | None = None
    ) -> TableAttribution:
        columns = self._columns_of(encoder) if players is None else players
        n, names = self.game.n_rows, [PRESENCE, *columns]
        values, errors = np.zeros((n, len(names))), np.zeros((n, len(names)))
        base = np.zeros(n)
        pairs = np.zeros((n, len(names), len(names)))
        for row in self._rows(name):
            base[row] = self.game.without(row, name)
            if not self._has(row, name):
                if self.game.n_background:  # others have it: to lack it counts, too
                    values[row, 0] = pairs[row, 0, 0] = self.game.own_value(row, name)
                continue
            found = self._columns(row, name, columns)
            values[row, 0] = pairs[row, 0, 0] = found.base - base[row]
            values[row, 1:] = found.values
            if found.errors is not None:
                errors[row, 1:] = found.errors
            if found.interactions is not None:
                pairs[row, 1:, 1:] = found.interactions
        kind = "concepts" if isinstance(encoder, ConceptEncoder) else "columns"
        cells = np.empty((n, len(names)), dtype=object)
        present = self.game.present[:, self.game.names.index(name)]
        cells[:, 0] = present
        for j, column in enumerate(columns, start=1):
            cells[:, j] = self._cells(column, encoder)[:n]
        return TableAttribution(
            values=values,
            base_value=base,
            data=cells,
            feature_names=tuple(names),
            output_name=name_outputs(self.output_names),
            units={c: self.units[c] for c in names if c in self.units},
            method=f"Shapley values over {kind if players is None else 'loci'}",
            error=errors if errors.any() else None,
            interactions=pairs if self._plays_every_column(columns) else None,
        )

    def _plays_every_column(self, columns: Sequence[str]) -> bool:
        return self.algorithm == "auto" and len(columns) <= AUTO_EXACT

    def _columns(self, row: int, name: str, columns: list[str]) -> ShapleyOfColumns:
        """Return the values of one row's columns, with their pairs where all are played."""
        play = self._play_columns(row, name, columns)
        seed = derive_seed(self.seed, "columns", name, self.first + row)
        if self.algorithm == "shap":
            return ask_kernel_explainer(play, len(columns), seed=seed)
        if not self._plays_every_column(columns):
            found = kernel_shap(play, len(columns), seed=seed)
            return ShapleyOfColumns(found.values, float(found.base), found.errors)
        payoffs = play_all(play, len(columns))
        return ShapleyOfColumns(
            exact_shapley(payoffs), float(payoffs[0]), None, shapley_interactions(payoffs)
        )

    def _columns_of(self, encoder: Encoder) -> list[str]:
        """Return what a table is explained by: columns, or the concepts that tell rows apart."""
        if not isinstance(encoder, ConceptEncoder):
            return list(encoder.columns_)
        said = encoder.prepare(self.frame).tensors["x"].numpy()
        varies = (said != said[:1]).any(axis=0)
        groups = encoder.feature_groups()
        return [name for name, own in groups.items() if varies[own].any()] or list(groups)[:1]

    def _play_columns(self, row: int, name: str, columns: Sequence[str]) -> Play:
        references = self._references(name)
        encoder = self.game.model._modality_encoders()[name]
        if isinstance(encoder, ConceptEncoder):
            groups = encoder.feature_groups()
            own = [groups[column] for column in columns]
            return play_features(self.game, encoder.prepare(self.frame), row, name, own, references)
        if isinstance(encoder, GenotypeEncoder):
            place = {column: i for i, column in enumerate(encoder.columns_)}
            loci = encoder.locus_groups() if set(columns) != set(place) else {}
            parts = [[place[c] for c in loci.get(column, [column])] for column in columns]
            return play_dosages(self.game, encoder, self.frame, row, name, parts, references)
        return play_columns(self.game, self.frame, row, name, columns, references)

    def _cells(self, column: str, encoder: Encoder) -> list[Any]:
        if isinstance(encoder, ConceptEncoder):
            return encoder.name_contexts(self.frame, column)
        if column not in self.frame.columns and isinstance(encoder, GenotypeEncoder):
            return self._dosages_of(encoder, column)
        return cells_of(self.frame, column)

    def _dosages_of(self, encoder: GenotypeEncoder, locus: str) -> list[Any]:
        """Return copies of each counted allele of a locus, by row, in words."""
        own = {name: self.frame.numbers(name) for name in encoder.locus_groups()[locus]}
        if len(own) == 1:
            return [None if np.isnan(v) else v for v in next(iter(own.values())).tolist()]
        return [
            ", ".join(f"{name} {values[row]:g}" for name, values in own.items()).replace("nan", "?")
            for row in range(len(self.frame))
        ]

    def _references(self, name: str) -> NDArray[np.int64]:
        """Return background rows that have the modality: what a column is replaced from."""
        if name in self._known_references:
            return self._known_references[name]
        n = self.game.n_rows
        if not self.has_background and len(self.frame) - n == 1:
            warnings.warn(
                f"background: expected rows to replace the columns of {name!r} from, got none, "
                "and a row by itself can only be replaced by itself: its columns are worth 0. "
                "Pass the training rows.",
                AsfusionWarning,
                stacklevel=2,
            )
        _, there = self.game.encode_frame(name, self.frame.take(np.arange(n, len(self.frame))))
        found = n + np.flatnonzero(there)
        if not len(found):
            msg = (
                f"background: expected rows that have the modality {name!r}, got none. Pass the "
                "training rows."
            )
            raise ConfigurationError(msg)
        self._known_references[name] = found
        return found

    # -- notes -------------------------------------------------------------------------

    def _notes(self, name: str, encoder: TextEncoder) -> list[TextAttribution | None]:
        self._check_word_method(encoder)
        found: list[TextAttribution | None] = []
        for row in self._rows(name):
            own = self.frame.take(np.array([row]))
            text = join_patient(read_notes(own, encoder.columns_, name)[0])
            if not text or not self._has(row, name):
                found.append(None)
            elif self.word_method == "integrated_gradients":
                found.append(self._by_gradients(row, name, encoder, text))
            else:
                found.append(
                    attribute_words(
                        score_notes(self.game, self.frame, row, name, encoder.columns_),
                        text,
                        method=self.word_method,
                        n_samples=self.n_samples,
                        seed=derive_seed(self.seed, "words", name, self.first + row),
                    )
                )
        return found

    def _by_gradients(
        self, row: int, name: str, encoder: TextEncoder, text: str
    ) -> TextAttribution:
        """Return words by gradients, what an empty note is worth against none put elsewhere."""
        note = embed_note(self.game, row, name, encoder, text)
        part = attribute_tokens(
            note.forward,
            note.embeddings,
            note.offsets,
            text,
            baseline=note.baseline,
            n_steps=_NOTE_STEPS,
        )
        value = self.game.own_value(row, name)
        return replace(part, total=value, elsewhere=part.elsewhere + value - part.total)

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

    # -- visits ------------------------------------------------------------------------

    def _visits(self, name: str, encoder: VisitEncoder) -> VisitAttribution:
        every = encoder.read_visits(self.frame.take(np.arange(self.game.n_rows)))
        found = []
        for row in self._rows(name):
            visits = every.of_row(row)
            if not len(visits) or not self._has(row, name):
                continue
            found.append(
                attribute_visits(
                    score_visits(self.game, row, name, encoder, visits),
                    visits,
                    n_samples=self.n_samples,
                    seed=derive_seed(self.seed, "visits", name, self.first + row),
                )
            )
        empty = np.empty((0, len(encoder.values_)))
        return VisitAttribution(
            rows=every.row,
            days=every.day,
            values=np.concatenate([np.empty(0), *(part.visits for part in found)]),
            cells=np.concatenate([empty, *(part.cells for part in found)]),
            data=every.values,
            variables=encoder.values_,
            n_rows=self.game.n_rows,
            output_name=name_outputs(self.output_names),
            units={c: self.units[c] for c in encoder.values_ if c in self.units},
            errors=np.concatenate([np.empty(0), *(part.errors for part in found)]),
        )

    # -- images ------------------------------------------------------------------------

    def _images(self, name: str, encoder: ImageEncoder) -> list[ImageAttribution | None]:
        method = self._image_method()
        found: list[ImageAttribution | None] = []
        for row in self._rows(name):
            if not self._has(row, name):
                found.append(None)
                continue
            layer = None
            if method == "occlusion":
                forward = score_images(self.game, row, name)
            else:
                forward = worth_of_images(self.game, row, name)
                layer = map_layer(self.game, name) if method == "grad_cam" else None
            pixels = self._pixels(encoder, [row])[0]  # one by one: films of many rows are large
            part = attribute_image(forward, pixels, method=method, layer=layer)
            rest = self.game.own_value(row, name) - part.total
            found.append(replace(self._on_file(part, row, encoder), elsewhere=rest))
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
            part = attribute_row(self.game, row, name, encoder, alone, own, method)
            maps = {k: replace(m, unit=self._unit(row)) for k, m in part.maps.items()}
            found.append(replace(part, maps=maps))
        return found

    def _on_file(self, part: ImageAttribution, row: int, encoder: ImageEncoder) -> ImageAttribution:
        """Return the attribution with the size of its file, for scale bars and the way back."""
        path = self.frame.take(np.array([row])).strings(encoder.columns_[0])[0]
        extent = read_extent(str(path))
        spacing = extent.spacing_at(part.values.shape[-1])
        return replace(part, extent=extent, spacing_mm=spacing, unit=self._unit(row))

    def _unit(self, row: int) -> str:
        """Return what a row's output is measured in."""
        kind, is_class, _ = self.output_names[row].partition(" of class ")
        return kind if is_class else "units of the output"

    def _pixels(self, encoder: ImageEncoder, rows: Sequence[int]) -> Tensor:
        """Return the images of rows, from 0 to 1."""
        prepared = encoder._prepare_rows(self.frame, np.asarray(rows))
        return prepared.tensors["pixels"].to(torch.float32) / 255.0

    def _image_method(self) -> Any:
        if self.image_method == "auto":
            return "integrated_gradients" if has_gradients(self.game) else "occlusion"
        if self.image_method != "occlusion":
            check_gradients(self.game, "image_method", "occlusion")
        return self.image_method


def _say_once(caught: Sequence[warnings.WarningMessage]) -> None:
    """Pass on what was said of several rows once, on the line of whoever asked."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    said = set()
    for warning in caught:
        key = (warning.category, str(warning.message))
        if key in said:
            continue
        said.add(key)
        if issubclass(warning.category, AsfusionWarning):
            warnings.warn(warning.message, warning.category, stacklevel=level)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
