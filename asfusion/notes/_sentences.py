"""A note cut into sentences, with the heading that each stands under."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from asfusion.notes._context import Mention
from asfusion.notes._reach import Sentence

_BREAK = re.compile(r"(?<=[.!?])\s+(?=[^a-z])|\n+(?![a-z])")
_HEADING = re.compile(
    r"\s*+(?:[-*•]\s*+)?([A-Za-z][A-Za-z /()]{0,40}?)\s*(?::|\s[-\u2013]\s)(?!\d)"
)
_HEADED = {
    "family": re.compile(r"(?:family(?: medical)? (?:history|hx)|fam\.? ?hx|fhx?)$", re.I),
    "historical": re.compile(
        r"(?:past|previous|prior)(?: medical)? (?:history|hx|illness(?:es)?)$|pmhx?$", re.I
    ),
    "hypothetical": re.compile(
        r"(?:plans?|safety net(?:ting)?|recommendations?|advice|to do|next steps?)$", re.I
    ),
}


def resolve_contexts(text: str, mentions: Sequence[Mention]) -> None:
    """Mark each mention, in the order of the text, by the cues of its sentence."""
    first = 0
    for start, end, heading in find_sentences(text):
        last = first
        while last < len(mentions) and mentions[last].start < end:
            last += 1
        inside = mentions[first:last]
        first = last
        if not inside:
            continue
        Sentence(text[start:end], start, inside).resolve()
        for mention in inside:
            if heading is not None and heading not in mention.flags:
                mention.mark(heading)
                mention.headed.add(heading)


def find_sentences(text: str) -> Iterator[tuple[int, int, str | None]]:
    """Yield start, end and heading of each sentence."""
    active: str | None = None
    alone = False
    start = 0
    for end in [*(m.end() for m in _BREAK.finditer(text)), len(text)]:
        if end <= start:
            continue
        sentence = text[start:end]
        match = _HEADING.match(sentence)
        if match:
            found = (k for k, known in _HEADED.items() if known.search(match[1].strip()))
            active = next(found, None)
            alone = not sentence[match.end() :].strip()
        elif not alone and active != "hypothetical":
            active = None
        yield start, end, active
        start = end
