"""From which probability on a row is called positive, learned on rows that were not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_number
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._asked import target_of

DEFAULT = 0.5
_RULES = ("youden", "prevalence")
_TARGETS = ("sensitivity", "specificity")


def check_threshold(threshold: Any) -> Any:
    """Return `threshold` if it is a number, the name of a rule, or ``{target: value}``."""
    if isinstance(threshold, str) and threshold in _RULES:
        return threshold
    if isinstance(threshold, Mapping) and len(threshold) == 1 and set(threshold) <= set(_TARGETS):
        (name,) = threshold
        check_number(threshold[name], f"threshold[{name!r}]", minimum=0.0, maximum=1.0)
        return threshold
    if isinstance(threshold, str | Mapping):
        got = repr(threshold) if isinstance(threshold, str) else "another dict"
        msg = (
            "threshold: expected a number, 'youden', 'prevalence', {'sensitivity': 0.9} or "
            f"{{'specificity': 0.9}}, got {got}."
        )
        raise ConfigurationError(msg)
    return check_number(threshold, "threshold", minimum=0.0, maximum=1.0)


def needs_unseen(threshold: Any) -> bool:
    """Return whether a rule has to see predictions of rows that the model did not learn from."""
    return threshold == "youden" or isinstance(threshold, Mapping)


def choose_threshold(
    rule: Any, y: NDArray[Any], probability: NDArray[np.float64], weight: NDArray[np.float64]
) -> float:
    """Return the threshold by which `rule` is met on rows that the model did not learn from.

    Parameters
    ----------
    rule : "youden" or {"sensitivity" or "specificity": float}
        The largest sum of sensitivity and specificity; or the highest threshold with at
        least this sensitivity, or the lowest with at least this specificity.
    y : ndarray of shape (N,)
        1 for the positive class, else 0.
    probability : ndarray of shape (N,)
        Of the positive class.
    weight : ndarray of shape (N,)
        Weight of each row.

    Returns
    -------
    float
        Midway between two probabilities that occur, since new ones will not be the same.
    """
    from sklearn.metrics import roc_curve

    if len(np.unique(y)) < 2:
        msg = (
            "threshold: expected rows of both classes among those predicted unseen, got 1 class. "
            "Give a number, or fit on more rows."
        )
        raise InputError(msg)
    false_positive, sensitivity, cuts = roc_curve(
        y, probability, sample_weight=weight, drop_intermediate=False
    )
    if rule == "youden":
        best = int(np.argmax(sensitivity - false_positive))
    elif "sensitivity" in rule:
        best = int(np.argmax(sensitivity >= rule["sensitivity"] - 1e-12))
    else:
        allowed = 1.0 - false_positive >= rule["specificity"] - 1e-12
        best = int(np.flatnonzero(allowed)[-1])
    # The first cut is infinite: nothing is called. The last calls everything.
    above = min(float(cuts[best]), 1.0)
    below = float(cuts[best + 1]) if best + 1 < len(cuts) else 0.0
    return (above + below) / 2.0


def call_classes(model: Any, probabilities: NDArray[np.float64]) -> NDArray[Any]:
    """Return the class of each row; of two, the second from ``model.threshold_`` on.

    At one half that is the more probable one, and the first where both are equal, as
    everywhere in scikit-learn. Of several the target says which it is.
    """
    threshold = getattr(model, "threshold_", DEFAULT)
    if len(model.classes_) == 2 and threshold != DEFAULT:
        best = (probabilities[:, 1] >= threshold).astype(np.int64)
    else:
        best = target_of(model).called(probabilities)
    return np.asarray(model.classes_[best])
