"""Queries over whatever database connection the user has: parameters bound, names checked.

Nothing here commits, rolls back or closes a connection of the user's, and what a driver says,
which may show a password or a cell, is left out of errors.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import re
import secrets
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asfusion.exceptions import ConfigurationError, ForeignError, InputError, InputTypeError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
# What stands for the parameter of a number in each style of PEP 249, and in PostgreSQL itself.
_MARKS = {
    "format": "%s",
    "pyformat": "%(p{})s",
    "numeric": ":{}",
    "named": ":p{}",
    "dollar": "${}",
}
_ROWS, _FETCHED = 50_000, 2_000  # of one batch, and at once from a cursor of Python's


@dataclass(frozen=True)
class Database:
    """An open connection, and how its driver wants things.

    Parameters
    ----------
    connection : object
        What the user has, without what a pool puts around it.
    driver : str
        Top module of the driver.
    style : str
        How it marks parameters, in the words of PEP 249, or ``"dollar"``.
    vendor : str
        What an ADBC connection is connected to, in small letters; empty for others.
    schema : str
        What stands before the names of tables, quoted, with a point; empty for the default.
    """

    connection: Any
    driver: str
    style: str
    vendor: str = ""
    schema: str = ""

    @property
    def is_sqlite(self) -> bool:
        """Whether dates are text there."""
        return self.driver in ("sqlite3", "pysqlite3") or self.vendor == "sqlite"

    def table(self, name: str) -> str:
        """Return one of our tables as it stands in a query."""
        return f"{self.schema}{name}"

    def day(self, day: datetime.date) -> datetime.date | str:
        """Return a day as a parameter."""
        return day.isoformat() if self.is_sqlite else day

    def moment(self, moment: datetime.datetime) -> datetime.datetime | str:
        """Return a time as a parameter."""
        return moment.isoformat(" ") if self.is_sqlite else moment

    def bind(self, query: str, values: Sequence[Any]) -> tuple[str, Any]:
        """Return a query with the driver's marks for each ``?``, and the values as it takes them.

        A question mark stands for a parameter and nothing else in our queries.
        """
        if self.style == "qmark":
            return query, tuple(values)
        numbers = itertools.count(1)
        form = _MARKS[self.style]
        text = re.sub(r"\?", lambda _: form.format(next(numbers)), query)
        if self.style in ("pyformat", "named"):
            return text, {f"p{n}": value for n, value in enumerate(values, 1)}
        return text, tuple(values)


def open_database(connection: Any, schema: str | None, who: str) -> Database:
    """Return a connection of the user's, looked at.

    Raises
    ------
    InputTypeError
        If it is none.
    ConfigurationError
        If the schema is no plain name.
    """
    own = _driver_connection(connection)
    if not callable(getattr(own, "cursor", None)) or type(own).__name__.startswith("Async"):
        got = "an asynchronous one" if callable(getattr(own, "cursor", None)) else in_type(own)
        msg = (
            f"{who}, connection: expected an open connection such as sqlite3.connect(...), "
            f"duckdb.connect(...), psycopg.connect(...) or engine.raw_connection(), got {got}."
        )
        raise InputTypeError(msg)
    driver = _driver(own)
    vendor = _vendor(own)
    return Database(own, driver, _style(driver, vendor), vendor, _quoted(schema, who))


def in_type(value: object) -> str:
    """Return what something is, never what it holds: a text may be an address with a password."""
    return f"a {type(value).__name__}"


def _driver_connection(connection: Any) -> Any:
    """Return the driver's own connection from what SQLAlchemy puts around it."""
    for _ in range(3):
        if not type(connection).__module__.startswith("sqlalchemy"):
            return connection
        for name in ("driver_connection", "dbapi_connection", "connection"):
            inner = getattr(connection, name, None)
            if inner is not None:
                break
        if inner is None:
            return connection
        connection = inner
    return connection


def _driver(connection: Any) -> str:
    """Return the top module of a driver, also where the user's own class stands upon its."""
    modules = [kind.__module__.partition(".")[0] for kind in type(connection).__mro__]
    modules = ["duckdb" if name == "_duckdb" else name for name in modules]
    told = [name for name in modules if hasattr(sys.modules.get(name), "paramstyle")]
    return (told or modules)[0]


def _style(driver: str, vendor: str) -> str:
    """Return how a driver marks parameters, which its module says, some of them not quite."""
    if vendor == "postgresql":
        return "dollar"
    if driver in ("duckdb", "sqlite3", "adbc_driver_manager"):
        return "qmark"
    said = getattr(sys.modules.get(driver), "paramstyle", "qmark")
    return said if said in _MARKS else "qmark"


def _vendor(connection: Any) -> str:
    """Return what an ADBC connection says that it is connected to, in small letters."""
    ask = getattr(connection, "adbc_get_info", None)
    if ask is None:
        return ""
    with contextlib.suppress(Exception):
        return str(ask().get("vendor_name", "")).lower()
    return ""


def _quoted(schema: str | None, who: str) -> str:
    if schema is None:
        return ""
    parts = schema.split(".") if isinstance(schema, str) else []
    if not 1 <= len(parts) <= 2 or not all(_NAME.fullmatch(part) for part in parts):
        msg = (
            f"{who}, schema: expected a plain name of letters, digits and underscores, such as "
            f"'cdm', or two with a point between, got {in_type(schema)} that is none."
        )
        raise ConfigurationError(msg)
    return "".join(f'"{part}".' for part in parts)


@dataclass(frozen=True)
class Batch:
    """Some rows of an answer: an Arrow batch, or lists of cells by column.

    Parameters
    ----------
    n : int
        How many rows.
    arrow : object or None
        A `pyarrow.RecordBatch`.
    cells : mapping of str to sequence
        The cells, where there is no Arrow batch.
    """

    n: int
    arrow: Any
    cells: Mapping[str, Sequence[Any]]


def stream(
    database: Database, query: str, values: Sequence[Any], names: Sequence[str], what: str
) -> Iterator[Batch]:
    """Yield the answer of a query in batches, and close the cursor however it ends.

    Raises
    ------
    ForeignError
        If the connection or the server fails on the way.
    """
    text, bound = database.bind(query, values)
    batches = _batches(database, text, bound, names)
    try:
        while True:
            try:
                batch = next(batches, None)
            except Exception as error:  # drivers have no common base of their errors
                raise broken(error, what) from None
            if batch is None:
                return
            yield batch
    finally:
        with contextlib.suppress(Exception):
            batches.close()


def broken(error: Exception, what: str) -> ForeignError:
    """Return what is told of a connection that failed: what, never the driver's words."""
    if isinstance(error, MemoryError):
        raise error
    kind = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}".lstrip("_")
    return ForeignError(
        f"{what}: expected an answer that can be read to the end, got {kind}. Nothing of it is "
        "returned. The driver's words are left out, as they may show a password or a cell; check "
        "the connection, the rights and, within a transaction, that nothing failed before."
    )


def _batches(
    database: Database, text: str, bound: Any, names: Sequence[str]
) -> Generator[Batch, None, None]:
    cursor = _cursor(database)
    try:
        reader = _arrow_reader(database, cursor, text, bound)
        if reader is not None:
            for arrow in reader:
                for start in range(0, arrow.num_rows, _ROWS):
                    some = arrow.slice(start, _ROWS)
                    yield Batch(some.num_rows, some, {})
            return
        yield from _of_cursor(cursor, names)
    finally:
        _close(cursor)


def _of_cursor(cursor: Any, names: Sequence[str]) -> Iterator[Batch]:
    """Yield the rows of a cursor as columns.

    Few are fetched at a time: Python's collector of garbage walks through all the tuples that
    there are again and again, which for tens of thousands takes longer than to fetch them.
    """
    held: list[list[Any]] = [[] for _ in names]
    while rows := cursor.fetchmany(min(_FETCHED, _ROWS)):
        if isinstance(rows[0], Mapping):
            keys = [column[0] for column in cursor.description]
            rows = [[row[key] for key in keys] for row in rows]
        for column, cells in zip(held, zip(*rows, strict=True), strict=True):
            column.extend(cells)
        if len(held[0]) >= _ROWS:
            yield Batch(len(held[0]), None, dict(zip(names, held, strict=True)))
            held = [[] for _ in names]
    if held[0]:
        yield Batch(len(held[0]), None, dict(zip(names, held, strict=True)))


def _cursor(database: Database) -> Any:
    """Return a cursor of whose answer the server keeps the most, where the driver has such."""
    if database.driver not in ("psycopg", "psycopg2"):
        return database.connection.cursor()
    # Outside a transaction the server keeps an answer only if it is told to.
    name = f"asfusion_{secrets.token_hex(8)}"
    return database.connection.cursor(name=name, withhold=bool(database.connection.autocommit))


def _arrow_reader(database: Database, cursor: Any, text: str, bound: Any) -> Any:
    """Run a query; return a reader of Arrow batches where the driver and pyarrow give one."""
    if database.driver == "duckdb" and _has_pyarrow():
        relation = cursor.sql(text, params=list(bound))
        read = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
        return read(_ROWS)
    cursor.execute(text, bound)
    return cursor.fetch_record_batch() if hasattr(cursor, "fetch_record_batch") else None


def _has_pyarrow() -> bool:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


def execute(database: Database, statement: str, values: Sequence[Any], who: str) -> None:
    """Run a statement that gives no rows, as a part of whatever transaction there is.

    Raises
    ------
    ForeignError
        If it fails.
    """
    text, bound = database.bind(statement, values)
    cursor = None
    try:
        cursor = database.connection.cursor()
        cursor.execute(text, bound)
    except Exception as error:
        raise broken(error, who) from None
    finally:
        _close(cursor)


def _close(cursor: Any) -> None:
    if cursor is not None:
        with contextlib.suppress(Exception):
            cursor.close()


def columns_of(database: Database, table: str, who: str) -> tuple[str, ...]:
    """Return the columns of a table, in small letters.

    Raises
    ------
    InputError
        If it is not there, or may not be read.
    """
    cursor = None
    try:
        cursor = database.connection.cursor()
        cursor.execute(f"SELECT * FROM {database.table(table)} WHERE 1 = 0")
        return tuple(str(column[0]).lower() for column in cursor.description)
    except Exception as error:
        kind = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}".lstrip("_")
        msg = (
            f"{who}, table {table!r}: expected one that can be read, got {kind}. Check schema=, "
            "the rights, and that the connection is open; a transaction in which something failed "
            "before must be rolled back first."
        )
        raise InputError(msg) from None
    finally:
        _close(cursor)
