"""BASMI: how far the spine and hips move. Its three versions are not interchangeable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from asfusion._door import public
from asfusion.clinical._vector import (
    TOLERANCE,
    Floats,
    Inputs,
    Values,
    add,
    exceeds,
    reaches,
    read_items,
)

# Item: (largest plausible measurement, unit). Outside it, the unit or the column is wrong.
_ITEMS = {
    "lateral_flexion_cm": (60.0, "cm"),
    "tragus_to_wall_cm": (80.0, "cm"),
    "schober_cm": (20.0, "cm"),
    "intermalleolar_cm": (250.0, "cm"),
    "cervical_rotation_deg": (180.0, "degrees"),
}

# Item: (measurement of score 0, change of measurement for one more point).
_LINEAR = {
    "lateral_flexion_cm": (21.1, -2.1),
    "tragus_to_wall_cm": (8.0, 3.0),
    "schober_cm": (7.4, -0.7),
    "intermalleolar_cm": (124.5, -10.0),
    "cervical_rotation_deg": (89.3, -8.5),
}

# Item: measurements between score 0 and 1, and between 1 and 2; both belong to 1.
_THREE_POINT = {
    "lateral_flexion_cm": (10.0, 5.0),
    "tragus_to_wall_cm": (15.0, 30.0),
    "schober_cm": (4.0, 2.0),
    "intermalleolar_cm": (100.0, 70.0),
    "cervical_rotation_deg": (70.0, 20.0),
}

# Item: (where score 0 begins, width of the next nine steps after `second`, second).
_TEN_STEP = {
    "lateral_flexion_cm": (20.0, 18.0, 2.1),
    "tragus_to_wall_cm": (10.0, 13.0, 3.0),
    "schober_cm": (7.0, 6.4, 0.7),
    "intermalleolar_cm": (120.0, 110.0, 10.0),
    "cervical_rotation_deg": (85.0, 76.6, 8.5),
}


class Basmi(NamedTuple):
    """A metrology index and what it is made of.

    Parameters
    ----------
    total : float, list, array or Series
        The index, 0 to 10; missing where a measurement is missing.
    components : dict of str to float, list, array or Series
        The score of each measurement.

    Examples
    --------
    >>> from asfusion.clinical import basmi_2step
    >>> basmi_2step(4, 15, 4, 100, 70).components["lateral_flexion_cm"]
    2.0
    """

    total: Any
    components: dict[str, Any]


@public
def basmi_linear(
    lateral_flexion_cm: Values,
    tragus_to_wall_cm: Values,
    schober_cm: Values,
    intermalleolar_cm: Values,
    cervical_rotation_deg: Values,
) -> Basmi:
    """Return the linear Bath Ankylosing Spondylitis Metrology Index.

    Each measurement becomes a score by a straight line, held to 0 to 10; the index is the
    mean of the five. Average left and right before scoring, as `basmi_linear_lr` does.

    Parameters
    ----------
    lateral_flexion_cm : number, list, array, pandas or polars Series
        Lateral lumbar flexion, mean of left and right, 0 to 60 cm.
    tragus_to_wall_cm : as `lateral_flexion_cm`
        Tragus to wall, mean of left and right, 0 to 80 cm.
    schober_cm : as `lateral_flexion_cm`
        Lumbar flexion, modified Schober, 0 to 20 cm.
    intermalleolar_cm : as `lateral_flexion_cm`
        Maximal intermalleolar distance, 0 to 250 cm.
    cervical_rotation_deg : as `lateral_flexion_cm`
        Cervical rotation, mean of left and right, 0 to 180 degrees.

    Returns
    -------
    Basmi
        ``total`` (0 to 10) and ``components``, in the container of the arguments.

    Raises
    ------
    InputError
        If a measurement is implausible, not a number, or the rows do not match.

    Notes
    -----
    Units: cm and degrees in; unitless out.

    References
    ----------
    van der Heijde D, Landewe R, Feldtkeller E. Proposal of a linear definition of the Bath
    Ankylosing Spondylitis Metrology Index (BASMI). Ann Rheum Dis 2008;67:489-493.
    doi:10.1136/ard.2007.074724

    Examples
    --------
    >>> from asfusion.clinical import basmi_linear
    >>> round(basmi_linear(12.7, 12.5, 3.9, 97.0, 58.7).total, 2)
    3.37
    """
    given = Inputs(
        "basmi_linear",
        lateral_flexion_cm=lateral_flexion_cm,
        tragus_to_wall_cm=tragus_to_wall_cm,
        schober_cm=schober_cm,
        intermalleolar_cm=intermalleolar_cm,
        cervical_rotation_deg=cervical_rotation_deg,
    )
    return _score(given, _linear, len(_ITEMS))


@public
def basmi_linear_lr(
    lateral_flexion_cm: Any,
    tragus_to_wall_cm: Any,
    schober_cm: Values,
    intermalleolar_cm: Values,
    cervical_rotation_deg: Any,
) -> Basmi:
    """Return the linear BASMI from the measurements of each side.

    Left and right are averaged before they are scored. With one side missing the index is
    missing.

    Parameters
    ----------
    lateral_flexion_cm : sequence (left, right), array of shape (..., 2) or DataFrame
        Lateral lumbar flexion of each side, 0 to 60 cm.
    tragus_to_wall_cm : as `lateral_flexion_cm`
        Tragus to wall of each side, 0 to 80 cm.
    schober_cm : number, list, array, pandas or polars Series
        Lumbar flexion, modified Schober, 0 to 20 cm.
    intermalleolar_cm : as `schober_cm`
        Maximal intermalleolar distance, 0 to 250 cm.
    cervical_rotation_deg : as `lateral_flexion_cm`
        Cervical rotation to each side, 0 to 180 degrees.

    Returns
    -------
    Basmi
        ``total`` (0 to 10) and ``components``.

    Raises
    ------
    InputError
        If there are not two sides, a measurement is implausible, or the rows do not match.

    Notes
    -----
    Units: cm and degrees in; unitless out.

    References
    ----------
    van der Heijde D, Landewe R, Feldtkeller E. Ann Rheum Dis 2008;67:489-493.
    doi:10.1136/ard.2007.074724

    Examples
    --------
    >>> from asfusion.clinical import basmi_linear_lr
    >>> round(basmi_linear_lr((12, 14), (11, 13), 4.5, 105, (60, 70)).total, 3)
    2.828
    """
    return basmi_linear(
        mean_of_sides(lateral_flexion_cm, high=60.0, name="lateral_flexion_cm"),
        mean_of_sides(tragus_to_wall_cm, high=80.0, name="tragus_to_wall_cm"),
        schober_cm,
        intermalleolar_cm,
        mean_of_sides(cervical_rotation_deg, high=180.0, name="cervical_rotation_deg"),
    )


@public
def basmi_2step(
    lateral_flexion_cm: Values,
    tragus_to_wall_cm: Values,
    schober_cm: Values,
    intermalleolar_cm: Values,
    cervical_rotation_deg: Values,
) -> Basmi:
    """Return the first BASMI: each measurement scores 0, 1 or 2, and the five are added.

    Parameters
    ----------
    lateral_flexion_cm : number, list, array, pandas or polars Series
        Lateral lumbar flexion: above 10 cm 0, 5 to 10 cm 1, below 5 cm 2.
    tragus_to_wall_cm : as `lateral_flexion_cm`
        Tragus to wall: below 15 cm 0, 15 to 30 cm 1, above 30 cm 2.
    schober_cm : as `lateral_flexion_cm`
        Modified Schober: above 4 cm 0, 2 to 4 cm 1, below 2 cm 2.
    intermalleolar_cm : as `lateral_flexion_cm`
        Intermalleolar distance: above 100 cm 0, 70 to 100 cm 1, below 70 cm 2.
    cervical_rotation_deg : as `lateral_flexion_cm`
        Cervical rotation: above 70 degrees 0, 20 to 70 degrees 1, below 20 degrees 2.

    Returns
    -------
    Basmi
        ``total`` (0 to 10, the sum) and ``components`` (0, 1 or 2).

    Raises
    ------
    InputError
        If a measurement is implausible, not a number, or the rows do not match.

    Notes
    -----
    Units: cm and degrees in; unitless out.

    References
    ----------
    Jenkinson TR, Mallorie PA, Whitelock HC, et al. Defining spinal mobility in ankylosing
    spondylitis (AS). The Bath AS Metrology Index. J Rheumatol 1994;21:1694-1698.
    PMID 7799351.

    Examples
    --------
    >>> from asfusion.clinical import basmi_2step
    >>> basmi_2step(10, 15, 4, 100, 70).total
    5.0
    """
    given = Inputs(
        "basmi_2step",
        lateral_flexion_cm=lateral_flexion_cm,
        tragus_to_wall_cm=tragus_to_wall_cm,
        schober_cm=schober_cm,
        intermalleolar_cm=intermalleolar_cm,
        cervical_rotation_deg=cervical_rotation_deg,
    )
    return _score(given, _three_point, 1)


@public
def basmi_10step(
    lateral_flexion_cm: Values,
    tragus_to_wall_cm: Values,
    schober_cm: Values,
    intermalleolar_cm: Values,
    cervical_rotation_deg: Values,
) -> Basmi:
    """Return the ten-step BASMI: each measurement scores 0 to 10, and the five are averaged.

    Experimental: the table of steps was not read in the paper. One step of it was checked
    against a public guide, and its midpoints follow `basmi_linear` to within 0.15.

    Parameters
    ----------
    lateral_flexion_cm : number, list, array, pandas or polars Series
        Lateral lumbar flexion, mean of left and right, 0 to 60 cm; 20 cm or more scores 0.
    tragus_to_wall_cm : as `lateral_flexion_cm`
        Tragus to wall, mean of left and right, 0 to 80 cm; below 10 cm scores 0.
    schober_cm : as `lateral_flexion_cm`
        Modified Schober, 0 to 20 cm; 7 cm or more scores 0.
    intermalleolar_cm : as `lateral_flexion_cm`
        Intermalleolar distance, 0 to 250 cm; 120 cm or more scores 0.
    cervical_rotation_deg : as `lateral_flexion_cm`
        Cervical rotation, mean of left and right, 0 to 180 degrees; 85 or more scores 0.

    Returns
    -------
    Basmi
        ``total`` (0 to 10, the mean) and ``components`` (whole numbers).

    Raises
    ------
    InputError
        If a measurement is implausible, not a number, or the rows do not match.

    Notes
    -----
    Units: cm and degrees in; unitless out.

    References
    ----------
    Jones SD, Porter J, Garrett SL, et al. A new scoring system for the Bath Ankylosing
    Spondylitis Metrology Index (BASMI). J Rheumatol 1995;22:1609.

    Examples
    --------
    >>> from asfusion.clinical import basmi_10step
    >>> basmi_10step(19, 11, 6.7, 114.5, 80.8).total
    1.0
    """
    given = Inputs(
        "basmi_10step",
        lateral_flexion_cm=lateral_flexion_cm,
        tragus_to_wall_cm=tragus_to_wall_cm,
        schober_cm=schober_cm,
        intermalleolar_cm=intermalleolar_cm,
        cervical_rotation_deg=cervical_rotation_deg,
    )
    return _score(given, _ten_step, len(_ITEMS))


@public
def mean_of_sides(sides: Any, *, high: float = 250.0, name: str = "sides") -> Any:
    """Return the mean of left and right, missing where one of them is missing.

    Parameters
    ----------
    sides : sequence (left, right), array of shape (..., 2) or DataFrame with two columns
        Measurements of each side, of one unit, 0 to `high`.
    high : float, default=250.0
        The largest plausible measurement.
    name : str, default='sides'
        What to call the measurement in errors and in the name of a Series.

    Returns
    -------
    float, list, array or Series
        The mean, in the container of the sides.

    Raises
    ------
    InputError
        If there are not two sides, or a measurement lies outside 0 to `high`.

    Notes
    -----
    Units: as given.

    Examples
    --------
    >>> from asfusion.clinical import mean_of_sides
    >>> mean_of_sides((12.0, 14.0))
    13.0
    """
    left, right = read_items(name, "sides", sides, 2)
    given = Inputs(name, left=left, right=right)
    total = given.numbers("left", 0, high, "one unit") + given.numbers("right", 0, high, "one unit")
    return given.give_numbers(total / 2, name)


def _score(given: Inputs, score: Callable[[str, Floats], Floats], divisor: int) -> Basmi:
    components = {
        item: score(item, given.numbers(item, 0, high, unit))
        for item, (high, unit) in _ITEMS.items()
    }
    total = add(components.values()) / divisor
    named = {item: given.give_numbers(values, item) for item, values in components.items()}
    return Basmi(given.give_numbers(total, given.score), named)


def _linear(item: str, measured: Floats) -> Floats:
    best, step = _LINEAR[item]
    # Adding 0 turns the -0.0 of a best measurement into 0.0.
    return np.clip((measured - best) / step, 0.0, 10.0) + 0.0


def _three_point(item: str, measured: Floats) -> Floats:
    good, bad = _THREE_POINT[item]
    if good > bad:
        return (1.0 - exceeds(measured, good)) + (1.0 - reaches(measured, bad))
    return reaches(measured, good) + exceeds(measured, bad)


def _ten_step(item: str, measured: Floats) -> Floats:
    best, second, step = _TEN_STEP[item]
    worse = second - best > 0
    starts = [best, *(second + i * (step if worse else -step) for i in range(9))]
    edges = np.array(sorted(starts))
    # A measurement on an edge belongs to the step that the edge opens.
    n_reached = np.searchsorted(edges, measured + TOLERANCE, side="right").astype(np.float64)
    score = n_reached if worse else len(edges) - n_reached
    return np.where(np.isnan(measured), np.nan, score)
