"""The grid that a phantom MR stack is painted on.

Coordinates in mm: x to the patient's left (the image's right), y along the sacrum to the foot,
z from front to back; the origin is the middle of the stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]

FIELD_MM = (48.0, 180.0, 180.0)  # depth, height, width of the stack
_PARTS = 2  # thin slices that are averaged to one thick one


class MriLabel(IntEnum):
    """What a voxel of `SacroiliacMRI.labels` is."""

    OTHER = 0
    SACRUM = 1
    ILIUM_RIGHT = 2
    ILIUM_LEFT = 3
    JOINT_RIGHT = 4
    JOINT_LEFT = 5
    OEDEMA = 6
    FAT_LESION = 7
    EROSION = 8


class Canvas:
    """Signal of both weightings on thin slices, and how much of a voxel each label fills."""

    def __init__(self, size: tuple[int, int, int], rng: np.random.Generator) -> None:
        n_slices, n_rows, n_columns = size
        depth, height, width = FIELD_MM
        self.size = size
        self.z = _steps(n_slices * _PARTS, depth)[:, None, None]
        self.y = _steps(n_rows, height)[None, :, None]
        self.x = _steps(n_columns, width)[None, None, :]
        thin = (n_slices * _PARTS, n_rows, n_columns)
        self.t1 = np.zeros(thin, dtype=np.float32)
        self.stir = np.zeros(thin, dtype=np.float32)
        self._shares: dict[MriLabel, Field] = {}
        # Two grains: fields of marrow and muscle, and trabeculae.
        self.coarse = _grain(thin, (6, 14, 14), rng)
        self.fine = _grain(thin, (12, 44, 44), rng)
        # No border of a body is a straight line.
        self.bent_x = self.x + 1.6 * _grain(thin, (4, 7, 7), rng)
        self.bent_y = self.y + 1.6 * _grain(thin, (4, 7, 7), rng)

    def paint(self, share: Field, t1: Any, stir: Any, columns: slice = slice(None)) -> None:
        """Cover a share of each voxel with a tissue."""
        for signal, value in ((self.t1, t1), (self.stir, stir)):
            part = signal[..., columns]
            part += share * (value - part)

    def blob(self, centre: Sequence[float], radii: Sequence[float], t1: float, stir: float) -> None:
        """Cover an ellipsoid with centre and radii (x, y, z) in mm."""
        axes = (self.x, self.y, self.z)
        near: list[slice] = []
        away: Any = 0.0
        for axis, at, radius in zip(axes, centre, radii, strict=True):
            inside = np.flatnonzero(np.abs(axis.ravel() - at) < radius + 3.0)
            if not inside.size:
                return
            near.append(slice(int(inside[0]), int(inside[-1]) + 1))
            part = axis.ravel()[near[-1]]
            away = away + (((part - at) / radius) ** 2).reshape(
                [-1 if n > 1 else 1 for n in axis.shape]
            )
        share = soft((1.0 - np.sqrt(away)) * np.float32(min(radii)), 1.0)
        box = (near[2], near[1], near[0])
        for signal, value in ((self.t1, t1), (self.stir, stir)):
            signal[box] += share * (np.float32(value) - signal[box])

    def mark(self, label: MriLabel, share: Field, columns: slice) -> None:
        """Note what fills voxels; what is noted later is on top."""
        filled = self._shares.setdefault(label, np.zeros_like(self.t1))[..., columns]
        np.maximum(filled, share, out=filled)

    def labels(self) -> NDArray[np.uint8]:
        """Return the label of each voxel of the thick slices."""
        out = np.zeros(self.size, dtype=np.uint8)
        for label, share in self._shares.items():
            out[thick_slices(share) > 0.5] = label
        return out


def _steps(n: int, length: float) -> Field:
    """Return the middles of n equal parts of a length around zero."""
    return np.asarray(((np.arange(n) + 0.5) / n - 0.5) * length, dtype=np.float32)


def soft(inside: Any, edge: float) -> Field:
    """Return 1 well inside, 0 well outside: the share of a voxel that a border leaves."""
    share = np.asarray(inside, dtype=np.float32) * np.float32(0.5 / edge) + np.float32(0.5)
    return np.asarray(np.clip(share, 0.0, 1.0))


def rim(inside: Field) -> Field:
    """Return the share of cortical bone along a border."""
    share = 1.0 - np.abs(inside - np.float32(0.3)) / np.float32(1.5)
    return np.asarray(0.85 * np.clip(share, 0.0, 1.0))


def least(first: Any, *others: Any) -> Field:
    out = np.asarray(first, dtype=np.float32)
    for other in others:
        out = np.minimum(out, other)
    return np.asarray(out, dtype=np.float32)


def thick_slices(thin: Field) -> Field:
    """Return thick slices, the means of thin ones."""
    return np.asarray(thin.reshape(-1, _PARTS, *thin.shape[1:]).mean(axis=1), dtype=np.float32)


def _grain(
    shape: tuple[int, int, int], cells: tuple[int, int, int], rng: np.random.Generator
) -> Field:
    """Return smooth noise of mean 0 and standard deviation about 1."""
    out = rng.standard_normal(cells, dtype=np.float32)
    for axis, (n, n_cells) in enumerate(zip(shape, cells, strict=True)):
        place = np.linspace(0.0, n_cells - 1.0, n, dtype=np.float32)
        first = np.minimum(place.astype(int), n_cells - 2)
        step = place - first
        upper = step**2 * (3.0 - 2.0 * step)
        # Between two cells the mean of both is calmer than either.
        spread = np.sqrt((1.0 - upper) ** 2 + upper**2)
        along = [-1 if other == axis else 1 for other in range(3)]
        lower, upper = (((1.0 - upper) / spread), (upper / spread))
        low, high = out.take(first, axis), out.take(first + 1, axis)
        out = low * lower.reshape(along) + high * upper.reshape(along)
    return np.asarray(out, dtype=np.float32)
