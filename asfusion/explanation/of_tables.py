"""The columns of a table, each replaced by that of background rows where it is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from asfusion._frames import Frame
from asfusion.estimators._parts import Content
from asfusion.explanation._asking import Attributor
from asfusion.explanation._attribution import PRESENCE, name_outputs
from asfusion.explanation._coalitions import Floats, Masks, Play, in_steps
from asfusion.explanation._curves import Claim
from asfusion.explanation._with_shap import ShapleyOfColumns, ask_kernel_explainer
from asfusion.explanation.players import (
    AUTO_EXACT,
    exact_shapley,
    kernel_shap,
    play_all,
    shapley_interactions,
)
from asfusion.explanation.tables import TableAttribution

_MOST_CELLS = 400_000

Encode = Callable[[Masks, Any], "tuple[Content, Masks]"]


class TableAttributor(Attributor):
    """Attributes to columns; other kinds of named features say what theirs are."""

    players_are = "columns"

    def players(self) -> list[str]:
        """Return what takes part."""
        return list(self.encoder.columns_)

    def play(self, row: int, players: Sequence[str]) -> Play:
        """Return the worth of a row whose columns outside a coalition are those of other rows."""

        def encode(kept: Masks, other: Any) -> tuple[Content, Masks]:
            rows = {c: np.where(kept[:, j], row, other) for j, c in enumerate(players)}
            return self.game.encode_frame(self.name, self.frame.gather(rows))

        return self.replacing(row, encode, len(players))

    def cells(self, player: str) -> list[Any]:
        """Return what stands in each row, the background's too."""
        return cells_of(self.frame, player)

    def replacing(self, row: int, encode: Encode, n_cells: int) -> Play:
        """Return the mean worth of a row over what background rows put in place of its parts.

        `encode` is given coalitions (R, P), and the row (R,) that the rest is taken from.
        """
        worth, references = self.game.marginal(row, self.name), self.asking.references(self.name)

        def play(masks: Masks) -> Floats:
            kept = np.repeat(masks, len(references), axis=0)
            found = worth(*encode(kept, np.tile(references, len(masks))))
            return np.asarray(found.reshape(len(masks), -1).mean(axis=1))

        return in_steps(play, _MOST_CELLS // (len(references) * max(1, n_cells)))

    def attribute(self) -> TableAttribution:
        """Return the attribution of all rows."""
        return self.attribute_to(self.players(), self.players_are)

    def claim(self, row: int, found: Any) -> Claim:
        """Return the columns of a row."""
        return Claim(np.asarray(found.values[row, 1:]), self.play(row, self.players()))

    def attribute_to(self, players: list[str], players_are: str) -> TableAttribution:
        """Return the attribution of all rows to some columns, or groups of them."""
        n, names = self.game.n_rows, [PRESENCE, *players]
        values, errors = np.zeros((n, len(names))), np.zeros((n, len(names)))
        base, pairs = np.zeros(n), np.zeros((n, len(names), len(names)))
        for row in self.rows():
            base[row] = self.game.without(row, self.name)
            if not self.has(row):
                if self.game.n_background:  # others have it: to lack it counts, too
                    values[row, 0] = pairs[row, 0, 0] = self.game.own_value(row, self.name)
                continue
            found = self._solve(row, players)
            values[row, 0] = pairs[row, 0, 0] = found.base - base[row]
            values[row, 1:] = found.values
            if found.errors is not None:
                errors[row, 1:] = found.errors
            if found.interactions is not None:
                pairs[row, 1:, 1:] = found.interactions
        return TableAttribution(
            values=values,
            base_value=base,
            data=self._data(players),
            feature_names=tuple(names),
            output_name=name_outputs(self.asking.output_names),
            units=self.asking.units_of(names),
            method=f"Shapley values over {players_are}",
            error=errors if errors.any() else None,
            interactions=pairs if self._plays_all(players) else None,
        )

    def _data(self, players: Sequence[str]) -> Any:
        """Return the cells (N, 1 + P), whether a row has the modality first."""
        cells = np.empty((self.game.n_rows, 1 + len(players)), dtype=object)
        cells[:, 0] = self.present
        for j, player in enumerate(players, start=1):
            cells[:, j] = self.cells(player)[: self.game.n_rows]
        return cells

    def _plays_all(self, players: Sequence[str]) -> bool:
        return self.asking.algorithm == "auto" and len(players) <= AUTO_EXACT

    def _solve(self, row: int, players: Sequence[str]) -> ShapleyOfColumns:
        """Return the values of one row's columns, with their pairs where all are played."""
        play, seed = self.play(row, players), self.seed("columns", row)
        if self.asking.algorithm == "shap":
            return ask_kernel_explainer(play, len(players), seed=seed)
        if not self._plays_all(players):
            found = kernel_shap(play, len(players), seed=seed)
            return ShapleyOfColumns(found.values, float(found.base), found.errors)
        payoffs = play_all(play, len(players))
        return ShapleyOfColumns(
            exact_shapley(payoffs), float(payoffs[0]), None, shapley_interactions(payoffs)
        )


def cells_of(frame: Frame, column: str) -> list[Any]:
    """Return the cells of a column as they are shown: numbers, True or False, days, texts."""
    kind = frame.kind(column)
    if kind in ("number", "boolean"):
        numbers = frame.numbers(column).tolist()
        return [None if v != v else bool(v) if kind == "boolean" else v for v in numbers]
    texts = frame.strings(column)
    if kind != "date":
        return list(texts)
    return [None if text is None else text.removesuffix(" 00:00:00") for text in texts]
