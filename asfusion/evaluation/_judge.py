"""From a model and rows to what is judged, and by which scorer."""

from __future__ import annotations

import warnings
from typing import Any

from asfusion._checks import check_row_labels
from asfusion.evaluation._inputs import Judged, read_judged
from asfusion.evaluation.metrics import Scorer
from asfusion.evaluation.of_classes import ClassScoring
from asfusion.evaluation.of_numbers import NumberScoring
from asfusion.evaluation.registry import scoring_of, tasks_with
from asfusion.evaluation.scoring import Rules
from asfusion.exceptions import AsfusionWarning, ConfigurationError, InputError

_UNSET = {"ordinal": False}  # any other option of `evaluate` is None where it is not set


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
        doubt = scoring_of(judged).doubt(judged)
        if doubt:
            warnings.warn(doubt, AsfusionWarning, stacklevel=3)
        return judged
    if X is None or y is None:
        raise InputError("X and y: expected both beside a model, got None for one of them.")
    check_row_labels(X, y=y, groups=groups)
    return scoring_of(_task_of(model)).read(model, X, y, groups, classes)


def _task_of(model: Any) -> str:
    """Return what a fitted model predicts; of a classifier, its rows tell how many classes."""
    from sklearn.base import is_classifier

    task = getattr(getattr(model, "target_", None), "task", None)
    return task or (ClassScoring.task if is_classifier(model) else NumberScoring.task)


def read_rules(model: Any, judged: Judged, **options: Any) -> Rules:
    """Return what scores of the task depend on, checked."""
    scoring = scoring_of(judged)
    _refuse_others(judged.task, **options)
    taken = {name: value for name, value in options.items() if name in scoring.options}
    return scoring.read_rules(model, judged, **taken)


def _refuse_others(task: str, **options: Any) -> None:
    """Raise if an option is set that belongs to another task."""
    for name, value in options.items():
        unset = _UNSET.get(name)
        if value is not unset and name not in scoring_of(task).options:
            msg = (
                f"{name}: expected {unset} for a {task} task, got another value. It belongs to "
                f"a {tasks_with(name)} task."
            )
            raise ConfigurationError(msg)


def find_threshold(
    model: Any, threshold: float | None, task: str
) -> tuple[float | None, str | None]:
    """Return the threshold by which rows are called, and where it comes from."""
    _refuse_others(task, threshold=threshold)
    return scoring_of(task).read_threshold(model, threshold)


def fold_rules(judged: Judged) -> Rules:
    """Return the rules for rows that were each judged by the model of a fold."""
    return scoring_of(judged).fold_rules(judged)


def make_scorer(judged: Judged, rules: Rules | None = None) -> Scorer:
    """Return the scorer of the task, by `rules` or else by those of a fold."""
    scoring = scoring_of(judged)
    return scoring.scorer(judged, scoring.fold_rules(judged) if rules is None else rules)
