"""Cleaning with offsets gives the cleaned note, and leads back to the original."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from asfusion.notes import clean_note, clean_with_offsets

HARD = "a 1½²⁹\n\r\t ́̈éﬁ㎎한ᄀ\N{NON-BREAKING HYPHEN}\N{EN DASH}ºA\x00\u200b"


@settings(max_examples=300)
@given(
    st.text(st.characters(), max_size=40)
    | st.text(st.sampled_from(HARD), max_size=30)
    | st.lists(
        st.sampled_from([*HARD, "&", "amp;", "&nbsp;", "&#189;", "&#38;", "lt;", "&gt"])
    ).map("".join)
)
def test_text_is_that_of_clean_note_and_offsets_fit(text: str) -> None:
    note = clean_with_offsets(text)
    assert note.text == clean_note(text)
    assert len(note.starts) == len(note.ends) == len(note.text)
    pairs = zip(note.starts, note.ends, strict=True)
    assert all(0 <= start <= end <= len(text) for start, end in pairs)


def test_words_are_found_again_in_the_original() -> None:
    text = "\t WBC  12 x 10⁹/L;\r\n\r\n Sjo\u0308gren \N{LATIN SMALL LIGATURE FI}rst"
    note = clean_with_offsets(text)
    for word, original in {"WBC": "WBC", "10^9/L": "10⁹/L", "Sjögren": "Sjo\u0308gren"}.items():
        start = note.text.index(word)
        first, last = note.original_span(start, start + len(word))
        assert text[first:last] == original
    start = note.text.index("first")
    first, last = note.original_span(start, start + 5)
    assert text[first:last] == "\N{LATIN SMALL LIGATURE FI}rst"


def test_empty_stretches_have_a_place_too() -> None:
    note = clean_with_offsets("  ab ")
    assert note.original_span(1, 1) == (3, 3)
    assert note.original_span(2, 2) == (4, 4)
    assert clean_with_offsets(" ").original_span(0, 0) == (0, 0)
