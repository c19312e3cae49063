"""Databases for tests: SQLite, DuckDB, and a PostgreSQL of our own in a temporary folder."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_FILE = Path(__file__).parents[2] / "benchmarks" / "_connectors" / "_postgres.py"


@pytest.fixture(scope="session")
def postgres() -> Iterator[dict[str, Any]]:
    """Start a PostgreSQL server, or skip; return how to reach it over a socket in a folder."""
    pytest.importorskip("psycopg")
    spec = importlib.util.spec_from_file_location("a_postgres", _FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with module.server() as how:
        yield how


@pytest.fixture(params=["sqlite", "duckdb", "postgres"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[], Any]]:
    """Return a maker of empty databases, closed afterwards."""
    made: list[Any] = []

    def new() -> Any:
        if request.param == "sqlite":
            made.append(sqlite3.connect(":memory:"))
        elif request.param == "duckdb":
            made.append(pytest.importorskip("duckdb").connect())
        else:
            psycopg = pytest.importorskip("psycopg")
            how = request.getfixturevalue("postgres")
            made.append(psycopg.connect(**how))
            # A schema that is gone when the connection is rolled back.
            name = f"test_{len(made)}"
            made[-1].execute(f"CREATE SCHEMA {name}")
            made[-1].execute(f"SET search_path TO {name}")
        return made[-1]

    yield new
    for connection in made:
        connection.close()
