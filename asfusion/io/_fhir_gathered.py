"""What was read of resources of FHIR, from the first file to the last, a table for each type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from asfusion.io import _fhir_notes, _fhir_rows
from asfusion.io._before import Index, keep_before
from asfusion.io._fhir_codes import Codes
from asfusion.io._fhir_json import dumped, loose
from asfusion.io._fhir_lines import FULL_URL, Block
from asfusion.io._fhir_parse import Parser
from asfusion.io._fhir_people import NOBODY, People, as_patients
from asfusion.io._fhir_schema import SCHEMAS
from asfusion.io._fhir_time import instant
from asfusion.io._records_page import Tally

REPEATED = "of a resource that was met again, or in a later version"
PARTIAL = "times that are a month or a year alone, counted from its end"
_READERS: Mapping[str, Any] = {
    "DiagnosticReport": _fhir_notes.reports,
    "DocumentReference": _fhir_notes.documents,
    "Encounter": _fhir_rows.visits,
    "Condition": _fhir_rows.conditions,
    "MedicationRequest": _fhir_rows.drugs,
    "MedicationStatement": _fhir_rows.drugs,
    "MedicationAdministration": _fhir_rows.drugs,
    "ImagingStudy": _fhir_rows.studies,
}


@dataclass
class OfType:
    """The rows of one type of resource, and which versions there were.

    Parameters
    ----------
    rows : list of polars.DataFrame
        From `_fhir_rows` and `_fhir_notes`.
    versions : list of polars.DataFrame
        ``key`` of each resource that has an id, ``nth`` it was and when it was ``updated``.
    n : int
        How many resources there were.
    """

    rows: list[pl.DataFrame] = field(default_factory=list)
    versions: list[pl.DataFrame] = field(default_factory=list)
    n: int = 0

    def number(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the table with the number of each resource, its version noted."""
        table = table.with_row_index("nth", offset=self.n)
        self.n += len(table)
        key = pl.coalesce(FULL_URL, "id")
        updated = instant(pl.col("meta").struct.field("lastUpdated")).alias("updated")
        known = table.filter(key.is_not_null())
        self.versions.append(known.select(key.hash().alias("key"), "nth", updated))
        return table

    def latest(self) -> pl.DataFrame:
        """Return all rows, of each resource those of the latest version; others have it as why."""
        rows = pl.concat(self.rows)
        old = self._old()
        if old.is_empty():
            return rows
        is_old = pl.col("nth").is_in(old.implode())
        return rows.with_columns(
            pl.when(is_old).then(pl.lit(REPEATED)).otherwise("why").alias("why")
        )

    def _old(self) -> pl.Series:
        """Return the numbers of resources of which there is a later version."""
        known = pl.concat(self.versions)
        if known["key"].n_unique() == len(known):
            return known["nth"].clear()
        ordered = known.sort("updated", "nth", nulls_last=False)
        return ordered.filter(~pl.col("key").is_last_distinct())["nth"]


@dataclass
class Gathered:
    """All that was read.

    Parameters
    ----------
    codes : Codes
        Which codes of observations are chosen.
    identifier : str or None
        System of the identifiers that patients are named by.
    of : dict of str to OfType
        By type of resource.
    """

    codes: Codes
    identifier: str | None
    of: dict[str, OfType] = field(default_factory=dict)

    def read(self, parser: Parser, block: Block) -> None:
        """Read the resources of a block."""
        for kind, table in parser.tables(block):
            own = self.of.setdefault(kind, OfType())
            numbered = own.number(table)
            own.rows.append(self._rows(kind, numbered))
            if kind == "DiagnosticReport" and "Observation" in parser.wanted:
                for inner in _contained(table, block):
                    self.read(parser, inner)

    def _rows(self, kind: str, table: pl.DataFrame) -> pl.DataFrame:
        if kind == "Patient":
            return _fhir_rows.persons(table, self.identifier)
        if kind == "Observation":
            return _fhir_rows.events(table, self.codes)
        rows: pl.DataFrame = _READERS[kind](table)
        return rows

    def add_empty(self, kinds: Iterable[str]) -> None:
        """Add tables without rows for types of which there is nothing."""
        for kind in kinds:
            if kind not in self.of:
                own = self.of[kind] = OfType()
                empty = pl.DataFrame(schema=dict(SCHEMAS[kind]))
                own.rows.append(self._rows(kind, own.number(empty)))

    def people(self) -> People:
        """Return the patients, each in the latest version."""
        own = self.of["Patient"].latest()
        return People(own.filter(pl.col("why").is_null()))


def _contained(table: pl.DataFrame, block: Block) -> Iterator[Block]:
    """Yield observations that stand within reports, whose patient and time are the report's."""
    held = table.filter(pl.col("contained").is_not_null())
    lines = []
    for report in held.iter_rows(named=True):
        inner = loose(report["contained"])
        for part in inner if isinstance(inner, list) else []:
            if isinstance(part, dict) and part.get("resourceType") == "Observation":
                lines.append(dumped(_as_if_alone(part, report)))
    if lines:
        yield Block(b"\n".join(lines), f"{block.where}, within reports", 1, unit="observation")


def _as_if_alone(part: dict[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: cell for name, cell in report.items() if name.startswith("effective")}
    own |= {"issued": report["issued"], "subject": report["subject"]}
    if str(report["status"]).lower() == "entered-in-error":
        part = {**part, "status": report["status"]}
    whole = {**{k: v for k, v in own.items() if v is not None}, **part}
    name = report["id"] or report[FULL_URL]
    whole["id"] = None if name is None or "id" not in part else f"{name}#{part['id']}"
    whole.pop(FULL_URL, None)
    return whole


def finished(
    kind: str, own: OfType, people: People, index: Index
) -> tuple[pl.DataFrame, list[Tally]]:
    """Return the rows of a type that can be used, up to the index dates, and what became of all."""
    rows = own.latest()
    found = people.found(rows["subject"])
    rows = rows.join(found, on="subject", how="left", maintain_order="left")
    nobody = pl.when(pl.col("subject").is_null()).then(pl.lit(NOBODY))
    rows = rows.with_columns(pl.coalesce("why", "lost", nobody).alias("why"))
    left_out = Counter(dict(rows["why"].drop_nulls().value_counts().iter_rows()))
    usable = rows.filter(pl.col("why").is_null())
    usable = usable.with_columns(as_patients(usable["name"], index))
    kept, late = keep_before(usable.drop("subject", "name", "lost", "why", "nth"), index)
    left_out.update(late)
    n_partial = int(kept["is_partial"].sum())
    tallies = [Tally(kind, len(rows), len(kept), dict(left_out.most_common()))]
    if n_partial:
        tallies.append(Tally(f"{kind}: {PARTIAL}", n_partial, n_partial))
    ours = [name for name in kept.columns if name not in ("patient", "time", "is_partial")]
    return kept.select("patient", "time", *ours), tallies
