"""A word of a note, and what it adds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A word of a note, or some neighbouring words, and what it adds to the output.

    Parameters
    ----------
    start : int
        Place of the first character in the note.
    end : int
        Place behind the last character.
    value : float
        What the span adds, in units of the output; below zero where it lowers it.

    Examples
    --------
    >>> Span(0, 4, 0.5)
    Span(start=0, end=4, value=0.5)
    """

    start: int
    end: int
    value: float
