"""Pictures of a report. Colours stay apart for colour-blind eyes and in grey print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._reported import Reported, shown_thresholds
from asfusion.show.colours import BLUE, COLOURS, GREY, LINES, ORANGE, RED
from asfusion.show.figures import new_axes, tick_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def n_axes(report: Reported) -> int:
    """Return how many axes the pictures of a report need."""
    if report.task == "binary":
        return 4
    return 2 if report.task == "multiclass" else len(report.curves["targets"])


def new_figure(report: Reported, *, shown: bool) -> tuple[Figure, list[Axes]]:
    """Return a figure with axes for a report; see `new_axes` for where it is `shown`."""
    count = n_axes(report)
    # Four stand two by two: in a row they would be too small on a page.
    n_columns = 2 if report.task == "binary" else count
    n_lines = count // n_columns
    beside = 1.6 if _is_crowded(report) else 0.0  # the legend
    size = (4.2 * n_columns + beside, 4.0 * n_lines)
    return new_axes(size, n_lines, n_columns, shown=shown)


def draw(report: Reported, axes: Sequence[Axes]) -> None:
    """Draw a report into as many axes as `n_axes` says."""
    if report.task == "binary":
        _draw_roc(report, axes[0])
        _draw_calibration(report, axes[1])
        _draw_decision(report, axes[2])
        _draw_histogram(report, axes[3])
    elif report.task == "multiclass":
        _draw_rocs(report, axes[0])
        _draw_called(report, axes[1])
    else:
        for number, axis in enumerate(axes):
            _draw_target(report, axis, number)


def _is_crowded(report: Reported) -> bool:
    """Return whether there are too many classes for a legend among their curves."""
    return report.task == "multiclass" and len(report.classes) > len(COLOURS)


def _threshold(report: Reported) -> str:
    """Return by which threshold, or those of which folds, rows were called."""
    shown = shown_thresholds(report, 2)
    return f"threshold{'s' if len(shown) > 1 else ''} {' to '.join(shown)}"


def _percent(confidence: float) -> str:
    return f"{100 * confidence:g} %"


def _unit_square(axis: Axes, x: str, y: str, title: str) -> None:
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    axis.set(xlabel=x, ylabel=y, title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.set_aspect("equal")


def _draw_roc(report: Reported, axis: Axes) -> None:
    roc = report.curves["roc"]
    auc = report.scores["auc"]
    label = f"AUC {auc.estimate:.2f}"
    if np.isfinite(auc.low):
        label += f" ({auc.low:.2f} to {auc.high:.2f})"
    _unit_square(axis, "1 - specificity", "Sensitivity", "ROC curve")
    if np.isfinite(roc["low"]).all():
        band = f"{_percent(report.confidence)} band"
        axis.fill_between(
            roc["false_positive"], roc["low"], roc["high"], color=BLUE, alpha=0.18, lw=0, label=band
        )
    axis.plot(
        [0.0, *roc["false_positive"]], [0.0, *roc["true_positive"]], color=BLUE, lw=2, label=label
    )
    sensitivity, specificity = (report.scores[k].estimate for k in ("sensitivity", "specificity"))
    axis.plot(
        [1 - specificity],
        [sensitivity],
        marker="D",
        color=RED,
        linestyle="none",
        label=_threshold(report),
    )
    axis.legend(loc="lower right", frameon=False, fontsize="small")


def _draw_calibration(report: Reported, axis: Axes) -> None:
    points = report.curves["calibration"]
    _unit_square(axis, "Predicted probability", "Observed share", "Calibration")
    if points["predicted"]:
        observed = np.asarray(points["observed"])
        # Percentile intervals contain the estimate save for rounding.
        below = np.clip(observed - np.asarray(points["low"]), 0, None)
        above = np.clip(np.asarray(points["high"]) - observed, 0, None)
        axis.errorbar(
            points["predicted"],
            observed,
            yerr=[np.nan_to_num(below), np.nan_to_num(above)],
            color=BLUE,
            marker="o",
            capsize=2,
            lw=1.5,
        )
        top = max([*points["predicted"], *observed, *np.nan_to_num(points["high"])])
        if top < 0.5:  # of a rare outcome all points would stand in a corner
            axis.set(xlim=(-0.02 * top, 1.1 * top), ylim=(-0.02 * top, 1.1 * top))
    else:
        axis.text(0.5, 0.5, "too few rows", ha="center", va="center", color=GREY)
    slope, shift = (report.scores[f"calibration_{k}"].estimate for k in ("slope", "intercept"))
    if np.isfinite(slope):
        text = f"slope {slope:.2f}\nin the large {shift:+.2f}"
        axis.text(0.03, 0.97, text, transform=axis.transAxes, va="top", fontsize="small")


def _draw_decision(report: Reported, axis: Axes) -> None:
    curve = {name: np.asarray(values, float) for name, values in report.curves["decision"].items()}
    at, model = curve["threshold"], curve["net_benefit"]
    if np.isfinite(curve["low"]).any():
        band = f"{_percent(report.confidence)} band"
        axis.fill_between(at, curve["low"], curve["high"], color=BLUE, alpha=0.18, lw=0, label=band)
    axis.plot(at, curve["treat_all"], color=ORANGE, lw=1.5, ls="--", label="treat all")
    axis.plot(at, np.zeros_like(at), color="black", lw=1, ls=":", label="treat none")
    axis.plot(at, model, color=BLUE, lw=2, label="predictions")
    end = _end_of_use(curve)
    if report.threshold is not None and at[0] <= report.threshold <= end:
        axis.plot(
            [report.threshold],
            [report.scores["net_benefit"].estimate],
            marker="D",
            color=RED,
            linestyle="none",
            label=f"threshold {report.threshold:.2g}",
        )
    # Treating all, and a useless model, fall far below zero: that they do is enough to see.
    top = float(np.nanmax([*model, *curve["treat_all"], *curve["high"], 1e-6]))
    axis.set(
        xlabel="Threshold probability",
        ylabel="Net benefit",
        title="Decision curve",
        xlim=(at[0], end),
        ylim=(-0.3 * top, 1.08 * top),
    )
    axis.legend(loc="upper right", frameon=False, fontsize="small")


def _end_of_use(curve: dict[str, NDArray[np.float64]]) -> float:
    """Return the last threshold to draw: of a rare outcome nothing happens beyond the first few."""
    at = curve["threshold"]
    happens = (np.abs(curve["net_benefit"]) > 1e-12) | (curve["treat_all"] > 0)
    last = 1.25 * float(at[np.flatnonzero(happens)].max(initial=at[0]))
    return last if at[0] < last < 0.5 * at[-1] else float(at[-1])


def _draw_histogram(report: Reported, axis: Axes) -> None:
    bars = report.curves["histogram"]
    width = bars["edges"][1] - bars["edges"][0]
    left = np.asarray(bars["edges"][:-1])
    negative, positive = np.asarray(bars["negative"]), np.asarray(bars["positive"])
    names = [f"class {name}" for name in tick_names(report.classes, 12)]
    style = {"width": width, "align": "edge", "edgecolor": "white", "linewidth": 0.5}
    # One above, one below the line: overlapping bars hide each other.
    axis.bar(left, positive, color=RED, label=names[1], **style)
    axis.bar(left, -negative, color=BLUE, label=names[0], hatch="///", **style)
    axis.axhline(0, color="black", lw=0.8)
    end = bars["edges"][-1]
    threshold = 0.5 if report.threshold is None else report.threshold
    if threshold <= end:
        axis.axvline(threshold, color="black", lw=1, ls="--", label="threshold")
    top = 1.1 * max(positive.max(), negative.max())
    label = "Predicted probability" + (" (last bar: all above)" if end < 1 else "")
    axis.set(xlabel=label, ylabel="Rows", title="Predictions", ylim=(-top, 1.4 * top))
    axis.set_xlim(0, end)
    axis.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    n_columns = 3 if max(map(len, names)) < 14 else 2
    axis.legend(loc="upper center", ncols=n_columns, frameon=False, fontsize="small")


def _draw_rocs(report: Reported, axis: Axes) -> None:
    _unit_square(axis, "1 - specificity", "Sensitivity", "Each class against the rest")
    shown = tick_names(report.classes, 18)
    colours = _colours(len(shown))
    for number, (name, roc) in enumerate(zip(report.classes, report.curves["rocs"], strict=True)):
        auc = report.scores[f"auc[{name}]"].estimate
        axis.plot(
            [0.0, *roc["false_positive"]],
            [0.0, *roc["true_positive"]],
            color=colours[number],
            ls=LINES[number % len(LINES)],
            label=f"class {shown[number]}: AUC {auc:.2f}",
        )
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    place = beside if _is_crowded(report) else {"loc": "lower right"}
    axis.legend(**place, frameon=False, fontsize="small")


def _colours(count: int) -> Sequence[Any]:
    """Return as many colours that differ."""
    if count <= len(COLOURS):
        return COLOURS
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0.0, 0.92, count)))


def _draw_called(report: Reported, axis: Axes) -> None:
    shares = np.asarray(report.curves["called"])
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(report.classes))
    names = tick_names(report.order or report.classes, 18)
    size = "medium" if len(names) <= len(COLOURS) else "x-small"
    axis.set_xticks(ticks, names, rotation=30, ha="right")
    axis.set_yticks(ticks, names)
    axis.set(xlabel="Most probable class", ylabel="True class", title="Share of each true class")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            colour = "white" if share > 0.6 else "black"
            axis.text(j, i, f"{share:.2f}", ha="center", va="center", color=colour, size=size)


def _draw_target(report: Reported, axis: Axes, number: int) -> None:
    cells = report.curves["targets"][number]
    edges = np.asarray(cells["edges"])
    middles = (edges[:-1] + edges[1:]) / 2
    counts = np.asarray(cells["n_rows"])
    axis.plot(edges[[0, -1]], edges[[0, -1]], color=GREY, lw=1, ls=":")
    axis.scatter(
        middles[cells["true"]],
        middles[cells["predicted"]],
        s=14 * np.sqrt(counts),
        color=BLUE,
        alpha=0.6,
        linewidths=0,
    )
    title = "Predicted and true" + (f", target {number + 1}" if n_axes(report) > 1 else "")
    axis.set(xlabel="True", ylabel="Predicted", title=title)
    axis.set_aspect("equal")
    r2 = report.scores["r2"].estimate
    if n_axes(report) == 1 and np.isfinite(r2):
        text = f"R² {r2:.2f}\nMAE {report.scores['mae'].estimate:.3g}"
        axis.text(0.03, 0.97, text, transform=axis.transAxes, va="top", fontsize="small")
