"""Phantom radiographs of the spine from the side: drawn bones, never a patient's.

The patient faces the image's left. Lengths are in mm along the axes of each vertebra: u towards
the front and v towards the feet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asfusion._checks import check_choice, check_integer, check_number
from asfusion.datasets._pelvis import (
    MAX_GREY,
    Detector,
    Field,
    Points,
    blurred,
    checked_shape,
    fill,
    grain,
    smooth_outline,
    soft_step,
    stamp,
    stroke,
)
from asfusion.exceptions import ConfigurationError

N_CORNERS: Final = 12  # anterior corners per region
N_BODIES: Final = 7
N_DISCS: Final = 6


class SpineLabel(IntEnum):
    """Codes of the segmentation.

    The scored vertebral bodies have the codes ``BODY`` to ``BODY + 6`` from top to bottom (C2 to
    T1, or T12 to S1), the discs between them ``DISC`` to ``DISC + 5``.
    """

    BACKGROUND = 0
    SOFT_TISSUE = 1
    POSTERIOR = 2
    OTHER_BONE = 3
    SYNDESMOPHYTE = 4
    BODY = 10
    DISC = 20


@dataclass(frozen=True, eq=False)
class SpineFilm:
    """A phantom radiograph of one part of the spine and its segmentation.

    Parameters
    ----------
    pixels : ndarray of shape (H, W), uint16
        Grey values, 0 to 4095 (unitless); larger is denser.
    labels : ndarray of shape (H, W), uint8
        Codes of `SpineLabel`.
    corner_xy : ndarray of shape (12, 2), float64
        Column and row of the scored corners (pixels) in the order of the scores.
    spacing_mm : float
        Edge of a pixel (mm).
    """

    pixels: NDArray[np.uint16]
    labels: NDArray[np.uint8]
    corner_xy: NDArray[np.float64]
    spacing_mm: float


@dataclass(frozen=True)
class _Plan:
    """Sizes (mm) and tilts (degrees) of one region, from top to bottom.

    The first and the last vertebra are drawn and not scored.
    """

    heights: tuple[float, ...]
    depths: tuple[float, ...]
    discs: tuple[float, ...]
    tilts: tuple[float, ...]
    spinous: tuple[tuple[float, float], ...]  # end of each spinous process: length, drop
    blade: float  # height of the spinous processes over that of the arch
    taper: tuple[float, ...]  # how much narrower a body is below than above
    width: float  # of the film, mm
    middle: tuple[float, float]  # where the fourth scored vertebra lies, share of the film
    hollow: float  # of the walls, share of the depth
    first_body: int  # the atlas has none


_PLANS: Final = {
    "lumbar": _Plan(
        heights=(24, 26, 27.5, 28.5, 29, 29, 28.5, 30, 26),
        depths=(31, 32.5, 33.5, 34.5, 35.5, 36, 36, 34, 26),
        discs=(5.5, 7, 8.5, 10, 11.5, 12.5, 11.5, 1.6),
        tilts=(-13, -13, -12, -9, -4, 3, 14, 36, 52),
        spinous=(
            (33, 26), (31, 19), (32, 13), (33, 11), (33, 10), (32, 9), (27, 9), (18, 6), (12, 4),
        ),
        blade=1.75,
        taper=(0, 0, 0, 0, 0, 0, 0, 0.26, 0.30),
        width=208.0,
        middle=(0.45, 0.49),
        hollow=0.042,
        first_body=0,
    ),
    "cervical": _Plan(
        heights=(11, 20, 14.5, 14, 14, 14.5, 16, 18, 19),
        depths=(11, 16.5, 17, 17, 17.5, 18, 18.5, 19, 20),
        discs=(3.0, 5.5, 5.5, 5.5, 5.5, 5.5, 5.0, 4.5),
        tilts=(-9, -10, -9, -5, 1, 7, 14, 20, 22),
        spinous=(
            (19, 0), (24, 9), (19, 9), (20, 10), (23, 11), (28, 13), (36, 16), (34, 22), (32, 26),
        ),
        blade=1.05,
        taper=(0, 0, 0, 0, 0, 0, 0, 0, 0),
        width=136.0,
        middle=(0.50, 0.50),
        hollow=0.032,
        first_body=1,
    ),
}  # fmt: skip


_CREST = np.array([(-58, 130), (-66, 90), (-62, 52), (-42, 18), (-8, 0), (25, 6), (45, 30),
                   (52, 70), (46, 120)], dtype=float)  # fmt: skip


@dataclass(frozen=True)
class _Corner:
    """How one anterior corner looks."""

    score: int
    squaring: float
    erosion: float
    sclerosis: float
    growth: float  # share of the way to the neighbour's corner

    @classmethod
    def draw(cls, score: int, rng: np.random.Generator) -> _Corner:
        """Return a look that a reader of the mSASSS would score so."""
        mild = (
            rng.dirichlet((0.8, 0.8, 0.8)) * 1.25 + 0.08 if score == 1 else rng.uniform(0, 0.12, 3)
        )
        worn = rng.uniform(0.2, 0.9) if score >= 2 else 0.0
        growth = (0.0, 0.0, float(rng.uniform(0.26, 0.44)), 1.0)[score]
        squaring, erosion, sclerosis = (float(np.clip(x, 0.0, 1.0)) for x in mild)
        return cls(score, max(squaring, worn), erosion, max(sclerosis, 0.5 * worn), growth)


@dataclass(frozen=True)
class _Vertebra:
    """Place and size of one vertebra on the film."""

    centre: Points  # pixels
    tilt: float  # radians
    height: float
    depth: float
    spacing: float

    def at(self, points: ArrayLike) -> Points:
        """Return the pixels of points (u, v in mm)."""
        local = np.asarray(points, dtype=float) / self.spacing
        front = np.array([-np.cos(self.tilt), np.sin(self.tilt)])
        down = np.array([np.sin(self.tilt), np.cos(self.tilt)])
        return np.asarray(self.centre + local[..., :1] * front + local[..., 1:] * down)

    def corner(self, lower: bool) -> Points:
        """Return the pixel of the upper or lower anterior corner."""
        return self.at([self.depth / 2.0, self.height / 2.0 * (1.0 if lower else -1.0)])


def _stack(
    plan: _Plan, shape: tuple[int, int], stiff: float, size: float, rng: np.random.Generator
) -> list[_Vertebra]:
    """Return the vertebrae from top to bottom; a stiff spine has lost part of its curve."""
    spacing = plan.width * float(rng.uniform(0.97, 1.06)) / (0.75 * shape[0])
    heights = size * np.asarray(plan.heights) * rng.normal(1.0, 0.02, len(plan.heights))
    depths = size * np.asarray(plan.depths) * rng.normal(1.0, 0.015, len(plan.depths))
    discs = size * np.asarray(plan.discs) * rng.normal(1.0, 0.07, len(plan.discs))
    tilts = np.asarray(plan.tilts, dtype=float)
    curve = rng.normal(1.0, 0.16) * (1.0 - 0.45 * stiff)
    tilts = tilts.mean() + (tilts - tilts.mean()) * curve + rng.normal(0.0, 2.5)
    tilts = np.deg2rad(tilts + rng.normal(0.0, 0.7, tilts.size))
    between = (tilts[1:] + tilts[:-1]) / 2.0
    steps = (heights[1:] + heights[:-1]) / 2.0 + discs
    moves = steps[:, None] * np.stack([np.sin(between), np.cos(between)], axis=1)
    centres = np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)]) / spacing
    middle = np.asarray(plan.middle) * [shape[1], shape[0]] + rng.normal(0.0, 3.0, 2) / spacing
    centres += middle - (centres[1] + centres[N_BODIES]) / 2.0
    return [
        _Vertebra(centre, float(tilt), float(height), float(depth), spacing)
        for centre, tilt, height, depth in zip(centres, tilts, heights, depths, strict=True)
    ]


class _Drawing:
    """The bones of one film, drawn one after the other."""

    def __init__(self, shape: tuple[int, int], spine: list[_Vertebra], plan: _Plan) -> None:
        self.shape, self.spine, self.plan = shape, spine, plan
        self.spacing = spine[0].spacing
        self.unit = plan.depths[4] / 35.0  # lesions are as much smaller as the vertebrae
        self.bone = np.zeros(shape, np.float32)
        self.labels = np.zeros(shape, np.uint8)

    def size(self, length: float) -> float:
        return length / self.spacing

    def body(self, k: int, upper: _Corner, lower: _Corner, rng: np.random.Generator) -> Field:
        """Return the cover of one vertebral body."""
        bone = self.spine[k]
        w, h = bone.depth / 2.0, bone.height / 2.0
        dent = self.plan.hollow * bone.depth
        hollow = [dent * (1.0 - 0.95 * c.squaring) for c in (upper, lower)]
        bite = [2.6 * c.erosion for c in (upper, lower)]
        plate = 0.045 * bone.height
        outline = np.array([
            (w - 0.9 - bite[0], -h - 0.1), (w - 0.1 - 0.5 * bite[0], -h + 0.7 + 0.6 * bite[0]),
            (w - 0.8 * hollow[0], -0.45 * h), (w - sum(hollow) / 2.0, 0.0),
            (w - 0.8 * hollow[1], 0.45 * h),
            (w - 0.1 - 0.5 * bite[1], h - 0.7 - 0.6 * bite[1]), (w - 0.9 - bite[1], h + 0.1),
            (0.45 * w, h - plate), (-0.3 * w, h - 1.3 * plate),
            (-w + 0.8, h), (-w, h - 1.0), (-w + dent, 0.0), (-w, -h + 1.0), (-w + 0.8, -h),
            (-0.3 * w, -h + 1.3 * plate), (0.45 * w, -h + plate),
        ])  # fmt: skip
        outline += rng.normal(0.0, 0.006 * bone.depth, outline.shape)
        outline[:, 0] *= 1.0 - self.plan.taper[k] * (0.5 + outline[:, 1] / bone.height)
        return fill(smooth_outline(bone.at(outline), steps=4), self.shape)

    def shell(self, cover: Field, core: float, rind: float, depth: float) -> None:
        rim = np.clip(cover - blurred(cover, self.size(depth)), 0.0, None)
        self.bone += cover * (core + rind * rim)

    def arch(self, k: int) -> None:
        """Draw pedicle, joints and spinous process behind one body."""
        bone = self.spine[k]
        w, h = bone.depth / 2.0, bone.height / 2.0
        length, drop = self.plan.spinous[k]
        thick = 0.17 * bone.height
        root = -w - 0.42 * bone.depth
        layer = np.zeros(self.shape, np.float32)
        pedicle = bone.at([(-w, -0.42 * h), (root, -0.30 * h)])
        stroke(layer, pedicle, self.size(0.95 * thick), 1.0)
        joint = bone.at([(root + 2.0, -1.15 * h), (root - 1.5, 0.1 * h), (root - 4.0, 1.25 * h)])
        stroke(layer, joint, self.size(0.95 * thick), 0.9)
        process = bone.at([
            (root - 2.0, 0.25 * h), (root - 0.55 * length, 0.2 * h + 0.55 * drop),
            (root - 0.85 * length, 0.2 * h + 0.9 * drop),
        ])  # fmt: skip
        stroke(layer, process[:2], self.size(1.05 * thick), 0.8)
        stroke(layer, process[1:], self.size(self.plan.blade * thick), 0.85)
        cover = soft_step((layer - 0.5) / 0.16)
        self.labels[cover > 0.5] = SpineLabel.POSTERIOR
        self.shell(cover, 0.17, 0.42, 1.4)

    def discs(self) -> None:
        """Label the discs between the scored bodies."""
        for k in range(N_DISCS):
            above, below = self.spine[k + 1], self.spine[k + 2]
            box = np.stack([
                above.corner(True), below.corner(False),
                below.at([-below.depth / 2.0, -below.height / 2.0]),
                above.at([-above.depth / 2.0, above.height / 2.0]),
            ])  # fmt: skip
            free = (fill(box, self.shape) > 0.5) & (self.labels < SpineLabel.BODY)
            self.labels[free] = SpineLabel.DISC + k

    def corners(self, looks: list[_Corner], rng: np.random.Generator) -> Points:
        """Draw shiny corners and new bone; return the corners' pixels."""
        places = np.stack([
            self.spine[1 + (k + 1) // 2].corner(lower=k % 2 == 0) for k in range(N_CORNERS)
        ])  # fmt: skip
        unit = self.unit
        for k, look in enumerate(looks):
            bone = self.spine[1 + (k + 1) // 2]
            sign = 1.0 if k % 2 == 0 else -1.0
            h, w = bone.height / 2.0, bone.depth / 2.0
            inside = bone.at([w - 3.2 * unit, sign * (h - 3.0 * unit)])
            stamp(self.bone, inside, (self.size(4.6 * unit),) * 2, 0.30 * look.sclerosis, edge=0.5)
            if look.growth > 0.0:
                self._bridge(k, places, look.growth, rng)
        return places

    def _bridge(self, k: int, places: Points, growth: float, rng: np.random.Generator) -> None:
        """Draw new bone along the border of the disc towards the neighbour's corner."""
        bone, unit = self.spine[1 + (k + 1) // 2], self.unit
        start, end = places[k], places[k + 1 if k % 2 == 0 else k - 1]
        front = bone.at([1.0, 0.0]) - bone.at([0.0, 0.0])
        bulge = rng.uniform(1.6, 3.2) * unit
        share = np.linspace(0.0, 1.0, 9)
        path = start + share[:, None] * (end - start)
        path += (4.0 * share * (1.0 - share) * bulge - 0.5 * unit)[:, None] * front
        # It springs from the wall beside the corner, not from the corner's tip.
        sign = 1.0 if k % 2 == 0 else -1.0
        root = bone.at([bone.depth / 2.0 - 0.8 * unit, sign * (bone.height / 2.0 - 4.5 * unit)])
        kept = path[share <= max(growth, 0.13)]
        line = smooth_outline(np.concatenate([root[None], kept]), closed=False, steps=3)
        width = rng.uniform(0.95, 1.35) * unit
        new = np.zeros(self.shape, np.float32)
        stroke(new, line, self.size(width), 1.0)
        self.bone = self.bone + 0.42 * new * (1.0 - 0.6 * np.clip(self.bone / 0.5, 0.0, 1.0))
        free = (new > 0.6) & (self.labels < SpineLabel.BODY)
        self.labels[free] = SpineLabel.SYNDESMOPHYTE


def _curve_x(spine: list[_Vertebra], shape: tuple[int, int]) -> Field:
    """Return the column of the spine's axis at every row."""
    axis = np.stack([bone.centre for bone in spine])
    rows = np.arange(shape[0]) + 0.5
    return np.asarray(np.interp(rows, axis[:, 1], axis[:, 0])[:, None])


def _lumbar_surroundings(draw: _Drawing, bmi: float, rng: np.random.Generator) -> Field:
    """Return what lies around the lumbar spine: tissue, lung, ribs, iliac crests, gas."""
    height, width = draw.shape
    mm = draw.spacing
    x = (np.arange(width)[None, :] + 0.5 - _curve_x(draw.spine, draw.shape)) * mm
    y = (np.arange(height)[:, None] + 0.5) / height
    excess = (bmi - 22.0) / 10.0
    back = 78.0 + 10.0 * excess
    tissue = 1.05 * soft_step((back - x) / 7.0) * np.sqrt(np.clip(1.0 - (x / 200.0) ** 2, 0.1, 1.0))
    tissue += 0.10 * excess * soft_step((y - 0.4) / 0.4) + 0.22 * soft_step((y - 0.72) / 0.10)
    dome = rng.uniform(0.06, 0.16) + 0.0009 * x
    tissue -= 0.34 * soft_step((dome - y) / 0.015) * soft_step((60.0 - np.abs(x)) / 25.0)
    # The two iliac crests lie over L5 and do not quite coincide.
    top = draw.spine[5].at([0.0, draw.spine[5].height * rng.uniform(0.2, 0.7)])
    for _ in range(2):
        shift = rng.normal(0.0, 4.0, 2) / mm
        line = smooth_outline(top + shift - _CREST * [1.0 / mm, -1.0 / mm], closed=False)
        stroke(draw.bone, line, 1.5 / mm, 0.16)
        cover = fill(
            np.concatenate([line, [[line[-1, 0], height], [line[0, 0], height]]]), draw.shape
        )
        tissue += 0.11 * cover
    for level in (0, 1):
        start = draw.spine[level].at([-draw.spine[level].depth / 2.0 - 4.0, -4.0])
        rib = start + np.array([(0, 0), (-20, 10), (-48, 34), (-70, 62)]) / mm
        stroke(draw.bone, smooth_outline(rib, closed=False), 2.6 / mm, 0.09)
    for _ in range(int(rng.poisson(5.0))):
        place = np.array([rng.uniform(0.02, 0.38) * width, rng.uniform(0.25, 0.9) * height])
        radii = (rng.uniform(6.0, 15.0) / mm, rng.uniform(5.0, 12.0) / mm)
        stamp(tissue, place, radii, -rng.uniform(0.10, 0.28), edge=0.2, angle=rng.uniform(0.0, 3.0))
    return np.asarray(tissue)


def _cervical_surroundings(draw: _Drawing, bmi: float, rng: np.random.Generator) -> Field:
    """Return what lies around the cervical spine: neck, airway, skull base, jaw, shoulders."""
    height, width = draw.shape
    mm = draw.spacing
    x = (np.arange(width)[None, :] + 0.5 - _curve_x(draw.spine, draw.shape)) * mm
    y = (np.arange(height)[:, None] + 0.5) / height
    thick = 1.0 + 0.10 * (bmi - 22.0) / 10.0
    back, front = 52.0 * thick, -52.0 * thick
    chin = 26.0 * soft_step((0.24 - y) / 0.05)
    neck = soft_step((back - x) / 2.5) * soft_step((x - front + chin) / 2.5)
    tissue = 0.75 * thick * neck
    # Air in the throat and windpipe, in front of the tissue before the vertebrae.
    gap = 13.0 + 9.0 * soft_step((y - 0.55) / 0.06)
    tissue -= 0.34 * soft_step((7.0 - np.abs(x + gap + 9.0)) / 1.6) * soft_step((y - 0.10) / 0.05)
    shoulder = rng.uniform(0.80, 0.90) - 0.0006 * x
    tissue += rng.uniform(0.5, 0.9) * soft_step((y - shoulder) / 0.06)
    first = draw.spine[0]
    base = first.at([(28, -22), (10, -17), (-8, -15), (-24, -19), (-46, -30)])
    stroke(draw.bone, smooth_outline(base, closed=False), 2.0 / mm, 0.32)
    skull = np.concatenate([smooth_outline(base, closed=False), [[width, -5.0], [0.0, -5.0]]])
    tissue += 0.30 * fill(skull, draw.shape)
    jaw = first.at([(22, -18), (26, 6), (31, 22), (52, 30), (74, 33)])
    for shift in rng.normal(0.0, 2.0, (2, 2)):
        stroke(draw.bone, smooth_outline(jaw, closed=False) + shift / mm, 3.6 / mm, 0.16)
    hyoid = draw.spine[2].at([(26, 8), (36, 12), (42, 13)])
    stroke(draw.bone, hyoid, 1.4 / mm, 0.16)
    ring = first.at([(-2, 0), (6.0, 0)])
    stroke(draw.bone, ring + first.at([3.0, 2.0]) - first.centre, 3.0 / mm, 0.18)
    dens = draw.spine[1].at([(-1, -8), (0, -20), (-1, -27)])
    stroke(draw.bone, dens, 3.2 / mm, 0.24)
    return np.asarray(tissue)


def _checked_corners(corners: Any) -> NDArray[np.int64]:
    scores = np.asarray(corners)
    if scores.shape != (2 * N_CORNERS,) or scores.dtype.kind not in "iu":
        msg = (
            "corners: expected 24 integers (C2 lower to T1 upper, then T12 lower to S1 upper), got "
            f"{scores.dtype.name} of shape {scores.shape}."
        )
        raise ConfigurationError(msg)
    if scores.min() < 0 or scores.max() > 3:
        msg = "corners: expected mSASSS scores from 0 to 3; at least one lies outside."
        raise ConfigurationError(msg)
    return scores.astype(np.int64)


def render_spine(
    *,
    corners: NDArray[np.integer[Any]],
    region: str,
    sex: str = "f",
    bmi: float = 25.0,
    age: float = 40.0,
    shape: tuple[int, int] = (256, 192),
    scanner: int = 0,
    exposure: float = 1.0,
    anatomy: np.random.Generator | None = None,
    rng: np.random.Generator,
) -> SpineFilm:
    """Draw a phantom radiograph of the neck or the lower back from the side.

    Parameters
    ----------
    corners : ndarray of shape (24,), int
        mSASSS scores (unitless) of the anterior corners: 0 normal, 1 erosion, sclerosis or
        squaring, 2 syndesmophyte, 3 bridge. Twelve from C2 lower to T1 upper, then twelve from
        T12 lower to S1 upper.
    region : {'cervical', 'lumbar'}
        Which twelve corners the film shows.
    sex : {'f', 'm'}, default='f'
        Size of the vertebrae and loss of bone with age.
    bmi : float, default=25.0
        Body mass index (kg/m^2), 12 to 70.
    age : float, default=40.0
        Age (years), 16 to 110.
    shape : tuple of two int, default=(256, 192)
        Height and width (pixels), at least 64.
    scanner : int, default=0
        Scanner: noise, blur, contrast and range of grey values.
    exposure : float, default=1.0
        Dose at the detector over the usual one (unitless), 0.05 to 20.
    anatomy : Generator, optional
        Draws what belongs to the patient. Equal streams give equal bones at each visit.
        Without it the bones come from `rng`.
    rng : Generator
        Draws everything else.

    Returns
    -------
    SpineFilm
        Pixels, segmentation, places of the corners and spacing.

    Raises
    ------
    ConfigurationError
        If a parameter is out of its range.

    Notes
    -----
    A bridge joins two corners. It is drawn if either of the two is scored 3.
    NOTE[DIFF] The score rates corners in words. How large a lesion is drawn for a score, and that
    the curve of the spine flattens as scores rise, are choices of this phantom.

    References
    ----------
    Creemers MCW, Franssen MJAM, van't Hof MA, et al. Assessment of outcome in ankylosing
    spondylitis: an extended radiographic scoring system. Ann Rheum Dis 2005;64(1):127-129.
    doi:10.1136/ard.2004.020503

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.zeros(24, dtype=int)
    >>> film = render_spine(corners=scores, region="lumbar", rng=np.random.default_rng(0))
    >>> film.pixels.shape, film.corner_xy.shape
    ((256, 192), (12, 2))
    """
    scores = _checked_corners(corners)
    check_choice(region, "region", ("cervical", "lumbar"))
    check_choice(sex, "sex", ("f", "m"))
    bmi = check_number(bmi, "bmi", minimum=12.0, maximum=70.0)
    age = check_number(age, "age", minimum=16.0, maximum=110.0)
    exposure = check_number(exposure, "exposure", minimum=0.05, maximum=20.0)
    shape = checked_shape(shape)
    scanner = check_integer(scanner, "scanner", minimum=0)
    shown = scores[:N_CORNERS] if region == "cervical" else scores[N_CORNERS:]
    bones = np.random.default_rng(int((rng if anatomy is None else anatomy).integers(2**31)))
    plan = _PLANS[region]
    size = float(bones.normal(0.95 if sex == "f" else 1.03, 0.02))
    spine = _stack(plan, shape, float(shown.mean()) / 3.0, size, bones)
    loss = 0.004 * max(age - 35.0, 0.0) + (0.007 * max(age - 52.0, 0.0) if sex == "f" else 0.0)
    density = float(bones.normal(1.0, 0.07)) * max(1.0 - loss, 0.55)
    draw = _Drawing(shape, spine, plan)
    looks = [_Corner.draw(int(score), rng) for score in shown]
    places = _drawn(draw, looks, density, bones, rng)
    around = _lumbar_surroundings if region == "lumbar" else _cervical_surroundings
    tissue = around(draw, bmi, rng)
    pixels = _exposed(draw, tissue, Detector(scanner), exposure, bmi, rng)
    draw.labels[(draw.labels == 0) & (tissue > 0.3)] = SpineLabel.SOFT_TISSUE
    return SpineFilm(pixels, draw.labels, places.astype(np.float64), float(draw.spacing))


def _drawn(
    draw: _Drawing,
    looks: list[_Corner],
    density: float,
    bones: np.random.Generator,
    rng: np.random.Generator,
) -> Points:
    """Draw arches, bodies and corners; return where the corners are."""
    plain = [_Corner(0, 0.0, 0.0, 0.0, 0.0)] * 3  # above and below the scored corners
    around = [*plain, *looks, *plain]
    for k in range(len(draw.spine)):
        draw.arch(k)
    rind = 1.9 * max(draw.unit, 0.6)
    for k in range(draw.plan.first_body, len(draw.spine)):
        cover = draw.body(k, around[2 * k], around[2 * k + 1], bones)
        draw.shell(cover, 0.30, 0.55, rind)
        scored = 1 <= k <= N_BODIES
        draw.labels[cover > 0.5] = SpineLabel.BODY + k - 1 if scored else SpineLabel.OTHER_BONE
    draw.bone *= density
    draw.discs()
    return draw.corners(looks, rng)


def _exposed(
    draw: _Drawing,
    tissue: Field,
    detector: Detector,
    exposure: float,
    bmi: float,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    texture = grain(draw.shape, rng)
    attenuation = tissue + np.clip(draw.bone, 0.0, None) * (1.0 + 0.07 * texture)
    dose = exposure * float(np.exp(-0.07 * (bmi - 25.0)))
    picture = detector.expose(attenuation.astype(np.float32), dose, rng)
    everything = np.ones(draw.shape, dtype=np.bool_)
    shown = detector.grey(picture, everything, float(rng.normal(0.0, 0.025)))
    return np.round(np.clip(shown, 0.0, 1.0) * MAX_GREY).astype(np.uint16)
