"""Which numbers are kept back, since they say little and may tell on people."""

from __future__ import annotations

from collections.abc import Mapping

FEWEST = 10  # rows or patients: smaller cells are not shown


def hidden_cells(counts: Mapping[str, tuple[int, int]]) -> set[str]:
    """Return which parts of all rows are not shown, by their numbers of rows and of patients."""
    hidden = {name for name, count in counts.items() if min(count) < FEWEST}
    if len(hidden) == 1 and len(counts) > 1:
        # The number of all rows is known: one missing number would follow from the others.
        hidden.add(min(set(counts) - hidden, key=lambda name: (counts[name], name)))
    return hidden
