"""Whether sites differ in what is predicted: then they cannot be told apart by numbers alone.

Dimensions: N rows, Q columns of what is predicted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._warn import warn_user

Floats = NDArray[np.float64]

_MOST_CLASSES = 20
_MUCH = 0.02  # share of the variance of the target between sites
_RARE = 0.01  # and as rare by chance


def levels_of(y: Any, n_rows: int) -> Floats | None:
    """Return classes as columns but the first (N, Q), or a number; None where y is neither."""
    if y is None:
        return None
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) != n_rows or array.dtype.names is not None:
        return None
    names, codes = np.unique(array, return_inverse=True)
    if len(names) <= _MOST_CLASSES or array.dtype.kind not in "iuf":
        few = len(names) <= _MOST_CLASSES
        return np.asarray(codes[:, None] == np.arange(1, len(names)), float) if few else None
    numbers = array.astype(np.float64)
    return numbers[:, None] if np.isfinite(numbers).all() else None


def tell_entangled(levels: Floats, sites: NDArray[np.int64]) -> float:
    """Return the share of the variance of the target between sites, and warn if it is much.

    It is that beyond chance: of as many sites that do not differ, it is zero in the mean.
    """
    levels, sites = levels[sites >= 0], sites[sites >= 0]
    found = [_between(column, sites) for column in levels.T]
    share, p_value, low, high = max(found, default=(0.0, 1.0, 0.0, 0.0))
    if share >= _MUCH and p_value <= _RARE:
        flags = bool(np.isin(levels, (0.0, 1.0)).all())
        what = "prevalence" if flags else "mean of the target"
        spread = f"{low:.0%} to {high:.0%}" if flags else f"{low:.3g} to {high:.3g}"
        warn_user(
            f"SiteHarmoniser: the {what} differs between the sites of training rows ({spread}), "
            f"{share:.0%} of the variance of the target lies between them. What is taken out with "
            "the site is then a part of the disease, too: compare with a model that is not "
            "harmonised, one site left out at a time."
        )
    return float(share)


def _between(column: Floats, sites: NDArray[np.int64]) -> tuple[float, float, float, float]:
    """Return adjusted share of variance between sites, its p-value, lowest and highest mean."""
    from scipy.stats import f as f_distribution

    counts = np.bincount(sites)
    counts_there = counts[counts > 0]
    means = (np.bincount(sites, column) / np.maximum(counts, 1))[counts > 0]
    n, k = len(column), len(means)
    total = float(((column - column.mean()) ** 2).sum())
    if k < 2 or n <= k or total <= 0:
        return 0.0, 1.0, 0.0, 0.0
    between = float((counts_there * (means - column.mean()) ** 2).sum())
    within = (total - between) / (n - k)
    if within <= 0:
        return 1.0, 0.0, float(means.min()), float(means.max())
    ratio = between / (k - 1) / within
    share = max(0.0, 1.0 - within / (total / (n - 1)))
    return (
        share,
        float(f_distribution.sf(ratio, k - 1, n - k)),
        float(means.min()),
        float(means.max()),
    )
