"""Regions and points of which one is the other seen in a mirror."""

from __future__ import annotations

from typing import Any

from asfusion._checks import in_words
from asfusion.exceptions import ConfigurationError

_SIDES = (("left", "right"), ("right", "left"))


def mirrored_pairs(given: Any, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return pairs of names of which one is the other seen in a mirror."""
    if isinstance(given, str) and given == "auto":
        pairs = (tuple(sorted((name, _other_side(name)))) for name in names)
        found = dict.fromkeys(p for p in pairs if p[0] != p[1] and set(p) <= set(names))
        return tuple((str(one), str(other)) for one, other in found)
    pairs_given = [tuple(pair) for pair in given] if isinstance(given, list | tuple) else None
    every = [name for pair in pairs_given or () for name in pair]
    if pairs_given is None or any(len(pair) != 2 for pair in pairs_given):
        msg = f"mirrored: expected 'auto' or pairs of names, got {in_words(given)}."
        raise ConfigurationError(msg)
    if len(set(every)) < len(every) or not set(every) <= set(names):
        msg = "mirrored: expected pairs of annotated names, each once, got others."
        raise ConfigurationError(msg)
    return tuple((str(one), str(other)) for one, other in pairs_given)


def _other_side(name: str) -> str:
    for side, other in _SIDES:
        if side in name:
            return name.replace(side, other)
    return name
