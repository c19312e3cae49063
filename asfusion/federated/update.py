"""What travels in a round: a task to each site, and its update back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from asfusion.federated._messages import odd, pack, unpack
from asfusion.federated.scores import ScoreCounts

_TASK, _UPDATE = "asfusion.task/1", "asfusion.update/1"


@dataclass(frozen=True, eq=False)
class Task:
    """What a site is asked to do in a round.

    Parameters
    ----------
    weights : mapping of str to ndarray
        To start from.
    round : int
        From 0; after the last one, what is only to be judged.
    epochs : int
        Passes over the site's rows; 0 to judge alone.
    rate : float
        Factor on the model's learning rate.
    plan : str
        The plan as JSON where the site may not have it yet, else its digest.
    proximal : float
        How strongly weights are pulled to those that the round starts from.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.federated import Task
    >>> task = Task({"w": np.zeros(2)}, round=0, epochs=2, rate=1.0, plan="")
    >>> Task.from_bytes(task.to_bytes()).epochs
    2
    """

    weights: Mapping[str, NDArray[Any]]
    round: int
    epochs: int
    rate: float
    plan: str
    proximal: float = 0.0

    def to_bytes(self) -> bytes:
        """Return the task as one message."""
        told = {key: value for key, value in vars(self).items() if key != "weights"}
        return pack(_TASK, told, self.weights)

    @classmethod
    def from_bytes(cls, data: bytes) -> Task:
        """Return what `to_bytes` gave; an `InputError` for anything else."""
        told, weights = unpack(data, _TASK)
        try:
            numbers = int(told["round"]), int(told["epochs"]), float(told["rate"])
            return cls(weights, *numbers, str(told["plan"]), float(told["proximal"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise odd(_TASK) from None


@dataclass(frozen=True, eq=False)
class Update:
    """Weights that a site's rows have moved, and how many rows those are.

    Parameters
    ----------
    weights : mapping of str to ndarray
        By name; encoders of which the site has too few rows are not among them.
    n_rows : int
        Rows that were learned from.
    n_present : mapping of str to int
        Of those, rows that have each modality; zero where they are too few to be told.
    loss : float
        Mean loss of the last epoch.
    round : int
        From 0.
    plan : str
        Digest of the plan.
    scores : ScoreCounts
        How the weights of the task did on rows that the site holds out, of two classes.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.federated import Update
    >>> update = Update({"w": np.zeros(2)}, n_rows=30)
    >>> Update.from_bytes(update.to_bytes()).n_rows
    30
    """

    weights: Mapping[str, NDArray[Any]]
    n_rows: int
    n_present: Mapping[str, int] = field(default_factory=dict)
    loss: float = float("nan")
    round: int = 0
    plan: str = ""
    scores: ScoreCounts = field(default_factory=lambda: ScoreCounts(()))

    @property
    def n_bytes(self) -> int:
        """Bytes of the weights."""
        return sum(array.nbytes for array in self.weights.values())

    def to_bytes(self) -> bytes:
        """Return the update as one message, in the safetensors format."""
        told = {key: value for key, value in vars(self).items() if key != "weights"}
        return pack(_UPDATE, {**told, "scores": self.scores.bins}, self.weights)

    @classmethod
    def from_bytes(cls, data: bytes) -> Update:
        """Return what `to_bytes` gave.

        Parameters
        ----------
        data : bytes
            A message, which is not trusted.

        Returns
        -------
        Update
            The same weights and numbers.

        Raises
        ------
        InputError
            If the message holds anything else.
        """
        told, weights = unpack(data, _UPDATE)
        try:
            present = {str(name): int(n) for name, n in told["n_present"].items()}
            numbers = int(told["n_rows"]), present, float(told["loss"]), int(told["round"])
            scores = ScoreCounts.read(told["scores"])
            return cls(weights, *numbers, str(told["plan"]), scores)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            raise odd(_UPDATE) from None
