"""Corners that are nearly right, moved to where the film's edges are seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates

Floats = NDArray[np.float64]

_REACH, _STEPS = 0.06, 32  # how far an edge is looked for, as a share of the film; either way
_ALONG = 40  # places along an edge
_PULL = 0.5  # of a perfect edge's score: what a move by the whole reach costs


def snapped(pixels: NDArray[np.uint8], corners: Floats) -> Floats:
    """Return corners (4, 2) of a grey picture (H, W) where its straightest edges meet.

    Each side may move by either end. A line that is an edge all along, in one direction, is
    worth more than one that is a strong edge here and there.
    """
    reach = _REACH * float(np.sqrt(_area(corners)))
    lines = []
    for one, two in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        outward = np.array([two[1] - one[1], one[0] - two[0]])
        outward = outward / max(float(np.hypot(*outward)), 1e-9)
        first, last = _best(_edges(pixels, one, two, outward * reach))
        lines.append((one + outward * reach * first, two + outward * reach * last))
    met = [
        _meeting(before, line) for before, line in zip(lines[-1:] + lines[:-1], lines, strict=True)
    ]
    return np.array(met)


def _area(corners: Floats) -> float:
    x, y = corners.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _edges(pixels: NDArray[np.uint8], one: Floats, two: Floats, outward: Floats) -> Floats:
    """Return how much of an edge is there (places along, steps across), from -1 to 1."""
    along = np.linspace(0.06, 0.94, _ALONG)[:, None, None]
    across = np.linspace(-1.0, 1.0, 2 * _STEPS + 1)[None, :, None]
    places = one + along * (two - one) + across * outward
    seen = map_coordinates(
        pixels.astype(np.float32), [places[..., 1] - 0.5, places[..., 0] - 0.5], order=1,
        mode="nearest",
    )  # fmt: skip
    slope = gaussian_filter1d(seen, 1.2, axis=1, order=1, mode="nearest")
    return np.asarray(slope / (np.abs(slope) + 2.0 + np.median(np.abs(slope))))


def _best(edges: Floats) -> tuple[float, float]:
    """Return how far either end of a line moves, in reaches."""
    share = np.linspace(0.06, 0.94, _ALONG)
    ends = np.arange(0, 2 * _STEPS + 1, 2)
    first, last = ends[:, None, None], ends[None, :, None]
    steps = np.rint(first + share * (last - first)).astype(np.int64)
    worth = np.abs(edges[np.arange(_ALONG), steps].mean(axis=2))
    moved = np.square(ends / _STEPS - 1.0)
    worth = worth - _PULL * 0.5 * (moved[:, None] + moved[None, :])
    a, b = np.unravel_index(int(worth.argmax()), worth.shape)
    return float(ends[a] / _STEPS - 1.0), float(ends[b] / _STEPS - 1.0)


def _meeting(one: tuple[Floats, Floats], two: tuple[Floats, Floats]) -> Floats:
    """Return where two lines meet, each through two points."""
    (a, b), (c, d) = one, two
    matrix = np.stack([b - a, c - d], axis=1)
    if abs(np.linalg.det(matrix)) < 1e-6 * np.hypot(*(b - a)) * np.hypot(*(d - c)):
        return np.asarray(c)
    return np.asarray(a + (b - a) * np.linalg.solve(matrix, c - a)[0])
