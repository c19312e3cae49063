"""Many patterns over one text in one pass: each is tried only where it can begin.

A text is read once, whatever the number of patterns: what stands at the border of a word is
looked up among the openings of all patterns, the first characters that a match can have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, TypeAlias

Span: TypeAlias = tuple[int, int, int]  # number of the pattern, start, end

BORDER = r"(?<!\w)"
_LONGEST = 6  # characters of an opening
_MOST = 200  # openings of a pattern; with more, shorter ones
_WIDEST = 12  # characters of a class that are written out
# What a pattern without regard to case takes for ASCII: dotted and dotless i, long s, Kelvin.
_FOLDED = {0x130: "i", 0x131: "i", 0x17F: "s", 0x212A: "k"}
_PLAIN = str.maketrans({chr(i): " " if chr(i).isspace() else chr(i).lower() for i in range(128)})
_PLAIN |= str.maketrans(dict.fromkeys("123456789", "0"))
_REPEATS = (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT)
_NO_WIDTH = (ops.AT, ops.ASSERT, ops.ASSERT_NOT)


class Scanner:
    """Finds the matches of many patterns, those of each as its own `finditer` does."""

    def __init__(self, patterns: Sequence[re.Pattern[str]]) -> None:
        self._patterns = patterns
        self._numbers: dict[str, list[int]] = {}
        firsts: dict[bool, set[str]] = {True: set(), False: set()}
        for number, pattern in enumerate(patterns):
            is_bordered = pattern.pattern.startswith(BORDER)
            for opening in openings(pattern):
                self._numbers.setdefault(opening, []).append(number)
                firsts[is_bordered].add(opening[:1])
        border, inside = _any_of(firsts[True]), _any_of(firsts[False])
        self._places = re.compile(rf"{BORDER}{border}|{inside}")
        # By the first two characters, how long the openings are that begin so.
        self._lengths: dict[str, list[int]] = {}
        short = {opening for opening in self._numbers if len(opening) < 2}
        for two in {opening[:n] for opening in self._numbers for n in (0, 1, 2)}:
            self._lengths[two] = [n for n in (0, 1) if two[:n] in short and len(two) >= n]
        for two, longer in sorted({(o[:2], len(o)) for o in self._numbers if len(o) > 1}):
            self._lengths[two].append(longer)

    def find(self, text: str) -> Iterator[Span]:
        """Yield the matches that are not empty, by their start."""
        folded = fold(text)
        ends = [0] * len(self._patterns)
        numbers, patterns, lengths = self._numbers, self._patterns, self._lengths
        for place in self._places.finditer(folded):
            start = place.start()
            begins = lengths.get(folded[start : start + 2])
            for length in lengths.get(folded[start], lengths[""]) if begins is None else begins:
                for number in numbers.get(folded[start : start + length], ()):
                    if start < ends[number]:
                        continue
                    match = patterns[number].match(text, start)
                    if match is not None and match.end() > start:
                        ends[number] = match.end()
                        yield number, start, match.end()


def _any_of(letters: set[str]) -> str:
    """Return a pattern of one character: any where a match can begin anyhow."""
    if "" in letters:
        return "(?s:.)"
    return f"[{''.join(map(re.escape, sorted(letters)))}]" if letters else r"(?!)"


@lru_cache(maxsize=8)
def scanner_of(patterns: tuple[re.Pattern[str], ...]) -> Scanner:
    return Scanner(patterns)


def fold(text: str) -> str:
    """Return a text of the same length: lower case, each digit a 0, each space a plain one."""
    if text.isascii():
        return text.translate(_PLAIN)
    lower = text.translate(_FOLDED).lower()
    return re.sub(r"\s", " ", re.sub(r"\d", "0", lower))


@lru_cache(maxsize=4096)
def openings(pattern: re.Pattern[str]) -> frozenset[str]:
    """Return folded texts with one of which every match begins; an empty one is any beginning."""
    done, going = _read(parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE), {""})
    return frozenset(done | going)


def _read(items: Iterable[Any], going: set[str]) -> tuple[set[str], set[str]]:
    """Return openings that are complete, and those that the next item makes longer."""
    done: set[str] = set()
    for op, value in items:
        if op in _NO_WIDTH:
            continue
        ended, going = _read_one(op, value, going)
        done |= ended | {opening for opening in going if len(opening) >= _LONGEST}
        going = {opening for opening in going if len(opening) < _LONGEST}
        if len(going) > _MOST:
            done, going = done | going, set()
        if not going:
            break
    return done, going


def _read_one(op: Any, value: Any, going: set[str]) -> tuple[set[str], set[str]]:
    if op is ops.SUBPATTERN:
        return _read(value[-1], going)
    if op is ops.ATOMIC_GROUP:
        return _read(value, going)
    if op is ops.BRANCH:
        read = [_read(branch, going) for branch in value[1]]
        return set().union(*(r[0] for r in read)), set().union(*(r[1] for r in read))
    if op in _REPEATS:
        return _repeat(value, going)
    letters = _letters(op, value)
    if letters is None:
        return going, set()
    return set(), {opening + letter for opening in going for letter in letters}


def _repeat(value: Any, going: set[str]) -> tuple[set[str], set[str]]:
    least, most, body = value
    done: set[str] = set()
    out = set(going) if least == 0 else set()
    for number in range(1, min(int(most), _LONGEST + least) + 1):
        ended, going = _read(body, going)
        done |= ended
        if number >= least:
            out |= going
        if not going:
            break
    return done, out


def _letters(op: Any, value: Any) -> set[str] | None:
    """Return what one character is, folded; None where that is too much to write out."""
    if op is ops.LITERAL:
        return {fold(chr(value))} if value < 128 else None
    if op is ops.CATEGORY:
        return {ops.CATEGORY_DIGIT: {"0"}, ops.CATEGORY_SPACE: {" "}}.get(value)
    if op is ops.RANGE:
        low, high = value
        return set(fold("".join(map(chr, range(low, high + 1))))) if high < 128 else None
    if op is not ops.IN:
        return None
    letters: set[str] = set()
    for part in value:
        own = _letters(*part)
        if own is None or len(letters | own) > _WIDEST:
            return None
        letters |= own
    return letters
