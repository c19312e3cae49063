"""What a prediction rests on, in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asfusion.explanation._sentences import concluded, heard, moved, plain


def test_the_largest_comes_first_with_its_value_and_unit() -> None:
    values = {"bmi": -0.021, "crp": 0.094, "esr": 0.001, "b27": 0.03}
    cells = {"crp": 16.0, "b27": True, "bmi": 31.5}
    assert moved(values, cells, {"crp": "mg/L"}) == [
        "crp 16 mg/L raised it by 9 points.",
        "b27 yes raised it by 3 points.",
        "bmi 31.5 lowered it by 2 points.",
    ]


def test_what_is_left_is_added_up() -> None:
    values = {f"c{i}": 0.01 for i in range(9)}
    told = moved(values, {}, {}, most=3)
    assert told[:3] == [f"c{i} raised it by 1 point." for i in range(3)]
    assert told[3] == "Everything else (6) raised it by 6 points."


def test_nothing_is_told_too() -> None:
    assert moved({"crp": 0.001}, {}, {}) == ["Nothing moved it by a point or more."]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"set": ["a"]}, "All but a can be ruled out"),
        ({"set": ["a", "b", "c"]}, "nothing can be ruled out"),
        ({"set": ["a", "b"]}, "abstains between a, b"),
        ({"set": []}, "unlike those"),
        ({"missing": ["note"]}, "Without: note."),
        ({"predicted": 4.25, "interval": [3.0, 5.5]}, "Between 3 and 5.5"),
        ({"probabilities": {"no": 0.2, "yes": 0.8}}, "yes has the highest probability: 80 %."),
    ],
)
def test_how_sure_it_is(answer: dict[str, Any], told: str) -> None:
    assert any(told in sentence for sentence in concluded(answer, ["a", "b", "c"]))


@given(text=st.text())
def test_no_text_is_markup(text: str) -> None:
    shown = plain(text)
    for sign in "<[`*_$":
        assert shown.count(sign) == shown.count(f"\\{sign}")


@pytest.mark.parametrize("name", ["crp (mg/L)", "hla_b27", "ESR, 1 h", "T1-w", "größe in %"])
def test_names_of_entries_are_heard_as_they_are(name: str) -> None:
    assert heard(name) == name


@pytest.mark.parametrize(
    "name",
    ["1. crp", "a *b*", "a _b_", "_b_", "- a", "# a", "www.x.org", "a_www.x.org", "a (WWW.x.org)",
     "http://x", "a@b.org", "a :red[b]", "a --", "a\nb", "`a`", "<b>", "$x$", "a | b", "~a~", ""],
)  # fmt: skip
def test_names_of_entries_that_would_be_markdown_are_not(name: str) -> None:
    assert heard(name) == plain(name)
