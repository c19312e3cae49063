"""From mixed cells to numbers: impute, scale, spread categories, mark what was missing.

Everything that is learned is weighted, so that a row of weight two counts as two rows
and a row of weight zero as none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame, Kind
from asfusion.exceptions import ColumnError, InputError

Array = NDArray[np.float64]
_CLIP = 10.0


@dataclass
class ColumnPlan:
    """What was learned of one column.

    Parameters
    ----------
    name : str
        The column.
    kind : {"number", "boolean", "date", "category"}
        How its cells are read.
    center, scale : float
        Median and spread of numbers and dates (days); unitless after scaling.
    levels : tuple of str
        Levels of a category that have a feature of their own, sorted.
    with_flag : bool
        Whether a ``_missing`` feature marks cells that were imputed: there is one where
        training rows lacked the cell.
    """

    name: str
    kind: Kind
    center: float = 0.0
    scale: float = 1.0
    levels: tuple[str, ...] = ()
    with_flag: bool = False

    def feature_names(self) -> list[str]:
        """Return the names of the features of this column."""
        if self.kind == "category":
            names = [f"{self.name}_{level}" for level in self.levels]
        else:
            names = [self.name]
        return [*names, f"{self.name}_missing"] if self.with_flag else names


class TablePreprocessor:
    """Turn columns of numbers, categories, booleans and dates into features.

    Numbers and dates: missing cells get the median, values are centred on it and divided
    by the interquartile range (by the standard deviation where that is zero), and what
    lies more than ten such units away is clipped. Booleans become 0 and 1, missing cells
    the more frequent of both. Categories become one feature per level; a level with less
    than `min_share` of the weight or beyond `max_categories` has none, nor has one that
    was not seen in training.

    Parameters
    ----------
    max_categories : int
        Most levels of a category that get a feature of their own.
    min_share : float
        Least share of rows, in [0, 1), for a level to get one.

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

    def __init__(self, *, max_categories: int = 20, min_share: float = 0.0) -> None:
        self.max_categories = max_categories
        self.min_share = min_share
        self.plans: list[ColumnPlan] = []

    def fit(self, X: Any, columns: list[str], weights: Array | None = None) -> TablePreprocessor:
        """Learn the columns from training rows, of the given weights.

        Raises
        ------
        InputError
            If a column has no known cell in any row, or holds infinity.
        """
        frame = Frame.read(X)
        frame.check_columns(columns, "Table")
        weights = np.ones(len(frame)) if weights is None else np.asarray(weights, dtype=float)
        self.plans = [self._learn(frame, name, weights) for name in columns]
        return self

    def feature_names(self) -> list[str]:
        """Return the names of the features, in the order of `transform`."""
        return [name for plan in self.plans for name in plan.feature_names()]

    def transform(self, X: Any) -> Array:
        """Return features (n_rows, n_features), finite everywhere."""
        frame = Frame.read(X)
        parts = [_apply(plan, frame) for plan in self.plans]
        return np.column_stack(parts) if parts else np.empty((len(frame), 0))

    def present(self, X: Any) -> NDArray[np.bool_]:
        """Return which rows have at least one known cell."""
        frame = Frame.read(X)
        known = [_known(_read(plan, frame)) for plan in self.plans]
        return np.asarray(np.any(known, axis=0))

    def to_state(self) -> list[dict[str, Any]]:
        """Return what was learned as plain values."""
        return [{**vars(plan), "levels": list(plan.levels)} for plan in self.plans]

    @classmethod
    def from_state(cls, state: list[dict[str, Any]]) -> TablePreprocessor:
        """Return a fitted preprocessor from `to_state`."""
        made = cls()
        made.plans = [ColumnPlan(**{**s, "levels": tuple(s["levels"])}) for s in state]
        return made

    def _learn(self, frame: Frame, name: str, weights: Array) -> ColumnPlan:
        kind = column_kind(frame, name)
        plan = ColumnPlan(name, kind)
        cells = _read(plan, frame)
        counted = weights > 0
        known = _known(cells)
        plan.with_flag = bool((~known[counted]).any())
        known &= counted
        if not known.any():
            # Nothing to learn: the column is constant, and a flag would be, too.
            plan.with_flag = False
            return plan
        if kind == "category":
            plan.levels = self._levels(cells[known], weights[known])
        elif kind == "boolean":
            plan.center = float(_weighted_quantile(cells[known], 0.5, weights[known]))
        else:
            plan.center, plan.scale = _center_and_scale(cells[known], weights[known])
        return plan

    def _levels(self, cells: NDArray[Any], weights: Array) -> tuple[str, ...]:
        levels, position = np.unique(cells.astype(str), return_inverse=True)
        totals = np.bincount(position, weights=weights)
        order = sorted(range(len(levels)), key=lambda i: (-totals[i], levels[i]))
        kept = [i for i in order if totals[i] >= self.min_share * totals.sum()]
        return tuple(sorted(str(levels[i]) for i in kept[: self.max_categories]))


def column_kind(frame: Frame, name: str) -> Kind:
    """Return how a table reads a column; text is a category, or dates where all cells are."""
    kind = frame.kind(name)
    if kind != "text":
        return kind
    cells = [cell for cell in frame.strings(name) if cell is not None]
    return "date" if cells and all(looks_like_date(cell) for cell in cells) else "category"


def looks_like_date(text: str) -> bool:
    """Return whether a text is a date as ``YYYY-MM-DD``, with or without a time."""
    text = text.strip()
    if len(text) < 10 or text[4] != "-" or text[7] != "-":
        return False
    return text[:4].isdigit() and text[5:7].isdigit() and text[8:10].isdigit()


def _read(plan: ColumnPlan, frame: Frame) -> NDArray[Any]:
    """Return the cells of a column as its kind says; a column of another kind is an error."""
    found = frame.kind(plan.name)
    if plan.kind == "category":
        if found in ("number", "date") and _any_cell(frame, plan.name):
            raise ColumnError(_changed(plan, found))
        return np.asarray(frame.strings(plan.name), dtype=object)
    if plan.kind == "date":
        if found not in ("date", "text") and _any_cell(frame, plan.name):
            raise ColumnError(_changed(plan, found))
        return frame.days(plan.name)
    if found not in ("number", "boolean") and _any_cell(frame, plan.name):
        raise ColumnError(_changed(plan, found))
    return (
        frame.numbers(plan.name) if found in ("number", "boolean") else np.full(len(frame), np.nan)
    )


def _any_cell(frame: Frame, name: str) -> bool:
    return any(cell is not None for cell in frame.strings(name))


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
    cells = _read(plan, frame)
    known = _known(cells)
    if plan.kind == "category":
        features = np.column_stack(
            [np.asarray(cells == level, dtype=np.float64) for level in plan.levels]
            or [np.empty((len(cells), 0))]
        )
    elif plan.kind == "boolean":
        features = np.where(known, cells, plan.center)[:, None]
    else:
        scaled = (np.where(known, cells, plan.center) - plan.center) / plan.scale
        features = np.clip(scaled, -_CLIP, _CLIP)[:, None]
    if plan.with_flag:
        features = np.column_stack([features, ~known])
    return features.astype(np.float64)


def _center_and_scale(values: Array, weights: Array) -> tuple[float, float]:
    low, middle, high = (_weighted_quantile(values, q, weights) for q in (0.25, 0.5, 0.75))
    spread = high - low
    if spread <= 0:
        mean = np.average(values, weights=weights)
        spread = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
    # A constant column stays at zero; rounding must not be taken for spread.
    tiny = 1e-12 * max(1.0, abs(middle))
    return float(middle), float(spread) if spread > tiny else 1.0


def _weighted_quantile(values: Array, q: float, weights: Array) -> float:
    return float(np.quantile(values, q, weights=weights, method="inverted_cdf"))


def check_not_empty(frame: Frame, columns: list[str]) -> None:
    """Raise unless at least one cell of the columns is known."""
    if not any(_any_cell(frame, name) for name in columns):
        msg = "Table: expected at least one known cell in training rows, got only missing ones."
        raise InputError(msg)
