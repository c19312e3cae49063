"""The models of several sites, asked together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from asfusion._described import Described
from asfusion.bundle.objects import Bundled
from asfusion.federated._local import Arrays, Floats, LocalModel

BETWEEN = "|"  # of the parts of an array's name: site, modality, array


class SiteEnsemble(Bundled, Described):
    """The models of several sites, asked together: the mean of what they predict, by rows.

    It stands where a fitted scikit-learn estimator does, in a model that `simulate` returns.

    Parameters
    ----------
    arrays : mapping of str to ndarray, optional
        Of each site's model, by its number and name.
    rows : sequence of int
        Rows of each site.
    n_features : int
        Features that they read.
    n_outputs : int
        Classes, or numbers predicted.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.federated import SiteEnsemble
    >>> one = {"coefficients": np.ones((2, 1)), "base": np.zeros(1)}
    >>> one |= {"known": np.arange(1), "link": np.zeros(1, dtype=int)}
    >>> both = {f"{n}|{key}": a * (n + 1) for n in (0, 1) for key, a in one.items()}
    >>> SiteEnsemble(both, [30, 10], n_features=2, n_outputs=1).predict(np.ones((1, 2)))
    array([[2.5]])
    """

    def __init__(
        self, arrays: Any = None, rows: Sequence[int] = (), n_features: int = 0, n_outputs: int = 1
    ) -> None:
        self.arrays = arrays
        self.rows = rows
        self.n_features = n_features
        self.n_outputs = n_outputs
        by_site = grouped(arrays or {})
        self._models = [LocalModel.read(one, n_features, n_outputs) for one in by_site.values()]
        self._shares = np.asarray(rows, dtype=float) / max(1.0, float(np.sum(rows)))

    def predict_proba(self, features: Any) -> Floats:
        """Return the mean probability (N, K) of each class."""
        dense = features.toarray() if issparse(features) else np.asarray(features, dtype=float)
        told = [model.outputs(dense) for model in self._models]
        return np.asarray(np.tensordot(self._shares, np.stack(told), axes=1))

    def predict(self, features: Any) -> Floats:
        """Return the mean prediction (N, K)."""
        return self.predict_proba(features)

    @property
    def classes_(self) -> NDArray[np.int64]:
        """Positions of all classes."""
        return np.arange(self.n_outputs)


def grouped(arrays: Arrays) -> dict[str, dict[str, NDArray[Any]]]:
    """Return arrays by the first part of their names."""
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        first, _, rest = name.partition(BETWEEN)
        found.setdefault(first, {})[rest] = array
    return found
