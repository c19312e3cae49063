"""From targets, predictions and groups as the user has them to checked arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_number
from asfusion._frames import group_labels, is_missing
from asfusion.exceptions import InputError

Task: TypeAlias = str  # the name of a scorer
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judged:
    """N rows with what is true and what was predicted of them.

    Parameters
    ----------
    task : {"binary", "multiclass", "regression"}
        What is predicted.
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

    def take(self, rows: NDArray[Any]) -> Judged:
        """Return the given rows, their patients numbered afresh."""
        groups = np.unique(self.groups[rows], return_inverse=True)[1]
        return Judged(
            self.task,
            self.y[rows],
            self.predicted[rows],
            self.classes,
            groups,
            self.is_grouped,
            None if self.cuts is None else self.cuts[rows],
        )


def read_judged(predicted: Any, y: Any, groups: Any, *, classes: Any = None) -> Judged:
    """Return checked rows; `classes` are those that the model knows, in its order."""
    guesses = _read_predictions(predicted)
    labels = read_complete(y, "y", len(guesses))
    numbers, is_grouped = read_groups(groups, len(guesses))
    is_matrix = guesses.ndim == 2
    if classes is None and _looks_numeric(labels, guesses):
        return _regression(labels, guesses, numbers, is_grouped)
    known = np.unique(labels) if classes is None else np.asarray(classes)
    if is_matrix and hasattr(predicted, "columns"):
        known, order = _read_names(list(predicted.columns), known, stated=classes is not None)
        guesses = guesses[:, order]
    coded = _class_numbers(labels, known)
    if len(np.unique(coded)) < 2:
        msg = (
            "y: expected rows of at least 2 classes, got rows of 1 class. "
            "Nothing can be told apart; judge on more rows."
        )
        raise InputError(msg)
    if not is_matrix and len(known) != 2:
        msg = (
            f"y: expected 2 classes with one probability per row, got {len(known)} classes. Pass "
            "probabilities of shape (n_rows, n_classes)."
        )
        raise InputError(msg)
    table = np.stack([1.0 - guesses, guesses], axis=1) if not is_matrix else guesses
    _check_probabilities(table, len(known))
    names = tuple(str(name) for name in known)
    if len(known) == 2:
        return Judged("binary", coded, table[:, 1], names, numbers, is_grouped)
    return Judged("multiclass", coded, table, names, numbers, is_grouped)


def read_complete(values: Any, name: str, n_rows: int) -> NDArray[Any]:
    """Return an array with `n_rows` entries, none of them missing.

    A single column is its entries: a frame of one column means what its Series means.
    """
    if values is None:
        raise InputError(f"{name}: expected {n_rows} entries, one per row, got None.")
    array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
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


def _read_predictions(predicted: Any) -> Floats:
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


def _read_names(
    columns: list[Any], known: NDArray[Any], *, stated: bool
) -> tuple[NDArray[Any], list[int]]:
    """Return the classes and where the column of each stands, by name if columns have names.

    Columns in an order of their own would otherwise be taken for other classes. Classes that
    only columns name are known, too.
    """
    as_they_stand = list(range(len(columns)))
    if not stated and set(known.tolist()) < set(columns):
        known = np.unique(np.asarray(columns))
    names, wanted = ([str(name) for name in part] for part in (columns, known.tolist()))
    if sorted(names) == sorted(wanted):
        return known, [names.index(name) for name in wanted]
    if columns == as_they_stand or len(columns) < 2 or (stated and not set(names) & set(wanted)):
        return known, as_they_stand
    msg = (
        f"predictions: expected columns named by the {len(wanted)} classes of y, got "
        f"{len(set(names) - set(wanted))} other name(s). Rename them, or pass an array with the "
        "columns in the order of classes=."
    )
    raise InputError(msg)


def _looks_numeric(labels: NDArray[Any], guesses: Floats) -> bool:
    """Return whether predictions are of a target, not probabilities of classes."""
    if labels.dtype.kind not in "iuf":
        return False
    if labels.ndim == 2:
        return True
    if guesses.ndim == 2 and guesses.shape[1] > 1:
        return False
    # Fractions are measured: nobody calls a class 2.5.
    return len(np.unique(labels)) > 2 or bool((labels != np.round(labels)).any())


def _regression(
    labels: NDArray[Any], guesses: Floats, groups: NDArray[np.int64], is_grouped: bool
) -> Judged:
    y = labels.astype(np.float64).reshape(len(labels), -1)
    table = guesses.reshape(len(guesses), -1)
    if y.shape != table.shape:
        msg = f"predictions: expected {y.shape[1]} target(s) per row like y, got {table.shape[1]}."
        raise InputError(msg)
    if not np.isfinite(y).all():
        raise InputError("y: expected finite numbers, got infinity. Drop those rows everywhere.")
    return Judged("regression", y, table, (), groups, is_grouped)


def read_targets(predicted: Any, y: Any, groups: Any) -> Judged:
    """Return checked rows of a model that predicts numbers."""
    guesses = _read_predictions(predicted)
    labels = read_complete(y, "y", len(guesses))
    if labels.dtype.kind not in "biuf":
        raise InputError("y: expected numbers for a regressor, got other values.")
    numbers, is_grouped = read_groups(groups, len(guesses))
    return _regression(labels, guesses, numbers, is_grouped)


def read_as(target: Any, predicted: Any, y: Any, groups: Any) -> Judged:
    """Return checked rows with predictions of a fitted target."""
    if target.is_probability:
        return read_judged(predicted, y, groups, classes=target.classes_)
    return read_targets(predicted, y, groups)


def _class_numbers(labels: NDArray[Any], known: NDArray[Any]) -> NDArray[np.int64]:
    if labels.ndim != 1:
        raise InputError(f"y: expected one label per row, got {labels.ndim} dimensions.")
    place = {label: number for number, label in enumerate(known.tolist())}
    numbers = np.asarray([place.get(label, -1) for label in labels.tolist()], dtype=np.int64)
    strange = int((numbers < 0).sum())
    if strange:
        msg = (
            f"y: expected only the {len(known)} classes that the model was fitted on, got others "
            f"in {strange} row(s). Check the spelling and the type of the labels."
        )
        raise InputError(msg)
    return numbers


def _check_probabilities(table: Floats, n_classes: int) -> None:
    if table.shape[1] != n_classes:
        msg = (
            f"predictions: expected a probability for each of {n_classes} classes, got "
            f"{table.shape[1]} column(s). Name the columns with classes= if y lacks a class."
        )
        raise InputError(msg)
    outside = int(((table < 0) | (table > 1)).any(axis=1).sum())
    if outside:
        msg = (
            f"predictions: expected probabilities from 0 to 1, got others in {outside} row(s). "
            "Pass what predict_proba gives, not decision values."
        )
        raise InputError(msg)
    wrong = int((np.abs(table.sum(axis=1) - 1.0) > 1e-3).sum())
    if wrong:
        msg = f"predictions: expected rows that sum to 1, got other sums in {wrong} row(s)."
        raise InputError(msg)


def _count_missing(array: NDArray[Any]) -> int:
    if array.dtype.kind == "f":
        return int(np.isnan(array).any(axis=tuple(range(1, array.ndim))).sum())
    if array.dtype.kind in "OmM":
        return sum(is_missing(entry) for entry in array.ravel().tolist())
    return 0
