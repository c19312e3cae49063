"""The sacroiliac joint of a phantom radiograph, and what sacroiliitis does to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, check_number
from asfusion.datasets._phantoms.film import Field, Points, soft_step, wave, window
from asfusion.exceptions import ConfigurationError

_GAP = 3.1  # mm, width of a healthy joint in the projection
_LENGTH = 80.0  # mm, of the joint

# Mean and spread of erosion and sclerosis by grade. Grades 0 to 2 overlap on purpose: readers
# disagree on them too.
_EROSION = ((0.02, 0.02), (0.13, 0.07), (0.29, 0.11), (0.70, 0.16), (0.06, 0.05))
_SCLEROSIS = ((0.05, 0.04), (0.17, 0.09), (0.31, 0.12), (0.62, 0.17), (0.30, 0.15))


@dataclass(frozen=True)
class JointLesions:
    """How strongly one sacroiliac joint is changed.

    Parameters
    ----------
    erosion : float
        Pits and blur along the margins, 0 (none) to 1 (unitless).
    sclerosis : float
        Dense bone beside the joint, 0 to 1 (unitless).
    width : float
        Width of the joint space over the healthy width (unitless).
    ankylosis : float
        Share of the joint's length that bone has bridged, 0 to 1 (unitless).

    Raises
    ------
    ConfigurationError
        If a strength is out of its range.
    """

    erosion: float
    sclerosis: float
    width: float
    ankylosis: float

    def __post_init__(self) -> None:
        for name in ("erosion", "sclerosis", "ankylosis"):
            check_number(getattr(self, name), name, minimum=0.0, maximum=1.0)
        check_number(self.width, "width", minimum=0.1, maximum=4.0)


NO_LESIONS = JointLesions(erosion=0.0, sclerosis=0.0, width=1.0, ankylosis=0.0)


def checked_grade(grade: object) -> int:
    number = check_integer(grade, "grades", minimum=0)
    if number > 4:
        msg = f"grades: expected modified New York grades from 0 to 4, got {number}."
        raise ConfigurationError(msg)
    return number


def draw_lesions(grade: int, rng: np.random.Generator) -> JointLesions:
    """Return lesions that a reader of the modified New York criteria would give `grade`."""
    grade = checked_grade(grade)
    erosion = float(np.clip(rng.normal(*_EROSION[grade]), 0.0, 1.0))
    sclerosis = float(np.clip(rng.normal(*_SCLEROSIS[grade]), 0.0, 1.0))
    widened = bool(rng.random() < 0.5)
    spread = float(rng.normal(0.0, 0.07))
    width = 1.0 + spread
    if grade == 3:
        width = (1.35 if widened else 0.62) + spread
    ankylosis = {3: float(rng.uniform(0.15, 0.45)), 4: float(rng.uniform(0.93, 1.0))}
    return JointLesions(erosion, sclerosis, width, ankylosis.get(grade, 0.0))


@dataclass(frozen=True)
class JointFrame:
    """Coordinates along (0 top to 1) and across (mm, towards the ilium) one joint."""

    crop: tuple[slice, slice]
    along: Field
    across: Field
    fine: bool = False

    @classmethod
    def around(
        cls,
        line: Points,
        side: float,
        shape: tuple[int, int],
        spacing: float,
        *,
        fine: bool = False,
    ) -> JointFrame:
        """Return the frame of a joint that runs along `line` (pixels); -1 right, 1 left."""
        margin = 26.0 / spacing
        reach = np.array([margin, 1.0])
        crop, x, y = window(line.min(0) - reach, line.max(0) + reach, shape)
        order = np.argsort(line[:, 1])
        rows = y[:, 0]
        middle = np.interp(rows, line[order, 1], line[order, 0])
        lean = np.gradient(middle) if rows.size > 1 else np.zeros_like(rows)
        upright = (1.0 / np.sqrt(1.0 + lean**2))[:, None]
        along = (rows - line[:, 1].min()) / np.ptp(line[:, 1])
        across = side * (x - middle[:, None]) * upright * spacing
        return cls(crop, along[:, None].astype(np.float32), across.astype(np.float32), fine)

    @property
    def gap(self) -> NDArray[np.bool_]:
        """Where the joint space is, or was before it fused."""
        return (np.abs(self.across) < 0.6 * _GAP) & (self.along > 0.0) & (self.along < 1.0)


def joint_change(
    frame: JointFrame,
    lesions: JointLesions,
    clarity: float,
    density: float,
    rng: np.random.Generator,
) -> Field:
    """Return what the joint and its lesions add to the bone inside the frame."""
    s, t = frame.along, frame.across
    n = s.shape[0]
    rough, patch = wave(n, 14, rng)[:, None], wave(n, 6, rng)[:, None]
    if frame.fine:  # margins are ragged on a smaller scale than coarse pixels show
        rough = (rough + wave(n, 45, rng)[:, None]) / 1.3
    opened = 1.0 - _bridges(n, lesions.ankylosis, rng)[:, None]
    ends = soft_step((s - 0.02) / 0.04) * soft_step((0.98 - s) / 0.03)
    width = _GAP * lesions.width * np.clip(1.0 + 0.45 * lesions.erosion * rough, 0.35, 2.0)
    # The upper third is ligament: wider apart, with no parallel margins.
    depth = clarity * (0.30 + 0.18 * soft_step((s - 0.3) / 0.12)) * opened * ends
    blur = (0.45 if frame.fine else 0.7) + 1.0 * lesions.erosion
    rind, share = (0.55, 1.4) if frame.fine else (0.9, 1.0)
    out = -depth * _slit(t, width, blur)
    behind = t + 8.0 + 3.0 * (s - 0.5)
    out -= 0.28 * depth * _slit(behind, 0.9 * width, blur + 0.3)
    worn = np.clip(1.0 - lesions.erosion * (0.75 + 0.5 * patch), 0.05, 1.0) * opened * ends
    worn = worn * share
    out += density * worn * clarity * 0.20 * _hill(t, width / 2.0 + 1.0, rind)
    out += density * worn * clarity * 0.13 * _hill(t, -width / 2.0 - 1.0, rind)
    out += _sclerosis(s, t, lesions, patch)
    out += _pits(s, t, lesions, rng)
    return out + _nicks(s, t, width, lesions, rng) if frame.fine else out


def _bridges(n: int, share: float, rng: np.random.Generator) -> Field:
    """Return where along the joint bone bridges it: 1 bridged, 0 open."""
    if share <= 0.0:
        return np.zeros(n)
    height = wave(n, 7, rng)
    limit = np.quantile(height, 1.0 - min(share, 1.0))
    solid = 0.5 + 0.5 * np.tanh((height - limit) / 0.25)
    return np.asarray(np.maximum(solid, np.clip((share - 0.85) / 0.1, 0.0, 1.0)))


def _hill(across: Field, centre: Field, width: float) -> Field:
    return np.asarray(np.exp(-0.5 * ((across - centre) / width) ** 2))


def _slit(across: Field, width: Field, edge: float) -> Field:
    upper, lower = np.tanh((across + width / 2.0) / edge), np.tanh((across - width / 2.0) / edge)
    return np.asarray(0.5 * (upper - lower))


def _sclerosis(s: Field, t: Field, lesions: JointLesions, patch: Field) -> Field:
    low = (0.35 + 0.65 * soft_step((s - 0.35) / 0.2)) * soft_step((1.02 - s) / 0.05)
    spread = 3.5 + 7.5 * lesions.sclerosis
    strength = 0.42 * lesions.sclerosis * low * np.clip(1.0 + 0.3 * patch, 0.3, 1.8)
    iliac = np.exp(-((np.clip(t, 0.0, None) / spread) ** 2))
    sacral = 0.55 * np.exp(-((np.clip(-t, 0.0, None) / (0.7 * spread)) ** 2))
    # The joint is oblique to the beam, so dense bone also lies over the gap.
    return np.asarray(strength * np.where(t > 0.0, iliac, sacral + 0.25 * np.exp(-(t**2) / 4.0)))


def _nicks(
    s: Field, t: Field, width: Field, lesions: JointLesions, rng: np.random.Generator
) -> Field:
    """Return small erosions that bite into the margins; coarse pixels average them away."""
    out = np.zeros(np.broadcast_shapes(s.shape, t.shape), np.float32)
    for _ in range(rng.poisson(22.0 * lesions.erosion)):
        at, size, deep = rng.uniform(0.25, 0.97), rng.uniform(0.5, 1.0), rng.uniform(0.15, 0.30)
        side = 1.0 if rng.random() < 0.7 else -1.0
        rows = np.flatnonzero(np.abs(s[:, 0] - at) * _LENGTH < 4.0)
        if rows.size:
            near = slice(int(rows[0]), int(rows[-1]) + 1)
            margin = side * (width[near] / 2.0 + 0.6 * size)
            square = ((s[near] - at) * _LENGTH) ** 2 + (t[near] - margin) ** 2
            out[near] -= deep * np.exp(-0.5 * square / size**2)
    return out


def _pits(s: Field, t: Field, lesions: JointLesions, rng: np.random.Generator) -> Field:
    out = np.zeros(np.broadcast_shapes(s.shape, t.shape), np.float32)
    for _ in range(rng.poisson(9.0 * lesions.erosion)):
        at, size = rng.uniform(0.25, 0.95), rng.uniform(1.3, 2.6)
        across = rng.uniform(1.5, 4.5) * (1.0 if rng.random() < 0.75 else -0.8)
        square = ((s - at) * _LENGTH) ** 2 + (t - across) ** 2
        dark = np.exp(-0.5 * square / size**2)
        out += 0.12 * lesions.sclerosis * np.exp(-0.5 * square / (2.2 * size) ** 2) - 0.26 * dark
    return out
