"""One reading of a score's arguments, whatever holds them, and one way back.

A truth value is a float here: 1 for true, 0 for false, NaN for missing. Kleene's three-valued
logic on them decides where the known values suffice and stays missing where they do not.
"""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_missing
from asfusion._checks import in_words, quoted, suggestion
from asfusion.exceptions import InputError

Floats: TypeAlias = NDArray[np.float64]


class SeriesLike(Protocol):
    """What a pandas and a polars Series have in common here."""

    @property
    def name(self) -> Any: ...

    def to_numpy(self) -> Any: ...


Values: TypeAlias = float | Sequence[Any] | NDArray[Any] | SeriesLike | None
"""A number or truth value, or many in a list, array, pandas or polars Series."""

Table: TypeAlias = Any
"""Named columns: a mapping of names to `Values`, or a pandas or polars DataFrame."""

# Decimals such as 2.9 - 2.0 miss 0.9 by 1e-16; no score has a step as small as this.
TOLERANCE = 1e-9


class Inputs:
    """The arguments of one call of a score, read together so that their rows match.

    Scalars and arrays follow numpy's broadcasting. A Series sets the rows: every other
    argument must be a scalar or have as many rows, and pandas indexes must be equal. Where
    lists come without an array or Series, results are lists.
    """

    def __init__(self, score: str, **values: Any) -> None:
        self.score = score
        self._series: nw.Series[Any] | None = None
        self._names: set[Any] = set()
        self._is_bool: dict[str, bool] = {}
        cells: dict[str, Floats] = {}
        for name, value in values.items():
            if nw.dependencies.is_into_series(value):
                self._check_series(name, nw.from_native(value, series_only=True))
            cells[name], self._is_bool[name] = _to_floats(value, f"{score}: {name}")
        self.shape = self._common_shape(cells)
        self._cells = {name: np.broadcast_to(item, self.shape) for name, item in cells.items()}
        self.names = tuple(values)
        self._is_list = self._series is None and not any(_is_array(v) for v in values.values())

    def numbers(self, name: str, low: float, high: float, unit: str, *, fix: str = "") -> Floats:
        """Return an argument as float64, missing as NaN, checked to lie in [low, high]."""
        if self._is_bool[name]:
            msg = f"{self.score}: {name}: expected numbers ({unit}), got booleans."
            raise InputError(msg)
        values = self._cells[name]
        outside = ~np.isnan(values) & ~((values >= low) & (values <= high))
        self._refuse(name, outside, f"numbers from {low:g} to {high:g} ({unit})", fix)
        return values

    def grades(self, name: str, low: float, high: float, *, fix: str = "") -> Floats:
        """Return an argument as whole numbers in [low, high], missing as NaN."""
        values = self.numbers(name, low, high, "unitless", fix=fix)
        uneven = ~np.isnan(values) & (values != np.floor(values))
        self._refuse(name, uneven, "whole numbers", fix)
        return values

    def truths(self, name: str) -> Floats:
        """Return an argument as truth values: True or 1, False or 0, missing as NaN."""
        values = self._cells[name]
        other = ~np.isnan(values) & (values != 0.0) & (values != 1.0)
        self._refuse(name, other, "True, False or missing", "")
        return values

    def give_numbers(self, values: Floats, name: str) -> Any:
        """Return numbers in the container of the arguments.

        Missing is NaN in scalars, arrays and pandas, None in lists, null in polars.
        """
        if self._series is None:
            if not self.shape:
                return float(values)
            array = np.array(values, dtype=np.float64)
            return _nested(_with_none(array.ravel(), float), self.shape) if self._is_list else array
        if self._is_pandas:
            return self._pandas_series(np.array(values), name, "float64")
        return self._other_series(_with_none(values, float), name, nw.Float64())

    def give_truths(self, values: Floats, name: str) -> Any:
        """Return truth values in the container of the arguments; missing is None, NA or null.

        An array is of dtype bool, or of dtype object if one of its cells is missing.
        """
        if self._series is None:
            return self._plain(_with_none(values.ravel(), bool), bool)
        if self._is_pandas:
            return self._pandas_series(_with_none(values, bool), name, "boolean")
        return self._other_series(_with_none(values, bool), name, nw.Boolean())

    def give_words(self, codes: Floats, words: Sequence[str], name: str) -> Any:
        """Return ``words[code]`` in the container of the arguments; missing is None, NA or null."""
        cells = _with_none(codes.ravel(), lambda code: words[int(code)])
        if self._series is None:
            return self._plain(cells, object)
        if self._is_pandas:
            return self._pandas_series(cells, name, "string")
        return self._other_series(cells, name, nw.String())

    @property
    def _is_pandas(self) -> bool:
        return self._series is not None and self._series.implementation.is_pandas_like()

    def _check_series(self, name: str, series: nw.Series[Any]) -> None:
        """Raise unless `series` describes the same rows as the Series before it."""
        self._names.add(series.name)
        first = self._series
        if first is None:
            self._series = series
            return
        if first.implementation is not series.implementation:
            msg = (
                f"{self.score}: {name}: expected every Series from one library, got "
                f"{first.implementation} and {series.implementation}. Convert one of them."
            )
            raise InputError(msg)
        if self._is_pandas and not first.to_native().index.equals(series.to_native().index):
            msg = (
                f"{self.score}: {name}: expected the same index as the other Series, got "
                "another. Bring the rows into one DataFrame first, so that patients match."
            )
            raise InputError(msg)

    def _common_shape(self, cells: Mapping[str, Floats]) -> tuple[int, ...]:
        shapes = {name: item.shape for name, item in cells.items()}
        try:
            shape = np.broadcast_shapes(*shapes.values())
        except ValueError:
            shape = None
        fits = shape is not None and (self._series is None or shape == (len(self._series),))
        if shape is None or not fits or self._stretches_a_series(shapes, shape):
            known = ", ".join(f"{name} {size}" for name, size in shapes.items() if size)
            msg = (
                f"{self.score}: expected arguments with the same number of rows, got shapes "
                f"{known}. Pass one value for each row, or a single number for all rows."
            )
            raise InputError(msg)
        return shape

    def _stretches_a_series(
        self, shapes: Mapping[str, tuple[int, ...]], shape: tuple[int, ...]
    ) -> bool:
        """Return whether one row beside a Series would be taken for every row."""
        return self._series is not None and any(size not in {(), shape} for size in shapes.values())

    def _refuse(self, name: str, wrong: NDArray[np.bool_], expected: str, fix: str) -> None:
        """Raise with the count and first position of `wrong`, if any."""
        if not wrong.any():
            return
        where = np.flatnonzero(wrong)
        msg = (
            f"{self.score}: {name}: expected {expected}, got {where.size} other value(s), "
            f"the first at position {where[0]}."
        )
        raise InputError(f"{msg} {fix}".rstrip())

    def _result_name(self, name: str) -> Any:
        """Return the name that all Series share, else that of the score, as pandas does."""
        if len(self._names) == 1:
            shared = next(iter(self._names))
            return name if shared in {None, ""} else shared
        return name

    def _plain(self, cells: list[Any], dtype: type) -> Any:
        if not self.shape:
            return cells[0]
        if self._is_list:
            return _nested(cells, self.shape)
        complete = all(cell is not None for cell in cells)
        out: NDArray[Any] = np.empty(len(cells), dtype=dtype if complete else object)
        out[:] = cells
        return out.reshape(self.shape)

    def _pandas_series(self, cells: Any, name: str, dtype: str) -> Any:
        assert self._series is not None
        namespace = self._series.__native_namespace__()
        index = self._series.to_native().index
        return namespace.Series(cells, index=index, name=self._result_name(name), dtype=dtype)

    def _other_series(self, cells: list[Any], name: str, dtype: Any) -> Any:
        assert self._series is not None
        backend = self._series.implementation
        made = nw.new_series(self._result_name(name), cells, dtype, backend=backend)
        return made.to_native()


def read_items(score: str, name: str, items: Any, count: int | None = None) -> list[Any]:
    """Return the items of a questionnaire, one `Values` each.

    `items` is a sequence of items, an array whose last axis holds them, or a DataFrame
    with one column for each.
    """
    if hasattr(items, "columns") and hasattr(items, "shape"):
        found = [items[column] for column in items.columns]
    elif isinstance(items, np.ndarray) and items.ndim:
        found = [items[..., i] for i in range(items.shape[-1])]
    elif isinstance(items, Sequence) and not isinstance(items, str | bytes):
        found = list(items)
    else:
        msg = (
            f"{score}: {name}: expected a sequence of items, an array of shape "
            f"(n_rows, n_items) or a DataFrame, got {type(items).__name__}."
        )
        raise InputError(msg)
    if (count is None and not found) or (count is not None and len(found) != count):
        wanted = "at least one item" if count is None else f"{count} items"
        msg = f"{score}: {name}: expected {wanted}, got {len(found)}. Pass a missing item as None."
        raise InputError(msg)
    return found


def read_columns(
    score: str, name: str, table: Table, known: Sequence[str], *, absent: Any = "refuse"
) -> dict[str, Any]:
    """Return the columns `known` of a mapping or DataFrame.

    A column that is not there is refused, or becomes `absent` if that is given.
    """
    columns = _column_names(score, name, table)
    unknown = [column for column in columns if column not in known]
    if unknown and (absent != "refuse" or isinstance(table, Mapping)):
        hint = suggestion(str(unknown[0]), known)
        msg = f"{score}: {name}: expected only {quoted(known, 30)}, got {quoted(unknown)}.{hint}"
        raise InputError(msg)
    missing = [column for column in known if column not in columns]
    if missing and absent == "refuse":
        msg = (
            f"{score}: {name}: expected {quoted(known, 30)}, got none named {quoted(missing)}. "
            "Pass what was not measured as None."
        )
        raise InputError(msg)
    return {column: table[column] if column in columns else absent for column in known}


def read_flags(score: str, name: str, flags: Any, known: Sequence[str]) -> dict[str, Any]:
    """Return truth values by name, from the names that are present or from columns.

    A list of names is one fully assessed patient: what is not in it is absent. In a
    mapping or DataFrame, what is not in it was not assessed and is missing.
    """
    if isinstance(flags, str):
        msg = (
            f"{score}: {name}: expected a list of names, a mapping or a DataFrame, got one name. "
            "Put it into a list."
        )
        raise InputError(msg)
    if not isinstance(flags, list | tuple | set | frozenset):
        return read_columns(score, name, flags, known, absent=None)
    for flag in flags:
        if flag not in known:
            hint = suggestion(str(flag).lower().replace("-", "_"), known)
            msg = (
                f"{score}: {name}: expected names among {quoted(known, 30)}, "
                f"got {in_words(flag)}.{hint}"
            )
            raise InputError(msg)
    return {flag: flag in flags for flag in known}


def add(parts: Iterable[Floats]) -> Floats:
    """Return the sum of `parts`, to the last digit the same for one row and for many."""
    return functools.reduce(np.add, parts)


def at_least(count: int, truths: Iterable[Floats]) -> Floats:
    """Return whether `count` or more are true, missing where the missing ones decide it."""
    stack = np.stack(list(truths))
    n_true = (stack == 1.0).sum(axis=0)
    n_possible = n_true + np.isnan(stack).sum(axis=0)
    return np.where(n_true >= count, 1.0, np.where(n_possible < count, 0.0, np.nan))


def all_of(*truths: Floats) -> Floats:
    """Return Kleene's conjunction."""
    return at_least(len(truths), truths)


def any_of(*truths: Floats) -> Floats:
    """Return Kleene's disjunction."""
    return at_least(1, truths)


def negate(truth: Floats) -> Floats:
    """Return Kleene's negation."""
    return 1.0 - truth


def reaches(values: Floats, threshold: Floats | float) -> Floats:
    """Return whether `values` are at least `threshold`, forgiving rounding in the last digits."""
    return _known(values >= np.asarray(threshold) - TOLERANCE, values, threshold)


def exceeds(values: Floats, threshold: Floats | float) -> Floats:
    """Return whether `values` are above `threshold` by more than rounding in the last digits."""
    return _known(values > np.asarray(threshold) + TOLERANCE, values, threshold)


def _known(truth: NDArray[np.bool_], values: Floats, threshold: Floats | float) -> Floats:
    return np.where(np.isnan(values) | np.isnan(threshold), np.nan, truth.astype(np.float64))


def _is_array(value: Any) -> bool:
    """Return whether `value` holds rows and is neither a list nor a tuple."""
    return not isinstance(value, list | tuple) and getattr(value, "ndim", 0) > 0


def _nested(cells: list[Any], shape: tuple[int, ...]) -> list[Any]:
    out = np.empty(len(cells), dtype=object)
    out[:] = cells
    return list(out.reshape(shape).tolist())


def _with_none(values: Floats, convert: Callable[[Any], Any]) -> list[Any]:
    return [None if value != value else convert(value) for value in values.tolist()]


def _to_floats(value: Any, label: str) -> tuple[Floats, bool]:
    """Return cells as float64 with NaN for missing, and whether they were booleans."""
    if nw.dependencies.is_into_series(value):
        return _series_to_floats(nw.from_native(value, series_only=True), label)
    if isinstance(value, np.ma.MaskedArray):
        is_bool = value.dtype == bool
        return np.where(np.ma.getmaskarray(value), np.nan, value.data.astype(np.float64)), is_bool
    if isinstance(value, str | bytes | Mapping) or hasattr(value, "columns"):
        msg = (
            f"{label}: expected a number, a list, an array or a Series, got {type(value).__name__}."
        )
        raise InputError(msg)
    if is_missing(value):
        return np.array(np.nan), False
    array = value if isinstance(value, np.ndarray) else _as_array(value, label)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64), array.dtype == bool
    return _objects_to_floats(array.astype(object).ravel().tolist(), array.shape, label)


def _as_array(value: Any, label: str) -> NDArray[Any]:
    if isinstance(value, numbers.Real):
        return np.asarray(value)
    try:
        return np.array(value, dtype=object if isinstance(value, list | tuple) else None)
    except (TypeError, ValueError):
        msg = f"{label}: expected one number for each row, got rows of several lengths."
        raise InputError(msg) from None


def _series_to_floats(series: nw.Series[Any], label: str) -> tuple[Floats, bool]:
    is_bool = series.dtype == nw.Boolean
    if is_bool or series.dtype.is_numeric():
        floats = np.asarray(series.cast(nw.Float64()).to_numpy(), dtype=np.float64)
        return floats, bool(is_bool)
    return _objects_to_floats(series.to_list(), (len(series),), label)


def _objects_to_floats(cells: list[Any], shape: tuple[int, ...], label: str) -> tuple[Floats, bool]:
    out = np.full(len(cells), np.nan)
    seen_bool = False
    for position, cell in enumerate(cells):
        if is_missing(cell):
            continue
        if not isinstance(cell, numbers.Real | np.bool_):
            msg = (
                f"{label}: expected numbers or missing cells, got {type(cell).__name__} "
                f"at position {position}. Convert the column to numbers first."
            )
            raise InputError(msg)
        seen_bool = seen_bool or isinstance(cell, bool | np.bool_)
        out[position] = float(cell)
    return out.reshape(shape), seen_bool


def _column_names(score: str, name: str, table: Table) -> list[Any]:
    if isinstance(table, Mapping):
        return list(table)
    if hasattr(table, "columns") and hasattr(table, "shape"):
        return list(table.columns)
    msg = (
        f"{score}: {name}: expected a mapping of names to values or a DataFrame, "
        f"got {type(table).__name__}."
    )
    raise InputError(msg)
