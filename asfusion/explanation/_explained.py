"""What pictures, pages and checks ask of an explanation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.explanation._attribution import Floats


class Explained(ABC):
    """What N predictions rest on, by M modalities and what lies within each."""

    names: tuple[str, ...]
    values: Floats
    errors: Floats | None
    base_values: Floats
    predictions: Floats
    present: NDArray[np.bool_]
    output_names: tuple[str, ...]
    absence: str
    details: Any

    def __len__(self) -> int:
        """Return the number of explained rows."""
        return len(self.values)

    @abstractmethod
    def __getitem__(self, name: str) -> Any:
        """Return the attribution within a modality."""
