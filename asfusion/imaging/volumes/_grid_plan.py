"""How series of any size become grey voxels of one shape, and the checks of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, check_number, in_words
from asfusion.exceptions import ConfigurationError
from asfusion.imaging.volumes.grid import Grid, to_eight_bits, window_of
from asfusion.imaging.volumes.volume import Volume

Layout = Literal["volume", "slices"]
Window = tuple[float, float] | Literal["auto"]


class GridPlan(NamedTuple):
    """All that shapes the voxels of a volume, besides the volume.

    Attributes: `shape` in voxels (Z, Y, X); `layout`, ``"volume"`` to lay the whole over the
    box or ``"slices"`` to keep slices as they are where they are not too many; `spacing` of
    the box in mm, or None to fit a volume in; `window` that becomes black and white.
    """

    shape: tuple[int, int, int]
    layout: Layout = "volume"
    spacing: tuple[float, float, float] | None = None
    window: Window = "auto"

    def grid_of(self, volume: Volume) -> Grid:
        """Return how a volume is laid over the voxels."""
        if self.layout == "slices":
            return self._slice_by_slice(volume)
        return Grid.over(
            volume.values.shape, volume.spacing, shape=self.shape, spacing=self.spacing
        )

    def voxels_of(self, volume: Volume, grid: Grid | None = None) -> NDArray[np.uint8]:
        """Return a volume as grey from 0 to 255 of `shape`, black outside of the volume.

        By default the whole volume is laid over them.
        """
        grid = self.grid_of(volume) if grid is None else grid
        window = window_of(volume.values) if self.window == "auto" else self.window
        outside = [weights.sum(axis=1) <= 0 for weights in grid.axes]
        empty = outside[0][:, None, None] | outside[1][:, None] | outside[2]
        return to_eight_bits(grid.sample(volume.values), window, empty)

    def _slice_by_slice(self, volume: Volume) -> Grid:
        z, y, x = volume.spacing
        most, n_rows, n_columns = self.shape
        n = len(volume.values)
        plane = max(volume.values.shape[1] * y / n_rows, volume.values.shape[2] * x / n_columns)
        kept = min(n, most)
        step = n * z / most if n > most else z
        grid = Grid.over(
            volume.values.shape,
            volume.spacing,
            shape=(kept, n_rows, n_columns),
            spacing=(step, plane, plane),
        )
        first = np.zeros((most, n))
        first[:kept] = grid.axes[0]  # short stacks stand at the beginning
        return Grid((first, *grid.axes[1:]))


def check_shape(
    shape: Any, name: str = "shape", smallest: tuple[int, int, int] = (1, 1, 1)
) -> tuple[int, int, int]:
    """Return three numbers of voxels, none of them less than in `smallest`."""
    if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != 3:
        msg = f"{name}: expected three numbers of voxels (Z, Y, X), got {in_words(shape)}."
        raise ConfigurationError(msg)
    z, y, x = (
        check_integer(n, name, minimum=least) for n, least in zip(shape, smallest, strict=True)
    )
    return z, y, x


def check_spacing(spacing: Any) -> tuple[float, float, float] | None:
    """Return three distances in mm, or None."""
    if spacing is None:
        return None
    z, y, x = _numbers(spacing, "spacing", 3)
    if min(z, y, x) <= 0:
        raise ConfigurationError("spacing: expected distances above 0 mm.")
    return z, y, x


def check_window(window: Any) -> Window:
    """Return what becomes black and what white, or ``"auto"``."""
    if isinstance(window, str) and window == "auto":
        return "auto"
    low, high = _numbers(window, "window", 2)
    if low >= high:
        raise ConfigurationError("window: expected (black, white) with black below white.")
    return low, high


def _numbers(values: Any, name: str, n: int) -> list[float]:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != n:
        msg = f"{name}: expected {n} numbers, got {in_words(values)}."
        raise ConfigurationError(msg)
    return [check_number(v, name, minimum=-1e9, maximum=1e9) for v in values]
