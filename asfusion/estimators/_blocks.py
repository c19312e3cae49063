"""What encoders of early fusion give: a block of features for each modality.

Dimensions: N rows, D features of a modality.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from asfusion._frames import Frame
from asfusion.encoders._base import Encoder
from asfusion.estimators._sparse import present_rows

_VALUES_AT_ONCE = 2**20  # of a block, while means and spreads are learned


def block_of(encoder: Encoder, frame: Frame, device: str, *, packs: bool = False) -> Any:
    """Return the features (N, D) of a modality, dense, packed or sparse, NaN in rows without it."""
    if encoder.is_sparse:
        return encoder._sparse_vectors(frame)
    packed = encoder._packed(frame) if packs else None
    if packed is not None:
        return packed
    # Which may be a table, where scikit-learn is told so; sums depend on how it lies in memory.
    return np.ascontiguousarray(encoder._vectors(frame, device))


def present_of(block: Any) -> NDArray[np.bool_]:
    """Return which rows of an encoder's `transform` have the modality."""
    if issparse(block):
        return present_rows(block)
    if is_packed(block):
        return np.asarray(block.present)
    absent = np.isnan(block[:, :1]).all(axis=1)  # most rows have their first feature
    some = np.flatnonzero(absent)
    absent[some] = np.isnan(block[some]).all(axis=1)
    return np.asarray(~absent)


def is_packed(block: Any) -> bool:
    """Return whether features of a modality become dense only where they are read."""
    return hasattr(block, "present")


def few_rows(block: Any) -> Iterator[slice]:
    """Yield rows that fit into the processor's cache together."""
    step = max(1, _VALUES_AT_ONCE // max(1, block.shape[1]))
    return (slice(start, start + step) for start in range(0, len(block), step))


def center_and_spread(
    block: NDArray[np.float64], present: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weighted mean and standard deviation of each feature over the present rows."""
    center = _mean(block, present, weights)
    return center, np.sqrt(_mean(block, present, weights, about=center))


def _mean(
    block: NDArray[np.float64],
    present: NDArray[np.bool_],
    weights: NDArray[np.float64],
    about: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the weighted mean of each feature, or of its squares about a centre.

    A few rows at a time, added one after the other as numpy adds those of a matrix.
    """
    total, start = np.zeros(block.shape[1]), 0
    everywhere, is_weighted = bool(present.all()), bool((weights != 1.0).any())
    # One column alone is added in another order, which parts of it would change.
    for rows in few_rows(block) if block.shape[1] > 1 else [slice(0, len(block))]:
        part = block[rows] if everywhere else block[rows][present[rows]]
        part = part.astype(np.float64)  # a copy, which is written to
        if about is not None:
            part -= about
            np.square(part, out=part)
        if is_weighted:
            part *= weights[start : start + len(part), None]
        start += len(part)
        if len(part):
            part[0] += total
            total = part.sum(axis=0)
    return np.asarray(total / weights.sum())
