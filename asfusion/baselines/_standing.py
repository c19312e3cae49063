"""One model on a board of baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asfusion.evaluation.intervals import Interval


@dataclass(frozen=True)
class BaselineStanding:
    """One model on the board.

    Parameters
    ----------
    name : str
        For example ``"forest"`` or ``"mean"``.
    scores : mapping of str to Interval
        ``mae`` and ``rmse`` in units of the index, ``r2`` (unitless), and
        ``within_change``: the share of rows with an error no larger than the minimal
        important change, where the index has one.
    to_mean, to_linear : Interval or None
        Mean absolute error minus that of the mean predictor or the linear model, on the
        same patients drawn; None for that model itself. Below zero is better.
    chosen : tuple of dict
        Parameters that the inner loop chose in each outer fold.
    seconds : float
        Time to tune, fit and predict, over all folds.
    """

    name: str
    scores: Mapping[str, Interval]
    to_mean: Interval | None
    to_linear: Interval | None
    chosen: tuple[dict[str, Any], ...]
    seconds: float
