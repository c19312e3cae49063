"""What it costs to learn a threshold on rows that the deciding model did not see.

Run: ``python benchmarks/thresholds.py [--patients 600]``

Each family is fitted with the default threshold and with one chosen by Youden's index, in turn
and several times; printed is the median ratio of the two times.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier

import asfusion as af


def seconds(model: Any, X: pd.DataFrame, y: np.ndarray) -> float:
    begun = time.perf_counter()
    clone(model).fit(X, y)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cohort = af.datasets.make_axspa_cohort(
        options.patients, random_state=0, modalities=["labs", "genes"]
    )
    X, y = cohort.X, cohort.y
    encoders = af.infer_encoders(X)
    forest = RandomForestClassifier(200, n_jobs=1)
    settings: dict[str, Any] = {"verbose": 0, "random_state": 0}
    models = {
        "early, logistic": af.EarlyFusionClassifier(encoders, **settings),
        "early, forest of 200": af.EarlyFusionClassifier(encoders, forest, **settings),
        "joint, concat": af.JointFusionClassifier(encoders, **settings),
        "late, forests": af.LateFusionClassifier(encoders, forest, **settings),
        "late, stacked forests": af.LateFusionClassifier(
            encoders, forest, combine="stacking", **settings
        ),
    }
    print(f"{options.patients} patients, one thread, median of {options.rounds} rounds")
    for name, model in models.items():
        rounds = [
            (seconds(model, X, y), seconds(clone(model).set_params(threshold="youden"), X, y))
            for _ in range(options.rounds)
        ]
        plain = statistics.median(one for one, _ in rounds)
        ratio = statistics.median(other / one for one, other in rounds)
        print(f"{name:<22} {plain:6.2f} s with the default; learned: {ratio:.1f} times", flush=True)


if __name__ == "__main__":
    main()
