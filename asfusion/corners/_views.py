"""Films of both views on their way to grades: places, patches, probabilities.

Dimensions: N rows, P = 12 corners of a view, 24 corners in all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.corners._crops import Patches, cut_corners
from asfusion.corners._given import OF_VIEW, PLACES
from asfusion.corners._sums import CORNERS
from asfusion.exceptions import ImageReadError
from asfusion.imaging._films import Film, in_threads
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.original import Original, read_original

Floats = NDArray[np.float64]
Films = dict[str, list["Film | None"]]

GOOD = ("found", "unsure")


@dataclass(eq=False)
class Placed:
    """Where the corners of rows are.

    Parameters
    ----------
    n_rows : int
        Number N of rows.
    """

    n_rows: int
    points: Floats = field(init=False)
    confidence: Floats = field(init=False)
    status: NDArray[np.str_] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        shape = (self.n_rows, len(CORNERS))
        self.points = np.full((*shape, 2), np.nan)
        self.confidence = np.full(shape, np.nan)
        self.status = np.full(shape, "absent", dtype="<U6")

    def put_found(self, view: str, found: Any, rows: NDArray[np.int64]) -> None:
        """Take over what a finder found of a view on some rows."""
        order = [found.names.index(corner) for corner in OF_VIEW[view]]
        where = rows[:, None], np.arange(len(CORNERS))[PLACES[view]][None]
        self.points[where] = found.points[:, order]
        self.confidence[where] = found.confidence[:, order]
        self.status[where] = found.status[:, order]

    def put_given(self, view: str, points: Floats) -> None:
        """Take over places (N, P, 2) that were given, where there are any."""
        given = np.isfinite(points).all(axis=2)
        where = np.zeros(self.status.shape, dtype=bool)
        where[:, PLACES[view]] = given
        self.points[where] = points[given]
        self.confidence[where], self.status[where] = 1.0, "found"

    def take(self, rows: NDArray[np.int64]) -> Placed:
        """Return some rows."""
        taken = Placed(len(rows))
        taken.points, taken.confidence = self.points[rows], self.confidence[rows]
        taken.status = self.status[rows]
        return taken


def cut_rows(
    films: Films, placed: Placed, *, side_mm: float, size: int
) -> tuple[dict[str, list[Patches]], Placed]:
    """Return the patches of each view and row, and places that are lost where none could be cut."""
    patches: dict[str, list[Patches]] = {}
    for view, column in films.items():
        part = placed.points[:, PLACES[view]]
        part = np.where(np.isin(placed.status[:, PLACES[view]], GOOD)[..., None], part, np.nan)

        def cut(row: int, view: str = view, part: Floats = part) -> Patches:
            return _cut_film(films[view][row], part[row], view, side_mm, size)

        with quiet_readers():
            cuts = in_threads(cut, range(len(column)), f"Cutting corners ({view})", "film")
            patches[view] = list(cuts)
        known = np.stack([one.known for one in patches[view]])
        status = placed.status[:, PLACES[view]]
        status[np.isin(status, GOOD) & ~known] = "lost"
    return patches, placed


def _cut_film(film: Film | None, points: Floats, view: str, side_mm: float, size: int) -> Patches:
    try:
        original = None if film is None or np.isnan(points).all() else read_original(film)
    except ImageReadError:
        original = None
    if original is None:
        points, original = np.full_like(points, np.nan), Original(np.zeros((1, 1, 1), np.uint8))
    return cut_corners(original, points, view, side_mm=side_mm, size=size)


def in_film_pixels(places: Floats, films: Sequence[Film | None]) -> Floats:
    """Return places (N, P, 2) in mm as pixels of each film; NaN where nobody knows its spacing."""
    found = np.full_like(places, np.nan)
    for row, film in enumerate(films):
        if film is None or np.isnan(places[row]).all():
            continue
        try:
            spacing = read_original(film).spacing_mm
        except ImageReadError:
            continue
        if spacing is not None:
            found[row] = places[row] / (spacing[1], spacing[0])
    return found


def spread_over(
    patches: dict[str, list[Patches]], told: Callable[[list[Patches]], Floats], n_rows: int
) -> Floats:
    """Return probabilities (N, 24, K) of all known corners, NaN for the others."""
    every = [one for column in patches.values() for one in column]
    answers = told(every)
    found = np.full((n_rows, len(CORNERS), answers.shape[1]), np.nan)
    begin = 0
    for view, column in patches.items():
        for row, one in enumerate(column):
            n_known = int(one.known.sum())
            places = np.flatnonzero(one.known) + PLACES[view].start
            found[row, places] = answers[begin : begin + n_known]
            begin += n_known
    return found
