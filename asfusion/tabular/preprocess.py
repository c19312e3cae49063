"""From mixed cells to numbers: impute, scale, spread categories, mark what was missing.

Everything that is learned is weighted, so that a row of weight two counts as two rows
and a row of weight zero as none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from asfusion._cells import Kind, looks_like_date, looks_measured
from asfusion._checks import quoted
from asfusion._frames import Frame
from asfusion._warn import warn_user
from asfusion.exceptions import ColumnError, InputError
from asfusion.tabular.packed import Packed, evenly
from asfusion.tabular.quantiles import SortedColumns, centers_and_scales
from asfusion.tabular.ranks import rank_within_rows

Array = NDArray[np.float64]
_CLIP = 10.0
_VALUES_PER_BIN = 8
_MOSTLY = 0.9
_SEVERAL = 5  # rows: one or two may well be of a level that is new
_NARROWEST = 1e-4  # of a bin, on the scale of a feature: a narrower one is a step, not a slope
# Kinds of a column at prediction that can be read as the kind that it had in fit.
_READABLE_AS: dict[str, tuple[Kind, ...]] = {
    "category": ("category", "text", "boolean"),
    "date": ("date", "text"),
    "number": ("number", "boolean"),
    "boolean": ("number", "boolean"),
    "ordered": ("category", "text"),
}
_NO_LEVEL = (
    "Column {name!r}: none of the cells has a level that has a feature. Are they written as in fit?"
)
_MARKED = 4  # of so many features one has to be a mark for a byte each to be worth it
_HANDFUL = 20  # rows: a few may well lack a cell that others have


@dataclass
class ColumnPlan:
    """What was learned of one column.

    Parameters
    ----------
    name : str
        The column.
    kind : {"number", "boolean", "date", "category", "ordered", "empty"}
        How its cells are read: those of an ordered category as the place of their level. Of an
        empty column no training row had a cell: it has no feature, and is not looked at again.
    center, scale : float
        Median and spread of numbers and dates (days); unitless after scaling.
    levels : tuple of str
        Levels of a category that have a feature of their own, sorted; all levels of an ordered
        one, from low to high.
    with_flag : bool
        Whether a ``_missing`` feature marks cells that were imputed: there is one where
        training rows lacked the cell.
    edges : tuple of float
        Edges of the bins of numbers and dates, rising, on the scale of the feature; none
        unless bins were asked for.
    is_ranked : bool
        Whether a number is read as its rank among those of its row.
    """

    name: str
    kind: Kind | Literal["ordered", "empty"]
    center: float = 0.0
    scale: float = 1.0
    levels: tuple[str, ...] = ()
    with_flag: bool = False
    edges: tuple[float, ...] = ()
    is_ranked: bool = False

    def feature_names(self) -> list[str]:
        """Return the names of the features of this column."""
        if self.kind == "empty":
            names = []
        elif self.kind == "category":
            names = [f"{self.name}_{level}" for level in self.levels]
        else:
            names = [self.name]
        return [*names, f"{self.name}_missing"] if self.with_flag else names

    @property
    def n_features(self) -> int:
        """The number of features of this column."""
        own = {"empty": 0, "category": len(self.levels)}.get(self.kind, 1)
        return own + self.with_flag


class TablePreprocessor:
    """Turn columns of numbers, categories, booleans and dates into features.

    Numbers and dates: missing cells get the median, values are centred on it and divided
    by the interquartile range (by the standard deviation where that is zero), and what
    lies more than ten such units away is clipped. Booleans become 0 and 1, missing cells
    the more frequent of both. Categories become one feature per level; a level beyond the
    `max_categories` most frequent has none, nor has one that was not seen in training.
    Ordered categories are numbers, from 0 for the lowest level; another level is missing.
    A column without any known cell in training has no feature either.

    Parameters
    ----------
    max_categories : int
        Most levels of a category that get a feature of their own.
    max_bins : int, optional
        Most bins of a number, between its quantiles; none by default. Where there are fewer
        than eight distinct values per bin, there are fewer bins.
    rank_rows : bool
        Whether numbers become their ranks within the row first, see `rank_within_rows`.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"crp": [1.0, 3.0, None], "sex": ["f", "m", "f"]})
    >>> plan = TablePreprocessor().fit(X, ["crp", "sex"])
    >>> plan.feature_names()
    ['crp', 'crp_missing', 'sex_f', 'sex_m']
    >>> plan.transform(X).shape
    (3, 4)
    """

    def __init__(
        self, *, max_categories: int = 20, max_bins: int | None = None, rank_rows: bool = False
    ) -> None:
        self.max_categories = max_categories
        self.max_bins = max_bins
        self.rank_rows = rank_rows
        self.plans: list[ColumnPlan] = []

    def fit(self, X: Any, columns: list[str], weights: Array | None = None) -> TablePreprocessor:
        """Learn the columns from training rows, of the given weights.

        Raises
        ------
        ColumnError
            If a column is missing, or holds a date that does not exist.
        InputError
            If a column holds infinity.
        """
        frame = Frame.read(X)
        frame.check_columns(columns, "Table")
        weights = np.ones(len(frame)) if weights is None else np.asarray(weights, dtype=float)
        if not weights.all():
            frame, weights = frame.take(weights > 0), weights[weights > 0]
        parts = frame.by_columns(columns)
        self.plans = [plan for own, part in parts for plan in self._learn(part, own, weights)]
        return self

    def feature_names(self) -> list[str]:
        """Return the names of the features, which differ, in the order of `transform`."""
        return _unique(name for plan in self.plans for name in plan.feature_names())

    def numbers(self) -> dict[int, tuple[float, ...]]:
        """Return which features are numbers or dates, by position, with the edges of their bins."""
        found, position = {}, 0
        for plan in self.plans:
            if plan.kind in ("number", "date", "ordered"):
                found[position] = plan.edges
            position += plan.n_features
        return found

    def transform(self, X: Any) -> Array:
        """Return features (n_rows, n_features), finite everywhere."""
        return self.read(X)[0]

    def present(self, X: Any) -> NDArray[np.bool_]:
        """Return which rows have at least one known cell in a column that is not empty."""
        return self.read(X)[1]

    def read(self, X: Any, dtype: DTypeLike = np.float64) -> tuple[Array, NDArray[np.bool_]]:
        """Return what `transform` and `present` do; the features are the caller's own."""
        frame = Frame.read(X)
        starts, has_number = self._starts()
        features = np.empty((len(frame), starts[-1]), dtype)
        return features, self._write(frame, features, starts, features, starts[:-1] + has_number)

    def pack(self, X: Any) -> Packed | None:
        """Return the same features with a byte for each mark; None where these are few."""
        frame = Frame.read(X)
        starts, has_number = self._starts()
        n_numbers, width = int(has_number.sum()), int(starts[-1])
        if _MARKED * (width - n_numbers) < width:
            return None
        numbers = np.empty((len(frame), n_numbers))
        marks = np.empty((len(frame), width - n_numbers), dtype=bool)
        before: NDArray[np.int64] = np.cumsum(has_number) - has_number
        present = self._write(frame, numbers, before, marks, starts[:-1] - before)
        return Packed(numbers, starts[:-1][has_number], marks, present)

    def _starts(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return where features of each column begin, and which columns begin with a number."""
        starts = np.cumsum([0, *(plan.n_features for plan in self.plans)])
        no_number = ("category", "empty")
        return starts, np.asarray([plan.kind not in no_number for plan in self.plans], dtype=bool)

    def _write(self, frame: Frame, *into: NDArray[Any]) -> NDArray[np.bool_]:
        """Write features; return which rows have a known cell."""
        try:
            return self._write_all(frame, *into)
        except (ColumnError, InputError):
            for plan in self.plans:  # the first column that cannot be read is told
                _read(plan, frame)
            raise

    def _write_all(
        self,
        frame: Frame,
        numbers: NDArray[Any],
        number_of: NDArray[np.int64],
        marks: NDArray[Any],
        marks_of: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Write the number of each column, and its marks, to where they are told to begin."""
        present = np.zeros(len(frame), dtype=bool)
        for learned, rows, cells in _blocks(self.plans, frame):
            missing = np.isnan(cells)
            present[rows] |= ~missing.all(axis=1)
            np.copyto(cells, learned.center, where=missing)
            numbers[rows][:, evenly(number_of[learned.places])] = learned.scaled(cells)
            flagged = learned.with_flag
            marks[rows][:, evenly(marks_of[learned.places[flagged]])] = missing[:, flagged]
        for plan, start in zip(self.plans, marks_of, strict=True):
            if plan.kind == "category":
                present |= _write_levels(plan, frame, marks[:, start : start + plan.n_features])
        return present

    def tell_empty(self) -> None:
        """Warn of columns that no training row has a value of."""
        names = [plan.name for plan in self.plans if plan.kind == "empty"]
        if names:
            have, get = ("have", "get") if len(names) > 1 else ("has", "gets")
            msg = (
                f"{_columns(names)} {have} no value in any training row, and {get} no feature. "
                "Check joins and names; leave out what stays empty."
            )
            warn_user(msg)

    def to_state(self) -> list[dict[str, Any]]:
        """Return what was learned as plain values."""
        return [
            {**vars(plan), "levels": list(plan.levels), "edges": list(plan.edges)}
            for plan in self.plans
        ]

    @classmethod
    def from_state(cls, state: list[dict[str, Any]]) -> TablePreprocessor:
        """Return a fitted preprocessor from `to_state`."""
        made = cls()
        made.plans = [
            ColumnPlan(**{**s, "levels": tuple(s["levels"]), "edges": tuple(s["edges"])})
            for s in state
        ]
        return made

    def _learn(self, frame: Frame, columns: list[str], weights: Array) -> list[ColumnPlan]:
        try:
            return self._learn_all(frame, columns, weights)
        except (ColumnError, InputError):
            for name in columns:  # the first column that cannot be read is told
                self._learn_one(frame, name, weights)
            raise

    def _learn_all(self, frame: Frame, columns: list[str], weights: Array) -> list[ColumnPlan]:
        """Learn columns that are stored as numbers by blocks, and the others one by one."""
        learned = self._learn_ranks(frame, columns, weights) if self.rank_rows else {}
        others = [name for name in columns if name in frame.plain and name not in learned]
        for names, cells in frame.blocks(others):
            kinds = [frame.kind(name) for name in names]
            learned |= zip(names, self._learn_block(names, kinds, cells, weights), strict=True)
        return [learned.get(name) or self._learn_one(frame, name, weights) for name in columns]

    def _learn_ranks(
        self, frame: Frame, columns: list[str], weights: Array
    ) -> dict[str, ColumnPlan]:
        """Learn the numbers that a row ranks."""
        known = [name for name in columns if name in frame.plain or frame.known(name).any()]
        names = [name for name in known if column_kind(frame, name) == "number"]
        if not names:
            return {}
        cells = _together([ColumnPlan(name, "number") for name in names], frame)
        ranks = rank_within_rows(cells)
        plans = self._learn_block(names, ["number"] * len(names), ranks, weights)
        for plan in plans:
            plan.is_ranked = plan.kind == "number"
        return dict(zip(names, plans, strict=True))

    def _learn_one(self, frame: Frame, name: str, weights: Array) -> ColumnPlan:
        if not frame.known(name).any():
            return ColumnPlan(name, "empty")
        kind = column_kind(frame, name)
        if order := frame.order(name):
            return self._learn_ordered(frame, name, order, weights)
        plan = ColumnPlan(name, kind)
        cells = _read(plan, frame)
        if kind != "category":
            return self._learn_block([name], [kind], cells[:, None], weights)[0]
        known = _known(cells)
        plan.with_flag = not known.all()
        plan.levels = self._levels(name, cells[known], weights[known])
        return plan

    def _learn_ordered(
        self, frame: Frame, name: str, order: tuple[str, ...], weights: Array
    ) -> ColumnPlan:
        cells = _read(ColumnPlan(name, "ordered", levels=order), frame)
        plan = self._learn_block([name], ["ordered"], cells[:, None], weights)[0]
        plan.levels = order
        return plan

    def _learn_block(
        self,
        names: list[str],
        kinds: Sequence[Kind | Literal["ordered"]],
        cells: Array,
        weights: Array,
    ) -> list[ColumnPlan]:
        """Learn columns (N, C) of numbers, booleans and dates."""
        n_known = (~np.isnan(cells)).sum(axis=0)
        some = np.flatnonzero(n_known)
        plans = [ColumnPlan(name, "empty") for name in names]
        known = cells if len(some) == cells.shape[1] else cells[:, some]
        for n, center, scale in zip(some, *centers_and_scales(known, weights), strict=True):
            gaps = bool(n_known[n] < len(cells))
            plan = plans[n] = ColumnPlan(names[n], kinds[int(n)], float(center), with_flag=gaps)
            if plan.kind != "boolean":
                plan.scale = float(scale)
                plan.edges = self._bins(plan, cells[:, n], weights)
        return plans

    def _bins(self, plan: ColumnPlan, column: Array, weights: Array) -> tuple[float, ...]:
        if self.max_bins is None:
            return ()
        known = _known(column)
        scaled = _Learned([plan], [0]).scaled(column[known][:, None])
        return _bin_edges(scaled, weights[known], self.max_bins)

    def _levels(self, name: str, cells: NDArray[Any], weights: Array) -> tuple[str, ...]:
        # As objects: numpy's own strings lose what is invisible at their end.
        levels, position = np.unique(cells, return_inverse=True)
        if len(levels) > self.max_categories and _are_measured(levels):
            # No count in it: a warning that reads the same in every fold is shown once.
            msg = (
                f"Column {name!r}: numbers or dates written as text are read as a category, of "
                f"which the {self.max_categories} most frequent levels have a feature. Convert "
                "them if they measure something, for example with pandas.to_numeric(column, "
                "errors='coerce') or pandas.to_datetime; raise max_categories if they name "
                "something."
            )
            warn_user(msg)
        totals = np.bincount(position, weights=weights)
        order = sorted(range(len(levels)), key=lambda i: (-totals[i], levels[i]))
        return tuple(sorted(levels[i] for i in order[: self.max_categories]))


def column_kind(frame: Frame, name: str) -> Kind:
    """Return how a table reads a column; text is a category, or dates where all cells are."""
    kind = frame.kind(name)
    if kind != "text":
        return kind
    cells = [cell for cell in frame.strings(name) if cell is not None]
    return "date" if cells and all(looks_like_date(cell) for cell in cells) else "category"


def _are_measured(levels: NDArray[Any]) -> bool:
    return sum(map(looks_measured, levels)) >= _MOSTLY * len(levels)


def _read(plan: ColumnPlan, frame: Frame) -> NDArray[Any]:
    """Return the cells of a column as its kind says; a column of another kind is an error."""
    name, kind = plan.name, plan.kind
    if kind == "empty" or not frame.known(name).any():
        missing = None if kind == "category" else np.nan
        return np.full(len(frame), missing, dtype=object if missing is None else np.float64)
    found = frame.kind(name)
    if found not in _READABLE_AS[kind]:
        raise ColumnError(_changed(plan, found))
    if kind == "category":
        return np.asarray(frame.strings(name), dtype=object)
    if kind == "ordered":
        return _places(plan, frame)
    if kind == "date":
        return frame.days(name)
    return _check_binary(frame.numbers(name), name) if kind == "boolean" else frame.numbers(name)


def read_column(plan: ColumnPlan, frame: Frame) -> NDArray[Any]:
    """Return the cells of a column as the user has them, before anything is made of them.

    Numbers, booleans and dates (in days) as float64, NaN where one is missing; levels as text,
    None where one is.

    Raises
    ------
    ColumnError
        If the column is of another kind than the one that was learned.
    """
    return _read(replace(plan, kind="category") if plan.kind == "ordered" else plan, frame)


def _places(plan: ColumnPlan, frame: Frame) -> Array:
    """Return the place of each cell's level, NaN for a missing cell or another level."""
    cells = frame.strings(plan.name)
    place = {level: number for number, level in enumerate(plan.levels)}
    found = np.asarray([np.nan if c is None else place.get(c, np.nan) for c in cells])
    if sum(cell is not None for cell in cells) >= _SEVERAL and np.isnan(found).all():
        warn_user(_NO_LEVEL.format(name=plan.name))
    return found.astype(np.float64)


def _check_binary(values: Array, name: str) -> Array:
    other = np.flatnonzero(~np.isin(values, (0.0, 1.0)) & ~np.isnan(values))
    if other.size:
        msg = (
            f"Column {name!r}, row {other[0]}: expected true, false, 0 or 1 as in fit, got "
            "another number. Convert the column to booleans."
        )
        raise ColumnError(msg)
    return values


def _changed(plan: ColumnPlan, found: str) -> str:
    return (
        f"Column {plan.name!r}: expected {plan.kind} cells as in fit, got {found}. "
        "Convert the column to the type that it had."
    )


def _known(cells: NDArray[Any]) -> NDArray[np.bool_]:
    if cells.dtype == object:
        return np.asarray([cell is not None for cell in cells], dtype=bool)
    return np.asarray(~np.isnan(cells))


class _Learned:
    """What was learned of several columns of numbers, booleans and dates, as arrays (C,)."""

    def __init__(self, plans: Sequence[ColumnPlan], places: Sequence[int]) -> None:
        self.places = np.asarray(places, dtype=np.int64)
        own = [plans[n] for n in self.places]
        self.center = np.asarray([plan.center for plan in own])
        self.shift = np.asarray([0.0 if p.kind == "boolean" else p.center for p in own])
        self.scale = np.asarray([plan.scale for plan in own])
        self.with_flag = np.asarray([plan.with_flag for plan in own], dtype=bool)
        self.names = [plan.name for plan in own]
        self.binary = [(n, plan.name) for n, plan in enumerate(own) if plan.kind == "boolean"]

    def scaled(self, cells: Array) -> Array:
        """Return cells (N, C) on the scale of features, written in place."""
        # What is too far away for a float is clipped like anything that is far away.
        with np.errstate(over="ignore"):
            cells -= self.shift
            cells /= self.scale
        return np.clip(cells, -_CLIP, _CLIP, out=cells)


def _blocks(plans: list[ColumnPlan], frame: Frame) -> Iterator[tuple[_Learned, slice, Array]]:
    """Yield cells (N, C) of numbers, booleans and dates, after what was learned and their rows."""
    every = slice(0, len(frame))
    ranked = [n for n, plan in enumerate(plans) if plan.is_ranked]
    if ranked:
        cells = _together([plans[n] for n in ranked], frame)
        yield _Learned(plans, ranked), every, rank_within_rows(cells)
    others = ("empty", "category")
    read = [n for n, p in enumerate(plans) if p.kind not in others and not p.is_ranked]
    own, plain = ("date", "ordered"), frame.plain
    alone = {n for n in read if plans[n].kind in own or plans[n].name not in plain}
    learned = _Learned(plans, [n for n in read if n not in alone])
    for rows, cells in frame.row_blocks(learned.names):
        for column, name in learned.binary:
            _check_binary(cells[:, column], name)
        yield learned, rows, cells
    for n in sorted(alone):
        yield _Learned(plans, [n]), every, _read(plans[n], frame)[:, None]


def _together(plans: list[ColumnPlan], frame: Frame) -> Array:
    """Return the cells (N, C) of columns of numbers."""
    cells = np.empty((len(frame), len(plans)))
    alone = [n for n, plan in enumerate(plans) if plan.name not in frame.plain]
    places = np.setdiff1d(np.arange(len(plans)), alone)
    for names, block in frame.blocks([plans[n].name for n in places]):
        cells[:, places[: len(names)]] = block
        places = places[len(names) :]
    for n in alone:
        cells[:, n] = _read(plans[n], frame)
    return cells


def _write_levels(plan: ColumnPlan, frame: Frame, features: Array) -> NDArray[np.bool_]:
    """Write the features (N, n_features) of a category; return which cells are known."""
    cells = _read(plan, frame)
    known = _known(cells)
    numbers = {level: number for number, level in enumerate(plan.levels)}
    level_of = np.asarray([numbers.get(cell, -1) for cell in cells], dtype=np.int64)
    if known.sum() >= _SEVERAL and (level_of < 0).all():
        warn_user(_NO_LEVEL.format(name=plan.name))
    features[:, : len(numbers)] = level_of[:, None] == np.arange(len(numbers))
    if plan.with_flag:
        features[:, -1] = ~known
    return known


def _bin_edges(scaled: Array, weights: Array, max_bins: int) -> tuple[float, ...]:
    """Return the edges of bins that hold equal weights, for values (N, 1) that are scaled.

    Their number follows from distinct values, which neither a weight nor a copy of a row
    changes.
    """
    n_bins = max(2, min(max_bins, len(np.unique(scaled)) // _VALUES_PER_BIN))
    levels = np.linspace(0.0, 1.0, n_bins + 1)
    ordered = SortedColumns(scaled, weights)
    found = [ordered.quantile(level)[0] for level in levels]
    edges = [float(found[0])]
    for edge in found[1:]:
        if edge - edges[-1] > _NARROWEST:
            edges.append(float(edge))
    return tuple(edges)


def tell_gaps(learned: list[dict[str, Any]], frame: Frame) -> None:
    """Warn of columns without a value in many rows that have others, unlike in training.

    Parameters
    ----------
    learned : list of dict
        What `TablePreprocessor.to_state` returned.
    frame : Frame
        Rows with its columns, which were read before.
    """
    if len(frame) < _HANDFUL:
        return
    names = [plan["name"] for plan in learned if plan["kind"] != "empty"]
    gone = _unfilled(frame, names)
    if gone and frame.present([name for name in names if name not in gone]).sum() >= _HANDFUL:
        have = "have" if len(gone) > 1 else "has"
        msg = (
            f"{_columns(gone)} {have} no value in any of these rows, unlike in training. Is it "
            "filled, and read under the name that it had?"
        )
        warn_user(msg)


def _unfilled(frame: Frame, names: list[str]) -> list[str]:
    """Return the columns without a known cell."""
    left = [name for name in names if name in frame.plain]
    others = set(names) - set(left)
    first = next(frame.row_blocks(left), None)
    if first is not None:  # few columns, if any, are left after the first rows
        left = [left[n] for n in np.flatnonzero(np.isnan(first[1]).all(axis=0)).tolist()]
    empty = set(left)
    for part, cells in frame.blocks(left):
        some = np.flatnonzero(~np.isnan(cells).all(axis=0))
        empty -= {part[n] for n in some.tolist()}
    empty |= {name for name in others if not frame.known(name).any()}
    return [name for name in names if name in empty]


def _columns(names: list[str]) -> str:
    return f"Column{'s' * (len(names) > 1)} {quoted(names)}"


def _unique(names: Iterable[str]) -> list[str]:
    """Return names with ``_2``, ``_3`` ... at the end of those that were there before."""
    taken: dict[str, None] = {}
    for name in names:
        number, unique = 2, name
        while unique in taken:
            number, unique = number + 1, f"{name}_{number}"
        taken[unique] = None
    return list(taken)


def check_not_empty(frame: Frame, columns: list[str]) -> None:
    """Raise unless at least one cell of the columns is known."""
    if not any(frame.known(name).any() for name in columns):
        msg = "Table: expected at least one known cell in training rows, got only missing ones."
        raise InputError(msg)
