"""How sure a finding is, learned from films that its network has not seen.

Dimensions: N findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from asfusion.anatomy._views import Seen

Floats = NDArray[np.float64]

FOUND, LOST = 0.5, 0.1
_MADE = 2.0  # what findings that are wrong by intent count together, of each kind


@dataclass(frozen=True, eq=False)
class Confidence:
    """A logistic curve over how peaked the heat is, how far views are apart, and the arrangement.

    Parameters
    ----------
    mean, scale : ndarray of shape (3,)
        Of the three, as logarithms.
    weights : ndarray of shape (4,)
        Of the three after that, and a constant.
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
        return shapes == [(3,), (3,), (4,)] and all(np.isfinite(array).all() for array in arrays)

    def of(self, seen: Seen, off: Floats) -> Floats:
        """Return probabilities (N, R) that a finding is right, which is `off` its arrangement."""
        z = (_features(seen, off) - self.mean) / self.scale
        return np.asarray(1 / (1 + np.exp(-(z @ self.weights[:3] + self.weights[3]))))


class Examples(NamedTuple):
    """Findings, how far they are off their arrangement, and whether they are right.

    `off` and `right` (N, R): 1 where a finding is right, 0 where not, NaN where nobody knows.
    """

    seen: Seen
    off: Floats
    right: Floats

    def table(self) -> tuple[Floats, Floats]:
        """Return features and answers of all findings of which somebody knows."""
        known = np.isfinite(self.right)
        return _features(self.seen, self.off)[known], self.right[known]


def calibrated(held: Examples, made: Sequence[Examples]) -> Confidence:
    """Return what held-out films say of being right.

    Parameters
    ----------
    held : Examples
        Findings on held-out films.
    made : sequence of Examples
        Findings that are wrong by intent: on pictures that show nothing, and at the place of a
        neighbour. They count little: they say how a finding looks that is wrong, should no other
        be.
    """
    x, y = held.table()
    parts, answers, weights = (
        [x, np.median(x, axis=0)[None]],
        [y, np.ones(1)],
        [np.ones(len(x) + 1)],
    )
    for one in made:
        wrong = one.table()[0][one.table()[1] == 0]
        parts.append(wrong)
        answers.append(np.zeros(len(wrong)))
        weights.append(np.full(len(wrong), _MADE / max(1, len(wrong))))
    every = np.concatenate(parts)
    mean, scale = every.mean(axis=0), every.std(axis=0) + 1e-6
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit(
        (every - mean) / scale, np.concatenate(answers), sample_weight=np.concatenate(weights)
    )
    return Confidence(mean, scale, np.append(model.coef_[0], model.intercept_[0]))


def _features(seen: Seen, off: Floats) -> Floats:
    parts = np.log(seen.peak + 1e-6), np.log(seen.spread + 1e-4), np.log(off + 0.1)
    return np.stack(parts, axis=-1)
