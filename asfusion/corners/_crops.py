"""Squares around the corners of vertebrae, and how each is turned: the body above, the disc below.

Dimensions: P corners of a film, S side of a patch in pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging.original import Original

Floats = NDArray[np.float64]

SPARE = 1.5  # side of a patch over that of a crop: what is turned and shifted stays within
# From the upper to the lower corner of a usual vertebra (mm), where nobody knows the spacing.
_BODY_MM = {"cervical": 14.5, "lumbar": 28.5}


class Patches(NamedTuple):
    """What is cut around the corners of one film.

    Parameters
    ----------
    pixels : ndarray of shape (P, 1, S, S), uint8
        As the film lies.
    placement : ndarray of shape (P, 2, 3), float32
        Where in a patch its crop lies, as `torch.nn.functional.affine_grid` takes it.
    known : ndarray of shape (P,), bool
        Whether there is a place, and it lies on the film.
    """

    pixels: NDArray[np.uint8]
    placement: NDArray[np.float32]
    known: NDArray[np.bool_]


def cut_corners(film: Original, points: Floats, view: str, *, side_mm: float, size: int) -> Patches:
    """Return what lies around the corners of a film.

    Parameters
    ----------
    film : Original
        The film as it is stored.
    points : ndarray of shape (P, 2)
        Column and row of each corner (pixels), from top to bottom; NaN for one that is unknown.
    view : {"cervical", "lumbar"}
        What the film shows.
    side_mm : float
        Side of a crop (mm).
    size : int
        Side of a crop (pixels).
    """
    n, side = len(points), round(SPARE * size)
    spacing = np.asarray(spacing_of(film, points, view))
    known = _on_film(film, points)
    pixels = np.zeros((n, 1, side, side), np.uint8)
    placement = np.zeros((n, 2, 3), np.float32)
    down = _directions(points * spacing)
    extent = SPARE * side_mm / spacing[1], SPARE * side_mm / spacing[0]
    for k in np.flatnonzero(known):
        pixels[k] = film.cut((points[k, 0], points[k, 1]), extent, side)
        placement[k] = _placed(points[k], extent, down[k], to_feet=k % 2 == 0)
    return Patches(pixels, placement, known)


def spacing_of(film: Original, points: Floats, view: str) -> tuple[float, float]:
    """Return width and height of a pixel (mm), by the size of vertebrae where no file says it."""
    if film.spacing_mm is not None:
        return film.spacing_mm[1], film.spacing_mm[0]
    scaled = points * (1.0, film.aspect)
    bodies = np.linalg.norm(scaled[2::2] - scaled[1:-1:2], axis=1)
    usual = np.nanmedian(bodies) if np.isfinite(bodies).any() else np.nan
    if not (np.isfinite(usual) and usual > 0):
        return 1.0, film.aspect
    width = _BODY_MM[view] / float(usual)
    return width, width * film.aspect


def _on_film(film: Original, points: Floats) -> NDArray[np.bool_]:
    limits = np.asarray(film.pixels.shape[:0:-1])
    with np.errstate(invalid="ignore"):
        return np.asarray(((points >= 0) & (points < limits)).all(axis=1))


def _directions(points: Floats) -> Floats:
    """Return which way the feet are (P, 2) at each corner: from the one above to the one below."""
    there = np.flatnonzero(np.isfinite(points).all(axis=1))
    found = np.tile([0.0, 1.0], (len(points), 1))
    for place, k in enumerate(there):
        above, below = there[max(place - 1, 0)], there[min(place + 1, len(there) - 1)]
        along = points[below] - points[above]
        length = float(np.linalg.norm(along))
        if length > 0:
            found[k] = along / length
    return found


def _placed(
    point: Floats, extent: tuple[float, float], down: Floats, *, to_feet: bool
) -> NDArray[np.float32]:
    """Return the affine map of one crop: the disc below, the front of the spine on the left."""
    back = np.array([down[1], -down[0]])
    axes = np.stack([back, down if to_feet else -down], axis=1) / SPARE
    # What was cut begins at a whole pixel.
    size = np.array([extent[1], extent[0]])
    begins = np.round(point - size / 2)
    shift = (point - begins) / np.round(size) * 2.0 - 1.0
    return np.concatenate([axes, shift[:, None]], axis=1).astype(np.float32)
