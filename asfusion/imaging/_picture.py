"""Decoded pixels before and after they are brought to training size.

Dimensions: H rows, W columns, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

# Share of pixels, in percent, that may fall outside a window found from the pixels:
# collimator edges and metal markers.
_TAIL_PERCENT = 0.5
_FLAT = 16 / 255  # a picture with fewer grey levels than this is flat
_SAMPLE = 512  # rows and columns looked at for that


@dataclass(frozen=True, eq=False)
class Picture:
    """Grey values of more than eight bits, and how they become eight.

    Parameters
    ----------
    values : ndarray of shape (H, W), number
        Grey values as stored, in the units that `window` has.
    window : pair of float, optional
        Values shown as black and as white; found from the pixels by default.
    ramp : callable, optional
        Maps values to [0, 1] in place of the straight line through `window`.
    inverted : bool
        Whether low values are bright (MONOCHROME1).
    padding : ndarray of shape (H, W), bool, optional
        Pixels outside the scanned field; they become black and set no window.
    aspect : float
        Height of a pixel divided by its width, unitless.
    """

    values: NDArray[Any]
    window: tuple[float, float] | None = None
    ramp: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    inverted: bool = False
    padding: NDArray[np.bool_] | None = None
    aspect: float = 1.0

    def render(self, size: int | None) -> NDArray[np.uint8]:
        """Return 8-bit grey (H, W), at ``size`` x ``size`` pixels if a size is given.

        The window comes last: a straight line commutes with the mean over an area, and
        after the resize there is a hundredth of the pixels left to clip.
        """
        from PIL import Image

        spread = robust_window(self.values, self.padding)
        low, high = self.window or spread
        values = self.values.astype(np.float32)
        dark = high if self.inverted else low
        values[~np.isfinite(values)] = dark
        if self.padding is not None:
            values[self.padding] = dark
        image = Image.fromarray(values)
        fitted = np.asarray(image if size is None else resize_inside(image, size, self.aspect))
        grey = self._to_unit(fitted, low, high)
        dim, bright = robust_window(grey)
        if bright - dim < _FLAT:  # a window that misses the pixels shows nothing
            grey = _line(fitted, *spread)
        eight = np.rint((1.0 - grey if self.inverted else grey) * 255.0).astype(np.uint8)
        return eight if size is None else on_square(eight, size)

    def _to_unit(self, values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
        return _line(values, low, high) if self.ramp is None else self.ramp(values)


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
    sample = values[steps].astype(np.float64)
    seen = np.isfinite(sample)
    if padding is not None:
        seen &= ~padding[steps]
    sample = sample[seen]
    if not sample.size:
        return 0.0, 1.0
    low, high = np.percentile(sample, [_TAIL_PERCENT, 100.0 - _TAIL_PERCENT])
    if low == high:
        low, high = sample.min(), sample.max()
    return float(low), float(high)


def resize_inside(image: Image.Image, size: int, aspect: float = 1.0) -> Image.Image:
    """Return the image, proportions kept, as large as fits into a square.

    Parameters
    ----------
    image : Image
        Of mode ``L``, ``RGB`` or ``F``.
    size : int
        Side of the square, in pixels.
    aspect : float
        Height of a pixel divided by its width, unitless.

    Returns
    -------
    Image
        Whole blocks are averaged first, the remaining factor is antialiased: nothing
        of the source is skipped.
    """
    from PIL import Image

    target = inside(image.width, image.height, size, aspect)
    if target == image.size:
        return image
    return image.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0)


def inside(width: int, height: int, size: int, aspect: float = 1.0) -> tuple[int, int]:
    """Return width and height of a picture scaled to fit into a square of side `size`."""
    scale = size / max(width, height * aspect)
    return (
        min(size, max(1, round(width * scale))),
        min(size, max(1, round(height * aspect * scale))),
    )


def on_square(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return pixels (H, W) or (H, W, C) in the middle of a black square of side `size`."""
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        return pixels
    square = np.zeros((size, size, *pixels.shape[2:]), dtype=np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square
