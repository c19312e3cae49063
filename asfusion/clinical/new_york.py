"""The modified New York criteria of ankylosing spondylitis."""

from __future__ import annotations

from typing import Any

import numpy as np

from asfusion._door import public
from asfusion.clinical._vector import Floats, Inputs, Values, all_of, any_of, reaches

_CLASSES = ("not_classified", "probable", "definite")


@public
def mny_radiographic(left: Values, right: Values) -> Any:
    """Return whether the sacroiliac joints fulfil the radiographic criterion.

    Grade 2 or more on both sides, or grade 3 or 4 on one side. Grade 3 on a known side
    decides even where the other was not read.

    Parameters
    ----------
    left, right : number, list, array, pandas or polars Series
        Grade of each joint: 0 normal, 1 suspicious, 2 minimal, 3 unequivocal, 4 ankylosis.

    Returns
    -------
    bool, list, array or Series
        Missing where the known grades do not decide.

    Raises
    ------
    InputError
        If a grade is not a whole number from 0 to 4, or the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    van der Linden S, Valkenburg HA, Cats A. Evaluation of diagnostic criteria for ankylosing
    spondylitis. Arthritis Rheum 1984;27:361-368. doi:10.1002/art.1780270401

    Examples
    --------
    >>> from asfusion.clinical import mny_radiographic
    >>> mny_radiographic([2, 2, 3, 1], [2, 1, None, None])
    [True, False, True, None]
    """
    given = Inputs("mny_radiographic", left=left, right=right)
    return given.give_truths(_radiographic(given), "mny_radiographic")


@public
def mny_as(
    left: Values,
    right: Values,
    back_pain_stiffness_3mo: Values,
    limited_lumbar_motion: Values,
    limited_chest_expansion: Values,
) -> Any:
    """Return ``"definite"``, ``"probable"`` or ``"not_classified"`` ankylosing spondylitis.

    Definite: the radiographic criterion and at least one clinical criterion. Probable: the
    radiographic criterion alone, or all three clinical criteria without it.

    Parameters
    ----------
    left, right : number, list, array, pandas or polars Series
        Grade of each sacroiliac joint, 0 to 4.
    back_pain_stiffness_3mo : truth value, list, array or Series
        Low back pain and stiffness for more than three months that improve with exercise and
        are not relieved by rest.
    limited_lumbar_motion : as `back_pain_stiffness_3mo`
        Limited motion of the lumbar spine in the sagittal and frontal planes.
    limited_chest_expansion : as `back_pain_stiffness_3mo`
        Limited chest expansion for age and sex.

    Returns
    -------
    str, list, array or Series
        Missing where the known arguments do not decide.

    Raises
    ------
    InputError
        If a grade is not a whole number from 0 to 4, a criterion is not a truth value, or
        the rows do not match.

    Notes
    -----
    Units: unitless.

    References
    ----------
    van der Linden S, Valkenburg HA, Cats A. Arthritis Rheum 1984;27:361-368.
    doi:10.1002/art.1780270401

    Examples
    --------
    >>> from asfusion.clinical import mny_as
    >>> mny_as(2, 2, True, False, None)
    'definite'
    """
    clinical = {
        "back_pain_stiffness_3mo": back_pain_stiffness_3mo,
        "limited_lumbar_motion": limited_lumbar_motion,
        "limited_chest_expansion": limited_chest_expansion,
    }
    given = Inputs("mny_as", left=left, right=right, **clinical)
    radiographic = _radiographic(given)
    criteria = [given.truths(name) for name in clinical]
    definite = all_of(radiographic, any_of(*criteria))
    probable = any_of(radiographic, all_of(*criteria))
    # A definite case is also radiographic, so that `probable` is true wherever `definite` is.
    code = np.where(definite == 1.0, 2.0, np.where(definite == 0.0, probable, np.nan))
    code = np.where(probable == 0.0, 0.0, code)
    return given.give_words(code, _CLASSES, "mny_as")


def _radiographic(given: Inputs) -> Floats:
    left, right = given.grades("left", 0, 4), given.grades("right", 0, 4)
    bilateral = all_of(reaches(left, 2.0), reaches(right, 2.0))
    return any_of(bilateral, reaches(left, 3.0), reaches(right, 3.0))
