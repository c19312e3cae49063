"""The sentences of a note, by the findings that they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from asfusion.explanation.spans import Span
from asfusion.explanation.views.bars import Pairs
from asfusion.explanation.views.visible import visible
from asfusion.notes._sentences import find_sentences
from asfusion.notes.concepts import LONGEST_NOTE, find_concepts
from asfusion.notes.found import ConceptMention

# How a finding is meant. A plan or a warning ("should a red eye occur") is none.
_MEANT = {
    "present": "{}",
    "historical": "{} in the past",
    "possible": "possible {}",
    "negated": "no {}",
    "family": "{} in the family",
    "family_negated": "no {} in the family",
}
_LONGEST = 90
_FINDINGS = 3


class Note(Protocol):
    """A text, and spans of it with their values."""

    @property
    def text(self) -> str:
        """The note."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """What was attributed to, in the order of the text."""


def sentences_of(note: Note) -> Pairs:
    """Return what the words of each sentence add together, by its findings and its words.

    A run of words belongs to the sentence that it begins in.
    """
    values: dict[tuple[int, int], float] = {}
    spans = list(note.spans)
    for start, end, _ in find_sentences(note.text):
        inside = [span.value for span in spans if start <= span.start < end]
        if inside:
            values[start, end] = float(sum(inside))
    mentions = find_concepts(note.text).mentions if len(note.text) <= LONGEST_NOTE else ()
    return [(_name(note.text, place, mentions), value) for place, value in values.items()]


def _name(text: str, place: tuple[int, int], mentions: Sequence[ConceptMention]) -> str:
    start, end = place
    found = [m for m in mentions if start <= m.start < end and m.context in _MEANT]
    told = dict.fromkeys(_MEANT[m.context].format(m.concept.replace("_", " ")) for m in found)
    words = " ".join(visible(text[start:end]).split())
    words = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1].rstrip()}…"
    findings = list(told)
    more = f" and {len(findings) - _FINDINGS} more" if len(findings) > _FINDINGS else ""
    quoted = f"“{words}”"
    return f"{', '.join(findings[:_FINDINGS])}{more}: {quoted}" if findings else quoted
