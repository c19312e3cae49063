"""The cohort as tables of the OMOP common data model 5.4, with made-up keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from asfusion import _sql
from asfusion.datasets._dated import Cohort, Dated, dated

if TYPE_CHECKING:
    import pandas as pd

WHO = "AxSpaCohort.write_omop"
_AT_ONCE = 900  # parameters of one statement: old SQLite takes 999
_ID, _DAY, _TIME, _TEXT, _NUMBER = "bigint", "date", "timestamp", "text", "numeric"
_OCCURRENCE = {"provider_id": _ID, "visit_occurrence_id": _ID, "visit_detail_id": _ID}

# The tables that are read, with the columns of version 5.4, without those that nothing fills.
TABLES: dict[str, dict[str, str]] = {
    "concept": {
        "concept_id": _ID, "concept_name": _TEXT, "domain_id": _TEXT, "vocabulary_id": _TEXT,
        "concept_class_id": _TEXT, "standard_concept": _TEXT, "concept_code": _TEXT,
        "valid_start_date": _DAY, "valid_end_date": _DAY, "invalid_reason": _TEXT,
    },
    "person": {
        "person_id": _ID, "gender_concept_id": _ID, "year_of_birth": _ID, "month_of_birth": _ID,
        "day_of_birth": _ID, "birth_datetime": _TIME, "race_concept_id": _ID,
        "ethnicity_concept_id": _ID, "location_id": _ID, "provider_id": _ID, "care_site_id": _ID,
        "person_source_value": _TEXT, "gender_source_value": _TEXT,
    },
    "measurement": {
        "measurement_id": _ID, "person_id": _ID, "measurement_concept_id": _ID,
        "measurement_date": _DAY, "measurement_datetime": _TIME, "measurement_time": _TEXT,
        "measurement_type_concept_id": _ID, "operator_concept_id": _ID,
        "value_as_number": _NUMBER, "value_as_concept_id": _ID, "unit_concept_id": _ID,
        "range_low": _NUMBER, "range_high": _NUMBER, **_OCCURRENCE,
        "measurement_source_value": _TEXT, "measurement_source_concept_id": _ID,
        "unit_source_value": _TEXT, "value_source_value": _TEXT,
    },
    "note": {
        "note_id": _ID, "person_id": _ID, "note_date": _DAY, "note_datetime": _TIME,
        "note_type_concept_id": _ID, "note_class_concept_id": _ID, "note_title": _TEXT,
        "note_text": _TEXT, "encoding_concept_id": _ID, "language_concept_id": _ID,
        **_OCCURRENCE, "note_source_value": _TEXT,
    },
    "visit_occurrence": {
        "visit_occurrence_id": _ID, "person_id": _ID, "visit_concept_id": _ID,
        "visit_start_date": _DAY, "visit_start_datetime": _TIME, "visit_end_date": _DAY,
        "visit_end_datetime": _TIME, "visit_type_concept_id": _ID, "provider_id": _ID,
        "care_site_id": _ID, "visit_source_value": _TEXT,
    },
    "condition_occurrence": {
        "condition_occurrence_id": _ID, "person_id": _ID, "condition_concept_id": _ID,
        "condition_start_date": _DAY, "condition_start_datetime": _TIME,
        "condition_end_date": _DAY, "condition_end_datetime": _TIME,
        "condition_type_concept_id": _ID, **_OCCURRENCE, "condition_source_value": _TEXT,
    },
    "drug_exposure": {
        "drug_exposure_id": _ID, "person_id": _ID, "drug_concept_id": _ID,
        "drug_exposure_start_date": _DAY, "drug_exposure_start_datetime": _TIME,
        "drug_exposure_end_date": _DAY, "drug_exposure_end_datetime": _TIME,
        "drug_type_concept_id": _ID, **_OCCURRENCE, "drug_source_value": _TEXT,
    },
}  # fmt: skip
_LOINC = {
    "1988-5": (3020460, "C reactive protein [Mass/volume] in Serum or Plasma"),
    "30341-2": (3015183, "Erythrocyte sedimentation rate"),
    "6690-2": (3000905, "Leukocytes [#/volume] in Blood by Automated count"),
    "751-8": (3013650, "Neutrophils [#/volume] in Blood by Automated count"),
    "731-0": (3004327, "Lymphocytes [#/volume] in Blood by Automated count"),
    "777-3": (3024929, "Platelets [#/volume] in Blood by Automated count"),
    "718-7": (3000963, "Hemoglobin [Mass/volume] in Blood"),
}
_UCUM = {
    "mg/L": (8751, "milligram per liter"),
    "mg/dL": (8840, "milligram per deciliter"),
    "mm/h": (8752, "millimeter per hour"),
    "10*9/L": (9444, "billion per liter"),
    "g/L": (8636, "gram per liter"),
}
# Of the vocabulary SNOMED.
CONDITIONS = {"uveitis": 434926, "psoriasis": 140168, "ibd": 4074815, "axspa": 437082}
_SEXES = {"male": 8507, "female": 8532}
_OUTPATIENT, _FROM_RECORD = 9202, 32817


def write_omop(cohort: Cohort, connection: Any, schema: str | None) -> pd.DataFrame:
    """Write the tables, which must not be there yet, and return the index dates."""
    database = _sql.open_database(connection, schema, WHO)
    tables = dated(cohort)
    for name, columns in TABLES.items():
        types = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        _sql.execute(database, f"CREATE TABLE {database.table(name)} ({types})", (), WHO)
    for name, columns, rows in _contents(tables, database):
        _insert(database, name, columns, rows)
    return tables.index


def _contents(tables: Dated, database: _sql.Database) -> Iterator[tuple[str, Any, list[Any]]]:
    """Yield the columns that are filled, and the rows, of each table."""
    concepts = [
        *((own, text, "Measurement", "LOINC", code) for code, (own, text) in _LOINC.items()),
        *((own, text, "Unit", "UCUM", code) for code, (own, text) in _UCUM.items()),
    ]
    yield (
        "concept",
        ("concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_code"),
        (concepts),
    )
    births = tables.persons["birth"].dt
    parts = [_cells(getattr(births, part)) for part in ("year", "month", "day")]
    sexes = [_SEXES.get(sex, 0) for sex in tables.persons["sex"]]
    columns = ("person_id", "gender_concept_id", "year_of_birth", "month_of_birth", "day_of_birth")
    who = tables.persons["patient"].tolist()
    yield "person", columns, [*zip(who, sexes, *parts, strict=True)]
    labs = tables.labs
    units = [_UCUM[unit][0] for unit in labs["unit"]]
    more: dict[str, Any] = {
        "measurement_concept_id": [_LOINC[code][0] for code in labs["code"]],
        "value_as_number": labs["value"].tolist(),
        "unit_concept_id": units,
        "unit_source_value": labs["unit"].tolist(),
    }
    yield "measurement", *_occurred(labs, "measurement", "measurement_", more, database)
    more = {"note_class_concept_id": 0, "note_text": tables.notes["text"].tolist()}
    yield "note", *_occurred(tables.notes, "note", "note_", more, database)
    more = {"visit_concept_id": _OUTPATIENT}
    yield (
        "visit_occurrence",
        *_occurred(tables.visits, "visit_occurrence", "visit_start_", more, database, "visit"),
    )
    more = {"condition_concept_id": [CONDITIONS[name] for name in tables.conditions["name"]]}
    yield (
        "condition_occurrence",
        *_occurred(
            tables.conditions,
            "condition_occurrence",
            "condition_start_",
            more,
            database,
            "condition",
        ),
    )


def _cells(column: Any) -> list[int | None]:
    return [None if cell != cell else int(cell) for cell in column]


def _occurred(
    table: pd.DataFrame,
    key: str,
    time: str,
    more: dict[str, Any],
    database: _sql.Database,
    kind: str = "",
) -> tuple[tuple[str, ...], list[Any]]:
    """Return the columns, and the rows, of something that happened to patients at times."""
    n = len(table)
    moments = [moment.to_pydatetime() for moment in table["time"]]
    columns: dict[str, Any] = {
        f"{key}_id": range(1, n + 1),
        "person_id": table["patient"].tolist(),
        f"{time}date": [database.day(moment.date()) for moment in moments],
        f"{time}datetime": [database.moment(moment) for moment in moments],
        f"{kind or key}_type_concept_id": _FROM_RECORD,
        **more,
    }
    lists = [
        cells if isinstance(cells, list | range) else [cells] * n for cells in columns.values()
    ]
    return tuple(columns), [*zip(*lists, strict=True)]


def _insert(database: _sql.Database, name: str, columns: Sequence[str], rows: list[Any]) -> None:
    """Insert rows, many in one statement: row by row some drivers take a hundred times as long."""
    into = f"INSERT INTO {database.table(name)} ({', '.join(columns)})"
    if database.driver == "duckdb" and rows:  # ten times as fast there
        lists = [list(cells) for cells in zip(*rows, strict=True)]
        _sql.execute(database, f"{into} SELECT {', '.join(['unnest(?)'] * len(lists))}", lists, WHO)
        return
    at_once = _AT_ONCE // len(columns)
    marks = f"({', '.join('?' * len(columns))})"
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        text = f"{into} VALUES {', '.join([marks] * len(some))}"
        _sql.execute(database, text, [cell for row in some for cell in row], WHO)
