"""Letters with planted identifiers, whose places are known: what redaction is measured on.

Names, towns, companies and numbers are drawn from the locale lists of ``faker``; clinical
sentences hold what looks like an identifier and is none (eponyms, scores, laboratory
values, grades). The forms are in ``planted_letters.txt``: the ``known`` ones were there when the
rules were written and their misses were looked at; the ``fresh`` ones were written when the rules
were finished, and are for measuring alone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from faker import Faker

LOCALES = ("en_GB", "en_US", "de_DE", "fr_FR", "es_ES", "nl_NL")

CLINICAL = (
    "HLA-B27 positive, CRP 12.5 mg/L, ESR 34 mm/h. Schober 3.5 cm, BASDAI 5.4.",
    "Achilles enthesitis on the left, Crohn's disease since 2011, no uveitis.",
    "Pain 7/10 at night, morning stiffness 60 min. BP 130/85, pulse 72.",
    "MRI STIR shows bone marrow oedema; SPARCC 14, mSASSS 6. Patrick test positive.",
    "Sjogren's and Behcet's disease were discussed and are unlikely. Grade 3 on the left.",
    "Naproxen 500 mg twice daily; adalimumab 40 mg every 2 weeks is being considered.",
)

KINDS = ("known", "fresh")


def _forms(kind: str) -> list[str]:
    text = Path(__file__).with_name("planted_letters.txt").read_text("utf-8")
    parts = [part.partition("\n") for part in text.split("==== ")[1:]]
    return [form for name, _, form in parts if name == kind]


@dataclass(frozen=True)
class Letter:
    """A letter, and each planted identifier as start, end and category."""

    kind: str
    text: str
    planted: tuple[tuple[int, int, str], ...]


def write_letters(n: int, seed: int = 0) -> list[Letter]:
    """Return `n` letters of each kind."""
    rng = random.Random(seed)
    fakers = {locale: Faker(locale) for locale in LOCALES}
    for number, fake in enumerate(fakers.values()):
        fake.seed_instance(seed + number)
    letters = []
    for kind in KINDS:
        forms = _forms(kind)
        for number in range(n):
            fake = fakers[LOCALES[number % len(LOCALES)]]
            letters.append(_write(kind, forms[number % len(forms)], fake, rng))
    return letters


def _write(kind: str, form: str, fake: Faker, rng: random.Random) -> Letter:
    first, last = fake.first_name(), fake.last_name()
    people = {
        "first": first, "last": last, "full": f"{first} {last}", "kin": fake.first_name(),
        "staff": rng.choice([fake.last_name(), f"{fake.first_name()} {fake.last_name()}"]),
        "staff2": f"{fake.first_name()} {fake.last_name()}",
    }  # fmt: skip
    parts: list[str] = []
    planted: list[tuple[int, int, str]] = []
    length = 0
    place = 0
    while (start := form.find("{", place)) >= 0:
        end = form.index("}", start)
        category, _, what = form[start + 1 : end].partition(":")
        filled = people[what] if category == "name" else _fill(category, what, fake, rng)
        parts += [form[place:start], filled]
        length += start - place
        if category != "clinical":
            planted.append((length, length + len(filled), category.upper()))
        length += len(filled)
        place = end + 1
    parts.append(form[place:])
    return Letter(kind, "".join(parts), tuple(planted))


def _fill(category: str, what: str, fake: Faker, rng: random.Random) -> str:
    if category == "clinical":
        return rng.choice(CLINICAL)
    if category == "date":
        forms = (
            "%d/%m/%Y", "%Y-%m-%d", "%d.%m.%Y", "%-d %B %Y", "%B %-d, %Y", "%d/%m/%y", "%-d %b %Y",
        )  # fmt: skip
        return fake.date_between("-60y", "today").strftime(rng.choice(forms))
    if category == "id":
        forms = ("########", "??######", "### ### ####", "??-####-##", "#######")
        return fake.bothify(rng.choice(forms), letters="ABCDEFGHKMNP")
    if category == "institution":
        return fake.company() if what == "company" else _hospital(fake, rng)
    if category == "place":
        return fake.street_address().replace("\n", ", ") if what == "street" else fake.city()
    return {"phone": fake.phone_number, "email": fake.email, "url": fake.url}[category]()


def _hospital(fake: Faker, rng: random.Random) -> str:
    city = fake.city()
    return rng.choice(
        [f"{city} General Hospital", f"University Hospital of {city}", f"{city} Medical Centre",
         f"St. {fake.first_name()}'s Hospital", f"{fake.last_name()} Clinic", f"{city} Surgery"]
    )  # fmt: skip
