"""Find concepts in a note, and how each is meant."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from asfusion._door import public
from asfusion.exceptions import InputError
from asfusion.notes._context import Mention
from asfusion.notes._lexicon import Lexicon, build_lexicon
from asfusion.notes._scanner import scanner_of
from asfusion.notes._sentences import resolve_contexts
from asfusion.notes.aligned import clean_with_offsets
from asfusion.notes.cleaning import ENTITY
from asfusion.notes.found import ConceptMention, FoundConcepts

LONGEST_NOTE = 4_000_000


@public
def find_concepts(
    text: str,
    concepts: Mapping[str, Sequence[str]] | None = None,
    *,
    builtin: bool = True,
) -> FoundConcepts:
    """Find the concepts that a note names, and how each is meant.

    Parameters
    ----------
    text : str
        The note as it is; offsets are into it.
    concepts : mapping of str to list of str, optional
        Your own concepts: a name, and regular expressions that are met at the borders of
        words whatever the case, a space standing for any run of spaces and hyphens; ``*`` and
        ``+`` stand for 60 at the most. A name of the built-in lexicon replaces its patterns.
    builtin : bool, default=True
        Whether to look for the features of axial spondyloarthritis.

    Returns
    -------
    FoundConcepts
        The mentions in the order of the text; a notebook draws them in it.

    Raises
    ------
    InputError
        If `text` is not a text, or longer than 4,000,000 characters.
    ConfigurationError
        If `concepts` is unusable.

    Notes
    -----
    Rules, not understanding: English, the wording of letters and clinic notes, one sentence
    at a time. How often they are right is measured on sentences that were not used to write them.

    References
    ----------
    .. [1] Harkema et al., "ConText: an algorithm for determining negation, experiencer, and
       temporal status from clinical reports", J Biomed Inform 2009.
       https://doi.org/10.1016/j.jbi.2009.05.002

    Examples
    --------
    >>> from asfusion.notes import find_concepts
    >>> found = find_concepts("Uveitis in 2011. Mother has psoriasis, she denies it. No IBD.")
    >>> [(m.concept, m.context) for m in found]
    [('uveitis', 'historical'), ('psoriasis', 'family'), ('ibd', 'negated')]
    """
    if not isinstance(text, str):
        msg = f"find_concepts: expected a text, got {type(text).__name__}. Pass one note at a time."
        raise InputError(msg)
    return FoundConcepts(text, mentions_of(text, build_lexicon(concepts, builtin=builtin)))


def mentions_of(text: str, lexicon: Lexicon) -> tuple[ConceptMention, ...]:
    """Return the mentions of a text; the longest of overlapping ones is kept.

    Raises
    ------
    InputError
        If the text is longer than any note.
    """
    if len(text) > LONGEST_NOTE:
        msg = (
            f"Concepts: expected a note of at most {LONGEST_NOTE:,} characters, got {len(text):,}. "
            "Cut it into the letters that it holds, and put a form feed between them or pass them "
            "one at a time."
        )
        raise InputError(msg)
    if text.isascii() and not ENTITY.search(text):
        return _mentions_in(text, lexicon)
    spelled = _spelled_out(text)
    if spelled > min(LONGEST_NOTE, 4 * len(text) + 10_000):
        msg = (
            f"Concepts: expected a note whose ligatures are a few letters long, got {len(text):,} "
            f"characters that stand for {spelled:,}. Such a note is damaged: export it again."
        )
        raise InputError(msg)
    # Dashes, quotes and spaces of word processors and web pages are read as the plain ones.
    note = clean_with_offsets(text)
    found = _mentions_in(note.text, lexicon)
    original = {cue: note.original_span(*cue) for cue in {c for m in found for c in m.cues}}
    return tuple(
        mention._replace(
            start=note.original_span(mention.start, mention.end)[0],
            end=note.original_span(mention.start, mention.end)[1],
            cues=tuple(original[cue] for cue in mention.cues),
        )
        for mention in found
    )


def _spelled_out(text: str) -> int:
    """Return how long a text is with its ligatures as letters; one sign may stand for eighteen."""
    counts = Counter(text)
    return sum(n * len(unicodedata.normalize("NFKC", sign)) for sign, n in counts.items())


def _mentions_in(text: str, lexicon: Lexicon) -> tuple[ConceptMention, ...]:
    names = [(number, name) for number, name in enumerate(lexicon) for _ in lexicon[name]]
    patterns = tuple(pattern for own in lexicon.values() for pattern in own)
    found = [(s - e, s, e, *names[which]) for which, s, e in scanner_of(patterns).find(text)]
    taken = bytearray(len(text))
    kept: list[Mention] = []
    for _, start, end, _, name in sorted(found):
        if taken.find(1, start, end) < 0:
            taken[start:end] = b"\1" * (end - start)
            kept.append(Mention(name, start, end))
    kept.sort(key=lambda mention: mention.start)
    resolve_contexts(text, kept)
    return tuple(
        ConceptMention(m.concept, m.start, m.end, m.context(), tuple(sorted(set(m.cues))))
        for m in kept
    )
