"""One meaning of "smaller" for every image: the mean over the area that a pixel covers.

Of n source pixels, a target of m takes whole multiples of 1/m. Sums of weighted grey levels
are therefore whole numbers, exact in whatever order they are added: the two ways below,
numpy and a compiled loop, give the same bits, and which one runs is a matter of time only.
Dimensions: H rows, W columns, C channels.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ROWS, _COLUMNS = 4, 8  # target pixels worked on at once; what they need stays in a cache
_LARGE = 500_000  # pixels; below, there is nothing to win by compiling
_COMPILE_AFTER = 40  # large images: by then the second that a compiler takes is worth it
_LONGEST = 65_535  # rows whose sums fit into 32 bits
_SUMS = {np.dtype(np.uint8): np.uint32, np.dtype(np.uint16): np.uint32, np.dtype("i2"): np.int32}

_seen = 0
_seen_lock = threading.Lock()


class _Band(NamedTuple):
    """Target pixels ``start:stop`` as weights over source pixels ``first:last``."""

    start: int
    stop: int
    first: int
    last: int
    weights: NDArray[np.float64]


def resize(values: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """Return an image at another size.

    Parameters
    ----------
    values : ndarray of shape (H, W) or (H, W, C), number
        Finite values.
    height, width : int
        Target size, in pixels.

    Returns
    -------
    ndarray of shape (height, width) or (height, width, C), float32
        Along an axis that shrinks, the mean over exactly the source area that a target
        pixel covers, pixels at the border by their share. Along an axis that grows,
        straight lines between the centres of source pixels.
    """
    if _is_worth_compiling(values, height, width):
        sums = _SUMS[values.dtype]
        out = np.empty((height, width), dtype=np.float32)
        _compiled()(values, np.empty(values.shape[1], dtype=sums), out)
        return out
    rows, columns, *rest = values.shape
    flat = values.reshape(rows, -1)
    tall = _along_rows(flat, height) if rows != height else flat
    tall = tall.reshape(height, columns, *rest)
    wide = _along_columns(tall, width) if columns != width else tall
    scale = float(rows if height < rows else 1) * float(columns if width < columns else 1)
    return np.asarray(wide.astype(np.float64) / scale, dtype=np.float32)


def _along_rows(values: NDArray[Any], height: int) -> NDArray[np.float64]:
    """Return weighted sums (height, W); only a few rows at a time become float."""
    bands = _bands(len(values), height, _ROWS)
    longest = max(band.last - band.first for band in bands)
    buffer = np.empty((longest, values.shape[1]))
    out = np.empty((height, values.shape[1]))
    for band in bands:
        source = buffer[: band.last - band.first]
        source[...] = values[band.first : band.last]
        np.matmul(band.weights, source, out=out[band.start : band.stop])
    return out


def _along_columns(values: NDArray[Any], width: int) -> NDArray[np.float64]:
    """Return weighted sums (H, width) or (H, width, C)."""
    out = np.empty((len(values), width, *values.shape[2:]))
    layers = np.ndindex(*values.shape[2:])
    for layer in layers:
        source = np.ascontiguousarray(values[:, :, *layer], dtype=np.float64)
        for band in _bands(source.shape[1], width, _COLUMNS):
            sums = source[:, band.first : band.last] @ band.weights.T
            out[:, band.start : band.stop, *layer] = sums
    return out


@lru_cache(maxsize=64)
def _bands(source: int, target: int, block: int) -> tuple[_Band, ...]:
    """Return what each target pixel takes of the source pixels, a few targets at a time."""
    bands = []
    for start in range(0, target, block):
        wanted = np.arange(start, min(start + block, target))
        if target < source:  # whole numbers, whose sum is `source`
            left, right = wanted * source, (wanted + 1) * source
            first, last = int(left[0]) // target, -(-int(right[-1]) // target)
            pixel = np.arange(first, last)
            covered = np.minimum(right[:, None], (pixel + 1) * target) - np.maximum(
                left[:, None], pixel * target
            )
            weights = np.maximum(covered, 0)
        else:
            centre = np.clip((wanted + 0.5) * source / target - 0.5, 0.0, source - 1.0)
            first, last = int(centre[0]), min(source, int(np.ceil(centre[-1])) + 1)
            weights = np.maximum(1.0 - np.abs(centre[:, None] - np.arange(first, last)), 0.0)
        bands.append(_Band(start, start + len(wanted), first, last, weights.astype(np.float64)))
    return tuple(bands)


# -- the compiled loop -----------------------------------------------------------------


def _is_worth_compiling(values: NDArray[Any], height: int, width: int) -> bool:
    """Return whether the compiled loop can do this, and this process has work for it."""
    global _seen
    able = (
        values.ndim == 2
        and values.size >= _LARGE
        and values.dtype in _SUMS
        and values.flags.c_contiguous
        and height < values.shape[0] <= _LONGEST
        and width < values.shape[1]
    )
    if able:
        with _seen_lock:
            _seen += 1
    return able and _seen > _COMPILE_AFTER


@cache
def _compiled() -> Callable[..., None]:
    """Return `_shrink`, to be compiled at its first call."""
    compiled: Callable[..., None] = importlib.import_module("numba").njit(nogil=True)(_shrink)
    return compiled


def _shrink(values: Any, sums: Any, out: Any) -> None:
    """Fill `out` with means over areas; `sums` holds one row of weighted sums at a time."""
    rows, columns = values.shape
    height, width = out.shape
    scale = float(rows) * float(columns)
    for i in range(height):
        sums[:] = 0
        for r in range(i * rows // height, -(-(i + 1) * rows // height)):
            share = min((i + 1) * rows, (r + 1) * height) - max(i * rows, r * height)
            weight = sums.dtype.type(share)  # 32 bits: twice as many at once
            for c in range(columns):
                sums[c] += weight * values[r, c]
        for j in range(width):
            total = 0
            for c in range(j * columns // width, -(-(j + 1) * columns // width)):
                share = min((j + 1) * columns, (c + 1) * width) - max(j * columns, c * width)
                total += share * int(sums[c])
            out[i, j] = total / scale
