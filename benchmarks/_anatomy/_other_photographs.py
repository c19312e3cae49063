"""A second model of photographs, to judge what was learned from `imaging.photographs.degrade`.

Written apart from the library's, and other in each part: lenses are bent and films curl, so
that no homography tells the geometry; corners are pulled one by one; what surrounds a film is a
window, a desk or a wall of random waves; shadows and reflections are clouds, not lamps; stripes
come from sampling a grid that is too fine, instead of from a formula for their beat; a matrix
mixes the colours; noise is of the finished picture; it is shrunk, grown and sent twice.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

LONG, SHORT = 512, 384


def photograph_otherwise(film: np.ndarray, severity: int, seed: int) -> np.ndarray:
    """Return a photograph (3, H, W) of a film (C, H, W), uint8; severity 1 to 5."""
    return photograph_with_places(film, severity, seed)[0]


def photograph_with_places(
    film: np.ndarray, severity: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a photograph, and where on the film its pixels look: (2, H, W), x first, in pixels."""
    rng, bad = np.random.default_rng([seed, 77]), severity / 5.0
    shape = (LONG, SHORT) if rng.random() < 0.7 else (SHORT, LONG)
    kind = rng.choice(["window", "desk", "screen"])
    u, v = _film_places(film.shape[1:], shape, bad, rng)
    picture = _hung(film, u, v, _surroundings(shape, kind, rng), kind, bad, rng)
    if kind == "screen":
        picture *= _sampled_grid(u, v, bad, rng)
    picture = _lit(picture, bad, rng)
    picture = _covered(picture, bad, rng)
    picture = _shaken(picture, bad, rng)
    picture = _coloured(picture, bad, rng)
    return _sent(picture, bad, rng), np.stack([u * film.shape[2], v * film.shape[1]])


def _film_places(
    film: tuple[int, ...], shape: tuple[int, int], bad: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return where on the film, from 0 to 1 across and down, each pixel looks."""
    ratio = film[1] / film[0]
    half = 0.5 * np.array([min(shape[1], shape[0] * ratio), min(shape[0], shape[1] / ratio)])
    half = half * (0.96 - 0.32 * bad * rng.random())
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    angle = np.deg2rad(12.0) * bad * rng.normal() * 0.6
    spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pulled = 0.09 * bad * half.mean() * rng.uniform(-1, 1, (4, 2))
    middle = np.array(shape[::-1]) / 2 + 0.05 * bad * min(shape) * rng.uniform(-1, 1, 2)
    corners = corners @ spin.T + pulled + middle
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64) + 0.5
    bend = 0.06 * bad * rng.uniform(-1, 1)
    across, down = (x - shape[1] / 2) / shape[1], (y - shape[0] / 2) / shape[1]
    away = 1 + bend * (across**2 + down**2)
    x, y = shape[1] / 2 + across * away * shape[1], shape[0] / 2 + down * away * shape[1]
    rows = []
    for (px, py), (a, b) in zip(corners, [(0, 0), (1, 0), (1, 1), (0, 1)], strict=True):
        rows += [[px, py, 1, 0, 0, 0, -a * px, -a * py, -a],
                 [0, 0, 0, px, py, 1, -b * px, -b * py, -b]]  # fmt: skip
    matrix = np.linalg.svd(np.array(rows))[2][-1].reshape(3, 3)
    depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    u = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / depth
    v = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / depth
    curl = 0.05 * bad * rng.uniform(-1, 1, 2)
    return u + curl[0] * (v * (1 - v)), v + curl[1] * (u * (1 - u))


def _clouds(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth random field between 0 and 1."""
    coarse = Image.fromarray(rng.random((cells + 1, cells + 1)).astype(np.float32))
    fine = np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC), np.float64)
    return (fine - fine.min()) / max(np.ptp(fine), 1e-6)


def _surroundings(shape: tuple[int, int], kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return (3, H, W) from 0 to 1."""
    tint = rng.uniform(0.75, 1.0, 3)[:, None, None]
    if kind == "window":  # daylight, darker towards the ground, with bars of the frame
        sky = 0.8 + 0.2 * _clouds(shape, 3, rng)
        sky = sky * np.linspace(1.0, rng.uniform(0.5, 0.9), shape[0])[:, None]
        at = int(rng.uniform(0.0, 0.12) * shape[1])
        sky[:, at : at + int(0.05 * shape[1])] *= 0.25
        return sky * (0.5 + 0.5 * tint)
    if kind == "desk":
        grain = np.sin(40 * _clouds(shape, 4, rng) + np.linspace(0, 60, shape[0])[:, None])
        return np.clip((0.35 + 0.05 * grain + 0.25 * _clouds(shape, 2, rng)) * tint, 0, 1)
    return np.ones((3, *shape)) * rng.uniform(0.02, 0.35) * tint


def _hung(
    film: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    around: np.ndarray,
    kind: str,
    bad: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the film before its surroundings, with a rim and scratches."""
    height, width = film.shape[1:]
    grey = np.broadcast_to(film, (3, height, width)) / 255.0
    places = [v * height - 0.5, u * width - 0.5]
    seen = np.stack([map_coordinates(p, places, order=1, mode="nearest") for p in grey])
    if kind != "screen":  # light falls through what is dark, too
        seen = 0.06 * rng.random() + seen * rng.uniform(0.7, 1.0)
        seen *= around * 0.6 + 0.4 * around.mean()
    for _ in range(rng.poisson(2 * bad)):  # scratches and folds, along the film
        line = np.cos(a := rng.uniform(0, np.pi)) * u + np.sin(a) * v - rng.random()
        fold = np.exp(-((line / rng.uniform(0.001, 0.004)) ** 2))
        seen = seen + rng.choice([-0.3, 0.35]) * bad * fold
    inside = np.clip(np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)) * width + 0.5, 0, 1)
    return around * (1 - inside) + seen * inside


def _sampled_grid(u: np.ndarray, v: np.ndarray, bad: float, rng: np.random.Generator) -> np.ndarray:
    """Return a screen of three-coloured cells as too few samples see it."""
    cells = rng.uniform(0.85, 1.15) * SHORT
    colour = [np.abs((u * cells + k / 3) % 1 - 0.5) < 0.25 for k in range(3)]
    lines = (v * cells) % 1 < 0.8
    grid = gaussian_filter(np.stack(colour).astype(float) * lines, (0, 0.6, 0.6))
    return 1 + bad * 0.8 * rng.random() * (grid / grid.mean() - 1)


def _lit(picture: np.ndarray, bad: float, rng: np.random.Generator) -> np.ndarray:
    """Return a picture with clouds of shade and of reflected light."""
    shape = picture.shape[1:]
    shade = 1 - 0.6 * bad * rng.random() * _clouds(shape, 2, rng)
    shine = np.clip(_clouds(shape, 4, rng) - rng.uniform(0.6, 0.9), 0, None)
    colour = rng.uniform(0.7, 1.0, 3)[:, None, None]
    haze = 0.25 * bad * rng.random()
    return picture * shade * (1 - haze) + haze + 3.0 * bad * rng.random() * colour * shine


def _covered(picture: np.ndarray, bad: float, rng: np.random.Generator) -> np.ndarray:
    """Return a picture with thumbs, notes and clips before it."""
    height, width = picture.shape[1:]
    y, x = np.mgrid[:height, :width]
    for _ in range(rng.poisson(0.8 * bad)):
        side, size = rng.integers(4), rng.uniform(0.05, 0.12) * width
        at = [(0.0, rng.random()), (1.0, rng.random()), (rng.random(), 0.0), (rng.random(), 1.0)]
        cx, cy = at[side][0] * width, at[side][1] * height
        inside = ((x - cx) / size) ** 2 + ((y - cy) / (1.4 * size)) ** 2 < 1
        skin = rng.uniform(0.15, 0.9) * np.array([1.0, 0.75, 0.62])
        picture = np.where(inside, skin[:, None, None], picture)
    if rng.random() < 0.5 * bad:
        top, left = rng.random(2) * (0.85 * height, 0.8 * width)
        inside = (y > top) & (y < top + 0.09 * height) & (x > left) & (x < left + 0.16 * width)
        paper = np.array([0.95, 0.93, rng.uniform(0.4, 0.9)])
        picture = np.where(inside, paper[:, None, None], picture)
    return picture


def _shaken(picture: np.ndarray, bad: float, rng: np.random.Generator) -> np.ndarray:
    """Return a picture along a walk of the hand, and out of focus."""
    steps = np.cumsum(rng.normal(0, 0.9 * bad, (6, 2)), axis=0)
    whole = np.rint(steps - steps.mean(axis=0)).astype(int)
    walked = np.mean([np.roll(picture, step, axis=(1, 2)) for step in whole], axis=0)
    return gaussian_filter(walked, (0, *[2.2 * bad * rng.random()] * 2), truncate=3.0)


def _coloured(picture: np.ndarray, bad: float, rng: np.random.Generator) -> np.ndarray:
    """Return a picture with mixed colours, another curve, noise in fine and in coarse."""
    mix = np.eye(3) + 0.14 * bad * rng.normal(size=(3, 3))
    exposed = picture * (0.42 / picture.mean()) ** 0.7
    mixed = np.einsum("ij,jhw->ihw", mix, exposed)
    curve = np.exp(0.5 * bad * rng.normal())
    toned = np.clip(mixed * np.exp(0.35 * bad * rng.normal()), 0, 1) ** curve
    fine = rng.normal(0, 0.07 * bad * rng.random(), toned.shape)
    coarse = np.stack([_clouds(toned.shape[1:], 60, rng) - 0.5 for _ in range(3)])
    return np.clip(toned + fine + 0.1 * bad * rng.random() * coarse, 0, 1)


def _sent(picture: np.ndarray, bad: float, rng: np.random.Generator) -> np.ndarray:
    """Return a picture as it arrives after being shrunk and sent twice."""
    image = Image.fromarray(np.rint(255 * picture.transpose(1, 2, 0)).astype(np.uint8))
    size = image.size
    for share in (1 - 0.55 * bad * rng.random(), 1.0):
        image = image.resize([max(32, round(share * n)) for n in size], Image.Resampling.BICUBIC)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(90 - 55 * bad * rng.random()))
        image = Image.open(file).convert("RGB")
    return np.asarray(image).transpose(2, 0, 1).copy()
