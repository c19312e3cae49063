"""Which target a model predicts, asked of the model."""

from __future__ import annotations

from typing import Any

from sklearn.base import is_classifier
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline

from asfusion.targets._base import Target
from asfusion.targets.classes import Classes
from asfusion.targets.numbers import Numbers


def target_of(model: Any) -> Target:
    """Return an unfitted target of what a model predicts, also a foreign one."""
    own = getattr(_who_answers(model), "_target", None)
    if own is not None:
        known: Target = own()
        return known
    return Classes() if is_classifier(model) else Numbers()


def _who_answers(model: Any) -> Any:
    """Return the estimator whose predictions a pipeline, or a search, passes on."""
    if isinstance(model, Pipeline) and model.steps:
        return _who_answers(model.steps[-1][1])
    if isinstance(model, BaseSearchCV):
        return _who_answers(getattr(model, "best_estimator_", model.estimator))
    return model
