"""How sure a finding is, learned from films that its network has not seen.

Dimensions: N findings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from asfusion.anatomy._views import Seen

Floats = NDArray[np.float64]

FOUND, LOST = 0.5, 0.1
_NOTHING = 2.0  # what films that show nothing count together, in findings


@dataclass(frozen=True, eq=False)
class Confidence:
    """A logistic curve over how peaked the heat is and how far views are apart.

    Parameters
    ----------
    mean, scale : ndarray of shape (2,)
        Of the two, as logarithms.
    weights : ndarray of shape (3,)
        Of the two after that, and a constant.
    """

    mean: Floats
    scale: Floats
    weights: Floats

    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """Return all that the curve is."""
        return self.mean, self.scale, self.weights

    def is_sound(self) -> bool:
        """Return whether the numbers are as `calibrated` gives them."""
        arrays = [np.asarray(array) for array in self.arrays()]
        shapes = [array.shape for array in arrays]
        return shapes == [(2,), (2,), (3,)] and all(np.isfinite(array).all() for array in arrays)

    def of(self, seen: Seen) -> Floats:
        """Return probabilities (N, R) that a finding is right."""
        z = (_features(seen) - self.mean) / self.scale
        return np.asarray(1 / (1 + np.exp(-(z @ self.weights[:2] + self.weights[2]))))


def calibrated(seen: Seen, right: NDArray[np.float64], nothing: Seen) -> Confidence:
    """Return what held-out films say of being right.

    Parameters
    ----------
    seen : Seen
        Findings on held-out films.
    right : ndarray of shape (N, R)
        1 where they are right, 0 where not, NaN where nobody knows.
    nothing : Seen
        Findings on pictures that show nothing. They count little: they say how a finding looks
        that is wrong, should no other be.
    """
    known = np.isfinite(right)
    found, wrong = _features(seen)[known], _features(nothing).reshape(-1, 2)
    x = np.concatenate([found, wrong])
    y = np.concatenate([right[known], np.zeros(len(wrong))])
    # One finding that is right in any case, so that there are always both.
    x, y = np.vstack([x, np.median(found, axis=0)]), np.append(y, 1.0)
    weights = np.concatenate([np.ones(len(found)), np.full(len(wrong), _NOTHING / len(wrong)), [1]])
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit((x - mean) / scale, y, sample_weight=weights)
    return Confidence(mean, scale, np.append(model.coef_[0], model.intercept_[0]))


def _features(seen: Seen) -> Floats:
    return np.stack([np.log(seen.peak + 1e-6), np.log(seen.spread + 1e-4)], axis=-1)
