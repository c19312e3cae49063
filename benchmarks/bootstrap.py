"""Time of the clustered bootstrap of all binary measures, beside numpy that sorts once.

Run: ``python benchmarks/bootstrap.py``

All score the same 2,000 resamples of 5,000 patients with 7,500 rows, one thread each, by every
measure that a report shows of a binary outcome; that is also what is compared. The best rival is
numpy as one writes it who knows that a resample is nothing but weights: rows are sorted by
probability once, ranks and tables are sums of weights, losses of rows are computed once, and
calibration goes on from the solution of the sample by Newton's steps. The loop does what others
would write by hand: take the rows of the drawn patients, call scikit-learn's functions on
them, one confusion table for everything that comes from it. scikit-learn has no net benefit and
no calibration error; the loop counts those in numpy, which takes it next to no time. Calibration
is one unpenalised logistic regression for the slope, and for the shift scipy's root finder. The
loop is timed on some of the resamples, spread over all, and its time is scaled to all of them.
Times are those of the processor.
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


class SortedOnce:
    """Measures of resamples as sums of weights over rows that were sorted once."""

    def __init__(self, y: np.ndarray, p: np.ndarray, groups: np.ndarray) -> None:
        order = np.argsort(-p, kind="stable")
        self.y, self.p, self.groups = y[order].astype(float), p[order], groups[order]
        self.ends = np.flatnonzero(np.diff(self.p, append=-1.0))  # of rows that are equal
        self.called = int((self.p >= THRESHOLD).sum())
        self.z = logit(self.p)
        self.losses = np.where(self.y > 0, -np.log(self.p), -np.log1p(-self.p))
        self.squares = (self.y - self.p) ** 2
        self.bins = np.minimum((10 * self.p).astype(int), 9)
        self.line = self.fitted(np.ones(len(y)), np.array([0.0, 1.0]))
        self.shift = self.shifted(np.ones(len(y)), 0.0)

    def fitted(self, w: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Return intercept and slope of an unpenalised logistic regression, by Newton's steps."""
        for _ in range(20):
            q = expit(at[0] + at[1] * self.z)
            rest, curve = w * (self.y - q), w * q * (1 - q)
            gradient = np.array([rest.sum(), rest @ self.z])
            cross = curve @ self.z
            step = np.linalg.solve(
                [[curve.sum(), cross], [cross, (curve * self.z) @ self.z]], gradient
            )
            at = at + step
            if np.abs(step).max() < 1e-9:
                break
        return at

    def shifted(self, w: np.ndarray, at: float) -> float:
        """Return the shift of the log odds that makes predictions right on average."""
        for _ in range(20):
            q = expit(at + self.z)
            step = (w @ (self.y - q)) / (w @ (q * (1 - q)))
            at += step
            if abs(step) < 1e-9:
                break
        return at

    def scores(self, count: np.ndarray) -> dict[str, float]:
        """Return the measures of a resample, given how often each patient was drawn."""
        w = count[self.groups].astype(float)
        positive = w * self.y
        caught, called = np.cumsum(positive)[self.ends], np.cumsum(w)[self.ends]
        n, n_positive = called[-1], caught[-1]
        n_negative, alarms = n - n_positive, called - caught
        gained, further = np.diff(caught, prepend=0.0), np.diff(alarms, prepend=0.0)
        # Equal rows may have been drawn not once.
        precision = caught / np.maximum(called, 1.0)
        tp = positive[: self.called].sum()
        fp = w[: self.called].sum() - tp
        tn, fn = n_negative - fp, n_positive - tp
        sensitivity, specificity = tp / n_positive, tn / n_negative
        return {
            "auc": (further @ (caught - gained / 2)) / (n_positive * n_negative),
            "average_precision": gained @ precision / n_positive,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "ppv": tp / (tp + fp),
            "npv": tn / (tn + fn),
            "lr_positive": sensitivity / (1 - specificity),
            "lr_negative": (1 - sensitivity) / specificity,
            "net_benefit": (tp - fp * THRESHOLD / (1 - THRESHOLD)) / n,
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "accuracy": (tp + tn) / n,
            "log_loss": w @ self.losses / n,
            "brier": w @ self.squares / n,
            "calibration_slope": self.fitted(w, self.line)[1],
            "calibration_intercept": self.shifted(w, self.shift),
            "ece": np.abs(np.bincount(self.bins, w * (self.y - self.p))).sum() / n,
        }


def sorted_once(
    y: np.ndarray, p: np.ndarray, groups: np.ndarray, counts: np.ndarray
) -> tuple[float, list[dict[str, float]]]:
    """Return seconds and scores of resamples by numpy."""
    start = time.process_time()
    rows = SortedOnce(y, p, groups)
    scores = [rows.scores(count) for count in counts]
    return time.process_time() - start, scores


def loop(
    y: np.ndarray, p: np.ndarray, groups: np.ndarray, counts: np.ndarray
) -> tuple[float, list[dict[str, float]]]:
    """Return seconds and scores of resamples that are given as counts of patients."""
    first = np.r_[np.flatnonzero(np.diff(groups, prepend=-1)), len(groups)]
    rows_of = [np.arange(a, b) for a, b in pairwise(first)]
    start = time.process_time()
    scores = []
    for count in counts:
        drawn = np.repeat(np.arange(len(rows_of)), count.astype(int))
        rows = np.concatenate([rows_of[patient] for patient in drawn])
        scores.append(by_scikit_learn(y[rows], p[rows]))
    return time.process_time() - start, scores


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
    scorer = BinaryScorer(y, p, threshold=THRESHOLD, groups=groups)
    bootstrap_scores(scorer, n_bootstrap=20, seed=0, width=len(y))  # warm, as are the others
    sorted_once(y, p, groups, counts[:2])
    loop(y, p, groups, counts[:2])
    ratios: dict[str, list[float]] = {"numpy, sorted once": [], "loop over scikit-learn": []}
    for _ in range(options.rounds):
        start = time.process_time()
        scorer = BinaryScorer(y, p, threshold=THRESHOLD, groups=groups)
        ours = bootstrap_scores(scorer, n_bootstrap=n, seed=0, width=len(y))
        seconds = time.process_time() - start
        in_numpy, once = sorted_once(y, p, groups, counts)
        looped, theirs = loop(y, p, groups, counts[picked])
        scaled = looped * n / options.looped
        for of, taken in zip(ratios.values(), (in_numpy, scaled), strict=True):
            of.append(taken / seconds)
        print(
            f"asfusion {seconds:.2f} s for {n}; numpy, sorted once {in_numpy:.2f} s; loop "
            f"{looped:.2f} s for {options.looped}, so {scaled:.0f} s for {n}",
            flush=True,
        )
    for name, of in ratios.items():
        print(f"ratio to {name}: median {np.median(of):.1f} ({min(of):.1f} to {max(of):.1f})")
    print("largest difference on the same resamples: from numpy, and from the loop")
    for name in theirs[0]:
        gaps = (
            max(abs(ours[name][r] - scores[name]) for r, scores in zip(rows, found, strict=True))
            for rows, found in ((range(n), once), (picked, theirs))
        )
        print(f"  {name:22}", *(f"{gap:.1e}" for gap in gaps))
    start = time.process_time()
    evaluate(p, y=y, groups=groups, threshold=THRESHOLD, n_bootstrap=n)
    print(f"\nthe whole report, with its curves: {time.process_time() - start:.2f} s")
    print("\nDeLong, clustered, by number of rows:")
    for size in (10_000, 100_000, 1_000_000):
        many = make(size // 2, size)
        start = time.process_time()
        delong_interval(many[0], many[1], groups=many[2])
        print(f"  {size:9}: {time.process_time() - start:.3f} s")


if __name__ == "__main__":
    main()
