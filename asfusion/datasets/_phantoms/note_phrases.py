"""The phrases that notes are made of, read from ``note_phrases.txt`` beside this module.

A line ``== topic kind`` opens a group; below it, one line is one phrase: ``n`` for narrative
authors, ``t`` for telegraphic ones, ``b`` for both. In a phrase ``[words]`` names the concept,
``[concept:words]`` and ``[concept/polarity:words]`` another one, ``<long|short>`` is an
abbreviation that some authors use, and ``{slot}`` is filled from the facts.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files


def phrases(topic: str, kind: str, style: str) -> tuple[str, ...]:
    """Return the phrases of a group for narrative (``n``) or telegraphic (``t``) authors."""
    return _bank().get((topic, kind, style), ())


@lru_cache(maxsize=1)
def _bank() -> dict[tuple[str, str, str], tuple[str, ...]]:
    text = files("asfusion.datasets._phantoms").joinpath("note_phrases.txt").read_text("utf-8")
    found: dict[tuple[str, str, str], list[str]] = {}
    topic = kind = ""
    for line in text.strip().splitlines():
        tag, _, rest = line.partition(" ")
        if tag == "==":
            topic, kind = rest.split()
            continue
        for style in "nt" if tag == "b" else tag:
            found.setdefault((topic, kind, style), []).append(rest)
    return {key: tuple(lines) for key, lines in found.items()}
