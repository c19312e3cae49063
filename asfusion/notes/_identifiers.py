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
_OF_TOWNS = ("new", "old", "bath")
_WORD = re.compile(r"\w+")
_NAME_WORD = re.compile(rf"[^\W\d_](?:\w|[{_APOSTROPHES}{_HYPHENS}](?=\w))+")
_LONGEST_WORD = 60
_FEWEST_CAPITALS = 4
_SURNAME = re.compile(rf"(?<!\w)([A-ZÀ-ÖØ-Þ](?:[A-ZÀ-ÖØ-Þ]|[{_APOSTROPHES}{_HYPHENS}](?=\w))+), $")


def find_identifiers(text: str) -> Iterator[Found]:
    """Yield start, end and category of what looks like an identifier, overlaps included."""
    for pattern, category in _patterns():
        group = "sure" if "sure" in pattern.groupindex else "found"
        for match in pattern.finditer(text):
            start, end = match.span(group)
            if category in _TRIMMED and group == "found":
                first, last = _trimmed(text, start, end)
                # A place that opens with a plain word is a sentence, but New York is a place.
                is_place = first == start or _bare(text[start:end].split()[0]) in _OF_TOWNS
                start, end = (first, last) if category == "NAME" or is_place else (0, 0)
                start = match.start(group) if category == "PLACE" and is_place else start
            elif category == "PHONE":
                digits = sum(sign.isdigit() for sign in text[start:end])
                end = end if digits >= _FEWEST_PHONE_DIGITS else start
            if start < end:
                yield start, end, category


def find_capitals(text: str) -> Iterator[Found]:
    """Yield words with a capital inside a sentence that are no known plain word.

    English has few of those beside names. A word that opens a sentence counts where such a
    word follows it at once.
    """
    words = [(m.start(), m.end()) for m in _capital_words().finditer(text)]
    odd = {
        place
        for place, (start, end) in enumerate(words)
        if _bare(text[start:end]).removesuffix("s") not in _plain_words()
        and _bare(text[start:end]) not in _plain_words()
    }
    for place, (start, end) in enumerate(words):
        if place not in odd:
            continue
        opens = _opens_sentence(text, start)
        follows = place + 1 in odd and text[end : words[place + 1][0]] in (" ", ", ")
        if not opens or follows:
            yield start, end, "NAME"
            yield from _surname_before(text, start)


def _surname_before(text: str, start: int) -> Iterator[Found]:
    """Yield the surname of "SMITH, John"; few capitals alone are an abbreviation in a list."""
    match = _SURNAME.search(text, max(0, start - _LONGEST_WORD), start)
    if match is None or _bare(match[1]) in _plain_words():
        return
    if len(match[1]) >= _FEWEST_CAPITALS or _opens_sentence(text, match.start(1)):
        yield match.start(1), match.end(1), "NAME"


def _opens_sentence(text: str, start: int) -> bool:
    while start and text[start - 1] in " \t\"'(*-":
        start -= 1
    return not start or text[start - 1] in ".!?:;\n\f"


class Names:
    """Names that were found or given, to be met again wherever a word of theirs stands."""

    def __init__(self, names: Iterable[str]) -> None:
        names = list(names)
        words = {w for name in names for w in _NAME_WORD.findall(name)}
        kept = {
            w for w in words if len(w) > 2 and w[0].isupper() and w.lower() not in _plain_words()
        }
        kept |= {w.capitalize() for w in kept if w.isupper()}
        # By first word and length: one look at each word of a text, however many names there are.
        self._opened: dict[str, dict[int, set[str]]] = {}
        for name in (*kept, *(name for name in names if " " in name)):
            for spelled in {name, name.upper()}:
                if first := _WORD.search(spelled):
                    own = spelled[first.start() :]
                    opened = self._opened.setdefault(first[0], {})
                    opened.setdefault(len(own), set()).add(own)

    def find(self, text: str) -> Iterator[Found]:
        """Yield their places in a text."""
        for match in _WORD.finditer(text):
            for length, own in self._opened.get(match[0], {}).items():
                end = match.start() + length
                if text[match.start() : end] in own and not _WORD.match(text, end):
                    yield match.start(), end, "NAME"


def find_terms(text: str, terms: Sequence[str], category: str) -> Iterator[Found]:
    """Yield the places of given words, whatever the case."""
    if not terms:
        return
    joined = "|".join(re.escape(term) for term in dict.fromkeys(terms))
    pattern = re.compile(rf"(?<!\w)(?:{joined})(?!\w)", re.IGNORECASE)
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
def _capital_words() -> re.Pattern[str]:
    letter = rf"(?:\w|[{_APOSTROPHES}{_HYPHENS}](?=\w))"
    return re.compile(
        rf"(?<!\w)[A-ZÀ-ÖØ-ÞĀ-Ž](?=[a-zß-öø-ÿ]|{letter}{{0,{_LONGEST_WORD}}}[a-zß-öø-ÿ]{{2}})(?!\w*\d){letter}+"
    )


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
