"""`read_omop`: patients' records from a database in the OMOP common data model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import polars as pl

from asfusion._door import public
from asfusion._sql import Database, open_database
from asfusion.events.lab_events import LabEvents
from asfusion.io._before import Index, read_cut
from asfusion.io._omop.labs import EVENTS, Labs
from asfusion.io._omop.occurrences import read_coded, read_names, read_notes, read_visits
from asfusion.io._omop.persons import all_patients, check_patients, read_persons
from asfusion.io._omop.tables import CONDITION, DRUG, WHO, Source
from asfusion.io._parts import free_folder, written
from asfusion.io._records_page import Met, Tally
from asfusion.io.records import Records

Coded: TypeAlias = Mapping[str, Sequence[int] | int] | bool


@public
def read_omop(
    connection: Any,
    *,
    index: Any,
    persons: Sequence[int] | None = None,
    labs: LabEvents | Mapping[str, Any] | Sequence[str] | None = None,
    notes: bool = False,
    visits: bool = False,
    conditions: Coded = False,
    drugs: Coded = False,
    schema: str | None = None,
    to: str | os.PathLike[str] | None = None,
) -> Records:
    """Read what an OMOP database knew of patients up to their index dates.

    Rows are asked for by bound parameters, filtered where they lie and fetched in batches. The
    connection is used for reading alone: nothing is committed, rolled back or closed.

    Parameters
    ----------
    connection : open connection
        Of any driver that follows PEP 249 (``sqlite3``, ``psycopg``, ...), of DuckDB or ADBC, or
        ``engine.raw_connection()`` of SQLAlchemy. The driver is yours; none is installed with
        asfusion.
    index : DataFrame, or date
        ``patient`` (a ``person_id``) and ``index_date``, a row for each row of features; or one
        date for all, such as ``"2024-06-30"``.
    persons : sequence of int, optional
        Who is asked for, beside a single date; by default everybody in the table of persons.
    labs : LabEvents, mapping or sequence, optional
        Labs as `asfusion.LabEvents` takes them as ``codes``: names of known ones, or with LOINC
        codes as text and concept ids as whole numbers, such as
        ``{"crp": ["1988-5", 3020460]}``.
    notes, visits : bool
        Whether to read notes, and visits.
    conditions, drugs : bool or mapping of str to list of int
        True for all, or the concept ids of what is to become a column, by its name.
    schema : str, optional
        Schema of the tables, such as ``"cdm"``; by default where the database looks itself.
    to : path, optional
        Folder, not there yet, to write the events to as Parquet, for more than memory holds.

    Returns
    -------
    Records
        Tables, counts, and `Records.to_frame` for one row of features for each index date.

    Raises
    ------
    InputTypeError
        If `connection` is none.
    ConfigurationError
        If a parameter is unusable.
    InputError
        If a table is not there or cannot be read, or none of the labs' codes is known.
    ColumnError
        If a column is missing or of another type, or only one of times and index dates has a
        zone.
    ForeignError
        If the connection fails on the way. Nothing that was read in part is returned or left.

    Notes
    -----
    *What is read.* ``person``; ``measurement`` with ``concept`` for codes of LOINC and UCUM (a
    unit without a concept as it is written); ``note``; the beginnings of ``visit_occurrence``,
    ``condition_occurrence`` and ``drug_exposure``. Ends are not: they may lie after the
    index date. `<` and `>` of ``operator_concept_id`` stand before the value.

    *Days.* A missing time, and by the conventions of OMOP [1]_ midnight, says that the day alone
    is known; see `Records` for what follows.

    References
    ----------
    .. [1] Observational Health Data Sciences and Informatics, "OMOP Common Data Model v5.4".
       https://ohdsi.github.io/CommonDataModel/cdm54.html
    .. [2] Hripcsak et al., "Observational Health Data Sciences and Informatics (OHDSI):
       opportunities for observational researchers", Stud Health Technol Inform 2015.
       https://doi.org/10.3233/978-1-61499-564-8-574

    Examples
    --------
    >>> import sqlite3
    >>> import asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(8, random_state=0, modalities=["labs", "notes"])
    >>> connection = sqlite3.connect(":memory:")
    >>> index = cohort.write_omop(connection)
    >>> labs = af.LabEvents(["crp", "esr"], statistics=["last"])
    >>> records = af.io.read_omop(connection, index=index, labs=labs, notes=True)
    >>> records.to_frame().columns.tolist()
    ['age', 'sex', 'crp_last', 'esr_last', 'note']
    """
    database = open_database(connection, schema, WHO)
    wanted = _as_lab_events(labs)
    named = {
        what: read_names(asked, what)
        for what, asked in (("conditions", conditions), ("drugs", drugs))
        if asked is not False
    }
    target = None if to is None else free_folder(Path(to))
    asked = {"notes": bool(notes), "visits": bool(visits)}
    source = Source(database, _cut(database, index, persons))
    return _read(source, wanted, asked, named, target)


def _read(
    source: Source,
    wanted: LabEvents | None,
    asked: Mapping[str, bool],
    named: Mapping[str, dict[str, list[int]] | None],
    target: Path | None,
) -> Records:
    """Read what is asked for, table by table."""
    tables: dict[str, Any] = {}
    tables["persons"], report = read_persons(source)
    reports: list[Tally] = [report]
    met: tuple[Met, ...] = ()
    for name, reader in (("notes", read_notes), ("visits", read_visits)):
        if asked[name]:
            tables[name], report = reader(source)
            reports.append(report)
    for what, table in (("conditions", CONDITION), ("drugs", DRUG)):
        if what in named:
            tables[what], report = read_coded(source, table, named[what])
            reports.append(report)
    if wanted is not None:  # the last: nothing that fails later leaves a folder behind
        read = Labs(source, wanted)
        parts = read.events()
        tables["events"] = written(parts, target, EVENTS) if target else _held(parts)
        reports, met = [*reports, *read.report()], read.met()
    return Records(
        index=source.index.table,
        **tables,
        labs=wanted,
        named={what: tuple(names or ()) for what, names in named.items()},
        report=tuple(reports),
        met=met,
        source="OMOP",
    )


def _as_lab_events(labs: Any) -> LabEvents | None:
    """Return what was asked for as the features that it becomes."""
    if labs is None or hasattr(labs, "get_feature_names_out"):
        return cast("LabEvents | None", labs)
    return LabEvents(labs)


def _cut(database: Database, index: Any, persons: Sequence[int] | None) -> Index:
    """Return whose records are wanted; everybody's, if one date is given and no person."""
    if persons is None and not hasattr(index, "columns") and not isinstance(index, pl.LazyFrame):
        read_cut(index, [0])  # a date that is none is told before anything is asked
        persons = all_patients(database)
    found = read_cut(index, persons)
    check_patients(found)
    return found


def _held(parts: Iterator[pl.DataFrame]) -> pl.DataFrame:
    """Return events as one table."""
    found = list(parts)
    return pl.concat(found) if found else pl.DataFrame(schema=EVENTS)
