"""One author's words: slots filled, abbreviations chosen, some words misspelt.

Every date is counted back from the day of the note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeAlias

import numpy as np

from asfusion.datasets._phantoms.note_sites import manner_of, site_of

Piece: TypeAlias = tuple[str, str, str]  # words, concept or "", polarity or ""

# fmt: off
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")
# fmt: on
_PIECE = re.compile(r"\[(?:(\w+)(?:/(\w+))?:)?([^\]]+)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_SHORT = re.compile(r"<([^|<>]*)\|([^<>]*)>")
_WORD = re.compile(r"\b[A-Za-z][a-z]{4,}\b")
_MISSPELT = {
    "stiffness": "stifness", "psoriasis": "psoriais", "uveitis": "uvietis", "buttock": "buttok",
    "ibuprofen": "ibuprofin", "diarrhoea": "diarrhea", "dactylitis": "dactilitis",
    "alternating": "alternatng", "exercise": "excercise", "gradually": "gradualy",
    "physiotherapy": "physiotheraphy", "examination": "examintion", "relief": "releif",
    "denies": "denys", "enthesitis": "enthisitis", "naproxen": "naproxene",
}  # fmt: skip
_CHOICES: dict[str, tuple[str, ...]] = {
    "side": ("left", "right"),
    "kids": ("one child", "two children", "three children"),
    "floor": ("first", "second", "third"),
    "weekday": ("Tuesday", "Thursday", "Friday"),
    "toe": ("second", "third", "fourth"),
    "joint": ("knee", "ankle", "wrist", "knee"),
    "enthesis": ("iliac crest", "greater trochanter", "costosternal junction", "patellar tendon"),
    "kin_pso": ("[psoriasis/family:psoriasis]",),
    "kin_uve": ("[uveitis/family:uveitis]",),
    "kin_ibd": ("[ibd/family:<inflammatory bowel disease|IBD>]",),
}  # fmt: skip
_RANGES: dict[str, tuple[int, int]] = {
    "n": (2, 6),
    "clock": (3, 5),
    "cig": (4, 20),
    "hours": (5, 8),
    "kg": (15, 40),
    "sat": (96, 99),
    "km": (8, 60),
    "pulse": (56, 84),
}
_RELATIVES = ("mother", "father", "brother", "sister")
_ELDERS = (*_RELATIVES, "maternal grandmother", "paternal uncle", "maternal aunt")
_YOUNGER = (*_RELATIVES, "daughter", "son")
_DAILY_MG = {
    "naproxen": 1000, "ibuprofen": 2400, "diclofenac": 150, "etoricoxib": 90, "celecoxib": 400,
}  # fmt: skip


@dataclass(frozen=True)
class Patient:
    """What the slots of a phrase are filled from."""

    age: int
    female: bool
    index_date: date
    onset_age: float
    duration_months: float
    stiffness_min: float
    pain: float
    fatigue: float


class Wording:
    """The choices of one author in one note, and what follows from them for a phrase."""

    def __init__(self, patient: Patient, site: int, author: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.site = site_of(site)
        self.manner = manner_of(author)
        self.style = "t" if rng.random() < self.manner.telegraphic else "n"
        self._patient = patient
        self._onset = patient.index_date - timedelta(days=round(patient.duration_months * 30.44))
        self._nsaid = self.pick(tuple(_DAILY_MG))

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def whole(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return low + int(self.rng.random() * (high - low + 1))

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.random() * len(options))]

    def render(self, phrase: str, concept: str = "", polarity: str = "") -> list[Piece]:
        """Return the pieces of a phrase: slots filled, abbreviations chosen, words misspelt."""
        phrase = _SLOT.sub(lambda found: self._slot(found.group(1)), phrase)
        short = (
            self.manner.abbreviates if self.style == "n" else 1 - (1 - self.manner.abbreviates) / 2
        )
        phrase = _SHORT.sub(lambda found: found.group(2 if self.chance(short) else 1), phrase)
        pieces: list[Piece] = []
        at = 0
        for found in _PIECE.finditer(phrase):
            pieces.append((self._spell(phrase[at : found.start()]), "", ""))
            about, how = found.group(1) or concept, found.group(2) or polarity
            pieces.append((self._spell(found.group(3)), about, how))
            at = found.end()
        pieces.append((self._spell(phrase[at:]), "", ""))
        return [piece for piece in pieces if piece[0]]

    def _spell(self, words: str) -> str:
        """Return `words` with this author's slips."""
        if not self.manner.slips:
            return words
        return _WORD.sub(self._slip, words)

    def _slip(self, match: re.Match[str]) -> str:
        word = match.group()
        if word in _MONTHS or not self.chance(self.manner.slips):
            return word
        if word in _MISSPELT:
            return _MISSPELT[word]
        k = self.whole(1, len(word) - 3)
        kind = self.whole(0, 2)
        if kind == 0:
            return word[:k] + word[k + 1] + word[k] + word[k + 2 :]
        return word[:k] + word[k + 1 :] if kind == 1 else word[:k] + word[k] + word[k:]

    def _slot(self, name: str) -> str:
        """Return the words for a slot of a phrase."""
        plain = self._plain_slot(name)
        return self._drawn_slot(name) if plain is None else plain

    def _plain_slot(self, name: str) -> str | None:
        patient, f = self._patient, self._patient.female
        words = {
            "her": "her" if f else "his",
            "him": "her" if f else "him",
            "woman": "woman" if f else "man",
            "F": "F" if f else "M",
            "age": str(patient.age),
            "onset_age": f"{patient.onset_age:.0f}",
            "chronic": "chronic " if patient.duration_months >= 3 else "",
            "pain": f"{patient.pain:.0f}",
            "fatigue": f"{patient.fatigue:.0f}",
        }
        if name == "s":
            return ("she" if f else "he") if self.chance(0.75) else "the patient"
        return words.get(name)

    def _drawn_slot(self, name: str) -> str:
        if name in _CHOICES:
            return self.pick(_CHOICES[name])
        if name in _RANGES:
            return str(self.whole(*_RANGES[name]))
        if name == "nsaid":
            return self._nsaid
        if name == "relative":
            return self.pick(_ELDERS if self._patient.age < 45 else _YOUNGER)
        if name in ("height", "weight"):
            return self._measure(name)
        age = self._patient.age
        makers: dict[str, Callable[[], str]] = {
            "dur": self._duration,
            "since": self._since,
            "stiff": self._stiffness,
            "event": self._event,
            "index": lambda: self._full_date(self._patient.index_date),
            "visit": lambda: self._full_date(self._past(7, 120)),
            "recent": lambda: self._month_date(self._past(45, 400)),
            "old": lambda: str(self._past(400, max(500, (age - 10) * 365)).year),
            "injury": lambda: self._month_date(self._onset - timedelta(days=self.whole(3, 60))),
            "dose": lambda: f"{_DAILY_MG[self._nsaid]} mg a day",
            "pack": lambda: str(self.whole(2, max(2, (age - 15) // 2))),
            "bp": lambda: f"{self.whole(108, 142)}/{self.whole(64, 88)}",
        }
        return makers[name]()

    def _duration(self) -> str:
        months = max(1, round(self._patient.duration_months))
        if months < 24:
            return f"{months} months" if months > 1 else "1 month"
        years = f"{round(months / 6) / 2:g}" if months < 96 else f"{round(months / 12)}"
        return f"{years} {self.pick(('years', 'years', 'yrs')) if self.style == 't' else 'years'}"

    def _since(self) -> str:
        near = self._patient.duration_months < 30
        return self._month_date(self._onset) if near or self.chance(0.3) else str(self._onset.year)

    def _stiffness(self) -> str:
        minutes = max(5, 5 * round(self._patient.stiffness_min / 5))
        if minutes == 60 and self.chance(0.6):
            return self.pick(("an hour", "one hour", "1 h"))
        if minutes >= 90:
            return f"{round(minutes / 30) / 2:g} {self.pick(('hours', 'h', 'hrs'))}"
        return f"{self.pick(('about ', '~', '', ''))}{minutes} <minutes|min>"

    def _measure(self, name: str) -> str:
        tall = self.rng.normal(166 if self._patient.female else 179, 7)
        if name == "height":
            return f"{tall:.0f}"
        return f"{float(np.clip(self.rng.normal(25.5, 4), 18, 40)) * (tall / 100) ** 2:.0f}"

    def _event(self) -> str:
        """Return a month or year in the past twelve years, since the age of 14 at most."""
        span = min(12 * 365, max((self._patient.age - 14) * 365, 100))
        day = self._past(45, span)
        return str(day.year) if self.chance(0.55) else self._month_date(day)

    def _past(self, from_days: int, to_days: int) -> date:
        return self._patient.index_date - timedelta(days=self.whole(from_days, to_days))

    def _full_date(self, day: date) -> str:
        style = self.site.date_format if self.chance(0.85) else self.whole(0, 4)
        month = _MONTHS[day.month - 1]
        return (
            f"{day:%d/%m/%Y}",
            f"{day.day} {month} {day.year}",
            f"{day:%Y-%m-%d}",
            f"{day:%d.%m.%Y}",
            f"{day:%d}-{month[:3]}-{day.year}",
        )[style]

    def _month_date(self, day: date) -> str:
        month = _MONTHS[day.month - 1]
        return self.pick(
            (f"{month} {day.year}", f"{month[:3]} {day.year}", f"{day.month:02d}/{day.year}")
        )
