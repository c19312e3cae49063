"""What the name of a column says: an identifier, a label, a source, an earlier visit."""

from __future__ import annotations

import re
from functools import lru_cache

# Words are compared whole: uric_acid, thyroid and platelets hold an "id", and patient_pain
# a "patient", without telling anybody apart.
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_PEOPLE = ("patient", "subject", "participant", "person")
_COUNTED = (*_PEOPLE, "case", "record", "admission", "encounter", "hospital", "stay", "study")
_NAMES_ONE = frozenset(
    {"id", "ids", "pid", "uid", "uuid", "guid", "mrn", "identifier", "accession"}
)
_JOINED = re.compile(rf"({'|'.join((*_COUNTED, 'hadm', 'pat', 'subj', 'sample', 'visit'))})_?ids?")
_NUMBER_WORDS = frozenset({"number", "num", "no", "nr", "code", "key"})
# What pandas and polars call an index that was written into a file.
_WRITTEN_INDEX = re.compile(r"|(__index_)?level_\d+(__)?")
_NUMBERING = frozenset({"case", "index", "key", "pid", "record", "row", "unnamed", *_NUMBER_WORDS})

_LABELS = frozenset({"label", "labels", "outcome", "outcomes", "groundtruth"})
_TARGETS = frozenset({"target", "targets"})
# What a label may be called beside what it is about, and words that are about anything.
_GENERAL = (
    _LABELS
    | _TARGETS
    | frozenset(
        {
            *("active", "activity", "baseline", "binary", "case", "category", "class", "classes"),
            *("code", "condition", "control", "count", "data", "disease", "event", "flag"),
            *("grade", "group", "has", "index", "is", "level", "name", "no", "number", "output"),
            *("patient", "positive", "present", "rate", "response", "result", "risk", "score"),
            *("severity", "stage", "status", "subject", "time", "total", "true", "truth", "type"),
            *("value", "y", "yes", "was", "any", "new", "the", "of", "in", "at", "to", "and"),
        }
    )
)
# Measured, or known, before what is to be predicted; or of somebody else.
_EARLIER = frozenset(
    {
        *("before", "baseline", "base", "bl", "earlier", "former", "history", "hx", "initial"),
        *("lag", "last", "past", "pre", "prev", "previous", "previously", "prior", "screening"),
        *("scr", "family", "familial", "fam", "father", "mother", "parent", "parents", "parental"),
        *("pedigree", "relative", "relatives", "sibling", "siblings"),
    }
)
_WHEN = re.compile(r"(\d+|[tvmwdy]|day|days|week|weeks|month|months|year|years|yr|mo|visit|fu)")
_FOLLOWED = frozenset({"followup", "next", "future", "later", "end", "final"})
# A measurement by its name, which a series of whole numbers does not make an identifier.
_MEASURED = frozenset(
    {
        *("age", "ages", "year", "years", "weight", "height", "bmi", "dose", "day", "days"),
        *("month", "months", "week", "weeks", "hours", "minutes", "time", "duration", "offset"),
        *("count", "counts", "pressure", "rate", "score", "size", "volume", "length", "distance"),
        *("income", "salary", "cost", "price", "amount", "level", "temperature", "crp", "esr"),
        *("hb", "wbc", "platelets", "plt", "glucose", "ferritin", "creatinine", "steps"),
        *("reads", "copies", "load", "area", "voxels", "pixels", "bytes", "cells", "depth"),
    }
)


@lru_cache(maxsize=65536)
def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in small letters: ``LabelICU_30d`` is label, icu, 30, d."""
    return tuple(word.lower() for word in _WORD.findall(name))


def may_identify(name: str) -> bool:
    """Return whether a column is named like one that tells patients apart, whatever it holds."""
    return names_identifier(name) or names_numbering(name)


def names_numbering(name: str) -> bool:
    """Return whether a column is named like a numbering of rows."""
    words = words_of(name)
    # Nothing but numbers follows the first word, as in ``Unnamed: 0``.
    bare = all(word.isdigit() for word in words[1:])
    numbers = bool(words) and words[0] in _NUMBERING and bare
    return numbers or _WRITTEN_INDEX.fullmatch(name) is not None


def names_identifier(name: str) -> bool:
    """Return whether a column is named like an identifier of patients, stays or files."""
    words = words_of(name)
    joined = any(_JOINED.fullmatch(part) for part in re.split(r"\W+", name.lower()))
    numbers = len(words) > 1 and words[-2] in _COUNTED and words[-1] in _NUMBER_WORDS
    alone = len(words) == 1 and words[0] in _PEOPLE
    return joined or numbers or alone or not _NAMES_ONE.isdisjoint(words)


def names_measurement(name: str) -> bool:
    """Return whether a column is named like something that is measured or counted."""
    return not _MEASURED.isdisjoint(words_of(name))


def names_label(name: str, target: str | None) -> str:
    """Return why a column is a label by its name, empty if it is none.

    Parameters
    ----------
    name : str
        The column.
    target : str or None
        Name of the target, which its relatives share.
    """
    words = words_of(name)
    if not words or not _EARLIER.isdisjoint(words):
        return ""
    if _LABELS & {words[0], words[-1]} or words[:2] == ("ground", "truth"):
        return "named like a label"
    own = () if target is None else words_of(target)
    if words[0] in _TARGETS and (_is_general(words) or own[:1] == words[:1]):
        return "named like a target"
    stem = stem_of(target)
    if stem and _holds_run(words, stem) and not _is_sooner(words, own):
        return f"named after the target {target!r}"
    return ""


def stem_of(target: str | None) -> tuple[str, ...]:
    """Return the words of a target that say what it is about: ``label_icu`` is about icu."""
    words = () if target is None else words_of(target)
    told = tuple(w for w in words if w not in _GENERAL and _WHEN.fullmatch(w) is None)
    return told if any(len(word) > 1 for word in told) else ()


def _is_general(words: tuple[str, ...]) -> bool:
    return all(word in _GENERAL or _WHEN.fullmatch(word) is not None for word in words)


def _holds_run(words: tuple[str, ...], stem: tuple[str, ...]) -> bool:
    return any(words[i : i + len(stem)] == stem for i in range(len(words) - len(stem) + 1))


def _is_sooner(words: tuple[str, ...], target: tuple[str, ...]) -> bool:
    """Return whether a column is of no visit, or an earlier one, where the target is of one."""
    if not _is_timed(target):
        return False
    if not _is_timed(words):
        return True
    own, later = _numbers(words), _numbers(target)
    return bool(own and later) and max(own) < max(later)


def _is_timed(words: tuple[str, ...]) -> bool:
    return any(_WHEN.fullmatch(w) is not None or w in _FOLLOWED for w in words)


def _numbers(words: tuple[str, ...]) -> list[int]:
    return [int(word) for word in words if word.isdigit()]
