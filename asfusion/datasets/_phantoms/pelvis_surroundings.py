"""What lies over the bones on a phantom radiograph of the pelvis: tissue, gas, lead, shutters."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from asfusion.datasets._phantoms.film import Field, Points, soft_step, stamp, stroke, window
from asfusion.datasets._phantoms.pelvis_bones import Body, View

_LETTERS: Final[dict[str, list[list[tuple[float, float]]]]] = {
    "R": [[(0, 1), (0, 0), (0.6, 0), (0.75, 0.25), (0.6, 0.5), (0, 0.5)], [(0.3, 0.5), (0.75, 1)]],
    "L": [[(0, 0), (0, 1), (0.65, 1)]],
}


def soft_tissue(body: Body, view: View, rng: np.random.Generator) -> tuple[Field, Field]:
    """Return attenuation and cover of the soft tissue."""
    height, width = view.shape
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5 - view.centre[0]) * view.spacing
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5 - view.centre[1]) * view.spacing
    excess = (body.bmi - 22.0) / 10.0
    if view.coarse_px is not None:  # fat lies elsewhere in each body
        excess *= rng.uniform(0.6, 1.7)
    hip = (178.0 if body.female else 170.0) * body.scale + 26.0 * excess
    waist = 0.86 + 0.06 * excess
    half = hip * (waist + (1.0 - waist) * soft_step((y - 10.0) / 60.0))
    across = np.abs(x) / half
    cover = soft_step((1.0 - across) * 30.0)
    thick = np.sqrt(np.clip(1.0 - across**2.4, 0.0, 1.0))
    legs = soft_step((y - 176.0 - 1.6 * np.abs(x)) / 9.0)
    cover = cover * (1.0 - 0.8 * legs * (body.bmi < 29.0))
    tissue = 0.85 * thick * (1.0 - 0.5 * legs)
    tissue += 0.10 * np.exp(-(x**2 + (y - 92.0) ** 2) / 38.0**2)  # bladder
    psoas = 34.0 + 0.30 * (y + 110.0)
    tissue += 0.05 * soft_step((psoas - np.abs(x)) / 3.0) * soft_step((40.0 - y) / 40.0)
    belly = rng.normal(-35.0, 15.0)
    tissue += 0.16 * max(excess, 0.0) * np.exp(-(((y - belly) / 85.0) ** 2)) * thick
    fold = 62.0 + rng.normal(0.0, 10.0) + x**2 / 900.0
    tissue += 0.09 * max(excess - 0.5, 0.0) * soft_step((fold * 0.6 + 20.0 - y) / 4.0) * thick
    return np.asarray(tissue * cover), np.asarray(cover)


def bowel(view: View, texture: Field, rng: np.random.Generator) -> Field:
    """Return the attenuation that gas takes away and stool adds."""
    gas = np.zeros(view.shape, np.float32)
    mm = 1.0 / view.spacing
    amount = rng.gamma(2.2, 1.0) if view.coarse_px is None else min(rng.gamma(1.3, 1.9), 8.0)
    places = np.array([(-95, -55), (95, -45), (-70, 0), (65, 15), (0, 10), (10, 60), (-30, -80),
                       (40, -75)], dtype=float)  # fmt: skip
    for _ in range(int(rng.poisson(2.2 * amount))):
        place = places[rng.integers(len(places))] + rng.normal(0.0, 20.0, 2)
        start = np.asarray(view.centre) + place * mm
        _loop(gas, start, rng.uniform(0.0, 2.0 * np.pi), rng.uniform(6.0, 15.0) * mm, rng)
    stool = np.zeros(view.shape, np.float32)
    for _ in range(int(rng.poisson(1.0))):
        place = places[rng.integers(len(places))] + rng.normal(0.0, 20.0, 2)
        radii = (rng.uniform(16.0, 28.0) * mm, rng.uniform(20.0, 40.0) * mm)
        stamp(stool, np.asarray(view.centre) + place * mm, radii, 1.0, edge=0.3)
    return np.asarray(-0.30 * gas + 0.06 * stool * texture - 0.03 * stool)


def _loop(canvas: Field, start: Points, turn: float, size: float, rng: np.random.Generator) -> None:
    """Add a loop of bowel filled with gas, as a chain of rounded pouches."""
    steps = int(rng.integers(2, 7))
    heading = turn + np.cumsum(rng.normal(0.0, 0.45, steps))
    stride = 1.05 * size
    path = start + stride * np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)
    sizes = size * rng.uniform(0.75, 1.15, steps)
    crop, x, y = window(
        path.min(0) - 1.6 * size, path.max(0) + 1.6 * size, canvas.shape
    )  # fmt: skip
    near = np.full((y.size, x.size), 9.0, np.float32)
    for (px, py), radius in zip(path, sizes, strict=True):
        near = np.minimum(near, np.sqrt((x - px) ** 2 + (y - py) ** 2) / radius)
    inside = soft_step((1.0 - near) / 0.16)
    depth = np.sqrt(np.clip(1.0 - 0.75 * np.minimum(near, 1.0) ** 2, 0.0, 1.0))
    canvas[crop] = np.maximum(canvas[crop], rng.uniform(0.5, 1.0) * inside * depth)


def lead_marker(view: View, site: int, rng: np.random.Generator) -> Field:
    """Return the lead letter of the side, where this site puts it, or nothing."""
    lead = np.zeros(view.shape, np.float32)
    habit = np.random.default_rng((104_729, site))
    letter = "R" if habit.random() < 0.5 else "L"
    high, size = habit.choice([0.10, 0.80]), habit.uniform(0.05, 0.075)
    if habit.random() < 0.15 or rng.random() < 0.1:
        return lead
    height, width = view.shape
    column = (0.07 if letter == "R" else 0.86) * width + rng.normal(0.0, 0.01) * width
    corner = np.array([column, (high + rng.normal(0.0, 0.015)) * height])
    for line in _LETTERS[letter]:
        # Lead letters are as large as they are, however large the field is.
        tall = height if view.coarse_px is None else 224.0 * view.coarse_px
        stroke(lead, corner + np.asarray(line) * size * tall, 0.009 * tall, 1.0)
    return np.asarray(np.minimum(lead, 1.0))


def collimated(view: View, site: int, rng: np.random.Generator) -> tuple[NDArray[np.bool_], Field]:
    """Return the exposed field and a soft-edged version of it."""
    habit = np.random.default_rng((15_485_863, site))
    tight = habit.uniform(0.0, 0.035)
    height, width = view.shape
    left, right, top, bottom = rng.uniform(0.0, 0.02, 4) + tight * rng.uniform(0.3, 1.0, 4)
    if view.coarse_px is not None and rng.random() < 0.5:
        left, right, top, bottom = np.array([left, right, top, bottom]) + rng.uniform(0, 0.045, 4)
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / width
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height
    x, y = x + rng.normal(0.0, 0.004) * (y - 0.5), y + rng.normal(0.0, 0.004) * (x - 0.5)
    depth = np.minimum(np.minimum(x - left, 1.0 - right - x), np.minimum(y - top, 1.0 - bottom - y))
    return np.asarray(depth > 0.0), soft_step(depth / 0.004)
