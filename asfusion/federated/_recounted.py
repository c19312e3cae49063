"""Calibration and conformal sets from counts that sites told of rows held out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice
from asfusion.estimators._conformal import calibrate, check_coverage
from asfusion.estimators.conformal_classifier import ConformalClassifier
from asfusion.estimators.recalibrated import RecalibratedClassifier
from asfusion.exceptions import InputError
from asfusion.federated.scores import ScoreCounts

_METHODS = ("temperature", "sigmoid", "prevalence")


def calibrated_by(counts: ScoreCounts, model: Any, method: Any) -> RecalibratedClassifier:
    """Return a model whose probabilities are made right on rows that sites counted."""
    check_choice(method, "method", _METHODS)
    p, y, weight = _weighted(counts)
    made = RecalibratedClassifier(model, method, prefit=True)
    made.estimator_, made.classes_ = model, np.asarray(model.classes_)
    made._learn(np.column_stack([1.0 - p, p]), y, weight)
    return made


def conformal_by(counts: ScoreCounts, model: Any, coverage: float) -> ConformalClassifier:
    """Return a model that answers with sets, by rows that sites counted: one patient each."""
    share = check_coverage(coverage)
    p, y, weight = _weighted(counts)
    made = ConformalClassifier(model, coverage, prefit=True)
    made.estimator_, made.classes_ = model, np.asarray(model.classes_)
    scores = np.repeat(np.where(y == 1, 1.0 - p, p), weight.astype(int))
    everyone = np.full(len(scores), "", dtype=object)
    kinds = np.zeros(len(scores), dtype=np.int64)
    made.scores_ = calibrate(scores, everyone, kinds, np.arange(len(scores)), share)
    return made


def _weighted(
    counts: ScoreCounts,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return probability, class and rows of each bin and class."""
    bins = np.asarray(counts.bins, dtype=np.float64).reshape(-1, 3)
    weight = bins[:, 1:].T.reshape(-1)
    y = np.repeat(np.array([0, 1]), len(bins))
    if not all(weight[y == k].sum() for k in (0, 1)):
        msg = (
            "Counts: expected rows of two classes that sites hold out, got none of one. Train with "
            "holdout=0.2, and with more rows at the sites."
        )
        raise InputError(msg)
    some = weight > 0
    return np.tile(bins[:, 0], 2)[some], y[some], weight[some]
