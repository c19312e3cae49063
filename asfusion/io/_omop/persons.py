"""Persons of OMOP: who is asked for, when they were born, and their sex."""

from __future__ import annotations

import polars as pl

from asfusion import _sql
from asfusion.exceptions import ColumnError, ConfigurationError
from asfusion.io._before import Index
from asfusion.io._omop.tables import PERSON, WHO, Counts, Source, check_columns, query
from asfusion.io._records_page import Tally

_SEXES = {8507: "male", 8532: "female"}
_EMPTY = {"patient": pl.Int64, "sex": pl.String, "birth": pl.Date}


def all_patients(database: _sql.Database) -> list[int]:
    """Return everybody in the table of persons, sorted."""
    present = check_columns(database, PERSON)
    parts = [batch["person_id"] for batch in query(database, PERSON, present, "", [])]
    ids = pl.concat([pl.Series(dtype=pl.Int64), *parts]).drop_nulls().unique().sort()
    if ids.is_empty():
        msg = f"{WHO}: expected persons in the table 'person', got none. Check schema=."
        raise ConfigurationError(msg)
    return ids.to_list()


def check_patients(index: Index) -> None:
    """Raise unless patients are whole numbers, as ``person_id`` is."""
    kind = index.rows.schema["patient"]
    if not kind.is_integer() and len(index.rows):
        msg = (
            f"{WHO}, patients: expected whole numbers, as person_id is, got {kind}. Convert the "
            "column 'patient' of index; text and numbers are not compared."
        )
        raise ColumnError(msg)


def read_persons(source: Source) -> tuple[pl.DataFrame, Tally]:
    """Return sex and birth of the patients, and how many were found."""
    wanted = source.index.rows.select("patient").unique()
    counts = Counts(PERSON.name)
    parts = [pl.DataFrame(schema=_EMPTY)]
    for rows in source.rows(PERSON):
        counts.n_read += len(rows)
        own = rows.rename({"person_id": "patient"}).join(wanted, on="patient", how="semi")
        parts.append(_as_persons(own))
    found = pl.concat(parts).unique("patient", keep="first").sort("patient")
    counts.n_kept = len(found)
    counts.left_out["of other patients"] = counts.n_read - len(found)
    counts.left_out["asked for and not there"] = len(wanted) - len(found)
    return found, counts.tally()


def _as_persons(rows: pl.DataFrame) -> pl.DataFrame:
    """Return sex and birth; where the day or the month is not known, the middle of the rest."""
    month = pl.col("month_of_birth").fill_null(7)
    middle = pl.when(pl.col("month_of_birth").is_null()).then(1).otherwise(15)
    parts = (pl.col("year_of_birth"), month, pl.col("day_of_birth").fill_null(middle))
    text = pl.format("{}-{}-{}", *(part.cast(pl.String).str.zfill(2) for part in parts))
    return rows.select(
        "patient",
        pl.col("gender_concept_id")
        .replace_strict(_SEXES, default=None, return_dtype=pl.String)
        .alias("sex"),
        text.str.to_date("%Y-%m-%d", strict=False).alias("birth"),
    )
