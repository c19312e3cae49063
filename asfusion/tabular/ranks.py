"""Ranks within a row: what does not change when a whole row is measured on another scale.

Dimensions: N rows, C columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CELLS_AT_ONCE = 2**20


def rank_within_rows(cells: Array) -> Array:
    """Return ranks (N, C) of the known cells of each row, between -1 and 1; NaN where missing.

    Equal cells share the mean of their ranks. Of m known cells the lowest is at ``1 / m - 1`` and
    the highest at ``1 - 1 / m``, so that rows with more gaps are on the same scale.
    """
    from scipy.stats import rankdata  # here: who reads cells alone does without

    ranks = np.empty(cells.shape)
    step = max(1, _CELLS_AT_ONCE // max(1, cells.shape[1]))
    for start in range(0, len(cells), step):
        part = cells[start : start + step]
        missing = np.isnan(part)
        n_known = np.maximum((~missing).sum(axis=1, keepdims=True), 1)
        # What is missing comes after all that is known, and is taken out again.
        found = rankdata(np.where(missing, np.inf, part), axis=1, method="average")
        ranks[start : start + step] = np.where(missing, np.nan, (2.0 * found - 1.0) / n_known - 1.0)
    return ranks
