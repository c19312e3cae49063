"""The bones of a phantom spine from the side, from the vertebrae to their anterior corners.

The patient faces the image's left. Lengths are in mm along the axes of each vertebra: u towards
the front and v towards the feet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asfusion.datasets._phantoms.film import (
    Field,
    Points,
    blurred,
    fill,
    smooth_outline,
    soft_step,
    stamp,
    stroke,
)

N_CORNERS: Final = 12  # anterior corners per region
N_BODIES: Final = 7
N_DISCS: Final = 6


class SpineLabel(IntEnum):
    """Codes of the segmentation.

    The scored vertebral bodies have the codes ``BODY`` to ``BODY + 6`` from top to bottom (C2 to
    T1, or T12 to S1), the discs between them ``DISC`` to ``DISC + 5``.
    """

    BACKGROUND = 0
    SOFT_TISSUE = 1
    POSTERIOR = 2
    OTHER_BONE = 3
    SYNDESMOPHYTE = 4
    BODY = 10
    DISC = 20


@dataclass(frozen=True)
class _Plan:
    """Sizes (mm) and tilts (degrees) of one region, from top to bottom.

    The first and the last vertebra are drawn and not scored.
    """

    heights: tuple[float, ...]
    depths: tuple[float, ...]
    discs: tuple[float, ...]
    tilts: tuple[float, ...]
    spinous: tuple[tuple[float, float], ...]  # end of each spinous process: length, drop
    blade: float  # height of the spinous processes over that of the arch
    taper: tuple[float, ...]  # how much narrower a body is below than above
    width: float  # of the film, mm
    middle: tuple[float, float]  # where the fourth scored vertebra lies, share of the film
    hollow: float  # of the walls, share of the depth
    first_body: int  # the atlas has none

    @property
    def coarse_mm(self) -> float:
        """Edge of a pixel of films that are not fine: 192 pixels take up the width."""
        return 1.015 * self.width / 192.0


_PLANS: Final = {
    "lumbar": _Plan(
        heights=(24, 26, 27.5, 28.5, 29, 29, 28.5, 30, 26),
        depths=(31, 32.5, 33.5, 34.5, 35.5, 36, 36, 34, 26),
        discs=(5.5, 7, 8.5, 10, 11.5, 12.5, 11.5, 1.6),
        tilts=(-13, -13, -12, -9, -4, 3, 14, 36, 52),
        spinous=(
            (33, 26), (31, 19), (32, 13), (33, 11), (33, 10), (32, 9), (27, 9), (18, 6), (12, 4),
        ),
        blade=1.75,
        taper=(0, 0, 0, 0, 0, 0, 0, 0.26, 0.30),
        width=208.0,
        middle=(0.45, 0.49),
        hollow=0.042,
        first_body=0,
    ),
    "cervical": _Plan(
        heights=(11, 20, 14.5, 14, 14, 14.5, 16, 18, 19),
        depths=(11, 16.5, 17, 17, 17.5, 18, 18.5, 19, 20),
        discs=(3.0, 5.5, 5.5, 5.5, 5.5, 5.5, 5.0, 4.5),
        tilts=(-9, -10, -9, -5, 1, 7, 14, 20, 22),
        spinous=(
            (19, 0), (24, 9), (19, 9), (20, 10), (23, 11), (28, 13), (36, 16), (34, 22), (32, 26),
        ),
        blade=1.05,
        taper=(0, 0, 0, 0, 0, 0, 0, 0, 0),
        width=136.0,
        middle=(0.50, 0.50),
        hollow=0.032,
        first_body=1,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class _Corner:
    """How one anterior corner looks."""

    score: int
    squaring: float
    erosion: float
    sclerosis: float
    growth: float  # share of the way to the neighbour's corner

    @classmethod
    def draw(cls, score: int, rng: np.random.Generator) -> _Corner:
        """Return a look that a reader of the mSASSS would score so."""
        mild = (
            rng.dirichlet((0.8, 0.8, 0.8)) * 1.25 + 0.08 if score == 1 else rng.uniform(0, 0.12, 3)
        )
        worn = rng.uniform(0.2, 0.9) if score >= 2 else 0.0
        growth = (0.0, 0.0, float(rng.uniform(0.26, 0.44)), 1.0)[score]
        squaring, erosion, sclerosis = (float(np.clip(x, 0.0, 1.0)) for x in mild)
        return cls(score, max(squaring, worn), erosion, max(sclerosis, 0.5 * worn), growth)


@dataclass(frozen=True)
class Vertebra:
    """Place and size of one vertebra on the film."""

    centre: Points  # pixels
    tilt: float  # radians
    height: float
    depth: float
    spacing: float

    def at(self, points: ArrayLike) -> Points:
        """Return the pixels of points (u, v in mm)."""
        local = np.asarray(points, dtype=float) / self.spacing
        front = np.array([-np.cos(self.tilt), np.sin(self.tilt)])
        down = np.array([np.sin(self.tilt), np.cos(self.tilt)])
        return np.asarray(self.centre + local[..., :1] * front + local[..., 1:] * down)

    def corner(self, lower: bool) -> Points:
        """Return the pixel of the upper or lower anterior corner."""
        return self.at([self.depth / 2.0, self.height / 2.0 * (1.0 if lower else -1.0)])


@dataclass(frozen=True)
class Pose:
    """How a fine film is taken: its pixels, and how far the patient is turned and moved."""

    shape: tuple[int, int]
    spacing: float  # mm
    turn: float  # degrees
    shift: Points  # mm: x, y

    @classmethod
    def draw(cls, region: str, film_mm: float, rng: np.random.Generator) -> Pose:
        plan = _PLANS[region]
        wide = plan.width * rng.uniform(0.85, 1.25)
        tall = plan.width / 0.75 * rng.uniform(0.93, 1.10)
        turn = float(np.clip(rng.normal(0.0, 4.0), -10.0, 10.0))
        shape = (round(tall / film_mm), round(wide / film_mm))
        return cls(shape, film_mm, turn, rng.normal(0.0, 6.0, 2))

    def moved_inside(self, spine: list[Vertebra]) -> list[Vertebra]:
        """Return the spine moved such that no shutter can cover a scored corner."""
        scored = spine[1 : N_BODIES + 1]
        fronts = np.stack([bone.corner(lower) for bone in scored for lower in (False, True)])
        size = np.array(self.shape[::-1], dtype=float)
        margin = 0.06 * size + 3.0 / self.spacing
        low, high = margin - fronts[1:-1].min(0), size - margin - fronts[1:-1].max(0)
        move = np.where(low > high, (low + high) / 2.0, np.clip(0.0, low, np.maximum(low, high)))
        return [replace(bone, centre=bone.centre + move) for bone in spine]


def _stack(
    plan: _Plan,
    shape: tuple[int, int],
    stiff: float,
    size: float,
    rng: np.random.Generator,
    pose: Pose | None,
) -> list[Vertebra]:
    """Return the vertebrae from top to bottom; a stiff spine has lost part of its curve."""
    spacing = plan.width * float(rng.uniform(0.97, 1.06)) / (0.75 * shape[0])
    if pose is not None:
        shape, spacing = pose.shape, pose.spacing
    heights = size * np.asarray(plan.heights) * rng.normal(1.0, 0.02, len(plan.heights))
    depths = size * np.asarray(plan.depths) * rng.normal(1.0, 0.015, len(plan.depths))
    discs = size * np.asarray(plan.discs) * rng.normal(1.0, 0.07, len(plan.discs))
    tilts = np.asarray(plan.tilts, dtype=float)
    curve = rng.normal(1.0, 0.16) * (1.0 - 0.45 * stiff)
    tilts = tilts.mean() + (tilts - tilts.mean()) * curve + rng.normal(0.0, 2.5)
    tilts = tilts + rng.normal(0.0, 0.7, tilts.size)
    tilts = np.deg2rad(tilts if pose is None else tilts + pose.turn)
    between = (tilts[1:] + tilts[:-1]) / 2.0
    steps = (heights[1:] + heights[:-1]) / 2.0 + discs
    moves = steps[:, None] * np.stack([np.sin(between), np.cos(between)], axis=1)
    centres = np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)]) / spacing
    middle = np.asarray(plan.middle) * [shape[1], shape[0]] + rng.normal(0.0, 3.0, 2) / spacing
    centres += middle - (centres[1] + centres[N_BODIES]) / 2.0
    if pose is not None:
        centres += pose.shift / spacing
    spine = [
        Vertebra(centre, float(tilt), float(height), float(depth), spacing)
        for centre, tilt, height, depth in zip(centres, tilts, heights, depths, strict=True)
    ]
    return spine if pose is None else pose.moved_inside(spine)


class Drawing:
    """The bones of one film, drawn one after the other."""

    def __init__(
        self, shape: tuple[int, int], spine: list[Vertebra], plan: _Plan, *, fine: bool
    ) -> None:
        self.shape, self.spine, self.plan = shape, spine, plan
        self.spacing = spine[0].spacing
        # Of fine films: pixels to the edge of a pixel of coarse ones.
        self.coarse_px = plan.coarse_mm / self.spacing if fine else None
        self._unit = plan.depths[4] / 35.0  # lesions are as much smaller as the vertebrae
        self.bone = np.zeros(shape, np.float32)
        self.labels = np.zeros(shape, np.uint8)

    @classmethod
    def of(
        cls,
        region: str,
        shape: tuple[int, int],
        stiff: float,
        size: float,
        rng: np.random.Generator,
        pose: Pose | None = None,
    ) -> Drawing:
        """Place the vertebrae of one region; `stiff` (0 to 1) takes part of the curve away."""
        plan = _PLANS[region]
        spine = _stack(plan, shape, stiff, size, rng, pose)
        return cls(shape if pose is None else pose.shape, spine, plan, fine=pose is not None)

    def heights(self) -> Field:
        """Return where each row lies, as a share of a usual film from its top."""
        height = self.shape[0]
        rows = np.arange(height)[:, None] + 0.5
        if self.coarse_px is None:
            return np.asarray(rows / height)
        middle = (self.spine[1].centre[1] + self.spine[N_BODIES].centre[1]) / 2.0
        usual = 256.0 * self.plan.coarse_mm / self.spacing
        return np.asarray((rows - middle) / usual + self.plan.middle[1])

    def draw(
        self,
        scores: NDArray[np.int64],
        density: float,
        bones: np.random.Generator,
        rng: np.random.Generator,
    ) -> Points:
        """Draw arches, bodies and scored corners; return where the corners are (pixels)."""
        looks = [_Corner.draw(int(score), rng) for score in scores]
        plain = [_Corner(0, 0.0, 0.0, 0.0, 0.0)] * 3  # above and below the scored corners
        around = [*plain, *looks, *plain]
        for k in range(len(self.spine)):
            self._arch(k)
        rind = 1.9 * max(self._unit, 0.6)
        for k in range(self.plan.first_body, len(self.spine)):
            cover = self._body(k, around[2 * k], around[2 * k + 1], bones)
            self._shell(cover, 0.30, 0.55, rind)
            scored = 1 <= k <= N_BODIES
            self.labels[cover > 0.5] = SpineLabel.BODY + k - 1 if scored else SpineLabel.OTHER_BONE
        self.bone *= density
        self._discs()
        return self._corners(looks, rng)

    def _size(self, length: float) -> float:
        return length / self.spacing

    def _body(self, k: int, upper: _Corner, lower: _Corner, rng: np.random.Generator) -> Field:
        """Return the cover of one vertebral body."""
        bone = self.spine[k]
        w, h = bone.depth / 2.0, bone.height / 2.0
        dent = self.plan.hollow * bone.depth
        hollow = [dent * (1.0 - 0.95 * c.squaring) for c in (upper, lower)]
        bite = [2.6 * c.erosion for c in (upper, lower)]
        plate = 0.045 * bone.height
        outline = np.array([
            (w - 0.9 - bite[0], -h - 0.1), (w - 0.1 - 0.5 * bite[0], -h + 0.7 + 0.6 * bite[0]),
            (w - 0.8 * hollow[0], -0.45 * h), (w - sum(hollow) / 2.0, 0.0),
            (w - 0.8 * hollow[1], 0.45 * h),
            (w - 0.1 - 0.5 * bite[1], h - 0.7 - 0.6 * bite[1]), (w - 0.9 - bite[1], h + 0.1),
            (0.45 * w, h - plate), (-0.3 * w, h - 1.3 * plate),
            (-w + 0.8, h), (-w, h - 1.0), (-w + dent, 0.0), (-w, -h + 1.0), (-w + 0.8, -h),
            (-0.3 * w, -h + 1.3 * plate), (0.45 * w, -h + plate),
        ])  # fmt: skip
        outline += rng.normal(0.0, 0.006 * bone.depth, outline.shape)
        outline[:, 0] *= 1.0 - self.plan.taper[k] * (0.5 + outline[:, 1] / bone.height)
        return fill(smooth_outline(bone.at(outline), steps=4), self.shape)

    def _shell(self, cover: Field, core: float, rind: float, depth: float) -> None:
        rim = np.clip(cover - blurred(cover, self._size(depth)), 0.0, None)
        self.bone += cover * (core + rind * rim)

    def _arch(self, k: int) -> None:
        """Draw pedicle, joints and spinous process behind one body."""
        bone = self.spine[k]
        w, h = bone.depth / 2.0, bone.height / 2.0
        length, drop = self.plan.spinous[k]
        thick = 0.17 * bone.height
        root = -w - 0.42 * bone.depth
        layer = np.zeros(self.shape, np.float32)
        pedicle = bone.at([(-w, -0.42 * h), (root, -0.30 * h)])
        stroke(layer, pedicle, self._size(0.95 * thick), 1.0)
        joint = bone.at([(root + 2.0, -1.15 * h), (root - 1.5, 0.1 * h), (root - 4.0, 1.25 * h)])
        stroke(layer, joint, self._size(0.95 * thick), 0.9)
        process = bone.at([
            (root - 2.0, 0.25 * h), (root - 0.55 * length, 0.2 * h + 0.55 * drop),
            (root - 0.85 * length, 0.2 * h + 0.9 * drop),
        ])  # fmt: skip
        stroke(layer, process[:2], self._size(1.05 * thick), 0.8)
        stroke(layer, process[1:], self._size(self.plan.blade * thick), 0.85)
        cover = soft_step((layer - 0.5) / 0.16)
        self.labels[cover > 0.5] = SpineLabel.POSTERIOR
        self._shell(cover, 0.17, 0.42, 1.4)

    def _discs(self) -> None:
        """Label the discs between the scored bodies."""
        for k in range(N_DISCS):
            above, below = self.spine[k + 1], self.spine[k + 2]
            box = np.stack([
                above.corner(True), below.corner(False),
                below.at([-below.depth / 2.0, -below.height / 2.0]),
                above.at([-above.depth / 2.0, above.height / 2.0]),
            ])  # fmt: skip
            free = (fill(box, self.shape) > 0.5) & (self.labels < SpineLabel.BODY)
            self.labels[free] = SpineLabel.DISC + k

    def _corners(self, looks: list[_Corner], rng: np.random.Generator) -> Points:
        """Draw shiny corners and new bone; return the corners' pixels."""
        places = np.stack([
            self.spine[1 + (k + 1) // 2].corner(lower=k % 2 == 0) for k in range(N_CORNERS)
        ])  # fmt: skip
        unit = self._unit
        for k, look in enumerate(looks):
            bone = self.spine[1 + (k + 1) // 2]
            sign = 1.0 if k % 2 == 0 else -1.0
            h, w = bone.height / 2.0, bone.depth / 2.0
            inside = bone.at([w - 3.2 * unit, sign * (h - 3.0 * unit)])
            stamp(self.bone, inside, (self._size(4.6 * unit),) * 2, 0.30 * look.sclerosis, edge=0.5)
            if look.growth > 0.0:
                self._bridge(k, places, look.growth, rng)
        return places

    def _bridge(self, k: int, places: Points, growth: float, rng: np.random.Generator) -> None:
        """Draw new bone along the border of the disc towards the neighbour's corner."""
        bone, unit = self.spine[1 + (k + 1) // 2], self._unit
        start, end = places[k], places[k + 1 if k % 2 == 0 else k - 1]
        front = bone.at([1.0, 0.0]) - bone.at([0.0, 0.0])
        bulge = rng.uniform(1.6, 3.2) * unit
        share = np.linspace(0.0, 1.0, 9)
        path = start + share[:, None] * (end - start)
        path += (4.0 * share * (1.0 - share) * bulge - 0.5 * unit)[:, None] * front
        # It springs from the wall beside the corner, not from the corner's tip.
        sign = 1.0 if k % 2 == 0 else -1.0
        root = bone.at([bone.depth / 2.0 - 0.8 * unit, sign * (bone.height / 2.0 - 4.5 * unit)])
        kept = path[share <= max(growth, 0.13)]
        line = smooth_outline(np.concatenate([root[None], kept]), closed=False, steps=3)
        width = rng.uniform(0.95, 1.35) * unit
        new = np.zeros(self.shape, np.float32)
        stroke(new, line, self._size(width), 1.0)
        self.bone = self.bone + 0.42 * new * (1.0 - 0.6 * np.clip(self.bone / 0.5, 0.0, 1.0))
        free = (new > 0.6) & (self.labels < SpineLabel.BODY)
        self.labels[free] = SpineLabel.SYNDESMOPHYTE
