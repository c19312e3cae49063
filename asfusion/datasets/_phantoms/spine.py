"""Phantom radiographs of the spine from the side: drawn bones, never a patient's."""

from __future__ import annotations

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
from asfusion.datasets._phantoms.implants import Implants, metal_in_spine
from asfusion.datasets._phantoms.spine_bones import (
    N_CORNERS,
    Drawing,
    Pose,
    SpineLabel,
)
from asfusion.datasets._phantoms.spine_surroundings import (
    cervical_surroundings,
    lumbar_surroundings,
    shuttered,
)
from asfusion.exceptions import ConfigurationError


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


def render_spine(
    *,
    corners: NDArray[np.integer[Any]],
    region: str,
    sex: str = "f",
    bmi: float = 25.0,
    age: float = 40.0,
    shape: tuple[int, int] = (256, 192),
    film_mm: float | None = None,
    implants: Implants | None = None,
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
        Height and width (pixels), at least 64; of fine films they follow from the field.
    film_mm : float, optional
        Edge of a pixel (mm) of a fine film, 0.2 to 1.5. Field, position, rotation and
        collimation vary more than on others, and noise and blur are given per mm.
    implants : Implants, optional
        Metal in the patient, of which the lower back shows the screws.
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
    size = float(bones.normal(0.95 if sex == "f" else 1.03, 0.02))
    pose = None if film_mm is None else Pose.draw(region, checked_edge(film_mm), rng)
    draw = Drawing.of(region, shape, float(shown.mean()) / 3.0, size, bones, pose)
    loss = 0.004 * max(age - 35.0, 0.0) + (0.007 * max(age - 52.0, 0.0) if sex == "f" else 0.0)
    density = float(bones.normal(1.0, 0.07)) * max(1.0 - loss, 0.55)
    places = draw.draw(shown, density, bones, rng)
    around = lumbar_surroundings if region == "lumbar" else cervical_surroundings
    tissue = around(draw, bmi, rng)
    metal = np.zeros(draw.shape, np.float32)
    if implants is not None and region == "lumbar":
        metal = metal_in_spine(implants, draw)
    pixels = _exposed(draw, tissue + metal, Detector(scanner), exposure, bmi, rng, metal)
    draw.labels[(draw.labels == 0) & (tissue > 0.3)] = SpineLabel.SOFT_TISSUE
    return SpineFilm(pixels, draw.labels, places.astype(np.float64), float(draw.spacing))


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


def _exposed(
    draw: Drawing,
    tissue: Field,
    detector: Detector,
    exposure: float,
    bmi: float,
    rng: np.random.Generator,
    metal: Field,
) -> NDArray[np.uint16]:
    texture = grain(draw.shape, rng, draw.coarse_px)
    attenuation = tissue + np.clip(draw.bone, 0.0, None) * (1.0 + 0.07 * texture)
    dose = exposure * float(np.exp(-0.07 * (bmi - 25.0)))
    picture = detector.expose(attenuation.astype(np.float32), dose, rng, draw.coarse_px)
    judged = metal < 0.3
    if draw.coarse_px is None:
        shown = detector.grey(picture, judged, float(rng.normal(0.0, 0.025)))
    else:
        inside, field = shuttered(draw.shape, rng)
        shown = detector.grey(picture, judged & inside, float(rng.normal(0.0, 0.025)))
        border = 0.0 if detector.shutter else 0.93
        shown = shown * field + border * (1.0 - field)
    return np.round(np.clip(shown, 0.0, 1.0) * MAX_GREY).astype(np.uint16)
