"""From a model and rows to what is judged, and by which scorer."""

from __future__ import annotations

from typing import Any

from asfusion._checks import check_number
from asfusion.evaluation._inputs import Judged, Task, read_judged, read_targets
from asfusion.evaluation.metrics import BinaryScorer, MulticlassScorer, RegressionScorer, Scorer
from asfusion.exceptions import ConfigurationError, InputError


def judge(model: Any, X: Any, y: Any, groups: Any, classes: Any) -> Judged:
    """Return the rows with the predictions of `model`, or with those that it is."""
    if not hasattr(model, "predict"):
        if X is not None:
            msg = (
                "X: expected None beside predictions, got a table or array. Use "
                "evaluate(predictions, y=y), or pass the fitted model first."
            )
            raise InputError(msg)
        return read_judged(model, y, groups, classes=classes)
    if X is None or y is None:
        raise InputError("X and y: expected both beside a model, got None for one of them.")
    from sklearn.base import is_classifier

    if not is_classifier(model):
        return read_targets(model.predict(X), y, groups)
    if not hasattr(model, "predict_proba"):
        msg = (
            f"model: expected a classifier with predict_proba, got {type(model).__name__}. "
            "Wrap it in sklearn.calibration.CalibratedClassifierCV."
        )
        raise ConfigurationError(msg)
    known = model.classes_ if classes is None else classes
    return read_judged(model.predict_proba(X), y, groups, classes=known)


def find_threshold(
    model: Any, threshold: float | None, task: Task
) -> tuple[float | None, str | None]:
    """Return the threshold of a binary task and where it comes from."""
    if task != "binary":
        if threshold is not None:
            msg = f"threshold: expected None for a {task} task, got a number."
            raise ConfigurationError(msg)
        return None, None
    stored = stored_threshold(model)
    if threshold is not None:
        return check_number(threshold, "threshold", minimum=0.0, maximum=1.0), "given"
    if stored is not None:
        return check_number(stored, "model.threshold_", minimum=0.0, maximum=1.0), "model"
    return 0.5, "default"


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


def make_scorer(judged: Judged, *, threshold: float | None = None) -> Scorer:
    """Return the scorer of the task."""
    if judged.task == "binary":
        return BinaryScorer(
            judged.y == 1,
            judged.predicted,
            threshold=0.5 if threshold is None else threshold,
            groups=judged.groups,
        )
    if judged.task == "multiclass":
        names = judged.classes
        return MulticlassScorer(judged.y, judged.predicted, names=names, groups=judged.groups)
    return RegressionScorer(judged.y, judged.predicted, groups=judged.groups)
