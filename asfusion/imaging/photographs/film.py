"""What was done to a film, and what it hangs on: creases, paper, light boxes, monitors.

Pictures are grey levels (3, H, W) as uint8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion.imaging.photographs._draws import Draws

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Pixels = NDArray[np.uint8]


def crease(film: Pixels, draws: Draws) -> Pixels:
    """Return a film with folds: a bright ridge with a dark side."""
    rng, (height, width) = draws.stream("creases"), film.shape[1:]
    y = (np.arange(height, dtype=np.float32) / max(height, width))[:, None]
    x = np.arange(width, dtype=np.float32) / max(height, width)
    shading = np.zeros((height, width), np.float32)
    for _ in range(3):
        if draws.happens(rng, 0.6):
            angle, thin = rng.uniform(0.0, np.pi), rng.uniform(0.002, 0.006)
            off = (x - rng.random()) * np.cos(angle) + (y - rng.random()) * np.sin(angle)
            into = (off / thin).astype(np.float32)
            ridge = np.exp(-(into**2)) - 0.5 * np.exp(-((into / 4.0 - 0.5) ** 2))
            shading += np.float32(rng.uniform(30.0, 120.0) * draws.strength) * ridge
    if not shading.any():
        return film
    return np.asarray(np.clip(film + shading, 0.0, 255.0), np.uint8)


def on_plate(film: Pixels, draws: Draws, *, monitor: bool) -> tuple[Pixels, int]:
    """Return a film with what surrounds it, and how many pixels that is on each side."""
    from PIL import Image, ImageDraw

    rng, (height, width) = draws.stream("plate"), film.shape[1:]
    margin = int(np.ceil(rng.choice([0.03, 0.4]) * rng.uniform(0.2, 1.0) * max(height, width)))
    shape = (height + 2 * margin, width + 2 * margin)
    plate = np.empty((3, *shape), np.uint8)
    plate[:] = (_screen if monitor else _light_box)(shape, rng)
    plate[:, margin : margin + height, margin : margin + width] = (
        film if monitor else _bluish(film, rng)
    )
    image = Image.fromarray(np.ascontiguousarray(plate.transpose(1, 2, 0)))
    draw = ImageDraw.Draw(image)
    place = (margin, margin, margin + width, margin + height)
    around = tuple(int(v) for v in plate[:, margin // 2, margin // 2])
    _cut_edges(draw, draws, place, around)
    if monitor:
        _write(draw, draws, place)
    _label(draw, draws, place)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)), margin


def _light_box(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.floating[Any]]:
    """Return white glass that its lamps light unevenly, with a dark rail at times."""
    y, x = (np.linspace(-1.0, 1.0, n, dtype=np.float32) for n in shape)
    across, down, bend = rng.normal(0.0, 0.1), rng.normal(0.0, 0.1), rng.uniform(0.0, 0.15)
    uneven = 1.0 + (across * x - bend * x * x).astype(np.float32) + (down * y)[:, None]
    tint = np.array([235.0, 235.0, 235.0 * rng.uniform(0.92, 1.04)], np.float32)
    box = tint[:, None, None] * uneven
    if rng.random() < 0.4:
        box[:, : int(0.06 * shape[0])] *= rng.uniform(0.1, 0.5)
    return np.clip(box, 0.0, 255.0)


def _bluish(film: Pixels, rng: np.random.Generator) -> Pixels:
    """Return a film on its base of blue polyester, whose black lets some light through."""
    base = np.array([rng.uniform(0.8, 0.98), rng.uniform(0.9, 1.0), 1.0])[:, None, None]
    black = rng.uniform(0.0, 25.0)
    return np.asarray(base * (black + film * (1.0 - black / 255.0)), np.uint8)


def _screen(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.floating[Any]]:
    """Return the rest of a screen: dark, with bars of a viewer and its frame."""
    bright = 255.0 if rng.random() < 0.25 else 70.0  # viewers of some are light
    screen = np.full((3, *shape), rng.uniform(5.0, bright), np.float32)
    bar = int(rng.uniform(0.03, 0.08) * shape[0])
    grey = rng.uniform(60.0, 220.0)
    if rng.random() < 0.6:
        screen[:, :bar] = grey
        for start in range(bar, shape[1] - bar, 2 * bar + 1):
            screen[:, bar // 4 : 3 * bar // 4, start : start + bar] = 255.0 - grey
    if rng.random() < 0.4:
        screen[:, :, : int(0.05 * shape[1])] = grey * rng.uniform(0.5, 1.0)
    rim = max(1, int(0.02 * max(shape)))
    for edge in np.s_[:, :rim], np.s_[:, -rim:], np.s_[:, :, :rim], np.s_[:, :, -rim:]:
        screen[edge] = 18.0
    return screen


def _cut_edges(
    draw: ImageDraw, draws: Draws, place: tuple[int, int, int, int], colour: tuple[int, ...]
) -> None:
    """Cut the film's edges aslant, and its corners off."""
    rng, (left, top, right, bottom) = draws.stream("edges"), place
    side, most = max(right - left, bottom - top), 0.035 * draws.strength
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    for number, (one, two) in enumerate(zip(corners, corners[1:] + corners[:1], strict=True)):
        inward = [(0, 1), (-1, 0), (0, -1), (1, 0)][number]
        cuts = side * most * rng.random(2)
        within = [
            (p[0] + inward[0] * cut, p[1] + inward[1] * cut)
            for p, cut in zip((two, one), cuts, strict=True)
        ]
        if draws.happens(rng, 0.4):
            draw.polygon([one, two, *within], fill=colour)


def _write(draw: ImageDraw, draws: Draws, place: tuple[int, int, int, int]) -> None:
    """Write lines of a viewer into the corners of a film, as dashes."""
    rng, (left, top, right, bottom) = draws.stream("writing"), place
    step = max(2, (bottom - top) // 45)
    for low, near in ((False, False), (False, True), (True, False)):
        for line in range(int(rng.integers(0, 5))):
            length = int(rng.uniform(0.05, 0.2) * (right - left))
            y = bottom - step * (line + 2) if low else top + step * (line + 1)
            x = left + step if near else right - step - length
            for start in range(x, x + length, step):
                draw.line([start, y, start + 0.7 * step, y], fill=(230,) * 3, width=step // 3 + 1)


def _label(draw: ImageDraw, draws: Draws, place: tuple[int, int, int, int]) -> None:
    """Stick paper with handwriting on a film."""
    rng, (left, top, right, bottom) = draws.stream("label"), place
    wide, tall = (right - left) * rng.uniform(0.1, 0.28), (bottom - top) * rng.uniform(0.03, 0.09)
    x = rng.choice([left, right - wide]) + rng.normal(0.0, 0.03) * (right - left)
    y = rng.uniform(top, bottom - tall) if rng.random() < 0.4 else rng.choice([top, bottom - tall])
    turn, paper = rng.normal(0.0, 0.12), rng.uniform(200.0, 250.0) * np.array([1.0, 0.98, 0.9])
    if not draws.happens(rng, 0.7):
        return

    def at(across: float, down: float) -> tuple[float, float]:
        return x + wide * across - turn * tall * down, y + tall * down + turn * wide * across

    draw.polygon([at(0, 0), at(1, 0), at(1, 1), at(0, 1)], fill=tuple(paper.astype(int).tolist()))
    for line in (0.3, 0.7):
        strokes = line + rng.normal(0.0, 0.1, 24)
        way = [at(0.05 + 0.9 * k / 24, float(stroke)) for k, stroke in enumerate(strokes)]
        draw.line(way, fill=(30, 30, 70), width=max(1, int(tall / 25)))
