"""Pictures of a table's attributions: orange raises the output, purple lowers it."""

from __future__ import annotations

import numbers
import textwrap
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import looks_like_date

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from asfusion.explanation.tables import TableAttribution

# The ends of ColorBrewer's PuOr, which stay apart for colour-blind eyes and in grey print.
RAISES, LOWERS = "#E66101", "#5E3C99"
GREY = "#767676"
KINDS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
# Among points, the points of a legend need a frame to be told apart.
_FRAMED: dict[str, Any] = {"fontsize": "small", "edgecolor": "#CCCCCC", "framealpha": 0.9}
_LONGEST, _LONGEST_LABEL = 24, 40
_MOST_TICKS, _TICK_SIGNS = 16, 56  # words below an axis, and their signs in one line
_NUMBER, _SIGN = 0.62, 0.082  # inches: an effect in small print, a sign of a label


def size_of(n_lines: int) -> tuple[float, float]:
    """Return a figure's size in inches for so many lines of bars or points."""
    return 7.0, 1.3 + 0.36 * max(n_lines, 2)


def is_missing(cell: Any) -> bool:
    """Return whether a cell is None, NaN, NaT or pd.NA."""
    if cell is None:
        return True
    try:
        return bool(cell != cell)
    except TypeError:  # pd.NA has no truth value
        return True


def as_numbers(cells: NDArray[Any]) -> tuple[NDArray[np.float64], bool]:
    """Return cells as floats, NaN where a cell is missing or no number, and if all are numbers."""
    found = np.full(len(cells), np.nan)
    numeric = True
    for i, cell in enumerate(cells):
        if is_missing(cell):
            continue
        if isinstance(cell, (numbers.Real, Decimal, np.bool_)):
            found[i] = float(cell)
        else:
            numeric = False
    return found, numeric


def as_amounts(
    cells: NDArray[Any],
) -> tuple[NDArray[np.float64], bool, Callable[[float], str]]:
    """Return what `as_numbers` does, with dates as days, and how to write an amount."""
    found, numeric = as_numbers(cells)
    days = None if numeric else _days_of(cells)
    if days is None:
        return found, numeric, lambda amount: f"{amount:.3g}"
    return days, True, lambda day: date.fromordinal(round(day)).isoformat()


def _days_of(cells: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return dates as days, NaN where one is missing; None if a cell is anything else."""
    days = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        if is_missing(cell):
            continue
        try:
            if isinstance(cell, str) and looks_like_date(cell):
                cell = np.datetime64(cell.strip()[:10])
            day = cell.astype("datetime64[D]").item() if isinstance(cell, np.datetime64) else cell
            days[i] = day.toordinal()
        except (AttributeError, ValueError):
            return None
    return days


def signed(number: float) -> str:
    """Return a number with its sign, a true minus among them."""
    text = f"{number:+.3g}"
    return "0" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def by_size(found: TableAttribution) -> list[int]:
    """Return the features from the largest mean effect to the smallest."""
    mean = np.abs(found.values).mean(axis=0)
    return [int(i) for i in np.argsort(-mean, kind="stable")]


def waterfall(found: TableAttribution, row: int, axis: Axes, count: int) -> Axes:
    """Draw one row's bars, the largest on top, each starting where the one below ends."""
    values = found.values[row]
    order = [int(i) for i in np.argsort(-np.abs(values), kind="stable")]
    shown, rest = _split(order, count)
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
    axis.set_title(f"base {base:.3g} (dashed), output {output:.3g}", fontsize="medium")
    _name_lines(axis, labels)
    _widen(axis, [*starts, *ends], labels)
    axis.set_xlabel(axis_label(found.output_name))
    return axis


def bar(found: TableAttribution, axis: Axes, count: int) -> Axes:
    """Draw mean effects: what a feature raises by to the right end, lowers by before it."""
    order, rest = _split(by_size(found), count)
    groups = [*([i] for i in order), *([rest] if rest else [])]
    labels = [_name_with_unit(found, i, _LONGEST_LABEL) for i in order]
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
    _name_lines(axis, labels)
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


def beeswarm(found: TableAttribution, axis: Axes, count: int) -> Axes:
    """Draw one point for each row, spread where they crowd, a line of them for each feature."""
    order, rest = _split(by_size(found), count)
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
        axis.scatter(effects[words], heights[words], color="#B0B0B0", s=14, zorder=3)
        axis.scatter(
            effects[missing], heights[missing], color=GREY, marker="x", s=14, lw=0.9, zorder=3
        )
        any_missing |= bool(missing.any())
        any_words |= has_words
        any_numbers |= bool(known.any())
        labels.append(_name_with_unit(found, i, _LONGEST_LABEL))
    axis.axvline(0, color=GREY, lw=1, zorder=1)
    _name_lines(axis, labels)
    words_of = f" ({len(rest)} smaller ones not shown)" if rest else ""
    axis.set_xlabel(axis_label(f"Effect on the {found.output_name}{words_of}"))
    if any_numbers:
        _colour_bar(axis, scale, ("low", "high"), "Cell, within its feature")
    _explain_marks(axis, missing=any_missing, words=any_words)
    return axis


def dependence(found: TableAttribution, column: int, other: int | None, axis: Axes) -> Axes:
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
    axis.set_xlabel(_name_with_unit(found, column, 56))
    axis.set_ylabel(axis_label(f"Effect on the {found.output_name}", 36))
    axis.spines[["top", "right"]].set_visible(False)
    return axis


def _split(order: list[int], count: int) -> tuple[list[int], list[int]]:
    """Return the first `count` and the others; one alone is not worth the word 'others'."""
    if len(order) <= count + 1:
        return order, []
    return order[:count], order[count:]


def _plain(name: str) -> str:
    """Return a name in which matplotlib sees no formula."""
    return name.replace("$", r"\$")


def axis_label(text: str, width: int = 56) -> str:
    """Return a text in lines that an axis has room for, in which matplotlib sees no formula."""
    return _plain("\n".join(textwrap.wrap(text, width)))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def shorten(text: str, longest: int) -> str:
    """Return a text without its middle: long names mostly differ at their ends."""
    if len(text) <= longest:
        return text
    ahead = (longest - 1) // 2
    return f"{text[:ahead]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - (longest - 1 - ahead) :]}"


def _name_with_unit(found: TableAttribution, i: int, longest: int) -> str:
    name = found.feature_names[i]
    unit = found.units[name]
    told = f" ({unit})" if unit else ""
    return _plain(shorten(name, max(12, longest - len(told))) + told)


def cell_label(found: TableAttribution, row: int, i: int, longest: int = _LONGEST_LABEL) -> str:
    """Return a feature with this row's cell, ``crp = 12 mg/L`` for example.

    The name alone is shortened, to 12 signs at least.
    """
    name, cell = found.feature_names[i], found.data[row, i]
    if name.startswith("(") and name.endswith(")"):  # no column: its cell says nothing
        return _plain(name)
    unit = found.units[name]
    told = (
        ": missing" if is_missing(cell) else f" = {_cell_text(cell)}" + (f" {unit}" if unit else "")
    )
    return _plain(shorten(name, max(12, longest - len(told))) + told)


def _cell_text(cell: Any) -> str:
    if isinstance(cell, (bool, np.bool_)):
        return "yes" if cell else "no"
    if isinstance(cell, (numbers.Integral, numbers.Real, Decimal)):
        return f"{float(cell):.4g}".replace("-", "\N{MINUS SIGN}")
    return _short(str(cell))


def _name_lines(axis: Axes, labels: list[str]) -> None:
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


def _diverging() -> Colormap:
    import matplotlib as mpl

    return mpl.colormaps["PuOr_r"]


def _ranks(cells: NDArray[Any]) -> tuple[NDArray[np.float64], bool]:
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


def _spread(effects: NDArray[np.float64], height: float = 0.36) -> NDArray[np.float64]:
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
    bar.set_label(_plain(label))


def _explain_marks(axis: Axes, *, missing: bool, words: bool) -> None:
    marks = []
    if missing:
        marks.append(axis.scatter([], [], color=GREY, marker="x", s=14, label="missing"))
    if words:
        marks.append(axis.scatter([], [], color="#B0B0B0", s=14, label="category"))
    if marks:
        axis.legend(handles=marks, loc="best", **_FRAMED)


def _places(cells: NDArray[Any]) -> tuple[NDArray[np.float64], dict[float, str], bool]:
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
            ticks[float(k)] = _short(word)
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
        axis.set_xticks([place for place, _ in shown], [_plain(word) for _, word in shown])
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
    found: TableAttribution,
    other: int,
    axis: Axes,
    places: NDArray[np.float64],
    effects: NDArray[np.float64],
) -> None:
    """Draw points coloured by another feature's cells."""
    cells = found.data[:, other]
    missing = np.array([is_missing(cell) for cell in cells])
    amounts, numeric, write = as_amounts(cells)
    name = _name_with_unit(found, other, 32)
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
    places: NDArray[np.float64],
    effects: NDArray[np.float64],
) -> list[Any]:
    """Draw a colour for each of the most frequent words, and one for all others."""
    words = np.array(["" if gone else str(c) for c, gone in zip(cells, missing, strict=True)])
    names, counts = np.unique(words[~missing], return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")]
    room = len(KINDS) - 1 if len(frequent) > len(KINDS) else len(KINDS)
    handles = []
    for colour, word in zip(KINDS, frequent[:room], strict=False):
        here = (words == word) & ~missing
        label = _plain(_short(str(word)))
        handles.append(
            axis.scatter(places[here], effects[here], color=colour, s=20, zorder=3, label=label)
        )
    others = ~missing & ~np.isin(words, frequent[:room])
    if others.any():
        label = f"{len(frequent) - room} others"
        handles.append(
            axis.scatter(
                places[others], effects[others], color="#B0B0B0", s=20, zorder=3, label=label
            )
        )
    return handles
