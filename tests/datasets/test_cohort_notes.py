"""The cohort's notes say what is true, in many ways, and never give the answer away."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from asfusion.datasets._phantoms.notes import (
    MAX_WORDS,
    MIN_WORDS,
    NOTE_CONCEPTS,
    NOTE_FORBIDDEN,
    STIFF_FROM_MIN,
    Mention,
    NoteFacts,
    write_note,
    write_note_with_mentions,
)
from asfusion.exceptions import ConfigurationError
from tests.work import count_calls

N_NOTES = 2000
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = "(" + "|".join(MONTHS) + ")[a-z]*"
# Words that name a concept whoever the author is; each must lie within a mention of it.
NAMES = {
    "uveitis": r"\b(?:uveitis|iritis|AAU)\b",
    "psoriasis": r"\b(?:psoriasis|PsO)\b",
    "ibd": r"\bIBD\b|Crohn|\bcolitis\b|inflammatory bowel",
    "dactylitis": r"\bdactylitis\b|sausage",
    "enthesitis": r"\benthesitis\b|\bentheses\b",
    "heel": r"\bheel pain\b|\bheels\b(?! and)",
    "arthritis": r"\bsynovitis\b|\barthritis\b|swollen joint",
    "inflammatory_back_pain": r"\bIBP\b|inflammatory back pain",
    "smoker": r"smok",
    "family_history": r"\bFHx\b(?!:)|\brelatives\b",
}
DENIALS = re.compile(
    r"\b(?:no|not|never|denies|without|w/o|neg for|none|non|nil|nothing|free)\b", re.IGNORECASE
)


def draw_facts(rng: np.random.Generator, **known: object) -> NoteFacts:
    def yes(p: float) -> bool:
        return bool(rng.random() < p)

    def asked(p: float) -> bool | None:
        return None if rng.random() < 0.15 else yes(p)

    age = int(rng.integers(18, 72))
    months = float(rng.uniform(1, min(240, (age - 14) * 12)))
    drawn: dict[str, object] = {
        "age": age,
        "sex": "f" if yes(0.5) else "m",
        "index_date": dt.date(2012, 1, 1) + dt.timedelta(days=int(rng.integers(4700))),
        "onset_age": age - months / 12,
        "duration_months": months,
        "insidious": yes(0.6),
        "better_exercise": yes(0.5),
        "better_rest": yes(0.4),
        "night_pain": yes(0.5),
        "alternating_buttock": yes(0.3),
        "morning_stiffness_min": float(rng.choice([0, 3, 5, 10, 20, 30, 45, 60, 90, 180])),
        "uveitis": asked(0.2),
        "psoriasis": asked(0.2),
        "ibd": asked(0.15),
        "enthesitis": asked(0.3),
        "heel": asked(0.25),
        "dactylitis": asked(0.15),
        "arthritis": asked(0.3),
        "family_history": asked(0.3),
        "nsaid_response": asked(0.5),
        "smoker": asked(0.3),
        "trauma": yes(0.2),
        "lifting_job": yes(0.3),
        "pain_nrs": float(rng.uniform(0, 10)),
        "fatigue_nrs": float(rng.uniform(0, 10)),
        "site": int(rng.integers(9)),
        "author": int(rng.integers(25)),
    }
    return NoteFacts(**(drawn | known))  # type: ignore[arg-type]


Note = tuple[NoteFacts, str, list[Mention]]


@pytest.fixture(scope="module")
def notes() -> list[Note]:
    rng = np.random.default_rng(7)
    written = []
    for _ in range(N_NOTES):
        facts = draw_facts(rng)
        written.append((facts, *write_note_with_mentions(facts, rng)))
    return written


def forbidden_in(text: str) -> list[str]:
    """Return forbidden words: short ones as whole words, others as beginnings of words."""
    return [
        term
        for term in NOTE_FORBIDDEN
        if re.search(rf"\b{re.escape(term)}" + (r"\b" if len(term) < 6 else ""), text.lower())
    ]


def truth(facts: NoteFacts, concept: str) -> bool | None:
    if concept == "morning_stiffness":
        return facts.morning_stiffness_min >= STIFF_FROM_MIN
    return getattr(facts, concept)  # type: ignore[no-any-return]


def dates_in(text: str) -> list[dt.date]:
    """Return every date, at its earliest possible day."""
    found = []

    def take(year: str, month: str = "1", day: str = "1") -> str:
        found.append(dt.date(int(year), int(month), int(day)))
        return " "

    def number(name: str) -> str:
        return str(MONTHS.index(name[:3].lower()) + 1)

    for pattern, reading in (
        (r"(\d{4})-(\d\d)-(\d\d)", lambda m: take(m[1], m[2], m[3])),
        (r"(\d\d)[/.](\d\d)[/.](\d{4})", lambda m: take(m[3], m[2], m[1])),
        (rf"(\d{{1,2}})[ -]{MONTH}[ -](\d{{4}})", lambda m: take(m[3], number(m[2]), m[1])),
        (rf"\b{MONTH} (\d{{4}})", lambda m: take(m[2], number(m[1]))),
        (r"\b(\d\d)/(\d{4})", lambda m: take(m[2], m[1])),
        (r"\b((?:19|20)\d\d)\b(?! mg)", lambda m: take(m[1])),
    ):
        text = re.sub(pattern, reading, text, flags=re.IGNORECASE)
    return found


def test_no_note_gives_the_answer_away(notes: list[Note]) -> None:
    given_away = {term for _, text, _ in notes for term in forbidden_in(text)}

    assert given_away == set()


@pytest.mark.parametrize(
    "text",
    [
        "Known ankylosing spondylitis.",
        "HLA-B27 positive",
        "? axSpA",
        "CRP 12",
        "MRI: oedema of SIJ",
    ],
)
def test_the_search_for_forbidden_words_finds_them(text: str) -> None:
    assert forbidden_in(text)


def test_every_note_keeps_to_the_length(notes: list[Note]) -> None:
    lengths = [len(text.split()) for _, text, _ in notes]

    assert min(lengths) >= MIN_WORDS
    assert max(lengths) <= MAX_WORDS


def test_the_least_and_the_most_to_say_both_fit() -> None:
    rng = np.random.default_rng(3)
    asked = [f.name for f in dataclasses.fields(NoteFacts) if "None" in str(f.type)]
    for value in (None, True, False):
        for k in range(150):
            facts = draw_facts(rng, site=k % 6, author=k // 6, **dict.fromkeys(asked, value))
            assert MIN_WORDS <= len(write_note(facts, rng).split()) <= MAX_WORDS


def test_no_date_is_after_the_index_date(notes: list[Note]) -> None:
    found = [(day, facts) for facts, text, _ in notes for day in dates_in(text)]

    assert len(found) > 2 * len(notes)
    assert all(day <= facts.index_date for day, facts in found)
    assert all(day.year >= facts.index_date.year - facts.age for day, facts in found)


def test_dates_come_in_several_formats(notes: list[Note]) -> None:
    everything = " ".join(text for _, text, _ in notes)

    for pattern in (
        r"\d{4}-\d\d-\d\d",
        r"\d\d/\d\d/\d{4}",
        r"\d\d\.\d\d\.\d{4}",
        rf"\d\d-{MONTH}-\d{{4}}",
        rf"\d {MONTH} \d{{4}}",
        r" \d\d/\d{4}",
    ):
        assert len(re.findall(pattern, everything, flags=re.IGNORECASE)) > 20


def test_mentions_agree_with_the_facts(notes: list[Note]) -> None:
    expected = {"positive": True, "historical": True, "negated": False}
    for facts, _, mentions in notes:
        for mention in mentions:
            if mention.polarity in expected:
                assert truth(facts, mention.concept) is expected[mention.polarity], mention


def test_mentions_point_at_words_in_order(notes: list[Note]) -> None:
    for _, text, mentions in notes:
        ends = [0]
        for mention in mentions:
            assert mention.concept in NOTE_CONCEPTS
            assert ends[-1] <= mention.start < mention.end <= len(text)
            assert text[mention.start : mention.end] == text[mention.start : mention.end].strip()
            ends.append(mention.end)


@pytest.mark.parametrize("concept", NOTE_CONCEPTS)
def test_each_concept_is_said_and_left_out(notes: list[Note], concept: str) -> None:
    share = np.mean([any(m.concept == concept for m in said) for _, _, said in notes])

    assert 0.15 < share < 0.9


def test_every_polarity_occurs_where_it_can(notes: list[Note]) -> None:
    seen = {(m.concept, m.polarity) for _, _, said in notes for m in said}
    past = {"uveitis", "psoriasis", "ibd", "enthesitis", "heel", "dactylitis", "arthritis"}
    advised = {"uveitis", "psoriasis", "ibd", "arthritis"}
    in_relatives = {"uveitis", "psoriasis", "ibd"}
    certain = set(NOTE_CONCEPTS) - {"inflammatory_back_pain"}
    unhedged = {"smoker", "lifting_job"}

    assert {c for c, p in seen if p == "positive"} == certain
    assert {c for c, p in seen if p == "negated"} == certain
    assert {c for c, p in seen if p == "historical"} == past
    assert {c for c, p in seen if p == "hypothetical"} == advised
    assert {c for c, p in seen if p == "family"} == in_relatives
    assert {c for c, p in seen if p == "hedged"} == set(NOTE_CONCEPTS) - unhedged
    assert {p for c, p in seen if c == "inflammatory_back_pain"} == {"hedged"}


@pytest.mark.parametrize("concept", NAMES)
def test_no_name_of_a_concept_goes_unmarked(notes: list[Note], concept: str) -> None:
    found = 0
    for _, text, mentions in notes:
        spans = [(m.start, m.end) for m in mentions if m.concept == concept]
        for match in re.finditer(NAMES[concept], text, flags=re.IGNORECASE):
            if re.match(r"FAMILY HISTORY:|FHx:", text[match.start() :]):
                continue
            found += 1
            assert any(a < match.end() and match.start() < b for a, b in spans), text[
                max(0, match.start() - 60) : match.end() + 20
            ]
    assert found > 100


def test_denials_are_worded_as_denials_and_only_they(notes: list[Note]) -> None:
    names = re.compile("|".join(NAMES[c] for c in ("uveitis", "psoriasis", "ibd", "dactylitis")))
    denied: dict[str, list[bool]] = {"negated": [], "positive": [], "historical": []}
    for _, text, mentions in notes:
        for mention in mentions:
            if mention.polarity in denied and names.search(text[mention.start : mention.end]):
                before = re.split(r"[.;:\n]", text[: mention.start])[-1]
                denied[mention.polarity].append(bool(DENIALS.search(before)))

    assert np.mean(denied["negated"]) > 0.97
    # Authors who join everything by commas leave the reach of a "no" to the reader.
    assert np.mean(denied["positive"] + denied["historical"]) < 0.25


def test_a_relatives_disease_is_not_the_patients() -> None:
    rng = np.random.default_rng(11)
    said = []
    for _ in range(400):
        facts = draw_facts(rng, family_history=True, psoriasis=False, uveitis=None, ibd=None)
        text, mentions = write_note_with_mentions(facts, rng)
        said += [(text, m) for m in mentions if m.concept in ("psoriasis", "uveitis", "ibd")]
    family = [(text, m) for text, m in said if m.polarity == "family"]

    assert len(family) > 100
    assert not any(m.polarity in ("positive", "historical") for _, m in said)
    relative = re.compile(r"mother|father|brother|sister|uncle|aunt|daughter|son", re.IGNORECASE)
    near = [bool(relative.search(text[max(0, m.start - 45) : m.start])) for text, m in family]
    assert np.mean(near) > 0.95  # the rest are misspelt relatives


def test_what_was_not_asked_is_not_said() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        facts = draw_facts(rng, uveitis=None, smoker=None, nsaid_response=None)
        mentions = write_note_with_mentions(facts, rng)[1]
        assert not any(m.concept in ("smoker", "nsaid_response") for m in mentions)
        polarities = {m.polarity for m in mentions if m.concept == "uveitis"}
        assert polarities <= {"family", "hypothetical"}


def test_same_state_same_note_and_mentions() -> None:
    facts = draw_facts(np.random.default_rng(1))
    first = write_note_with_mentions(facts, np.random.default_rng(2))

    assert write_note_with_mentions(facts, np.random.default_rng(2)) == first
    assert write_note(facts, np.random.default_rng(2)) == first[0]
    assert write_note(facts, np.random.default_rng(3)) != first[0]


def test_wording_varies(notes: list[Note]) -> None:
    texts = [text for _, text, _ in notes]
    words = [re.findall(r"[a-z]+", text.lower()) for text in texts]
    bigrams = {pair for note in words for pair in pairwise(note)}
    sentences = [s.strip() for text in texts for s in re.split(r"[.;\n]", text) if len(s) > 25]

    assert len(set(texts)) == N_NOTES
    assert len(bigrams) > 9000
    assert len(set(sentences)) / len(sentences) > 0.4


def test_authors_differ_in_manner_and_slips() -> None:
    rng = np.random.default_rng(9)
    by_author = [
        [write_note(draw_facts(rng, author=author, site=1), rng) for _ in range(60)]
        for author in range(12)
    ]
    words = [re.findall(r"[a-z]{5,}", " ".join(texts)) for texts in by_author]
    authors = Counter(word for used in words for word in set(used))
    # A slip is a word of one author that no other author ever writes.
    slips = [np.mean([authors[word] == 1 for word in used]) for used in words]
    pronouns = [
        np.mean([len(re.findall(r"\bs?he\b", text, re.IGNORECASE)) for text in texts])
        for texts in by_author
    ]

    assert min(slips) < 0.005
    assert max(slips) > 0.01
    assert max(pronouns) > 3 * min(pronouns)


def test_sites_differ_in_headings() -> None:
    rng = np.random.default_rng(9)
    headings = []
    for site in range(6):
        text = " ".join(write_note(draw_facts(rng, site=site), rng) for _ in range(30))
        headings.append(
            frozenset(re.findall(r"(PC|CHIEF COMPLAINT|To do|Request|Dear|\nS):?", text))
        )

    assert len(set(headings)) == 6


@pytest.mark.parametrize(
    ("fact", "low"), [("better_exercise", 0.7), ("night_pain", 0.75), ("psoriasis", 0.7)]
)
def test_words_tell_much_of_a_fact_but_not_all(notes: list[Note], fact: str, low: float) -> None:
    known = [(text, getattr(facts, fact)) for facts, text, _ in notes]
    texts, values = zip(*[(t, v) for t, v in known if v is not None], strict=True)
    half = len(texts) * 2 // 3
    words = CountVectorizer(binary=True, min_df=3)
    x = words.fit_transform(texts[:half])
    model = LogisticRegression(C=0.3, max_iter=2000).fit(x, values[:half])
    auc = roc_auc_score(values[half:], model.predict_proba(words.transform(texts[half:]))[:, 1])

    assert low < auc < 0.97


def test_a_note_takes_little_work() -> None:
    """At most ten thousand calls, which take a millisecond or two."""
    rng = np.random.default_rng(0)
    facts = [draw_facts(rng) for _ in range(100)]
    assert count_calls(lambda: [write_note(each, rng) for each in facts]) < 10_000 * len(facts)


def test_an_unknown_sex_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected sex 'f' or 'm'"):
        draw_facts(np.random.default_rng(0), sex="female")


@pytest.mark.parametrize("name", ["site", "author"])
def test_a_negative_site_or_author_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="site and author to be non-negative"):
        draw_facts(np.random.default_rng(0), **{name: -1})
