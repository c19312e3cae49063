"""What an MR scanner makes of a painted body: contrast, coil, blur and noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from asfusion._random import derive_seed
from asfusion.datasets._phantoms.mri_canvas import FIELD_MM, Canvas, Field, thick_slices
from asfusion.exceptions import ConfigurationError

_WHITE = 4095  # twelve bits, as scanners store


class Device(NamedTuple):
    """How one scanner differs from the next; first value STIR, second T1."""

    gamma: tuple[float, float]
    noise: tuple[float, float]
    gain: tuple[float, float]
    blur: float  # standard deviation in mm
    leak: float  # share of the fat signal that STIR leaves
    coil: NDArray[np.float64]


def device_of(site: str, scanner: str) -> Device:
    for name, value in (("site", site), ("scanner", scanner)):
        if not isinstance(value, str) or not value:
            msg = f"{name}: expected a name, got {type(value).__name__} without one."
            raise ConfigurationError(msg)
    rng = np.random.default_rng(derive_seed(0, "mri device", site, scanner))
    pairs = rng.uniform(
        [[0.85] * 2, [0.016] * 2, [700.0] * 2], [[1.15] * 2, [0.038] * 2, [2200.0] * 2]
    )
    gamma, noise, gain = ((float(a), float(b)) for a, b in pairs)
    blur, leak = rng.uniform([0.5, 0.0], [1.1, 0.10]).tolist()
    return Device(gamma, noise, gain, blur, leak, rng.normal(0.0, [0.10, 0.10, 0.08, 0.05, 0.05]))


def measured(
    canvas: Canvas,
    device: Device,
    bmi: float,
    rng: np.random.Generator,
    gain: ArrayLike = 1.0,
    left_fat: ArrayLike = 0.0,
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return what the scanner stores, STIR first.

    `gain` is what a flare of the coil adds, `left_fat` the share of fat that STIR leaves.
    """
    x, y, z = canvas.x / 90.0, canvas.y / 90.0, thick_slices(canvas.z) / 24.0
    own = rng.normal(0.0, 0.04, size=3).tolist()
    right, down, back, edge_x, edge_y = device.coil.tolist()
    # The coil lies under the back: the stack is brighter behind, and fades at the sides.
    field = (right + own[0]) * x + (down + own[1]) * y + (0.15 + back + own[2]) * z
    field = np.exp(field - (0.12 + edge_x) * x**2 - (0.10 + edge_y) * y**2) * np.asarray(gain)
    t1, stir = thick_slices(canvas.t1), thick_slices(canvas.stir)
    leak = device.leak * (0.5 + 0.5 * (x**2 + y**2)) + np.asarray(left_fat)
    spill = leak * np.clip(t1 - 0.5, 0.0, None)
    # A larger body is farther from the coil.
    weak = 1.0 + 0.02 * max(bmi - 25.0, 0.0)
    out = []
    for number, signal in enumerate((stir + spill, t1)):
        seen = _blurred(signal, canvas, device.blur) ** device.gamma[number] * field
        sigma = device.noise[number] * weak
        real, imaginary = sigma * rng.standard_normal((2, *seen.shape), dtype=np.float32)
        magnitude = device.gain[number] * np.sqrt((seen + real) ** 2 + imaginary**2)
        out.append(np.clip(np.rint(magnitude), 0, _WHITE).astype(np.uint16))
    return out[0], out[1]


def _blurred(signal: Field, canvas: Canvas, blur_mm: float) -> Field:
    _, height, width = FIELD_MM
    _, n_rows, n_columns = canvas.size
    for axis, step in ((1, height / n_rows), (2, width / n_columns)):
        signal = ndimage.gaussian_filter1d(signal, blur_mm / step, axis=axis, truncate=3.0)
    return np.maximum(signal, np.float32(0.0))
