"""Notes, visits, conditions and drugs of OMOP as long tables, up to the index dates."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from asfusion._checks import in_words
from asfusion.exceptions import ConfigurationError
from asfusion.io._omop.tables import NOTE, VISIT, Counts, Source, Table, one_of, with_time
from asfusion.io._records_page import Tally

_KINDED = {"patient": pl.Int64, "time": pl.Datetime("us"), "kind": pl.String}
_NOTES = {**_KINDED, "text": pl.String, "note_id": pl.Int64}
_CODED = {**{name: _KINDED[name] for name in ("patient", "time")}, "code": pl.String}
_NAMED = {**_CODED, "name": pl.String}


def _together(parts: list[pl.DataFrame], schema: Mapping[str, Any]) -> pl.DataFrame:
    """Return parts as one table, with these columns also where there is none."""
    return pl.concat(parts) if parts else pl.DataFrame(schema=dict(schema))


def _kept(source: Source, table: Table, counts: Counts, *where: Any) -> Iterator[pl.DataFrame]:
    for rows in source.rows(table, *where):
        kept = counts.before(with_time(rows, table, source.index), source.index)
        if len(kept):
            yield kept


def read_notes(source: Source) -> tuple[pl.DataFrame, Tally]:
    """Return the notes, the older first, and their counts."""
    counts, parts = Counts(NOTE.name), []
    for rows in _kept(source, NOTE, counts):
        known = pl.col("note_text").str.strip_chars() != ""
        own = counts.leave_out(rows, known.fill_null(value=False), "without text")
        kind = pl.col("note_class_concept_id").cast(pl.String).alias("kind")
        text = pl.col("note_text").alias("text")
        parts.append(own.select("patient", "time", kind, text, "note_id"))
    notes = _together(parts, _NOTES).sort("patient", "time", "note_id", maintain_order=True)
    return notes.drop("note_id"), counts.tally()


def read_visits(source: Source) -> tuple[pl.DataFrame, Tally]:
    """Return when visits began and of what kind they were, and their counts."""
    counts = Counts(VISIT.name)
    kind = pl.col("visit_concept_id").cast(pl.String).alias("kind")
    parts = [rows.select("patient", "time", kind) for rows in _kept(source, VISIT, counts)]
    return _together(parts, _KINDED).sort("patient", "time", "kind"), counts.tally()


def read_coded(
    source: Source, table: Table, asked: Mapping[str, list[int]] | None
) -> tuple[pl.DataFrame, Tally]:
    """Return conditions or drugs, all or those that are named, and their counts."""
    column = next(name for name in table.needed if name.endswith("_concept_id"))
    names = pl.DataFrame(
        [(name, concept) for name, own in (asked or {}).items() for concept in own],
        schema={"name": pl.String, column: pl.Int64},
        orient="row",
    )
    clauses = [()] if asked is None else one_of(column, names[column].unique().sort().to_list())
    counts, parts = Counts(table.name), []
    for where in clauses:
        for rows in _kept(source, table, counts, *where):
            named = rows.join(names, on=column, how="left", maintain_order="left")
            code = pl.col(column).cast(pl.String).alias("code")
            parts.append(named.select("patient", "time", code, "name"))
    found = _together(parts, _NAMED).sort("patient", "time", "code", "name")
    return found, counts.tally()


def read_names(asked: Any, what: str) -> dict[str, list[int]] | None:
    """Return concept ids by name; None for everything.

    Raises
    ------
    ConfigurationError
        If they are neither.
    """
    if asked is True:
        return None
    names = dict(asked) if isinstance(asked, Mapping) else {}
    own = {
        name: list(ids) if isinstance(ids, list | tuple | set | frozenset) else [ids]
        for name, ids in names.items()
    }
    ids = [concept for some in own.values() for concept in some]
    whole = all(isinstance(i, numbers.Integral) and not isinstance(i, bool) for i in ids)
    if ids and whole and all(own.values()) and all(isinstance(n, str) and n for n in own):
        return {name: [int(concept) for concept in some] for name, some in own.items()}
    msg = (
        f"{what}: expected True for all, or names with concept ids as whole numbers such as "
        f"{{'uveitis': [434926]}}, got {in_words(asked)}."
    )
    raise ConfigurationError(msg)
