"""Where on a film a picture was cut from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Place:
    """A rectangle of a film, which a network saw as a square.

    Parameters
    ----------
    name : str
        The region, such as ``"right_sij"``.
    x0, y0 : int
        Column and row of its first pixel on the film as stored; below 0 where it begins
        before the film does.
    width, height : int
        In pixels of the film.
    spacing_mm : (float, float) or None
        Height and width of a pixel of the film in mm, where that is known.
    is_mirrored : bool
        Whether the network saw it with left and right exchanged.

    Examples
    --------
    >>> Place("right_sij", 40, 60, 180, 180, (0.5, 0.5)).in_words()
    'right_sij: 90 x 90 mm, from 20 mm right of and 30 mm below the upper left corner'
    """

    name: str
    x0: int
    y0: int
    width: int
    height: int
    spacing_mm: tuple[float, float] | None = None
    is_mirrored: bool = False

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return ``x0, y0, x1, y1`` in pixels of the film."""
        return self.x0, self.y0, self.x0 + self.width, self.y0 + self.height

    @property
    def box_mm(self) -> tuple[float, float, float, float] | None:
        """Return the same in mm from the upper left corner; None where nobody knows."""
        if self.spacing_mm is None:
            return None
        tall, wide = self.spacing_mm
        x0, y0, x1, y1 = self.box
        return x0 * wide, y0 * tall, x1 * wide, y1 * tall

    def spacing_at(self, size: int) -> tuple[float, float] | None:
        """Return height and width in mm of a pixel of the square of side `size`."""
        if self.spacing_mm is None:
            return None
        return (
            self.height * self.spacing_mm[0] / size,
            self.width * self.spacing_mm[1] / size,
        )

    def in_words(self) -> str:
        """Return which region it is, and where: in mm if that is known, else in pixels."""
        x0, y0, x1, y1 = self.box_mm or self.box
        unit = "px" if self.spacing_mm is None else "mm"
        across = f"{abs(x0):.0f} {unit} {'left' if x0 < 0 else 'right'} of"
        down = f"{abs(y0):.0f} {unit} {'above' if y0 < 0 else 'below'}"
        where = f"from {across} and {down} the upper left corner"
        return f"{self.name}: {x1 - x0:.0f} x {y1 - y0:.0f} {unit}, {where}"

    def visible(self, shape: tuple[int, int]) -> tuple[slice, slice, slice, slice]:
        """Return rows and columns of the film (H, W), then of the rectangle, that it shows."""
        x0, y0, x1, y1 = self.box
        top, left = (min(max(0, v), n) for v, n in zip((y0, x0), shape, strict=True))
        bottom, right = (min(max(0, v), n) for v, n in zip((y1, x1), shape, strict=True))
        film = slice(top, max(top, bottom)), slice(left, max(left, right))
        own = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
        return *film, *own

    def blacken(self, pixels: NDArray[np.uint8]) -> None:
        """Make the rectangle of a film (C, H, W) black."""
        height, width = pixels.shape[1:]
        rows, columns, _, _ = self.visible((height, width))
        pixels[:, rows, columns] = 0
