"""Leaks: notes that name the outcome or are too late, told by position and never by word."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from asfusion.exceptions import ColumnError, ConfigurationError, InputError
from asfusion.notes import check_notes

NOTES = [
    "Sacroiliitis on MRI, seen 2021-05-01.",
    "Back pain.",
    None,
    ["Father with AS.", "No axSpA so far."],
    "Started bisphosphonates on 12/01/2021.",
]


@pytest.mark.parametrize("column", [list, pl.Series, lambda x: pd.Series(x, dtype=object)])
def test_outcome_and_late_notes_are_found(column: Any) -> None:
    notes = NOTES if column is not pl.Series else [*NOTES[:3], "AS. No axSpA so far.", NOTES[4]]
    check = check_notes(
        column(notes),
        outcome=["sacroiliitis", "axspa", "bisphosphonates"],
        dates=["2021-05-01", "2021-01-01", None, "2021-02-01", None],
        index_date="2021-03-01",
    )
    assert check.n_notes == 4
    assert check.outcome_rows == {"sacroiliitis": (0,), "axspa": (3,), "bisphosphonates": (4,)}
    assert check.late_rows == (0,) and check.later_dates == (0,) and check.undated_rows == (4,)
    assert check.rows == (0, 3, 4) and not check.ok


def test_affirmed_rows_say_it_of_the_patient() -> None:
    check = check_notes(NOTES, outcome={"label": ["sacroiliitis", "axspa", "(?-i:AS)"]})
    assert check.outcome_rows == {"label": (0, 3)} and check.affirmed_rows == (0,)
    assert check.late_rows == check.later_dates == check.undated_rows == ()


def test_clean_notes_are_ok_and_one_index_date_per_row() -> None:
    days = [datetime.date(2020, 1, 1), None, np.datetime64("2020-01-01")]
    check = check_notes(["Seen 02.01.2020", "Seen 2021-01-01", "pain"], index_date=days)
    assert check.later_dates == (0,) and check.undated_rows == (1,)
    assert check_notes(["pain"], outcome="uveitis", index_date="2020-01-01").ok
    day_first = check_notes(["Seen 03/04/2020"], index_date="2020-03-20")
    month_first = check_notes(["Seen 03/04/2020"], index_date="2020-03-20", day_first=False)
    assert not day_first.ok and month_first.ok


def test_it_shows_counts_and_no_word_of_a_note() -> None:
    check = check_notes(NOTES, outcome=["sacroiliitis"], index_date="2021-03-01")
    text = repr(check) + check._repr_html_() + check.to_frame().to_string()
    assert "1 name the outcome" in text and "MRI" not in text and "names sacroiliitis" in text


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({}, ConfigurationError, "expected outcome= or index_date= to check against"),
        ({"dates": ["2020-01-01"]}, ConfigurationError, "expected outcome= or index_date="),
        (
            {"outcome": "ibd", "dates": ["2020-01-01"]},
            ConfigurationError,
            "expected index_date= to",
        ),
        ({"outcome": []}, ConfigurationError, "outcome: expected names of concepts or patterns"),
        ({"outcome": ["(a"]}, ConfigurationError, "expected regular expressions"),
        ({"index_date": ["2020-01-01"] * 2}, InputError, "expected index_date as a date or 1 of"),
        ({"index_date": 5}, InputError, "expected index_date as a date or 1 of them, got int"),
        ({"index_date": "01.02.2020"}, ColumnError, "expected a date as YYYY-MM-DD"),
        ({"index_date": "2020-01-01", "dates": [5]}, ColumnError, "expected a date, got int"),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        check_notes(["note"], **arguments)


def test_notes_are_a_column_of_texts() -> None:
    for table in (pd.DataFrame({"note": ["axSpA"]}), {"note": ["axSpA"]}):
        with pytest.raises(InputError, match="expected one column of notes, got .*table"):
            check_notes(table, outcome="axspa")
        with pytest.raises(InputError, match="expected one column of dates, got .*table"):
            check_notes(["axSpA"], dates=table, index_date="2020-01-01")
    with pytest.raises(InputError, match="expected notes as a list or a column, got str"):
        check_notes("note", outcome="ibd")
    with pytest.raises(ColumnError, match="column 'notes', row 0: expected text, got int"):
        check_notes([5], outcome="ibd")
