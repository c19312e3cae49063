"""From out-of-fold predictions to a ranked board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.comparison._standings import TABLES_BOOSTED, TABLES_LINEAR, Entry, Standing
from asfusion.comparison.board import Board
from asfusion.crossvalidation._folds import mean_within
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation._judge import make_scorer
from asfusion.evaluation._labels import score_info
from asfusion.evaluation.intervals import Interval, paired_difference, score_intervals
from asfusion.evaluation.registry import scoring_of
from asfusion.exceptions import InputError
from asfusion.targets._base import Target

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Sites = tuple[tuple[str, ...], Rows]


def make_board(
    target: Target,
    truth: Judged,
    answers: Mapping[Entry, Floats],
    seconds: Mapping[str, float],
    *,
    n_folds: int,
    seeds: tuple[int, ...],
    n_bootstrap: int,
    confidence: float,
    seed: int,
    sites: Sites | None = None,
) -> Board:
    """Score all models on the same rows and replicates, and rank them.

    Parameters
    ----------
    target : Target
        What is predicted, fitted.
    truth : Judged
        All N rows; its predictions are not read.
    answers : mapping of Entry to ndarray of shape (S, N, K)
        Out-of-fold predictions for each of S seeds, NaN in rows that were not tested.
    seconds : mapping of str to float
        Time of each model.
    n_folds, seeds, n_bootstrap, confidence, seed
        As on the board; `seed` seeds the replicates.
    sites : tuple of names and ndarray of shape (N,), optional
        Names of the sites that were left out, and the number of each row's. Scores are means
        of those within sites then.

    Returns
    -------
    Board
        The best model first.

    Raises
    ------
    InputError
        If no row was tested, or only rows of one class.
    """
    tested = np.all([np.isfinite(a).all(axis=(0, 2)) for a in answers.values()], axis=0)
    rows = np.flatnonzero(tested)
    if not len(rows) or (truth.classes and len(np.unique(truth.y[rows])) < 2):
        msg = (
            f"cv: expected test rows{' of at least 2 classes' * bool(truth.classes)}, got "
            f"{len(rows)} row(s) that cannot be compared on. Use other splits."
        )
        raise InputError(msg)
    scoring = scoring_of(truth)
    primary = scoring.primary
    options: dict[str, Any] = {"n_bootstrap": n_bootstrap, "confidence": confidence, "seed": seed}
    names, parts = ((), None) if sites is None else (sites[0], sites[1][rows])
    intervals, replicates, pooled, seed_scores = {}, {}, {}, {}
    for entry, answer in answers.items():
        judged = _with_predictions(target, truth, answer.mean(axis=0)).take(rows)
        found, drawn = score_intervals(make_scorer(judged), width=len(rows), **options)
        pooled[entry] = None if parts is None else found[primary]
        if parts is not None:
            found, drawn = mean_within(judged, parts, **options)
        intervals[entry], replicates[entry] = found, drawn[primary]
        one_fit = [_with_predictions(target, truth, part).take(rows) for part in answer]
        seed_scores[entry] = tuple(_one_score(part, primary, parts) for part in one_fit)
    ranked = _ranked({entry: found[primary] for entry, found in intervals.items()}, primary)
    single = next(entry for entry in ranked if entry.kind == "single")

    def difference(entry: Entry | None, other: Entry | None = single) -> Interval | None:
        if entry is None or other is None or entry is other:
            return None
        pair = intervals[entry][primary].estimate, intervals[other][primary].estimate
        return paired_difference(pair, (replicates[entry], replicates[other]), confidence)

    fusion = next((e for e in ranked if e.kind == "fusion" and not e.is_plain), None)
    tables = next((e for e in ranked if e.name in (TABLES_BOOSTED, TABLES_LINEAR)), None)

    standings = tuple(
        Standing(
            name=entry.name,
            kind=entry.kind,
            is_plain=entry.is_plain,
            score=intervals[entry][primary],
            difference=difference(entry),
            others={name: intervals[entry][name].estimate for name in scoring.board},
            seed_scores=seed_scores[entry],
            seconds=seconds[entry.name],
            pooled=pooled[entry],
        )
        for entry in ranked
    )
    return Board(
        task=truth.task,
        primary=primary,
        standings=standings,
        n_rows=len(rows),
        n_groups=len(np.unique(truth.groups[rows])),
        is_grouped=truth.is_grouped,
        n_folds=n_folds,
        seeds=seeds,
        confidence=confidence,
        n_bootstrap=n_bootstrap,
        predictions={
            entry.name: _with_predictions(target, truth, answer.mean(axis=0)).predicted
            for entry, answer in answers.items()
        },
        over_tables=difference(fusion, tables),
        sites=names,
    )


def _ranked(scores: Mapping[Entry, Interval], primary: str) -> list[Entry]:
    """Return entries with the best first, undefined ones last."""
    sign = -1.0 if score_info(primary).better == "high" else 1.0

    def place(entry: Entry) -> tuple[bool, float]:
        estimate = scores[entry].estimate
        return bool(np.isnan(estimate)), sign * estimate

    return sorted(scores, key=place)


def _with_predictions(target: Target, truth: Judged, predictions: Floats) -> Judged:
    """Return rows with what is judged of predictions (N, K)."""
    return replace(truth, predicted=target.judged(predictions))


def _one_score(judged: Judged, primary: str, parts: Rows | None) -> float:
    """Return one score of all rows, or its mean over the sites that have it."""
    several = [judged]
    if parts is not None:
        several = [judged.take(np.flatnonzero(parts == number)) for number in np.unique(parts)]
    scorers = [make_scorer(rows) for rows in several]
    scores = np.asarray([float(each(np.ones((1, each.n_groups)))[primary][0]) for each in scorers])
    told = scores[~np.isnan(scores)]
    return float(told.mean()) if len(told) else np.nan
