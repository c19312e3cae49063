"""An audit of subgroups as it is seen: in a terminal, on a page, in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._inputs import Task
from asfusion.evaluation._labels import score_info, score_label, show_interval, show_number
from asfusion.evaluation._small_cells import FEWEST
from asfusion.evaluation._subgroup_scores import Gap, Subgroup
from asfusion.evaluation.intervals import Interval
from asfusion.evaluation.registry import scoring_of
from asfusion.show import colours, figures, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NAMED = 8


class AuditPage(page.Page):
    """Shows an audit of subgroups."""

    task: Task
    n_rows: int
    n_groups: int
    is_grouped: bool
    threshold: float | None
    confidence: float
    n_bootstrap: int
    n_gaps: int
    overall: Mapping[str, Interval]
    subgroups: tuple[Subgroup, ...]

    @property
    def verdict(self) -> str:
        """What can be said of the gaps, and what cannot, in sentences."""
        return " ".join(_verdict(self))

    def plot(self, scores: Any = None, axes: Any = None) -> NDArray[np.object_]:
        """Draw intervals of subgroups below each other, against that of all rows.

        Parameters
        ----------
        scores : sequence of str, optional
            Which ones; discrimination and calibration by default.
        axes : array of matplotlib Axes, optional
            Where to draw, one for each score. A new figure by default.

        Returns
        -------
        ndarray of matplotlib Axes
            The axes drawn into.

        Raises
        ------
        ConfigurationError
            If there is no such score, or `axes` are not as many Axes as scores.
        """
        names = scoring_of(self).to_draw(scores)
        if axes is None:
            _, given = _new_figure(self, names, shown=True)
        else:
            given = figures.check_axes(axes, len(names))
        _draw(self, names, given)
        return np.asarray(given, dtype=object)

    def _title(self) -> str:
        return "asfusion audit of subgroups"

    def _text(self) -> str:
        lines = [f"Audit of {_size(self)}", page.text_table(_header(self), _rows(self)), ""]
        return "\n".join([*lines, *_verdict(self), *_remarks(self)])

    def _body(self) -> list[str]:
        heads = [page.heading("Subgroups", 1), page.paragraph(f"Of {_size(self)}.")]
        return [*heads, *self._parts(), page.paragraph(page.RESEARCH_TOOL, "note")]

    def _parts(self) -> list[str]:
        """Return what also stands on the page of a report."""
        drawn = scoring_of(self).drawn
        figure, axes = _new_figure(self, drawn, shown=False)
        _draw(self, drawn, axes)
        return [
            *(
                page.paragraph(words, "verdict" if k == 1 else "")
                for k, words in enumerate(_verdict(self))
            ),
            page.picture(figures.as_svg(figure), "Scores by subgroup with intervals."),
            page.table(_header(self), _rows(self)),
            *(page.paragraph(remark, "note") for remark in _remarks(self)),
        ]


def _verdict(audit: AuditPage) -> list[str]:
    """Return what can be said of the gaps, and what cannot."""
    if not audit.n_gaps:
        return ["No two subgroups are large enough to be compared: nothing can be said."]
    seen = _distinct(audit)
    found = [item for item in seen if item[2].excludes_zero]
    sure = [item for item in found if item[2].adjusted <= 1 - audit.confidence]
    leads = [item for item in found if item not in sure]
    by_chance = audit.n_gaps * (1 - audit.confidence)
    looked = (
        f"{audit.n_gaps} gaps between a subgroup and all other rows were looked at; the intervals "
        f"of {len(found)} exclude zero, and about {by_chance:.1f} would by chance alone."
    )
    words = [looked]
    if sure:
        words.append(f"Beyond chance (Holm's correction): {_listed(sure)}.")
    else:
        primary = scoring_of(audit).primary
        widest = max(seen, key=lambda x: x[2].high - x[2].low if x[1] == primary else 0.0)
        words.append(
            "None is beyond chance after Holm's correction. That is no proof of equality: "
            f"the interval for {_named(widest)} goes from {_signed(widest[2].low)} to "
            f"{_signed(widest[2].high)}."
        )
    if leads:
        words.append(f"Leads rather than findings: {_listed(leads)}.")
    return words


def _distinct(audit: AuditPage) -> list[tuple[Subgroup, str, Gap]]:
    """Return every gap once: two halves have the same one."""
    seen, found = set(), []
    for part in audit.subgroups:
        for name, gap in part.gaps.items():
            key = part.factor, name, round(abs(gap.estimate), 12), round(gap.high - gap.low, 12)
            if key not in seen:
                seen.add(key)
                found.append((part, name, gap))
    return found


def _named(item: tuple[Subgroup, str, Gap]) -> str:
    part, name, _ = item
    return f"{score_label(name)} in {part.factor} = {part.level}"


def _listed(items: Sequence[tuple[Subgroup, str, Gap]]) -> str:
    ranked = sorted(items, key=lambda item: item[2].p_value)
    shown = [
        f"{_named(item)} {_signed(item[2].estimate)} ({_signed(item[2].low)} to "
        f"{_signed(item[2].high)})"
        for item in ranked[:_MOST_NAMED]
    ]
    more = len(ranked) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + show_number(value)


def _size(audit: AuditPage) -> str:
    unit = f" of {audit.n_groups} patients" if audit.is_grouped else ""
    return f"{audit.n_rows} rows{unit}"


def _header(audit: AuditPage) -> list[str]:
    return ["subgroup", "rows", *(score_label(name) for name in scoring_of(audit).audited)]


def _rows(audit: AuditPage) -> list[list[str]]:
    names = scoring_of(audit).audited
    rows = [["all", str(audit.n_rows), *(_cell(audit.overall[k]) for k in names)]]
    for part in audit.subgroups:
        n_rows = str(part.n_rows)
        if part.n_rows is None:
            too_few = part.refused == f"under {FEWEST}"
            n_rows = part.refused if too_few else f"{FEWEST} or more"
        cells = ["-"] * len(names)
        if part.refused and part.refused != n_rows:
            cells[0] = part.refused
        elif not part.refused:
            cells = [_cell(part.scores[k], part.gaps.get(k)) for k in names]
        rows.append([f"{part.factor} = {part.level}", n_rows, *cells])
    return rows


def _cell(score: Interval, gap: Gap | None = None) -> str:
    star = "*" if gap is not None and gap.excludes_zero else ""
    return f"{show_number(score.estimate)}{star} ({show_interval(score)})"


def _remarks(audit: AuditPage) -> list[str]:
    unit = "patients" if audit.is_grouped else "rows (no groups were given)"
    drawn = (
        f"Intervals: {100 * audit.confidence:g} %, percentiles of {audit.n_bootstrap} bootstrap "
        f"replicates of {unit}. A star: the interval of the gap to all other rows excludes zero."
    )
    remarks = [drawn]
    if audit.threshold is not None:
        remarks.append(f"Threshold {audit.threshold:g}. Net benefit follows the prevalence.")
    if any(part.refused for part in audit.subgroups):
        remarks.append(f"Subgroups with under {FEWEST} rows, patients or cases are not scored.")
    return remarks


def _new_figure(
    audit: AuditPage, names: Sequence[str], *, shown: bool
) -> tuple[Figure, list[Axes]]:
    height = 1.4 + 0.28 * (len(_lines(audit)) + 1)
    width = max(2.2, figures.room_for(_ticks(audit))) + 3.4 * len(names)
    return figures.new_axes((width, height), 1, len(names), shown=shown, sharey=True)


def _lines(audit: AuditPage) -> list[Subgroup]:
    return [part for part in audit.subgroups if part.scores]


def _ticks(audit: AuditPage) -> list[str]:
    """Return the names of the lines, that of all rows first."""
    parts = _lines(audit)
    levels = figures.tick_names([p.level for p in parts], 26)
    factors = [figures.tick_names([p.factor], 22)[0] for p in parts]
    sizes = [f" ({p.n_rows})" if p.n_rows else "" for p in parts]
    lines = zip(factors, levels, sizes, strict=True)
    return [f"all ({audit.n_rows})", *(f"{factor} = {level}{n}" for factor, level, n in lines)]


def _draw(audit: AuditPage, names: Sequence[str], axes: Sequence[Axes]) -> None:
    parts = _lines(audit)
    places = -np.arange(1, len(parts) + 1, dtype=np.float64)
    factors = [part.factor for part in parts]
    for name, axis in zip(names, axes, strict=True):
        whole = audit.overall[name]
        if np.isfinite(whole.low):
            axis.axvspan(whole.low, whole.high, color=colours.GREY, alpha=0.15, lw=0)
        axis.axvline(whole.estimate, color=colours.GREY, lw=1, ls="--")
        info = score_info(name)
        if info.better == "ideal":
            axis.axvline(info.ideal, color="black", lw=0.8, ls=":")
        _draw_line(axis, 0.0, whole, differs=False, colour="black")
        for place, part in zip(places, parts, strict=True):
            gap = part.gaps.get(name)
            differs = gap is not None and gap.excludes_zero
            colour = colours.RED if differs else colours.BLUE
            _draw_line(axis, place, part.scores[name], differs=differs, colour=colour)
        for place, a, b in zip(places, factors, factors[1:], strict=False):
            if a != b:
                axis.axhline(place - 0.5, color=colours.GREY, lw=0.5)
        axis.set(title=score_label(name), ylim=(-len(parts) - 0.7, 0.7))
    axes[0].set_yticks([0.0, *places], _ticks(audit))
    kinds = (
        ("o", colours.BLUE, "no gap seen"),
        ("D", colours.RED, "gap to the rest excludes zero"),
    )
    for marker, colour, text in kinds:
        axes[-1].plot([], [], marker=marker, color=colour, label=text)
    axes[-1].legend(
        loc="upper right", bbox_to_anchor=(1.0, -0.12), ncols=2, frameon=False, fontsize="small"
    )


def _draw_line(axis: Axes, place: float, score: Interval, *, differs: bool, colour: str) -> None:
    if np.isfinite(score.low):
        axis.plot([score.low, score.high], [place, place], color=colour, lw=1.6)
    axis.plot(
        [score.estimate], [place], marker="D" if differs else "o", color=colour, ms=5, ls="none"
    )
