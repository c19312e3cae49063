"""Pictures of a table's attributions, and what they are for checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_missing
from asfusion._checks import check_integer, in_words, quoted, suggestion
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.explanation._attribution import Attribution
from asfusion.explanation.views import table_bars, table_points
from asfusion.explanation.views.bars import LONGEST_LABEL, Pairs, bars
from asfusion.explanation.views.cells import Floats, TableFields, by_size, cell_label, cell_words
from asfusion.show import page as _html
from asfusion.show.figures import as_svg, given_or_new, new_figure, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec


class TableView(TableFields, Attribution):
    """The pictures of N rows and F features."""

    method: str

    def waterfall(self, row: int = 0, ax: Axes | None = None, n: int = 10) -> Axes:
        """Draw how one row's output comes about, from the base value up.

        Parameters
        ----------
        row : int
            Position of the row; a negative one counts from the end.
        ax : matplotlib Axes, optional
            Where to draw; None makes a figure.
        n : int
            Most features with a bar of their own; the rest share one.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.

        Raises
        ------
        ConfigurationError
            If there is no such row, or `ax` or `n` cannot be used.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from asfusion.explanation.tables import TableAttribution
        >>> found = TableAttribution([[0.3, -0.1]], 0.25, [[41.0, 12.0]], ["crp", "esr"])
        >>> axes = found.waterfall(0, ax=Figure().add_subplot())
        >>> [label.get_text() for label in axes.get_yticklabels()]
        ['crp = 41', 'esr = 12']
        """
        place = self._check_row(row)
        count = check_integer(n, "n", minimum=1)
        return table_bars.waterfall(self, place, self._axes(ax, count), count)

    def beeswarm(self, ax: Axes | None = None, n: int = 12) -> Axes:
        """Draw a point for each row and feature, coloured by the cell.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; None makes a figure.
        n : int
            Most features to draw, those with the largest mean effect.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.

        Raises
        ------
        ConfigurationError
            If `ax` or `n` cannot be used.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from asfusion.explanation.tables import TableAttribution
        >>> found = TableAttribution([[0.3, -0.1]], 0.25, [[41.0, 12.0]], ["crp", "esr"])
        >>> found.beeswarm(ax=Figure().add_subplot()).get_xlabel()
        'Effect on the output'
        """
        count = check_integer(n, "n", minimum=1)
        return table_points.beeswarm(self, self._axes(ax, count), count)

    def bar(self, ax: Axes | None = None, n: int = 12) -> Axes:
        """Draw each feature's mean effect, upwards and downwards apart.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; None makes a figure.
        n : int
            Most features with a bar of their own; the rest share one.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.

        Raises
        ------
        ConfigurationError
            If `ax` or `n` cannot be used.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from asfusion.explanation.tables import TableAttribution
        >>> found = TableAttribution([[0.3, -0.1]], 0.25, [[41.0, 12.0]], ["crp", "esr"])
        >>> found.bar(ax=Figure().add_subplot()).get_xlabel()
        'Mean size of the effect on the output'
        """
        count = check_integer(n, "n", minimum=1)
        return table_bars.bar(self, self._axes(ax, count), count)

    def dependence(self, feature: str, ax: Axes | None = None, color_by: str | None = None) -> Axes:
        """Draw a feature's effect against its cell.

        Parameters
        ----------
        feature : str
            Its name.
        ax : matplotlib Axes, optional
            Where to draw; None makes a figure.
        color_by : str, optional
            Another feature, whose cells colour the points.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.

        Raises
        ------
        ConfigurationError
            If there is no such feature, or `ax` cannot be used.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from asfusion.explanation.tables import TableAttribution
        >>> found = TableAttribution([[0.3, -0.1]], 0.25, [[41.0, 12.0]], ["crp", "esr"])
        >>> found.dependence("crp", ax=Figure().add_subplot()).get_xlabel()
        'crp'
        """
        column = self._check_feature(feature, "feature")
        other = None if color_by is None else self._check_feature(color_by, "color_by")
        return table_points.dependence(self, column, other, self._axes(ax))

    def _repr_html_(self) -> str:
        count = min(len(self.feature_names), 10)
        parts = [_html.heading(f"What each cell added to the {self.output_name}")]
        if len(self):
            figure = new_figure(table_bars.size_of(count + 1), shown=False)
            table_bars.waterfall(self, 0, figure.add_subplot(), count)
            parts.append(
                _html.picture(as_svg(figure), f"Effects on the {self.output_name}, first row")
            )
        parts.append(_html.table(*self._summary(count)))
        parts.append(_html.paragraph(f"{self!r}. {_html.RESEARCH_TOOL}", "note"))
        return _html.fragment(parts)

    def _summary(self, count: int) -> tuple[list[str], list[list[str]]]:
        """Return header and rows of the features with the largest mean effect."""
        header = ["feature", "unit", "mean effect", "lowest", "highest", "missing cells"]
        rows = []
        for i in by_size(self)[:count] if len(self) else []:
            column = self.values[:, i]
            missing = sum(is_missing(cell) for cell in self.data[:, i])
            effects = [f"{np.abs(column).mean():.3g}"]
            effects += [signed(x) for x in (column.min(), column.max())]
            name = self.feature_names[i]
            rows.append([name, self.units[name] or "", *effects, f"{missing} of {len(self)}"])
        return header, rows

    def _check_row(self, row: object) -> int:
        count = len(self)
        if (
            isinstance(row, (int, np.integer))
            and not isinstance(row, bool)
            and -count <= row < count
        ):
            return int(row) % count
        msg = (
            f"row: expected a position from 0 to {count - 1}, got {in_words(row)}. "
            "Rows are counted from 0, in the order in which they were explained."
        )
        raise ConfigurationError(msg)

    def _check_feature(self, feature: object, parameter: str) -> int:
        if isinstance(feature, str) and feature in self.feature_names:
            return self.feature_names.index(feature)
        hint = suggestion(str(feature), self.feature_names)
        msg = (
            f"{parameter}: expected one of {quoted(self.feature_names)}, "
            f"got {in_words(feature)}.{hint}"
        )
        raise ConfigurationError(msg)

    def _axes(self, ax: Any, count: int | None = None) -> Axes:
        """Return the axes to draw on, new ones if none are given."""
        if not len(self):
            msg = "The attribution has 0 rows, expected at least 1 to draw. Explain some rows."
            raise InputError(msg)
        if not count:
            return given_or_new(ax, (6.0, 4.2))
        return given_or_new(ax, table_bars.size_of(min(count + 1, len(self.feature_names))))

    # -- what lies within a row --------------------------------------------------------

    def _named_parts(self, row: int) -> Pairs:
        pairs = zip(self.feature_names, self.values[row].tolist(), strict=True)
        return [(str(name), float(value)) for name, value in pairs]

    def _draw_panel(
        self, row: int, name: str, figure: Figure, place: SubplotSpec, limit: float
    ) -> None:
        ax = figure.add_subplot(place)
        ax.set_title(name, fontsize=10)
        columns = {name: i for i, name in enumerate(self.feature_names)}
        pairs = [
            (cell_label(self, row, columns[name], LONGEST_LABEL) if name in columns else name, v)
            for name, v in self._shown_parts(row)
        ]
        bars(pairs, ax, limit)

    def _told_parts(self, row: int) -> Pairs:
        places = {name: i for i, name in enumerate(self.feature_names)}
        return [
            (cell_words(self, row, places[name]) if name in places else name, value)
            for name, value in self._read_parts(row)
        ]

    def _missed(self, totals: Floats, present: NDArray[np.bool_]) -> float | None:
        return float(np.abs(self.values.sum(axis=1) - totals).max())

    def _vectors(self) -> list[Floats]:
        return list(np.asarray(self.values, dtype=np.float64))
