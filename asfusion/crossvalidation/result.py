"""The result of a cross-validation: what copies of a model said of patients they had not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._version import __version__
from asfusion.crossvalidation._blackout import Blackout
from asfusion.crossvalidation._folds import Canary, Fold
from asfusion.crossvalidation._result_page import CrossValidationPage
from asfusion.duplicates.found import Duplicates
from asfusion.evaluation.intervals import Interval
from asfusion.evaluation.report import Report

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class CrossValidation(CrossValidationPage):
    """What `cross_validate` found.

    Parameters
    ----------
    report : Report
        All tested rows together, by their out-of-fold predictions. If sites were left out, its
        scores also rank patients of one site against those of another, of whom another model
        spoke: then see `within_sites`.
    predictions : ndarray
        Those predictions, one per row of X, averaged over repeats: of shape (N,) for
        two classes (probability of the second) and one target, else (N, K). NaN in rows
        that no fold tested.
    folds : ndarray of shape (N, R)
        Number from 0 of the fold that tests the row in each repeat; -1 if none does.
    fold_scores : tuple of Fold
        Every fold of every repeat alone.
    sites : tuple of str
        The sites by number of fold, if one was left out at a time; else empty.
    duplicates : Duplicates or None
        Contents that different patients share; None if they were not looked for.
    canary : Canary or None
        The score on permuted labels, if asked for.
    within_sites : mapping of str to Interval, or None
        The mean over sites of each score within them, each site counting once, if they were left
        out. Intervals draw patients within each site. A site in which a score is undefined
        is left out of its mean.
    blackout : Blackout or None
        The score of the same model where the regions that it looks at are black, with the paired
        difference, if asked for.
    version : str
        Version of asfusion that made the result.
    """

    report: Report
    predictions: NDArray[np.float64]
    folds: NDArray[np.int64]
    fold_scores: tuple[Fold, ...]
    sites: tuple[str, ...]
    duplicates: Duplicates | None
    canary: Canary | None
    within_sites: Mapping[str, Interval] | None = None
    blackout: Blackout | None = None
    version: str = __version__

    def to_frame(self) -> pd.DataFrame:
        """Return the scores of every fold as a pandas DataFrame.

        Returns
        -------
        DataFrame
            One row per repeat and fold: ``repeat``, ``fold``, ``site`` where sites were left
            out, ``n_rows``, ``n_groups`` and every score.
        """
        import pandas as pd

        records = []
        for fold in self.fold_scores:
            record: dict[str, Any] = {"repeat": fold.repeat, "fold": fold.number}
            if self.sites:
                record["site"] = fold.site
            record |= {"n_rows": fold.n_rows, "n_groups": fold.n_groups}
            records.append(record | dict(fold.scores))
        return pd.DataFrame(records)
