"""The result of a comparison: models ranked by what they said of rows they had not seen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._files import write_file
from asfusion._version import __version__
from asfusion.comparison import _board_page as _board_words
from asfusion.evaluation._inputs import Task
from asfusion.evaluation.intervals import Interval
from asfusion.show import page as _html

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Kind = Literal["fusion", "single", "baseline"]

PRESENCE = _board_words.PRESENCE
PLAIN_MEAN = _board_words.PLAIN_MEAN
TABLES_BOOSTED, TABLES_LINEAR = _board_words.TABLES


@dataclass(frozen=True)
class Entry:
    """A model that is to stand on a board.

    Parameters
    ----------
    name : str
        Its name there.
    kind : {"fusion", "single", "baseline"}
        Whether it fuses modalities, sees one, or is there to keep the others honest.
    is_plain : bool
        Whether it belongs to the ladder of plain linear models.
    """

    name: str
    kind: Kind
    is_plain: bool = False


@dataclass(frozen=True)
class Standing:
    """One model of a comparison.

    Parameters
    ----------
    name : str
        For example ``"joint: concat"``, ``"labs"`` or ``"plain: mean"``.
    kind : {"fusion", "single", "baseline"}
        Whether it fuses modalities, sees one, or is there to keep the others honest.
    is_plain : bool
        Whether it belongs to the ladder of plain linear models.
    score : Interval
        The score by which the board is ranked.
    difference : Interval or None
        That score minus the one of the best single modality, on the same replicates;
        None for the best single modality itself.
    others : mapping of str to float
        Further scores.
    seed_scores : tuple of float
        The score of each seed alone.
    seconds : float
        Time to fit and predict, over all folds and seeds. Models that come out of one
        fit share it.
    """

    name: str
    kind: Kind
    is_plain: bool
    score: Interval
    difference: Interval | None
    others: Mapping[str, float]
    seed_scores: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class Board:
    """What `compare` found: every model on the same folds, the best first.

    Parameters
    ----------
    task : {"binary", "multiclass", "regression"}
        What was predicted.
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
    predictions: Mapping[str, NDArray[np.float64]] = field(repr=False)
    over_tables: Interval | None = None
    version: str = __version__

    @property
    def best_fusion(self) -> Standing:
        """The best fused model, plain ones aside."""
        return next(s for s in self.standings if s.kind == "fusion" and not s.is_plain)

    @property
    def best_single(self) -> Standing:
        """The best model of a single modality, to which all others are compared."""
        return next(s for s in self.standings if s.kind == "single")

    @property
    def best_tables(self) -> Standing | None:
        """The better model of the tables only; None without a table."""
        names = (TABLES_BOOSTED, TABLES_LINEAR)
        return next((s for s in self.standings if s.name in names), None)

    @property
    def verdict(self) -> str:
        """Whether fusion helped on these rows, in words."""
        return " ".join(_board_words.verdict(self))

    def to_frame(self) -> pd.DataFrame:
        """Return the ranking as a pandas DataFrame.

        Returns
        -------
        DataFrame
            One row per model, the best first: ``kind``, the score with ``low`` and
            ``high``, its ``difference`` to the best single modality with limits, further
            scores and ``seconds``. With several seeds also ``one_fit`` and ``one_fit_sd``:
            mean and standard deviation of the score of one seed alone, which is what a
            model that is fitted once can be expected to reach.
        """
        import pandas as pd

        index = pd.Index([standing.name for standing in self.standings], name="model")
        return pd.DataFrame([self._record(s) for s in self.standings], index=index)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each model's score with its interval, the best on top.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            The axes drawn into.
        """
        if ax is None:
            from matplotlib import pyplot

            figure = pyplot.figure(figsize=_board_words.figure_size(self), layout="constrained")
            ax = figure.subplots()
        _board_words.draw(self, ax)
        return ax

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the board as one page that needs no other file and no network.

        Parameters
        ----------
        path : path
            The file; one that is there is replaced.

        Returns
        -------
        Path
            The file.
        """
        text = _html.page("asfusion comparison", self._repr_html_())
        write_file(Path(path), text.encode("utf-8"))
        return Path(path)

    def __repr__(self) -> str:
        """Return the ranking and the verdict as text."""
        return _board_words.as_text(self)

    def _repr_html_(self) -> str:
        """Return the ranking as HTML, with its picture."""
        return _board_words.as_html(self)

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
        if len(self.seeds) > 1:
            record["one_fit"] = float(np.mean(standing.seed_scores))
            record["one_fit_sd"] = float(np.std(standing.seed_scores, ddof=1))
        return record | {"seconds": standing.seconds}
