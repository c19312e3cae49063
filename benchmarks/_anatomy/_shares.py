"""Shares and means with intervals by patient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

REPLICATES = 1000


def by_patient(
    values: np.ndarray, patients: np.ndarray, of: Callable[[np.ndarray], float] = np.mean
) -> str:
    """Return a statistic of values (N, ...) with its 95 % interval over patients (N,)."""
    names, number = np.unique(patients, return_inverse=True)
    rows = [np.flatnonzero(number == i) for i in range(len(names))]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(REPLICATES):
        chosen = np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])
        drawn.append(of(values[chosen]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{of(values):.3f} ({low:.3f} to {high:.3f})"


def share(values: np.ndarray) -> float:
    """Return the share of true among known values (NaN is unknown)."""
    known = values[~np.isnan(values.astype(float))]
    return float(known.mean()) if len(known) else np.nan
