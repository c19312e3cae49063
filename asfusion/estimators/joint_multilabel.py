"""Several labels at once, by joint fusion."""

from __future__ import annotations

from asfusion.estimators._documented import documented
from asfusion.estimators._joint import JointFusion
from asfusion.estimators.multilabel import FusionMultilabel


@documented
class JointFusionMultilabel(FusionMultilabel, JointFusion):
    """Train the encoders of all modalities and a fusion head together, an output for each label.

    A row teaches the labels that it has; labels may be missing in `y`.

    Parameters
    ----------
    encoders
    fusion
    max_epochs
    batch_size
    learning_rate
    modality_dropout
    early_stopping
    training
    pretrain
    test_time_views
    device
    checkpoint
    memory_gb
    verbose
    random_state
    target

    Attributes
    ----------
    encoders_
    network_
    history_
    prior_

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["crp", "esr"])
    >>> y = (X > 0).astype(float).rename(columns={"crp": "uveitis", "esr": "psoriasis"})
    >>> model = af.JointFusionMultilabel(max_epochs=2, verbose=0, random_state=0).fit(X, y)
    >>> model.predict(X.head(2)).shape
    (2, 2)
    """
