"""ASAS Health Index: functioning and health as the patient sees them."""

from __future__ import annotations

from typing import Any

import numpy as np

from asfusion._checks import check_choice
from asfusion._door import public
from asfusion.clinical._vector import Inputs, Values, reaches
from asfusion.exceptions import InputError

_N_ITEMS = 17
_MOST_MISSING = 3
_STATES = ("good", "moderate", "poor")


@public
def asas_hi(n_agree: Values, n_missing_or_na: Values = 0, *, missing: str = "refuse") -> Any:
    """Return the ASAS Health Index: how many of 17 statements the patient agrees with.

    Parameters
    ----------
    n_agree : whole number, list, array, pandas or polars Series
        Statements agreed with, 0 to 17.
    n_missing_or_na : as `n_agree`, default=0
        Statements not answered or not applicable, 0 to 17.
    missing : {"refuse", "prorate"}, default='refuse'
        ``"refuse"``: with a statement missing the index is missing. ``"prorate"``
        (experimental: the rule was not read in the paper): with up to 3 missing the index is
        ``n_agree / (17 - n_missing_or_na) * 17``; with more it is missing.

    Returns
    -------
    float, list, array or Series
        The index, 0 (good) to 17 (poor).

    Raises
    ------
    InputError
        If a count is not a whole number from 0 to 17, if the two add up to more than 17, or
        if the rows do not match.
    ConfigurationError
        If `missing` is not one of its choices.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Kiltz U, van der Heijde D, Boonen A, et al. Development of a health index in patients
    with ankylosing spondylitis (ASAS HI). Ann Rheum Dis 2015;74:830-835.
    doi:10.1136/annrheumdis-2013-203967

    Examples
    --------
    >>> from asfusion.clinical import asas_hi
    >>> asas_hi(5)
    5.0
    >>> round(asas_hi(6, 2, missing="prorate"), 2)
    6.8
    """
    check_choice(missing, "missing", ("refuse", "prorate"))
    given = Inputs("asas_hi", n_agree=n_agree, n_missing_or_na=n_missing_or_na)
    agreed = given.grades("n_agree", 0, _N_ITEMS)
    absent = given.grades("n_missing_or_na", 0, _N_ITEMS)
    too_many = np.flatnonzero(agreed + absent > _N_ITEMS)
    if too_many.size:
        msg = (
            f"asas_hi: expected n_agree and n_missing_or_na to add up to at most {_N_ITEMS}, got "
            f"more in {too_many.size} row(s), the first at position {too_many[0]}. Count each "
            "statement once."
        )
        raise InputError(msg)
    allowed = _MOST_MISSING if missing == "prorate" else 0
    answered = np.maximum(_N_ITEMS - absent, 1.0)
    index = np.where(absent <= allowed, agreed * _N_ITEMS / answered, np.nan)
    return given.give_numbers(index, "asas_hi")


@public
def asas_hi_state(asas_hi: Values) -> Any:
    """Return ``"good"`` (up to 5), ``"moderate"`` or ``"poor"`` (12 or more) health.

    Parameters
    ----------
    asas_hi : number, list, array, pandas or polars Series
        The index, 0 to 17.

    Returns
    -------
    str, list, array or Series
        Missing where the index is missing.

    Raises
    ------
    InputError
        If a value lies outside 0 to 17.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Kiltz U, van der Heijde D, Boonen A, et al. Measurement properties of the ASAS Health
    Index: results of a global study in patients with axial and peripheral
    spondyloarthritis. Ann Rheum Dis 2018;77:1311-1317.
    doi:10.1136/annrheumdis-2017-212076

    Examples
    --------
    >>> from asfusion.clinical import asas_hi_state
    >>> asas_hi_state([5, 5.1, 11.9, 12])
    ['good', 'moderate', 'moderate', 'poor']
    """
    given = Inputs("asas_hi_state", asas_hi=asas_hi)
    index = given.numbers("asas_hi", 0, _N_ITEMS, "unitless")
    code = np.where(index > 5.0 + 1e-9, 1.0, 0.0) + reaches(index, 12.0)
    return given.give_words(code, _STATES, "asas_hi_state")
