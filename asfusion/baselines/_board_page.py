"""A board of baselines as it is seen: in a terminal, on a page, in a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from asfusion.baselines._standing import BaselineStanding
from asfusion.evaluation._labels import show_interval, show_number
from asfusion.evaluation.intervals import Interval
from asfusion.show import colours, figures, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CONSTANT = "mean"


class BaselinePage(page.Page):
    """Shows a board of baselines."""

    index: str
    change: str | None
    standings: tuple[BaselineStanding, ...]
    n_rows: int
    n_groups: int
    is_grouped: bool
    n_folds: int
    confidence: float
    n_bootstrap: int
    version: str

    @property
    def verdict(self) -> str:
        """Whether any model beats the mean predictor and the linear model, in words."""
        return " ".join([_on_mean(self), *_on_linear(self), *_on_choice(self)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the mean absolute error of each model with its interval, the best on top.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            The axes drawn into.
        """
        if ax is None:
            _, (ax,) = figures.new_axes(_figure_size(self), shown=True)
        _draw(self, ax)
        return ax

    def _title(self) -> str:
        return "asfusion baselines"

    def _text(self) -> str:
        found = page.text_table(_header(self), _table(self))
        lines = [f"{self.index} from {_rows(self)}", found, *_remarks(self)]
        return "\n".join([*lines, "", self.verdict])

    def _body(self) -> list[str]:
        figure, (axis,) = figures.new_axes(_figure_size(self), shown=False)
        _draw(self, axis)
        described = "Mean absolute error of each model with its interval."
        made = f"Made by asfusion {self.version}. {page.RESEARCH_TOOL}"
        return [
            page.heading(f"Baselines for {self.index}", 1),
            page.paragraph(f"From {_rows(self)}."),
            page.paragraph(self.verdict, "verdict"),
            page.picture(figures.as_svg(figure), described),
            page.table(_header(self), _table(self)),
            *(page.paragraph(remark, "note") for remark in [*_remarks(self), made]),
        ]


def _on_mean(board: BaselinePage) -> str:
    found = {s.name: s.to_mean for s in board.standings if s.to_mean is not None}
    if not any(np.isfinite(difference.low) for difference in found.values()):
        return "Too few patients to compare with the mean predictor."
    ahead = {name: difference for name, difference in found.items() if difference.high < 0}
    behind = {name: difference for name, difference in found.items() if difference.low > 0}
    text = f"Better than the mean predictor: {_listed(board, ahead)}."
    if not ahead:
        text = (
            "No model beats the mean predictor as far as these rows can tell: the columns say "
            f"little of {board.index} here."
        )
    return f"{text} Worse than the mean: {_listed(board, behind)}." if behind else text


def _on_linear(board: BaselinePage) -> list[str]:
    found = {
        s.name: s.to_linear
        for s in board.standings
        if s.to_linear is not None and s.name != _CONSTANT
    }
    ahead = {name: difference for name, difference in found.items() if difference.high < 0}
    if ahead:
        return [f"Better than the linear model: {_listed(board, ahead)}."]
    return ["None is clearly better than the linear model."] if found else []


def _on_choice(board: BaselinePage) -> list[str]:
    """Return that the best of several was chosen with a look at these rows."""
    tried = [s.name for s in board.standings if s.name != _CONSTANT]
    if len(tried) < 3:
        return []
    best = f"{tried[0]!r} is the best of {len(tried)} models tried on the same rows"
    return [f"{best}, which flatters it a little."]


def _listed(board: BaselinePage, differences: Mapping[str, Interval]) -> str:
    return ", ".join(f"{name!r} ({_shift(board, d)})" for name, d in differences.items())


def _shift(board: BaselinePage, difference: Interval) -> str:
    return (
        f"MAE {difference.estimate:+.3f}, {100 * board.confidence:g} % interval "
        f"{show_interval(difference, sign=True)}"
    )


def _header(board: BaselinePage) -> list[str]:
    interval = f"{100 * board.confidence:g} % interval"
    header = ["model", "MAE", interval, "to mean", interval, "to linear", interval, "R²", interval]
    return header if board.change is None else [*header, "within change", interval]


def _table(board: BaselinePage) -> list[list[str]]:
    return [_line(board, standing) for standing in board.standings]


def _line(board: BaselinePage, standing: BaselineStanding) -> list[str]:
    cells = [standing.name, *_pair(standing.scores["mae"])]
    for difference in (standing.to_mean, standing.to_linear):
        if difference is None:
            cells += ["-", "-"]
        else:
            cells += [f"{difference.estimate:+.3f}", show_interval(difference, sign=True)]
    cells += _pair(standing.scores["r2"])
    return cells if board.change is None else [*cells, *_pair(standing.scores["within_change"])]


def _pair(score: Interval) -> list[str]:
    return [show_number(score.estimate), show_interval(score)]


def _rows(board: BaselinePage) -> str:
    unit = f" of {board.n_groups} patients" if board.is_grouped else ""
    return f"{board.n_rows} rows{unit}, {board.n_folds} outer folds, tuned within each"


def _remarks(board: BaselinePage) -> list[str]:
    unit = "patients" if board.is_grouped else "rows (no groups were given)"
    drawn = (
        f"Intervals: percentiles of {board.n_bootstrap} bootstrap replicates of {unit}; the "
        "models themselves are not refitted. Differences are of the mean absolute error (MAE), "
        "model minus reference: below zero is better."
    )
    remarks = [drawn]
    if board.change is not None:
        remarks.append(f"Within change: errors up to the minimal important change, {board.change}.")
    return remarks


def _figure_size(board: BaselinePage) -> tuple[float, float]:
    return 7.0, 1.4 + 0.36 * len(board.standings)


def _draw(board: BaselinePage, axis: Axes) -> None:
    for height, standing in enumerate(board.standings):
        score = standing.scores["mae"]
        arms = None
        if np.isfinite(score.low):
            ends = [[score.estimate - score.low], [score.high - score.estimate]]
            arms = np.clip(ends, 0, None)  # a percentile interval may miss the estimate
        colour = colours.GREY if standing.name == _CONSTANT else colours.BLUE
        axis.errorbar(
            score.estimate, height, xerr=arms, marker="o", color=colour, capsize=2.5, lw=1.5
        )
        if standing.name == _CONSTANT:
            axis.axvline(score.estimate, color=colours.GREY, lw=1, ls="--", zorder=0)
    names = [standing.name.replace("$", r"\$") for standing in board.standings]
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    unit = "patients" if board.is_grouped else "rows"
    interval = f"{100 * board.confidence:g} % interval, resampling {unit}"
    title = f"{board.index}: out-of-fold error"
    axis.set(xlabel=f"Mean absolute error ({interval}); lower is better", title=title)
    axis.grid(axis="x", color="#dddddd", lw=0.6)
    axis.set_axisbelow(True)
