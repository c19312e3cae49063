"""A cross-validation as it is seen: in a terminal, on a page, in a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asfusion.crossvalidation._folds import Canary, Fold
from asfusion.duplicates.found import Duplicates
from asfusion.evaluation._labels import score_label, show_interval, show_number
from asfusion.evaluation.registry import scoring_of
from asfusion.evaluation.report import Report
from asfusion.show import colours, figures, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class CrossValidationPage(page.Page):
    """Shows a cross-validation."""

    report: Report
    folds: NDArray[np.int64]
    fold_scores: tuple[Fold, ...]
    sites: tuple[str, ...]
    duplicates: Duplicates | None
    canary: Canary | None

    @property
    def n_repeats(self) -> int:
        """Number R of repeats."""
        return int(self.folds.shape[1])

    @property
    def verdict(self) -> str:
        """What was found, in words: the score, its range over folds, and what may have leaked."""
        return " ".join(_verdict(self))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the score of each fold or site, and of all rows together with its interval.

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
        return "asfusion cross-validation"

    def _text(self) -> str:
        folds = page.text_table(_header(self), _table(self))
        return "\n".join([self.verdict, "", folds, "", repr(self.report)])

    def _body(self) -> list[str]:
        figure, (axis,) = figures.new_axes(_figure_size(self), shown=False)
        _draw(self, axis)
        name = score_label(self.report.primary)
        return [
            page.heading("Cross-validation", 1),
            page.paragraph(self.verdict, "verdict"),
            page.picture(figures.as_svg(figure), f"{name} of each {_unit(self)}."),
            page.heading(f"Each {_unit(self)} alone"),
            page.table(_header(self), _table(self)),
        ]

    def _repr_html_(self) -> str:
        """Return the result as HTML, and its report below."""
        return f"{super()._repr_html_()}\n{self.report._repr_html_()}"


def _unit(result: CrossValidationPage) -> str:
    return "site" if result.sites else "fold"


def _verdict(result: CrossValidationPage) -> list[str]:
    report = result.report
    name, score = report.primary, report.scores[report.primary]
    patients = f" of {report.n_groups} patients" if report.is_grouped else ""
    interval = f" ({show_interval(score)})" if np.isfinite(score.low) else ""
    unseen = {"site": "sites", "fold": "patients" if report.is_grouped else "rows"}[_unit(result)]
    defined = [f.scores[name] for f in result.fold_scores if np.isfinite(f.scores[name])]
    what = f"{score_label(name)} {show_number(score.estimate)}{interval}"
    said = [f"{what} on {report.n_rows} rows{patients}, judged by models fitted on other {unseen}."]
    if defined:
        said.append(
            f"{len(result.fold_scores)} {_unit(result)}s"
            f"{f' in {result.n_repeats} repeats' if result.n_repeats > 1 else ''}: "
            f"{show_number(min(defined))} to {show_number(max(defined))}."
        )
    lacking = len(result.fold_scores) - len(defined)
    if lacking:
        said.append(f"In {lacking} of them it is undefined.")
    if not report.is_grouped:
        said.append("No groups were given: visits of one patient may stand on both sides.")
    return [*said, *_leaks(result)]


def _leaks(result: CrossValidationPage) -> list[str]:
    said = []
    if result.canary is not None:
        canary = result.canary
        meaning = "above chance: something leaks" if canary.sings else "no sign of a leak"
        said.append(
            f"Permuted labels: {score_label(canary.name)} {show_number(canary.score.estimate)} "
            f"({show_interval(canary.score)}), {meaning}."
        )
    if result.duplicates is not None and result.duplicates.links:
        said.append(result.duplicates.verdict)
        links = result.duplicates.links
        if all((result.folds[x.first] == result.folds[x.second]).all() for x in links):
            said.append("They stood in one fold.")
    return said


def _header(result: CrossValidationPage) -> list[str]:
    names = [score_label(name) for name in scoring_of(result.report).folds]
    repeat = ["repeat"] if result.n_repeats > 1 else []
    return [_unit(result), *repeat, "rows", "patients", *names]


def _table(result: CrossValidationPage) -> list[list[str]]:
    rows = []
    for fold in result.fold_scores:
        row = [fold.site if fold.site is not None else str(fold.number)]
        row += [str(fold.repeat)] if result.n_repeats > 1 else []
        row += [str(fold.n_rows), str(fold.n_groups) if result.report.is_grouped else "-"]
        rows.append(row + [show_number(fold.scores[n]) for n in scoring_of(result.report).folds])
    return rows


def _figure_size(result: CrossValidationPage) -> tuple[float, float]:
    width = 6.0 + max(0.8, figures.room_for(_ticks(result)))
    return width, 1.6 + 0.3 * (len({fold.number for fold in result.fold_scores}) + 1)


def _ticks(result: CrossValidationPage) -> list[str]:
    n_folds = 1 + max(fold.number for fold in result.fold_scores)
    return figures.tick_names(result.sites) or [f"fold {number}" for number in range(n_folds)]


def _draw(result: CrossValidationPage, axis: Axes) -> None:
    """Draw one line per fold, its repeats as points; the interval of all rows behind them."""
    report = result.report
    name, score = report.primary, report.scores[report.primary]
    if np.isfinite(score.low):
        percent = f"{100 * report.confidence:g} % interval"
        axis.axvspan(score.low, score.high, color=colours.BLUE, alpha=0.15, lw=0, label=percent)
    label = f"all rows: {show_number(score.estimate)}"
    axis.axvline(score.estimate, color=colours.BLUE, lw=1.5, label=label)
    points = [f for f in result.fold_scores if np.isfinite(f.scores[name])]
    axis.scatter(
        [fold.scores[name] for fold in points],
        [fold.number for fold in points],
        color=colours.RED,
        marker="D",
        s=28,
        alpha=0.8,
        zorder=3,
        label=f"one {_unit(result)}",
    )
    canary = result.canary
    if canary is not None and canary.name == name:
        shown = f"permuted labels: {show_number(canary.score.estimate)}"
        axis.axvline(canary.score.estimate, color=colours.GREY, lw=1.5, ls="--", label=shown)
    ticks = _ticks(result)
    axis.set_yticks(range(len(ticks)), ticks)
    axis.set_ylim(len(ticks) - 0.4, -0.6)
    axis.set(xlabel=score_label(name), title="Out-of-fold scores")
    axis.grid(axis="x", color="#dddddd", lw=0.6)
    axis.set_axisbelow(True)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
