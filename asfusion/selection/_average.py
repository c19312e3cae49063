"""How members are weighed: a non-negative average, drawn half-way towards equal weights.

Dimensions: V members, N rows, K classes or targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from asfusion._splits import Split
from asfusion.estimators._rows import TrainingRows
from asfusion.targets._base import Target
from asfusion.targets._pools import weighted_mean

Floats = NDArray[np.float64]

# Towards equal weights. Fixed beforehand: what inner folds say of members is noisy, most of all
# on few rows, and weights that follow it to the end are worse on new patients than even ones.
_SHRUNK = 0.5
_LOG_POWERS = (-1.5, 1.5)
_TOWARDS_ONE = 1e-3


def member_weights(target: Target, outputs: Floats, rows: TrainingRows) -> Floats:
    """Return weights (V,) with the least loss on out-of-fold outputs (V, N, K), shrunk."""
    n_members = len(outputs)
    even = np.full(n_members, 1.0 / n_members)
    decisions, present = by_row(outputs)
    known = np.flatnonzero(present.any(axis=1))
    if n_members == 1 or not target.can_teach(rows.y[known]):
        return even
    best = target.average_weights(
        decisions[known], present[known], rows.y[known], rows.loss_weight[known]
    )
    return np.asarray((1.0 - _SHRUNK) * best + _SHRUNK * even)


def averaged(outputs: Floats, weights: Floats) -> Floats:
    """Return the average (N, K) of what members say; NaN where none says anything."""
    decisions, present = by_row(outputs)
    mean = weighted_mean(decisions, present, weights)
    return np.where(np.any(present, axis=1)[:, None], mean, np.nan)


def learned_sharpness(target: Target, mean: Floats, rows: TrainingRows) -> float:
    """Return the power to which an average (N, K) has the least loss; 1 where there is none.

    The average of models that err in different ways is more timid than any of them. One number
    mends that, and keeps the order of patients where there are two classes.
    """
    known = np.flatnonzero(~np.isnan(mean).any(axis=1))
    if not target.has_sharpness or not target.can_teach(rows.y[known]):
        return 1.0
    said, part = mean[known], rows.take(known)

    def loss(log_power: float) -> float:
        sharp = target.sharpened(said, float(np.exp(log_power)))
        return target.deviance(sharp, part.y, part.loss_weight) + _TOWARDS_ONE * log_power**2

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_POWERS, method="bounded").x))


def unseen_average(
    target: Target, outputs: Floats, rows: TrainingRows, splits: Sequence[Split]
) -> Floats:
    """Return the average (N, K), weighed and sharpened without the fold of the row itself."""
    result = np.full(outputs.shape[1:], np.nan)
    for learn, judge in splits:
        known, others = outputs[:, learn], rows.take(learn)
        weights = member_weights(target, known, others)
        power = learned_sharpness(target, averaged(known, weights), others)
        result[judge] = target.sharpened(averaged(outputs[:, judge], weights), power)
    return result


def by_row(outputs: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return outputs as (N, V, K) without gaps, and who says anything, (N, V)."""
    decisions = np.moveaxis(outputs, 0, 1)
    present: NDArray[np.bool_] = np.asarray(~np.isnan(decisions).any(axis=2))
    return np.where(present[:, :, None], decisions, 0.0), present
