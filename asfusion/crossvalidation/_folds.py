"""What is known of each fold alone, and of the canary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._judge import make_scorer
from asfusion.evaluation.intervals import Interval


@dataclass(frozen=True)
class Fold:
    """Scores of one fold alone.

    Parameters
    ----------
    repeat, number : int
        Which repeat, and which fold of it, from 0.
    site : str or None
        The site that was left out, if sites were.
    n_rows, n_groups : int
        Rows tested, and the patients that they belong to.
    scores : mapping of str to float
        Every score; NaN where it is undefined, as the AUC is on one class.
    """

    repeat: int
    number: int
    site: str | None
    n_rows: int
    n_groups: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Canary:
    """The score of the same cross-validation on permuted labels.

    Parameters
    ----------
    name : {"auc", "r2"}
        The score: area under the curve for classes, R² for a regression.
    score : Interval
        What it was.
    chance : float
        What it is where nothing leaks: 0.5, or at most 0.
    """

    name: str
    score: Interval
    chance: float

    @property
    def sings(self) -> bool:
        """Whether the interval lies above chance, as it does once in 40 times by chance alone."""
        return bool(self.score.low > self.chance)


def score_folds(
    judged: Sequence[Judged], folds: NDArray[np.int64], sites: tuple[str, ...]
) -> tuple[Fold, ...]:
    """Return the scores of every fold.

    Parameters
    ----------
    judged : sequence of Judged
        All rows with the predictions of each repeat.
    folds : ndarray of shape (N, R)
        Number of the fold of each row, -1 if none.
    sites : tuple of str
        Names of the folds, or empty.

    Returns
    -------
    tuple of Fold
        By repeat, then number.
    """
    found = []
    for repeat, rows in enumerate(judged):
        for number in range(int(folds[:, repeat].max()) + 1):
            part = rows.take(np.flatnonzero(folds[:, repeat] == number))
            scores = make_scorer(part)(np.ones((1, part.n_groups)))
            values = {name: float(value[0]) for name, value in scores.items()}
            site = sites[number] if sites else None
            found.append(Fold(repeat, number, site, len(part), part.n_groups, values))
    return tuple(found)
