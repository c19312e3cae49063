"""From a long table of visits to one nested cell per patient."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from asfusion._cells import is_missing
from asfusion._checks import check_choice, quoted
from asfusion._frames import Frame
from asfusion.encoders._visit_cells import AfterIndex, Floats
from asfusion.exceptions import ColumnError, InputError

_WHO = "VisitEncoder.nest"


SameDay: TypeAlias = Literal["error", "mean"]
Visit: TypeAlias = dict[str, float | None]


def nest_visits(
    visits: Any,
    keys: Any,
    *,
    key: str,
    time: str,
    index_date: Any,
    after_index: AfterIndex,
    same_day: SameDay,
) -> Any:
    """Return one cell per key, as a Series of the library of the keys, or else of `visits`."""
    check_choice(after_index, "after_index", get_args(AfterIndex))
    check_choice(same_day, "same_day", get_args(SameDay))
    frame, wanted = Frame.read(visits), _as_list(keys)
    frame.check_columns([key, time], _WHO)
    owner = frame.cells(key)
    _check_keys(owner, wanted, key)
    days = _days_of_visits(frame, time, owner, dated=index_date is not None)
    origin = _index_days(index_date, len(wanted))
    columns = _value_columns(frame, (key, time))
    rows: dict[Any, list[int]] = {}
    for row, patient in enumerate(owner):
        rows.setdefault(patient, []).append(row)
    cells: list[list[Visit] | None] = []
    n_late = n_again = 0
    for patient, start in zip(wanted, origin.tolist(), strict=True):
        own = np.asarray(rows.get(patient, []), dtype=np.int64)
        since = days[own] - start
        n_late += int((since > 0).sum())
        own, since = own[since <= 0], since[since <= 0]
        by_day: dict[float, list[int]] = {}
        for row, day in zip(own.tolist(), since.tolist(), strict=True):
            by_day.setdefault(day, []).append(row)
        n_again += len(own) - len(by_day)
        cells.append([_visit(columns, of, time, day) for day, of in by_day.items()] or None)
    if n_late and after_index == "error":
        msg = (
            f"visits: expected visits up to the index date, got {n_late} after it. Check dates and "
            "signs; after_index='drop' leaves them out."
        )
        raise InputError(msg)
    if n_again and same_day == "error":
        msg = (
            f"visits: expected each {time!r} once per patient, got {n_again} repeated. "
            "same_day='mean' makes one visit of them, with the mean of what was measured."
        )
        raise InputError(msg)
    return _as_series(cells, keys, frame, (time, *columns))


def _visit(columns: dict[str, Floats], rows: list[int], time: str, day: float) -> Visit:
    """Return the rows of one day as one visit; None where nothing was measured."""
    visit: Visit = {time: day}
    for name, column in columns.items():
        known = [value for value in column[rows].tolist() if value == value]
        visit[name] = sum(known) / len(known) if known else None
    return visit


def _check_keys(owner: list[Any], wanted: list[Any], key: str) -> None:
    """Raise unless visits have an owner, and some of the keys are among them."""
    n_missing = sum(map(is_missing, owner))
    if n_missing:
        msg = (
            f"visits: expected {key!r} in every row, got {n_missing} missing. Leave out visits of "
            "which nobody knows whose they are."
        )
        raise InputError(msg)
    if not set(owner) & set(wanted):
        kinds = [type(cells[0]).__name__ if cells else "nothing" for cells in (wanted, owner)]
        got = f"none (keys of type {kinds[0]}, and {kinds[1]} in the column). Give both one type."
        if kinds[0] == kinds[1]:
            got = (
                f"none of {len(wanted)}, which are {kinds[0]} as the column is. Are they of the "
                "same people, and is key= the column that they stand in?"
            )
        msg = f"keys: expected some that stand in column {key!r} of visits, got {got}"
        raise InputError(msg)


def _days_of_visits(frame: Frame, time: str, owner: list[Any], *, dated: bool) -> Floats:
    """Return when each visit was: days from the index date, or days of the calendar."""
    kind = frame.kind(time)
    if (kind in ("date", "text")) != dated:
        got = f"{kind} cells {'with' if dated else 'without'} an index date"
        msg = (
            f"visits: expected dates in {time!r} and index_date=, or days from the index date "
            f"without it, got {got}."
        )
        raise InputError(msg)
    days = frame.days(time) if dated else frame.numbers(time)
    n_missing = int(np.isnan(days).sum())
    if n_missing:
        msg = (
            f"visits: expected {time!r} in every row, got {n_missing} of {len(owner)} missing. "
            "Leave out visits whose day nobody knows."
        )
        raise InputError(msg)
    return days


def _value_columns(frame: Frame, others: tuple[str, str]) -> dict[str, Floats]:
    """Return the columns of values, NaN where one was not measured."""
    names = [name for name in frame.columns if name not in others]
    wrong = [name for name in names if frame.kind(name) not in ("number", "boolean")]
    if wrong:
        msg = (
            f"visits: expected numbers beside {quoted(others)}, got another type in "
            f"{quoted(wrong)}. Select the columns first, and give categories as numbers."
        )
        raise ColumnError(msg)
    if not names:
        msg = f"visits: expected columns of values beside {quoted(others)}, got none."
        raise ColumnError(msg)
    return {name: frame.numbers(name) for name in names}


def _index_days(index_date: Any, n_rows: int) -> Floats:
    """Return index dates as days of the calendar, one per key; zeros without any."""
    if index_date is None:
        return np.zeros(n_rows)
    import pandas as pd

    cells = _as_list(index_date)
    if len(cells) != n_rows:
        msg = f"index_date: expected one for each of {n_rows} keys, got {len(cells)}."
        raise InputError(msg)
    column = pd.DataFrame({"index_date": pd.Series(cells, dtype=object)})
    days = Frame.read(column).days("index_date")
    n_missing = int(np.isnan(days).sum())
    if n_missing:
        msg = (
            f"index_date: expected a date for every key, got {n_missing} missing. Without it "
            "nobody can say what was known in time."
        )
        raise InputError(msg)
    return days


def _as_list(cells: Any) -> list[Any]:
    for method in ("to_list", "tolist"):
        if hasattr(cells, method):
            return list(getattr(cells, method)())
    return list(cells)


def _as_series(cells: list[Any], keys: Any, frame: Frame, fields: tuple[str, ...]) -> Any:
    library = type(keys).__module__.split(".")[0]
    if library not in ("pandas", "polars"):
        library, keys = type(frame.to_native()).__module__.split(".")[0], None
    if library == "polars":
        import polars as pl

        # Guessed from the first visits, a value that they lack would be lost in all.
        kind = pl.List(pl.Struct(dict.fromkeys(fields, pl.Float64)))
        return pl.Series("visits", cells, dtype=kind)
    import pandas as pd

    index = keys.index if isinstance(keys, pd.Series) else keys
    return pd.Series(cells, index=index, name="visits", dtype=object)
