"""Measurements of OMOP as laboratory events: codes, units, limits, and what is none."""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from asfusion._checks import quoted
from asfusion.events._vocabulary import read_labs
from asfusion.events.lab_events import LabEvents
from asfusion.exceptions import InputError
from asfusion.io._omop.tables import (
    CONCEPT,
    MEASUREMENT,
    WHO,
    Counts,
    Source,
    check_columns,
    one_of,
    query,
    with_time,
)
from asfusion.io._records_page import Met, Tally

# Concepts of the vocabulary "Meas Value Operator"; none means that the value is what it says.
_OPERATORS = {0: "", 4172703: "", 4171756: "<", 4171754: "<=", 4172704: ">", 4171755: ">="}
NO_NUMBER, NO_OPERATOR = "without a number", "with an unknown operator"
_AS_WRITTEN = "as written"
EVENTS: dict[str, Any] = {
    "patient": pl.Int64,
    "time": pl.Datetime("us"),
    "code": pl.String,
    "value": pl.String,
    "unit": pl.String,
}


class Labs:
    """Reads the measurements of some labs, and counts what it met.

    Parameters
    ----------
    source : Source
        The database.
    labs : LabEvents
        Which labs: whole numbers among their codes are concept ids, text is LOINC's.
    """

    def __init__(self, source: Source, labs: LabEvents) -> None:
        self.source = source
        self._of_lab = {
            code: lab.name
            for lab in read_labs(labs.codes, labs.units, labs.ranges)
            for code in lab.codes
        }
        ids = [code for code in self._of_lab if code in _whole_numbers(labs.codes)]
        self._present = check_columns(source.database, CONCEPT)
        texts = [code for code in self._of_lab if code not in ids]
        found = [
            (row[0], row[1])
            for clause, some in one_of("concept_code", texts)
            for row in self._concepts("LOINC", clause, some).iter_rows()
        ]
        concepts = dict(found)
        concepts |= {int(code): code for code in ids}
        if not concepts:
            msg = (
                f"{WHO}, labs: expected LOINC codes that the table 'concept' holds, or concept ids "
                "as whole numbers, got neither for "
                f"{quoted(dict.fromkeys(self._of_lab.values()))}."
            )
            raise InputError(msg)
        self._concept_table = pl.DataFrame(
            {"concept": list(concepts), "code": list(concepts.values())},
            schema={"concept": pl.Int64, "code": pl.String},
        )
        self._unit_table = self._concepts("UCUM", "", []).select(
            pl.col("concept_id").alias("unit_concept_id"), pl.col("concept_code").alias("ucum")
        )
        self._unknown = len(texts) - len(set(concepts.values()).intersection(texts))
        self._counts = Counts(MEASUREMENT.name)
        self._met: Counter[tuple[str, str]] = Counter()

    def _concepts(self, vocabulary: str, clause: str, values: Sequence[Any]) -> pl.DataFrame:
        """Return ids and codes of the concepts of a vocabulary."""
        where = "vocabulary_id = ?" + (f" AND {clause}" if clause else "")
        batches = query(self.source.database, CONCEPT, self._present, where, [vocabulary, *values])
        parts = [batch.select("concept_id", "concept_code") for batch in batches]
        empty = pl.DataFrame(schema={"concept_id": pl.Int64, "concept_code": pl.String})
        return pl.concat([empty, *parts]).unique("concept_id", keep="first")

    def events(self) -> Iterator[pl.DataFrame]:
        """Yield events as `LabEvents` reads them, some at a time."""
        concepts = self._concept_table["concept"].to_list()
        for clause, some in one_of("measurement_concept_id", concepts):
            for rows in self.source.rows(MEASUREMENT, clause, some):
                timed = with_time(rows, MEASUREMENT, self.source.index)
                events = self._as_events(self._counts.before(timed, self.source.index))
                if len(events):
                    yield events

    def _as_events(self, rows: pl.DataFrame) -> pl.DataFrame:
        value, operator = pl.col("value_as_number"), pl.col("operator_concept_id").fill_null(0)
        counts = self._counts
        rows = counts.leave_out(rows, value.is_finite().fill_null(value=False), NO_NUMBER)
        rows = counts.leave_out(rows, operator.is_in(list(_OPERATORS)), NO_OPERATOR)
        sign = operator.replace_strict(_OPERATORS, return_dtype=pl.String)
        written = pl.col("unit_source_value").str.strip_chars()
        known = (
            rows.with_columns(value=sign + value.cast(pl.String))
            .join(
                self._concept_table,
                left_on="measurement_concept_id",
                right_on="concept",
                maintain_order="left",
            )
            .join(self._unit_table, on="unit_concept_id", how="left", maintain_order="left")
            .with_columns(
                unit=pl.coalesce("ucum", pl.when(written != "").then(written)),
                told=pl.coalesce("ucum", pl.when(written != "").then(pl.lit(_AS_WRITTEN))),
            )
        )
        met = known.group_by("code", pl.col("told").fill_null("none")).len()
        self._met.update({(code, unit): n for code, unit, n in met.iter_rows()})
        return known.select(list(EVENTS))

    def report(self) -> tuple[Tally, ...]:
        """Return what was read of the vocabulary and of the measurements."""
        n = len(self._of_lab)
        left_out = {"not in the vocabulary": self._unknown} if self._unknown else {}
        return (Tally("codes of labs", n, n - self._unknown, left_out), self._counts.tally())

    def met(self) -> tuple[Met, ...]:
        """Return which codes were met in which units."""
        found = [Met(self._of_lab[code], code, unit, n) for (code, unit), n in self._met.items()]
        return tuple(sorted(found, key=lambda one: (one.what, one.code, one.unit)))


def _whole_numbers(codes: Any) -> frozenset[str]:
    """Return the codes that were given as whole numbers, which makes them concept ids."""
    given = codes.values() if isinstance(codes, Mapping) else ()
    cells = [
        code
        for own in given
        for code in (own if isinstance(own, list | tuple | set | frozenset) else [own])
    ]
    return frozenset(str(int(c)) for c in cells if isinstance(c, numbers.Integral))
