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

Rows = Callable[[int, int], NDArray[Any]]  # from first and last row to values (rows, W)

_ROWS, _COLUMNS = 4, 8  # target pixels worked on at once; what they need stays in a cache
_BAND = 8  # target rows: of 2048 columns, a cache holds what they take
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
    if (
        values.ndim == 2
        and values.flags.c_contiguous
        and is_shrunk(values.shape, values.dtype, height, width)
        and _is_worth_compiling(values.size)
    ):
        return _compiled_means(_rows_of(values), values.shape, values.dtype, (height, width))
    rows, columns, *rest = values.shape
    flat = values.reshape(rows, -1)
    tall = _along_rows(_rows_of(flat), flat.shape, height) if rows != height else flat
    return _narrowed(tall.reshape(height, columns, *rest), rows, width)


def resize_rows(
    read: Rows, shape: tuple[int, int], dtype: np.dtype[Any], height: int, width: int
) -> NDArray[np.float32]:
    """Return what `resize` does of an image that is read as it is worked on.

    Parameters
    ----------
    read : callable
        From first and last row to values (rows, W), which the next call may overwrite.
    shape, dtype : tuple of two int, dtype
        Of the image, for which `is_shrunk` holds.
    height, width : int
        Target size, in pixels.

    Returns
    -------
    ndarray of shape (height, width), float32
        Means over areas.
    """
    if _is_worth_compiling(shape[0] * shape[1]):
        return _compiled_means(read, shape, dtype, (height, width), _BAND)
    return _narrowed(_along_rows(read, shape, height), shape[0], width)


def is_shrunk(shape: tuple[int, ...], dtype: np.dtype[Any], height: int, width: int) -> bool:
    """Return whether both axes shrink, and sums of whole rows fit into 32 bits."""
    return dtype in _SUMS and height < shape[0] <= _LONGEST and width < shape[1]


def _rows_of(values: NDArray[Any]) -> Rows:
    return lambda first, last: values[first:last]


def _along_rows(read: Rows, shape: tuple[int, ...], height: int) -> NDArray[np.float64]:
    """Return weighted sums (height, W); only a few rows at a time become float."""
    bands = _bands(shape[0], height, _ROWS)
    longest = max(band.last - band.first for band in bands)
    buffer = np.empty((longest, shape[1]))
    out = np.empty((height, shape[1]))
    for band in bands:
        source = buffer[: band.last - band.first]
        source[...] = read(band.first, band.last)
        np.matmul(band.weights, source, out=out[band.start : band.stop])
    return out


def _narrowed(tall: NDArray[Any], rows: int, width: int) -> NDArray[np.float32]:
    """Return means (H, width) or (H, width, C) of what was `rows` high."""
    height, columns = tall.shape[:2]
    wide = _along_columns(tall, width) if columns != width else tall
    scale = float(rows if height < rows else 1) * float(columns if width < columns else 1)
    return np.asarray(wide.astype(np.float64) / scale, dtype=np.float32)


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


def _is_worth_compiling(n_pixels: int) -> bool:
    """Return whether this process has work for the compiled loop; this image counts, too."""
    global _seen
    if n_pixels < _LARGE:
        return False
    with _seen_lock:
        _seen += 1
    return _seen > _COMPILE_AFTER


def _compiled_means(
    read: Rows,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    target: tuple[int, int],
    band: int | None = None,
) -> NDArray[np.float32]:
    """Return means over areas, `band` target rows at a time, all of them by default."""
    (rows, columns), height = shape, target[0]
    out, sums = np.empty(target, dtype=np.float32), np.empty(columns, dtype=_SUMS[dtype])
    for start in range(0, height, band or height):
        stop = min(height, start + (band or height))
        first = start * rows // height
        _compiled()(read(first, -(-stop * rows // height)), first, rows, sums, out, start, stop)
    return out


@cache
def _compiled() -> Callable[..., None]:
    """Return `_shrink`, to be compiled at its first call."""
    compiled: Callable[..., None] = importlib.import_module("numba").njit(nogil=True)(_shrink)
    return compiled


def _shrink(  # noqa: C901 (compiled as one)
    values: Any, first: int, rows: int, sums: Any, out: Any, start: int, stop: int
) -> None:
    """Fill rows ``start:stop`` of `out` with means over areas.

    `values` are the source rows from `first` on, of `rows` in all; `sums` holds one row of
    weighted sums at a time.
    """
    columns = values.shape[1]
    height, width = out.shape
    scale = float(rows) * float(columns)
    wide = sums.dtype.type  # 32 bits: twice as many at once as with 64
    for i in range(start, stop):
        # Source rows from `top` to `bottom` are covered in full, those beside them in part.
        top, bottom = -(-i * rows // height), (i + 1) * rows // height
        sums[:] = 0
        for r in range(top - first, bottom - first):
            for c in range(columns):
                sums[c] += wide(values[r, c])
        above, below = top * height - i * rows, (i + 1) * rows - bottom * height
        for c in range(columns):
            sums[c] *= wide(height)
        if above:
            for c in range(columns):
                sums[c] += wide(above) * values[top - 1 - first, c]
        if below:
            for c in range(columns):
                sums[c] += wide(below) * values[bottom - first, c]
        for j in range(width):
            left, right = -(-j * columns // width), (j + 1) * columns // width
            total = 0
            for c in range(left, right):
                total += int(sums[c])
            total *= width
            if left * width > j * columns:
                total += (left * width - j * columns) * int(sums[left - 1])
            if right * width < (j + 1) * columns:
                total += ((j + 1) * columns - right * width) * int(sums[right])
            out[i, j] = total / scale
