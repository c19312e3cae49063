"""Phantom radiographs of the pelvis: drawn bones, never a patient's.

The phantom is a set of outlines in three dimensions. A tilted or turned pelvis, and the angled
beam of a Ferguson view, are projections of the same outlines. What the beam meets adds up as
attenuation; scatter, noise and the processing of the scanner turn it into grey values.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_integer, check_number
from asfusion.datasets._phantoms.film import (
    MAX_GREY,
    Detector,
    Field,
    checked_edge,
    checked_shape,
    grain,
)
from asfusion.datasets._phantoms.implants import Implants, metal_in_pelvis
from asfusion.datasets._phantoms.pelvis_bones import Body, Bones, PelvisLabel, View
from asfusion.datasets._phantoms.pelvis_lesions import (
    NO_LESIONS,
    JointFrame,
    JointLesions,
    checked_grade,
    draw_lesions,
    joint_change,
)
from asfusion.datasets._phantoms.pelvis_surroundings import (
    bowel,
    collimated,
    lead_marker,
    soft_tissue,
)
from asfusion.exceptions import ConfigurationError


@dataclass(frozen=True, eq=False)
class PelvisFilm:
    """A phantom radiograph of the pelvis and its segmentation.

    Parameters
    ----------
    pixels : ndarray of shape (H, W), uint16
        Grey values, 0 to 4095 (unitless); larger is denser.
    labels : ndarray of shape (H, W), uint8
        Codes of `PelvisLabel`. The patient's right is on the image's left.
    spacing_mm : float
        Edge of a pixel (mm).
    lesions : tuple of two JointLesions
        What was drawn at the patient's right and left joint.
    change : ndarray of shape (2, H, W), float32
        Attenuation that the lesions of the right and of the left joint add or, below zero, take
        away: the bones of the film less those of the same patient with a sound joint (unitless;
        a sound joint line takes 0.3 to 0.5 away, and the noise of a detector is 0.01 to 0.02).
        Joints of grade 0 vary a little, too.
    """

    pixels: NDArray[np.uint16]
    labels: NDArray[np.uint8]
    spacing_mm: float
    lesions: tuple[JointLesions, JointLesions]
    change: NDArray[np.float32]


def render_pelvis(
    *,
    grades: tuple[int, int],
    lesions: tuple[JointLesions, JointLesions] | None = None,
    sex: str = "f",
    bmi: float = 25.0,
    age: float = 40.0,
    shape: tuple[int, int] = (224, 256),
    film_mm: float | None = None,
    implants: Implants | None = None,
    scanner: int = 0,
    site: int = 0,
    projection: str = "ap",
    exposure: float = 1.0,
    anatomy: np.random.Generator | None = None,
    rng: np.random.Generator,
) -> PelvisFilm:
    """Draw a phantom radiograph of the pelvis.

    Parameters
    ----------
    grades : tuple of two int
        Modified New York grade (0 to 4, unitless) of the patient's right and left joint.
    lesions : tuple of two JointLesions, optional
        Lesions to draw instead of those that follow from the grades.
    sex : {'f', 'm'}, default='f'
        Shape of the pelvis and loss of bone with age.
    bmi : float, default=25.0
        Body mass index (kg/m^2), 12 to 70: more soft tissue, scatter and noise.
    age : float, default=40.0
        Age (years), 16 to 110.
    shape : tuple of two int, default=(224, 256)
        Height and width (pixels), at least 64; of fine films they follow from the field.
    film_mm : float, optional
        Edge of a pixel (mm) of a fine film, 0.2 to 1.5. Position, field, zoom, collimation and
        gas vary more than on others, and noise and blur are given per mm.
    implants : Implants, optional
        Metal in the patient.
    scanner : int, default=0
        Scanner: noise, blur, contrast and range of grey values.
    site : int, default=0
        Hospital: collimation, position and the lead marker of the side.
    projection : {'ap', 'ferguson'}, default='ap'
        Straight, or with the beam angled towards the head, which shows more of the joints.
    exposure : float, default=1.0
        Dose at the detector over the usual one (unitless), 0.05 to 20.
    anatomy : Generator, optional
        Draws what belongs to the patient. Equal streams give equal bones at each visit.
        Without it the bones come from `rng`.
    rng : Generator
        Draws everything else: position, lesions, bowel gas and noise.

    Returns
    -------
    PelvisFilm
        Pixels, segmentation, spacing, and what the lesions changed.

    Raises
    ------
    ConfigurationError
        If a parameter is out of its range.

    Notes
    -----
    NOTE[DIFF] The criteria grade in words. The strengths of the lesions per grade are a choice
    of this phantom and no measurement. The joint is labelled where it runs, or ran before it
    fused.

    References
    ----------
    van der Linden S, Valkenburg HA, Cats A. Evaluation of diagnostic criteria for ankylosing
    spondylitis. Arthritis Rheum 1984;27(4):361-368. doi:10.1002/art.1780270401

    Examples
    --------
    >>> import numpy as np
    >>> film = render_pelvis(grades=(4, 0), rng=np.random.default_rng(0))
    >>> film.pixels.shape, film.pixels.dtype.name, film.lesions[0].ankylosis > 0.9
    ((224, 256), 'uint16', True)
    """
    grades = _checked_grades(grades)
    check_choice(sex, "sex", ("f", "m"))
    check_choice(projection, "projection", ("ap", "ferguson"))
    bmi = check_number(bmi, "bmi", minimum=12.0, maximum=70.0)
    age = check_number(age, "age", minimum=16.0, maximum=110.0)
    exposure = check_number(exposure, "exposure", minimum=0.05, maximum=20.0)
    shape = checked_shape(shape)
    scanner = check_integer(scanner, "scanner", minimum=0)
    site = check_integer(site, "site", minimum=0)
    body = Body.draw(sex, bmi, age, rng if anatomy is None else anatomy)
    if film_mm is None:
        view = View.draw(shape, projection, site, rng)
    else:
        view = View.draw_fine(checked_edge(film_mm), projection, site, rng)
    if lesions is None:
        lesions = (draw_lesions(grades[0], rng), draw_lesions(grades[1], rng))
    bones, change = _drawn(body, view, lesions, projection, rng)
    metal = None if implants is None else metal_in_pelvis(implants, bones)
    pixels, labels = _exposed(bones, Detector(scanner), site, exposure, rng, metal)
    return PelvisFilm(pixels, labels, float(view.spacing), lesions, change)


def _checked_grades(grades: Any) -> tuple[int, int]:
    if not isinstance(grades, (tuple, list, np.ndarray)) or len(grades) != 2:
        msg = "grades: expected two integers (right, left), one per sacroiliac joint."
        raise ConfigurationError(msg)
    right, left = (checked_grade(grade) for grade in grades)
    return right, left


def _drawn(
    body: Body,
    view: View,
    lesions: tuple[JointLesions, JointLesions],
    projection: str,
    rng: np.random.Generator,
) -> tuple[Bones, NDArray[np.float32]]:
    """Return the bones, and what the lesions of each side changed."""
    bones = Bones(body, view)
    joints = bones.draw()
    angled = 1.15 if projection == "ferguson" else 1.0
    changed = np.zeros((2, *view.shape), np.float32)
    for i, (side, line, lesion) in enumerate(zip((-1.0, 1.0), joints, lesions, strict=True)):
        clarity = angled * float(bones.rng.uniform(0.8, 1.1)) * float(rng.uniform(0.9, 1.05))
        fine = view.coarse_px is not None
        frame = JointFrame.around(line, side, view.shape, view.spacing, fine=fine)
        again = copy.deepcopy(rng)
        drawn = joint_change(frame, lesion, clarity, body.density, rng)
        bones.bone[frame.crop] += drawn
        bones.labels[frame.crop][frame.gap] = PelvisLabel.RIGHT_SIJ + i
        changed[i][frame.crop] = drawn - joint_change(
            frame, NO_LESIONS, clarity, body.density, again
        )
    return bones, changed


def _exposed(
    bones: Bones,
    detector: Detector,
    site: int,
    exposure: float,
    rng: np.random.Generator,
    metal: Field | None,
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    view, body = bones.view, bones.body
    texture = grain(view.shape, rng, view.coarse_px)
    tissue, cover = soft_tissue(body, view, rng)
    bone = np.clip(bones.bone, 0.0, None) * (1.0 + 0.07 * texture)
    attenuation = tissue + bone + bowel(view, texture, rng)
    inside, field_ = collimated(view, site, rng)
    judged = inside
    if metal is not None:
        attenuation = attenuation + metal
        judged = inside & (metal < 0.3)
    dose = exposure * float(np.exp(-0.07 * (body.bmi - 25.0)))
    picture = detector.expose(attenuation, dose, rng, view.coarse_px)
    shown = detector.grey(picture, judged, float(rng.normal(0.0, 0.025)))
    shown = np.maximum(shown, 0.97 * lead_marker(view, site, rng))
    border = 0.0 if detector.shutter else 0.93
    shown = shown * field_ + border * (1.0 - field_)
    labels = np.where((bones.labels == 0) & (cover > 0.5), 1, bones.labels).astype(np.uint8)
    labels[~inside] = PelvisLabel.BACKGROUND
    return np.round(np.clip(shown, 0.0, 1.0) * MAX_GREY).astype(np.uint16), labels
