"""What lies within a modality for one row, in words and numbers that add up to its value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asfusion._frames import Frame
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.tables import TableAttribution
from asfusion.explanation.text import TextAttribution
from asfusion.explanation.visits import VisitAttribution
from asfusion.explanation.volumes import VolumeAttribution

PRESENCE = "(having it at all)"
GAP = "(not explained)"

_ROUNDING = 1e-9


def name_outputs(names: Sequence[str]) -> str:
    """Return one name for what was explained of all rows, short enough for an axis."""
    different = list(dict.fromkeys(names))
    if len(different) == 1:
        return different[0]
    return f"{different[0].split(' of class ')[0]} of the predicted class"


def parts_of(detail: Any, row: int) -> list[tuple[str, float]]:
    """Return the parts of one row, without zeros; the pixels of an image are one of them."""
    if isinstance(detail, TableAttribution):
        pairs = zip(detail.feature_names, detail.values[row].tolist(), strict=True)
        found = [(str(name), float(value)) for name, value in pairs]
    elif isinstance(detail, VisitAttribution):
        own = detail.of_row(row)
        pairs = zip(detail.days[own].tolist(), detail.values[own].tolist(), strict=True)
        found = [(f"day {day:g}", value) for day, value in pairs]
    else:
        found = _of_content(detail[row])
    return [(label, value) for label, value in found if value]


def _of_content(part: Any) -> list[tuple[str, float]]:
    """Return the parts of a note, an image or series; of none where there is None."""
    if isinstance(part, TextAttribution):
        words = [(part.text[s.start : s.end], float(s.value)) for s in part.spans]
        gap = part.gap if abs(part.gap) > _ROUNDING * max(1.0, abs(part.total)) else 0.0
        return [*words, (PRESENCE, part.elsewhere), (GAP, gap)]
    if isinstance(part, ImageAttribution):
        return [("(pixels)", part.total), (PRESENCE, part.elsewhere)]
    if isinstance(part, VolumeAttribution):
        voxels = [(f"(voxels of {name})", own.total) for name, own in part.maps.items()]
        return [*voxels, (PRESENCE, part.elsewhere)]
    return []


def shown_parts(detail: Any, row: int, n: int) -> list[tuple[str, float]]:
    """Return at most `n` parts, the largest first, with the sum of the others in their place."""
    parts = parts_of(detail, row)
    if len(parts) > n:
        parts.sort(key=lambda part: (part[0] != PRESENCE, -abs(part[1])))
        kept, others = parts[: n - 1], parts[n - 1 :]
        parts = [*kept, (f"({len(others)} others)", sum(value for _, value in others))]
    return sorted(parts, key=lambda part: -abs(part[1]))


def cells_of(frame: Frame, column: str) -> list[Any]:
    """Return the cells of a column as they are shown: numbers, True or False, days, texts."""
    kind = frame.kind(column)
    if kind in ("number", "boolean"):
        numbers = frame.numbers(column).tolist()
        return [None if v != v else bool(v) if kind == "boolean" else v for v in numbers]
    texts = frame.strings(column)
    if kind != "date":
        return list(texts)
    return [None if text is None else text.removesuffix(" 00:00:00") for text in texts]
