"""Cells of databases: whole numbers stay exact, moments keep their zone."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from asfusion._sql import Batch, Database
from asfusion.exceptions import ColumnError
from asfusion.io._sql_cells import typed


def read(cells: list[Any], kind: Any) -> list[Any]:
    return typed(Batch(len(cells), None, {"a": cells}), {"a": kind}, "t")["a"].to_list()


def at(*parts: int) -> datetime.datetime:
    return datetime.datetime(*parts)  # type: ignore[arg-type]


UTC = datetime.UTC
DAY = at(2024, 3, 2)
EAST = datetime.timezone(datetime.timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        ("whole", [2**63 - 1, None, -1], [2**63 - 1, None, -1]),
        ("whole", ["9007199254740993", 7.0, Decimal(3), b"5"], [9007199254740993, 7, 3, 5]),
        ("number", [Decimal("1.25"), None, 3], [1.25, None, 3.0]),
        ("number", ["1.5", "<5", None], [1.5, None, None]),
        ("text", ["a", None, b"b", 5], ["a", None, "b", "5"]),
        ("date", ["2024-03-02", "2024-03-02 08:00", "soon"], [at(2024, 3, 2)] * 2 + [None]),
        ("date", [datetime.date(2024, 3, 2), None], [at(2024, 3, 2), None]),
        ("moment", ["2024-03-02T08:00:01", "2024-03-02"], [at(2024, 3, 2, 8, 0, 1), DAY]),
        ("moment", [at(2024, 3, 2, 8), DAY.date()], [at(2024, 3, 2, 8), DAY]),
        (
            "moment",
            ["2024-03-02T08:00:00Z", "2024-03-02 08:00:00+05:30", "2024-03-02 08:00:00-0130"],
            [at(2024, 3, 2, 8), at(2024, 3, 2, 2, 30), at(2024, 3, 2, 9, 30)],
        ),
        ("moment", [DAY.replace(tzinfo=EAST), None], [at(2024, 3, 1, 18, 30), None]),
    ],
)  # fmt: skip
def test_cells_become_what_is_wanted(kind: str, cells: list[Any], expected: list[Any]) -> None:
    found = read(cells, kind)
    if kind == "moment":
        found = [None if cell is None else cell.replace(tzinfo=None) for cell in found]
    assert found == expected


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("whole", [1.5]),
        ("whole", [float(2**60)]),
        ("whole", ["x"]),
        ("whole", [2**63]),
        ("moment", [5, 6]),
        ("moment", ["2024-03-02 08:00", "2024-03-02 08:00Z"]),
        ("moment", [at(2024, 3, 2), datetime.datetime(2024, 3, 2, tzinfo=UTC)]),
    ],
)
def test_cells_that_are_none_of_the_kind_are_told(kind: str, cells: list[Any]) -> None:
    with pytest.raises(ColumnError, match="Table 't', column 'a': expected .* got other values"):
        read(cells, kind)


def test_arrow_floats_are_whole_numbers_only_where_they_are_exact() -> None:
    arrow = pytest.importorskip("pyarrow")

    def of_arrow(cells: list[Any]) -> pl.Series:
        batch = arrow.RecordBatch.from_pydict({"a": cells})
        return typed(Batch(len(cells), batch, {}), {"a": "whole"}, "t")["a"]

    assert of_arrow([1.0, None]).to_list() == [1, None]
    for cells in ([1.5], [float(2**60)], ["x"]):
        with pytest.raises(ColumnError, match="expected whole numbers of 64 bits"):
            of_arrow(cells)


@pytest.mark.parametrize(
    ("style", "text", "bound"),
    [
        ("qmark", "a = ? AND b < ?", (1, "x")),
        ("format", "a = %s AND b < %s", (1, "x")),
        ("pyformat", "a = %(p1)s AND b < %(p2)s", {"p1": 1, "p2": "x"}),
        ("numeric", "a = :1 AND b < :2", (1, "x")),
        ("named", "a = :p1 AND b < :p2", {"p1": 1, "p2": "x"}),
        ("dollar", "a = $1 AND b < $2", (1, "x")),
    ],
)
def test_parameters_are_marked_as_the_driver_wants(style: str, text: str, bound: Any) -> None:
    assert Database(None, "d", style).bind("a = ? AND b < ?", [1, "x"]) == (text, bound)
