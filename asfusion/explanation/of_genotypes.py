"""Variants, and genes or loci as one, each that of background rows where it is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np

from asfusion.estimators._parts import Content
from asfusion.explanation._coalitions import Floats, Masks, Play
from asfusion.explanation.genotypes import GenotypeAttribution
from asfusion.explanation.of_tables import TableAttributor


class GenotypeAttributor(TableAttributor):
    """Attributes to variants and, where some share a locus, to loci."""

    @cached_property
    def dosages(self) -> Floats:
        """Every row as columns that were read, those of the background too."""
        found: Floats = self.encoder.read_columns(self.frame)
        return found

    def names_with_units(self) -> set[str]:
        """Return columns and loci."""
        return super().names_with_units() | set(self.encoder.locus_groups())

    def attribute(self) -> GenotypeAttribution:
        """Return values of variants and, where some share a locus, of loci."""
        loci, shared = self.encoder.locus_groups(), None
        if len(loci) < len(self.encoder.columns_):
            shared = self.attribute_to(list(loci), "loci")
        found = super().attribute()
        own = {field.name: getattr(found, field.name) for field in fields(found)}
        return GenotypeAttribution(**own, loci=shared)

    def play(self, row: int, players: Sequence[str]) -> Play:
        """Return the worth of a row whose genotypes outside a coalition are those of other rows.

        Interactions and scores follow from the mixed columns: they have no value of their own.
        """
        place = {column: i for i, column in enumerate(self.encoder.columns_)}
        loci = self.encoder.locus_groups() if set(players) != set(place) else {}
        cells = self.dosages
        owner = np.zeros(cells.shape[1], dtype=np.int64)
        for player, name in enumerate(players):
            owner[[place[column] for column in loci.get(name, [name])]] = player

        def encode(kept: Masks, other: Any) -> tuple[Content, Masks]:
            mixed = np.where(kept[:, owner], cells[row], cells[other])
            return self.game.encode(self.name, self.encoder.prepare_dosages(mixed))

        return self.replacing(row, encode, cells.shape[1])

    def cells(self, player: str) -> list[Any]:
        """Return the cells of a column, or the copies of each counted allele of a locus."""
        if player in self.frame.columns:
            return super().cells(player)
        own = {name: self.frame.numbers(name) for name in self.encoder.locus_groups()[player]}
        if len(own) == 1:
            return [None if np.isnan(v) else v for v in next(iter(own.values())).tolist()]
        return [
            ", ".join(f"{name} {values[row]:g}" for name, values in own.items()).replace("nan", "?")
            for row in range(len(self.frame))
        ]
