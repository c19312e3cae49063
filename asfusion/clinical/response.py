"""Response to treatment: BASDAI50 and the ASAS criteria."""

from __future__ import annotations

from typing import Any

import numpy as np

from asfusion._checks import check_choice
from asfusion._door import public
from asfusion.clinical._vector import (
    Floats,
    Inputs,
    Table,
    Values,
    all_of,
    any_of,
    at_least,
    exceeds,
    negate,
    reaches,
    read_columns,
)

ASAS_DOMAINS = ("patient_global", "back_pain", "basfi", "inflammation_mean_q5_q6")
"""The domains of ASAS20, ASAS40 and partial remission, 0 to 10 each."""

ASAS_SIX_DOMAINS = (*ASAS_DOMAINS, "crp", "lateral_spinal_flexion")
"""The domains of ASAS5/6."""

_FIX = "Divide by 10 if the scale was 0 to 100 mm."


@public
def basdai50(baseline: Values, followup: Values) -> Any:
    """Return whether BASDAI fell by half or more.

    A baseline of 0 leaves nothing to improve: the answer is False.

    Parameters
    ----------
    baseline, followup : number, list, array, pandas or polars Series
        BASDAI before and after, 0 to 10.

    Returns
    -------
    bool, list, array or Series
        Missing where one of the two is missing. In a trial with non-responder imputation,
        fill the missing with False afterwards.

    Raises
    ------
    InputError
        If a score lies outside 0 to 10, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Braun J, Pham T, Sieper J, et al. Ann Rheum Dis 2003;62:817-824.
    doi:10.1136/ard.62.9.817

    Examples
    --------
    >>> from asfusion.clinical import basdai50
    >>> basdai50(6.0, [3.1, 3.0])
    [False, True]
    """
    given = Inputs("basdai50", baseline=baseline, followup=followup)
    return given.give_truths(_halved(given), "basdai50")


@public
def basdai_response(baseline: Values, followup: Values) -> Any:
    """Return whether BASDAI fell by half, or by 2 units, or by more.

    Parameters
    ----------
    baseline, followup : number, list, array, pandas or polars Series
        BASDAI before and after, 0 to 10.

    Returns
    -------
    bool, list, array or Series
        Missing where one of the two is missing.

    Raises
    ------
    InputError
        If a score lies outside 0 to 10, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Braun J, Pham T, Sieper J, et al. Ann Rheum Dis 2003;62:817-824.
    doi:10.1136/ard.62.9.817

    Examples
    --------
    >>> from asfusion.clinical import basdai_response
    >>> basdai_response(6.0, 3.9)
    True
    """
    given = Inputs("basdai_response", baseline=baseline, followup=followup)
    before = given.numbers("baseline", 0, 10, "unitless", fix=_FIX)
    after = given.numbers("followup", 0, 10, "unitless", fix=_FIX)
    response = any_of(_halved(given), reaches(before - after, 2.0))
    return given.give_truths(response, "basdai_response")


@public
def asas20(baseline: Table, followup: Table) -> Any:
    """Return whether a patient responded by ASAS20.

    An improvement of at least 20 % and 1 unit in at least three of four domains, and no
    worsening of 20 % and 1 unit in the other.

    Parameters
    ----------
    baseline, followup : mapping or DataFrame
        The four `ASAS_DOMAINS` before and after, 0 to 10 each: patient global, back pain,
        BASFI, and inflammation as the mean of BASDAI questions 5 and 6.

    Returns
    -------
    bool, list, array or Series
        Missing where the known domains do not decide.

    Raises
    ------
    InputError
        If a domain is absent or lies outside 0 to 10, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Anderson JJ, Baron G, van der Heijde D, Felson DT, Dougados M. Ankylosing spondylitis
    assessment group preliminary definition of short-term improvement in ankylosing
    spondylitis. Arthritis Rheum 2001;44:1876-1886.
    doi:10.1002/1529-0131(200108)44:8<1876::AID-ART326>3.0.CO;2-F

    Examples
    --------
    >>> from asfusion.clinical import ASAS_DOMAINS, asas20
    >>> asas20(dict.fromkeys(ASAS_DOMAINS, 5.0), dict.fromkeys(ASAS_DOMAINS, 4.0))
    True
    """
    given = _read_visits("asas20", baseline, followup)
    falls = {domain: _fall(given, domain) for domain in ASAS_DOMAINS}
    improved = [_moved(fall, before, 0.2, 1.0) for before, fall in falls.values()]
    worsened = [_moved(-fall, before, 0.2, 1.0) for before, fall in falls.values()]
    return given.give_truths(_responded(improved, worsened), "asas20")


@public
def asas40(baseline: Table, followup: Table) -> Any:
    """Return whether a patient responded by ASAS40.

    An improvement of at least 40 % and 2 units in at least three of four domains, and no
    worsening at all in the other.

    Parameters
    ----------
    baseline, followup : mapping or DataFrame
        The four `ASAS_DOMAINS` before and after, 0 to 10 each, as in `asas20`.

    Returns
    -------
    bool, list, array or Series
        Missing where the known domains do not decide.

    Raises
    ------
    InputError
        If a domain is absent or lies outside 0 to 10, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Brandt J, Listing J, Sieper J, Rudwaleit M, van der Heijde D, Braun J. Development and
    preselection of criteria for short term improvement after anti-TNF alpha treatment in
    ankylosing spondylitis. Ann Rheum Dis 2004;63:1438-1444. doi:10.1136/ard.2003.016717

    Examples
    --------
    >>> from asfusion.clinical import ASAS_DOMAINS, asas40
    >>> asas40(dict.fromkeys(ASAS_DOMAINS, 5.0), dict.fromkeys(ASAS_DOMAINS, 3.0))
    True
    """
    given = _read_visits("asas40", baseline, followup)
    falls = {domain: _fall(given, domain) for domain in ASAS_DOMAINS}
    improved = [_moved(fall, before, 0.4, 2.0) for before, fall in falls.values()]
    worsened = [exceeds(-fall, 0.0) for _, fall in falls.values()]
    return given.give_truths(_responded(improved, worsened), "asas40")


@public
def asas5of6(percent_improvement: Table) -> Any:
    """Return whether a patient improved by at least 20 % in five of six domains.

    Parameters
    ----------
    percent_improvement : mapping or DataFrame
        Improvement of each of `ASAS_SIX_DOMAINS`, in percent of baseline, positive for the
        better, as `percent_improvement` gives it: the four of `asas20`, CRP, and lateral
        spinal flexion.

    Returns
    -------
    bool, list, array or Series
        Missing where the known domains do not decide.

    Raises
    ------
    InputError
        If a domain is absent or above 100 000 %, or the rows do not match.

    Notes
    -----
    Units: percent.

    References
    ----------
    Brandt J, Listing J, Sieper J, et al. Ann Rheum Dis 2004;63:1438-1444.
    doi:10.1136/ard.2003.016717

    Examples
    --------
    >>> from asfusion.clinical import ASAS_SIX_DOMAINS, asas5of6
    >>> asas5of6(dict.fromkeys(ASAS_SIX_DOMAINS, 20.0) | {"crp": -5.0})
    True
    """
    name = "percent_improvement"
    given = Inputs(
        "asas5of6", **read_columns("asas5of6", name, percent_improvement, ASAS_SIX_DOMAINS)
    )
    improved = [
        reaches(given.numbers(domain, -1e5, 1e5, "percent"), 20.0) for domain in ASAS_SIX_DOMAINS
    ]
    return given.give_truths(at_least(5, improved), "asas5of6")


@public
def percent_improvement(
    baseline: Values, followup: Values, *, higher_is_better: bool = False
) -> Any:
    """Return the improvement in percent of baseline, positive for the better.

    Parameters
    ----------
    baseline, followup : number, list, array, pandas or polars Series
        A measurement before and after, 0 or more, in one unit.
    higher_is_better : bool, default=False
        True for mobility, such as lateral spinal flexion.

    Returns
    -------
    float, list, array or Series
        Missing where one of the two is missing, or where the baseline is 0.

    Raises
    ------
    InputError
        If a measurement is negative, or the rows do not match.

    Notes
    -----
    Units: percent.

    References
    ----------
    Brandt J, Listing J, Sieper J, et al. Ann Rheum Dis 2004;63:1438-1444.
    doi:10.1136/ard.2003.016717

    Examples
    --------
    >>> from asfusion.clinical import percent_improvement
    >>> percent_improvement(20.0, 5.0)
    75.0
    """
    given = Inputs("percent_improvement", baseline=baseline, followup=followup)
    before = given.numbers("baseline", 0, 1e6, "one unit")
    after = given.numbers("followup", 0, 1e6, "one unit")
    gain = after - before if higher_is_better else before - after
    percent = np.where(before > 0, gain / np.where(before > 0, before, 1.0) * 100.0, np.nan)
    return given.give_numbers(percent, "percent_improvement")


@public
def asas_partial_remission(
    patient_global: Values,
    back_pain: Values,
    basfi: Values,
    inflammation_mean_q5_q6: Values,
    *,
    comparison: str = "at_most",
) -> Any:
    """Return whether all four ASAS domains are at 2 or less.

    Parameters
    ----------
    patient_global : number, list, array, pandas or polars Series
        The patient's global assessment, 0 to 10.
    back_pain : as `patient_global`
        Back pain, 0 to 10.
    basfi : as `patient_global`
        BASFI, 0 to 10.
    inflammation_mean_q5_q6 : as `patient_global`
        Mean of BASDAI questions 5 and 6, 0 to 10.
    comparison : {"at_most", "below"}, default='at_most'
        ``"at_most"`` is the ASAS handbook's reading, 2 or less. Some papers print below 2.

    Returns
    -------
    bool, list, array or Series
        Missing where the known domains do not decide.

    Raises
    ------
    InputError
        If a domain lies outside 0 to 10, or the rows do not match.
    ConfigurationError
        If `comparison` is not one of its choices.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Sieper J, Rudwaleit M, Baraliakos X, et al. The ASAS handbook. Ann Rheum Dis
    2009;68(Suppl 2):ii1-ii44. doi:10.1136/ard.2008.104018

    Examples
    --------
    >>> from asfusion.clinical import asas_partial_remission
    >>> asas_partial_remission(2, 2, 2, 2)
    True
    >>> asas_partial_remission(2, 2, 2, 2, comparison="below")
    False
    """
    check_choice(comparison, "comparison", ("at_most", "below"))
    given = Inputs(
        "asas_partial_remission",
        patient_global=patient_global,
        back_pain=back_pain,
        basfi=basfi,
        inflammation_mean_q5_q6=inflammation_mean_q5_q6,
    )
    too_high = exceeds if comparison == "at_most" else reaches
    low = [
        negate(too_high(given.numbers(domain, 0, 10, "unitless", fix=_FIX), 2.0))
        for domain in ASAS_DOMAINS
    ]
    return given.give_truths(all_of(*low), "asas_partial_remission")


def _halved(given: Inputs) -> Floats:
    before = given.numbers("baseline", 0, 10, "unitless", fix=_FIX)
    after = given.numbers("followup", 0, 10, "unitless", fix=_FIX)
    return all_of(exceeds(before, 0.0), reaches(before - after, before / 2.0))


def _read_visits(score: str, baseline: Table, followup: Table) -> Inputs:
    before = read_columns(score, "baseline", baseline, ASAS_DOMAINS)
    after = read_columns(score, "followup", followup, ASAS_DOMAINS)
    return Inputs(
        score,
        **{f"baseline_{domain}": value for domain, value in before.items()},
        **{f"followup_{domain}": value for domain, value in after.items()},
    )


def _fall(given: Inputs, domain: str) -> tuple[Floats, Floats]:
    """Return the baseline of a domain and how far it fell."""
    before = given.numbers(f"baseline_{domain}", 0, 10, "unitless", fix=_FIX)
    after = given.numbers(f"followup_{domain}", 0, 10, "unitless", fix=_FIX)
    return before, before - after


def _moved(move: Floats, before: Floats, share: float, units: float) -> Floats:
    """Return whether a move is at least a share of baseline and a number of units."""
    return reaches(move, np.maximum(share * before, units))


def _responded(improved: list[Floats], worsened: list[Floats]) -> Floats:
    # A domain cannot do both, so that no worsening anywhere is none in the remaining one.
    return all_of(at_least(3, improved), negate(any_of(*worsened)))
