"""What a comparison of baselines found, in numbers, words and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._version import __version__
from asfusion.evaluation._words import show_interval, show_number
from asfusion.evaluation.intervals import Interval
from asfusion.show import colours, figures
from asfusion.show import page as _html

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_CONSTANT = "mean"


@dataclass(frozen=True)
class BaselineStanding:
    """One model on the board.

    Parameters
    ----------
    name : str
        For example ``"forest"`` or ``"mean"``.
    scores : mapping of str to Interval
        ``mae`` and ``rmse`` in units of the index, ``r2`` (unitless), and
        ``within_change``: the share of rows with an error no larger than the minimal
        important change, where the index has one.
    to_mean, to_linear : Interval or None
        Mean absolute error minus that of the mean predictor or the linear model, on the
        same patients drawn; None for that model itself. Below zero is better.
    chosen : tuple of dict
        Parameters that the inner loop chose in each outer fold.
    seconds : float
        Time to tune, fit and predict, over all folds.
    """

    name: str
    scores: Mapping[str, Interval]
    to_mean: Interval | None
    to_linear: Interval | None
    chosen: tuple[dict[str, Any], ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class BaselineBoard:
    """Models of one clinical index on the same folds, the smallest error first.

    Parameters
    ----------
    index : str
        What was predicted.
    change : str or None
        The minimal important change that ``within_change`` was counted with, in words.
    standings : tuple of BaselineStanding
        The models, the best first; the linear model and the mean are always there.
    n_rows, n_groups : int
        Rows judged, and the patients that they belong to.
    is_grouped : bool
        Whether patients were given.
    n_folds : int
        Outer folds.
    confidence : float
        Coverage that the intervals aim at.
    n_bootstrap : int
        Number of bootstrap replicates.
    predictions : mapping of str to ndarray of shape (N,)
        Out-of-fold predictions of each model, NaN in rows that no fold judged.
    version : str
        Version of asfusion that made the board.
    """

    index: str
    change: str | None
    standings: tuple[BaselineStanding, ...]
    n_rows: int
    n_groups: int
    is_grouped: bool
    n_folds: int
    confidence: float
    n_bootstrap: int
    predictions: Mapping[str, NDArray[np.float64]] = field(repr=False)
    version: str = __version__

    @property
    def verdict(self) -> str:
        """Whether any model beats the mean predictor and the linear model, in words."""
        return " ".join([_on_mean(self), *_on_linear(self), *_on_choice(self)])

    def to_frame(self) -> pd.DataFrame:
        """Return the ranking as a pandas DataFrame.

        Returns
        -------
        DataFrame
            One row per model, the best first: each score with ``_low`` and ``_high``, the
            paired differences of the mean absolute error ``to_mean`` and ``to_linear``
            with limits, and ``seconds``.
        """
        import pandas as pd

        index = pd.Index([standing.name for standing in self.standings], name="model")
        return pd.DataFrame([_record(standing) for standing in self.standings], index=index)

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
            from matplotlib import pyplot

            ax = pyplot.figure(figsize=_figure_size(self), layout="constrained").subplots()
        _draw(self, ax)
        return ax

    def __repr__(self) -> str:
        """Return the ranking and the verdict as text."""
        table = _html.text_table(_header(self), _table(self))
        return "\n".join(
            [f"{self.index} from {_rows(self)}", table, *_remarks(self), "", self.verdict]
        )

    def _repr_html_(self) -> str:
        """Return the ranking as HTML, with its picture."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=_figure_size(self), layout="constrained")
        _draw(self, figure.subplots())
        described = "Mean absolute error of each model with its interval."
        made = f"Made by asfusion {self.version}. {_html.RESEARCH_TOOL}"
        parts = [
            _html.heading(f"Baselines for {self.index}", 1),
            _html.paragraph(f"From {_rows(self)}."),
            _html.paragraph(self.verdict, "verdict"),
            _html.picture(figures.as_svg(figure), described),
            _html.table(_header(self), _table(self)),
            *(_html.paragraph(remark, "note") for remark in [*_remarks(self), made]),
        ]
        return _html.fragment(parts)


def _on_mean(board: BaselineBoard) -> str:
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


def _on_linear(board: BaselineBoard) -> list[str]:
    found = {
        s.name: s.to_linear
        for s in board.standings
        if s.to_linear is not None and s.name != _CONSTANT
    }
    ahead = {name: difference for name, difference in found.items() if difference.high < 0}
    if ahead:
        return [f"Better than the linear model: {_listed(board, ahead)}."]
    return ["None is clearly better than the linear model."] if found else []


def _on_choice(board: BaselineBoard) -> list[str]:
    """Return that the best of several was chosen with a look at these rows."""
    tried = [s.name for s in board.standings if s.name != _CONSTANT]
    if len(tried) < 3:
        return []
    best = f"{tried[0]!r} is the best of {len(tried)} models tried on the same rows"
    return [f"{best}, which flatters it a little."]


def _listed(board: BaselineBoard, differences: Mapping[str, Interval]) -> str:
    return ", ".join(f"{name!r} ({_shift(board, d)})" for name, d in differences.items())


def _shift(board: BaselineBoard, difference: Interval) -> str:
    return (
        f"MAE {difference.estimate:+.3f}, {100 * board.confidence:g} % interval "
        f"{show_interval(difference, sign=True)}"
    )


def _record(standing: BaselineStanding) -> dict[str, Any]:
    record: dict[str, Any] = {}
    missing = Interval(0.0, np.nan, np.nan)
    columns = {
        **standing.scores,
        "to_mean": standing.to_mean or missing,
        "to_linear": standing.to_linear or missing,
    }
    for name, score in columns.items():
        record |= {name: score.estimate, f"{name}_low": score.low, f"{name}_high": score.high}
    return record | {"seconds": standing.seconds}


def _header(board: BaselineBoard) -> list[str]:
    interval = f"{100 * board.confidence:g} % interval"
    header = ["model", "MAE", interval, "to mean", interval, "to linear", interval, "R²", interval]
    return header if board.change is None else [*header, "within change", interval]


def _table(board: BaselineBoard) -> list[list[str]]:
    return [_line(board, standing) for standing in board.standings]


def _line(board: BaselineBoard, standing: BaselineStanding) -> list[str]:
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


def _rows(board: BaselineBoard) -> str:
    unit = f" of {board.n_groups} patients" if board.is_grouped else ""
    return f"{board.n_rows} rows{unit}, {board.n_folds} outer folds, tuned within each"


def _remarks(board: BaselineBoard) -> list[str]:
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


def _figure_size(board: BaselineBoard) -> tuple[float, float]:
    return 7.0, 1.4 + 0.36 * len(board.standings)


def _draw(board: BaselineBoard, axis: Axes) -> None:
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
