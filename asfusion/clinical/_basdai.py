"""BASDAI: how active the patient feels the disease to be."""

from __future__ import annotations

from typing import Any

from asfusion._door import public
from asfusion.clinical._vector import Inputs, Values, reaches

_FIX = "Divide by 10 if the scale was 0 to 100 mm."


@public
def basdai(
    q1_fatigue: Values,
    q2_back_pain: Values,
    q3_peripheral: Values,
    q4_tenderness: Values,
    q5_stiffness_severity: Values,
    q6_stiffness_duration: Values,
) -> Any:
    """Return the Bath Ankylosing Spondylitis Disease Activity Index.

    The two questions on morning stiffness share one fifth of the weight, so that the
    index is not the mean of six answers:
    ``(q1 + q2 + q3 + q4 + (q5 + q6) / 2) / 5``.

    Parameters
    ----------
    q1_fatigue : number, list, array, pandas or polars Series
        Fatigue or tiredness over the past week, 0 to 10.
    q2_back_pain : as `q1_fatigue`
        Pain in neck, back or hips, 0 to 10.
    q3_peripheral : as `q1_fatigue`
        Pain or swelling in other joints, 0 to 10.
    q4_tenderness : as `q1_fatigue`
        Discomfort from places tender to touch or pressure, 0 to 10.
    q5_stiffness_severity : as `q1_fatigue`
        Severity of morning stiffness, 0 to 10.
    q6_stiffness_duration : as `q1_fatigue`
        Duration of morning stiffness, 0 (none) to 10 (two hours or more).

    Returns
    -------
    float, list, array or Series
        The index, 0 to 10, in the container of the arguments. It is missing where an
        answer is missing: no rule for imputation was published with the index.

    Raises
    ------
    InputError
        If an answer lies outside 0 to 10, is not a number, or the rows do not match.

    Notes
    -----
    Units: unitless, 0 to 10; answers given in mm (0 to 100) must be divided by 10 first.

    References
    ----------
    Garrett S, Jenkinson T, Kennedy LG, et al. A new approach to defining disease status in
    ankylosing spondylitis: the Bath Ankylosing Spondylitis Disease Activity Index.
    J Rheumatol 1994;21:2286-2291. PMID 7699630.

    Examples
    --------
    >>> from asfusion.clinical import basdai
    >>> round(basdai(5, 6, 4, 3, 7, 5), 2)
    4.8
    """
    given = Inputs(
        "basdai",
        q1_fatigue=q1_fatigue,
        q2_back_pain=q2_back_pain,
        q3_peripheral=q3_peripheral,
        q4_tenderness=q4_tenderness,
        q5_stiffness_severity=q5_stiffness_severity,
        q6_stiffness_duration=q6_stiffness_duration,
    )
    q1, q2, q3, q4 = (
        given.numbers(name, 0, 10, "unitless", fix=_FIX)
        for name in ("q1_fatigue", "q2_back_pain", "q3_peripheral", "q4_tenderness")
    )
    severity = given.numbers("q5_stiffness_severity", 0, 10, "unitless", fix=_FIX)
    duration = given.numbers("q6_stiffness_duration", 0, 10, "unitless", fix=_FIX)
    return given.give_numbers((q1 + q2 + q3 + q4 + (severity + duration) / 2) / 5, "basdai")


@public
def basdai_active(basdai: Values) -> Any:
    """Return whether the disease is active by BASDAI: 4 or more.

    Parameters
    ----------
    basdai : number, list, array, pandas or polars Series
        The index, 0 to 10.

    Returns
    -------
    bool, list, array or Series
        In the container of `basdai`; missing where it is missing.

    Raises
    ------
    InputError
        If a value lies outside 0 to 10.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Braun J, Pham T, Sieper J, et al. International ASAS consensus statement for the use of
    anti-tumour necrosis factor agents in patients with ankylosing spondylitis.
    Ann Rheum Dis 2003;62:817-824. doi:10.1136/ard.62.9.817

    Examples
    --------
    >>> from asfusion.clinical import basdai_active
    >>> basdai_active([3.98, 4.0])
    [False, True]
    """
    given = Inputs("basdai_active", basdai=basdai)
    index = given.numbers("basdai", 0, 10, "unitless", fix=_FIX)
    return given.give_truths(reaches(index, 4.0), "basdai_active")
