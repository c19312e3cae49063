"""Numeric tables: early and late fusion beside scikit-learn doing the same work.

*early* is the default, whose penalty is chosen; the rival imputes medians with indicators,
standardises, lets `LogisticRegressionCV` choose among the same penalties on as many rows, and fits
all of them. *given* is the same without a choice, on both sides. *late* has two modalities, half
of the columns each; the rival stacks a pipeline for each half over five folds. *forest* and
*xgboost* get the same estimator behind the same imputation. Of each pair, both sides ran in turns.
The exponent is that of our time between the least and the most rows (or columns) of one series.

*single* is *given* with features of 32 bits on both sides, made from a table of 64; the largest
table has 32 itself, on both sides. Times are of tables in which one cell in twenty is missing.

Memory is resident memory of a fresh process: its peak during `fit` (or `predict_proba`) minus what
it held before, as multiples of the table, which itself is not counted. *full* is a table
without gaps. With *gaps* in every column each has a flag, too: features are twice as many as
columns, and of 64 bits take two times the table by themselves.

*notes* are made up of words of a vocabulary as frequent as their rank says. Both sides count words
and pairs of words alike and choose among the same penalties; *projected* is the default, which does
so after a singular value decomposition.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from _scale._tables_made import MISSING, MODELS, NOTE_MODELS, notes, peak, table

SIZES = [
    *("1000x20", "10000x20", "100000x20", "1000000x20"),
    *("1000x200", "10000x200", "100000x200", "1000000x200"),
    *("200x2000", "200x20000"),
]
QUICK = ["1000x20", "1000x200", "200x2000"]
FIT, PREDICT, WIDE, EXPONENT, MEMORY = 2.0, 3.0, 5.0, 1.05, 2.0
_LARGE = 50_000_000  # cells, from which on one pair is enough
_HUGE = 150_000_000  # cells, from which on a table is of float32, on both sides
_SMALL = 10_000_000  # cells, up to which memory is not looked at


def run(args: argparse.Namespace) -> None:
    """Print times, then exponents, then memory."""
    sizes = [_shape(size) for size in args.sizes or (QUICK if args.quick else SIZES)]
    asked = args.only or list(MODELS)
    warnings.simplefilter("ignore")
    models = [model for model in asked if model in MODELS]
    for model in models:
        _times(model, sizes, args.rounds or (1 if args.quick else 5))
    if "notes" in asked or not args.only:
        _notes([500] if args.quick else [1000, 5000], 1 if args.quick else 3)
    if "memory" in asked or not args.only:
        _memory(sizes, models or ["early", "given", "single", "late"])


def _shape(size: str) -> tuple[int, int]:
    rows, columns = size.split("x")
    return int(rows), int(columns)


def _times(model: str, sizes: list[tuple[int, int]], rounds: int) -> None:
    print(f"\n{model}: seconds of processor, and times the rival")
    print(f"{'rows x columns':>18} {'fit':>8} {'rival':>8} {'times':>6}   {'limit':<7}", end="")
    print(f"{'predict':>8} {'rival':>8} {'times':>6}   limit")
    spent = {}
    for n_rows, n_columns in sizes:
        X, y = table(n_rows, n_columns, "float32" if n_rows * n_columns >= _HUGE else "float64")
        repeats = 1 if X.size >= _LARGE else rounds
        pairs = np.asarray(
            [[_seconds(make(X), X, y) for make in MODELS[model]] for _ in range(repeats)]
        )
        spent[n_rows, n_columns] = np.median(pairs[:, 0], axis=0)
        limits = (WIDE, WIDE) if n_columns >= 2000 else (FIT, PREDICT)
        print(f"{f'{n_rows:,} x {n_columns:,}':>18}", end="")
        for kind, limit in enumerate(limits):
            ours, rival = np.median(pairs[:, :, kind], axis=0)
            ratio = np.median(pairs[:, 0, kind] / pairs[:, 1, kind])
            verdict = "" if ratio <= limit else " ABOVE"
            print(
                f" {ours:>8.3f} {rival:>8.3f} {ratio:>6.2f}   {f'{limit:.0f}{verdict}':<7}", end=""
            )
        print(flush=True)
        del X, y
    _exponents(spent)


def _seconds(model: Any, X: pd.DataFrame, y: np.ndarray) -> tuple[float, float]:
    """Return the processor time of fit and of prediction."""
    start = time.process_time()
    model.fit(X, y)
    fitted = time.process_time()
    model.predict_proba(X)
    return fitted - start, time.process_time() - fitted


def _exponents(spent: dict[tuple[int, int], np.ndarray]) -> None:
    """Print by which power of rows, or of columns, our time grows."""
    for axis, what in ((0, "rows"), (1, "columns")):
        for other in sorted({size[1 - axis] for size in spent}):
            series = sorted(
                size for size in spent if size[1 - axis] == other and np.prod(size) < _HUGE
            )
            series = [size for size in series if size[axis] >= (10_000, 200)[axis]]
            if len(series) < 2:
                continue
            first, last = series[0], series[-1]
            power = np.log(spent[last] / spent[first]) / np.log(last[axis] / first[axis])
            where = f"from {first[axis]:,} to {last[axis]:,} {what} at {other:,}"
            print(f"exponent {where}: fit {power[0]:.2f}, predict {power[1]:.2f}; limit {EXPONENT}")


def _memory(sizes: list[tuple[int, int]], models: list[str]) -> None:
    print("\npeak of resident memory above the table, as multiples of it")
    print(
        f"{'rows x columns':>18} {'cells':<5} {'model':<8} {'MB':>6} {'fit':>6} {'rival':>6}",
        end="",
    )
    print(f" {'predict':>8} {'rival':>6}   limit")
    for n_rows, n_columns in sizes:
        if n_rows * n_columns < _SMALL:
            continue  # what a library keeps anyway would be measured
        for model in models:
            for missing in (0.0, MISSING):
                dtype = "float32" if n_rows * n_columns >= _HUGE else "float64"
                told = n_rows, n_columns, dtype, missing
                both = [peak(model, side, *told) for side in (0, 1)]
                _print_peaks(f"{n_rows:,} x {n_columns:,}", model, missing, both)


def _print_peaks(size: str, model: str, missing: float, both: list[dict[str, float]]) -> None:
    data = both[0]["data"]
    fit, rival = (found["fit"] / data for found in both)
    asked, answered = (found["predict"] / data for found in both)
    verdict = "" if max(fit, asked) <= MEMORY else " ABOVE"
    cells = "gaps" if missing else "full"
    print(f"{size:>18} {cells:<5} {model:<8} {data / 1e6:>6.0f} {fit:>6.2f} {rival:>6.2f}", end="")
    print(f" {asked:>8.2f} {answered:>6.2f}   {MEMORY:.0f}{verdict}", flush=True)


def _notes(counts: list[int], rounds: int) -> None:
    print("\nnotes: seconds of processor of fit and prediction, and times the rival")
    print(f"{'notes':>9} {'words':>8} {'sparse':>8} {'rival':>8} {'times':>6}   limit ", end="")
    print(f"{'projected':>9} {'times':>6}")
    for count in counts:
        X, y = notes(count)
        spent: dict[str, list[float]] = {name: [] for name in NOTE_MODELS}
        for _ in range(rounds):
            for name, make in NOTE_MODELS.items():
                spent[name].append(sum(_seconds(make(), X, y)))
        times = {name: np.asarray(values) for name, values in spent.items()}
        ours, slow = (np.median(times[n] / times["rival"]) for n in ("sparse", "projected"))
        shown = {name: float(np.median(values)) for name, values in times.items()}
        verdict = "" if ours <= FIT else " ABOVE"
        words = X["note"].str.count(" ").median() + 1
        print(f"{count:>9,} {words:>8.0f} {shown['sparse']:>8.2f} {shown['rival']:>8.2f}", end="")
        print(f" {ours:>6.2f}   {f'{FIT:.0f}{verdict}':<7}{shown['projected']:>8.2f}", end="")
        print(f" {slow:>6.2f}", flush=True)
