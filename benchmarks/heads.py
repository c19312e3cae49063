"""Every fusion head on every data set, with early fusion and the best single modality beside them.

Run: ``python benchmarks/heads.py --data ../shared/data [--seeds 2] [--jobs 2] [--quick]``

All heads that asfusion ships, in joint fusion with its defaults; none is left out and none tuned.
Data: the synthetic cohort (labs, notes, genes and regions of a radiograph), ROSMAP (three blocks
of omics), death within three years in two cancers of TCGA, and table and masked notes of real
chest radiographs. All models of a data set and seed share folds, which keep a patient's rows
together. The best single modality is chosen with its scores in view, which flatters it.

Ranks are among the models of the last table, the best first. Intervals resample data sets and,
within them, seeds: with so few data sets they are rough. Log-losses are of probabilities as
they come, unless clipped to between 1e-7 and one less that.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from cxr_fusion import TABLE, read_cohort
from sklearn.metrics import log_loss, roc_auc_score
from survival import tcga
from tables import read_rosmap

import asfusion as af
from asfusion._stubs import fusion_heads

DataSet = tuple[pd.DataFrame, Any, Any, dict[str, Any]]  # X, y, groups, encoders
SINGLE, EARLY = "best single", "early"
SCORES = {"auc": -1.0, "log_loss": 1.0}  # the sign that sorts the best first
N_DRAWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--patients", type=int, default=400, help="of the synthetic cohort")
    parser.add_argument("--only", nargs="+", choices=SETS, help="these data sets alone")
    parser.add_argument("--jobs", type=int, help="processes that fit side by side")
    parser.add_argument("--checkpoint", type=Path, help="folder of finished answers")
    parser.add_argument("--quick", action="store_true", help="few rows, two epochs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        options.seeds, options.folds, options.patients = 1, 2, 60
    with tempfile.TemporaryDirectory() as folder:
        found = pd.concat(
            scores_of(name, SETS[name](options, Path(folder)), options)
            for name in options.only or SETS
        )
    found.index = range(len(found))
    for score in SCORES:
        print(f"\n{score}, mean over seeds\n{by_set(found, score).round(3).to_string()}")
    print(f"\nOver {found['set'].nunique()} data sets\n{summary(found).to_string()}")


# -- data ------------------------------------------------------------------------------


def cohort(options: argparse.Namespace, folder: Path) -> DataSet:
    made = af.datasets.make_axspa_cohort(
        options.patients, random_state=0, path=folder, modalities=["labs", "notes", "genes", "xray"]
    )
    # The grid of a small picture: 16 tokens for the heads that can tell regions apart.
    film = af.ImageEncoder("pelvis_xray", backbone="efficientnet_lite0", size=128, pool=False)
    encoders = af.infer_encoders(made.X) | {"pelvis_xray": film}
    return made.X, made.y, made.groups, encoders


def rosmap(options: argparse.Namespace, folder: Path) -> DataSet:
    parts = read_rosmap(options.data / "mogonet").values()
    X = pd.concat([X for X, _ in parts], ignore_index=True)
    blocks = {f"omics{i}": [c for c in X if c.startswith(f"omics{i}_")] for i in (1, 2, 3)}
    encoders = {name: af.TabularEncoder(columns) for name, columns in blocks.items()}
    return X, np.concatenate([y for _, y in parts]), None, encoders


def cancer(name: str) -> Any:
    """Return a reader of one cancer: death within three years, of those it is known of."""

    def read(options: argparse.Namespace, folder: Path) -> DataSet:
        X, times, groups, encoders = tcga(options.data / "tcga" / f"{name}.csv")
        dead = times["event"] & (times["time"] <= 36)
        known = (dead | (times["time"] > 36)).to_numpy()
        rows = [part[known].reset_index(drop=True) for part in (X, dead.astype(int), groups)]
        return rows[0], rows[1], rows[2], encoders

    return read


def chest(options: argparse.Namespace, folder: Path) -> DataSet:
    X, y, groups = read_cohort(options.data / "cxr")
    notes = af.TextEncoder("notes_masked", backbone="tfidf")
    return X, y, groups, {"table": af.TabularEncoder(TABLE), "notes": notes}


SETS: dict[str, Any] = {
    "cohort": cohort,
    "rosmap": rosmap,
    "kirc": cancer("kirc"),
    "luad": cancer("luad"),
    "chest": chest,
}


# -- fits ------------------------------------------------------------------------------


def scores_of(name: str, data: DataSet, options: argparse.Namespace) -> pd.DataFrame:
    """Return a row per seed and model: its AUC, its log-loss and the seconds it took."""
    X, y, groups, encoders = data
    network = None
    if options.quick:
        rows = np.sort(np.random.default_rng(0).permutation(len(X))[:80])
        X, y = X.iloc[rows], np.asarray(y)[rows]
        groups = None if groups is None else np.asarray(groups)[rows]
        network = af.JointFusionClassifier(max_epochs=2)
    parts = []
    for seed in range(options.seeds):
        begun = time.perf_counter()
        board = af.compare(
            X, y, encoders, groups=groups, cv=options.folds, families=("early", "joint"),
            fusions=fusion_heads(), network=network, seeds=(seed,), n_bootstrap=1,
            checkpoint=options.checkpoint, n_jobs=options.jobs, verbose=0,
        )  # fmt: skip
        parts.append(pd.DataFrame(scored(board, np.asarray(y))).assign(set=name, seed=seed))
        seconds = time.perf_counter() - begun
        print(f"{name}, seed {seed}: {len(y)} rows, {np.mean(y):.2f} positive, {seconds:.0f} s")
    return with_best_single(pd.concat(parts))


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
