"""How sure a finding is, learned from films that its network has not seen.

Dimensions: N films, R things to find, F features of a finding.
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
_COUNTS = 3, 5  # features, without and with windows
# What findings that are wrong by intent count together, of each kind: pictures of nothing, and
# points at the place of their neighbour, which few films have and nothing else tells.
_NOTHING, _SWAPPED, _SWAPPED_SHARE = 2.0, 2.0, 0.05


@dataclass(frozen=True, eq=False)
class Confidence:
    """A logistic curve over features of findings.

    Parameters
    ----------
    mean, scale : ndarray of shape (F,)
        Of the features.
    weights : ndarray of shape (F + 1,)
        Of the features after that, and a constant.
    """

    mean: Floats
    scale: Floats
    weights: Floats

    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """Return all that the curve is."""
        return self.mean, self.scale, self.weights

    @property
    def knows_windows(self) -> bool:
        """Whether what windows show is among the features."""
        return len(self.mean) == _COUNTS[1]

    def is_sound(self) -> bool:
        """Return whether the numbers are as `calibrated` gives them."""
        arrays = [np.asarray(array) for array in self.arrays()]
        shapes = [array.shape for array in arrays]
        finite = all(np.isfinite(array).all() for array in arrays)
        return finite and any(shapes == [(n,), (n,), (n + 1,)] for n in _COUNTS)

    def of(self, features: Floats) -> Floats:
        """Return probabilities (N, R) that findings with these features (N, R, F) are right."""
        z = (features - self.mean) / self.scale
        return np.asarray(1 / (1 + np.exp(-(z @ self.weights[:-1] + self.weights[-1]))))


def features_of(seen: Seen, off: Floats, closer: Seen | None = None) -> Floats:
    """Return what tells whether findings are right (N, R, F).

    How peaked the heat is, how far views are apart, how far each is `off` its arrangement, and
    the first two once more of what was seen in windows.
    """
    parts = [_of_off(off)]
    for look in (seen, closer):
        if look is not None:
            parts += [np.log(look.peak + 1e-6), np.log(look.spread + 1e-4)]
    return np.stack(parts, axis=-1)


def with_off(features: Floats, off: Floats) -> Floats:
    """Return features of findings that are so far off their arrangement."""
    changed = features.copy()
    changed[..., 0] = _of_off(off)
    return changed


def _of_off(off: Floats) -> Floats:
    return np.asarray(np.log(off + 0.1))


class Held(NamedTuple):
    """What was found on held-out films, and what is wrong by intent.

    Parameters
    ----------
    features : ndarray of shape (N, R, F)
        Of findings.
    right : ndarray of shape (N, R)
        1 where they are right, 0 where not, NaN where nobody knows.
    nothing : ndarray of shape (n, F)
        Features of findings on pictures that show nothing.
    swapped : ndarray of shape (m, F)
        Features of findings at the place of a neighbour.
    """

    features: Floats
    right: Floats
    nothing: Floats
    swapped: Floats


def calibrated(parts: Sequence[Held]) -> Confidence:
    """Return what held-out films say of being right.

    What is wrong by intent counts little: it says how a finding looks that is wrong, should no
    other be.
    """
    held = Held(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    known = np.isfinite(held.right)
    found = held.features[known]
    # One finding that is right in any case, so that there are always both.
    every = [found, np.median(found, axis=0)[None], held.nothing, held.swapped]
    counts = [len(part) for part in every]
    x = np.concatenate(every)
    y = np.repeat([0.0, 1.0, 0.0, 0.0], counts)
    y[: counts[0]] = held.right[known]
    swapped = max(_SWAPPED, _SWAPPED_SHARE * counts[0])
    each = [1.0, 1.0, _NOTHING / max(1, counts[2]), swapped / max(1, counts[3])]
    weights = np.repeat(each, counts)
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit((x - mean) / scale, y, sample_weight=weights)
    return Confidence(mean, scale, np.append(model.coef_[0], model.intercept_[0]))
