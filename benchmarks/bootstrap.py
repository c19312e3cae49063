"""Time of the clustered bootstrap of all binary measures, beside a loop over scikit-learn.

Run: ``python benchmarks/bootstrap.py``

Both score the same 2,000 resamples of 5,000 patients with 7,500 rows, one thread each, by every
measure that a report shows of a binary outcome; that is also what is compared. The loop does
what one would write by hand: take the rows of the drawn patients, call scikit-learn's functions on
them, one confusion table for everything that comes from it. scikit-learn has no net benefit and
no calibration error; the loop counts those in numpy, which takes it next to no time. Calibration
is one unpenalised logistic regression for the slope, and for the shift scipy's root finder. The
loop is timed on some of the resamples, spread over all, and its time is scaled to all of them.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from asfusion.evaluation.delong import delong_interval
from asfusion.evaluation.intervals import bootstrap_scores, draw_counts
from asfusion.evaluation.metrics import BinaryScorer
from asfusion.evaluation.report import evaluate

THRESHOLD = 0.4


def make(n_patients: int, n_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return outcomes, probabilities and patients, each with at least one row."""
    rng = np.random.default_rng(0)
    groups = np.sort(
        np.r_[np.arange(n_patients), rng.integers(n_patients, size=n_rows - n_patients)]
    )
    risk = rng.normal(size=n_patients)[groups] + 0.5 * rng.normal(size=n_rows)
    y = rng.random(n_rows) < expit(1.5 * risk - 1)
    return y, expit(1.2 * risk - 0.7 + 0.8 * rng.normal(size=n_rows)), groups


def by_scikit_learn(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """Return the measures of a report on rows as they are."""
    tn, fp, fn, tp = sk.confusion_matrix(y, p >= THRESHOLD).ravel()
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    bins = np.minimum((10 * p).astype(int), 9)
    z = logit(p)
    line = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-6).fit(z[:, None], y)
    return {
        "auc": sk.roc_auc_score(y, p),
        "average_precision": sk.average_precision_score(y, p),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
        "lr_positive": sensitivity / (1 - specificity),
        "lr_negative": (1 - sensitivity) / specificity,
        "net_benefit": (tp - fp * THRESHOLD / (1 - THRESHOLD)) / len(y),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "accuracy": (tp + tn) / len(y),
        "log_loss": sk.log_loss(y, p),
        "brier": sk.brier_score_loss(y, p),
        "calibration_slope": float(line.coef_[0, 0]),
        "calibration_intercept": brentq(lambda shift: np.mean(y - expit(z + shift)), -20, 20),
        "ece": np.abs(np.bincount(bins, y - p)).sum() / len(y),
    }


def loop(
    y: np.ndarray, p: np.ndarray, groups: np.ndarray, counts: np.ndarray
) -> tuple[float, list[dict[str, float]]]:
    """Return seconds and scores of resamples that are given as counts of patients."""
    first = np.r_[np.flatnonzero(np.diff(groups, prepend=-1)), len(groups)]
    rows_of = [np.arange(a, b) for a, b in pairwise(first)]
    start = time.perf_counter()
    scores = []
    for count in counts:
        drawn = np.repeat(np.arange(len(rows_of)), count.astype(int))
        rows = np.concatenate([rows_of[patient] for patient in drawn])
        scores.append(by_scikit_learn(y[rows], p[rows]))
    return time.perf_counter() - start, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=5000)
    parser.add_argument("--rows", type=int, default=7500)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--looped", type=int, default=40, help="replicates that the loop scores")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    y, p, groups = make(options.patients, options.rows)
    n = options.replicates
    counts = np.concatenate(list(draw_counts(options.patients, n, 0, width=options.rows)))
    picked = np.linspace(0, n - 1, options.looped).astype(int)
    loop(y, p, groups, counts[:2])  # warm
    ratios = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        scorer = BinaryScorer(y, p, threshold=THRESHOLD, groups=groups)
        ours = bootstrap_scores(scorer, n_bootstrap=n, seed=0, width=len(y))
        seconds = time.perf_counter() - start
        looped, theirs = loop(y, p, groups, counts[picked])
        scaled = looped * n / options.looped
        ratios.append(scaled / seconds)
        print(
            f"asfusion {seconds:.2f} s for {n}; loop {looped:.2f} s for {options.looped}, "
            f"so {scaled:.0f} s for {n}: {ratios[-1]:.0f} times",
            flush=True,
        )
    print(f"\nratio: median {np.median(ratios):.0f}, lowest {min(ratios):.0f}")
    print("largest difference on the same resamples:")
    for name in theirs[0]:
        gap = max(
            abs(ours[name][r] - scores[name]) for r, scores in zip(picked, theirs, strict=True)
        )
        print(f"  {name:22} {gap:.1e}")
    start = time.perf_counter()
    evaluate(p, y=y, groups=groups, threshold=THRESHOLD, n_bootstrap=n)
    print(f"\nthe whole report, with its curves: {time.perf_counter() - start:.2f} s")
    print("\nDeLong, clustered, by number of rows:")
    for size in (10_000, 100_000, 1_000_000):
        many = make(size // 2, size)
        start = time.perf_counter()
        delong_interval(many[0], many[1], groups=many[2])
        print(f"  {size:9}: {time.perf_counter() - start:.3f} s")


if __name__ == "__main__":
    main()
