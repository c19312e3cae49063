"""A federated training as it is seen: in a terminal, on a page, in a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from asfusion.evaluation._labels import show_number
from asfusion.federated.privacy import PrivacyStatement
from asfusion.show import colours, figures, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEADER = ["site", "rows told of", "first loss", "last loss", "AUC held out", "not counted"]


class RunPage(page.Page):
    """Shows a federated training."""

    model_: Any
    plan_: Any
    rounds_: tuple[Any, ...]
    summary_bytes: Mapping[str, int]
    plan_bytes: int
    site_rows: Mapping[str, int]

    @property
    def verdict(self) -> str:
        """What was reached and what left the sites, in sentences."""
        told = [_reached(self), _left(self)]
        if account := getattr(self.model_, "privacy_", None):
            statement = PrivacyStatement(account)
            told += [f"Differential privacy: {statement.promise}", statement.gaps]
        return " ".join(told)

    def plot(self, axes: Any = None) -> Axes:
        """Draw how sites learned and how well the model did, round by round.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where to draw. A new figure by default.

        Returns
        -------
        matplotlib Axes
            The axes drawn into.
        """
        axis = (
            figures.new_axes((6.0, 3.2), 1, 1, shown=True)[1][0]
            if axes is None
            else figures.check_axes(axes, 1)[0]
        )
        _draw(self, axis)
        return axis

    def _title(self) -> str:
        return "asfusion federated training"

    def _text(self) -> str:
        return "\n".join([_head(self), page.text_table(_HEADER, _rows(self)), "", self.verdict])

    def _body(self) -> list[str]:
        figure, axes = figures.new_axes((6.0, 3.2), 1, 1, shown=False)
        _draw(self, axes[0])
        return [
            page.heading("Federated training", 1),
            page.paragraph(f"{_head(self)}."),
            page.paragraph(self.verdict, "verdict"),
            page.picture(figures.as_svg(figure), "Loss and AUC by round."),
            page.table(_HEADER, _rows(self)),
            page.paragraph(page.RESEARCH_TOOL, "note"),
        ]


def _head(run: RunPage) -> str:
    sites = len(run.summary_bytes)
    return f"{sites} sites, {run.plan_.total.n_rows} rows, {len(run.rounds_)} rounds"


def _reached(run: RunPage) -> str:
    last = run.rounds_[-1].auc
    if np.isnan(last):
        return "Too few rows were held out to judge the model on by counts."
    best = max((one for one in run.rounds_ if one.auc == one.auc), key=lambda one: one.auc)
    told = f"The AUC on rows held out at all sites is {show_number(last)} after the last round"
    return f"{told}; it was highest after round {best.number + 1} ({show_number(best.auc)})."


def _left(run: RunPage) -> str:
    sums = max(run.summary_bytes.values())
    weights = max(size for one in run.rounds_ for size in one.n_bytes.values())
    return (
        f"What left a site: once {_size(sums)} of sums at most, none of fewer than "
        f"{run.plan_.total.least} rows, and {_size(weights)} of weights at most in each round; no "
        "row. Weights can betray that a patient was learned from."
    )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{max(1, round(n_bytes / 1e3))} kB"


def _rows(run: RunPage) -> list[list[str]]:
    first, last = run.rounds_[0], run.rounds_[-1]
    return [
        [
            site,
            str(run.site_rows[site]),
            show_number(first.loss.get(site, np.nan)),
            show_number(last.loss.get(site, np.nan)),
            show_number(last.site_auc.get(site, np.nan)),
            _times(sum(site in one.refused for one in run.rounds_)),
        ]
        for site in run.summary_bytes
    ]


def _times(n: int) -> str:
    return "" if not n else f"{n} round{'s' * (n > 1)}"


def _draw(run: RunPage, axis: Any) -> None:
    numbers = [one.number + 1 for one in run.rounds_]
    for n, site in enumerate(run.summary_bytes):
        losses = [one.loss.get(site, np.nan) for one in run.rounds_]
        label = "loss at a site" if not n else None
        axis.plot(numbers, losses, color=colours.GREY, lw=1, marker=".", label=label)
    axis.set(xlabel="round", ylabel="training loss", xticks=numbers)
    if not np.isnan(run.rounds_[-1].auc):
        other = axis.twinx()
        aucs = [one.auc for one in run.rounds_]
        other.plot(numbers, aucs, color=colours.BLUE, marker="o", ms=4)
        other.set_ylabel("AUC on rows held out", color=colours.BLUE)
    axis.legend(frameon=False, loc="lower left")
