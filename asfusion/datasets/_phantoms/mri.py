"""Drawn MR stacks of the sacroiliac joints, STIR and T1, with what is where.

A phantom, built from lengths in mm: bones, joints, muscle, fat, vessels and the lesions that
readers of such stacks look for. Nothing in it is derived from a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asfusion._checks import check_choice, check_integer, check_number
from asfusion.datasets._phantoms.mri_anatomy import Body, paint_anatomy
from asfusion.datasets._phantoms.mri_canvas import FIELD_MM, Canvas
from asfusion.datasets._phantoms.mri_device import device_of, measured
from asfusion.datasets._phantoms.mri_lesions import Lesions, paint_lesions
from asfusion.datasets._phantoms.mri_mimics import Mimics
from asfusion.exceptions import ConfigurationError, ShapeError

QUADRANTS = tuple(
    f"{side} {half} {bone}"
    for side in ("right", "left")
    for bone in ("ilium", "sacrum")
    for half in ("upper", "lower")
)


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
    >>> from asfusion.datasets._phantoms.mri_canvas import MriLabel
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
    mimics: Mimics | None = None,
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
    mimics : Mimics, optional
        What else looks like oedema; its strain takes the place of `nonspecific`.
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
    if mimics is not None:
        nonspecific = mimics.strain
    lesions = Lesions(
        _check_amounts(oedema, "oedema", 8).reshape(2, 2, 2),
        _check_amounts(fat, "fat", 8).reshape(2, 2, 2),
        _check_amounts(erosion, "erosion", 2),
        check_number(nonspecific, "nonspecific", minimum=0.0, maximum=1.0),
    )
    check_choice(sex, "sex", ("female", "male"))
    check_number(bmi, "bmi", minimum=10.0, maximum=80.0)
    check_number(age, "age", minimum=0.0, maximum=120.0)
    size = _check_shape(shape)
    device = device_of(site, scanner)
    # One stream each: more of a lesion moves neither the bones nor the noise.
    body_rng, lesion_rng, signal_rng, mimic_rng = rng.spawn(4)
    body = Body(sex, bmi, age, body_rng)
    canvas = Canvas(size, body_rng)
    sides = paint_anatomy(canvas, body, body_rng)
    if mimics is not None:
        mimics.paint(canvas, body, mimic_rng)
    paint_lesions(canvas, sides, lesions, lesion_rng)
    gain, left_fat = np.ones((), np.float32), np.zeros((), np.float32)
    if mimics is not None:
        gain, left_fat = mimics.gain(canvas, mimic_rng), mimics.left_fat(canvas, mimic_rng)
    stir, t1 = measured(canvas, device, bmi, signal_rng, gain, left_fat)
    depth, height, width = (length / n for length, n in zip(FIELD_MM, size, strict=True))
    return SacroiliacMRI(stir, t1, canvas.labels(), (depth, height, width))


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
