"""From targets, predictions and groups as the user has them to checked arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._arrays import array_of, refuse_masked
from asfusion._cells import is_missing
from asfusion._checks import check_number
from asfusion._frames import group_labels
from asfusion.exceptions import InputError

Task: TypeAlias = str  # by which `asfusion.evaluation.registry` knows how to judge it
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judged:
    """N rows with what is true and what was predicted of them.

    Parameters
    ----------
    task : str
        What is predicted: binary, multiclass, regression, or what else was registered.
    y : ndarray of shape (N,) or (N, T)
        Class numbers, or targets.
    predicted : ndarray of shape (N,), (N, K) or (N, T)
        Probability of the positive class, of each class, or predicted targets.
    classes : tuple of str
        Names of the classes; empty for regression.
    groups : ndarray of shape (N,)
        Number from 0 of the patient of each row.
    is_grouped : bool
        Whether patients were given; each row is one otherwise.
    cuts : ndarray of shape (N,) or None
        From which probability on each row is called positive, where rows were judged by
        several models that each have a threshold of their own.
    """

    task: Task
    y: NDArray[Any]
    predicted: Floats
    classes: tuple[str, ...]
    groups: NDArray[np.int64]
    is_grouped: bool
    cuts: Floats | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.y)

    @property
    def n_groups(self) -> int:
        """Number of patients."""
        return int(self.groups.max()) + 1

    def among(self, rows: NDArray[Any]) -> Judged:
        """Return the given rows, their patients numbered as among all.

        So they are scored on the replicates of all patients.
        """
        return replace(
            self,
            y=self.y[rows],
            predicted=self.predicted[rows],
            groups=self.groups[rows],
            cuts=None if self.cuts is None else self.cuts[rows],
        )

    def take(self, rows: NDArray[Any]) -> Judged:
        """Return the given rows, their patients numbered afresh."""
        groups = np.unique(self.groups[rows], return_inverse=True)[1]
        return replace(self.among(rows), groups=groups)


def read_complete(values: Any, name: str, n_rows: int) -> NDArray[Any]:
    """Return an array with `n_rows` entries, none of them missing.

    A single column is its entries: a frame of one column means what its Series means.
    """
    if values is None:
        raise InputError(f"{name}: expected {n_rows} entries, one per row, got None.")
    array = array_of(values, name)
    if array.ndim == 0 or len(array) != n_rows:
        got = "a single value" if array.ndim == 0 else str(len(array))
        raise InputError(f"{name}: expected {n_rows} entries, one per row, got {got}.")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    missing = _count_missing(array)
    if missing:
        msg = (
            f"{name}: expected a value for every row, got {missing} missing. "
            "Drop those rows everywhere."
        )
        raise InputError(msg)
    if array.dtype.kind == "O":
        array = np.asarray(array.tolist())  # pandas keeps strings and booleans as objects
    return array


def single_column(y: Any) -> Any:
    """Return a frame of one column as its Series, and a column as a row: they mean the same."""
    if hasattr(y, "columns"):
        return y[y.columns[0]] if len(y.columns) == 1 else y
    if getattr(getattr(y, "dtype", None), "names", None) is not None:
        return y  # event and time
    array = array_of(y, "y") if isinstance(y, np.ndarray | list) else np.empty(0)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else y


def read_groups(groups: Any, n_rows: int) -> tuple[NDArray[np.int64], bool]:
    """Return the number of each row's group, and whether groups were given."""
    if groups is None:
        return np.arange(n_rows), False
    labels = group_labels(groups, n_rows)
    if labels.dtype.kind == "O":
        labels = np.asarray(labels.tolist())  # pandas keeps strings and booleans as objects
    return np.unique(labels, return_inverse=True)[1], True


def check_confidence(confidence: object) -> float:
    """Return `confidence`, a share between one half and one."""
    return check_number(confidence, "confidence", minimum=0.5, maximum=1.0, exclusive=True)


def read_predictions(predicted: Any) -> Floats:
    """Return predictions as finite numbers, of shape (N,) or (N, K)."""
    refuse_masked(predicted, "predictions")
    values = predicted.to_numpy() if hasattr(predicted, "to_numpy") else predicted
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        msg = (
            "predictions: expected numbers (probabilities, or predicted targets), got other "
            "values. Labels alone cannot be judged: use predict_proba."
        )
        raise InputError(msg) from None
    if array.ndim not in (1, 2) or not array.size:
        msg = (
            "predictions: expected shape (n_rows,) or (n_rows, n_outputs) with at least one row, "
            f"got {array.shape}."
        )
        raise InputError(msg)
    unusable = int((~np.isfinite(array)).any(axis=tuple(range(1, array.ndim))).sum())
    if unusable:
        msg = f"predictions: expected finite numbers, got NaN or infinity in {unusable} row(s)."
        raise InputError(msg)
    return array


def _count_missing(array: NDArray[Any]) -> int:
    if array.dtype.kind == "f":
        return int(np.isnan(array).any(axis=tuple(range(1, array.ndim))).sum())
    if array.dtype.kind in "OmM":
        return sum(is_missing(entry) for entry in array.ravel().tolist())
    return 0
