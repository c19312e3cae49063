"""How strong an effect is, and random numbers of its own for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asfusion._random import derive_seed

STRENGTHS = (0.12, 0.27, 0.45, 0.7, 1.0)  # of severities 1 to 5


@dataclass(frozen=True)
class Draws:
    """One scene: a seed draws what it is, a strength between 0 and 1 how bad it is.

    Each effect has its own stream, so that a seed is the same scene at all severities.
    """

    seed: int
    strength: float

    def stream(self, effect: str) -> np.random.Generator:
        """Return random numbers that no other effect draws from."""
        return np.random.default_rng(derive_seed(self.seed, "photograph", effect))

    def happens(self, rng: np.random.Generator, share: float) -> bool:
        """Return whether an effect is there that this share of the worst photographs have."""
        return bool(rng.random() < share * self.strength)
