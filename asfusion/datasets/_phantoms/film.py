"""What phantom radiographs share: soft-edged shapes on a grid, and the scanner.

Lengths and places are in pixels; a pixel's centre lies at a half.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from asfusion._checks import check_integer, check_number
from asfusion.exceptions import ConfigurationError

Field = NDArray[np.floating[Any]]
Points = NDArray[np.floating[Any]]

MAX_GREY: Final = 4095  # 12 bits stored
_LARGE: Final = 100_000  # pixels from which shapes are drawn piece by piece


def smooth_outline(points: Points, *, closed: bool = True, steps: int = 5) -> Points:
    """Return a Catmull-Rom curve through `points`."""
    if closed:
        around = np.concatenate([points[-1:], points, points[:2]])
    else:
        around = np.concatenate([points[:1], points, points[-1:]])
    before, here, after, beyond = around[:-3], around[1:-2], around[2:-1], around[3:]
    t = (np.arange(steps) / steps)[None, :, None]
    before, here, after, beyond = (p[:, None, :] for p in (before, here, after, beyond))
    curve = here + 0.5 * t * (
        (after - before)
        + t
        * (
            (2.0 * before - 5.0 * here + 4.0 * after - beyond)
            + t * (3.0 * (here - after) + beyond - before)
        )
    )
    curve = curve.reshape(-1, points.shape[1])
    return curve if closed else np.concatenate([curve, points[-1:]])


def fill(outline: Points, shape: tuple[int, int]) -> Field:
    """Return the share of each pixel that lies inside a closed outline (x, y in pixels)."""
    height, width = shape
    x, y = outline[:, 0], outline[:, 1]
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    first = int(np.clip(np.floor(y.min()), 0, height))
    last = int(np.clip(np.ceil(y.max()), first, height))
    rows = first + (np.arange(2 * (last - first)) + 0.5) / 2.0
    edge, row = np.nonzero((y[:, None] <= rows) != (next_y[:, None] <= rows))
    along = (rows[row] - y[edge]) / (next_y[edge] - y[edge])
    at = np.clip(x[edge] + along * (next_x[edge] - x[edge]), 0.0, width)
    turn = np.where(next_y[edge] > y[edge], 0.5, -0.5)
    column = at.astype(np.int64)
    part = at - column
    index = row // 2 * (width + 2) + column
    size = (last - first) * (width + 2)
    steps = np.bincount(index, turn * (1.0 - part), size)
    steps += np.bincount(index + 1, turn * part, size)
    covered = np.abs(np.cumsum(steps.reshape(-1, width + 2), axis=1))[:, :width]
    out = np.zeros(shape, np.float32)
    out[first:last] = np.minimum(covered, 1.0)
    return out


def window(
    low: Points, high: Points, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], Field, Field]:
    """Return a crop around a box and the x and y of its pixel centres."""
    left, top = np.clip(np.floor(low).astype(int), 0, [shape[1], shape[0]]).tolist()
    right, bottom = np.clip(np.ceil(high).astype(int), 0, [shape[1], shape[0]]).tolist()
    x = np.arange(left, max(left, right), dtype=np.float32)[None, :] + 0.5
    y = np.arange(top, max(top, bottom), dtype=np.float32)[:, None] + 0.5
    return (slice(top, max(top, bottom)), slice(left, max(left, right))), x, y


def stamp(
    canvas: Field,
    centre: ArrayLike,
    radii: tuple[float, float],
    amount: float,
    *,
    edge: float = 0.12,
    angle: float = 0.0,
) -> None:
    """Add a soft-edged ellipse (all lengths in pixels, angle in radians) to `canvas`."""
    middle = np.asarray(centre, dtype=float)[:2]
    reach = max(radii) * (1.0 + 4.0 * edge)
    crop, x, y = window(middle - reach, middle + reach, canvas.shape)
    cosine, sine = np.cos(angle), np.sin(angle)
    dx, dy = x - middle[0], y - middle[1]
    u, v = (cosine * dx + sine * dy) / radii[0], (cosine * dy - sine * dx) / radii[1]
    inside = 1.0 - np.sqrt(u * u + v * v)
    canvas[crop] += amount * soft_step(inside / edge)


def stroke(canvas: Field, points: Points, width: float, amount: ArrayLike) -> None:
    """Add a line with a Gaussian profile of sigma `width` (pixels) to `canvas`."""
    line = np.asarray(points, dtype=np.float32)[:, :2]
    if canvas.size > _LARGE:
        _stroke_by_segment(canvas, line, width, amount)
        return
    reach = 3.0 * width
    crop, x, y = window(line.min(0) - reach, line.max(0) + reach, canvas.shape)
    if x.size == 0 or y.size == 0:
        return
    start, step = line[:-1], np.diff(line, axis=0)
    length = np.maximum((step**2).sum(1), 1e-6)
    dx = x[..., None] - start[:, 0]
    dy = y[..., None] - start[:, 1]
    along = np.clip((dx * step[:, 0] + dy * step[:, 1]) / length, 0.0, 1.0)
    square = ((dx - along * step[:, 0]) ** 2 + (dy - along * step[:, 1]) ** 2).min(-1)
    canvas[crop] += np.asarray(amount) * np.exp(-0.5 * square / width**2)


def _stroke_by_segment(canvas: Field, line: Points, width: float, amount: ArrayLike) -> None:
    """Add a line to a large canvas: wide ones on a coarser grid, where they are cheap."""
    step = int(width // 3.0)
    if step >= 2:
        # One block more on each side, so that the border is interpolated too.
        coarse = np.zeros([2 - (-side // step) for side in canvas.shape], np.float32)
        _stroke_by_segment(coarse, line / step + 1.0, width / step, 1.0)
        crop, _, _ = window(line.min(0) - 4.5 * width, line.max(0) + 4.5 * width, canvas.shape)
        canvas[crop] += np.asarray(amount) * _stretched_blocks(coarse, step, crop, border=1)
        return
    reach = 3.5 * width
    around, _, _ = window(line.min(0) - reach, line.max(0) + reach, canvas.shape)
    rows, columns = around
    nearest = np.full(canvas[around].shape, reach**2, np.float32)
    for start, end in pairwise(line):
        low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
        (tall, wide), x, y = window(low, high, canvas.shape)
        if x.size == 0 or y.size == 0:
            continue
        along_x, along_y = (end - start).tolist()
        length = max(along_x**2 + along_y**2, 1e-6)
        dx, dy = x - start[0], y - start[1]
        along = np.clip((dx * along_x + dy * along_y) / length, 0.0, 1.0)
        square = (dx - along * along_x) ** 2 + (dy - along * along_y) ** 2
        part = nearest[
            tall.start - rows.start : tall.stop - rows.start,
            wide.start - columns.start : wide.stop - columns.start,
        ]
        np.minimum(part, square, out=part)
    profile = np.exp(nearest * np.float32(-0.5 / width**2))
    profile[nearest >= reach**2] = 0.0
    canvas[around] += np.asarray(amount) * profile


def soft_step(inside: Field) -> Field:
    """Return 1 far inside (positive), 0 far outside, 0.5 on the border."""
    return np.asarray(0.5 + 0.5 * np.tanh(inside))


def blurred(image: Field, sigma: float) -> Field:
    """Return a Gaussian blur; wide blurs work on a coarser grid, where they are cheap."""
    if image.size > _LARGE and sigma >= 5.0:
        return _blurred_on_blocks(image, sigma)
    if sigma < 6.0:
        return np.asarray(ndimage.gaussian_filter(image, sigma, truncate=3.0, mode="nearest"))
    step = int(sigma // 2.5)
    small = ndimage.gaussian_filter(image, step / 2.0, truncate=2.0, mode="nearest")[::step, ::step]
    small = ndimage.gaussian_filter(small, sigma / step, truncate=3.0, mode="nearest")
    height, width = image.shape
    rows = np.minimum(np.arange(height) / step, small.shape[0] - 1.0)
    columns = np.minimum(np.arange(width) / step, small.shape[1] - 1.0)
    return _stretched(_stretched(small, rows).T, columns).T


def _blurred_on_blocks(image: Field, sigma: float) -> Field:
    """Return a blur of the means of square blocks, stretched back."""
    step = int(sigma // 2.5)
    height, width = image.shape
    beyond = ((0, -height % step), (0, -width % step))
    whole = np.pad(image, beyond, mode="edge")
    rows, columns = whole.shape[0] // step, whole.shape[1] // step
    small = whole.reshape(rows, step, columns, step).mean(axis=(1, 3), dtype=np.float32)
    # A block is a blur of its own.
    left = np.sqrt((sigma / step) ** 2 - 1.0 / 12.0)
    small = ndimage.gaussian_filter(small, left, truncate=3.0, mode="nearest")
    return _stretched_blocks(small, step, (slice(0, height), slice(0, width)))


def _stretched_blocks(small: Field, step: int, crop: tuple[slice, slice], border: int = 0) -> Field:
    """Return part of a picture whose blocks of `step` pixels have the values `small`."""
    rows, columns = (
        np.clip((np.arange(part.start, part.stop) + 0.5) / step - 0.5 + border, 0.0, n - 1.0)
        for part, n in zip(crop, small.shape, strict=True)
    )
    return _stretched(_stretched(small, rows).T, columns).T


def _stretched(small: Field, at: Field) -> Field:
    low = np.minimum(at.astype(np.int64), max(small.shape[0] - 2, 0))
    high = np.minimum(low + 1, small.shape[0] - 1)
    part = (at - low)[:, None].astype(np.float32)
    return np.asarray(small[low] * (1.0 - part) + small[high] * part)


def wave(n: int, knots: int, rng: np.random.Generator) -> Field:
    """Return a smooth random line of `n` values with unit spread at its `knots`."""
    at = np.linspace(0.0, knots - 1.0, n)
    return np.asarray(np.interp(at, np.arange(knots), rng.normal(size=knots)))


def patches(shape: tuple[int, int], knots: int, rng: np.random.Generator) -> Field:
    """Return a smooth random field with unit spread at its knots."""
    coarse = rng.standard_normal((knots, knots), dtype=np.float32)
    rows, columns = (np.linspace(0.0, knots - 1.0, n) for n in shape)
    return _stretched(_stretched(coarse, rows).T, columns).T


def grain(
    shape: tuple[int, int], rng: np.random.Generator, coarse_px: float | None = None
) -> Field:
    """Return a texture with unit spread like the trabeculae of spongy bone.

    `coarse_px` is the edge of a pixel of coarse films in pixels of a fine one.
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    if coarse_px is not None:
        return _fine_grain(noise, coarse_px)
    fine = ndimage.gaussian_filter(noise, (1.1, 0.7), truncate=3.0)
    coarse = blurred(noise, 2.6)
    texture = fine / fine.std() + 0.8 * coarse / coarse.std()
    return np.asarray(texture / texture.std())


def _fine_grain(noise: Field, coarse_px: float) -> Field:
    """Return the texture of coarse films, with the finer trabeculae that they cannot show."""
    texture = np.zeros_like(noise)
    for height, width, share in ((0.42, 0.28, 0.7), (1.1, 0.7, 0.9), (2.6, 2.6, 0.7)):
        if height * coarse_px >= 5.0:
            part = blurred(noise, height * coarse_px)
        else:
            sigma = (height * coarse_px, width * coarse_px)
            part = ndimage.gaussian_filter(noise, sigma, truncate=2.5)
        texture += np.float32(share / part.std()) * part
    return np.asarray(texture / texture.std())


@dataclass(frozen=True)
class Detector:
    """What a scanner does to the light that reaches it; equal numbers give equal scanners.

    Parameters
    ----------
    number : int
        Number of the scanner.
    """

    number: int
    blur: float = field(init=False)  # pixels
    noise: float = field(init=False)
    scatter: float = field(init=False)
    local: float = field(init=False)  # strength of local contrast
    sharpen: float = field(init=False)
    gamma: float = field(init=False)
    floor: float = field(init=False)
    span: float = field(init=False)
    shutter: bool = field(init=False)  # blacks out what lies beyond the collimator

    def __post_init__(self) -> None:
        rng = np.random.default_rng((20_407, self.number))
        settings = {
            "blur": rng.uniform(0.35, 0.65),
            "noise": rng.uniform(0.010, 0.020),
            "scatter": rng.uniform(0.25, 0.55),
            "local": rng.uniform(0.25, 0.9),
            "sharpen": rng.uniform(0.0, 0.7),
            "gamma": rng.uniform(0.85, 1.2),
            "floor": rng.uniform(0.0, 0.06),
            "span": rng.uniform(0.80, 0.98),
            "shutter": rng.random() < 0.6,
        }
        for name, value in settings.items():
            object.__setattr__(self, name, value)

    def expose(
        self,
        attenuation: Field,
        dose: float,
        rng: np.random.Generator,
        coarse_px: float | None = None,
    ) -> Field:
        """Return the processed picture, about 0 to 1, of a map of attenuations.

        `coarse_px` is the edge of a pixel of coarse films in pixels of a fine one.
        """
        if coarse_px is not None:
            return self._expose_fine(attenuation, dose, rng, coarse_px)
        primary = np.exp(-blurred(attenuation, self.blur))
        scattered = blurred(primary, 0.09 * attenuation.shape[1])
        light = primary + self.scatter * scattered
        light /= light.mean()
        level = np.sqrt(np.clip(light, 0.02, None) / dose)
        light = light + self.noise * level * rng.standard_normal(light.shape, dtype=np.float32)
        picture = -np.log(np.clip(light, 1e-2, None))
        picture = picture + self.local * (picture - blurred(picture, 0.06 * picture.shape[1]))
        return np.asarray(picture + self.sharpen * (picture - blurred(picture, 1.2)))

    def _expose_fine(
        self, attenuation: Field, dose: float, rng: np.random.Generator, coarse_px: float
    ) -> Field:
        """Return what coarse films show, in lengths of the body instead of pixels.

        A detector counts quanta by area: the variance of a pixel is in proportion to the
        pixels per mm^2, and the screen that blurs the picture blurs its noise.
        """
        primary = np.exp(-attenuation)
        light = primary + self.scatter * blurred(primary, 23.0 * coarse_px)
        light /= light.mean()
        level = np.sqrt(np.clip(light, 0.02, None) / dose)
        noise = rng.standard_normal(light.shape, dtype=np.float32)
        light = blurred(light + self.noise * coarse_px * level * noise, 0.5 * self.blur * coarse_px)
        picture = -np.log(np.clip(light, 1e-2, None))
        picture = picture + self.local * (picture - blurred(picture, 15.4 * coarse_px))
        return np.asarray(picture + self.sharpen * (picture - blurred(picture, 1.2 * coarse_px)))

    def grey(self, picture: Field, inside: NDArray[np.bool_], brightness: float) -> Field:
        """Return grey values from 0 to 1, stretched over what lies inside the collimator."""
        low, high = np.percentile(picture[inside][::7], [1.0, 99.6])
        shown = np.clip((picture - low) / (high - low) + brightness, 0.0, 1.0) ** self.gamma
        return np.asarray(self.floor + self.span * (1.0 - self.floor) * shown)


def checked_shape(shape: Any) -> tuple[int, int]:
    if not isinstance(shape, (tuple, list, np.ndarray)) or len(shape) != 2:
        msg = "shape: expected two integers (height, width) in pixels."
        raise ConfigurationError(msg)
    height, width = (check_integer(side, "shape", minimum=64) for side in shape)
    return height, width


def checked_edge(film_mm: Any) -> float:
    return check_number(film_mm, "film_mm", minimum=0.2, maximum=1.5)
