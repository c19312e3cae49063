"""Two classes: one probability for each row, called positive from a threshold on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_number
from asfusion.evaluation import _binary_curves as curves
from asfusion.evaluation import _binary_pictures as pictures
from asfusion.evaluation._decision import decision_curve, percent_grid
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._reported import Reported
from asfusion.evaluation._small_cells import FEWEST
from asfusion.evaluation.delong import delong_interval
from asfusion.evaluation.intervals import Interval
from asfusion.evaluation.metrics import BinaryScorer
from asfusion.evaluation.of_classes import BINARY, ask_classes, read_classes
from asfusion.evaluation.scoring import Rules, Scoring
from asfusion.exceptions import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

_SEVERAL = 10  # rows: a handful may well be certain
_CUT = 0.5  # where nothing else is said


class BinaryScoring(Scoring):
    """Probabilities of the second of two classes."""

    task = BINARY
    primary = "auc"
    board = ("average_precision", "brier", "calibration_slope")
    folds = ("auc", "average_precision", "brier")
    # Net benefit follows how common the outcome is: a gap is no bias.
    compared = ("auc", "calibration_intercept", "calibration_slope", "sensitivity", "specificity")
    audited = (*compared, "net_benefit")
    drawn = ("auc", "calibration_intercept")
    canary = ("auc", 0.5)
    options = frozenset({"threshold", "prevalence", "thresholds"})

    def read(self, predicted: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with a probability of the second class."""
        return read_classes(predicted, y, groups, classes)

    def ask(self, model: Any, X: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with the probability that a fitted classifier gives each."""
        return ask_classes(model, X, y, groups, classes)

    def doubt(self, judged: Judged) -> str:
        """Return that labels were given in the place of probabilities, or nothing."""
        if len(judged) < _SEVERAL or not np.isin(judged.predicted, (0.0, 1.0)).all():
            return ""
        return (
            "predictions: expected probabilities, got 0 or 1 in every row, as labels are. "
            "Ranking and calibration of labels mean little; pass what predict_proba gives."
        )

    def why_refused(self, judged: Judged) -> str:
        """Return that one of the classes has too few rows, or nothing."""
        few = np.bincount(judged.y, minlength=2).min() < FEWEST
        return f"under {FEWEST} of a class" if few else ""

    def read_threshold(
        self, model: Any, threshold: float | None
    ) -> tuple[float | None, str | None]:
        """Return the threshold that is given, that of the model, or one half."""
        stored = stored_threshold(model)
        if threshold is not None:
            return check_number(threshold, "threshold", minimum=0.0, maximum=1.0), "given"
        if stored is not None:
            return check_number(stored, "model.threshold_", minimum=0.0, maximum=1.0), "model"
        return _CUT, "default"

    def read_rules(self, model: Any, judged: Judged, **options: Any) -> Rules:
        """Return threshold, prevalence and the range of the decision curve, checked."""
        cut, source = self.read_threshold(model, options["threshold"])
        prevalence, thresholds = options["prevalence"], options["thresholds"]
        if prevalence is not None:
            prevalence = check_number(
                prevalence, "prevalence", minimum=0.0, maximum=1.0, exclusive=True
            )
        grid = read_range(thresholds)
        return Rules(threshold=cut, source=source, prevalence=prevalence, thresholds=grid)

    def fold_rules(self, judged: Judged) -> Rules:
        """Return the median of the thresholds of the folds' models, if they have any."""
        if judged.cuts is None:
            return Rules(_CUT, "default")
        return Rules(float(np.median(judged.cuts)), "folds")

    def scorer(self, judged: Judged, rules: Rules) -> BinaryScorer:
        """Return what scores probabilities and the calls made of them."""
        return BinaryScorer(
            judged.y == 1,
            judged.predicted,
            threshold=_CUT if rules.threshold is None else rules.threshold,
            cuts=judged.cuts,
            prevalence=rules.prevalence,
            groups=judged.groups,
        )

    def with_others(
        self, scores: dict[str, Interval], judged: Judged, confidence: float
    ) -> dict[str, Interval]:
        """Return scores with DeLong's interval of the AUC behind that of the bootstrap."""
        found = delong_interval(
            judged.y, judged.predicted, groups=judged.groups, confidence=confidence
        )
        return {"auc": scores["auc"], "auc_delong": found, **scores}

    def curves(self, judged: Judged, rules: Rules, **options: Any) -> dict[str, Any]:
        """Return ROC curve, calibration, decision curve and the counts of predictions."""
        return {
            "roc": curves.roc_with_band(judged, **options),
            "calibration": curves.calibration(judged, **options),
            "decision": decision_curve(judged, rules.thresholds, rules.prevalence, **options),
            "histogram": curves.histogram(judged),
        }

    def panels(self, report: Reported) -> tuple[int, int]:
        """Return two lines of two axes: in a row they would be too small on a page."""
        return 2, 2

    def draw(self, report: Reported, axes: Sequence[Axes]) -> None:
        """Draw each curve into axes of its own."""
        pictures.draw_roc(report, axes[0])
        pictures.draw_calibration(report, axes[1])
        pictures.draw_decision(report, axes[2])
        pictures.draw_histogram(report, axes[3])


def read_range(thresholds: Any) -> NDArray[np.float64]:
    """Return the thresholds of a decision curve from their ends; from 1 to 99 % by default."""
    try:
        ends = (0.01, 0.99) if thresholds is None else thresholds
        low, high = (float(value) for value in ends)
        usable = 0.0 <= low < high < 1.0
    except (TypeError, ValueError):
        usable = False
    grid = percent_grid(low, high) if usable else np.empty(0)
    if len(grid) < 2 or grid[-1] >= 1.0:
        msg = (
            "thresholds: expected two numbers (low, high) with 0 <= low < high <= 0.99, at least "
            "a percent apart, got others. Pass the range in which a decision would be taken, "
            "such as (0.05, 0.4)."
        )
        raise ConfigurationError(msg)
    return grid


def stored_threshold(model: Any) -> Any:
    """Return the threshold by which a fitted model calls a class, or None if it has none.

    Searches and pipelines are asked for that of their best or last part; scikit-learn's
    own threshold classifiers keep it under names of theirs.
    """
    model = getattr(model, "best_estimator_", model)
    if hasattr(model, "steps"):
        model = model.steps[-1][1]
    for name in ("threshold_", "best_threshold_"):
        if hasattr(model, name):
            return getattr(model, name)
    given = getattr(model, "threshold", None)
    is_fixed = type(model).__name__ == "FixedThresholdClassifier"
    return given if is_fixed and not isinstance(given, str) else None
