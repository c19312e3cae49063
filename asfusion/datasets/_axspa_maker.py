"""What is drawn for the patients of the synthetic cohort, part by part."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from asfusion._random import derive_seed
from asfusion.datasets._axspa_measured import draw_dates, draw_gaps, measure_labs, write_notes
from asfusion.datasets._axspa_patients import Patients
from asfusion.datasets._folders import temporary_folder
from asfusion.datasets._genome import Genome, draw_genome

if TYPE_CHECKING:
    from asfusion.datasets._axspa_images import FilmRoom

_IMAGES: Final = ("xray", "mri", "spine")


def stream(seed: int, *keys: object) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, "axspa", *keys))


@dataclass(frozen=True, eq=False)
class Made:
    """Columns and files of all patients."""

    columns: dict[str, list[Any]]
    genome: Genome
    segmentations: list[str | None] | None
    lesions: list[str | None] | None
    mentions: list[Any] | None
    regions: list[Any] | None
    corner_points: list[Any] | None


class Maker:
    """Turns patients into columns and files; each part draws from a stream of its own."""

    def __init__(
        self,
        patients: Patients,
        modalities: tuple[str, ...],
        seed: int,
        missing: float,
        path: str | os.PathLike[str] | None,
        film_mm: float | None = None,
    ) -> None:
        self.patients, self.modalities, self.seed, self.path = patients, modalities, seed, path
        self.film_mm = film_mm
        self.dates = draw_dates(len(patients), stream(seed, "dates"))
        self.cells, self.absent = draw_gaps(patients, missing, stream(seed, "gaps"))
        # Genes cause the disease whether or not anyone looks at them.
        self.genome = draw_genome(patients.is_case, stream(seed, "genome"))

    def make(self) -> Made:
        columns: dict[str, list[Any]] = {}
        mentions = segmentations = lesions = regions = corner_points = None
        if "labs" in self.modalities:
            columns |= self._labs()
        if "genes" in self.modalities:
            columns |= self._genes()
        if "notes" in self.modalities:
            notes, mentions = write_notes(self.patients, self.dates, self.seed)
            columns["clinical_note"] = _hidden(notes, self.absent["notes"])
        if set(_IMAGES) & set(self.modalities):
            room = self._room()
            images = self._images(room)
            regions = room.regions if "xray" in self.modalities else None
            corner_points = room.corner_points if "spine" in self.modalities else None
            segmentations = images.pop("segmentation", None)
            lesions = images.pop("lesions", None)
            columns |= images
        return Made(columns, self.genome, segmentations, lesions, mentions, regions, corner_points)

    def _labs(self) -> dict[str, list[Any]]:
        table = measure_labs(self.patients, stream(self.seed, "labs"))
        # Age and sex are known of everybody; what the laboratory lost is all of its values.
        lost = self.absent["labs"]
        own = ("age", "sex", "bmi", "smoker")
        return {
            name: _hidden(values, self.cells[name] | (lost & (name not in own)))
            for name, values in table.items()
        }

    def _genes(self) -> dict[str, list[Any]]:
        genome, absent = self.genome, self.absent["genes"]
        columns: dict[str, list[Any]] = {"hla_b27": _hidden(genome.hla_b27.tolist(), absent)}
        for name, dosage in genome.dosages.items():
            columns[name] = _hidden(dosage.tolist(), absent | (dosage < 0))
        return columns

    def _room(self) -> FilmRoom:
        from asfusion.datasets._axspa_images import FilmRoom

        folder = temporary_folder() if self.path is None else Path(self.path).absolute()
        return FilmRoom(self.patients, self.dates, folder, self.seed, self.film_mm)

    def _images(self, room: FilmRoom) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {}
        if "xray" in self.modalities:
            columns |= room.write_pelvis(self.absent["xray"])
        if "mri" in self.modalities:
            columns |= room.write_mri(self.absent["mri"])
        if "spine" in self.modalities:
            columns |= room.write_spine(self.absent["spine"])
        return columns


def _hidden(values: Sequence[Any], rows: NDArray[np.bool_]) -> list[Any]:
    return [None if gone else value for value, gone in zip(values, rows.tolist(), strict=True)]


# -- tables ----------------------------------------------------------------------------
