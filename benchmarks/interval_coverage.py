"""How often the intervals of a report contain the truth.

Run: ``python benchmarks/interval_coverage.py``

Patients have one to three visits that resemble each other. Their risk, a grade and a quantity
are predicted imperfectly: ranks are noisy, probabilities too extreme and too high. What each
score truly is comes from a sample of two million rows. Many small studies are then drawn from
the same source, each is judged with its patients as groups, and for each score it is
counted how many of the 95 % intervals contain the truth, how many lie wholly below or above, and
how many are not given. With 1000 studies chance moves the share by 1.4 points either way.
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import numpy as np
import pandas as pd

from asfusion.evaluation.delong import delong_interval
from asfusion.evaluation.intervals import Interval, score_intervals
from asfusion.evaluation.metrics import (
    BinaryScorer,
    MulticlassScorer,
    RegressionScorer,
    binary_scores,
    multiclass_scores,
    regression_scores,
)

THRESHOLD, PREVALENCE, MIC = 0.4, 0.1, 1.0
RANKS = np.arange(4)


class Study(NamedTuple):
    """Rows of one simulated study."""

    groups: np.ndarray
    y: np.ndarray
    probability: np.ndarray
    grade: np.ndarray
    grades: np.ndarray
    target: np.ndarray
    predicted: np.ndarray


def draw(n_patients: int, rng: np.random.Generator) -> Study:
    """Return rows of patients with one to three visits each."""
    groups = np.repeat(np.arange(n_patients), rng.integers(1, 4, n_patients))
    patient = rng.normal(size=n_patients)[groups]
    visit = 0.8 * patient + 0.6 * rng.normal(size=len(groups))
    seen = visit + 0.5 * rng.normal(size=n_patients)[groups] + 0.3 * rng.normal(size=len(groups))
    y = rng.random(len(groups)) < 1 / (1 + np.exp(1.0 - 1.8 * visit))
    grade = np.clip(np.round(1.5 + visit), 0, 3).astype(int)
    grades = np.exp(-((RANKS[None, :] - 1.5 - seen[:, None]) ** 2))
    return Study(
        groups=groups,
        y=y,
        probability=1 / (1 + np.exp(0.7 - 1.6 * seen)),
        grade=grade,
        grades=grades / grades.sum(axis=1, keepdims=True),
        target=4 + 2 * visit,
        predicted=4.2 + 1.5 * seen,
    )


def truths(rng: np.random.Generator) -> dict[str, float]:
    """Return each score on a million patients."""
    study = draw(1_000_000, rng)
    binary = binary_scores(study.y, study.probability, threshold=THRESHOLD)
    stated = binary_scores(study.y, study.probability, threshold=THRESHOLD, prevalence=PREVALENCE)
    found = {**binary, "auc_delong": binary["auc"]}
    found |= {f"{k}, at 10 %": stated[k] for k in ("ppv", "npv", "net_benefit")}
    ordinal = multiclass_scores(study.grade, study.grades, ranks=RANKS)
    found |= {k: ordinal[k] for k in ("kappa_linear", "kappa_quadratic", "class_error")}
    found["auc, 4 grades"] = ordinal["auc"]
    return found | regression_scores(study.target, study.predicted, mic=MIC)


def judge(study: Study, seed: int, n_bootstrap: int) -> dict[str, Interval]:
    """Return the intervals of one study."""
    y, p, groups = study.y, study.probability, study.groups
    options = {
        "n_bootstrap": n_bootstrap,
        "confidence": 0.95,
        "seed": seed,
        "width": len(groups),
    }
    found, _ = score_intervals(BinaryScorer(y, p, threshold=THRESHOLD, groups=groups), **options)
    scorer = BinaryScorer(y, p, threshold=THRESHOLD, prevalence=PREVALENCE, groups=groups)
    stated, _ = score_intervals(scorer, **options)
    found |= {f"{k}, at 10 %": stated[k] for k in ("ppv", "npv", "net_benefit")}
    found["auc_delong"] = delong_interval(y, p, groups=groups)
    names = [str(rank) for rank in RANKS]
    grades = MulticlassScorer(study.grade, study.grades, names=names, ranks=RANKS, groups=groups)
    ordinal, _ = score_intervals(grades, **options)
    found |= {k: ordinal[k] for k in ("kappa_linear", "kappa_quadratic", "class_error")}
    found["auc, 4 grades"] = ordinal["auc"]
    numbers = RegressionScorer(
        study.target[:, None], study.predicted[:, None], mic=MIC, groups=groups
    )
    return found | score_intervals(numbers, **options)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--patients", type=int, nargs="+", default=[100, 250, 1000])
    parser.add_argument("--replicates", type=int, default=1000)
    options = parser.parse_args()
    truth = truths(np.random.default_rng(12345))
    table: dict[str, dict[str, float]] = {name: {"truth": value} for name, value in truth.items()}
    for n_patients in options.patients:
        start = time.perf_counter()
        rng = np.random.default_rng(n_patients)
        places = {name: np.zeros(4) for name in truth}  # covered, below, above, none
        for number in range(options.studies):
            found = judge(draw(n_patients, rng), number, options.replicates)
            for name, value in truth.items():
                low, high = found[name].low, found[name].high
                if np.isnan(low):
                    places[name][3] += 1
                else:
                    places[name][0 if low <= value <= high else 1 if high < value else 2] += 1
        for name, counts in places.items():
            given = counts[:3].sum()
            table[name][f"covered, {n_patients}"] = 100 * counts[0] / given
            table[name]["below"] = 100 * counts[1] / given
            table[name]["above"] = 100 * counts[2] / given
            table[name]["not given"] = 100 * counts[3] / options.studies
        print(f"{n_patients} patients: {time.perf_counter() - start:.0f} s", flush=True)
    last = options.patients[-1]
    print(f"\nPercent of {options.studies} studies; below, above, not given: {last} patients\n")
    print(pd.DataFrame(table).T.to_string(float_format=lambda v: f"{v:.3g}"))


if __name__ == "__main__":
    main()
