"""A volume fitted into a square of pixels or a box of voxels, proportions kept in the plane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging.volumes.volume import Volume


def fit_volume(volume: Volume, size: int | tuple[int, int, int]) -> Volume:
    """Return a volume resampled: the mean where it shrinks, a straight line where it grows.

    Parameters
    ----------
    volume : Volume
        What is to be fitted.
    size : int or tuple of three int
        Side of the square of a slice in pixels, or slices, rows and columns.
    """
    n_slices, height, width = (
        (volume.n_slices, size, size) if isinstance(size, int) else tuple(size)
    )
    _, n_rows, n_columns = volume.values.shape
    dz, dy, dx = volume.spacing
    pixel = max(n_rows * dy / height, n_columns * dx / width)  # mm, square from here on
    rows = min(height, max(1, round(n_rows * dy / pixel)))
    columns = min(width, max(1, round(n_columns * dx / pixel)))
    values = _finite(volume.values.astype(np.float32, copy=False))
    for axis, n_out in ((1, rows), (2, columns), (0, n_slices)):
        values = _along(values, axis, n_out)
    if volume.values.dtype.kind in "iu":
        values = np.rint(values).astype(volume.values.dtype)
    box = np.full((n_slices, height, width), values.min(), dtype=values.dtype)
    top, left = (height - rows) // 2, (width - columns) // 2
    box[:, top : top + rows, left : left + columns] = values
    spacing = (dz * volume.n_slices / n_slices, n_rows * dy / rows, n_columns * dx / columns)
    # Centres of voxels move: the outer edge of the volume stays where it is.
    steps = [
        (0.5 * spacing[0] - 0.5 * dz),
        (0.5 * spacing[1] - 0.5 * dy) - top * spacing[1],
        (0.5 * spacing[2] - 0.5 * dx) - left * spacing[2],
    ]
    return replace(
        volume,
        values=box,
        spacing=spacing,
        origin=volume.origin + np.asarray(steps) @ volume.directions,
    )


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return values of which those that are not finite are the lowest, or highest, that are."""
    usable = np.isfinite(values)
    if usable.all():
        return values
    found = values[usable]
    low, high = (float(found.min()), float(found.max())) if found.size else (0.0, 0.0)
    return np.nan_to_num(values, nan=low, neginf=low, posinf=high)


def _along(values: NDArray[np.float32], axis: int, n_out: int) -> NDArray[np.float32]:
    n_in = values.shape[axis]
    if n_in == n_out:
        return values
    weights = _weights(n_in, n_out)
    moved = np.tensordot(weights, values, axes=(1, axis))
    return np.ascontiguousarray(np.moveaxis(moved, 0, axis))


def _weights(n_in: int, n_out: int) -> NDArray[np.float32]:
    """Return how much each of the source goes into each of the target; rows add up to 1."""
    if n_out < n_in:
        edges = np.linspace(0.0, n_in, n_out + 1)
        source = np.arange(n_in)
        overlap = np.minimum(edges[1:, None], source + 1) - np.maximum(edges[:-1, None], source)
        weights = np.clip(overlap, 0.0, None)
    else:
        at = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0.0, n_in - 1.0)
        weights = np.clip(1.0 - np.abs(at[:, None] - np.arange(n_in)), 0.0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
