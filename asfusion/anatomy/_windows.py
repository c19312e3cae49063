"""Windows around points, cut from films at their own resolution: where points are refined.

Dimensions: N films, R points, W windows, S side of a window's image (pixels).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from asfusion.anatomy._augment import Moves, draw_turns
from asfusion.anatomy._learning import Lesson
from asfusion.anatomy._square import Place
from asfusion.anatomy._views import view_moves
from asfusion.imaging.original import Original

Floats = NDArray[np.float64]

SIDE = 64  # pixels of a window that a network looks at
_AROUND = 2  # what is cut is this many times as large, so that it can be moved and turned
_SHARE = 1 / 6  # of the extent of all points, where no film says its spacing
_ALONE = 0.25  # of the square, where there is one point only
_ROTATION_DEG, _ZOOM, _SHIFT = 15.0, (0.8, 1.25), 0.6


class Cuts(NamedTuple):
    """Windows and where each is: ``place = origin + extent * share``, shares from 0 to 1."""

    images: NDArray[np.uint8]  # (W, 1, S, S)
    origin: Floats  # (W, 2), column and row of the film (pixels)
    extent: Floats  # (W, 2), width and height (pixels)

    def into(self, xy: Floats) -> Floats:
        """Return places (W, R, 2) of the film as places from -1 to 1 in the windows."""
        return np.asarray((xy - self.origin[:, None]) / self.extent[:, None] * 2 - 1)

    def back(self, places: Floats) -> Floats:
        """Return places (W, R, 2) in the windows as places of the film."""
        return np.asarray((places + 1) / 2 * self.extent[:, None] + self.origin[:, None])


def side_in_square(place: Place, points: Floats, refine_mm: float, share: float) -> float:
    """Return the side of windows (pixels of the square) on a film with points (R, 2) there."""
    longest = max(s * n for s, n in zip(place.scale, place.shape[::-1], strict=True))
    if place.spacing_mm is not None:
        side = refine_mm / place.spacing_mm[1] * place.scale[0]
    else:
        side = share * _spread(points) or _ALONE * longest
    # A header may say any spacing: a window as large as the film is as large as it gets.
    return min(side, longest / _AROUND)


def usual_share(places: Sequence[Place], points: Floats, refine_mm: float) -> float:
    """Return the side of windows over the extent of points (N, R, 2) of a usual film."""
    shares = [
        refine_mm / place.spacing_mm[1] * place.scale[0] / spread
        for place, own in zip(places, points, strict=True)
        if place.spacing_mm is not None and (spread := _spread(own))
    ]
    return float(np.median(shares)) if shares else _SHARE


def cut(film: Original, place: Place, points: Floats, side: float) -> Cuts:
    """Return windows of a side (pixels of the square) around points (W, 2) of the film."""
    wide, tall = (max(1.0, _AROUND * side / scale) for scale in place.scale)
    size = _AROUND * SIDE
    extent = np.array([max(1, round(wide)), max(1, round(tall))], dtype=float)
    images = [film.cut((x, y), (tall, wide), size) for x, y in points.tolist()]
    origin = [[round(x - wide / 2), round(y - tall / 2)] for x, y in points.tolist()]
    return Cuts(
        np.stack(images),
        np.array(origin, dtype=float),
        np.broadcast_to(extent, (len(points), 2)).copy(),
    )


def joined(parts: Sequence[Cuts]) -> Cuts:
    """Return all windows of several films."""
    return Cuts(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def lesson_of(cuts: Cuts, points: Floats) -> Lesson:
    """Return what windows show of points (W, R, 2), in pixels of their films."""
    centres = torch.as_tensor(cuts.into(points), dtype=torch.float32)
    return Lesson(torch.from_numpy(cuts.images), centres)


def draw_window_moves(n: int, draw: torch.Generator) -> Moves:
    """Return moves that look at a part of what was cut, where a coarse point may have led."""
    return _closer(draw_turns(n, draw, _ROTATION_DEG, _ZOOM, _SHIFT))


def window_views(views: int, n: int) -> list[Moves]:
    """Return the same few looks at the middle of every window."""
    return [_closer(moves) for moves in view_moves(views, n)]


def _closer(moves: Moves) -> Moves:
    return Moves(moves.matrix / _AROUND, moves.shift / _AROUND)


def _spread(points: Floats) -> float:
    known = points[np.isfinite(points).all(axis=1)]
    return float(np.linalg.norm(np.ptp(known, axis=0))) if len(known) > 1 else 0.0
