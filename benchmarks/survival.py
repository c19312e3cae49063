"""Time to an event: our Cox regression against lifelines, and fusion against Cox on the table.

Run: ``python benchmarks/survival.py --data ../shared/data [--quick] [--seeds 2]``

First the same regression by lifelines, in coefficients and in processor time. Then two cancers
of TCGA (clinical table, expression, copy number and mutations of the same patients), two data sets
that lifelines ships, and the synthetic cohort: Harrell's C of each fusion, of each modality and of
a Cox regression on the table alone, on the same folds by patient, with paired intervals. And
``network``: what networks learn, Cox's partial likelihood or hazards of intervals, compared on
inner folds of the rows that an outer split leaves for training, so that a default chosen by it has
seen no test row.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _datasets import DATASETS
from sklearn.model_selection import GroupShuffleSplit

import asfusion as af
from asfusion.survival import CoxRegression
from asfusion.targets import Survival

OPTIONS: dict[str, Any] = {"verbose": 0}
SETS = ("kirc", "luad", "gbsg2", "rossi", "cohort")
PARTS = ("cox", "fusion", "network")
LEARNED = {
    "cox": Survival(),
    "hazards of 10": Survival("hazards", n_times=10),
    "hazards of 40": Survival("hazards", n_times=40),
}
ROUNDS = 3
MOST_UNTIED = 20_000  # rows without ties: lifelines takes a second for as few


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--patients", type=int, default=800, help="of the synthetic cohort")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS)
    parser.add_argument(
        "--sets", nargs="+", choices=SETS, help="data sets of fusion and network; all by default"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = options.only or PARTS
    if "cox" in parts:
        cox_against_lifelines(2_000 if options.quick else 100_000)
    if "fusion" in parts:
        usual = ("rossi", "cohort") if options.quick else SETS
        for name in options.sets or usual:
            made = data_set(name, options.data, 150 if options.quick else options.patients)
            compare(name, *made, seeds=1 if options.quick else options.seeds)
    if "network" in parts:
        for name in options.sets or (("rossi",) if options.quick else SETS[:-1]):
            made = data_set(name, options.data, options.patients)
            what_networks_learn(name, *made, seeds=1 if options.quick else options.seeds)


def cox_against_lifelines(n_rows: int) -> None:
    """Print by how much coefficients differ, and the ratio of processor times."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 50))
    own = rng.exponential(np.exp(-X @ rng.normal(scale=0.2, size=50)))
    end = rng.exponential(2.0, n_rows)
    event, seen = own < end, np.minimum(own, end)
    # Of many rows at one time lifelines makes one step; without ties it walks from row to row.
    for what, times in (("times in thousandths", seen.round(3) + 0.001), ("no ties", seen)):
        if what == "no ties" and n_rows > MOST_UNTIED:
            X, event, times = X[:MOST_UNTIED], event[:MOST_UNTIED], times[:MOST_UNTIED]
        side_by_side(what, X, pd.DataFrame({"event": event, "time": times}))


def side_by_side(what: str, X: Any, y: Any) -> None:
    """Print both on the same rows, in one process: ours, and lifelines as it is by default.

    Each has the best of its rounds, taken in turn. lifelines stops by its likelihood: coefficients
    are also compared where it goes on to the end.
    """
    import lifelines

    table = pd.DataFrame(X, columns=[f"x{k}" for k in range(X.shape[1])]).join(y)
    to_the_end = {"precision": 1e-12, "r_precision": 1e-15}

    def theirs(**options: Any) -> Any:
        return lifelines.CoxPHFitter().fit(table, "time", "event", **options).params_

    CoxRegression().fit(X[:500], y[:500])
    rounds = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(ROUNDS):
            rounds.append([timed(lambda: CoxRegression().fit(X, y).coef_), timed(theirs)])
        end = np.asarray(theirs(fit_options=to_the_end))
    (ours, seconds), (other, other_seconds) = (
        min(each, key=_second) for each in zip(*rounds, strict=True)
    )
    print(
        f"Cox, {X.shape[0]} rows x {X.shape[1]} columns, {what} ({y['time'].nunique()} distinct): "
        f"{seconds:.2f} s, lifelines {other_seconds:.2f} s ({other_seconds / seconds:.1f} times); "
        f"coefficients differ by at most {np.abs(ours - other).max():.1g}, where lifelines goes to "
        f"the end by {np.abs(ours - end).max():.1g}\n",
        flush=True,
    )


def timed(fit: Callable[[], Any]) -> tuple[Any, float]:
    """Return coefficients, and the processor time that they took."""
    begun = time.process_time()
    coefficients = np.asarray(fit())
    return coefficients, time.process_time() - begun


def _second(pair: tuple[Any, float]) -> float:
    return pair[1]


def data_set(name: str, data: Path, patients: int) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return X, y, groups and encoders."""
    if name == "cohort":
        return cohort(patients)
    task = DATASETS[f"tcga_{name}_survival" if name in ("kirc", "luad") else name](data)
    return task.X, task.y, task.groups, task.encoders()


def cohort(n: int) -> tuple[Any, Any, Any, dict[str, Any]]:
    made = af.datasets.make_axspa_cohort(n, random_state=0, modalities=["labs", "notes", "genes"])
    labs = [c for c in made.X.columns if c not in ("clinical_note",) and c[:2] not in ("hl", "rs")]
    encoders = {
        "labs": af.TabularEncoder(labs),
        "notes": af.TextEncoder("clinical_note", backbone="tfidf"),
        "hla": af.TabularEncoder(["hla_b27"]),
        "risk": af.GenotypeEncoder(prefix="rs"),
    }
    return made.X, made.times("progression"), made.groups, encoders


def compare(name: str, X: Any, y: Any, groups: Any, encoders: Any, *, seeds: int) -> None:
    """Print the board of one data set."""
    cox = {"cox": CoxRegression(alpha=1.0)}
    begun = time.process_time()
    board = af.compare(
        X, y, encoders, groups=groups, cv=5, seeds=range(seeds), estimators=cox,
        fusions=("concat",), combines=("mean", "product"), n_bootstrap=500, **OPTIONS,
    )  # fmt: skip
    events = int(y["event"].sum())
    print(
        f"== {name}: {len(y)} rows, {events} events, {time.process_time() - begun:.0f} s\n{board}\n"
    )


def what_networks_learn(
    name: str, X: Any, y: Any, groups: Any, encoders: Any, *, seeds: int
) -> None:
    """Print Harrell's C and the Brier score of each loss, on inner folds of training rows."""
    begun = time.process_time()
    patients = np.arange(len(X)) if groups is None else np.asarray(groups)
    train, _ = next(GroupShuffleSplit(1, test_size=0.25, random_state=0).split(X, groups=patients))
    X, y, patients = X.iloc[train], y.iloc[train], patients[train]
    inner = GroupShuffleSplit(seeds, test_size=0.3, random_state=1)
    scores: dict[str, dict[str, list[float]]] = {key: {} for key in ("c_index", "ibs")}
    for seed, (learn, judge) in enumerate(inner.split(X, groups=patients)):
        seen = y["time"].iloc[judge][y["event"].iloc[judge]]
        options = {"horizons": tuple(np.quantile(seen, [0.5, 0.75])), "n_bootstrap": 1}
        for what, target in LEARNED.items():
            model = af.JointFusionSurvival(encoders, target=target, random_state=seed, verbose=0)
            model.fit(X.iloc[learn], y.iloc[learn], groups=patients[learn])
            found = af.evaluate(model, X.iloc[judge], y.iloc[judge], **options).scores
            for key, known in scores.items():
                known.setdefault(what, []).append(found[key].estimate)
    print(
        f"== {name}: {len(y)} training rows, {int(y['event'].sum())} events, {seeds} inner splits, "
        f"{time.process_time() - begun:.0f} s"
    )
    for key, known in scores.items():
        print(f"{key:<8} {beside_the_first(known)}", flush=True)


def beside_the_first(scores: dict[str, list[float]]) -> str:
    """Return mean scores, and by how much each differs from the first, split by split."""
    first = np.asarray(next(iter(scores.values())))
    told = []
    for what, values in scores.items():
        apart = np.asarray(values) - first
        error = apart.std(ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.nan
        beside = f" ({apart.mean():+.3f}, SE {error:.3f})" if what != next(iter(scores)) else ""
        told.append(f"{what} {np.mean(values):.3f}{beside}")
    return ", ".join(told)


if __name__ == "__main__":
    main()
