"""From the square that a network sees back to the pixels of the file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, check_number
from asfusion.exceptions import ConfigurationError
from asfusion.imaging._picture import inside
from asfusion.imaging.place import Place


def geometry(
    size: int, original_shape: tuple[int, int], aspect: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[Any, ...]]:
    """Return how rows and columns are shared out, and where on the square the picture is."""
    if len(original_shape) != 2:
        msg = f"original_shape: expected rows and columns, got {len(original_shape)} numbers."
        raise ConfigurationError(msg)
    n_rows, n_columns = (check_integer(n, "original_shape", minimum=1) for n in original_shape)
    check_number(aspect, "aspect", minimum=1e-3, maximum=1e3)
    width, height = inside(n_columns, n_rows, size, aspect)
    top, left = (size - height) // 2, (size - width) // 2
    place = (..., slice(top, top + height), slice(left, left + width))
    return _shared_out(height, n_rows), _shared_out(width, n_columns), place


def spread_from(
    values: NDArray[np.float64], place: Place, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return attributions (S, S) on a cut as attributions on its film (H, W), their sum kept.

    What lies beyond the edge of the film is spread evenly over the part of the cut within.
    """
    own = values[:, ::-1] if place.is_mirrored else values
    n_rows, n_columns = own.shape
    cut = _shared_out(n_rows, place.height) @ own @ _shared_out(n_columns, place.width).T
    film = np.zeros(shape)
    rows, columns, own_rows, own_columns = place.visible(shape)
    inner = cut[own_rows, own_columns]
    target = (rows, columns) if inner.size else (slice(None), slice(None))
    if inner.size:
        film[target] = inner
    film[target] += (cut.sum() - inner.sum()) / film[target].size
    return film


def picture_from(
    image: NDArray[np.floating[Any]], place: Place, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return what a cut (S, S) shows on its film (H, W), black around it."""
    own = np.asarray(image[:, ::-1] if place.is_mirrored else image, dtype=np.float64)
    n_rows, n_columns = own.shape
    rows = mean_over(_shared_out(n_rows, place.height))
    columns = mean_over(_shared_out(n_columns, place.width))
    film = np.zeros(shape)
    at_rows, at_columns, own_rows, own_columns = place.visible(shape)
    film[at_rows, at_columns] = (rows @ own @ columns.T)[own_rows, own_columns]
    return film


def _shared_out(n_from: int, n_to: int) -> NDArray[np.float64]:
    """Return (n_to, n_from), the share of each old pixel that lies on each new one."""
    old = np.arange(n_from + 1, dtype=np.float64) / n_from
    new = np.arange(n_to + 1, dtype=np.float64) / n_to
    start = np.maximum(old[None, :-1], new[:-1, None])
    stop = np.minimum(old[None, 1:], new[1:, None])
    shares: NDArray[np.float64] = np.clip(stop - start, 0.0, None) * n_from
    shares /= shares.sum(axis=0)
    return shares


def mean_over(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights that make each new pixel the mean of the old ones beneath it."""
    weights: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return weights
