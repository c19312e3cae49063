"""Records: what was read becomes one row for each index date, and nothing of it is printed."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import asfusion as af
from asfusion.exceptions import ColumnError, ConfigurationError, InputError
from asfusion.io._before import AFTER, NO_TIME, OTHER, SAME_DAY, keep_before, read_cut
from asfusion.io._records_page import Met, Tally

SECRET = "canary7319q"


def when(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def index_of(*rows: tuple[Any, str], module: Any = pd) -> Any:
    return module.DataFrame(
        {"patient": [who for who, _ in rows], "index_date": [when(date) for _, date in rows]}
    )


def table(**columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(columns)


def records_of(index: Any) -> af.io.Records:
    times = [when("2024-01-05 08:00"), when("2024-03-05 08:00"), when("2024-03-20 08:00")]
    return af.io.Records(
        index=index,
        persons=table(
            patient=[1, 2], sex=["female", None], birth=[datetime.date(1980, 7, 1), None]
        ),
        events=table(
            patient=[1, 1, 1],
            time=times,
            code=["1988-5"] * 3,
            value=["8", "<5", "90"],
            unit=["mg/L"] * 3,
        ),
        notes=table(
            patient=[1, 1, 1],
            time=times,
            kind=["note"] * 3,
            text=[f"first {SECRET}", "second", "third"],
        ),
        visits=table(patient=[1, 2], time=times[:2], kind=["out", "out"]),
        conditions=table(patient=[2], time=times[:1], code=["9"], name=["uveitis"]),
        drugs=table(patient=[1], time=times[2:], code=["7"], name=["nsaid"]),
        labs=af.LabEvents(["crp"], statistics=["last", "count"]),
        named={"conditions": ("uveitis",), "drugs": ("nsaid", "biologic")},
        report=(Tally("measurement", 4, 3, {AFTER: 1}),),
        met=(Met("crp", "1988-5", "mg/L", 3),),
        source="OMOP",
    )


@pytest.mark.parametrize("module", [pd, pl])
def test_each_index_date_has_a_row_in_its_order_and_nothing_of_after(module: Any) -> None:
    index = index_of(
        (3, "2024-03-10"), (1, "2024-03-10"), (2, "2024-03-10"), (1, "2024-02-01"), module=module
    )
    X = records_of(index).to_frame()
    assert type(X) is module.DataFrame
    columns = {name: list(X[name]) for name in X.columns}
    assert list(columns) == [
        *("age", "sex", "crp_last", "crp_count", "note", "n_visits", "days_since_visit"),
        *("uveitis", "nsaid", "biologic"),
    ]
    np.testing.assert_allclose(
        np.array(columns["crp_last"], dtype=float), [np.nan, 2.5, np.nan, 8.0]
    )
    np.testing.assert_allclose(np.array(columns["age"], dtype=float), [np.nan, 43, np.nan, 43])
    assert columns["sex"] == [None, "female", None, "female"]
    assert columns["note"] == [None, "second", None, f"first {SECRET}"]
    assert columns["n_visits"] == [0.0, 1.0, 1.0, 1.0]
    assert columns["uveitis"] == [False, False, True, False]
    assert columns["nsaid"] == columns["biologic"] == [False] * 4


def test_labels_of_the_index_and_several_notes_are_kept() -> None:
    index = index_of((1, "2024-03-10"), (2, "2024-03-10")).set_axis(["x", "x"], axis=0)
    X = records_of(index).to_frame(notes=2)
    assert X.index.tolist() == ["x", "x"]
    assert X["note"].iloc[0] == f"first {SECRET}\n\nsecond"


def test_patients_without_any_event_keep_their_row() -> None:
    records = records_of(index_of((5, "2024-03-10")))
    empty = af.io.Records(
        index=records.index, persons=records.persons.clear(), events=records.events.clear(),
        notes=records.notes.clear(), visits=records.visits.clear(), labs=records.labs,
    )  # fmt: skip
    X = empty.to_frame()
    assert X["crp_last"].isna().all() and len(X) == 1 and X["n_visits"].tolist() == [0.0]
    text = pl.DataFrame({"patient": ["a"], "index_date": [when("2024-01-01")]})
    none = af.io.Records(index=text, persons=records.persons.clear(), visits=records.visits.clear())
    assert none.to_frame().shape == (1, 4)


def test_what_is_printed_shows_counts_and_no_patient(tmp_path: Any) -> None:
    records = records_of(index_of((1, "2024-03-10"), (2, "2024-03-10")))
    file = records.to_html(tmp_path / "records.html")
    for shown in (repr(records), str(records), records._repr_html_(), file.read_text()):
        assert "Records from OMOP" in shown and "1 after the index date" in shown
        assert SECRET not in shown and "second" not in shown
    assert "1988-5" in records._repr_html_()


def test_other_labs_than_those_that_were_asked_for() -> None:
    records = records_of(index_of((1, "2024-03-10")))
    X = records.to_frame(af.LabEvents(["crp"], statistics=["max"], window="30d"))
    assert X["crp_max"].tolist() == [2.5]
    with pytest.raises(ConfigurationError, match="labs: expected an asfusion.LabEvents, got 'crp'"):
        records.to_frame("crp")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="notes: expected an integer of at least 1"):
        records.to_frame(notes=0)
    bare = af.io.Records(index=records.index, persons=records.persons)
    assert list(bare.to_frame()) == ["age", "sex"]
    with pytest.raises(ConfigurationError, match="labs: expected events that were read, got none"):
        bare.to_frame(records.labs)


# ------------------------------------------------------------------ nothing from after


def rows_of(*rows: tuple[Any, str | None, bool]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "patient": [row[0] for row in rows],
            "time": [None if row[1] is None else when(row[1]) for row in rows],
            "is_day": [row[2] for row in rows],
        },
        schema_overrides={"time": pl.Datetime("us")},
    )


def test_rows_are_kept_up_to_the_last_date_and_counted_by_reason() -> None:
    index = read_cut(index_of((1, "2024-03-10 12:00"), (1, "2024-03-05"), (2, "2024-03-10")))
    kept, left_out = keep_before(
        rows_of(
            (1, "2024-03-10 12:00", False),  # at the date
            (1, "2024-03-10 12:00:00.000001", False),  # after
            (1, "2024-03-10", True),  # some time that day
            (1, "2024-03-05", True),  # the day of an earlier date of theirs
            (1, "2024-03-04", True),
            (2, None, False),
            (3, "2020-01-01", False),  # another patient
        ),
        index,
    )
    assert left_out == {OTHER: 1, NO_TIME: 1, SAME_DAY: 1, AFTER: 1}
    assert kept.columns == ["patient", "time"]
    assert kept["time"].to_list() == [
        when("2024-03-10 12:00"), when("2024-03-05 23:59:59.999999"), when("2024-03-04"),
    ]  # fmt: skip


def test_days_in_a_table_with_zones_may_have_been_anywhere() -> None:
    index = read_cut(index_of((1, "2024-03-10 20:00+00:00"), (2, "2024-03-12 20:00+00:00")))
    rows = rows_of((1, "2024-03-10", True), (1, "2024-03-11", True), (2, "2024-03-10", True))
    kept, left_out = keep_before(
        rows.with_columns(pl.col("time").dt.replace_time_zone("UTC")), index
    )
    assert kept["patient"].to_list() == [2] and left_out == {SAME_DAY: 2}
    with pytest.raises(ColumnError, match="a zone in both or in neither"):
        keep_before(rows, index)


def test_one_date_for_all_and_dates_that_are_none() -> None:
    index = read_cut("2024-06-30", persons=[2**62 + 1, 7])
    assert index.patients == [7, 2**62 + 1] and index.last_day == datetime.date(2024, 6, 30)
    assert read_cut(datetime.date(2024, 6, 30), [1]).rows["at"].n_unique() == 1
    assert read_cut(index_of((1, "2024-01-01"), module=pl).lazy()).patients == [1]
    with pytest.raises(ConfigurationError, match="persons: expected patients beside a single"):
        read_cut("2024-06-30")
    with pytest.raises(ConfigurationError, match="persons: expected None beside a table"):
        read_cut(index_of((1, "2024-01-01")), [1])
    for bad in ("soon", 5, None):
        with pytest.raises(InputError, match="index: expected a table with the columns 'patient'"):
            read_cut(bad, [1])
