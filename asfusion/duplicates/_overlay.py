"""Small films laid over each other, until what both show is in one place.

Dimensions: N films of R x R pixels, P pairs, G points. A place is (row, column, 1), with rows
and columns of a film from -1 to 1; a map (3, 3) leads from places in one film to another.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Films = NDArray[np.uint8]
Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

_DARK, _REACH = 8, 2  # grey level, pixels: black was added by whoever cut or turned a film
_EDGE = 0.92  # of a film: so much of its middle is compared
_COMMON = 0.4  # of the points: fewer in common say nothing
_FINE = (1.0, 3.0)  # pixels: detail that tells films apart is between these two blurs
_AT_ONCE = 32  # pairs that a processor's cache holds


class Turn(NamedTuple):
    """How a map is looked for: two blurs (pixels), points along a side, steps.

    A pair whose detail between the blurs correlates less than `least` is given up.
    """

    near: float
    far: float
    n_points: int
    n_steps: int
    least: float


class Pairs(NamedTuple):
    """Which film may be a part of which, and the maps (P, 3, 3) from the part to the whole."""

    whole: Rows
    part: Rows
    maps: Floats

    def take(self, chosen: Rows | slice) -> Pairs:
        """Return some of the pairs."""
        return Pairs(self.whole[chosen], self.part[chosen], self.maps[chosen])

    def few_by_few(self) -> Iterator[Pairs]:
        """Yield a few pairs at a time."""
        for start in range(0, len(self.part), _AT_ONCE):
            yield self.take(slice(start, start + _AT_ONCE))


def lay_over(films: Films, pairs: Pairs, turn: Turn) -> Pairs:
    """Return those pairs that can be laid over each other, with better maps.

    Parameters
    ----------
    films : ndarray of shape (N, R, R), uint8
        Small films.
    pairs : Pairs
        What is tried, with maps to begin with.
    turn : Turn
        How, and how good is good enough.

    Notes
    -----
    The steps are those of inverse compositional alignment [1]_ over all affine maps.

    References
    ----------
    .. [1] Baker and Matthews, "Lucas-Kanade 20 years on: a unifying framework", International
       Journal of Computer Vision 56, 2004. https://doi.org/10.1023/B:VISI.0000011205.11775.fd
    """
    detail = np.where(_near_black(films), np.float32(np.nan), _band(films, turn.near, turn.far))
    laid = [_laid(detail, few, turn) for few in pairs.few_by_few()]
    return Pairs(*(np.concatenate(same) for same in zip(*laid, strict=True))) if laid else pairs


def likeness(films: Films, pairs: Pairs) -> Floats:
    """Return the correlation (P,) of what is fine in films that lie over each other."""
    found = [_correlation_of_detail(films, few) for few in pairs.few_by_few()]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)


def _correlation_of_detail(films: Films, pairs: Pairs) -> Floats:
    n, side = len(pairs.part), films.shape[1]
    part = films[pairs.part].astype(np.float32)
    whole = _at(films[pairs.whole].astype(np.float32), pairs.maps, _places(side, 1.0))
    whole = whole.reshape(part.shape)
    beyond = np.isnan(whole)
    whole[beyond] = part[beyond]  # so that no border shows in what is near it
    hidden = beyond | _near_black(part) | _near_black(whole)
    border = round(side * (1.0 - _EDGE) / 2)
    hidden[:, :border] = hidden[:, -border:] = True
    hidden[:, :, :border] = hidden[:, :, -border:] = True
    first, second = (
        np.where(hidden, np.float32(np.nan), _band(film, *_FINE)).reshape(n, -1)
        for film in (whole, part)
    )
    return _agreement(first, second)[2]


# -- steps -----------------------------------------------------------------------------


def _laid(detail: Floats, pairs: Pairs, turn: Turn) -> Pairs:
    """Return the pairs that agree well enough at the best map on the way, with that map."""
    whole, places = detail[pairs.whole], _places(turn.n_points, _EDGE)
    wanted, slopes = _template(detail[pairs.part], places)
    curvature = slopes @ slopes.transpose(0, 2, 1)
    calm = 1e-3 * (1.0 + np.trace(curvature, axis1=1, axis2=2) / 6)
    steps = np.linalg.inv(curvature + calm[:, None, None] * np.eye(6, dtype=np.float32)) @ slopes
    maps, best = pairs.maps, np.full(len(pairs.part), -1.0, dtype=np.float32)
    kept = maps.copy()
    for _ in range(turn.n_steps + 1):
        got, aim, agree = _agreement(_at(whole, maps, places), wanted)
        better = agree > best
        best[better], kept[better] = agree[better], maps[better]
        change = np.tile(np.eye(3, dtype=np.float32), (len(maps), 1, 1))
        change[:, :2] += (steps @ (got - aim)[:, :, None]).reshape(-1, 2, 3)
        maps = maps @ np.linalg.inv(change)
    return Pairs(pairs.whole, pairs.part, kept).take(np.flatnonzero(best >= turn.least))


def _template(part: Floats, places: Floats) -> tuple[Floats, Floats]:
    """Return detail (P, G), and its slopes (P, 6, G) along the six numbers of a map."""
    step = 2.0 / part.shape[1]  # a pixel

    def moved(down: float, right: float) -> Floats:
        shift = np.tile(np.eye(3, dtype=np.float32), (len(part), 1, 1))
        shift[:, 0, 2], shift[:, 1, 2] = down, right
        return _at(part, shift, places)

    wanted = moved(0.0, 0.0)
    down, right = moved(step, 0.0) - moved(-step, 0.0), moved(0.0, step) - moved(0.0, -step)
    rise = np.nan_to_num(np.stack([down, right], axis=1) / np.float32(2.0 * step))
    slopes = (rise / _spread(wanted)[:, None])[:, :, None] * places
    return wanted, np.asarray(slopes, dtype=np.float32).reshape(len(part), 6, -1)


def _spread(values: Floats) -> Floats:
    """Return the root mean square (P, 1) of what is known."""
    known = np.isfinite(values)
    squares = np.where(known, values, np.float32(0.0)) ** 2
    n_known = np.maximum(known.sum(axis=1, keepdims=True, dtype=np.float32), 1)
    spread: Floats = np.sqrt(squares.sum(axis=1, keepdims=True) / n_known)
    return np.maximum(spread, np.float32(1e-6))


def _agreement(first: Floats, second: Floats) -> tuple[Floats, Floats, Floats]:
    """Return both (P, G), scaled to one mean and spread where both are known, and correlations.

    A correlation is -1 where too little is known.
    """
    known = np.isfinite(first) & np.isfinite(second)
    n_known = np.maximum(known.sum(axis=1, keepdims=True, dtype=np.float32), 1)
    scaled = []
    for values in (first, second):
        centred = np.where(known, values, np.float32(0.0))
        centred = (centred - centred.sum(axis=1, keepdims=True) / n_known) * known
        spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / n_known)
        scaled.append(centred / np.maximum(spread, np.float32(1e-6)))
    alike = (scaled[0] * scaled[1]).sum(axis=1) / n_known[:, 0]
    alike[known.mean(axis=1) < _COMMON] = -1.0
    return scaled[0], scaled[1], alike


# -- places and blurs ------------------------------------------------------------------


@cache
def _places(n: int, part: float) -> Floats:
    """Return places (3, n * n) on a grid in the middle of a film."""
    line = ((np.arange(n) + 0.5) / n * 2 - 1) * part
    rows, columns = np.meshgrid(line, line, indexing="ij")
    return np.asarray([rows.ravel(), columns.ravel(), np.ones(n * n)], dtype=np.float32)


def _at(films: Floats, maps: Floats, places: Floats) -> Floats:
    """Return values (P, G) at mapped places of films (P, R, R), NaN beyond their borders."""
    side = films.shape[1]
    there = maps[:, :2] @ places
    pixels = np.clip((there + 1.0) * (side / 2) - 0.5, 0.0, side - 1.001)
    corner = pixels.astype(np.int32)
    down, right = (pixels - corner).astype(np.float32).transpose(1, 0, 2)
    first = np.arange(len(films), dtype=np.int32)[:, None] * side * side
    at = first + corner[:, 0] * side + corner[:, 1]
    flat = films.reshape(-1)
    above, below = flat.take(at), flat.take(at + side)
    above += (flat.take(at + 1) - above) * right
    below += (flat.take(at + side + 1) - below) * right
    above += (below - above) * down
    above[(np.abs(there) > 1.0).any(axis=1)] = np.nan
    return np.asarray(above, dtype=np.float32)


def _band(films: NDArray[Any], near: float, far: float) -> Floats:
    """Return films (P, R, R) blurred, less what is left of them in a wider blur."""
    grey = films.astype(np.float32)
    narrow, wide = _blur(grey.shape[1], near), _blur(grey.shape[1], far)
    return np.asarray(narrow @ grey @ narrow.T - wide @ grey @ wide.T)


@cache
def _blur(n: int, sigma: float) -> Floats:
    """Return the weights (n, n) of a Gauss curve, adding up to one at the borders too."""
    weights = np.exp(-0.5 * (np.subtract.outer(np.arange(n), np.arange(n)) / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _near_black(films: NDArray[Any]) -> NDArray[np.bool_]:
    """Return what of films (P, R, R) is black, or beside it."""
    n = films.shape[1]
    beside = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= _REACH
    reach = beside.astype(np.float32)
    near: NDArray[np.bool_] = reach @ (films <= _DARK).astype(np.float32) @ reach > 0.5
    return near
