"""One model, fitted and asked once per fold, whatever kind of estimator it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator

from asfusion._frames import Frame
from asfusion._processes import side_by_side
from asfusion._progress import progress
from asfusion._random import derive_seed
from asfusion._splits import Split
from asfusion.estimators._inner_folds import group_options, inner_folds_by_patient
from asfusion.estimators._sklearn import seeded_copy
from asfusion.evaluation._judge import find_threshold
from asfusion.exceptions import ConfigurationError
from asfusion.targets._base import Target

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FoldRows:
    """Checked rows, and what is to be predicted of them.

    Parameters
    ----------
    X : DataFrame or ndarray of N rows
        As the estimator gets them.
    y : ndarray of shape (N,) or (N, T)
        Class numbers, or targets.
    labels : array, Series or DataFrame of N rows
        Targets as the estimator gets them, with the name that they may carry.
    target : Target
        What y is.
    groups : ndarray of shape (N,) or None
        Number of the patient of each row; None if none were given.
    """

    X: Any
    y: NDArray[Any]
    labels: Any
    target: Target
    groups: NDArray[np.int64] | None

    @property
    def n_outputs(self) -> int:
        """Number K of classes or targets."""
        return self.target.n_outputs_


@dataclass(frozen=True, eq=False)
class FoldTask:
    """One copy of a model, to be fitted on n rows and asked about m others.

    Parameters
    ----------
    model : estimator
        Unfitted.
    X : Frame or ndarray of n rows
        To fit.
    y : rows as the estimator gets them
        Their targets.
    strata : ndarray of shape (n,) or None
        Class number of each of these rows, if inner folds should share classes evenly.
    groups : ndarray of shape (n,) or None
        Patient of each of these rows.
    asked : Frame or ndarray of m rows
        To predict.
    target : Target
        What y is.
    seed : int
        Seeds what `model` leaves open.
    """

    model: Any
    X: Any
    y: Any
    strata: NDArray[np.int64] | None
    groups: NDArray[np.int64] | None
    asked: Any
    target: Target
    seed: int

    def answer(self) -> tuple[Floats, float | None]:
        """Return predictions (m, K) of a fitted copy, a class that it has not seen at zero.

        And the threshold by which it calls the second of two classes, if it has one.
        """
        model = self._fitted()
        cut, source = find_threshold(model, None, self.target.task)
        return self.target.ask(model, _as_given(self.asked)), cut if source == "model" else None

    def _fitted(self) -> Any:
        """Return a copy fitted with a seed of its own, its inner folds by whole patients."""
        copy = seeded_copy(self.model, self.seed)
        with inner_folds_by_patient(
            copy,
            self.groups,
            n_rows=len(self.y),
            strata=self.strata,
            seed=derive_seed(self.seed, "inner folds"),
            few=False,
        ):
            return copy.fit(_as_given(self.X), self.y, **group_options(copy, self.groups))


def run_folds(
    model: Any, rows: FoldRows, repeats: Sequence[Sequence[Split]], *, seed: int, n_jobs: int | None
) -> tuple[Floats, Floats | None]:
    """Return out-of-fold predictions (R, N, K), and the thresholds (R, N) by which to call them.

    Both are NaN in rows that no fold of a repeat tests. There are thresholds where models of
    two classes bring one.
    """
    answers = np.full((len(repeats), len(rows.y), rows.n_outputs), np.nan)
    cuts = np.full(answers.shape[:2], np.nan)
    has_cuts = False
    places = [(r, n, fold) for r, folds in enumerate(repeats) for n, fold in enumerate(folds)]
    asked = [(fold, derive_seed(seed, "model", repeat, n)) for repeat, n, fold in places]
    # Processes, not threads: a network seeds generators that threads would share.
    found = side_by_side(
        _answer,
        range(len(places)),
        n_jobs,
        shared=(model, rows, asked),
        as_ready=True,
        fits_models=True,
        name=lambda _: f"a fit of {type(model).__name__}",
    )
    shown = progress(found, "Cross-validating", total=len(places), unit="fit")
    for place, answer, cut in shown:
        repeat, _, (_, test) = places[place]
        answers[repeat, test] = answer
        cuts[repeat, test] = 0.5 if cut is None else cut
        has_cuts |= cut is not None
    return answers, cuts if has_cuts else None


def _answer(
    place: int, shared: tuple[Any, FoldRows, list[tuple[Split, int]]]
) -> tuple[int, Floats, float | None]:
    """Return the place of a fold, and what a model of it says; see `FoldTask.answer`."""
    model, rows, asked = shared
    return place, *_task(model, rows, *asked[place]).answer()


def _task(model: Any, rows: FoldRows, fold: Split, seed: int) -> FoldTask:
    train, test = fold
    strata = rows.target.strata(rows.y)
    return FoldTask(
        model=model,
        X=_part(rows.X, train),
        y=take_rows(rows.labels, train),
        strata=None if strata is None else strata[train],
        groups=None if rows.groups is None else rows.groups[train],
        asked=_part(rows.X, test),
        target=rows.target,
        seed=seed,
    )


def _part(X: Any, rows: NDArray[np.int64]) -> Any:
    """Return rows of X that still know where they stand in it."""
    return X[rows] if isinstance(X, np.ndarray) else Frame.read(X).take(rows)


def _as_given(part: Any) -> Any:
    """Return rows in the container that they came in."""
    return part.as_part() if isinstance(part, Frame) else part


def take_rows(table: Any, rows: NDArray[np.int64]) -> Any:
    """Return rows of a table or of targets, in the container that they came in."""
    if isinstance(table, np.ndarray):
        return table[rows]
    if hasattr(table, "iloc"):
        return table.iloc[rows]
    if hasattr(table, "columns"):
        return Frame.read(table).take(rows).to_native()
    return table[rows.tolist()]  # a polars Series


def check_unfitted(model: Any, name: str) -> None:
    """Raise if a part of `model` was fitted before and stays so in every copy.

    Such a part may have seen the very rows that a fold is to be judged on.
    """
    params = {"": model, **model.get_params(deep=True)}
    for key, value in params.items():
        last = key.rpartition("__")[2]
        if isinstance(value, FrozenEstimator):
            got, fix = "a FrozenEstimator", "the estimator in it"
        elif last == "prefit" and value is True:
            got, fix = "one with prefit=True", "prefit=False"
        elif last == "cv" and isinstance(value, str) and value == "prefit":
            got, fix = "one with cv='prefit'", "a number of folds as cv"
        else:
            continue
        msg = (
            f"{name}: expected an estimator that each fold fits, got {got}, which was fitted "
            "before and may have seen the rows that it is judged on. "
            f"Pass {fix}, or judge it by evaluate on rows that it has not seen."
        )
        raise ConfigurationError(msg)
