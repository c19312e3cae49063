"""Curves as plain lists of numbers.

So a report that was saved draws the same pictures, and no patient's prediction can be read from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Curves = dict[str, Any]

GRID = np.linspace(0.0, 1.0, 101)


def on_grid(alarm: Floats, hit: Floats) -> Floats:
    """Return the height of a ROC curve over the grid, the upper end of a vertical step."""
    heights = np.interp(GRID, np.append(0.0, alarm), np.append(0.0, hit))
    last = np.searchsorted(alarm, GRID, side="right") - 1
    upper = np.where(last >= 0, hit[np.maximum(last, 0)], 0.0)
    return np.asarray(np.maximum(heights, upper))


def plain(**arrays: Any) -> Curves:
    """Return arrays as lists of Python numbers."""
    return {name: np.asarray(values, dtype=float).tolist() for name, values in arrays.items()}
