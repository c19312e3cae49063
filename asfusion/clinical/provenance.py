"""What each score and label is made of, so that none is predicted from its own ingredients.

A model that finds ASDAS from the patient's answers and CRP has learned a published formula,
and one that finds "ankylosing spondylitis" from the grades of the sacroiliac joints has
learned the definition. Both look excellent and are worth nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

from asfusion._checks import in_words, quoted, suggestion
from asfusion._door import public
from asfusion.clinical._ingredients import (
    BARE_QUESTIONS,
    BASDAI_BY_NUMBER,
    CHANGES,
    PARTS,
    SYNONYMS,
)
from asfusion.exceptions import CircularityError, ConfigurationError

_MEASUREMENTS = {part for parts in PARTS.values() for part in parts}
_STANDARD: dict[str, str] = {
    **{other: name for name, others in SYNONYMS.items() for other in others},
    **BASDAI_BY_NUMBER,
    **{name: name for name in (*PARTS, *_MEASUREMENTS)},
}

# What a name may carry beside the measurement: its unit, scale, transform.
_DECORATION = (
    r"mg_?d?l|mg_per_d?l|nmol_?l|ug_?ml|mm_?h|mm_?hr|mm_per_h|cm|mm|deg|degrees|"
    r"score|value|total|result|index|nrs|vas|log|ln|sqrt|log1p|zscore|z|scaled|std|imputed"
)
_ENDING = re.compile(rf"_(?:{_DECORATION})$")
_BEGINNING = re.compile(r"^(?:log|ln|sqrt|log1p|z|scaled|std|imputed|raw|current)_")
_BASELINE = "baseline"
_VISIT = (
    r"baseline|bl|base|screening|scr|prev|previous|prior|last|lag\d*|followup|follow_up|fu|"
    r"next|future|t\d+|v\d+|visit_?\d+|[mwdy]\d+|(?:month|week|day|year)_?\d+|"
    r"\d+_?(?:m|mo|months?|w|wk|weeks?|y|yr|years?)"
)
_VISIT_LAST = re.compile(rf"_({_VISIT})$")
_VISIT_FIRST = re.compile(rf"^({_VISIT})_")
_IS_BASELINE = re.compile(
    r"^(?:baseline|bl|base|screening|scr|(?:t|v|m|w|d|visit_?|month_?|week_?|day_?)0+)$"
)
_IS_EARLIER = re.compile(r"^(?:prev|previous|prior|last|lag\d*)$")


@public
def standard_name(column: str) -> str | None:
    """Return the standard name of what a column holds.

    Parameters
    ----------
    column : str
        Name of a column, such as ``"CRP (mg/L)"``, ``"BASDAI_Q2"`` or ``"crp_baseline"``.

    Returns
    -------
    str or None
        The name that `ingredients` uses; None if the column is not known or its name is no text.

    Examples
    --------
    >>> from asfusion.clinical.provenance import standard_name
    >>> standard_name("BASDAI_Q2"), standard_name("CRP (mg/L)"), standard_name("bmi")
    ('back_pain', 'crp', None)
    """
    return _read_name(column)[0] if isinstance(column, str) else None


@public
def ingredients(score: str) -> tuple[str, ...]:
    """Return everything that a score is made of, down to the measurements.

    Parameters
    ----------
    score : str
        A score, label or criterion, such as ``"asdas"`` or ``"asas_axspa_2009"``.

    Returns
    -------
    tuple of str
        Standard names, each followed by its own ingredients; empty for a measurement.

    Raises
    ------
    ConfigurationError
        If the name is not known.

    References
    ----------
    Each score's own page names its publication. The criteria: Rudwaleit et al., Ann Rheum
    Dis 2009;68:777-783. https://doi.org/10.1136/ard.2009.108233

    Examples
    --------
    >>> from asfusion.clinical.provenance import ingredients
    >>> ingredients("asdas_crp")
    ('back_pain', 'stiffness_duration', 'patient_global', 'peripheral_pain', 'crp')
    """
    name = standard_name(score) if isinstance(score, str) else None
    if name is None:
        hint = suggestion(str(score), PARTS)
        msg = f"score: expected one of {quoted(PARTS, limit=50)}, got {in_words(score)}.{hint}"
        raise ConfigurationError(msg)
    return _all_parts(name)


@public
def check_circularity(features: Any, target: Any) -> None:
    """Raise if a label would be predicted from what defines it.

    A column is refused if it is the target, one of its ingredients, a score that contains
    the target, or a score that shares an ingredient with it: BASDAI is not to be predicted
    from the answers that it shares with ASDAS, nor ASDAS from CRP. CRP is fine for BASDAI.

    Names decide, in any usual spelling, with or without a unit. What is not known raises
    nothing. A visit in the name counts: ``crp_baseline`` may predict ``asdas_m6``, and a
    target without a visit is of now.

    Parameters
    ----------
    features : DataFrame or iterable of str
        The columns to predict from.
    target : str, Series or DataFrame
        The label or its name. Without a name, nothing is checked.

    Raises
    ------
    CircularityError
        If a column defines the target; it names the columns and what they share.

    Examples
    --------
    >>> from asfusion.clinical.provenance import check_circularity
    >>> check_circularity(["age", "crp", "esr", "pelvis_xray"], "basdai")
    >>> check_circularity(["age", "crp", "esr"], "asdas")
    Traceback (most recent call last):
        ...
    asfusion.exceptions.CircularityError: Target 'asdas': expected features ...
    """
    targets = _target_names(target)
    known = [(name, *_read_name(name)) for name in targets]
    if not any(standard for _, standard, _ in known):
        return
    columns = [c for c in _column_names(features) if isinstance(c, str)]
    for name, standard, visit in known:
        if standard is not None:
            _check_one(columns, name, standard, visit)


def _check_one(columns: list[str], target: str, standard: str, visit: str | None) -> None:
    bare = _bare_questions(columns, standard)
    found = {}
    for column in columns:
        part, when = _read_name(column)
        part = part or bare.get(column)
        if part is None or not _same_time(when, visit, change=standard in CHANGES):
            continue
        reason = _overlap(part, standard)
        if reason:
            found[column] = reason
    if not found:
        return
    reasons = "; ".join(f"{column!r} {reason}" for column, reason in list(found.items())[:5])
    msg = (
        f"Target {target!r}: expected features that do not define it, got "
        f"{quoted(found, limit=10)} ({reasons}). Drop these columns, or predict something else. "
        "If they were measured at an earlier visit, say so in their names, for example "
        "'crp_baseline'."
    )
    raise CircularityError(msg)


@cache
def _overlap(part: str, target: str) -> str:
    """Return why `part` gives `target` away, empty if it does not."""
    if part == target:
        return "is the target"
    if part in _all_parts(target):
        return f"is an ingredient of {target}"
    if target in _all_parts(part):
        return f"is computed from {target}"
    shared = _leaves(part) & _leaves(target)
    return f"shares {quoted(sorted(shared), limit=3)} with it" if shared else ""


@cache
def _all_parts(name: str) -> tuple[str, ...]:
    out: dict[str, None] = {}
    for part in PARTS.get(name, ()):
        out.update(dict.fromkeys((part, *_all_parts(part))))
    return tuple(out)


def _leaves(name: str) -> set[str]:
    return {part for part in (name, *_all_parts(name)) if part not in PARTS}


def _bare_questions(columns: Iterable[str], target: str) -> dict[str, str]:
    """Return columns named q1 to q6, if they can be those of BASDAI.

    They count only for a target that shares questions with BASDAI, and only where no
    question has a number above six, as those of BASFI and ASAS HI have.
    """
    numbered = {column: column.lower() for column in columns}
    others = any(
        re.fullmatch(r"q_?\d+", name) and name not in BARE_QUESTIONS for name in numbered.values()
    )
    if others or not _leaves("basdai") & _leaves(target):
        return {}
    return {c: BARE_QUESTIONS[name] for c, name in numbered.items() if name in BARE_QUESTIONS}


def _same_time(feature: str | None, target: str | None, *, change: bool) -> bool:
    """Return whether two visits, as names give them, may be the same."""
    if feature == target:
        return True
    if change and target is None:
        return feature not in {_BASELINE, "earlier"}
    return feature is None and target == _BASELINE


@lru_cache(maxsize=8192)
def _read_name(column: str) -> tuple[str | None, str | None]:
    """Return the standard name and the visit that a column's name tells."""
    text = column.rpartition("__")[2].strip()
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text)
    for spelling in (text, split):
        plain = re.sub(r"[^a-z0-9]+", "_", spelling.lower()).strip("_")
        found = _find(plain)
        if found[0] is not None:
            return found
    return None, None


def _find(plain: str) -> tuple[str | None, str | None]:
    visit: str | None = None
    for _ in range(4):
        if plain in _STANDARD:
            return _STANDARD[plain], visit
        shorter = _BEGINNING.sub("", _ENDING.sub("", plain))
        if shorter == plain:
            match = _VISIT_LAST.search(plain) or _VISIT_FIRST.search(plain)
            if match is None or visit is not None:
                break
            visit = _visit(match[1])
            shorter = (plain[: match.start()] + plain[match.end() :]).strip("_")
        plain = shorter
    return None, None


def _visit(text: str) -> str:
    if _IS_BASELINE.match(text):
        return _BASELINE
    return "earlier" if _IS_EARLIER.match(text) else text.replace("_", "")


def _target_names(target: Any) -> list[str]:
    if isinstance(target, str):
        return [target]
    names = target.columns if hasattr(target, "columns") else [getattr(target, "name", None)]
    return [name for name in names if isinstance(name, str)]


def _column_names(features: Any) -> list[Any]:
    if isinstance(features, str):
        return [features]
    return list(features.columns if hasattr(features, "columns") else features)
