"""A film in a square of its own proportions, and the way back.

Dimensions: N films, S side of the square (pixels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging._picture import inside, on_square
from asfusion.imaging._resize import resize
from asfusion.imaging.original import Original

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where a film stands in its square.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the film (pixels).
    scale : (float, float)
        Pixels of the square per pixel of the film, across and down.
    offset : (float, float)
        Column and row of the square where the film begins.
    spacing_mm : (float, float) or None
        Height and width of a pixel of the film (mm).
    """

    shape: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]
    spacing_mm: tuple[float, float] | None

    def into(self, xy: Floats) -> Floats:
        """Return places (..., 2) of the film as places of the square."""
        return np.asarray(xy * self.scale + self.offset)

    def back(self, xy: Floats) -> Floats:
        """Return places (..., 2) of the square as places of the film."""
        return np.asarray((xy - self.offset) / self.scale)

    def extent(self, extent: Floats) -> Floats:
        """Return widths and heights (..., 2) in the square as those on the film."""
        return np.asarray(extent / self.scale)


def squared(film: Original, size: int) -> tuple[NDArray[np.uint8], Place]:
    """Return a film as a square (S, S) and where it stands there."""
    height, width = film.pixels.shape[1:]
    wide, tall = inside(width, height, size, film.aspect)
    small = np.rint(resize(film.pixels[0], tall, wide)).astype(np.uint8)
    offset = (float((size - wide) // 2), float((size - tall) // 2))
    place = Place((height, width), (wide / width, tall / height), offset, film.spacing_mm)
    return on_square(small, size), place
