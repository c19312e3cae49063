"""What an audit of a model's privacy found, in a terminal, on a page and as curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._labels import show_interval, show_number
from asfusion.evaluation.intervals import Interval
from asfusion.federated.privacy import PrivacyStatement
from asfusion.show import colours, figures, page

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LEVELS = (0.01, 0.001)  # false positives, as shares of rows that were not learned from
_HEADER = ["attack", "on", "AUC", "interval", "found at 1 % FPR", "found at 0.1 % FPR"]
_SEEN = 0.05  # above 0.5: what an attack has to reach on the control
_ENOUGH = 10  # rows that a level of false positives has to be made of
_NOTE = (
    "0.5 is a guess. An attack that fails is no proof: another may succeed. Rows found at few "
    "false positives are what an attacker can be sure of."
)


@dataclass(frozen=True, eq=False)
class Attack:
    """One attack on one model.

    Parameters
    ----------
    name : {"loss", "LiRA"}
        How rows were told apart.
    of : {"model", "control"}
        Which model was attacked.
    auc : Interval
        Area under the curve; 0.5 is a guess.
    found : mapping of float to float
        Share of learned rows that are found, by the share of others called learned by mistake.
    score_in, score_out : ndarray
        Evidence for each row that was learned from, and of each that was not; higher is more.
    """

    name: str
    of: str
    auc: Interval
    found: Mapping[float, float]
    score_in: NDArray[np.float64]
    score_out: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class PrivacyAudit(page.Page):
    """How well rows that a model learned from can be told from others.

    Parameters
    ----------
    attacks_ : tuple of Attack
        Those on the model, then those on the control.
    n_shadows : int
        Models that were fitted on halves.
    confidence : float
        Coverage that intervals aim at.
    privacy_ : mapping, optional
        What the model promised, if it learned by private steps.

    Examples
    --------
    >>> import asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(80, modalities=["labs"], random_state=0)
    >>> X, y = cohort.X, cohort.y
    >>> model = af.EarlyFusionClassifier({"labs": af.TabularEncoder(["age", "crp"])}, verbose=0)
    >>> audit = af.federated.privacy_audit(
    ...     model.fit(X[:40], y[:40]), X[:40], y[:40], X[40:], y[40:], n_shadows=4, verbose=0
    ... )
    >>> audit.sees_leaks
    True
    """

    attacks_: tuple[Attack, ...]
    n_shadows: int
    confidence: float
    privacy_: Mapping[str, Any] | None = None

    @property
    def auc(self) -> float:
        """The larger area of the attacks on the model."""
        return self._best("model")

    @property
    def control_auc(self) -> float:
        """The larger area of the attacks on the control; NaN without one."""
        return self._best("control")

    @property
    def sees_leaks(self) -> bool:
        """Whether an attack told the rows of the control apart, so that the audit can be read."""
        lows = [one.auc.low for one in self.attacks_ if one.of == "control"]
        sure = any(np.isnan(low) or low > 0.5 for low in lows)  # no limits: a perfect order
        return bool(sure and self.control_auc > 0.5 + _SEEN)

    @property
    def verdict(self) -> str:
        """What was found, in sentences."""
        if np.isnan(self.control_auc):
            return f"Attacks reach an AUC of {show_number(self.auc)}; no control shows what it is."
        if not self.sees_leaks:
            return (
                f"The attacks do not see an overfitted model (AUC {show_number(self.control_auc)}):"
                " this audit says nothing of the model. Take more rows or shadow models."
            )
        ratio = (self.auc - 0.5) / (self.control_auc - 0.5)
        return (
            f"Attacks reach an AUC of {show_number(self.auc)} on the model and of "
            f"{show_number(self.control_auc)} on an overfitted one of the same rows: "
            f"{max(0.0, ratio):.0%} of what that betrays beyond a guess."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per attack and model.

        Returns
        -------
        DataFrame
            Columns ``attack``, ``of``, ``auc``, ``low``, ``high``, ``found_at_0.01``,
            ``found_at_0.001``.
        """
        import pandas as pd

        rows = [
            {
                "attack": one.name, "of": one.of, "auc": one.auc.estimate, "low": one.auc.low,
                "high": one.auc.high,
                **{f"found_at_{level:g}": share for level, share in one.found.items()},
            }
            for one in self.attacks_
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def plot(self, axes: Any = None) -> Axes:
        """Draw how many learned rows are found by how many others are called so, in logs.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where to draw. A new figure by default.

        Returns
        -------
        matplotlib Axes
            The axes drawn into.
        """
        if axes is None:
            axis = figures.new_axes((4.6, 4.2), shown=True)[1][0]
        else:
            axis = figures.check_axes(axes, 1)[0]
        _draw(self.attacks_, axis)
        return axis

    def _best(self, of: str) -> float:
        areas = [one.auc.estimate for one in self.attacks_ if one.of == of]
        return max(areas, default=float("nan"))

    def _title(self) -> str:
        return "asfusion privacy audit"

    def _text(self) -> str:
        table = page.text_table(_HEADER, [_row(one) for one in self.attacks_])
        return "\n".join([self._head(), table, "", self.verdict, *self._notes()])

    def _body(self) -> list[str]:
        figure, axes = figures.new_axes((4.6, 4.2), shown=False)
        _draw(self.attacks_, axes[0])
        return [
            page.heading("Privacy audit", 1),
            page.paragraph(f"{self._head()}."),
            page.paragraph(self.verdict, "verdict"),
            page.table(_HEADER, [_row(one) for one in self.attacks_]),
            page.picture(
                figures.as_svg(figure), "Learned rows found by rows called so by mistake."
            ),
            *[page.paragraph(note) for note in self._notes()],
            page.paragraph(page.RESEARCH_TOOL, "note"),
        ]

    def _head(self) -> str:
        one = self.attacks_[0]
        return (
            f"{len(one.score_in)} rows learned from, {len(one.score_out)} others, "
            f"{self.n_shadows} shadow models"
        )

    def _notes(self) -> list[str]:
        notes = [_NOTE]
        n_out = len(self.attacks_[0].score_out)
        few = [f"{level:.1%}" for level in LEVELS if level * n_out < _ENOUGH]
        if few:
            notes.append(
                f"With {n_out} rows that were not learned from, what is found at {', '.join(few)} "
                "false positives hangs on a few of them."
            )
        if self.privacy_ is not None:
            statement = PrivacyStatement(self.privacy_)
            notes += [f"Differential privacy: {statement.promise}", statement.gaps]
        return notes


def _row(one: Attack) -> list[str]:
    shares = [f"{share:.1%}" for share in one.found.values()]
    return [one.name, one.of, show_number(one.auc.estimate), show_interval(one.auc), *shares]


def _draw(attacks: tuple[Attack, ...], axis: Any) -> None:
    least = 1.0 / max(len(attacks[0].score_in), len(attacks[0].score_out))
    axis.plot([least, 1], [least, 1], color=colours.GREY, linewidth=1, linestyle=":")
    hues = {"model": colours.BLUE, "control": colours.ORANGE}
    for one in attacks:
        cuts = np.unique(np.concatenate([one.score_in, one.score_out]))[::-1]
        wrong, right = (
            1.0 - np.searchsorted(np.sort(side), cuts, side="left") / len(side)
            for side in (one.score_out, one.score_in)
        )
        style = "-" if one.name == "LiRA" else "--"
        axis.plot(
            np.maximum(wrong, least),
            np.maximum(right, least),
            color=hues[one.of],
            linestyle=style,
            label=f"{one.name}, {one.of}",
        )
    axis.set(
        xscale="log", yscale="log", xlim=(least, 1.0), ylim=(least, 1.0),
        xlabel="not learned from, but called so", ylabel="learned from, and found",
    )  # fmt: skip
    axis.legend(frameon=False, loc="lower right")
