"""Notes and patterns made to cost time: growth in proportion, refusals, and the same results."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import asfusion as af
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.notes import clean_note, clean_with_offsets, find_concepts, redact
from asfusion.notes._dates import find_dates
from asfusion.notes._lexicon import axspa_lexicon, build_lexicon
from asfusion.notes._patterns import compile_pattern, read_groups
from asfusion.notes._scanner import Scanner
from asfusion.notes._steps import bounded, steps
from asfusion.notes.cleaning import fold_note
from asfusion.notes.concepts import LONGEST_NOTE
from asfusion.notes.tokenizer import encode_notes, train_tokenizer
from tests.forging.notes import attacked_text, hostile_note, hostile_pattern

SEEDS = range(900, 908)


def names(size: int) -> str:
    """Return a note of many names that begin alike."""
    letters = itertools.product("abcdefghij", repeat=4)
    return "".join(f"Dr Smith A{''.join(own)}. Smith. " for own in letters)[:size]


def nested(size: int) -> str:
    """Return entities whose signs are entities, as deep as the note is long."""
    return "&#17" * (size // 6) + "&#173;" + "3;" * (size // 6)


def processor_time(of: Callable[[str], Any], note: str) -> float:
    def once() -> float:
        start = time.process_time()
        of(note)
        return time.process_time() - start

    return min(once(), once())


@pytest.mark.parametrize(
    ("of", "note"),
    [
        (find_concepts, lambda n: ("no uveitis," * n)[:n]),
        (find_concepts, lambda n: ("mother uveitis in his " * n)[:n]),
        (find_concepts, lambda n: "?" * n + "uveitis" + "," * n),
        (find_concepts, lambda n: " " * n + "1 uveitis"),
        (clean_note, lambda n: "\u0316\u0301" * n),
        (clean_note, nested),
        (clean_with_offsets, nested),
        (fold_note, lambda n: "\u0316\u0301" * n),
        (redact, names),
        (lambda note: find_concepts(note)._repr_html_(), lambda n: ("no uveitis, " * n)[:n]),
    ],
)
def test_what_was_not_linear_is(of: Callable[[str], Any], note: Callable[[int], str]) -> None:
    few, many = processor_time(of, note(2_000)), processor_time(of, note(16_000))
    assert many < 24 * max(few, 0.002), f"8 times the text took {many / few:.0f} times as long"


@pytest.mark.parametrize("of", [find_concepts, redact, clean_with_offsets, find_dates])
def test_hostile_notes_take_time_in_proportion(of: Callable[[str], Any]) -> None:
    few = sum(processor_time(of, hostile_note(seed, 500)) for seed in SEEDS)
    many = sum(processor_time(of, hostile_note(seed, 4_000)) for seed in SEEDS)
    assert many < 24 * few


def test_cues_of_a_mention_are_the_nearest_ones() -> None:
    found = find_concepts("no uveitis, " * 100)
    assert {mention.context for mention in found} == {"negated"}
    assert max(len(mention.cues) for mention in found) == 17  # its own, and 16 that reach it
    text, last = found.text, found[-1]
    assert [text[a:b] for a, b in last.cues[-2:]] == ["no", "no"]
    assert last.cues[-1][1] == last.start - 1


def test_a_note_longer_than_any_is_refused() -> None:
    with pytest.raises(InputError, match=r"at most 4,000,000 characters, got 4,000,001\. Cut it"):
        find_concepts(" " * (LONGEST_NOTE + 1))


def test_patterns_are_found_as_by_looking_for_each() -> None:
    own = [p for patterns in axspa_lexicon().values() for p in patterns]
    groups, _ = read_groups("context_cues.txt")
    own += [compile_pattern(line) for _, lines in groups for line in lines]
    scanner = Scanner(own)
    for seed in range(700, 740):
        note = hostile_note(seed, 400)
        expected = {
            (number, *match.span())
            for number, pattern in enumerate(own)
            for match in pattern.finditer(note)
            if match[0]
        }
        assert set(scanner.find(note)) == expected, seed


def test_patterns_of_strangers_are_refused_or_quick() -> None:
    admitted = 0
    for seed in range(400, 800):
        try:
            lexicon = build_lexicon({"x": [hostile_pattern(seed)]}, builtin=False)
        except ConfigurationError:
            continue
        admitted += 1
        text = attacked_text(seed)
        start = time.process_time()
        found = [span for _, *span in Scanner(lexicon["x"]).find(text)]
        assert time.process_time() - start < 5, seed  # what is not bounded takes hours
        assert found == [list(m.span()) for m in lexicon["x"][0].finditer(text) if m[0]], seed
    assert admitted > 20


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+b", "(a|a)*b", "(a|aa)+$", r"(?:\w+\s?)*x", "(?:a?){30}a{30}", r"(a)\1", "(?>a+)b",
     r"\w*\w*\w*x", "(((((((a*)*)*)*)*)*)*)b", "a{0,5000}b{0,5000}"],
)  # fmt: skip
def test_patterns_that_can_take_long_are_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="take at most 10,000 steps from one place"):
        find_concepts("text", {"x": [pattern]})


@pytest.mark.parametrize("pattern", ["a{99999999999}", "a++", 160 * "(" + "a" + 160 * ")+"])
def test_what_cannot_be_compiled_is_our_error(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=r"concepts\['x'\]"):
        find_concepts("text", {"x": [pattern]})


def test_a_pattern_that_meets_no_word_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected patterns of words"):
        find_concepts("text", {"x": ["(?=t)"]})


def test_too_many_costly_patterns_are_refused() -> None:
    costly = {f"c{n}": [rf"\w*{n}\d*x"] for n in range(100)}
    with pytest.raises(ConfigurationError, match="at most 200,000 steps together"):
        find_concepts("text", costly)


def test_ordinary_patterns_of_users_stay() -> None:
    own = {
        "a": [r"smok\w*"],
        "b": [r"(?:\w+ ){0,4}with iritis"],
        "c": [r"\d+ (?:cigarettes?|a day)"],
    }
    found = find_concepts("Smokes 20 cigarettes. Seen again with iritis", own, builtin=False)
    assert [m.concept for m in found] == ["a", "c", "b"]


def test_our_own_patterns_are_bounded_too() -> None:
    own = [p for patterns in axspa_lexicon().values() for p in patterns]
    groups, _ = read_groups("context_cues.txt")
    own += [compile_pattern(line) for _, lines in groups for line in lines]
    assert all(steps(re.compile(bounded(p.pattern), p.flags)) < 40_000 for p in own)


def test_a_pattern_that_a_bundle_forged_is_refused_when_it_predicts() -> None:
    X = pd.DataFrame({"note": ["a" * 60 + "!"]})
    encoder = af.ConceptEncoder("note").fit(X)
    encoder.concepts = {"x": ["(a+)+b"]}
    with pytest.raises(ConfigurationError, match="steps from one place"):
        encoder.transform(X)


def test_an_expression_that_a_bundle_put_in_a_tokenizer_is_refused() -> None:
    forged = train_tokenizer(["back pain"]).replace(r"|\\s", "|(a+)+b")
    with pytest.raises(ConfigurationError, match="Tokenizer: expected no regular expression but"):
        encode_notes(forged, ["a" * 60], max_tokens=8)


def test_hostile_notes_end_in_a_result() -> None:
    for seed in range(800, 840):
        note = hostile_note(seed, 600)
        clean = clean_with_offsets(note)
        assert clean.text == clean_note(note) == clean_note(clean.text), seed
        assert all(0 <= m.start < m.end <= len(note) for m in find_concepts(note)), seed
        redact(note)


def test_a_note_of_ligatures_is_refused() -> None:
    """One sign may stand for eighteen letters, which would take a hundred times its memory."""
    with pytest.raises(InputError, match="20,000 characters that stand for 360,000"):
        find_concepts("\ufdfa" * 20_000)
    assert len(find_concepts("\ufdfa No uveitis, af\ufb01rmed.").mentions) == 1
