"""Counts: means above zero, judged by the deviance of Poisson and negative binomial counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._ranking import divide
from asfusion.evaluation._reported import Reported
from asfusion.evaluation.metrics import RegressionScorer, ScoreInfo
from asfusion.evaluation.of_numbers import NumberScoring
from asfusion.evaluation.scoring import Rules
from asfusion.exceptions import InputError
from asfusion.targets.counts import moment_dispersion

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
        "deviance_nb": ScoreInfo("Negative binomial deviance", "low", 0.0),
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

    def curves(self, judged: Judged, rules: Rules, **options: Any) -> dict[str, Any]:
        """Return what numbers are drawn from, and by how much the counts vary beyond Poisson."""
        found = moment_dispersion(judged.y).tolist()
        return {**super().curves(judged, rules, **options), "dispersion": found}

    def remarks(self, report: Reported) -> list[str]:
        """Return at which dispersion the negative binomial deviance is."""
        shown = ", ".join(f"{one:.3g}" for one in report.curves["dispersion"])
        told = f"The negative binomial deviance is at a dispersion of {shown}, by the moments of y"
        return [f"{told}: it is the same for every model that is judged on these rows."]


class _CountScorer(RegressionScorer):
    """Scores of numbers, and deviances."""

    def __init__(self, judged: Judged, mic: Any) -> None:
        super().__init__(judged.y, judged.predicted, mic=mic, groups=judged.groups)
        y, mean = judged.y, judged.predicted
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.where(y > 0, y * np.log(y), 0.0)
        # The deviance from a common mean m is 2 (sum of y log y - sum of y log m).
        poisson = 2.0 * (own - y * np.log(mean) - y + mean)
        spread = moment_dispersion(y)
        columns = (poisson, own, y, _negative_binomial(y, mean, poisson, spread))
        self._deviance = self.sums([np.ones(len(y)), *(c for part in columns for c in part.T)])
        self._width = y.shape[1]

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        sums = counts @ self._deviance
        total = sums[:, :1]
        parts = sums[:, 1:].reshape(len(counts), 4, self._width)
        found, own, mean, wider = (divide(parts[:, k], total) for k in range(4))
        with np.errstate(divide="ignore", invalid="ignore"):
            usual = 2.0 * (own - np.where(mean > 0, mean * np.log(mean), 0.0))
        usual[usual <= 1e-14] = 0.0
        scores = {
            "deviance": found.mean(axis=1),
            "deviance_nb": wider.mean(axis=1),
            "d2": (1.0 - divide(found, usual)).mean(axis=1),
        }
        return {**scores, **super().__call__(counts)}


def _negative_binomial(y: Floats, mean: Floats, poisson: Floats, spread: Floats) -> Floats:
    """Return the deviance (N, T) of negative binomial counts; that of Poisson for no spread."""
    some = np.where(spread > 0, spread, 1.0)
    # y log(y / mean) is what the Poisson deviance has of it, too.
    shared = poisson / 2.0 + y - mean
    wider = 2.0 * (shared - (y + 1.0 / some) * (np.log1p(some * y) - np.log1p(some * mean)))
    return np.where(spread > 0, wider, poisson)
