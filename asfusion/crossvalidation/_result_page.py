"""A cross-validation as it is seen: in a terminal, on a page, in a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asfusion.crossvalidation._blackout import Blackout
from asfusion.crossvalidation._folds import Canary, Fold
from asfusion.duplicates.found import Duplicates
from asfusion.evaluation._labels import score_label, show_interval, show_number
from asfusion.evaluation.intervals import Interval
from asfusion.evaluation.registry import scoring_of
from asfusion.evaluation.report import Report
from asfusion.show import colours, figures, page
from asfusion.show.figures import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_POOLED = "Report on all rows pooled, which were judged by different models:"


class CrossValidationPage(page.Page):
    """Shows a cross-validation."""

    report: Report
    folds: NDArray[np.int64]
    fold_scores: tuple[Fold, ...]
    sites: tuple[str, ...]
    duplicates: Duplicates | None
    canary: Canary | None
    within_sites: Mapping[str, Interval] | None
    blackout: Blackout | None

    @property
    def n_repeats(self) -> int:
        """Number R of repeats."""
        return int(self.folds.shape[1])

    @property
    def verdict(self) -> str:
        """What was found, in words: the score, its range over folds, and what may have leaked."""
        return " ".join(_verdict(self))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the score of each fold or site, and the one that is told first, with its interval.

        That is the score of all rows together, or the mean of those within sites.

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
        folds = page.text_table(_header(self), [*_table(self), *_means(self)])
        pooled = [] if self.within_sites is None else [_POOLED]
        return "\n".join([self.verdict, "", folds, "", *pooled, repr(self.report)])

    def _body(self) -> list[str]:
        figure, (axis,) = figures.new_axes(_figure_size(self), shown=False)
        _draw(self, axis)
        name = score_label(self.report.primary)
        parts = [
            page.heading("Cross-validation", 1),
            page.paragraph(self.verdict, "verdict"),
            page.picture(figures.as_svg(figure), f"{name} of each {_unit(self)}."),
            page.heading(f"Each {_unit(self)} alone"),
            page.table(_header(self), [*_table(self), *_means(self)]),
        ]
        return parts if self.within_sites is None else [*parts, page.paragraph(_POOLED, "note")]

    def _repr_html_(self) -> str:
        """Return the result as HTML, and its report below."""
        return f"{super()._repr_html_()}\n{self.report._repr_html_()}"


def _unit(result: CrossValidationPage) -> str:
    return "site" if result.sites else "fold"


def _headline(result: CrossValidationPage) -> Interval:
    """Return the score that is told first."""
    scores = result.report.scores if result.within_sites is None else result.within_sites
    return scores[result.report.primary]


def _shown(score: Interval) -> str:
    interval = f" ({show_interval(score)})" if np.isfinite(score.low) else ""
    return f"{show_number(score.estimate)}{interval}"


def _verdict(result: CrossValidationPage) -> list[str]:
    report, unit = result.report, _unit(result)
    patients = f" of {report.n_groups} patients" if report.is_grouped else ""
    unseen = {"site": "sites", "fold": "patients" if report.is_grouped else "rows"}[unit]
    defined = [
        fold.scores[report.primary]
        for fold in result.fold_scores
        if np.isfinite(fold.scores[report.primary])
    ]
    rows = f"{report.n_rows} rows{patients}"
    said = [f"{_what(result)} on {rows}, judged by models fitted on other {unseen}."]
    if defined:
        said.append(
            f"{len(result.fold_scores)} {unit}s"
            f"{f' in {result.n_repeats} repeats' if result.n_repeats > 1 else ''}: "
            f"{show_number(min(defined))} to {show_number(max(defined))}."
        )
    lacking = len(result.fold_scores) - len(defined)
    if lacking:
        said.append(f"In {lacking} of them it is undefined.")
    if result.within_sites is not None:
        name, pooled = score_label(report.primary), _shown(report.scores[report.primary])
        said.append(f"All rows pooled, though judged by different models: {name} {pooled}.")
    if not report.is_grouped:
        said.append("No groups were given: visits of one patient may stand on both sides.")
    return [*said, *_without_regions(result), *_leaks(result)]


def _what(result: CrossValidationPage) -> str:
    """Return the score that is told first, and of what it is."""
    name, score = score_label(result.report.primary), _headline(result)
    if result.within_sites is None:
        return f"{name} {_shown(score)}"
    told = {f.site for f in result.fold_scores if np.isfinite(f.scores[result.report.primary])}
    if not told:
        return f"{name} is undefined within each of {len(result.sites)} sites,"
    return f"{name} {_shown(score)} on average within {len(told)} sites,"


def _without_regions(result: CrossValidationPage) -> list[str]:
    black = result.blackout
    if black is None:
        return []
    name, change = score_label(black.name), black.difference
    changed = f"{signed(change.estimate)} ({signed(change.low)} to {signed(change.high)})"
    return [f"Regions black: {name} {_shown(black.score)}; with them it changes by {changed}."]


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


def _means(result: CrossValidationPage) -> list[list[str]]:
    """Return the mean over sites, and beside it what all rows pooled would say."""
    if result.within_sites is None:
        return []
    report = result.report
    scores = {"mean of sites": result.within_sites, "all rows pooled": report.scores}
    sizes = [str(report.n_rows), str(report.n_groups) if report.is_grouped else "-"]
    repeat = ["all"] if result.n_repeats > 1 else []
    return [
        [name, *repeat, *sizes, *(_shown(found[k]) for k in scoring_of(report).folds)]
        for name, found in scores.items()
    ]


def _figure_size(result: CrossValidationPage) -> tuple[float, float]:
    width = 6.0 + max(0.8, figures.room_for(_ticks(result)))
    return width, 1.6 + 0.3 * (len({fold.number for fold in result.fold_scores}) + 1)


def _ticks(result: CrossValidationPage) -> list[str]:
    n_folds = 1 + max(fold.number for fold in result.fold_scores)
    return figures.tick_names(result.sites) or [f"fold {number}" for number in range(n_folds)]


def _draw(result: CrossValidationPage, axis: Axes) -> None:
    """Draw one line per fold, its repeats as points; the interval of all behind them."""
    report = result.report
    name, score = report.primary, _headline(result)
    if np.isfinite(score.low):
        percent = f"{100 * report.confidence:g} % interval"
        axis.axvspan(score.low, score.high, color=colours.BLUE, alpha=0.15, lw=0, label=percent)
    of = "all rows" if result.within_sites is None else "mean of sites"
    label = f"{of}: {show_number(score.estimate)}"
    axis.axvline(score.estimate, color=colours.BLUE, lw=1.5, label=label)
    if result.within_sites is not None:
        pooled = report.scores[name].estimate
        shown = f"all rows pooled: {show_number(pooled)}"
        axis.axvline(pooled, color=colours.ORANGE, lw=1.5, ls=":", label=shown)
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
