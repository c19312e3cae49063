"""What members say of rows that they have not seen: by fold, side by side, kept on the disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from asfusion._splits import Split
from asfusion.comparison._jobs import answer_all
from asfusion.comparison._runs import ComparedRows, Run
from asfusion.comparison._standings import Entry
from asfusion.comparison._store import AnswerStore, array_digest
from asfusion.estimators._base import FusionEstimator
from asfusion.estimators._rows import TrainingRows
from asfusion.nn._asked import precision_asked
from asfusion.selection._members import Floats, Kin


class TimeIsUp(Exception):
    """Raised where another fit would begin too late."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SeenRows(ComparedRows):
    """The training rows as a comparison reads them, and as an estimator does."""

    rows: TrainingRows


class KinRun(Run):
    """Members that share all but their last step, fitted on the folds of the training rows.

    Parameters
    ----------
    kin : Kin
        The members.
    parent : FusionEstimator
        Whose members they are; it knows its target, its seed and its encoders.
    weights : str
        Names the weights of rows, on which answers depend.
    """

    def __init__(self, kin: Kin, parent: FusionEstimator, weights: str) -> None:
        self.kin, self.parent, self.weights = kin, parent, weights
        self.entries = [Entry(name, "fusion") for name in kin.answers_of(parent)]

    def answer(self, data: ComparedRows, fold: Split, seed: int) -> dict[str, Floats]:
        """Return the answers (n, K) of the members for the test rows of a fold."""
        deadline = getattr(self.parent, "_deadline", None)
        if deadline is not None and time.time() > deadline:
            raise TimeIsUp
        rows = cast(SeenRows, data).rows
        learn, judge = fold
        said = self.kin.answer(self.parent, rows.take(learn), rows.frame.take(judge))
        return {entry.name: found for entry, found in zip(self.entries, said, strict=True)}


def seen_rows(parent: FusionEstimator, rows: TrainingRows) -> SeenRows:
    """Return training rows as a comparison reads them."""
    groups = np.arange(len(rows)) if rows.groups is None else rows.groups
    return SeenRows(
        rows.frame,
        rows.y,
        parent.target_,
        np.asarray(groups, dtype=np.int64),
        rows.groups is not None,
        dict(parent._chosen_encoders()),
        {},
        parent._where["device"],
        rows=rows,
    )


def answers_of(
    kin: Kin,
    parent: FusionEstimator,
    data: SeenRows,
    folds: Sequence[Split],
    *,
    store: AnswerStore | None,
    n_jobs: int | None,
) -> Floats:
    """Return what members say out of fold, (A, N, K)."""
    run = KinRun(kin, parent, array_digest(data.rows.loss_weight))
    told: dict[str, Any] = {"store": store, "n_jobs": n_jobs}
    with precision_asked(parent._where["precision"]):  # of what is embedded for all processes
        found, _ = answer_all([run], data, {0: list(folds)}, parent.seed_, **told)
    return np.stack([found[entry.name][0] for entry in run.entries])
