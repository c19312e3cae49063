"""Grades: what their order is worth, beside the same models that do not know it.

Run: ``python benchmarks/grades.py [--patients 400] [--seeds 3] [--families early joint]``

Radiographic grades (0 to 4) of the left sacroiliac joint in synthetic cohorts, one for each
seed, from labs, notes and genes. Early and joint fusion are judged on the same five folds by
patient, once with `Grades` and once as classes. Each model is judged by what it predicts: the
middle grade, or the most probable class; and the classes once more by their middle grade, which
tells what is owed to that rule alone. Differences are paired: the patients of all cohorts are
drawn together, the same for both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import asfusion as af
from asfusion.evaluation.intervals import bootstrap_scores, paired_difference
from asfusion.evaluation.metrics import MulticlassScorer
from asfusion.targets.ordered import middle_grade

N_GRADES = 5
SHOWN = {"kappa_quadratic": "kappa", "class_error": "error", "log_loss": "log-loss"}
Scores = tuple[dict[str, float], dict[str, NDArray[np.float64]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--families", nargs="+", default=["early", "joint"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    cohorts = [cohort(options.patients, seed) for seed in range(options.seeds)]
    grade = np.concatenate([grades for _, grades, _, _ in cohorts])
    patient = numbers_of(groups for _, _, groups, _ in cohorts)
    print(f"{options.seeds} cohorts of {options.patients} patients, {len(grade)} rows")
    for family in options.families:
        begun = time.process_time()
        told = {
            what: np.concatenate([predict(family, target, *made) for made in cohorts])
            for what, target in (("ordered", af.targets.Grades()), ("classes", None))
        }
        called = {
            "ordered": (told["ordered"], middle_grade(told["ordered"])),
            "classes": (told["classes"], told["classes"].argmax(axis=1)),
            "classes, middle grade": (told["classes"], middle_grade(told["classes"])),
        }
        scored = {
            what: score(grade, *pair, patient, options.replicates) for what, pair in called.items()
        }
        show(family, scored, time.process_time() - begun)


def cohort(n: int, seed: int) -> tuple[Any, NDArray[np.int64], Any, dict[str, Any]]:
    """Return X, grades, patients and encoders of a cohort."""
    made = af.datasets.make_axspa_cohort(
        n, random_state=seed, modalities=["labs", "notes", "genes"]
    )
    labs = [c for c in made.X.columns if c != "clinical_note" and c[:2] not in ("hl", "rs")]
    encoders = {
        "labs": af.TabularEncoder(labs),
        "notes": af.TextEncoder("clinical_note", backbone="tfidf"),
        "hla": af.TabularEncoder(["hla_b27"]),
        "risk": af.GenotypeEncoder(prefix="rs"),
    }
    return made.X, np.asarray(made.targets["mny_left"], dtype=np.int64), made.groups, encoders


def numbers_of(groups: Iterable[Any]) -> NDArray[np.int64]:
    """Return the number of each row's patient, other cohorts having other patients."""
    names = [f"{place}-{one}" for place, part in enumerate(groups) for one in part]
    return np.unique(names, return_inverse=True)[1]


def predict(
    family: str, target: Any, X: Any, grade: Any, groups: Any, encoders: Any
) -> NDArray[np.float64]:
    """Return probabilities (N, K) of all grades, by models that did not see the patient."""
    kind = getattr(af, f"{family.capitalize()}FusionClassifier")
    model = kind(encoders, target=target, verbose=0, random_state=0)
    found = af.cross_validate(
        model, X, grade, groups=groups, cv=5, verbose=0, n_bootstrap=1, random_state=0
    )
    out = np.zeros((len(grade), N_GRADES))
    out[:, np.unique(grade)] = found.predictions
    return out


def score(grade: Any, told: Any, called: Any, patient: Any, replicates: int) -> Scores:
    """Return scores of all rows, and of each replicate."""
    scorer = MulticlassScorer(
        grade,
        told,
        names=[str(k) for k in range(N_GRADES)],
        ranks=np.arange(N_GRADES),
        called=called,
        groups=patient,
    )
    estimates = {name: float(one[0]) for name, one in scorer(np.ones((1, scorer.n_groups))).items()}
    return estimates, bootstrap_scores(scorer, n_bootstrap=replicates, seed=0, width=len(grade))


def show(family: str, scored: dict[str, Scores], seconds: float) -> None:
    """Print the scores of one family, and by how much the ordered model differs."""
    print(f"== {family}, {seconds:.0f} s")
    for what, (estimates, _) in scored.items():
        shown = ", ".join(f"{SHOWN[name]} {estimates[name]:.3f}" for name in SHOWN)
        print(f"{what:<22} {shown}")
    one, ones = scored["ordered"]
    for what in list(scored)[1:]:
        other, others = scored[what]
        for name, label in SHOWN.items():
            gap = paired_difference((one[name], other[name]), (ones[name], others[name]), 0.95)
            print(
                f"ordered less {what:<22} {label:<8} {gap.estimate:+.3f} "
                f"({gap.low:+.3f} to {gap.high:+.3f})"
            )


if __name__ == "__main__":
    main()
