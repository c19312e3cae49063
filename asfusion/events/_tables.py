"""Events and index dates, whatever holds them, as polars tables with columns of fixed types.

Unlike the rest of the library this room knows polars by name: events may be larger than
memory, and are never turned into a table of Python objects. Columns of the caller's are named to
polars by `by_name`: `col` takes a name such as "^a$" or "*" for a pattern.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.selectors import by_name

from asfusion._cells import is_missing
from asfusion._checks import quoted, suggestion
from asfusion.exceptions import ColumnError, InputError

_TEXTS = (".csv", ".tsv", ".txt", ".gz", ".xlsx", ".xls")


def read_events(events: Any, own: Mapping[str, str | None]) -> tuple[pl.LazyFrame, bool]:
    """Return the columns of the events under our names, lazily, and whether times have a zone.

    Parameters
    ----------
    events : table or path
        One event a row.
    own : mapping of str to str or None
        For each of our names the caller's; None for units if there is no such column.

    Raises
    ------
    InputError
        If `events` is neither a table nor a readable Parquet file.
    ColumnError
        If a column is missing, or of a type that cannot be read.
    """
    columns = [name for name in own.values() if name is not None]
    if isinstance(events, str | Path):
        lazy = _scanned(Path(events))
    elif isinstance(events, pl.LazyFrame):
        lazy = events
    elif isinstance(events, pl.DataFrame):
        lazy = events.lazy()
    else:
        lazy = from_pandas(events, columns, "events").lazy()
    schema = _schema(lazy)
    _check_columns(schema.names(), columns, "events")
    missing = pl.lit(None, dtype=pl.String)
    texts = {
        ours: (missing if name is None else _text(name, schema[name])).alias(ours)
        for ours, name in own.items()
        if ours in ("code", "unit")
    }
    patient, time, value = (str(own[ours]) for ours in ("patient", "time", "value"))
    _check_value(value, schema[value])
    table = lazy.select(
        patient_key(patient, schema[patient], "events").alias("patient"),
        microseconds(time, schema[time], "events").alias("time"),
        texts["code"],
        by_name(value).alias("value"),
        texts["unit"],
    )
    return table, _has_zone(schema[time])


def _scanned(path: Path) -> pl.LazyFrame:
    expected = "events: expected a Parquet file, a folder of them, or a table, got"
    if not path.exists() and not any(letter in str(path) for letter in "*?[:"):
        raise InputError(f"{expected} a path where there is none. Check the path.")
    if path.suffix.lower() in _TEXTS:
        msg = (
            f"{expected} a {path.suffix.lower()!r} file. Read it first, with its times as times: "
            "polars.scan_csv(path, try_parse_dates=True), or pandas.read_csv(path, "
            "parse_dates=[...], dtype=str)."
        )
        raise InputError(msg)
    return pl.scan_parquet(path)


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    if dtype in (pl.String, pl.Null):
        return by_name(name)
    if dtype in (pl.Categorical, pl.Enum) or dtype.is_integer():
        return by_name(name).cast(pl.String)
    msg = f"events, column {name!r}: expected text, got {dtype}. Convert the column first."
    raise ColumnError(msg)


def _check_value(name: str, dtype: pl.DataType) -> None:
    if not (dtype.is_numeric() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
        msg = f"events, column {name!r}: expected numbers or text such as '<5', got {dtype}."
        raise ColumnError(msg)


def _schema(lazy: pl.LazyFrame) -> pl.Schema:
    """Return the columns of a lazy table; its errors may show a path, ours do not."""
    try:
        return lazy.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        msg = (
            "events: expected a Parquet file, a folder of them, or a table, got something that "
            f"cannot be read ({type(error).__name__}). Check the path and that the file is whole."
        )
        raise InputError(msg) from None


def collect(lazy: pl.LazyFrame) -> pl.DataFrame:
    """Run a query in the streaming engine, in batches instead of whole tables."""
    try:
        return lazy.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        msg = (
            f"events: expected rows that can be read to the end, got {type(error).__name__}. "
            "Check that the file is whole and that its parts have the same columns."
        )
        raise InputError(msg) from None


def from_pandas(table: Any, columns: Sequence[str], what: str) -> pl.DataFrame:
    """Return the named columns of a pandas DataFrame (pyarrow is not needed for that)."""
    if not (type(table).__module__.startswith("pandas") and hasattr(table, "columns")):
        msg = (
            f"{what}: expected a pandas or polars table"
            f"{', or the path of a Parquet file' * (what == 'events')}, got {type(table).__name__}."
        )
        raise InputError(msg)
    _check_columns(list(table.columns), columns, what)
    return pl.DataFrame([_from_series(table[name], name) for name in columns])


def _from_series(series: Any, name: str) -> pl.Series:
    kind = getattr(series.dtype, "kind", "O")
    if kind == "M":
        if getattr(series.dt, "tz", None) is None:
            return pl.Series(name, series.to_numpy("datetime64[us]"))
        times = pl.Series(name, series.dt.tz_convert(None).to_numpy("datetime64[us]"))
        return times.dt.replace_time_zone("UTC")
    if kind in "fiub" and isinstance(series.dtype, np.dtype):
        return pl.Series(name, series.to_numpy())
    cells = [None if is_missing(cell) else cell for cell in series.tolist()]
    if all(cell is None for cell in cells):
        return pl.Series(name, cells, dtype=pl.String)
    if all(isinstance(cell, bool | int | float | None) for cell in cells):
        return pl.Series(name, cells, strict=False)
    if all(isinstance(cell, str | int | float | None) for cell in cells):
        return pl.Series(name, [None if cell is None else str(cell) for cell in cells])
    return pl.Series(name, cells, strict=False)


def _check_columns(present: Sequence[str], wanted: Sequence[str], what: str) -> None:
    absent = [name for name in wanted if name not in present]
    if absent:
        msg = (
            f"{what}: expected the column{'s' * (len(absent) > 1)} {quoted(absent)}, got "
            f"{quoted(present, limit=10)}. Rename the columns, or name yours in LabEvents("
            f"patient=, time=, code=, value=, unit=, index_date=).{suggestion(absent[0], present)}"
        )
        raise ColumnError(msg)


def patient_key(name: str, dtype: pl.DataType, what: str) -> pl.Expr:
    """Return the patients as whole numbers or as text, so that both tables have one type."""
    column = by_name(name)
    if dtype.is_integer():
        return column.cast(pl.Int64)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    msg = (
        f"{what}, column {name!r}: expected patients as whole numbers or text, got {dtype}. "
        "Convert the column first."
    )
    raise ColumnError(msg)


def microseconds(name: str, dtype: pl.DataType, what: str) -> pl.Expr:
    """Return dates or times as microseconds since 1970; those with a zone in UTC."""
    if isinstance(dtype, pl.Date | pl.Datetime):
        return by_name(name).cast(pl.Datetime("us")).cast(pl.Int64)
    msg = (
        f"{what}, column {name!r}: expected dates or times, got {dtype}. Convert the column first, "
        "for example with pandas.to_datetime or polars' str.to_datetime."
    )
    raise ColumnError(msg)


def _has_zone(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is not None


def check_zones(time: str, index_date: str, *, of_events: bool, of_index: bool) -> None:
    """Raise where times have a zone on one side alone: what was before what nobody can say.

    Raises
    ------
    ColumnError
        If they do.
    """
    if of_events != of_index:
        bare = "index_dates" if of_events else "events"
        msg = (
            f"Times of events and index dates: expected a zone in both or in neither, got none in "
            f"{bare}, column {(index_date if of_events else time)!r}. Give it one with pandas' "
            "dt.tz_localize or polars' dt.replace_time_zone, or bring the other to local time and "
            "take its zone away."
        )
        raise ColumnError(msg)


def read_index(index_dates: Any, patient: str, index_date: str) -> tuple[pl.DataFrame, bool]:
    """Return ``patient`` and ``at`` (microseconds) of each row, and whether dates have a zone.

    Raises
    ------
    InputError
        If a row has no patient or no date.
    """
    names = [patient, index_date]
    if isinstance(index_dates, pl.LazyFrame):
        index_dates = index_dates.collect()
    if isinstance(index_dates, pl.DataFrame):
        _check_columns(index_dates.columns, names, "index_dates")
        table = index_dates[:, names]
    else:
        table = from_pandas(index_dates, names, "index_dates")
    rows = table.select(
        patient_key(patient, table.schema[patient], "index_dates").alias("patient"),
        microseconds(index_date, table.schema[index_date], "index_dates").alias("at"),
    )
    for column, name in (("patient", patient), ("at", index_date)):
        n_missing = rows[column].null_count()
        if n_missing:
            msg = (
                f"index_dates, column {name!r}: expected a value in each of {len(rows)} rows, got "
                f"{n_missing} missing. Leave those rows out, or fill them."
            )
            raise InputError(msg)
    return rows, _has_zone(table.schema[index_date])
