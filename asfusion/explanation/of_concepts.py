"""The concepts that notes name, each as it is meant by background rows where it is left out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from asfusion._tokens import Prepared
from asfusion.estimators._parts import Content
from asfusion.explanation._coalitions import Masks, Play
from asfusion.explanation.of_tables import TableAttributor


class ConceptAttributor(TableAttributor):
    """Attributes to concepts, whatever the contexts that each is named in."""

    players_are = "concepts"

    @cached_property
    def said(self) -> torch.Tensor:
        """Every row as features, those of the background too."""
        x: torch.Tensor = self.encoder.prepare(self.frame).tensors["x"]
        return x

    def names_with_units(self) -> set[str]:
        """Return columns and concepts."""
        return super().names_with_units() | set(self.encoder.feature_groups())

    def players(self) -> list[str]:
        """Return the concepts that tell rows apart."""
        said = self.said.numpy()
        varies = (said != said[:1]).any(axis=0)
        groups = self.encoder.feature_groups()
        return [name for name, own in groups.items() if varies[own].any()] or list(groups)[:1]

    def play(self, row: int, players: Sequence[str]) -> Play:
        """Return the worth of a row whose concepts outside a coalition are those of other rows."""
        groups, said = self.encoder.feature_groups(), self.said
        owner = np.full(said.shape[1], -1)
        for player, name in enumerate(players):
            owner[groups[name]] = player

        def encode(kept: Masks, other: Any) -> tuple[Content, Masks]:
            # Features outside all groups are the same in every row.
            padded = np.concatenate([kept, np.ones((len(kept), 1), dtype=bool)], axis=1)
            own = torch.from_numpy(padded[:, owner])
            mixed = torch.where(own, said[row], said[torch.from_numpy(other)])
            there = torch.ones(len(mixed), dtype=torch.bool)
            return self.game.encode(self.name, Prepared({"x": mixed}, there))

        return self.replacing(row, encode, said.shape[1])

    def cells(self, player: str) -> list[Any]:
        """Return in words how each row's notes mean a concept."""
        return list(self.encoder.name_contexts(self.frame, player))
