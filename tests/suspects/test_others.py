"""Sources, dates after the fact, what is missing, and targets as they come."""

from __future__ import annotations

import datetime
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from asfusion._frames import Frame
from asfusion.encoders.infer import column_roles
from asfusion.exceptions import ColumnError, InputError
from asfusion.suspects.after_index import find_after_index, read_index
from asfusion.suspects.missingness import find_missingness
from asfusion.suspects.outcome import read_outcomes
from asfusion.suspects.provenance import find_provenance

N = 40


def sources(columns: dict[str, Any], module: ModuleType = pd) -> set[str]:
    frame = Frame.read(module.DataFrame(columns))
    return {suspect.column for suspect in find_provenance(frame, column_roles(frame))}


def test_sources_are_found_by_their_cells_and_names(df_module: ModuleType) -> None:
    columns = {
        "a": [f"https://example.org/{i % 9}" for i in range(N)],
        "b": [f"10.1000/j.x.{i % 7}" for i in range(N)],
        "c": [["CC BY", "CC BY-NC-SA 4.0", "CC0", "public domain"][i % 4] for i in range(N)],
        "d": [["radiopaedia.org", "github.com"][i % 2] for i in range(N)],
        "e": [f"letters/{i % 5}.pdf" for i in range(N)],
        "f": [f"1.2.840.10008.{i % 9}.1.4" for i in range(N)],
        "data_source": ["x", "y"] * (N // 2),
        "license": ["x", "y"] * (N // 2),
        "file_name": ["x", "y"] * (N // 2),
    }
    assert sources(columns, df_module) == set(columns)


def test_wards_films_and_letters_are_no_sources(df_module: ModuleType) -> None:
    columns = {
        "admission_source": ["home", "ward"] * (N // 2),
        "path_stage": ["T1", "T2"] * (N // 2),
        "drug": ["mit", "no"] * (N // 2),
        "film": [f"{i}.png" for i in range(N)],
        "mri": [f"{i}.nii.gz" for i in range(N)],
        "note": [f"Seen on day {i}, see https://example.org for the leaflet." for i in range(N)],
        "crp": np.arange(N) / 7,
    }
    assert sources(columns, df_module) == set()


def late(columns: dict[str, Any], index: Any, module: ModuleType = pd) -> dict[str, str]:
    frame = Frame.read(module.DataFrame(columns))
    days = read_index(index, frame)
    return {s.column: s.evidence for s in find_after_index(frame, column_roles(frame), days)}


def test_dates_after_the_index_date_are_found(df_module: ModuleType) -> None:
    day = datetime.date(2021, 3, 1)
    ahead = [day + datetime.timedelta(days=i) for i in range(N)]
    columns = {
        "seen": ahead,
        "seen_text": [str(d) for d in ahead],
        "born": [datetime.date(1960 + i % 40, 1, 1) for i in range(N)],
        "few": [ahead[-1]] * 3 + [day] * (N - 3),
        "hour": [datetime.datetime(2021, 3, 1, 10)] * (N - 1) + [datetime.datetime(2021, 3, 1, 9)],
        "index": [day] * N,
    }
    told = {
        "seen": f"it is later than the index date in {N - 1} of {N} rows",
        "seen_text": f"it is later than the index date in {N - 1} of {N} rows",
        "few": "it is later than the index date in fewer than 10 rows",
    }
    columns["few"][0] = day - datetime.timedelta(days=1)
    for index in (day, "2021-03-01", np.datetime64("2021-03-01"), [day] * N):
        assert late(columns, index, df_module) == told
    columns["index"][0] = day - datetime.timedelta(days=3)
    assert "hour" in late(columns, "index", df_module)
    assert late(columns, pd.Series([pd.Timestamp(day)] * (N - 1) + [pd.NaT]), df_module)


def test_an_index_date_that_is_none_is_refused() -> None:
    X = {"crp": [1.0, 2.0]}
    with pytest.raises(InputError, match=r"index_date: expected a date, .* or 2 dates, .* got 3"):
        late(X, ["2021-01-01"] * 3)
    with pytest.raises(InputError, match=r"index_date: expected a date, .* got int"):
        late(X, 3)
    with pytest.raises(ColumnError, match=r"index_date: expected the column 'seen' in X"):
        late(X, "seen")
    with pytest.raises(ColumnError, match=r"'index_date', row 1: expected a date as YYYY"):
        late(X, ["2021-01-01", "1/2/2021"])


@pytest.mark.parametrize("seed", range(5))
def test_gaps_that_tell_are_told_from_those_that_do_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, patients = 200, np.arange(200)
    y = rng.integers(0, 2, n)
    known = rng.random((n, 6)) > 0.3
    for target in (y, rng.normal(size=n)):
        assert find_missingness(known, read_outcomes(target, n), patients) == []
    known[:, 2] = rng.random(n) < np.where(y == 1, 0.9, 0.5)
    (suspect,) = find_missingness(known, read_outcomes(y, n), patients)
    assert suspect.evidence.startswith("which cells are missing predicts it by itself (AUC 0.")
    (suspect,) = find_missingness(known, read_outcomes(y + rng.normal(0, 0.1, n), n), patients)
    assert "rank correlation" in suspect.evidence


def test_targets_are_read_as_they_come() -> None:
    def levels(y: Any) -> list[tuple[str | None, tuple[str, ...]]]:
        return [(o.name, o.levels) for o in read_outcomes(y, 4)]

    assert levels(np.array(["a", "b", "a", "b"])) == [(None, ("a", "b"))]
    assert levels(pd.Series([0, 1, None, 1], name="y")) == [("y", ("0", "1"))]
    assert levels(pl.Series("y", [True, None, False, True])) == [("y", ("False", "True"))]
    assert levels(pd.Series(["x", None, "y", "x"], dtype="category")) == [(None, ("x", "y"))]
    assert levels(np.array([0.5, 1.0, 2.0, 3.5])) == [(None, ())]
    both = pd.DataFrame({"event": [0, 1, 0, 1], "time": [1.5, 2.0, 3.0, 0.2]})
    assert levels(both) == [("event", ("0", "1")), ("time", ())]
    assert levels(pl.DataFrame(both.to_dict("list"))) == levels(both)
    packed = np.array([(True, 1.5), (False, 2.0)] * 2, dtype=[("event", bool), ("time", float)])
    assert levels(packed) == [("event", ("False", "True")), ("time", ())]
    assert levels(np.arange(8).reshape(4, 2)) == [
        (None, ("0", "2", "4", "6")),
        (None, ("1", "3", "5", "7")),
    ]


def test_targets_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="y: expected 4 entries, one per row of X, got 3"):
        read_outcomes([1, 2, 3], 4)
    with pytest.raises(InputError, match="y: expected one entry per row of X, got a single"):
        read_outcomes(3, 4)
    with pytest.raises(InputError, match="y: expected one or two dimensions, got 3"):
        read_outcomes(np.zeros((4, 2, 2)), 4)
    with pytest.raises(InputError, match="y: expected a value for every row, got 1 masked"):
        read_outcomes(np.ma.masked_equal([0, 1, 2, 3], 2), 4)
