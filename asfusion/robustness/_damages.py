"""What happens to films, at five severities: a function for each kind.

Films are (C, H, W) uint8. A seed is the same accident at every severity.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice
from asfusion.exceptions import ConfigurationError
from asfusion.imaging._resize import resize
from asfusion.imaging.photographs.photograph import degrade

Pixels = NDArray[np.uint8]
Damage: TypeAlias = Callable[[Pixels, int, int], Pixels]

WORST = 5


def photograph(film: Pixels, severity: int, seed: int) -> Pixels:
    """Return a telephone's photograph of the film."""
    return degrade(film, severity, seed)[0]


def exposure(film: Pixels, severity: int, seed: int) -> Pixels:
    """Return a film with other grey levels: gamma up to 3.3 either way, and less contrast."""
    rng, strength = np.random.default_rng(seed), severity / WORST
    gamma = np.exp(rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.2) * strength)
    span = 1.0 - 0.5 * strength * rng.random()
    grey = (film / 255.0) ** gamma * span + rng.random() * (1.0 - span)
    return _as_pixels(255.0 * grey)


def rotation(film: Pixels, severity: int, seed: int) -> Pixels:
    """Return a film turned by up to 30 degrees either way, the corners black."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    angle = 6.0 * severity * rng.choice([-1.0, 1.0]) * rng.uniform(0.7, 1.0)
    planes = [
        Image.fromarray(plane).rotate(angle, Image.Resampling.BILINEAR)
        for plane in np.ascontiguousarray(film)
    ]
    return np.stack([np.asarray(plane, np.uint8) for plane in planes])


def noise(film: Pixels, severity: int, seed: int) -> Pixels:
    """Return a film with grain of a standard deviation of up to 60 of 255 grey levels."""
    grain = np.random.default_rng(seed).standard_normal(film.shape[1:], np.float32)
    return _as_pixels(film + np.float32(12.0 * severity) * grain)


def resolution(film: Pixels, severity: int, seed: int) -> Pixels:
    """Return a film as a picture of fewer pixels, down to an eleventh along each side."""
    height, width = film.shape[1:]
    tall, wide = (max(1, round(n / (1.0 + 2.0 * severity))) for n in (height, width))
    return np.stack([_as_pixels(resize(resize(p, tall, wide), height, width)) for p in film])


_KNOWN: Mapping[str, Damage] = {
    "photograph": photograph,
    "exposure": exposure,
    "rotation": rotation,
    "noise": noise,
    "resolution": resolution,
}


def damage_of(by: Any) -> tuple[str, Damage]:
    """Return what a damage is called, and the function."""
    if callable(by):
        return str(getattr(by, "__name__", type(by).__name__)), by
    name = check_choice(by, "by", list(_KNOWN))
    return name, _KNOWN[name]


def as_png(film: Any, name: str) -> bytes:
    """Return a damaged film as a PNG file."""
    from PIL import Image

    pixels = np.asarray(film)
    if pixels.ndim != 3 or len(pixels) not in (1, 3) or pixels.dtype != np.uint8:
        msg = (
            f"by={name}: expected uint8 pixels of shape (1, H, W) or (3, H, W) from the function, "
            f"got {pixels.dtype} of shape {pixels.shape}."
        )
        raise ConfigurationError(msg)
    plane = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plane)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _as_pixels(values: NDArray[Any]) -> Pixels:
    return np.asarray(np.rint(np.clip(values, 0.0, 255.0)), np.uint8)
