"""Agreement of ordered classes, for many weightings of the rows at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asfusion.evaluation._ranking import divide

Floats = NDArray[np.float64]


class Ordinal:
    """Weighted kappas, and by how many steps predicted classes are wrong.

    Parameters
    ----------
    ranks : ndarray of shape (K,), int
        Place of each class in the order, from 0.
    classes, called : ndarray of shape (N,), int
        Number of the true and of the predicted class of each row.
    """

    def __init__(
        self, ranks: NDArray[np.int64], classes: NDArray[np.int64], called: NDArray[np.int64]
    ) -> None:
        steps = np.abs(ranks[:, None] - ranks[None, :]).astype(np.float64)
        self._costs = {"kappa_linear": steps, "kappa_quadratic": steps**2}
        apart = steps[classes, called]
        is_called = called[:, None] == np.arange(len(ranks))
        self.columns: list[Floats] = [apart, apart**2, *is_called.T.astype(np.float64)]

    def __call__(self, sums: Floats, sizes: Floats) -> dict[str, Floats]:
        """Return each score (R,) for sums (R, 2 + K) of `columns` and class sizes (R, K)."""
        total = sizes.sum(axis=1)
        called = sums[:, 2:]
        scores = {}
        for number, (name, costs) in enumerate(self._costs.items()):
            # What is lost if predictions were drawn by chance, with the same shares of classes.
            chance = np.einsum("ri,ij,rj->r", sizes, costs, called, optimize=True)
            scores[name] = 1.0 - divide(sums[:, number] * total, chance)
        scores["class_error"] = divide(sums[:, 0], total)
        return scores
