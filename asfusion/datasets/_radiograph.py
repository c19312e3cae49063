"""Drawn pelvic radiographs: enough anatomy that a network has to look at the right place.

Coordinates: x from -1 (the image's left) to 1, y from -1 (top) to 1; lengths in half widths.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.floating[Any]]

SIZE = 128  # pixels
GRADES = range(5)  # 0 normal to 4 ankylosis, as the modified New York criteria count
_TOP, _BOTTOM = -0.52, 0.42  # ends of the sacroiliac joints


def draw_pelvis(
    grades: tuple[int, int], anatomy: np.random.Generator, exposure: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw a pelvis from the front.

    Parameters
    ----------
    grades : tuple of two int
        Grade of sacroiliitis (0 to 4, unitless) on the image's left and right.
    anatomy : Generator
        Draws what belongs to the patient; equal streams give equal bones.
    exposure : Generator
        Draws what belongs to the visit: position, exposure, noise and erosions.

    Returns
    -------
    ndarray of shape (128, 128), uint8
        Bright is dense.
    """
    x, y = _placed_grid(exposure)
    bones = _Anatomy(anatomy)
    picture = 0.30 * np.exp(-((x / 1.05) ** 2 + (y / 1.5) ** 2))
    picture += bones.draw(x, y)
    for side, grade in zip((-1.0, 1.0), grades, strict=True):
        picture += _joint(side * x, y, bones.joint_place, grade, exposure)
    return _exposed(picture, exposure)


def _joint_line(y: Pixels, place: float) -> Pixels:
    """Return how far from the middle the sacroiliac joint runs at height y."""
    return np.asarray(place - 0.22 * np.clip(y + 0.1, 0.0, None) + 0.025 * np.sin(5.0 * y))


class _Anatomy:
    """Sizes and places that differ between patients and not between visits."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.joint_place = float(rng.normal(0.40, 0.02))
        self.wing = rng.normal([0.55, -0.18, 0.50, 0.60], 0.02)
        self.pubis = rng.normal([0.34, 0.92, 0.26, 0.20], 0.015)
        self.density = rng.normal(1.0, 0.08)
        self.foramina = rng.normal(0.15, 0.012)
        self.bowel = rng.uniform([-0.8, -0.9, 0.12], [0.8, 0.1, 0.28], size=(3, 3))

    def draw(self, x: Pixels, y: Pixels) -> Pixels:
        """Return what bones and bowel gas add to the picture."""
        across = np.abs(x)
        line = _joint_line(y, self.joint_place)
        cx, cy, rx, ry = self.wing
        crest = 1.0 - np.sqrt(((across - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)
        wing = np.minimum(crest, 2.0 * (across - line + 0.015))
        out = 0.20 * _soft(wing, 0.05) + 0.08 * _ridge(crest, 0.05) * _soft(across - 0.45, 0.1)
        sacrum = np.minimum(line + 0.015 - across, np.minimum(y + 0.60, 0.74 - y))
        out += 0.20 * _soft(sacrum, 0.03)
        pubis_x, pubis_y, wide, high = self.pubis
        ring = 1.0 - np.sqrt(((across - pubis_x) / wide) ** 2 + ((y - pubis_y) / high) ** 2)
        out += 0.16 * _ridge(ring, 0.20)
        for level in (-0.36, -0.12, 0.12, 0.33):
            hole = ((across - self.foramina) / 0.045) ** 2 + ((y - level) / 0.04) ** 2
            out -= 0.10 * np.exp(-hole)
        vertebra = np.minimum(0.22 - across, -0.66 - y)
        out += 0.20 * _soft(vertebra, 0.02)
        socket = 0.24 - np.sqrt((across - 0.78) ** 2 + (y - 0.66) ** 2)
        out += 0.14 * _soft(socket, 0.02) + 0.10 * _ridge(socket, 0.02)
        for gas_x, gas_y, radius in self.bowel:
            out -= 0.05 * np.exp(-((x - gas_x) ** 2 + (y - gas_y) ** 2) / radius**2)
        return np.asarray(float(self.density) * out)


def _joint(x: Pixels, y: Pixels, place: float, grade: int, rng: np.random.Generator) -> Pixels:
    """Return what one joint adds, on the side where x is positive."""
    distance = x - _joint_line(y, place)
    along = _soft(np.minimum(y - _TOP, _BOTTOM - y), 0.04)
    # The gap: narrow and sharp, then blurred, then bridged.
    depth = (0.26, 0.24, 0.20, 0.14, 0.04)[grade] * rng.uniform(0.8, 1.2)
    width = (0.022, 0.024, 0.031, 0.036, 0.028)[grade] * rng.uniform(0.85, 1.15)
    out = -depth * along * np.exp(-0.5 * (distance / width) ** 2)
    # Sclerosis: a dense border, on the iliac side more.
    dense = (0.02, 0.035, 0.075, 0.12, 0.13)[grade] * rng.uniform(0.7, 1.3)
    spread = 0.035 + 0.012 * grade
    out += dense * along * np.exp(-0.5 * ((distance - 1.4 * spread) / spread) ** 2)
    out += 0.6 * dense * along * np.exp(-0.5 * ((distance + 1.4 * spread) / spread) ** 2)
    # Erosions: pits along the border, lost again when the joint has fused.
    for _ in range(rng.poisson((0.1, 0.5, 2.5, 4.0, 1.0)[grade])):
        level = rng.uniform(_TOP + 0.1, _BOTTOM - 0.08)
        at = float(_joint_line(np.asarray(level), place)) + rng.normal(0.03, 0.02)
        size = rng.uniform(0.018, 0.034)
        out -= 0.13 * np.exp(-((x - at) ** 2 + (y - level) ** 2) / (2.0 * size**2))
    return np.asarray(out)


def _placed_grid(rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Return coordinates of the pixels for a patient who does not lie quite straight."""
    steps = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * 2.0 - 1.0
    x, y = np.meshgrid(steps, steps)
    angle, scale, right, down = rng.normal([0.0, 1.0, 0.0, 0.0], 0.03).tolist()
    cosine, sine = float(np.cos(angle)) / scale, float(np.sin(angle)) / scale
    return cosine * x - sine * y + right, sine * x + cosine * y + down


def _ridge(inside: Pixels, width: float) -> Pixels:
    """Return a bright rim along the border of a shape."""
    return np.asarray(np.exp(-((inside / width) ** 2)))


def _soft(inside: Pixels, edge: float) -> Pixels:
    """Return 1 where `inside` is positive and 0 where negative, over a soft edge."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(inside / edge, -40, 40) * 2.0)))


def _exposed(picture: Pixels, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return grey values, brighter or darker from visit to visit, with noise."""
    gain, offset, gamma = rng.normal([1.0, 0.06, 1.0], [0.10, 0.03, 0.10])
    light = np.clip(gain * np.clip(picture, 0, None) + offset, 0, None) ** gamma
    coarse = np.kron(rng.normal(size=(SIZE // 2, SIZE // 2)), np.ones((2, 2)))
    light = light + 0.018 * rng.normal(size=picture.shape) + 0.012 * coarse
    return np.asarray(np.clip(light * 255.0, 0, 255), dtype=np.uint8)
