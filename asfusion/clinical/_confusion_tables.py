"""Which confusion tables round to a set of figures.

Every figure here is a ratio of two sums of cells. "It rounds to x" is therefore two linear
inequalities in the cells, whether these are counts or shares of one; so is a count that is
given, and so is the ratio of two of them. With the number of rows known, the whole tables that
satisfy all of them are found without trying each. Without it, the shares that satisfy them form
a polytope in three dimensions, whose corners answer everything: whether there is a table, and
how far any other figure can go.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Numerator and denominator of each figure over true and false positives, false and true
# negatives.
FIGURES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "sensitivity": ((1, 0, 0, 0), (1, 0, 1, 0)),
    "specificity": ((0, 0, 0, 1), (0, 1, 0, 1)),
    "accuracy": ((1, 0, 0, 1), (1, 1, 1, 1)),
    "ppv": ((1, 0, 0, 0), (1, 1, 0, 0)),
    "npv": ((0, 0, 0, 1), (0, 0, 1, 1)),
    "f1": ((2, 0, 0, 0), (2, 1, 1, 0)),
    "prevalence": ((1, 0, 1, 0), (1, 1, 1, 1)),
}
Ranges = dict[str, tuple[float, float]]

N_SHOWN = 1000
_N_ROWS_AT_MOST = 200_000
_N_PAIRS_AT_MOST = 20_000_000
_N_PAIRS_AT_ONCE = 500_000
_DECIMALS_AT_MOST = 9
_SLACK = 1e-11  # what rounding of floats may add to an inequality between shares
# Shares of rows below this are taken for none at all: one row in ten million.
_SOME = 1e-7


class ConfusionTable(NamedTuple):
    """Counts of one binary test.

    Parameters
    ----------
    tp, fp, fn, tn : int
        True positives, false positives, false negatives and true negatives.
    """

    tp: int
    fp: int
    fn: int
    tn: int


CELLS = ConfusionTable._fields


class Rounded(NamedTuple):
    """Every value that rounds to a figure: ``low / scale`` to ``high / scale``, in integers."""

    low: int
    high: int
    scale: int


@dataclass(frozen=True)
class Found:
    """Tables that fit: how many, some of them, and the range of every figure."""

    count: int
    tables: tuple[ConfusionTable, ...]
    ranges: Ranges


def round_back(value: float, decimals: int) -> Rounded:
    """Return the values that round to `value`, both ends included."""
    if decimals > _DECIMALS_AT_MOST:
        scale = 10**_DECIMALS_AT_MOST
        low, high = math.floor(value * scale) - 1, math.ceil(value * scale) + 1
    else:
        scale = 2 * 10**decimals
        centre = round(value * scale)
        low, high = centre - 1, centre + 1
    return Rounded(max(low, 0), min(high, scale), scale)


# --- shares ---------------------------------------------------------------------------


def find_shares(figures: Mapping[str, Rounded], counts: Mapping[str, int]) -> Ranges | None:
    """Return the range of every figure over the tables of any size that fit, None if none.

    Of counts the ratios are looked at, and whether there are any.
    """
    corners = _corners(figures, counts)
    needed = [np.array(FIGURES[name][1], float) for name in figures]
    needed += [_cell(name).astype(float) for name, count in counts.items() if count]
    # The set is convex: if each denominator is positive somewhere, all are somewhere.
    if not len(corners) or any((corners @ den).max() < _SOME for den in needed):
        return None
    return _ranges(corners, _SOME)


def _corners(figures: Mapping[str, Rounded], counts: Mapping[str, int]) -> Floats:
    """Return the corners (K, 4) of the polytope of shares."""
    rows = [np.eye(4)]
    for name, (low, high, scale) in figures.items():
        num, den = (np.array(part, float) for part in FIGURES[name])
        rows.append(np.stack([num - low / scale * den, high / scale * den - num]))
    rows += list(_ratios(counts))
    walls: Floats = np.concatenate(rows)
    active = np.array(list(itertools.combinations(range(len(walls)), 3)))
    systems = np.concatenate([walls[active], np.ones((len(active), 1, 4))], axis=1)
    regular = np.abs(np.linalg.det(systems)) > 1e-14
    solved = np.linalg.solve(systems[regular], np.array([[0.0], [0.0], [0.0], [1.0]]))[..., 0]
    inside = (solved @ walls.T >= -_SLACK).all(axis=1)
    return np.asarray(solved[inside])


def _ratios(counts: Mapping[str, int]) -> Iterator[Floats]:
    """Yield walls (2, 4) between which shares have the ratio of two counts, or are none."""
    for name, count in counts.items():
        if not count:
            yield np.stack([_cell(name), -_cell(name)]).astype(float)
    some = [(name, count) for name, count in counts.items() if count]
    for (one, first), (other, second) in itertools.pairwise(some):
        wall = (_cell(one) * second - _cell(other) * first) / max(first, second)
        yield np.stack([wall, -wall])


def _cell(name: str) -> Ints:
    """Return the weights that pick one cell of a table."""
    return np.array([cell == name for cell in CELLS], np.int64)


def _ranges(tables: Floats | Ints, least: float) -> Ranges:
    """Return the lowest and highest of each figure over tables (K, 4) that define it."""
    out: Ranges = {}
    for name, (num, den) in FIGURES.items():
        below = tables @ np.array(den)
        is_defined = below >= least
        if is_defined.any():
            values = (tables @ np.array(num))[is_defined] / below[is_defined]
            out[name] = (float(values.min().clip(0.0, 1.0)), float(values.max().clip(0.0, 1.0)))
    return out


# --- counts ---------------------------------------------------------------------------


def find_tables(
    figures: Mapping[str, Rounded],
    counts: Mapping[str, int],
    n: int,
    n_positive: int | None = None,
) -> Found | None:
    """Return the tables of `n` rows that fit, None if they are too many to go through."""
    if n_positive is None and n > _N_ROWS_AT_MOST:
        return None
    conditions = list(_conditions(figures, counts))
    positives = np.arange(n + 1) if n_positive is None else np.array([n_positive])
    first, last = _hit_bounds(conditions, positives, n)
    widths = np.maximum(last - first + 1, 0)
    if widths.sum() > _N_PAIRS_AT_MOST:
        return None
    found = [_fill(conditions, n, *pairs) for pairs in _pairs(positives, first, widths)]
    return _merge(found)


def _conditions(
    figures: Mapping[str, Rounded], counts: Mapping[str, int]
) -> Iterator[tuple[Ints, int]]:
    """Yield weights and bounds: the weighted sum of the cells must reach the bound."""
    for name, (low, high, scale) in figures.items():
        num, den = (np.array(part, np.int64) for part in FIGURES[name])
        yield scale * num - low * den, 0
        yield high * den - scale * num, 0
        yield den, 1
    for name, count in counts.items():
        yield _cell(name), count
        yield -_cell(name), -count


def _hit_bounds(
    conditions: Iterable[tuple[Ints, int]], positives: Ints, n: int
) -> tuple[Ints, Ints]:
    """Return the fewest and most true positives for each number of positives."""
    low, high = np.zeros_like(positives), positives.copy()
    for (tp, fp, fn, tn), bound in conditions:
        if tn == fp:
            rest = bound - fp * (n - positives) - fn * positives
            low, high = _tighten(low, high, tp - fn, rest)
    return low, high


def _tighten(low: Ints, high: Ints, slope: int, rest: Ints) -> tuple[Ints, Ints]:
    """Return the bounds of k after ``slope * k >= rest``."""
    if slope > 0:
        return np.maximum(low, -(-rest // slope)), high
    if slope < 0:
        return low, np.minimum(high, (-rest) // (-slope))
    return low, np.where(rest > 0, low - 1, high)


def _pairs(positives: Ints, first: Ints, widths: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield positives and true positives, in blocks of pairs."""
    ends = np.cumsum(widths)
    for start in range(0, int(ends[-1]), _N_PAIRS_AT_ONCE):
        number = np.arange(start, min(start + _N_PAIRS_AT_ONCE, int(ends[-1])))
        at = np.searchsorted(ends, number, side="right")
        yield positives[at], first[at] + number - (ends[at] - widths[at])


def _fill(conditions: Iterable[tuple[Ints, int]], n: int, positives: Ints, hits: Ints) -> Found:
    """Return the tables with these positives and true positives."""
    negatives, misses = n - positives, positives - hits
    low, high = np.zeros_like(hits), negatives.copy()
    for (tp, fp, fn, tn), bound in conditions:
        rest = bound - tp * hits - fp * negatives - fn * misses
        low, high = _tighten(low, high, tn - fp, rest)
    some = high >= low
    hits, misses, negatives, low, high = (a[some] for a in (hits, misses, negatives, low, high))
    # A figure is monotone in the true negatives, so that the two ends bound it.
    ends = [np.stack([hits, negatives - tn, misses, tn], axis=1) for tn in (low, high)]
    shown = itertools.islice(_each(hits, misses, negatives, low, high), N_SHOWN)
    return Found(int((high - low + 1).sum()), tuple(shown), _ranges(np.concatenate(ends), 1))


def _each(
    hits: Ints, misses: Ints, negatives: Ints, low: Ints, high: Ints
) -> Iterator[ConfusionTable]:
    for tp, fn, n_negative, start, stop in zip(
        *(a.tolist() for a in (hits[:N_SHOWN], misses[:N_SHOWN], negatives[:N_SHOWN])),
        low[:N_SHOWN].tolist(),
        high[:N_SHOWN].tolist(),
        strict=True,
    ):
        for tn in range(start, stop + 1):
            yield ConfusionTable(tp, n_negative - tn, fn, tn)


def _merge(blocks: Iterable[Found]) -> Found:
    count, ranges = 0, Ranges()
    tables: list[ConfusionTable] = []
    for block in blocks:
        count += block.count
        tables += block.tables[: N_SHOWN - len(tables)]
        for name, (low, high) in block.ranges.items():
            least, most = ranges.get(name, (low, high))
            ranges[name] = (min(low, least), max(high, most))
    return Found(count, tuple(tables), ranges)
