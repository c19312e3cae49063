"""What was found in a note: mentions of concepts, drawn in their text."""

from __future__ import annotations

import html
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from asfusion.notes._context import CONTEXTS, Context

if TYPE_CHECKING:
    import pandas as pd

# Okabe and Ito's colours, light enough to read black on them; the context is also written out.
_COLOURS = {
    "present": "#f5c58f", "historical": "#f3eea6", "possible": "#cfe8f7", "hypothetical": "#ececec",
    "negated": "#b5d8ea", "family": "#b9e3d3", "family_negated": "#dcefe7",
}  # fmt: skip


class ConceptMention(NamedTuple):
    """One concept in a note: ``text[start:end]`` are the words that name it.

    Parameters
    ----------
    concept : str
        Name of the concept.
    start : int
        Place of the first character.
    end : int
        Place behind the last one.
    context : {"present", "historical", "possible", "hypothetical", "negated", "family", \
"family_negated"}
        ``present`` and ``historical`` hold of the patient, ``negated`` does not; ``family`` is
        about a relative; ``possible`` is a doubt and ``hypothetical`` a plan or a warning.
    cues : tuple of pairs of int, default=()
        Places of the words that decided it; of one kind the nearest 16.

    Examples
    --------
    >>> from asfusion.notes import find_concepts
    >>> find_concepts("No uveitis.")[0]
    ConceptMention(concept='uveitis', start=3, end=10, context='negated', cues=((0, 2),))
    """

    concept: str
    start: int
    end: int
    context: Context
    cues: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, repr=False)
class FoundConcepts:
    """The mentions of a note, in the order of the text.

    Parameters
    ----------
    text : str
        The note.
    mentions : tuple of ConceptMention
        What was found in it.

    Examples
    --------
    >>> from asfusion.notes import find_concepts
    >>> found = find_concepts("No uveitis. Psoriasis since 2015.")
    >>> len(found), found[1].context
    (2, 'present')
    """

    text: str
    mentions: tuple[ConceptMention, ...]

    def __len__(self) -> int:
        return len(self.mentions)

    def __iter__(self) -> Iterator[ConceptMention]:
        return iter(self.mentions)

    def __getitem__(self, number: int) -> ConceptMention:
        return self.mentions[number]

    def __repr__(self) -> str:
        counts = {c: sum(m.context == c for m in self.mentions) for c in CONTEXTS}
        said = ", ".join(f"{n} {c}" for c, n in counts.items() if n) or "no concept"
        return f"<FoundConcepts: {said}>"

    def to_frame(self) -> pd.DataFrame:
        """Return one row per mention: concept, context, start, end and the words.

        Returns
        -------
        DataFrame
            With the columns ``concept``, ``context``, ``start``, ``end`` and ``words``.
        """
        import pandas as pd

        rows = [(m.concept, m.context, m.start, m.end, self.text[m.start : m.end]) for m in self]
        return pd.DataFrame(rows, columns=["concept", "context", "start", "end", "words"])

    def _repr_html_(self) -> str:
        """Return the note with its concepts marked, everything in it escaped."""
        cues = sorted({cue for mention in self.mentions for cue in mention.cues})
        parts, place = [], 0
        for mention in self.mentions:
            parts.append(self._plain(place, mention.start, cues))
            words = html.escape(self.text[mention.start : mention.end])
            label = html.escape(f"{mention.concept} · {mention.context}".replace("_", " "))
            parts.append(
                f'<mark style="background:{_COLOURS[mention.context]};color:#111;border-radius:3px;'
                f'padding:0 3px">{words} <small style="color:#444">{label}</small></mark>'
            )
            place = mention.end
        parts.append(self._plain(place, len(self.text), cues))
        return (
            '<div style="white-space:pre-wrap;line-height:1.9;max-width:60em">'
            f"{''.join(parts)}</div>"
        )

    def _plain(self, start: int, end: int, cues: list[tuple[int, int]]) -> str:
        """Return text outside mentions, the words that decided underlined."""
        parts, place = [], start
        for first, last in cues[bisect_left(cues, (start, 0)) : bisect_left(cues, (end, 0))]:
            if first < place or last > end:
                continue
            parts.append(html.escape(self.text[place:first]))
            parts.append(f"<u>{html.escape(self.text[first:last])}</u>")
            place = last
        parts.append(html.escape(self.text[place:end]))
        return "".join(parts)
