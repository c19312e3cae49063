"""From nested cells to visits: days and numbers, row after row, whatever held them.

Dimensions: N rows, V visits of all rows together, K values of a visit.
"""

from __future__ import annotations

import datetime
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_known, is_missing
from asfusion._checks import quoted, suggestion
from asfusion._frames import Frame
from asfusion._warn import warn_user
from asfusion.exceptions import ColumnError, InputError

Floats: TypeAlias = NDArray[np.float64]
AfterIndex: TypeAlias = Literal["error", "drop"]
Fields: TypeAlias = dict[str, list[Any]]

_LONGEST_DAYS = 150 * 365.25
_A_DAY = datetime.timedelta(days=1)
_DATES = (datetime.date, np.datetime64)
_NUMBERS = (numbers.Real, Decimal, np.bool_)
_LISTS = (list, tuple, np.ndarray)


@dataclass(frozen=True, eq=False)
class Visits:
    """Visits of N rows, one below the other, in the order of rows and of days.

    Parameters
    ----------
    n_rows : int
        N; a row without visits is in none of the arrays.
    row : ndarray of shape (V,)
        Position of the row that each visit belongs to, rising.
    day : ndarray of shape (V,)
        Days from the index date, at most 0, rising within a row.
    values : ndarray of shape (V, K)
        What was measured, in the units of the cells; NaN where it was not.
    """

    n_rows: int
    row: NDArray[np.int64]
    day: Floats
    values: Floats

    def __len__(self) -> int:
        """Return the number of visits."""
        return len(self.day)

    def keep(self, kept: NDArray[Any]) -> Visits:
        """Return visits by position or by a bool mask (V,); rows stay as many."""
        return Visits(self.n_rows, self.row[kept], self.day[kept], self.values[kept])

    def of_row(self, row: int) -> Visits:
        """Return one row's visits, as those of the only row."""
        own = self.row == row
        return Visits(1, np.zeros(int(own.sum()), np.int64), self.day[own], self.values[own])

    def latest(self, count: int) -> Visits:
        """Return at most `count` visits of each row, the latest."""
        per_row = np.bincount(self.row, minlength=self.n_rows)
        before_end = np.repeat(np.cumsum(per_row), per_row) - np.arange(len(self))
        return self.keep(before_end <= count)


def read_visits(
    frame: Frame,
    column: str,
    *,
    time: str,
    values: Sequence[str] | None,
    after_index: AfterIndex,
    learned: bool = False,
) -> tuple[Visits, tuple[str, ...]]:
    """Return the visits in the cells of a column, and the names of their values.

    Parameters
    ----------
    frame : Frame
        N rows.
    column : str
        The column of nested cells.
    time : str
        Field of a visit with its day.
    values : sequence of str or None
        Fields to read; None for all others, in the order in which they are first met.
    after_index : {"error", "drop"}
        What becomes of a visit after day 0.
    learned : bool
        Whether `values` are those of training rows; it is said where they seem renamed.

    Raises
    ------
    ColumnError
        If the column is missing, a cell is no list of visits, or a field is no number.
    InputError
        If a day is missing or not finite, comes twice in a row, or lies after the index date.
    """
    frame.check_columns([column], "VisitEncoder")
    origin = frame.origin
    given = zip(origin.tolist(), frame.cells(column), strict=True)
    cells = [_fields(cell, column, row) for row, cell in given]
    per_row = np.asarray([count for count, _ in cells], dtype=np.int64)
    row = np.repeat(np.arange(len(cells)), per_row)
    told = origin[row]
    names = tuple(values) if values is not None else _names(cells, time)
    if learned:
        _warn_if_renamed(cells, names, column, time)
    day = _days(_flat(cells, time), told, column, time)
    table = [_numbers(_flat(cells, name), told, column, name) for name in names]
    measured = np.stack(table, axis=1) if table else np.empty((len(row), 0))
    visits = Visits(len(cells), row, day, measured)
    late = day > 0
    if late.any() and after_index == "error":
        msg = (
            f"Column {column!r}: expected visits up to the index date ({time!r} at most 0), got "
            f"{int(late.sum())} after it in {len(np.unique(row[late]))} row(s), the first in row "
            f"{told[late][0]}. Check the sign of the days; after_index='drop' leaves them out."
        )
        raise InputError(msg)
    # A visit at which nothing was measured says nothing.
    kept = visits.keep(~late & ~np.isnan(measured).all(axis=1))
    return _in_order(kept, origin, column, time), names


def holds_visits(frame: Frame, name: str, time: str = "day") -> bool:
    """Return whether a column holds nested visits, by a look at its first known cell."""
    if not frame.is_nested(name):
        return False
    for cell in frame.cells(name):
        if not is_known(cell):
            continue
        if hasattr(cell, "columns"):
            return time in list(cell.columns)
        if isinstance(cell, np.ndarray) and cell.dtype.names:
            return time in cell.dtype.names
        is_list = isinstance(cell, _LISTS) and getattr(cell, "ndim", 1) > 0
        return is_list and isinstance(cell[0], Mapping) and time in cell[0]
    return False


def _fields(cell: Any, column: str, row: int) -> tuple[int, Fields]:
    """Return the number of visits in a cell, and each field of them."""
    if isinstance(cell, np.ndarray) and cell.dtype.names:
        flat = cell.reshape(-1)
        return len(flat), {name: flat[name].tolist() for name in cell.dtype.names}
    if hasattr(cell, "columns") and hasattr(cell, "shape"):
        return len(cell), {str(name): cell[name].to_list() for name in cell.columns}
    if hasattr(cell, "to_list") and not isinstance(cell, np.ndarray):
        cell = cell.to_list()
    if isinstance(cell, _LISTS):
        visits = [visit for visit in cell if not is_missing(visit)]
        wrong = next((visit for visit in visits if not isinstance(visit, Mapping)), None)
        if wrong is None:
            names = dict.fromkeys(name for visit in visits for name in visit)
            return len(visits), {str(name): [visit.get(name) for visit in visits] for name in names}
        got = f"a list with {type(wrong).__name__} in it"
    elif is_missing(cell):
        return 0, {}
    else:
        got = type(cell).__name__
    msg = (
        f"Column {column!r}, row {row}: expected visits (a list of dicts, a small DataFrame, or "
        f"None), got {got}. asfusion.VisitEncoder.nest makes such cells from a long table."
    )
    raise ColumnError(msg)


def _flat(cells: Sequence[tuple[int, Fields]], name: str) -> list[Any]:
    """Return one field of all visits, None where a visit does not have it."""
    found: list[Any] = []
    for count, fields in cells:
        found.extend(fields.get(name) or [None] * count)
    return found


def _names(cells: Sequence[tuple[int, Fields]], time: str) -> tuple[str, ...]:
    """Return the fields, other than the day, that are known at some visit."""
    known: dict[str, bool] = {}
    for _, fields in cells:
        for name, column in fields.items():
            if not known.setdefault(str(name), False):
                known[str(name)] = not all(map(is_missing, column))
    return tuple(name for name, is_known in known.items() if is_known and name != time)


def _warn_if_renamed(
    cells: Sequence[tuple[int, Fields]], learned: Sequence[str], column: str, time: str
) -> None:
    """Say so where visits have other fields than in training: all others, or spelled otherwise."""
    fields = dict.fromkeys(name for _, fields in cells for name in fields)
    others = [name for name in fields if name not in (*learned, time)]
    absent = [name for name in learned if name not in fields]
    spelled = {name.casefold().strip() for name in others}
    renamed = [name for name in absent if name.casefold().strip() in spelled]
    if not others or not (renamed or len(absent) == len(learned)):
        return
    msg = (
        f"Column {column!r}: expected visits with {quoted(renamed or absent)}, as in training, got "
        f"{quoted(others)} and not one of them."
    )
    if len(absent) == len(learned):
        msg += f" {sum(count > 0 for count, _ in cells)} of {len(cells)} rows lack the modality."
    warn_user(f"{msg} Rename the fields.")


def _days(cells: list[Any], row: NDArray[np.int64], column: str, time: str) -> Floats:
    """Return days from the index date, all finite."""
    if any(isinstance(cell, _DATES) for cell in cells):
        msg = (
            f"Column {column!r}: expected {time!r} in days from the index date, got dates. "
            "asfusion.VisitEncoder.nest(..., index_date=...) makes days of them."
        )
        raise ColumnError(msg)
    if cells and all(map(is_missing, cells)):
        msg = (
            f"Column {column!r}: expected the field {time!r} with the day of each visit, got none. "
            "Name it by time=."
        )
        raise ColumnError(msg)
    days = _numbers([_as_days(cell) for cell in cells], row, column, time)
    far = np.flatnonzero(np.abs(days) > _LONGEST_DAYS)
    if far.size:
        msg = (
            f"Column {column!r}: expected {time!r} in days from the index date, got {far.size} "
            f"more than 150 years away, the first in row {row[far[0]]}. Convert hours or seconds "
            "to days."
        )
        raise InputError(msg)
    unknown = np.flatnonzero(np.isnan(days))
    if unknown.size:
        msg = (
            f"Column {column!r}: expected a day for every visit, got {unknown.size} without one, "
            f"the first in row {row[unknown[0]]}. Leave out visits whose day nobody knows."
        )
        raise InputError(msg)
    return days


def _as_days(cell: Any) -> Any:
    if isinstance(cell, np.timedelta64):
        return None if np.isnat(cell) else cell / np.timedelta64(1, "D")
    return cell / _A_DAY if isinstance(cell, datetime.timedelta) else cell


def _numbers(cells: list[Any], row: NDArray[np.int64], column: str, name: str) -> Floats:
    """Return cells of a field as numbers, NaN where they are missing."""
    found = np.full(len(cells), np.nan)
    for place, cell in enumerate(cells):
        if type(cell) is float:
            found[place] = cell
        elif not is_missing(cell):
            if not isinstance(cell, _NUMBERS):
                msg = (
                    f"Column {column!r}, row {row[place]}: expected numbers as {name!r}, got "
                    f"{type(cell).__name__}. Convert them, or name the fields to read by values=."
                )
                raise ColumnError(msg)
            found[place] = float(cell)
    infinite = np.flatnonzero(np.isinf(found))
    if infinite.size:
        msg = (
            f"Column {column!r}: expected finite numbers or missing ones as {name!r}, got infinity "
            f"at {infinite.size} visit(s), the first in row {row[infinite[0]]}. Blank them if they "
            "mean 'not measured'."
        )
        raise InputError(msg)
    return found


def _in_order(visits: Visits, origin: NDArray[np.int64], column: str, time: str) -> Visits:
    """Return visits by row and day, no day twice."""
    order = np.lexsort((visits.day, visits.row))
    found = visits.keep(order)
    again = np.flatnonzero((np.diff(found.day) == 0) & (np.diff(found.row) == 0))
    if again.size:
        first = origin[found.row[again[0]]]
        msg = (
            f"Column {column!r}: expected each day once per row, got {again.size} repeated "
            f"{time!r}, the first in row {first}. Give times as fractions of a day, or merge "
            "visits of one day, as asfusion.VisitEncoder.nest(..., same_day='mean') does."
        )
        raise InputError(msg)
    return found


def check_known_names(names: Sequence[str], known: Sequence[str], column: str) -> None:
    """Raise unless every value that is asked for is known at some visit."""
    absent = [name for name in names if name not in known]
    if absent:
        hint = suggestion(absent[0], known)
        msg = (
            f"Column {column!r}: expected visits with {quoted(absent)}, got none in training rows."
            f"{hint}"
        )
        raise ColumnError(msg)
