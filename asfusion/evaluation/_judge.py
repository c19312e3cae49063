"""From a model and rows to what is judged, and by which scorer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_number, check_row_labels
from asfusion._warn import warn_user
from asfusion.evaluation._decision import percent_grid
from asfusion.evaluation._inputs import Judged, Task, read_judged, read_targets
from asfusion.evaluation.metrics import BinaryScorer, MulticlassScorer, RegressionScorer, Scorer
from asfusion.exceptions import ConfigurationError, InputError

_SEVERAL = 10  # rows: a handful may well be certain


@dataclass(frozen=True, eq=False)
class Rules:
    """What scores depend on besides rows and predictions.

    Parameters
    ----------
    threshold : float or None
        From which probability on a row is called positive; None unless binary.
    source : str or None
        Where it comes from: ``"given"``, ``"model"``, ``"folds"`` or ``"default"``.
    prevalence : float or None
        Stated share of positives; None for that of the rows.
    thresholds : ndarray of shape (T,)
        Those of the decision curve.
    mic : tuple of T floats
        Minimal important change of each target; empty if not given.
    ranks : ndarray of shape (K,) or None
        Place of each class in their order, if they have one.
    """

    threshold: float | None = None
    source: str | None = None
    prevalence: float | None = None
    thresholds: NDArray[np.float64] = field(default_factory=lambda: percent_grid(0.01, 0.99))
    mic: tuple[float, ...] = ()
    ranks: NDArray[np.int64] | None = None


def read_rules(
    model: Any,
    judged: Judged,
    *,
    threshold: float | None,
    prevalence: float | None,
    thresholds: Any,
    mic: Any,
    ordinal: Any,
) -> Rules:
    """Return what scores of the task depend on, checked."""
    task = judged.task
    _refuse(task, "binary", prevalence=prevalence, thresholds=thresholds)
    _refuse(task, "regression", mic=mic)
    _refuse(task, "multiclass", ordinal=None if ordinal is False else ordinal)
    cut, source = find_threshold(model, threshold, task)
    if prevalence is not None:
        prevalence = check_number(
            prevalence, "prevalence", minimum=0.0, maximum=1.0, exclusive=True
        )
    return Rules(
        threshold=cut,
        source=source,
        prevalence=prevalence,
        thresholds=_read_range((0.01, 0.99) if thresholds is None else thresholds),
        mic=() if mic is None else _read_mic(mic, judged.y.shape[1]),
        ranks=None if ordinal is False else _read_order(ordinal, judged),
    )


def _refuse(task: Task, wanted: Task, **options: Any) -> None:
    for name, value in options.items():
        if value is not None and task != wanted:
            unset = "False" if name == "ordinal" else "None"
            msg = (
                f"{name}: expected {unset} for a {task} task, got another value. It belongs to "
                f"a {wanted} task."
            )
            raise ConfigurationError(msg)


def _read_range(thresholds: Any) -> NDArray[np.float64]:
    try:
        low, high = (float(value) for value in thresholds)
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


def _read_mic(mic: Any, n_targets: int) -> tuple[float, ...]:
    values = [mic] * n_targets if np.ndim(mic) == 0 else list(mic)
    if len(values) != n_targets:
        msg = (
            f"mic: expected one number, or one for each of {n_targets} target(s), got "
            f"{len(values)}."
        )
        raise ConfigurationError(msg)
    return tuple(check_number(value, "mic", minimum=0.0, exclusive=True) for value in values)


def _read_order(ordinal: Any, judged: Judged) -> NDArray[np.int64]:
    """Return the place of each class: as listed, or by value if classes are numbers."""
    if ordinal is True:
        try:
            values = [float(name) for name in judged.classes]
        except ValueError:
            msg = (
                "ordinal: expected the classes in order, since their names are no numbers, got "
                'True. Pass for example ordinal=["none", "mild", "severe"], the lowest first.'
            )
            raise ConfigurationError(msg) from None
        return np.argsort(np.argsort(values))
    listed = [] if isinstance(ordinal, str) or np.ndim(ordinal) != 1 else [str(n) for n in ordinal]
    if sorted(listed) != sorted(judged.classes):
        msg = (
            f"ordinal: expected True, or each of the {len(judged.classes)} classes once, the "
            f"lowest first, got {len(listed)} name(s) that differ."
        )
        raise ConfigurationError(msg)
    return np.asarray([listed.index(name) for name in judged.classes], dtype=np.int64)


def judge(model: Any, X: Any, y: Any, groups: Any, classes: Any) -> Judged:
    """Return the rows with the predictions of `model`, or with those that it is."""
    if not hasattr(model, "predict"):
        if X is not None:
            msg = (
                "X: expected None beside predictions, got a table or array. Use "
                "evaluate(predictions, y=y), or pass the fitted model first."
            )
            raise InputError(msg)
        check_row_labels(model, "predictions", y=y, groups=groups)
        judged = read_judged(model, y, groups, classes=classes)
        are_labels = bool(np.isin(judged.predicted, (0.0, 1.0)).all())
        if judged.task == "binary" and are_labels and len(judged) >= _SEVERAL:
            msg = (
                "predictions: expected probabilities, got 0 or 1 in every row, as labels are. "
                "Ranking and calibration of labels mean little; pass what predict_proba gives."
            )
            warn_user(msg)
        return judged
    if X is None or y is None:
        raise InputError("X and y: expected both beside a model, got None for one of them.")
    check_row_labels(X, y=y, groups=groups)
    from sklearn.base import is_classifier
    from sklearn.utils.validation import check_is_fitted

    if not is_classifier(model):
        return read_targets(model.predict(X), y, groups)
    if not hasattr(model, "predict_proba"):
        msg = (
            f"model: expected a classifier with predict_proba, got {type(model).__name__}. "
            "Wrap it in sklearn.calibration.CalibratedClassifierCV."
        )
        raise ConfigurationError(msg)
    if classes is None:
        check_is_fitted(model, "classes_")
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


def fold_rules(judged: Judged) -> Rules:
    """Return the rules for rows that were each judged by the model of a fold."""
    if judged.task != "binary":
        return Rules()
    if judged.cuts is None:
        return Rules(0.5, "default")
    return Rules(float(np.median(judged.cuts)), "folds")


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


def make_scorer(
    judged: Judged, *, threshold: float | None = None, rules: Rules | None = None
) -> Scorer:
    """Return the scorer of the task, by `rules` or else by a threshold alone."""
    if rules is None:
        rules = fold_rules(judged) if threshold is None else Rules(threshold)
    if judged.task == "binary":
        return BinaryScorer(
            judged.y == 1,
            judged.predicted,
            threshold=0.5 if rules.threshold is None else rules.threshold,
            cuts=judged.cuts,
            prevalence=rules.prevalence,
            groups=judged.groups,
        )
    if judged.task == "multiclass":
        return MulticlassScorer(
            judged.y,
            judged.predicted,
            names=judged.classes,
            ranks=rules.ranks,
            groups=judged.groups,
        )
    return RegressionScorer(judged.y, judged.predicted, mic=rules.mic or None, groups=judged.groups)
