"""Volumes of any spacing onto one grid of voxels, and what is found there back to them.

Dimensions: Z Y X voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_TAIL_PERCENT = 0.5  # of voxels on either side that a window found from them leaves out


@dataclass(frozen=True, eq=False)
class Grid:
    """How each axis of a volume is laid over the axis of a fixed grid.

    Parameters
    ----------
    axes : tuple of three ndarray of shape (n_to, n_from)
        Weights of the voxels of the volume in each voxel of the grid; rows add up to one, or
        are zero outside of the volume.

    Examples
    --------
    >>> import numpy as np
    >>> grid = Grid.over((2, 4, 4), (4.0, 1.0, 1.0), shape=(2, 2, 2))
    >>> grid.sample(np.ones((2, 4, 4))).tolist()
    [[[1.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]]
    """

    axes: tuple[Floats, ...]

    @classmethod
    def over(
        cls,
        shape_from: Sequence[int],
        spacing_from: Sequence[float],
        *,
        shape: Sequence[int],
        spacing: Sequence[float] | None = None,
    ) -> Grid:
        """Return the grid that is centred on a volume.

        Parameters
        ----------
        shape_from : sequence of three int
            Voxels of the volume.
        spacing_from : sequence of three float
            Distance of its slices, rows and columns, in mm.
        shape : sequence of three int
            Voxels of the grid.
        spacing : sequence of three float, optional
            Distance of the voxels of the grid, in mm: what lies beyond is cut, what is missing
            stays empty. By default the whole volume is fitted in, slices from first to last,
            rows and columns with their proportions in mm kept.

        Returns
        -------
        Grid
            Each new voxel is the mean of those it covers, or on a line between neighbours.
        """
        extents = [n * step for n, step in zip(shape_from, spacing_from, strict=True)]
        if spacing is None:
            plane = max(extents[1] / shape[1], extents[2] / shape[2])
            spacing = (extents[0] / shape[0], plane, plane)
        pairs = zip(shape_from, spacing_from, shape, spacing, strict=True)
        return cls(tuple(_axis_weights(*given) for given in pairs))

    def sample(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return values (Z, Y, X) of the volume on the grid."""
        out = values.astype(np.float32)
        # Those axes first that lose most: the others then have less to do.
        for axis in np.argsort([len(w) / w.shape[1] for w in self.axes]):
            weights = self.axes[axis].astype(np.float32)
            out = np.moveaxis(np.tensordot(weights, out, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(out, dtype=np.float32)

    def spread(self, values: NDArray[Any]) -> Floats:
        """Return values (Z, Y, X) on the grid as shares of the volume's voxels, sums kept.

        What lies on the grid outside of the volume is spread over the volume evenly.
        """
        out = np.asarray(values, dtype=np.float64)
        total = out.sum()
        for axis, weights in enumerate(self.axes):
            out = np.moveaxis(np.tensordot(weights.T, out, axes=(1, axis)), 0, axis)
        spread: Floats = out + (total - out.sum()) / out.size
        return spread


def _axis_weights(n_from: int, step_from: float, n_to: int, step_to: float) -> Floats:
    """Return weights (n_to, n_from) of a triangle as wide as the coarser of both steps."""
    centre_from = (np.arange(n_from) - (n_from - 1) / 2) * step_from
    centre_to = (np.arange(n_to) - (n_to - 1) / 2) * step_to
    width = max(step_from, step_to)
    distance = np.abs(centre_to[:, None] - centre_from[None, :]) / width
    weights: Floats = np.clip(1.0 - distance, 0.0, None)
    # Beyond the centres of the outer voxels, but still inside of them, the outer voxel counts.
    half = n_from * step_from / 2
    inside = np.abs(centre_to) <= half * (1 + 1e-9)
    weights[~inside] = 0.0
    lost = inside & (weights.sum(axis=1) <= 0)
    weights[lost, np.abs(distance[lost]).argmin(axis=1)] = 1.0
    total = weights.sum(axis=1, keepdims=True)
    weights /= np.where(total > 0, total, 1.0)
    return weights


def to_eight_bits(
    values: NDArray[Any], window: tuple[float, float], empty: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Return values as grey from 0 to 255 along the line through a window.

    Parameters
    ----------
    values : ndarray
        Numbers of any unit.
    window : (float, float)
        What becomes black, and what becomes white.
    empty : ndarray of bool, optional
        Where there is nothing; it becomes black.

    Returns
    -------
    ndarray of uint8
        Of the same shape; NaN is black.
    """
    low, high = window
    width = max(high - low, float(np.finfo(np.float32).tiny))
    grey = np.clip((values.astype(np.float32) - low) / width, 0.0, 1.0)
    grey[np.isnan(grey)] = 0.0
    if empty is not None:
        grey[empty] = 0.0
    eight: NDArray[np.uint8] = np.rint(grey * 255.0).astype(np.uint8)
    return eight


def window_of(values: NDArray[Any]) -> tuple[float, float]:
    """Return the values between which all but half a percent of voxels on either side lie."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    if not finite.size:
        return 0.0, 1.0
    step = max(1, finite.size // 500_000)
    low, high = np.percentile(finite[::step], [_TAIL_PERCENT, 100.0 - _TAIL_PERCENT])
    return float(low), float(high)
