"""Splits inside fit that keep a patient's rows together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)

from asfusion.estimators._rows import TrainingRows
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._base import Target

Split = tuple[NDArray[Any], NDArray[Any]]


def inner_splits(rows: TrainingRows, cv: Any, *, target: Target, seed: int) -> list[Split]:
    """Return train and test positions of each inner fold.

    Parameters
    ----------
    rows : TrainingRows
        The rows to split.
    cv : int, splitter or iterable of splits
        An int makes (stratified, grouped) folds; explicit splits name positions in
        what the user passed to fit.
    target : Target
        What y holds: its classes are spread evenly.
    seed : int
        Seeds the order of rows.

    Raises
    ------
    ConfigurationError
        If a group's rows are on both sides of an explicit split.
    """
    if isinstance(cv, int):
        return _folds(rows, cv, target=target, seed=seed)
    strata = target.strata(rows.y)
    splitter = check_cv(cv, strata, classifier=strata is not None)
    if hasattr(cv, "split"):
        return list(splitter.split(np.zeros(len(rows)), rows.y, rows.groups))
    place = {position: row for row, position in enumerate(rows.origin.tolist())}
    splits = [
        (
            np.asarray([place[i] for i in np.asarray(train).tolist() if i in place], dtype=int),
            np.asarray([place[i] for i in np.asarray(test).tolist() if i in place], dtype=int),
        )
        for train, test in splitter.split()
    ]
    _refuse_shared_groups(splits, rows)
    return splits


def hold_out(
    rows: TrainingRows, fraction: float, *, target: Target, seed: int
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return positions to learn from and to validate on, or None if rows are too few.

    Groups stay whole, and every class stays among the rows to learn from.
    """
    n_splits = max(2, round(1.0 / fraction))
    strata = target.strata(rows.y)
    for learn, validate in _folds(rows, n_splits, target=target, seed=seed):
        if strata is not None and len(np.unique(strata[learn])) < len(np.unique(strata)):
            continue
        if len(learn) > 1 and len(validate):
            return learn, validate
    return None


def _folds(rows: TrainingRows, n_splits: int, *, target: Target, seed: int) -> list[Split]:
    strata = target.strata(rows.y)
    y = rows.y if strata is None else strata
    return patient_folds(y, rows.groups, n_splits, stratify=strata is not None, seed=seed)


def patient_folds(
    y: NDArray[Any], groups: NDArray[Any] | None, n_splits: int, *, stratify: bool, seed: int
) -> list[Split]:
    """Return at most `n_splits` folds that keep groups whole; none if there is one unit only.

    Classes, where `stratify` says that y holds them, are whole numbers.
    """
    units = len(y) if groups is None else len(np.unique(groups))
    n_splits = min(n_splits, units)
    if stratify:
        n_splits = min(n_splits, int(np.bincount(y).max()))
    if n_splits < 2:
        return []
    options = {"n_splits": n_splits, "shuffle": True, "random_state": seed}
    if stratify:
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    else:
        kind = KFold if groups is None else GroupKFold
    with warnings.catch_warnings():
        # A class with fewer rows than folds is spread as far as it goes.
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(kind(**options).split(np.zeros(len(y)), y, groups))


def check_learnable(y: NDArray[np.int64], splits: Sequence[Split], asks: str, fix: str) -> None:
    """Raise if the rows to learn from in an inner fold are all of one class.

    Parameters
    ----------
    y : ndarray of shape (N,)
        Class numbers.
    splits : sequence of (learn, judge)
        The folds.
    asks : str
        Who needs predictions of rows that were not learned from, to begin the message.
    fix : str
        What else to do than to use more rows.
    """
    poor = sum(len(np.unique(y[learn])) < 2 for learn, _ in splits)
    if poor:
        msg = (
            f"{asks}: expected rows of at least 2 classes to learn from in each of {len(splits)} "
            f"inner folds, got 1 class in {poor}. Of the rarest class there are "
            f"{int(np.bincount(y).min())} row(s), perhaps of one patient. Use more rows, or {fix}."
        )
        raise InputError(msg)


def _refuse_shared_groups(splits: list[Split], rows: TrainingRows) -> None:
    if rows.groups is None:
        return
    for number, (train, test) in enumerate(splits):
        shared = np.intersect1d(rows.groups[train], rows.groups[test])
        if len(shared):
            msg = (
                f"cv, split {number}: expected each group on one side, got {len(shared)} group(s) "
                "on both. Split by group, or pass cv as an integer."
            )
            raise ConfigurationError(msg)
