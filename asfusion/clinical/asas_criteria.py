"""ASAS criteria that classify axial spondyloarthritis."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from asfusion._door import public
from asfusion.clinical._vector import (
    Floats,
    Inputs,
    Values,
    add,
    all_of,
    any_of,
    at_least,
    negate,
    reaches,
    read_flags,
)

SPA_FEATURES = (
    "inflammatory_back_pain",
    "arthritis",
    "heel_enthesitis",
    "uveitis",
    "dactylitis",
    "psoriasis",
    "ibd",
    "nsaid_response",
    "family_history",
    "hla_b27",
    "elevated_crp",
)
"""The features of spondyloarthritis that the ASAS criteria of 2009 count."""

ASAS_SPARTAN_WEIGHTS = {
    "mri_axspa": 8,
    "xray_sacroiliitis": 7,
    "hla_b27": 4,
    "inflammatory_back_pain": 3,
    "peripheral_arthritis": 1,
    "ibd": 1,
    "uveitis": 1,
    "heel_enthesitis": 1,
    "elevated_crp": 1,
    "psoriasis": 1,
}
"""The points of the ASAS-SPARTAN proposal of 2025."""

_IMAGING = ("mri_axspa", "xray_sacroiliitis")
_ARMS = ("none", "imaging", "clinical", "both")
_NEEDED_POINTS = 11


class AxSpaClassification(NamedTuple):
    """A classification and the arm that led to it.

    Parameters
    ----------
    axspa : bool, list, array or Series
        Whether the criteria are fulfilled.
    arm : str, list, array or Series
        ``"imaging"``, ``"clinical"``, ``"both"`` or ``"none"``.
    entry : bool, list, array or Series
        Whether the criteria may be applied: back pain for three months or more that began
        before the age of 45.

    Examples
    --------
    >>> from asfusion.clinical import asas_axspa_2009
    >>> asas_axspa_2009(30, 6, True, False, features=["uveitis"]).arm
    'imaging'
    """

    axspa: Any
    arm: Any
    entry: Any


class Points(NamedTuple):
    """A sum of points and whether it is enough.

    Parameters
    ----------
    points : float, list, array or Series
        The sum; missing where an item is missing.
    classified : bool, list, array or Series
        Whether the points are enough; missing only where the missing items decide it.

    Examples
    --------
    >>> from asfusion.clinical import asas_spartan_2025_proposal
    >>> asas_spartan_2025_proposal(["mri_axspa", "hla_b27"]).points
    12.0
    """

    points: Any
    classified: Any


@public
def asas_axspa_2009(
    age_at_onset: Values,
    back_pain_months: Values,
    sacroiliitis_xray_mny: Values,
    sacroiliitis_mri: Values,
    features: Any,
) -> AxSpaClassification:
    """Return the classification of axial spondyloarthritis by the ASAS criteria of 2009.

    Imaging arm: sacroiliitis on radiographs or MRI, and one feature of spondyloarthritis.
    Clinical arm: HLA-B27, and two other features. The criteria classify patients for
    studies; they are not meant to diagnose.

    Parameters
    ----------
    age_at_onset : number, list, array, pandas or polars Series
        Age when back pain began, 0 to 120 years.
    back_pain_months : as `age_at_onset`
        Duration of back pain, 0 to 1440 months.
    sacroiliitis_xray_mny : truth value, list, array or Series
        Definite radiographic sacroiliitis, see `mny_radiographic`.
    sacroiliitis_mri : as `sacroiliitis_xray_mny`
        Active inflammation on MRI that is highly suggestive of spondyloarthritis.
    features : sequence of names, mapping or DataFrame
        Which of `SPA_FEATURES` are present. Names in a list are one fully assessed patient:
        those not in it are absent. In a mapping or DataFrame each feature has truth values,
        and a feature that is not in it is missing.

    Returns
    -------
    AxSpaClassification
        ``axspa``, ``arm`` and ``entry``, missing where the known arguments do not decide.

    Raises
    ------
    InputError
        If a number is out of range, a feature is unknown, or the rows do not match.

    Notes
    -----
    Units: age in years, duration in months.

    References
    ----------
    Rudwaleit M, van der Heijde D, Landewe R, et al. The development of Assessment of
    SpondyloArthritis international Society classification criteria for axial
    spondyloarthritis (part II). Ann Rheum Dis 2009;68:777-783.
    doi:10.1136/ard.2009.108233

    Examples
    --------
    >>> from asfusion.clinical import asas_axspa_2009
    >>> asas_axspa_2009(30, 6, False, True, features=["hla_b27"])
    AxSpaClassification(axspa=True, arm='imaging', entry=True)
    """
    flags = read_flags("asas_axspa_2009", "features", features, SPA_FEATURES)
    given = Inputs(
        "asas_axspa_2009",
        age_at_onset=age_at_onset,
        back_pain_months=back_pain_months,
        sacroiliitis_xray_mny=sacroiliitis_xray_mny,
        sacroiliitis_mri=sacroiliitis_mri,
        **flags,
    )
    entry = all_of(
        reaches(given.numbers("back_pain_months", 0, 1440, "months"), 3.0),
        negate(reaches(given.numbers("age_at_onset", 0, 120, "years"), 45.0)),
    )
    present = {name: given.truths(name) for name in flags}
    others = [truth for name, truth in present.items() if name != "hla_b27"]
    sacroiliitis = any_of(given.truths("sacroiliitis_xray_mny"), given.truths("sacroiliitis_mri"))
    imaging = all_of(entry, sacroiliitis, any_of(*present.values()))
    clinical = all_of(entry, present["hla_b27"], at_least(2, others))
    return AxSpaClassification(
        given.give_truths(any_of(imaging, clinical), "axspa"),
        given.give_words(imaging + 2.0 * clinical, _ARMS, "arm"),
        given.give_truths(entry, "entry"),
    )


@public
def asas_spartan_2025_proposal(present: Any) -> Points:
    """Return the points of the ASAS-SPARTAN proposal of 2025, and whether they are enough.

    Experimental: the weights come from a report of the congress where the proposal was
    shown, and it passed by 158 votes to 151. An MRI that indicates axial spondyloarthritis
    gives 8 points or radiographic sacroiliitis 7, read here as the larger of the two.
    Patients with 11 points are classified, if their back pain lasted three months and
    began before the age of 45.

    Parameters
    ----------
    present : sequence of names, mapping or DataFrame
        Which of the keys of `ASAS_SPARTAN_WEIGHTS` are present, as `features` of
        `asas_axspa_2009`.

    Returns
    -------
    Points
        ``points`` (0 to 21) and ``classified``.

    Raises
    ------
    InputError
        If a name is unknown, a value is not a truth value, or the rows do not match.

    Notes
    -----
    Units: points.

    References
    ----------
    Maksymowych WP, van der Heijde D, Caplan L, et al. The ASAS and SPARTAN revised
    classification criteria for axial spondyloarthritis. ACR Convergence 2025, abstract 0854.

    Examples
    --------
    >>> from asfusion.clinical import asas_spartan_2025_proposal
    >>> asas_spartan_2025_proposal(["mri_axspa", "xray_sacroiliitis", "inflammatory_back_pain"])
    Points(points=11.0, classified=True)
    """
    score = "asas_spartan_2025_proposal"
    given = Inputs(score, **read_flags(score, "present", present, tuple(ASAS_SPARTAN_WEIGHTS)))
    truths = {name: given.truths(name) for name in ASAS_SPARTAN_WEIGHTS}
    least = _points({name: np.nan_to_num(truth, nan=0.0) for name, truth in truths.items()})
    most = _points({name: np.nan_to_num(truth, nan=1.0) for name, truth in truths.items()})
    points = np.where(least == most, least, np.nan)
    enough, possible = least >= _NEEDED_POINTS, most >= _NEEDED_POINTS
    classified = np.where(enough, 1.0, np.where(possible, np.nan, 0.0))
    return Points(given.give_numbers(points, "points"), given.give_truths(classified, "classified"))


def _points(truths: dict[str, Floats]) -> Floats:
    weighted = {name: ASAS_SPARTAN_WEIGHTS[name] * truth for name, truth in truths.items()}
    imaging = np.max(np.stack([weighted.pop(name) for name in _IMAGING]), axis=0)
    return add([imaging, *weighted.values()])
