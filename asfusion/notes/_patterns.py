"""Patterns of words as people write them down, and the files that list them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files

_MACRO = re.compile(r"\{([A-Z]+)\}")
# A character class is left as it is; outside it, a space is any short run of spaces and hyphens.
_PIECE = re.compile(r"\[[^\]]*\]| \?| \*| ")
_GAPS = {" ?": r"[\s\-]{0,3}", " *": r"\s{0,3}", " ": r"[\s\-]{1,3}"}


def compile_pattern(pattern: str, macros: Mapping[str, str] | None = None) -> re.Pattern[str]:
    """Return a regular expression that meets `pattern` between the borders of words.

    Raises
    ------
    re.error
        If it is not a regular expression.
    """
    known = {} if macros is None else macros
    for _ in range(3):  # a macro may name another
        pattern = _MACRO.sub(lambda match: f"(?:{known[match[1]]})", pattern)
    spaced = _PIECE.sub(lambda match: _GAPS.get(match[0], match[0]), pattern)
    if pattern.startswith(("\\?", "\\(", "\\+", "\\-")):  # signs stand beside words without a space
        return re.compile(spaced, re.IGNORECASE)
    return re.compile(rf"(?<!\w)(?:{spaced})(?!\w)", re.IGNORECASE)


def read_groups(name: str) -> tuple[list[tuple[str, list[str]]], dict[str, str]]:
    """Return the groups of a file beside this module, by heading, and its macros."""
    groups: list[tuple[str, list[str]]] = []
    macros: dict[str, str] = {}
    for line in _lines(name):
        if line.startswith("== "):
            groups.append((line[3:], []))
        elif line.startswith("@ "):
            macro, _, value = line[2:].partition(" = ")
            macros[macro] = value
        else:
            groups[-1][1].append(line)
    return groups, macros


def _lines(name: str) -> Iterator[str]:
    text = files("asfusion.notes").joinpath(name).read_text("utf-8")
    return (line for line in text.splitlines() if line and not line.startswith("#"))
