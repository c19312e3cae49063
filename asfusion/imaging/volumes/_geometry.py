"""From places of slices to a straight stack, or the name of what is wrong with them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import DicomReadError

_PLANES = ("sagittal", "coronal", "axial")  # by the patient's axis that the slices lie across
_NEAR = math.cos(math.radians(40.0))
_TILT_DEGREES = 0.5
_UNEVEN = 0.05  # of the distance of slices
_SAME_MM = 1e-3
_KINDS = 5
_PARALLEL = math.cos(math.radians(0.6))


class Stack(NamedTuple):
    """Where the slices of a series go.

    Attributes: `order` of the slices, the `level` that each of them (in that order) has in
    the stack, the distance of levels in mm, unit vectors along Z, Y and X, and the first
    slice's place in mm.
    """

    order: NDArray[np.int64]
    level: NDArray[np.int64]
    gap_mm: float | None
    directions: NDArray[np.float64]
    origin: NDArray[np.float64]

    @property
    def n_missing(self) -> int:
        """Number of levels without a slice."""
        return int(self.level[-1]) + 1 - len(self.level)


def orientation_of(directions: NDArray[np.float64]) -> str:
    """Return the plane of the slices."""
    normal = np.abs(directions[0])
    axis = int(normal.argmax())
    return _PLANES[axis] if normal[axis] >= _NEAR else "oblique"


def directions_of(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unit vectors along Z, Y and X from the six cosines of a header.

    Parameters
    ----------
    cosines : ndarray of shape (6,)
        Direction of a row, then of a column.

    Raises
    ------
    DicomReadError
        If they are no two directions at a right angle.
    """
    along_x, along_y = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(along_x), np.linalg.norm(along_y)
    if not all(0.9 < length < 1.1 for length in lengths) or abs(along_x @ along_y) > 0.02:
        msg = "expected slices whose rows and columns are at right angles, got others."
        raise DicomReadError(msg)
    along_x = along_x / lengths[0]
    along_y = along_y - (along_y @ along_x) * along_x
    along_y /= np.linalg.norm(along_y)
    return np.stack([np.cross(along_x, along_y), along_y, along_x])


def stack_slices(
    places: NDArray[np.float64],
    cosines: NDArray[np.float64],
    pixel_mm: float,
    stated_mm: float | None = None,
) -> Stack:
    """Return the order of slices, if they make a straight stack.

    Parameters
    ----------
    places : ndarray of shape (n, 3)
        Centre of the first pixel of each slice, in mm.
    cosines : ndarray of shape (n, 6)
        Directions of its rows and columns.
    pixel_mm : float
        Smaller side of a pixel, in mm.
    stated_mm : float, optional
        Distance of slices as the header has it: where every second slice is missing, places
        alone do not tell.

    Returns
    -------
    Stack
        With gaps where slices are missing.

    Raises
    ------
    DicomReadError
        For mixed orientation, repeated slices, gantry tilt and uneven distances.
    """
    directions = directions_of(cosines[0])
    _check_parallel(cosines, directions)
    depth = places @ directions[0]
    order = np.argsort(depth, kind="stable")
    steps = np.diff(depth[order])
    if not len(steps):
        return Stack(order, np.zeros(1, dtype=np.int64), None, directions, places[0])
    n_repeated = int((steps < _SAME_MM).sum())
    if n_repeated:
        msg = (
            f"expected one slice at each place, got {len(steps) + 1} slices at "
            f"{len(steps) + 1 - n_repeated} places: repeated slices. Keep one acquisition in the "
            "folder."
        )
        raise DicomReadError(msg)
    _check_straight(places[order], directions, pixel_mm)
    gap = float(np.median(steps))
    if gap > 1.5 * float(steps.min()):  # more gaps than neighbours
        gap = float(steps.min())
    if stated_mm is not None and steps.min() > 1.5 * stated_mm:
        gap = stated_mm
    n_levels = np.maximum(1, np.rint(steps / gap)).astype(np.int64)
    if (np.abs(steps - n_levels * gap) > np.maximum(_UNEVEN * gap, 0.02) * n_levels).any():
        msg = (
            f"expected slices at even distances, got distances of {steps.min():.2f} to "
            f"{steps.max():.2f} mm. Resample the series to even distances first."
        )
        raise DicomReadError(msg)
    level = np.concatenate([[0], np.cumsum(n_levels)])
    even = float(depth[order][-1] - depth[order][0]) / int(level[-1])
    return Stack(order, level, even, directions, places[order[0]])


def _check_parallel(cosines: NDArray[np.float64], directions: NDArray[np.float64]) -> None:
    each = [directions_of(one) for one in cosines]
    kinds: list[NDArray[np.float64]] = []
    counts: list[int] = []
    for one in each:
        for i, kind in enumerate(kinds):
            if (np.einsum("ij,ij->i", one, kind) > _PARALLEL).all():
                counts[i] += 1
                break
        else:
            kinds.append(one)
            counts.append(1)
            if len(kinds) > _KINDS:
                break
    if len(kinds) > 1:
        found = ", ".join(
            f"{n} {orientation_of(kind)}" for kind, n in zip(kinds, counts, strict=True)
        )
        msg = (
            f"expected slices of one orientation, got mixed orientation: {found}"
            f"{', and more' if len(kinds) > _KINDS else ''}. Read each from a folder of its own."
        )
        raise DicomReadError(msg)


def _check_straight(
    places: NDArray[np.float64], directions: NDArray[np.float64], pixel_mm: float
) -> None:
    """Raise if slices, in order, are not stacked along their normal."""
    moved = places - places[0]
    along = moved @ directions[0]
    aside = np.linalg.norm(moved - along[:, None] * directions[0], axis=1)
    degrees = math.degrees(math.atan2(float(aside[-1]), float(along[-1])))
    if degrees > _TILT_DEGREES and aside[-1] > 0.2 * pixel_mm:
        msg = (
            f"expected slices stacked along their normal, got a gantry tilt of {degrees:.1f} "
            "degrees. Resample the series to a straight stack first."
        )
        raise DicomReadError(msg)
    if float(aside.max()) > pixel_mm:
        msg = (
            "expected slices that lie upon each other, got some that are shifted by up to "
            f"{aside.max():.1f} mm. Resample the series to a straight stack first."
        )
        raise DicomReadError(msg)
