"""Rows of the tables of the OMOP common data model, up to patients' index dates, in batches."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from asfusion import _sql
from asfusion._checks import quoted
from asfusion.exceptions import ColumnError
from asfusion.io._before import Index, keep_before
from asfusion.io._records_page import Tally
from asfusion.io._sql_cells import Kind, typed

WHO = "read_omop"
_MANY = 20_000  # patients above which a table is read whole rather than asked for each
_AT_ONCE = 900  # parameters of one query: old SQLite takes 999
_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class Table:
    """Columns of a table that are read.

    Parameters
    ----------
    name : str
        Its name.
    needed, optional : mapping of str to str
        Columns and their kinds; of optional ones older databases lack some.
    time : str
        What its columns of times begin with, before ``date`` and ``datetime``; empty if none.
    """

    name: str
    needed: Mapping[str, Kind]
    optional: Mapping[str, Kind] = field(default_factory=dict)
    time: str = ""

    @property
    def date(self) -> str:
        """The column of days."""
        return f"{self.time}date"

    @property
    def moment(self) -> str:
        """The column of times."""
        return f"{self.time}datetime"


def _of_time(name: str, time: str, needed: Mapping[str, Kind], **optional: Kind) -> Table:
    return Table(
        name,
        {"person_id": "whole", **needed, f"{time}date": "date"},
        {f"{time}datetime": "moment", **optional},
        time,
    )


PERSON = Table(
    "person",
    {"person_id": "whole", "gender_concept_id": "whole", "year_of_birth": "whole"},
    {"month_of_birth": "whole", "day_of_birth": "whole"},
)
CONCEPT = Table("concept", {"concept_id": "whole", "concept_code": "text", "vocabulary_id": "text"})
MEASUREMENT = _of_time(
    "measurement",
    "measurement_",
    {"measurement_concept_id": "whole", "value_as_number": "number"},
    operator_concept_id="whole",
    unit_concept_id="whole",
    unit_source_value="text",
)
NOTE = _of_time(
    "note", "note_", {"note_text": "text"}, note_id="whole", note_class_concept_id="whole"
)
VISIT = _of_time("visit_occurrence", "visit_start_", {"visit_concept_id": "whole"})
CONDITION = _of_time("condition_occurrence", "condition_start_", {"condition_concept_id": "whole"})
DRUG = _of_time("drug_exposure", "drug_exposure_start_", {"drug_concept_id": "whole"})


@dataclass(frozen=True)
class Source:
    """A database, and whose rows are wanted up to when."""

    database: _sql.Database
    index: Index

    def rows(
        self, table: Table, where: str = "", values: Sequence[Any] = ()
    ) -> Iterator[pl.DataFrame]:
        """Yield the columns of a table for the patients asked for, some rows at a time."""
        present = check_columns(self.database, table)
        if table.time:
            where = _and(where, f"({table.date} < ? OR {table.date} IS NULL)")
            # Two days more: the day of a zone may be a day ahead of UTC's.
            latest = self.index.last_day + datetime.timedelta(days=2)
            values = [*values, self.database.day(latest)]
        for clause, patients in _patient_clauses(self.index.patients):
            yield from query(
                self.database, table, present, _and(where, clause), [*values, *patients]
            )


def _and(first: str, second: str) -> str:
    return f"{first} AND {second}" if first else second


def check_columns(database: _sql.Database, table: Table) -> list[str]:
    """Return which columns of a table there are, or raise for one that is needed."""
    there = _sql.columns_of(database, table.name, WHO)
    absent = [name for name in table.needed if name not in there]
    if absent:
        msg = (
            f"{WHO}, table {table.name!r}: expected the columns of the OMOP common data model, got "
            f"none named {quoted(absent)}. Check schema=, or read a view that has them."
        )
        raise ColumnError(msg)
    return [name for name in (*table.needed, *table.optional) if name in there]


def query(
    database: _sql.Database,
    table: Table,
    present: Sequence[str],
    where: str,
    values: Sequence[Any],
) -> Iterator[pl.DataFrame]:
    """Yield rows of a table with all of its columns, those that are absent missing."""
    kinds = {**table.needed, **table.optional}
    text = f"SELECT {', '.join(present)} FROM {database.table(table.name)}"
    text += f" WHERE {where}" if where else ""
    asked = {name: kinds[name] for name in present}
    for batch in _sql.stream(database, text, values, present, f"{WHO}, table {table.name!r}"):
        absent = [pl.lit(None, dtype=_EMPTY[kinds[n]]).alias(n) for n in kinds if n not in asked]
        yield typed(batch, asked, table.name).with_columns(absent)


_EMPTY: Mapping[Kind, Any] = {
    "whole": pl.Int64,
    "number": pl.Float64,
    "text": pl.String,
    "date": pl.Datetime("us"),
    "moment": pl.Datetime("us"),
}


def _patient_clauses(patients: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    """Yield conditions that together let the patients through, and few or no others.

    A run of numbers is one range. Scattered ones are asked for by name, some at a time, unless
    they are so many that reading the whole table once costs less.
    """
    if not patients:
        return
    low, high = patients[0], patients[-1]
    if high - low < 2 * len(patients) or len(patients) > _MANY:
        yield "person_id BETWEEN ? AND ?", [low, high]
        return
    for start in range(0, len(patients), _AT_ONCE):
        some = list(patients[start : start + _AT_ONCE])
        yield f"person_id IN ({', '.join('?' * len(some))})", some


def one_of(column: str, ids: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield conditions that a column is one of `ids`, some of them at a time."""
    for start in range(0, len(ids), _AT_ONCE // 2):
        some = list(ids[start : start + _AT_ONCE // 2])
        yield f"{column} IN ({', '.join('?' * len(some))})", some


def with_time(rows: pl.DataFrame, table: Table, index: Index) -> pl.DataFrame:
    """Return rows with ``patient``, ``time`` and ``is_day``, whether the day alone is known.

    By the conventions of OMOP midnight stands for a time that nobody knows. Where day and
    time contradict, the later day counts.
    """
    moment, day = pl.col(table.moment), pl.col(table.date)
    if index.has_zone and rows[table.moment].null_count() == len(rows):
        rows = rows.with_columns(moment.dt.replace_time_zone("UTC"))
    zone = rows.schema[table.moment].time_zone  # type: ignore[attr-defined]
    if zone is None:
        unknown = moment == moment.dt.truncate("1d")
        contradicts = day > moment
    else:
        day = day.dt.replace_time_zone(zone)
        unknown = pl.lit(value=False)
        contradicts = day > moment + pl.duration(hours=14)
    by_day = (moment.is_null() | unknown | contradicts).fill_null(value=False)
    time = pl.when(by_day & day.is_not_null()).then(day).otherwise(moment)
    return rows.select(
        pl.col("person_id").alias("patient"),
        time.alias("time"),
        by_day.alias("is_day"),
        pl.exclude("person_id", table.moment, table.date),
    )


@dataclass
class Counts:
    """How many rows of a table were read and kept, and why others were not."""

    what: str
    n_read: int = 0
    n_kept: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def before(self, rows: pl.DataFrame, index: Index) -> pl.DataFrame:
        """Return the rows up to the index dates, and count the others."""
        kept, left_out = keep_before(rows, index)
        self.n_read += len(rows)
        self.n_kept += len(kept)
        self.left_out.update(left_out)
        return kept

    def leave_out(self, rows: pl.DataFrame, keep: pl.Expr, reason: str) -> pl.DataFrame:
        """Return the rows to keep, and count the others under a reason."""
        kept = rows.filter(keep)
        self.left_out[reason] += len(rows) - len(kept)
        self.n_kept -= len(rows) - len(kept)
        return kept

    def tally(self) -> Tally:
        """Return the counts as a report shows them."""
        return Tally(
            self.what, self.n_read, self.n_kept, {r: n for r, n in self.left_out.items() if n}
        )
