"""How notes look by hospital and by author."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_FAMILY_HEADINGS = ("FHx", "FAMILY HISTORY", "Family")


@dataclass(frozen=True)
class Site:
    """The form that a hospital's notes follow."""

    sections: tuple[tuple[str, tuple[str, ...]], ...]  # heading, sections under it
    lines: bool  # a line for each heading
    date_format: int
    head: str
    foot: str
    referral: bool

    @property
    def n_words(self) -> int:
        """Words that the form itself takes, at most."""
        headings = sum(len(title.split()) for title, _ in self.sections)
        return headings + len(self.head.split()) + len(self.foot.split()) + 2

    @property
    def heads_family(self) -> bool:
        """Whether the family history has a heading of its own."""
        return any(title in _FAMILY_HEADINGS for title, _ in self.sections)


# fmt: off
_SITES = (
    Site((("", ("opening", "back")), ("", ("nsaid", "drugs", "extra", "pmh", "family", "social")),
          ("On examination", ("exam",)), ("", ("plan",))),
         True, 1, "Dear colleague,", "Kind regards", True),
    Site((("PC", ("opening",)), ("HPC", ("back", "extra")), ("PMHx", ("pmh",)),
          ("DHx", ("nsaid", "drugs")), ("FHx", ("family",)), ("SHx", ("social",)),
          ("O/E", ("exam",)), ("Plan", ("plan",))),
         True, 0, "", "", False),
    Site((("CHIEF COMPLAINT", ("opening",)), ("HISTORY OF PRESENT ILLNESS", ("back", "nsaid")),
          ("REVIEW OF SYSTEMS", ("extra",)), ("PAST HISTORY", ("pmh",)),
          ("MEDICATIONS", ("drugs",)), ("FAMILY HISTORY", ("family",)),
          ("SOCIAL HISTORY", ("social",)), ("EXAM", ("exam",)), ("PLAN", ("plan",))),
         True, 4, "Clinic visit {index}", "", False),
    Site((("S", ("opening", "back", "nsaid", "extra", "family", "pmh", "drugs", "social")),
          ("O", ("exam",)), ("P", ("plan",))),
         True, 2, "{index}", "", False),
    Site((("Back pain", ("opening", "back")), ("Other symptoms", ("extra",)),
          ("Background", ("pmh", "family", "social")), ("Treatment so far", ("nsaid", "drugs")),
          ("Examination", ("exam",)), ("To do", ("plan",))),
         False, 0, "Back clinic, {index}.", "Registrar", False),
    Site((("Reason for referral", ("opening",)), ("Present illness", ("back", "nsaid")),
          ("Previous illnesses", ("pmh", "extra")), ("Family", ("family",)),
          ("Medication", ("drugs",)), ("Work and habits", ("social",)), ("Status", ("exam",)),
          ("Request", ("plan",))),
         True, 3, "Referral, {index}", "GP", True),
)
# fmt: on


def site_of(number: int) -> Site:
    return _SITES[number % len(_SITES)]


@dataclass(frozen=True)
class Manner:
    """How an author writes; the same for every note of that author."""

    telegraphic: float
    abbreviates: float
    slips: float
    omits: float
    hedges: float
    separator: str


@lru_cache(maxsize=1024)
def manner_of(author: int) -> Manner:
    rng = np.random.default_rng([20, author])
    return Manner(
        telegraphic=float(rng.choice([0.05, 0.35, 0.9])),
        abbreviates=float(rng.uniform(0.1, 0.9)),
        slips=float(min(rng.exponential(0.008), 0.04)),
        omits=float(rng.uniform(0.1, 0.3)),
        hedges=float(rng.uniform(0.04, 0.14)),
        separator=str(rng.choice([". ", "; ", ", "])),
    )
