"""Decoded pixels before and after they are brought to training size.

Dimensions: H rows, W columns, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging._resize import resize
from asfusion.imaging.dicom._plain import PlainRows

# Share of pixels, in percent, that may fall outside a window found from the pixels:
# collimator edges and metal markers.
_TAIL_PERCENT = 0.5
_FLAT = 16 / 255  # a picture with fewer grey levels than this is flat
_SAMPLE = 512  # rows and columns looked at for that
_COUNTABLE = (np.uint8, np.uint16, np.int16)


@dataclass(frozen=True, eq=False)
class Picture:
    """Grey values of more than eight bits, and how they become eight.

    Parameters
    ----------
    values : ndarray of shape (H, W), number, or PlainRows
        Grey values as stored, or where in a file they lie.
    window : pair of float, optional
        Shown values, ``slope * values + intercept``, that become black and white; found
        from the pixels by default.
    ramp : callable, optional
        Maps shown values to [0, 1] in place of the straight line through `window`.
    inverted : bool
        Whether low values are bright (MONOCHROME1).
    padding : ndarray of shape (H, W), bool, optional
        Pixels outside the scanned field; they become black and set no window.
    aspect : float
        Height of a pixel divided by its width, unitless.
    slope, intercept : float
        The straight line from stored to shown values.
    """

    values: NDArray[Any] | PlainRows
    window: tuple[float, float] | None = None
    ramp: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    inverted: bool = False
    padding: NDArray[np.bool_] | None = None
    aspect: float = 1.0
    slope: float = 1.0
    intercept: float = 0.0

    def render(self, size: int | None, bits: int = 8) -> NDArray[Any]:
        """Return grey of 8 or 16 `bits` (H, W), ``size`` x ``size`` if a size is given.

        Rescaling and window come last: a straight line commutes with the mean over an
        area, and after the resize there is a hundredth of the pixels left to clip.
        """
        low, high = self.window or self._spread()
        values = self._finite(high if self.inverted else low)
        if size is not None:
            height, width = values.shape
            width, height = inside(width, height, size, self.aspect)
            if isinstance(values, PlainRows):
                values = values.resized(height, width)
            else:
                values = resize(values, height, width)
        elif isinstance(values, PlainRows):
            values = values.whole()
        shown = values.astype(np.float32, copy=False)
        if (self.slope, self.intercept) != (1.0, 0.0):
            shown = shown * np.float32(self.slope) + np.float32(self.intercept)
        grey = _line(shown, low, high) if self.ramp is None else self.ramp(shown)
        if _is_flat(grey):  # a window that misses the pixels shows nothing
            grey = _line(shown, *self._spread())
        white = float(2**bits - 1)
        deep = np.rint((1.0 - grey if self.inverted else grey) * white)
        pixels = deep.astype(np.uint8 if bits == 8 else np.uint16)
        return pixels if size is None else on_square(pixels, size)

    def _spread(self) -> tuple[float, float]:
        """Return the shown values between which all but the tails of the pixels lie."""
        ends = [self.slope * v + self.intercept for v in robust_window(self._whole(), self.padding)]
        return min(ends), max(ends)

    def _whole(self) -> NDArray[Any]:
        """Return all stored values."""
        return self.values.whole() if isinstance(self.values, PlainRows) else self.values

    def _finite(self, dark: float) -> NDArray[Any] | PlainRows:
        """Return stored values, those outside the field or not finite shown as `dark`."""
        if self.padding is None and self.values.dtype.kind in "iu":
            return self.values
        values = self._whole().astype(np.float32)
        stored = (dark - self.intercept) / self.slope
        values[~np.isfinite(values)] = stored
        if self.padding is not None:
            values[self.padding] = stored
        return values


def _is_flat(grey: NDArray[np.float32]) -> bool:
    """Return whether a picture in [0, 1] has hardly any grey level."""
    dim, bright = robust_window((grey * 255.0).astype(np.uint8))
    return (bright - dim) / 255.0 < _FLAT


def _line(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Return values mapped to [0, 1] along the straight line from `low` to `high`."""
    width = max(high - low, float(np.finfo(np.float32).tiny))
    line: NDArray[np.float32] = (values - np.float32(low)) / np.float32(width)
    return np.clip(line, 0.0, 1.0, out=line)


def robust_window(
    values: NDArray[Any], padding: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Return the values between which all but the tails of the pixels lie.

    Parameters
    ----------
    values : ndarray of shape (H, W)
        Grey values, some of which may not be finite.
    padding : ndarray of shape (H, W), bool, optional
        Pixels to leave out.

    Returns
    -------
    low, high : float
        Percentiles 0.5 and 99.5; the extremes where those coincide.
    """
    steps = tuple(slice(None, None, max(1, extent // _SAMPLE)) for extent in values.shape)
    sample = values[steps]
    if padding is not None:
        sample = sample[~padding[steps]]
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    find = _percentiles if sample.dtype in _COUNTABLE else np.percentile
    low, high = find(sample.ravel(), [_TAIL_PERCENT, 100.0 - _TAIL_PERCENT])
    if low == high:
        low, high = sample.min(), sample.max()
    return float(low), float(high)


def _percentiles(values: NDArray[Any], percents: list[float]) -> list[float]:
    """Return what `numpy.percentile` does, by counting: quicker than sorting short integers."""
    lowest = int(values.min()) if values.dtype.kind == "i" else 0
    upto = np.cumsum(np.bincount(values.astype(np.intp) - lowest if lowest else values))
    found = []
    for percent in percents:
        rank = percent / 100.0 * (len(values) - 1)
        below, above = np.searchsorted(upto, [int(rank), np.ceil(rank)], side="right")
        found.append(lowest + below + (above - below) * (rank - int(rank)))
    return found


def resize_inside(pixels: NDArray[np.uint8], size: int, aspect: float = 1.0) -> NDArray[np.uint8]:
    """Return 8-bit pixels, proportions kept, as large as fits into a square.

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (H, W, C), uint8
        Grey levels or colours.
    size : int
        Side of the square, in pixels.
    aspect : float
        Height of a pixel divided by its width, unitless.

    Returns
    -------
    ndarray of uint8
        Means over areas, see `resize`.
    """
    height, width = pixels.shape[:2]
    fitted_width, fitted_height = inside(width, height, size, aspect)
    if (fitted_height, fitted_width) == (height, width):
        return pixels
    return np.rint(resize(pixels, fitted_height, fitted_width)).astype(np.uint8)


def inside(width: int, height: int, size: int, aspect: float = 1.0) -> tuple[int, int]:
    """Return width and height of a picture scaled to fit into a square of side `size`."""
    scale = size / max(width, height * aspect)
    return (
        min(size, max(1, round(width * scale))),
        min(size, max(1, round(height * aspect * scale))),
    )


def on_square(pixels: NDArray[Any], size: int) -> NDArray[Any]:
    """Return pixels (H, W) or (H, W, C) in the middle of a black square of side `size`."""
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        return pixels
    square = np.zeros((size, size, *pixels.shape[2:]), dtype=pixels.dtype)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square
