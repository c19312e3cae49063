"""What each visit of a patient, and each value in it, adds to a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import ConfigurationError, ShapeError
from asfusion.explanation import _visit_plots
from asfusion.show import page as _html
from asfusion.show.figures import as_svg

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class VisitAttribution:
    """What the visits of N rows add to a model's output: V visits in all, of K values.

    The value of a visit is what the output gains, on average, by its having happened; the
    values of a row's visits add up to that of the modality, and those within a visit to its own.

    Parameters
    ----------
    rows : ndarray of shape (V,), int
        Position of the row that each visit belongs to, rising.
    days : ndarray of shape (V,)
        Days from the index date, at most 0.
    values : ndarray of shape (V,)
        What each visit adds, in units of the output.
    cells : ndarray of shape (V, K)
        What each value of a visit adds; 0 where it was not measured.
    data : ndarray of shape (V, K)
        What was measured; NaN where nothing was.
    variables : sequence of str
        Names of the K values.
    n_rows : int
        N; rows without the modality have no visits.
    output_name : str
        What was explained.
    units : mapping of str to str, optional
        Unit of a value, such as ``{"crp": "mg/L"}``.
    errors : ndarray of shape (V,), optional
        Standard errors of `values`, zeros where they are exact.

    Raises
    ------
    ShapeError
        If the arrays do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> found = VisitAttribution(
    ...     rows=np.array([0, 0]), days=np.array([-90.0, 0.0]), values=np.array([0.1, 0.3]),
    ...     cells=np.array([[0.1, 0.0], [0.4, -0.1]]), data=np.array([[9.0, np.nan], [41.0, 12.0]]),
    ...     variables=["crp", "esr"], n_rows=1,
    ... )
    >>> found
    VisitAttribution(2 visits of 1 rows, crp, esr)
    >>> found.totals.round(2).tolist()
    [0.4]
    >>> print(found.to_frame()[["row", "day", "variable", "value", "attribution"]].to_string())
       row   day variable  value  attribution
    0    0 -90.0      crp    9.0          0.1
    1    0   0.0      crp   41.0          0.4
    2    0   0.0      esr   12.0         -0.1
    """

    rows: NDArray[np.int64]
    days: Floats
    values: Floats
    cells: Floats
    data: Floats
    variables: Sequence[str]
    n_rows: int
    output_name: str = "output"
    units: Mapping[str, str] = field(default_factory=dict)
    errors: Floats | None = None

    def __post_init__(self) -> None:
        """Check that arrays fit together."""
        n_visits, shape = len(self.rows), (len(self.rows), len(self.variables))
        expected = {"days": (n_visits,), "values": (n_visits,), "cells": shape, "data": shape}
        if self.errors is not None:
            expected["errors"] = (n_visits,)
        for name, wanted in expected.items():
            if np.shape(getattr(self, name)) != wanted:
                msg = (
                    f"{name}: expected shape {wanted} for {n_visits} visits of "
                    f"{len(self.variables)} values, got {np.shape(getattr(self, name))}."
                )
                raise ShapeError(msg)

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

    def to_frame(self) -> pd.DataFrame:
        """Return one line for each value that was measured.

        Returns
        -------
        DataFrame
            ``row``, ``day``, ``variable``, ``value`` (as measured), ``unit`` and
            ``attribution`` in units of the output.
        """
        import pandas as pd

        visit, variable = np.nonzero(~np.isnan(self.data))
        names = [self.variables[k] for k in variable.tolist()]
        return pd.DataFrame(
            {
                "row": self.rows[visit],
                "day": self.days[visit],
                "variable": names,
                "value": self.data[visit, variable],
                "unit": [self.units.get(name) for name in names],
                "attribution": self.cells[visit, variable],
            }
        )

    def by_visit(self) -> pd.DataFrame:
        """Return one line for each visit.

        Returns
        -------
        DataFrame
            ``row``, ``day``, ``attribution`` in units of the output, and ``error``, its standard
            error, where values were sampled.
        """
        import pandas as pd

        table = {"row": self.rows, "day": self.days, "attribution": self.values}
        if self.errors is not None and self.errors.any():
            table["error"] = self.errors
        return pd.DataFrame(table)

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
        return _visit_plots.pins(self, own, _axes(ax, (6.0, 3.2)))

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
        size = _visit_plots.size_of(len(own), len(self.variables))
        return _visit_plots.grid(self, own, _axes(ax, size))

    def __repr__(self) -> str:
        """Return sizes and names, and nothing of the patients."""
        names = ", ".join(self.variables)
        return f"VisitAttribution({len(self.rows)} visits of {self.n_rows} rows, {names})"

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
        from matplotlib.figure import Figure

        own = self.of_row(row)
        if not len(own):
            return _html.paragraph("No visits.")
        pins = Figure(figsize=(6.0, 3.2), layout="constrained")
        self.plot(row, pins.add_subplot())
        grid = Figure(figsize=_visit_plots.size_of(len(own), len(self.variables)))
        grid.set_layout_engine("constrained")
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


def _axes(ax: Any, size: tuple[float, float]) -> Axes:
    """Return the axes to draw on, new ones if none are given."""
    if ax is None:
        from matplotlib import pyplot

        return pyplot.figure(figsize=size, layout="constrained").add_subplot()
    if not hasattr(ax, "bar"):
        msg = f"ax: expected a matplotlib Axes or None, got {type(ax).__name__}."
        raise ConfigurationError(msg)
    given: Axes = ax
    return given
