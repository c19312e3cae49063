"""What one row's prediction rests on, in sentences: modalities, and what lies within each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asfusion.explanation._attribution import GAP, PRESENCE
from asfusion.explanation._explained import Explained
from asfusion.explanation._sentences import moved, share
from asfusion.explanation.views.bars import Pairs

# What a prediction is told against, by what it means that something is left out.
AGAINST = {
    "missing": "the average patient of training",
    "background": "the average of the background rows",
    "trees": "the average patient of training",
    "average": "a patient whose cells are all average",
    "none": "the prediction with nothing known",
}
_SPECIAL = {
    PRESENCE: "That it is there at all",
    GAP: "What the method leaves open",
    "(pixels)": "What is seen on it",
    "(voxels)": "What is seen on it",
}
_WITHIN = 4  # sentences of a modality
_SMALL = 0.02  # of the largest part, where there are no percentage points


@dataclass(frozen=True)
class Told:
    """What a modality did, and what within it did so.

    Parameters
    ----------
    sentence : str
        Of the modality; empty where it is all there is.
    raised : bool
        Whether it raised the output.
    parts : tuple of str
        Of what lies within it.
    """

    sentence: str
    raised: bool
    parts: tuple[str, ...] = ()


def outcome(e: Explained, row: int) -> str:
    """Return what is predicted, and against what."""
    shown, base = value_in_words(e, row, e.predictions[row]), e.base_values[row]
    told = f"against {value_in_words(e, row, base)} for {against(e)}"
    return f"{e.output_names[row]} is {shown}, {told}"


def against(e: Explained) -> str:
    """Return what predictions are told against, in words."""
    return AGAINST.get(e.absence, AGAINST["none"])


def value_in_words(e: Explained, row: int, value: float) -> str:
    """Return a value of the output: a probability as a percentage."""
    return share(float(value)) if in_points(e, row) else f"{value:.3g}"


def in_points(e: Explained, row: int) -> bool:
    """Return whether a row's output is a probability, whose parts are percentage points."""
    return e.output_names[row].startswith("probability")


def _amounts(e: Explained, row: int, values: Sequence[float]) -> dict[str, Any]:
    """Return how amounts are told, and from where on they are worth telling."""
    if in_points(e, row):
        return {}
    smallest = _SMALL * max(map(abs, values), default=0.0) or 1.0
    return {"amount": lambda value: f"{abs(value):.2g}", "smallest": smallest}


def tell(e: Explained, row: int, *, names: Sequence[str] | None = None) -> list[Told]:
    """Return what moved a row's prediction, the largest modality first.

    Within a modality only those of `names` are told of; by default all.
    """
    known = e.names if names is None else names
    order = sorted(range(len(e.names)), key=lambda m: -abs(e.values[row, m]))
    found = []
    for m in order:
        name, value = e.names[m], float(e.values[row, m])
        if not e.present[row, m] and not value:
            continue
        options = _amounts(e, row, e.values[row].tolist())
        parts = _parts(e, row, name) if name in known and e.present[row, m] else ()
        (sentence,) = moved({_named(e, row, m): value}, {}, {}, 1, **options | {"smallest": 0.0})
        found.append(Told("" if len(e.names) == 1 else sentence, value > 0, parts))
    return found


def _named(e: Explained, row: int, m: int) -> str:
    return e.names[m] if e.present[row, m] else f"That {e.names[m]} is lacking"


def _parts(e: Explained, row: int, name: str) -> tuple[str, ...]:
    pairs: Pairs = e[name]._told_parts(row)
    values: dict[str, float] = {}
    for label, value in pairs:
        values[label] = values.get(label, 0.0) + value
    if set(values) == {"(pixels)"}:
        return ()  # which is what the modality's own sentence says
    said = {_SPECIAL.get(label, label): value for label, value in values.items()}
    return tuple(moved(said, {}, {}, _WITHIN, **_amounts(e, row, list(values.values()))))


def as_lines(told: Sequence[Told], start: str = "") -> list[str]:
    """Return sentences as lines, those of parts indented."""
    lines = []
    for one in told:
        lines += [start + one.sentence] if one.sentence else []
        lines += [f"{start}{'  ' if one.sentence else ''}{part}" for part in one.parts]
    return lines


def as_list(told: Sequence[Told], escape: Callable[[str], str]) -> str:
    """Return sentences as a list of HTML, those of parts within it."""
    shown = []
    for one in told:
        parts = "".join(f"<li{_way(part)}>{escape(part)}</li>" for part in one.parts)
        if not one.sentence:
            shown.append(parts)
            continue
        inner = f"<ul>{parts}</ul>" if parts else ""
        style = _way(one.sentence)
        shown.append(f"<li{style}><strong>{escape(one.sentence)}</strong>{inner}</li>")
    return f'<ul class="told">{"".join(shown)}</ul>'


def _way(sentence: str) -> str:
    """Return the style of a sentence: by what it says, as the name of a part may say anything."""
    ways = {word: sentence.rfind(f" {word} it by ") for word in ("raised", "lowered")}
    way = max(ways, key=lambda word: ways[word])
    return f' class="{way}"' if ways[way] >= 0 else ""
