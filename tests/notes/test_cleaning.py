"""Notes are brought to one spelling, and nothing that a clinician wrote is lost."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asfusion.notes.cleaning import clean_note, fold_note

ANY_TEXT = st.text(st.characters(), max_size=60)  # lone surrogates and NUL included
WEIRD = [
    "",
    "\x00",
    "\ud800 lone surrogate",
    "🦴👩🏽‍⚕️",
    "שלום‎ ‮מימין לשמאל",
    "e" + "\u0301" * 50,
    "a" * 5000,
    "\u200b\u200d\ufeff",
]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("10⁹/L", "10^9/L"),
        ("10⁻³", "10^-3"),
        ("kg/m²", "kg/m2"),
        ("1½ tablets", "1 1/2 tablets"),
        ("½3", "1/2 3"),
        ("SpO₂ 92 %", "SpO2 92 %"),
        ("5 ㎎", "5 mg"),
        ("5 ㎍", "5 μg"),
        ("38 ºC", "38 °C"),
        ("38℃", "38°C"),
        ("HLA-B*27:05", "HLA-B*27:05"),
        ("CRP ≥ 5 \u2013 10", "CRP ≥ 5 - 10"),
        ("\u22122.5", "-2.5"),
        ("patient\u2019s “back pain”", 'patient\'s "back pain"'),
        ("Sjögren, Behçet", "Sjögren, Behçet"),
        ("in\u00adflam\u200bmation", "inflammation"),
        ("a\x00b\tc", "a b c"),
        ("one\r\n\r\n  two  \u2028three", "one\ntwo\nthree"),
        ("a\ud800b", "a\ufffdb"),
        (" \u200b \x07 ", ""),
        ("CRP &lt;5&nbsp;mg/L &amp; ESR&#160;9", "CRP <5 mg/L & ESR 9"),
        ("No&amp;amp;nbsp;uveitis", "No uveitis"),
        ("B&#xad;27&shy; &#8209; &#57344", "B27 - &#57344"),
        ("&nbsp;&zwj;&#8203;", ""),
        ("R&D; A&E &notes; &#; &lt", "R&D; A&E &notes; &#; &lt"),
    ],
)
def test_known_spellings(raw: str, clean: str) -> None:
    assert clean_note(raw) == clean


@pytest.mark.parametrize("text", WEIRD)
def test_weird_text_is_clean_and_encodable(text: str) -> None:
    _check_clean(text)


@given(ANY_TEXT)
@example("1\u00bd\u00b2")
@example("&\N{FULLWIDTH SEMICOLON}&#38;#x37e;&#xff06;lt;")
def test_cleaning_is_idempotent_and_leaves_nothing_invisible(text: str) -> None:
    _check_clean(text)


@given(ANY_TEXT)
def test_digits_and_letters_of_ascii_stay_in_order(text: str) -> None:
    text = text.replace("&", "+")  # an entity becomes its sign
    kept = iter(clean_note(text))
    assert all(char in kept for char in text if char.isascii() and char.isalnum())


def _check_clean(text: str) -> None:
    clean = clean_note(text)
    assert clean_note(clean) == clean
    clean.encode("utf-8")
    hidden = {unicodedata.category(char) for char in clean if char != "\n"} & {"Cc", "Cf", "Cs"}
    assert not hidden
    assert clean == clean.strip()


@given(ANY_TEXT)
def test_folding_is_idempotent(text: str) -> None:
    assert fold_note(fold_note(clean_note(text))) == fold_note(clean_note(text))


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("SJÖGREN Behçet", "sjogren behcet"),
        ("İstanbul", "istanbul"),
        ("किडनी", "किडनी"),
        ("CRP 5", "crp 5"),
    ],
)
def test_folding_drops_accents_of_latin_letters_only(text: str, folded: str) -> None:
    assert fold_note(text) == folded
