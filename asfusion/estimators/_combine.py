"""A linear model over the decisions of modalities.

Dimensions: N rows, M modalities, K outputs. Decisions are (N, M, K), NaN or anything at
absent places; `present` is (N, M).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.targets._base import Target

Array = NDArray[np.float64]
Present = NDArray[np.bool_]


class Stacker:
    """A linear model on the modalities' decisions, with flags for absent ones."""

    def __init__(self, target: Target, prior: Array) -> None:
        self.target = target
        self.prior = prior

    def fit(self, decisions: Array, present: Present, y: NDArray[Any], weights: Array) -> Any:
        """Return the fitted linear model, from decisions of models that did not see the rows."""
        features = self.features(decisions, present)
        model, labels = self.target.for_part(self.target.linear(), y)
        return model.fit(features, labels, sample_weight=weights)

    def predict(self, model: Any, decisions: Array, present: Present) -> Array:
        """Return combined decisions (N, K)."""
        return self.target.ask_part(model, self.features(decisions, present))

    def features(self, decisions: Array, present: Present) -> Array:
        """Return evidence beyond the prior (zero where absent) and presence flags."""
        evidence = self.target.evidence(decisions, self.prior)
        evidence = np.where(present[:, :, None], evidence, 0.0)
        return np.hstack([evidence.reshape(len(evidence), -1), present.astype(np.float64)])
