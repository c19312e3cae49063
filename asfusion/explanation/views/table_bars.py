"""Bars of a table's attributions: orange raises the output, purple lowers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion.explanation.views.cells import (
    LONGEST_NAME,
    TableFields,
    by_size,
    cell_label,
    name_with_unit,
)
from asfusion.show.colours import GREY, LOWERS, RAISES
from asfusion.show.figures import axis_label, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NUMBER, _SIGN = 0.62, 0.082  # inches: an effect in small print, a sign of a label


def size_of(n_lines: int) -> tuple[float, float]:
    """Return a figure's size in inches for so many lines of bars or points."""
    return 7.0, 1.3 + 0.36 * max(n_lines, 2)


def waterfall(found: TableFields, row: int, axis: Axes, count: int) -> Axes:
    """Draw one row's bars, the largest on top, each starting where the one below ends."""
    values = found.values[row]
    order = [int(i) for i in np.argsort(-np.abs(values), kind="stable")]
    shown, rest = split(order, count)
    labels = [cell_label(found, row, i) for i in shown]
    lengths = [float(values[i]) for i in shown]
    errors = None if found.error is None else [float(found.error[row, i]) for i in shown]
    if rest:
        labels.append(f"{len(rest)} others")
        lengths.append(float(values[rest].sum()))
        if errors is not None:
            # Sampling errors of one run are correlated, so that their sum has none here.
            errors.append(float("nan"))
    base, output = float(found.base_value[row]), float(found.outputs[row])
    # Going down from the output, each bar ends where the one above it started.
    ends = output - np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    starts = ends - np.array(lengths)
    lines = np.arange(len(labels))
    axis.barh(
        lines,
        lengths,
        left=starts,
        height=0.66,
        color=[RAISES if x >= 0 else LOWERS for x in lengths],
        zorder=3,
    )
    if errors is not None:
        axis.errorbar(
            ends,
            lines,
            xerr=errors,
            fmt="none",
            ecolor="#222222",
            elinewidth=1,
            capsize=2,
            zorder=4,
        )
    axis.vlines(starts[:-1], lines[:-1] - 0.33, lines[1:] + 0.33, color=GREY, lw=0.8, zorder=2)
    _name_bars(axis, lines, lengths, starts, ends, errors)
    for place, word in ((base, "base"), (output, "output")):
        axis.axvline(place, color=GREY, lw=1, ls="--" if word == "base" else "-", zorder=1)
    told = f"base {base:.3g} (dashed: {found.base_is}), output {output:.3g}"
    axis.set_title(axis_label(told), fontsize="medium")
    name_lines(axis, labels)
    _widen(axis, [*starts, *ends], labels)
    axis.set_xlabel(axis_label(found.output_name))
    return axis


def bar(found: TableFields, axis: Axes, count: int) -> Axes:
    """Draw mean effects: what a feature raises by to the right end, lowers by before it."""
    order, rest = split(by_size(found), count)
    groups = [*([i] for i in order), *([rest] if rest else [])]
    labels = [name_with_unit(found, i, LONGEST_NAME) for i in order]
    labels += [f"{len(rest)} others"] if rest else []
    up = [float(np.clip(found.values[:, g], 0, None).mean(axis=0).sum()) for g in groups]
    down = [float(np.clip(-found.values[:, g], 0, None).mean(axis=0).sum()) for g in groups]
    lines = np.arange(len(groups))
    axis.barh(lines, up, height=0.66, color=RAISES, label="raises")
    axis.barh(lines, down, left=up, height=0.66, color=LOWERS, label="lowers")
    for line, total in zip(lines, np.add(up, down), strict=True):
        axis.annotate(
            f"{total:.3g}",
            (total, line),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    name_lines(axis, labels)
    axis.set_xlim(0, max(float(np.add(up, down).max(initial=0.0)) * 1.14, 1e-12))
    axis.set_xlabel(axis_label(f"Mean size of the effect on the {found.output_name}"))
    place: dict[str, Any] = {
        "loc": "lower right",
        "bbox_to_anchor": (1.0, 1.0),
        "ncols": 2,
        "borderaxespad": 0.2,
    }
    axis.legend(**place, frameon=False, fontsize="small")  # above: any bar may be long
    return axis


def split(order: list[int], count: int) -> tuple[list[int], list[int]]:
    """Return the first `count` and the others; one alone is not worth the word 'others'."""
    if len(order) <= count + 1:
        return order, []
    return order[:count], order[count:]


def name_lines(axis: Axes, labels: list[str]) -> None:
    """Write labels beside lines, the first on top."""
    axis.set_yticks(np.arange(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _name_bars(
    axis: Axes,
    lines: NDArray[Any],
    lengths: list[float],
    starts: NDArray[Any],
    ends: NDArray[Any],
    errors: list[float] | None,
) -> None:
    """Write each effect beside the tip of its bar, past its error."""
    for k, line in enumerate(lines):
        right = lengths[k] >= 0
        reach = 0.0 if errors is None or not np.isfinite(errors[k]) else errors[k]
        axis.annotate(
            signed(lengths[k]),
            (ends[k] + (reach if right else -reach), line),
            xytext=(4 if right else -4, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize="small",
        )


def _widen(axis: Axes, places: list[float], labels: list[str]) -> None:
    """Leave room beside the bars for their numbers, in what the labels leave of the width."""
    low, high = min(places), max(places)
    beside = _SIGN * max((len(label) for label in labels), default=0)
    # Where the layout is made to fit, it takes the margins that a figure begins with.
    panel = axis.get_position().width / 0.775 * axis.figure.bbox.width / axis.figure.dpi
    width = max(panel - beside - 0.3, 3 * _NUMBER)
    room = _NUMBER / (width - 2 * _NUMBER) * (high - low) or 0.5
    axis.set_xlim(low - room, high + room)
