"""Features of early fusion that are put side by side a few rows at a time, as often as asked.

A table of which every column has gaps has two times as many features as columns, half of them flags
in a byte each: all of them as numbers would be the largest array of a fit, or of a prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.estimators._blocks import few_rows

_MANY = 2**24  # values of all features: 128 MB


def are_many(n_rows: int, n_features: int) -> bool:
    """Return whether features are too many to hold all of them at once for nothing."""
    return n_rows * n_features >= _MANY


class Assembled:
    """Features (N, F), filled and scaled, of blocks that stay as they are.

    Parameters
    ----------
    model : early fusion
        Fills and scales; it has learned how to.
    blocks : mapping of str to block
        What its encoders gave, for each modality.
    rows : ndarray of int
        Those that are used, rising.
    """

    def __init__(self, model: Any, blocks: Mapping[str, Any], rows: NDArray[np.int64]) -> None:
        self._model, self._blocks, self._rows = model, blocks, rows
        self.shape = len(rows), len(model.feature_names_)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __getitem__(self, rows: Any) -> NDArray[np.float64]:
        """Return the features of some rows, which are the caller's own."""
        chosen = self._rows[rows]
        if len(chosen) and chosen[-1] - chosen[0] == len(chosen) - 1:
            chosen = slice(int(chosen[0]), int(chosen[-1]) + 1)  # rows side by side
        features, _ = self._model._fill({name: b[chosen] for name, b in self._blocks.items()})
        return np.asarray(self._model._scaled(features))

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield the places of some rows and their features."""
        for rows in few_rows(self):
            yield rows, self[rows]
