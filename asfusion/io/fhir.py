"""`read_fhir`: exports of FHIR servers as `Records`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import polars as pl

from asfusion._checks import check_choice, in_words
from asfusion._door import public
from asfusion._files import temporary_folder
from asfusion.events._vocabulary import read_labs
from asfusion.events.lab_events import LabEvents
from asfusion.exceptions import ConfigurationError
from asfusion.io._before import Index, read_cut
from asfusion.io._fhir.codes import LOINC, Codes, most_common, read_system, shown_code
from asfusion.io._fhir.gathered import Gathered, Usable
from asfusion.io._fhir.lines import blocks_of
from asfusion.io._fhir.parser import Parser
from asfusion.io._fhir.people import People
from asfusion.io._parts import free_folder, written
from asfusion.io._records_page import Met, Tally
from asfusion.io.records import Records

Coded: TypeAlias = Mapping[str, Sequence[str] | str] | bool


@public
def read_fhir(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    index: Any,
    persons: Sequence[Any] | None = None,
    labs: LabEvents | Mapping[str, Any] | Sequence[str] | None = None,
    notes: bool = False,
    visits: bool = False,
    conditions: Coded = False,
    drugs: Coded = False,
    studies: bool = False,
    system: str | None = LOINC,
    identifier: str | None = None,
    known: Literal["issued", "effective"] = "issued",
    invalid: Literal["raise", "missing"] = "raise",
    to: str | os.PathLike[str] | None = None,
) -> Records:
    """Read what an export of a FHIR server tells of patients up to their index dates.

    Reads bulk exports (NDJSON, also gzipped) and bundles of FHIR R4 [1]_ within bounds, and
    counts by reason what does not become a row. Nothing is fetched, whatever addresses there are.

    Parameters
    ----------
    source : path or dict
        A folder of files named ``.ndjson``, ``.jsonl`` (a resource a line) or ``.json`` (a bundle,
        or one resource), each also ``.gz``; one such file; or a bundle as `json.load` gives it. A
        ``log.ndjson`` and a ``manifest.json`` of the export itself are passed over.
    index : pandas or polars DataFrame, or date
        ``patient`` (the id of its resource) and ``index_date`` with a zone, a row each; or one
        date with a zone, such as ``"2024-06-30T12:00:00+02:00"``, for all patients that there are.
    persons : sequence of str, optional
        Whose records are read, beside a single date.
    labs : LabEvents, mapping or sequence of str, optional
        Which observations to read as events, and how they become features: an
        `asfusion.LabEvents`, or its ``codes``.
    notes : bool
        Whether to read texts within DocumentReference, and conclusions and texts of
        DiagnosticReport.
    visits : bool
        Whether to read Encounter.
    conditions, drugs : bool or mapping of str to list of str
        Whether to read Condition, and MedicationRequest, MedicationStatement and
        MedicationAdministration: all of them, or those with the codes, of whatever system, each
        under the name for which they are given.
    studies : bool
        Whether to read ImagingStudy, a row for each series.
    system : str or None
        System of the codes of observations, LOINC's by default; None for any. Of several codings
        the one of the system counts, and among those the one that is asked for.
    identifier : str, optional
        System of the identifiers by which `index` names patients, such as a hospital's numbers;
        by default it names them by the id of their resource.
    known : {"issued", "effective"}
        From when observations are known: from when they were issued, or from their effective
        time, for servers that say of ``issued`` when they loaded something.
    invalid : {"raise", "missing"}
        Whether lines that are no JSON, no resource, or of another shape than in FHIR are an
        error, or are left out and counted.
    to : path, optional
        Folder, not there yet, to write the events to as Parquet, for more than memory holds.

    Returns
    -------
    Records
        Tables of what was asked for, and a report of what was left out and why.

    Raises
    ------
    InputError
        If there is no file, one cannot be read, a line is damaged (with its number), or patients
        of several servers share ids.
    ConfigurationError
        If a parameter is unusable.
    ColumnError
        If index dates have no zone, which times of FHIR have.

    Notes
    -----
    *Times.* Observations count at their effective time, of a period its end, else when they were
    issued. Reports count from when they were issued, documents at their date, conditions from
    when they were recorded, else from their onset, drugs from when they were ordered, given, or
    asserted. A day alone counts as `Records` says, a month or a year alone from its last moment.
    An hour without a zone is no time.

    *Known later.* An observation that was issued after an index date was not known then: where an
    index date lies between its time and that, it counts from when it was issued.

    *Left out.* What is entered in error, cancelled, not done or refuted; a resource that is met
    again, but for the latest version of it, by ``meta.lastUpdated``; what is about no patient, or
    one who is not there. Where there is no Patient at all, ids in references are patients.

    *Values.* Comparators stand before their number; ``dataAbsentReason`` is no value; an answer is
    its code. Units are UCUM codes where there are, else as written. Components are events of
    their own, and so are observations within a report.

    References
    ----------
    .. [1] HL7, "FHIR R4 (4.0.1)", 2019. https://hl7.org/fhir/R4

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> crp = {
    ...     "resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/7"},
    ...     "code": {"coding": [{"system": "http://loinc.org", "code": "1988-5"}]},
    ...     "effectiveDateTime": "2024-03-01T08:00:00+01:00",
    ...     "valueQuantity": {"value": 1.4, "system": "http://unitsofmeasure.org", "code": "mg/dL"},
    ... }
    >>> patient = {"resourceType": "Patient", "id": "7", "gender": "female", "birthDate": "1984"}
    >>> bundle = {"resourceType": "Bundle", "type": "collection",
    ...           "entry": [{"resource": patient}, {"resource": crp}]}
    >>> index = pd.DataFrame(
    ...     {"patient": ["7"], "index_date": pd.to_datetime(["2024-03-31T22:00Z"], utc=True)}
    ... )
    >>> labs = af.LabEvents(["crp"], statistics=["last"])
    >>> records = af.io.read_fhir(bundle, index=index, labs=labs)
    >>> records.to_frame()
        age     sex  crp_last
    0  39.0  female      14.0
    """
    check_choice(invalid, "invalid", ("raise", "missing"))
    check_choice(known, "known", ("issued", "effective"))
    chosen = _labs(labs)
    asked = {"conditions": _named(conditions, "conditions"), "drugs": _named(drugs, "drugs")}
    wanted = {"persons": True, "events": chosen is not None, "notes": notes, "visits": visits}
    wanted |= {"studies": studies, **{name: own is not None for name, own in asked.items()}}
    types = {kind: table for kind, table in _TABLES.items() if wanted[table]}
    # Reports may hold observations, also where their texts are not asked for.
    held = {} if chosen is None or notes else {"DiagnosticReport": b'"contained"'}
    parser = Parser({*types, *held}, invalid == "raise", held)
    lab_of = {} if chosen is None else _lab_of(chosen)
    codes = Codes(read_system(system), frozenset(lab_of))
    target = None if to is None else free_folder(Path(to))
    with _waiting_room(target) as room:
        gathered = Gathered(codes, identifier, folder=room)
        for block in blocks_of(source):
            gathered.read(parser, block)
        gathered.add_empty(types)
        people = gathered.people()
        cut = _cut(index, persons, people)
        usable = [
            Usable(kind, gathered.of[kind], people, cut, by_issue=known == "issued")
            for kind in types
            if kind != "Patient"
        ]
        tables, report, met = _tables(usable, target)
    found = people.persons(cut)
    for name, own in asked.items():
        if own is not None:
            tables[name] = _with_names(tables[name], own)
    return Records(
        index=cut.table,
        persons=found,
        **tables,
        labs=chosen,
        named={name: tuple(own) for name, own in asked.items() if own},
        report=(
            Tally("Patient", gathered.of["Patient"].n, len(found)),
            *report,
            *_not_read(parser, codes),
        ),
        met=_met(met, lab_of),
        source="FHIR",
    )


_TABLES = {
    "Patient": "persons",
    "Observation": "events",
    "DocumentReference": "notes",
    "DiagnosticReport": "notes",
    "Encounter": "visits",
    "Condition": "conditions",
    "MedicationRequest": "drugs",
    "MedicationStatement": "drugs",
    "MedicationAdministration": "drugs",
    "ImagingStudy": "studies",
}
_UNIT = re.compile(r"[!-~]{1,20}")


def _named(given: Any, what: str) -> dict[str, list[str]] | None:
    """Return the codes of each name that was asked for; none for all, None for no table."""
    if isinstance(given, bool):
        return {} if given else None
    if isinstance(given, Mapping) and given:
        own = {str(k): [v] if isinstance(v, str) else list(v) for k, v in given.items()}
        if all(codes and all(isinstance(code, str) for code in codes) for codes in own.values()):
            return own
    msg = (
        f"{what}: expected True, False, or names, each with its codes as text, such as "
        f"{{'uveitis': ['H20.0']}}, got {in_words(given)}."
    )
    raise ConfigurationError(msg)


def _labs(given: Any) -> LabEvents | None:
    return given if given is None or isinstance(given, LabEvents) else LabEvents(given)


def _lab_of(labs: LabEvents) -> dict[str, str]:
    """Return the name of the lab that each code is of."""
    known = read_labs(labs.codes, labs.units, labs.ranges)
    return {code: lab.name for lab in known for code in lab.codes}


def _cut(index: Any, persons: Sequence[Any] | None, people: People) -> Index:
    """Return the index dates; one date counts for all patients that there are."""
    is_table = isinstance(index, pl.LazyFrame) or hasattr(index, "columns")
    return read_cut(index, people.names if not is_table and persons is None else persons)


@contextlib.contextmanager
def _waiting_room(target: Path | None) -> Iterator[Path | None]:
    """Yield a folder beside the one that events are written to, which is gone afterwards."""
    if target is None:
        yield None
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    room = temporary_folder(target)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _tables(
    usable: Sequence[Usable], target: Path | None
) -> tuple[dict[str, Any], list[Tally], Counter[Any]]:
    """Return the tables, what became of their rows, and how often codes and units were met."""
    parts: dict[str, list[pl.DataFrame]] = {}
    tables: dict[str, Any] = {}
    report: list[Tally] = []
    met: Counter[Any] = Counter()
    for own in usable:
        table = _TABLES[own.kind]
        if table == "events":
            events = _counted(own.parts(), met)
            tables[table] = _whole([*events]) if target is None else written(events, target, {})
        else:
            parts.setdefault(table, []).extend(own.parts())
        report += own.report()
    return {**tables, **{name: _whole(held) for name, held in parts.items()}}, report, met


def _whole(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).sort("patient", "time", maintain_order=True)


def _counted(parts: Iterator[pl.DataFrame], met: Counter[Any]) -> Iterator[pl.DataFrame]:
    """Yield events, with codes and units counted."""
    for events in parts:
        for *what, n in events.group_by("code", "unit", "is_ucum").len().iter_rows():
            met[tuple(what)] += n
        yield events.drop("is_ucum")


def _with_names(rows: pl.DataFrame, asked: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Return the rows of the codes that were asked for, with the name for which; else all."""
    rows = rows.rename({"codes": "code"}).explode("code")
    columns = ("patient", "time", "code", "name")
    if not asked:
        return rows.with_columns(pl.col("code").alias("name")).select(columns)
    names = [(name, code) for name, codes in asked.items() for code in codes]
    wanted = pl.DataFrame(names, schema={"name": pl.String, "code": pl.String}, orient="row")
    found = rows.join(wanted, on="code", maintain_order="left")
    return found.unique(["patient", "time", "name"], maintain_order=True).select(columns)


def _met(counts: Counter[Any], lab_of: Mapping[str, str]) -> tuple[Met, ...]:
    """Return which codes were met in which units; what no vocabulary has is not shown."""
    met: Counter[tuple[str, str, str]] = Counter()
    for (code, unit, is_ucum), n in counts.items():
        shown = unit if is_ucum and unit and _UNIT.fullmatch(unit) else "as written"
        met[(lab_of[code], shown_code(code), "none" if unit is None else shown)] += n
    return tuple(Met(*what, n) for what, n in sorted(met.items(), key=lambda one: (-one[1], one)))


def _not_read(parser: Parser, codes: Codes) -> list[Tally]:
    """Return what was not understood, and of which kinds it was."""
    others = Counter({k: n for k, n in parser.met.items() if k not in parser.wanted})
    lines = [
        ("lines", parser.bad),
        ("resources of other types", others),
        ("codes of another system", codes.others),
    ]
    if codes.n_not_asked:
        lines.append(
            ("other labs", Counter({"of codes that were not asked for": codes.n_not_asked}))
        )
    return [Tally(what, n.total(), 0, most_common(n)) for what, n in lines if n]
