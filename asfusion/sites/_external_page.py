"""An external validation as it is seen: in a terminal, on a page, in a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._labels import show_number
from asfusion.show import colours, figures, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UPDATES = {
    "none": "Nothing has to be updated, as far as these rows can tell.",
    "intercept": "The intercept has to be updated: the mean prediction is off, and no more.",
    "slope": "Intercept and slope have to be updated: predictions are too extreme, or too timid.",
    "refit": (
        "Recalibration is not enough: inputs say more of the outcome here than the prediction "
        "does. The model has to be refitted, or revised, with rows of this place."
    ),
}
_KINDS = {
    "distribution": "distribution",
    "missing": "share missing",
    "prevalence": "prevalence",
    "intercept": "calibration in the large",
    "slope": "calibration slope",
    "discrimination": "AUC",
}
_MOST = 20


class ExternalPage(page.Page):
    """Shows an external validation."""

    n_rows: int
    findings: tuple[Any, ...]
    reference: Any
    new: Any
    update: str | None
    update_p_values: Mapping[str, float]
    has_inputs: bool

    @property
    def verdict(self) -> str:
        """What differs, and what has to be updated, in sentences."""
        found = [f for f in self.findings if f.is_found]
        inputs = [_told(f) for f in found if f.name != "outcome"]
        outcome = [_told(f) for f in found if f.name == "outcome"]
        said = []
        if self.has_inputs:
            said.append(f"Inputs differ: {'; '.join(inputs)}." if inputs else _NO_INPUT)
        if self.new is not None and self.reference is not None:
            said.append(f"Outcome differs: {'; '.join(outcome)}." if outcome else _NO_OUTCOME)
        if self.update is not None:
            said.append(_UPDATES[self.update])
        return " ".join(said)

    def plot(self, axes: Any = None) -> NDArray[np.object_]:
        """Draw by how much inputs are shifted, and how the model does here and there.

        Parameters
        ----------
        axes : array of two matplotlib Axes, optional
            Where to draw. A new figure by default.

        Returns
        -------
        ndarray of matplotlib Axes
            The axes drawn into.

        Raises
        ------
        ConfigurationError
            If `axes` are not two Axes.
        """
        given = _new(self, shown=True)[1] if axes is None else figures.check_axes(axes, 2)
        _draw(self, given)
        return np.asarray(given, dtype=object)

    def _title(self) -> str:
        return "asfusion external validation"

    def _text(self) -> str:
        lines = [_head(self), self.verdict, ""]
        if self._tabled():
            lines += [page.text_table(_HEADER, self._tabled()), ""]
        return "\n".join([*lines, *_remarks(self)])

    def _body(self) -> list[str]:
        figure, axes = _new(self, shown=False)
        _draw(self, axes)
        return [
            page.heading("External validation", 1),
            page.paragraph(f"{_head(self)}."),
            page.paragraph(self.verdict, "verdict"),
            page.picture(
                figures.as_svg(figure), "Shift of inputs, and performance here and there."
            ),
            *([page.table(_HEADER, self._tabled())] if self._tabled() else []),
            *(page.paragraph(text, "note") for text in [*_remarks(self), page.RESEARCH_TOOL]),
        ]

    def _tabled(self) -> list[list[str]]:
        """Return what was found, and all of the outcome."""
        shown = [f for f in self.findings if f.is_found or f.name == "outcome"]
        return [
            [
                f"{f.name}{'*' if f.is_found else ''}",
                _KINDS[f.kind],
                show_number(f.reference),
                show_number(f.new),
                f.unit,
                show_number(f.adjusted),
            ]
            for f in sorted(shown, key=lambda f: (f.name == "outcome", f.adjusted))
        ]


_HEADER = ["", "what", "reference", "here", "unit?", "p, corrected"]
_NO_INPUT = "No input differs from the reference, as far as these rows can tell."
_NO_OUTCOME = "The outcome does not differ from the reference, as far as these rows can tell."


def _told(f: Any) -> str:
    if f.unit:
        return f"{f.name} looks like another unit ({f.unit})"
    return f"{f.name}, {_KINDS[f.kind]} ({show_number(f.reference)} to {show_number(f.new)})"


def _head(found: ExternalPage) -> str:
    told = f"External validation on {found.n_rows} patients, {len(found.findings)} comparisons"
    if found.new is None:
        return told
    o = found.new
    return f"{told}; AUC {o.auc:.3f} (SE {o.auc_error:.3f})"


def _remarks(found: ExternalPage) -> list[str]:
    remarks = [
        "A star: found at 5 % for all comparisons together (Holm, halves for inputs and outcome)."
    ]
    if found.new is not None and found.reference is not None:
        remarks.append(_transport(found.reference, found.new))
    if found.update is not None:
        told = ", ".join(f"{k} {show_number(p)}" for k, p in found.update_p_values.items())
        remarks.append(f"Closed test against a refit, p of each smaller update: {told}.")
    if not found.has_inputs:
        remarks.append("A report tells nothing of inputs: make_reference does.")
    return remarks


def _transport(before: Any, now: Any) -> str:
    if not np.isfinite(before.expected_auc):
        return (
            "A report does not tell how different its patients are: a change of the AUC may be "
            "due to them, or to the model."
        )
    mix, whole = now.expected_auc - before.expected_auc, now.auc - before.auc
    wide = now.log_odds_spread / before.log_odds_spread if before.log_odds_spread else np.nan
    return (
        f"The AUC changes by {figures.signed(round(whole, 3))}: {figures.signed(round(mix, 3))} "
        f"since the patients differ (spread of log-odds {wide:.2f} times the reference's), "
        f"{figures.signed(round(whole - mix, 3))} since the model holds better or worse."
    )


def _new(found: ExternalPage, *, shown: bool) -> tuple[Any, list[Axes]]:
    n = min(_MOST, len(_inputs(found)))
    return figures.new_axes((9.0, max(3.0, 0.28 * n + 1.2)), 1, 2, shown=shown)


def _inputs(found: ExternalPage) -> list[Any]:
    inputs = [f for f in found.findings if f.name != "outcome" and np.isfinite(f.shift)]
    return sorted(inputs, key=lambda f: (not f.is_found, -abs(f.shift)))[:_MOST]


def _draw(found: ExternalPage, axes: Sequence[Axes]) -> None:
    inputs = _inputs(found)[::-1]
    left, right = axes
    names = figures.tick_names(
        [f"{f.name}, missing" if f.kind == "missing" else f.name for f in inputs]
    )
    tones = [colours.RED if f.is_found else colours.GREY for f in inputs]
    left.axvline(0, color="black", lw=0.8, ls=":")
    left.scatter([f.shift for f in inputs], range(len(inputs)), color=tones, s=22, zorder=2)
    left.set_yticks(range(len(inputs)), names)
    left.set(title="Inputs", xlabel="shift (SD, or share); red: found")
    if found.new is None:
        right.set_axis_off()
        return
    measures = ("auc", "slope", "intercept")
    pairs = [
        (found.reference, -0.12, colours.GREY, "reference"),
        (found.new, 0.12, colours.BLUE, "here"),
    ]
    for outcome, move, tone, label in pairs:
        if outcome is None:
            continue
        values = [getattr(outcome, name) for name in measures]
        errors = [1.96 * getattr(outcome, f"{name}_error") for name in measures]
        places = np.arange(3) + move
        right.errorbar(values, places, xerr=errors, fmt="o", color=tone, label=label, capsize=2)
    right.set_yticks(range(3), ["AUC", "calibration slope", "calibration in the large"])
    right.set(title="Outcome", xlabel="estimate and 95 % interval")
    right.legend(frameon=False, fontsize="small")
