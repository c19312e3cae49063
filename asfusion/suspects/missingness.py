"""What is missing, and whether that alone tells the target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asfusion.suspects._rules import N_FOLDS, folds_of
from asfusion.suspects.outcome import Outcome
from asfusion.suspects.suspect import Suspect

_FEWEST = 40
_MOST_COLUMNS = 200
_CLEAR = 3.0  # standard errors above chance
_LEAST, _LEAST_CORRELATION = 0.15, 0.25  # above chance, to be worth a word
EVERYTHING = "(missing cells)"


def find_missingness(
    known: NDArray[np.bool_], outcomes: Sequence[Outcome], patients: NDArray[np.int64]
) -> list[Suspect]:
    """Return whether which cells are missing predicts the target in other patients.

    Parameters
    ----------
    known : ndarray of shape (N, C)
        Which cells are there.
    outcomes : sequence of Outcome
        What is predicted.
    patients : ndarray of shape (N,)
        Number of the patient of each row.
    """
    table = _varied(known)
    if not table.shape[1]:
        return []
    for outcome in outcomes:
        rows = np.flatnonzero(outcome.known)
        people = np.unique(patients[rows], return_inverse=True)[1]
        if people.max(initial=-1) + 1 < _FEWEST:
            continue
        evidence = _evidence(table[rows], outcome.take(rows), people)
        if evidence:
            return [Suspect(EVERYTHING, "missingness", evidence)]
    return []


def _varied(known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the columns of which some cells are missing, each pattern once."""
    n_known = known.sum(axis=0)
    some = known[:, (n_known >= 5) & (n_known <= len(known) - 5)]
    if not some.shape[1]:
        return np.empty((len(known), 0))
    return np.unique(some, axis=1)[:, :_MOST_COLUMNS].astype(np.float64)


def _evidence(table: NDArray[np.float64], outcome: Outcome, patients: NDArray[np.int64]) -> str:
    if not outcome.levels:
        ranks = _ranks(outcome.values)
        told = _told(table, ranks[:, None], patients)[:, 0]
        found = float(np.corrcoef(told, ranks)[0, 1]) if told.std() > 0 else 0.0
        error = 1.0 / np.sqrt(patients.max())
        if found < max(_LEAST_CORRELATION, _CLEAR * error):
            return ""
        return f"which cells are missing predicts it by itself (rank correlation {found:.2f})"
    present = np.unique(outcome.values)
    indicators = np.asarray(outcome.values[:, None] == present, dtype=np.float64)
    told = _told(table, indicators, patients)
    areas = [_area(indicators[:, k] > 0, told[:, k]) for k in range(len(present))]
    errors = [_error(indicators[:, k] > 0, patients) for k in range(len(present))]
    clear = [a for a, e in zip(areas, errors, strict=True) if a - 0.5 > max(_LEAST, _CLEAR * e)]
    if not clear:
        return ""
    return f"which cells are missing predicts it by itself (AUC {max(clear):.2f} out of fold)"


def _told(
    table: NDArray[np.float64], wanted: NDArray[np.float64], patients: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return ridge predictions (N, K) for patients that were not learned from."""
    folds = folds_of(patients)
    out = np.zeros(wanted.shape)
    for fold in range(N_FOLDS):
        learn, judge = folds != fold, folds == fold
        centre, mean = table[learn].mean(axis=0), wanted[learn].mean(axis=0)
        features = table[learn] - centre
        square = features.T @ features + 5.0 * np.eye(table.shape[1])
        weights = np.linalg.solve(square, features.T @ (wanted[learn] - mean))
        # As deviations from the mean of the fold: its level says which class is held out.
        out[judge] = (table[judge] - centre) @ weights
    return out


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), dtype=np.float64)


def _area(positive: NDArray[np.bool_], told: NDArray[np.float64]) -> float:
    ranks, n = _ranks(told), int(positive.sum())
    others = len(positive) - n
    if not n or not others:
        return 0.5
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * others))


def _error(positive: NDArray[np.bool_], patients: NDArray[np.int64]) -> float:
    """Return the standard error of an area of one half, counting patients."""
    one, other = len(np.unique(patients[positive])), len(np.unique(patients[~positive]))
    return float(np.sqrt((one + other + 1) / (12.0 * max(one, 1) * max(other, 1))))
