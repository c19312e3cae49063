"""One model, fitted and asked once per fold, whatever kind of estimator it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import has_fit_parameter

from asfusion._frames import Frame
from asfusion._processes import steady_workers
from asfusion._progress import progress
from asfusion._random import derive_seed
from asfusion._splits import Split, make_folds
from asfusion.evaluation._judge import find_threshold
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._base import Target

Floats = NDArray[np.float64]

_SEARCH_FOLDS = 5  # what scikit-learn's searches take for None


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
    places = [
        (r, number, fold) for r, folds in enumerate(repeats) for number, fold in enumerate(folds)
    ]

    def tasks() -> Iterator[Callable[[], tuple[Floats, float | None]]]:
        for repeat, number, (train, test) in places:
            groups = None if rows.groups is None else rows.groups[train]
            yield delayed(_fit_and_ask)(
                prepare_model(
                    model,
                    rows.y[train],
                    groups,
                    stratify=rows.target.strata(rows.y) is not None,
                    seed=derive_seed(seed, "model", repeat, number),
                ),
                take_rows(rows.X, train),
                take_rows(rows.labels, train),
                groups,
                take_rows(rows.X, test),
                rows.target,
            )

    # Processes, not threads: a network seeds generators that threads would share.
    with steady_workers():
        found = Parallel(n_jobs=n_jobs, return_as="generator")(tasks())
        shown = progress(found, "Cross-validating", total=len(places), unit="fit")
        for (repeat, _, (_, test)), (answer, cut) in zip(places, shown, strict=True):
            answers[repeat, test] = answer
            cuts[repeat, test] = 0.5 if cut is None else cut
            has_cuts |= cut is not None
    return answers, cuts if has_cuts else None


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


def prepare_model(
    model: Any,
    y: NDArray[Any],
    groups: NDArray[np.int64] | None,
    *,
    stratify: bool,
    seed: int,
) -> Any:
    """Return an unfitted copy: seeded where no seed was set, searching by whole patients."""
    copy = clone(model)
    seeds = {
        key: derive_seed(seed, key)
        for key, value in sorted(copy.get_params(deep=True).items())
        if (key == "random_state" or key.endswith("__random_state")) and value is None
    }
    copy.set_params(**seeds)
    if groups is not None:
        for part in _searches(copy):
            n_folds = _SEARCH_FOLDS if part.cv is None else part.cv
            if isinstance(n_folds, int | np.integer):
                part.set_params(cv=_inner_folds(part, y, int(n_folds), groups, stratify, seed))
    return copy


def _searches(model: Any) -> Iterator[BaseSearchCV]:
    """Yield the searches that are fitted on exactly the training rows of the fold."""
    if isinstance(model, BaseSearchCV):
        yield model
    elif isinstance(model, Pipeline):
        for _, step in model.steps:
            yield from _searches(step)


def _inner_folds(
    search: BaseSearchCV,
    y: NDArray[Any],
    n_folds: int,
    groups: NDArray[np.int64],
    stratify: bool,
    seed: int,
) -> list[Split]:
    try:
        return make_folds(
            y, n_folds, groups=groups, stratify=stratify, seed=derive_seed(seed, "inner folds")
        )
    except InputError as error:
        raise InputError(f"{type(search).__name__}, inner {error}") from None


def _fit_and_ask(
    model: Any,
    X: Any,
    y: Any,
    groups: NDArray[np.int64] | None,
    asked: Any,
    target: Target,
) -> tuple[Floats, float | None]:
    """Return predictions (n, K) of a fitted copy, a class that it has not seen at zero.

    And the threshold by which it calls the second of two classes, if it has one.
    """
    options = {} if groups is None else _group_options(model, groups)
    model.fit(X, y, **options)
    cut, source = find_threshold(model, None, target.task)
    return target.ask(model, asked), cut if source == "model" else None


def _group_options(model: Any, groups: NDArray[np.int64]) -> dict[str, Any]:
    """Return groups under the name by which `fit` takes them; nothing if it does not."""
    if isinstance(model, Pipeline):
        name, last = model.steps[-1]
        inner = {} if isinstance(last, str) or last is None else _group_options(last, groups)
        return {f"{name}__{key}": value for key, value in inner.items()}
    if isinstance(model, BaseSearchCV):
        # The splitter of a search gets "groups" and the estimator in it does not; what is in a
        # pipeline has a name of its own.
        inner = _group_options(model.estimator, groups) if hasattr(model, "estimator") else {}
        return {"groups": groups, **inner}
    return {"groups": groups} if has_fit_parameter(model, "groups") else {}
