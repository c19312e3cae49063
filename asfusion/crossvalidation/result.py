"""The result of a cross-validation: what copies of a model said of patients they had not seen."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._files import write_file
from asfusion._version import __version__
from asfusion.duplicates.found import Duplicates
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._judge import make_scorer
from asfusion.evaluation._words import as_text, score_label, show_interval, show_number
from asfusion.evaluation.intervals import Interval
from asfusion.evaluation.report import Report
from asfusion.show import colours, figures
from asfusion.show import page as _html

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SHOWN = {
    "binary": ("auc", "average_precision", "brier"),
    "multiclass": ("auc", "balanced_accuracy", "log_loss"),
    "regression": ("mae", "rmse", "r2"),
}


@dataclass(frozen=True)
class Fold:
    """Scores of one fold alone.

    Parameters
    ----------
    repeat, number : int
        Which repeat, and which fold of it, from 0.
    site : str or None
        The site that was left out, if sites were.
    n_rows, n_groups : int
        Rows tested, and the patients that they belong to.
    scores : mapping of str to float
        Every score; NaN where it is undefined, as the AUC is on one class.
    """

    repeat: int
    number: int
    site: str | None
    n_rows: int
    n_groups: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Canary:
    """The score of the same cross-validation on permuted labels.

    Parameters
    ----------
    name : {"auc", "r2"}
        The score: area under the curve for classes, R² for a regression.
    score : Interval
        What it was.
    chance : float
        What it is where nothing leaks: 0.5, or at most 0.
    """

    name: str
    score: Interval
    chance: float

    @property
    def sings(self) -> bool:
        """Whether the interval lies above chance, as it does once in 40 times by chance alone."""
        return bool(self.score.low > self.chance)


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What `cross_validate` found.

    Parameters
    ----------
    report : Report
        All tested rows together, by their out-of-fold predictions.
    predictions : ndarray
        Those predictions, one per row of X, averaged over repeats: of shape (N,) for
        two classes (probability of the second) and one target, else (N, K). NaN in rows
        that no fold tested.
    folds : ndarray of shape (N, R)
        Number from 0 of the fold that tests the row in each repeat; -1 if none does.
    fold_scores : tuple of Fold
        Every fold of every repeat alone.
    sites : tuple of str
        The sites by number of fold, if one was left out at a time; else empty.
    duplicates : Duplicates or None
        Contents that different patients share; None if they were not looked for.
    canary : Canary or None
        The score on permuted labels, if asked for.
    version : str
        Version of asfusion that made the result.
    """

    report: Report
    predictions: NDArray[np.float64] = field(repr=False)
    folds: NDArray[np.int64] = field(repr=False)
    fold_scores: tuple[Fold, ...]
    sites: tuple[str, ...]
    duplicates: Duplicates | None
    canary: Canary | None
    version: str = __version__

    @property
    def n_repeats(self) -> int:
        """Number R of repeats."""
        return int(self.folds.shape[1])

    @property
    def verdict(self) -> str:
        """What was found, in words: the score, its range over folds, and what may have leaked."""
        return " ".join(_verdict(self))

    def to_frame(self) -> pd.DataFrame:
        """Return the scores of every fold as a pandas DataFrame.

        Returns
        -------
        DataFrame
            One row per repeat and fold: ``repeat``, ``fold``, ``site`` where sites were left
            out, ``n_rows``, ``n_groups`` and every score.
        """
        import pandas as pd

        records = []
        for fold in self.fold_scores:
            record: dict[str, Any] = {"repeat": fold.repeat, "fold": fold.number}
            if self.sites:
                record["site"] = fold.site
            record |= {"n_rows": fold.n_rows, "n_groups": fold.n_groups}
            records.append(record | dict(fold.scores))
        return pd.DataFrame(records)

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
            from matplotlib import pyplot

            ax = pyplot.figure(figsize=_figure_size(self), layout="constrained").subplots()
        _draw(self, ax)
        return ax

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the result as one page that needs no other file and no network.

        Parameters
        ----------
        path : path
            The file; one that is there is replaced.

        Returns
        -------
        Path
            The file.
        """
        text = _html.page("asfusion cross-validation", self._repr_html_())
        write_file(Path(path), text.encode("utf-8"))
        return Path(path)

    def __repr__(self) -> str:
        """Return verdict, scores and folds as text."""
        table = _html.text_table(_header(self), _table(self))
        return "\n".join([self.verdict, "", table, "", as_text(self.report)])

    def _repr_html_(self) -> str:
        """Return verdict, picture and folds as HTML, and the report below."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=_figure_size(self), layout="constrained")
        _draw(self, figure.subplots())
        name = score_label(self.report.primary)
        parts = [
            _html.heading("Cross-validation", 1),
            _html.paragraph(self.verdict, "verdict"),
            _html.picture(figures.as_svg(figure), f"{name} of each {_unit(self)}."),
            _html.heading(f"Each {_unit(self)} alone"),
            _html.table(_header(self), _table(self)),
        ]
        return _html.fragment(parts) + "\n" + self.report._repr_html_()


def score_folds(
    judged: Sequence[Judged], folds: NDArray[np.int64], sites: tuple[str, ...]
) -> tuple[Fold, ...]:
    """Return the scores of every fold.

    Parameters
    ----------
    judged : sequence of Judged
        All rows with the predictions of each repeat.
    folds : ndarray of shape (N, R)
        Number of the fold of each row, -1 if none.
    sites : tuple of str
        Names of the folds, or empty.

    Returns
    -------
    tuple of Fold
        By repeat, then number.
    """
    found = []
    for repeat, rows in enumerate(judged):
        for number in range(int(folds[:, repeat].max()) + 1):
            part = rows.take(np.flatnonzero(folds[:, repeat] == number))
            scores = make_scorer(part)(np.ones((1, part.n_groups)))
            values = {name: float(value[0]) for name, value in scores.items()}
            site = sites[number] if sites else None
            found.append(Fold(repeat, number, site, len(part), part.n_groups, values))
    return tuple(found)


def _unit(result: CrossValidation) -> str:
    return "site" if result.sites else "fold"


def _verdict(result: CrossValidation) -> list[str]:
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


def _leaks(result: CrossValidation) -> list[str]:
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


def _header(result: CrossValidation) -> list[str]:
    names = [score_label(name) for name in _SHOWN[result.report.task]]
    repeat = ["repeat"] if result.n_repeats > 1 else []
    return [_unit(result), *repeat, "rows", "patients", *names]


def _table(result: CrossValidation) -> list[list[str]]:
    rows = []
    for fold in result.fold_scores:
        row = [fold.site if fold.site is not None else str(fold.number)]
        row += [str(fold.repeat)] if result.n_repeats > 1 else []
        row += [str(fold.n_rows), str(fold.n_groups) if result.report.is_grouped else "-"]
        rows.append(row + [show_number(fold.scores[n]) for n in _SHOWN[result.report.task]])
    return rows


def _figure_size(result: CrossValidation) -> tuple[float, float]:
    width = 6.0 + max(0.8, figures.room_for(_ticks(result)))
    return width, 1.6 + 0.3 * (len({fold.number for fold in result.fold_scores}) + 1)


def _ticks(result: CrossValidation) -> list[str]:
    n_folds = 1 + max(fold.number for fold in result.fold_scores)
    return figures.tick_names(result.sites) or [f"fold {number}" for number in range(n_folds)]


def _draw(result: CrossValidation, axis: Axes) -> None:
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
