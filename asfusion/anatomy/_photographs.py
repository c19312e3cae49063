"""Films as they are photographed, with what is annotated on them, for finders to learn from.

Dimensions: N films, R regions or points, K numbers of each (4 of a box, 2 of a point).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asfusion._random import derive_seed
from asfusion.anatomy._square import Place, squared
from asfusion.imaging._resize import resize
from asfusion.imaging.original import Original
from asfusion.imaging.photographs.geometry import apply_homography
from asfusion.imaging.photographs.photograph import degrade

Floats = NDArray[np.float64]

COPIES, _SEVERITIES = 2, 5
_LARGER = 3  # sides of the square: so large a film is photographed


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph in its square, and how film and photograph go together.

    Parameters
    ----------
    square : ndarray of shape (S, S), uint8
        The photograph.
    place : Place
        Where it stands there.
    homography : ndarray of shape (3, 3)
        From places of the film to those of the photograph (pixels).
    """

    square: NDArray[np.uint8]
    place: Place
    homography: Floats

    def marks(self, marks: Floats) -> Floats:
        """Return boxes or points (R, K) of the film as those of the photograph (pixels)."""
        if marks.shape[1] == 2:
            return np.asarray(apply_homography(self.homography, marks))
        x0, y0, x1, y1 = marks.T
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        # Middles of edges, not corners: what is found in a box seldom fills its corners.
        middles = np.stack([[x, y0], [x1, y], [x, y1], [x0, y]]).transpose(2, 0, 1)
        seen = apply_homography(self.homography, middles)
        return np.concatenate([seen.min(axis=1), seen.max(axis=1)], axis=1)


def photographed(film: Original, size: int, seed: int) -> tuple[Photograph, ...]:
    """Return a film photographed a few times, each time another severity."""
    height, width = film.pixels.shape[1:]
    shrink = min(1.0, _LARGER * size / max(height, width))
    tall, wide = max(8, round(shrink * height)), max(8, round(shrink * width))
    small = np.rint(resize(film.pixels[0], tall, wide)).astype(np.uint8)
    first = derive_seed(seed, small.tobytes())
    into_small = np.diag([wide / width, tall / height, 1.0])
    made = []
    for copy in range(COPIES):
        severity = 1 + (first + copy * 2) % _SEVERITIES
        photo, homography = degrade(small, severity, first + copy, side=_LARGER * size)
        square, place = squared(Original(photo[None]), size)
        made.append(Photograph(square, place, homography @ into_small))
    return tuple(made)
