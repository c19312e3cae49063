"""Features of which most say yes or no, kept in a byte each.

Dimensions: N rows, D features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Packed:
    """Features (N, D) that become numbers of 64 bits a few rows at a time, when they are read.

    Parameters
    ----------
    numbers : ndarray of shape (N, D1)
        Features that may be any number.
    places : ndarray of int, shape (D1,)
        Where these stand among all features.
    marks : ndarray of shape (N, D - D1), bool
        The others, in their order: flags of missing cells and levels of categories.
    present : ndarray of shape (N,), bool
        Which rows are there; the features of the others are read as NaN.
    """

    def __init__(
        self,
        numbers: NDArray[np.float64],
        places: NDArray[np.int64],
        marks: NDArray[np.bool_],
        present: NDArray[np.bool_],
    ) -> None:
        self._numbers, self._marks, self.present = numbers, marks, present
        self.shape = len(present), numbers.shape[1] + marks.shape[1]
        self._places = evenly(places)
        self._others = evenly(np.setdiff1d(np.arange(self.shape[1]), places))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.present)

    def __getitem__(self, rows: Any) -> NDArray[np.float64]:
        """Return the features of some rows, which are the caller's own."""
        there = self.present[rows]
        features = np.empty((len(there), self.shape[1]))
        features[:, self._places] = self._numbers[rows]
        features[:, self._others] = self._marks[rows]
        features[~there] = np.nan
        return features


def evenly(places: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Return columns as a slice where they lie evenly: those are written many times faster."""
    if len(places) < 2:
        return places
    step = int(places[1] - places[0])
    even = bool((np.diff(places) == step).all())
    return slice(int(places[0]), int(places[-1]) + 1, step) if even else places
