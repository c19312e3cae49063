"""ASDAS: disease activity from the patient's answers and one marker of inflammation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from asfusion._door import public
from asfusion.clinical._vector import (
    TOLERANCE,
    Floats,
    Inputs,
    Values,
    add,
    any_of,
    exceeds,
    reaches,
)
from asfusion.clinical.units import to_mg_per_l

CRP_FLOOR_MG_L = 2.0
"""The lowest CRP that ASDAS counts, in mg/L: what is below it counts as this."""

ASDAS_CRP_MINIMUM = float(0.579 * np.log(CRP_FLOOR_MG_L + 1.0))
"""The lowest ASDAS-CRP that there is: no complaint, and CRP at the floor of 2 mg/L."""

_ANSWERS = ("back_pain", "morning_stiffness_duration", "patient_global", "peripheral")
_CRP_WEIGHTS = (0.121, 0.058, 0.110, 0.073)
_ESR_WEIGHTS = (0.079, 0.069, 0.113, 0.086)
_STATES = ("inactive", "low", "high", "very_high")
_HIGHEST = 12.0  # no ASDAS of plausible CRP or ESR reaches it
_FIX = "Divide by 10 if the scale was 0 to 100 mm."


class AsdasResponse(NamedTuple):
    """What a change of ASDAS means.

    Parameters
    ----------
    clinically_important_improvement : bool, list, array or Series
        A fall of 1.1 or more.
    major_improvement : bool, list, array or Series
        A fall of 2.0 or more.
    clinically_important_worsening : bool, list, array or Series
        A rise of 0.9 or more.

    Examples
    --------
    >>> from asfusion.clinical import asdas_response
    >>> asdas_response(3.6, 1.6).major_improvement
    True
    """

    clinically_important_improvement: Any
    major_improvement: Any
    clinically_important_worsening: Any


@public
def asdas_crp(
    back_pain: Values,
    morning_stiffness_duration: Values,
    patient_global: Values,
    peripheral: Values,
    crp: Values,
    *,
    crp_unit: str = "mg/L",
) -> Any:
    """Return the Ankylosing Spondylitis Disease Activity Score with CRP.

    ``0.121 back_pain + 0.058 morning_stiffness_duration + 0.110 patient_global
    + 0.073 peripheral + 0.579 ln(CRP + 1)``. A CRP below 2 mg/L counts as 2 mg/L.

    Parameters
    ----------
    back_pain : number, list, array, pandas or polars Series
        BASDAI question 2, 0 to 10.
    morning_stiffness_duration : as `back_pain`
        BASDAI question 6, 0 to 10.
    patient_global : as `back_pain`
        The patient's global assessment of disease activity, 0 to 10.
    peripheral : as `back_pain`
        BASDAI question 3, 0 to 10.
    crp : as `back_pain`
        C-reactive protein, 0 to 1000 mg/L. Pass a value below the limit of detection as 0.
    crp_unit : str, default='mg/L'
        The unit of `crp`, as `to_mg_per_l` reads it. A CRP in mg/dL that is taken for mg/L
        can turn very high activity into high.

    Returns
    -------
    float, list, array or Series
        The score, 0.636 or more, in the container of the arguments; missing where an
        argument is missing.

    Raises
    ------
    InputError
        If an argument is out of range or not a number, or the rows do not match.

    Notes
    -----
    Units: answers unitless, 0 to 10; CRP in `crp_unit`; score unitless.

    References
    ----------
    Lukas C, Landewe R, Sieper J, et al. Ann Rheum Dis 2009;68:18-24.
    doi:10.1136/ard.2008.094870

    van der Heijde D, Lie E, Kvien TK, et al. Ann Rheum Dis 2009;68:1811-1818.
    doi:10.1136/ard.2008.100826

    Machado P, Navarro-Compan V, Landewe R, et al. Arthritis Rheumatol 2015;67:408-413
    (the floor of CRP). doi:10.1002/art.38921

    Examples
    --------
    >>> from asfusion.clinical import asdas_crp
    >>> round(asdas_crp(7, 6, 7, 3, crp=25), 3)
    4.07
    >>> round(asdas_crp(7, 6, 7, 3, crp=2.5, crp_unit="mg/dL"), 3)
    4.07
    """
    given = Inputs(
        "asdas_crp",
        back_pain=back_pain,
        morning_stiffness_duration=morning_stiffness_duration,
        patient_global=patient_global,
        peripheral=peripheral,
        crp=crp if str(crp_unit) == "mg/L" else to_mg_per_l(crp, crp_unit),
    )
    level = given.numbers("crp", 0, 1000, "mg/L", fix="Check the unit of CRP.")
    inflammation = 0.579 * np.log(np.maximum(level, CRP_FLOOR_MG_L) + 1.0)
    return given.give_numbers(_weighted(given, _CRP_WEIGHTS) + inflammation, "asdas_crp")


@public
def asdas_esr(
    back_pain: Values,
    morning_stiffness_duration: Values,
    patient_global: Values,
    peripheral: Values,
    esr_mm_h: Values,
) -> Any:
    """Return the Ankylosing Spondylitis Disease Activity Score with ESR.

    ``0.079 back_pain + 0.069 morning_stiffness_duration + 0.113 patient_global
    + 0.086 peripheral + 0.293 sqrt(ESR)``. Use it where CRP was not measured; unlike
    `asdas_crp` it has no floor.

    Parameters
    ----------
    back_pain : number, list, array, pandas or polars Series
        BASDAI question 2, 0 to 10.
    morning_stiffness_duration : as `back_pain`
        BASDAI question 6, 0 to 10.
    patient_global : as `back_pain`
        The patient's global assessment of disease activity, 0 to 10.
    peripheral : as `back_pain`
        BASDAI question 3, 0 to 10.
    esr_mm_h : as `back_pain`
        Erythrocyte sedimentation rate, 0 to 200 mm/h.

    Returns
    -------
    float, list, array or Series
        The score, 0 or more; missing where an argument is missing.

    Raises
    ------
    InputError
        If an argument is out of range or not a number, or the rows do not match.

    Notes
    -----
    Units: answers unitless, 0 to 10; ESR in mm/h; score unitless.

    References
    ----------
    Lukas C, Landewe R, Sieper J, et al. Ann Rheum Dis 2009;68:18-24.
    doi:10.1136/ard.2008.094870

    Examples
    --------
    >>> from asfusion.clinical import asdas_esr
    >>> round(asdas_esr(6, 5, 6, 4, esr_mm_h=25), 3)
    3.306
    """
    given = Inputs(
        "asdas_esr",
        back_pain=back_pain,
        morning_stiffness_duration=morning_stiffness_duration,
        patient_global=patient_global,
        peripheral=peripheral,
        esr_mm_h=esr_mm_h,
    )
    inflammation = 0.293 * np.sqrt(given.numbers("esr_mm_h", 0, 200, "mm/h"))
    return given.give_numbers(_weighted(given, _ESR_WEIGHTS) + inflammation, "asdas_esr")


@public
def asdas_state(asdas: Values) -> Any:
    """Return the state of disease activity that an ASDAS stands for.

    Below 1.3 ``"inactive"``, below 2.1 ``"low"`` (called moderate before 2018), up to 3.5
    ``"high"``, above 3.5 ``"very_high"``.

    Parameters
    ----------
    asdas : number, list, array, pandas or polars Series
        The score, 0 to 12.

    Returns
    -------
    str, list, array or Series
        The state, missing where the score is missing.

    Raises
    ------
    InputError
        If a score is out of range or not a number.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Machado P, Landewe R, Lie E, et al. Ann Rheum Dis 2011;70:47-53.
    doi:10.1136/ard.2010.138594

    Machado PM, Landewe R, van der Heijde D. Ann Rheum Dis 2018;77:1539-1540
    (the name "low"). doi:10.1136/annrheumdis-2018-213184

    Examples
    --------
    >>> from asfusion.clinical import asdas_state
    >>> asdas_state([1.2, 1.3, 3.5, 3.6])
    ['inactive', 'low', 'high', 'very_high']
    """
    given = Inputs("asdas_state", asdas=asdas)
    score = given.numbers("asdas", 0, _HIGHEST, "unitless")
    code = reaches(score, 1.3) + reaches(score, 2.1) + exceeds(score, 3.5)
    return given.give_words(code, _STATES, "asdas_state")


@public
def asdas_change(baseline: Values, followup: Values) -> Any:
    """Return follow-up minus baseline: a fall of disease activity is negative.

    Parameters
    ----------
    baseline, followup : number, list, array, pandas or polars Series
        The score before and after, 0 to 12, both with CRP or both with ESR.

    Returns
    -------
    float, list, array or Series
        The change; missing where one of the two is missing.

    Raises
    ------
    InputError
        If a score is out of range or not a number, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Machado P, Landewe R, Lie E, et al. Ann Rheum Dis 2011;70:47-53.
    doi:10.1136/ard.2010.138594

    Examples
    --------
    >>> from asfusion.clinical import asdas_change
    >>> round(asdas_change(3.6, 2.4), 1)
    -1.2
    """
    given = Inputs("asdas_change", baseline=baseline, followup=followup)
    return given.give_numbers(_change(given), "asdas_change")


@public
def asdas_response(
    baseline: Values, followup: Values, *, lowest_is_major: bool = False
) -> AsdasResponse:
    """Return whether a change of ASDAS is an improvement or a worsening that matters.

    Parameters
    ----------
    baseline, followup : number, list, array, pandas or polars Series
        The score before and after, 0 to 12, both with CRP or both with ESR.
    lowest_is_major : bool, default=False
        Also call it a major improvement when ASDAS-CRP fell by less than 2.0 to the lowest
        score that there is (0.636). Some trials do.

    Returns
    -------
    AsdasResponse
        Three truth values: a fall of 1.1 or more, a fall of 2.0 or more, and a rise of 0.9
        or more. Missing where one of the scores is missing.

    Raises
    ------
    InputError
        If a score is out of range or not a number, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Machado P, Landewe R, Lie E, et al. Ann Rheum Dis 2011;70:47-53.
    doi:10.1136/ard.2010.138594

    Molto A, Gossec L, Meghnathi B, et al. Ann Rheum Dis 2018;77:124-127 (worsening).
    doi:10.1136/annrheumdis-2017-212178

    Examples
    --------
    >>> from asfusion.clinical import asdas_response
    >>> asdas_response(3.6, 2.4).clinically_important_improvement
    True
    >>> asdas_response(2.0, 2.9).clinically_important_worsening
    True
    """
    given = Inputs("asdas_response", baseline=baseline, followup=followup)
    change = _change(given)
    fall = -change
    major = reaches(fall, 2.0)
    if lowest_is_major:
        after = given.numbers("followup", 0, _HIGHEST, "unitless")
        at_lowest = 1.0 - exceeds(after, ASDAS_CRP_MINIMUM + 1e-3)
        major = any_of(major, np.where(fall > TOLERANCE, at_lowest, change * 0.0))
    return AsdasResponse(
        given.give_truths(reaches(fall, 1.1), "clinically_important_improvement"),
        given.give_truths(major, "major_improvement"),
        given.give_truths(reaches(change, 0.9), "clinically_important_worsening"),
    )


def _weighted(given: Inputs, weights: tuple[float, ...]) -> Floats:
    parts = (
        weight * given.numbers(name, 0, 10, "unitless", fix=_FIX)
        for name, weight in zip(_ANSWERS, weights, strict=True)
    )
    return add(parts)


def _change(given: Inputs) -> Floats:
    before = given.numbers("baseline", 0, _HIGHEST, "unitless")
    return given.numbers("followup", 0, _HIGHEST, "unitless") - before
