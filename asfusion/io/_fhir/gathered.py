"""What was read of resources of FHIR, from the first file to the last, a table for each type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from asfusion.io._before import Index, keep_before
from asfusion.io._fhir.codes import Codes
from asfusion.io._fhir.lines import FULL_URL, Block
from asfusion.io._fhir.moments import instants
from asfusion.io._fhir.notes import documents, reports
from asfusion.io._fhir.parser import Parser
from asfusion.io._fhir.people import NOBODY, People, as_patients
from asfusion.io._fhir.rows import conditions, drugs, events, persons, studies, visits
from asfusion.io._fhir.schema import SCHEMAS
from asfusion.io._fhir.strict_json import dumped, loose
from asfusion.io._parts import PART
from asfusion.io._records_page import Tally

ISSUED_LATER = "issued after the index date"
REPEATED = "of a resource that was met again, or in a later version"
PARTIAL = "times that are a month or a year alone, counted from its end"
_READERS: Mapping[str, Any] = {
    "DiagnosticReport": reports,
    "DocumentReference": documents,
    "Encounter": visits,
    "Condition": conditions,
    "MedicationRequest": drugs,
    "MedicationStatement": drugs,
    "MedicationAdministration": drugs,
    "ImagingStudy": studies,
}


@dataclass
class OfType:
    """The rows of one type of resource, and which versions there were.

    Parameters
    ----------
    folder : Path or None
        Where rows wait, if they may be more than memory holds.
    rows : list of polars.DataFrame
        Those in memory, from `rows` and `notes`.
    versions : list of polars.DataFrame
        ``key`` of each resource that has an id, ``nth`` it was and when it was ``updated``.
    n : int
        How many resources there were.
    n_files : int
        How many files wait.
    """

    folder: Path | None = None
    rows: list[pl.DataFrame] = field(default_factory=list)
    versions: list[pl.DataFrame] = field(default_factory=list)
    n: int = 0
    n_files: int = 0

    def number(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the table with the number of each resource, its version noted."""
        table = table.with_row_index("nth", offset=self.n)
        self.n += len(table)
        key = pl.coalesce(FULL_URL, "id")
        updated = instants(table["meta"].struct.field("lastUpdated"))
        table = table.with_columns(updated.alias("updated"))
        known = table.filter(key.is_not_null())
        self.versions.append(known.select(key.hash().alias("key"), "nth", "updated"))
        return table.drop("updated")

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows."""
        self.rows.append(rows)
        if self.folder is not None and sum(map(len, self.rows)) >= PART:
            pl.concat(self.rows).write_parquet(self.folder / f"{self.n_files}.parquet")
            self.n_files += 1
            self.rows = [rows.clear()]

    def latest(self) -> Iterator[pl.DataFrame]:
        """Yield all rows, of each resource those of the latest version; others have it as why."""
        old = self._old()
        is_old = pl.lit(value=False) if old.is_empty() else pl.col("nth").is_in(old.implode())
        why = pl.when(is_old).then(pl.lit(REPEATED)).otherwise("why").alias("why")
        for number in range(self.n_files):
            assert self.folder is not None
            yield pl.read_parquet(self.folder / f"{number}.parquet").with_columns(why)
        yield pl.concat(self.rows).with_columns(why)

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
    folder : Path or None
        Where observations wait, if they may be more than memory holds.
    """

    codes: Codes
    identifier: str | None
    of: dict[str, OfType] = field(default_factory=dict)
    folder: Path | None = None

    def read(self, parser: Parser, block: Block) -> None:
        """Read the resources of a block."""
        for kind, table in parser.tables(block):
            own = self._of(kind)
            own.add(self._rows(kind, own.number(table)))
            if kind == "DiagnosticReport" and "Observation" in parser.wanted:
                for inner in _contained(table, block):
                    self.read(parser, inner)

    def _rows(self, kind: str, table: pl.DataFrame) -> pl.DataFrame:
        if kind == "Patient":
            return persons(table, self.identifier)
        if kind == "Observation":
            return events(table, self.codes)
        rows: pl.DataFrame = _READERS[kind](table)
        return rows

    def add_empty(self, kinds: Iterable[str]) -> None:
        """Add tables without rows for types of which there is nothing."""
        for kind in kinds:
            if kind not in self.of:
                own = self._of(kind)
                empty = pl.DataFrame(schema=dict(SCHEMAS[kind]))
                own.add(self._rows(kind, own.number(empty)))

    def _of(self, kind: str) -> OfType:
        if kind not in self.of:
            self.of[kind] = OfType(self.folder if kind == "Observation" else None)
        return self.of[kind]

    def people(self) -> People:
        """Return the patients, each in the latest version."""
        own = pl.concat(self.of["Patient"].latest())
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


@dataclass
class Usable:
    """The rows of one type that can be used, up to the index dates, with what became of all.

    Parameters
    ----------
    kind : str
        Type of resource.
    own : OfType
        Its rows.
    people : People
        Whom they may be about.
    index : Index
        The dates.
    by_issue : bool
        Whether observations are known from when they were issued.
    n_read, n_kept, n_partial : int
        How many rows were read, are used, and of those have a month or a year as time.
    left_out : Counter
        How many others there were, by reason.
    """

    kind: str
    own: OfType
    people: People
    index: Index
    by_issue: bool = True
    n_read: int = 0
    n_kept: int = 0
    n_partial: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield the rows; only at the end are they all counted."""
        for rows in self.own.latest():
            yield self._kept(rows)

    def _kept(self, rows: pl.DataFrame) -> pl.DataFrame:
        self.n_read += len(rows)
        found = self.people.found(rows["subject"])
        rows = rows.join(found, on="subject", how="left", maintain_order="left")
        nobody = pl.when(pl.col("subject").is_null()).then(pl.lit(NOBODY))
        rows = rows.with_columns(pl.coalesce("why", "lost", nobody).alias("why"))
        self.left_out.update(dict(rows["why"].drop_nulls().value_counts().iter_rows()))
        usable = rows.filter(pl.col("why").is_null())
        usable = usable.with_columns(as_patients(usable["name"], self.index))
        usable = usable.drop("subject", "name", "lost", "why", "nth")
        if "issued" in usable.columns:
            n = len(usable)
            usable = _as_known(usable, self.index) if self.by_issue else usable.drop("issued")
            self.left_out.update({ISSUED_LATER: n - len(usable)} if n > len(usable) else {})
        kept, late = keep_before(usable, self.index)
        self.left_out.update(late)
        self.n_kept += len(kept)
        self.n_partial += int(kept["is_partial"].sum())
        ours = [name for name in kept.columns if name not in ("patient", "time", "is_partial")]
        return kept.select("patient", "time", *ours)

    def report(self) -> list[Tally]:
        """Return what became of the rows."""
        left_out = dict(self.left_out.most_common())
        report = [Tally(self.kind, self.n_read, self.n_kept, left_out)] if self.n_read else []
        if self.n_partial:
            report.append(Tally(f"{self.kind}: {PARTIAL}", self.n_partial, self.n_partial))
        return report


def _as_known(rows: pl.DataFrame, index: Index) -> pl.DataFrame:
    """Return rows that were issued by the last index date, so that none is known before.

    What was issued with an index date of its patient between counts from when it was issued.
    """
    at, moment = pl.col("at").cast(rows.schema["time"]), pl.col("time")
    late = rows.with_row_index("row").filter(pl.col("issued") > moment)
    between = (at >= moment) & (at < pl.col("issued"))
    dates = index.rows.unique()
    hit = late.join(dates, on="patient").filter(between)["row"].unique()
    if hit.is_empty() or not index.has_zone:
        return rows.drop("issued")
    rows = rows.with_row_index("row").join(index.last, on="patient", how="left")
    is_hit = pl.col("row").is_in(hit.implode())
    known = rows.filter(~(is_hit & (pl.col("issued") > at)))
    return known.with_columns(
        pl.when(is_hit).then("issued").otherwise("time").alias("time"),
        (pl.col("is_day") & ~is_hit).alias("is_day"),
    ).drop("issued", "row", "at")
