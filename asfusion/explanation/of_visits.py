"""The visits of a patient, each as if it had never happened where it is left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from asfusion.encoders._visit_cells import Visits
from asfusion.explanation._asking import Attributor
from asfusion.explanation._attribution import name_outputs
from asfusion.explanation._coalitions import Floats
from asfusion.explanation._curves import Claim
from asfusion.explanation._visit_games import Bools, Score, attribute_visits, play_visits
from asfusion.explanation.visits import VisitAttribution

_MOST_ROWS = 1024


class VisitAttributor(Attributor):
    """Attributes to visits, and to the values in each."""

    def names_with_units(self) -> set[str]:
        """Return columns and values."""
        return super().names_with_units() | set(self.encoder.values_)

    def attribute(self) -> VisitAttribution:
        """Return the attribution of all rows."""
        every = self.encoder.read_visits(self.frame.take(np.arange(self.game.n_rows)))
        found = []
        for row in self.rows():
            visits = every.of_row(row)
            if not len(visits) or not self.has(row):
                continue
            score, n_samples = self.score(row, visits), self.asking.n_samples
            seed = self.seed("visits", row)
            found.append(attribute_visits(score, visits, n_samples=n_samples, seed=seed))
        empty = np.empty((0, len(self.encoder.values_)))
        return VisitAttribution(
            rows=every.row,
            days=every.day,
            values=np.concatenate([np.empty(0), *(part.visits for part in found)]),
            cells=np.concatenate([empty, *(part.cells for part in found)]),
            data=every.values,
            variables=self.encoder.values_,
            n_rows=self.game.n_rows,
            output_name=name_outputs(self.asking.output_names),
            units=self.asking.units_of(self.encoder.values_),
            errors=np.concatenate([np.empty(0), *(part.errors for part in found)]),
        )

    def claim(self, row: int, found: Any) -> Claim:
        """Return the visits of a row."""
        visits = self.encoder.read_visits(self.asking.row(row))
        return Claim(found.values[found.of_row(row)], play_visits(self.score(row, visits), visits))

    def score(self, row: int, visits: Visits) -> Score:
        """Return the worth of a row of which only some values (M, V, K) were ever measured.

        A visit without any of its values did not happen; without any visit, the row lacks the
        modality.
        """
        worth, without = self.game.marginal(row, self.name), self.game.without(row, self.name)

        def score(kept: Bools) -> Floats:
            states, place = np.unique(kept.reshape(len(kept), -1), axis=0, return_inverse=True)
            chunks = [
                some(states[start : start + _MOST_ROWS].reshape(-1, *kept.shape[1:]))
                for start in range(0, len(states), _MOST_ROWS)
            ]
            return np.concatenate(chunks)[place.ravel()]

        def some(kept: Bools) -> Floats:
            count, n_visits = kept.shape[:2]
            asked = Visits(
                count,
                np.repeat(np.arange(count), n_visits),
                np.tile(visits.day, count),
                np.where(kept, visits.values, np.nan).reshape(count * n_visits, -1),
            ).keep(kept.any(axis=2).ravel())
            content, there = self.game.encode(self.name, self.encoder.prepare_visits(asked))
            return np.where(there, worth(content, there), without)

        return score
