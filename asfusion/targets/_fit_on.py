"""Estimators that are fitted to a part of the rows: those that reach a grade, or know a label."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import _safe_indexing

Rows = NDArray[np.int64]


def fit_on(rows: Rows, estimator: Any, X: Any, y: NDArray[Any], weight: Any = None) -> Any:
    """Return a copy fitted to some of the N rows of X, with weights if there are any.

    Where it splits by folds that were made of all rows, such as those that keep patients whole,
    these are the folds of the rows that it sees.
    """
    part = clone(estimator)
    for name, value in part.get_params(deep=True).items():
        if name.rpartition("__")[2] == "cv" and isinstance(value, list):
            part.set_params(**{name: _within(rows, value, len(y))})
    options = {} if weight is None else {"sample_weight": weight[rows]}
    return part.fit(_safe_indexing(X, rows), y[rows], **options)


def _within(rows: Rows, folds: list[Any], n_rows: int) -> list[Any]:
    """Return folds (of N rows) as positions among some of them, in a list of the same kind."""
    place = np.full(n_rows, -1)
    place[rows] = np.arange(len(rows))
    moved = [tuple(place[side][place[side] >= 0] for side in fold) for fold in folds]
    made = copy.copy(folds)
    made[:] = [fold for fold in moved if all(len(side) for side in fold)]
    return made
