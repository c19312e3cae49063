"""Lesions of the sacroiliac joints on a phantom MR stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion.datasets._phantoms.mri_anatomy import (
    JOINT_BOTTOM,
    JOINT_MIDDLE,
    JOINT_TOP,
    Side,
)
from asfusion.datasets._phantoms.mri_canvas import Canvas, Field, MriLabel, soft


class _JointLesions(NamedTuple):
    """Amounts from 0 to 1 at one joint: rows ilium and sacrum, columns upper and lower."""

    oedema: NDArray[np.float64]
    fat: NDArray[np.float64]
    erosion: float


class Lesions(NamedTuple):
    """Amounts from 0 to 1, first axis right and left."""

    oedema: NDArray[np.float64]
    fat: NDArray[np.float64]
    erosion: NDArray[np.float64]
    nonspecific: float

    def of_joint(self, index: int) -> _JointLesions:
        return _JointLesions(self.oedema[index], self.fat[index], float(self.erosion[index]))


def paint_lesions(
    canvas: Canvas, sides: Sequence[Side], lesions: Lesions, rng: np.random.Generator
) -> None:
    """Paint the lesions of both joints, and the strain that healthy people have."""
    for index, side in enumerate(sides):
        _paint_joint(canvas, side, lesions.of_joint(index), rng)
    _paint_strain(canvas, sides, lesions.nonspecific, rng)


def _paint_joint(
    canvas: Canvas, side: Side, lesions: _JointLesions, rng: np.random.Generator
) -> None:
    """Paint fat first, oedema over it, and erosions through both."""
    kinds = (
        (MriLabel.FAT_LESION, lesions.fat, rng.normal(size=(2, 2, 3, 5)), rng.random((2, 2, 3))),
        (MriLabel.OEDEMA, lesions.oedema, rng.normal(size=(2, 2, 3, 5)), rng.random((2, 2, 3))),
    )
    pits = rng.random((2, 9, 5))
    for label, amounts, draws, places in kinds:
        for bone, half in np.ndindex(2, 2):
            amount = float(amounts[bone, half])
            if amount > 0.0:
                depth = _depth(canvas, side, half, amount, draws[bone, half], places[bone, half])
                _paint_patch(canvas, side, bone, depth, label, amount)
    if lesions.erosion > 0.0:
        for bone in (0, 1):
            _paint_pits(canvas, side, bone, lesions.erosion, pits[bone])


def _depth(canvas: Canvas, side: Side, half: int, amount: float, draws: Any, places: Any) -> Field:
    """Return how deep a patch reaches into the bone (Z, Y, 1), in mm."""
    ends = (JOINT_TOP + 6.0, JOINT_MIDDLE - 5.0), (JOINT_MIDDLE + 5.0, JOINT_BOTTOM - 6.0)
    low, high = ends[half]
    depth = np.zeros(np.broadcast_shapes(canvas.z.shape, side.along.shape), dtype=np.float32)
    for number, (draw, place) in enumerate(zip(draws, places, strict=True)):
        # One spot first; more of the lesion makes it deeper and adds others.
        grown = float(np.clip(4.0 * amount - 0.9 * number, 0.0, 1.0)) * (0.6 + 0.4 * amount)
        middle, slice_at = low + (high - low) * place, -6.0 + 8.0 * np.tanh(draw[0])
        wide = (9.5 + 2.0 * np.tanh(draw[1])) * (0.75 + 0.55 * amount)
        long = (8.0 + 2.0 * np.tanh(draw[2])) * (0.75 + 0.55 * amount)
        away = ((side.along - middle) / wide) ** 2 + ((canvas.z - slice_at) / long) ** 2
        depth = depth + grown * (10.0 + 3.0 * np.tanh(draw[3])) * np.exp(-(away**1.5))
    upper = soft(JOINT_MIDDLE - side.along, 2.0)
    return np.asarray(depth * (upper if half == 0 else 1.0 - upper), dtype=np.float32)


def _paint_patch(
    canvas: Canvas, side: Side, bone: int, depth: Field, label: MriLabel, amount: float
) -> None:
    """Paint a patch of oedema or fat from the joint into the marrow."""
    coarse, fine = canvas.coarse[..., side.columns], canvas.fine[..., side.columns]
    to_bone = side.to_bone[bone]
    ragged = np.minimum(depth / 4.0, 1.0) * (1.6 * coarse + 0.9 * fine)
    sharp = label is MriLabel.FAT_LESION
    inside = depth - 0.8 - to_bone + (0.5 if sharp else 1.0) * ragged
    share = soft(inside, 1.0 if sharp else 3.2) * soft(side.inside[bone] - 0.5, 0.8) * side.there
    if sharp:
        canvas.paint((0.6 + 0.4 * amount**0.5) * share, 0.94, 0.07, side.columns)
    else:
        # Brightest at the joint, and water dilutes the fat that T1 shows.
        bright = (0.42 + 0.42 * amount**0.5) * np.exp(-np.maximum(to_bone, 0.0) / 30.0)
        bright = bright * np.clip(1.0 + 0.10 * coarse + 0.08 * fine, 0.5, None)
        canvas.paint(0.9 * share, 0.32 + 0.03 * fine, bright, side.columns)
    canvas.mark(label, share, side.columns)


def _paint_pits(canvas: Canvas, side: Side, bone: int, amount: float, draws: Any) -> None:
    """Paint erosions of one bone of a joint; the ilium has more and deeper ones."""
    depth = np.zeros(np.broadcast_shapes(canvas.z.shape, side.along.shape), dtype=np.float32)
    reach = (5.2, 3.2)[bone]
    for number, draw in enumerate(draws):
        grown = float(np.clip(9.0 * amount - 0.9 * number, 0.0, 1.0)) * (0.5 + 0.5 * amount)
        middle = JOINT_TOP + 6.0 + (JOINT_BOTTOM - JOINT_TOP - 12.0) * draw[0]
        slice_at, wide, long = -18.0 + 26.0 * draw[1], 1.8 + 1.8 * draw[2], 3.5 + 3.0 * draw[3]
        away = ((side.along - middle) / wide) ** 2 + ((canvas.z - slice_at) / long) ** 2
        depth = np.maximum(depth, grown * reach * (0.7 + 0.5 * draw[4]) * np.exp(-away))
    to_bone = side.to_bone[bone]
    share = soft(depth - 0.9 - to_bone, 0.9) * soft(to_bone + 1.0, 0.8) * side.there
    canvas.paint(share, 0.20, 0.36, side.columns)
    canvas.mark(MriLabel.EROSION, share * soft(depth - 1.2, 0.6), side.columns)


def _paint_strain(
    canvas: Canvas, sides: Sequence[Side], amount: float, rng: np.random.Generator
) -> None:
    """Paint the small patch at the front of a joint that healthy people have."""
    index, bone = rng.integers(2, size=2).tolist()
    place, wide = rng.uniform([-34.0, 4.0], [26.0, 6.0])
    if amount == 0.0:
        return
    side = sides[index]
    away = ((side.along - place) / wide) ** 2 + ((canvas.z + 18.0) / 6.0) ** 2
    depth = np.asarray((3.5 + 3.0 * amount) * np.exp(-away), dtype=np.float32)
    _paint_patch(canvas, side, bone, depth, MriLabel.OEDEMA, 0.5 * amount)
