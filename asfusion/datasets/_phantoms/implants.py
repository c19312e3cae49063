"""Metal in phantom patients: prostheses of the hip, coils, clips, and screws of the spine."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from asfusion.datasets._phantoms.film import Field, Points, smooth_outline, stamp, stroke
from asfusion.datasets._phantoms.pelvis_bones import Bones
from asfusion.datasets._phantoms.spine_bones import Drawing

# A prosthesis of the patient's left hip: x, y, z in mm.
_CUP, _BALL = 25.5, 16.0
_HEAD = np.array((95.0, 88.0, 10.0))
_STEM = np.array([(99, 92, 8), (112, 104, 4), (122, 116, 0), (128, 138, -2), (131, 170, -2),
                  (132, 214, -2)], dtype=float)  # fmt: skip
_COIL = ([(-15, -15), (0, -13), (15, -15)], [(0, -13), (0, 19)])
_LEVELS = (-110.0, -71.0, -30.0)  # L4, L5 and S1: the height of their pedicles, mm
_OPAQUE, _MOST = 4.0, 2.6  # attenuation of the middle of a part, and at most


@dataclass(frozen=True)
class Implants:
    """What a patient carries; it has nothing to do with the disease.

    Parameters
    ----------
    hips : tuple of two bool
        Prosthesis of the right and of the left hip.
    coil : bool
        An intrauterine coil.
    clips : int
        Number of surgical clips.
    levels : int
        Vertebrae with screws, from L5 and S1 upwards; 0 for none.
    seed : int
        Seeds where each thing lies, the same on every film of the patient.
    """

    hips: tuple[bool, bool] = (False, False)
    coil: bool = False
    clips: int = 0
    levels: int = 0
    seed: int = field(default=0, repr=False)

    @classmethod
    def draw(cls, *, female: bool, age: float, rng: np.random.Generator) -> Implants:
        """Return what a patient of this age carries; the shares are assumed."""
        share = 0.015 + 0.004 * max(age - 45.0, 0.0)
        right, left = (rng.random(2) < share).tolist()
        coil = bool(female and age < 50.0 and rng.random() < 0.10)
        clips = int(rng.integers(2, 7)) if rng.random() < 0.05 else 0
        levels = int(rng.integers(2, 4)) if rng.random() < 0.03 else 0
        return cls((right, left), coil, clips, levels, int(rng.integers(2**31)))

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return any(self.hips) or self.coil or self.clips > 0 or self.levels > 0


def metal_in_pelvis(implants: Implants, bones: Bones) -> Field:
    """Return the attenuation of metal on a film of the pelvis."""
    metal = np.zeros(bones.view.shape, np.float32)
    rng = np.random.default_rng(implants.seed)
    for side, there in zip((-1.0, 1.0), implants.hips, strict=True):
        if there:
            _prosthesis(metal, bones, side)
    if implants.coil:
        _coil(metal, bones, rng)
    for _ in range(implants.clips):
        _clip(metal, bones, rng)
    for level in _LEVELS[len(_LEVELS) - implants.levels :] if implants.levels else ():
        for side in (-1.0, 1.0):
            screw = bones.places(side, [(24.0, level, 5.0), (15.0, level + 2.0, 25.0)])
            stroke(metal, screw, bones.size(2.4), _OPAQUE)
    if implants.levels:
        for side in (-1.0, 1.0):
            ends = (_LEVELS[-implants.levels] - 6.0, _LEVELS[-1] + 6.0)
            rod = bones.places(side, [(23.0, end, -20.0) for end in ends])
            stroke(metal, rod, bones.size(2.0), _OPAQUE)
    return np.minimum(metal, _MOST)


def metal_in_spine(implants: Implants, draw: Drawing) -> Field:
    """Return the attenuation of metal on a lateral film of the lumbar spine."""
    metal = np.zeros(draw.shape, np.float32)
    if not implants.levels:
        return metal
    mm = draw.spacing
    heads = []
    for bone in draw.spine[8 - implants.levels : 8]:
        w, h = bone.depth / 2.0, bone.height / 2.0
        head = bone.at([-w - 16.0, -0.4 * h])
        stroke(metal, np.stack([head, bone.at([0.45 * w, -0.3 * h])]), 1.9 / mm, _OPAQUE)
        stamp(metal, head, (5.0 / mm, 4.0 / mm), _OPAQUE, edge=0.1)
        heads.append(head)
    stroke(metal, np.stack(heads), 2.0 / mm, _OPAQUE)
    return np.minimum(metal, _MOST)


def _prosthesis(metal: Field, bones: Bones, side: float) -> None:
    centre = bones.places(side, _HEAD[None])[0]
    angles = np.linspace(-0.35, 2.55, 14)
    cup = np.stack([np.cos(angles), -np.sin(angles), np.zeros(14)], axis=1)
    stroke(metal, bones.places(side, _HEAD + _CUP * cup), bones.size(1.8), _OPAQUE)
    stamp(metal, centre, (bones.size(_BALL),) * 2, _OPAQUE, edge=0.03)
    stem = smooth_outline(bones.places(side, _STEM), closed=False)
    for width, part in ((5.5, stem[:18]), (4.2, stem[10:22]), (3.2, stem[18:])):
        stroke(metal, part, bones.size(width), _OPAQUE)


def _coil(metal: Field, bones: Bones, rng: np.random.Generator) -> None:
    turn, at = rng.normal(0.0, 0.5), np.array([0.0, 84.0]) + rng.normal(0.0, 9.0, 2)
    for line in _COIL:
        stroke(metal, _turned(bones, np.array(line, dtype=float), turn, at), bones.size(0.8), 0.9)


def _clip(metal: Field, bones: Bones, rng: np.random.Generator) -> None:
    at = np.array([rng.uniform(-80.0, 80.0), rng.uniform(-90.0, 110.0)])
    line = np.array([(-3.0, 0.0), (3.0, 0.0)])
    stroke(metal, _turned(bones, line, rng.uniform(0.0, np.pi), at), bones.size(0.7), 1.1)


def _turned(bones: Bones, line: Points, turn: float, at: Points) -> Points:
    """Return the pixels of a flat shape (mm) after turning and moving it."""
    cosine, sine = np.cos(turn), np.sin(turn)
    flat = line @ np.array([[cosine, sine], [-sine, cosine]]) + at
    return bones.places(1.0, np.column_stack([flat, np.zeros(len(flat))]))
