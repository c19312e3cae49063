"""An overview as it is seen: in a terminal, on a page, in a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion.duplicates.found import Duplicates
from asfusion.evaluation._small_cells import FEWEST
from asfusion.overview._classes import Line, Summary
from asfusion.overview._columns import ColumnFacts
from asfusion.overview._modalities import Subset
from asfusion.overview._sample_size import SampleSize
from asfusion.show import colours, figures, page
from asfusion.suspects.suspect import NOUNS, Suspect, by_column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_IN_TERMINAL = 40
_ON_PAGE = 300
_DRAWN = 12
_IN_WORDS = ("evidence", "remark")  # headings of columns that hold sentences
_CRITERIA = {
    "shrinkage": "coefficients too extreme by at most a tenth",
    "optimism": "R2 overstated by at most 0.05",
    "overall": "the overall risk or mean known well",
    "error": "probabilities wrong by at most 0.05 on average",
    "spread": "the residual spread known to a tenth",
}


class OverviewPage(page.Page):
    """Shows an overview."""

    n_rows: int
    n_groups: int
    is_grouped: bool
    target: str
    classes: Mapping[str, int | None]
    columns: tuple[ColumnFacts, ...]
    modalities: Mapping[str, tuple[str, ...]]
    subsets: tuple[Subset, ...]
    lines: tuple[Line, ...]
    sample_sizes: tuple[SampleSize, ...]
    suspects: tuple[Suspect, ...]
    duplicates: Duplicates | None
    advice: tuple[str, ...]
    version: str

    @property
    def verdict(self) -> str:
        """What to see to before the first fit, in words."""
        return " ".join([*_on_suspects(self), *_on_sizes(self), *self.advice])

    def plot(self, axes: Any = None) -> NDArray[np.object_]:
        """Draw which sets of modalities rows have, by class.

        Parameters
        ----------
        axes : array of 2 matplotlib Axes, optional
            Where to draw the sets and the numbers of rows; a new figure by default.

        Returns
        -------
        ndarray of matplotlib Axes
            The axes drawn into.

        Raises
        ------
        ConfigurationError
            If `axes` are not two Axes.
        """
        given = _new_axes(self, shown=True)[1] if axes is None else figures.check_axes(axes, 2)
        _draw(self, given)
        return np.asarray(given, dtype=object)

    def _title(self) -> str:
        return "asfusion overview"

    def _text(self) -> str:
        parts = [f"Look at {_rows(self)}", "", self.verdict]
        for title, (header, rows) in _tables(self).items():
            more = len(rows) - _IN_TERMINAL
            parts += ["", title, _in_terminal(header, rows[:_IN_TERMINAL])]
            parts += [f"... and {more} more: to_frame() has them all."] if more > 0 else []
        return "\n".join([*parts, "", *_remarks(self)])

    def _body(self) -> list[str]:
        parts = [
            page.heading("Overview", 1),
            page.paragraph(f"Of {_rows(self)}."),
            page.paragraph(self.verdict, "verdict"),
        ]
        for title, (header, rows) in _tables(self).items():
            parts += [page.heading(title), _table(header, rows[:_ON_PAGE])]
            if title == _MODALITIES:
                figure, axes = _new_axes(self, shown=False)
                _draw(self, axes)
                parts.append(page.picture(figures.as_svg(figure), "Rows by set of modalities."))
        made = f"Made by asfusion {self.version}. {page.RESEARCH_TOOL}"
        return [*parts, *(page.paragraph(text, "note") for text in [*_remarks(self), made])]


# -- words -----------------------------------------------------------------------------


def _rows(view: OverviewPage) -> str:
    patients = f" of {view.n_groups} patients" if view.is_grouped else ""
    about = f", target {view.target}" if view.target else ""
    return f"{view.n_rows} rows{patients}, {len(view.columns)} columns{about}"


def _on_suspects(view: OverviewPage) -> list[str]:
    found = by_column(list(view.suspects))
    if not found:
        return ["No column gives the target away, as far as these rows can tell."]
    kinds: dict[str, list[str]] = {}
    for name, about in found.items():
        kinds.setdefault(NOUNS[about[0].kind], []).append(name)
    told = "; ".join(f"{what} ({quoted(names, 20)})" for what, names in kinds.items())
    return [f"Look at these before you fit: {told}."]


def _on_sizes(view: OverviewPage) -> list[str]:
    return [_on_size(size, view.is_grouped) for size in view.sample_sizes]


def _on_size(size: SampleSize, is_grouped: bool) -> str:
    unit = "patients" if is_grouped else "rows"
    if not size.n_candidates:
        return f"No column of a table is a candidate feature for {size.outcome}."
    has, wants = f"{size.n_patients:,} {unit}", f"{size.minimum:,}"
    if size.n_events is not None:
        events = f"{size.n_events}" if size.n_events >= FEWEST else f"fewer than {FEWEST}"
        has += f", {events} {size.counted}"
    ratio = f" ({size.per_candidate:.1f} per candidate feature)" if _is_told(size) else ""
    told = f"For {size.outcome} there are {has}{ratio}, and {size.n_candidates} candidate features"
    if size.n_patients >= size.minimum:
        return f"{told}: enough by the criteria of Riley et al. ({wants})."
    return (
        f"{told}: too few by the criteria of Riley et al., which ask for {wants}. Take fewer "
        "features, shrink more, or expect a model that promises too much."
    )


def _is_told(size: SampleSize) -> bool:
    return size.n_events is None or size.n_events >= FEWEST


def _remarks(view: OverviewPage) -> list[str]:
    hidden = f"Counts of fewer than {FEWEST} rows or patients are not shown."
    scale = "A standardised mean difference (SMD) of 0.1 is small, of 0.5 large."
    remarks = [f"{hidden} {scale}"]
    if view.sample_sizes:
        remarks.append(
            "Sample size: Riley et al., BMJ 2020;368:m441, https://doi.org/10.1136/bmj.m441, for a "
            "model that explains 15 % of what can be explained, and no selection of features; "
            "several classes are taken one against the rest; an event comes at one rate, and its "
            "overall risk is that by the median time of those seen. Images and notes bring "
            "features of their own, which no such rule counts."
        )
    if view.duplicates is not None:
        remarks.append(view.duplicates.verdict)
    return remarks


# -- tables ----------------------------------------------------------------------------

_Table = tuple[list[str], list[list[str]]]
_MODALITIES = "Modalities"


def _tables(view: OverviewPage) -> dict[str, _Table]:
    """Return the tables that have anything to show, by title."""
    tables = {
        "Leak candidates": (["column", "may be", "evidence"], _suspect_rows(view)),
        "Columns": (_COLUMNS, [_column_row(facts) for facts in view.columns]),
        _MODALITIES: (["rows that have", *_class_names(view)], _subset_rows(view)),
        "By class": (["", *_class_names(view), "SMD"], _class_rows(view)),
        "Sample size": (["criterion", *(size.outcome for size in view.sample_sizes)], _sizes(view)),
    }
    return {title: table for title, table in tables.items() if table[1]}


_COLUMNS = ["column", "taken for", "missing", "levels", "median", "range", "unit", "remark"]


def _in_terminal(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal; what is said last in words begins at one place."""
    shown = [[figures.shorten(cell, 90) for cell in row] for row in rows]
    if header[-1] in _IN_WORDS:
        width = max(len(row[-1]) for row in [header, *shown])
        header = [*header[:-1], header[-1].ljust(width)]
        shown = [[*row[:-1], row[-1].ljust(width)] for row in shown]
    return page.text_table(header, shown)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, one of words to be read as such."""
    table = page.table(header, rows)
    return f'<div class="prose">{table}</div>' if header[-1] in _IN_WORDS else table


def _suspect_rows(view: OverviewPage) -> list[list[str]]:
    kinds = {"after_index": "later", "note_tells": "telling note"}
    return [[s.column, kinds.get(s.kind, s.kind), s.evidence] for s in view.suspects]


def _column_row(facts: ColumnFacts) -> list[str]:
    missing = "-" if facts.missing is None else f"{100 * facts.missing:.0f} %"
    low, median, high = facts.low, facts.median, facts.high
    spread = "" if low is None or high is None else f"{_number(low)} to {_number(high)}"
    middle = "" if median is None else _number(median)
    levels = str(facts.n_distinct)
    return [
        *(facts.name, facts.taken_for, missing, levels, middle, spread, facts.unit, facts.remark)
    ]


def _number(value: float) -> str:
    whole = abs(value) >= 1000 and float(value).is_integer() and abs(value) < 1e7
    return f"{value:.0f}" if whole else f"{value:.4g}"


def _class_names(view: OverviewPage) -> list[str]:
    return [f"{name} ({_count(count)})" for name, count in view.classes.items()]


def _count(count: int | None) -> str:
    return "few" if count is None else str(count)


def _subset_rows(view: OverviewPage) -> list[list[str]]:
    return [
        [" + ".join(s.present) or "none", *("-" if c is None else str(c) for c in s.counts)]
        for s in view.subsets
    ]


def _class_rows(view: OverviewPage) -> list[list[str]]:
    rows = []
    units = {facts.name: facts.unit for facts in view.columns}
    for line in view.lines:
        name = f"{line.column} = {line.level}" if line.level else line.column
        unit = units.get(line.column, "")
        apart = "" if line.difference is None else f"{line.difference:.2f}"
        named = f"{name}, {unit}" if unit and not line.level else name
        rows.append([named, *(_summary(s) for s in line.classes), apart])
    return rows


def _summary(summary: Summary) -> str:
    if summary.median is not None and summary.low is not None and summary.high is not None:
        low, high = _number(summary.low), _number(summary.high)
        return f"{_number(summary.median)} ({low} to {high})"
    if summary.count is None or summary.share is None:
        return "-"
    return f"{summary.count} ({100 * summary.share:.0f} %)"


def _sizes(view: OverviewPage) -> list[list[str]]:
    sizes = view.sample_sizes
    names = [name for name in _CRITERIA if any(name in size.needed for size in sizes)]
    return [
        [_CRITERIA[name], *(f"{s.needed[name]:,}" if name in s.needed else "-" for s in sizes)]
        for name in names
    ]


# -- picture ---------------------------------------------------------------------------


def _new_axes(view: OverviewPage, *, shown: bool) -> tuple[Any, list[Axes]]:
    n_sets, n_names = min(_DRAWN, len(view.subsets)), len(view.modalities)
    left = max(1.5, 0.5 * n_names)
    size = (
        4.5 + left + figures.room_for(["", *view.modalities]) * 0.3,
        1.6 + 0.34 * max(1, n_sets),
    )
    ratios = {"width_ratios": [left, 4.0]}
    return figures.new_axes(size, 1, 2, shown=shown, sharey=True, gridspec_kw=ratios)


def _draw(view: OverviewPage, axes: list[Axes]) -> None:
    """Draw the sets as dots, a line per set, and beside them the rows of each class as bars."""
    dots, bars = axes
    names, subsets = list(view.modalities), view.subsets[:_DRAWN]
    for height, subset in enumerate(subsets):
        places = [k for k, name in enumerate(names) if name in subset.present]
        dots.scatter(range(len(names)), [height] * len(names), color="#dddddd", s=40, zorder=1)
        dots.plot(places, [height] * len(places), "o-", color=colours.DARK_GREY, ms=6, zorder=2)
    dots.set_xticks(range(len(names)), figures.tick_names(names, 18), rotation=40, ha="right")
    dots.set_yticks([])
    dots.set(xlim=(-0.6, max(0.6, len(names) - 0.4)), title="modalities")
    _draw_bars(view, bars, subsets)
    dots.set_ylim(max(1, len(subsets)) - 0.4, -0.6)
    for side in ("top", "right", "bottom", "left"):
        dots.spines[side].set_visible(False)


def _draw_bars(view: OverviewPage, bars: Axes, subsets: Sequence[Subset]) -> None:
    from_left = np.zeros(len(subsets))
    for number, name in enumerate(view.classes):
        counts = np.asarray([float(subset.counts[number] or 0) for subset in subsets])
        colour = colours.COLOURS[number % len(colours.COLOURS)]
        label = figures.literal(figures.shorten(name, 24))
        bars.barh(
            range(len(subsets)), counts, left=from_left, color=colour, label=label, height=0.7
        )
        from_left += counts
    for height, subset in enumerate(subsets):
        if None in subset.counts:
            bars.text(from_left[height], height, " + hidden", va="center", fontsize=8)
    bars.set(xlabel=f"rows (hidden: fewer than {FEWEST}, or what would tell such a number)")
    bars.set_xlim(0, 1.25 * max(1.0, from_left.max(initial=0.0)))
    if len(view.classes) > 1:
        title = figures.literal(figures.shorten(view.target, 24))
        bars.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), title=title)
