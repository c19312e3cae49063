"""Clean a note and know where each of its characters was."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from asfusion._door import public
from asfusion.notes import cleaning

_Cells = list[tuple[str, int, int]]  # a character, and the stretch of the note that it is of

# Stretches that cleaning may change by more than single signs, a plain character on both sides.
_ODD = re.compile(r"[ -~\n]?[^ -~\n]+(?:[ -~\n][^ -~\n]+)*[ -~\n]?")
_SPACES = re.compile(r"\s\s+|[^\S \n]")
# What becomes one plain sign, whatever stands beside it.
_SINGLE = (*range(32), *range(0x7F, 0xA1), *range(0x2000, 0x2070), 0xB4, 0x2212, 0x3000)


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


@public
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
    note = _in_one_spelling(_Placed(text, list(range(len(text))), list(range(1, len(text) + 1))))
    for sign in cleaning.ENTITY_SIGNS:
        if (plain := _without_entities(note, sign)) is None:
            break
        note = _in_one_spelling(plain)
    return CleanNote(note.text, tuple(note.starts), tuple(note.ends))


@dataclass
class _Placed:
    """A text, and for each character the stretch of the note that it is of."""

    text: str
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def cells(self, start: int, end: int) -> _Cells:
        return list(
            zip(self.text[start:end], self.starts[start:end], self.ends[start:end], strict=True)
        )


class _Changed:
    """A placed text that is written anew, most of it as it was."""

    def __init__(self, old: _Placed) -> None:
        self._old, self._place = old, 0
        self._texts: list[str] = []
        self._starts: list[int] = []
        self._ends: list[int] = []

    def replace(self, start: int, end: int, cells: _Cells) -> None:
        """Put cells for a stretch, which lies behind all before."""
        self._keep(start)
        self._texts.extend(c for c, _, _ in cells)
        self._starts.extend(s for _, s, _ in cells)
        self._ends.extend(e for _, _, e in cells)
        self._place = end

    def placed(self) -> _Placed:
        self._keep(len(self._old.text))
        return _Placed("".join(self._texts), self._starts, self._ends)

    def _keep(self, end: int) -> None:
        self._texts.append(self._old.text[self._place : end])
        self._starts.extend(self._old.starts[self._place : end])
        self._ends.extend(self._old.ends[self._place : end])


def _without_entities(note: _Placed, sign: Callable[[re.Match[str]], str]) -> _Placed | None:
    """Put for each entity of HTML its sign, which stands for all of it; None without any."""
    changed = _Changed(note)
    is_same = True
    for match in cleaning.ENTITY.finditer(note.text):
        if (new := sign(match)) != match[0]:
            start, end = note.starts[match.start()], note.ends[match.end() - 1]
            changed.replace(*match.span(), [(c, start, end) for c in new])
            is_same = False
    return None if is_same else changed.placed()


def _in_one_spelling(note: _Placed) -> _Placed:
    note = _Placed(note.text.translate(_plain_signs()), note.starts, note.ends)
    changed = _Changed(note)
    for match in _ODD.finditer(note.text):
        if cleaning.spell(match[0]) != match[0]:
            changed.replace(*match.span(), _spelled(note.cells(*match.span())))
    return _single_spaces(changed.placed())


@lru_cache(maxsize=1)
def _plain_signs() -> dict[int, str]:
    signs = {code: cleaning.spell(chr(code)) for code in _SINGLE}
    return {code: sign for code, sign in signs.items() if len(sign) == 1 and sign.isascii()}


def _spelled(cells: _Cells) -> _Cells:
    cells = _each(cells, lambda c: cleaning.UNUSUAL.sub(cleaning.visible, c))
    if surplus := set(cleaning.surplus_marks("".join(c for c, _, _ in cells))):
        cells = [cell for place, cell in enumerate(cells) if place not in surplus]
    cells = _insert(cells, cleaning.POWER, "^")
    cells = _insert(cells, cleaning.FRACTION_AFTER_DIGIT, " ")
    cells = _insert(cells, cleaning.FRACTION_BEFORE_DIGIT, " ")
    cells = _each(cells, lambda c: c.translate(cleaning.BEFORE_NFKC))
    cells = _compose(cells)
    return _each(cells, lambda c: c.translate(cleaning.AFTER_NFKC))


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


def _single_spaces(note: _Placed) -> _Placed:
    """Make runs of spaces one, and take them from the ends of lines; empty lines go."""
    length = len(note.text.rstrip())
    first = len(note.text) - len(note.text.lstrip())
    changed = _Changed(note)
    changed.replace(0, min(first, length), [])
    for match in _SPACES.finditer(note.text, min(first, length), length):
        line = match[0].find("\n")
        place = match.start() + max(0, line)
        sign = " " if line < 0 else "\n"
        changed.replace(*match.span(), [(sign, note.starts[place], note.ends[place])])
    changed.replace(length, len(note.text), [])
    return changed.placed()
