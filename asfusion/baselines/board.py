"""What a comparison of baselines found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._version import __version__
from asfusion.baselines._board_page import BaselinePage
from asfusion.baselines._standing import BaselineStanding
from asfusion.evaluation.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class BaselineBoard(BaselinePage):
    """Models of one clinical index on the same folds, the smallest error first.

    Parameters
    ----------
    index : str
        What was predicted.
    change : str or None
        The minimal important change that ``within_change`` was counted with, in words.
    standings : tuple of BaselineStanding
        The models, the best first; the linear model and the mean are always there.
    n_rows, n_groups : int
        Rows judged, and the patients that they belong to.
    is_grouped : bool
        Whether patients were given.
    n_folds : int
        Outer folds.
    confidence : float
        Coverage that the intervals aim at.
    n_bootstrap : int
        Number of bootstrap replicates.
    predictions : mapping of str to ndarray of shape (N,)
        Out-of-fold predictions of each model, NaN in rows that no fold judged.
    version : str
        Version of asfusion that made the board.
    """

    index: str
    change: str | None
    standings: tuple[BaselineStanding, ...]
    n_rows: int
    n_groups: int
    is_grouped: bool
    n_folds: int
    confidence: float
    n_bootstrap: int
    predictions: Mapping[str, NDArray[np.float64]]
    version: str = __version__

    def to_frame(self) -> pd.DataFrame:
        """Return the ranking as a pandas DataFrame.

        Returns
        -------
        DataFrame
            One row per model, the best first: each score with ``_low`` and ``_high``, the
            paired differences of the mean absolute error ``to_mean`` and ``to_linear``
            with limits, and ``seconds``.
        """
        import pandas as pd

        index = pd.Index([standing.name for standing in self.standings], name="model")
        return pd.DataFrame([_record(standing) for standing in self.standings], index=index)


def _record(standing: BaselineStanding) -> dict[str, Any]:
    record: dict[str, Any] = {}
    missing = Interval(0.0, np.nan, np.nan)
    columns = {
        **standing.scores,
        "to_mean": standing.to_mean or missing,
        "to_linear": standing.to_linear or missing,
    }
    for name, score in columns.items():
        record |= {name: score.estimate, f"{name}_low": score.low, f"{name}_high": score.high}
    return record | {"seconds": standing.seconds}
