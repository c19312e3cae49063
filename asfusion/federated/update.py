"""What a site sends after a round, and how arrays become bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import InputError

_FORMAT = "asfusion.update/1"


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
    """

    weights: Mapping[str, NDArray[Any]]
    n_rows: int
    n_present: Mapping[str, int] = field(default_factory=dict)
    loss: float = float("nan")
    round: int = 0
    plan: str = ""

    @property
    def n_bytes(self) -> int:
        """Bytes of the weights."""
        return sum(array.nbytes for array in self.weights.values())

    def to_bytes(self) -> bytes:
        """Return the update as one message, in the safetensors format."""
        from safetensors.numpy import save

        told = {key: value for key, value in vars(self).items() if key != "weights"}
        header = {_FORMAT: json.dumps(told)}  # one key: the format does not order them
        return bytes(save({k: np.ascontiguousarray(v) for k, v in self.weights.items()}, header))

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
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            weights = load(data)
            length = int.from_bytes(data[:8], "little")
            told = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_FORMAT])
            present = {str(name): int(n) for name, n in told["n_present"].items()}
            made = cls(
                weights, int(told["n_rows"]), present, float(told["loss"]), int(told["round"]),
                str(told["plan"]),
            )  # fmt: skip
        except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
            msg = (
                f"Message: expected {_FORMAT}, got something else. Do both sides run the same "
                "version?"
            )
            raise InputError(msg) from None
        return made
