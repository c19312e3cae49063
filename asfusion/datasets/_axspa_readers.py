"""What two readers of pelvic films write down of the grade that was drawn."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Grades = NDArray[np.int64]

N_READERS: Final = 2
# How far a reading strays from the drawn grade, by that grade: fused joints are plain, doubtful
# from mild ones are not. Half of it both readers share, since they see the same film. Chosen
# such that a reading agrees with the drawn grade, and one reader with the other, by a kappa
# of about 0.5; trained central readers of DESIR reached 0.54 on positive or negative
# (van den Berg 2014, doi:10.1002/art.38738).
_SPREAD: Final = (0.45, 0.80, 1.00, 0.80, 0.30)
_SHARED: Final = 0.5


def draw_readings(grades: Grades, rng: np.random.Generator) -> list[Grades]:
    """Return what each reader gives the right and the left joint (N, 2), 0 to 4."""
    spread = np.take(_SPREAD, grades)
    shared = np.sqrt(_SHARED) * rng.standard_normal(grades.shape)
    readings = []
    for _ in range(N_READERS):
        own = np.sqrt(1.0 - _SHARED) * rng.standard_normal(grades.shape)
        seen = grades + spread * (shared + own)
        readings.append(np.clip(np.rint(seen), 0, 4).astype(np.int64))
    return readings
