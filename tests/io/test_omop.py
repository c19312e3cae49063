"""read_omop: the same features from every database, nothing from after, nothing half-read."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import asfusion as af
from asfusion.datasets._dated import dated
from asfusion.datasets._omop import CONDITIONS, TABLES
from asfusion.exceptions import (
    ColumnError,
    ConfigurationError,
    ForeignError,
    InputError,
    InputTypeError,
)
from asfusion.io._omop import tables as _omop_tables

SECRET = "canary7319q"
LABS = af.LabEvents({"crp": None, "esr": None, "wbc": None, "haemoglobin": None})
CRP, MG_L, BELOW = 3020460, 8751, 4171756


@pytest.fixture(scope="module")
def cohort() -> af.datasets.AxSpaCohort:
    return af.datasets.make_axspa_cohort(
        40, random_state=3, modalities=["labs", "notes", "visits"], units="site"
    )


def everything(connection: Any, index: Any, **more: Any) -> af.io.Records:
    asked = {"uveitis": [CONDITIONS["uveitis"]], "axspa": CONDITIONS["axspa"]}
    return af.io.read_omop(
        connection, index=index, labs=LABS, notes=True, visits=True, conditions=asked, **more
    )


def test_features_are_those_of_the_cohort_as_frames(
    cohort: af.datasets.AxSpaCohort, connect: Callable[[], Any], tmp_path: Path
) -> None:
    connection = connect()
    index = cohort.write_omop(connection)
    records = everything(connection, index)
    X = records.to_frame()
    tables = dated(cohort)
    pd.testing.assert_frame_equal(index, tables.index)
    by_frame = LABS.transform(tables.labs, tables.index)
    pd.testing.assert_frame_equal(X[list(by_frame)], by_frame, rtol=1e-9, atol=1e-9)
    assert X["age"].tolist() == cohort.X["age"].tolist()
    assert X["sex"].tolist() == cohort.X["sex"].tolist()
    notes = cohort.X["clinical_note"]
    assert X["note"].tolist() == [None if pd.isna(note) else note for note in notes]
    assert X["n_visits"].tolist() == cohort.visits.groupby("patient").size().tolist()
    assert X["uveitis"].tolist() == (cohort.truth["history_uveitis"] > 0).tolist()
    assert X["uveitis"].any() and not X["axspa"].any()  # the diagnosis came later
    left_out = {tally.what: set(tally.left_out) for tally in records.report}
    # Events after the last date of all are not even asked for.
    for table in ("measurement", "condition_occurrence"):
        assert left_out[table] == {"after the index date"}
    assert {(one.what, one.unit) for one in records.met} >= {("crp", "mg/L"), ("crp", "mg/dL")}
    # By file, and for some in another order.
    to = everything(connection, index.iloc[[7, 2]], to=tmp_path / "events")
    assert isinstance(to.events, Path)
    wide = to.to_frame()
    assert wide.index.tolist() == [7, 2]
    pd.testing.assert_frame_equal(wide, X.iloc[[7, 2]], rtol=1e-9)


def test_one_date_for_everybody(connect: Callable[[], Any]) -> None:
    connection = database(connect(), [(1, "2024-01-01"), (2, "2024-03-01")])
    records = af.io.read_omop(connection, index="2024-02-01", labs={"crp": [CRP]})
    assert records.index["patient"].tolist() == [1, 2]
    np.testing.assert_array_equal(records.to_frame()["crp_last"], [5.0, np.nan])
    some = af.io.read_omop(connection, index=datetime.date(2024, 4, 1), persons=[2], labs=["crp"])
    assert some.to_frame()["crp_last"].tolist() == [5.0]


def database(
    connection: Any, rows: list[tuple[Any, ...]], *, skip: tuple[str, ...] = (), **types: str
) -> Any:
    """Make tables with measurements of (person, date, time, value, operator, unit, its text)."""
    cursor = connection.cursor()
    for table, columns in TABLES.items():
        if table not in skip:
            own = ", ".join(f"{name} {types.get(name, kind)}" for name, kind in columns.items())
            cursor.execute(f"CREATE TABLE {table} ({own})")
    if "concept" not in skip:
        cursor.execute(
            "INSERT INTO concept (concept_id, vocabulary_id, concept_code) VALUES "
            f"({CRP}, 'LOINC', '1988-5'), ({MG_L}, 'UCUM', 'mg/L'), (99, 'LOINC', 'x'' OR 1=1 --')"
        )
    for who in sorted({row[0] for row in rows}):
        cursor.execute(f"INSERT INTO person (person_id, year_of_birth) VALUES ({who}, 1980)")
    for row in rows:
        add(cursor, *row)
    return connection


def add(
    cursor: Any, who: int, date: str, time: Any = None, value: Any = 5, operator: Any = None,
    unit: Any = MG_L, written: Any = None, concept: int = CRP,
) -> None:  # fmt: skip
    cells = [who, concept, date, time, value, operator, unit, written]
    text = ", ".join("NULL" if c is None else repr(c) for c in cells)
    cursor.execute(
        "INSERT INTO measurement (person_id, measurement_concept_id, measurement_date, "
        "measurement_datetime, value_as_number, operator_concept_id, unit_concept_id, "
        f"unit_source_value) VALUES ({text})"
    )


def on(*rows: tuple[Any, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["patient", "index_date"])
    return table.assign(index_date=pd.to_datetime(table["index_date"], format="ISO8601"))


def test_limits_units_and_what_is_none(connect: Callable[[], Any]) -> None:
    big = 2**62 + 1  # a float would not tell it from 2**62
    rows = [
        (1, "2024-01-01", "2024-01-01 08:00:00", 5, BELOW),
        (1, "2024-01-02", "2024-01-02 08:00:00", "2.5", 4172703, None, " mg/L "),
        (1, "2024-01-03", None, None),
        (1, "2024-01-04", None, 7, 12345),
        (1, "2024-01-05", None, 0.7, 4171755, 0, "mg/dL"),
        (1, "2024-01-06", None, 8, 0, MG_L, "nonsense"),
        (big, "2024-01-01", None, 9),
        (big - 1, "2024-01-01", None, 11),
        (3, "2024-01-01", None, 99),
    ]
    connection = database(connect(), rows)
    # The index date in the middle of a day, on which an event without an hour is left out.
    index = on((1, "2024-01-06 12:00"), (big, "2024-06-01"))
    records = af.io.read_omop(connection, index=index, labs={"crp": ["1988-5"]})
    assert sorted(records.events["value"].to_list()) == ["2.5", "9.0", "<5.0", ">=0.7"]
    assert set(records.events["unit"].to_list()) == {"mg/L", "mg/dL"}
    X = records.to_frame(af.LabEvents(["crp"], statistics=["last", "min", "count"]))
    assert X["crp_min"].tolist() == [2.5, 9.0] and X["crp_last"].tolist() == [7.0, 9.0]
    tally = next(tally for tally in records.report if tally.what == "measurement")
    left_out = dict(tally.left_out)
    assert tally.n_kept == 4 and left_out.pop("of other patients", 0) in (0, 2)
    assert left_out == {
        "without a number": 1, "with an unknown operator": 1,
        "on the day of the index date, hour unknown": 1,
    }  # fmt: skip
    assert "nonsense" not in repr(records) + records._repr_html_()


def test_midnight_is_a_day_and_the_later_of_day_and_time_counts(connect: Callable[[], Any]) -> None:
    rows = [
        (1, "2024-01-05", "2024-01-05 00:00:00"),  # that day, by the conventions of OMOP
        (2, "2024-01-06", "2024-01-03 09:00:00"),  # contradicts itself
        (3, "2024-01-05", "2024-01-05 00:00:01"),
        (4, "2024-01-04", "2024-01-04 00:00:00"),
    ]
    connection = database(connect(), rows)
    index = on(*((who, "2024-01-05 10:00") for who in (1, 2, 3, 4)))
    records = af.io.read_omop(connection, index=index, labs=["crp"])
    assert records.events["patient"].sort().to_list() == [3, 4]
    X = records.to_frame(af.LabEvents(["crp"], statistics="time_since"))
    np.testing.assert_allclose(X["crp_days_since"], [np.nan, np.nan, 0.41665509, 1.41666667])


def test_patients_are_asked_for_in_whatever_number(
    connect: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [1, 2, 3, 1000, 5000, 90_000, 2**40]
    connection = database(connect(), [(who, "2024-01-01") for who in ids])
    index = on(*((who, "2024-02-01") for who in ids[::-2]))
    expected = af.io.read_omop(connection, index=index, labs=["crp"]).to_frame()
    assert (expected["crp_last"] == 5).all()
    monkeypatch.setattr(_omop_tables, "_AT_ONCE", 2)
    pd.testing.assert_frame_equal(
        af.io.read_omop(connection, index=index, labs=["crp"]).to_frame(), expected
    )
    monkeypatch.setattr(_omop_tables, "_MANY", 2)
    whole = af.io.read_omop(connection, index=index, labs=["crp"])
    pd.testing.assert_frame_equal(whole.to_frame(), expected)
    assert whole.report[-1].left_out == {"of other patients": 3}


# ------------------------------------------------------------------ what is hostile or wrong


SQL = ["1988-5", "x' OR 1=1 --", '"; DROP TABLE person; --', "%s %(p1)s :1 ? $1 {}"]


@pytest.mark.parametrize("code", SQL[1:])
def test_sql_in_codes_is_text(connect: Callable[[], Any], code: str) -> None:
    connection = database(connect(), [(1, "2024-01-01"), (1, "2024-01-02", None, 7)])
    add(connection.cursor(), 1, "2024-01-03", concept=99)
    index = on((1, "2024-02-01"))
    labs = af.LabEvents({"crp": [code, "1988-5"]}, statistics=["count"])
    X = af.io.read_omop(connection, index=index, labs=labs).to_frame()
    assert X["crp_count"].tolist() == [3.0 if code == SQL[1] else 2.0]
    with pytest.raises(InputError, match="labs: expected LOINC codes.* got neither for 'crp'"):
        af.io.read_omop(connection, index=index, labs={"crp": ["3020460"]})


@pytest.mark.parametrize("schema", ['cdm"; DROP', "a.b.c", "", "x" * 64, 5, f"{SECRET} x", "ä"])
def test_schemas_are_plain_names(schema: Any) -> None:
    with pytest.raises(ConfigurationError, match="schema: expected a plain name") as caught:
        af.io.read_omop(sqlite3.connect(":memory:"), index="2024-01-01", schema=schema)
    assert SECRET not in str(caught.value)


def test_schemas_are_where_tables_are_looked_for(cohort: af.datasets.AxSpaCohort) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("ATTACH ':memory:' AS cdm")
    index = cohort.write_omop(connection, schema="cdm")
    found = af.io.read_omop(connection, index=index, labs=["crp"], schema="cdm")
    assert found.to_frame()["crp_count"].max() > 1
    connection.execute("ATTACH ':memory:' AS bare")
    with pytest.raises(InputError, match="table 'person': expected one that can be read, got sql"):
        af.io.read_omop(connection, index=index, labs=["crp"], schema="bare")


@pytest.mark.parametrize("table", ["person", "concept", "measurement", "note"])
def test_a_table_that_is_missing_is_named(connect: Callable[[], Any], table: str) -> None:
    connection = database(connect(), [], skip=(table,))
    with pytest.raises(InputError, match=f"table '{table}': expected one that can be read, got"):
        af.io.read_omop(connection, index=on((1, "2024-01-01")), labs=["crp"], notes=True)


def test_a_column_that_is_missing_is_named(connect: Callable[[], Any]) -> None:
    connection = database(connect(), [], skip=("measurement",))
    connection.cursor().execute("CREATE TABLE measurement (person_id bigint, value_as_number text)")
    with pytest.raises(ColumnError, match="none named 'measurement_concept_id', 'measurement_date"):
        af.io.read_omop(connection, index=on((1, "2024-01-01")), labs=["crp"])
    # Older versions of the model lack some, and that is no reason to refuse them.
    old = database(connect(), [], skip=("measurement",))
    old.cursor().execute(
        "CREATE TABLE measurement (person_id bigint, measurement_concept_id bigint, "
        "value_as_number numeric, measurement_date date, unit_source_value text)"
    )
    old.cursor().execute(f"INSERT INTO measurement VALUES (1, {CRP}, 5, '2024-01-01', 'mg/L')")
    X = af.io.read_omop(old, index=on((1, "2024-01-02")), labs=["crp"]).to_frame()
    assert X["crp_last"].tolist() == [5.0]


def test_cells_of_another_type_are_told_and_not_shown() -> None:
    connection = database(sqlite3.connect(":memory:"), [(1, "2024-01-01")])
    index = on((1, "2024-02-01"))
    add(connection.cursor(), 1, SECRET, f"{SECRET} 08:00")  # type: ignore[arg-type]
    add(connection.cursor(), 1, "2024-01-02", value=SECRET)
    records = af.io.read_omop(connection, index=index, labs=["crp"])
    # Text comes after all dates in SQLite: the first row is not even asked for.
    assert records.report[-1].left_out == {"without a number": 1} and len(records.events) == 1
    connection.execute("UPDATE measurement SET measurement_concept_id = ?", (f"{CRP}",))
    assert len(af.io.read_omop(connection, index=index, labs=["crp"]).events) == 1
    connection.execute("UPDATE person SET person_id = ?", (SECRET,))
    with pytest.raises(ColumnError, match="'person', column 'person_id': expected whole") as caught:
        af.io.read_omop(connection, index="2024-02-01", labs=["crp"])
    assert SECRET not in str(caught.value)


class Broken(sqlite3.Connection):
    """A connection that is lost after some rows, with a password in what it says."""

    left = 3

    def cursor(self, factory: Any = None) -> Any:
        del factory
        return super().cursor(lambda connection: BrokenCursor(connection))


class BrokenCursor(sqlite3.Cursor):
    def fetchmany(self, size: int = 1) -> list[Any]:
        rows = super().fetchmany(1)
        connection: Any = self.connection
        connection.left -= len(rows)
        if connection.left < 0:
            raise sqlite3.OperationalError(f"postgresql://me:{SECRET}@host/db is gone")
        return rows


def test_a_connection_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    connection = sqlite3.connect(":memory:", factory=Broken)
    connection.left = 10**9
    database(connection, [(1, f"2024-01-0{day}") for day in range(1, 9)])
    for left in (0, 2, 6):
        connection.left = left
        with pytest.raises(ForeignError, match="got sqlite3.OperationalError. Nothing") as caught:
            af.io.read_omop(
                connection, index=on((1, "2024-02-01")), labs=["crp"], to=tmp_path / "events"
            )
        assert SECRET not in str(caught.value) and caught.value.__cause__ is None
        assert list(tmp_path.iterdir()) == []


def test_a_server_that_goes_away_leaves_nothing(
    postgres: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    from asfusion import _sql

    rows = [(1, f"2024-01-0{day}") for day in range(1, 9)]
    with psycopg.connect(**postgres) as other:
        connection = psycopg.connect(**postgres)
        connection.execute("CREATE TEMPORARY TABLE nothing ()")
        connection.execute("SET search_path TO pg_temp")
        database(connection, rows)
        monkeypatch.setattr(_sql, "_ROWS", 2)
        before, pid = _omop_tables.Counts.before, connection.info.backend_pid

        def cut(self: Any, found: Any, index: Any) -> Any:
            other.execute("SELECT pg_terminate_backend(%s)", (pid,))
            return before(self, found, index)

        monkeypatch.setattr(_omop_tables.Counts, "before", cut)
        with pytest.raises(ForeignError, match="table 'measurement': expected an answer"):
            af.io.read_omop(
                connection, index=on((1, "2024-02-01")), labs=["crp"], to=tmp_path / "events"
            )
        assert list(tmp_path.iterdir()) == []


def test_a_transaction_of_the_user_is_theirs(postgres: dict[str, Any]) -> None:
    import psycopg

    with psycopg.connect(**postgres) as connection:
        connection.execute("SET search_path TO pg_temp")
        database(connection, [(1, "2024-01-01")])
        index = on((1, "2024-02-01"))
        labs = af.LabEvents(["crp"], statistics=["last"])
        assert len(af.io.read_omop(connection, index=index, labs=labs).events) == 1
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        assert not connection.execute("SELECT * FROM pg_cursors").fetchall()
        connection.commit()
        connection.autocommit = True
        connection.row_factory = psycopg.rows.dict_row
        assert len(af.io.read_omop(connection, index=index, labs=labs).events) == 1
        zoned = index.assign(index_date=index["index_date"].dt.tz_localize("Europe/Berlin"))
        connection.execute("ALTER TABLE measurement ALTER measurement_datetime TYPE timestamptz")
        assert len(af.io.read_omop(connection, index=zoned, labs=labs).events) == 1
        connection.execute("UPDATE measurement SET measurement_datetime = '2024-01-01 08:00+01'")
        wide = af.io.read_omop(connection, index=zoned, labs=labs).to_frame()
        assert wide["crp_last"].tolist() == [5.0]
        with pytest.raises(ColumnError, match="a zone in both or in neither"):
            af.io.read_omop(connection, index=index, labs=labs)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"index": on(("1", "2024-01-01"))}, ColumnError, "patients: expected whole numbers"),
        ({"index": "soon"}, InputError, "index: expected a table with the columns"),
        ({"index": on((1, "2024-01-01")), "persons": [1]}, ConfigurationError, "persons: expected"),
        ({"index": "2024-01-01"}, ConfigurationError, "expected persons in the table 'person'"),
        ({"conditions": {"uveitis": ["x"]}}, ConfigurationError, "conditions: expected True"),
        ({"conditions": {"uveitis": []}}, ConfigurationError, "conditions: expected True"),
        ({"drugs": "all"}, ConfigurationError, "drugs: expected True for all"),
        ({"labs": 5}, ConfigurationError, "codes: expected labs with their codes"),
        ({"to": "."}, ConfigurationError, "to: expected a folder that is not there yet"),
    ],
)
def test_what_cannot_be_used_is_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    connection = database(sqlite3.connect(":memory:"), [])
    with pytest.raises(error, match=message):
        af.io.read_omop(connection, **{"index": on((1, "2024-01-01")), **options})


@pytest.mark.parametrize(
    "connection", [f"postgresql://me:{SECRET}@host/db", None, {"password": SECRET}]
)
def test_what_is_no_connection_is_not_shown(
    connection: Any, cohort: af.datasets.AxSpaCohort
) -> None:
    write = cohort.write_omop
    for work in (lambda: everything(connection, "2024-01-01"), lambda: write(connection)):
        with pytest.raises(InputTypeError, match="connection: expected an open connection") as told:
            work()
        assert SECRET not in str(told.value)


def test_tables_that_are_there_are_not_written_over(
    cohort: af.datasets.AxSpaCohort, connect: Callable[[], Any]
) -> None:
    connection = connect()
    cohort.write_omop(connection)
    with pytest.raises(ForeignError, match="write_omop: expected an answer"):
        cohort.write_omop(connection)


def test_names_of_conditions_and_of_columns_are_different(connect: Callable[[], Any]) -> None:
    connection = database(connect(), [])
    records = af.io.read_omop(connection, index=on((1, "2024-01-01")), conditions={"sex": 5})
    with pytest.raises(ConfigurationError, match="conditions: expected names of columns"):
        records.to_frame()
    unnamed = af.io.read_omop(connection, index=on((1, "2024-01-01")), conditions=True, drugs=True)
    assert list(unnamed.to_frame()) == ["age", "sex"] and len(unnamed.conditions) == 0


def test_an_error_leaves_no_cursor_open(postgres: dict[str, Any]) -> None:
    import psycopg

    with psycopg.connect(**postgres) as connection:
        connection.execute("SET search_path TO pg_temp")
        database(connection, [(1, "2024-01-01")])
        zoned = on((1, "2024-02-01")).assign(
            index_date=pd.to_datetime(["2024-02-01"]).tz_localize("UTC")
        )
        connection.execute("UPDATE measurement SET measurement_datetime = '2024-01-01 08:00'")
        with pytest.raises(ColumnError, match="a zone in both or in neither") as caught:
            af.io.read_omop(connection, index=zoned, labs=["crp"])
        assert caught.tb is not None  # which holds all that was at work
        assert connection.execute("SELECT count(*) FROM pg_cursors").fetchone() == (0,)


class Adbc(sqlite3.Connection):
    """A connection that answers as those of ADBC do, with batches of Arrow."""

    def adbc_get_info(self) -> dict[str, str]:
        return {"vendor_name": "SQLite"}

    def cursor(self, factory: Any = None) -> Any:
        del factory
        return super().cursor(lambda connection: AdbcCursor(connection))


class AdbcCursor(sqlite3.Cursor):
    def fetch_record_batch(self) -> Any:
        import pyarrow

        names = [column[0] for column in self.description]
        rows = self.fetchall()
        if not rows:
            return iter(())
        table = pyarrow.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
        return iter(table.to_batches())


def test_arrow_of_adbc_is_read_in_parts(
    cohort: af.datasets.AxSpaCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    from asfusion import _sql

    plain, adbc = sqlite3.connect(":memory:"), sqlite3.connect(":memory:", factory=Adbc)
    index = cohort.write_omop(plain)
    cohort.write_omop(adbc)
    monkeypatch.setattr(_sql, "_ROWS", 7)
    pd.testing.assert_frame_equal(
        everything(adbc, index).to_frame(), everything(plain, index).to_frame()
    )
