"""How often the row with the higher risk has its event first.

Dimensions: N rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def harrell_c(
    event: NDArray[np.bool_], time: Floats, risk: Floats, weight: Floats | None = None
) -> float:
    """Return Harrell's C.

    Parameters
    ----------
    event, time : ndarray of shape (N,)
        What happened to each row, and when.
    risk : ndarray of shape (N,)
        Higher means sooner.
    weight : ndarray of shape (N,), optional
        How often each row counts.

    Returns
    -------
    float
        Share of comparable pairs in which the row that has its event first has the higher
        risk, equal risks counting half; NaN without such pairs.

    References
    ----------
    .. [1] Harrell et al., "Evaluating the yield of medical tests", JAMA 1982.
       https://doi.org/10.1001/jama.1982.03320430047030

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.survival.concordance import harrell_c
    >>> event, time = np.array([True, True, False]), np.array([1.0, 2.0, 3.0])
    >>> harrell_c(event, time, np.array([3.0, 1.0, 2.0]))
    0.6666666666666666
    """
    weight = np.ones(len(time)) if weight is None else weight
    later, agreeing = pair_sums(event, time, risk, weight)
    comparable = float((weight * event) @ later)
    return float((weight * event) @ agreeing) / comparable if comparable else float("nan")


def pair_sums(
    event: NDArray[np.bool_], time: Floats, risk: Floats, weight: Floats
) -> tuple[Floats, Floats]:
    """Return for each row the weight of rows that come later, and of those with less risk.

    Later is whoever has a longer time, or is censored at the same one. Equal risks count
    half. The second sum is found by merging sorted halves, so that N rows take N log^2 N.
    """
    place = places_in_time(event, time)
    order = np.argsort(place, kind="stable")
    total = np.append(np.cumsum(weight[order][::-1])[::-1], 0.0)
    later = total[np.searchsorted(place[order], place, side="right")]
    return later, smaller_behind(place, risk, weight)


def smaller_behind(place: NDArray[np.int64], risk: Floats, weight: Floats) -> Floats:
    """Return for each row the weight of those with a later place and less risk."""
    order = np.argsort(place, kind="stable")
    ranks = np.unique(risk, return_inverse=True)[1]
    out = np.empty(len(place))
    out[order] = _smaller_behind(place[order], ranks[order], weight[order])
    return out


def places_in_time(event: NDArray[np.bool_], time: Floats) -> NDArray[np.int64]:
    """Return the order in which rows leave: at one time, events first, the censored last."""
    numbers = np.unique(time, return_inverse=True)[1]
    return np.asarray(2 * numbers + ~event)


def _smaller_behind(place: NDArray[np.int64], ranks: NDArray[np.int64], weight: Floats) -> Floats:
    """Return for each of N rows, sorted by `place`, the weight of smaller ranks behind it.

    Rows of one place are not behind each other; equal ranks count half.
    """
    n_rows = len(place)
    out = np.zeros(n_rows)
    span = np.int64(ranks.max(initial=0)) + 1
    width = 1
    positions = np.arange(n_rows)
    while width < n_rows:
        block = positions // (2 * width)
        is_right = (positions // width) % 2 == 1
        left, right = np.flatnonzero(~is_right), np.flatnonzero(is_right)
        out[left] += _below(block, ranks, weight, span, left, right)
        width *= 2
    return out - _within_place(place, ranks, weight)


def _below(
    block: NDArray[np.int64],
    ranks: NDArray[np.int64],
    weight: Floats,
    span: np.int64,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
) -> Floats:
    """Return for rows `left` the weight of smaller ranks among `right` of their block."""
    keys = block[right] * span + ranks[right]
    order = np.argsort(keys, kind="stable")
    keys, sums = keys[order], np.append(0.0, np.cumsum(weight[right][order]))
    own = block[left] * span + ranks[left]
    start = sums[np.searchsorted(keys, block[left] * span)]
    less = sums[np.searchsorted(keys, own, side="left")]
    most = sums[np.searchsorted(keys, own, side="right")]
    return np.asarray(0.5 * (less + most) - start)


def _within_place(place: NDArray[np.int64], ranks: NDArray[np.int64], weight: Floats) -> Floats:
    """Return the weight of smaller ranks among rows of the same place that stand behind."""
    out = np.zeros(len(place))
    starts = np.flatnonzero(np.diff(place, prepend=place[:1] - 1))
    sizes = np.diff(np.append(starts, len(place)))
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        rows = slice(start, start + size)
        inside = _smaller_behind(np.arange(size), ranks[rows], weight[rows])
        out[rows] = inside
    return out
