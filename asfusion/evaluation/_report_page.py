"""A report as it is seen: in a terminal, on a page, in pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._decision import where_useful
from asfusion.evaluation._labels import score_label, show_interval, show_number
from asfusion.evaluation._patterns import Pattern
from asfusion.evaluation._reported import Reported, shown_thresholds
from asfusion.evaluation._small_cells import FEWEST
from asfusion.evaluation._subgroup_page import AuditPage
from asfusion.evaluation._subsets import Subset
from asfusion.evaluation.registry import scoring_of
from asfusion.exceptions import ConfigurationError
from asfusion.show import colours, figures, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_SOURCES = {
    "given": "as given",
    "model": "stored in the model",
    "folds": "stored in the model of each fold",
    "default": "the default",
}


class ReportPage(Reported, page.Page):
    """Shows a report."""

    patterns: tuple[Pattern, ...]
    subsets: tuple[Subset, ...]
    subgroups: AuditPage | None

    @property
    def primary(self) -> str:
        """Name of the score by which patterns are shown: ``"auc"`` or ``"mae"``."""
        return scoring_of(self).primary

    def plot(self, axes: Any = None) -> NDArray[np.object_]:
        """Draw the report.

        Parameters
        ----------
        axes : array of matplotlib Axes, optional
            Where to draw: four for a binary outcome (ROC curve, calibration, decision
            curve, predictions), two for several classes (ROC curves, called classes), three for
            times to an event (curves by risk, calibration, decision curve), one for each target
            of a regression. A new figure by default.

        Returns
        -------
        ndarray of matplotlib Axes
            The axes drawn into.

        Raises
        ------
        ConfigurationError
            If `axes` are not as many Axes as needed.
        """
        if axes is None:
            _, given = self._new_figure(shown=True)
        else:
            n_lines, n_columns = scoring_of(self).panels(self)
            given = figures.check_axes(axes, n_lines * n_columns)
        scoring_of(self).draw(self, given)
        return np.asarray(given, dtype=object)

    def plot_subsets(self, ax: Axes | None = None) -> Axes:
        """Draw the score with each set of modalities: what absence costs.

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
            If the report has no sets: `asfusion.evaluate` makes them with ``subsets=True``.
        """
        if not self.subsets:
            msg = "plot_subsets: expected a report with sets of modalities, got none. Pass "
            raise ConfigurationError(f"{msg}subsets=True to asfusion.evaluate.")
        axes = figures.given_or_new(ax, _subset_size(self))
        _draw_subsets(self, axes)
        return axes

    def _new_figure(self, *, shown: bool) -> tuple[Figure, list[Axes]]:
        n_lines, n_columns = scoring_of(self).panels(self)
        size = 4.2 * n_columns + scoring_of(self).legend_room(self), 4.0 * n_lines
        return figures.new_axes(size, n_lines, n_columns, shown=shown)

    def _title(self) -> str:
        return "asfusion report"

    def _text(self) -> str:
        lines = [f"Report on {_rows(self)}"]
        lines += [page.text_table(_header(self), _score_rows(self)), *_remarks(self)]
        if self.patterns:
            lines += ["", page.text_table(_pattern_header(self), _pattern_rows(self))]
        if self.subsets:
            table = page.text_table(_subset_header(self), _subset_rows(self))
            lines += ["", table, _subset_remark(self)]
        if self.subgroups is not None:
            lines += ["", repr(self.subgroups)]
        return "\n".join(lines)

    def _body(self) -> list[str]:
        figure, axes = self._new_figure(shown=False)
        scoring_of(self).draw(self, axes)
        titles = ", ".join(axis.get_title() for axis in axes)
        parts = [
            page.heading("Report", 1),
            page.paragraph(f"On {_rows(self)}."),
            page.picture(figures.as_svg(figure), f"Plots of the report: {titles}."),
            page.heading("Scores"),
            page.table(_header(self), _score_rows(self)),
            *(page.paragraph(remark, "note") for remark in _remarks(self)),
        ]
        if self.patterns:
            shown = page.table(_pattern_header(self), _pattern_rows(self))
            parts += [page.heading("By modalities present"), shown]
        if self.subsets:
            parts += _subset_parts(self)
        if self.subgroups is not None:
            parts += [page.heading("By subgroup"), *self.subgroups._parts()]
        made = f"Made by asfusion {self.version}. {page.RESEARCH_TOOL}"
        return [*parts, page.paragraph(made, "note")]


def _rows(report: ReportPage) -> str:
    unit = f" of {report.n_groups} patients" if report.is_grouped else ""
    text = f"{report.n_rows} rows{unit}"
    if report.classes:
        shares = zip(report.classes, report.shares, strict=True)
        noun = scoring_of(report).noun
        text += ": " + ", ".join(f"{share:.0%} {noun} {name}" for name, share in shares)
    return text


def _header(report: ReportPage) -> list[str]:
    return ["score", "estimate", f"{100 * report.confidence:g} % interval"]


def _score_rows(report: ReportPage) -> list[list[str]]:
    return [
        [score_label(name), show_number(score.estimate), show_interval(score)]
        for name, score in report.scores.items()
    ]


def _remarks(report: ReportPage) -> list[str]:
    unit = "patients" if report.is_grouped else "rows (no groups were given)"
    drawn = f"Intervals: percentiles of {report.n_bootstrap} bootstrap replicates of {unit}."
    remarks = [drawn]
    if report.n_groups < FEWEST:
        remarks.append(
            f"Only {report.n_groups} {unit}: scores of so few are mostly chance, and their "
            "intervals are too narrow."
        )
    if "auc_delong" in report.scores:
        remarks[0] += " The second one of the AUC is DeLong's."
    remarks += [*scoring_of(report).remarks(report), *_threshold_remarks(report)]
    if any(pattern.n_rows is None for pattern in report.patterns):
        remarks.append(
            f"By modalities present, numbers below {FEWEST} are not shown, nor one from which such "
            "a number would follow."
        )
    if report.privacy:
        remarks.append(f"Privacy: {report.privacy}")
    if report.mic:
        sizes = ", ".join(f"{size:g}" for size in report.mic)
        remarks.append(f"Minimal important change: {sizes}, in the units of y.")
    if report.order:
        remarks.append(f"Classes in order, the lowest first: {', '.join(report.order)}.")
    if "ece" in report.scores:
        remarks.append(
            "Expected calibration error: few rows make it look larger than it is. Its interval "
            "takes that into account, and begins at 0 where chance alone makes such gaps."
        )
    undefined = max(score.n_undefined for score in report.scores.values())
    if undefined:
        remarks.append(
            f"Some score is undefined in up to {undefined} replicates; those are left out."
        )
    return remarks


def _threshold_remarks(report: ReportPage) -> list[str]:
    """Return what holds for two classes: the threshold, and which of them is counted."""
    if report.threshold_source is None:
        return []
    source, positive = _SOURCES[report.threshold_source], report.classes[-1]
    cut = " to ".join(shown_thresholds(report, 3 if report.threshold_range else 6))
    remarks = [f"Threshold {cut}, {source}: class {positive} from there on."]
    if not all(map(_is_number_or_truth, report.classes)):
        other = report.classes[0]
        remarks.append(
            "Sensitivity, predictive values, net benefit and average precision count class "
            f"{positive}, the last in order. To count class {other}, fit and judge with "
            f"y == {other!r}."
        )
    if " to " in cut:
        remarks.append(f"Net benefit as a score is at their median, {report.threshold:.3g}.")
    remarks.append(_prevalence_remark(report))
    useful = where_useful(report.curves["decision"])
    remarks.append(f"Net benefit is above that of treating all and treating none {useful}.")
    return remarks


def _is_number_or_truth(name: str) -> bool:
    """Return whether a class says by its name which of two it is."""
    try:
        float(name)
    except ValueError:
        return name in ("False", "True")
    return True


def _prevalence_remark(report: ReportPage) -> str:
    here = f"that of the rows, {100 * report.shares[-1]:.3g} %"
    if report.prevalence is None:
        return f"Predictive values and net benefit are for a prevalence like {here}."
    return (
        f"Predictive values and net benefit are for a prevalence of {100 * report.prevalence:.3g}"
        f" %, as given, not for {here}."
    )


def _pattern_header(report: ReportPage) -> list[str]:
    return ["modalities present", "rows", score_label(report.primary), _header(report)[-1]]


def _pattern_rows(report: ReportPage) -> list[list[str]]:
    rows = []
    for pattern in report.patterns:
        names = " + ".join(pattern.present) or "none"
        n_rows = "not shown" if pattern.n_rows is None else str(pattern.n_rows)
        numbers = ["-", "-"]
        if pattern.score is not None:
            n_rows = n_rows if pattern.n_rows else f"{FEWEST} or more"
            numbers = [show_number(pattern.score.estimate), show_interval(pattern.score)]
        rows.append([names, n_rows, *numbers])
    return rows


# -- sets of modalities ------------------------------------------------------------------


def _subset_parts(report: ReportPage) -> list[str]:
    figure, (axis,) = figures.new_axes(_subset_size(report), shown=False)
    _draw_subsets(report, axis)
    described = f"{score_label(report.primary)} with each set of modalities, and its interval."
    return [
        page.heading("What absence costs"),
        page.picture(figures.as_svg(figure), described),
        page.table(_subset_header(report), _subset_rows(report)),
        page.paragraph(_subset_remark(report), "note"),
    ]


def _subset_header(report: ReportPage) -> list[str]:
    interval = _header(report)[-1]
    return ["modalities left", score_label(report.primary), interval, "worse than all by", interval]


def _subset_rows(report: ReportPage) -> list[list[str]]:
    rows = []
    for part in report.subsets:
        cost = ["-", "-"]
        if part.cost is not None:
            cost = [show_number(part.cost.estimate), show_interval(part.cost, sign=True)]
        score = [show_number(part.score.estimate), show_interval(part.score)]
        rows.append([" + ".join(part.present), *score, *cost])
    return rows


def _subset_remark(report: ReportPage) -> str:
    rows = report.subsets[0].n_rows
    few = f"{FEWEST} or more" if rows is None else str(rows)
    begin = f"On the {few} rows that have all modalities, cells of the others emptied."
    spoilt = [
        f"{name} makes {' + '.join(part.present)} clearly worse"
        for part in report.subsets
        for name in part.spoilt_by
    ]
    if not spoilt:
        return f"{begin} More is nowhere clearly worse."
    return f"{begin} More is not always better: {'; '.join(spoilt)}."


def _subset_size(report: ReportPage) -> tuple[float, float]:
    names = [" + ".join(part.present) for part in report.subsets]
    return 5.0 + figures.room_for(names), 1.2 + 0.28 * len(names)


def _draw_subsets(report: ReportPage, axis: Axes) -> None:
    """Draw a line for each set, that of all on top; what is spoilt stands out."""
    places = -np.arange(len(report.subsets))
    for place, part in zip(places, report.subsets, strict=True):
        score = part.score
        colour = colours.RED if part.spoilt_by else colours.BLUE
        axis.plot([score.low, score.high], [place, place], color=colour, linewidth=1.5)
        axis.plot([score.estimate], [place], "o", color=colour, markersize=5)
    best = report.subsets[0].score.estimate
    axis.axvline(best, color=colours.GREY, linewidth=1, linestyle=":")
    names = [" + ".join(part.present) for part in report.subsets]
    axis.set_yticks(places, figures.tick_names(names, longest=60))
    axis.set(xlabel=score_label(report.primary), title="What absence costs")
    axis.grid(axis="x", color=colours.PALE_GREY, linewidth=0.4)
