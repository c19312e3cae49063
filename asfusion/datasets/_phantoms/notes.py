"""Clinical notes of a made-up chronic back pain cohort, with the truth about what they say.

A note is written from facts, never from a diagnosis.

References
----------
The features of back pain that the notes report: Sieper et al., Ann Rheum Dis 2009;68:784,
doi:10.1136/ard.2008.101501. The other features: Rudwaleit et al., Ann Rheum Dis 2009;68:777,
doi:10.1136/ard.2009.108233.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias, cast

import numpy as np

from asfusion.datasets._phantoms.note_page import Page
from asfusion.datasets._phantoms.note_phrases import phrases
from asfusion.datasets._phantoms.note_wording import Patient, Piece, Wording
from asfusion.exceptions import ConfigurationError

Polarity: TypeAlias = Literal[
    "positive", "negated", "family", "hypothetical", "historical", "hedged"
]

MIN_WORDS, MAX_WORDS = 60, 180
STIFF_FROM_MIN = 5.0  # minutes; shorter stiffness is written as none

_EXTRAS = ("uveitis", "psoriasis", "ibd", "enthesitis", "heel", "dactylitis", "arthritis")
_ON_EXAMINATION = ("enthesitis", "dactylitis", "arthritis")
_RETURNS = ("uveitis", "arthritis", "psoriasis", "ibd")
_FILLER_SECTIONS = ("pmh", "drugs", "social", "exam", "plan", "kin")

NOTE_FORBIDDEN: tuple[str, ...] = (
    "spondyl", "ankylos", "axspa", "spa", "axial", "bechterew", "sacroiliitis", "sacro-iliitis",
    "psoriatic arthritis", "reactive arthritis", "fibromyalgia", "osteoarthritis", "disc", "discs",
    "herniation", "prolapse", "hla", "b27", "crp", "c-reactive", "esr", "sedimentation",
    "calprotectin", "haemoglobin", "mri", "stir", "ct", "x-ray", "xray", "radiograph",
    "scintigraph", "oedema", "edema", "erosion", "syndesmophyte", "sclerosis", "biologic",
    "adalimumab", "etanercept", "infliximab", "golimumab", "certolizumab", "secukinumab",
    "ixekizumab", "bimekizumab", "upadacitinib", "tofacitinib", "anti-tnf", "tnf", "jak",
    "methotrexate", "sulfasalazine", "basdai", "basfi", "basmi", "asdas", "asas", "schober",
    "new york", "diagnosis", "diagnosed",
)  # fmt: skip
"""Words that would give away the diagnosis, a lab value, an image or a treatment decision."""

NOTE_CONCEPTS: tuple[str, ...] = (
    "insidious", "better_exercise", "better_rest", "night_pain", "alternating_buttock",
    "morning_stiffness", "uveitis", "psoriasis", "ibd", "enthesitis", "heel", "dactylitis",
    "arthritis", "family_history", "nsaid_response", "smoker", "trauma", "lifting_job",
    "inflammatory_back_pain",
)  # fmt: skip
"""What a `Mention` may be about; the last one is the referrer's guess and is always hedged."""


@dataclass(frozen=True)
class NoteFacts:
    """What is true of one patient on one day; None stands for not asked.

    Parameters
    ----------
    age : int
        Years on the index date.
    sex : {"f", "m"}
        As registered.
    index_date : date
        Day of the note; no date in the note is later.
    onset_age : float
        Years.
    duration_months : float
        Months of back pain.
    insidious, better_exercise, better_rest, night_pain, alternating_buttock : bool
        Character of the pain. `better_rest` true means that rest relieves it.
    morning_stiffness_min : float
        Minutes.
    uveitis, psoriasis, ibd, enthesitis, heel, dactylitis, arthritis : bool or None
        Ever, by history or on examination. `heel` is heel pain, `enthesitis` any other site.
    family_history : bool or None
        A relative with psoriasis, uveitis, bowel or spinal inflammatory disease.
    nsaid_response : bool or None
        Pain much better within days of a full dose.
    smoker : bool or None
        At present.
    trauma, lifting_job : bool
        An injury before the pain began; heavy lifting at work.
    pain_nrs, fatigue_nrs : float
        Numerical rating, 0 to 10.
    site, author : int
        Counted from zero; they set headings, date format and the manner of writing.

    Raises
    ------
    ConfigurationError
        If `sex` is neither "f" nor "m", or `site` or `author` is negative.
    """

    age: int
    sex: Literal["f", "m"]
    index_date: date
    onset_age: float
    duration_months: float
    insidious: bool
    better_exercise: bool
    better_rest: bool
    night_pain: bool
    alternating_buttock: bool
    morning_stiffness_min: float
    uveitis: bool | None
    psoriasis: bool | None
    ibd: bool | None
    enthesitis: bool | None
    heel: bool | None
    dactylitis: bool | None
    arthritis: bool | None
    family_history: bool | None
    nsaid_response: bool | None
    smoker: bool | None
    trauma: bool
    lifting_job: bool
    pain_nrs: float
    fatigue_nrs: float
    site: int
    author: int

    def __post_init__(self) -> None:
        if self.sex not in ("f", "m"):
            msg = "NoteFacts: expected sex 'f' or 'm', got something else. Recode the column."
            raise ConfigurationError(msg)
        if self.site < 0 or self.author < 0:
            msg = (
                "NoteFacts: expected site and author to be non-negative integers, got a negative "
                "one. Count them from zero."
            )
            raise ConfigurationError(msg)


@dataclass(frozen=True)
class Mention:
    """One concept in a note: ``text[start:end]`` are the words that name it.

    Parameters
    ----------
    concept : str
        One of `NOTE_CONCEPTS`.
    start, end : int
        Offsets into the text, end exclusive.
    polarity : str
        ``positive`` and ``historical`` (present once, over now) hold of the patient, ``negated``
        does not, ``hedged`` is uncertain, ``hypothetical`` is advice, and ``family`` is about a
        relative, affirmed or denied.
    """

    concept: str
    start: int
    end: int
    polarity: Polarity


def write_note_with_mentions(
    facts: NoteFacts, rng: np.random.Generator
) -> tuple[str, list[Mention]]:
    """Return a note and every concept it names, with offsets and polarity.

    Parameters
    ----------
    facts : NoteFacts
        What is true of the patient.
    rng : Generator
        Chooses what is said and how; the same state gives the same note.

    Returns
    -------
    text : str
        60 to 180 words of English.
    mentions : list of Mention
        In the order of the text.

    Examples
    --------
    >>> from datetime import date
    >>> extras = ("uveitis", "psoriasis", "ibd", "enthesitis", "heel", "dactylitis", "arthritis",
    ...           "family_history", "nsaid_response", "smoker")
    >>> facts = NoteFacts(
    ...     age=34, sex="f", index_date=date(2021, 3, 12), onset_age=29.0, duration_months=60.0,
    ...     insidious=True, better_exercise=True, better_rest=False, night_pain=True,
    ...     alternating_buttock=False, morning_stiffness_min=45.0, **dict.fromkeys(extras),
    ...     trauma=False, lifting_job=False, pain_nrs=6.0, fatigue_nrs=5.0, site=1, author=2,
    ... )
    >>> text, mentions = write_note_with_mentions(facts, np.random.default_rng(0))
    >>> 60 <= len(text.split()) <= 180
    True
    >>> {m.polarity for m in mentions if m.concept == "night_pain"} <= {"positive", "hedged"}
    True
    """
    return _Scribe(facts, rng).write()


def write_note(facts: NoteFacts, rng: np.random.Generator) -> str:
    """Return the note alone; see `write_note_with_mentions`."""
    return write_note_with_mentions(facts, rng)[0]


class _Scribe:
    """Writes one note: chooses what to say, says it, and keeps to the length."""

    def __init__(self, facts: NoteFacts, rng: np.random.Generator) -> None:
        patient = Patient(
            age=facts.age,
            female=facts.sex == "f",
            index_date=facts.index_date,
            onset_age=facts.onset_age,
            duration_months=facts.duration_months,
            stiffness_min=facts.morning_stiffness_min,
            pain=facts.pain_nrs,
            fatigue=facts.fatigue_nrs,
        )
        self._facts = facts
        self._words = Wording(patient, facts.site, facts.author, rng)
        self._page = Page(self._words)

    def write(self) -> tuple[str, list[Mention]]:
        self._tell_pain()
        self._tell_extras()
        self._tell_background()
        self._tell_plan()
        self._fit_length()
        return _assemble(self._page.pieces())

    def _omitted(self) -> bool:
        return self._words.chance(self._words.manner.omits)

    def _polarity(self, concept: str, *, value: bool) -> str:
        """Return how a fact is put: hedged now and then, more often when true."""
        if self._words.chance(self._words.manner.hedges * (1.0 if value else 0.6)):
            return "hedged"
        if value and concept in _EXTRAS and self._words.chance(0.35):
            return "historical"
        return "positive" if value else "negated"

    def _state(self, section: str, place: float, concept: str, *, value: bool | None) -> None:
        if value is None or self._omitted():
            return
        self._page.say(section, place, (concept, self._polarity(concept, value=value)), concept)

    def _tell_pain(self) -> None:
        facts = self._facts
        kind = "letter" if self._words.site.referral and self._words.chance(0.6) else "any"
        self._page.say("opening", 0, ("opening", kind))
        if self._words.chance(0.4):
            self._page.say("back", 0, ("onset", "any"))
        self._state("back", 1, "insidious", value=facts.insidious)
        self._state("back", 2, "trauma", value=facts.trauma)
        self._tell_movement()
        self._state("back", 5, "night_pain", value=facts.night_pain)
        self._state("back", 6, "morning_stiffness", value=self._stiff)
        self._state("back", 6.5, "alternating_buttock", value=facts.alternating_buttock)
        for place, topic in ((8, "pain"), (8.5, "fatigue")):
            if not self._words.chance(self._words.manner.omits + 0.15):
                self._page.say("back", place, (topic, "any"))

    @property
    def _stiff(self) -> bool:
        return self._facts.morning_stiffness_min >= STIFF_FROM_MIN

    def _tell_movement(self) -> None:
        facts = self._facts
        if self._words.chance(0.3):
            both = f"{facts.better_exercise:d}{facts.better_rest:d}"
            self._page.say("back", 3, ("movement", both))
            return
        self._state("back", 3, "better_exercise", value=facts.better_exercise)
        self._state("back", 4, "better_rest", value=facts.better_rest)

    def _tell_extras(self) -> None:
        """Say what is there one by one, and what is not there in lists, as clinicians do."""
        absent: dict[str, list[str]] = {"extra": [], "exam": []}
        for k, concept in enumerate(_EXTRAS):
            value = cast("bool | None", getattr(self._facts, concept))
            if value is None or self._omitted():
                continue
            how = self._polarity(concept, value=value)
            certain = how in ("positive", "negated")
            examined = certain and concept in _ON_EXAMINATION and self._words.chance(0.4)
            section = "exam" if examined else "extra"
            if how == "negated":
                absent[section].append(concept)
            elif examined:
                self._page.say(section, k, (concept, "seen"), concept, "positive")
            else:
                self._page.say(section, k, (concept, how), concept)
        for section, concepts in absent.items():
            self._deny(section, concepts)

    def _deny(self, section: str, concepts: list[str]) -> None:
        words = self._words
        waiting = [concepts[k] for k in words.rng.permutation(len(concepts))] if concepts else []
        while waiting:
            size = words.whole(1, 4)
            group, waiting = waiting[:size], waiting[size:]
            if len(group) == 1 and words.chance(0.5):
                self._page.say(section, 7, (group[0], "negated"), group[0])
                continue
            nouns = [f"[{c}:{words.pick(phrases(c, 'noun', words.style))}]" for c in group]
            if words.style == "n" or words.chance(0.5):
                listed = " or ".join([", ".join(nouns[:-1]), nouns[-1]] if nouns[1:] else nouns)
            else:
                listed = "/".join(nouns)
            kind = "exam" if section == "exam" else words.style
            phrase = words.pick(phrases("none", kind, words.style))
            if "no {list}" in phrase:
                listed = listed.replace(":a ", ":")
            phrase = phrase.replace("{list}", listed)
            self._page.add(section, 7, words.render(phrase, "", "negated"))

    def _tell_background(self) -> None:
        facts, words = self._facts, self._words
        family = facts.family_history
        headed = words.site.heads_family
        if family is False and headed and not self._omitted():
            phrase = words.pick(phrases("family_history", "headed", words.style))
            self._page.add("family", 0, words.render(phrase, "family_history", "negated"))
        elif not (family is False and headed):
            self._state("family", 0, "family_history", value=family)
        self._state("nsaid", 0, "nsaid_response", value=facts.nsaid_response)
        self._state("social", 0, "smoker", value=facts.smoker)
        if facts.age < 67:
            self._state("social", 1, "lifting_job", value=facts.lifting_job)

    def _tell_plan(self) -> None:
        facts = self._facts
        signs = (
            facts.insidious + facts.better_exercise + (not facts.better_rest)
            + facts.night_pain + facts.alternating_buttock + (facts.morning_stiffness_min >= 30)
        )  # fmt: skip
        if self._words.chance(0.08 + 0.07 * signs):
            self._page.say("plan", 0, ("question", "ibp"), "inflammatory_back_pain", "hedged")
        elif self._words.chance(0.6):
            self._page.say("plan", 0, ("question", "gp" if self._words.site.referral else "clinic"))
        if self._words.chance(0.3):
            concept = self._words.pick(_RETURNS)
            self._page.say("plan", 9, ("return", concept), concept, "hypothetical")

    def _filler_kinds(self, section: str) -> tuple[str, ...]:
        facts = self._facts
        fits = {
            "any": True,
            "older": facts.age >= 40,
            "f": facts.sex == "f" and (18 if section == "drugs" else 28) <= facts.age < 48,
            "work": facts.age < 66,
            "gut": not facts.ibd,
            "eye": not facts.uveitis,
            "skin": not facts.psoriasis,
            "clinic": not self._words.site.referral,
            "gp": self._words.site.referral,
        }
        if section == "kin" and (facts.family_history is False or self._has_kin):
            return ()
        return tuple(k for k, ok in fits.items() if ok and phrases(section, k, self._words.style))

    @property
    def _has_kin(self) -> bool:
        return self._page.has_said(phrases("kin", "any", self._words.style))

    def _add_filler(self) -> None:
        words = self._words
        section = words.pick(_FILLER_SECTIONS)
        kinds = self._filler_kinds(section)
        if not kinds:
            return
        kind = "any" if words.chance(0.6) and "any" in kinds else words.pick(kinds)
        where, place = ("family", 5.0) if section == "kin" else (section, 5.0 + words.rng.random())
        self._page.say(where, place, (section, kind))

    def _close_gaps(self) -> None:
        """Say "nothing else" in a section without anything beside the point."""
        for section in ("pmh", "drugs"):
            if self._words.chance(0.4) and self._page.is_empty(section):
                self._page.say(section, 0, (section, "none"))

    def _fit_length(self) -> None:
        """Add things beside the point up to a drawn length; drop statements above the limit."""
        target = self._words.whole(72, 150)
        for _ in range(60):
            if self._page.n_words >= target:
                break
            self._add_filler()
        self._close_gaps()
        while self._page.n_words > MAX_WORDS - 4:
            self._page.drop_one()


def _assemble(pieces: Iterable[Piece]) -> tuple[str, list[Mention]]:
    """Return the text and where each concept is in it."""
    parts: list[str] = []
    mentions: list[Mention] = []
    length = 0
    for words, concept, polarity in pieces:
        if concept:
            mentions.append(
                Mention(concept, length, length + len(words), cast("Polarity", polarity))
            )
        parts.append(words)
        length += len(words)
    return "".join(parts).rstrip(), mentions
