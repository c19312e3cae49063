"""Counts: means above zero, judged by the Poisson deviance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._ranking import divide
from asfusion.evaluation.metrics import RegressionScorer, ScoreInfo
from asfusion.evaluation.of_numbers import NumberScoring
from asfusion.evaluation.scoring import Rules
from asfusion.exceptions import InputError

Floats = NDArray[np.float64]


class CountScoring(NumberScoring):
    """Predicted means of counts."""

    task = "counts"
    primary = "deviance"
    board = ("mae", "d2")
    folds = ("deviance", "mae", "d2")
    canary = ("d2", 0.0)
    infos: ClassVar[Mapping[str, ScoreInfo]] = {
        "deviance": ScoreInfo("Poisson deviance", "low", 0.0),
        "d2": ScoreInfo("Share of deviance explained", "high", 1.0),
    }

    def read(self, predicted: Any, y: Any, groups: Any, classes: Any) -> Judged:
        """Return checked rows with predicted means."""
        judged = replace(super().read(predicted, y, groups, classes), task=self.task)
        low = int((judged.predicted <= 0).any(axis=1).sum())
        if low or (judged.y < 0).any():
            msg = (
                f"predictions: expected means above 0 of counts from 0 on, got others in {low} "
                "row(s). Judge what is measured as numbers."
            )
            raise InputError(msg)
        return judged

    def scorer(self, judged: Judged, rules: Rules) -> RegressionScorer:
        """Return what scores deviance and errors."""
        return _CountScorer(judged, rules.mic or None)


class _CountScorer(RegressionScorer):
    """Scores of numbers, and the Poisson deviance."""

    def __init__(self, judged: Judged, mic: Any) -> None:
        super().__init__(judged.y, judged.predicted, mic=mic, groups=judged.groups)
        y, mean = judged.y, judged.predicted
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.where(y > 0, y * np.log(y), 0.0)
        # The deviance from a common mean m is 2 (sum of y log y - sum of y log m).
        columns = (2.0 * (own - y * np.log(mean) - y + mean), own, y)
        self._deviance = self.sums([np.ones(len(y)), *(c for part in columns for c in part.T)])
        self._width = y.shape[1]

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        sums = counts @ self._deviance
        total = sums[:, :1]
        parts = sums[:, 1:].reshape(len(counts), 3, self._width)
        found, own, mean = (divide(parts[:, k], total) for k in range(3))
        with np.errstate(divide="ignore", invalid="ignore"):
            usual = 2.0 * (own - np.where(mean > 0, mean * np.log(mean), 0.0))
        usual[usual <= 1e-14] = 0.0
        scores = {
            "deviance": found.mean(axis=1),
            "d2": (1.0 - divide(found, usual)).mean(axis=1),
        }
        return {**scores, **super().__call__(counts)}
