"""Numbers: one or several targets for each row, in their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_number
from asfusion.evaluation._curves import Curves
from asfusion.evaluation._inputs import Judged, read_complete, read_groups, read_predictions
from asfusion.evaluation._ranking import divide
from asfusion.evaluation._reported import Reported
from asfusion.evaluation.metrics import RegressionScorer, ScoreInfo, Scorer
from asfusion.evaluation.scoring import Rules, Scoring
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.show.colours import BLUE, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

_CELLS = 48  # side of the grid on which predicted and true numbers are counted


class NumberScoring(Scoring):
    """Predicted numbers."""

    task = "regression"
    primary = "mae"
    board = ("rmse", "r2")
    folds = ("mae", "rmse", "r2")
    # R² follows how much the outcome varies: a gap is no bias.
    compared = ("mae", "mean_error")
    audited = (*compared, "r2")
    drawn = ("mae", "mean_error")
    canary = ("r2", 0.0)
    options = frozenset({"mic"})
    infos: ClassVar[Mapping[str, ScoreInfo]] = {"mean_error": ScoreInfo("Mean error", "ideal", 0.0)}

    def read(self, predicted: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with predicted numbers."""
        guesses = read_predictions(predicted)
        labels = read_complete(y, "y", len(guesses))
        if labels.dtype.kind not in "biuf":
            raise InputError("y: expected numbers for a regressor, got other values.")
        numbers, is_grouped = read_groups(groups, len(guesses))
        targets, table = _side_by_side(labels, guesses)
        return Judged(self.task, targets, table, (), numbers, is_grouped)

    def read_rules(self, model: Any, judged: Judged, **options: Any) -> Rules:
        """Return the minimal important change of each target, checked, if it is stated."""
        mic = options["mic"]
        return Rules(mic=() if mic is None else _read_mic(mic, judged.y.shape[1]))

    def scorer(self, judged: Judged, rules: Rules) -> RegressionScorer:
        """Return what scores errors."""
        return RegressionScorer(
            judged.y, judged.predicted, mic=rules.mic or None, groups=judged.groups
        )

    def audit_scorer(self, judged: Judged, rules: Rules) -> Scorer:
        """Return what scores errors, their direction included."""
        return _WithMeanError(judged)

    def curves(self, judged: Judged, rules: Rules, **options: Any) -> dict[str, Any]:
        """Return for each target how many rows have which true and predicted number."""
        pairs = zip(judged.y.T, judged.predicted.T, strict=True)
        return {"targets": [_grid(y, predicted) for y, predicted in pairs]}

    def panels(self, report: Reported) -> tuple[int, int]:
        """Return axes for each target, side by side."""
        return 1, _n_targets(report)

    def draw(self, report: Reported, axes: Sequence[Axes]) -> None:
        """Draw predicted against true numbers, a target in each axes."""
        for number, axis in enumerate(axes):
            _draw_target(report, axis, number)


class _WithMeanError:
    """Scores of numbers, and by how much they are too high on average."""

    def __init__(self, judged: Judged) -> None:
        self._scorer = RegressionScorer(judged.y, judged.predicted, groups=judged.groups)
        self.n_groups = self._scorer.n_groups
        error = (judged.predicted - judged.y).mean(axis=1)
        self._sums = self._scorer.sums([np.ones(len(error)), error])

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        total, error = (counts @ self._sums).T
        return {**self._scorer(counts), "mean_error": divide(error, total)}


def _side_by_side(labels: NDArray[Any], guesses: Floats) -> tuple[Floats, Floats]:
    """Return true and predicted numbers (N, T), checked against each other."""
    y = labels.astype(np.float64).reshape(len(labels), -1)
    table = guesses.reshape(len(guesses), -1)
    if y.shape != table.shape:
        msg = f"predictions: expected {y.shape[1]} target(s) per row like y, got {table.shape[1]}."
        raise InputError(msg)
    if not np.isfinite(y).all():
        raise InputError("y: expected finite numbers, got infinity. Drop those rows everywhere.")
    return y, table


def _read_mic(mic: Any, n_targets: int) -> tuple[float, ...]:
    values = [mic] * n_targets if np.ndim(mic) == 0 else list(mic)
    if len(values) != n_targets:
        msg = (
            f"mic: expected one number, or one for each of {n_targets} target(s), got "
            f"{len(values)}."
        )
        raise ConfigurationError(msg)
    return tuple(check_number(value, "mic", minimum=0.0, exclusive=True) for value in values)


def _grid(y: Floats, predicted: Floats) -> Curves:
    """Return how many rows fall into each cell of a grid of true and predicted values."""
    low, high = float(min(y.min(), predicted.min())), float(max(y.max(), predicted.max()))
    margin = 0.02 * (high - low) or 0.5
    edges = np.linspace(low - margin, high + margin, _CELLS + 1)
    counts = np.histogram2d(y, predicted, bins=[edges, edges])[0].astype(int)
    true, guess = np.nonzero(counts)
    return {
        "edges": edges.tolist(),
        "true": true.tolist(),
        "predicted": guess.tolist(),
        "n_rows": counts[true, guess].tolist(),
    }


def _n_targets(report: Reported) -> int:
    return len(report.curves["targets"])


def _draw_target(report: Reported, axis: Axes, number: int) -> None:
    cells = report.curves["targets"][number]
    edges = np.asarray(cells["edges"])
    middles = (edges[:-1] + edges[1:]) / 2
    counts = np.asarray(cells["n_rows"])
    axis.plot(edges[[0, -1]], edges[[0, -1]], color=GREY, lw=1, ls=":")
    axis.scatter(
        middles[cells["true"]],
        middles[cells["predicted"]],
        s=14 * np.sqrt(counts),
        color=BLUE,
        alpha=0.6,
        linewidths=0,
    )
    title = "Predicted and true" + (f", target {number + 1}" if _n_targets(report) > 1 else "")
    axis.set(xlabel="True", ylabel="Predicted", title=title)
    axis.set_aspect("equal")
    r2 = report.scores["r2"].estimate
    if _n_targets(report) == 1 and np.isfinite(r2):
        text = f"R² {r2:.2f}\nMAE {report.scores['mae'].estimate:.3g}"
        axis.text(0.03, 0.97, text, transform=axis.transAxes, va="top", fontsize="small")
