"""Drawn MR stacks of the sacroiliac joints, STIR and T1, with what is where.

A phantom, built from lengths in mm: bones, joints, muscle, fat, vessels and the lesions that
readers of such stacks look for. Nothing in it is derived from a person.

Coordinates in mm: x to the patient's left (the image's right), y along the sacrum to the foot,
z from front to back; the origin is the middle of the stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from asfusion._checks import check_choice, check_integer, check_number
from asfusion._random import derive_seed
from asfusion.exceptions import ConfigurationError, ShapeError

Field: TypeAlias = NDArray[np.float32]

QUADRANTS = tuple(
    f"{side} {half} {bone}"
    for side in ("right", "left")
    for bone in ("ilium", "sacrum")
    for half in ("upper", "lower")
)

_FIELD_MM = (48.0, 180.0, 180.0)  # depth, height, width of the stack
_PARTS = 2  # thin slices that are averaged to one thick one
_JOINT_TOP, _JOINT_MIDDLE, _JOINT_BOTTOM = -44.0, -4.0, 36.0
_WHITE = 4095  # twelve bits, as scanners store


class MriLabel(IntEnum):
    """What a voxel of `SacroiliacMRI.labels` is."""

    OTHER = 0
    SACRUM = 1
    ILIUM_RIGHT = 2
    ILIUM_LEFT = 3
    JOINT_RIGHT = 4
    JOINT_LEFT = 5
    OEDEMA = 6
    FAT_LESION = 7
    EROSION = 8


@dataclass(frozen=True, eq=False)
class SacroiliacMRI:
    """What `render_mri` returns.

    Parameters
    ----------
    stir : ndarray of shape (Z, Y, X), uint16
        Fluid is bright, fat is dark; below 4096.
    t1 : ndarray of shape (Z, Y, X), uint16
        Fat is bright, fluid is dark; below 4096.
    labels : ndarray of shape (Z, Y, X), uint8
        `MriLabel` of each voxel; a lesion hides the bone it is in.
    spacing_mm : tuple of three float
        Distance of slices, rows and columns, in mm.

    Examples
    --------
    >>> import numpy as np
    >>> black = np.zeros((4, 32, 32), dtype=np.uint16)
    >>> stack = SacroiliacMRI(black, black, black.astype(np.uint8), (12.0, 5.6, 5.6))
    >>> int((stack.labels == MriLabel.OEDEMA).sum())
    0
    """

    stir: NDArray[np.uint16]
    t1: NDArray[np.uint16]
    labels: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def render_mri(
    *,
    oedema: ArrayLike,
    fat: ArrayLike,
    erosion: ArrayLike,
    sex: Literal["female", "male"],
    bmi: float,
    age: float,
    site: str,
    scanner: str,
    rng: np.random.Generator,
    nonspecific: float = 0.0,
    shape: Sequence[int] = (12, 96, 96),
) -> SacroiliacMRI:
    """Draw a semicoronal stack of the sacroiliac joints.

    Parameters
    ----------
    oedema : array of shape (8,)
        Bone marrow oedema of each of `QUADRANTS`, from 0 (none) to 1 (deep and bright).
    fat : array of shape (8,)
        Fat metaplasia of each quadrant, from 0 to 1.
    erosion : array of shape (2,)
        Erosion of the right and of the left joint, from 0 (smooth) to 1 (ragged).
    sex : {"female", "male"}
        Sets proportions of the pelvis.
    bmi : float
        Body mass index in kg/m2: more fat between muscles, a weaker signal.
    age : float
        Age in years: fattier marrow, drier discs.
    site, scanner : str
        Name the device; equal names give equal contrast, sharpness and coil.
    rng : Generator
        Draws anatomy, lesions and noise. Equal streams give equal stacks, and the same
        anatomy for other lesions.
    nonspecific : float
        Oedema that is not inflammation (strain, childbirth), from 0 (none) to 1: one
        small, shallow patch at the front of one joint.
    shape : sequence of three int
        Slices, rows and columns of the stack; its size in mm stays the same.

    Returns
    -------
    SacroiliacMRI
        Both weightings, the labels and the spacing.

    Raises
    ------
    ShapeError
        If lesions are not given as arrays of these shapes.
    ConfigurationError
        If another parameter is unusable.

    Notes
    -----
    Lesions look as the ASAS working group defines them [1]_: oedema is bright on STIR and
    dark on T1 and touches the joint, fat metaplasia is bright on T1 with a sharp border,
    erosion breaks the dark line of the bone. Joints are halved into an upper and a lower
    part on both bones, as the SPARCC score does [2]_. Noise is Rician.

    References
    ----------
    .. [1] Maksymowych et al., "MRI lesions in the sacroiliac joints of patients with
       spondyloarthritis: an update of definitions and validation by the ASAS MRI working
       group", Ann Rheum Dis 2019. https://doi.org/10.1136/annrheumdis-2019-215589
    .. [2] Maksymowych et al., "Spondyloarthritis Research Consortium of Canada magnetic
       resonance imaging index for assessment of sacroiliac joint inflammation in ankylosing
       spondylitis", Arthritis Rheum 2005. https://doi.org/10.1002/art.21445

    Examples
    --------
    >>> import numpy as np
    >>> none = np.zeros(8)
    >>> stack = render_mri(
    ...     oedema=none, fat=none, erosion=[0, 0], sex="female", bmi=24, age=33,
    ...     site="A", scanner="MR 1", rng=np.random.default_rng(0),
    ... )
    >>> stack.stir.shape, stack.spacing_mm
    ((12, 96, 96), (4.0, 1.875, 1.875))
    """
    lesions = _Lesions(
        _check_amounts(oedema, "oedema", 8).reshape(2, 2, 2),
        _check_amounts(fat, "fat", 8).reshape(2, 2, 2),
        _check_amounts(erosion, "erosion", 2),
        check_number(nonspecific, "nonspecific", minimum=0.0, maximum=1.0),
    )
    check_choice(sex, "sex", ("female", "male"))
    check_number(bmi, "bmi", minimum=10.0, maximum=80.0)
    check_number(age, "age", minimum=0.0, maximum=120.0)
    size = _check_shape(shape)
    device = _device(site, scanner)
    # One stream each: more of a lesion moves neither the bones nor the noise.
    body_rng, lesion_rng, signal_rng = rng.spawn(3)
    body = _Body(sex, bmi, age, body_rng)
    canvas = _Canvas(size, body_rng)
    _paint_soft_tissue(canvas, body)
    sides = [_side(canvas, body, sign) for sign in (-1, 1)]
    _paint_lumbar(canvas, body)
    for side in sides:
        _paint_bones(canvas, body, side)
    _paint_canal_and_foramina(canvas, body, body_rng)
    _paint_vessels(canvas, body, body_rng)
    for index, side in enumerate(sides):
        _paint_lesions(canvas, side, lesions.of_joint(index), lesion_rng)
    _paint_strain(canvas, sides, lesions.nonspecific, lesion_rng)
    stir, t1 = _measure(canvas, device, bmi, signal_rng)
    depth, height, width = (length / n for length, n in zip(_FIELD_MM, size, strict=True))
    return SacroiliacMRI(stir, t1, canvas.labels(), (depth, height, width))


# -- what is drawn ---------------------------------------------------------------------


class _JointLesions(NamedTuple):
    """Amounts from 0 to 1 at one joint: rows ilium and sacrum, columns upper and lower."""

    oedema: NDArray[np.float64]
    fat: NDArray[np.float64]
    erosion: float


class _Lesions(NamedTuple):
    """Amounts from 0 to 1, first axis right and left."""

    oedema: NDArray[np.float64]
    fat: NDArray[np.float64]
    erosion: NDArray[np.float64]
    nonspecific: float

    def of_joint(self, index: int) -> _JointLesions:
        return _JointLesions(self.oedema[index], self.fat[index], float(self.erosion[index]))


class _Side(NamedTuple):
    """One joint on its half of the grid; distances in mm, positive inside."""

    sign: int
    columns: slice
    along: Field  # (1, Y, 1), height of the row at this joint
    there: Field  # (Z, Y, 1), 1 between the ends of the cartilaginous joint
    to_bone: tuple[Field, Field]  # (Z, Y, X), from the joint into the ilium and the sacrum
    inside: tuple[Field, Field]  # (Z, Y, X), from the nearest border of each
    gap: Field  # (Z, Y, 1), half the distance of the bones


class _Body:
    """Sizes in mm, and tissue, of one patient."""

    def __init__(self, sex: str, bmi: float, age: float, rng: np.random.Generator) -> None:
        female = sex == "female"
        draws = rng.normal(size=12).tolist()
        self.wide = (1.05 if female else 1.0) * (1.0 + 0.03 * draws[0])
        self.tall = (0.93 if female else 1.0) * (1.0 + 0.03 * draws[1])
        self.tilt = 0.03 * draws[2]
        self.right = 3.0 * draws[3]
        self.down = 4.0 * draws[4]
        self.slope = 0.22 + 0.03 * draws[5]
        self.bend = rng.uniform(0.0, 2.0 * np.pi, 2).tolist()
        self.gap = 1.3 + 0.12 * draws[6]
        self.lean = 0.30 + 0.05 * draws[7]
        self.old = float(np.clip((age - 20.0) / 50.0, 0.0, 1.2))
        self.lard = float(np.clip((bmi - 20.0) / 20.0, 0.0, 1.5))
        self.marrow_t1 = 0.50 + 0.14 * self.old + 0.03 * draws[8]
        self.marrow_stir = 0.17 - 0.05 * self.old + 0.02 * draws[9]
        self.thick = 26.0 + 2.0 * draws[10] - (2.0 if female else 0.0)
        self.disc = 0.50 - 0.30 * self.old + 0.06 * draws[11]


class _Canvas:
    """Signal of both weightings on thin slices, and how much of a voxel each label fills."""

    def __init__(self, size: tuple[int, int, int], rng: np.random.Generator) -> None:
        n_slices, n_rows, n_columns = size
        depth, height, width = _FIELD_MM
        self.size = size
        self.z = _steps(n_slices * _PARTS, depth)[:, None, None]
        self.y = _steps(n_rows, height)[None, :, None]
        self.x = _steps(n_columns, width)[None, None, :]
        thin = (n_slices * _PARTS, n_rows, n_columns)
        self.t1 = np.zeros(thin, dtype=np.float32)
        self.stir = np.zeros(thin, dtype=np.float32)
        self._shares: dict[MriLabel, Field] = {}
        # Two grains: fields of marrow and muscle, and trabeculae.
        self.coarse = _grain(thin, (6, 14, 14), rng)
        self.fine = _grain(thin, (12, 44, 44), rng)
        # No border of a body is a straight line.
        self.bent_x = self.x + 1.6 * _grain(thin, (4, 7, 7), rng)
        self.bent_y = self.y + 1.6 * _grain(thin, (4, 7, 7), rng)

    def paint(self, share: Field, t1: Any, stir: Any, columns: slice = slice(None)) -> None:
        """Cover a share of each voxel with a tissue."""
        for signal, value in ((self.t1, t1), (self.stir, stir)):
            part = signal[..., columns]
            part += share * (value - part)

    def blob(self, centre: Sequence[float], radii: Sequence[float], t1: float, stir: float) -> None:
        """Cover an ellipsoid with centre and radii (x, y, z) in mm."""
        axes = (self.x, self.y, self.z)
        near: list[slice] = []
        away: Any = 0.0
        for axis, at, radius in zip(axes, centre, radii, strict=True):
            inside = np.flatnonzero(np.abs(axis.ravel() - at) < radius + 3.0)
            if not inside.size:
                return
            near.append(slice(int(inside[0]), int(inside[-1]) + 1))
            part = axis.ravel()[near[-1]]
            away = away + (((part - at) / radius) ** 2).reshape(
                [-1 if n > 1 else 1 for n in axis.shape]
            )
        share = _soft((1.0 - np.sqrt(away)) * np.float32(min(radii)), 1.0)
        box = (near[2], near[1], near[0])
        for signal, value in ((self.t1, t1), (self.stir, stir)):
            signal[box] += share * (np.float32(value) - signal[box])

    def mark(self, label: MriLabel, share: Field, columns: slice) -> None:
        """Note what fills voxels; what is noted later is on top."""
        filled = self._shares.setdefault(label, np.zeros_like(self.t1))[..., columns]
        np.maximum(filled, share, out=filled)

    def labels(self) -> NDArray[np.uint8]:
        """Return the label of each voxel of the thick slices."""
        out = np.zeros(self.size, dtype=np.uint8)
        for label, share in self._shares.items():
            out[_thick(share) > 0.5] = label
        return out


def _paint_soft_tissue(canvas: _Canvas, body: _Body) -> None:
    """Paint fat everywhere, and muscle in bundles."""
    canvas.t1 += 0.86 + 0.04 * canvas.coarse
    canvas.stir += 0.07
    x, y, z = canvas.bent_x - body.right, canvas.bent_y - body.down, canvas.z
    across = np.abs(x)
    streaks = _soft(canvas.coarse + 0.6 * canvas.fine - 1.6 + 0.8 * body.lard, 0.35)
    edge = body.wide * 78.0 - 0.20 * z + 0.08 * np.abs(y + 10.0) - 6.0
    gluteus = np.minimum(across - edge, 64.0 - y + 0.3 * (across - 60.0))
    psoas = 17.0 - np.hypot(across - 46.0, 0.35 * np.maximum(y + 72.0, 0.0)) - 0.3 * (z + 16.0)
    iliacus = np.minimum(-25.0 - z + 0.55 * np.maximum(across - 60.0, 0.0), across - 56.0)
    piriformis = np.minimum(9.0 - np.abs(y - 60.0 - 0.18 * (across - 50.0)), across - 26.0)
    multifidus = 17.0 - np.hypot(across - 17.0, 1.2 * np.minimum(z - 24.0, 0.0))
    multifidus = np.minimum(multifidus, 62.0 - y - 0.5 * across)
    muscle = np.zeros_like(canvas.t1)
    for inside in (gluteus, psoas, iliacus, piriformis, multifidus):
        np.maximum(muscle, _soft(inside, 1.0), out=muscle)
    t1 = 0.30 + (0.20 + 0.25 * body.lard) * streaks
    canvas.paint(muscle, t1, 0.26 - 0.10 * streaks + 0.012 * canvas.fine)


def _paint_lumbar(canvas: _Canvas, body: _Body) -> None:
    """Paint the last lumbar vertebra and the disc under it."""
    across = np.abs(canvas.bent_x - body.right)
    y = (canvas.bent_y - body.down) / body.tall
    # A waist in the middle of the body, and end plates that are hollow.
    waist = 3.5 * np.exp(-(((y + 80.0) / 9.0) ** 2))
    column = np.minimum(26.0 - waist - across, 14.0 - canvas.z)
    hollow = 1.5 * np.exp(-((across / 14.0) ** 2))
    vertebra = np.minimum(column, -65.0 - hollow - y)
    marrow_t1 = body.marrow_t1 + 0.05 * canvas.coarse
    canvas.paint(_soft(vertebra, 1.0), marrow_t1, body.marrow_stir)
    canvas.paint(_rim(vertebra), 0.10, 0.06)
    disc = np.minimum(column, 4.0 + hollow - np.abs(y + 61.0))
    nucleus = _soft(np.minimum(disc, 17.0 - across) - 1.0, 2.5)
    canvas.paint(_soft(disc, 1.0), 0.22, 0.10 + body.disc * nucleus)


def _side(canvas: _Canvas, body: _Body, sign: int) -> _Side:
    """Return where the bones of one side are."""
    half = np.flatnonzero(sign * (canvas.x.ravel() - body.right) >= 0.0)
    columns = slice(int(half[0]), int(half[-1]) + 1)
    z, x = canvas.z, canvas.bent_x[..., columns] - np.float32(body.right)
    across = sign * x
    y = (canvas.bent_y[..., columns] - body.down + body.tilt * x) / body.tall
    along = (canvas.y - body.down + body.tilt * sign * 45.0) / body.tall
    wave = 2.4 * np.sin(0.065 * along + body.bend[(sign + 1) // 2])
    place = body.wide * (49.0 - body.slope * (along + 8.0) - body.lean * z + wave)
    # Behind and above the cartilage the bones part, and ligaments hold them.
    parted = 6.0 * _soft(z - 9.0, 6.0) * _soft(-6.0 - along, 10.0)
    gap = body.gap + parted
    distance = across - place
    to_ilium, to_sacrum = distance - gap, -distance - gap
    hollow = 15.0 * np.exp(-(((y - 26.0) / 30.0) ** 2) - (across / 34.0) ** 2)
    sacrum = _least(
        to_sacrum,
        place - 0.55 * np.maximum(along - 40.0, 0.0) - across,
        y + 56.0 - 0.25 * np.maximum(across - 24.0, 0.0),
        # These two run along the slices; unweighted, their rim would fill several.
        2.5 * (z + 29.0 - hollow),
        2.0 * (17.0 + 0.14 * across - z),
    )
    thick = body.thick * np.clip(1.0 - 0.008 * (along + 4.0), 0.5, 1.5)
    ilium = _least(
        to_ilium - 0.5 * np.maximum(_JOINT_TOP - along, 0.0),
        place + thick - across,
        42.0 + 0.6 * distance - y,
        z + 25.0 - 0.55 * np.maximum(across - 60.0, 0.0),
    )
    there = _soft(np.minimum(along - _JOINT_TOP, _JOINT_BOTTOM - along), 3.0) * (1 - parted / 6.0)
    return _Side(sign, columns, along, there, (to_ilium, to_sacrum), (ilium, sacrum), gap)


def _paint_bones(canvas: _Canvas, body: _Body, side: _Side) -> None:
    """Paint marrow, cortex and the joint of one side."""
    coarse, fine = canvas.coarse[..., side.columns], canvas.fine[..., side.columns]
    marrow_t1 = body.marrow_t1 + 0.055 * coarse + 0.03 * fine
    marrow_stir = body.marrow_stir - 0.03 * coarse + 0.015 * fine
    right = side.sign < 0
    names = (MriLabel.ILIUM_RIGHT if right else MriLabel.ILIUM_LEFT, MriLabel.SACRUM)
    for inside, name, fatty in zip(side.inside, names, (0.04, 0.0), strict=True):
        bone = _soft(inside, 1.0)
        canvas.paint(bone, marrow_t1 + fatty, marrow_stir - 0.3 * fatty, side.columns)
        canvas.paint(_rim(inside), 0.08, 0.05, side.columns)
        canvas.mark(name, bone, side.columns)
    between = _least(-side.to_bone[0], -side.to_bone[1])
    cartilage = _soft(between, 0.8) * side.there
    canvas.paint(0.8 * cartilage, 0.30, 0.24, side.columns)
    ligament = _soft(between, 1.0) * (1.0 - side.there) * _soft(side.along + 60.0, 6.0)
    ligament *= _soft(_JOINT_BOTTOM - side.along, 4.0)
    canvas.paint(0.6 * ligament * _soft(fine + 0.3, 0.6), 0.15, 0.10, side.columns)
    strip = _soft(between + 1.0, 0.8) * side.there
    canvas.mark(MriLabel.JOINT_RIGHT if right else MriLabel.JOINT_LEFT, strip, side.columns)


def _paint_canal_and_foramina(canvas: _Canvas, body: _Body, rng: np.random.Generator) -> None:
    """Paint the remains of sacral discs, the foramina with their nerves, and the canal."""
    jitter = rng.normal(0.0, 1.0, size=(4, 2, 3))
    for level, strength in ((-17.0, 1.0), (9.0, 0.5)):
        row = body.down + body.tall * level
        canvas.blob(
            (body.right, row, -4.0), (16.0, 1.6, 12.0), 0.20, 0.10 + 0.35 * body.disc * strength
        )
    for level, (row, across) in enumerate(
        ((-30.0, 24.0), (-4.0, 20.0), (20.0, 17.0), (42.0, 14.0))
    ):
        for sign in (-1, 1):
            dx, dy, dr = jitter[level, (sign + 1) // 2].tolist()
            x, y = body.right + sign * (across + dx), body.down + body.tall * row + dy
            radius = max(6.6 - 0.6 * level + 0.6 * dr, 3.0)
            # The openings run outwards on their way from back to front.
            for z in (-15.0, -5.0, 5.0, 15.0):
                at = x - sign * 0.22 * z
                canvas.blob((at, y, z), (radius, 0.8 * radius, 7.0), 0.84, 0.09)
                canvas.blob((at, y, z), (0.55 * radius, 0.45 * radius, 7.0), 0.34, 0.36)
                canvas.blob((at + sign * 2.8, y - 2.6, z), (1.7, 1.7, 7.0), 0.28, 0.62)
    end = body.down + rng.uniform(-12.0, 10.0)
    top = -100.0
    middle, half = 0.5 * (end + top), 0.5 * (end - top)
    canvas.blob((body.right, body.down, 11.0), (9.0, 55.0, 6.0), 0.82, 0.09)
    canvas.blob((body.right, middle, 11.0), (6.5, half, 4.6), 0.14, 0.85)
    for at in (-3.0, 0.5, 3.2):
        canvas.blob((body.right + at, middle, 11.5), (1.0, half, 2.5), 0.30, 0.45)


def _paint_vessels(canvas: _Canvas, body: _Body, rng: np.random.Generator) -> None:
    """Paint veins, which are as bright on STIR as oedema is and mean nothing."""
    for sign in (-1, 1):
        # Gluteal vessels leave the pelvis just under the joint.
        for _ in range(4):
            across, row = rng.uniform([44.0, 46.0], [74.0, 58.0])
            radius = rng.uniform(1.4, 3.0)
            centre = (body.right + sign * across, body.down + row, rng.uniform(-20.0, 14.0))
            canvas.blob(centre, (2.0 * radius, radius, 9.0), 0.20, rng.uniform(0.6, 0.95))
        # Iliac vessels cross in front of the wing of the sacrum.
        for _ in range(3):
            across, row = rng.uniform([34.0, -52.0], [52.0, 10.0])
            radius = rng.uniform(2.0, 3.6)
            centre = (body.right + sign * across, body.down + row, -26.0)
            canvas.blob(centre, (radius, 3.0 * radius, 5.0), 0.16, rng.uniform(0.5, 0.95))
        for _ in range(3):
            across, row = rng.uniform([78.0, -50.0], [92.0, 60.0])
            radius = rng.uniform(1.0, 2.0)
            centre = (body.right + sign * across, row, rng.uniform(-20.0, 20.0))
            canvas.blob(centre, (radius, 4.0 * radius, 6.0), 0.25, rng.uniform(0.4, 0.8))
        # Nutrient vessels run in the bone itself.
        for _ in range(2):
            across, row, radius = rng.uniform([28.0, -38.0, 0.9], [64.0, 30.0, 1.6])
            centre = (body.right + sign * across, body.down + row, rng.uniform(-14.0, 8.0))
            canvas.blob(centre, (2.2 * radius, radius, 3.5), 0.34, rng.uniform(0.35, 0.65))
    for _ in range(6):
        x, y, bright = rng.uniform([-24.0, 0.0, 0.4], [24.0, 50.0, 0.85])
        centre = (body.right + x, body.down + y, rng.uniform(-26.0, -16.0))
        canvas.blob(centre, (1.5, rng.uniform(1.5, 5.0), 4.0), 0.2, bright)


# -- lesions ---------------------------------------------------------------------------


def _paint_lesions(
    canvas: _Canvas, side: _Side, lesions: _JointLesions, rng: np.random.Generator
) -> None:
    """Paint fat first, oedema over it, and erosions through both."""
    kinds = (
        (MriLabel.FAT_LESION, lesions.fat, rng.normal(size=(2, 2, 3, 5)), rng.random((2, 2, 3))),
        (MriLabel.OEDEMA, lesions.oedema, rng.normal(size=(2, 2, 3, 5)), rng.random((2, 2, 3))),
    )
    pits = rng.random((2, 9, 5))
    for label, amounts, draws, places in kinds:
        for bone, half in np.ndindex(2, 2):
            amount = float(amounts[bone, half])
            if amount > 0.0:
                depth = _depth(canvas, side, half, amount, draws[bone, half], places[bone, half])
                _paint_patch(canvas, side, bone, depth, label, amount)
    if lesions.erosion > 0.0:
        for bone in (0, 1):
            _paint_pits(canvas, side, bone, lesions.erosion, pits[bone])


def _depth(
    canvas: _Canvas, side: _Side, half: int, amount: float, draws: Any, places: Any
) -> Field:
    """Return how deep a patch reaches into the bone (Z, Y, 1), in mm."""
    ends = (_JOINT_TOP + 6.0, _JOINT_MIDDLE - 5.0), (_JOINT_MIDDLE + 5.0, _JOINT_BOTTOM - 6.0)
    low, high = ends[half]
    depth = np.zeros(np.broadcast_shapes(canvas.z.shape, side.along.shape), dtype=np.float32)
    for number, (draw, place) in enumerate(zip(draws, places, strict=True)):
        # One spot first; more of the lesion makes it deeper and adds others.
        grown = float(np.clip(4.0 * amount - 0.9 * number, 0.0, 1.0)) * (0.6 + 0.4 * amount)
        middle, slice_at = low + (high - low) * place, -6.0 + 8.0 * np.tanh(draw[0])
        wide = (9.5 + 2.0 * np.tanh(draw[1])) * (0.75 + 0.55 * amount)
        long = (8.0 + 2.0 * np.tanh(draw[2])) * (0.75 + 0.55 * amount)
        away = ((side.along - middle) / wide) ** 2 + ((canvas.z - slice_at) / long) ** 2
        depth = depth + grown * (10.0 + 3.0 * np.tanh(draw[3])) * np.exp(-(away**1.5))
    upper = _soft(_JOINT_MIDDLE - side.along, 2.0)
    return np.asarray(depth * (upper if half == 0 else 1.0 - upper), dtype=np.float32)


def _paint_patch(
    canvas: _Canvas, side: _Side, bone: int, depth: Field, label: MriLabel, amount: float
) -> None:
    """Paint a patch of oedema or fat from the joint into the marrow."""
    coarse, fine = canvas.coarse[..., side.columns], canvas.fine[..., side.columns]
    to_bone = side.to_bone[bone]
    ragged = np.minimum(depth / 4.0, 1.0) * (1.6 * coarse + 0.9 * fine)
    sharp = label is MriLabel.FAT_LESION
    inside = depth - 0.8 - to_bone + (0.5 if sharp else 1.0) * ragged
    share = _soft(inside, 1.0 if sharp else 3.2) * _soft(side.inside[bone] - 0.5, 0.8) * side.there
    if sharp:
        canvas.paint((0.6 + 0.4 * amount**0.5) * share, 0.94, 0.07, side.columns)
    else:
        # Brightest at the joint, and water dilutes the fat that T1 shows.
        bright = (0.42 + 0.42 * amount**0.5) * np.exp(-np.maximum(to_bone, 0.0) / 30.0)
        bright = bright * np.clip(1.0 + 0.10 * coarse + 0.08 * fine, 0.5, None)
        canvas.paint(0.9 * share, 0.32 + 0.03 * fine, bright, side.columns)
    canvas.mark(label, share, side.columns)


def _paint_pits(canvas: _Canvas, side: _Side, bone: int, amount: float, draws: Any) -> None:
    """Paint erosions of one bone of a joint; the ilium has more and deeper ones."""
    depth = np.zeros(np.broadcast_shapes(canvas.z.shape, side.along.shape), dtype=np.float32)
    reach = (5.2, 3.2)[bone]
    for number, draw in enumerate(draws):
        grown = float(np.clip(9.0 * amount - 0.9 * number, 0.0, 1.0)) * (0.5 + 0.5 * amount)
        middle = _JOINT_TOP + 6.0 + (_JOINT_BOTTOM - _JOINT_TOP - 12.0) * draw[0]
        slice_at, wide, long = -18.0 + 26.0 * draw[1], 1.8 + 1.8 * draw[2], 3.5 + 3.0 * draw[3]
        away = ((side.along - middle) / wide) ** 2 + ((canvas.z - slice_at) / long) ** 2
        depth = np.maximum(depth, grown * reach * (0.7 + 0.5 * draw[4]) * np.exp(-away))
    to_bone = side.to_bone[bone]
    share = _soft(depth - 0.9 - to_bone, 0.9) * _soft(to_bone + 1.0, 0.8) * side.there
    canvas.paint(share, 0.20, 0.36, side.columns)
    canvas.mark(MriLabel.EROSION, share * _soft(depth - 1.2, 0.6), side.columns)


def _paint_strain(
    canvas: _Canvas, sides: Sequence[_Side], amount: float, rng: np.random.Generator
) -> None:
    """Paint the small patch at the front of a joint that healthy people have."""
    index, bone = rng.integers(2, size=2).tolist()
    place, wide = rng.uniform([-34.0, 4.0], [26.0, 6.0])
    if amount == 0.0:
        return
    side = sides[index]
    away = ((side.along - place) / wide) ** 2 + ((canvas.z + 18.0) / 6.0) ** 2
    depth = np.asarray((3.5 + 3.0 * amount) * np.exp(-away), dtype=np.float32)
    _paint_patch(canvas, side, bone, depth, MriLabel.OEDEMA, 0.5 * amount)


# -- what the scanner makes of it ------------------------------------------------------


class _Device(NamedTuple):
    """How one scanner differs from the next; first value STIR, second T1."""

    gamma: tuple[float, float]
    noise: tuple[float, float]
    gain: tuple[float, float]
    blur: float  # standard deviation in mm
    leak: float  # share of the fat signal that STIR leaves
    coil: NDArray[np.float64]


def _device(site: str, scanner: str) -> _Device:
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
    return _Device(gamma, noise, gain, blur, leak, rng.normal(0.0, [0.10, 0.10, 0.08, 0.05, 0.05]))


def _measure(
    canvas: _Canvas, device: _Device, bmi: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return what the scanner stores, STIR first."""
    x, y, z = canvas.x / 90.0, canvas.y / 90.0, _thick(canvas.z) / 24.0
    own = rng.normal(0.0, 0.04, size=3).tolist()
    right, down, back, edge_x, edge_y = device.coil.tolist()
    # The coil lies under the back: the stack is brighter behind, and fades at the sides.
    field = (right + own[0]) * x + (down + own[1]) * y + (0.15 + back + own[2]) * z
    field = np.exp(field - (0.12 + edge_x) * x**2 - (0.10 + edge_y) * y**2)
    t1, stir = _thick(canvas.t1), _thick(canvas.stir)
    spill = device.leak * (0.5 + 0.5 * (x**2 + y**2)) * np.clip(t1 - 0.5, 0.0, None)
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


def _blurred(signal: Field, canvas: _Canvas, blur_mm: float) -> Field:
    _, height, width = _FIELD_MM
    _, n_rows, n_columns = canvas.size
    for axis, step in ((1, height / n_rows), (2, width / n_columns)):
        signal = ndimage.gaussian_filter1d(signal, blur_mm / step, axis=axis, truncate=3.0)
    return np.maximum(signal, np.float32(0.0))


# -- small parts -----------------------------------------------------------------------


def _steps(n: int, length: float) -> Field:
    """Return the middles of n equal parts of a length around zero."""
    return np.asarray(((np.arange(n) + 0.5) / n - 0.5) * length, dtype=np.float32)


def _soft(inside: Any, edge: float) -> Field:
    """Return 1 well inside, 0 well outside: the share of a voxel that a border leaves."""
    share = np.asarray(inside, dtype=np.float32) * np.float32(0.5 / edge) + np.float32(0.5)
    return np.asarray(np.clip(share, 0.0, 1.0))


def _rim(inside: Field) -> Field:
    """Return the share of cortical bone along a border."""
    share = 1.0 - np.abs(inside - np.float32(0.3)) / np.float32(1.5)
    return np.asarray(0.85 * np.clip(share, 0.0, 1.0))


def _least(first: Any, *others: Any) -> Field:
    out = np.asarray(first, dtype=np.float32)
    for other in others:
        out = np.minimum(out, other)
    return np.asarray(out, dtype=np.float32)


def _thick(thin: Field) -> Field:
    """Return thick slices, the means of thin ones."""
    return np.asarray(thin.reshape(-1, _PARTS, *thin.shape[1:]).mean(axis=1), dtype=np.float32)


def _grain(
    shape: tuple[int, int, int], cells: tuple[int, int, int], rng: np.random.Generator
) -> Field:
    """Return smooth noise of mean 0 and standard deviation about 1."""
    out = rng.standard_normal(cells, dtype=np.float32)
    for axis, (n, n_cells) in enumerate(zip(shape, cells, strict=True)):
        place = np.linspace(0.0, n_cells - 1.0, n, dtype=np.float32)
        first = np.minimum(place.astype(int), n_cells - 2)
        step = place - first
        upper = step**2 * (3.0 - 2.0 * step)
        # Between two cells the mean of both is calmer than either.
        spread = np.sqrt((1.0 - upper) ** 2 + upper**2)
        along = [-1 if other == axis else 1 for other in range(3)]
        lower, upper = (((1.0 - upper) / spread), (upper / spread))
        low, high = out.take(first, axis), out.take(first + 1, axis)
        out = low * lower.reshape(along) + high * upper.reshape(along)
    return np.asarray(out, dtype=np.float32)


# -- checks ----------------------------------------------------------------------------


def _check_amounts(values: ArrayLike, name: str, n: int) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (n,):
        msg = f"{name}: expected {n} amounts, got an array of shape {array.shape}."
        raise ShapeError(msg)
    if not bool(((array >= 0.0) & (array <= 1.0)).all()):
        msg = f"{name}: expected amounts from 0 to 1, got one outside. Clip or scale them."
        raise ConfigurationError(msg)
    return array


def _check_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) != 3:
        msg = f"shape: expected slices, rows and columns, got {len(shape)} numbers."
        raise ConfigurationError(msg)
    n_slices, n_rows, n_columns = shape
    return (
        check_integer(n_slices, "shape", minimum=4),
        check_integer(n_rows, "shape", minimum=32),
        check_integer(n_columns, "shape", minimum=32),
    )
