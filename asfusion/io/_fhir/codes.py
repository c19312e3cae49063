"""Concepts of FHIR as codes: the coding of the system that is asked for, among several."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from asfusion.io._fhir.strict_json import loose

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
# The same systems by the names that they have in HL7 V3.
_SAME = {
    "urn:oid:2.16.840.1.113883.6.1": LOINC,
    "urn:oid:2.16.840.1.113883.6.8": UCUM,
    "urn:oid:2.16.840.1.113883.6.96": "http://snomed.info/sct",
}
UCUMS = (UCUM, *(name for name, same in _SAME.items() if same == UCUM))
_PLAIN = re.compile(r"[A-Za-z0-9._:/#-]{1,60}")
_SHOWN = 20


@dataclass
class Codes:
    """Chooses a code of each concept.

    Parameters
    ----------
    system : str or None
        The system of codes that is asked for; None for any.
    asked : collection of str or None
        The codes that are asked for; None for all.
    others : Counter
        How many concepts have no code of the system, by the code that they have.
    n_not_asked : int
        How many rows have a code that was not asked for.
    """

    system: str | None
    asked: Collection[str] | None
    others: Counter[str] = field(default_factory=Counter)
    n_not_asked: int = 0

    def chosen(self, concepts: pl.Series) -> pl.Series:
        """Return the code of each concept, null where it has none of the system."""
        counts = concepts.value_counts(name="n").drop_nulls()
        codes = []
        for text, n in counts.rows():
            known = list(_codings(text))
            code = self._choose(known)
            if code is None:
                self.others[_name(known)] += n
            codes.append(code)
        table = pl.DataFrame({"concept": counts[:, 0], "code": pl.Series(codes, dtype=pl.String)})
        return _looked_up(concepts, table)

    def _choose(self, known: list[tuple[str, str]]) -> str | None:
        own = [code for system, code in known if self.system in (None, system)]
        asked = [code for code in own if self.asked is None or code in self.asked]
        return next(iter([*asked, *own]), None)


def read_system(system: str | None) -> str | None:
    """Return a system by the name that it has in FHIR."""
    return None if system is None else _SAME.get(system, system)


def words_of(concepts: pl.Series) -> pl.Series:
    """Return what concepts are called: by their text, what their code displays, or their code."""
    return _of_each(concepts, _words)


def codes_of(concepts: pl.Series) -> pl.Series:
    """Return all codes of concepts, of whatever systems, as lists."""
    kind = pl.List(pl.String)
    return _of_each(concepts, lambda text: [code for _, code in _codings(text)], kind)


def values_of(concepts: pl.Series) -> pl.Series:
    """Return concepts that are answers as their first code, else as their text."""
    return _of_each(concepts, lambda text: next((c for _, c in _codings(text)), _words(text)))


def _of_each(concepts: pl.Series, say: Callable[[str], Any], kind: Any = pl.String) -> pl.Series:
    known = concepts.drop_nulls().unique()
    said = pl.Series([say(text) for text in known], dtype=kind)
    return _looked_up(concepts, pl.DataFrame({"concept": known, "code": said}))


def _looked_up(concepts: pl.Series, table: pl.DataFrame) -> pl.Series:
    own = pl.DataFrame({"concept": concepts})
    return own.join(table, on="concept", how="left", maintain_order="left")["code"]


def _codings(text: str) -> Iterator[tuple[str, str]]:
    """Yield system and code of each coding; a concept of another shape has none."""
    concept = loose(text)
    codings = concept.get("coding") if isinstance(concept, dict) else None
    for coding in codings if isinstance(codings, list) else []:
        if isinstance(coding, dict) and isinstance(code := coding.get("code"), str) and code:
            system = coding.get("system")
            yield _SAME.get(system, system) if isinstance(system, str) else "", code


def _words(text: str) -> str | None:
    concept = loose(text)
    if not isinstance(concept, dict):
        return None
    codings = concept.get("coding")
    first = codings[0] if isinstance(codings, list) and codings else concept
    said = [concept.get("text")]
    if isinstance(first, dict):
        said += [first.get("display"), first.get("code")]
    return next((word for word in said if isinstance(word, str) and word.strip()), None)


def _name(known: list[tuple[str, str]]) -> str:
    """Return a code and its system for a report; free text, which may be anything, is not shown."""
    if not known:
        return "text alone"
    system, code = known[0]
    return f"{shown_code(code)} ({system if _PLAIN.fullmatch(system) else 'another system'})"


def shown_code(code: str) -> str:
    """Return a code for a report, unless it may be free text."""
    return code if _PLAIN.fullmatch(code) else "as written"


def most_common(counts: Counter[str]) -> dict[str, int]:
    """Return the most common of what was counted, and the rest together."""
    shown = dict(counts.most_common(_SHOWN))
    rest = counts.total() - sum(shown.values())
    return {**shown, "others": rest + shown.pop("others", 0)} if rest else shown
