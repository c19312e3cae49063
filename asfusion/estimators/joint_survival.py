"""Time to an event, by joint fusion."""

from __future__ import annotations

from asfusion.estimators._documented import documented
from asfusion.estimators._joint import JointFusion
from asfusion.estimators.survival import FusionSurvival


@documented
class JointFusionSurvival(FusionSurvival, JointFusion):
    """Train the encoders of all modalities and a fusion head together, on times to an event.

    What is learned is told by ``target``: Cox's partial likelihood by default, or discrete-time
    hazards with ``target=asfusion.targets.Survival("hazards")``.

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
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(80, 2)), columns=["crp", "esr"])
    >>> time = rng.exponential(np.exp(-X["crp"]))
    >>> y = pd.DataFrame({"event": time < 2, "time": np.minimum(time, 2)})
    >>> model = af.JointFusionSurvival(max_epochs=2, verbose=0, random_state=0).fit(X, y)
    >>> model.predict(X.head(2)).shape
    (2,)
    """
