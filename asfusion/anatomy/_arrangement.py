"""How things stand to each other on annotated films: what tells a point taken for its neighbour.

Dimensions: N films, R regions or points, K pairs of others that each is judged by.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MOST_PAIRS, _MOST_NEAR = 5, 12  # pairs, and the others that they are made of
_FEWEST = 6  # films that show all three
_ERR = 0.01  # of the extent of all: how exactly others are found


class _Pair(NamedTuple):
    """Two others, where they say that a point is, and how wrong that usually is."""

    one: int
    other: int
    ratio: complex
    usual: float


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Where pairs of others say that each is, whatever the position, turn and size of all.

    Parameters
    ----------
    pairs : ndarray of shape (R, K, 2)
        The two others; -1 where there are none.
    ratios : ndarray of shape (R, K, 2)
        ``one + ratio * (other - one)`` is the place, as complex numbers: real and imaginary part.
    usual : ndarray of shape (R, K)
        How far off that usually is, as a share of the extent of all.
    """

    pairs: NDArray[np.int64]
    ratios: Floats
    usual: Floats

    def arrays(self) -> tuple[NDArray[np.int64], Floats, Floats]:
        """Return all that it is."""
        return self.pairs, self.ratios, self.usual

    def is_sound(self, n_marks: int) -> bool:
        """Return whether the numbers are as `arranged` gives them."""
        pairs, ratios, usual = (np.asarray(array) for array in self.arrays())
        shape = (n_marks, _MOST_PAIRS)
        if [pairs.shape, ratios.shape, usual.shape] != [(*shape, 2), (*shape, 2), shape]:
            return False
        known = pairs.dtype.kind == "i" and (pairs >= -1).all() and (pairs < n_marks).all()
        return bool(known and np.isfinite(ratios).all() and (usual > 0).all())

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which of all (R,) some pair says anything of."""
        return np.asarray((self.pairs[..., 0] >= 0).any(axis=1))

    def off(self, centres: Floats) -> Floats:
        """Return by how many usual errors places (N, R, 2) are off, in the middle of all pairs.

        Pairs share no point, so that others that are wrong do not outvote the rest; 1 where nobody
        can say.
        """
        z = _complex(centres)
        one, other = self.pairs[..., 0], self.pairs[..., 1]
        told = z[:, one] + _complex(self.ratios) * (z[:, other] - z[:, one])
        apart = np.abs(z[:, :, None] - told) / (self.usual * _extent(z)[:, None, None])
        apart = np.where(one >= 0, apart, np.nan)
        found = np.ones(z.shape)
        found[:, self.known] = np.nanmedian(apart[:, self.known], axis=2)
        return found


def arranged(centres: Floats) -> Arrangement:
    """Return how things stand on films with known places (N, R, 2), NaN where nobody said."""
    z = _complex(centres)
    n_marks = z.shape[1]
    pairs = np.full((n_marks, _MOST_PAIRS, 2), -1)
    ratios, usual = np.zeros((n_marks, _MOST_PAIRS, 2)), np.ones((n_marks, _MOST_PAIRS))
    extent = _extent(z)
    for mark in range(n_marks):
        for number, pair in enumerate(_pairs_of(z, mark, extent)):
            pairs[mark, number] = pair.one, pair.other
            ratios[mark, number] = pair.ratio.real, pair.ratio.imag
            usual[mark, number] = pair.usual
    return Arrangement(pairs, ratios, usual)


def nearest(centres: Floats) -> NDArray[np.int64]:
    """Return which other is nearest to each, on a usual film with known places (N, R, 2)."""
    z = _complex(centres)
    apart = np.abs(z[:, :, None] - z[:, None])
    usual = _middle(apart)
    np.fill_diagonal(usual, np.inf)
    return np.asarray(usual.argmin(axis=1))


def _pairs_of(z: NDArray[np.complex128], mark: int, extent: Floats) -> list[_Pair]:
    """Return the pairs that tell most exactly where a point is, none of which share a point."""
    apart = _middle(np.abs(z - z[:, mark, None]))
    apart[mark] = np.inf
    near = np.argsort(apart)[:_MOST_NEAR]
    near = near[np.isfinite(apart[near])]
    told = (_pair(z, mark, int(a), int(b), extent) for a, b in combinations(near, 2))
    chosen: list[_Pair] = []
    for pair in sorted((p for p in told if p is not None), key=lambda pair: pair.usual):
        taken = {point for other in chosen for point in (other.one, other.other)}
        if len(chosen) < _MOST_PAIRS and not taken & {pair.one, pair.other}:
            chosen.append(pair)
    return chosen


def _pair(
    z: NDArray[np.complex128], mark: int, one: int, other: int, extent: Floats
) -> _Pair | None:
    """Return what two others say of a point, if enough films show all three."""
    between = z[:, other] - z[:, one]
    known = np.isfinite(z[:, [mark, one, other]]).all(axis=1) & (np.abs(between) > 0) & (extent > 0)
    if known.sum() < _FEWEST:
        return None
    point, start, between = z[known, mark], z[known, one], between[known]
    ratios = (point - start) / between
    ratio = complex(np.median(ratios.real), np.median(ratios.imag))
    wrong = np.abs(point - start - ratio * between) / extent[known]
    by_others = _ERR**2 * (1 + abs(1 - ratio) ** 2 + abs(ratio) ** 2)
    return _Pair(one, other, ratio, float(np.sqrt(np.median(wrong) ** 2 + by_others)))


def _extent(z: NDArray[np.complex128]) -> Floats:
    """Return how large all is on each film, though some may be at a wrong place."""
    real, imaginary = (part - _middle(part, 1)[:, None] for part in (z.real, z.imag))
    return np.maximum(_middle(np.hypot(real, imaginary), 1), 1e-6)


def _middle(values: Floats, axis: int = 0) -> Floats:
    """Return medians of what is known; infinite where nothing is."""
    known = np.isfinite(values).any(axis=axis)
    middle = np.full(known.shape, np.inf)
    if known.any():
        some = values[:, known] if axis == 0 else values[known]
        middle[known] = np.nanmedian(some, axis=axis)
    return middle


def _complex(xy: Floats) -> NDArray[np.complex128]:
    return np.asarray(xy[..., 0] + 1j * xy[..., 1])
