"""Find concepts in a note, and how each is meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asfusion.exceptions import InputError
from asfusion.notes._context import Mention, resolve_contexts
from asfusion.notes._lexicon import Lexicon, build_lexicon
from asfusion.notes.aligned import clean_with_offsets
from asfusion.notes.cleaning import ENTITY
from asfusion.notes.found import ConceptMention, FoundConcepts


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
        words whatever the case, a space standing for any run of spaces and hyphens. A
        name of the built-in lexicon replaces its patterns.
    builtin : bool, default=True
        Whether to look for the features of axial spondyloarthritis.

    Returns
    -------
    FoundConcepts
        The mentions in the order of the text; a notebook draws them in it.

    Raises
    ------
    InputError
        If `text` is not a text.
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
    """Return the mentions of a text; the longest of overlapping ones is kept."""
    if text.isascii() and not ENTITY.search(text):
        return _mentions_in(text, lexicon)
    # Dashes, quotes and spaces of word processors and web pages are read as the plain ones.
    note = clean_with_offsets(text)
    return tuple(
        mention._replace(
            start=note.original_span(mention.start, mention.end)[0],
            end=note.original_span(mention.start, mention.end)[1],
            cues=tuple(note.original_span(*cue) for cue in mention.cues),
        )
        for mention in _mentions_in(note.text, lexicon)
    )


def _mentions_in(text: str, lexicon: Lexicon) -> tuple[ConceptMention, ...]:
    found = [
        (match.start() - match.end(), match.start(), match.end(), number, name)
        for number, (name, patterns) in enumerate(lexicon.items())
        for pattern in patterns
        for match in pattern.finditer(text)
    ]
    kept: list[Mention] = []
    for _, start, end, _, name in sorted(found):
        if all(end <= other.start or other.end <= start for other in kept):
            kept.append(Mention(name, start, end))
    kept.sort(key=lambda mention: mention.start)
    resolve_contexts(text, kept)
    return tuple(
        ConceptMention(m.concept, m.start, m.end, m.context(), tuple(sorted(set(m.cues))))
        for m in kept
    )
