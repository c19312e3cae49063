"""Scores and definitions of lesions of the sacroiliac joints on MRI."""

from __future__ import annotations

from typing import Any

import numpy as np

from asfusion._door import public
from asfusion.clinical._vector import (
    Inputs,
    Values,
    any_of,
    exceeds,
    reaches,
    read_items,
)

# More slices or quadrants than any protocol has: the column is another one.
_MOST_QUADRANTS = 400
_MOST_SLICES = 100


@public
def sparcc_sij_inflammation(
    quadrants_positive: Values, slices_joints_intense: Values, slices_joints_deep: Values
) -> Any:
    """Return the SPARCC score of inflammation of the sacroiliac joints.

    Six consecutive semicoronal STIR slices: one point for each quadrant with bone marrow
    oedema, for each joint of a slice with an intense lesion, and for each with a deep one.

    Parameters
    ----------
    quadrants_positive : whole number, list, array, pandas or polars Series
        Quadrants with oedema, 0 to 48 (6 slices, 2 joints, 4 quadrants).
    slices_joints_intense : as `quadrants_positive`
        Joints of a slice with an intense signal, 0 to 12.
    slices_joints_deep : as `quadrants_positive`
        Joints of a slice with oedema at least 1 cm deep, 0 to 12.

    Returns
    -------
    float, list, array or Series
        0 to 72; missing where an argument is missing.

    Raises
    ------
    InputError
        If a count is not a whole number in its range, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Maksymowych WP, Inman RD, Salonen D, et al. Arthritis Rheum 2005;53:703-709.
    doi:10.1002/art.21445

    Examples
    --------
    >>> from asfusion.clinical import sparcc_sij_inflammation
    >>> sparcc_sij_inflammation(11, 3, 2)
    16.0
    """
    given = Inputs(
        "sparcc_sij_inflammation",
        quadrants_positive=quadrants_positive,
        slices_joints_intense=slices_joints_intense,
        slices_joints_deep=slices_joints_deep,
    )
    total = (
        given.grades("quadrants_positive", 0, 48)
        + given.grades("slices_joints_intense", 0, 12)
        + given.grades("slices_joints_deep", 0, 12)
    )
    return given.give_numbers(total, "sparcc_sij_inflammation")


@public
def sparcc_sss(fat: Values, erosion: Values, backfill: Values, ankylosis: Values) -> Any:
    """Return the sum of the SPARCC scores of structural lesions of the sacroiliac joints.

    Five consecutive slices. The paper reports the four lesions side by side; the sum is a
    convenience, since fat and ankylosis need not mean the same.

    Parameters
    ----------
    fat, erosion : whole number, list, array, pandas or polars Series
        Quadrants with fat metaplasia and with erosion, 0 to 40 each.
    backfill, ankylosis : as `fat`
        Joint halves with backfill and with ankylosis, 0 to 20 each.

    Returns
    -------
    float, list, array or Series
        0 to 120; missing where an argument is missing.

    Raises
    ------
    InputError
        If a count is not a whole number in its range, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Maksymowych WP, Wichuk S, Chiowchanwisawakit P, Lambert RG, Pedersen SJ. J Rheumatol
    2015;42:79-86. doi:10.3899/jrheum.140519

    Examples
    --------
    >>> from asfusion.clinical import sparcc_sss
    >>> sparcc_sss(fat=4, erosion=3, backfill=1, ankylosis=0)
    8.0
    """
    given = Inputs("sparcc_sss", fat=fat, erosion=erosion, backfill=backfill, ankylosis=ankylosis)
    quadrants = given.grades("fat", 0, 40) + given.grades("erosion", 0, 40)
    halves = given.grades("backfill", 0, 20) + given.grades("ankylosis", 0, 20)
    return given.give_numbers(quadrants + halves, "sparcc_sss")


@public
def berlin_sij(quadrant_bme_fraction: Any) -> Any:
    """Return the Berlin score of bone marrow oedema of the sacroiliac joints.

    Each of eight quadrants scores 0 (none), 1 (below 33 % of its area), 2 (33 to 66 %) or 3
    (above 66 %).

    Parameters
    ----------
    quadrant_bme_fraction : two sequences of four, or array of shape (..., 2, 4)
        Share of each quadrant with oedema, 0 to 1, by joint. Each item of a sequence is a
        number, list, array or Series.

    Returns
    -------
    float, list, array or Series
        0 to 24; missing where a quadrant is missing.

    Raises
    ------
    InputError
        If there are not two joints of four quadrants, a share lies outside 0 to 1, or the
        rows do not match.

    Notes
    -----
    Units: share of area in; unitless out.

    References
    ----------
    Song IH, Hermann K, Haibel H, et al. Ann Rheum Dis 2011;70:1257-1263.
    doi:10.1136/ard.2010.147033

    Examples
    --------
    >>> from asfusion.clinical import berlin_sij
    >>> berlin_sij([[0, 0.2, 0.5, 0.9], [0, 0, 0.34, 0.67]])
    11.0
    """
    score = "berlin_sij"
    joints: Any = quadrant_bme_fraction
    if isinstance(joints, np.ndarray) and joints.ndim > 1:
        joints = [joints[..., joint, :] for joint in range(joints.shape[-2])]
    quadrants = {
        f"joint_{joint}_quadrant_{quadrant}": item
        for joint, items in enumerate(read_items(score, "quadrant_bme_fraction", joints, 2), 1)
        for quadrant, item in enumerate(read_items(score, f"joint {joint}", items, 4), 1)
    }
    given = Inputs(score, **quadrants)
    total = np.zeros(given.shape)
    for name in quadrants:
        share = given.numbers(name, 0, 1, "share of area", fix="Divide by 100 if it was percent.")
        total = total + exceeds(share, 0.0) + reaches(share, 0.33) + exceeds(share, 0.66)
    return given.give_numbers(total, score)


@public
def asas_positive_mri_count_rule(
    bme_lesions_per_slice: Any, same_location_consecutive: Values
) -> Any:
    """Return whether lesions are numerous enough for an MRI that is positive by ASAS.

    Two or more lesions on one slice, or one lesion at the same place on consecutive slices.
    ASAS also asks that the oedema be subchondral and highly suggestive of
    spondyloarthritis, which no count can tell: this is necessary, not sufficient.

    Parameters
    ----------
    bme_lesions_per_slice : sequence, array of shape (..., n_slices) or DataFrame
        Lesions of bone marrow oedema on each slice, whole numbers.
    same_location_consecutive : truth value, list, array or Series
        Whether one lesion is seen at the same place on two or more consecutive slices.

    Returns
    -------
    bool, list, array or Series
        Missing where the known slices do not decide.

    Raises
    ------
    InputError
        If there is no slice, a count is not a whole number of 0 or more, or the rows do not
        match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Lambert RG, Bakker PA, van der Heijde D, et al. Defining active sacroiliitis on MRI for
    classification of axial spondyloarthritis. Ann Rheum Dis 2016;75:1958-1963.
    doi:10.1136/annrheumdis-2015-208642

    Examples
    --------
    >>> from asfusion.clinical import asas_positive_mri_count_rule
    >>> asas_positive_mri_count_rule([0, 2, 0, 0, 0, 0], same_location_consecutive=False)
    True
    """
    score = "asas_positive_mri_count_rule"
    slices = {
        f"slice_{i}": item
        for i, item in enumerate(
            read_items(score, "bme_lesions_per_slice", bme_lesions_per_slice), start=1
        )
    }
    given = Inputs(score, same_location_consecutive=same_location_consecutive, **slices)
    several = [reaches(given.grades(name, 0, _MOST_QUADRANTS), 2.0) for name in slices]
    positive = any_of(given.truths("same_location_consecutive"), *several)
    return given.give_truths(positive, score)


@public
def mri_active_typical_2021(
    quadrants_bme: Values, max_consecutive_slices_same_location: Values
) -> Any:
    """Return whether inflammation of the sacroiliac joints is typical of axSpA.

    Bone marrow oedema in four quadrants or more, or at the same place on three slices or
    more in a row: the definition that was derived from data in 2021.

    Parameters
    ----------
    quadrants_bme : whole number, list, array, pandas or polars Series
        Quadrants with oedema, over all slices.
    max_consecutive_slices_same_location : as `quadrants_bme`
        The longest run of slices with oedema at the same place.

    Returns
    -------
    bool, list, array or Series
        Missing where the known counts do not decide.

    Raises
    ------
    InputError
        If a count is not a whole number of 0 or more, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Maksymowych WP, Lambert RG, Baraliakos X, et al. Data-driven definitions for active and
    structural MRI lesions in the sacroiliac joint in spondyloarthritis and their predictive
    utility. Rheumatology 2021;60:4778-4789. doi:10.1093/rheumatology/keab099

    Examples
    --------
    >>> from asfusion.clinical import mri_active_typical_2021
    >>> mri_active_typical_2021([3, 4, 3], [2, 0, 3])
    [False, True, True]
    """
    given = Inputs(
        "mri_active_typical_2021",
        quadrants_bme=quadrants_bme,
        max_consecutive_slices_same_location=max_consecutive_slices_same_location,
    )
    typical = any_of(
        reaches(given.grades("quadrants_bme", 0, _MOST_QUADRANTS), 4.0),
        reaches(given.grades("max_consecutive_slices_same_location", 0, _MOST_SLICES), 3.0),
    )
    return given.give_truths(typical, "mri_active_typical_2021")


@public
def mri_structural_typical_2021(
    quadrants_erosion: Values,
    quadrants_fat: Values,
    erosion_consecutive_slices: Values,
    fat_consecutive_slices: Values,
    deep_fat_gt_1cm: Values,
) -> Any:
    """Return whether structural lesions of the sacroiliac joints are typical of axSpA.

    Erosion in three quadrants or more, fat in five or more, erosion at the same place on two
    slices or more in a row, fat on three or more, or fat deeper than 1 cm.

    Parameters
    ----------
    quadrants_erosion, quadrants_fat : whole number, list, array, pandas or polars Series
        Quadrants with erosion and with fat lesions, over all slices.
    erosion_consecutive_slices, fat_consecutive_slices : as `quadrants_erosion`
        The longest runs of slices with the lesion at the same place.
    deep_fat_gt_1cm : truth value, list, array or Series
        Whether a fat lesion reaches deeper than 1 cm.

    Returns
    -------
    bool, list, array or Series
        Missing where the known counts do not decide.

    Raises
    ------
    InputError
        If a count is not a whole number of 0 or more, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Maksymowych WP, Lambert RG, Baraliakos X, et al. Rheumatology 2021;60:4778-4789.
    doi:10.1093/rheumatology/keab099

    Examples
    --------
    >>> from asfusion.clinical import mri_structural_typical_2021
    >>> mri_structural_typical_2021(2, 4, 1, 2, deep_fat_gt_1cm=False)
    False
    """
    given = Inputs(
        "mri_structural_typical_2021",
        quadrants_erosion=quadrants_erosion,
        quadrants_fat=quadrants_fat,
        erosion_consecutive_slices=erosion_consecutive_slices,
        fat_consecutive_slices=fat_consecutive_slices,
        deep_fat_gt_1cm=deep_fat_gt_1cm,
    )
    typical = any_of(
        reaches(given.grades("quadrants_erosion", 0, _MOST_QUADRANTS), 3.0),
        reaches(given.grades("quadrants_fat", 0, _MOST_QUADRANTS), 5.0),
        reaches(given.grades("erosion_consecutive_slices", 0, _MOST_SLICES), 2.0),
        reaches(given.grades("fat_consecutive_slices", 0, _MOST_SLICES), 3.0),
        given.truths("deep_fat_gt_1cm"),
    )
    return given.give_truths(typical, "mri_structural_typical_2021")
