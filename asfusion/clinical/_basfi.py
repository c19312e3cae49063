"""BASFI: what the patient can do."""

from __future__ import annotations

from typing import Any

from asfusion._door import public
from asfusion.clinical._vector import Inputs, add, read_items

_N_ITEMS = 10


@public
def basfi(items: Any) -> Any:
    """Return the Bath Ankylosing Spondylitis Functional Index: the mean of ten answers.

    Parameters
    ----------
    items : sequence of ten, array of shape (..., 10) or DataFrame with ten columns
        Answers, 0 (easy) to 10 (impossible): socks or tights, picking up a pen, high
        shelf, rising from a chair, getting up off the floor, standing 10 minutes, 12 to
        15 steps, looking over the shoulder, demanding activities, a full day's
        activities. Each item of a sequence is a number, list, array or Series.

    Returns
    -------
    float, list, array or Series
        The index, 0 to 10; missing where one of the ten answers is missing.

    Raises
    ------
    InputError
        If there are not ten items, one lies outside 0 to 10, or the rows do not match.

    Notes
    -----
    Units: unitless, 0 to 10; answers given in mm (0 to 100) must be divided by 10 first.

    References
    ----------
    Calin A, Garrett S, Whitelock H, et al. A new approach to defining functional ability
    in ankylosing spondylitis: the development of the Bath Ankylosing Spondylitis
    Functional Index. J Rheumatol 1994;21:2281-2285. PMID 7699629.

    Examples
    --------
    >>> from asfusion.clinical import basfi
    >>> basfi([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    5.5
    """
    found = read_items("basfi", "items", items, _N_ITEMS)
    given = Inputs("basfi", **{f"item_{i}": item for i, item in enumerate(found, start=1)})
    fix = "Divide by 10 if the scale was 0 to 100 mm."
    answers = [
        given.numbers(f"item_{i}", 0, 10, "unitless", fix=fix) for i in range(1, _N_ITEMS + 1)
    ]
    return given.give_numbers(add(answers) / _N_ITEMS, "basfi")
