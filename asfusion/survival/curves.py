"""Survival curves as arrays.

Dimensions: N rows, K times of the curves, H other times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SURE = 1e-12  # survival below this is not told apart from none


def survival_at(survival: Floats, times: Floats, wanted: Sequence[float] | Floats) -> Floats:
    """Return curves (N, K) at other times (N, H): straight between those that are known."""
    known = np.append(0.0, times)
    curves = np.concatenate([np.ones((len(survival), 1)), survival], axis=1)
    wanted = np.clip(np.asarray(wanted, dtype=np.float64), 0.0, known[-1])
    right = np.clip(np.searchsorted(known, wanted, side="left"), 1, len(known) - 1)
    share = (wanted - known[right - 1]) / (known[right] - known[right - 1])
    return np.asarray(curves[:, right - 1] * (1.0 - share) + curves[:, right] * share)


def cumulative_risk(survival: Floats) -> Floats:
    """Return one number (N,) by which rows are ranked: the mean cumulative hazard."""
    return np.asarray(-np.log(np.maximum(survival, _SURE)).mean(axis=1))
