"""Concepts and the words that name them: those of axSpA, and the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from asfusion.exceptions import ConfigurationError
from asfusion.notes._patterns import compile_pattern, read_groups
from asfusion.notes._steps import bounded, least_width, steps

Lexicon: TypeAlias = dict[str, tuple[re.Pattern[str], ...]]
_LONGEST_PATTERN = 500
_MOST_STEPS = 10_000  # of one pattern, from one place of a text
_MOST_STEPS_IN_ALL = 200_000


@lru_cache(maxsize=1)
def axspa_lexicon() -> Lexicon:
    """Return the concepts of ``axspa_concepts.txt``, in its order."""
    groups, macros = read_groups("axspa_concepts.txt")
    return {
        heading.split(" | ")[0]: tuple(compile_pattern(line, macros) for line in lines)
        for heading, lines in groups
    }


def concept_meanings() -> dict[str, tuple[str, str]]:
    """Return the meaning of each concept of the lexicon, and where it is from."""
    groups, _ = read_groups("axspa_concepts.txt")
    rows = (heading.split(" | ") for heading, _ in groups)
    return {name: (meaning, source) for name, meaning, source in rows}


def build_lexicon(
    concepts: Mapping[str, Sequence[str]] | None = None, *, builtin: bool = True
) -> Lexicon:
    """Return the lexicon of axSpA and the user's concepts, which replace those of their name.

    Raises
    ------
    ConfigurationError
        If `concepts` is not a mapping of names to lists of patterns, a pattern is not a
        regular expression, matches nothing at all or could take long, or no concept is left.
    """
    lexicon = dict(axspa_lexicon()) if builtin else {}
    total = 0.0
    for name, patterns in _check_concepts(concepts).items():
        lexicon[name] = tuple(_compile_own(name, pattern) for pattern in patterns)
        total += sum(map(_steps, lexicon[name]))
    if total > _MOST_STEPS_IN_ALL:
        msg = (
            f"concepts: expected patterns that take at most {_MOST_STEPS_IN_ALL:,} steps together, "
            f"got {total:,.0f}. Leave out patterns, or repeats in them."
        )
        raise ConfigurationError(msg)
    if not lexicon:
        msg = "concepts: expected at least one concept with builtin=False, got none."
        raise ConfigurationError(msg)
    return lexicon


def _check_concepts(concepts: Any) -> dict[str, list[str]]:
    if concepts is None:
        return {}
    right = isinstance(concepts, Mapping) and all(
        isinstance(name, str)
        and re.search(r"\w", name)
        and isinstance(patterns, list | tuple)
        and patterns
        and all(isinstance(p, str) and 0 < len(p) <= _LONGEST_PATTERN for p in patterns)
        for name, patterns in concepts.items()
    )
    if not right:
        msg = (
            "concepts: expected a mapping of names to lists of patterns, such as "
            "{'vaping': ['vap(?:es|ing)']}, got something else."
        )
        raise ConfigurationError(msg)
    named = {concept_name(name): list(patterns) for name, patterns in concepts.items()}
    if len(named) < len(concepts):
        msg = "concepts: expected names that differ by more than case and spaces, got two alike."
        raise ConfigurationError(msg)
    return named


def concept_name(name: str) -> str:
    """Return the name of a concept as it stands in features: ``my concept`` is ``my_concept``."""
    return re.sub(r"\W+", "_", name.strip().lower()).strip("_")


def _compile_own(name: str, pattern: str) -> re.Pattern[str]:
    try:
        compiled = _compile_bounded(pattern)
        least, most = least_width(compiled), _steps(compiled)
    except (re.error, KeyError, RecursionError, OverflowError):
        msg = (
            f"concepts[{name!r}]: expected regular expressions, got {pattern!r}, which is none. "
            "Write \\( and \\? for the signs themselves."
        )
        raise ConfigurationError(msg) from None
    if most > _MOST_STEPS:
        msg = (
            f"concepts[{name!r}]: expected patterns that take at most {_MOST_STEPS:,} steps from "
            f"one place, got {pattern!r}, which may take more. Repeat no repetition, and write "
            "{0,3} for * where a run can end in many places."
        )
        raise ConfigurationError(msg)
    if not least or compiled.search(" ") is not None:
        msg = f"concepts[{name!r}]: expected patterns of words, got {pattern!r}, which meets none."
        raise ConfigurationError(msg)
    return compiled


@lru_cache(maxsize=4096)
def _compile_bounded(pattern: str) -> re.Pattern[str]:
    return compile_pattern(bounded(pattern))


_steps = lru_cache(maxsize=4096)(steps)
