"""How well embeddings tell sites apart, for the true sites and many permuted ones at once.

A ridge regression of site indicators is linear in them: with the embeddings, the folds and
the penalty fixed, the predictions for every permutation are one matrix product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

_PENALTY = 1.0  # against features scaled to a total variance of one


class SiteRegression:
    """Cross-validated predictions of any labelling of the rows.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Embeddings.
    folds : ndarray of shape (N,)
        Number of the fold of each row; patients are whole in them.
    """

    def __init__(self, features: Floats, folds: Numbers) -> None:
        self._parts = []
        for fold in np.unique(folds):
            judge, learn = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            centre, spread = features[learn].mean(axis=0), features[learn].std(axis=0)
            scale = np.where(spread > 1e-12, spread, np.inf) * np.sqrt(features.shape[1])
            known, asked = ((features[rows] - centre) / scale for rows in (learn, judge))
            gram = known @ known.T + _PENALTY * np.eye(len(learn))
            self._parts.append((learn, judge, np.linalg.solve(gram, known @ asked.T).T))

    def __call__(self, sites: Numbers, n_sites: int) -> Floats:
        """Return the mean area under the curve of each site against the others, (P,).

        `sites` (P, N) are numbers of sites, one labelling of the rows per line.
        """
        areas = np.empty((n_sites, len(sites)))
        for site in range(n_sites):
            here = (sites == site).astype(np.float64)
            scores = np.empty_like(here)
            for learn, judge, smoother in self._parts:
                mean = here[:, learn].mean(axis=1, keepdims=True)
                scores[:, judge] = mean + (here[:, learn] - mean) @ smoother.T
            areas[site] = _areas(scores, here)
        return np.asarray(np.nanmean(areas, axis=0))


def permute_within(sites: Numbers, strata: Numbers, n: int, rng: np.random.Generator) -> Numbers:
    """Return the sites of patients (n, G), shuffled `n` times among those of one stratum."""
    drawn = np.tile(sites, (n, 1))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn[:, members] = rng.permuted(drawn[:, members], axis=1)
    return drawn


def _areas(scores: Floats, here: Floats) -> Floats:
    """Return the area under the ROC curve of each line, NaN where there is one class."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    n_here = here.sum(axis=1)
    n_other = here.shape[1] - n_here
    with np.errstate(invalid="ignore", divide="ignore"):
        above = (ranks * here).sum(axis=1) - n_here * (n_here + 1) / 2
        return np.asarray(above / (n_here * n_other))
