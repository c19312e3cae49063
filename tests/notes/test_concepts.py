"""Concepts of notes: hard sentences, offsets, the user's own words, and what is drawn."""

from __future__ import annotations

import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asfusion.exceptions import ConfigurationError, InputError
from asfusion.notes import find_concepts
from asfusion.notes._lexicon import axspa_lexicon, concept_meanings

SENTENCES = Path(__file__).with_name("context_sentences.tsv")


def rows(split: str) -> list[dict[str, str]]:
    with SENTENCES.open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == split]


def f1_of_denials(sentences: list[dict[str, str]]) -> float:
    counts: Counter[str] = Counter()
    for row in sentences:
        gold = {tuple(g.split("=")) for g in row["gold"].split("; ") if g != "-"}
        found = {(m.concept, m.context) for m in find_concepts(row["sentence"])}
        gold, found = (
            {pair for pair in pairs if pair[1] in ("negated", "family_negated")}
            for pairs in (gold, found)
        )
        counts["right"] += len(gold & found)
        counts["wrong"] += len(gold ^ found)
    return 2 * counts["right"] / (2 * counts["right"] + counts["wrong"])


@pytest.mark.parametrize(("split", "n_at_least"), [("tuned", 100), ("held", 50)])
def test_denials_are_understood_in_hard_sentences(split: str, n_at_least: int) -> None:
    sentences = rows(split)
    assert len(sentences) >= n_at_least
    assert f1_of_denials(sentences) >= 0.9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No uveitis, psoriasis or IBD.", ["negated"] * 3),
        ("Uveitis in the past, no psoriasis.", ["historical", "negated"]),
        ("No uveitis, morning stiffness 20 min.", ["negated", "present"]),
        ("Father has psoriasis; she has no psoriasis.", ["family", "negated"]),
        ("Family history:\npsoriasis\nuveitis\nEyes: uveitis.", ["family", "family", "present"]),
        ("Plan: IBP cannot be excluded.", ["possible"]),
        ("? uveitis", ["possible"]),
        ("uveitis?", ["possible"]),
        ("no HLA\N{NON-BREAKING HYPHEN}B27", ["negated"]),
        ("Mother of two with psoriasis.", ["present"]),
        ("HLA-B27 -ve", ["negated"]),
        ("HLA-B27 (-ve), CRP raised", ["negated", "present"]),
        ("HLA-B27-ve axial SpA", ["negated", "present"]),
        ("HLA-B27 \N{MINUS SIGN}ve.", ["negated"]),
        ("-ve for psoriasis and uveitis", ["negated", "negated"]),
        ("HLA-B27 +ve, uveitis -ve", ["present", "negated"]),
        ("+ve for HLA-B27", ["present"]),
        ("HLA-B27 -", ["negated"]),
        ("HLA-B27 -\nPsoriasis +", ["negated", "present"]),
        ("HLA-B27 +/-", ["possible"]),
        ("Uveitis (2011-), psoriasis - plaques.", ["historical", "present"]),
        ("Self-ventilating, uveitis", ["present"]),
        ("HLA-B27 not tested", ["hypothetical"]),
        ("HLA-B27 has not yet been done", ["hypothetical"]),
        ("HLA-B27 hasn't been tested", ["hypothetical"]),
        ("HLA-B27: not available", ["hypothetical"]),
        ("HLA-B27 status unknown.", ["hypothetical"]),
        ("Uveitis of unknown cause, psoriasis whose cause is unknown.", ["present", "present"]),
        ("HLA-B27 testing was declined", ["hypothetical"]),
        ("Night pain has declined.", ["present"]),
        ("Order HLA-B27 in view of the uveitis.", ["hypothetical", "present"]),
        ("We arranged HLA-B27.", ["hypothetical"]),
        ("In order to settle the uveitis, drops.", ["present"]),
        ("Without dactylitis, with enthesitis", ["negated", "present"]),
        ("Without fever and with enthesitis", ["present"]),
        ("No uveitis, with or without psoriasis", ["negated", "negated"]),
        ("No&nbsp;uveitis, HLA&#8209;B27 &plus;", ["negated", "present"]),
        ("No&amp;nbsp;uveitis; R&D, psoriasis", ["negated", "present"]),
    ],
)
def test_contexts(text: str, expected: list[str]) -> None:
    assert [mention.context for mention in find_concepts(text)] == expected


def test_offsets_are_those_of_the_note_as_it_was_given() -> None:
    text = "  \N{EN DASH} No\N{NO-BREAK SPACE} uveitis,\tHLA\N{NON-BREAKING HYPHEN}B27 +."
    uveitis, allele = find_concepts(text)
    assert text[uveitis.start : uveitis.end] == "uveitis"
    assert text[allele.start : allele.end] == "HLA\N{NON-BREAKING HYPHEN}B27"
    assert [text[a:b] for a, b in uveitis.cues] == ["No"]


def test_entities_of_html_are_read_and_offsets_lead_back() -> None:
    text = "CRP &lt;5.&#10;No&nbsp;uveitis &ndash; HLA&#45;B27&nbsp;+"
    uveitis, allele = find_concepts(text)
    assert (uveitis.context, allele.context) == ("negated", "present")
    assert text[uveitis.start : uveitis.end] == "uveitis"
    assert text[allele.start : allele.end] == "HLA&#45;B27"


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("The pain improves with NSAIDs.", "present"),
        ("Back pain eases quickly on ibuprofen.", "present"),
        ("Pain is relieved by naproxen", "present"),
        ("No improvement with NSAIDs", "negated"),
    ],
)
def test_relief_by_anti_inflammatories_is_met(text: str, context: str) -> None:
    [found] = [m for m in find_concepts(text) if m.concept == "nsaid_response"]
    assert found.context == context


def test_own_concepts_extend_and_replace() -> None:
    own = {"vaping": [r"vap(?:es|ing)"], "Red Eye": ["red eyes?"]}
    found = find_concepts("Denies vaping. Red-eye in 2019. Uveitis.", own)
    assert [(m.concept, m.context) for m in found] == [
        ("vaping", "negated"),
        ("red_eye", "historical"),
        ("uveitis", "present"),
    ]
    alone = find_concepts("Vaping and uveitis.", own, builtin=False)
    assert [m.concept for m in alone] == ["vaping"]
    replaced = find_concepts("Uveitis, iritis.", {"uveitis": ["iritis"]})
    assert len(replaced) == 1


@pytest.mark.parametrize(
    ("concepts", "match"),
    [
        (["uveitis"], "concepts: expected a mapping of names to lists of patterns"),
        ({"a": "word"}, "concepts: expected a mapping"),
        ({"a": []}, "concepts: expected a mapping"),
        ({"?": ["a"]}, "concepts: expected a mapping"),
        ({"A b": ["a"], "a_b": ["b"]}, "concepts: expected names that differ by more than case"),
        ({"a": ["(open"]}, r"concepts\['a'\]: expected regular expressions, got '\(open'"),
        ({"a": ["x*"]}, r"concepts\['a'\]: expected patterns of words"),
    ],
)
def test_bad_concepts_are_refused(concepts: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        find_concepts("text", concepts)


def test_something_must_be_looked_for() -> None:
    with pytest.raises(ConfigurationError, match="at least one concept with builtin=False"):
        find_concepts("text", builtin=False)
    with pytest.raises(InputError, match="find_concepts: expected a text, got list"):
        find_concepts(["text"])  # type: ignore[arg-type]


def test_every_concept_has_a_meaning_and_a_source() -> None:
    meanings = concept_meanings()
    assert list(meanings) == list(axspa_lexicon())
    assert all(meaning and source.startswith("doi:10.") for meaning, source in meanings.values())


def test_it_draws_itself_with_everything_escaped() -> None:
    found = find_concepts("<script>No uveitis</script> & psoriasis", {"x<y": ["script"]})
    page = found._repr_html_()
    assert "<script>" not in page and "&lt;" in page and "&amp;" in page
    assert "uveitis · negated" in page and "<u>No</u>" in page
    assert repr(found) == "<FoundConcepts: 3 present, 1 negated>"
    assert repr(find_concepts("")) == "<FoundConcepts: no concept>"
    frame = found.to_frame()
    assert frame["words"].tolist() == ["script", "uveitis", "script", "psoriasis"]
    assert found[1].concept == "uveitis" and len(found) == 4


@settings(max_examples=60)
@given(
    st.text(st.characters(), max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "no",
                "uveitis",
                "psoriasis",
                ",",
                "but",
                "father",
                "in 2011",
                "?",
                "and",
                ";",
                "é",
                "\n",
            ]
        ),
        max_size=14,
    ).map(" ".join)
)
def test_any_text_gives_spans_in_order_inside_it(text: str) -> None:
    found = find_concepts(text)
    places = [(m.start, m.end) for m in found]
    assert places == sorted(places)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert all(a[1] <= b[0] for a, b in pairwise(places))
    found._repr_html_()


def test_long_notes_take_time_in_proportion() -> None:
    """A rule that is not linear takes hours, which the timeout of all tests ends."""
    text = "No uveitis, father with psoriasis, CRP normal, heel pain in 2011. "
    assert len(find_concepts(2000 * text)) == 8000
