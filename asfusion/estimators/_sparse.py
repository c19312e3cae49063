"""Features of a modality as a sparse matrix, side by side with those of others.

Dimensions: N rows, D features. NaN is the only entry of a row without the modality.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack, issparse
from sklearn.utils import get_tags

from asfusion._arrays import sparse_rows

Floats = NDArray[np.float64]


def reads_sparse(estimator: Any) -> bool:
    """Return whether an estimator says that it takes a sparse matrix."""
    try:
        return bool(get_tags(estimator).input_tags.sparse)
    except (AttributeError, TypeError):  # of one that says nothing of itself
        return False


def present_rows(block: csr_array) -> NDArray[np.bool_]:
    """Return which rows have the modality."""
    missing = np.flatnonzero(np.isnan(block.data))
    present = np.ones(block.shape[0], dtype=bool)
    present[np.searchsorted(block.indptr, missing, side="right") - 1] = False
    return present


def center_and_spread(
    block: csr_array, present: NDArray[np.bool_], weights: Floats
) -> tuple[Floats, Floats]:
    """Return weighted mean and standard deviation of each feature over the present rows."""
    rows = block[np.flatnonzero(present)]
    share = weights / weights.sum()
    center = np.asarray(rows.T @ share)
    squares = np.asarray(rows.power(2).T @ share)
    return center, np.sqrt(np.maximum(squares - center**2, 0.0))


def with_stand_in(
    block: csr_array, present: NDArray[np.bool_], stand_in: Floats | None
) -> csr_array:
    """Return the same rows, absent ones with what stands in for them, or without entries."""
    absent = np.flatnonzero(~present)
    if not len(absent):
        return block
    known = csr_array(np.zeros((1, block.shape[1])) if stand_in is None else stand_in[None])
    lengths = np.diff(block.indptr)
    lengths[absent] = len(known.data)
    own = np.repeat(present, lengths)
    kept = np.repeat(present, np.diff(block.indptr))
    values, columns = np.empty(len(own)), np.empty(len(own), np.int64)
    values[own], columns[own] = block.data[kept], block.indices[kept]
    values[~own] = np.tile(known.data, len(absent))
    columns[~own] = np.tile(known.indices, len(absent))
    return sparse_rows(values, columns, lengths, block.shape[1])


def side_by_side(blocks: Sequence[Any]) -> csr_array:
    """Return dense and sparse blocks of the same rows as one sparse matrix."""
    return csr_array(hstack([b if issparse(b) else csr_array(b) for b in blocks], format="csr"))


def distinct(features: csr_array, y: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first of each kind of row, in an order of their own, and the kind of each."""
    features = features.copy()
    features.sum_duplicates()
    targets = np.nan_to_num(np.asarray(y, dtype=np.float64), nan=-1.0).reshape(len(y), -1) + 0.0
    ends = zip(features.indptr, features.indptr[1:], targets, strict=False)
    keys = [
        (features.indices[a:b].tobytes(), features.data[a:b].tobytes(), own.tobytes())
        for a, b, own in ends
    ]
    kinds = {key: number for number, key in enumerate(sorted(set(keys)))}
    place = np.asarray([kinds[key] for key in keys])
    return np.unique(place, return_index=True)[1], place
