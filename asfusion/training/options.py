"""How networks are trained, beyond what is turned every day: one object to describe it."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from asfusion._described import Described
from asfusion.nn._asked import Precision

RateSchedule: TypeAlias = Literal["cosine", "one_cycle"]
Average: TypeAlias = Literal["ema", "swa"]
Initialise: TypeAlias = Literal["unimodal"]
Objective: TypeAlias = Literal["more_is_not_worse"]


class TrainingOptions(Described):
    """Describe how networks are trained, where the defaults are not what you want.

    `JointFusionClassifier` and `JointFusionRegressor` take it as ``training=``. Each option can
    be searched over by its name (``training__mixup``), also where none were given.

    Parameters
    ----------
    weight_decay : float
        Decoupled decay of weight matrices.
    warmup : float
        Share of steps with a rising learning rate; a half cosine follows.
    clip_norm : float
        Largest norm of the gradient.
    dropout : float or "auto"
        Dropout on the fused vector, and at least as much within the networks of tables, frozen
        backbones' embeddings and words counted; ``"auto"`` is 0.3 where several modalities are
        fused, and 0 for one alone.
    validation_fraction : float
        Share of rows held out for early stopping.
    patience : int
        Epochs to wait for a better validation loss.
    mixup : float or "auto"
        Blend each row's fused vector with that of another, and their targets alike, by a
        share drawn from a beta distribution with this parameter [1]_; ``"auto"`` is 0.4 where
        several modalities are fused, and 0 (no blending) for one alone.
    objective : {None, "more_is_not_worse"}
        ``"more_is_not_worse"`` passes each row a second time with a random part of its
        modalities, learns from both, and counts by how much the loss with more exceeds that
        with fewer [7]_. A step costs twice as much; rows with one modality are as before.
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
    initialise : {None, "unimodal"}
        Where joint training starts: at weights drawn at random (beside what is pretrained), or at
        encoders each of which was trained alone first, by a loss of its own. Takes as long again.
    unimodal_losses : float or "gradient_blend"
        Weight in the loss of what each of several modalities says by itself, so that none is
        neglected because another learns faster; or weights by how much each gains on rows
        that are held out for it and how much it overfits [8]_. With it the network predicts by
        the mean of what all say together and each by itself; 0 is neither.
    precision : {"auto", "float32", "float64", "bfloat16"}
        ``"auto"`` trains in mixed precision on GPUs that have bfloat16, and predicts and embeds
        there by tensor cores (TF32); a CPU computes in float32. ``"float32"`` is that
        everywhere, ``"bfloat16"`` mixed precision everywhere, in predictions and embeddings, too.
        Networks on tables alone compute in float64; others with ``"float64"``, in twice the time
        or more: what they learn then hardly depends on how many threads or processes add up.
    compile : bool
        Whether torch compiles backbones before they learn: slow to begin with, worth it for
        long runs on a GPU. Needs a compiler on the machine.
    privacy : asfusion.federated.DifferentialPrivacy, optional
        Learn by steps that bound what weights tell of any one patient [9]_: without dropout,
        blending of rows and early stopping, and with nothing that lets rows of a batch see each
        other. ``privacy_`` of the fitted model holds what was spent.

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
    .. [7] Li et al., "SimMLM: A Simple Framework for Multi-modal Learning with Missing
       Modality", ICCV 2025. https://doi.org/10.48550/arXiv.2507.19264
    .. [8] Wang, Tran, Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?",
       CVPR 2020. https://doi.org/10.1109/CVPR42600.2020.01271
    .. [9] Abadi et al., "Deep Learning with Differential Privacy", CCS 2016.
       https://doi.org/10.1145/2976749.2978318

    Examples
    --------
    >>> import asfusion as af
    >>> from sklearn.model_selection import GridSearchCV
    >>> model = af.JointFusionClassifier(training=af.TrainingOptions(average_weights="ema"))
    >>> model.set_params(training__mixup=0.2).training
    TrainingOptions(mixup=0.2, average_weights='ema')
    >>> search = GridSearchCV(model, {"training__weight_decay": [0.001, 0.01, 0.1]}, cv=3)
    """

    def __init__(
        self,
        *,
        weight_decay: float = 1e-2,
        warmup: float = 0.1,
        clip_norm: float = 1.0,
        dropout: float | Literal["auto"] = "auto",
        validation_fraction: float = 0.15,
        patience: int = 10,
        mixup: float | Literal["auto"] = "auto",
        objective: Objective | None = None,
        schedule: RateSchedule = "cosine",
        head_first: int = 0,
        layer_decay: float = 1.0,
        progressive_resizing: bool = False,
        average_weights: Average | None = None,
        initialise: Initialise | None = None,
        unimodal_losses: float | Literal["gradient_blend"] = 1.0,
        precision: Precision = "auto",
        compile: bool = False,  # as torch calls it
        privacy: Any = None,
    ) -> None:
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.clip_norm = clip_norm
        self.dropout = dropout
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.mixup = mixup
        self.objective: Objective | None = objective
        self.schedule: RateSchedule = schedule
        self.head_first = head_first
        self.layer_decay = layer_decay
        self.progressive_resizing = progressive_resizing
        self.average_weights = average_weights
        self.initialise: Initialise | None = initialise
        self.unimodal_losses = unimodal_losses
        self.precision: Precision = precision
        self.compile = compile
        self.privacy = privacy
