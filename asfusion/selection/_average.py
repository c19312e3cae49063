"""How members are weighed: a non-negative average, drawn half-way towards equal weights.

Dimensions: V members, N rows, K classes or targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asfusion._splits import Split
from asfusion.estimators._rows import TrainingRows
from asfusion.targets._base import Target
from asfusion.targets._pools import weighted_mean

Floats = NDArray[np.float64]

# Towards equal weights. Fixed beforehand: what inner folds say of members is noisy, most of all
# on few rows, and weights that follow it to the end are worse on new patients than even ones.
_SHRUNK = 0.5


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


def unseen_average(
    target: Target, outputs: Floats, rows: TrainingRows, splits: Sequence[Split]
) -> Floats:
    """Return the average (N, K) whose weights did not see the fold of the row either."""
    result = np.full(outputs.shape[1:], np.nan)
    for learn, judge in splits:
        weights = member_weights(target, outputs[:, learn], rows.take(learn))
        result[judge] = averaged(outputs[:, judge], weights)
    return result


def by_row(outputs: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return outputs as (N, V, K) without gaps, and who says anything, (N, V)."""
    decisions = np.moveaxis(outputs, 0, 1)
    present: NDArray[np.bool_] = np.asarray(~np.isnan(decisions).any(axis=2))
    return np.where(present[:, :, None], decisions, 0.0), present
