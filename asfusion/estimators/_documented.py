"""What several estimators have in common, described once.

A class names a parameter or an attribute in its docstring, alone on a line, and `documented`
puts the description there. `help`, the reference pages and the checks of docstrings read the
same text.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, Final, TypeVar

Class = TypeVar("Class", bound=type[Any])

_SHARED: Final = """
encoders : "auto" or dict of str to Encoder
    One description per modality; ``"auto"`` infers them from the columns and says
    what it chose. ``"drop"`` in place of one leaves the modality out, in a search, too.
scale : {"auto", "blocks", "columns", "none"}
    How features are scaled for the estimator: each modality to the same total variance,
    however many features it has (block scaling), so that a wide embedding does not drown a
    handful of labs in a penalised model; each feature to variance one; or not at all, which trees
    do not mind. ``"auto"`` is ``"blocks"`` for ``"linear"``, and ``"none"`` for the others.
fusion : str or Fusion
    Head that fuses the modalities, by the name of its file in `asfusion.fusion`, such as
    ``"concat"``, ``"gated"`` or ``"attention"``, or a described head such as
    ``asfusion.fusion.CrossAttention(n_heads=2)``.
max_epochs : int or "auto"
    Passes over the training rows; ``"auto"`` is at most 100 where they stop early or a network
    learns from images, words or visits, and otherwise as many as make 120 steps, from 40 to 100.
batch_size : int or "auto"
    Rows per step; ``"auto"`` is 128 for tables alone, 8 where a network learns from
    volumes, and 32 otherwise.
learning_rate : float
    Peak rate of AdamW; pretrained backbones learn at a tenth of it.
modality_dropout : float
    Probability that a present modality is hidden from a row during a step, which
    teaches the network to do without it.
early_stopping : bool or "auto"
    Stop when the loss on held-out rows (whole groups) no longer falls; ``"auto"`` does so
    from 1,000 rows on, or 100 where a network learns from images, words or visits, unless
    tables have more features than there are rows.
training : TrainingOptions, optional
    How networks are trained beyond that; the defaults of `asfusion.TrainingOptions`
    otherwise.
pretrain : {None, "contrastive"}
    Let encoders learn first from rows whose y is missing, together with the others: the
    modalities of one row are to be found by each other. Such rows may be in X only then.
test_time_views : int
    Views of each image, moved a little, whose tokens are averaged in prediction [1]_;
    for backbones that learn with ``augment=True``.
device : str
    ``"auto"``, or a torch device.
checkpoint : path, optional
    Folder for a crash-safe checkpoint, from which ``fit(..., resume=True)`` goes on.
memory_gb : float
    Most memory, in GB, that the process is to take while the rows of a LazyFrame are read in
    pieces; rows in memory do not ask for it. What is read and learned does not depend on it,
    unless the words of notes fill more than a quarter of it.
members : "auto", sequence of str, or dict of str to estimator
    What may join: some of ``"late mean"``, ``"late product"``, ``"early linear"``,
    ``"early forest"``, ``"early boosted"`` and ``"joint"``, or fusion estimators of your own by
    name, each with its encoders or ``"auto"`` for those of the whole; None stands for the member
    of that name. Target, class weights and threshold are those of the whole. ``"auto"`` is the
    first four, and the others from 1,000 rows on.
cv : int, splitter or iterable of splits
    Inner folds by which members are judged; an int keeps groups whole.
max_minutes : float, optional
    After this time no fit is begun, and members that are not done are left out with a warning.
    The first always stay. Without, the same seed gives the same model.
n_jobs : int, optional
    Processes that fit folds side by side.
weights : dict of str to float, optional
    Fixed weights for ``combine="weighted"``.
verbose : int
    0 is silent; 1 prints inferred encoders and shows progress bars.
random_state : int, RandomState, Generator or None
    Seeds everything random, also what is given without a seed of its own; an int gives
    the same model every time. Networks round otherwise under another number of torch threads.
encoders_ : dict of str to Encoder
    Fitted encoders; their `transform` uses the trained networks.
network_ : FusionNetwork
    The trained network.
history_ : list of dict
    Loss, validation loss and learning rate of each epoch.
feature_names_ : list of str
    Names of the fused features.
penalty_ : float or None
    The penalty of ``"linear"`` that was chosen; None of other estimators.
combination_ : str
    How decisions are combined: what ``combine="auto"`` came to.
dependence_ : float
    How much of what modalities say is the same, for ``combine="product"``: what m of them add to
    the prior is divided by m to this power. 0 if they are independent, 1 if they are copies.
models_ : dict of str to estimator
    Fitted model of each modality; each predicts on its own.
weights_ : dict of str to float
    Weight of each modality.
"""

_OF_FACE: Final = {
    "classifier": """
network : JointFusionClassifier, optional
    Training settings of networks, also of frozen ones (`device`, precision); defaults otherwise.
class_weight : None, "balanced" or dict
    Weight of each class, in the loss of networks and as weights of rows for other models.
threshold : float, "youden", "prevalence" or dict
    From which probability on the second of two classes is called. ``"youden"`` (the
    largest sum of sensitivity and specificity), ``{"sensitivity": 0.9}`` and
    ``{"specificity": 0.9}`` are chosen on training rows that the deciding model did
    not learn from, which costs further fits; ``"prevalence"`` is the share of that
    class. At 0.5 the more probable class is called.
target : asfusion.targets.Target, optional
    What y is, where it is another kind of classes than `asfusion.targets.Classes`.
classes_ : ndarray of shape (n_classes,)
    Class labels.
threshold_ : float
    The threshold that `predict` and `asfusion.evaluate` use; only for two classes.
prior_ : ndarray of shape (n_classes,)
    Share of each class among the training rows.
""",
    "multilabel": """
network : JointFusionMultilabel, optional
    Training settings of networks, also of frozen ones (`device`, precision); defaults otherwise.
target : asfusion.targets.Labels, optional
    What y is.
prior_ : ndarray of shape (n_labels,)
    Share of each label among the training rows where it is known.
""",
    "survival": """
network : JointFusionSurvival, optional
    Training settings of networks, also of frozen ones (`device`, precision); defaults otherwise.
target : asfusion.targets.Survival, optional
    What networks learn, and at how many times curves are known.
prior_ : ndarray of shape (n_times,)
    Kaplan-Meier curve of the training rows at ``target_.times_``.
""",
    "regressor": """
network : JointFusionRegressor, optional
    Training settings of networks, also of frozen ones (`device`, precision); defaults otherwise.
target : asfusion.targets.Target, optional
    What y is, where it is another kind of numbers than `asfusion.targets.Numbers`.
prior_ : ndarray of shape (n_targets,)
    Mean of each target over the training rows.
""",
}
_NAME = re.compile(r"^(\w+)$", re.M)
_ENTRY = re.compile(r"^(\w+) : .*\n(?:    .*\n)+", re.M)


def documented(cls: Class) -> Class:
    """Describe what a class names in its docstring and shares with others."""
    if cls.__doc__ is not None:  # `python -OO` has no docstrings
        text = _SHARED + _OF_FACE[cls._face]
        entries = {entry[1]: entry[0].rstrip() for entry in _ENTRY.finditer(text)}
        doc = inspect.cleandoc(cls.__doc__)
        cls.__doc__ = _NAME.sub(lambda name: entries.get(name[1], name[1]), doc)
    return cls
