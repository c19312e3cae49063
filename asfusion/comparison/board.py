"""The result of a comparison: models ranked by what they said of rows they had not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._version import __version__
from asfusion.comparison._board_page import BoardPage
from asfusion.comparison._standings import Standing
from asfusion.evaluation._inputs import Task
from asfusion.evaluation.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Board(BoardPage):
    """What `compare` found: every model on the same folds, the best first.

    Parameters
    ----------
    task : str
        What was predicted: binary, multiclass, regression, or what else was registered.
    primary : str
        Name of the score by which models are ranked.
    standings : tuple of Standing
        The models, the best first.
    n_rows, n_groups : int
        Rows judged, and the patients that they belong to.
    is_grouped : bool
        Whether patients were given.
    n_folds : int
        Folds of each seed.
    seeds : tuple of int
        Seeds over which predictions are averaged.
    confidence : float
        Coverage that the intervals aim at.
    n_bootstrap : int
        Number of bootstrap replicates.
    predictions : mapping of str to ndarray
        Out-of-fold predictions of each model, one row per row of X: of shape (N,) for
        two classes (probability of the second) and one target, else (N, K). NaN in rows
        that no fold judged.
    over_tables : Interval or None
        Score of the best fusion minus that of the best model of the tables only, on the
        same replicates; None without a table.
    sites : tuple of str
        Sites that were left out in turn, if they were: scores are means of those within sites.
    version : str
        Version of asfusion that made the board.
    """

    task: Task
    primary: str
    standings: tuple[Standing, ...]
    n_rows: int
    n_groups: int
    is_grouped: bool
    n_folds: int
    seeds: tuple[int, ...]
    confidence: float
    n_bootstrap: int
    predictions: Mapping[str, NDArray[np.float64]]
    over_tables: Interval | None = None
    sites: tuple[str, ...] = ()
    version: str = __version__

    def to_frame(self) -> pd.DataFrame:
        """Return the ranking as a pandas DataFrame.

        Returns
        -------
        DataFrame
            One row per model, the best first: ``kind``, the score with ``low`` and
            ``high``, its ``difference`` to the best single modality with limits, further
            scores and ``seconds``. Where sites were left out also ``pooled``, the score of all
            rows pooled. With several seeds also ``one_fit`` and ``one_fit_sd``:
            mean and standard deviation of the score of one seed alone, which is what a
            model that is fitted once can be expected to reach.
        """
        import pandas as pd

        index = pd.Index([standing.name for standing in self.standings], name="model")
        return pd.DataFrame([self._record(s) for s in self.standings], index=index)

    def _record(self, standing: Standing) -> dict[str, Any]:
        difference = standing.difference or Interval(0.0, np.nan, np.nan)
        record: dict[str, Any] = {
            "kind": standing.kind,
            self.primary: standing.score.estimate,
            "low": standing.score.low,
            "high": standing.score.high,
            "difference": difference.estimate,
            "difference_low": difference.low,
            "difference_high": difference.high,
            **standing.others,
        }
        if standing.pooled is not None:
            record["pooled"] = standing.pooled.estimate
        if len(self.seeds) > 1:
            record["one_fit"] = float(np.mean(standing.seed_scores))
            record["one_fit_sd"] = float(np.std(standing.seed_scores, ddof=1))
        return record | {"seconds": standing.seconds}
