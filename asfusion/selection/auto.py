"""Automatic fusion: a few stable models, judged by patient and averaged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asfusion._random import RandomState
from asfusion.encoders._given import Encoders
from asfusion.estimators._base import FusionClassifier, FusionRegressor
from asfusion.estimators._documented import documented
from asfusion.estimators._types import CV, ClassWeight, Threshold
from asfusion.estimators.multilabel import FusionMultilabel
from asfusion.estimators.survival import FusionSurvival
from asfusion.selection._base import AutoFusion, Members
from asfusion.targets._base import Target

if TYPE_CHECKING:
    from asfusion.estimators._joint import JointFusion


@documented
class AutoFusionClassifier(FusionClassifier, AutoFusion):
    """Average a few stable fusions, weighed by how they do on patients that they had not seen.

    Early fusion with a linear model and with a forest, and late fusion of linear models by
    their mean and their product; from 1,000 rows on also gradient boosting and joint fusion.
    Each is fitted on inner folds that keep patients whole, and the average with the least
    log-loss there, drawn half-way towards equal weights, is what predicts, made bolder by
    one number where it was too timid on those folds. No member is dropped for being second:
    on few rows, the winner of inner folds is often not the best.

    Parameters
    ----------
    encoders
    members
    cv
    max_minutes
    network
    checkpoint
    n_jobs
    class_weight
    threshold
    verbose
    random_state
    target

    Attributes
    ----------
    classes_
    models_ : dict of str to estimator
        Fitted members; each predicts on its own.
    weights_ : dict of str to float
        Weight of each member; they sum to one.
    sharpness_ : float
        Power of the averaged probabilities; above 1 where the average was too timid.
    threshold_
    prior_

    Notes
    -----
    `asfusion.explain` asks the whole, not one of its members: its values add up to what
    the average says, sharpened.

    References
    ----------
    .. [1] Breiman, "Stacked regressions", Machine Learning 1996.
       https://doi.org/10.1007/BF00117832
    .. [2] van der Laan et al., "Super learner", Stat Appl Genet Mol Biol 2007.
       https://doi.org/10.2202/1544-6115.1309

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(60, 3)), columns=["crp", "esr", "bmi"])
    >>> y = (X["crp"] + X["bmi"] > 0).astype(int)
    >>> encoders = {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder("bmi")}
    >>> model = af.AutoFusionClassifier(encoders, verbose=0, random_state=0).fit(X, y)
    >>> sorted(model.weights_)
    ['early forest', 'early linear', 'late mean', 'late product']
    >>> model.predict_proba(X.head(2)).shape
    (2, 2)
    """

    def __init__(
        self,
        encoders: Encoders = "auto",
        members: Members = "auto",
        *,
        cv: CV = 5,
        max_minutes: float | None = None,
        network: JointFusion | None = None,
        checkpoint: str | Path | None = None,
        n_jobs: int | None = None,
        class_weight: ClassWeight = None,
        threshold: Threshold = 0.5,
        verbose: int = 1,
        random_state: RandomState = None,
        target: Target | None = None,
    ) -> None:
        super().__init__(
            encoders,
            members,
            cv=cv,
            max_minutes=max_minutes,
            network=network,
            checkpoint=checkpoint,
            n_jobs=n_jobs,
            verbose=verbose,
            random_state=random_state,
            target=target,
        )
        self.class_weight = class_weight
        self.threshold = threshold


@documented
class AutoFusionRegressor(FusionRegressor, AutoFusion):
    """Average a few stable fusions, weighed by how they do on patients that they had not seen.

    As `AutoFusionClassifier`, with the least squared error in place of the log-loss.

    Parameters
    ----------
    encoders
    members
    cv
    max_minutes
    network
    checkpoint
    n_jobs
    verbose
    random_state
    target

    Attributes
    ----------
    models_ : dict of str to estimator
        Fitted members; each predicts on its own.
    weights_ : dict of str to float
        Weight of each member; they sum to one.
    prior_

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(60, 2)), columns=["crp", "bmi"])
    >>> encoders = {"labs": af.TabularEncoder("crp"), "body": af.TabularEncoder("bmi")}
    >>> model = af.AutoFusionRegressor(encoders, verbose=0, random_state=0)
    >>> model.fit(X, X["crp"] - X["bmi"]).predict(X.head(2)).shape
    (2,)
    """


@documented
class AutoFusionSurvival(FusionSurvival, AutoFusion):
    """Average the curves of a few stable fusions, weighed on patients that they had not seen.

    As `AutoFusionClassifier`, with Cox regressions as linear models, a forest of survival trees,
    and the least integrated Brier score in place of the log-loss.

    Parameters
    ----------
    encoders
    members
    cv
    max_minutes
    network
    checkpoint
    n_jobs
    verbose
    random_state
    target

    Attributes
    ----------
    models_ : dict of str to estimator
        Fitted members; each predicts on its own.
    weights_ : dict of str to float
        Weight of each member; they sum to one.
    prior_

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(80, 2)), columns=["crp", "bmi"])
    >>> time = rng.exponential(np.exp(-X["crp"]))
    >>> y = pd.DataFrame({"event": time < 2, "time": np.minimum(time, 2)})
    >>> encoders = {"labs": af.TabularEncoder("crp"), "body": af.TabularEncoder("bmi")}
    >>> model = af.AutoFusionSurvival(
    ...     encoders, ["early linear", "late mean"], verbose=0, random_state=0
    ... )
    >>> model.fit(X, y).predict(X.head(2)).shape
    (2,)
    """


@documented
class AutoFusionMultilabel(FusionMultilabel, AutoFusion):
    """Average a few stable fusions of several labels, weighed on patients not seen.

    As `AutoFusionClassifier`, with the log-loss over all labels that are known.

    Parameters
    ----------
    encoders
    members
    cv
    max_minutes
    network
    checkpoint
    n_jobs
    verbose
    random_state
    target

    Attributes
    ----------
    models_ : dict of str to estimator
        Fitted members; each predicts on its own.
    weights_ : dict of str to float
        Weight of each member; they sum to one.
    sharpness_ : float
        Power of the averaged probabilities; above 1 where the average was too timid.
    prior_

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["crp", "esr"])
    >>> y = (X > 0).astype(float).rename(columns={"crp": "uveitis", "esr": "psoriasis"})
    >>> encoders = {"crp": af.TabularEncoder("crp"), "esr": af.TabularEncoder("esr")}
    >>> model = af.AutoFusionMultilabel(encoders, ["early linear"], verbose=0, random_state=0)
    >>> model.fit(X, y).predict_proba(X.head(2)).shape
    (2, 2)
    """
