"""Pictures of visits: pins over days, and measured values in the colour of what they add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import ConfigurationError
from asfusion.explanation._attribution import Attribution, Floats
from asfusion.explanation.views.bars import Pairs
from asfusion.show import page as _html
from asfusion.show.colours import DARK_GREY, DIVERGING, LOWERS, RAISES
from asfusion.show.figures import as_svg, axis_label, given_or_new, literal, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

_SIZE = (6.0, 3.2)


class VisitView(Attribution):
    """The pictures of the visits of N rows: V visits in all, of K values."""

    rows: NDArray[np.int64]
    days: Floats
    values: Floats
    cells: Floats
    data: Floats
    variables: Sequence[str]
    n_rows: int
    output_name: str
    units: Mapping[str, str]
    errors: Floats | None

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.n_rows

    @property
    def totals(self) -> Floats:
        """What all visits of each row add (N,), in units of the output."""
        return np.bincount(self.rows, self.values, minlength=self.n_rows).astype(np.float64)

    def of_row(self, row: int) -> NDArray[np.int64]:
        """Return the positions of a row's visits, in the order of days.

        Parameters
        ----------
        row : int
            Position of the row.

        Returns
        -------
        ndarray of int
            Empty where the row has none.

        Raises
        ------
        ConfigurationError
            If there is no such row.
        """
        if not 0 <= row < self.n_rows:
            msg = f"row: expected a position from 0 to {self.n_rows - 1}, got {row}."
            raise ConfigurationError(msg)
        return np.flatnonzero(self.rows == row)

    def plot(self, row: int = 0, ax: Axes | None = None) -> Axes:
        """Draw what each visit of a row adds, over days.

        Parameters
        ----------
        row : int
            Position of the row.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            The axes drawn into. Whiskers are two standard errors, where there are any.
        """
        own = self.of_row(row)
        return _pins(self, own, given_or_new(ax, _SIZE))

    def plot_values(self, row: int = 0, ax: Axes | None = None) -> Axes:
        """Draw each measured value of a row, coloured by what it adds.

        Parameters
        ----------
        row : int
            Position of the row.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            The axes drawn into: a column per visit, a line per variable. Orange raises the
            output, purple lowers it.
        """
        own = self.of_row(row)
        size = _size_of(len(own), len(self.variables))
        return _grid(self, own, given_or_new(ax, size))

    def to_html(self, row: int = 0) -> str:
        """Return the pictures of one row as HTML.

        Parameters
        ----------
        row : int
            Position of the row.

        Returns
        -------
        str
            Two pictures inside the text, or a sentence where the row has no visits.
        """
        own = self.of_row(row)
        if not len(own):
            return _html.paragraph("No visits.")
        pins = new_figure(_SIZE, shown=False)
        self.plot(row, pins.add_subplot())
        grid = new_figure(_size_of(len(own), len(self.variables)), shown=False)
        self.plot_values(row, grid.add_subplot())
        parts = [
            _html.picture(as_svg(pins), "What each visit adds, over days"),
            _html.picture(as_svg(grid), "Measured values, coloured by what each adds"),
        ]
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        parts = [_html.heading(f"What each visit added to the {self.output_name}")]
        if len(self.rows):
            first = int(self.rows[0])
            parts += [_html.paragraph(f"Row {first}."), self.to_html(first)]
        parts.append(_html.paragraph(f"{self!r}. {_html.RESEARCH_TOOL}", "note"))
        return _html.fragment(parts)

    # -- what lies within a row --------------------------------------------------------

    def _named_parts(self, row: int) -> Pairs:
        own = self.of_row(row)
        pairs = zip(self.days[own].tolist(), self.values[own].tolist(), strict=True)
        return [(f"day {day:g}", value) for day, value in pairs]

    def _draw_panel(
        self, row: int, name: str, figure: Figure, place: SubplotSpec, limit: float
    ) -> None:
        ax = figure.add_subplot(place)
        ax.set_title(name, fontsize=10)
        self.plot(row, ax).set_ylim(-limit, limit)

    def _on_page(self, row: int, limit: float) -> str:
        return self.to_html(row) if len(self.of_row(row)) else ""

    def _missed(self, totals: Floats, present: NDArray[np.bool_]) -> float | None:
        apart = np.abs(self.cells.sum(axis=1) - self.values).max(initial=0.0)
        missed = np.abs(self.totals - totals)[present].max(initial=0.0)
        return float(max(missed, apart))

    def _vectors(self) -> list[Floats]:
        return [self.cells[self.of_row(row)].ravel() for row in range(len(self))]


def _size_of(n_visits: int, n_variables: int) -> tuple[float, float]:
    """Return the size in inches of a grid whose numbers can be read."""
    return 1.9 + 0.62 * max(n_visits, 3), 1.1 + 0.3 * max(n_variables, 2)


def _pins(found: VisitView, own: NDArray[np.int64], ax: Axes) -> Axes:
    """Draw a pin per visit at its day, which a bar would hide where visits are close."""
    days, values = found.days[own], found.values[own]
    span = max(float(-days.min()) if len(days) else 0.0, 30.0)
    colours = [RAISES if value >= 0 else LOWERS for value in values]
    ax.vlines(days, 0, values, color=colours, lw=2)
    ax.scatter(days, values, color=colours, s=28, zorder=3)
    if found.errors is not None and found.errors[own].any():
        ax.errorbar(days, values, 2 * found.errors[own], fmt="none", ecolor=DARK_GREY, capsize=3)
    ax.axhline(0, color="black", lw=0.8)
    ax.set_xlim(-1.06 * span, 0.06 * span)
    ax.set_xlabel("Days from the index date")
    ax.set_ylabel(axis_label(f"Adds to the {found.output_name}", 34), fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _grid(found: VisitView, own: NDArray[np.int64], ax: Axes) -> Axes:
    """Draw measured values, a column per visit and a line per variable."""
    cells, data = found.cells[own].T, found.data[own].T
    limit = float(np.abs(cells).max(initial=0.0)) or 1.0
    shown = np.ma.masked_where(np.isnan(data), cells)
    image = ax.imshow(shown, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    for line, column in np.argwhere(~np.isnan(data)):
        strong = abs(cells[line, column]) > 0.6 * limit
        colour = "white" if strong else "black"
        text = f"{data[line, column]:.3g}"
        ax.text(column, line, text, ha="center", va="center", fontsize=8, color=colour)
    units = [found.units.get(name) for name in found.variables]
    pairs = zip(found.variables, units, strict=True)
    names = [f"{name} ({unit})" if unit else str(name) for name, unit in pairs]
    ax.set_yticks(range(len(names)), [literal(name) for name in names], fontsize=8)
    ax.set_xticks(range(len(own)), [f"{day:.0f}" for day in found.days[own]], fontsize=8)
    ax.set_xlabel("Days from the index date")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.02)
    bar.set_label("adds to the output", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return ax
