"""What a training run is told: one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from asfusion._checks import check_choice, check_integer, check_number
from asfusion.exceptions import ConfigurationError

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]


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
    weight_decay : float
        Decoupled decay of weight matrices; vectors (biases, norms) are not decayed.
    warmup : float
        Share of all steps during which the rate rises linearly, before it falls along
        a half cosine.
    clip_norm : float
        Largest norm of the gradient.
    modality_dropout : float
        Probability that a present modality is hidden from a row during a step. At
        least one modality of each row stays.
    patience : int
        Epochs without a better validation loss before training stops.
    precision : {"auto", "float32", "bfloat16"}
        ``"auto"`` uses bfloat16 autocast on CUDA devices that have it.
    device : str
        ``"auto"``, or a torch device such as ``"cpu"`` or ``"cuda:0"``.
    seed : int
        Seeds order, dropout, augmentation and modality dropout.
    checkpoint_every_s : float
        Least seconds between two checkpoints (the last epoch is always written).
    """

    max_epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1
    clip_norm: float = 1.0
    modality_dropout: float = 0.1
    patience: int = 10
    precision: Precision = "auto"
    device: str = "auto"
    seed: int = 0
    checkpoint_every_s: float = 1.0

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
        check_choice(self.precision, "precision", ("auto", "float32", "bfloat16"))
        resolve_device(self.device)


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; ``"auto"`` is CUDA where there is one, else the CPU.

    Raises
    ------
    ConfigurationError
        If the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        msg = f"device: expected 'auto' or a torch device of this machine, got {name!r}."
        raise ConfigurationError(msg) from error
    return device
