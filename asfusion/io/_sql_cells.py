"""Cells as databases give them, numbers, dates or text, as columns of fixed types."""

from __future__ import annotations

import datetime
import numbers
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import polars as pl

from asfusion._sql import Batch
from asfusion.exceptions import ColumnError

Kind: TypeAlias = Literal["whole", "number", "text", "date", "moment"]
_EXACT = 2**53  # beyond it a float does not say which whole number it stands for
_ZONE = r"(?:Z|[+-]\d\d(?::?\d\d)?)$"
_FORMS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")


def typed(batch: Batch, kinds: Mapping[str, Kind], table: str) -> pl.DataFrame:
    """Return a batch as a table whose columns have the types that are wanted.

    Parameters
    ----------
    batch : Batch
        Rows of an answer with these columns, in this order.
    kinds : mapping of str to str
        ``"whole"`` numbers of 64 bits, ``"number"``, ``"text"``, ``"date"`` or ``"moment"``,
        which keeps a zone as UTC.
    table : str
        Where they are from, for a message.

    Raises
    ------
    ColumnError
        If a whole number is none, or a moment cannot be told from its column.
    """
    if batch.arrow is None:
        given = {name: _of_objects(batch.cells[name], kind) for name, kind in kinds.items()}
    else:
        given = {
            name: _of_arrow(array) for name, array in zip(kinds, batch.arrow.columns, strict=True)
        }
    columns = []
    for name, kind in kinds.items():
        series = _READERS[kind](given[name])
        if series is None:
            words = {"whole": "whole numbers of 64 bits", "text": "text"}
            msg = (
                f"Table {table!r}, column {name!r}: expected {words.get(kind, f'a {kind}')} "
                "or NULL in each row, got other values. Correct them, or read a view that does."
            )
            raise ColumnError(msg)
        columns.append(series.alias(name))
    return pl.DataFrame(columns)


def _of_arrow(array: Any) -> pl.Series:
    """Return an Arrow array as a column; of a type that Arrow has not, what it is kept as."""
    found = pl.from_arrow(getattr(array, "storage", array))
    assert isinstance(found, pl.Series)
    return found


# ------------------------------------------------------------------ from Python's objects


def _of_objects(cells: Sequence[Any], kind: Kind) -> pl.Series | None:
    """Return cells as a column of about the right type, None where they are none of the kind."""
    try:
        return _FROM_OBJECTS[kind](cells)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return None


def _whole_of(cells: Sequence[Any]) -> pl.Series:
    try:
        return pl.Series(cells, dtype=pl.Int64, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series([_whole(cell) for cell in cells], dtype=pl.Int64, strict=True)


def _whole(cell: Any) -> int | None:
    """Return a cell as a whole number, exactly, or raise."""
    if cell is None:
        return None
    if isinstance(cell, bytes):
        cell = cell.decode("ascii")
    if isinstance(cell, str):
        return int(cell) if cell.strip() else None
    if isinstance(cell, float) and abs(cell) > _EXACT:
        raise ValueError("no exact number")
    if isinstance(cell, float | Decimal) and cell != int(cell):
        raise ValueError("no whole number")
    return int(cell)


def _numbers_of(cells: Sequence[Any]) -> pl.Series:
    try:
        values = [None if cell is None else float(cell) for cell in cells]
    except (TypeError, ValueError):
        values = [_number(cell) for cell in cells]
    return pl.Series(values, dtype=pl.Float64)


def _number(cell: Any) -> float | None:
    """Return a cell as a number; None for one that is none, as SQLite may hold."""
    if isinstance(cell, numbers.Real | Decimal):
        return float(cell)
    try:
        return float(cell) if isinstance(cell, str) else None
    except ValueError:
        return None


def _text_of(cells: Sequence[Any]) -> pl.Series:
    try:
        return pl.Series(cells, dtype=pl.String, strict=True)
    except (TypeError, pl.exceptions.PolarsError):
        return pl.Series([_text(cell) for cell in cells], dtype=pl.String)


def _text(cell: Any) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bytes | memoryview):
        return bytes(cell).decode("utf-8", errors="replace")
    # A CLOB gives its text when it is asked for it.
    return str(cell.read()) if hasattr(cell, "read") else str(cell)


def _times_of(cells: Sequence[Any]) -> pl.Series:
    kinds = set(map(type, cells)) - {type(None)}
    if kinds <= {str}:
        return pl.Series(cells, dtype=pl.String)
    if kinds == {datetime.date}:
        return pl.Series(cells, dtype=pl.Date)
    is_plain = kinds == {datetime.datetime}
    moments = cells if is_plain else [_moment(cell) for cell in cells]
    zoned = {moment.tzinfo is not None for moment in moments if moment is not None}
    if len(zoned) > 1:
        raise ValueError("a zone in some and none in others")
    if not any(zoned):
        return pl.Series(moments, dtype=pl.Datetime("us"))
    utc = [None if m is None else m.astimezone(datetime.UTC).replace(tzinfo=None) for m in moments]
    return pl.Series(utc, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")


def _moment(cell: Any) -> datetime.datetime | None:
    if cell is None or isinstance(cell, datetime.datetime):
        return cell
    if isinstance(cell, datetime.date):
        return datetime.datetime(cell.year, cell.month, cell.day)
    if isinstance(cell, str):
        return datetime.datetime.fromisoformat(cell.strip())
    raise TypeError("no moment")


_FROM_OBJECTS: Mapping[str, Callable[[Sequence[Any]], pl.Series]] = {
    "whole": _whole_of,
    "number": _numbers_of,
    "text": _text_of,
    "date": _times_of,
    "moment": _times_of,
}


# ------------------------------------------------------------------ to the types that are wanted


def _as_whole(series: pl.Series | None) -> pl.Series | None:
    if series is None or series.dtype == pl.Int64:
        return series
    if series.dtype.is_float() and (series.abs() > _EXACT).any():
        return None
    whole = series.cast(pl.Int64, strict=False)
    exact = not series.dtype.is_float() or (whole.cast(pl.Float64) == series).all()
    return whole if exact and whole.null_count() == series.null_count() else None


def _as_number(series: pl.Series | None) -> pl.Series | None:
    return None if series is None else series.cast(pl.Float64, strict=False)


def _as_text(series: pl.Series | None) -> pl.Series | None:
    return None if series is None else series.cast(pl.String, strict=False)


def _as_date(series: pl.Series | None) -> pl.Series | None:
    moments = _as_moment(series)
    if moments is None:
        return None
    return moments.dt.replace_time_zone(None).dt.truncate("1d").cast(pl.Datetime("us"))


def _as_moment(series: pl.Series | None) -> pl.Series | None:
    """Return dates, times, or either as text, in microseconds; text that is neither is missing."""
    if series is None or series.dtype == pl.Null:
        return None if series is None else series.cast(pl.Datetime("us"))
    if series.dtype == pl.String:
        return _from_text(series)
    if isinstance(series.dtype, pl.Datetime):
        zone = series.dtype.time_zone
        times = series.cast(pl.Datetime("us", zone))
        return times if zone is None else times.dt.convert_time_zone("UTC")
    return series.cast(pl.Datetime("us")) if series.dtype == pl.Date else None


def _from_text(series: pl.Series) -> pl.Series | None:
    text = pl.col("text").str.strip_chars().str.replace("T", " ", literal=True)
    frame = pl.DataFrame({"text": series}).select(
        text.alias("text"),
        text.str.extract(f"({_ZONE})", 1).alias("zone"),
    )
    timed = pl.col("text").str.contains(":", literal=True)
    frame = frame.with_columns(pl.when(timed).then("zone").alias("zone"))
    bare = (
        pl.when(pl.col("zone").is_not_null())
        .then(pl.col("text").str.replace(_ZONE, "").str.strip_chars_end())
        .otherwise("text")
    )
    read = pl.coalesce(bare.str.to_datetime(form, time_unit="us", strict=False) for form in _FORMS)
    found = frame.select("zone", read.alias("time"))
    zoned = found.filter(pl.col("time").is_not_null())["zone"].is_not_null()
    if not zoned.any():
        return found["time"]
    if not zoned.all():
        return None
    hours = pl.col("zone").str.extract(r"([+-]\d\d)", 1).cast(pl.Int64).fill_null(0)
    minutes = pl.col("zone").str.extract(r"[+-]\d\d:?(\d\d)", 1).cast(pl.Int64).fill_null(0)
    sign = pl.when(pl.col("zone").str.starts_with("-")).then(-1).otherwise(1)
    offset = pl.duration(minutes=hours * 60 + sign * minutes)
    return found.select((pl.col("time") - offset).dt.replace_time_zone("UTC"))["time"]


_READERS: Mapping[str, Callable[[pl.Series | None], pl.Series | None]] = {
    "whole": _as_whole,
    "number": _as_number,
    "text": _as_text,
    "date": _as_date,
    "moment": _as_moment,
}
