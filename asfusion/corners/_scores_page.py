"""How scored corners are shown: over the films, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion.corners._given import PLACES
from asfusion.exceptions import ConfigurationError
from asfusion.imaging.original import read_original
from asfusion.show import colours, figures
from asfusion.show.page import RESEARCH_TOOL, Page, heading, paragraph, table, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN = 20
_COLOURS = (colours.SKY, colours.GREEN, colours.ORANGE, colours.RED)
_HEADER = ("row", "mSASSS", "interval", "cervical", "lumbar", "unreadable", "unsure")


class ScoresPage(Page):
    """The view of `CornerScores`."""

    grades: NDArray[np.float64]
    points: NDArray[np.float64]
    status: NDArray[np.str_]
    total: NDArray[np.float64]
    cervical: NDArray[np.float64]
    lumbar: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    coverage: float
    is_calibrated: bool
    films: Mapping[str, list[Any]]

    def _title(self) -> str:
        return "Corners of the spine"

    def _text(self) -> str:
        return "\n".join([self._summary(), "", text_table(_HEADER, self._rows()), *self._rest()])

    def _body(self) -> list[str]:
        parts = [
            heading(self._title(), 1),
            paragraph(self._summary()),
            table(_HEADER, self._rows()),
        ]
        parts += [paragraph(text) for text in self._rest()]
        return [*parts, paragraph(RESEARCH_TOOL, "note")]

    def _summary(self) -> str:
        n_rows, n_corners = self.grades.shape
        lost = int(np.isnan(self.grades).sum())
        kind = "calibrated" if self.is_calibrated else "not calibrated"
        return (
            f"mSASSS of {n_rows} row(s), {n_corners} corners each; {lost} corner(s) cannot be "
            f"read. Intervals of {self.coverage:.0%}, {kind}."
        )

    def _rows(self) -> list[tuple[str, ...]]:
        unreadable, unsure = (
            np.isnan(self.grades).sum(axis=1),
            (self.status == "unsure").sum(axis=1),
        )
        return [
            (
                str(row), _whole(self.total[row]),
                self._interval(row),
                _whole(self.cervical[row]), _whole(self.lumbar[row]),
                str(unreadable[row]), str(unsure[row]),
            )
            for row in range(min(_SHOWN, len(self.grades)))
        ]  # fmt: skip

    def _rest(self) -> list[str]:
        more = len(self.grades) - _SHOWN
        return [f"... and {more} more row(s)"] if more > 0 else []

    def _drawn(self, row: int) -> Figure:
        shown = {view: films[row] for view, films in self.films.items() if films[row] is not None}
        if not shown:
            raise ConfigurationError(f"row: expected a row with a film, got {row}, which has none.")
        figure, axes = figures.new_axes((4.6 * len(shown), 6.4), 1, len(shown), shown=True)
        for axis, (view, film) in zip(axes, shown.items(), strict=True):
            self._draw_film(axis, row, view, film)
        known = f"mSASSS {_whole(self.total[row])} ({self._interval(row)})"
        figure.suptitle("no mSASSS" if np.isnan(self.total[row]) else known)
        return figures.shown_once(figure)

    def _interval(self, row: int) -> str:
        low, high = _whole(self.lower[row]), _whole(self.upper[row])
        return "-" if low == high == "-" else f"{low} to {high}"

    def _draw_film(self, axis: Axes, row: int, view: str, film: Any) -> None:
        original = read_original(film)
        height, width = original.pixels.shape[1:]
        axis.imshow(original.pixels[0], cmap="gray", extent=(0, width, height, 0))
        axis.set_aspect(original.aspect)
        places = PLACES[view]
        grades, sure = self.grades[row, places], self.status[row, places] != "unsure"
        for (x, y), grade, is_sure in zip(self.points[row, places], grades, sure, strict=True):
            if np.isnan(grade):
                axis.plot(x, y, "x", color="white", markersize=5)
                continue
            colour = _COLOURS[int(grade)]
            axis.plot(x, y, "o", color=colour, markersize=5, markerfacecolor="none")
            label = (f"{int(grade)}" if grade else "") + ("" if is_sure else "?")
            beside = (x - 0.035 * width, y)
            axis.annotate(label, beside, color=colour, ha="right", va="center", weight="bold")
        axis.set(title=self._segment(row, view), xlim=(0, width), ylim=(height, 0))
        axis.set_axis_off()

    def _segment(self, row: int, view: str) -> str:
        grades = self.grades[row, PLACES[view]]
        total = (self.cervical if view == "cervical" else self.lumbar)[row]
        lost = int(np.isnan(grades).sum())
        told = view if np.isnan(total) else f"{view} {total:.0f}"
        return f"{told} ({lost} of {len(grades)} corners cannot be read)" if lost else told


def _whole(number: float) -> str:
    return "-" if np.isnan(number) else f"{number:.0f}"
