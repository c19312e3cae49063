"""Several models of one index on the same outer folds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import column_or_1d

from asfusion._checks import check_integer, check_row_labels
from asfusion._frames import Frame
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion._splits import Split, make_folds, put_together
from asfusion.baselines._scores import IndexInfo, IndexScorer
from asfusion.baselines._standing import BaselineStanding
from asfusion.baselines.board import BaselineBoard
from asfusion.estimators._rows import is_table
from asfusion.evaluation._inputs import check_confidence, read_complete, read_groups
from asfusion.evaluation.intervals import Interval, paired_difference, score_intervals
from asfusion.exceptions import InputError

Floats = NDArray[np.float64]

REFERENCES = ("linear", "mean")  # stand on every board


@dataclass(frozen=True)
class BoardOptions:
    """How models are judged; see `asfusion.baselines.compare_baselines`."""

    cv: Any
    active: Any
    n_bootstrap: int
    confidence: float
    random_state: RandomState


@dataclass(frozen=True, eq=False)
class _Rows:
    X: Any
    y: Floats
    named: Any  # y as given: its name may say which index it is, and of which visit
    groups: NDArray[np.int64]
    is_grouped: bool

    def fit(self, model: Any, rows: NDArray[np.int64]) -> None:
        y: Any = self.y[rows]
        name = getattr(self.named, "name", None)
        if isinstance(name, str):
            import pandas as pd

            y = pd.Series(y, name=name)
        model.fit(self.take(rows), y, groups=self.groups[rows] if self.is_grouped else None)

    def take(self, rows: NDArray[np.int64]) -> Any:
        if isinstance(self.X, Frame):
            native = self.X.take(rows).to_native()
            return native.reset_index(drop=True) if hasattr(native, "reset_index") else native
        return self.X[rows]


def judge_models(
    template: Any, models: Mapping[str, Any], X: Any, y: Any, groups: Any, options: BoardOptions
) -> BaselineBoard:
    """Return a board of `models`, each tuned inside the outer folds as `template` would be."""
    check_integer(options.n_bootstrap, "n_bootstrap", minimum=1)
    check_confidence(options.confidence)
    index: IndexInfo = template._index()
    rows = _read(X, y, groups)
    active = _read_active(options.active, len(rows.y))
    seed = draw_seed(options.random_state)
    split_groups = rows.groups if rows.is_grouped else None
    fold_seed = derive_seed(seed, "folds")
    folds = make_folds(rows.y, options.cv, groups=split_groups, seed=fold_seed)
    asked = {**models, **{name: name for name in REFERENCES if name not in models}}
    answers = {
        name: _answer(template, name, model, rows, folds, derive_seed(seed, "model"))
        for name, model in asked.items()
    }
    changes = index.changes(rows.y, active)
    return _make_board(index, answers, rows, changes, len(folds), options, seed)


@dataclass(frozen=True, eq=False)
class _Answer:
    predicted: Floats  # NaN in rows that no fold judged
    chosen: tuple[dict[str, Any], ...]
    seconds: float


def _read(X: Any, y: Any, groups: Any) -> _Rows:
    table: Any = Frame.read(X) if is_table(X) else np.asanyarray(X)
    check_row_labels(X, y=y, groups=groups)
    target = read_complete(y, "y", len(table))
    if target.dtype.kind not in "biuf" or not np.isfinite(target.astype(np.float64)).all():
        raise InputError("y: expected a finite number for every row, got other values.")
    numbers, is_grouped = read_groups(groups, len(table))
    values = column_or_1d(target.astype(np.float64))
    return _Rows(table, values, y, numbers, is_grouped)


def _read_active(active: Any, n_rows: int) -> NDArray[np.bool_] | None:
    if active is None:
        return None
    flags = read_complete(active, "active", n_rows)
    if flags.ndim != 1 or not np.isin(flags, (False, True)).all():
        raise InputError("active: expected True or False for every row, got other values.")
    return flags.astype(bool)


def _answer(
    template: Any, name: str, model: Any, rows: _Rows, folds: list[Split], seed: int
) -> _Answer:
    """Return out-of-fold predictions of one model, tuned in each fold."""
    begun = time.perf_counter()
    is_own = model is template.model or (isinstance(model, str) and model == template.model)
    own_grid = {} if is_own else {"param_grid": None}
    chosen = []

    def ask(number: int, train: NDArray[np.int64], test: NDArray[np.int64]) -> Floats:
        fitted = clone(template).set_params(
            model=model,
            tune=True,
            interval_folds=0,
            random_state=derive_seed(seed, number),
            **own_grid,
        )
        rows.fit(fitted, train)
        chosen.append(fitted.best_params_)
        return np.asarray(fitted.predict(rows.take(test)))

    parts = ((test, ask(number, train, test)) for number, (train, test) in enumerate(folds))
    predicted = put_together(parts, rows.y.shape)
    return _Answer(predicted, tuple(chosen), time.perf_counter() - begun)


def _make_board(
    index: IndexInfo,
    answers: Mapping[str, _Answer],
    rows: _Rows,
    changes: Floats | None,
    n_folds: int,
    options: BoardOptions,
    seed: int,
) -> BaselineBoard:
    judged = np.flatnonzero(np.isfinite(answers["mean"].predicted))
    patients = np.unique(rows.groups[judged], return_inverse=True)[1]
    scores: dict[str, dict[str, Interval]] = {}
    drawn: dict[str, Floats] = {}
    for name, answer in answers.items():
        limits = None if changes is None else changes[judged]
        scorer = IndexScorer(rows.y[judged], answer.predicted[judged], limits, patients)
        scores[name], replicates = score_intervals(
            scorer,
            n_bootstrap=options.n_bootstrap,
            confidence=options.confidence,
            seed=derive_seed(seed, "bootstrap"),
            width=len(judged),
        )
        drawn[name] = replicates["mae"]

    def difference(name: str, other: str) -> Interval | None:
        if name == other:
            return None
        pair = scores[name]["mae"].estimate, scores[other]["mae"].estimate
        return paired_difference(pair, (drawn[name], drawn[other]), options.confidence)

    standings = tuple(
        BaselineStanding(
            name=name,
            scores=scores[name],
            to_mean=difference(name, "mean"),
            to_linear=difference(name, "linear"),
            chosen=answers[name].chosen,
            seconds=answers[name].seconds,
        )
        for name in sorted(answers, key=lambda name: scores[name]["mae"].estimate)
    )
    return BaselineBoard(
        index=index.label,
        change=_describe_change(index, changes),
        standings=standings,
        n_rows=len(judged),
        n_groups=int(patients.max()) + 1,
        is_grouped=rows.is_grouped,
        n_folds=n_folds,
        confidence=float(options.confidence),
        n_bootstrap=int(options.n_bootstrap),
        predictions={name: answer.predicted for name, answer in answers.items()},
    )


def _describe_change(index: IndexInfo, changes: Floats | None) -> str | None:
    """Return in words which change is important."""
    if changes is None or index.change is None:
        return None
    text = f"{index.change:g}"
    if index.change_active is not None and (changes != index.change).any():
        since = "" if index.active_from is None else f" ({index.label} from {index.active_from:g})"
        text += f", {index.change_active:g} in active disease{since}"
    return text
