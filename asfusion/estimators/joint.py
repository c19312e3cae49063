"""Joint fusion: encoders and fusion head trained together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from asfusion._random import RandomState
from asfusion.encoders._given import Encoders
from asfusion.estimators._base import MEMORY_GB, FusionClassifier, FusionRegressor
from asfusion.estimators._documented import documented
from asfusion.estimators._joint import JointFusion
from asfusion.estimators._types import ClassWeight, Head, Threshold
from asfusion.targets._base import Target
from asfusion.training.options import TrainingOptions
from asfusion.training.settings import ClassLoss


@documented
class JointFusionClassifier(FusionClassifier, JointFusion):
    """Train encoders and fusion head together, to classify.

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
    loss : {"cross_entropy", "focal"}
        ``"focal"`` counts rows that are right already for little [2]_.
    label_smoothing : float or "auto"
        Share of a class's target that is spread over all classes [3]_, so that no network is
        sure of rows that it knows by heart; ``"auto"`` is 0.1, or 0.2 where there are fewer than
        ten rows for each feature of the tables.
    class_weight
    threshold
    memory_gb
    verbose
    random_state
    target

    Attributes
    ----------
    classes_
    encoders_
    network_
    history_
    threshold_
    prior_

    References
    ----------
    .. [1] Wang et al., "Aleatoric uncertainty estimation with test-time augmentation for
       medical image segmentation", Neurocomputing 2019.
       https://doi.org/10.1016/j.neucom.2019.01.103
    .. [2] Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
       https://doi.org/10.1109/ICCV.2017.324
    .. [3] Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
       CVPR 2016. https://doi.org/10.1109/CVPR.2016.308

    Examples
    --------
    >>> import numpy as np, pandas as pd, asfusion as af
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(rng.normal(size=(40, 3)), columns=["crp", "esr", "bmi"])
    >>> y = (X["crp"] + X["bmi"] > 0).astype(int)
    >>> model = af.JointFusionClassifier(
    ...     {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder(["bmi"])},
    ...     fusion="gated", max_epochs=20, random_state=0,
    ... )
    >>> model.fit(X, y).predict_proba(X.head(2)).shape
    (2, 2)
    """

    def __init__(
        self,
        encoders: Encoders = "auto",
        fusion: Head = "concat",
        *,
        max_epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 1e-3,
        modality_dropout: float = 0.2,
        early_stopping: bool | Literal["auto"] = "auto",
        training: TrainingOptions | None = None,
        pretrain: Literal["contrastive"] | None = None,
        test_time_views: int = 1,
        device: str = "auto",
        checkpoint: str | Path | None = None,
        loss: ClassLoss = "cross_entropy",
        label_smoothing: float | Literal["auto"] = "auto",
        class_weight: ClassWeight = None,
        threshold: Threshold = 0.5,
        memory_gb: float = MEMORY_GB,
        verbose: int = 1,
        random_state: RandomState = None,
        target: Target | None = None,
    ) -> None:
        super().__init__(
            encoders,
            fusion,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            modality_dropout=modality_dropout,
            early_stopping=early_stopping,
            training=training,
            pretrain=pretrain,
            test_time_views=test_time_views,
            device=device,
            checkpoint=checkpoint,
            memory_gb=memory_gb,
            verbose=verbose,
            random_state=random_state,
            target=target,
        )
        self.loss = loss
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.threshold = threshold

    def _loss_settings(self, n_rows: int) -> dict[str, Any]:
        usual = super()._loss_settings(n_rows)
        given = {} if self.label_smoothing == "auto" else {"label_smoothing": self.label_smoothing}
        return {"loss": self.loss, **usual, **given}


@documented
class JointFusionRegressor(FusionRegressor, JointFusion):
    """Train encoders and fusion head together, to predict numbers.

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

    References
    ----------
    .. [1] Wang et al., "Aleatoric uncertainty estimation with test-time augmentation for
       medical image segmentation", Neurocomputing 2019.
       https://doi.org/10.1016/j.neucom.2019.01.103

    Examples
    --------
    >>> import numpy as np, asfusion as af
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> model = af.JointFusionRegressor(max_epochs=20, random_state=0)
    >>> model.fit(X, X[:, 0] - X[:, 1]).predict(X[:2]).shape
    (2,)
    """
