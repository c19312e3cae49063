"""What a reference keeps of a column: counts and means of rows, none of fewer than five.

Dimensions: N rows, K bins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame

Floats = NDArray[np.float64]

FEWEST = 5  # rows behind every number
_BINS = 10
_MOST_LEVELS = 20
_HALO = 2  # rows to each side of a cut: it is a mean, and nobody's cell


@dataclass(frozen=True)
class NumberSums:
    """A column of numbers.

    Parameters
    ----------
    n_missing : int
        Rows without a cell; 0 where they are fewer than five.
    mean, spread : float
        Mean and standard deviation of the known cells, in the column's unit.
    middle : float
        Mean of the five cells in the middle.
    cuts : tuple of float
        Between bins: each the mean of five neighbouring cells.
    counts : tuple of int
        Rows of each bin, one more than cuts; a cell that equals a cut lies below it.
    """

    n_missing: int
    mean: float
    spread: float
    middle: float
    cuts: tuple[float, ...]
    counts: tuple[int, ...]

    def count(self, values: Floats) -> NDArray[np.int64]:
        """Return how many of other known values fall into each bin (K,)."""
        places = np.searchsorted(np.asarray(self.cuts), values, side="left")
        return np.bincount(places, minlength=len(self.counts))


@dataclass(frozen=True)
class LevelSums:
    """A column of few levels, or of yes and no.

    Parameters
    ----------
    n_missing : int
        Rows without a cell; 0 where they are fewer than five.
    levels : mapping of str to int
        Rows of each level with at least five.
    n_others : int
        Rows of other levels; 0 where they are fewer than five.
    """

    n_missing: int
    levels: Mapping[str, int]
    n_others: int

    def count(self, cells: Sequence[str]) -> NDArray[np.int64]:
        """Return how many of other known cells are of each level, and of none of them (K + 1,)."""
        found = Counter(cells)
        named = [found.pop(level, 0) for level in self.levels]
        return np.asarray([*named, sum(found.values())], dtype=np.int64)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each level, and of others."""
        return (*self.levels.values(), self.n_others)


Sums = NumberSums | LevelSums


def sum_up(frame: Frame, name: str) -> Sums | None:
    """Return what is kept of a column; None of dates, long text, and of fewer than ten cells."""
    kind = frame.kind(name)
    if not frame.known(name).any():
        return None
    if kind == "number":
        return _of_numbers(frame.numbers(name))
    return _of_levels(cells_of(frame, name)) if kind in ("boolean", "category", "text") else None


def cells_of(frame: Frame, name: str) -> list[str | None]:
    """Return the cells of a column of levels as text."""
    if frame.kind(name) in ("boolean", "number"):
        words = {0.0: "no", 1.0: "yes"}
        numbers = frame.numbers(name)
        return [None if np.isnan(x) else words.get(float(x), f"{x:g}") for x in numbers]
    return frame.strings(name)


def hidden(n: int) -> int:
    """Return a count, 0 where it is that of fewer than five rows."""
    return n if n >= FEWEST else 0


def _of_numbers(values: Floats) -> NumberSums | None:
    known = np.sort(values[~np.isnan(values)])
    n = len(known)
    if n < 2 * FEWEST:
        return None
    n_bins = min(_BINS, n // (2 * FEWEST))
    places = (np.arange(1, n_bins) * n / n_bins).astype(int)
    cuts = np.unique([_around(known, place) for place in places])
    counts = np.bincount(np.searchsorted(cuts, known, side="left"), minlength=len(cuts) + 1)
    cuts, counts = _joined(cuts, counts)
    return NumberSums(
        n_missing=hidden(len(values) - n),
        mean=float(known.mean()),
        spread=float(known.std(ddof=1)),
        middle=_around(known, n // 2),
        cuts=tuple(cuts.tolist()),
        counts=tuple(counts.tolist()),
    )


def _around(known: Floats, place: int) -> float:
    first = min(max(place - _HALO, 0), len(known) - FEWEST)
    return float(known[first : first + FEWEST].mean())


def _joined(cuts: Floats, counts: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Return bins of which none has fewer than five rows: small ones go to a neighbour."""
    while len(cuts) and counts.min() < FEWEST:
        small = int(counts.argmin())
        cut = (
            small - 1
            if small and (small == len(cuts) or counts[small - 1] <= counts[small + 1])
            else small
        )
        counts = np.concatenate([counts[:cut], [counts[cut] + counts[cut + 1]], counts[cut + 2 :]])
        cuts = np.delete(cuts, cut)
    return cuts, counts


def _of_levels(cells: list[str | None]) -> LevelSums | None:
    found = Counter(cell for cell in cells if cell is not None)
    if len(found) > _MOST_LEVELS or sum(found.values()) < 2 * FEWEST:
        return None
    levels = {level: n for level, n in sorted(found.items()) if n >= FEWEST}
    others = sum(found.values()) - sum(levels.values())
    n_missing = sum(cell is None for cell in cells)
    return LevelSums(hidden(n_missing), levels, hidden(others)) if levels else None


def as_state(sums: Sums) -> dict[str, Any]:
    """Return plain values, for JSON."""
    return dict(vars(sums))


def from_state(state: Mapping[str, Any]) -> Sums:
    """Return what `as_state` gave; of other values, raise what reading them raises."""
    if "levels" in state:
        levels = {str(level): int(n) for level, n in state["levels"].items()}
        made: Sums = LevelSums(int(state["n_missing"]), levels, int(state["n_others"]))
    else:
        cuts = tuple(float(cut) for cut in state["cuts"])
        counts = tuple(int(n) for n in state["counts"])
        mean, spread, middle = (float(state[key]) for key in ("mean", "spread", "middle"))
        made = NumberSums(int(state["n_missing"]), mean, spread, middle, cuts, counts)
        if len(counts) != len(cuts) + 1 or list(cuts) != sorted(cuts):
            raise ValueError
        if not np.isfinite([mean, spread, middle, *cuts]).all():
            raise ValueError
    if min([made.n_missing, *made.counts]) < 0:
        raise ValueError
    return made
