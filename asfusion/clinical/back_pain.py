"""Inflammatory back pain: three sets of criteria."""

from __future__ import annotations

from typing import Any

from asfusion._door import public
from asfusion.clinical._vector import Inputs, Values, at_least


@public
def ibp_calin(
    age_onset_lt_40: Values,
    duration_ge_3mo: Values,
    insidious_onset: Values,
    morning_stiffness: Values,
    improves_exercise: Values,
) -> Any:
    """Return whether back pain is inflammatory by Calin's criteria: four of five.

    Parameters
    ----------
    age_onset_lt_40 : truth value, list, array, pandas or polars Series
        Age at onset below 40 years.
    duration_ge_3mo : as `age_onset_lt_40`
        Duration of three months or more.
    insidious_onset : as `age_onset_lt_40`
        Insidious onset.
    morning_stiffness : as `age_onset_lt_40`
        Morning stiffness.
    improves_exercise : as `age_onset_lt_40`
        Improvement with exercise.

    Returns
    -------
    bool, list, array or Series
        Missing where the known criteria do not decide.

    Raises
    ------
    InputError
        If a criterion is not a truth value, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Calin A, Porta J, Fries JF, Schurman DJ. Clinical history as a screening test for
    ankylosing spondylitis. JAMA 1977;237:2613-2614. PMID 140252.

    Examples
    --------
    >>> from asfusion.clinical import ibp_calin
    >>> ibp_calin(True, True, True, True, None)
    True
    """
    given = Inputs(
        "ibp_calin",
        age_onset_lt_40=age_onset_lt_40,
        duration_ge_3mo=duration_ge_3mo,
        insidious_onset=insidious_onset,
        morning_stiffness=morning_stiffness,
        improves_exercise=improves_exercise,
    )
    return _count(given, 4)


@public
def ibp_berlin(
    morning_stiffness_gt_30min: Values,
    improves_exercise_not_rest: Values,
    second_half_night_awakening: Values,
    alternating_buttock_pain: Values,
) -> Any:
    """Return whether back pain is inflammatory by the Berlin criteria: two of four.

    The criteria were made for chronic back pain that began before the age of 50.

    Parameters
    ----------
    morning_stiffness_gt_30min : truth value, list, array, pandas or polars Series
        Morning stiffness of more than 30 minutes.
    improves_exercise_not_rest : as `morning_stiffness_gt_30min`
        Improvement with exercise but not with rest.
    second_half_night_awakening : as `morning_stiffness_gt_30min`
        Awakening by back pain in the second half of the night only.
    alternating_buttock_pain : as `morning_stiffness_gt_30min`
        Alternating buttock pain.

    Returns
    -------
    bool, list, array or Series
        Missing where the known criteria do not decide.

    Raises
    ------
    InputError
        If a criterion is not a truth value, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Rudwaleit M, Metter A, Listing J, Sieper J, Braun J. Inflammatory back pain in ankylosing
    spondylitis. Arthritis Rheum 2006;54:569-578. doi:10.1002/art.21619

    Examples
    --------
    >>> from asfusion.clinical import ibp_berlin
    >>> ibp_berlin(True, True, False, False)
    True
    """
    given = Inputs(
        "ibp_berlin",
        morning_stiffness_gt_30min=morning_stiffness_gt_30min,
        improves_exercise_not_rest=improves_exercise_not_rest,
        second_half_night_awakening=second_half_night_awakening,
        alternating_buttock_pain=alternating_buttock_pain,
    )
    return _count(given, 2)


@public
def ibp_asas(
    age_onset_lt_40: Values,
    insidious_onset: Values,
    improves_exercise: Values,
    no_improvement_rest: Values,
    night_pain: Values,
) -> Any:
    """Return whether back pain is inflammatory by the ASAS experts' criteria: four of five.

    Parameters
    ----------
    age_onset_lt_40 : truth value, list, array, pandas or polars Series
        Age at onset below 40 years.
    insidious_onset : as `age_onset_lt_40`
        Insidious onset.
    improves_exercise : as `age_onset_lt_40`
        Improvement with exercise.
    no_improvement_rest : as `age_onset_lt_40`
        No improvement with rest.
    night_pain : as `age_onset_lt_40`
        Pain at night that improves on getting up.

    Returns
    -------
    bool, list, array or Series
        Missing where the known criteria do not decide.

    Raises
    ------
    InputError
        If a criterion is not a truth value, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Sieper J, van der Heijde D, Landewe R, et al. New criteria for inflammatory back pain in
    patients with chronic back pain. Ann Rheum Dis 2009;68:784-788.
    doi:10.1136/ard.2008.101501

    Examples
    --------
    >>> from asfusion.clinical import ibp_asas
    >>> ibp_asas(True, True, True, False, False)
    False
    """
    given = Inputs(
        "ibp_asas",
        age_onset_lt_40=age_onset_lt_40,
        insidious_onset=insidious_onset,
        improves_exercise=improves_exercise,
        no_improvement_rest=no_improvement_rest,
        night_pain=night_pain,
    )
    return _count(given, 4)


def _count(given: Inputs, needed: int) -> Any:
    met = at_least(needed, [given.truths(name) for name in given.names])
    return given.give_truths(met, given.score)
