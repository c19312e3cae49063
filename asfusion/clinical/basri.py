"""BASRI: a quick grading of damage on radiographs."""

from __future__ import annotations

from typing import Any

from asfusion._door import public
from asfusion.clinical._vector import Floats, Inputs, Values


@public
def basri_spine(sij_left: Values, sij_right: Values, lumbar: Values, cervical: Values) -> Any:
    """Return the Bath Ankylosing Spondylitis Radiology Index of the spine.

    The grades of the sacroiliac joints, the lumbar and the cervical spine, added.
    Experimental: that the two sacroiliac joints enter as their mean was not read in the
    paper; its range of 2 to 12 in definite disease needs one grade for the two.

    Parameters
    ----------
    sij_left, sij_right : number, list, array, pandas or polars Series
        New York grade of each sacroiliac joint, 0 to 4.
    lumbar, cervical : as `sij_left`
        Grade of the lumbar and the cervical spine: 0 normal, 1 suspicious, 2 mild,
        3 moderate, 4 severe.

    Returns
    -------
    float, list, array or Series
        0 to 12; missing where a grade is missing.

    Raises
    ------
    InputError
        If a grade is not a whole number from 0 to 4, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    MacKay K, Mack C, Brophy S, Calin A. The Bath Ankylosing Spondylitis Radiology Index
    (BASRI). Arthritis Rheum 1998;41:2263-2270.
    doi:10.1002/1529-0131(199812)41:12<2263::AID-ART23>3.0.CO;2-I

    Examples
    --------
    >>> from asfusion.clinical import basri_spine
    >>> basri_spine(3, 2, 1, 0)
    3.5
    """
    given = Inputs(
        "basri_spine", sij_left=sij_left, sij_right=sij_right, lumbar=lumbar, cervical=cervical
    )
    return given.give_numbers(_spine(given), "basri_spine")


@public
def basri_total(
    sij_left: Values,
    sij_right: Values,
    lumbar: Values,
    cervical: Values,
    hip_left: Values,
    hip_right: Values,
) -> Any:
    """Return the BASRI of spine and hips: `basri_spine` plus the mean grade of the hips.

    Experimental: that the two hips enter as their mean was not read in the paper; its range
    of 2 to 16 in definite disease needs one grade for the two.

    Parameters
    ----------
    sij_left, sij_right, lumbar, cervical : number, list, array, pandas or polars Series
        As in `basri_spine`, 0 to 4.
    hip_left, hip_right : as `sij_left`
        Grade of each hip: 0 normal, 1 suspicious, 2 mild, 3 moderate, 4 severe.

    Returns
    -------
    float, list, array or Series
        0 to 16; missing where a grade is missing.

    Raises
    ------
    InputError
        If a grade is not a whole number from 0 to 4, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    MacKay K, Brophy S, Mack C, Doran M, Calin A. The development and validation of a
    radiographic grading system for the hip in ankylosing spondylitis: the Bath Ankylosing
    Spondylitis Radiology Hip Index. J Rheumatol 2000;27:2866-2872. PMID 11128678.

    Examples
    --------
    >>> from asfusion.clinical import basri_total
    >>> basri_total(4, 4, 4, 4, 4, 4)
    16.0
    """
    given = Inputs(
        "basri_total",
        sij_left=sij_left,
        sij_right=sij_right,
        lumbar=lumbar,
        cervical=cervical,
        hip_left=hip_left,
        hip_right=hip_right,
    )
    hips = (given.grades("hip_left", 0, 4) + given.grades("hip_right", 0, 4)) / 2
    return given.give_numbers(_spine(given) + hips, "basri_total")


def _spine(given: Inputs) -> Floats:
    joints = (given.grades("sij_left", 0, 4) + given.grades("sij_right", 0, 4)) / 2
    return joints + given.grades("lumbar", 0, 4) + given.grades("cervical", 0, 4)
