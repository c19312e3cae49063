"""A stress test as it is seen: in a terminal, on a page, in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._inputs import Task
from asfusion.evaluation._labels import score_info, score_label, show_interval, show_number
from asfusion.evaluation.intervals import Interval
from asfusion.evaluation.registry import scoring_of
from asfusion.show import colours, figures, page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Level(Protocol):
    """What is drawn of one severity."""

    @property
    def severity(self) -> int:
        """0 is the films as they are."""
        ...

    @property
    def scores(self) -> Mapping[str, Interval]:
        """Scores with intervals."""
        ...

    @property
    def changes(self) -> Mapping[str, Interval]:
        """Scores minus those of the films as they are."""
        ...


class StressPage(page.Page):
    """Shows a stress test."""

    task: Task
    by: str
    column: str
    n_rows: int
    n_groups: int
    is_grouped: bool
    confidence: float
    n_bootstrap: int
    levels: tuple[Any, ...]

    @property
    def verdict(self) -> str:
        """What the films' damage costs, in sentences."""
        return _verdict(self)

    def plot(self, scores: Any = None, axes: Any = None) -> NDArray[np.object_]:
        """Draw scores and their intervals by severity.

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
        given = (
            _new_figure(names, shown=True)[1]
            if axes is None
            else figures.check_axes(axes, len(names))
        )
        _draw(self, names, given)
        return np.asarray(given, dtype=object)

    def _title(self) -> str:
        return "asfusion stress test"

    def _text(self) -> str:
        return "\n".join(
            [
                _head(self),
                page.text_table(_header(self), _rows(self)),
                "",
                _verdict(self),
                _remark(self),
            ]
        )

    def _body(self) -> list[str]:
        drawn = list(scoring_of(self).drawn)
        figure, axes = _new_figure(drawn, shown=False)
        _draw(self, drawn, axes)
        return [
            page.heading("Stress test", 1),
            page.paragraph(f"{_head(self)}."),
            page.paragraph(_verdict(self), "verdict"),
            page.picture(figures.as_svg(figure), "Scores by severity with intervals."),
            page.table(_header(self), _rows(self)),
            page.paragraph(_remark(self), "note"),
            page.paragraph(page.RESEARCH_TOOL, "note"),
        ]


def _head(test: StressPage) -> str:
    of = f" of {test.n_groups} patients" if test.is_grouped else ""
    return f"Films of column {test.column!r} by {test.by}, {test.n_rows} rows{of}"


def _verdict(test: StressPage) -> str:
    """Return what the worst severity costs, and from which one on it is clear."""
    name = scoring_of(test).primary
    clean, worst = test.levels[0].scores[name], test.levels[-1]
    change = worst.changes[name]
    told = (
        f"{score_label(name)} is {show_number(clean.estimate)} on films as they are and "
        f"{show_number(worst.scores[name].estimate)} at severity {worst.severity}: a change of "
        f"{figures.signed(round(change.estimate, 3))} ({show_interval(change, sign=True)})."
    )
    clear = [level.severity for level in test.levels[1:] if _is_worse(level.changes[name], name)]
    if not clear:
        return f"{told} At no severity is it clearly worse, which is no proof that it is not."
    return f"{told} It is clearly worse from severity {clear[0]} on."


def _is_worse(change: Interval, name: str) -> bool:
    return change.high < 0 if score_info(name).better == "high" else change.low > 0


def _header(test: StressPage) -> list[str]:
    return ["severity", *(score_label(name) for name in scoring_of(test).audited)]


def _rows(test: StressPage) -> list[list[str]]:
    names = scoring_of(test).audited
    return [
        [
            str(level.severity) if level.severity else "as they are",
            *(_cell(level.scores[name], level.changes.get(name)) for name in names),
        ]
        for level in test.levels
    ]


def _cell(score: Interval, change: Interval | None) -> str:
    star = "*" if change is not None and (change.low > 0 or change.high < 0) else ""
    return f"{show_number(score.estimate)}{star} ({show_interval(score)})"


def _remark(test: StressPage) -> str:
    unit = "patients" if test.is_grouped else "rows (no groups were given)"
    return (
        f"Intervals: {100 * test.confidence:g} %, percentiles of {test.n_bootstrap} bootstrap "
        f"replicates of {unit}. A star: the interval of the paired change from films as they are "
        "excludes zero. Severities are those of a model of damage, not of a clinic."
    )


def _new_figure(names: Sequence[str], *, shown: bool) -> tuple[Figure, list[Axes]]:
    return figures.new_axes((3.8 * len(names), 3.0), 1, len(names), shown=shown)


def _draw(test: StressPage, names: Sequence[str], axes: Sequence[Axes]) -> None:
    severities = [level.severity for level in test.levels]
    for name, axis in zip(names, axes, strict=True):
        scores = [level.scores[name] for level in test.levels]
        info = score_info(name)
        if info.better == "ideal":
            axis.axhline(info.ideal, color="black", lw=0.8, ls=":")
        low, high = [s.low for s in scores], [s.high for s in scores]
        axis.fill_between(severities, low, high, color=colours.BLUE, alpha=0.2, lw=0)
        axis.plot(severities, [s.estimate for s in scores], color=colours.BLUE, marker="o", ms=5)
        axis.axhline(scores[0].estimate, color=colours.GREY, lw=1, ls="--")
        axis.set(xlabel=f"severity ({figures.literal(test.by)})", title=score_label(name))
        axis.set_xticks(severities)
