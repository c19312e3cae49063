"""From mixed cells to numbers: impute, scale, spread categories, mark what was missing.

Everything that is learned is weighted, so that a row of weight two counts as two rows
and a row of weight zero as none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame, Kind, looks_like_date, looks_measured
from asfusion._warn import warn_user
from asfusion.exceptions import ColumnError, InputError

Array = NDArray[np.float64]
_CLIP = 10.0
_VALUES_PER_BIN = 8
_MOSTLY = 0.9
_SEVERAL = 5  # rows: one or two may well be of a level that is new
_NARROWEST = 1e-4  # of a bin, on the scale of a feature: a narrower one is a step, not a slope
_LARGEST = float(np.finfo(np.float64).max)
# Kinds of a column at prediction that can be read as the kind that it had in fit.
_READABLE_AS: dict[str, tuple[Kind, ...]] = {
    "category": ("category", "text", "boolean"),
    "date": ("date", "text"),
    "number": ("number", "boolean"),
    "boolean": ("number", "boolean"),
}


@dataclass
class ColumnPlan:
    """What was learned of one column.

    Parameters
    ----------
    name : str
        The column.
    kind : {"number", "boolean", "date", "category", "empty"}
        How its cells are read. Of an empty column no training row had a cell: it has no
        feature, and is not looked at again.
    center, scale : float
        Median and spread of numbers and dates (days); unitless after scaling.
    levels : tuple of str
        Levels of a category that have a feature of their own, sorted.
    with_flag : bool
        Whether a ``_missing`` feature marks cells that were imputed: there is one where
        training rows lacked the cell.
    edges : tuple of float
        Edges of the bins of numbers and dates, rising, on the scale of the feature; none
        unless bins were asked for.
    """

    name: str
    kind: Kind | Literal["empty"]
    center: float = 0.0
    scale: float = 1.0
    levels: tuple[str, ...] = ()
    with_flag: bool = False
    edges: tuple[float, ...] = ()

    def feature_names(self) -> list[str]:
        """Return the names of the features of this column."""
        if self.kind == "empty":
            names = []
        elif self.kind == "category":
            names = [f"{self.name}_{level}" for level in self.levels]
        else:
            names = [self.name]
        return [*names, f"{self.name}_missing"] if self.with_flag else names


class TablePreprocessor:
    """Turn columns of numbers, categories, booleans and dates into features.

    Numbers and dates: missing cells get the median, values are centred on it and divided
    by the interquartile range (by the standard deviation where that is zero), and what
    lies more than ten such units away is clipped. Booleans become 0 and 1, missing cells
    the more frequent of both. Categories become one feature per level; a level beyond the
    `max_categories` most frequent has none, nor has one that was not seen in training.
    A column without any known cell in training has no feature either.

    Parameters
    ----------
    max_categories : int
        Most levels of a category that get a feature of their own.
    max_bins : int, optional
        Most bins of a number, between its quantiles; none by default. Where there are fewer
        than eight distinct values per bin, there are fewer bins.

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

    def __init__(self, *, max_categories: int = 20, max_bins: int | None = None) -> None:
        self.max_categories = max_categories
        self.max_bins = max_bins
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
        self.plans = [self._learn(frame, name, weights) for name in columns]
        return self

    def feature_names(self) -> list[str]:
        """Return the names of the features, which differ, in the order of `transform`."""
        return _unique(name for plan in self.plans for name in plan.feature_names())

    def numbers(self) -> dict[int, tuple[float, ...]]:
        """Return which features are numbers or dates, by position, with the edges of their bins."""
        found, position = {}, 0
        for plan in self.plans:
            if plan.kind in ("number", "date"):
                found[position] = plan.edges
            position += len(plan.feature_names())
        return found

    def transform(self, X: Any) -> Array:
        """Return features (n_rows, n_features), finite everywhere."""
        frame = Frame.read(X)
        parts = [_apply(plan, frame) for plan in self.plans]
        return np.column_stack(parts) if parts else np.empty((len(frame), 0))

    def present(self, X: Any) -> NDArray[np.bool_]:
        """Return which rows have at least one known cell in a column that is not empty."""
        frame = Frame.read(X)
        known = [_known(_read(plan, frame)) for plan in self.plans]
        return np.any(known, axis=0) if known else np.zeros(len(frame), dtype=bool)

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

    def _learn(self, frame: Frame, name: str, weights: Array) -> ColumnPlan:
        if not frame.known(name).any():
            return ColumnPlan(name, "empty")
        plan = ColumnPlan(name, column_kind(frame, name))
        cells = _read(plan, frame)
        known = _known(cells)
        plan.with_flag = not known.all()
        cells, weights = cells[known], weights[known]
        if plan.kind == "category":
            plan.levels = self._levels(name, cells, weights)
        elif plan.kind == "boolean":
            plan.center = weighted_quantile(cells, 0.5, weights)
        else:
            plan.center, plan.scale = center_and_scale(cells, weights)
            if self.max_bins is not None:
                plan.edges = _bin_edges(_scaled(plan, cells), weights, self.max_bins)
        return plan

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
    if kind == "date":
        return frame.days(name)
    return _check_binary(frame.numbers(name), name) if kind == "boolean" else frame.numbers(name)


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


def _apply(plan: ColumnPlan, frame: Frame) -> Array:
    if plan.kind == "empty":
        return np.empty((len(frame), 0))
    cells = _read(plan, frame)
    known = _known(cells)
    features: Array
    if plan.kind == "category":
        numbers = {level: number for number, level in enumerate(plan.levels)}
        level_of = np.asarray([numbers.get(cell, -1) for cell in cells], dtype=np.int64)
        if known.sum() >= _SEVERAL and (level_of < 0).all():
            msg = (
                f"Column {plan.name!r}: none of the cells has a level that has a feature. Are "
                "they written as in fit?"
            )
            warn_user(msg)
        features = (level_of[:, None] == np.arange(len(numbers))).astype(np.float64)
    elif plan.kind == "boolean":
        features = np.where(known, cells, plan.center)[:, None]
    else:
        features = _scaled(plan, np.where(known, cells, plan.center))[:, None]
    if plan.with_flag:
        features = np.column_stack([features, ~known])
    return features


def _scaled(plan: ColumnPlan, values: Array) -> Array:
    # What is too far away for a float is clipped like anything that is far away.
    with np.errstate(over="ignore"):
        scaled = (values - plan.center) / plan.scale
    clipped: Array = np.clip(scaled, -_CLIP, _CLIP)
    return clipped


def _bin_edges(scaled: Array, weights: Array, max_bins: int) -> tuple[float, ...]:
    """Return the edges of bins that hold equal weights, for values that are scaled already.

    Their number follows from distinct values, which neither a weight nor a copy of a row
    changes.
    """
    n_bins = max(2, min(max_bins, len(np.unique(scaled)) // _VALUES_PER_BIN))
    levels = np.linspace(0.0, 1.0, n_bins + 1)
    found = np.quantile(scaled, levels, weights=weights, method="inverted_cdf")
    edges = [float(found[0])]
    for edge in found[1:]:
        if edge - edges[-1] > _NARROWEST:
            edges.append(float(edge))
    return tuple(edges)


def center_and_scale(values: Array, weights: Array) -> tuple[float, float]:
    """Return the weighted median of known values, and their spread."""
    low, middle, high = (weighted_quantile(values, q, weights) for q in (0.25, 0.5, 0.75))
    # Rounding must not be taken for spread.
    tiny = 1e-12 * max(abs(low), abs(high))
    with np.errstate(over="ignore", invalid="ignore"):
        spread = high - low
        if spread <= tiny:
            mean = np.average(values, weights=weights)
            spread = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
    if not np.isfinite(spread):
        return middle, _LARGEST
    # A constant column stays at zero.
    return middle, spread if spread > tiny else 1.0


def weighted_quantile(values: Array, q: float, weights: Array) -> float:
    """Return the value below which a share `q` of the weight lies."""
    return float(np.quantile(values, q, weights=weights, method="inverted_cdf"))


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
