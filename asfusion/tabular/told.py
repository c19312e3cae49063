"""What a hospital tells of a modality so that others can read it alike: sums, and no row.

A site tells `Told` of its rows; what sites told is added, and an encoder is fitted to the sum as if
all rows stood in one table. No count below a floor leaves a site: bins of numbers grow until they
hold as many rows, rare levels and words are left out, and a remainder too small to be told counts
with the largest part, so that it does not follow from a difference either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion._frames import Frame
from asfusion.exceptions import ColumnError, InputError
from asfusion.tabular.preprocess import column_kind

Floats = NDArray[np.float64]
Bin: TypeAlias = tuple[int, int, float]  # place on the grid, rows, their mean

_MEASURED = ("number", "date")
_PER_TENFOLD = 64  # bins of the grid between a number and ten times it
_FINEST = 1e-9  # what is nearer to zero is zero to the grid
_MOST_ROWS = 20_000  # of a stand-in: enough for every quantile that is learned


@dataclass(frozen=True)
class ColumnSums:
    """What is told of one column.

    Parameters
    ----------
    kind : str
        ``"number"``, ``"date"`` (days since 1970), ``"boolean"``, ``"category"``, ``"ordered"``, or
        ``"empty"`` where no cell is known.
    n_missing : int
        Rows without a cell.
    bins : tuple of (int, int, float)
        Of numbers and dates: place on the grid, rows and mean of each bin, rising.
    levels : mapping of str to int
        Rows of each level, all of an ordered category in their order; ``"true"`` and ``"false"`` of
        a boolean.
    """

    kind: str
    n_missing: int = 0
    bins: tuple[Bin, ...] = ()
    levels: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows that are counted."""
        return self.n_missing + sum(n for _, n, _ in self.bins) + sum(self.levels.values())

    @property
    def median(self) -> float:
        """Median of the known numbers, NaN where there are none."""
        reached = np.cumsum([n for _, n, _ in self.bins])
        if not len(reached):
            return np.nan
        return self.bins[int(np.searchsorted(reached, reached[-1] / 2))][2]

    def __add__(self, other: ColumnSums) -> ColumnSums:
        """Return what both tell together."""
        kind = _kind_of_both(self.kind, other.kind)
        mine, others = (_as_numbers(one) if kind == "number" else one for one in (self, other))
        bins: dict[int, tuple[int, float]] = {}
        for place, n, mean in (*mine.bins, *others.bins):
            n_before, before = bins.get(place, (0, 0.0))
            total = n_before + n
            bins[place] = total, (n_before * before + n * mean) / total
        levels = {
            level: mine.levels.get(level, 0) + others.levels.get(level, 0)
            for level in {**mine.levels, **others.levels}
        }
        return ColumnSums(
            kind,
            self.n_missing + other.n_missing,
            tuple((place, *bins[place]) for place in sorted(bins)),
            levels,
        )

    def to_state(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**vars(self), "bins": [list(one) for one in self.bins], "levels": dict(self.levels)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ColumnSums:
        """Return what `to_state` gave; what is not such sums is an `InputError`."""
        try:
            bins = tuple((int(at), int(n), float(mean)) for at, n, mean in state["bins"])
            levels = {str(level): int(n) for level, n in state["levels"].items()}
            made = cls(str(state["kind"]), int(state["n_missing"]), bins, levels)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            raise InputError(_NO_SUMS) from None
        counts = [made.n_missing, *(n - 1 for _, n, _ in bins), *levels.values()]
        if made.kind not in _KINDS or min(counts) < 0 or not _are_finite(bins):
            raise InputError(_NO_SUMS)
        return made


_KINDS = ("number", "date", "boolean", "category", "ordered", "empty")
_NO_SUMS = (
    "Summary: expected the sums that a site tells of its columns, got something else. Make it with "
    "Site.summary() of the same version."
)


@dataclass(frozen=True)
class Told:
    """What a site tells of one modality.

    Parameters
    ----------
    n_rows : int
        Rows that have it.
    columns : mapping of str to ColumnSums
        Of tables.
    terms : mapping of str to int
        Of notes: in how many patients' notes a word, or a pair of words, stands.
    """

    n_rows: int
    columns: Mapping[str, ColumnSums] = field(default_factory=dict)
    terms: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Told) -> Told:
        """Return what both tell together."""
        names = {**self.columns, **other.columns}
        columns = {}
        for name in names:
            told = [one.columns[name] for one in (self, other) if name in one.columns]
            try:
                columns[name] = told[0] + told[1] if len(told) > 1 else told[0]
            except ColumnError as error:
                raise ColumnError(f"Column {name!r}: {error}") from None
        terms = Counter(self.terms) + Counter(other.terms)
        return Told(self.n_rows + other.n_rows, columns, dict(terms))

    def scaled_as(self, own: Told) -> Told:
        """Return the same sums with the numbers of a site's own, wherever it has them."""
        own_columns = own.columns if own.n_rows else {}
        pairs = [(k, mine, own_columns.get(k, mine)) for k, mine in self.columns.items()]
        columns = {
            name: replace(mine, bins=_spread(one.bins, mine.bins)) if one.bins else mine
            for name, mine, one in pairs
        }
        return replace(self, columns=columns)

    def to_state(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        columns = {name: sums.to_state() for name, sums in self.columns.items()}
        return {"n_rows": self.n_rows, "columns": columns, "terms": dict(self.terms)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Told:
        """Return what `to_state` gave; what is not such sums is an `InputError`."""
        try:
            columns = {str(k): ColumnSums.from_state(v) for k, v in state["columns"].items()}
            terms = {str(term): int(n) for term, n in state["terms"].items()}
            made = cls(int(state["n_rows"]), columns, terms)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            raise InputError(_NO_SUMS) from None
        if min([made.n_rows, *terms.values()]) < 0:
            raise InputError(_NO_SUMS)
        return made


def tellable(n_rows: int, n_all: int, least: int) -> int:
    """Return how many of all rows may be told to have something: so few without it do not count."""
    if n_rows < least:
        return 0
    return n_all if n_all - n_rows < least else n_rows


def tell_columns(frame: Frame, names: Iterable[str], least: int) -> Told:
    """Return the sums of columns of a table, no count of them below `least`."""
    names = list(names)
    there = np.asarray(frame.present(names))
    n_rows = tellable(int(there.sum()), len(frame), least)
    if not n_rows:
        return Told(0)
    rows = frame if n_rows == len(frame) else frame.take(np.flatnonzero(there))
    return Told(n_rows, {name: _tell_column(rows, name, least) for name in names})


def tell_numbers(values: Floats, least: int, kind: str = "number") -> ColumnSums:
    """Return the sums of numbers, NaN for missing ones."""
    known = np.sort(values[~np.isnan(values)])
    n_missing = len(values) - len(known)
    if len(known) < least:
        return ColumnSums("empty", len(values))
    bins = _bins(known, least)
    if n_missing < least:  # they count with the middle, as imputed cells do
        bins, n_missing = _with_more(bins, n_missing), 0
    return ColumnSums(kind, n_missing, bins)


def tell_levels(
    levels: Sequence[str | None], least: int, kind: str = "category", order: Sequence[str] = ()
) -> ColumnSums:
    """Return how often levels of `least` rows or more occur; ordered ones keep their order."""
    found = Counter(level for level in levels if level is not None)
    told = {level: n for level, n in found.items() if n >= least}
    if not told:
        return ColumnSums("empty", len(levels))
    rest = len(levels) - sum(told.values())
    if rest < least:
        most = max(told, key=lambda level: (told[level], level))
        told[most], rest = told[most] + rest, 0
    names = order or sorted(told)
    return ColumnSums(kind, rest, levels={level: told.get(level, 0) for level in names})


def _tell_column(frame: Frame, name: str, least: int) -> ColumnSums:
    if not frame.known(name).any():
        return ColumnSums("empty", len(frame))
    if order := frame.order(name):
        return tell_levels(frame.strings(name), least, "ordered", order)
    kind = column_kind(frame, name)
    if kind in _MEASURED:
        values = frame.days(name) if kind == "date" else frame.numbers(name)
        return tell_numbers(values, least, kind)
    if kind == "boolean":
        cells = frame.numbers(name)
        words = [None if np.isnan(cell) else ("false", "true")[int(cell)] for cell in cells]
        return tell_levels(words, least, kind)
    return tell_levels(frame.strings(name), least)


def _place(value: float) -> int:
    """Return the bin of a number on a grid that is the same everywhere: signed, by its size."""
    if abs(value) < _FINEST:
        return 0
    return int(np.sign(value) * (1 + np.floor(np.log10(abs(value) / _FINEST) * _PER_TENFOLD)))


def _bins(known: Floats, least: int) -> tuple[Bin, ...]:
    """Return bins of `least` rows or more: cells of the grid, neighbours joined where few."""
    places = np.asarray([_place(value) for value in known])
    starts = np.flatnonzero(np.r_[True, places[1:] != places[:-1]])
    cuts = [0]
    for end in [*starts[1:], len(known)]:
        if end - cuts[-1] >= least:
            cuts.append(int(end))
    cuts[-1 if len(cuts) > 1 else len(cuts) :] = [len(known)]
    return tuple((int(places[a]), b - a, float(known[a:b].mean())) for a, b in pairwise(cuts))


def _with_more(bins: tuple[Bin, ...], n: int) -> tuple[Bin, ...]:
    """Return bins with some more rows in that of the median."""
    counts = np.cumsum([one[1] for one in bins])
    middle = int(np.searchsorted(counts, counts[-1] / 2))
    at, rows, mean = bins[middle]
    return (*bins[:middle], (at, rows + n, mean), *bins[middle + 1 :])


def _kind_of_both(kind: str, other: str) -> str:
    if "empty" in (kind, other):
        return other if kind == "empty" else kind
    if kind == other:
        return kind
    if {kind, other} == {"number", "boolean"}:
        return "number"
    msg = (
        f"expected one kind of cells at all sites, got {quoted(sorted((kind, other)))}. Convert "
        "the column at one of them."
    )
    raise ColumnError(msg)


def _as_numbers(told: ColumnSums) -> ColumnSums:
    """Return booleans as zeros and ones."""
    if told.kind != "boolean":
        return told
    words = {"false": 0.0, "true": 1.0}
    bins = [(_place(words[word]), n, words[word]) for word, n in told.levels.items() if n]
    return ColumnSums("number", told.n_missing, tuple(sorted(bins)))


def _spread(bins: Sequence[Bin], over: Sequence[Bin]) -> tuple[Bin, ...]:
    """Return bins with counts that add up to those of others."""
    n_rows, n_own = (sum(n for _, n, _ in some) for some in (over, bins))
    ends = np.round(np.cumsum([0, *(n for _, n, _ in bins)]) * (n_rows / n_own)).astype(int)
    scaled = zip(bins, np.diff(ends).tolist(), strict=True)
    return tuple((place, n, mean) for (place, _, mean), n in scaled if n)


def _are_finite(bins: Iterable[Bin]) -> bool:
    return all(np.isfinite(mean) for _, _, mean in bins)


def stand_in(columns: Mapping[str, ColumnSums]) -> Any:
    """Return a DataFrame of nobody whose columns are distributed as told, each by itself.

    Rows are as many as were told of, or 20,000 that stand for more; the cells of a column come in
    an order of its own, so that rows of it mean nothing.
    """
    import pandas as pd

    n_told = max(sums.n_rows for sums in columns.values())
    n_rows = max(1, min(n_told, _MOST_ROWS))
    rng = np.random.default_rng(0)
    made = {}
    for name, sums in columns.items():
        order = rng.permutation(n_rows)
        made[name] = _cells(sums, n_rows, n_told).take(order).reset_index(drop=True)
    return pd.DataFrame(made)


def spread_over(counts: Sequence[int], n_rows: int, n_told: int) -> NDArray[np.int64]:
    """Return how many of `n_rows` stand for each count of `n_told`."""
    shares = np.cumsum([0, *counts]) * (n_rows / n_told)
    return np.asarray(np.diff(np.round(shares)), dtype=np.int64)


def repeated(values: Sequence[Any], counts: Sequence[int]) -> NDArray[Any]:
    """Return values as often as they were counted, or 20,000 that stand for more.

    Each that was counted is there.
    """
    n_told = sum(counts)
    scaled = spread_over(counts, min(n_told, _MOST_ROWS), n_told) if n_told else counts
    return np.repeat(np.asarray(values), np.maximum(scaled, np.sign(counts)))


def _cells(sums: ColumnSums, n_rows: int, n_told: int) -> Any:
    """Return a Series of cells, as many as rows are wanted, that are distributed as told."""
    import pandas as pd

    values: list[Any] = [mean for _, _, mean in sums.bins] or list(sums.levels)
    counts = [n for _, n, _ in sums.bins] or list(sums.levels.values())
    often = spread_over(counts, n_rows, n_told)
    cells = pd.Series(np.repeat(np.arange(len(values)), often))
    cells = cells.reindex(range(n_rows))
    if sums.kind == "ordered":
        return pd.Series(pd.Categorical(_words(cells, values), values, ordered=True))
    if sums.kind == "boolean":
        return cells.map({at: word == "true" for at, word in enumerate(values)}).astype("boolean")
    if sums.kind in ("category", "empty"):
        return pd.Series(pd.Categorical(_words(cells, values), values))
    numbers = cells.map(dict(enumerate(values))).astype(float)
    if sums.kind == "date":
        return pd.to_datetime(numbers, unit="D", origin="unix")
    return numbers


def _words(cells: Any, values: list[Any]) -> list[Any]:
    """Return the value at each place, None where there is no place."""
    return [None if np.isnan(cell) else values[int(cell)] for cell in cells]
