"""The statements of one note, and the text that they become."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asfusion.datasets._phantoms.note_phrases import phrases
from asfusion.datasets._phantoms.note_wording import Piece, Wording

_LEADS = (
    "by {her} own account, ",
    "on asking, ",
    "as far as can be told, ",
    "in addition, ",
    "for completeness: ",
)


@dataclass
class _Item:
    """One statement, and what may happen to it when the note grows too long."""

    section: str
    place: float
    pieces: list[Piece]

    @property
    def n_words(self) -> int:
        return len("".join(words for words, _, _ in self.pieces).split())


class Page:
    """Statements by section; none is made twice."""

    def __init__(self, words: Wording) -> None:
        self._words = words
        self._items: list[_Item] = []
        self._used: set[str] = set()

    @property
    def n_words(self) -> int:
        return sum(item.n_words for item in self._items) + self._words.site.n_words

    def say(
        self,
        section: str,
        place: float,
        key: tuple[str, str],
        concept: str = "",
        polarity: str = "",
    ) -> None:
        """Add a phrase of the bank; one already used is not said again."""
        words = self._words
        options = [p for p in phrases(*key, words.style) if p not in self._used]
        if not options:
            return
        phrase = words.pick(options)
        self._used.add(phrase)
        pieces = words.render(phrase, concept, polarity or key[1])
        if words.style == "n" and section in ("back", "extra") and words.chance(0.12):
            lead = "" if phrase.startswith(("on ", "asked ")) else words.pick(_LEADS)
            pieces = [*words.render(lead), *pieces]
        self.add(section, place, pieces)

    def add(self, section: str, place: float, pieces: list[Piece]) -> None:
        """Add a statement; within a section, statements stand about in the order of `place`."""
        self._items.append(_Item(section, place, pieces))

    def has_said(self, options: Sequence[str]) -> bool:
        return any(phrase in self._used for phrase in options)

    def is_empty(self, section: str) -> bool:
        return not any(item.section == section for item in self._items)

    def drop_one(self) -> None:
        """Take back any statement but the opening."""
        spare = [k for k, item in enumerate(self._items) if item.section != "opening"]
        del self._items[spare[self._words.whole(0, len(spare) - 1)]]

    def pieces(self) -> Iterable[Piece]:
        """Yield the pieces of the note in order, with headings and stops."""
        words, site = self._words, self._words.site
        if site.head:
            yield from words.render(site.head)
            yield ("\n", "", "")
        gap = "\n" if site.lines else " "
        for title, sections in site.sections:
            items = [
                item
                for name in sections
                for item in sorted(
                    (it for it in self._items if it.section == name),
                    key=lambda it: it.place + words.rng.normal(0, 0.7),
                )
            ]
            if not items:
                continue
            if title:
                yield (f"{title}: ", "", "")
            yield from self._joined(items)
            asks = items[-1].pieces[-1][0].endswith("?")
            if not (site.lines or words.style == "n" or asks):
                yield (".", "", "")
            yield (gap, "", "")
        yield (site.foot, "", "")

    def _joined(self, items: list[_Item]) -> Iterable[Piece]:
        """Yield statements one after another, each closed by its own question mark or a stop."""
        capital = True
        for k, item in enumerate(items):
            yield from _capitalised(item.pieces) if capital else item.pieces
            stop = self._stop(last=k + 1 == len(items))
            asks = item.pieces[-1][0].endswith("?")
            capital = asks or stop == ". "
            yield (stop.lstrip(".;,") if asks else stop, "", "")

    def _stop(self, *, last: bool) -> str:
        words = self._words
        if last:
            return "." if words.style == "n" else ""
        if words.style == "n":
            return "; " if words.chance(0.1) else ". "
        return words.manner.separator


def _capitalised(pieces: list[Piece]) -> list[Piece]:
    (words, concept, polarity), *rest = pieces
    return [(words[:1].upper() + words[1:], concept, polarity), *rest]
