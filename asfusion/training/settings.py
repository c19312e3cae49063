"""What a training run is told: one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from asfusion._checks import check_choice, check_integer, check_number, quoted
from asfusion.exceptions import ConfigurationError
from asfusion.nn._asked import Precision
from asfusion.nn._device import resolve_device
from asfusion.training.options import (
    Average,
    Initialise,
    Objective,
    RateSchedule,
    TrainingOptions,
)

# Where several modalities are fused; chosen inside training folds (`benchmarks/choose_joint.py`).
_DROPOUT, _MIXUP = 0.3, 0.4

# What private steps can do of each option.
_PRIVATE: Final[dict[str, tuple[Any, ...]]] = {
    "mixup": ("auto", 0), "objective": (None,), "schedule": ("cosine",), "head_first": (0,),
    "progressive_resizing": (False,), "average_weights": (None,), "initialise": (None,),
    "compile": (False,), "precision": ("auto", "float32", "float64"),
}  # fmt: skip

ClassLoss: TypeAlias = Literal["cross_entropy", "focal"]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Everything that decides how weights are learned, apart from data and network.

    Parameters
    ----------
    max_epochs : int
        Passes over the training rows.
    batch_size : int
        Rows per step.
    learning_rate : float
        Peak rate of AdamW, reached after the warm-up.
    modality_dropout : float
        Probability that a present modality is hidden from a row during a step. At
        least one modality of each row stays.
    loss : {"cross_entropy", "focal"}
        Loss of classes.
    label_smoothing : float
        Share of a class's target that is spread over all classes.
    device : str
        ``"auto"``, or a torch device such as ``"cpu"`` or ``"cuda:0"``.
    seed : int
        Seeds order, dropout, augmentation and modality dropout.
    checkpoint_every_s : float
        Least seconds between two checkpoints (the last epoch is always written).
    weight_decay, warmup, clip_norm, dropout, validation_fraction, patience, mixup, objective, \
schedule, head_first, layer_decay, progressive_resizing, average_weights, initialise, \
unimodal_losses, precision, compile, privacy
        As in `TrainingOptions`.
    """

    max_epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-3
    modality_dropout: float = 0.2
    loss: ClassLoss = "cross_entropy"
    label_smoothing: float = 0.0
    device: str = "auto"
    seed: int = 0
    checkpoint_every_s: float = 1.0
    weight_decay: float = 1e-2
    warmup: float = 0.1
    clip_norm: float = 1.0
    dropout: float | Literal["auto"] = "auto"
    validation_fraction: float = 0.15
    patience: int = 10
    mixup: float | Literal["auto"] = "auto"
    objective: Objective | None = None
    schedule: RateSchedule = "cosine"
    head_first: int = 0
    layer_decay: float = 1.0
    progressive_resizing: bool = False
    average_weights: Average | None = None
    initialise: Initialise | None = None
    unimodal_losses: float | Literal["gradient_blend"] = 1.0
    precision: Precision = "auto"
    compile: bool = False
    privacy: Any = None

    def __post_init__(self) -> None:
        """Check every value, so that no run starts with a bad one."""
        check_integer(self.max_epochs, "max_epochs", minimum=1)
        check_integer(self.batch_size, "batch_size", minimum=1)
        check_integer(self.patience, "patience", minimum=1)
        check_number(self.learning_rate, "learning_rate", minimum=0.0, exclusive=True)
        check_number(self.weight_decay, "weight_decay", minimum=0.0)
        check_number(self.warmup, "warmup", minimum=0.0, maximum=1.0)
        check_number(self.clip_norm, "clip_norm", minimum=0.0, exclusive=True)
        check_number(self.modality_dropout, "modality_dropout", minimum=0.0, maximum=1.0)
        if self.dropout != "auto":
            check_number(self.dropout, "dropout", minimum=0.0, maximum=1.0)
        held_out = self.validation_fraction
        check_number(held_out, "validation_fraction", minimum=0, maximum=0.5, exclusive=True)
        check_choice(self.precision, "precision", ("auto", "float32", "float64", "bfloat16"))
        self._check_recipe()
        if self.privacy is not None:
            self._check_private()
        resolve_device(self.device)

    def _check_private(self) -> None:
        """Refuse what lets rows see each other, or would look at them once more."""
        odd = [name for name, fits in _PRIVATE.items() if getattr(self, name) not in fits]
        odd += ["unimodal_losses"] * (self.unimodal_losses == "gradient_blend")
        if odd:
            msg = (
                f"privacy: expected training without {quoted(odd)}, by which rows are blended, "
                "looked at once more, or learned from in another way. Leave that out."
            )
            raise ConfigurationError(msg)

    def mixup_of(self, n_modalities: int) -> float:
        """Return the parameter by which rows of so many modalities are blended."""
        if self.mixup == "auto":
            return _MIXUP if n_modalities > 1 else 0.0
        return self.mixup

    def _check_recipe(self) -> None:
        check_choice(self.loss, "loss", ("cross_entropy", "focal"))
        check_choice(self.schedule, "schedule", ("cosine", "one_cycle"))
        check_number(self.label_smoothing, "label_smoothing", minimum=0.0, maximum=0.9)
        if self.mixup != "auto":
            check_number(self.mixup, "mixup", minimum=0.0, maximum=100.0)
        if self.objective is not None:
            check_choice(self.objective, "objective", ("more_is_not_worse",))
        check_number(self.layer_decay, "layer_decay", minimum=0.01, maximum=1.0)
        check_integer(self.head_first, "head_first", minimum=0)
        if self.head_first >= self.max_epochs:
            msg = (
                f"head_first: expected fewer epochs than max_epochs={self.max_epochs}, got "
                f"{self.head_first}."
            )
            raise ConfigurationError(msg)
        if not isinstance(self.progressive_resizing, bool):
            got = type(self.progressive_resizing).__name__
            raise ConfigurationError(f"progressive_resizing: expected True or False, got {got}.")
        if not isinstance(self.compile, bool):
            got = type(self.compile).__name__
            raise ConfigurationError(f"compile: expected True or False, got {got}.")
        if self.average_weights is not None:
            check_choice(self.average_weights, "average_weights", ("ema", "swa"))
        self._check_unimodal()

    def _check_unimodal(self) -> None:
        if self.initialise is not None:
            check_choice(self.initialise, "initialise", ("unimodal",))
        if isinstance(self.unimodal_losses, str):
            check_choice(self.unimodal_losses, "unimodal_losses", ("gradient_blend",))
        else:
            check_number(self.unimodal_losses, "unimodal_losses", minimum=0.0, maximum=100.0)


def dropout_of(options: TrainingOptions, n_modalities: int) -> float:
    """Return the dropout of a network of so many modalities."""
    if options.dropout == "auto":
        return _DROPOUT if n_modalities > 1 else 0.0
    return options.dropout
