"""The bones of a phantom pelvis: outlines in three dimensions, and their projection.

Patient coordinates in mm, from the middle of the second sacral vertebra: x to the patient's
left (the image's right), y towards the feet, z towards the front.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike

from asfusion.datasets._phantoms.film import (
    Field,
    Points,
    blurred,
    fill,
    patches,
    smooth_outline,
    stamp,
    stroke,
)

_FILM_WIDTH = 372.0  # mm
_COARSE_MM = 1.45  # edge of a pixel of the films that are not fine
# Where the joints lie in any patient: x, y, z in mm.
_JOINTS = np.array([(x, y, z) for x in (-72, 72) for y, z in ((-52, -12), (46, -46))], dtype=float)

# Outlines of the patient's left half: x, y, z in mm.
_ILIUM = np.array([
    (50, 38, -45), (43, 22, -58), (38, 6, -66), (40, -14, -66), (48, -38, -58), (60, -60, -45),
    (76, -76, -25), (95, -83, 0), (114, -78, 22), (130, -62, 42), (139, -38, 60), (140, -20, 68),
    (133, -4, 66), (124, 12, 58), (122, 28, 50), (118, 42, 42), (117, 56, 25), (112, 66, 10),
    (92, 72, 8), (72, 72, 5), (68, 62, 0), (63, 50, -10), (56, 42, -30),
], dtype=float)  # fmt: skip
_ISCHIOPUBIS = np.array([
    (68, 58, 0), (69, 72, 6), (62, 86, 25), (48, 97, 48), (30, 103, 62), (14, 105, 70),
    (4, 108, 74), (3, 124, 72), (4, 142, 66), (12, 148, 58), (24, 156, 40), (36, 168, 12),
    (48, 181, -18), (62, 186, -30), (75, 178, -32), (81, 162, -28), (80, 146, -22),
    (86, 132, -15), (98, 122, -10), (112, 110, -8), (119, 92, 0), (119, 72, 8), (115, 58, 18),
    (92, 54, 8),
], dtype=float)  # fmt: skip
_OBTURATOR = np.array([
    (30, 118, 52), (44, 111, 40), (58, 114, 20), (67, 126, 0), (66, 142, -10), (58, 157, -8),
    (47, 158, 8), (36, 149, 26), (28, 134, 42),
], dtype=float)  # fmt: skip
_FEMUR = np.array([
    (106, 66, 10), (119, 74, 8), (130, 80, 4), (138, 72, 0), (148, 76, -4), (154, 90, -6),
    (154, 108, -6), (149, 128, -4), (146, 160, 0), (145, 200, 0), (145, 260, 0), (119, 260, 0),
    (119, 200, 0), (119, 166, -4), (113, 154, -12), (113, 144, -12), (116, 134, -6),
    (113, 122, 4), (104, 112, 8), (94, 112, 10), (84, 104, 10), (88, 76, 10),
], dtype=float)  # fmt: skip
_HEAD = np.array((95.0, 88.0, 10.0))
_FORAMINA = ((24, -23, -12), (22, 1, -32), (20, 23, -46), (17, 43, -52))
_ARC = np.array([(-1.0, -0.1, 0), (-0.55, -0.8, 0), (0, -1.05, 0), (0.6, -0.75, 0), (1.0, 0.1, 0)])
_SACRUM_TOP = np.array([(0, -47, 10), (14, -48, 10), (26, -50, 6), (32, -53, -6), (38, -49, -4),
                        (45, -49, 0), (52, -48, -6)], dtype=float)  # fmt: skip
_SACRUM_BOTTOM = np.array([(42, 42, -48), (37, 52, -52), (32, 64, -50), (22, 73, -46),
                           (13, 82, -42), (8, 90, -38), (0, 91, -38)], dtype=float)  # fmt: skip
_JOINT = np.array([(56, -43, -12), (61, -33, -12), (63.5, -20, -14), (62, -6, -18),
                   (57, 9, -24), (51, 22, -32), (48, 31, -38), (47, 38, -44)],
                  dtype=float)  # fmt: skip
_FLIP = np.array([-1.0, 1.0, 1.0])


class PelvisLabel(IntEnum):
    """Codes of the segmentation; right and left are the patient's."""

    BACKGROUND = 0
    SOFT_TISSUE = 1
    LUMBAR_SPINE = 2
    SACRUM = 3
    RIGHT_ILIUM = 4
    LEFT_ILIUM = 5
    RIGHT_SIJ = 6
    LEFT_SIJ = 7
    RIGHT_ISCHIOPUBIS = 8
    LEFT_ISCHIOPUBIS = 9
    RIGHT_FEMUR = 10
    LEFT_FEMUR = 11


@dataclass(frozen=True)
class Body:
    """What belongs to the patient and stays the same from visit to visit."""

    female: bool
    bmi: float
    density: float
    scale: float
    stream: int  # seeds the drawing of everything anatomical

    @classmethod
    def draw(cls, sex: str, bmi: float, age: float, rng: np.random.Generator) -> Body:
        female = sex == "f"
        loss = 0.004 * max(age - 35.0, 0.0) + (0.007 * max(age - 52.0, 0.0) if female else 0.0)
        density = float(rng.normal(1.0 if female else 1.08, 0.07)) * max(1.0 - loss, 0.55)
        scale = float(rng.normal(0.97 if female else 1.02, 0.025))
        return cls(female, bmi, density, scale, int(rng.integers(2**31)))

    def shaped(self, points: Points, jitter: Points | float) -> Points:
        """Return points of the left half for this sex and size, moved by `jitter` (mm)."""
        x, y, z = (points + jitter).T
        below = np.clip((y - 25.0) / 110.0, 0.0, 1.0)
        if self.female:  # a wide, low inlet and a wide arch below the pubis
            arch = 7.0 * np.clip((y - 125.0) / 40.0, 0.0, 1.0)
            x = x * (1.02 + 0.06 * below) + arch * (x > 1.0) * (x < 100.0)
            y = np.where(y < 0.0, 0.92 * y, y) - 4.0 * below
        else:
            x = x * (1.0 - 0.03 * below)
            y = np.where(y < 0.0, 1.04 * y, y) + 4.0 * below
        return np.asarray(self.scale * np.stack([x, y, z], axis=1))


@dataclass(frozen=True)
class View:
    """How the patient lies and where the beam comes from."""

    shape: tuple[int, int]
    spacing: float  # mm
    centre: tuple[float, float]  # pixel of the patient's origin: x, y
    slope: float  # how far a point moves up per mm towards the front
    turn: float  # how far it moves sideways per mm towards the front
    roll: float  # radians
    coarse_px: float | None = None  # of fine films: pixels to the edge of a pixel of coarse ones

    @classmethod
    def draw(
        cls, shape: tuple[int, int], projection: str, site: int, rng: np.random.Generator
    ) -> View:
        habit = np.random.default_rng((7_919, site))
        width = _FILM_WIDTH * habit.uniform(0.97, 1.05) * rng.uniform(0.98, 1.03)
        spacing = width / shape[1]
        slope = rng.normal(0.0, 0.06)
        middle = 50.0 + habit.normal(0.0, 5.0)
        if projection == "ferguson":
            slope += rng.uniform(0.38, 0.52)
            middle -= 18.0
        x = shape[1] / 2.0 + (habit.normal(0.0, 2.0) + rng.normal(0.0, 4.0)) / spacing
        y = shape[0] / 2.0 - (middle + rng.normal(0.0, 6.0)) / spacing
        turn, roll = rng.normal(0.0, 0.045), rng.normal(0.0, 0.022)
        return cls(shape, spacing, (x, y), slope, turn, roll)

    @classmethod
    def draw_fine(
        cls, film_mm: float, projection: str, site: int, rng: np.random.Generator
    ) -> View:
        """Return a view with pixels of `film_mm`, as different as those of several hospitals."""
        habit = np.random.default_rng((7_919, site))
        wide = _FILM_WIDTH * habit.uniform(0.97, 1.05)
        # A quarter are films of the joints alone.
        close = rng.random() < 0.25
        wide *= rng.uniform(0.66, 0.80) if close else rng.uniform(0.88, 1.18)
        tall = wide * (rng.uniform(0.78, 0.95) if close else rng.uniform(0.80, 0.98))
        shape = (round(tall / film_mm), round(wide / film_mm))
        slope = rng.normal(0.0, 0.09)
        middle = 0.0 if close else 50.0 + habit.normal(0.0, 5.0)
        if projection == "ferguson":
            slope += rng.uniform(0.38, 0.52)
            middle += 8.0 if close else -18.0
        x = shape[1] / 2.0 + rng.normal(0.0, 9.0) / film_mm
        y = shape[0] / 2.0 - (middle + rng.normal(0.0, 10.0)) / film_mm
        turn = rng.normal(0.0, 0.06)
        roll = float(np.clip(rng.normal(0.0, 0.06), -0.18, 0.18))
        view = cls(shape, film_mm, (x, y), slope, turn, roll, _COARSE_MM / film_mm)
        return view._with_joints_inside()

    def _with_joints_inside(self) -> View:
        """Return the view moved such that no shutter can cover a joint."""
        places = self.project(_JOINTS)
        size = np.array(self.shape[::-1], dtype=float)
        margin = 0.11 * size
        low, high = margin - places.min(0), size - margin - places.max(0)
        move = np.where(low > high, (low + high) / 2.0, np.clip(0.0, low, np.maximum(low, high)))
        x, y = (np.asarray(self.centre) + move).tolist()
        return replace(self, centre=(x, y))

    def project(self, points: Points) -> Points:
        """Return pixels (x, y) of points in mm (x, y, z)."""
        x = points[..., 0] + self.turn * points[..., 2]
        y = points[..., 1] - self.slope * points[..., 2]
        cosine, sine = np.cos(self.roll), np.sin(self.roll)
        flat = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
        return np.asarray(flat / self.spacing + np.asarray(self.centre))


class Bones:
    """The bones of one patient in one view, drawn one after the other."""

    def __init__(self, body: Body, view: View) -> None:
        self.body, self.view = body, view
        self.rng = np.random.default_rng(body.stream)
        self.bone = np.zeros(view.shape, np.float32)
        self.labels = np.zeros(view.shape, np.uint8)
        self._thin = 0.75 * (view.coarse_px or 1.0)
        self._wear = np.float32(1.0) + 0.30 * patches(view.shape, 9, self.rng)

    def draw(self) -> list[Points]:
        """Draw every bone; return where the right and the left sacroiliac joint run."""
        joints = self._outlines(_JOINT, 1.0, closed=False)
        self._lumbar()
        self._sacrum(joints)
        self._hips(joints)
        self._femora()
        self.bone *= self.body.density
        return joints

    def _outlines(
        self, points: Points, spread: float = 1.3, *, closed: bool = True
    ) -> list[Points]:
        """Return the outline on the patient's right and left in pixels."""
        common = self.rng.normal(0.0, spread, points.shape)
        sides = []
        for side in (-1.0, 1.0):
            own = common + self.rng.normal(0.0, 0.4 * spread, points.shape)
            shaped = self.body.shaped(points, own)
            mirrored = shaped * _FLIP if side < 0 else shaped
            sides.append(smooth_outline(self.view.project(mirrored), closed=closed))
        return sides

    def places(self, side: float, points: ArrayLike) -> Points:
        """Return the pixels of points (x, y, z in mm) of one side: -1 right, 1 left."""
        shaped = self.body.shaped(np.asarray(points, dtype=float), 0.0)
        return self.view.project(shaped * _FLIP if side < 0 else shaped)

    def size(self, length: float) -> float:
        """Return a length in mm as pixels."""
        return length * self.body.scale / self.view.spacing

    def _paint(self, cover: Field, label: PelvisLabel) -> None:
        self.labels[cover > 0.5] = label

    def _shell(self, cover: Field, core: float, rind: float, depth: float) -> None:
        """Add a bone: spongy inside, with a cortex of `depth` mm that is dense at the border."""
        thin = cover - blurred(cover, self.size(depth))
        thick = cover - blurred(cover, self.size(3.2 * depth))
        rim = cover * (np.clip(thin, 0.0, None) + 0.6 * np.clip(thick, 0.0, None))
        self.bone += core * cover + rind * self._wear * rim

    def _lumbar(self) -> None:
        """Draw L5 and as much of L4 as the film shows."""
        for level, top in (("L4", -121.0), ("L5", -82.0)):
            half = 28.0 if level == "L5" else 26.0
            body = np.array([
                (-half - 3, top, 30), (0, top + 2.5, 30), (half + 3, top, 30),
                (half - 1, top + 14, 30), (half + 3, top + 29, 30), (0, top + 31.5, 30),
                (-half - 3, top + 29, 30), (-half + 1, top + 14, 30),
            ], dtype=float)  # fmt: skip
            body = self.body.scale * (body + self.rng.normal(0.0, 0.9, body.shape))
            cover = fill(smooth_outline(self.view.project(body)), self.view.shape)
            self._shell(cover, 0.26, 0.40, 2.2)
            self._paint(cover, PelvisLabel.LUMBAR_SPINE)
            self._arch(top, half)

    def _arch(self, top: float, half: float) -> None:
        """Draw pedicles, transverse processes, facet joints and the spinous process."""
        for side in (-1.0, 1.0):
            pedicle = self.places(side, [(half - 7.0, top + 11.0, 8.0)])[0]
            stamp(self.bone, pedicle, (self.size(5.0), self.size(6.5)), 0.16, edge=0.25)
            stamp(self.bone, pedicle, (self.size(3.4), self.size(4.8)), -0.08, edge=0.3)
            process = [(half, top + 12, 5), (half + 14, top + 8, 0), (half + 27, top + 6, -4)]
            stroke(self.bone, self.places(side, process), self.size(3.8), 0.17)
            facet = [(half - 8, top + 22, -5), (half - 10, top + 34, -8)]
            stroke(self.bone, self.places(side, facet), self.size(3.2), 0.14)
        tip = self.places(1.0, [(0, top + 14, -25), (0, top + 30, -45)])
        stroke(self.bone, tip, self.size(3.0), 0.22)

    def _sacrum(self, joints: list[Points]) -> None:
        """Draw the sacrum up to the joints, its foramina and the coccyx."""
        tops = self._outlines(_SACRUM_TOP, 0.8, closed=False)
        bottoms = self._outlines(_SACRUM_BOTTOM, 0.9, closed=False)
        right = np.concatenate([tops[0], joints[0], bottoms[0]])
        left = np.concatenate([tops[1], joints[1], bottoms[1]])
        cover = fill(np.concatenate([left, right[::-1]]), self.view.shape)
        self._shell(cover, 0.40, 0.20, 2.4)
        middle = self.places(1.0, [(0, -26, 0)])[0]
        stamp(self.bone, middle, (self.size(24.0), self.size(26.0)), 0.10, edge=0.5)
        self._sacral = cover
        self._paint(cover, PelvisLabel.SACRUM)
        self._foramina()
        self._crest_and_coccyx()

    def _foramina(self) -> None:
        across = self.rng.normal(0.0, 1.2)
        for level, (x, y, z) in enumerate(_FORAMINA):
            width, height = 6.6 - 0.7 * level, 4.6 - 0.4 * level
            for side in (-1.0, 1.0):
                at = np.array([x + across, y, z]) + self.rng.normal(0.0, 0.8, 3)
                radii = (self.size(width), self.size(height))
                hole = self.places(side, at[None])[0]
                stamp(self.bone, hole, radii, -0.20, edge=0.35, angle=-0.45 * side)
                arc = self.places(side, at + _ARC * [1.25 * width, 1.1 * height, 0.0])
                stroke(self.bone, smooth_outline(arc, closed=False, steps=3), self._thin, 0.11)

    def _crest_and_coccyx(self) -> None:
        for y, z in ((-24, -45), (-4, -62), (18, -72), (40, -72)):
            ends = self.places(1.0, [(0, y - 6, z), (0, y + 5, z)])
            stroke(self.bone, ends, self.size(2.2), 0.10)
        bend = self.rng.normal(0.0, 2.0)
        beads = self.places(1.0, [(0, 95, -30), (0, 104, -22), (0, 112, -12)])
        for step, bead in enumerate(beads):
            at = bead + np.array([bend * step / 2.0, 0.0])
            stamp(self.bone, at, (self.size(7.0 - 1.6 * step), self.size(4.4)), 0.16, edge=0.3)

    def _hips(self, joints: list[Points]) -> None:
        """Draw both hip bones: ilium, acetabulum, ischium and pubis."""
        outer = self._outlines(_ILIUM)
        rings = self._outlines(_ISCHIOPUBIS)
        holes = self._outlines(_OBTURATOR)
        ilium = [fill(wing, self.view.shape) for wing in outer]
        lower = [
            np.clip(fill(ring, self.view.shape) - fill(hole, self.view.shape), 0.0, 1.0)
            for ring, hole in zip(rings, holes, strict=True)
        ]
        for part, code in zip(lower, (8, 9), strict=True):
            self._paint(part, PelvisLabel(code))
        for wing, code in zip(ilium, (4, 5), strict=True):
            free = (wing > 0.5) & (self.labels != PelvisLabel.SACRUM)
            self.labels[free] = code
        # Behind the sacrum only the thin posterior ilium lies, and its border is faint.
        upper = (ilium[0] + ilium[1]) * (1.0 - 0.60 * self._sacral)
        both = np.minimum(np.maximum(upper, lower[0] + lower[1]), 1.0)
        self._shell(self._socketed(both), 0.20, 0.62, 2.0)
        self._thick_parts(joints)

    def _socketed(self, cover: Field) -> Field:
        """Return the hip bones thinned where the femoral heads lie in front of the socket."""
        thinned = cover.copy()
        for side in (-1.0, 1.0):
            centre = self.places(side, _HEAD[None])[0]
            radius = self.size(27.8)
            stamp(thinned, centre, (radius, radius), -0.55, edge=0.045)
        return np.clip(thinned, 0.0, None) * (cover > 0.02)

    def _thick_parts(self, joints: list[Points]) -> None:
        """Draw the brim, and the bone between joint and hip that carries the weight."""
        for side, joint in zip((-1.0, 1.0), joints, strict=True):
            brim = [(60, 46, -25), (70, 58, -8), (68, 72, 6), (56, 90, 35), (36, 101, 58)]
            line = np.concatenate([joint[-1:], self.places(side, brim)])
            stroke(self.bone, smooth_outline(line, closed=False), self.size(1.6), 0.24)
            beside = joint + np.array([side * self.size(9.0), 0.0])
            stroke(self.bone, beside[::4], self.size(9.0), 0.14)
            buttress = self.places(side, [(74, 12, -25), (94, 48, 0)])
            stroke(self.bone, buttress, self.size(15.0), 0.15)
            pillar = self.places(side, [(100, -70, 10), (102, 40, 10)])
            stroke(self.bone, pillar, self.size(11.0), 0.07)
            self._acetabulum(side)

    def _acetabulum(self, side: float) -> None:
        angles = np.linspace(-0.15, 2.45, 12)
        circle = np.stack([np.cos(angles), -np.sin(angles), np.zeros(12)], axis=1)
        roof = self.places(side, _HEAD + 31.0 * circle)
        stroke(self.bone, roof[2:9], self.size(1.9), 0.34)
        stroke(self.bone, roof, self.size(1.1), 0.14)
        wall = self.places(side, [(116, 66, 0), (112, 86, -8), (104, 104, -14), (95, 120, -16)])
        stroke(self.bone, smooth_outline(wall, closed=False), self.size(1.2), 0.12)
        drop = [(67, 82, 8), (65, 96, 8), (68, 107, 8), (72, 98, 8), (72, 84, 8)]
        line = smooth_outline(self.places(side, drop), steps=3)
        stroke(self.bone, line, self.size(1.0), 0.16)

    def _femora(self) -> None:
        """Draw heads, necks and shafts of the femora."""
        shafts = self._outlines(_FEMUR)
        covers = []
        for side, shaft, code in zip((-1.0, 1.0), shafts, (10, 11), strict=True):
            head = np.zeros(self.view.shape, np.float32)
            radius = self.size(25.0)
            centre = self.places(side, _HEAD[None])[0]
            stamp(head, centre, (radius, radius), 1.0, edge=0.05)
            cover = np.maximum(fill(shaft, self.view.shape), head)
            self._paint(cover, PelvisLabel(code))
            covers.append(cover)
            neck = self.places(side, np.stack([_HEAD, np.array((132.0, 116.0, 2.0))]))
            stroke(self.bone, neck, self.size(9.0), 0.10)
        self._shell(np.minimum(covers[0] + covers[1], 1.0), 0.36, 0.46, 2.6)
