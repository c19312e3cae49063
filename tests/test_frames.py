"""Frame: one reading of a cell, whatever container and storage it comes in."""

from __future__ import annotations

import datetime
import traceback
import warnings
from decimal import Decimal
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asfusion import _frames
from asfusion._cells import is_missing, looks_like_date
from asfusion._frames import Frame
from asfusion.encoders.infer import column_roles
from asfusion.exceptions import ColumnError, InputError

UTC = datetime.UTC
NAN = float("nan")


def _frame(column: Any) -> Frame:
    """Return a Frame with the one column ``a``."""
    return Frame.read(column.to_frame("a") if hasattr(column, "to_frame") else column)


# ------------------------------------------------------------------ numbers

NUMBERS = {
    "numpy": pd.Series([1.5, NAN, -2.0]),
    "numpy 32 bit": pd.Series([1.5, NAN, -2.0], dtype="float32"),
    "nullable float": pd.Series([1.5, None, -2.0], dtype="Float64"),
    "arrow float": pd.Series([1.5, None, -2.0], dtype="float64[pyarrow]"),
    "arrow decimal": pd.Series(
        [Decimal("1.5"), None, Decimal(-2)], dtype=pd.ArrowDtype(pa.decimal128(9, 2))
    ),
    "sparse": pd.Series(pd.arrays.SparseArray([1.5, NAN, -2.0])),
    "objects": pd.Series([1.5, None, -2], dtype=object),
    "objects NA": pd.Series([1.5, pd.NA, np.float32(-2)], dtype=object),
    "decimals": pd.Series([Decimal("1.5"), Decimal("nan"), Decimal(-2)], dtype=object),
    "polars": pl.Series([1.5, None, -2.0]),
    "polars NaN": pl.Series([1.5, NAN, -2.0]),
    "polars decimal": pl.Series([Decimal("1.5"), None, Decimal(-2)]),
}
WHOLE = {
    "numpy": pd.Series([3, 1, 2]),
    "nullable": pd.Series([3, None, 2], dtype="Int64"),
    "arrow": pd.Series([3, None, 2], dtype="int64[pyarrow]"),
    "polars": pl.Series([3, None, 2]),
}
BOOLEANS = {
    "nullable": pd.Series([True, None, False], dtype="boolean"),
    "arrow": pd.Series([True, None, False], dtype="bool[pyarrow]"),
    "objects": pd.Series([True, None, False], dtype=object),
    "objects NaN": pd.Series([np.True_, NAN, np.False_], dtype=object),
    "polars": pl.Series([True, None, False]),
}


@pytest.mark.parametrize("column", NUMBERS.values(), ids=NUMBERS)
def test_numbers_are_read_from_every_storage(column: Any) -> None:
    frame = _frame(column)
    assert frame.kind("a") == "number"
    numbers = frame.numbers("a")
    assert numbers.dtype == np.float64
    np.testing.assert_array_equal(numbers, [1.5, NAN, -2.0])
    assert frame.known("a").tolist() == [True, False, True]
    assert [text is None for text in frame.strings("a")] == [False, True, False]


@pytest.mark.parametrize("column", WHOLE.values(), ids=WHOLE)
def test_whole_numbers_keep_their_text(column: Any) -> None:
    frame = _frame(column)
    assert frame.kind("a") == "number"
    assert frame.strings("a")[::2] == ["3", "2"]
    assert frame.numbers("a")[::2].tolist() == [3.0, 2.0]
    assert np.isnan(frame.numbers("a")[1]) == (frame.strings("a")[1] is None)


@pytest.mark.parametrize("column", BOOLEANS.values(), ids=BOOLEANS)
def test_booleans_are_numbers_too(column: Any) -> None:
    frame = _frame(column)
    assert frame.kind("a") == "boolean"
    np.testing.assert_array_equal(frame.numbers("a"), [1.0, NAN, 0.0])
    assert frame.strings("a") == ["True", None, "False"]
    assert frame.known("a").tolist() == [True, False, True]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(pd.to_timedelta([1.5, None, 2], unit="D")),
        pd.Series([datetime.timedelta(1.5), None, datetime.timedelta(2)], dtype=object),
        pl.Series([datetime.timedelta(1.5), None, datetime.timedelta(2)]),
    ],
    ids=["pandas", "objects", "polars"],
)
def test_durations_are_numbers_of_days(column: Any) -> None:
    frame = _frame(column)
    assert frame.kind("a") == "number"
    np.testing.assert_array_equal(frame.numbers("a"), [1.5, NAN, 2.0])
    assert frame.known("a").tolist() == [True, False, True]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1.0, 2.0, -np.inf]),
        pd.Series([1, 2, 10**400], dtype=object),
        pd.Series([1, 2, Decimal("1e999")], dtype=object),
        pl.Series([1.0, 2.0, np.inf]),
    ],
    ids=["pandas", "long integer", "decimal", "polars"],
)
def test_infinity_is_refused_by_position(column: Any) -> None:
    with pytest.raises(InputError, match="'a': expected finite .* in 1 row.*first at position 2"):
        _frame(column).numbers("a")


@pytest.mark.parametrize("values", [[1.0, "Jane Doe"], [1.0, 2j], [1.0, [3]]])
def test_other_cells_are_no_numbers_and_not_shown(values: list[Any]) -> None:
    frame = _frame(pd.Series(values, dtype=object))
    with pytest.raises(ColumnError, match="'a', row 1: expected a number, got") as caught:
        frame.numbers("a")
    assert "Jane" not in str(caught.value)


def test_text_of_a_real_text_column_is_no_number(df_module: ModuleType) -> None:
    frame = Frame.read(df_module.DataFrame({"a": ["Jane Doe", None]}))
    with pytest.raises(ColumnError, match="row 0: expected a number, got str"):
        frame.numbers("a")


@given(st.lists(st.none() | st.floats(allow_infinity=False) | st.integers(-(2**53), 2**53)))
def test_any_number_is_read_as_it_is(cells: list[float | None]) -> None:
    expected = [NAN if cell is None else float(cell) for cell in cells]
    objects = pd.DataFrame({"a": pd.Series(cells, dtype=object)})
    floats = pd.DataFrame({"a": pd.Series(cells, dtype="Float64")})
    for native in (objects, floats, pl.DataFrame({"a": expected})):
        np.testing.assert_array_equal(Frame.read(native).numbers("a"), expected)


# ------------------------------------------------------------------ numbers, as a block

STORED = {**NUMBERS, **WHOLE, **BOOLEANS}
PANDAS = {name: cells for name, cells in STORED.items() if isinstance(cells, pd.Series)}
POLARS = {name: cells for name, cells in STORED.items() if isinstance(cells, pl.Series)}


@pytest.mark.parametrize("table", [pd.DataFrame(PANDAS), pl.DataFrame(POLARS)])
def test_a_block_holds_what_each_column_does(table: Any) -> None:
    frame = Frame.read(table)
    for names in (frame.columns, frame.columns[::-1], frame.columns[2:4], frame.columns[:1]):
        alone = np.column_stack([frame.numbers(name) for name in names])
        np.testing.assert_array_equal(frame.numbers_of(names), alone)
        known = np.column_stack([frame.known(name) for name in names])
        assert frame.present(names).tolist() == known.any(axis=1).tolist()
    assert frame.numbers_of(()).shape == (3, 0)
    assert frame.present(()).tolist() == [False] * 3


def test_only_what_is_stored_as_numbers_is_plain() -> None:
    frame = Frame.read(pd.DataFrame(PANDAS).assign(sex="f", seen=pd.Timestamp("2024-03-01")))
    others = {"sparse", "objects", "objects NA", "objects NaN", "decimals", "arrow decimal"}
    assert frame.plain == set(PANDAS) - others
    assert Frame.read(pl.DataFrame(POLARS).with_columns(sex=pl.lit("f"))).plain == set(POLARS)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "Float64", "bool", "mixed"])
def test_a_block_is_the_callers_own(df_module: ModuleType, dtype: str) -> None:
    X: Any = pd.DataFrame({"a": [0.0, 1.0], "b": [1.0, 0.0]})
    X = X.astype({"b": "int64"}) if dtype == "mixed" else X.astype(dtype)
    X = X if df_module is pd else pl.from_pandas(X)
    for native in (X, X[["a", "b"]], X[["b"]], np.eye(2)):
        frame = Frame.read(native)
        before = frame.numbers_of(frame.columns)
        frame.numbers_of(frame.columns)[:] = 7.0
        frame.numbers(frame.columns[0])[:] = 7.0
        np.testing.assert_array_equal(frame.numbers_of(frame.columns), before)


def test_a_large_table_comes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_frames, "_CELLS_AT_ONCE", 7)
    X = np.arange(21.0).reshape(3, 7)
    X[1] = np.nan
    frame = Frame.read(X)
    parts = list(frame.blocks(frame.columns))
    assert [names for names, _ in parts] == [["x0", "x1"], ["x2", "x3"], ["x4", "x5"], ["x6"]]
    np.testing.assert_array_equal(np.hstack([cells for _, cells in parts]), X)
    assert frame.present(frame.columns).tolist() == [True, False, True]
    assert [cells.shape for _, cells in frame.take(np.array([0])).blocks(frame.columns)] == [(1, 7)]
    assert len(list(frame.take(np.array([])).blocks(frame.columns))) == 1


def test_the_first_column_that_is_refused_is_told() -> None:
    X = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, np.inf], "c": [1, "Jane Doe"], "d": [-np.inf, 0]})
    frame = Frame.read(X)
    with pytest.raises(InputError, match="'b': expected finite .*first at position 1"):
        frame.numbers_of(["a", "b", "c", "d"])
    with pytest.raises(ColumnError, match="'c', row 1: expected a number, got str"):
        frame.numbers_of(["a", "c", "d", "b"])
    with pytest.raises(InputError, match="'d': expected finite .*first at position 0"):
        frame.numbers_of(["d", "c"])
    # Whether a cell is there is no matter of what is in it.
    assert frame.present(["b", "c", "d"]).all()


@pytest.mark.parametrize("dtype", ["int64", "Int64", "int64[pyarrow]"])
def test_long_integers_are_rounded_and_not_shown(dtype: str) -> None:
    frame = _frame(pd.Series([2**53 + 1, 3], dtype=dtype))
    assert frame.numbers("a").tolist() == [2.0**53, 3.0]
    assert frame.numbers_of(["a"])[:, 0].tolist() == [2.0**53, 3.0]
    assert frame.known("a").all()


# ------------------------------------------------------------------ dates

DATES = {
    "pandas": pd.Series(pd.to_datetime(["2024-03-01", None, "1899-12-31"])),
    "pandas ns": pd.Series(pd.to_datetime(["2024-03-01", None, "1899-12-31"])).astype(
        "datetime64[ns]"
    ),
    "arrow": pd.Series(
        [datetime.date(2024, 3, 1), None, datetime.date(1899, 12, 31)],
        dtype=pd.ArrowDtype(pa.date32()),
    ),
    "objects": pd.Series(
        [datetime.date(2024, 3, 1), None, datetime.datetime(1899, 12, 31)], dtype=object
    ),
    "timestamps": pd.Series(
        [pd.Timestamp("2024-03-01"), pd.NaT, pd.Timestamp("1899-12-31")], dtype=object
    ),
    "numpy cells": pd.Series(
        [np.datetime64("2024-03-01"), np.datetime64("NaT"), np.datetime64("1899-12-31")],
        dtype=object,
    ),
    "polars date": pl.Series([datetime.date(2024, 3, 1), None, datetime.date(1899, 12, 31)]),
    "polars time": pl.Series(
        [datetime.datetime(2024, 3, 1), None, datetime.datetime(1899, 12, 31)]
    ),
}


@pytest.mark.parametrize("column", DATES.values(), ids=DATES)
def test_dates_are_days_since_1970(column: Any) -> None:
    frame = _frame(column)
    assert frame.kind("a") == "date"
    np.testing.assert_array_equal(frame.days("a"), [19783.0, NAN, -25568.0])
    assert frame.known("a").tolist() == [True, False, True]


def test_dates_as_text_are_days_too(df_module: ModuleType) -> None:
    cells = ["2024-03-01", None, " 2024-03-01 12:00 ", "2024-03-01T18:00:00"]
    frame = Frame.read(df_module.DataFrame({"a": cells}))
    assert frame.kind("a") == "text"
    np.testing.assert_array_equal(frame.days("a"), [19783.0, NAN, 19783.5, 19783.75])


OSLO = [datetime.datetime(2024, 3, 1, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))]
ZONED = {
    "pandas": pd.Series(OSLO, dtype="datetime64[us, Europe/Oslo]"),
    "arrow": pd.Series(OSLO, dtype=pd.ArrowDtype(pa.timestamp("us", "Europe/Oslo"))),
    "objects": pd.Series(OSLO, dtype=object),
    "text": pd.Series(["2024-03-01T00:00:00+01:00"]),
    "polars": pl.Series(OSLO, dtype=pl.Datetime("us", "Europe/Oslo")),
}


@pytest.mark.parametrize("column", ZONED.values(), ids=ZONED)
def test_a_time_zone_is_converted_to_utc(column: Any) -> None:
    assert _frame(column).days("a").tolist() == pytest.approx([19783 - 1 / 24], abs=1e-9)


@pytest.mark.parametrize("text", ["2024-02-31", "2023-02-29", "Jane Doe", "31.12.2024", "20240101"])
def test_a_date_that_does_not_exist_is_refused_and_not_shown(
    df_module: ModuleType, text: str
) -> None:
    frame = Frame.read(df_module.DataFrame({"a": [None, "2024-01-01", text]}))
    with pytest.raises(ColumnError, match="'a', row 2: expected a date as YYYY-MM-DD") as caught:
        frame.days("a")
    assert text not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("cell", [3, 2.5, datetime.time(3), True])
def test_other_cells_are_no_dates(cell: Any) -> None:
    frame = _frame(pd.Series([None, cell], dtype=object))
    with pytest.raises(ColumnError, match=r"'a'.*: expected a date"):
        frame.days("a")


def test_a_number_column_is_no_date_column(df_module: ModuleType) -> None:
    with pytest.raises(ColumnError, match=r"'a'.*: expected a date"):
        Frame.read(df_module.DataFrame({"a": [1.0, 2.0]})).days("a")


@given(st.datetimes(datetime.datetime(1800, 1, 1), datetime.datetime(2200, 1, 1)))
def test_every_way_to_hold_a_date_gives_the_same_day(moment: datetime.datetime) -> None:
    moment = moment.replace(fold=0)
    expected = (moment - datetime.datetime(1970, 1, 1)) / datetime.timedelta(days=1)
    ways = [
        pd.Series([moment], dtype=object),
        pd.Series([moment], dtype="datetime64[us]"),
        pd.Series([moment.isoformat()]),
        pl.Series([moment]),
        pl.Series([moment.replace(tzinfo=UTC)]),
    ]
    for way in ways:
        assert _frame(way).days("a")[0] == pytest.approx(expected, abs=1e-9)


@given(
    st.text(max_size=14)
    | st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2})?\Z")
    | st.dates().map(str)
    | st.datetimes(timezones=st.just(UTC)).map(str)
)
def test_what_looks_like_a_date_is_read_as_one(text: str) -> None:
    frame = _frame(pd.Series([text], dtype=object))
    if not text.strip():
        assert np.isnan(frame.days("a")).all()
    elif not looks_like_date(text):
        with pytest.raises(ColumnError, match="as YYYY-MM-DD, got other text"):
            frame.days("a")
    else:
        try:
            assert np.isfinite(frame.days("a")).all()
        except ColumnError as error:
            assert "does not exist" in str(error)
            with pytest.raises(ValueError):
                np.datetime64(text.strip()[:16])


# ------------------------------------------------------------------ text

TEXTS = {
    "objects": pd.Series(["ab", None, " \n", " c "], dtype=object),
    "objects NaN": pd.Series(["ab", NAN, "", " c "], dtype=object),
    "str": pd.Series(["ab", None, " ", " c "], dtype="str"),
    "string": pd.Series(["ab", None, " ", " c "], dtype="string"),
    "arrow": pd.Series(["ab", None, " ", " c "], dtype=pd.ArrowDtype(pa.string())),
    "category": pd.Series(["ab", None, " ", " c "], dtype="category"),
    "polars": pl.Series(["ab", None, "\t", " c "]),
    "polars category": pl.Series(["ab", None, " ", " c "], dtype=pl.Categorical),
    "polars enum": pl.Series(["ab", None, " ", " c "], dtype=pl.Enum(["ab", " ", " c "])),
}


@pytest.mark.parametrize("column", TEXTS.values(), ids=TEXTS)
def test_blank_and_missing_texts_are_none(column: Any) -> None:
    frame = _frame(column)
    assert frame.strings("a") == ["ab", None, None, " c "]
    assert frame.known("a").tolist() == [True, False, False, True]
    assert frame.kind("a") in ("text", "category")


def test_levels_that_are_whole_numbers_stay_whole() -> None:
    frame = _frame(pd.Series(pd.Categorical([1, None, 2])))
    assert frame.kind("a") == "category"
    assert frame.strings("a") == ["1", None, "2"]


def test_a_column_without_any_cell_has_none(df_module: ModuleType) -> None:
    frame = Frame.read(df_module.DataFrame({"a": [None, None]}))
    assert frame.strings("a") == [None, None]
    assert not frame.known("a").any()
    assert np.isnan(frame.numbers("a")).all()
    assert np.isnan(frame.days("a")).all()


@given(st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=6)))
def test_texts_come_out_as_they_are(cells: list[str | None]) -> None:
    expected = [cell if cell is not None and cell.strip() else None for cell in cells]
    natives = [
        pd.DataFrame({"a": pd.Series(cells, dtype=object)}),
        pd.DataFrame({"a": pd.Series(cells, dtype="string")}),
        pl.DataFrame({"a": cells}, schema={"a": pl.String}),
    ]
    for native in natives:
        assert Frame.read(native).strings("a") == expected
        assert Frame.read(native).known("a").tolist() == [cell is not None for cell in expected]


def test_arrays_of_one_number_are_cells(df_module: ModuleType) -> None:
    cells = [np.array(3.0), None, np.zeros(0), np.ones(2)]
    options = {"dtype": pl.Object} if df_module is pl else {"dtype": object}
    frame = Frame.read(df_module.DataFrame({"a": df_module.Series(cells, **options)}))
    assert frame.known("a").tolist() == [True, False, False, True]
    assert column_roles(frame) == {"a": "identifier"}  # no visits, and no picture


MISSING = [None, NAN, np.nan, np.float32("nan"), pd.NA, pd.NaT, Decimal("nan"), Decimal("sNaN")]


@pytest.mark.parametrize("cell", [*MISSING, np.datetime64("NaT"), np.timedelta64("NaT")])
def test_every_word_for_missing_is_known(cell: object) -> None:
    assert is_missing(cell)


@pytest.mark.parametrize("cell", [0, 0.0, "", "nan", False, Decimal(0), np.inf, np.float64(1), []])
def test_other_cells_are_not_missing(cell: object) -> None:
    assert not is_missing(cell)


# ------------------------------------------------------------------ rows and columns


def test_take_gives_rows_by_position_or_mask(df_module: ModuleType) -> None:
    X = df_module.DataFrame({"a": [1, 2, 3, 4], "b": list("wxyz")})
    if df_module is pd:
        X.index = [9, 8, 7, 6]
    frame = Frame.read(X)
    for rows in (np.array([3, 0, 0]), np.array([3, 0, 0], dtype=np.uint8)):
        assert frame.take(rows).strings("b") == ["z", "w", "w"]
    assert frame.take(np.array([True, False, True, False])).numbers("a").tolist() == [1.0, 3.0]
    for nothing in (np.array([]), np.zeros(4, dtype=bool)):
        assert len(frame.take(nothing)) == 0
        assert frame.take(nothing).columns == ("a", "b")
    if df_module is pd:
        assert list(frame.take(np.array([3, 0])).to_native().index) == [6, 9]


def test_taken_rows_remember_that_they_come_from_an_array() -> None:
    frame = Frame.read(np.arange(6.0).reshape(3, 2))
    assert frame.columns == ("x0", "x1")
    assert frame.is_array and frame.take(np.array([1])).is_array and frame.select(["x1"]).is_array
    assert Frame.read(frame) is frame


def test_a_column_is_selected_in_the_order_asked_for(df_module: ModuleType) -> None:
    frame = Frame.read(df_module.DataFrame({"a": [1], "b": [2]}))
    assert frame.select(["b", "a"]).columns == ("b", "a")
    assert isinstance(frame.to_native(), df_module.DataFrame)
    with pytest.raises(ColumnError, match="Who: expected the column 'crpp' in X.*mean 'crp'"):
        Frame.read(df_module.DataFrame({"crp": [1]})).select(["crpp"], "Who")
    with pytest.raises(ColumnError, match="expected the columns 'c', 'd' in X"):
        frame.check_columns(["a", "c", "d"], "Who")


def test_index_labels_may_repeat_as_those_of_visits_do() -> None:
    cells = {
        "crp": [1.0, None, 3.0, 4.0],
        "sex": ["f", "f", None, "m"],
        "seen": pd.to_datetime(["2024-03-01", "2024-03-02", None, "2024-03-04"]),
        "b27": pd.array([True, None, False, True], dtype="boolean"),
        "grade": pd.Series([1, None, Decimal(2), 3], dtype=object),
        "plan": pd.Categorical(["a", "b", None, "a"]),
        "since": pd.to_timedelta([1, 2, None, 4], unit="D"),
    }
    visits = Frame.read(pd.DataFrame(cells).set_axis(["p", "p", "q", "p"]))
    rows = Frame.read(pd.DataFrame(cells))
    order = np.array([3, 3, 0, 2])
    for own, other in (
        (visits, rows),
        (visits.take(order), rows.take(order)),
        (visits.select(["seen", "crp"]), rows.select(["seen", "crp"])),
        (visits.stack(visits.take(order)), rows.stack(rows.take(order))),
        (visits.replace("sex", list("abcd")), rows.replace("sex", list("abcd"))),
    ):
        assert _all_of(own) == _all_of(other)
    mixed = visits.gather({"sex": order, "crp": order[::-1]})
    assert mixed.strings("sex") == ["m", "m", "f", None]
    np.testing.assert_array_equal(mixed.numbers("crp"), [3.0, 1.0, 4.0, 4.0])
    assert visits.take(order).to_native().index.tolist() == ["p", "p", "p", "q"]


def _all_of(frame: Frame) -> list[Any]:
    numbers = [name for name in frame.columns if frame.kind(name) in ("number", "boolean")]
    dates = [name for name in frame.columns if frame.kind(name) == "date"]
    return [
        [frame.kind(name) for name in frame.columns],
        [frame.known(name).tolist() for name in frame.columns],
        [frame.strings(name) for name in frame.columns],
        repr(frame.numbers_of(numbers)),
        [repr(frame.days(name)) for name in dates],
        frame.present(frame.columns).tolist(),
    ]


def test_a_name_is_no_pattern(df_module: ModuleType) -> None:
    frame = Frame.read(df_module.DataFrame({"a": [1], "^a$": [2], "*": [3]}))
    assert frame.select(["^a$", "*"]).columns == ("^a$", "*")
    assert frame.select(frame.columns) is frame
    assert frame.numbers_of(["^a$"]).tolist() == [[2.0]]
    assert frame.numbers_of(["*", "a"]).tolist() == [[3.0, 1.0]]
    blanked = frame.blank({"^a$": np.zeros(1, dtype=bool), "*": np.ones(1, dtype=bool)})
    assert [blanked.strings(name) for name in frame.columns] == [["1"], [None], ["3"]]


def test_arrow_tables_are_read() -> None:
    table = pa.table({"a": [1.5, None], "b": ["x", " "], "c": [datetime.date(1970, 1, 2), None]})
    for native in (table, table.to_batches()[0]):
        frame = Frame.read(native)
        assert frame.columns == ("a", "b", "c")
        np.testing.assert_array_equal(frame.numbers("a"), [1.5, NAN])
        assert frame.strings("b") == ["x", None]
        np.testing.assert_array_equal(frame.days("c"), [1.0, NAN])
        assert len(frame.take(np.array([1]))) == 1


# ------------------------------------------------------------------ what is refused


def test_column_names_must_be_strings_and_differ() -> None:
    with pytest.raises(ColumnError, match="column names that are strings, got 1 of another"):
        Frame.read(pd.DataFrame({"a": [1], 2: [3]}))
    with pytest.raises(ColumnError, match="each column once, got 'a' more than once"):
        Frame.read(pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]))
    with pytest.raises(ColumnError, match="each column once, got 'a' more than once"):
        Frame.read(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]))


def test_column_names_of_several_levels_are_refused() -> None:
    columns = pd.MultiIndex.from_product([["labs"], ["crp", "esr"]])
    with pytest.raises(ColumnError, match="one level of column names, got 2.*Join them"):
        Frame.read(pd.DataFrame([[1, 2]], columns=columns))


@pytest.mark.parametrize("X", [None, 3, "a", {"a": [1]}, [[1.0]], pd.Series([1.0])])
def test_other_things_are_no_table(X: Any) -> None:
    with pytest.raises(InputError, match="expected a pandas or polars DataFrame"):
        Frame.read(X)


def test_something_like_a_table_is_no_table() -> None:
    class Table:
        columns = ("a",)
        shape = (1, 1)

    with pytest.raises(InputError, match="expected a pandas or polars DataFrame, got Table"):
        Frame.read(Table())


def test_lazy_tables_are_refused() -> None:
    with pytest.raises(InputError, match=r"in memory, got the lazy LazyFrame. Call .collect\(\)"):
        Frame.read(pl.LazyFrame({"a": [1]}))


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3)])
def test_arrays_must_have_two_dimensions(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=rf"2-D array .* got {len(shape)} dimension"):
        Frame.read(np.zeros(shape))


def test_reading_warns_of_nothing_and_changes_nothing() -> None:
    X = pd.DataFrame({"a": [1, None, "x"], "b": pd.Categorical(["u", None, "v"])})
    before = X.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = Frame.read(X)
        frame.strings("a"), frame.strings("b"), frame.take(np.array([0]))
    pd.testing.assert_frame_equal(X, before)


# ------------------------------------------------------------------ rows put together anew


def test_rows_below_rows(df_module: ModuleType) -> None:
    one = Frame.read(df_module.DataFrame({"a": [1.0, None], "b": ["x", "y"]}))
    two = Frame.read(df_module.DataFrame({"b": ["z"], "a": [3.0]}))
    both = one.stack(two)
    assert both.strings("b") == ["x", "y", "z"]
    np.testing.assert_array_equal(both.numbers("a"), [1.0, np.nan, 3.0])


def test_rows_of_another_library_are_refused() -> None:
    one = Frame.read(pd.DataFrame({"a": [1.0]}))
    with pytest.raises(InputError, match="expected tables of one library"):
        one.stack(Frame.read(pl.DataFrame({"a": [1.0]})))


def test_cells_are_gathered_from_rows_of_their_own(df_module: ModuleType) -> None:
    frame = Frame.read(df_module.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "z"]}))
    mixed = frame.take(np.array([2, 1, 0])).gather({"b": np.array([0, 0]), "a": np.array([1, 2])})
    assert mixed.columns == ("b", "a")
    assert mixed.strings("b") == ["z", "z"]
    assert mixed.numbers("a").tolist() == [2.0, 1.0]


def test_texts_are_replaced(df_module: ModuleType) -> None:
    frame = Frame.read(df_module.DataFrame({"a": [1.0, 2.0], "b": ["x", None]}))
    changed = frame.take(np.array([1, 0])).replace("b", ["new", None])
    assert changed.strings("b") == ["new", None]
    assert changed.numbers("a").tolist() == [2.0, 1.0]
    assert frame.strings("b") == ["x", None]


# -- cells left out --------------------------------------------------------------------


def test_cells_left_out_are_missing_and_the_others_read_as_before(df_module: ModuleType) -> None:
    cells: dict[str, list[Any]] = {
        "code": [1, 2, 3],
        "level": [1.0, 2.5, 3.0],
        "flag": [True, False, True],
        "word": ["one", "two", "three"],
        "visits": [[1.0], [2.0, 3.0], [4.0]],
    }
    whole = Frame.read(df_module.DataFrame(cells))
    kept = np.array([True, False, True])
    some = whole.blank(dict.fromkeys(["code", "level", "flag", "word", "visits"], kept))
    for name in cells:
        expected = [cell if k else None for cell, k in zip(whole.strings(name), kept, strict=True)]
        assert some.strings(name) == expected, name
        assert some.known(name).tolist() == kept.tolist()
    assert some.kind("code") == "number" and some.kind("flag") == "boolean"
    assert np.isnan(some.numbers("code")[1])
    nothing = whole.blank({"code": np.zeros(3, bool)})
    assert nothing.strings("code") == [None] * 3 and nothing.strings("word") == cells["word"]
