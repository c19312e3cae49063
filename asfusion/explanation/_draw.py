"""Pictures and pages of an explanation; one scale over modalities, safe colours throughout."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from asfusion._progress import progress, progress_shown
from asfusion.explanation._parts import name_outputs, shown_parts
from asfusion.explanation._table_plots import axis_label, by_size, cell_label, shorten, size_of
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.tables import TableAttribution
from asfusion.explanation.text import TextAttribution
from asfusion.explanation.visits import VisitAttribution
from asfusion.explanation.volumes import VolumeAttribution
from asfusion.show import page as _html

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

    from asfusion.explanation.result import Explanation

# Orange raises, purple lowers: apart for colour-blind eyes, and in grey print by the sign.
RAISES, LOWERS, NEUTRAL = "#E08214", "#7B5AA6", "#5A5A5A"
_TOP, _LONGEST_LABEL = 8, 36
_COLUMNS = 6  # of a table's columns stand in the summary


def summary(e: Explanation) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table from base value to prediction."""
    names, values, present = list(e.names), e.values, e.present
    if isinstance(e.details, Mapping):
        names, values = _largest_columns(e["table"])
        present = np.ones(values.shape, dtype=bool)
    of_class = len(set(e.output_names)) > 1
    rows = [
        [
            str(row),
            f"{e.base_values[row]:.3f}",
            *(told(value, there) for value, there in zip(values[row], present[row], strict=True)),
            f"{e.predictions[row]:.3f}",
            *([e.output_names[row].partition(" of class ")[2]] if of_class else []),
        ]
        for row in range(len(e))
    ]
    return ["row", "base", *names, "prediction", *(["of class"] if of_class else [])], rows


def told(value: float, there: bool) -> str:
    """Return a value in words; what a row lacks may count, where others have it."""
    if there:
        return f"{value:+.3f}"
    return f"{value:+.3f} (absent)" if value else "absent"


def _largest_columns(table: TableAttribution) -> tuple[list[str], Any]:
    order = by_size(table)
    shown, rest = order[:_COLUMNS], order[_COLUMNS:]
    names, values = [table.feature_names[i] for i in shown], table.values[:, shown]
    if rest:
        names.append(f"({len(rest)} others)")
        values = np.column_stack([values, table.values[:, rest].sum(axis=1)])
    return names, values


def all_rows(e: Explanation, ax: Axes | None) -> Axes:
    """Draw a dot per row and modality, modalities by their mean size."""
    if isinstance(e.details, Mapping):
        beeswarm: Axes = e["table"].beeswarm(ax)
        return beeswarm
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.figure(figsize=_size_of_all(e), layout="constrained").subplots()
    size = np.abs(e.values).mean(axis=0)
    order = np.argsort(size, kind="stable")
    rng = np.random.default_rng(0)
    for height, m in enumerate(order):
        ax.barh(height, size[m], height=0.62, color="#D9D9D9", zorder=1)
        there = e.present[:, m]
        values = e.values[there, m]
        jitter = rng.uniform(-0.2, 0.2, len(values))
        colour = np.where(values >= 0, RAISES, LOWERS)
        ax.scatter(values, height + jitter, s=22, c=colour, edgecolor="white", lw=0.4, zorder=3)
        if (~there).any():
            ax.scatter(
                e.values[~there, m], np.full((~there).sum(), height - 0.36),
                marker="|", s=28, color=NEUTRAL, zorder=3,
            )  # fmt: skip
    ax.axvline(0, color="black", lw=0.8, zorder=2)
    ax.set_yticks(range(len(order)), [shorten(e.names[m], _LONGEST_LABEL) for m in order])
    ax.set_xlabel(axis_label(f"Shapley value (change of the {output_of(e)})"))
    ax.set_title("Bars: mean size. Dots: rows; ticks below: rows without it", fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _size_of_all(e: Explanation) -> tuple[float, float]:
    if isinstance(e.details, Mapping):
        return size_of(min(len(e["table"].feature_names), 13))
    beside = min(max(map(len, e.names)), _LONGEST_LABEL)  # signs of the longest name
    return 6.5 + 0.08 * max(0, beside - 12), 1.3 + 0.55 * len(e.names)


def one_row(e: Explanation, row: int, *, managed: bool) -> Figure:
    """Draw one row: a waterfall of modalities, then a panel for each that is there."""
    if isinstance(e.details, Mapping):
        figure = _figure(size_of(min(len(e["table"].feature_names), 11)), managed=managed)
        e["table"].waterfall(row, figure.subplots())
        return figure
    shown = [name for m, name in enumerate(e.names) if e.present[row, m]]
    n_panels = 1 + len(shown)
    columns = 2 if n_panels == 4 else min(3, n_panels)  # no empty place in a square
    lines = -(-n_panels // columns)
    figure = _figure((5.0 * columns, 3.4 * lines), managed=managed)
    places = iter(figure.add_gridspec(lines, columns))
    waterfall(e, row, figure.add_subplot(next(places)))
    own, number = e._alone(row)
    limit = _limit(own, number, shown)
    for place, name in zip(places, shown, strict=False):
        _panel(own[name], number, name, figure, place, limit)
    return figure


def _figure(size: tuple[float, float], *, managed: bool) -> Figure:
    """Return a figure that pyplot shows in a notebook, or one for a page."""
    if managed:
        from matplotlib import pyplot

        return pyplot.figure(figsize=size, layout="constrained")
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def waterfall(e: Explanation, row: int, ax: Axes) -> Axes:
    """Draw the way from base value to prediction, the largest modality on top."""
    order = np.argsort(np.abs(e.values[row]), kind="stable")
    left = float(e.base_values[row])
    for height, m in enumerate(order):
        value = float(e.values[row, m])
        there = bool(e.present[row, m])
        colour = RAISES if value >= 0 else LOWERS
        ax.barh(height, value, left=left, color=colour, height=0.6)
        text = told(value, there)
        end = max(left, left + value)
        ax.annotate(text, (end, height), xytext=(4, 0), textcoords="offset points", va="center")
        left += value
    ax.axvline(float(e.base_values[row]), color=NEUTRAL, lw=0.9, ls=":")
    ax.axvline(left, color="black", lw=0.9)
    ax.set_yticks(range(len(order)), [shorten(e.names[m], 20) for m in order])
    ax.use_sticky_edges = False  # or the margin ends where a bar begins
    ax.margins(x=0.2)
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel(axis_label(e.output_names[row], 40))
    base, prediction = e.base_values[row], e.predictions[row]
    start = "background rows" if e.absence == "background" else "nothing known"
    ax.set_title(f"Row {row}: from {base:.3f} ({start}) to {prediction:.3f}", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def as_html(e: Explanation, rows: Iterable[int]) -> str:
    """Return the whole as a fragment: a table, the picture of all rows, and rows in detail."""
    parts = [_html.heading("What the predictions rest on", 1)]
    parts += [_html.paragraph(f"Explained: {output_of(e)}.")]
    for sentence in e.about():
        failed = e.failed_checks and sentence == e.about()[-1]
        parts.append(_html.paragraph(sentence, "verdict" if failed else ""))
    parts.append(_html.table(*summary(e)))
    parts.append(_picture(lambda axes: all_rows(e, axes), _size_of_all(e)))
    with progress_shown(getattr(e.details, "verbose", True)):
        for row in progress(rows, "Drawing rows", unit="row"):
            parts.append(_html.heading(f"Row {row}"))
            figure = one_row(e, row, managed=False)
            parts.append(_html.picture(_svg(figure), f"Explanation of row {row}"))
            parts += _notes_and_visits(*e._alone(row))
    parts.append(_html.paragraph(_html.RESEARCH_TOOL, "note"))
    return _html.fragment(parts)


def _notes_and_visits(e: Explanation, row: int) -> list[str]:
    """Return the coloured notes of a row and the pictures of its visits, as HTML."""
    limit = _limit(e, row, e.names)
    parts = []
    for name in e.names:
        detail = e[name]
        if isinstance(detail, list) and isinstance(detail[row], TextAttribution):
            parts += [_html.heading(name, 3), detail[row].to_html(limit=limit)]
        elif isinstance(detail, VisitAttribution) and len(detail.of_row(row)):
            parts += [_html.heading(name, 3), detail.to_html(row)]
    return parts


def _panel(
    detail: Any, row: int, name: str, figure: Figure, place: SubplotSpec, limit: float
) -> None:
    part = None if isinstance(detail, TableAttribution | VisitAttribution) else detail[row]
    if isinstance(part, ImageAttribution | VolumeAttribution):
        pairs = shown_parts(detail, row, _TOP)
        inner = place.subgridspec(2, 1, height_ratios=(12, 1 + len(pairs)))
        _picture_panel(part, name, figure.add_subplot(inner[0]))
        _bars([(_plain(label), v) for label, v in pairs], figure.add_subplot(inner[1]), limit)
        return
    ax = figure.add_subplot(place)
    ax.set_title(name, fontsize=10)
    if isinstance(detail, VisitAttribution):
        detail.plot(row, ax).set_ylim(-limit, limit)
        return
    pairs = shown_parts(detail, row, _TOP)
    if isinstance(detail, TableAttribution):
        place_of = {name: i for i, name in enumerate(detail.feature_names)}
        pairs = [
            (_cell_or_name(detail, row, place_of.get(label), label), value)
            for label, value in pairs
        ]
    else:
        pairs = [(_plain(label), value) for label, value in pairs]
    _bars(pairs, ax, limit)


def _cell_or_name(table: TableAttribution, row: int, column: int | None, label: str) -> str:
    return label if column is None else cell_label(table, row, column, _LONGEST_LABEL)


def _picture_panel(part: ImageAttribution | VolumeAttribution, name: str, ax: Axes) -> None:
    part.plot(ax)
    where = f", {ax.get_title()}" if isinstance(part, VolumeAttribution) else ""
    ax.set_title(f"{name}: {part.method.replace('_', ' ')}{where}", fontsize=10)


def _bars(pairs: list[tuple[str, float]], ax: Axes, limit: float) -> None:
    """Draw parts, the first on top."""
    if not pairs:
        ax.text(0.5, 0.5, "no part adds anything", ha="center", transform=ax.transAxes)
    pairs = pairs[::-1]
    values = [value for _, value in pairs]
    colours = [RAISES if value >= 0 else LOWERS for value in values]
    ax.barh(range(len(pairs)), values, color=colours, height=0.6)
    ax.set_yticks(range(len(pairs)), [label for label, _ in pairs], fontsize=8)
    ax.set_xlim(-limit, limit)
    ax.locator_params(axis="x", nbins=4)
    ax.axvline(0, color="black", lw=0.8)
    ax.spines[["top", "right"]].set_visible(False)


def _plain(text: str) -> str:
    """Return a label without line breaks or what matplotlib would read as mathematics."""
    line = whole = " ".join(text.split())
    if len(whole) > _LONGEST_LABEL:
        # Chunks of words end with a word; a single long one loses its middle.
        line = textwrap.shorten(whole, _LONGEST_LABEL, placeholder=" \N{HORIZONTAL ELLIPSIS}")
        line = line if len(line) > 2 else shorten(whole, _LONGEST_LABEL)
    return line.replace("$", r"\$")


def _limit(e: Explanation, row: int, names: Iterable[str]) -> float:
    """Return one scale for everything within the modalities of a row."""
    values = [abs(value) for name in names for _, value in shown_parts(e[name], row, _TOP)]
    return 1.15 * max(values, default=1.0) or 1.0


def output_of(e: Explanation) -> str:
    return name_outputs(e.output_names)


def _picture(draw: Any, size: tuple[float, float]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    draw(figure.subplots())
    return _html.picture(_svg(figure), "Shapley value of each modality in each row")


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()
