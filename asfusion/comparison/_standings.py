"""Models that stand on a board, and the names of those that every board has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from asfusion.evaluation.intervals import Interval

Kind = Literal["fusion", "single", "baseline"]

PRESENCE = "presence only"
PLAIN_MEAN = "plain: mean"
TABLES_BOOSTED, TABLES_LINEAR = "tables only: boosted", "tables only: linear"


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
        The score by which the board is ranked: of all rows, or the mean of those within sites
        where each site was left out in turn.
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
    pooled : Interval or None
        Where sites were left out, the score of all rows pooled, which ranks rows of different
        sites, judged by different models, against each other.
    """

    name: str
    kind: Kind
    is_plain: bool
    score: Interval
    difference: Interval | None
    others: Mapping[str, float]
    seed_scores: tuple[float, ...]
    seconds: float
    pooled: Interval | None = None
