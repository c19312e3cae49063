"""Which sets of modalities patients have, by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._patterns import group_by_pattern
from asfusion.evaluation._small_cells import hidden_cells
from asfusion.overview._classes import Parts


@dataclass(frozen=True)
class Subset:
    """Rows that have the same modalities.

    Parameters
    ----------
    present : tuple of str
        The modalities.
    counts : tuple of (int or None)
        Rows by class; None where it is not shown: below 10 rows or patients, and where such a
        number would follow from the others.
    """

    present: tuple[str, ...]
    counts: tuple[int | None, ...]


def find_subsets(presence: Mapping[str, NDArray[np.bool_]], parts: Parts) -> tuple[Subset, ...]:
    """Return each set of present modalities, the most frequent first.

    Parameters
    ----------
    presence : mapping of str to ndarray of shape (N,)
        Which rows have a modality.
    parts : Parts
        Rows by class.
    """
    if not presence:
        return ()
    patterns = group_by_pattern(presence)
    columns = [_shown(rows, patterns, parts) for rows in parts.rows]
    return tuple(
        Subset(present, tuple(column[k] for column in columns))
        for k, (present, _) in enumerate(patterns)
    )


def _shown(
    rows: NDArray[np.int64],
    patterns: Sequence[tuple[tuple[str, ...], NDArray[np.int64]]],
    parts: Parts,
) -> list[int | None]:
    """Return how many rows of a class have each set."""
    own = [np.intersect1d(rows, having) for _, having in patterns]
    sizes = {str(k): parts.size(some) for k, some in enumerate(own)}
    # Nobody is no one that could be told on, and is hidden all the same: it says who is not there.
    hidden = hidden_cells(sizes)
    return [None if str(k) in hidden else len(some) for k, some in enumerate(own)]
