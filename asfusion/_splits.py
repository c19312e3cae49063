"""Folds that keep a patient's rows together: the one place where they are made."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from asfusion._checks import check_integer
from asfusion.exceptions import ConfigurationError, InputError

Split = tuple[NDArray[np.int64], NDArray[np.int64]]


def patient_folds(
    groups: NDArray[Any] | None,
    n_splits: int,
    *,
    n_rows: int,
    strata: NDArray[Any] | None = None,
    seed: int,
) -> list[Split]:
    """Return at most `n_splits` shuffled folds; none if there is one unit only.

    Parameters
    ----------
    groups : ndarray of shape (N,) or None
        Patient of each row, kept whole; None if each row is one.
    n_splits : int
        Number of folds asked for; there are fewer where patients are.
    n_rows : int
        Number N of rows.
    strata : ndarray of shape (N,) or None
        Class number of each row, to be spread evenly.
    seed : int
        Shuffles the units.
    """
    n_splits = min(n_splits, n_rows if groups is None else len(np.unique(groups)))
    if strata is not None:
        n_splits = min(n_splits, int(np.bincount(strata).max()))
    return [] if n_splits < 2 else _deal(groups, n_splits, n_rows, strata, seed)


def hold_out_patients(
    groups: NDArray[Any] | None,
    fraction: float,
    *,
    n_rows: int,
    strata: NDArray[Any] | None = None,
    seed: int,
) -> Split | None:
    """Return positions to learn from and to hold out, or None if rows are too few.

    About `fraction` of the patients is held out. Every class stays among the rows to learn
    from. Parameters are those of `patient_folds`.
    """
    n_splits = max(2, round(1.0 / fraction))
    for learn, held in patient_folds(groups, n_splits, n_rows=n_rows, strata=strata, seed=seed):
        keeps_all = strata is None or len(np.unique(strata[learn])) == len(np.unique(strata))
        if keeps_all and len(learn) > 1 and len(held):
            return learn, held
    return None


def make_folds(
    y: NDArray[Any],
    cv: Any,
    *,
    groups: NDArray[np.int64] | None = None,
    strata: NDArray[Any] | None = None,
    seed: int = 0,
) -> list[Split]:
    """Return the positions of training and test rows of each fold, or say why there are none.

    Parameters
    ----------
    y : ndarray of shape (N,) or (N, T)
        Class numbers, or regression targets: what a splitter is given.
    cv : int, scikit-learn splitter, or iterable of (train, test)
        Number of folds, or who makes them.
    groups : ndarray of shape (N,), optional
        Patient of each row.
    strata : ndarray of shape (N,), optional
        Class number of each row, which every fold should have in the same share.
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
    >>> folds = make_folds(y, 3, groups=patient, strata=y)
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
        n_splits = check_integer(cv, "cv", minimum=2)
        _refuse_too_few(groups, n_splits, len(y), strata)
        folds = _deal(groups, n_splits, len(y), strata, seed)
    made = [_checked(fold, number, len(y), groups) for number, fold in enumerate(folds)]
    if strata is not None:
        _refuse_one_class(strata, made)
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


def check_learnable(
    strata: NDArray[np.int64], splits: Sequence[Split], asks: str, fix: str
) -> None:
    """Raise if the rows to learn from in an inner fold are all of one class.

    Parameters
    ----------
    strata : ndarray of shape (N,)
        Class numbers.
    splits : sequence of (learn, judge)
        The folds.
    asks : str
        Who needs predictions of rows that were not learned from, to begin the message.
    fix : str
        What else to do than to use more rows.
    """
    poor = sum(len(np.unique(strata[learn])) < 2 for learn, _ in splits)
    if poor:
        msg = (
            f"{asks}: expected rows of at least 2 classes to learn from in each of {len(splits)} "
            f"inner folds, got 1 class in {poor}. Of the rarest class there are "
            f"{int(np.bincount(strata).min())} row(s), perhaps of one patient. Use more rows, or "
            f"{fix}."
        )
        raise InputError(msg)


def n_on_both_sides(fold: Split, groups: NDArray[Any] | None) -> int:
    """Return the number of groups of which both parts of a fold have rows."""
    if groups is None:
        return 0
    train, test = fold
    return len(np.intersect1d(groups[train], groups[test]))


def put_together(
    parts: Iterable[tuple[NDArray[np.int64], NDArray[Any]]], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return answers of the given shape (N, ...) from those to the test rows of each fold.

    They are averaged where several folds test a row, and NaN where none does.
    """
    total, count = np.zeros(shape), np.zeros((shape[0], *[1] * (len(shape) - 1)))
    for rows, answers in parts:
        total[rows] += answers
        count[rows] += 1
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)


def _deal(
    groups: NDArray[Any] | None,
    n_splits: int,
    n_rows: int,
    strata: NDArray[Any] | None,
    seed: int,
) -> list[Split]:
    """Return shuffled folds, as scikit-learn's four kinds of splitters make them."""
    if strata is None:
        kind = KFold if groups is None else GroupKFold
    else:
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(n_splits=n_splits, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer rows than folds is spread as far as it goes.
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(splitter.split(np.zeros(n_rows), strata, groups))


def _refuse_too_few(
    groups: NDArray[Any] | None, n_splits: int, n_rows: int, strata: NDArray[Any] | None
) -> None:
    units, name = (n_rows, "rows") if groups is None else (len(np.unique(groups)), "groups")
    if strata is not None:
        rarest = min(_units_of(strata == label, groups) for label in np.unique(strata))
        units, name = min(units, rarest), f"{name} of each class"
    if units < n_splits:
        msg = (
            f"cv: expected at least {n_splits} {name} for {n_splits} folds, got {units}. "
            "Use fewer folds."
        )
        raise InputError(msg)


def _units_of(rows: NDArray[np.bool_], groups: NDArray[Any] | None) -> int:
    """Return how many rows, or patients, are among those marked."""
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
    if mixed := n_on_both_sides((train, test), groups):
        msg = (
            f"{who}: expected each group (patient) on one side, got {mixed} on both. A model would "
            "be judged on patients that it has seen. Split by group, or pass cv as an integer."
        )
        raise ConfigurationError(msg)
    return train, test


def _refuse_one_class(strata: NDArray[Any], folds: list[Split]) -> None:
    """Raise if nothing can be learned from a training part, whatever the model."""
    for number, (train, test) in enumerate(folds):
        if len(np.unique(strata[train])) < 2:
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
