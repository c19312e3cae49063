"""The columns that an encoder of the user's own reads, each missing where it is left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asfusion.explanation._coalitions import Floats, Masks, Play, in_steps
from asfusion.explanation.of_tables import TableAttributor

_MOST_ROWS = 256


class ColumnAttributor(TableAttributor):
    """Attributes to columns whose content is not known.

    Cells of other rows may not fit together, such as a picture and its outline. A missing cell is
    what every encoder can read; one row is explained without any background.
    """

    def play(self, row: int, players: Sequence[str]) -> Play:
        """Return the worth of a row whose columns outside a coalition are missing."""
        worth, without = self.game.marginal(row, self.name), self.game.without(row, self.name)
        own, others_have_it = self.asking.row(row), bool(self.game.n_background)

        def play(masks: Masks) -> Floats:
            rows = own.take(np.zeros(len(masks), dtype=np.int64))
            kept = {column: masks[:, j] for j, column in enumerate(players)}
            content, there = self.game.encode_frame(self.name, rows.blank(kept))
            found = worth(content, there)
            return found if others_have_it else np.where(there, found, without)

        return in_steps(play, _MOST_ROWS)
