"""Splits inside fit that keep a patient's rows together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from asfusion._splits import Split, hold_out_patients, n_on_both_sides, patient_folds
from asfusion.estimators._rows import TrainingRows
from asfusion.exceptions import ConfigurationError
from asfusion.targets._base import Target


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
        If a group's rows are on both sides of a split that was given.
    """
    strata = target.strata(rows.y)
    if isinstance(cv, int):
        return patient_folds(rows.groups, cv, n_rows=len(rows), strata=strata, seed=seed)
    splitter = check_cv(cv, strata, classifier=strata is not None)
    if hasattr(cv, "split"):
        splits = list(splitter.split(np.zeros(len(rows)), rows.y, rows.groups))
    else:
        place = {position: row for row, position in enumerate(rows.origin.tolist())}
        given = splitter.split()
        splits = [(_rows_at(place, learn), _rows_at(place, judge)) for learn, judge in given]
    _refuse_shared_groups(splits, rows)
    return splits


def hold_out(rows: TrainingRows, fraction: float, *, target: Target, seed: int) -> Split | None:
    """Return positions to learn from and to validate on, or None if rows are too few."""
    strata = target.strata(rows.y)
    return hold_out_patients(rows.groups, fraction, n_rows=len(rows), strata=strata, seed=seed)


def _rows_at(place: dict[int, int], positions: Any) -> NDArray[np.int64]:
    """Return rows by their position in what the user passed, without those that were left out."""
    rows = [place[i] for i in np.asarray(positions).tolist() if i in place]
    return np.asarray(rows, dtype=np.int64)


def _refuse_shared_groups(splits: list[Split], rows: TrainingRows) -> None:
    for number, split in enumerate(splits):
        if shared := n_on_both_sides(split, rows.groups):
            msg = (
                f"cv, split {number}: expected each group on one side, got {shared} group(s) on "
                "both. Split by group, or pass cv as an integer."
            )
            raise ConfigurationError(msg)
