"""What was known of patients before their index dates, whatever source it is read from."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from asfusion._checks import in_words
from asfusion.events._tables import check_zones, read_index
from asfusion.exceptions import ConfigurationError, InputError

PATIENT, INDEX_DATE = "patient", "index_date"
OTHER = "of other patients"
NO_TIME = "without a time"
AFTER = "after the index date"
SAME_DAY = "on the day of the index date, hour unknown"
_DAY = 86_400_000_000  # microseconds
# Where times have a zone, a day alone may have been anywhere on earth.
_EAST, _WEST = -14 * 3_600_000_000, 12 * 3_600_000_000


@dataclass(frozen=True)
class Index:
    """Whose records are asked for, and up to when.

    Parameters
    ----------
    table : DataFrame
        What was asked: a row per patient and date, in the library of the caller.
    rows : polars.DataFrame
        ``patient`` and ``at`` (microseconds since 1970, in UTC with a zone) of each.
    has_zone : bool
        Whether the dates have a zone.
    """

    table: Any
    rows: pl.DataFrame
    has_zone: bool

    @property
    def last(self) -> pl.DataFrame:
        """The last date of each patient."""
        return self.rows.group_by("patient").agg(pl.col("at").max())

    @property
    def patients(self) -> list[Any]:
        """The patients, each once, sorted."""
        return self.rows["patient"].unique().sort().to_list()

    @property
    def last_day(self) -> datetime.date:
        """The day of the last date of all, in UTC where dates have a zone."""
        days = self.rows["at"].to_numpy() // _DAY
        return datetime.date(1970, 1, 1) + datetime.timedelta(days=int(days.max(initial=0)))


def read_cut(index: Any, persons: Sequence[Any] | None = None) -> Index:
    """Return the index dates of a table, or one date for all `persons`.

    Raises
    ------
    ConfigurationError
        If both, or neither, say who is asked for.
    InputError
        If the table, or the date, cannot be read.
    """
    if isinstance(index, pl.LazyFrame):
        index = index.collect()
    if hasattr(index, "columns"):
        if persons is not None:
            msg = (
                "persons: expected None beside a table of index dates, which says who is asked "
                f"for, got {in_words(persons)}. Filter the table instead."
            )
            raise ConfigurationError(msg)
        return Index(index, *read_index(index, PATIENT, INDEX_DATE))
    table = _same_date(_one_date(index), persons)
    return Index(table, *read_index(table, PATIENT, INDEX_DATE))


def _one_date(index: Any) -> datetime.datetime:
    try:
        if isinstance(index, str):
            return datetime.datetime.fromisoformat(index)
        if isinstance(index, datetime.datetime):
            return index
        return datetime.datetime(index.year, index.month, index.day)
    except (ValueError, AttributeError, TypeError):
        msg = (
            f"index: expected a table with the columns {PATIENT!r} and {INDEX_DATE!r}, or one date "
            f"for all such as '2024-06-30', got {type(index).__name__}."
        )
        raise InputError(msg) from None


def _same_date(date: datetime.datetime, persons: Sequence[Any] | None) -> Any:
    import pandas as pd

    cells = [] if persons is None else list(persons)
    if not cells:
        msg = (
            "persons: expected patients beside a single index date, got none. Pass those who are "
            "asked for, or a table of patients and dates as index."
        )
        raise ConfigurationError(msg)
    dates = pd.to_datetime([date] * len(cells)).as_unit("us")
    return pd.DataFrame({PATIENT: cells, INDEX_DATE: dates})


def keep_before(rows: pl.DataFrame, index: Index) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the rows up to their patients' last index dates, and how many were left out and why.

    Parameters
    ----------
    rows : polars.DataFrame
        With ``patient``, ``time`` (in UTC with a zone) and ``is_day``, which says that of the
        time the day alone is known. Such a row counts from the first moment of its day, but on
        the day of an index date of its patient from the last: whether it was before nobody knows.
    index : Index
        The dates.

    Returns
    -------
    polars.DataFrame, dict of str to int
        The rows without ``is_day``, and counts by reason.

    Raises
    ------
    ColumnError
        If only one of times and index dates has a zone.
    """
    of_events = getattr(rows.schema["time"], "time_zone", None) is not None
    check_zones("time", INDEX_DATE, of_events=of_events, of_index=index.has_zone)
    own = rows.join(index.last, on="patient", how="inner", maintain_order="left")
    left_out = {OTHER: len(rows) - len(own), NO_TIME: own["time"].null_count()}
    own = own.filter(pl.col("time").is_not_null())
    moment = pl.col("time").cast(pl.Int64)
    shifted = _last_moments(own, index)
    before = shifted.filter(moment <= pl.col("at"))
    same_day = (pl.col("shifted") & (moment > pl.col("at"))).sum()
    left_out[SAME_DAY] = int(shifted.select(same_day).item())
    left_out[AFTER] = len(own) - len(before) - left_out[SAME_DAY]
    kept = before.drop("at", "is_day", "shifted")
    return kept, {reason: n for reason, n in left_out.items() if n}


def _last_moments(own: pl.DataFrame, index: Index) -> pl.DataFrame:
    """Return rows with the last moment of a day as time where an index date lies within it."""
    zoned = getattr(own.schema["time"], "time_zone", None) is not None
    first, end = (_EAST, _DAY + _WEST) if zoned else (0, _DAY)
    numbered = own.with_row_index("row")
    days = numbered.filter("is_day").select("row", "patient", pl.col("time").cast(pl.Int64))
    within = (pl.col("at") >= pl.col("time") + first) & (pl.col("at") < pl.col("time") + end)
    hit = days.join(index.rows.unique(), on="patient").filter(within)["row"].unique()
    is_hit = pl.col("row").is_in(hit.implode()) if len(hit) else pl.lit(value=False)
    last = (pl.col("time").cast(pl.Int64) + end - 1).cast(own.schema["time"])
    return numbered.with_columns(
        pl.when(is_hit).then(last).otherwise("time").alias("time"), is_hit.alias("shifted")
    ).drop("row")
