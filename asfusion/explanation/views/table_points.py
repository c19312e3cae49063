"""Points of a table's attributions, a row each, beside or above their cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_missing
from asfusion.explanation.views.cells import (
    LONGEST_NAME,
    Floats,
    TableFields,
    as_amounts,
    as_numbers,
    by_size,
    cut,
    name_with_unit,
)
from asfusion.explanation.views.table_bars import name_lines, split
from asfusion.show import colours
from asfusion.show.colours import GREY, LOWERS, PALE_GREY, RAISES
from asfusion.show.figures import axis_label, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

_KINDS = (
    colours.BLUE,
    colours.ORANGE,
    colours.GREEN,
    colours.RED,
    colours.SKY,
    colours.PURPLE,
    "#000000",
)
# Among points, the points of a legend need a frame to be told apart.
_FRAMED: dict[str, Any] = {"fontsize": "small", "edgecolor": "#CCCCCC", "framealpha": 0.9}
_MOST_TICKS, _TICK_SIGNS = 16, 56  # words below an axis, and their signs in one line


def beeswarm(found: TableFields, axis: Axes, count: int) -> Axes:
    """Draw one point for each row, spread where they crowd, a line of them for each feature."""
    order, rest = split(by_size(found), count)
    labels = []
    scale = _diverging()
    any_missing = any_words = any_numbers = False
    for line, i in enumerate(order):
        effects = found.values[:, i]
        heights = line + _spread(effects)
        ranks, has_words = _ranks(found.data[:, i])
        missing = np.array([is_missing(cell) for cell in found.data[:, i]])
        known = np.isfinite(ranks)
        words = ~known & ~missing
        axis.scatter(
            effects[known],
            heights[known],
            c=scale(ranks[known]),
            s=16,
            linewidths=0.3,
            edgecolors="#555555",
            zorder=3,
        )
        axis.scatter(effects[words], heights[words], color=PALE_GREY, s=14, zorder=3)
        axis.scatter(
            effects[missing], heights[missing], color=GREY, marker="x", s=14, lw=0.9, zorder=3
        )
        any_missing |= bool(missing.any())
        any_words |= has_words
        any_numbers |= bool(known.any())
        labels.append(name_with_unit(found, i, LONGEST_NAME))
    axis.axvline(0, color=GREY, lw=1, zorder=1)
    name_lines(axis, labels)
    words_of = f" ({len(rest)} smaller ones not shown)" if rest else ""
    axis.set_xlabel(axis_label(f"Effect on the {found.output_name}{words_of}"))
    if any_numbers:
        _colour_bar(axis, scale, ("low", "high"), "Cell, within its feature")
    _explain_marks(axis, missing=any_missing, words=any_words)
    return axis


def dependence(found: TableFields, column: int, other: int | None, axis: Axes) -> Axes:
    """Draw effects against cells; cells that are missing stand on the left, apart."""
    effects = found.values[:, column]
    places, ticks, numeric = _places(found.data[:, column])
    axis.axhline(0, color=GREY, lw=1, zorder=1)
    if found.error is not None:
        axis.errorbar(
            places,
            effects,
            yerr=found.error[:, column],
            fmt="none",
            ecolor=GREY,
            elinewidth=0.7,
            zorder=2,
        )
    if other is None:
        colours = [RAISES if x >= 0 else LOWERS for x in effects]
        axis.scatter(places, effects, c=colours, s=20, zorder=3)
    else:
        _scatter_by(found, other, axis, places, effects)
    if ticks:
        _mark_places(axis, ticks, numeric=numeric)
    axis.set_xlabel(name_with_unit(found, column, 56))
    axis.set_ylabel(axis_label(f"Effect on the {found.output_name}", 36))
    axis.spines[["top", "right"]].set_visible(False)
    return axis


def _diverging() -> Colormap:
    import matplotlib as mpl

    return mpl.colormaps[colours.DIVERGING]


def _ranks(cells: NDArray[Any]) -> tuple[Floats, bool]:
    """Return each number's rank from 0 to 1, NaN elsewhere, and whether there are words."""
    from scipy.stats import rankdata

    found, numeric, _ = as_amounts(cells)
    known = np.isfinite(found)
    ranks = np.full(len(found), np.nan)
    if known.any():
        rank = rankdata(found[known])
        width = np.ptp(rank)
        ranks[known] = (rank - rank.min()) / width if width else 0.5
    return ranks, not numeric


def _spread(effects: Floats, height: float = 0.36) -> Floats:
    """Return offsets that fan out points which fall into the same stretch."""
    width = np.ptp(effects)
    if not width:
        stretch = np.zeros(len(effects), dtype=int)
    else:
        stretch = np.minimum(((effects - effects.min()) / width * 60).astype(int), 59)
    place = np.zeros(len(effects))
    for bucket in np.unique(stretch):
        members = np.flatnonzero(stretch == bucket)
        # 0, 1, -1, 2, -2, ...: a bucket of one stays on its line.
        k = np.arange(len(members))
        place[members] = (k + 1) // 2 * np.where(k % 2, 1, -1)
    return place * (height / max(float(np.abs(place).max()), 6.0))


def _colour_bar(axis: Axes, scale: Colormap, ends: tuple[str, str], label: str) -> None:
    from matplotlib.cm import ScalarMappable

    bar = axis.figure.colorbar(ScalarMappable(cmap=scale), ax=axis, aspect=30, pad=0.02)
    bar.set_ticks([0, 1], labels=list(ends))
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    bar.set_label(literal(label))


def _explain_marks(axis: Axes, *, missing: bool, words: bool) -> None:
    marks = []
    if missing:
        marks.append(axis.scatter([], [], color=GREY, marker="x", s=14, label="missing"))
    if words:
        marks.append(axis.scatter([], [], color=PALE_GREY, s=14, label="category"))
    if marks:
        axis.legend(handles=marks, loc="best", **_FRAMED)


def _places(cells: NDArray[Any]) -> tuple[Floats, dict[float, str], bool]:
    """Return where cells stand on an axis, ticks that need a word, and if others are numbers."""
    places, numeric, write = as_amounts(cells)
    dates = numeric and not as_numbers(cells)[1]
    missing = np.array([is_missing(cell) for cell in cells])
    ticks: dict[float, str] = {}
    if dates:
        low, high = places[~missing].min(), places[~missing].max()
        ticks = {float(day): write(day) for day in np.unique(np.linspace(low, high, 4).round())}
    elif not numeric:
        words = sorted({str(cell) for cell in cells[~missing]})
        places = np.full(len(cells), np.nan)
        for k, word in enumerate(words):
            here = np.array(
                [not gone and str(c) == word for c, gone in zip(cells, missing, strict=True)]
            )
            places[here] = k + _spread(np.zeros(int(here.sum())), 0.25)
            ticks[float(k)] = cut(word)
    if missing.any():
        known = places[~missing]
        low, high = (known.min(), known.max()) if len(known) else (1.0, 1.0)
        spot = float(low - (0.12 * (high - low) or 1.0) if numeric else -1.0)
        places[missing] = spot
        ticks[spot] = "missing"
    return places, ticks, numeric and not dates


def _mark_places(axis: Axes, ticks: dict[float, str], *, numeric: bool) -> None:
    if not numeric:
        step = -(-len(ticks) // _MOST_TICKS)  # more of them could not be read
        shown = [tick for k, tick in enumerate(ticks.items()) if not k % step]
        axis.set_xticks([place for place, _ in shown], [literal(word) for _, word in shown])
        if sum(len(word) + 3 for _, word in shown) > _TICK_SIGNS:
            axis.tick_params(axis="x", rotation=30)
            for label in axis.get_xticklabels():
                label.set_horizontalalignment("right")
        return
    (spot,) = ticks
    low, high = axis.get_xlim()
    kept = [t for t in axis.get_xticks() if spot + 0.06 * (high - low) < t <= high]
    words = [f"{t:.6g}".replace("-", "\N{MINUS SIGN}") for t in kept]
    axis.set_xticks([spot, *kept], ["missing", *words])
    axis.set_xlim(low, high)


def _scatter_by(
    found: TableFields,
    other: int,
    axis: Axes,
    places: Floats,
    effects: Floats,
) -> None:
    """Draw points coloured by another feature's cells."""
    cells = found.data[:, other]
    missing = np.array([is_missing(cell) for cell in cells])
    amounts, numeric, write = as_amounts(cells)
    name = name_with_unit(found, other, 32)
    handles = []
    if numeric and not missing.all():
        known = amounts[~missing]
        low, high = float(known.min()), float(known.max())
        scale = _diverging()
        share = (known - low) / (high - low) if high > low else np.full(len(known), 0.5)
        axis.scatter(
            places[~missing],
            effects[~missing],
            c=scale(share),
            s=20,
            linewidths=0.3,
            edgecolors="#555555",
            zorder=3,
        )
        _colour_bar(axis, scale, (write(low), write(high)), name)
    elif not numeric:
        handles = _scatter_words(axis, cells, missing, places, effects)
    if missing.any():
        handles.append(
            axis.scatter(
                places[missing],
                effects[missing],
                color=GREY,
                marker="x",
                s=20,
                lw=0.9,
                zorder=3,
                label="missing",
            )
        )
    if handles:
        axis.legend(handles=handles, title=name, loc="best", **_FRAMED)


def _scatter_words(
    axis: Axes,
    cells: NDArray[Any],
    missing: NDArray[np.bool_],
    places: Floats,
    effects: Floats,
) -> list[Any]:
    """Draw a colour for each of the most frequent words, and one for all others."""
    words = np.array(["" if gone else str(c) for c, gone in zip(cells, missing, strict=True)])
    names, counts = np.unique(words[~missing], return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")]
    room = len(_KINDS) - 1 if len(frequent) > len(_KINDS) else len(_KINDS)
    handles = []
    for colour, word in zip(_KINDS, frequent[:room], strict=False):
        here = (words == word) & ~missing
        label = literal(cut(str(word)))
        handles.append(
            axis.scatter(places[here], effects[here], color=colour, s=20, zorder=3, label=label)
        )
    others = ~missing & ~np.isin(words, frequent[:room])
    if others.any():
        label = f"{len(frequent) - room} others"
        handles.append(
            axis.scatter(
                places[others], effects[others], color=PALE_GREY, s=20, zorder=3, label=label
            )
        )
    return handles
