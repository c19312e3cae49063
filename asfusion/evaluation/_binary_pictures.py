"""Pictures of two classes: ROC curve, calibration, decision curve, predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._reported import Reported, shown_thresholds
from asfusion.show.colours import BLUE, GREY, ORANGE, RED
from asfusion.show.figures import tick_names, unit_square

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_roc(report: Reported, axis: Axes) -> None:
    """Draw the ROC curve with its band."""
    roc = report.curves["roc"]
    auc = report.scores["auc"]
    label = f"AUC {auc.estimate:.2f}"
    if np.isfinite(auc.low):
        label += f" ({auc.low:.2f} to {auc.high:.2f})"
    unit_square(axis, "1 - specificity", "Sensitivity", "ROC curve")
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


def draw_calibration(report: Reported, axis: Axes) -> None:
    """Draw observed shares against predictions."""
    points = report.curves["calibration"]
    unit_square(axis, "Predicted probability", "Observed share", "Calibration")
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


def draw_decision(
    report: Reported, axis: Axes, score: str = "net_benefit", title: str = "Decision curve"
) -> None:
    """Draw net benefit over thresholds; `score` is that at the threshold of the report."""
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
            [report.scores[score].estimate],
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
        title=title,
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


def draw_histogram(report: Reported, axis: Axes) -> None:
    """Draw how many rows of either class have which prediction."""
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


def _threshold(report: Reported) -> str:
    """Return by which threshold, or those of which folds, rows were called."""
    shown = shown_thresholds(report, 2)
    return f"threshold{'s' if len(shown) > 1 else ''} {' to '.join(shown)}"


def _percent(confidence: float) -> str:
    return f"{100 * confidence:g} %"
