"""Windows cut from films at their own resolution: where points and boxes are refined.

Dimensions: N films, R points or boxes, W windows, S side of a window's image (pixels).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from asfusion._random import derive_seed
from asfusion.anatomy._augment import Moves, draw_turns
from asfusion.anatomy._films import AT_ONCE, read_films
from asfusion.anatomy._learning import Lesson, Weights, teach
from asfusion.anatomy._square import Place
from asfusion.anatomy._views import Seen, look_at, view_moves
from asfusion.exceptions import ImageReadError
from asfusion.imaging._films import Film
from asfusion.imaging.original import Original

Floats = NDArray[np.float64]

SIDE = 64  # pixels of a window that a network looks at
_PER_FILM = 3  # windows of one pass
_AROUND = 2  # what is cut is this many times as large, so that it can be moved and turned
_LARGER = 1.5  # sides of a box
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


def sides_around(places: Sequence[Place], extents: Floats) -> Floats:
    """Return the sides (N, R) of windows around boxes (N, R, 2), both in pixels of the square."""
    longest = [max(s * n for s, n in zip(p.scale, p.shape[::-1], strict=True)) for p in places]
    return np.asarray(np.clip(_LARGER * extents.max(axis=2), 1.0, np.array(longest)[:, None]))


def usual_share(places: Sequence[Place], points: Floats, refine_mm: float) -> float:
    """Return the side of windows over the extent of points (N, R, 2) of a usual film."""
    shares = [
        refine_mm / place.spacing_mm[1] * place.scale[0] / spread
        for place, own in zip(places, points, strict=True)
        if place.spacing_mm is not None and (spread := _spread(own))
    ]
    return float(np.median(shares)) if shares else _SHARE


def cut(film: Original, place: Place, points: Floats, sides: Floats | float) -> Cuts:
    """Return windows of some sides (pixels of the square) around points (W, 2) of the film."""
    sides = np.broadcast_to(sides, len(points))
    size = _AROUND * SIDE
    extent = np.maximum(1, np.round(_AROUND * sides[:, None] / np.array(place.scale)))
    images = [
        film.cut((x, y), (tall, wide), size)
        for (x, y), (wide, tall) in zip(points.tolist(), extent.tolist(), strict=True)
    ]
    # As `cut` rounds, to the even one.
    return Cuts(np.stack(images), np.round(points - extent / 2), extent)


def cut_all(
    films: Sequence[Film], places: Sequence[Place], points: Floats, sides: Floats
) -> tuple[Cuts, NDArray[np.int64]]:
    """Return windows around all known points (N, R, 2), and the position of the film of each."""
    cuts, owners = [], []
    for row, film in enumerate(read_again(films)):
        known = np.isfinite(points[row]).all(axis=1)
        if known.any():
            cuts.append(cut(film, places[row], points[row, known], sides[row, known]))
            owners += [row] * int(known.sum())
    return joined(cuts), np.array(owners)


def read_again(films: Sequence[Film]) -> Iterator[Original]:
    """Yield films that were read before, a few at a time."""
    for start in range(0, len(films), AT_ONCE):
        some = films[start : start + AT_ONCE]
        for film in read_films(some, lambda film: film, "Cutting windows"):
            if isinstance(film, ImageReadError):
                raise film  # it was there a moment ago
            yield film


def joined(parts: Sequence[Cuts]) -> Cuts:
    """Return all windows of several films."""
    return Cuts(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def lesson_of(cuts: Cuts, centres: Floats, extents: Floats | None = None) -> Lesson:
    """Return what windows show of points or boxes (W, R, 2), in pixels of their films."""
    places = torch.as_tensor(cuts.into(centres), dtype=torch.float32)
    if extents is not None:
        extents = np.log(2 * extents / cuts.extent[:, None])
    return Lesson(
        torch.from_numpy(cuts.images),
        places,
        None if extents is None else torch.as_tensor(extents).float(),
    )


def teach_windows(lesson: Lesson, *, n_films: int, epochs: int, seed: int) -> Weights:
    """Return the weights of a network that learned what windows show."""
    return teach(
        lesson,
        epochs=epochs,
        seed=derive_seed(seed, "windows"),
        what="Learning to refine",
        moves=draw_window_moves,
        size=SIDE,
        per_epoch=_PER_FILM * n_films,
    )


def look_closer(networks: Sequence[nn.Module], cuts: Cuts, views: int, n_marks: int) -> Seen:
    """Return what is seen of N films, of which each has a window for each mark, R of them.

    Places and extents are in pixels of the films; `spread` is a share of the window.
    """
    images = torch.from_numpy(cuts.images)
    found = look_at(networks, images, views, moves=window_views, size=SIDE)
    windows = np.arange(len(images))
    own, shape = (windows, windows % n_marks), (-1, n_marks)
    side = cuts.images.shape[-1]
    centres = cuts.back(found.centres * 2 / side - 1)
    extents = found.extents / side * cuts.extent[:, None]
    return Seen(
        centres[own].reshape(*shape, 2),
        extents[own].reshape(*shape, 2),
        found.peak[own].reshape(shape),
        found.spread[own].reshape(shape),
    )


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
