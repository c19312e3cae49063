"""A comparison as it is seen: in a terminal, on a page, in a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from asfusion.comparison._standings import (
    PLAIN_MEAN,
    PRESENCE,
    TABLES_BOOSTED,
    TABLES_LINEAR,
    Standing,
)
from asfusion.evaluation._labels import score_info, score_label, show_interval, show_number
from asfusion.evaluation.intervals import Interval
from asfusion.show import colours, figures, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = {"fusion": "fusion", "single": "one modality", "baseline": "baseline"}
_MARKS = {
    "fusion": ("o", colours.BLUE),
    "single": ("s", colours.RED),
    "baseline": ("^", colours.GREY),
}


class BoardPage(page.Page):
    """Shows a board."""

    primary: str
    standings: tuple[Standing, ...]
    n_rows: int
    n_groups: int
    is_grouped: bool
    n_folds: int
    seeds: tuple[int, ...]
    confidence: float
    n_bootstrap: int
    over_tables: Interval | None
    sites: tuple[str, ...]
    version: str

    @property
    def best_fusion(self) -> Standing:
        """The best fused model, plain ones aside."""
        return next(s for s in self.standings if s.kind == "fusion" and not s.is_plain)

    @property
    def best_single(self) -> Standing:
        """The best model of a single modality, to which all others are compared."""
        return next(s for s in self.standings if s.kind == "single")

    @property
    def best_tables(self) -> Standing | None:
        """The better model of the tables only; None without a table."""
        names = (TABLES_BOOSTED, TABLES_LINEAR)
        return next((s for s in self.standings if s.name in names), None)

    @property
    def verdict(self) -> str:
        """Whether fusion helped on these rows, in words."""
        return " ".join(_verdict(self))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each model's score with its interval, the best on top.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            The axes drawn into.
        """
        if ax is None:
            _, (ax,) = figures.new_axes(_figure_size(self), shown=True)
        _draw(self, ax)
        return ax

    def _title(self) -> str:
        return "asfusion comparison"

    def _text(self) -> str:
        lines = [f"Comparison on {_rows(self)}", page.text_table(_header(self), _table(self))]
        return "\n".join([*lines, *_remarks(self), "", *_verdict(self)])

    def _body(self) -> list[str]:
        figure, (axis,) = figures.new_axes(_figure_size(self), shown=False)
        _draw(self, axis)
        described = f"{_score_name(self)} of each model with its interval."
        made = f"Made by asfusion {self.version}. {page.RESEARCH_TOOL}"
        return [
            page.heading("Comparison", 1),
            page.paragraph(f"On {_rows(self)}."),
            page.paragraph(self.verdict, "verdict"),
            page.picture(figures.as_svg(figure), described),
            page.table(_header(self), _table(self)),
            *(page.paragraph(remark, "note") for remark in [*_remarks(self), made]),
        ]


def _score_name(board: BoardPage) -> str:
    """Return the score by which models are ranked, and of what it is the mean."""
    return score_label(board.primary) + " within sites" * bool(board.sites)


def _verdict(board: BoardPage) -> list[str]:
    """Return sentences that say whether fusion helped."""
    return [
        _on_fusion(board),
        *_on_tables(board),
        *_on_choice(board),
        *_on_plain(board),
        *_on_presence(board),
    ]


def _on_fusion(board: BoardPage) -> str:
    fusion, single = board.best_fusion, board.best_single
    difference = fusion.difference
    names = f"the best fusion ({fusion.name!r}) and the best single modality ({single.name!r})"
    if difference is None or not np.isfinite(difference.low):
        return f"Too few patients to compare {names}."
    gain, loss = _gain_and_loss(board, difference)
    shift = _shift(board, difference)
    if gain:
        return (
            f"Fusion helps: {fusion.name!r} is better than the best single modality, "
            f"{single.name!r} ({shift})."
        )
    if loss:
        return (
            f"Fusion does not help: even {fusion.name!r}, the best, is worse than {single.name!r} "
            f"alone ({shift})."
        )
    return (
        f"Fusion does not help as far as these rows can tell: {names} do not differ clearly "
        f"({shift}). Prefer the single modality, or find more patients."
    )


def _on_tables(board: BoardPage) -> list[str]:
    """Return that the tables by themselves do as well, unless fusion is clearly better."""
    fusion, tables, difference = board.best_fusion, board.best_tables, board.over_tables
    if tables is None or difference is None or not np.isfinite(difference.low):
        return []
    gain, loss = _gain_and_loss(board, difference)
    if gain:
        return []
    begin = "But fusion does not" if _helps(board) else "Nor does fusion"
    if not loss:
        begin += " clearly"
    rival = f"{fusion.name!r} against {tables.name!r}: {_shift(board, difference)}"
    return [f"{begin} beat the tables by themselves ({rival})."]


def _helps(board: BoardPage) -> bool:
    """Return whether the best fusion is clearly better than the best single modality."""
    difference = board.best_fusion.difference
    return difference is not None and _gain_and_loss(board, difference)[0]


def _gain_and_loss(board: BoardPage, difference: Interval) -> tuple[bool, bool]:
    """Return whether the first of two models is clearly better, and clearly worse."""
    gain, loss = difference.low > 0, difference.high < 0
    return (gain, loss) if score_info(board.primary).better == "high" else (loss, gain)


def _shift(board: BoardPage, difference: Interval) -> str:
    return (
        f"{_score_name(board)} {difference.estimate:+.3f}, "
        f"{100 * board.confidence:g} % interval {show_interval(difference, sign=True)}"
    )


def _on_choice(board: BoardPage) -> list[str]:
    """Return that the best of several was chosen with a look at these rows."""
    count = sum(s.kind == "fusion" and not s.is_plain for s in board.standings)
    if count < 2:
        return []
    best = f"{board.best_fusion.name!r} is the best of {count} fusions tried on the same rows"
    return [f"{best}, which flatters it a little."]


def _on_plain(board: BoardPage) -> list[str]:
    """Return whether averaging plain linear models does as well."""
    plain = next((s for s in board.standings if s.name == PLAIN_MEAN), None)
    if plain is None or not _is_ahead(board, plain, board.best_fusion):
        return []
    score = f"{_score_name(board)} {show_number(plain.score.estimate)}"
    return [f"The plain mean of one linear model per modality leads all fusions ({score})."]


def _is_ahead(board: BoardPage, first: Standing, second: Standing) -> bool:
    return board.standings.index(first) < board.standings.index(second)


def _on_presence(board: BoardPage) -> list[str]:
    """Return a warning when missingness itself predicts the target."""
    presence = next((s for s in board.standings if s.name == PRESENCE), None)
    if presence is None or board.primary != "auc" or not presence.score.low > 0.5:
        return []
    score = show_number(presence.score.estimate)
    score = f"{_score_name(board)} {score}, {show_interval(presence.score)}"
    warning = f"Which modalities a row has predicts the target by itself ({score}): ask why "
    return [warning + "before you trust any model here."]


def _figure_size(board: BoardPage) -> tuple[float, float]:
    """Return width and height of the picture, in inches."""
    width = 6.0 + max(2.0, figures.room_for(_ticks(board)))
    return width, 1.3 + 0.34 * len(board.standings)


def _draw(board: BoardPage, axis: Axes) -> None:
    """Draw scores with intervals, one line per model."""
    label = _score_name(board)
    single = board.best_single
    axis.axvline(single.score.estimate, color=colours.RED, lw=1, ls="--", zorder=0)
    for height, standing in enumerate(board.standings):
        marker, colour = _MARKS[standing.kind]
        axis.errorbar(
            standing.score.estimate,
            height,
            xerr=_arms(standing),
            marker=marker,
            color=colour,
            mfc="white" if standing.is_plain else colour,
            capsize=2.5,
            lw=1.5,
        )
    axis.set_yticks(range(len(board.standings)), _ticks(board))
    axis.set_ylim(len(board.standings) - 0.4, -0.6)
    interval = f"{100 * board.confidence:g} % interval, resampling "
    interval += "patients" if board.is_grouped else "rows"
    better = "higher" if score_info(board.primary).better == "high" else "lower"
    axis.set(xlabel=f"{label} ({interval}); {better} is better", title="Out-of-fold comparison")
    axis.grid(axis="x", color="#dddddd", lw=0.6)
    axis.set_axisbelow(True)
    # Outside: intervals of poor models reach anywhere.
    handles = _legend(board)
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _legend(board: BoardPage) -> list[Any]:
    from matplotlib.lines import Line2D

    kinds = dict.fromkeys(standing.kind for standing in board.standings)
    handles = [
        Line2D([], [], marker=_MARKS[kind][0], color=_MARKS[kind][1], label=_SHOWN[kind])
        for kind in kinds
    ]
    if any(standing.is_plain for standing in board.standings):
        style: dict[str, Any] = {"marker": "o", "ls": "none", "mfc": "white", "color": "black"}
        handles.append(Line2D([], [], **style, label="open: plain linear"))
    return handles


def _ticks(board: BoardPage) -> list[str]:
    names = figures.tick_names([standing.name for standing in board.standings], 40)
    best = board.standings.index(board.best_single)
    names[best] += " (best single)"
    return names


def _arms(standing: Standing) -> Any:
    score = standing.score
    if not np.isfinite(score.low):
        return None
    arms = [[score.estimate - score.low], [score.high - score.estimate]]
    return np.clip(arms, 0, None)  # a percentile interval may miss the estimate by a hair


def _rows(board: BoardPage) -> str:
    unit = f" of {board.n_groups} patients" if board.is_grouped else ""
    seeds = f", {len(board.seeds)} seeds" if len(board.seeds) > 1 else ""
    folds = f"{board.n_folds} fold{'s' * (board.n_folds > 1)}"
    if board.sites:
        folds = f"each of {board.n_folds} sites judged by models of the others"
    return f"{board.n_rows} rows{unit}, {folds}{seeds}"


def _header(board: BoardPage) -> list[str]:
    interval = f"{100 * board.confidence:g} % interval"
    header = ["model", "sees", _score_name(board), interval, "to best single", interval]
    if board.sites:
        header.append("all rows pooled")
    if len(board.seeds) > 1:
        header.append("one fit (SD)")
    return header


def _table(board: BoardPage) -> list[list[str]]:
    rows = []
    for standing in board.standings:
        score, difference = standing.score, standing.difference
        row = [standing.name, _SHOWN[standing.kind]]
        row += [show_number(score.estimate), show_interval(score)]
        if difference is None:
            row += ["best single", ""]
        else:
            row += [f"{difference.estimate:+.3f}", show_interval(difference, sign=True)]
        if standing.pooled is not None:
            row.append(show_number(standing.pooled.estimate))
        if len(board.seeds) > 1:
            mean, spread = np.mean(standing.seed_scores), np.std(standing.seed_scores, ddof=1)
            row.append(f"{show_number(float(mean))} ({spread:.3f})")
        rows.append(row)
    return rows


def _remarks(board: BoardPage) -> list[str]:
    unit = "patients" if board.is_grouped else "rows (no groups were given)"
    unit += ", drawn within each site" * bool(board.sites)
    drawn = f"Intervals: percentiles of {board.n_bootstrap} bootstrap replicates of {unit}"
    remarks = [f"{drawn}; differences are paired."]
    if board.sites:
        remarks.append(
            f"{_score_name(board)} is the mean over sites. To pool all rows compares patients of "
            "different sites, who were judged by different models."
        )
    if len(board.seeds) > 1:
        remarks.append(
            "Scores are of predictions averaged over seeds; 'one fit' is what one seed reaches."
        )
    return remarks
