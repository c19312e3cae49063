"""A picture at its own resolution, and squares cut from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging._in_memory import Content, extent_of, read_content
from asfusion.imaging._resize import resize
from asfusion.imaging.read import read_image


@dataclass(frozen=True, eq=False)
class Original:
    """A picture as it is stored.

    Parameters
    ----------
    pixels : ndarray of shape (C, H, W), uint8
        Grey levels or colours.
    spacing_mm : (float, float) or None
        Height and width of a pixel in mm, where the file says so.
    aspect : float
        Height of a pixel divided by its width, unitless.
    """

    pixels: NDArray[np.uint8]
    spacing_mm: tuple[float, float] | None = None
    aspect: float = 1.0

    def pixels_of(self, mm: float) -> tuple[float, float] | None:
        """Return how many pixels down and across a length in mm is; None if nobody knows."""
        if self.spacing_mm is None:
            return None
        return mm / self.spacing_mm[0], mm / self.spacing_mm[1]

    def cut(
        self, centre: tuple[float, float], extent: tuple[float, float], size: int
    ) -> NDArray[np.uint8]:
        """Return the rectangle around a place as a square; black where the picture ends.

        Parameters
        ----------
        centre : (float, float)
            Column and row of the middle (pixels; the first pixel's centre lies at 0.5).
        extent : (float, float)
            Height and width of the rectangle (pixels).
        size : int
            Side of the square (pixels).

        Returns
        -------
        ndarray of shape (C, size, size), uint8
            Means over areas where it shrinks, straight lines between pixels where it grows.
        """
        y0, x0 = (round(c - e / 2) for c, e in zip(reversed(centre), extent, strict=True))
        height, width = (max(1, round(e)) for e in extent)
        whole = np.zeros((len(self.pixels), height, width), np.uint8)
        top, left = max(0, y0), max(0, x0)
        bottom = min(self.pixels.shape[1], y0 + height)
        right = min(self.pixels.shape[2], x0 + width)
        if bottom > top and right > left:
            there = self.pixels[:, top:bottom, left:right]
            whole[:, top - y0 : bottom - y0, left - x0 : right - x0] = there
        if (height, width) == (size, size):
            return whole
        return np.stack([np.rint(resize(c, size, size)).astype(np.uint8) for c in whole])


def read_original(source: str | Content, channels: int = 1) -> Original:
    """Return the picture in a file or in memory, without bringing it to another size.

    Parameters
    ----------
    source : str, bytes, ndarray or PIL.Image.Image
        What `asfusion.ImageEncoder` takes as a cell.
    channels : {1, 3}
        1 for grey, 3 for RGB.

    Returns
    -------
    Original
        Pixels and their spacing.

    Raises
    ------
    ImageReadError
        As `asfusion.imaging.read_image`.
    """
    if isinstance(source, str):
        pixels = read_image(source, channels=channels)
    else:
        pixels = read_content(source, None, channels)
    extent = extent_of(source)
    return Original(pixels, extent.spacing_mm, extent.aspect)
