"""Folds that keep a patient's rows together."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer
from asfusion.exceptions import ConfigurationError, InputError

Split = tuple[NDArray[np.int64], NDArray[np.int64]]


def make_folds(
    y: NDArray[Any],
    cv: Any,
    *,
    groups: NDArray[np.int64] | None = None,
    stratify: bool,
    seed: int = 0,
) -> list[Split]:
    """Return the positions of training and test rows of each fold.

    Parameters
    ----------
    y : ndarray of shape (N,) or (N, T)
        Class numbers, or regression targets.
    cv : int, scikit-learn splitter, or iterable of (train, test)
        Number of folds, or who makes them.
    groups : ndarray of shape (N,), optional
        Patient of each row.
    stratify : bool
        Whether every fold should have each class in the same share.
    seed : int
        Shuffles the rows when `cv` is an integer.

    Returns
    -------
    list of (train, test)
        Positions of rows.

    Raises
    ------
    ConfigurationError
        If a patient's rows stand on both sides of a split, a row does, or positions are
        unusable.
    InputError
        If there are fewer patients, or rows of the rarest class, than folds.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion._splits import make_folds
    >>> y, patient = np.array([0, 1] * 6), np.repeat(np.arange(6), 2)
    >>> folds = make_folds(y, 3, groups=patient, stratify=True)
    >>> [len(set(patient[train]) & set(patient[test])) for train, test in folds]
    [0, 0, 0]
    """
    if hasattr(cv, "split") and not isinstance(cv, str):
        target = y if y.ndim == 1 else y[:, 0]
        with warnings.catch_warnings():
            # Whether groups stay whole is checked below, whoever made the splits.
            warnings.filterwarnings("ignore", message="The groups parameter is ignored")
            folds = list(cv.split(np.zeros(len(y)), target, groups))
    elif isinstance(cv, Iterable) and not isinstance(cv, str):
        folds = list(cv)
    else:
        folds = _shuffled(y, check_integer(cv, "cv", minimum=2), groups, stratify, seed)
    made = [_checked(fold, number, len(y), groups) for number, fold in enumerate(folds)]
    if stratify:
        _refuse_one_class(y, made)
    return made


def site_folds(sites: NDArray[np.int64], groups: NDArray[np.int64] | None) -> list[Split]:
    """Return folds of which each tests on one site and trains on all others.

    Parameters
    ----------
    sites : ndarray of shape (N,)
        Number from 0 of the site of each row.
    groups : ndarray of shape (N,), optional
        Patient of each row.

    Returns
    -------
    list of (train, test)
        Positions of rows, one pair per site.

    Raises
    ------
    InputError
        If there is one site only, or a patient was seen at several.
    """
    n_sites = int(sites.max(initial=0)) + 1
    if n_sites < 2:
        raise InputError("sites: expected at least 2 sites, got 1. Nothing could be left out.")
    if groups is not None:
        stays = np.unique(np.stack([groups, sites]), axis=1)[0]
        mixed = int((np.bincount(stays) > 1).sum())
        if mixed:
            msg = (
                f"sites: expected each patient at one site, got {mixed} patient(s) at several. A "
                "model would be judged on patients that it has seen. Give all rows of such a "
                "patient one site, for example the first, or leave these rows out."
            )
            raise InputError(msg)
    return [
        (np.flatnonzero(sites != site), np.flatnonzero(sites == site)) for site in range(n_sites)
    ]


def _shuffled(
    y: NDArray[Any], n_splits: int, groups: NDArray[np.int64] | None, stratify: bool, seed: int
) -> list[Any]:
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    units, name = (len(y), "rows") if groups is None else (len(np.unique(groups)), "groups")
    if stratify:
        rarest = min(_units_of(y, groups, label) for label in np.unique(y))
        units, name = min(units, rarest), f"{name} of each class"
    if units < n_splits:
        msg = (
            f"cv: expected at least {n_splits} {name} for {n_splits} folds, got {units}. "
            "Use fewer folds."
        )
        raise InputError(msg)
    if stratify:
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    else:
        kind = KFold if groups is None else GroupKFold
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        splitter = kind(n_splits=n_splits, shuffle=True, random_state=seed)
        return list(splitter.split(np.zeros(len(y)), y, groups))


def _units_of(y: NDArray[Any], groups: NDArray[np.int64] | None, label: Any) -> int:
    """Return how many rows, or patients, have a class."""
    rows = y == label
    return int(rows.sum()) if groups is None else len(np.unique(groups[rows]))


def _checked(fold: Any, number: int, n_rows: int, groups: NDArray[np.int64] | None) -> Split:
    who = f"cv, split {number}"
    try:
        train, test = (_positions(part) for part in fold)
    except (TypeError, ValueError):
        msg = (
            f"{who}: expected a pair of integer arrays (train, test) with row positions, got "
            f"{type(fold).__name__}."
        )
        raise ConfigurationError(msg) from None
    for name, part in (("train", train), ("test", test)):
        if not len(part) or part.min() < 0 or part.max() >= n_rows:
            msg = (
                f"{who}, {name}: expected row positions from 0 to {n_rows - 1}, got others or none."
            )
            raise ConfigurationError(msg)
    shared = np.intersect1d(train, test)
    if len(shared):
        msg = f"{who}: expected each row on one side, got {len(shared)} row(s) on both."
        raise ConfigurationError(msg)
    if groups is not None:
        mixed = np.intersect1d(groups[train], groups[test])
        if len(mixed):
            msg = (
                f"{who}: expected each group (patient) on one side, got {len(mixed)} on both. A "
                "model would be judged on patients that it has seen. Split by group, or pass cv as "
                "an integer."
            )
            raise ConfigurationError(msg)
    return train, test


def _refuse_one_class(y: NDArray[Any], folds: list[Split]) -> None:
    """Raise if nothing can be learned from a training part, whatever the model."""
    for number, (train, test) in enumerate(folds):
        if len(np.unique(y[train])) < 2:
            msg = (
                f"cv, split {number}: expected training rows of at least 2 classes, got 1 class in "
                f"{len(train)} rows. It tests on row {test[0]} and {len(test) - 1} more. Use an "
                "integer as cv, or other splits or sites."
            )
            raise InputError(msg)


def _positions(part: Any) -> NDArray[np.int64]:
    array = np.asarray(part)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise ValueError
    return array.astype(np.int64)
