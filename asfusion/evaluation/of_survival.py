"""Time to an event: a survival curve for each row, judged under censoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_number
from asfusion.evaluation._binary_pictures import draw_decision
from asfusion.evaluation._decision import where_useful, with_band
from asfusion.evaluation._inputs import Judged, read_groups, read_predictions
from asfusion.evaluation._reported import Reported
from asfusion.evaluation._small_cells import FEWEST
from asfusion.evaluation._survival_scorer import (
    CensoredDecision,
    SurvivalScorer,
    usual_horizons,
)
from asfusion.evaluation.metrics import ScoreInfo
from asfusion.evaluation.of_binary import read_range
from asfusion.evaluation.scoring import Rules, Scoring
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.show.colours import COLOURS, GREY
from asfusion.survival._read import read_times
from asfusion.survival.curves import survival_at
from asfusion.survival.kaplan_meier import KaplanMeier
from asfusion.targets.survival import curves_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

_GROUPS = 3  # of risk, whose Kaplan-Meier curves are drawn
_BINS = 5  # of risk by a horizon, for the picture of calibration
_POINTS = 100  # of a curve that is kept
_CUT = 0.5


@dataclass(frozen=True, eq=False)
class JudgedSurvival(Judged):
    """Rows with their times and predicted curves: y is (N, 2), time and event.

    Parameters
    ----------
    times : ndarray of shape (K,)
        Of the curves.
    """

    times: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def time(self) -> Floats:
        """Time of each row (N,)."""
        return np.asarray(self.y[:, 0])

    @property
    def event(self) -> NDArray[np.bool_]:
        """Whether each row had its event (N,)."""
        return np.asarray(self.y[:, 1] == 1.0)


class SurvivalScoring(Scoring):
    """Predicted survival curves."""

    task = "survival"
    primary = "c_index"
    board = ("c_uno", "auc_by", "ibs")
    folds = ("c_index", "auc_by", "ibs")
    compared = ("c_index", "auc_by", "observed_expected")
    audited = (*compared, "ibs")
    drawn = ("c_index", "observed_expected")
    canary = ("c_index", 0.5)
    options = frozenset({"horizons", "threshold", "thresholds"})
    infos: ClassVar[Mapping[str, ScoreInfo]] = {
        "c_index": ScoreInfo("Harrell's C", "high", 1.0),
        "c_uno": ScoreInfo("Uno's C", "high", 1.0),
        "ibs": ScoreInfo("Integrated Brier score", "low", 0.0),
        "auc_by": ScoreInfo("AUC over horizons", "high", 1.0, "AUC by {part}"),
        "brier_by": ScoreInfo("Brier score over horizons", "low", 0.0, "Brier score by {part}"),
        "calibration_slope_by": ScoreInfo(
            "Calibration slope over horizons", "ideal", 1.0, "Calibration slope by {part}"
        ),
        "observed_expected": ScoreInfo(
            "Observed over expected events", "ideal", 1.0, "Observed over expected events by {part}"
        ),
        "net_benefit_by": ScoreInfo(
            "Net benefit over horizons", "high", 1.0, "Net benefit by {part}"
        ),
    }

    def read(self, predicted: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with a survival curve of each; `classes` are its times."""
        curves = read_predictions(predicted)
        if curves.ndim != 2 or classes is None:
            msg = (
                "predictions: expected survival probabilities of shape (n_rows, n_times), and "
                "classes= with the times. Pass what predict_survival_function gives."
            )
            raise InputError(msg)
        times = _read_curve_times(classes, curves)
        told = read_times(y, len(curves))
        numbers, is_grouped = read_groups(groups, len(curves))
        coded = np.column_stack([told["time"], told["event"]]).astype(np.float64)
        return self.judged(coded, curves, times, numbers, is_grouped)

    def judged(
        self,
        y: NDArray[Any],
        predicted: Floats,
        columns: NDArray[Any] | None,
        groups: NDArray[np.int64],
        is_grouped: bool,
    ) -> JudgedSurvival:
        """Return rows that are checked and coded already; `columns` are the times of curves."""
        assert columns is not None
        times = np.asarray(columns, dtype=np.float64)
        return JudgedSurvival(self.task, y, predicted, (), groups, is_grouped, times=times)

    def ask(self, model: Any, X: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with the curve that a fitted model gives each."""
        times = getattr(getattr(model, "target_", None), "times_", classes)
        times = _own_times(y) if times is None else times
        return self.read(curves_of(model, X, times), y, groups, times)

    def why_refused(self, judged: Judged) -> str:
        """Return that too few events were seen, or nothing."""
        return f"under {FEWEST} events" if judged.y[:, 1].sum() < FEWEST else ""

    def read_threshold(
        self, model: Any, threshold: float | None
    ) -> tuple[float | None, str | None]:
        """Return the risk from which on a row is called, for net benefit."""
        cut = _CUT if threshold is None else threshold
        return check_number(cut, "threshold", minimum=0.0, maximum=1.0), None

    def read_rules(self, model: Any, judged: Judged, **options: Any) -> Rules:
        """Return the horizons, checked, the threshold, and the range of the decision curve."""
        cut, source = self.read_threshold(model, options["threshold"])
        grid = read_range(options["thresholds"])
        horizons = _read_horizons(options["horizons"], judged)
        return Rules(cut, source, thresholds=grid, horizons=horizons)

    def fold_rules(self, judged: Judged) -> Rules:
        """Return the usual horizons."""
        return Rules(_CUT, horizons=_read_horizons(None, judged))

    def scorer(self, judged: Judged, rules: Rules) -> SurvivalScorer:
        """Return what scores curves."""
        assert isinstance(judged, JudgedSurvival)
        return SurvivalScorer(
            judged.event,
            judged.time,
            judged.predicted,
            judged.times,
            horizons=rules.horizons or _read_horizons(None, judged),
            threshold=_CUT if rules.threshold is None else rules.threshold,
            groups=judged.groups,
        )

    # -- pictures ----------------------------------------------------------------------

    def curves(self, judged: Judged, rules: Rules, **options: Any) -> dict[str, Any]:
        """Return Kaplan-Meier curves by risk, calibration at each horizon, and decisions by one."""
        assert isinstance(judged, JudgedSurvival)
        risk = 1.0 - survival_at(judged.predicted, judged.times, rules.horizons)
        middle = len(rules.horizons) // 2
        return {
            "horizons": list(rules.horizons),
            "n_events": int(judged.event.sum()),
            "by_risk": _by_risk(judged, risk[:, middle]),
            "calibration": [
                _calibration(judged, column, horizon)
                for column, horizon in zip(risk.T, rules.horizons, strict=True)
            ],
            "decision": _decision(judged, risk[:, middle], rules.horizons[middle], rules, options),
        }

    def remarks(self, report: Reported) -> list[str]:
        """Return how many events were seen, and which horizons scores are means over."""
        shown = ", ".join(f"{horizon:.4g}" for horizon in report.curves["horizons"])
        return [
            (
                f"{report.curves['n_events']} events. Horizons, in the unit of y: {shown}; a score "
                "by a horizon without its name is the mean over them. Censored rows count "
                "through inverse probability weights."
            ),
            (
                f"Net benefit is at a threshold of {report.threshold:.3g}; by "
                f"{report.curves['horizons'][len(report.curves['horizons']) // 2]:.4g} the "
                "predictions are more useful than treating all and than treating none "
                f"{where_useful(report.curves['decision'])}."
            ),
        ]

    def panels(self, report: Reported) -> tuple[int, int]:
        """Return one line of three axes."""
        return 1, 3

    def draw(self, report: Reported, axes: Sequence[Axes]) -> None:
        """Draw what happened to rows of low, middle and high risk, calibration, and decisions."""
        _draw_by_risk(report, axes[0])
        _draw_calibration(report, axes[1])
        horizons = report.curves["horizons"]
        at = f"{horizons[len(horizons) // 2]:.4g}"
        score = "net_benefit_by" if len(horizons) == 1 else f"net_benefit_by[{at}]"
        draw_decision(report, axes[2], score, f"Decision curve, by {at}")


def _own_times(y: Any) -> Floats:
    told = read_times(y, len(y))
    return np.unique(told["time"][told["event"]])


def _read_curve_times(classes: Any, curves: Floats) -> Floats:
    times = np.asarray(classes, dtype=np.float64)
    if times.shape != (curves.shape[1],) or (np.diff(times, prepend=0.0) <= 0).any():
        msg = (
            f"classes: expected the {curves.shape[1]} times of the curves, above 0 and rising, got "
            "others."
        )
        raise InputError(msg)
    outside = int(((curves < 0) | (curves > 1)).any(axis=1).sum())
    if outside:
        msg = f"predictions: expected probabilities from 0 to 1, got others in {outside} row(s)."
        raise InputError(msg)
    return times


def _read_horizons(horizons: Any, judged: Judged) -> tuple[float, ...]:
    event = judged.y[:, 1] == 1.0
    if not event.any():
        raise InputError("y: expected at least one event to judge by, got none.")
    if horizons is None:
        return usual_horizons(event, judged.y[:, 0])
    values = [horizons] if np.ndim(horizons) == 0 else list(horizons)
    found = [check_number(v, "horizons", minimum=0.0, exclusive=True) for v in values]
    last = float(judged.y[:, 0].max())
    if not found or max(found) >= last:
        msg = (
            "horizons: expected one time or several, before the longest follow-up of the rows, "
            f"{last:.4g}, got others."
        )
        raise ConfigurationError(msg)
    return tuple(sorted(set(found)))


def _by_risk(judged: JudgedSurvival, risk: Floats) -> list[dict[str, Any]]:
    """Return the Kaplan-Meier curve of each third of the rows by risk, if it is large enough."""
    order = np.argsort(risk, kind="stable")
    parts = np.array_split(order, _GROUPS)
    if min(map(len, parts)) < FEWEST:
        parts = [order] if len(order) >= FEWEST else []
    grid = np.linspace(0.0, float(judged.time.max()), _POINTS)
    out = []
    for rows in parts:
        time = judged.time[rows]
        curve = KaplanMeier().fit_arrays(judged.event[rows], time)
        predicted = survival_at(judged.predicted[rows], judged.times, grid).mean(axis=0)
        # Beyond the last few rows a curve tells of single patients.
        shown = grid <= np.sort(time)[-FEWEST]
        out.append(
            {
                "time": grid[shown].tolist(),
                "survival": curve.predict(grid[shown]).tolist(),
                "predicted": predicted[shown].tolist(),
                "n_rows": len(rows),
            }
        )
    return out


def _calibration(judged: JudgedSurvival, risk: Floats, horizon: float) -> dict[str, Any]:
    """Return the mean predicted risk of rows of like risk, and what Kaplan and Meier say."""
    bins = np.array_split(np.argsort(risk, kind="stable"), _BINS)
    kept = [rows for rows in bins if len(rows) >= FEWEST]
    curves = [KaplanMeier().fit_arrays(judged.event[rows], judged.time[rows]) for rows in kept]
    return {
        "predicted": [float(risk[rows].mean()) for rows in kept],
        "observed": [1.0 - float(curve.predict([horizon])[0]) for curve in curves],
    }


def _decision(
    judged: JudgedSurvival, risk: Floats, horizon: float, rules: Rules, options: Any
) -> dict[str, list[float]]:
    """Return net benefit by a horizon, over thresholds, with its band."""
    at = rules.thresholds
    curve = CensoredDecision(judged.event, judged.time, risk, horizon, judged.groups, at)
    return with_band(curve, at, judged.n_groups, width=len(judged), **options)


def _draw_by_risk(report: Reported, axis: Axes) -> None:
    groups = report.curves["by_risk"]
    names = ("low", "middle", "high") if len(groups) == _GROUPS else ("all rows",)
    for group, name, colour in zip(groups, names, COLOURS, strict=False):
        axis.step(group["time"], group["survival"], where="post", color=colour, label=name)
        axis.plot(group["time"], group["predicted"], color=colour, lw=1, ls="--")
    title = "Without event, by predicted risk"
    axis.set(xlabel="Time", ylabel="Share without event", title=title, ylim=(0, 1.02))
    axis.legend(title="observed; dashed: predicted", frameon=False, fontsize="small")


def _draw_calibration(report: Reported, axis: Axes) -> None:
    axis.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
    shown = zip(report.curves["horizons"], report.curves["calibration"], strict=True)
    for (horizon, points), colour in zip(shown, COLOURS, strict=False):
        label = f"by {horizon:.4g}"
        axis.plot(points["predicted"], points["observed"], "o-", color=colour, label=label)
    axis.set(xlabel="Predicted risk", ylabel="Observed (Kaplan-Meier)", title="Calibration")
    points = [
        v for part in report.curves["calibration"] for values in part.values() for v in values
    ]
    # Of a rare event all points would stand in a corner.
    end = 1.0 if max(points, default=1.0) >= 0.5 else max(1.1 * max(points), 0.01)
    axis.set(xlim=(0, end), ylim=(0, end), aspect="equal")
    axis.legend(frameon=False, fontsize="small")
