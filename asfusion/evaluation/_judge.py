"""From a model and rows to what is judged, and by which scorer."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_row_labels
from asfusion._warn import warn_user
from asfusion.evaluation._inputs import (
    Judged,
    read_complete,
    read_predictions,
)
from asfusion.evaluation.metrics import Scorer
from asfusion.evaluation.of_classes import ClassScoring
from asfusion.evaluation.of_numbers import NumberScoring
from asfusion.evaluation.of_survival import SurvivalScoring
from asfusion.evaluation.registry import Tasked, scoring_of, tasks_with
from asfusion.evaluation.scoring import Rules, Scoring
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.survival._read import is_times


class Answering(Tasked, Protocol):
    """A fitted target."""

    def columns(self) -> NDArray[Any] | None:
        """Return what the columns of predictions stand for."""
        ...


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
        judged = _guess(model, y, classes).read(model, y, groups, classes)
        doubt = scoring_of(judged).doubt(judged)
        if doubt:
            warn_user(doubt)
        return judged
    if X is None or y is None:
        raise InputError("X and y: expected both beside a model, got None for one of them.")
    check_row_labels(X, y=y, groups=groups)
    return scoring_of(_task_of(model)).ask(model, X, y, groups, classes)


def read_as(target: Answering, predicted: Any, y: Any, groups: Any) -> Judged:
    """Return checked rows with predictions of a fitted target."""
    return scoring_of(target).read(predicted, y, groups, target.columns())


def unanswered(
    target: Answering, y: NDArray[Any], groups: NDArray[np.int64], is_grouped: bool
) -> Judged:
    """Return coded rows with what is true of them, predictions yet to come."""
    nothing = np.empty((len(y), 0))
    known = target.columns()
    return scoring_of(target).judged(y, nothing, known, groups, is_grouped)


def _guess(predicted: Any, y: Any, classes: Any) -> Scoring:
    """Return how predictions of nobody knows what are to be read."""
    if is_times(y):
        return scoring_of(SurvivalScoring.task)
    guesses = read_predictions(predicted)
    labels = read_complete(y, "y", len(guesses))
    is_numeric = classes is None and _looks_numeric(labels, guesses)
    return scoring_of(NumberScoring.task if is_numeric else ClassScoring.task)


def _looks_numeric(labels: NDArray[Any], guesses: NDArray[np.float64]) -> bool:
    """Return whether predictions are of a target, not probabilities of classes."""
    if labels.dtype.kind not in "iuf":
        return False
    if labels.ndim == 2:
        return True
    if guesses.ndim == 2 and guesses.shape[1] > 1:
        return False
    # Fractions are measured: nobody calls a class 2.5.
    return len(np.unique(labels)) > 2 or bool((labels != np.round(labels)).any())


def _task_of(model: Any) -> str:
    """Return what a fitted model predicts; of a classifier, its rows tell how many classes."""
    from sklearn.base import is_classifier

    task = getattr(getattr(model, "target_", None), "task", None)
    if task is None and hasattr(model, "predict_survival_function"):
        return SurvivalScoring.task
    return task or (ClassScoring.task if is_classifier(model) else NumberScoring.task)


def read_rules(model: Any, judged: Judged, **options: Any) -> Rules:
    """Return what scores of the task depend on, checked."""
    scoring = scoring_of(judged)
    _refuse_others(scoring, **options)
    taken = {name: value for name, value in options.items() if name in scoring.options}
    return scoring.read_rules(model, judged, **taken)


def _refuse_others(scoring: Scoring, **options: Any) -> None:
    """Raise if an option is set that belongs to another task."""
    for name, value in options.items():
        unset = _UNSET.get(name)
        if value is not unset and name not in scoring.options:
            msg = (
                f"{name}: expected {unset} for a {scoring.task} task, got another value. It "
                f"belongs to a {tasks_with(name)} task."
            )
            raise ConfigurationError(msg)


def find_threshold(
    model: Any, threshold: float | None, of: Tasked | str
) -> tuple[float | None, str | None]:
    """Return the threshold by which rows are called, and where it comes from."""
    scoring = scoring_of(of)
    _refuse_others(scoring, threshold=threshold)
    return scoring.read_threshold(model, threshold)


def fold_rules(judged: Judged) -> Rules:
    """Return the rules for rows that were each judged by the model of a fold."""
    return scoring_of(judged).fold_rules(judged)


def make_scorer(judged: Judged, rules: Rules | None = None) -> Scorer:
    """Return the scorer of the task, by `rules` or else by those of a fold."""
    scoring = scoring_of(judged)
    return scoring.scorer(judged, scoring.fold_rules(judged) if rules is None else rules)
