"""Clean a note and know where each of its characters was."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from asfusion.notes import cleaning

_Cells = list[tuple[str, int, int]]  # a character, and the stretch of the note that it is of


@dataclass(frozen=True)
class CleanNote:
    r"""A cleaned note, and the place of each of its characters in the original.

    Parameters
    ----------
    text : str
        The cleaned note, as `clean_note` gives it.
    starts : tuple of int
        For each character, where its original begins.
    ends : tuple of int
        For each character, where its original ends.

    Examples
    --------
    >>> from asfusion.notes import clean_with_offsets
    >>> note = clean_with_offsets("  No\u00a0 uveitis")
    >>> note.text, note.original_span(3, 10)
    ('No uveitis', (6, 13))
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Return where a stretch of the cleaned note is in the original.

        Parameters
        ----------
        start : int
            Place of its first character in the cleaned note.
        end : int
            Place behind its last one.

        Returns
        -------
        tuple of int
            Place of the first character in the original, and behind the last one.
        """
        if start >= end:
            place = self.starts[start] if start < len(self.starts) else (self.ends or (0,))[-1]
            return place, place
        return min(self.starts[start:end]), max(self.ends[start:end])


def clean_with_offsets(text: str) -> CleanNote:
    r"""Clean a note as the encoders do, and keep the way back to the original.

    Parameters
    ----------
    text : str
        A note.

    Returns
    -------
    CleanNote
        The cleaned text and, for each character of it, its place in the original.

    Examples
    --------
    >>> from asfusion.notes import clean_with_offsets
    >>> note = clean_with_offsets("WBC  12 x 10\u2079/L")
    >>> note.text, note.original_span(9, 13)
    ('WBC 12 x 10^9/L', (10, 13))
    """
    cells = _in_one_spelling([(c, i, i + 1) for i, c in enumerate(text)])
    while (plain := _without_entities(cells)) is not None:
        cells = _in_one_spelling(plain)
    return CleanNote(
        "".join(c for c, _, _ in cells),
        tuple(s for _, s, _ in cells),
        tuple(e for _, _, e in cells),
    )


def _without_entities(cells: _Cells) -> _Cells | None:
    """Put for each entity of HTML its sign, which stands for all of it; None without any."""
    out: _Cells = []
    place = 0
    for match in cleaning.ENTITY.finditer("".join(c for c, _, _ in cells)):
        sign = cleaning.entity_sign(match)
        if sign != match[0]:
            start, end = cells[match.start()][1], cells[match.end() - 1][2]
            out += [*cells[place : match.start()], *((c, start, end) for c in sign)]
            place = match.end()
    return [*out, *cells[place:]] if place else None


def _in_one_spelling(cells: _Cells) -> _Cells:
    cells = _each(cells, lambda c: cleaning.UNUSUAL.sub(cleaning.visible, c))
    cells = _insert(cells, cleaning.POWER, "^")
    cells = _insert(cells, cleaning.FRACTION_AFTER_DIGIT, " ")
    cells = _insert(cells, cleaning.FRACTION_BEFORE_DIGIT, " ")
    cells = _each(cells, lambda c: c.translate(cleaning.BEFORE_NFKC))
    cells = _compose(cells)
    cells = _each(cells, lambda c: c.translate(cleaning.AFTER_NFKC))
    return _single_spaces(cells)


def _each(cells: _Cells, change: Callable[[str], str]) -> _Cells:
    return [(new, start, end) for c, start, end in cells for new in change(c)]


def _insert(cells: _Cells, pattern: re.Pattern[str], sign: str) -> _Cells:
    """Put a sign before each match, which stands for nothing in the original."""
    places = {match.start() for match in pattern.finditer("".join(c for c, _, _ in cells))}
    out: _Cells = []
    for place, cell in enumerate(cells):
        if place in places:
            out.append((sign, cell[1], cell[1]))
        out.append(cell)
    return out


def _compose(cells: _Cells) -> _Cells:
    """Bring to NFKC by stretches: between two ASCII characters nothing composes."""
    out: _Cells = []
    stretch: _Cells = []
    for cell in cells:
        if stretch and cell[0].isascii() and stretch[-1][0].isascii():
            out += _composed(stretch)
            stretch = []
        stretch.append(cell)
    return out + _composed(stretch)


def _composed(stretch: _Cells) -> _Cells:
    old = "".join(c for c, _, _ in stretch)
    new = unicodedata.normalize("NFKC", old)
    if len(new) == len(old):
        return [(c, start, end) for c, (_, start, end) in zip(new, stretch, strict=True)]
    if len(stretch) == 1:
        return [(c, stretch[0][1], stretch[0][2]) for c in new]
    # Letter by letter where that comes to the same, else the stretch as a whole.
    alone = _each(stretch, lambda c: unicodedata.normalize("NFKC", c))
    if "".join(c for c, _, _ in alone) == new:
        return alone
    return [(c, stretch[0][1], stretch[-1][2]) for c in new]


def _single_spaces(cells: _Cells) -> _Cells:
    """Make runs of spaces one, and take them from the ends of lines; empty lines go."""
    out: _Cells = []
    for cell in cells:
        if not cell[0].isspace():
            out.append(cell)
        elif cell[0] == "\n":
            while out and out[-1][0] == " ":
                out.pop()
            if out and out[-1][0] != "\n":
                out.append(cell)
        elif out and not out[-1][0].isspace():
            out.append((" ", cell[1], cell[2]))
    while out and out[-1][0].isspace():
        out.pop()
    return out
