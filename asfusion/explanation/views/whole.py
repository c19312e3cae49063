"""Pictures and pages of an explanation; one scale over modalities, safe colours throughout."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asfusion._progress import progress, progress_shown
from asfusion.explanation._attribution import Floats, name_outputs
from asfusion.explanation._explained import Explained
from asfusion.explanation.views.told import (
    against,
    as_lines,
    as_list,
    in_points,
    outcome,
    tell,
    value_in_words,
)
from asfusion.show import page as _html
from asfusion.show.colours import DARK_GREY, LOWERS, RAISES
from asfusion.show.figures import (
    as_svg,
    axis_label,
    given_or_new,
    new_figure,
    shorten,
    shown_once,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_LONGEST_NAME = 36
_ROWS_TOLD = 3
_ALL_ROWS = "Shapley value of each modality in each row"


class ExplanationView(Explained, _html.Page):
    """The pictures of N rows and M modalities, and their page."""

    @property
    @abstractmethod
    def failed_checks(self) -> tuple[str, ...]:
        """What failed when it was last checked."""

    @abstractmethod
    def _failures(self) -> list[tuple[str, str, str]]:
        """Return of each check that failed what failed, what was found and what was needed."""

    @abstractmethod
    def _meaning(self) -> list[str]:
        """Return what the numbers mean, in sentences."""

    @abstractmethod
    def about(self) -> list[str]:
        """Return what the numbers mean, and what of it failed, in sentences."""

    @abstractmethod
    def _alone(self, row: int) -> tuple[ExplanationView, int]:
        """Return an explanation that holds a row, and its place there, at the least cost."""

    @abstractmethod
    def _check_row(self, row: int) -> None:
        """Raise if there is no such row."""

    def sentences(self, row: int = 0) -> list[str]:
        """Return what a row's prediction rests on, in sentences, the largest modality first.

        Of probabilities in percentage points. Within a modality the largest parts are told of: a
        lab value with its unit, a sentence of a note with the findings that it names.

        Parameters
        ----------
        row : int
            Position of the row.

        Returns
        -------
        list of str
            First what is predicted, and against what; parts are indented.

        Raises
        ------
        ConfigurationError
            If there is no such row.
        """
        self._check_row(row)
        own, number = self._alone(row)
        return [f"{_capital(outcome(self, row))}.", *as_lines(tell(own, number))]

    @property
    def _is_loud(self) -> bool:
        """Whether progress bars are shown."""
        return True

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the value of each modality in each row, and its mean size.

        Of a clinical index, whose one modality is a table, draw the columns.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            The axes drawn into.

        Raises
        ------
        ConfigurationError
            If `ax` is no Axes.
        """
        return self._draw_all(given_or_new(ax, self._size_of_all()))

    def plot_patient(self, row: int = 0) -> Figure:
        """Draw one row: modalities from base value to prediction, and what lies within each.

        Only this row is attributed, where attributions were not asked for before.

        Parameters
        ----------
        row : int
            Position of the row.

        Returns
        -------
        matplotlib Figure
            A panel for modalities and one for each that the row has; one scale for all. A notebook
            shows it where it is the value of a cell.

        Raises
        ------
        ConfigurationError
            If there is no such row.
        """
        self._check_row(row)
        return shown_once(self._draw_row(row, shown=True))

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write every row as one page that needs no other file and no network.

        Parameters
        ----------
        path : path
            The file; one that is there is replaced. It holds the notes of the explained rows.

        Returns
        -------
        Path
            The file.
        """
        for name in self.names:
            self[name]  # all rows at once, with one progress bar for each
        return super().to_html(path)

    # -- pictures ----------------------------------------------------------------------

    def _draw_all(self, ax: Axes) -> Axes:
        """Draw a dot per row and modality, modalities by their mean size."""
        size = np.abs(self.values).mean(axis=0)
        order = np.argsort(size, kind="stable")
        rng = np.random.default_rng(0)
        for height, m in enumerate(order):
            ax.barh(height, size[m], height=0.62, color="#D9D9D9", zorder=1)
            there = self.present[:, m]
            values = self.values[there, m]
            jitter = rng.uniform(-0.2, 0.2, len(values))
            colour = np.where(values >= 0, RAISES, LOWERS)
            ax.scatter(values, height + jitter, s=22, c=colour, edgecolor="white", lw=0.4, zorder=3)
            if (~there).any():
                ax.scatter(
                    self.values[~there, m], np.full((~there).sum(), height - 0.36),
                    marker="|", s=28, color=DARK_GREY, zorder=3,
                )  # fmt: skip
        ax.axvline(0, color="black", lw=0.8, zorder=2)
        ax.set_yticks(range(len(order)), [shorten(self.names[m], _LONGEST_NAME) for m in order])
        ax.set_xlabel(axis_label(f"Shapley value (change of the {self._output})"))
        ax.set_title("Bars: mean size. Dots: rows; ticks below: rows without it", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        return ax

    def _size_of_all(self) -> tuple[float, float]:
        beside = min(max(map(len, self.names)), _LONGEST_NAME)  # signs of the longest name
        return 6.5 + 0.08 * max(0, beside - 12), 1.3 + 0.55 * len(self.names)

    def _draw_row(self, row: int, *, shown: bool) -> Figure:
        """Draw the way from base value to prediction, then a panel for each modality there is."""
        there = [name for m, name in enumerate(self.names) if self.present[row, m]]
        n_panels = 1 + len(there)
        columns = min(2, n_panels)  # or nobody reads their labels in a notebook
        lines = -(-n_panels // columns)
        figure = new_figure((5.0 * columns, 3.4 * lines), shown=shown)
        places = iter(figure.add_gridspec(lines, columns))
        self._draw_way(row, figure.add_subplot(next(places)))
        own, number = self._alone(row)
        limit = _limit(own, number, there)
        for place, name in zip(places, there, strict=False):
            own[name]._draw_panel(number, name, figure, place, limit)
        return figure

    def _draw_way(self, row: int, ax: Axes) -> None:
        """Draw the way from base value to prediction, the largest modality on top."""
        order = np.argsort(np.abs(self.values[row]), kind="stable")
        left = float(self.base_values[row])
        for height, m in enumerate(order):
            value = float(self.values[row, m])
            colour = RAISES if value >= 0 else LOWERS
            ax.barh(height, value, left=left, color=colour, height=0.6)
            text = _told(value, bool(self.present[row, m]), in_points=in_points(self, row))
            end = max(left, left + value)
            ax.annotate(text, (end, height), xytext=(4, 0), textcoords="offset points", va="center")
            left += value
        ax.axvline(float(self.base_values[row]), color=DARK_GREY, lw=0.9, ls=":")
        ax.axvline(left, color="black", lw=0.9)
        ax.set_yticks(range(len(order)), [shorten(self.names[m], 20) for m in order])
        ax.use_sticky_edges = False  # or the margin ends where a bar begins
        ax.margins(x=0.2)
        ax.locator_params(axis="x", nbins=5)
        if in_points(self, row):
            ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
        ax.set_xlabel(axis_label(self.output_names[row], 40))
        ax.set_title(self._way_in_words(row), fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)

    def _way_in_words(self, row: int) -> str:
        """Return where the bars of a row begin and end."""
        base, prediction = (
            value_in_words(self, row, value)
            for value in (self.base_values[row], self.predictions[row])
        )
        return f"Row {row}: from {base} ({against(self)})\nto {prediction}"

    # -- text and page -----------------------------------------------------------------

    @property
    def _output(self) -> str:
        """What is explained, whatever the row."""
        return name_outputs(self.output_names)

    def _summary(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows of a table from base value to prediction."""
        names, values, present = self._summed_up()
        of_class = len(set(self.output_names)) > 1
        rows = [
            [
                str(row),
                f"{self.base_values[row]:.3f}",
                *map(_told, values[row].tolist(), present[row].tolist()),
                f"{self.predictions[row]:.3f}",
                *([self.output_names[row].partition(" of class ")[2]] if of_class else []),
            ]
            for row in range(len(self))
        ]
        return ["row", "base", *names, "prediction", *(["of class"] if of_class else [])], rows

    def _summed_up(self) -> tuple[list[str], Floats, NDArray[np.bool_]]:
        """Return names, values and presence between base value and prediction."""
        return list(self.names), self.values, self.present

    def _title(self) -> str:
        return "asfusion explanation"

    def _text(self) -> str:
        names = ", ".join(dict.fromkeys(self.output_names))
        table = _html.text_table(*self._summary())
        head = f"Explanation of {len(self)} rows ({names})"
        return "\n".join([head, *self._told_rows(), table, *self.about()])

    def _told_rows(self) -> list[str]:
        """Return the first rows in sentences, by their modalities: nothing is attributed for it."""
        lines = []
        for row in range(min(len(self), _ROWS_TOLD)):
            lines.append(f"Row {row}: {outcome(self, row)}.")
            lines += as_lines(tell(self, row, names=tuple(self._attributed)), "  ")
        return lines

    @property
    def _attributed(self) -> Iterable[str]:
        """The modalities within which attributions are known already."""
        return ()

    def _whole(self) -> str:
        return _html.fragment(self._parts_of_page(range(len(self))))

    def _body(self) -> list[str]:
        return self._parts_of_page(range(min(1, len(self))))

    def _parts_of_page(self, rows: Iterable[int]) -> list[str]:
        """Return rows in sentences and pictures, then all of them together, then what it means."""
        parts = [_html.heading("What the predictions rest on", 1)]
        parts += self._verdict()
        with progress_shown(self._is_loud):
            for row in progress(rows, "Drawing rows", unit="row"):
                parts += self._row_of_page(row)
        if len(self) > 1:
            parts.append(_html.heading("All rows"))
            figure = new_figure(self._size_of_all(), shown=False)
            self._draw_all(figure.subplots())
            parts.append(_html.picture(as_svg(figure), _ALL_ROWS))
        parts.append(f'<div class="scroll">{_html.table(*self._summary())}</div>')
        parts += [_html.heading("How to read this"), _html.paragraph(f"Explained: {self._output}.")]
        parts += map(_html.paragraph, self._meaning())
        return [*parts, _html.paragraph(_html.RESEARCH_TOOL, "note")]

    def _row_of_page(self, row: int) -> list[str]:
        own, number = self._alone(row)
        figure = self._draw_row(row, shown=False)
        return [
            _html.heading(f"Row {row}"),
            _html.paragraph(f"{_capital(outcome(self, row))}.", "lead"),
            as_list(tell(own, number), escape),
            _html.picture(as_svg(figure), f"Explanation of row {row}"),
            *_below(own, number),
        ]

    def _verdict(self) -> list[str]:
        """Return what is not to be trusted, as a table; nothing where nothing has failed."""
        failures = self._failures()
        if not failures:
            return []
        head = f"Not to be trusted: {len(failures)} check{'s' * (len(failures) > 1)} failed"
        table = _html.table(["What failed", "found", "needed"], failures)
        inner = f'{_html.paragraph(head, "verdict")}<div class="prose">{table}</div>'
        return [f'<div class="failed">{inner}</div>']


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _below(e: ExplanationView, row: int) -> list[str]:
    """Return what stands below the picture of a row: coloured notes, pictures of visits."""
    limit = _limit(e, row, e.names)
    shown = {name: e[name]._on_page(row, limit) for name in e.names}
    return [part for name, own in shown.items() if own for part in (_html.heading(name, 3), own)]


def _limit(e: ExplanationView, row: int, names: Iterable[str]) -> float:
    """Return one scale for everything within the modalities of a row."""
    values = [abs(value) for name in names for _, value in e[name]._shown_parts(row)]
    return 1.15 * max(values, default=1.0) or 1.0


def _told(value: float, there: bool, *, in_points: bool = False) -> str:
    """Return a value in words; what a row lacks may count, where others have it."""
    shown = f"{100 * value:+.1f} points" if in_points else f"{value:+.3f}"
    if there:
        return shown
    return f"{shown} (absent)" if value else "absent"
