"""LabEvents: from long events to wide features, nothing from after, nothing silently."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import asfusion as af
from asfusion.events._vocabulary import LOINC
from asfusion.exceptions import (
    AsfusionWarning,
    ColumnError,
    ConfigurationError,
    InputError,
    UnitError,
)

EVENTS = [
    ("a", "2024-01-01 08:00", "CRP", "1.4", "mg/dL"),
    ("a", "2024-02-01 08:00", "1988-5", "10", "mg/L"),
    ("a", "2024-02-01 08:00", "1988-5", "10", "mg/L"),  # the same once more
    ("a", "2024-03-01 08:00", "1988-5", "<4", "mg/l"),
    ("a", "2024-06-01 08:00", "1988-5", "80", "mg/L"),  # after the index date
    ("a", "2024-02-01 08:00", "ESR", "30", "mm/hr"),
    ("b", "2024-02-02 10:00", "ESR", "12", "mm/h"),
    ("c", "2024-07-02 10:00", "ESR", "99", "mm/h"),
    ("z", "2024-02-02 10:00", "ESR", "7", "mm/h"),  # nobody asked for
    ("a", "2024-02-02 10:00", "SODIUM", "140", "mmol/L"),
]
LABS = {"crp": ["1988-5", "CRP"], "esr": ["ESR"]}
ALL = ("last", "mean", "min", "max", "slope", "count", "time_since", "at_limit")


def events_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["patient", "time", "code", "value", "unit"])
    return table.assign(time=pd.to_datetime(table["time"]))


def visits_of(*rows: tuple[Any, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["patient", "index_date"])
    return table.assign(index_date=pd.to_datetime(table["index_date"]))


@pytest.fixture
def events() -> pd.DataFrame:
    return events_of(EVENTS)


@pytest.fixture
def visits() -> pd.DataFrame:
    return visits_of(*((patient, "2024-04-01 08:00") for patient in "abcd"))


def one(rows: list[tuple[Any, ...]], **parameters: Any) -> dict[str, float]:
    """Return the features of one patient with CRP only."""
    rows = [("a", *row) for row in rows]
    labs = af.LabEvents({"crp": ["CRP"]}, **{"statistics": ALL} | parameters)
    wide = labs.transform(events_of(rows), visits_of(("a", "2024-04-01")))
    return {str(k): v for k, v in wide.iloc[0].to_dict().items()}


# ------------------------------------------------------------------ features


def test_features_are_those_computed_by_hand(events: pd.DataFrame, visits: pd.DataFrame) -> None:
    labs = af.LabEvents(LABS, statistics=ALL)
    wide = labs.transform(events, visits)
    assert list(wide.columns) == labs.get_feature_names_out().tolist()
    a = wide.iloc[0]
    values = np.array([14.0, 10.0, 2.0])
    days = np.array([-91.0, -60.0, -31.0])
    assert a["crp_last"] == 2.0 and a["crp_min"] == 2.0 and a["crp_max"] == 14.0
    assert a["crp_mean"] == pytest.approx(values.mean()) and a["crp_count"] == 3
    assert a["crp_days_since"] == 31.0
    assert a["crp_slope_per_year"] == pytest.approx(np.polyfit(days / 365.25, values, 1)[0])
    assert a["crp_at_limit"] == pytest.approx(1 / 3)
    assert a["esr_last"] == 30.0 and a["esr_count"] == 1 and math.isnan(a["esr_slope_per_year"])


def test_patients_without_events_are_rows_of_missing(
    events: pd.DataFrame, visits: pd.DataFrame
) -> None:
    wide = af.LabEvents(LABS).transform(events, visits)
    assert len(wide) == len(visits)
    assert wide.iloc[[2, 3]].isna().all(axis=None)  # c has events later only, d none at all
    b = wide.iloc[1]
    assert b["crp_count"] == 0 and math.isnan(b["crp_last"]) and b["esr_last"] == 12.0


def test_patients_of_whom_nobody_has_events_are_told(events: pd.DataFrame) -> None:
    labs = af.LabEvents(LABS)
    strangers = visits_of(("A", "2024-04-01"), ("B", "2024-04-01"))
    with pytest.warns(AsfusionWarning, match="none of the patients .* written alike"):
        assert labs.transform(events, strangers)["crp_last"].isna().all()
    early = visits_of(("a", "1999-04-01"), ("B", "1999-04-01"))
    assert labs.transform(events, early)["crp_last"].isna().all()
    # One patient may well have none.
    assert labs.transform(events, strangers[:1])["crp_last"].isna().all()


def test_nothing_after_the_index_date_is_used(events: pd.DataFrame, visits: pd.DataFrame) -> None:
    labs = af.LabEvents(LABS, statistics=ALL)
    before = labs.transform(events, visits)
    later = events_of(
        [
            (patient, when, code, "55", unit)
            for patient in "abcd"
            for when in ("2024-04-01 08:00:01", "2024-04-02 00:00:00", "2030-01-01 00:00:00")
            for code, unit in (("CRP", "mg/L"), ("ESR", "mm/h"))
        ]
    )
    poisoned = pd.concat([later, events], ignore_index=True)
    pd.testing.assert_frame_equal(labs.transform(poisoned, visits), before)
    at_the_moment = events_of([("d", "2024-04-01 08:00", "ESR", "5", "mm/h")])
    assert labs.transform(at_the_moment, visits)["esr_last"].tolist()[3] == 5.0


def test_an_index_date_without_time_leaves_out_its_own_day(events: pd.DataFrame) -> None:
    labs = af.LabEvents(LABS, statistics="last")
    dates = pl.DataFrame({"patient": ["b"], "index_date": [datetime.date(2024, 2, 2)]})
    assert labs.transform(events, dates)["esr_last"].to_list() == [None]
    dates = dates.with_columns(pl.col("index_date") + datetime.timedelta(days=1))
    assert labs.transform(events, dates)["esr_last"].to_list() == [12.0]


@pytest.mark.parametrize("window", ["60d", datetime.timedelta(days=60)])
def test_window_looks_back_so_far(events: pd.DataFrame, visits: pd.DataFrame, window: Any) -> None:
    wide = af.LabEvents(LABS, statistics=["count"], window=window).transform(events, visits)
    # 60 days to the second before are outside, as are 91.
    assert wide["crp_count"].tolist()[0] == 1.0
    longer = af.LabEvents(LABS, statistics=["count"], window="9w").transform(events, visits)
    assert longer["crp_count"].tolist()[0] == 2.0


def test_a_patient_may_have_several_dates_and_rows_keep_their_order(events: pd.DataFrame) -> None:
    visits = visits_of(
        ("a", "2024-07-01"), ("b", "2024-03-01"), ("a", "2024-01-02"), ("a", "2024-07-01")
    )
    visits.index = pd.Index([7, 5, 3, 1])
    wide = af.LabEvents(LABS, statistics="last").transform(events, visits)
    assert wide.index.tolist() == [7, 5, 3, 1]
    np.testing.assert_array_equal(wide["crp_last"], [80.0, np.nan, 14.0, 80.0])


def test_repeats_count_once_and_are_counted(events: pd.DataFrame, visits: pd.DataFrame) -> None:
    labs = af.LabEvents(LABS)
    twice = pd.concat([events, events], ignore_index=True)
    pd.testing.assert_frame_equal(labs.transform(twice, visits), labs.transform(events, visits))
    assert labs.report_["crp"]["repeated"] == 1
    assert labs.report_["crp"]["events"] == labs.report_["crp"]["used"] == 4
    found = one([("2024-01-01", "CRP", "4", "mg/L"), ("2024-01-01", "CRP", "6", "mg/L")])
    assert found["crp_last"] == 5.0 and found["crp_count"] == 1


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["p", "q", "r"]),
            st.integers(0, 500),
            st.sampled_from(["CRP", "ESR"]),
            st.floats(0.5, 150.0).map(lambda value: round(value, 3)),
        ),
        min_size=1,
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
def test_features_are_those_of_a_loop(rows: list[tuple[Any, ...]], random: Any) -> None:
    start = pd.Timestamp("2023-01-01")
    events = [
        (p, start + pd.Timedelta(days=day), code, value, "mg/L" if code == "CRP" else "mm/h")
        for p, day, code, value in rows
    ]
    visits = visits_of(("p", "2024-01-01"), ("q", "2023-05-01"), ("r", "2025-01-01"))
    labs = af.LabEvents({"crp": "CRP", "esr": "ESR"}, statistics=ALL, window="365d")
    wide = labs.transform(events_of(events), visits)
    for number, (patient, date) in enumerate(visits.itertuples(index=False)):
        for code, lab in (("CRP", "crp"), ("ESR", "esr")):
            own: dict[pd.Timestamp, list[float]] = {}
            for p, when, c, value, _ in events:
                if (p, c) == (patient, code) and pd.Timedelta(0) <= date - when < pd.Timedelta(
                    days=365
                ):
                    own.setdefault(when, []).append(value)
            values = [float(np.mean(own[when])) for when in sorted(own)]
            row = wide.iloc[number]
            if not values:
                assert math.isnan(row[f"{lab}_last"])
                continue
            assert row[f"{lab}_last"] == pytest.approx(values[-1])
            assert row[f"{lab}_mean"] == pytest.approx(np.mean(values))
            assert row[f"{lab}_min"] == pytest.approx(min(values))
            assert row[f"{lab}_max"] == pytest.approx(max(values))
            assert row[f"{lab}_count"] == len(values)
            assert row[f"{lab}_days_since"] == (date - max(own)).days
            if len(values) > 1:
                years = [(when - date).days / 365.25 for when in sorted(own)]
                slope = np.polyfit(years, values, 1)[0]
                assert row[f"{lab}_slope_per_year"] == pytest.approx(slope, rel=1e-6, abs=1e-6)
    shuffled = list(events)
    random.shuffle(shuffled)
    pd.testing.assert_frame_equal(labs.transform(events_of(shuffled), visits), wide)


def test_two_values_of_one_day_have_no_slope() -> None:
    rows = [("2024-01-01 08:00", "CRP", "4", "mg/L"), ("2024-01-01 20:00", "CRP", "40", "mg/L")]
    found = one(rows)
    assert found["crp_count"] == 2 and math.isnan(found["crp_slope_per_year"])


# ------------------------------------------------------------------ containers


def test_containers_agree(events: pd.DataFrame, visits: pd.DataFrame, tmp_path: Path) -> None:
    labs = af.LabEvents(LABS, statistics=ALL)
    expected = labs.transform(events, visits)
    table, dates = pl.from_pandas(events), pl.from_pandas(visits)
    table.write_parquet(tmp_path / "events.parquet")
    (tmp_path / "parts").mkdir()
    table[:4].write_parquet(tmp_path / "parts" / "0.parquet")
    table[4:].write_parquet(tmp_path / "parts" / "1.parquet")
    sources = [
        table,
        table.lazy(),
        table.with_columns(pl.col("code", "unit").cast(pl.Categorical)),
        tmp_path / "events.parquet",
        str(tmp_path / "events.parquet"),
        tmp_path / "parts",
        events.convert_dtypes(),
        events.astype({"code": "category", "unit": "category"}),
    ]
    for source in sources:
        pd.testing.assert_frame_equal(labs.transform(source, visits), expected)
        wide = labs.transform(source, dates)
        assert isinstance(wide, pl.DataFrame)
        pd.testing.assert_frame_equal(wide.to_pandas(), expected)
        assert wide["crp_last"].null_count() == 3


def test_values_may_be_numbers_and_patients_numbers() -> None:
    events = events_of(
        [(1, "2024-01-01", "CRP", 4.0, "mg/L"), (2, "2024-01-01", "CRP", np.nan, "mg/L")]
    )
    visits = visits_of((1, "2024-02-01"), (2, "2024-02-01"))
    labs = af.LabEvents({"crp": "CRP"}, statistics=["last", "at_limit"])
    wide = labs.transform(events, visits)
    np.testing.assert_array_equal(wide, [[4.0, 0.0], [np.nan, np.nan]])
    assert labs.report_["crp"]["no_value"] == 1
    mixed = events.assign(
        value=pd.Series(["<4", 5], dtype=object), patient=events["patient"].astype("Int64")
    )
    assert labs.transform(mixed, visits)["crp_last"].tolist() == [2.0, 5.0]


def test_times_with_a_zone_are_taken_to_utc() -> None:
    events = events_of([("a", "2024-01-01 23:30", "CRP", "4", "mg/L")])
    visits = visits_of(("a", "2024-01-02 00:00"))
    utc = visits.assign(index_date=visits["index_date"].dt.tz_localize("UTC"))
    labs = af.LabEvents({"crp": "CRP"}, statistics="last")
    west = events.assign(time=events["time"].dt.tz_localize("America/New_York"))
    assert labs.transform(events, visits)["crp_last"].tolist() == [4.0]
    assert labs.transform(west, utc)["crp_last"].isna().all()
    assert labs.transform(pl.from_pandas(west), pl.from_pandas(utc))["crp_last"].is_null().all()
    east = utc.assign(index_date=pd.to_datetime(["2024-01-02 00:00"]).tz_localize("Asia/Tokyo"))
    assert labs.transform(west, east)["crp_last"].isna().all()
    later = utc.assign(index_date=utc["index_date"] + pd.Timedelta(hours=5))
    assert labs.transform(west, later)["crp_last"].tolist() == [4.0]
    cells = west.assign(time=west["time"].astype(object))
    assert labs.transform(cells, later)["crp_last"].tolist() == [4.0]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_zone_on_one_side_alone_is_refused(library: str) -> None:
    events = events_of([("a", "2024-01-01 23:30", "CRP", "4", "mg/L")])
    visits = visits_of(("a", "2024-01-02 00:00"))
    zoned_events = events.assign(time=events["time"].dt.tz_localize("America/New_York"))
    zoned_visits = visits.assign(index_date=visits["index_date"].dt.tz_localize("UTC"))
    days = visits.assign(index_date=visits["index_date"].dt.date)
    labs = af.LabEvents({"crp": "CRP"}, statistics="last")
    for one, other, bare in (
        (zoned_events, visits, "got none in index_dates, column 'index_date'"),
        (zoned_events, days, "got none in index_dates, column 'index_date'"),
        (events, zoned_visits, "got none in events, column 'time'"),
    ):
        if library == "polars":
            one, other = pl.from_pandas(one), pl.from_pandas(other)
        with pytest.raises(ColumnError, match=f"a zone in both or in neither, {bare}") as raised:
            labs.transform(one, other)
        assert "2024" not in str(raised.value)


def test_columns_may_have_other_names(events: pd.DataFrame, visits: pd.DataFrame) -> None:
    names = {"patient": "subject_id", "time": "charttime", "code": "itemid", "value": "valuenum"}
    labs = af.LabEvents(LABS, **names, unit="uom", index_date="admitted")
    wide = labs.transform(
        events.rename(columns={**names, "unit": "uom"}),
        visits.rename(columns={"patient": "subject_id", "index_date": "admitted"}),
    )
    pd.testing.assert_frame_equal(wide, af.LabEvents(LABS).transform(events, visits))


@pytest.mark.parametrize("is_lazy", [False, True])
def test_names_of_columns_are_no_patterns(
    is_lazy: bool, events: pd.DataFrame, visits: pd.DataFrame
) -> None:
    """To polars "^p.*$" stands for every column that begins with p, and "*" for all."""
    plain = af.LabEvents(LABS).transform(events, visits)
    names = {"patient": "*", "time": "^p.*$", "code": "^.*$", "value": "^p$", "unit": "^u$"}
    table = pl.from_dicts(events.rename(columns=names).assign(p=1, pq="x").to_dict("records"))
    days = {"patient": "*", "index_date": "^.*$"}
    rows = pl.from_dicts(visits.rename(columns=days).assign(p=1).to_dict("records"))
    labs = af.LabEvents(LABS, **names, index_date="^.*$")
    wide = labs.transform(table.lazy() if is_lazy else table, rows)
    for name in plain:
        np.testing.assert_array_equal(wide[name].to_numpy(), plain[name].to_numpy())


def test_no_rows_give_no_rows(events: pd.DataFrame, visits: pd.DataFrame) -> None:
    assert af.LabEvents(LABS).transform(events, visits[:0]).shape == (0, 14)


def test_parameters_are_kept_by_clone() -> None:
    labs = af.LabEvents(LABS, window="365d", statistics=["last"])
    assert clone(labs).get_params() == labs.get_params()


# ------------------------------------------------------------------ units


def test_known_labs_have_codes_and_standard_units() -> None:
    labs = af.LabEvents(list(LOINC), statistics=["last", "slope", "count", "time_since"])
    units = labs.feature_units()
    assert units["crp_last"] == "mg/L" and units["crp_slope_per_year"] == "mg/L per year"
    assert units["crp_count"] == "1" and units["crp_days_since"] == "d"
    assert list(units) == labs.get_feature_names_out().tolist()
    ucum = {
        "crp": "mg/L", "esr": "mm/h", "haemoglobin": "g/dL", "white_cells": "10*9/L",
        "neutrophils": "10*3/uL", "lymphocytes": "10*9/L", "platelets": "10*3/uL",
        "creatinine": "umol/L", "alt": "U/L", "albumin": "g/L", "ferritin": "ng/mL",
    }  # fmt: skip
    events = [("a", "2024-01-01", LOINC[lab][0], 50, unit) for lab, unit in ucum.items()]
    events = [(*e[:3], 12 if e[4] == "g/dL" else 50, e[4]) for e in events]
    wide = labs.transform(events_of(events), visits_of(("a", "2024-02-01")))
    assert wide["haemoglobin_last"].tolist() == [120.0]
    assert wide.filter(like="_last").notna().all(axis=None)


def test_features_come_in_the_unit_asked_for() -> None:
    rows = [("2024-01-01", "CRP", "14", "mg/L"), ("2024-02-01", "CRP", "0.6", "mg/dL")]
    found = one(rows, units={"crp": "mg/dl"})
    assert found["crp_max"] == 1.4 and found["crp_last"] == 0.6
    found = one(rows)
    assert found["crp_max"] == 14.0 and found["crp_last"] == 6.0


def test_a_unit_is_declared_or_refused() -> None:
    rows = [
        ("2024-01-01", "CRP", "4", None),
        ("2024-01-02", "CRP", "4", " "),
        ("2024-01-03", "CRP", "4", "mg/L"),
    ]
    with pytest.raises(
        UnitError, match="'crp': expected a unit in each of 3 events, got 2 without"
    ):
        one(rows)
    assert one(rows, default_units={"crp": "mg/dL"})["crp_max"] == 40.0
    with pytest.warns(AsfusionWarning, match="'crp': 2 without a unit"):
        assert one(rows, invalid="missing")["crp_count"] == 1


def test_events_may_have_no_column_of_units() -> None:
    labs = af.LabEvents({"crp": "CRP"}, unit=None, default_units={"crp": "mg/L"}, statistics="last")
    events = events_of([("a", "2024-01-01", "CRP", "4", "x")]).drop(columns="unit")
    assert labs.transform(events, visits_of(("a", "2024-02-01")))["crp_last"].tolist() == [4.0]


def test_an_unknown_unit_is_counted_not_shown() -> None:
    rows = [("2024-01-01", "CRP", "4", "Jane Doe"), ("2024-01-02", "CRP", "4", "mg/L")]
    with pytest.raises(UnitError, match="expected units among mg/L, mg/dL.*got 1 of 2") as caught:
        one(rows)
    assert "Jane" not in str(caught.value)
    with pytest.warns(AsfusionWarning, match="'crp': 1 in an unknown unit"):
        assert one(rows, invalid="missing")["crp_count"] == 1


def test_units_can_be_looked_at(events: pd.DataFrame) -> None:
    labs = af.LabEvents(LABS)
    found = labs.units_found(events)
    assert isinstance(found, pd.DataFrame)
    crp = found[found["lab"] == "crp"].set_index(["code", "unit"])
    assert crp["factor"].to_dict() == {
        ("1988-5", "mg/L"): 1.0, ("1988-5", "mg/l"): 1.0, ("CRP", "mg/dL"): 10.0
    }  # fmt: skip
    assert int(crp["n"].sum()) == 5
    strange = events.assign(unit="parsec")
    assert labs.units_found(strange)["factor"].isna().all()
    assert isinstance(labs.units_found(pl.from_pandas(events)), pl.DataFrame)


def test_other_labs_have_the_one_unit_that_is_declared() -> None:
    labs = af.LabEvents({"il17": ["IL17"]}, units={"il17": "pg/mL"}, statistics="last")
    events = events_of([("a", "2024-01-01", "IL17", "4", "pg/ml")])
    assert labs.transform(events, visits_of(("a", "2024-02-01")))["il17_last"].tolist() == [4.0]
    with pytest.raises(UnitError, match="expected units among pg/mL, got 1 of 1"):
        labs.transform(events.assign(unit="ng/mL"), visits_of(("a", "2024-02-01")))


# ------------------------------------------------------------------ cells


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("5", 5.0), (" 5.25 ", 5.25), ("+5", 5.0), ("1e2", 100.0), ("<5", 2.5), ("< 5", 2.5),
        ("<=5", 2.5), ("≤5", 2.5), (">100", 100.0), (">= 100", 100.0), ("≥100", 100.0), ("0", 0.0),
    ],
)  # fmt: skip
def test_numbers_and_limits_are_read(cell: str, value: float) -> None:
    found = one([("2024-01-01", "CRP", cell, "mg/L")])
    assert found["crp_last"] == value
    assert found["crp_at_limit"] == float(cell.strip()[0] in "<>≤≥")
    limit = one([("2024-01-01", "CRP", cell, "mg/L")], below_limit="limit")
    assert limit["crp_last"] == (5.0 if value == 2.5 else value)


@pytest.mark.parametrize(
    "cell", ["haemolysed", "5 mg/L", "<", "<>5", "nan", "inf", "--5", "5-6", "<<5"]
)
def test_what_is_no_number_is_refused_and_not_shown(cell: str) -> None:
    rows = [("2024-01-01", "CRP", cell, "mg/L"), ("2024-01-02", "CRP", "4", "mg/L")]
    with pytest.raises(
        InputError, match="'crp': expected numbers such as 5.2 or <5, got 1 of 2"
    ) as e:
        one(rows)
    assert cell in ("<", "5 mg/L") or f" {cell}" not in str(e.value)
    with pytest.warns(AsfusionWarning, match="'crp': 1 that are no number"):
        assert one(rows, invalid="missing")["crp_count"] == 1


@given(st.text(max_size=8))
@settings(max_examples=40, deadline=None)
def test_any_cell_is_a_number_or_counted(text: str) -> None:
    labs = af.LabEvents({"il17": ["X"]}, units={"il17": "u"}, statistics="count", invalid="missing")
    events = pl.DataFrame(
        {
            "patient": ["a"],
            "time": [datetime.date(2024, 1, 1)],
            "code": ["X"],
            "value": [text],
            "unit": ["u"],
        }
    )
    dates = pl.DataFrame({"patient": ["a"], "index_date": [datetime.date(2024, 2, 1)]})
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AsfusionWarning)
        labs.transform(events, dates)
    counts = labs.report_["il17"]
    reasons = ("used", "no_value", "no_number", "other_decimal")
    assert sum(counts[name] for name in reasons) == counts["events"] == 1


def test_a_decimal_comma_is_refused_with_its_fix() -> None:
    rows = [("2024-01-01", "CRP", "5,2", "mg/L"), ("2024-01-02", "CRP", "<4,0", "mg/L")]
    with pytest.raises(InputError, match=r"got 2 of 2 with a decimal comma. Pass decimal=','"):
        one(rows)
    found = one(rows, decimal=",")
    assert found["crp_max"] == 5.2 and found["crp_last"] == 2.0
    for cell in ("<5.2", "1.234"):
        with pytest.raises(InputError, match=r"got 1 of 1 with a decimal point. Pass decimal='\.'"):
            one([("2024-01-01", "CRP", cell, "mg/L")], decimal=",")


def test_impossible_values_are_refused_or_counted() -> None:
    rows = [("2024-01-01", "CRP", "5000", "mg/L"), ("2024-01-02", "CRP", "4", "mg/L")]
    with pytest.raises(UnitError, match="'crp': expected 0 to 1000 mg/L, got 1 of 2 outside"):
        one(rows)
    with pytest.warns(AsfusionWarning, match="'crp': 1 with an impossible value"):
        found = one(rows, invalid="missing")
    assert found["crp_max"] == 4.0 and found["crp_count"] == 1
    assert one(rows, ranges={"crp": (0, 10_000)})["crp_max"] == 5000.0
    with pytest.raises(UnitError, match="expected 0 to 100 mg/dL, got 1 of 2 outside"):
        one(rows, units={"crp": "mg/dL"})


@pytest.mark.parametrize(("column", "what"), [("patient", "a patient"), ("time", "a time")])
def test_events_of_nobody_or_of_no_time_are_refused(
    events: pd.DataFrame, visits: pd.DataFrame, column: str, what: str
) -> None:
    events.loc[0, column] = None
    labs = af.LabEvents(LABS)
    with pytest.raises(
        InputError, match=f"'crp': expected {what} in each of 5 events, got 1 without"
    ):
        labs.transform(events, visits)
    with pytest.warns(AsfusionWarning, match=f"'crp': 1 without {what}"):
        wide = labs.set_params(invalid="missing").transform(events, visits)
    assert wide["crp_count"].tolist()[0] == 2.0


@pytest.mark.parametrize("codes", [[3020460], [np.int64(3020460)], 3020460, ["3020460", 3020460]])
@pytest.mark.parametrize("kind", ["int64", "str"])
def test_codes_may_be_whole_numbers_as_concept_ids_are(
    events: pd.DataFrame, visits: pd.DataFrame, codes: Any, kind: str
) -> None:
    crp = events.loc[events["code"] == "1988-5"]
    by_text = af.LabEvents({"crp": ["1988-5"]}).transform(crp, visits)
    numbered = crp.assign(code=pd.Series(3020460, index=crp.index).astype(kind))
    pd.testing.assert_frame_equal(af.LabEvents({"crp": codes}).transform(numbered, visits), by_text)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"codes": {}}, "codes: expected labs with their codes"),
        ({"codes": 5}, "codes: expected labs with their codes"),
        ({"codes": {" ": ["x"]}}, "codes: expected names of labs that are text"),
        ({"codes": {"crp": []}}, r"codes\['crp'\]: expected a code or a list"),
        ({"codes": {"crp": [1988.0]}}, r"codes\['crp'\]: expected a code or a list"),
        ({"codes": {"crp": 1988.0}}, r"codes\['crp'\]: expected a code or a list"),
        ({"codes": {"crp": [True]}}, r"codes\['crp'\]: expected a code or a list"),
        ({"codes": ["crpp"]}, r"codes\['crpp'\]: expected codes.* Did you mean 'crp'"),
        (
            {"codes": {"crp": ["x"], "esr": ["x"]}},
            "expected each code in one lab, got 'x' in 'crp'",
        ),
        ({"codes": {"il17": ["x"]}}, "units: expected the unit of 'il17'"),
        ({"units": {"il17": "x"}}, "units: expected names of labs in codes, got 'il17'"),
        ({"ranges": {"crpp": (0, 1)}}, "ranges: expected names of labs.* Did you mean 'crp'"),
        ({"ranges": {"crp": (1, 0)}}, r"ranges\['crp'\]: expected the lowest and the highest"),
        ({"ranges": {"crp": 5}}, r"ranges\['crp'\]: expected the lowest and the highest"),
        ({"default_units": {"x": "mg/L"}}, "default_units: expected names of labs"),
        ({"statistics": ["median"]}, "statistics: expected one of 'last'"),
        ({"statistics": []}, "statistics: expected a list of different ones"),
        ({"statistics": ["last", "last"]}, "statistics: expected a list of different ones"),
        ({"window": "a year"}, "window: expected days, weeks or years"),
        ({"window": "0d"}, "window: expected days, weeks or years"),
        ({"window": datetime.timedelta(0)}, "window: expected days, weeks or years"),
        ({"below_limit": "zero"}, "below_limit: expected one of 'half', 'limit'"),
        ({"invalid": "ignore"}, "invalid: expected one of 'raise', 'missing'"),
        ({"decimal": ";"}, "decimal: expected one of '.', ','"),
    ],
)
def test_unusable_parameters_are_named(
    events: pd.DataFrame, visits: pd.DataFrame, parameters: dict[str, Any], message: str
) -> None:
    labs = af.LabEvents(**{"codes": LABS} | parameters)
    with pytest.raises(ConfigurationError, match=message):
        labs.transform(events, visits)


def test_unknown_units_of_parameters_are_named(events: pd.DataFrame, visits: pd.DataFrame) -> None:
    with pytest.raises(UnitError, match=r"default_units\['crp'\]: expected one of mg/L"):
        af.LabEvents(LABS, default_units={"crp": "mm"}).transform(events, visits)
    with pytest.raises(UnitError, match="Unit of 'crp': expected one of"):
        af.LabEvents(LABS, units={"crp": "mm"}).transform(events, visits)


def test_unusable_tables_are_named(
    events: pd.DataFrame, visits: pd.DataFrame, tmp_path: Path
) -> None:
    labs = af.LabEvents(LABS)
    with pytest.raises(
        ColumnError, match="events: expected the column 'unit', got 'patient', 'time'"
    ):
        labs.transform(events.drop(columns="unit"), visits)
    with pytest.raises(ColumnError, match="index_dates: expected the column 'index_date'"):
        labs.transform(events, visits.drop(columns="index_date"))
    with pytest.raises(ColumnError, match="index_dates: expected the column 'index_date'"):
        labs.transform(events, pl.from_pandas(visits).drop("index_date"))
    with pytest.raises(InputError, match="events: expected a pandas or polars table, or the path"):
        labs.transform([1, 2], visits)
    with pytest.raises(
        InputError, match="index_dates: expected a pandas or polars table, got dict"
    ):
        labs.transform(events, {"patient": ["a"]})
    with pytest.raises(ColumnError, match="'time': expected dates or times, got String"):
        labs.transform(events.assign(time="2024-01-01"), visits)
    with pytest.raises(ColumnError, match="'patient': expected patients as whole numbers or text"):
        labs.transform(events.assign(patient=1.5), visits)
    with pytest.raises(ColumnError, match="'value': expected numbers or text such as '<5'"):
        labs.transform(events.assign(value=pd.Timestamp("2024-01-01")), visits)
    with pytest.raises(ColumnError, match="'code': expected text, got Float64"):
        labs.transform(events.assign(code=1.5), visits)
    with pytest.raises(ColumnError, match="Patients: expected one type in events and index_dates"):
        labs.transform(events, visits.assign(patient=[1, 2, 3, 4]))
    with pytest.raises(InputError, match="events: expected events of 'crp', 'esr', got none"):
        labs.transform(events.assign(code="other"), visits)
    for name in ("patient", "index_date"):
        missing = visits.copy()
        missing.loc[1, name] = None
        with pytest.raises(
            InputError, match=f"'{name}': expected a value in each of 4 rows, got 1"
        ):
            labs.transform(events, missing)


def test_files_that_cannot_be_read_are_not_named(visits: pd.DataFrame, tmp_path: Path) -> None:
    labs = af.LabEvents(LABS)
    broken = tmp_path / "jane_doe.parquet"
    broken.write_bytes(b"PAR1 nothing else")
    for path in (tmp_path / "jane.parquet", broken):
        with pytest.raises(InputError, match="expected a Parquet file, a folder of them") as caught:
            labs.transform(path, visits)
        assert "jane" not in str(caught.value)


def test_files_of_another_kind_are_told_how_to_be_read(
    visits: pd.DataFrame, tmp_path: Path
) -> None:
    labs = af.LabEvents(LABS)
    file = tmp_path / "Mueller.csv"
    with pytest.raises(InputError, match="expected a Parquet file, .* got a path where") as error:
        labs.transform(file, visits)
    assert "Mueller" not in str(error.value)
    events_of(EVENTS).to_csv(file, index=False)
    with pytest.raises(InputError, match=r"got a '.csv' file. Read it first, .*polars.scan_csv"):
        labs.transform(file, visits)
    lazy = pl.scan_csv(file, try_parse_dates=True)
    assert labs.transform(lazy, visits)["crp_last"][0] == 2.0


def test_parts_that_differ_are_an_error_in_our_words(
    events: pd.DataFrame, visits: pd.DataFrame, tmp_path: Path
) -> None:
    table = pl.from_pandas(events)
    table.write_parquet(tmp_path / "0.parquet")
    table.drop("unit").write_parquet(tmp_path / "1.parquet")
    with pytest.raises(InputError, match="events: expected rows that can be read to the end") as e:
        af.LabEvents(LABS).transform(tmp_path, visits)
    assert str(tmp_path) not in str(e.value)


def test_impossibly_many_places_are_refused() -> None:
    from asfusion.events._wide import _check_span

    with pytest.raises(InputError, match="index_dates: expected fewer rows times labs"):
        _check_span(2**40, 2**30)


# ------------------------------------------------------------------ into the library


def test_features_keep_their_names_into_fusion_and_explanation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 60
    level = rng.uniform(2, 40, n)
    rows = [
        (i, f"2024-0{m}-01", code, round(float(value), 2), unit)
        for i in range(n - 2)
        for m in (1, 2, 3)
        for code, value, unit in (
            ("1988-5", level[i] + rng.uniform(0, 2), "mg/L"),
            ("30341-2", rng.uniform(5, 40), "mm/h"),
        )
    ]
    visits = visits_of(*((i, "2024-04-01") for i in range(n)))
    labs = af.LabEvents(["crp", "esr"], statistics=["last", "slope", "time_since"])
    X = labs.transform(events_of(rows), visits).assign(age=rng.uniform(20, 60, n))
    y = (level > 20).astype(int)
    encoders = {
        "labs": af.TabularEncoder(list(labs.get_feature_names_out())),
        "age": af.TabularEncoder("age"),
    }
    model = af.EarlyFusionClassifier(encoders, random_state=0).fit(X, y)
    assert "labs__crp_last" in set(model.feature_names_)
    frame = af.explain(model, X.head(2))["labs"].to_frame()
    assert {"crp_last", "crp_slope_per_year", "esr_days_since"} <= set(frame.astype(str).stack())
    assert not encoders["labs"].fit(X).prepare(X).present[-2:].any()
