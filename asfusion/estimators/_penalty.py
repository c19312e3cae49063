"""The penalty of a linear model, chosen by patients that it was not fitted to.

Dimensions: N rows, F features, P penalties, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from asfusion._splits import Split, patient_folds
from asfusion.estimators._sklearn import weight_options
from asfusion.estimators._sparse import distinct
from asfusion.targets._base import Target

Floats = NDArray[np.float64]

USUAL = 1.0  # where rows are too few to choose
FEWEST = 40  # patients
FEWEST_OF_CLASS = 5  # of them outside the commonest class
_FOLDS = 5
# More rows hardly change the choice; of wide tables there are fewer, for the sake of time.
_MOST_ROWS, _MOST_CELLS, _FEWEST_ROWS = 10_000, 10_000_000, 500
_ROUNDING = 1e-12


def choose_penalty(
    target: Target,
    features: Any,
    y: NDArray[Any],
    weight: Floats,
    groups: NDArray[Any] | None,
    *,
    seed: int,
) -> float:
    """Return the penalty of `target.linear` whose predictions of unseen patients fit best.

    Parameters
    ----------
    target : Target
        What is predicted; its `deviance` judges.
    features : ndarray or csr_array of shape (N, F)
        Scaled, finite.
    y : ndarray of shape (N,) or (N, K)
        Coded rows.
    weight : ndarray of shape (N,)
        Weight of each row.
    groups : ndarray of shape (N,) or None
        Patient of each row, kept whole.
    seed : int
        Shuffles the patients.

    Returns
    -------
    float
        `USUAL` where there are fewer than `FEWEST` patients (or rows that differ), or
        `FEWEST_OF_CLASS` of them outside the commonest class.
    """
    # Of a sparse matrix only what it holds costs time.
    width = max(1, features.nnz // len(y)) if issparse(features) else features.shape[1]
    most = min(_MOST_ROWS, max(_FEWEST_ROWS, _MOST_CELLS // width))
    if len(y) > most:
        rows = _some(len(y), groups, most, seed)
        features, y, weight = features[rows], y[rows], weight[rows]
        groups = None if groups is None else groups[rows]
    else:
        features = features[:]  # which few rows on disk bring into memory
    if groups is None:
        features, y, weight = _once(features, y, weight)
    folds = _folds(target, y, groups, seed)
    if not folds:
        return USUAL
    weight_options(target.linear(), weight, "estimator")  # raises where it takes no weights
    found = _unseen(target, features, y, weight, folds)
    losses = [target.deviance(outputs, y, weight) for outputs in found]
    return float(target.penalties[int(np.argmin(losses))])


def _unseen(
    target: Target, features: Any, y: NDArray[Any], weight: Floats, folds: list[Split]
) -> Floats:
    """Return predictions (P, N, K) by models that did not see the rows, for each penalty."""
    found = np.zeros((len(target.penalties), len(y), target.n_outputs_))
    for learn, judge in folds:
        seen, asked = _narrowed(features[learn], features[judge])
        found[:, judge] = target.ridge_path(seen, y[learn], weight[learn], asked)
    return found


def _some(n_rows: int, groups: NDArray[Any] | None, most: int, seed: int) -> NDArray[np.int64]:
    """Return positions of about `most` rows, of whole patients."""
    unit = np.arange(n_rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    drawn = np.random.default_rng(seed).random(int(unit.max()) + 1)
    return np.flatnonzero(drawn[unit] < most / n_rows)


def _once(features: Any, y: NDArray[Any], weight: Floats) -> tuple[Any, Any, Floats]:
    """Return each row once, with the weight of all its copies, in an order of their own.

    A copy in another fold would judge what it was learned from. So weights mean what copies do, and
    no order of rows changes the choice.
    """
    if issparse(features):
        first, place = distinct(features, y)
    else:
        columns = [*features.T, *np.atleast_2d(np.nan_to_num(y, nan=-1.0).T)]
        first, place = _distinct(columns)
    total = np.zeros(len(first))
    np.add.at(total, place, weight)
    return features[first], y[first], total


def _distinct(columns: Sequence[NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first of each kind of row, in the order of their values, and the kind of each.

    As `numpy.unique` of a table does, which copies it several times: here few columns are looked
    at, as most rows differ in the first ones.
    """
    n_rows = len(columns[0])
    rank = np.zeros(n_rows, dtype=np.int64)  # how many rows are less, as far as was looked
    tied = np.arange(n_rows)
    for column in columns:
        order = np.lexsort((column[tied], rank[tied]))
        tied, start = tied[order], np.arange(n_rows)[: len(tied)]
        group, values = rank[tied], column[tied]
        opens = np.append(True, group[1:] != group[:-1])
        is_new = np.append(True, values[1:] != values[:-1]) | opens
        begun = np.maximum.accumulate(np.where(opens, start, 0))
        rank[tied] = group + np.maximum.accumulate(np.where(is_new, start, 0)) - begun
        tied = np.sort(tied[~_alone(is_new)])
        if not len(tied):
            break
    _, first, place = np.unique(rank, return_index=True, return_inverse=True)
    return first, place


def _alone(is_new: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which entries have no equal beside them, where each kind begins at a true one."""
    return np.asarray(is_new & np.append(is_new[1:], True))


def can_choose(target: Target, y: NDArray[Any], groups: NDArray[Any] | None) -> bool:
    """Return whether there are patients enough to choose by those that were left out."""
    strata = target.strata(y)
    unit = np.arange(len(y)) if groups is None else groups
    if len(np.unique(unit)) < FEWEST:
        return False
    others = slice(None) if strata is None else strata != np.bincount(strata).argmax()
    return len(np.unique(unit[others])) >= FEWEST_OF_CLASS


def _folds(target: Target, y: NDArray[Any], groups: NDArray[Any] | None, seed: int) -> list[Split]:
    if not can_choose(target, y, groups):
        return []
    strata = target.strata(y)
    folds = patient_folds(groups, _FOLDS, n_rows=len(y), strata=strata, seed=seed)
    return folds if all(target.can_teach(y[learn]) for learn, _ in folds) else []


def _narrowed(seen: Any, asked: Any) -> tuple[Any, Any]:
    """Return features turned so that there are no more than rows to learn from.

    A penalty on squares does not change under rotation, and its solution lies where those rows do.
    """
    if issparse(seen) or seen.shape[1] <= len(seen):
        return seen, asked
    squares, left = np.linalg.eigh(seen @ seen.T)
    kept = squares > _ROUNDING * squares.max(initial=0.0)
    spread, left = np.sqrt(squares[kept]), left[:, kept]
    return left * spread, (asked @ seen.T) @ (left / spread)
