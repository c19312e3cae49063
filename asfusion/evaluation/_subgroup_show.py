"""An audit of subgroups in words and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion.evaluation._subgroup_scores import SHOWN, Gap
from asfusion.evaluation._words import FEWEST, score_label, show_interval, show_number
from asfusion.evaluation.intervals import Interval
from asfusion.exceptions import ConfigurationError
from asfusion.show import colours, figures
from asfusion.show import page as _html

if TYPE_CHECKING:
    from asfusion.evaluation.subgroups import Subgroup, SubgroupAudit

_LABELS = {"net_benefit": "Net benefit", "mean_error": "Mean error"}
_IDEAL = {"calibration_intercept": 0.0, "calibration_slope": 1.0, "mean_error": 0.0}
_DRAWN = {
    "binary": ("auc", "calibration_intercept"),
    "multiclass": ("auc", "brier"),
    "regression": ("mae", "mean_error"),
}
_MOST_NAMED = 8


def label(name: str) -> str:
    """Return what a score of an audit is called."""
    return _LABELS.get(name) or score_label(name)


def verdict(audit: SubgroupAudit) -> list[str]:
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
        widest = max(seen, key=lambda item: item[2].high - item[2].low if _is_auc(item) else 0.0)
        words.append(
            "None is beyond chance after Holm's correction. That is no proof of equality: "
            f"the interval for {_named(widest)} goes from {_signed(widest[2].low)} to "
            f"{_signed(widest[2].high)}."
        )
    if leads:
        words.append(f"Leads rather than findings: {_listed(leads)}.")
    return words


def as_text(audit: SubgroupAudit) -> str:
    """Return an audit for the terminal."""
    lines = [f"Audit of {_size(audit)}", _html.text_table(_header(audit), _rows(audit)), ""]
    return "\n".join([*lines, *verdict(audit), *_remarks(audit)])


def html_parts(audit: SubgroupAudit) -> list[str]:
    """Return an audit as pieces of a page."""
    figure, axes = _new_figure(audit, _DRAWN[audit.task], shown=False)
    _draw(audit, _DRAWN[audit.task], axes)
    return [
        *(
            _html.paragraph(words, "verdict" if k == 1 else "")
            for k, words in enumerate(verdict(audit))
        ),
        _html.picture(figures.as_svg(figure), "Scores by subgroup with intervals."),
        _html.table(_header(audit), _rows(audit)),
        *(_html.paragraph(remark, "note") for remark in _remarks(audit)),
    ]


def as_html(audit: SubgroupAudit) -> str:
    """Return an audit as HTML, to stand in a notebook."""
    heads = [_html.heading("Subgroups", 1), _html.paragraph(f"Of {_size(audit)}.")]
    note = _html.paragraph(_html.RESEARCH_TOOL, "note")
    return _html.fragment([*heads, *html_parts(audit), note])


def plot(audit: SubgroupAudit, scores: Any, axes: Any) -> NDArray[np.object_]:
    """Draw intervals of subgroups, one axis per score."""
    names = list(_DRAWN[audit.task]) if scores is None else list(np.atleast_1d(scores))
    unknown = [str(name) for name in names if name not in SHOWN[audit.task]]
    if unknown or not names:
        msg = f"scores: expected some of {quoted(SHOWN[audit.task], 9)}, got {quoted(unknown)}."
        raise ConfigurationError(msg)
    if axes is None:
        _, given = _new_figure(audit, names, shown=True)
    else:
        given = figures.check_axes(axes, len(names))
    _draw(audit, names, given)
    return np.asarray(given, dtype=object)


def _distinct(audit: SubgroupAudit) -> list[tuple[Subgroup, str, Gap]]:
    """Return every gap once: two halves have the same one."""
    seen, found = set(), []
    for part in audit.subgroups:
        for name, gap in part.gaps.items():
            key = part.factor, name, round(abs(gap.estimate), 12), round(gap.high - gap.low, 12)
            if key not in seen:
                seen.add(key)
                found.append((part, name, gap))
    return found


def _is_auc(item: tuple[Subgroup, str, Gap]) -> bool:
    return item[1] in ("auc", "mae")


def _named(item: tuple[Subgroup, str, Gap]) -> str:
    part, name, _ = item
    return f"{label(name)} in {part.factor} = {part.level}"


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


def _size(audit: SubgroupAudit) -> str:
    unit = f" of {audit.n_groups} patients" if audit.is_grouped else ""
    return f"{audit.n_rows} rows{unit}"


def _header(audit: SubgroupAudit) -> list[str]:
    return ["subgroup", "rows", *(label(name) for name in SHOWN[audit.task])]


def _rows(audit: SubgroupAudit) -> list[list[str]]:
    rows = [["all", str(audit.n_rows), *(_cell(audit.overall[k]) for k in SHOWN[audit.task])]]
    for part in audit.subgroups:
        n_rows = str(part.n_rows)
        if part.n_rows is None:
            too_few = part.refused == f"under {FEWEST}"
            n_rows = part.refused if too_few else f"{FEWEST} or more"
        cells = ["-"] * len(SHOWN[audit.task])
        if part.refused and part.refused != n_rows:
            cells[0] = part.refused
        elif not part.refused:
            cells = [_cell(part.scores[k], part.gaps.get(k)) for k in SHOWN[audit.task]]
        rows.append([f"{part.factor} = {part.level}", n_rows, *cells])
    return rows


def _cell(score: Interval, gap: Gap | None = None) -> str:
    star = "*" if gap is not None and gap.excludes_zero else ""
    return f"{show_number(score.estimate)}{star} ({show_interval(score)})"


def _remarks(audit: SubgroupAudit) -> list[str]:
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
    audit: SubgroupAudit, names: Sequence[str], *, shown: bool
) -> tuple[Any, list[Any]]:
    height = 1.4 + 0.28 * (len(_lines(audit)) + 1)
    width = max(2.2, figures.room_for(_ticks(audit))) + 3.4 * len(names)
    options: dict[str, Any] = {"figsize": (width, height), "layout": "constrained"}
    if shown:
        from matplotlib import pyplot

        figure: Any = pyplot.figure(**options)
    else:
        from matplotlib.figure import Figure

        figure = Figure(**options)
    axes = figure.subplots(1, len(names), squeeze=False, sharey=True)
    return figure, list(axes[0])


def _lines(audit: SubgroupAudit) -> list[Subgroup]:
    return [part for part in audit.subgroups if part.scores]


def _ticks(audit: SubgroupAudit) -> list[str]:
    """Return the names of the lines, that of all rows first."""
    parts = _lines(audit)
    levels = figures.tick_names([p.level for p in parts], 26)
    factors = [figures.tick_names([p.factor], 22)[0] for p in parts]
    sizes = [f" ({p.n_rows})" if p.n_rows else "" for p in parts]
    lines = zip(factors, levels, sizes, strict=True)
    return [f"all ({audit.n_rows})", *(f"{factor} = {level}{n}" for factor, level, n in lines)]


def _draw(audit: SubgroupAudit, names: Sequence[str], axes: Sequence[Any]) -> None:
    parts = _lines(audit)
    places = -np.arange(1, len(parts) + 1, dtype=np.float64)
    factors = [part.factor for part in parts]
    for name, axis in zip(names, axes, strict=True):
        whole = audit.overall[name]
        if np.isfinite(whole.low):
            axis.axvspan(whole.low, whole.high, color=colours.GREY, alpha=0.15, lw=0)
        axis.axvline(whole.estimate, color=colours.GREY, lw=1, ls="--")
        if name in _IDEAL:
            axis.axvline(_IDEAL[name], color="black", lw=0.8, ls=":")
        _draw_line(axis, 0.0, whole, differs=False, colour="black")
        for place, part in zip(places, parts, strict=True):
            gap = part.gaps.get(name)
            differs = gap is not None and gap.excludes_zero
            colour = colours.RED if differs else colours.BLUE
            _draw_line(axis, place, part.scores[name], differs=differs, colour=colour)
        for place, a, b in zip(places, factors, factors[1:], strict=False):
            if a != b:
                axis.axhline(place - 0.5, color=colours.GREY, lw=0.5)
        axis.set(title=label(name), ylim=(-len(parts) - 0.7, 0.7))
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


def _draw_line(axis: Any, place: float, score: Interval, *, differs: bool, colour: str) -> None:
    if np.isfinite(score.low):
        axis.plot([score.low, score.high], [place, place], color=colour, lw=1.6)
    axis.plot(
        [score.estimate], [place], marker="D" if differs else "o", color=colour, ms=5, ls="none"
    )
