"""Joint fusion: encoders and fusion head trained together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from asfusion.estimators._base import FusionClassifier, FusionRegressor
from asfusion.estimators._joint import JointFusion
from asfusion.fusion._base import Fusion
from asfusion.training.settings import Average, ClassLoss, RateSchedule


class JointFusionClassifier(FusionClassifier, JointFusion):
    """Train encoders and fusion head together, to classify.

    Parameters
    ----------
    encoders : "auto" or dict of str to Encoder
        One description per modality; ``"auto"`` infers them from the columns and says
        what it chose.
    fusion : str or Fusion
        Head that fuses the modalities: ``"concat"``, ``"gated"``, ``"attention"``, or a
        described head such as ``asfusion.fusion.CrossAttention(n_heads=2)``.
    max_epochs : int
        Passes over the training rows.
    batch_size : int or "auto"
        Rows per step; ``"auto"`` is 128 for tables alone, 8 where a network learns from
        volumes, and 32 otherwise.
    learning_rate : float
        Peak rate of AdamW; pretrained backbones learn at a tenth of it.
    weight_decay : float
        Decoupled decay of weight matrices.
    warmup : float
        Share of steps with a rising learning rate; a half cosine follows.
    clip_norm : float
        Largest norm of the gradient.
    dropout : float
        Dropout on the fused vector.
    modality_dropout : float
        Probability that a present modality is hidden from a row during a step, which
        teaches the network to do without it.
    early_stopping : bool or "auto"
        Stop when the loss on held-out rows (whole groups) no longer falls; ``"auto"``
        does so from 100 rows on, unless tables have more features than there are rows.
    validation_fraction : float
        Share of rows held out for early stopping.
    patience : int
        Epochs to wait for a better validation loss.
    mixup : float
        Blend each row's fused vector with that of another, and their targets alike, by a
        share drawn from a beta distribution with this parameter [1]_; 0.2 is usual.
    schedule : {"cosine", "one_cycle"}
        Warm-up and half a cosine, or one cycle of learning rate and momentum [2]_, which has
        its own warm-up and stands higher rates.
    head_first : int
        First epochs in which pretrained backbones that learn are held still [3]_; then the
        schedule begins anew. Has no effect on others.
    layer_decay : float
        Factor on the learning rate from each stage of a backbone to the one before it [3]_;
        0.5 lets early stages, whose filters are general, nearly stay.
    progressive_resizing : bool
        Train on images of half their side in the first third of the epochs, and three
        quarters in the second [4]_. Networks that number their positions (ViT) and tokens
        of frozen backbones keep their size.
    average_weights : {None, "ema", "swa"}
        Predict by an average of the weights: ``"ema"`` over about the last hundred steps
        [5]_, or ``"swa"`` over the last quarter of the epochs [6]_, which needs all of them
        and so no early stopping.
    test_time_views : int
        Views of each image, moved a little, whose tokens are averaged in prediction [7]_;
        for backbones that learn with ``augment=True``.
    precision : {"auto", "float32", "bfloat16"}
        Mixed precision; ``"auto"`` uses it on GPUs that have it. Networks on tables alone
        compute in float64.
    device : str
        ``"auto"``, or a torch device.
    checkpoint : path, optional
        Folder for a crash-safe checkpoint, from which ``fit(..., resume=True)`` goes on.
    loss : {"cross_entropy", "focal"}
        ``"focal"`` counts rows that are right already for little [8]_.
    label_smoothing : float
        Share of a class's target that is spread over all classes [9]_.
    class_weight : None, "balanced" or dict
        Weight of each class in the loss.
    threshold : float, "youden", "prevalence" or dict
        From which probability on the second of two classes is called. ``"youden"`` (the
        largest sum of sensitivity and specificity), ``{"sensitivity": 0.9}`` and
        ``{"specificity": 0.9}`` are chosen on training rows that the deciding model did
        not learn from, which costs further fits; ``"prevalence"`` is the share of that
        class. At 0.5 the more probable class is called.
    verbose : int
        0 is silent; 1 prints inferred encoders and shows progress bars.
    random_state : int, RandomState, Generator or None
        Seeds everything random; an int gives the same model every time.
    target : asfusion.targets.Target, optional
        What y is, where it is another kind of classes than `asfusion.targets.Classes`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    encoders_ : dict of str to Encoder
        Fitted encoders; their `transform` uses the trained networks.
    network_ : FusionNetwork
        The trained network.
    history_ : list of dict
        Loss, validation loss and learning rate of each epoch.
    threshold_ : float
        The threshold that `predict` and `asfusion.evaluate` use; only for two classes.
    prior_ : ndarray of shape (n_classes,)
        Share of each class among the training rows.

    References
    ----------
    .. [1] Verma et al., "Manifold Mixup", ICML 2019.
       https://proceedings.mlr.press/v97/verma19a.html; after Zhang et al., "mixup", ICLR 2018.
       https://doi.org/10.48550/arXiv.1710.09412
    .. [2] Smith and Topin, "Super-Convergence", 2019.
       https://doi.org/10.48550/arXiv.1708.07120
    .. [3] Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification",
       ACL 2018. https://doi.org/10.18653/v1/P18-1031
    .. [4] Tan and Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021.
       https://doi.org/10.48550/arXiv.2104.00298
    .. [5] Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM
       Journal on Control and Optimization 1992. https://doi.org/10.1137/0330046
    .. [6] Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
       Generalization", UAI 2018. https://doi.org/10.48550/arXiv.1803.05407
    .. [7] Wang et al., "Aleatoric uncertainty estimation with test-time augmentation for
       medical image segmentation", Neurocomputing 2019.
       https://doi.org/10.1016/j.neucom.2019.01.103
    .. [8] Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
       https://doi.org/10.1109/ICCV.2017.324
    .. [9] Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
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
        encoders: Any = "auto",
        fusion: str | Fusion = "concat",
        *,
        max_epochs: int = 100,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        warmup: float = 0.1,
        clip_norm: float = 1.0,
        dropout: float = 0.0,
        modality_dropout: float = 0.1,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.15,
        patience: int = 10,
        mixup: float = 0.0,
        schedule: RateSchedule = "cosine",
        head_first: int = 0,
        layer_decay: float = 1.0,
        progressive_resizing: bool = False,
        average_weights: Average | None = None,
        test_time_views: int = 1,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        device: str = "auto",
        checkpoint: str | Path | None = None,
        loss: ClassLoss = "cross_entropy",
        label_smoothing: float = 0.0,
        class_weight: Any = None,
        threshold: Any = 0.5,
        verbose: int = 1,
        random_state: Any = None,
        target: Any = None,
    ) -> None:
        super().__init__(
            encoders,
            fusion,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup=warmup,
            clip_norm=clip_norm,
            dropout=dropout,
            modality_dropout=modality_dropout,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            patience=patience,
            mixup=mixup,
            schedule=schedule,
            head_first=head_first,
            layer_decay=layer_decay,
            progressive_resizing=progressive_resizing,
            average_weights=average_weights,
            test_time_views=test_time_views,
            precision=precision,
            device=device,
            checkpoint=checkpoint,
            verbose=verbose,
            random_state=random_state,
            target=target,
        )
        self.loss = loss
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.threshold = threshold

    def _loss_settings(self) -> dict[str, Any]:
        return {"loss": self.loss, "label_smoothing": self.label_smoothing}


class JointFusionRegressor(FusionRegressor, JointFusion):
    """Train encoders and fusion head together, to predict numbers.

    Parameters
    ----------
    encoders : "auto" or dict of str to Encoder
        One description per modality; ``"auto"`` infers them from the columns and says
        what it chose.
    fusion : str or Fusion
        Head that fuses the modalities: ``"concat"``, ``"gated"``, ``"attention"``, or a
        described head such as ``asfusion.fusion.CrossAttention(n_heads=2)``.
    max_epochs : int
        Passes over the training rows.
    batch_size : int or "auto"
        Rows per step; ``"auto"`` is 128 for tables alone, 8 where a network learns from
        volumes, and 32 otherwise.
    learning_rate : float
        Peak rate of AdamW; pretrained backbones learn at a tenth of it.
    weight_decay : float
        Decoupled decay of weight matrices.
    warmup : float
        Share of steps with a rising learning rate; a half cosine follows.
    clip_norm : float
        Largest norm of the gradient.
    dropout : float
        Dropout on the fused vector.
    modality_dropout : float
        Probability that a present modality is hidden from a row during a step.
    early_stopping : bool or "auto"
        Stop when the loss on held-out rows (whole groups) no longer falls; ``"auto"``
        does so from 100 rows on, unless tables have more features than there are rows.
    validation_fraction : float
        Share of rows held out for early stopping.
    patience : int
        Epochs to wait for a better validation loss.
    mixup : float
        Blend each row's fused vector with that of another, and their targets alike, by a
        share drawn from a beta distribution with this parameter [1]_; 0.2 is usual.
    schedule : {"cosine", "one_cycle"}
        Warm-up and half a cosine, or one cycle of learning rate and momentum [2]_, which has
        its own warm-up and stands higher rates.
    head_first : int
        First epochs in which pretrained backbones that learn are held still [3]_; then the
        schedule begins anew. Has no effect on others.
    layer_decay : float
        Factor on the learning rate from each stage of a backbone to the one before it [3]_;
        0.5 lets early stages, whose filters are general, nearly stay.
    progressive_resizing : bool
        Train on images of half their side in the first third of the epochs, and three
        quarters in the second [4]_. Networks that number their positions (ViT) and tokens
        of frozen backbones keep their size.
    average_weights : {None, "ema", "swa"}
        Predict by an average of the weights: ``"ema"`` over about the last hundred steps
        [5]_, or ``"swa"`` over the last quarter of the epochs [6]_, which needs all of them
        and so no early stopping.
    test_time_views : int
        Views of each image, moved a little, whose tokens are averaged in prediction [7]_;
        for backbones that learn with ``augment=True``.
    precision : {"auto", "float32", "bfloat16"}
        Mixed precision; ``"auto"`` uses it on GPUs that have it. Networks on tables alone
        compute in float64.
    device : str
        ``"auto"``, or a torch device.
    checkpoint : path, optional
        Folder for a crash-safe checkpoint, from which ``fit(..., resume=True)`` goes on.
    verbose : int
        0 is silent; 1 prints inferred encoders and shows progress bars.
    random_state : int, RandomState, Generator or None
        Seeds everything random; an int gives the same model every time.
    target : asfusion.targets.Target, optional
        What y is, where it is another kind of numbers than `asfusion.targets.Numbers`.

    Attributes
    ----------
    encoders_ : dict of str to Encoder
        Fitted encoders; their `transform` uses the trained networks.
    network_ : FusionNetwork
        The trained network.
    history_ : list of dict
        Loss, validation loss and learning rate of each epoch.
    prior_ : ndarray of shape (n_targets,)
        Mean of each target over the training rows.

    References
    ----------
    .. [1] Verma et al., "Manifold Mixup", ICML 2019.
       https://proceedings.mlr.press/v97/verma19a.html; after Zhang et al., "mixup", ICLR 2018.
       https://doi.org/10.48550/arXiv.1710.09412
    .. [2] Smith and Topin, "Super-Convergence", 2019.
       https://doi.org/10.48550/arXiv.1708.07120
    .. [3] Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification",
       ACL 2018. https://doi.org/10.18653/v1/P18-1031
    .. [4] Tan and Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021.
       https://doi.org/10.48550/arXiv.2104.00298
    .. [5] Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM
       Journal on Control and Optimization 1992. https://doi.org/10.1137/0330046
    .. [6] Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
       Generalization", UAI 2018. https://doi.org/10.48550/arXiv.1803.05407
    .. [7] Wang et al., "Aleatoric uncertainty estimation with test-time augmentation for
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
