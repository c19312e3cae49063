"""Whether a column that names the site parts a wide table, as another platform would.

Dimensions: N rows, C columns, S sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.evaluation._small_cells import FEWEST
from asfusion.suspects.names import words_of

Floats = NDArray[np.float64]

_WORDS = frozenset({"site", "centre", "center", "hospital", "cohort", "batch", "platform"})
_MOST_SITES = 20
_WIDE = 50  # columns of numbers: fewer are hardly all measured alike
_MUCH = 0.1  # share of the variance of a column that lies between sites
_TIMES = 3.0  # as large as chance makes it


def find_parted(frame: Frame, modalities: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return what to do about each wide table that a site parts, in sentences."""
    wide = {name: _numbers(frame, columns) for name, columns in modalities.items()}
    wide = {name: columns for name, columns in wide.items() if len(columns) >= _WIDE}
    advice = []
    for site in filter(_names_a_site, frame.columns) if wide else ():
        sites = _sites(frame, site)
        for name, columns in wide.items():
            if sites is not None and _is_parted(frame.numbers_of(columns), sites):
                advice.append(
                    f"Column {site!r} parts the {len(columns)} numbers of {name!r}: most of them "
                    "differ between its levels. If they are measured alike, as expression is, "
                    "TabularEncoder(scale='rank_within_row') takes out what shifts or stretches "
                    "whole rows."
                )
    return tuple(advice)


def _names_a_site(column: str) -> bool:
    return not _WORDS.isdisjoint(words_of(column))


def _numbers(frame: Frame, columns: Sequence[str]) -> list[str]:
    return [name for name in columns if name in frame.plain and frame.kind(name) == "number"]


def _sites(frame: Frame, column: str) -> NDArray[np.int64] | None:
    """Return the site of each row, -1 where there is none or few are of it; None if it is none."""
    cells = frame.strings(column)
    names, numbers = np.unique([cell or "" for cell in cells], return_inverse=True)
    counts = np.bincount(numbers)
    kept = (counts >= FEWEST) & (names != "")
    if not 2 <= kept.sum() <= _MOST_SITES:
        return None
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    return np.asarray(place[numbers])


def _is_parted(cells: Floats, sites: NDArray[np.int64]) -> bool:
    """Return whether the median column differs between sites by more than chance makes it."""
    cells, sites = cells[sites >= 0], sites[sites >= 0]
    known = ~np.isnan(cells)
    filled = np.where(known, cells, 0.0)
    mean = filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    away = np.where(known, cells - mean, 0.0)
    between = np.zeros(cells.shape[1])
    for site in range(int(sites.max()) + 1):
        own = sites == site
        between += away[own].sum(axis=0) ** 2 / np.maximum(known[own].sum(axis=0), 1)
    total = (away**2).sum(axis=0)
    shares = between[total > 0] / total[total > 0]
    by_chance = sites.max() / max(1, len(sites) - 1)
    return bool(len(shares) and np.median(shares) > max(_MUCH, _TIMES * by_chance))
