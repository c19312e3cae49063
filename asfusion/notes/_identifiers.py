"""What identifies people in a note: names, numbers, places, institutions.

Each recogniser reads what stands around an identifier, a title, a heading, the form of a
number, never a list of all names: a person's name may be any word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TypeAlias

from asfusion.notes._patterns import read_groups

Found: TypeAlias = tuple[int, int, str]

_MACRO = re.compile(r"\{([A-Z_]+)\}")
_HYPHENS = "\N{NON-BREAKING HYPHEN}-"
_APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"
_FEWEST_PHONE_DIGITS = 5
_NOT_A_NAME = "NOT A NAME"
_TRIMMED = ("NAME", "PLACE")


def find_identifiers(text: str) -> Iterator[Found]:
    """Yield start, end and category of what looks like an identifier, overlaps included."""
    for pattern, category in _patterns():
        for match in pattern.finditer(text):
            start, end = match.span("found")
            if category in _TRIMMED:
                first, last = _trimmed(text, start, end)
                # A place that opens with a plain word is a sentence, not a place.
                start, end = (first, last) if category == "NAME" or first == start else (0, 0)
            elif category == "PHONE":
                digits = sum(sign.isdigit() for sign in text[start:end])
                end = end if digits >= _FEWEST_PHONE_DIGITS else start
            if start < end:
                yield start, end, category


def spread_names(text: str, names: Iterable[str]) -> Iterator[Found]:
    """Yield every other place of the words of names that were found or given."""
    word = re.compile(rf"[^\W\d_](?:\w|[{_APOSTROPHES}{_HYPHENS}](?=\w))+")
    words = {w for name in names for w in word.findall(name)}
    kept = [w for w in words if len(w) > 2 and w[0].isupper() and w.lower() not in _plain_words()]
    yield from find_terms(text, sorted(kept, key=len, reverse=True), "NAME", ignore_case=False)


def find_terms(
    text: str, terms: Sequence[str], category: str, *, ignore_case: bool = True
) -> Iterator[Found]:
    """Yield the places of given words, also in capitals."""
    if not terms:
        return
    spelled = dict.fromkeys([*terms, *(term.upper() for term in terms)])
    joined = "|".join(re.escape(term) for term in spelled)
    pattern = re.compile(rf"(?<!\w)(?:{joined})(?!\w)", re.IGNORECASE if ignore_case else 0)
    for match in pattern.finditer(text):
        yield match.start(), match.end(), category


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a name without plain words before it, and up to the next plain word."""
    words = [(start + m.start(), start + m.end()) for m in re.finditer(r"\S+", text[start:end])]
    plain = [_bare(text[a:b]) in _plain_words() for a, b in words]
    while words and plain[0]:
        words, plain = words[1:], plain[1:]
    if True in plain:
        words = words[: plain.index(True)]
    return (words[0][0], words[-1][1]) if words else (start, start)


def _bare(word: str) -> str:
    return re.sub(r"\W", "", word).lower()


@lru_cache(maxsize=1)
def _plain_words() -> frozenset[str]:
    """Return words with a capital that are no names: openings, headings, eponyms of medicine."""
    groups, _ = read_groups("identifier_patterns.txt")
    return frozenset([*" ".join(dict(groups)[_NOT_A_NAME]).split(), ""])


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    groups, macros = read_groups("identifier_patterns.txt")

    def spelled(pattern: str) -> str:
        while _MACRO.search(pattern):
            pattern = _MACRO.sub(lambda match: macros[match[1]], pattern)
        return pattern

    return [
        (re.compile(spelled(line)), category)
        for category, lines in groups
        if category != _NOT_A_NAME
        for line in lines
    ]
