"""mSASSS: damage of the spine on lateral radiographs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from asfusion._checks import check_choice, check_number
from asfusion._door import public
from asfusion.clinical._vector import Floats, Inputs, Table, Values, reaches, read_columns
from asfusion.exceptions import InputError

CERVICAL_CORNERS = (
    "C2L", "C3U", "C3L", "C4U", "C4L", "C5U", "C5L", "C6U", "C6L", "C7U", "C7L", "T1U",
)  # fmt: skip
"""The cervical corners of the mSASSS from top to bottom: L is lower, U is upper."""

LUMBAR_CORNERS = (
    "T12L", "L1U", "L1L", "L2U", "L2L", "L3U", "L3L", "L4U", "L4L", "L5U", "L5L", "S1U",
)  # fmt: skip
"""The lumbar corners of the mSASSS from top to bottom: L is lower, U is upper."""

_MOST_IMPUTED = 3


class Msasss(NamedTuple):
    """The modified Stoke Ankylosing Spondylitis Spinal Score and its two segments.

    Parameters
    ----------
    total : float, list, array or Series
        0 to 72.
    cervical, lumbar : float, list, array or Series
        0 to 36 each.

    Examples
    --------
    >>> from asfusion.clinical import CERVICAL_CORNERS, LUMBAR_CORNERS, msasss
    >>> msasss(dict.fromkeys(CERVICAL_CORNERS + LUMBAR_CORNERS, 1)).cervical
    12.0
    """

    total: Any
    cervical: Any
    lumbar: Any


@public
def msasss(corners: Table, *, missing: str = "refuse") -> Msasss:
    """Return the modified Stoke Ankylosing Spondylitis Spinal Score.

    The 24 anterior vertebral corners from the lower C2 to the upper T1 and from the lower
    T12 to the upper S1 score 0 (normal), 1 (erosion, sclerosis or squaring), 2
    (syndesmophyte) or 3 (bridge), and are added. A bridge scores 3 at both its corners.

    Parameters
    ----------
    corners : mapping or DataFrame
        A score for each of `CERVICAL_CORNERS` and `LUMBAR_CORNERS`: ``"C2L"`` is the lower
        corner of C2, ``"L1U"`` the upper one of L1. A corner that cannot be read is None.
    missing : {"refuse", "segment_mean"}, default='refuse'
        ``"refuse"``: a segment with a missing corner is missing, and so is the total.
        ``"segment_mean"`` (experimental: a convention of cohort studies, not in the paper):
        up to 3 missing corners of a segment get the mean of its others; with more it is
        missing.

    Returns
    -------
    Msasss
        ``total``, ``cervical`` and ``lumbar``, in the container of the corners.

    Raises
    ------
    InputError
        If a corner is absent, unknown, or not a whole number from 0 to 3.
    ConfigurationError
        If `missing` is not one of its choices.

    Notes
    -----
    Units: unitless.

    References
    ----------
    Creemers MC, Franssen MJ, van't Hof MA, et al. Assessment of outcome in ankylosing
    spondylitis: an extended radiographic scoring system. Ann Rheum Dis 2005;64:127-129.
    doi:10.1136/ard.2004.020503

    Examples
    --------
    >>> from asfusion.clinical import CERVICAL_CORNERS, LUMBAR_CORNERS, msasss
    >>> normal = dict.fromkeys(CERVICAL_CORNERS + LUMBAR_CORNERS, 0)
    >>> msasss(normal | {"L1L": 3, "L2U": 3})
    Msasss(total=6.0, cervical=0.0, lumbar=6.0)
    """
    check_choice(missing, "missing", ("refuse", "segment_mean"))
    known = CERVICAL_CORNERS + LUMBAR_CORNERS
    given = Inputs("msasss", **read_columns("msasss", "corners", corners, known))
    cervical = _segment(given, CERVICAL_CORNERS, impute=missing == "segment_mean")
    lumbar = _segment(given, LUMBAR_CORNERS, impute=missing == "segment_mean")
    return Msasss(
        given.give_numbers(cervical + lumbar, "msasss"),
        given.give_numbers(cervical, "msasss_cervical"),
        given.give_numbers(lumbar, "msasss_lumbar"),
    )


@public
def msasss_progression(
    baseline: Values, followup: Values, years: Values = 2.0, *, threshold_per_2y: float = 2.0
) -> Any:
    """Return whether the spine got worse: a rise of 2 units or more per two years.

    Parameters
    ----------
    baseline, followup : number, list, array, pandas or polars Series
        The score before and after, 0 to 72.
    years : as `baseline`, default=2.0
        Time between the two films, above 0 to 100 years. The rise is scaled to two years.
    threshold_per_2y : float, default=2.0
        The rise in two years from which on it is called progression.

    Returns
    -------
    bool, list, array or Series
        Missing where an argument is missing.

    Raises
    ------
    InputError
        If a score or a time is out of range, or the rows do not match.
    ConfigurationError
        If `threshold_per_2y` is not a number from 0 to 72.

    Notes
    -----
    Units: scores unitless; `years` in years.

    References
    ----------
    Poddubnyy D, Haibel H, Listing J, et al. Arthritis Rheum 2012;64:1388-1398.
    doi:10.1002/art.33465

    Examples
    --------
    >>> from asfusion.clinical import msasss_progression
    >>> msasss_progression(5, [6, 7], years=2)
    [False, True]
    """
    threshold = check_number(threshold_per_2y, "threshold_per_2y", minimum=0.0, maximum=72.0)
    given = Inputs("msasss_progression", baseline=baseline, followup=followup, years=years)
    rise = given.numbers("followup", 0, 72, "unitless") - given.numbers(
        "baseline", 0, 72, "unitless"
    )
    elapsed = given.numbers("years", 0, 100, "years")
    n_zero = int((elapsed == 0).sum())
    if n_zero:
        msg = (
            f"msasss_progression: years: expected times above 0, got {n_zero} that are 0, the "
            f"first at position {np.flatnonzero(elapsed == 0)[0]}. Pass the time between films."
        )
        raise InputError(msg)
    return given.give_truths(reaches(rise / elapsed * 2.0, threshold), "msasss_progression")


def _segment(given: Inputs, corners: tuple[str, ...], *, impute: bool) -> Floats:
    scores = np.stack([given.grades(corner, 0, 3) for corner in corners])
    is_missing = np.isnan(scores)
    n_missing = is_missing.sum(axis=0)
    n_allowed = _MOST_IMPUTED if impute else 0
    known = np.where(is_missing, 0.0, scores).sum(axis=0)
    # The mean of the known corners, for every corner.
    full = known * len(corners) / np.maximum(len(corners) - n_missing, 1)
    return np.where(n_missing > n_allowed, np.nan, full)
