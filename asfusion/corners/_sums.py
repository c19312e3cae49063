"""The sum of corners: what is expected of it, how sure that is, and what holds the truth.

Dimensions: N films (rows), 24 corners, 4 grades.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion.clinical._msasss import CERVICAL_CORNERS, LUMBAR_CORNERS, msasss

Floats = NDArray[np.float64]

CORNERS = CERVICAL_CORNERS + LUMBAR_CORNERS
MOST = 72
_HALF = 0.5  # a sum is a whole number: half a unit is never known
_ROUNDING = 1e-9


class Sums(NamedTuple):
    """The score of rows by its segments, NaN where too many corners are unreadable."""

    total: Floats
    cervical: Floats
    lumbar: Floats


def sums_of(grades: Floats, missing: str) -> Sums:
    """Return the mSASSS of graded corners (N, 24), NaN for one that is not readable."""
    import pandas as pd

    found = msasss(pd.DataFrame(grades, columns=list(CORNERS)), missing=missing)
    return Sums(*(np.asarray(part, dtype=np.float64) for part in found))


def expected_sums(probabilities: Floats, missing: str) -> tuple[Floats, Floats]:
    """Return mean and spread (N,) of the sum, by the probabilities (N, 24, 4) of its corners.

    Corners are taken as independent of each other, given the films. Unreadable ones of a segment
    are expected to be like the others, and are as uncertain as a corner of it may be.
    """
    mean, variance = np.zeros(len(probabilities)), np.zeros(len(probabilities))
    readable = np.asarray(np.isfinite(probabilities).all(axis=2))
    grades = np.arange(probabilities.shape[2])
    means = np.nan_to_num(probabilities @ grades)
    variances = np.nan_to_num(probabilities @ grades**2) - means**2
    for segment in (slice(0, len(CERVICAL_CORNERS)), slice(len(CERVICAL_CORNERS), None)):
        size = readable[:, segment].shape[1]
        n = readable[:, segment].sum(axis=1)
        share = size / np.maximum(n, 1)
        average = means[:, segment].sum(axis=1) / np.maximum(n, 1)
        between = np.where(readable[:, segment], (means[:, segment] - average[:, None]) ** 2, 0.0)
        mean += means[:, segment].sum(axis=1) * share
        within = variances[:, segment].sum(axis=1)
        variance += within * share + (size - n) * between.sum(axis=1) / np.maximum(n, 1)
    whole = np.isfinite(sums_of(np.where(readable, 0.0, np.nan), missing).total)
    return np.where(whole, mean, np.nan), np.where(whole, np.sqrt(variance + _HALF**2), np.nan)


def interval_of(mean: Floats, spread: Floats, total: Floats, reach: float) -> tuple[Floats, Floats]:
    """Return the lowest and the highest whole sum (N,) within so many spreads of the mean.

    The sum of the grades as they were called is always among them.
    """
    low = np.ceil(mean - reach * spread - _ROUNDING)
    high = np.floor(mean + reach * spread + _ROUNDING)
    low, high = np.minimum(low, total), np.maximum(high, total)
    return np.clip(low, 0, MOST), np.clip(high, 0, MOST)
