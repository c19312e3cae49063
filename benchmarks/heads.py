"""Every fusion head on every data set, with early fusion and the best single modality beside them.

Run: ``python benchmarks/heads.py --data ../shared/data [--seeds 2] [--jobs 2] [--quick]``

All heads that asfusion ships, in joint fusion with its defaults; none is left out and none tuned.
Data sets are those of `_datasets.py`, images read as 16 regions, so that heads that can tell tokens
apart have some. All models of a data set and seed share folds, which keep a patient's rows
together. The best single modality is chosen with its scores in view, which flatters it.

Ranks are among the models of the last table, the best first. Intervals resample data sets and,
within them, seeds: with so few data sets they are rough. Log-losses are of probabilities as
they come, unless clipped to between 1e-7 and one less that.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _datasets import DATA, Task, tasks
from sklearn.metrics import log_loss, roc_auc_score

import asfusion as af
from asfusion._stubs import fusion_heads

SETS = ("cohort400", "cxr", "rosmap", "tcga_kirc3y", "tcga_luad3y")
QUICK_SETS = ("cxr", "rosmap")
SINGLE, EARLY = "best single", "early"
SCORES = {"auc": -1.0, "log_loss": 1.0}  # the sign that sorts the best first
N_DRAWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=SETS, help="these data sets alone")
    parser.add_argument("--jobs", type=int, help="processes that fit side by side")
    parser.add_argument("--checkpoint", type=Path, help="folder of finished answers")
    parser.add_argument("--quick", action="store_true", help="two sets, few rows, two epochs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        options.seeds, options.folds = 1, 2
    names = options.only or (QUICK_SETS if options.quick else SETS)
    found = pd.concat(scores_of(task, options) for task in tasks(names, options.data))
    found.index = range(len(found))
    for score in SCORES:
        print(f"\n{score}, mean over seeds\n{by_set(found, score).round(3).to_string()}")
    print(f"\nOver {found['set'].nunique()} data sets\n{summary(found).to_string()}")


# -- fits ------------------------------------------------------------------------------


def scores_of(task: Task, options: argparse.Namespace) -> pd.DataFrame:
    """Return a row per seed and model: its AUC, its log-loss and the seconds it took."""
    network = None
    if options.quick:
        task = task.take(np.sort(np.random.default_rng(0).permutation(len(task.X))[:80]))
        network = af.JointFusionClassifier(max_epochs=2)
    encoders = {name: in_regions(encoder) for name, encoder in task.encoders().items()}
    parts = []
    for seed in range(options.seeds):
        begun = time.perf_counter()
        board = af.compare(
            task.X, task.y, encoders, groups=task.groups, cv=options.folds,
            families=("early", "joint"), fusions=fusion_heads(), network=network, seeds=(seed,),
            n_bootstrap=1, checkpoint=options.checkpoint, n_jobs=options.jobs, verbose=0,
        )  # fmt: skip
        parts.append(pd.DataFrame(scored(board, task.y)).assign(set=task.name, seed=seed))
        seconds = time.perf_counter() - begun
        print(f"{task.name}, seed {seed}: {len(task.y)} rows, {seconds:.0f} s", flush=True)
    return with_best_single(pd.concat(parts))


def in_regions(encoder: Any) -> Any:
    """Return an encoder of images that gives 4 x 4 tokens; others as they are."""
    return encoder.set_params(size=128, pool=False) if encoder.kind == "image" else encoder


def scored(board: af.Board, y: Any) -> Iterator[dict[str, Any]]:
    """Yield the scores of each modality, of early fusion and of each head."""
    for standing in board.standings:
        if standing.kind == "single" or standing.name == EARLY or standing.name[:6] == "joint:":
            p = np.clip(board.predictions[standing.name], 1e-7, 1 - 1e-7)
            yield {
                "model": standing.name.removeprefix("joint: "),
                "single": standing.kind == "single",
                "auc": roc_auc_score(y, p),
                "log_loss": log_loss(y, p),
                "seconds": standing.seconds,
            }


def with_best_single(found: pd.DataFrame) -> pd.DataFrame:
    """Keep of the single modalities the one with the best mean AUC, under one name."""
    single = found[found["single"]]
    best = single.groupby("model")["auc"].mean().idxmax()
    print(f"  the best single modality is {best}", flush=True)
    kept = single[single["model"] == best].assign(model=SINGLE)
    return pd.concat([found[~found["single"]], kept])


# -- tables ----------------------------------------------------------------------------


def by_set(found: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return the mean over seeds of a score: a row per model, a column per data set."""
    table = found.pivot_table(index="model", columns="set", values=score, sort=False)
    return table.assign(mean=table.mean(axis=1)).sort_values(
        "mean", key=lambda m: SCORES[score] * m
    )


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Return mean ranks and differences to early fusion and the best single modality."""
    table = pd.DataFrame(index=found["model"].unique())
    for score, sign in SCORES.items():
        wide = found.pivot(index=["set", "seed"], columns="model", values=score)[table.index]
        ranks = (sign * wide).rank(axis=1)
        table[f"rank by {score}"] = told(ranks, ".1f")
        table["sort"] = ranks.mean() if "sort" not in table else table["sort"]
        for rival in (EARLY, SINGLE):
            table[f"{score} - {rival}"] = told(wide.sub(wide[rival], axis=0), "+.3f")
    table["seconds"] = found.groupby("model")["seconds"].sum().round()
    return table.sort_values("sort").drop(columns="sort")


def told(values: pd.DataFrame, form: str) -> list[str]:
    """Return the mean of each column in words, with its interval over data sets and seeds.

    Data sets count the same. They are drawn with replacement, and seeds within each of them.
    """
    rng = np.random.default_rng(0)
    sets = [part.to_numpy() for _, part in values.groupby(level="set")]
    drawn = []
    for _ in range(N_DRAWS):
        some = [sets[i] for i in rng.integers(len(sets), size=len(sets))]
        means = [part[rng.integers(len(part), size=len(part))].mean(axis=0) for part in some]
        drawn.append(np.mean(means, axis=0))
    mean = np.mean([part.mean(axis=0) for part in sets], axis=0)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return [
        f"{m:{form}} ({a:{form}} to {b:{form}})" for m, a, b in zip(mean, low, high, strict=True)
    ]


if __name__ == "__main__":
    main()
