"""What lies within a modality, as whoever draws it, checks it or sums it up asks for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from asfusion.explanation.views.bars import Pairs, bars, labelled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

Floats = NDArray[np.float64]

PRESENCE = "(having it at all)"
GAP = "(not explained)"

_MOST_SHOWN = 8


def name_outputs(names: Sequence[str]) -> str:
    """Return one name for what was explained of all rows, short enough for an axis."""
    different = list(dict.fromkeys(names))
    if len(different) == 1:
        return different[0]
    return f"{different[0].split(' of class ')[0]} of the predicted class"


class Attribution(ABC):
    """What lies within a modality, for every explained row.

    A subclass names its parts; what it is drawn as, and what checks hold against it, may be its
    own, too.
    """

    @abstractmethod
    def _named_parts(self, row: int) -> Pairs:
        """Return name and value of every part of a row, zeros too."""

    def _parts(self, row: int) -> Pairs:
        """Return the parts of one row, without zeros."""
        return [(label, value) for label, value in self._named_parts(row) if value]

    def _read_parts(self, row: int) -> Pairs:
        """Return the parts of one row as they are read: of a note, sentences and not words."""
        return self._parts(row)

    def _told_parts(self, row: int) -> Pairs:
        """Return the parts of one row by names that stand in a sentence."""
        return self._read_parts(row)

    def _shown_parts(self, row: int) -> Pairs:
        """Return few parts, the largest first; at the end the sum of others, and what is no part.

        Neither leads, however large it is: no reader knows what a sum of many is about.
        """
        parts = sorted(self._read_parts(row), key=lambda part: -abs(part[1]))
        apart = [part for part in parts if part[0] in (PRESENCE, GAP)]
        parts = [part for part in parts if part not in apart]
        room = _MOST_SHOWN - len(apart)
        if len(parts) > room:
            kept, others = parts[: room - 1], parts[room - 1 :]
            total = sum(value for _, value in others)
            parts = [*kept, (f"everything else ({len(others)})", total)]
        return [*parts, *apart]

    def _draw_panel(
        self, row: int, name: str, figure: Figure, place: SubplotSpec, limit: float
    ) -> None:
        """Draw a row in its place of a figure, on a scale from -`limit` to `limit`."""
        ax = figure.add_subplot(place)
        ax.set_title(name, fontsize=10)
        bars(labelled(self._shown_parts(row)), ax, limit)

    def _on_page(self, row: int, limit: float) -> str:
        """Return what a page shows of a row below its figure, as HTML; nothing by default."""
        return ""

    @abstractmethod
    def _missed(self, totals: Floats, present: NDArray[np.bool_]) -> float | None:
        """Return the largest gap between a row's parts and its value; None without any part."""

    def _left_open(self) -> tuple[str, float] | None:
        """Return what parts are called and the most that their method leaves open, if it does."""
        return None

    def _vectors(self) -> list[Floats]:
        """Return the values of each row that was sampled, to be held against another draw."""
        return []


class RowAttribution(ABC):
    """What lies within the content of one row, such as a note or an image."""

    _parts_are: ClassVar[str] = "pixels"

    @abstractmethod
    def _named_parts(self) -> Pairs:
        """Return name and value of every part, zeros too."""

    def _read_parts(self) -> Pairs:
        """Return the parts as they are read."""
        return self._named_parts()

    def _draw_panel(
        self, pairs: Pairs, name: str, figure: Figure, place: SubplotSpec, limit: float
    ) -> None:
        ax = figure.add_subplot(place)
        ax.set_title(name, fontsize=10)
        bars(labelled(pairs), ax, limit)

    def _on_page(self, limit: float) -> str:
        return ""

    def _left_open(self) -> float | None:
        """Return what the method does not explain; None where it promises nothing."""
        return None

    def _vector(self) -> Floats | None:
        return None


class PerRow(Attribution, list[Any]):
    """An attribution for each row, None where a row has nothing to attribute."""

    def _named_parts(self, row: int) -> Pairs:
        part = self[row]
        return [] if part is None else list(part._named_parts())

    def _read_parts(self, row: int) -> Pairs:
        part = self[row]
        return [] if part is None else [pair for pair in part._read_parts() if pair[1]]

    def _draw_panel(
        self, row: int, name: str, figure: Figure, place: SubplotSpec, limit: float
    ) -> None:
        part = self[row]
        if part is None:
            super()._draw_panel(row, name, figure, place, limit)
        else:
            part._draw_panel(self._shown_parts(row), name, figure, place, limit)

    def _on_page(self, row: int, limit: float) -> str:
        part = self[row]
        return "" if part is None else str(part._on_page(limit))

    def _missed(self, totals: Floats, present: NDArray[np.bool_]) -> float | None:
        apart = [
            abs(sum(value for _, value in self._parts(row)) - totals[row])
            for row, part in enumerate(self)
            if part is not None
        ]
        return max(apart) if apart else None

    def _left_open(self) -> tuple[str, float] | None:
        there = [part for part in self if part is not None]
        gaps = [gap for part in there if (gap := part._left_open()) is not None]
        return (there[0]._parts_are, float(max(gaps))) if gaps else None

    def _vectors(self) -> list[Floats]:
        vectors = [part._vector() for part in self if part is not None]
        return [vector for vector in vectors if vector is not None]
