"""What a telephone's camera makes of light: blur, vignette, colours, noise, JPEG.

Pictures are linear light (3, H, W) in float32, 1.0 being white.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.signal import oaconvolve

from asfusion.imaging._in_memory import read_content
from asfusion.imaging._resize import resize
from asfusion.imaging.photographs._draws import Draws

Light = NDArray[np.float32]

_GAMMA = 2.2
_GREY = 0.18  # linear: what automatic exposure makes of the mean
_USUAL = 1000.0  # side in pixels at which noise is stated: smaller photographs are means of it


def to_light(pixels: NDArray[np.uint8]) -> Light:
    """Return grey levels as linear light."""
    table = (np.arange(256) / 255.0) ** _GAMMA
    return np.asarray(table.astype(np.float32)[pixels])


def vignette(light: Light, draws: Draws) -> Light:
    """Return a picture that is darker towards its corners, as cos^4 says."""
    height, width = light.shape[1:]
    y = (np.arange(height, dtype=np.float32) / height - 0.5)[:, None]
    x = np.arange(width, dtype=np.float32) / width - 0.5
    fall = 1.6 * draws.strength * draws.stream("vignette").random()
    return np.asarray(light / np.square(1.0 + np.float32(fall) * (x * x + y * y)))


def balance(light: Light, draws: Draws) -> Light:
    """Return a picture as exposed and balanced by a camera that errs in both."""
    rng = draws.stream("balance")
    wrong = rng.normal(0.0, 0.22 * draws.strength, 3)
    wrong[1] = 0.0
    automatic = np.clip(_GREY / max(float(light.mean()), 1e-3), 0.5, 2.0)
    stops = draws.strength * (0.6 * np.log2(automatic) + rng.normal(0.0, 0.7))
    gains = np.exp2(stops) * np.exp(wrong)
    return np.asarray(light * gains.astype(np.float32)[:, None, None])


def blur(light: Light, draws: Draws) -> Light:
    """Return a picture out of focus and shaken, in one convolution."""
    spread = _point_spread(draws, max(light.shape[1:]))
    if len(spread) == 1:
        return light
    edge = len(spread) // 2
    padded = np.pad(light, ((0, 0), (edge, edge), (edge, edge)), mode="edge")
    blurred = oaconvolve(padded, spread[None], mode="valid", axes=(1, 2))
    return np.asarray(np.maximum(blurred, 0.0), np.float32)


def _point_spread(draws: Draws, side: int) -> NDArray[np.float32]:
    """Return the picture of a point: a disc drawn along the way that the hand went."""
    rng = draws.stream("blur")
    radius = 0.0045 * side * draws.strength * rng.uniform(0.15, 1.0)
    length = 0.011 * side * draws.strength * rng.random() ** 2
    angle, bend = rng.uniform(0.0, np.pi), rng.normal(0.0, 0.4)
    way = np.linspace(-0.5, 0.5, 64)
    turned = angle + bend * way
    x, y = length * way * np.cos(turned), length * way * np.sin(turned)
    reach = int(np.ceil(radius + length / 2.0))
    grid = np.arange(-reach, reach + 1, dtype=np.float64)
    apart = np.hypot(grid - x[:, None, None], grid[:, None] - y[:, None, None])
    spread = np.clip(radius + 0.5 - apart, 0.0, 1.0).sum(axis=0)
    return np.asarray(spread / spread.sum(), np.float32)


def noise(light: Light, draws: Draws) -> Light:
    """Return a picture with the noise of photons and of the sensor."""
    rng = draws.stream("noise")
    dim = draws.strength * rng.uniform(0.3, 1.0)
    share = np.float32(min(1.0, max(light.shape[1:]) / _USUAL) ** 0.5)
    spread = share * np.sqrt((0.045 * dim) ** 2 * light + (0.008 * dim) ** 2)
    grain = rng.standard_normal(light.shape, np.float32)
    if draws.happens(rng, 0.6):  # what is left of noise that was taken away: coarse, and coloured
        coarse = gaussian_filter(grain, (0.0, *[rng.uniform(0.6, 1.8)] * 2))
        grain = grain * np.float32(rng.random()) + coarse / max(float(coarse.std()), 1e-6)
    return np.asarray(light + spread * grain, np.float32)


def develop(light: Light, draws: Draws) -> NDArray[np.uint8]:
    """Return grey levels, along the curve by which a telephone makes pictures pleasing."""
    rng = draws.stream("develop")
    shown = np.clip(light, 0.0, 1.0) ** np.float32(1.0 / _GAMMA)
    contrast = np.float32(draws.strength * rng.uniform(-0.2, 0.6))
    curved = shown + contrast * (shown * shown * (3.0 - 2.0 * shown) - shown)
    curved = curved ** np.float32(np.exp(draws.strength * rng.normal(0.0, 0.25)))
    if draws.happens(rng, 0.7):  # details are made stronger, or smoothed
        grey, wide = curved.mean(axis=0), rng.uniform(0.003, 0.03) * max(light.shape)
        more = np.float32(draws.strength * rng.uniform(-0.4, 0.9))
        curved = curved + more * (grey - gaussian_filter(grey, wide))
    return np.asarray(np.rint(255.0 * np.clip(curved, 0.0, 1.0)), np.uint8)


def jpeg(pixels: NDArray[np.uint8], draws: Draws) -> NDArray[np.uint8]:
    """Return a picture (3, H, W) as sent by a messenger, or made smaller and sent on."""
    rng, (height, width) = draws.stream("jpeg"), pixels.shape[1:]
    sent = _sent(pixels, draws, rng)
    if not draws.happens(rng, 0.5):
        return sent
    share = rng.uniform(0.45, 0.95)
    tall, wide = max(8, round(share * height)), max(8, round(share * width))
    smaller = _sent(_resized(sent, tall, wide), draws, rng)
    return _resized(smaller, height, width)


def _sent(pixels: NDArray[np.uint8], draws: Draws, rng: np.random.Generator) -> NDArray[np.uint8]:
    quality = int(94 - 60 * draws.strength * rng.uniform(0.3, 1.0))
    return read_content(as_jpeg(pixels, quality), None, 3)


def _resized(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    planes = [resize(plane, height, width) for plane in pixels]
    return np.asarray(np.rint(np.clip(np.stack(planes), 0.0, 255.0)), np.uint8)


def as_jpeg(pixels: NDArray[np.uint8], quality: int = 95) -> bytes:
    """Return a picture (3, H, W) as a JPEG file."""
    from PIL import Image

    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
