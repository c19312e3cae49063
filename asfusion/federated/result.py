"""How a federated training went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np

from asfusion._door import public
from asfusion.estimators.conformal_classifier import ConformalClassifier
from asfusion.estimators.recalibrated import RecalibratedClassifier
from asfusion.federated._recounted import calibrated_by, conformal_by
from asfusion.federated._run_page import RunPage
from asfusion.federated.plan import Plan
from asfusion.federated.scores import ScoreCounts
from asfusion.federated.update import Update

if TYPE_CHECKING:
    import pandas as pd


Calibration: TypeAlias = Literal["temperature", "sigmoid", "prevalence"]


@dataclass(frozen=True)
class Round:
    """What happened in one round.

    Parameters
    ----------
    number : int
        From 0.
    loss : mapping of str to float
        Mean training loss at each site that answered.
    auc : float
        Of rows held out at all sites together, NaN where none were.
    site_auc : mapping of str to float
        Of each site's own.
    refused : mapping of str to str
        Sites that were not counted, and why.
    n_bytes : mapping of str to int
        Size of each site's message.
    before : mapping of str to ScoreCounts
        Counts of the rows that each site holds out, by the weights that the round began with.
    """

    number: int
    loss: Mapping[str, float]
    auc: float
    site_auc: Mapping[str, float]
    refused: Mapping[str, str]
    n_bytes: Mapping[str, int]
    before: Mapping[str, ScoreCounts]

    @classmethod
    def of(
        cls,
        number: int,
        updates: Mapping[str, Update],
        refused: Mapping[str, str],
        n_bytes: Mapping[str, int],
    ) -> Self:
        """Return the record of a round that is not judged yet."""
        losses = {name: update.loss for name, update in updates.items()}
        before = {name: update.scores for name, update in updates.items()}
        return cls(number, losses, np.nan, {}, dict(refused), dict(n_bytes), before)

    def scored(self, scores: Mapping[str, ScoreCounts]) -> Self:
        """Return the record with the scores of the weights that the round ended with."""
        together = sum(scores.values(), ScoreCounts(()))
        by_site = {name: one.auc() for name, one in scores.items()}
        return replace(self, auc=together.auc(), site_auc=by_site)


@dataclass(frozen=True, eq=False, repr=False)
class FederatedRun(RunPage):
    """What `simulate` found. It holds no row of any site.

    Parameters
    ----------
    model_ : estimator of the class that was given
        Fitted across the sites.
    plan_ : Plan
        What it was built from.
    rounds_ : tuple of Round
        One by one.
    summary_bytes : mapping of str to int
        What each site told before the first round.
    plan_bytes : int
        What each site was sent before the first round.
    site_rows : mapping of str to int
        Rows that each site told of.
    scores_ : ScoreCounts
        Of the model, on rows held out at all sites together.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"crp": [1.0, 9.0, 3.0, 20.0] * 10})
    >>> y = [0, 1, 0, 1] * 10
    >>> model = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp"])}, verbose=0)
    >>> sites = [0] * 20 + [1] * 20
    >>> run = af.federated.simulate(model, X, y, sites, rounds=1, holdout=0.0, verbose=0)
    >>> run.to_frame().columns.tolist()
    ['round', 'site', 'loss', 'auc', 'refused', 'n_bytes']
    """

    model_: Any
    plan_: Plan
    rounds_: tuple[Round, ...]
    summary_bytes: Mapping[str, int]
    plan_bytes: int
    site_rows: Mapping[str, int]
    scores_: ScoreCounts = field(default_factory=lambda: ScoreCounts(()))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per round and site.

        Returns
        -------
        DataFrame
            Columns ``round``, ``site``, ``loss``, ``auc``, ``refused``, ``n_bytes``.
        """
        import pandas as pd

        rows = [
            {
                "round": one.number, "site": site, "loss": loss,
                "auc": one.site_auc.get(site, np.nan), "refused": one.refused.get(site, ""),
                "n_bytes": one.n_bytes.get(site, 0),
            }
            for one in self.rounds_
            for site, loss in one.loss.items()
        ]  # fmt: skip
        return pd.DataFrame(rows)

    @public
    def calibrated(self, method: Calibration = "temperature") -> RecalibratedClassifier:
        """Return the model with its probabilities made right, by counts of rows held out.

        Parameters
        ----------
        method : {"temperature", "sigmoid", "prevalence"}
            As in `asfusion.RecalibratedClassifier`.

        Returns
        -------
        RecalibratedClassifier
            Around ``model_``.

        Raises
        ------
        InputError
            If sites held out too few rows of a class to count them.
        """
        return calibrated_by(self.scores_, self.model_, method)

    @public
    def conformal(self, coverage: float = 0.9) -> ConformalClassifier:
        """Return the model with sets of classes, by counts of rows held out.

        Each row counts as a patient, and as its bin's mean probability. At a site that is unlike
        the sites together, the coverage is another one.

        Parameters
        ----------
        coverage : float
            Share of rows whose class is to be in the set.

        Returns
        -------
        ConformalClassifier
            Around ``model_``.

        Raises
        ------
        InputError
            If sites held out too few rows for the coverage.
        """
        return conformal_by(self.scores_, self.model_, coverage)
