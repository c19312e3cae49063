"""How far the measurements of each site lie from those of the other sites.

Sites are compared by a quantile of the logarithm, which a change of unit shifts by the same
step for every value. It is the median where that is measured at every site, and a higher one
where more than half of a site's values sit at the detection limit of its assay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_missing
from asfusion.clinical._vector import Floats
from asfusion.exceptions import InputError

_QUANTILES = (0.5, 0.75, 0.9)
_TAIL = 0.005  # each side of a 99 % interval
# This many equal values at the lower end are a detection limit, not a coincidence.
_TIES = 3


class Spread(NamedTuple):
    """One site's measurements against those of the others."""

    quantile: float
    own: float
    others: float
    is_apart: bool  # the 99 % intervals of the two do not overlap


class _Quantile(NamedTuple):
    value: float
    low: float
    high: float


def read_sites(site: Any, n_rows: int) -> list[Any]:
    """Return the site of each row, None where it is missing."""
    cells = site.to_list() if hasattr(site, "to_list") else np.asarray(site, object).tolist()
    if not isinstance(cells, list) or len(cells) != n_rows:
        got = len(cells) if isinstance(cells, list) else 1
        msg = f"site: expected one for each of the {n_rows} values, got {got}."
        raise InputError(msg)
    return [None if is_missing(cell) else cell for cell in cells]


def compare_sites(by_site: Mapping[Any, Floats]) -> dict[Any, Spread | None]:
    """Return each site against the others, None where there is too little to say.

    `by_site` holds the known values of each site.
    """
    censored = {site: _share_at_limit(known) for site, known in by_site.items()}
    tables = {
        q: {site: _quantile(known, q) for site, known in by_site.items() if censored[site] < q}
        for q in _QUANTILES
    }
    return {site: _against(site, tables) for site in by_site}


def _against(site: Any, tables: Mapping[float, Mapping[Any, _Quantile | None]]) -> Spread | None:
    """Return one site against the others at the lowest quantile that most of them have."""
    for q, table in tables.items():
        own = table.get(site)
        others = [found for name, found in table.items() if name != site and found is not None]
        n_others = max(len(every) for every in tables.values()) - 1
        if own is None or not others or 2 * len(others) < n_others:
            continue
        # The middle one by distance, the nearer one of two: a site is far from it only if it is
        # far from most of the others, so that one site in another unit flags only itself.
        others.sort(key=lambda other: abs(math.log(own.value / other.value)))
        other = others[(len(others) - 1) // 2]
        apart = own.high < other.low or own.low > other.high
        return Spread(q, own.value, other.value, apart)
    return None


def _share_at_limit(known: Floats) -> float:
    """Return the share of values that equal the lowest, or are zero, if several do."""
    if not len(known):
        return 1.0
    count = int(np.count_nonzero(known <= max(float(known.min()), 0.0)))
    return count / len(known) if count >= _TIES else 0.0


def _quantile(known: Floats, q: float) -> _Quantile | None:
    """Return a quantile with its 99 % interval by ranks, None if the sample has none."""
    n = len(known)
    below = _highest_rank(n, q)
    above = _highest_rank(n, 1.0 - q)
    if below < 1 or above < 1:
        return None
    order: NDArray[np.float64] = np.sort(known)
    value, low, high = float(np.quantile(order, q)), order[below - 1], order[n - above]
    return _Quantile(value, float(low), float(high)) if low > 0.0 else None


def _highest_rank(n: int, q: float) -> int:
    """Return the highest rank that lies above the quantile with less than 0.5 % probability."""
    total, rank = 0.0, 0
    for k in range(n):
        total += math.exp(
            math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
            + k * math.log(q) + (n - k) * math.log1p(-q)
        )  # fmt: skip
        if total > _TAIL:
            break
        rank = k + 1
    return rank
