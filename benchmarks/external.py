"""Find planted shifts between hospitals, and judge harmonised sites one left out at a time.

Shifts: synthetic patients, a model of labs, a reference of 500 held-out patients, new ones of the
same cohort that are shifted on purpose: how often the shift is found, and how often anything is
where nothing was planted. Sites: the synthetic cohort and the chest films, with and without
`SiteHarmoniser`.

    python benchmarks/external.py                  # --part shifts
    python benchmarks/external.py --part sites --data ../shared/data
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

import asfusion as af
from asfusion.sites import SiteHarmoniser, make_reference

sys.path.insert(0, str(Path(__file__).parent))

LABS = ["age", "sex", "bmi", "smoker", "crp", "esr", "wbc", "neutrophils", "lymphocytes"]
LABS += ["platelets", "haemoglobin", "cervical_rotation"]
N_MODEL, N_REFERENCE = 1500, 500
NEW = (100, 300, 1000)
Rows = tuple[pd.DataFrame, np.ndarray, np.ndarray]


def odds(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


def share(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


# -- what is planted: rows, labels and predictions, shifted ------------------------------


def shifted(
    kind: str, size: float, model: Any, pool: pd.DataFrame, y: np.ndarray, n: int, rng: Any
) -> Rows:
    """Return n rows of a pool with one shift, their labels, and what the model says of them."""
    rows = rng.permutation(len(pool))[:n]
    if kind == "prevalence":
        prior = y.mean()
        wanted = share(odds(prior) + size)
        weight = np.where(y == 1, wanted / prior, (1 - wanted) / (1 - prior))
        rows = rng.choice(len(pool), n, replace=False, p=weight / weight.sum())
    X, labels = pool.iloc[rows].reset_index(drop=True), y[rows]
    if kind == "unit":
        X["crp"] = X["crp"] / size
    if kind == "unit of haemoglobin":
        X["haemoglobin"] = X["haemoglobin"] / size
    if kind == "missing":
        X.loc[rng.random(n) < size, "esr"] = np.nan
    if kind == "location":
        X["platelets"] += size * pool["platelets"].std()
    p = model.predict_proba(X)[:, 1]
    if kind == "calibration intercept":
        labels = (rng.random(n) < share(odds(p) + size)).astype(int)
    if kind == "calibration slope":
        labels = (rng.random(n) < share(size * odds(p))).astype(int)
    return X, labels, p


SHIFTS: dict[str, tuple[tuple[float, ...], Any]] = {
    "nothing": ((0.0,), lambda f: True),
    "unit": ((10.0,), lambda f: f.name == "crp" and bool(f.unit)),
    "unit of haemoglobin": ((10.0, 16.114), lambda f: f.name == "haemoglobin" and bool(f.unit)),
    "missing": ((0.1, 0.2, 0.4), lambda f: f.name == "esr" and f.kind == "missing"),
    "location": ((0.2, 0.35, 0.5), lambda f: f.name == "platelets"),
    "prevalence": ((0.5, 1.0), lambda f: f.kind == "prevalence"),
    "calibration intercept": ((0.5, 1.0), lambda f: f.kind in ("intercept", "prevalence")),
    "calibration slope": ((0.5, 0.3), lambda f: f.kind in ("slope", "discrimination")),
}
# What follows from a planted shift, and is no false alarm: the prediction moves with its inputs.
OUTCOME = {"unit", "unit of haemoglobin", "location", "prevalence", "missing"}


def draw_pool(seed: int, n: int) -> tuple[Any, pd.DataFrame, np.ndarray]:
    """Return a model of labs, and patients that it has not seen."""
    cohort = af.datasets.make_axspa_cohort(n, modalities=["labs"], random_state=seed)
    first = pd.Series(cohort.groups).drop_duplicates().index
    X, y = cohort.X[LABS].iloc[first].reset_index(drop=True), np.asarray(cohort.y)[first]
    model = af.EarlyFusionClassifier({"labs": af.TabularEncoder(LABS)}, verbose=0, random_state=0)
    model.fit(X.iloc[:N_MODEL], y[:N_MODEL])
    return model, X.iloc[N_MODEL:].reset_index(drop=True), y[N_MODEL:]


def shifts(repeats: int, seed: int, patients: int, sizes: tuple[int, ...]) -> None:
    model, X, y = draw_pool(seed, patients)
    print(f"{len(X)} patients to draw from, {repeats} draws each; reference {N_REFERENCE}")
    p = model.predict_proba(X)[:, 1]
    print(f"AUC {roc_auc_score(y, p):.3f}, prevalence {y.mean():.2f}")
    print(f"{'shift':<24}{'size':>7}{'n new':>7}{'found':>8}{'else':>8}   update")
    for kind, (strengths, is_it) in SHIFTS.items():
        for size in strengths:
            for n in sizes:
                begun = time.perf_counter()
                counts: Counter[str] = Counter()
                for draw in range(repeats):
                    rng = np.random.default_rng([seed, draw, n, len(kind)])
                    found = one(model, X, y, p, (kind, size, n), rng)
                    counts["found"] += any(map(is_it, found.found))
                    counts["else"] += any(
                        not is_it(f) and not (f.name == "outcome" and kind in OUTCOME | {f.kind})
                        for f in found.found
                        if not (kind.startswith("calibration") and f.name == "outcome")
                    )
                    counts[f"update {found.update}"] += 1
                told = ", ".join(
                    f"{k.removeprefix('update ')} {v / repeats:.2f}"
                    for k, v in counts.most_common()
                    if k.startswith("update")
                )
                rates = [counts[k] / repeats for k in ("found", "else")]
                spent = time.perf_counter() - begun
                head = f"{kind:<24}{size:>7g}{n:>7}{rates[0]:>8.2f}{rates[1]:>8.2f}"
                print(f"{head}   {told}  ({spent:.0f} s)", flush=True)


def one(model: Any, X: pd.DataFrame, y: np.ndarray, p: np.ndarray, planted: Any, rng: Any) -> Any:
    kind, size, n = planted
    order = rng.permutation(len(X))
    own, others = order[:N_REFERENCE], order[N_REFERENCE:]
    labels = y[own]
    if kind.startswith("calibration"):  # true there by the same rule, not shifted
        labels = (rng.random(len(own)) < p[own]).astype(int)
    reference = make_reference(p[own], X.iloc[own], labels, n_bootstrap=100)
    pool = X.iloc[others].reset_index(drop=True)
    new, wanted, said = shifted(kind, size, model, pool, y[others], n, rng)
    return af.external_validation(said, new, wanted, reference=reference, n_bootstrap=100)


# -- sites -------------------------------------------------------------------------------


def folds(sites: np.ndarray, groups: np.ndarray, seed: int) -> Iterator[tuple[str, str, Any, Any]]:
    """Yield one site left out at a time, and fifths of the patients of all sites."""
    for site in np.unique(sites):
        yield (
            "site left out",
            str(site),
            np.flatnonzero(sites != site),
            np.flatnonzero(sites == site),
        )
    patients = np.unique(groups)
    number = np.random.default_rng(seed).permutation(len(patients)) % 5
    part = number[np.searchsorted(patients, groups)]
    for k in range(5):
        yield "fifths of all", str(k), np.flatnonzero(part != k), np.flatnonzero(part == k)


def judged(X: pd.DataFrame, y: Any, groups: Any, sites: Any, encoders: Any, seed: int) -> None:
    """Print the AUC of early fusion with and without harmonised sites, and what a probe says."""
    made = X.assign(site=sites)
    variants = {
        "as they are": lambda e: e,
        "harmonised": lambda e: SiteHarmoniser(e, "site"),
        "harmonised, unseen as the largest": lambda e: SiteHarmoniser(
            e, "site", unseen="reference"
        ),
        "harmonised, target kept": lambda e: SiteHarmoniser(e, "site", keep_target=True),
    }
    for label, wrap in variants.items():
        told: dict[str, list[str]] = {}
        scores: dict[str, list[float]] = {}
        for way, name, train, test in folds(sites, groups, seed):
            parts = {k: wrap(e) for k, e in encoders().items()}
            model = af.EarlyFusionClassifier(parts, verbose=0, random_state=seed)
            model.fit(made.iloc[train], y[train], groups=groups[train])
            p = model.predict_proba(made.iloc[test])[:, 1]
            if len(np.unique(y[test])) < 2:
                continue
            auc = roc_auc_score(y[test], p)
            scores.setdefault(way, []).append(auc)
            told.setdefault(way, []).append(f"{name} {auc:.3f}")
        for way, values in scores.items():
            shown = f"  ({', '.join(told[way])})" if way == "site left out" else ""
            print(f"  {label:<36}{way:<15}{np.mean(values):.3f}{shown}", flush=True)
    half = np.random.default_rng(seed).permutation(np.unique(groups))
    learn = np.isin(groups, half[: len(half) // 2])
    for label, wrap in list(variants.items())[:2]:
        parts = {k: wrap(e) for k, e in encoders().items()}
        model = af.EarlyFusionClassifier(parts, verbose=0, random_state=seed)
        model.fit(made[learn], y[learn], groups=groups[learn])
        probe = af.site_probe(
            model, made[~learn], sites[~learn], y=y[~learn], groups=None, n_permutations=199
        )
        found = ", ".join(
            f"{k} {v.auc:.2f} (p {v.adjusted:.3f})" for k, v in probe.embeddings.items()
        )
        print(f"  {label:<36}site by a probe: {found}", flush=True)


def cohort_sites(seed: int, patients: int) -> None:
    cohort = af.datasets.make_axspa_cohort(
        patients, modalities=["labs"], units="site", random_state=seed
    )
    sites = np.asarray([str(s) for s in cohort.sites])
    y = np.asarray(cohort.y)
    told = ", ".join(
        f"{s} {y[sites == s].mean():.2f} of {(sites == s).sum()}" for s in np.unique(sites)
    )
    print(f"Synthetic cohort, seed {seed}, CRP in the units of each site; prevalence {told}")

    def encoders() -> dict[str, Any]:
        return {"labs": af.TabularEncoder(LABS)}

    X = cohort.X[LABS].reset_index(drop=True)
    judged(X, y, np.asarray(cohort.groups), sites, encoders, seed)


def chest_sites(data: Path, n_sources: int) -> None:
    from _datasets import cxr

    task = cxr(data)
    table = pd.read_csv(data / "cxr" / "cohort.csv")
    table = table[table["is_frontal"] & table["label_icu"].notna()].reset_index(drop=True)
    source = table["source_domain"].astype(str)
    sites = np.where(source == "github.com", "github", "others")
    if n_sources == 3:
        sites = np.where(source == "eurorad.org", "eurorad", sites)
    told = ", ".join(
        f"{s} {task.y[sites == s].mean():.2f} of {(sites == s).sum()}" for s in np.unique(sites)
    )
    print(f"Chest films and table, {n_sources} sources; prevalence {told}")

    def encoders() -> dict[str, Any]:
        return {k: e for k, e in task.encoders().items() if k != "notes"}

    judged(task.X, task.y, task.groups, sites, encoders, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("shifts", "sites"), default="shifts")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--patients", type=int, default=9000)
    parser.add_argument("--new", type=int, nargs="+", default=list(NEW))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.part == "shifts":
        for seed in arguments.seeds:
            shifts(arguments.repeats, seed, arguments.patients, tuple(arguments.new))
        return
    for seed in arguments.seeds:
        cohort_sites(seed, min(arguments.patients, 1200))
    if (arguments.data / "cxr" / "cohort.csv").exists():
        for n_sources in (2, 3):
            chest_sites(arguments.data, n_sources)


if __name__ == "__main__":
    main()
