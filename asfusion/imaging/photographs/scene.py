"""What stands between a film and a camera: shadows, glare, a monitor's grid, fingers.

Many kinds of each, none of them in all scenes: what learns from photographs of one kind is lost on
another.

Pictures are linear light (3, H, W) in float32, 1.0 being white.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from asfusion.imaging._resize import resize
from asfusion.imaging.photographs._draws import Draws
from asfusion.imaging.photographs.geometry import Floats, seen_from

Light = NDArray[np.float32]

_SKIN = np.array([[0.60, 0.36, 0.26], [0.40, 0.20, 0.12], [0.14, 0.07, 0.04]])  # linear


def _places(light: Light) -> tuple[Light, Light]:
    """Return y and x of pixels, in units of the longer side."""
    height, width = light.shape[1:]
    side = np.float32(max(height, width))
    return np.arange(height, dtype=np.float32)[:, None] / side, np.arange(
        width, dtype=np.float32
    ) / side


def wall(photo: tuple[int, int], draws: Draws) -> Light:
    """Return grey levels (3, H, W) of what is behind: plain, cloudy, or full of things."""
    rng, (height, width) = draws.stream("room"), photo
    colour = rng.uniform(10.0, 220.0) * np.exp(rng.normal(0.0, rng.choice([0.1, 0.4]), 3))
    behind = np.empty((3, height, width), np.float32)
    behind[:] = colour[:, None, None]
    if rng.random() < 0.5:
        y, x = _places(behind)
        behind *= np.exp(np.float32(rng.uniform(0.1, 0.5)) * clouds(y, x, rng, rng.uniform(1, 12)))
    if rng.random() < 0.4:
        for _ in range(int(rng.integers(2, 10))):
            top, left = int(rng.integers(height)), int(rng.integers(width))
            tall, wide = (1 + int(rng.integers(max(1, n // 3))) for n in photo)
            behind[:, top : top + tall, left : left + wide] = rng.uniform(0, 255, 3)[:, None, None]
    return np.clip(behind, 0.0, 255.0)


def moire(
    light: Light, draws: Draws, homography: Floats, extent: tuple[int, int], margin: int
) -> Light:
    """Return a monitor's picture with the beat of its grid against that of the sensor.

    The grid has subpixels of three colours, each a third of a pixel from the next, and is
    seen under perspective: stripes are coloured, and bend.
    """
    rng, (height, width) = draws.stream("moire"), light.shape[1:]
    x, y = seen_from(homography, height, width)
    depth = np.float32(0.3 * draws.strength * rng.uniform(0.2, 1.0))
    across, down = (x / extent[1]).astype(np.float32), (y / extent[0]).astype(np.float32)
    column = np.arange(width, dtype=np.float32) / width
    row = (np.arange(height, dtype=np.float32) / height)[:, None]
    beats, pixels = rng.uniform(3.0, 30.0, 2), rng.uniform(60.0, 200.0, 2)
    # Fringes are what is left of the grid's phase once the sensor's own is taken away.
    first = (pixels[0] + beats[0]) * across - pixels[0] * column
    second = (pixels[1] + beats[1]) * down - pixels[1] * row
    thirds = np.arange(3, dtype=np.float32)[:, None, None] / 3.0
    turn = np.float32(2.0 * np.pi)
    fringes = np.cos(turn * (first.astype(np.float32) + thirds))
    fringes += 0.6 * np.cos(turn * second.astype(np.float32))
    on_screen = (np.abs(across - 0.5) < 0.5 + margin / extent[1]) & (
        np.abs(down - 0.5) < 0.5 + margin / extent[0]
    )
    return np.asarray(light * (1.0 + depth * np.where(on_screen, fringes, 0.0)), np.float32)


def stripes(light: Light, draws: Draws) -> Light:
    """Return a picture with bent stripes of any direction, and bands of a lamp that flickers."""
    rng = draws.stream("stripes")
    y, x = _places(light)
    thirds = np.arange(3, dtype=np.float32)[:, None, None]
    for _ in range(3):
        if draws.happens(rng, 0.35):
            angle, often = rng.uniform(0.0, np.pi), np.exp(rng.uniform(np.log(2.0), np.log(50.0)))
            along = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
            phase = np.float32(often) * along + np.float32(rng.random()) * clouds(y, x, rng, 1.0)
            apart = np.float32(rng.choice([0.0, rng.uniform(0.0, 1 / 3)]))  # of the three colours
            depth = np.float32(0.25 * draws.strength * rng.uniform(0.1, 1.0))
            light = light * (1.0 + depth * np.cos(2.0 * np.pi * (phase + apart * thirds)))
    if draws.happens(rng, 0.35):
        phase = rng.uniform(1.0, 8.0) * y + rng.random()
        flicker = 0.4 * draws.strength * rng.uniform(0.1, 1.0)
        light = light * (1.0 + flicker * np.cos(2.0 * np.pi * phase)).astype(np.float32)
    return np.asarray(light, np.float32)


def shadow(light: Light, draws: Draws) -> Light:
    """Return a picture that a hand or a head shades on one side."""
    rng = draws.stream("shadow")
    depth = 0.75 * draws.strength * rng.random()
    angle, place = rng.uniform(0.0, 2.0 * np.pi), rng.normal(0.15, 0.2)
    soft = rng.uniform(0.02, 0.15)
    y, x = _places(light)
    into = (x - x.mean()) * np.float32(np.cos(angle)) + (y - y.mean()) * np.float32(np.sin(angle))
    dark = 1.0 / (1.0 + np.exp(-(into - np.float32(place)) / np.float32(soft)))
    light = light * (1.0 - np.float32(depth) * dark)
    if draws.happens(rng, 0.6):  # lamps of the room that light one part more than another
        uneven = np.float32(0.5 * draws.strength * rng.random())
        light = light * np.exp(uneven * clouds(y, x, rng, rng.uniform(0.5, 2.5)))
    return np.asarray(light, np.float32)


def glare(light: Light, draws: Draws) -> Light:
    """Return a picture with a veil of light, reflected lamps and sometimes a window."""
    rng = draws.stream("glare")
    y, x = _places(light)
    tint = np.exp(rng.normal(0.0, 0.15, 3)).astype(np.float32)[:, None, None]
    added = np.full(light.shape[1:], 0.12 * draws.strength * rng.random(), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        bright = np.float32(0.9 * draws.strength * rng.random() ** 1.5)
        added += bright * _lamp(y, x, rng)
    if draws.happens(rng, 0.5):
        added += np.float32(0.3 * draws.strength * rng.random()) * _window(y, x, rng)
    if draws.happens(rng, 0.4):
        mirrored = np.maximum(clouds(y, x, rng, rng.uniform(1.0, 6.0)), 0.0)
        added += np.float32(0.3 * draws.strength * rng.random()) * mirrored
    return np.asarray(light + tint * added + _halo(light, draws, rng), np.float32)


def _halo(light: Light, draws: Draws, rng: np.random.Generator) -> Light:
    """Return light that is scattered in the lens and in the glass before the film."""
    share, wide = 0.3 * draws.strength * rng.random(), rng.uniform(0.02, 0.1)
    height, width = light.shape[1:]
    tall, across = max(4, height // 8), max(4, width // 8)
    scattered = [
        resize(gaussian_filter(resize(p, tall, across), wide * max(tall, across)), height, width)
        for p in light
    ]
    return np.asarray(np.float32(share) * np.stack(scattered), np.float32)


def clouds(y: Light, x: Light, rng: np.random.Generator, often: float) -> Light:
    """Return a smooth field with mean 0 and about as many hills as `often` says along a side."""
    field = np.zeros(np.broadcast_shapes(y.shape, x.shape), np.float32)
    for _ in range(4):
        turn = rng.uniform(0.0, 2.0 * np.pi)
        waves = 2.0 * np.pi * often * rng.uniform(0.3, 1.2)
        down, across = waves * np.sin(turn), waves * np.cos(turn)
        field += np.cos(
            np.float32(down) * y + np.float32(across) * x + np.float32(rng.random() * 7)
        )
    return np.asarray(field / np.float32(2.0))


def _lamp(y: Light, x: Light, rng: np.random.Generator) -> Light:
    """Return a spot, long in some direction and with soft or hard edges."""
    across, down = x - np.float32(rng.random() * x[-1]), y - np.float32(rng.random() * y[-1, 0])
    angle, size, long = rng.uniform(0.0, np.pi), rng.uniform(0.02, 0.12), rng.uniform(1.0, 4.0)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, beside = (cos * across + sin * down) / np.float32(long), cos * down - sin * across
    apart = (along**2 + beside**2) / np.float32(2.0 * size**2)
    return np.asarray(np.exp(-np.minimum(apart ** np.float32(rng.uniform(0.7, 3.0)), 80.0)))


def _window(y: Light, x: Light, rng: np.random.Generator) -> Light:
    """Return a leaning rectangle with bars and soft edges."""
    lean, wide, tall = rng.normal(0.0, 0.3), rng.uniform(0.1, 0.3), rng.uniform(0.15, 0.4)
    across = (x - np.float32(rng.random()) + np.float32(lean) * y) / np.float32(wide)
    down = np.broadcast_to((y - np.float32(rng.random())) / np.float32(tall), across.shape)
    inside = np.maximum(np.abs(across), np.abs(down)) < 0.5
    bars = (np.abs(across) > 0.03) & (np.abs(down) > 0.03)
    return np.asarray(
        gaussian_filter((inside & bars).astype(np.float32), 0.006 * max(inside.shape))
    )


def fingers(light: Light, draws: Draws) -> Light:
    """Return a picture into which fingers reach that hold the film."""
    rng = draws.stream("fingers")
    skin = _SKIN[rng.integers(len(_SKIN))] * rng.uniform(0.7, 1.2)
    for _ in range(2):
        if draws.happens(rng, 0.5):
            cover, shade = _finger(light, rng)
            flesh = skin.astype(np.float32)[:, None, None] * shade
            light = light + cover * (flesh - light)
    return light


def _finger(light: Light, rng: np.random.Generator) -> tuple[Light, Light]:
    """Return how far a finger covers each pixel, and how bright it is there."""
    y, x = _places(light)
    ends = np.array([x[-1], y[-1, 0]])
    side, along = rng.integers(4), rng.uniform(0.1, 0.9)
    root = np.array([(along, 0.0), (1.0, along), (along, 1.0), (0.0, along)][side]) * ends
    to = (ends / 2.0 - root) / np.hypot(*(ends / 2.0 - root))
    thick, reach = rng.uniform(0.025, 0.055), rng.uniform(0.08, 0.25)
    across, down = x - np.float32(root[0]), y - np.float32(root[1])
    (right, below), thickness = to.astype(np.float32), np.float32(thick)
    beyond = np.maximum(across * right + down * below - np.float32(reach), 0.0)
    apart = np.hypot(down * right - across * below, beyond) / thickness
    cover = np.clip((1.0 - apart) / np.float32(0.08), 0.0, 1.0)
    return np.asarray(cover), np.asarray(1.0 - 0.5 * np.minimum(apart, 1.0) ** 2)
