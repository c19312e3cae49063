"""Dates as notes write them: found, read, and written again another day."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_NAMES = {name[:3]: number for number, name in enumerate(_MONTHS, start=1)}
_MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" if name != "may" else "may" for name in _MONTHS)
_MONTH = _MONTH.replace("sep(?:tember)?", "sept?(?:ember)?")
_YEAR = r"(?:19|20)\d\d"

# The groups say what is where: d, m and y digits, M the name of a month, o what follows a day.
_D, _M = r"(?P<d>[12]\d|3[01]|0?[1-9])", r"(?P<m>1[0-2]|0?[1-9])"
_Y2, _Y4 = rf"(?P<y>{_YEAR}|'?\d\d)", rf"(?P<y>{_YEAR})"
_NAMED = rf"(?P<M>{_MONTH})\b"
_NTH = r"(?P<o>st|nd|rd|th|\.)?"
_OPEN, _SHUT = r"(?<![\d/.-])", r"(?![\d/])"
_FORMS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_OPEN}{_Y4}(?P<s>[-/.]){_M}(?P=s){_D}(?!\d)",
        rf"{_OPEN}{_D}(?P<s>[./-]){_M}(?P=s){_Y2}{_SHUT}",
        rf"{_OPEN}{_M}(?P<s>[./-]){_D}(?P=s){_Y2}{_SHUT}",
        rf"(?<!\d){_D}{_NTH}(?: of)?[ -]{_NAMED}\.?,?[ -]{_Y2}(?!\d)",
        rf"\b{_NAMED}\.? {_D}(?P<o>st|nd|rd|th)?,? {_Y4}(?!\d)",
        rf"\b{_NAMED}\.?,? {_Y4}(?!\d)",
        rf"(?<!\d){_D}{_NTH}(?: of)? {_NAMED}",
        rf"\b{_NAMED}\.? {_D}(?P<o>st|nd|rd|th)?(?![\d/%:])",
        rf"{_OPEN}(?P<m>1[0-2]|0[1-9])(?P<s>[/-]){_Y4}(?!\d)",
    )
)


@dataclass(frozen=True)
class NoteDate:
    """A date in a note; `day` is None where it names no whole date.

    Parameters
    ----------
    start, end : int
        Place in the text.
    earliest : date or None
        The first day that it may mean; None without a year.
    match : re.Match
        Its parts.
    """

    start: int
    end: int
    earliest: datetime.date | None
    match: re.Match[str]

    def shifted(self, days: int) -> str | None:
        """Return the date some days later, in the same form; None where it has no year."""
        if self.earliest is None:
            return None
        parts = self.match.groupdict()
        # A month alone moves by its middle, so that it stays near where it was.
        anchor = self.earliest if parts.get("d") else self.earliest.replace(day=15)
        moved = anchor + datetime.timedelta(days=days)
        pieces = {"y": str(moved.year)[-len((parts["y"] or "").lstrip("'")) :]}
        if parts.get("d"):
            pieces["d"] = _padded(moved.day, parts["d"])
        if parts.get("m"):
            pieces["m"] = _padded(moved.month, parts["m"])
        if parts.get("M"):
            pieces["M"] = _named(moved.month, parts["M"])
        if parts.get("o") not in (None, "."):
            pieces["o"] = _ordinal(moved.day)
        return _rewritten(self.match, pieces)


def find_dates(text: str, *, day_first: bool = True) -> list[NoteDate]:
    """Return the dates of a text, in order and without overlap."""
    forms = list(_FORMS)
    if not day_first:
        forms[1], forms[2] = forms[2], forms[1]
    found: list[NoteDate] = []
    taken = bytearray(len(text))
    for form in forms:
        for match in form.finditer(text):
            if taken.find(1, match.start(), match.end()) < 0:
                taken[match.start() : match.end()] = b"\1" * len(match[0])
                found.append(NoteDate(match.start(), match.end(), _earliest(match), match))
    return sorted(found, key=lambda date: date.start)


def _earliest(match: re.Match[str]) -> datetime.date | None:
    parts = match.groupdict()
    if not parts.get("y"):
        return None
    year = int(parts["y"].lstrip("'"))
    if year < 100:
        year += 2000 if year < 50 else 1900
    month = int(parts["m"]) if parts.get("m") else _NAMES[parts["M"][:3].lower()]
    try:
        return datetime.date(year, month, int(parts.get("d") or 1))
    except ValueError:
        return None


def _padded(number: int, model: str) -> str:
    return f"{number:02d}" if len(model) == 2 else str(number)


def _named(month: int, model: str) -> str:
    name = _MONTHS[month - 1]
    short = name[:3] if len(model) <= 4 and len(model) < len(name) else name
    if model.isupper():
        return short.upper()
    return short.capitalize() if model[0].isupper() else short


def _ordinal(day: int) -> str:
    return "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _rewritten(match: re.Match[str], pieces: dict[str, str]) -> str:
    def parts() -> Iterator[str]:
        place = match.start()
        for name in sorted(pieces, key=match.start):
            yield match.string[place : match.start(name)]
            yield pieces[name]
            place = match.end(name)
        yield match.string[place : match.end()]

    return "".join(parts())
