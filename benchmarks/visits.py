"""Whether the visits before the last one tell of progression, and to whom.

Run: ``python benchmarks/visits.py [--patients 2000] [--seeds 3] [--folds 5] [--only "gru"]``

Synthetic patients with three to eight visits in thirty months; the target is radiographic
progression in the two years after the index date (``progression_2y``). Networks of
`VisitEncoder` on all visits stand beside the same networks on the last visit alone, beside
scikit-learn's models on the values of the last visit, and beside logistic regression on last
values and slopes that were made by hand. What is learned here is whether the library finds
what is there, nothing about patients.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import asfusion as af

N_REPLICATES = 1000
BACKBONES = ("gru", "lstm", "transformer")


def hand_made(visits: pd.DataFrame, *, slopes: bool) -> pd.DataFrame:
    """Return the last value of each variable and, if asked, its least-squares slope per year."""
    names = [name for name in visits if name not in ("patient", "day")]
    last = visits.sort_values("day").groupby("patient")[names].last()
    if not slopes:
        return last
    centred = visits - visits.groupby("patient").transform("mean").assign(patient=0)
    centred["patient"] = visits["patient"]
    products = centred[names].mul(centred["day"], axis=0).groupby(visits["patient"]).sum()
    spread = (centred["day"] ** 2).groupby(visits["patient"]).sum()
    slope = products.div(spread, axis=0) * 365.25
    return last.join(slope.add_suffix("_slope"))


def links(visits: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return how well each slope alone tells who progresses, among all and among those with AS.

    Progression is drawn from the diagnosis, damage, smoking and the inflammation of the index
    date: a slope can tell of it only by telling of these.
    """
    slopes = hand_made(visits, slopes=True).filter(like="_slope").fillna(0.0)
    y, with_as = targets["progression_2y"], (targets["diagnosis"] == "AS").to_numpy()
    alone = {
        name: {
            "all": roc_auc_score(y, slopes[name]),
            "with AS": roc_auc_score(y[with_as], slopes.loc[with_as, name]),
        }
        for name in slopes
    }
    return pd.DataFrame(alone).T


def contestants(visits: pd.DataFrame) -> dict[str, tuple[Any, pd.DataFrame]]:
    """Return each model with the table that it reads, a row per patient."""
    keys = pd.Series(np.unique(visits["patient"]))
    every = pd.DataFrame({"visits": af.VisitEncoder.nest(visits, keys)})
    only_last = pd.DataFrame({"visits": af.VisitEncoder.nest(visits[visits["day"] == 0], keys)})
    last, slopes = (hand_made(visits, slopes=wanted) for wanted in (False, True))
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    forest = RandomForestClassifier(500, min_samples_leaf=5)
    found: dict[str, tuple[Any, pd.DataFrame]] = {}
    for name in BACKBONES:
        encoder = af.VisitEncoder("visits", backbone=name)
        network = af.JointFusionClassifier({"visits": encoder}, verbose=0)
        found[f"{name}, all visits"] = network, every
        found[f"{name}, last visit"] = network, only_last
    summary = af.EarlyFusionClassifier({"visits": af.VisitEncoder("visits")}, verbose=0)
    found["logistic, VisitEncoder's summary"] = summary, every
    found["logistic, last and slope by hand"] = logistic, slopes
    found["logistic, last visit"] = logistic, last
    found["forest, last visit"] = forest, last
    return found


def out_of_fold(model: Any, X: pd.DataFrame, y: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Return the probability of progression of each patient, by models that never saw them."""
    told = np.empty(len(y))
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    for train, test in folds.split(X, y, groups=np.arange(len(y))):
        seeds = {name: seed for name in model.get_params() if name.endswith("random_state")}
        fitted = clone(model).set_params(**seeds).fit(X.iloc[train], y[train])
        told[test] = fitted.predict_proba(X.iloc[test])[:, 1]
    return told


def areas(y: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Return the AUC of each model, the mean over seeds; `told` is (models, seeds, patients)."""
    return np.asarray([np.mean([roc_auc_score(y, one) for one in seeds]) for seeds in told])


def board(y: np.ndarray, told: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Return AUCs and differences to the first model, with intervals that resample patients."""
    rng, replicates = np.random.default_rng(0), []
    for _ in range(N_REPLICATES):
        drawn = rng.integers(0, len(y), len(y))
        replicates.append(areas(y[drawn], told[:, :, drawn]))
    drawn_areas, found = np.asarray(replicates), areas(y, told)
    low, high = np.quantile(drawn_areas, [0.025, 0.975], axis=0)
    less = found[0] - found
    less_low, less_high = np.quantile(drawn_areas[:, :1] - drawn_areas, [0.025, 0.975], axis=0)
    table = {"AUC": found, "low": low, "high": high}
    table |= {"first less it": less, "low ": less_low, "high ": less_high}
    return pd.DataFrame(table, index=names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", default="", help="words in the names of models to run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cohort = af.datasets.make_axspa_cohort(
        arguments.patients, random_state=0, modalities=["labs", "visits"]
    )
    y = cohort.targets["progression_2y"].to_numpy()
    print(f"{len(y)} synthetic patients, {int(y.sum())} of whom progress")
    print(links(cohort.visits, cohort.targets).round(3).to_string())
    words = arguments.only.split()
    models = {
        name: pair
        for name, pair in contestants(cohort.visits).items()
        if not words or any(word in name for word in words)
    }
    told = []
    for name, (model, X) in models.items():
        begun = time.perf_counter()
        seeds = [out_of_fold(model, X, y, arguments.folds, s) for s in range(arguments.seeds)]
        told.append(seeds)
        auc = np.mean([roc_auc_score(y, one) for one in seeds])
        print(f"  {name:<36} {auc:.3f}  {time.perf_counter() - begun:6.0f} s", flush=True)
    print(board(y, np.asarray(told), list(models)).round(3).to_string())


if __name__ == "__main__":
    main()
