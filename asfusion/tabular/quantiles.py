"""Weighted quantiles of many columns at once, and what is made of them: centre and spread.

Dimensions: N rows, C columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_LARGEST = float(np.finfo(np.float64).max)
_QUARTILES = (0.25, 0.5, 0.75)
_MANY = 4096  # rows: of more, the quantiles are picked out of each column instead of sorting it


class SortedColumns:
    """Columns of numbers in rising order, and the share of weight up to each cell.

    Parameters
    ----------
    values : ndarray of shape (N, C)
        Cells, NaN where there is none; each column has at least one.
    weights : ndarray of shape (N,)
        Weight of each row, above zero.
    """

    def __init__(self, values: Array, weights: Array) -> None:
        if (weights == 1.0).all():
            self.values = np.sort(values, axis=0)  # NaN goes to the end
            n_known = (~np.isnan(values)).sum(axis=0)
            self.shares = np.arange(1.0, len(values) + 1)[:, None] / n_known
            return
        order = np.argsort(values, axis=0, kind="stable")
        self.values = np.take_along_axis(values, order, axis=0)
        totals = np.where(np.isnan(self.values), 0.0, weights[order]).cumsum(axis=0)
        self.shares = totals / totals[-1]

    def quantile(self, q: float) -> Array:
        """Return, for each column, the value below which a share `q` of the weight lies."""
        place = (self.shares < q).sum(axis=0)
        found = np.take_along_axis(self.values, place[None], axis=0)[0]
        return np.asarray(found + 0.0)  # which of 0 and -0 comes first is left to chance


def centers_and_scales(values: Array, weights: Array) -> tuple[Array, Array]:
    """Return the weighted median of the known cells of each column (N, C), and their spread."""
    if len(values) > _MANY and (weights == 1.0).all():
        low, middle, high = np.column_stack([_picked(column) for column in values.T])
    else:
        ordered = SortedColumns(values, weights)
        low, middle, high = (ordered.quantile(q) for q in _QUARTILES)
    # Rounding must not be taken for spread.
    tiny = 1e-12 * np.maximum(np.abs(low), np.abs(high))
    with np.errstate(over="ignore", invalid="ignore"):
        spread = high - low
        for column in np.flatnonzero(spread <= tiny):
            spread[column] = _deviation(values[:, column], weights)
    # A constant column stays at zero.
    scale = np.where(spread > tiny, spread, 1.0)
    return middle, np.where(np.isfinite(spread), scale, _LARGEST)


def _picked(column: Array) -> Array:
    """Return the quartiles of the known cells of a column, as `SortedColumns.quantile` does."""
    n_known = len(column) - int(np.isnan(column).sum())
    places = [_place(q, n_known) for q in _QUARTILES]
    return np.asarray(np.partition(column, places)[places] + 0.0)  # NaN goes to the end


def _place(q: float, n: int) -> int:
    """Return how many of the shares ``1 / n, 2 / n, ... 1`` lie below `q`."""
    place = int(q * n)
    while place and place / n >= q:
        place -= 1
    while (place + 1) / n < q:
        place += 1
    return place


def center_and_scale(values: Array, weights: Array) -> tuple[float, float]:
    """Return the weighted median of known values, and their spread."""
    center, scale = centers_and_scales(values[:, None], weights)
    return float(center[0]), float(scale[0])


def weighted_quantile(values: Array, q: float, weights: Array) -> float:
    """Return the value below which a share `q` of the weight lies."""
    return float(SortedColumns(values[:, None], weights).quantile(q)[0])


def _deviation(values: Array, weights: Array) -> float:
    """Return the standard deviation of the known cells."""
    known = ~np.isnan(values)
    values, weights = values[known], weights[known]
    mean = np.average(values, weights=weights)
    return float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
