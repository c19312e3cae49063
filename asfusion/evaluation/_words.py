"""A report, and its numbers, in words: for the terminal and for pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from asfusion.evaluation import _plots
from asfusion.evaluation._decision import where_useful
from asfusion.evaluation.intervals import Interval
from asfusion.evaluation.metrics import SCORES
from asfusion.show import figures
from asfusion.show import page as _html

if TYPE_CHECKING:
    from asfusion.evaluation.report import Report

FEWEST = 10  # smaller cells are not shown: their numbers say little and may tell on people
_SOURCES = {
    "given": "as given",
    "model": "stored in the model",
    "folds": "stored in the model of each fold",
    "default": "the default",
}


def hidden_cells(counts: Mapping[str, tuple[int, int]]) -> set[str]:
    """Return which parts of all rows are not shown, by their numbers of rows and of patients."""
    hidden = {name for name, count in counts.items() if min(count) < FEWEST}
    if len(hidden) == 1 and len(counts) > 1:
        # The number of all rows is known: one missing number would follow from the others.
        hidden.add(min(set(counts) - hidden, key=lambda name: (counts[name], name)))
    return hidden


def score_label(name: str) -> str:
    """Return what a score is called in tables, also that of one class."""
    stem, bracket, rest = name.partition("[")
    return SCORES[stem].label + (f", class {rest[:-1]}" if bracket else "")


def show_number(value: float) -> str:
    """Return a score as text: three decimals, fewer for large numbers."""
    if np.isinf(value):
        return "∞"
    if np.isnan(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def show_interval(score: Interval, *, sign: bool = False) -> str:
    """Return the interval as text."""
    if np.isnan(score.low):
        return "-"
    plus = ["+" if sign and value > 0 else "" for value in (score.low, score.high)]
    return f"{plus[0]}{show_number(score.low)} to {plus[1]}{show_number(score.high)}"


def show_threshold(report: Report, digits: int = 6) -> str:
    """Return the threshold as text, or from which to which one those of the folds go."""
    ends = report.threshold_range or (report.threshold, report.threshold)
    return " to ".join(dict.fromkeys(f"{end:.{digits}g}" for end in ends))


def as_text(report: Report) -> str:
    """Return a report for the terminal."""
    lines = [f"Report on {_rows(report)}"]
    lines += [_html.text_table(_header(report), _score_rows(report)), *_remarks(report)]
    if report.patterns:
        lines += ["", _html.text_table(_pattern_header(report), _pattern_rows(report))]
    if report.subgroups is not None:
        lines += ["", repr(report.subgroups)]
    return "\n".join(lines)


def as_html(report: Report) -> str:
    """Return a report as HTML with its pictures, to stand in a page or a notebook."""
    figure, axes = _plots.new_figure(report, show=False)
    _plots.draw(report, axes)
    titles = ", ".join(axis.get_title() for axis in axes)
    parts = [
        _html.heading("Report", 1),
        _html.paragraph(f"On {_rows(report)}."),
        _html.picture(figures.as_svg(figure), f"Plots of the report: {titles}."),
        _html.heading("Scores"),
        _html.table(_header(report), _score_rows(report)),
        *(_html.paragraph(remark, "note") for remark in _remarks(report)),
    ]
    if report.patterns:
        parts += [
            _html.heading("By modalities present"),
            _html.table(_pattern_header(report), _pattern_rows(report)),
        ]
    if report.subgroups is not None:
        parts += [_html.heading("By subgroup"), *report.subgroups._html_parts()]
    made = f"Made by asfusion {report.version}. {_html.RESEARCH_TOOL}"
    return _html.fragment([*parts, _html.paragraph(made, "note")])


def _rows(report: Report) -> str:
    unit = f" of {report.n_groups} patients" if report.is_grouped else ""
    text = f"{report.n_rows} rows{unit}"
    if report.classes:
        shares = zip(report.classes, report.shares, strict=True)
        text += ": " + ", ".join(f"{share:.0%} class {name}" for name, share in shares)
    return text


def _header(report: Report) -> list[str]:
    return ["score", "estimate", f"{100 * report.confidence:g} % interval"]


def _score_rows(report: Report) -> list[list[str]]:
    return [
        [score_label(name), show_number(score.estimate), show_interval(score)]
        for name, score in report.scores.items()
    ]


def _remarks(report: Report) -> list[str]:
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
    remarks += _threshold_remarks(report)
    if any(pattern.n_rows is None for pattern in report.patterns):
        remarks.append(
            f"By modalities present, numbers below {FEWEST} are not shown, nor one from which such "
            "a number would follow."
        )
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


def _threshold_remarks(report: Report) -> list[str]:
    """Return what holds for two classes: the threshold, and which of them is counted."""
    if report.threshold_source is None:
        return []
    source, positive = _SOURCES[report.threshold_source], report.classes[-1]
    cut = show_threshold(report, 3 if report.threshold_range else 6)
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


def _prevalence_remark(report: Report) -> str:
    here = f"that of the rows, {100 * report.shares[-1]:.3g} %"
    if report.prevalence is None:
        return f"Predictive values and net benefit are for a prevalence like {here}."
    return (
        f"Predictive values and net benefit are for a prevalence of {100 * report.prevalence:.3g}"
        f" %, as given, not for {here}."
    )


def _pattern_header(report: Report) -> list[str]:
    return ["modalities present", "rows", score_label(report.primary), _header(report)[-1]]


def _pattern_rows(report: Report) -> list[list[str]]:
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
