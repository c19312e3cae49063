"""The same features of the synthetic cohort from frames, SQLite, DuckDB and PostgreSQL.

Some 300,000 measurements of 18,000 patients are written as tables of OMOP and read again; what
comes of them may differ from what comes of the cohort's own frames by 1e-9.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from _connectors import _postgres

import asfusion as af
from asfusion.datasets._dated import dated

PATIENTS, QUICK = 18_200, 500
LIMIT = 1e-9


@contextlib.contextmanager
def databases(names: list[str] | None) -> Iterator[dict[str, Any]]:
    """Yield an empty database of each kind that is installed."""
    with contextlib.ExitStack() as stack:
        found: dict[str, Any] = {"SQLite": sqlite3.connect(":memory:")}
        if importlib.util.find_spec("duckdb"):
            import duckdb

            found["DuckDB"] = duckdb.connect()
        if importlib.util.find_spec("psycopg") and _postgres.programs():
            import psycopg

            how = stack.enter_context(_postgres.server(tcp=True))
            found["PostgreSQL"] = psycopg.connect(**how)
        yield {name: made for name, made in found.items() if not names or name in names}
        for made in found.values():
            made.close()


def run(args: argparse.Namespace) -> None:
    n = args.rows or (QUICK if args.quick else PATIENTS)
    cohort = af.datasets.make_axspa_cohort(
        n, random_state=0, modalities=["labs", "visits"], units="site"
    )
    tables = dated(cohort)
    labs = af.LabEvents({"crp": None, "esr": None, "wbc": None, "haemoglobin": None})
    expected = labs.transform(tables.labs, tables.index)
    print(f"{len(tables.labs)} measurements of {n} patients, limit {LIMIT:g}\n")
    with databases(args.only) as found:
        for name, connection in found.items():
            start = time.perf_counter()
            index = cohort.write_omop(connection)
            written = time.perf_counter() - start
            start = time.perf_counter()
            records = af.io.read_omop(connection, index=index, labs=labs, visits=True)
            wide = records.to_frame()[list(expected)]
            seconds = time.perf_counter() - start
            np.testing.assert_array_equal(wide.isna(), expected.isna())
            off = np.nanmax(np.abs(wide.to_numpy() - expected.to_numpy()))
            print(
                f"{name:<11} written in {written:6.1f} s, read in {seconds:5.1f} s; largest "
                f"difference {off:.1g} {'' if off <= LIMIT else 'TOO LARGE'}"
            )
