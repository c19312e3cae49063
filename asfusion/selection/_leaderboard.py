"""How members did on rows that they had not seen, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.estimators._rows import TrainingRows
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._judge import make_scorer
from asfusion.evaluation._labels import score_info
from asfusion.evaluation.intervals import score_intervals
from asfusion.evaluation.registry import scoring_of
from asfusion.targets._base import Target

Floats = NDArray[np.float64]

_REPLICATES = 500


def board_of(
    target: Target,
    outputs: Mapping[str, Floats],
    weights: Mapping[str, float],
    seconds: Mapping[str, float],
    rows: TrainingRows,
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """Return a line for each member: its score with an interval by patient, weight and time.

    Scores are of the rows of which all say something; none are there where folds are not.
    """
    known = np.flatnonzero(~np.isnan(np.stack(list(outputs.values()))).any(axis=(0, 2)))
    lines = [
        {"member": name, "weight": weights[name], **_scores(target, said, rows, known, seed)}
        | {"seconds": float(seconds[name])}
        for name, said in outputs.items()
    ]
    primary = scoring_of(target.task).primary
    sign = -1.0 if score_info(primary).better == "high" else 1.0
    return sorted(lines, key=lambda line: sign * line.get(primary, 0.0))


def _scores(
    target: Target, said: Floats, rows: TrainingRows, known: NDArray[np.int64], seed: int
) -> dict[str, float]:
    if not target.can_teach(rows.y[known]):
        return {}
    scoring = scoring_of(target.task)
    judged = _judged(target, said[known], rows.take(known))
    found, _ = score_intervals(
        make_scorer(judged), n_bootstrap=_REPLICATES, confidence=0.95, seed=seed, width=len(known)
    )
    first = found[scoring.primary]
    others = {name: float(found[name].estimate) for name in scoring.board}
    ends = {"low": float(first.low), "high": float(first.high)}
    return {scoring.primary: float(first.estimate), **ends, **others}


def _judged(target: Target, said: Floats, rows: TrainingRows) -> Judged:
    groups = np.arange(len(rows)) if rows.groups is None else rows.groups
    numbers = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    return scoring_of(target.task).judged(
        rows.y, target.judged(said), target.columns(), numbers, rows.groups is not None
    )
