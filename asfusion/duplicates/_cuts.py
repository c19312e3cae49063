"""Films of which one was cut out of the other.

A perceptual hash names a whole picture: where a tenth is cut off, as many bits differ as
between two patients. So each film is compared with all others as if these had been cut out of
it, the likeliest pairs are laid over each other, and then it is their fine detail that tells.
Dimensions: N films of R x R pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.duplicates._overlay import Films, Floats, Pairs, Rows, Turn, lay_over, likeness
from asfusion.duplicates._twins import Pair

ALIKE_DETAIL = 0.92  # correlation of fine detail
_CUTS = (0.05, 0.10, 0.15)  # of a side
_STEP = 0.025  # of a side, between the places of cuts
_WAVES = 14  # along a side, of which the first look is made
_COARSE, _FINE = 8.0, 32.0  # radians per side: slower or faster waves count little
_NEAREST = 5  # films that each is laid over, and that are laid over it
_WORTH = 0.7  # correlation at the first look
_TURNS = (Turn(3.0, 12.0, 24, 14, 0.8), Turn(1.2, 6.0, 36, 10, 0.7))
_BLOCK = 512

Box = tuple[float, float, float, float]  # shares cut off at the top, bottom, left and right


def cut_pairs(films: Sequence[Films | None], patients: Rows) -> Iterator[Pair]:
    """Yield pairs of rows whose films are one, if up to a sixth of a side was cut off.

    Parameters
    ----------
    films : sequence of ndarray of shape (R, R), uint8, or None
        Small films, one per row.
    patients : ndarray of shape (rows,), int
        Films of one patient are not compared.
    """
    rows = np.asarray([i for i, film in enumerate(films) if film is not None], dtype=np.int64)
    if len(rows) < 2:
        return
    stack = np.stack([film for film in films if film is not None])
    pairs = _likeliest(stack, patients[rows])
    for turn in _TURNS:
        pairs = lay_over(stack, pairs, turn)
    alike = likeness(stack, pairs)
    for k in np.flatnonzero(alike >= ALIKE_DETAIL).tolist():
        first, second = sorted((int(rows[pairs.whole[k]]), int(rows[pairs.part[k]])))
        yield first, second, float(alike[k])


def _likeliest(films: Films, patients: Rows) -> Pairs:
    """Return the few films that each is most like, if it were cut out of them or they of it."""
    n_nearest = min(_NEAREST, len(films) - 1)
    looks = _looks(films, _boxes()[0])
    found = []
    for start in range(0, len(films), _BLOCK):
        block = slice(start, start + _BLOCK)
        alike, box = _best_cuts(films[block], looks)
        alike[patients[block, None] == patients] = -1.0
        whole, part = np.nonzero(
            _are_nearest(alike, 1, n_nearest) | _are_nearest(alike, 0, n_nearest)
        )
        found.append(np.stack([start + whole, part, box[whole, part], alike[whole, part]]))
    whole, part, box, alike = np.concatenate(found, axis=1)
    chosen = _chosen(whole, part, alike)
    maps = np.stack([_map_of(*one) for one in _boxes()])[box[chosen].astype(np.int64)]
    return Pairs(whole[chosen].astype(np.int64), part[chosen].astype(np.int64), maps)


def _are_nearest(alike: Floats, axis: int, n: int) -> NDArray[np.bool_]:
    """Return which are among the `n` largest along an axis, and worth a second look."""
    place = max(0, alike.shape[axis] - n)
    least = np.partition(alike, place, axis=axis).take([place], axis=axis)
    return np.asarray(alike >= np.maximum(least, _WORTH))


def _best_cuts(films: Films, looks: Floats) -> tuple[Floats, NDArray[np.int16]]:
    """Return how like each film's best cut is to what others look like, and which it is."""
    alike = np.full((len(films), len(looks)), -1.0, dtype=np.float32)
    best = np.zeros(alike.shape, dtype=np.int16)
    for number, box in enumerate(_boxes()):
        here = _looks(films, box) @ looks.T
        better = here > alike
        np.copyto(alike, here, where=better)
        best[better] = number
    return alike, best


def _chosen(whole: Floats, part: Floats, alike: Floats) -> Rows:
    """Return where the likeliest pairs of each film stand, each pair once.

    Blocks of films gave the nearest of each within the block: too many where there are many.
    """
    order = np.argsort(-alike, kind="stable")
    near = (_turn_of(film[order]) < _NEAREST for film in (whole, part))
    order = order[np.logical_or(*near)]
    both = np.stack([np.minimum(whole, part), np.maximum(whole, part)])[:, order]
    return order[np.unique(both, axis=1, return_index=True)[1]]


def _turn_of(names: NDArray[Any]) -> Rows:
    """Return how many of the same name came before each."""
    order = np.argsort(names, kind="stable")
    _, starts, counts = np.unique(names[order], return_index=True, return_counts=True)
    turns = np.empty(len(names), dtype=np.int64)
    turns[order] = np.arange(len(names)) - np.repeat(starts, counts)
    return turns


@cache
def _boxes() -> list[Box]:
    """Return cuts: none, and of each size some that leave another part of the film."""
    boxes = [(0.0, 0.0, 0.0, 0.0)]
    for share in _CUTS:
        firsts = np.linspace(0.0, share, round(share / _STEP) + 1).tolist()
        boxes += [(top, share - top, left, share - left) for top, left in product(firsts, firsts)]
    return boxes


def _map_of(top: float, bottom: float, left: float, right: float) -> Floats:
    """Return the map from places in a cut to places in the whole."""
    rows, columns = [1 - top - bottom, 0, top - bottom], [0, 1 - left - right, left - right]
    return np.array([rows, columns, [0, 0, 1]], dtype=np.float32)


def _looks(films: Films, box: Box) -> Floats:
    """Return the waves (N, waves * waves) that films inside a box are made of, at length 1."""
    n = films.shape[1]
    waves = _cosines(n, *box[:2]) @ films.astype(np.float32) @ _cosines(n, *box[2:]).T
    looks = (waves * _gains()).reshape(len(films), -1)
    lengths = np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-6)
    return np.asarray(looks / lengths, dtype=np.float32)


@cache
def _cosines(n: int, before: float, after: float) -> Floats:
    """Return waves (waves, n) over a side of `n` pixels, less the shares cut off at its ends."""
    edges = np.clip(np.arange(n + 1) / n, before, 1.0 - after)
    length = 1.0 - before - after
    middles = ((edges[1:] + edges[:-1]) / 2 - before) / length
    waves = np.cos(np.pi * np.outer(np.arange(_WAVES), middles)) * np.diff(edges) / length
    return np.asarray(waves, dtype=np.float32)


@cache
def _gains() -> Floats:
    """Return how much each wave counts: not what is flat, and little of what is fine."""
    squares = (np.pi * np.arange(_WAVES)) ** 2
    speed = np.add.outer(squares, squares)
    gains = np.exp(-0.5 * speed / _FINE**2) - np.exp(-0.5 * speed / _COARSE**2)
    return np.asarray(gains, dtype=np.float32)
