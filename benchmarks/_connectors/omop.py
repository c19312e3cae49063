"""Lab events of an OMOP database to wide features, PostgreSQL over the loopback address.

`read_omop` and `LabEvents` beside what a competent user writes: one query with its joins into
pandas (over psycopg) or polars (over connectorx or ADBC), and the vectorised steps of
``benchmarks/lab_events.py``. Each way runs in a process of its own, which reports its seconds and
by how much its memory grew at most; results are compared. The limit is that of a million events.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import lab_events as known
from _connectors import _postgres

ROWS, QUICK = 1_000_000, 20_000
LIMIT_S, LIMIT_MB = 10.0, 500.0
CONCEPTS = {code: 3_000_000 + n for n, code in enumerate(
    [code for codes, _ in known.LABS.values() for code in codes] + ["2951-2"]
)}  # fmt: skip
UNITS = {
    unit: 8_000 + n
    for n, unit in enumerate(
        dict.fromkeys([*(u for _, units in known.LABS.values() for u in units), "mmol/L"])
    )
}
BELOW = 4171756
QUERY = """
SELECT m.person_id AS patient, m.measurement_datetime AS time, c.concept_code AS code,
       CASE WHEN m.operator_concept_id = 4171756 THEN '<' ELSE '' END
           || m.value_as_number::text AS value,
       u.concept_code AS unit
FROM measurement m
JOIN concept c ON c.concept_id = m.measurement_concept_id
JOIN concept u ON u.concept_id = m.unit_concept_id
WHERE c.concept_code IN ({codes})
"""
TABLES = """
CREATE TABLE concept (concept_id integer PRIMARY KEY, concept_code text, vocabulary_id text);
CREATE TABLE person (person_id integer PRIMARY KEY, gender_concept_id integer,
    year_of_birth integer, month_of_birth integer, day_of_birth integer);
CREATE TABLE measurement (measurement_id integer, person_id integer,
    measurement_concept_id integer, measurement_date date, measurement_datetime timestamp,
    operator_concept_id integer, value_as_number numeric, unit_concept_id integer,
    unit_source_value text);
"""
INDICES = """
CREATE INDEX ON measurement (person_id); CREATE INDEX ON measurement (measurement_concept_id);
ANALYZE;
"""


def fill(how: dict[str, Any], folder: Path, n: int) -> None:
    """Write the events of `lab_events`, and as tables of OMOP."""
    import psycopg

    n_patients = max(1, n // 100)
    known.write_events(folder, n, n_patients)
    events = pl.read_parquet(folder / "events.parquet")
    value = pl.col("value")
    rows = events.select(
        pl.int_range(pl.len()).alias("measurement_id"),
        "patient",
        pl.col("code").replace_strict(CONCEPTS),
        pl.col("time").dt.date().alias("date"),
        pl.col("time").dt.to_string("%Y-%m-%d %H:%M:%S"),
        pl.when(value.str.starts_with("<")).then(BELOW).otherwise(0).alias("operator"),
        value.str.strip_prefix("<"),
        pl.col("unit").replace_strict(UNITS).alias("unit_concept"),
        "unit",
    )
    concepts = [*((i, c, "LOINC") for c, i in CONCEPTS.items())]
    concepts += [(i, u, "UCUM") for u, i in UNITS.items()]
    with psycopg.connect(**how) as connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
        cursor.executemany("INSERT INTO concept VALUES (%s, %s, %s)", concepts)
        cursor.execute(
            "INSERT INTO person SELECT n, 8532, 1980, 1, 1 FROM generate_series(0, %s) n",
            (n_patients - 1,),
        )
        with cursor.copy("COPY measurement FROM STDIN WITH (FORMAT csv)") as copy:
            for part in rows.iter_slices(100_000):
                copy.write(part.write_csv(include_header=False))
        cursor.execute(INDICES)


def labs() -> Any:
    import asfusion as af

    return af.LabEvents({lab: codes for lab, (codes, _) in known.LABS.items()}, window="365d")


def by_read_omop(connection: Any, index: pd.DataFrame) -> pd.DataFrame:
    import asfusion as af

    records = af.io.read_omop(connection, index=index, labs=labs())
    return records.to_frame().drop(columns=["age", "sex"])


def over_psycopg(how: dict[str, Any], index: pd.DataFrame) -> Any:
    import psycopg

    connection = psycopg.connect(**how)
    return lambda: by_read_omop(connection, index)


def over_adbc(how: dict[str, Any], index: pd.DataFrame) -> Any:
    from adbc_driver_postgresql import dbapi

    connection = dbapi.connect(_uri(how))
    return lambda: by_read_omop(connection, index)


def over_folder(how: dict[str, Any], index: pd.DataFrame) -> Any:
    """Events go to Parquet files first, as for more than memory holds."""
    import psycopg

    import asfusion as af

    connection = psycopg.connect(**how)

    def work() -> pd.DataFrame:
        with tempfile.TemporaryDirectory() as folder:
            to = Path(folder) / "events"
            records = af.io.read_omop(connection, index=index, labs=labs(), to=to)
            return records.to_frame().drop(columns=["age", "sex"])

    return work


def _query() -> str:
    codes = [code for codes, _ in known.LABS.values() for code in codes]
    return QUERY.format(codes=", ".join(f"'{code}'" for code in codes))


def by_pandas(how: dict[str, Any], index: pd.DataFrame) -> Any:
    import psycopg

    connection = psycopg.connect(**how)

    def work() -> pd.DataFrame:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it is no SQLAlchemy
            events = pd.read_sql(_query(), connection)
        return known.wide_by_pandas(events, index)

    return work


def by_polars(engine: str) -> Any:
    def prepare(how: dict[str, Any], index: pd.DataFrame) -> Any:
        rows = pl.DataFrame({name: index[name].to_numpy() for name in index})
        uri = _uri(how)

        def work() -> pd.DataFrame:
            events = pl.read_database_uri(_query(), uri, engine=engine)  # type: ignore[call-overload]
            events = events.with_columns(pl.col("time").cast(pl.Datetime("us")))
            events = events.with_columns(pl.col("patient").cast(pl.Int64))
            return known.wide_by_polars(events.lazy(), rows.lazy())

        return work

    return prepare


def _uri(how: dict[str, Any]) -> str:
    return f"postgresql://{how['user']}@{how['host']}:{how['port']}/{how['dbname']}"


WAYS = {
    "read_omop, psycopg": (over_psycopg, "psycopg"),
    "read_omop, psycopg, to=": (over_folder, "psycopg"),
    "read_omop, ADBC": (over_adbc, "adbc_driver_postgresql"),
    "pandas.read_sql, psycopg": (by_pandas, "psycopg"),
    "polars, connectorx": (by_polars("connectorx"), "connectorx"),
    "polars, ADBC": (by_polars("adbc"), "adbc_driver_postgresql"),
}


def _peak_mb(*, reset: bool = False) -> float:
    """Return the largest memory of this process so far, or since it was reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def measure(which: str, how: dict[str, Any], folder: Path, out: Path) -> None:
    """Run one of them and print its seconds and by how many MB its memory grew at most."""
    import asfusion.io.omop

    del asfusion
    index = pd.read_parquet(folder / "index.parquet")
    work = WAYS[which][0](how, index)
    before = _peak_mb(reset=True)
    start, used = time.perf_counter(), time.process_time()
    wide = work()
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    grown = _peak_mb() - before
    wide[sorted(wide.columns)].to_parquet(out)
    print(json.dumps({"seconds": seconds, "processor": processor, "MB": grown}))


def run(args: argparse.Namespace) -> None:
    n = args.rows or (QUICK if args.quick else ROWS)
    if _postgres.programs() is None or importlib.util.find_spec("psycopg") is None:
        print("PostgreSQL or psycopg is not there: nothing to measure")
        return
    ways = {
        name: way
        for name, way in WAYS.items()
        if importlib.util.find_spec(way[1]) and (not args.only or name in args.only)
    }
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as name, _postgres.server(tcp=True) as how:
        folder = Path(name)
        fill(how, folder, n)
        for _ in range(args.rounds or (1 if args.quick else 3)):
            for number, (which, found) in enumerate(runs.items()):
                command = [
                    sys.executable,
                    __file__,
                    which,
                    json.dumps(how),
                    name,
                    f"{name}/{number}",
                ]
                said = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
                )
                found.append(json.loads(said.stdout))
        print(f"{n} measurements, limit for {ROWS}: {LIMIT_S:.0f} s and {LIMIT_MB:.0f} MB\n")
        first = pd.read_parquet(f"{name}/0")
        for number, (which, found) in enumerate(runs.items()):
            seconds, processor = (
                np.median([r[of] for r in found]) for of in ("seconds", "processor")
            )
            grown = max(r["MB"] for r in found)
            print(
                f"{which:<26} {seconds:6.2f} s  {processor:6.2f} s of processor  "
                f"{grown:6.0f} MB more"
            )
            other = pd.read_parquet(f"{name}/{number}")
            pd.testing.assert_frame_equal(first, other, check_dtype=False, rtol=1e-9, atol=1e-9)
        print(f"\nequal: {first.shape[0]} rows of {first.shape[1]} features")


if __name__ == "__main__":
    measure(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
