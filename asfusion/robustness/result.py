"""What a stress test found: scores by severity, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asfusion.evaluation._inputs import Task
from asfusion.evaluation.intervals import Interval
from asfusion.robustness._stress_page import StressPage

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StressLevel:
    """How a model does at one severity.

    Parameters
    ----------
    severity : int
        0 is the films as they are.
    scores : mapping of str to Interval
        Scores with intervals by patient.
    changes : mapping of str to Interval
        Each score minus that of the films as they are, on the same replicates of the same
        patients; empty at severity 0.
    """

    severity: int
    scores: Mapping[str, Interval]
    changes: Mapping[str, Interval]


@dataclass(frozen=True, eq=False, repr=False)
class StressTest(StressPage):
    """What `asfusion.stress` found. It holds no row of the data.

    Parameters
    ----------
    task : str
        What was predicted: binary, multiclass, regression, or what else was registered.
    by : str
        What happened to the films.
    column : str
        Their column.
    n_rows, n_groups : int
        Rows with a film, which were judged, and their patients.
    is_grouped : bool
        Whether patients were given. If not, each row counts as one.
    confidence : float
        Coverage that the intervals aim at.
    n_bootstrap : int
        Number of bootstrap replicates.
    seed : int
        Seed of the accidents and of the replicates.
    levels : tuple of StressLevel
        By severity, the films as they are first.
    """

    task: Task
    by: str
    column: str
    n_rows: int
    n_groups: int
    is_grouped: bool
    confidence: float
    n_bootstrap: int
    seed: int
    levels: tuple[StressLevel, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per severity and score.

        Returns
        -------
        DataFrame
            Indexed by ``severity`` and ``score``; columns ``estimate``, ``low``, ``high``, and
            ``change``, ``change_low`` and ``change_high`` against the films as they are (NaN at
            severity 0).
        """
        import pandas as pd

        nan = float("nan")
        rows = [
            (level.severity, name, s.estimate, s.low, s.high, c.estimate, c.low, c.high)
            for level in self.levels
            for name, s in level.scores.items()
            for c in [level.changes.get(name, Interval(nan, nan, nan))]
        ]
        columns = ["estimate", "low", "high", "change", "change_low", "change_high"]
        frame = pd.DataFrame(rows, columns=["severity", "score", *columns])
        return frame.set_index(["severity", "score"])
