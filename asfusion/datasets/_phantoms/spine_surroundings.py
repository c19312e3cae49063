"""What lies around the bones on a phantom radiograph of the neck or the lower back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asfusion.datasets._phantoms.film import Field, fill, smooth_outline, soft_step, stamp, stroke
from asfusion.datasets._phantoms.spine_bones import Drawing, Vertebra

_CREST = np.array([(-58, 130), (-66, 90), (-62, 52), (-42, 18), (-8, 0), (25, 6), (45, 30),
                   (52, 70), (46, 120)], dtype=float)  # fmt: skip


def lumbar_surroundings(draw: Drawing, bmi: float, rng: np.random.Generator) -> Field:
    """Return what lies around the lumbar spine: tissue, lung, ribs, iliac crests, gas."""
    height, width = draw.shape
    mm = draw.spacing
    x = (np.arange(width)[None, :] + 0.5 - _curve_x(draw.spine, draw.shape)) * mm
    y = draw.heights()
    excess = (bmi - 22.0) / 10.0
    back = 78.0 + 10.0 * excess
    tissue = 1.05 * soft_step((back - x) / 7.0) * np.sqrt(np.clip(1.0 - (x / 200.0) ** 2, 0.1, 1.0))
    tissue += 0.10 * excess * soft_step((y - 0.4) / 0.4) + 0.22 * soft_step((y - 0.72) / 0.10)
    dome = rng.uniform(0.06, 0.16) + 0.0009 * x
    tissue -= 0.34 * soft_step((dome - y) / 0.015) * soft_step((60.0 - np.abs(x)) / 25.0)
    # The two iliac crests lie over L5 and do not quite coincide.
    top = draw.spine[5].at([0.0, draw.spine[5].height * rng.uniform(0.2, 0.7)])
    for _ in range(2):
        shift = rng.normal(0.0, 4.0, 2) / mm
        line = smooth_outline(top + shift - _CREST * [1.0 / mm, -1.0 / mm], closed=False)
        stroke(draw.bone, line, 1.5 / mm, 0.16)
        cover = fill(
            np.concatenate([line, [[line[-1, 0], height], [line[0, 0], height]]]), draw.shape
        )
        tissue += 0.11 * cover
    for level in (0, 1):
        start = draw.spine[level].at([-draw.spine[level].depth / 2.0 - 4.0, -4.0])
        rib = start + np.array([(0, 0), (-20, 10), (-48, 34), (-70, 62)]) / mm
        stroke(draw.bone, smooth_outline(rib, closed=False), 2.6 / mm, 0.09)
    for _ in range(int(rng.poisson(5.0))):
        place = np.array([rng.uniform(0.02, 0.38) * width, rng.uniform(0.25, 0.9) * height])
        radii = (rng.uniform(6.0, 15.0) / mm, rng.uniform(5.0, 12.0) / mm)
        stamp(tissue, place, radii, -rng.uniform(0.10, 0.28), edge=0.2, angle=rng.uniform(0.0, 3.0))
    return np.asarray(tissue)


def cervical_surroundings(draw: Drawing, bmi: float, rng: np.random.Generator) -> Field:
    """Return what lies around the cervical spine: neck, airway, skull base, jaw, shoulders."""
    width = draw.shape[1]
    mm = draw.spacing
    x = (np.arange(width)[None, :] + 0.5 - _curve_x(draw.spine, draw.shape)) * mm
    y = draw.heights()
    thick = 1.0 + 0.10 * (bmi - 22.0) / 10.0
    back, front = 52.0 * thick, -52.0 * thick
    chin = 26.0 * soft_step((0.24 - y) / 0.05)
    neck = soft_step((back - x) / 2.5) * soft_step((x - front + chin) / 2.5)
    tissue = 0.75 * thick * neck
    # Air in the throat and windpipe, in front of the tissue before the vertebrae.
    gap = 13.0 + 9.0 * soft_step((y - 0.55) / 0.06)
    tissue -= 0.34 * soft_step((7.0 - np.abs(x + gap + 9.0)) / 1.6) * soft_step((y - 0.10) / 0.05)
    shoulder = rng.uniform(0.80, 0.90) - 0.0006 * x
    tissue += rng.uniform(0.5, 0.9) * soft_step((y - shoulder) / 0.06)
    first = draw.spine[0]
    base = first.at([(28, -22), (10, -17), (-8, -15), (-24, -19), (-46, -30)])
    stroke(draw.bone, smooth_outline(base, closed=False), 2.0 / mm, 0.32)
    skull = np.concatenate([smooth_outline(base, closed=False), [[width, -5.0], [0.0, -5.0]]])
    tissue += 0.30 * fill(skull, draw.shape)
    jaw = first.at([(22, -18), (26, 6), (31, 22), (52, 30), (74, 33)])
    for shift in rng.normal(0.0, 2.0, (2, 2)):
        stroke(draw.bone, smooth_outline(jaw, closed=False) + shift / mm, 3.6 / mm, 0.16)
    hyoid = draw.spine[2].at([(26, 8), (36, 12), (42, 13)])
    stroke(draw.bone, hyoid, 1.4 / mm, 0.16)
    ring = first.at([(-2, 0), (6.0, 0)])
    stroke(draw.bone, ring + first.at([3.0, 2.0]) - first.centre, 3.0 / mm, 0.18)
    dens = draw.spine[1].at([(-1, -8), (0, -20), (-1, -27)])
    stroke(draw.bone, dens, 3.2 / mm, 0.24)
    return np.asarray(tissue)


def shuttered(shape: tuple[int, int], rng: np.random.Generator) -> tuple[NDArray[np.bool_], Field]:
    """Return the exposed field of a fine film and a soft-edged version of it."""
    left, right, top, bottom = rng.uniform(0.0, 0.05, 4) * (rng.random(4) < 0.6)
    x = (np.arange(shape[1], dtype=np.float32)[None, :] + 0.5) / shape[1]
    y = (np.arange(shape[0], dtype=np.float32)[:, None] + 0.5) / shape[0]
    depth = np.minimum(np.minimum(x - left, 1.0 - right - x), np.minimum(y - top, 1.0 - bottom - y))
    return np.asarray(depth > 0.0), soft_step(depth / 0.003)


def _curve_x(spine: list[Vertebra], shape: tuple[int, int]) -> Field:
    """Return the column of the spine's axis at every row."""
    axis = np.stack([bone.centre for bone in spine])
    rows = np.arange(shape[0]) + 0.5
    return np.asarray(np.interp(rows, axis[:, 1], axis[:, 0])[:, None])
