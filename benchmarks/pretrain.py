"""Whether patients without a label help: contrastive pretraining of joint fusion.

Run: ``python benchmarks/pretrain.py --data ../shared/data [--seeds 3] [--heads concat]``

Synthetic patients: 100 with a label and 1,500 without, judged on 800 others. Their notes are read
as counted words: a transformer that learns from that many takes minutes a fit. Chest radiographs:
admission to intensive care is known for some of the frontal films; the other films of patients
outside the judged fold are what there is without a label. Everything shares rows and seeds; AUC,
mean over seeds, and the difference that pretraining makes to the same model without it.
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
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

import asfusion as af

N_JUDGED = 800
TABLE = ["offset", "age", "sex", "view", "temperature", "pO2_saturation", "leukocyte_count"]
# X, y with gaps, groups, and rows to judge with their labels.
Split = tuple[pd.DataFrame, np.ndarray, np.ndarray, pd.DataFrame, np.ndarray]


def synthetic(n_labelled: int, n_others: int, n_seeds: int) -> Iterator[tuple[int, Split]]:
    """Yield other labelled patients for each seed."""
    n_learned = n_labelled + n_others
    for seed in range(n_seeds):
        cohort = af.datasets.make_axspa_cohort(
            n_learned + N_JUDGED, random_state=seed, modalities=["labs", "notes", "genes"]
        )
        patients = np.unique(cohort.groups)
        order = np.random.default_rng(seed).permutation(patients)
        labelled, learned = order[:n_labelled], order[:n_learned]
        here, there = np.isin(cohort.groups, learned), ~np.isin(cohort.groups, learned)
        y = np.where(np.isin(cohort.groups, labelled), cohort.y, np.nan)
        X = cohort.X
        yield seed, (X[here], y[here], cohort.groups[here], X[there], np.asarray(cohort.y)[there])


def films(folder: Path, n_seeds: int) -> Iterator[tuple[int, Split]]:
    """Yield five folds of the films with a label for each seed, with what has none beside."""
    rows = pd.read_csv(folder / "cohort.csv")
    rows = rows[rows["is_frontal"]].reset_index(drop=True)
    rows["image"] = [str(folder / name) for name in rows["image"]]
    X, y, groups = rows[["image", "notes_masked", *TABLE]], rows["label_icu"], rows["group"]
    y, groups, known = y.to_numpy(float), groups.to_numpy(), y.notna().to_numpy()
    for seed in range(n_seeds):
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for _, judged in folds.split(X[known], y[known], groups[known]):
            there = np.flatnonzero(known)[judged]
            here = ~np.isin(groups, groups[there])
            yield seed, (X[here], y[here], groups[here], X.iloc[there], y[there])


def counted(X: pd.DataFrame) -> dict[str, Any]:
    """Return encoders of the synthetic cohort, notes as counted words."""
    return {
        name: af.TextEncoder("clinical_note", backbone="tfidf") if made.kind == "note" else made
        for name, made in af.infer_encoders(X).items()
    }


def models(encoders: dict[str, Any], heads: list[str]) -> dict[str, Any]:
    """Return early fusion, and each head with and without pretraining."""
    made: dict[str, Any] = {"early": af.EarlyFusionClassifier(dict(encoders), verbose=0)}
    for head in heads:
        for name, pretrain in ((head, None), (f"{head}, pretrained", "contrastive")):
            parts = {name: clone(encoder) for name, encoder in encoders.items()}
            made[name] = af.JointFusionClassifier(parts, head, pretrain=pretrain, verbose=0)
    return made


def judge(splits: Iterator[tuple[int, Split]], encoders: Any, heads: list[str]) -> pd.DataFrame:
    """Return AUC and seconds of each model, one row for each seed."""
    told: dict[tuple[str, int], list[tuple[np.ndarray, np.ndarray]]] = {}
    seconds: dict[str, list[float]] = {}
    for seed, (X, y, groups, X_judged, y_judged) in splits:
        known = ~np.isnan(y)
        for name, model in models(encoders(X), heads).items():
            kept = slice(None) if name.endswith("pretrained") else known
            begun = time.process_time()
            fitted = model.set_params(random_state=seed).fit(X[kept], y[kept], groups=groups[kept])
            seconds.setdefault(name, []).append(time.process_time() - begun)
            answer = fitted.predict_proba(X_judged)[:, 1]
            told.setdefault((name, seed), []).append((y_judged, answer))
            print(f"{name:<30} seed {seed}: {roc_auc_score(y_judged, answer):.3f}", flush=True)
    rows = []
    for (name, seed), parts in told.items():
        y, answers = (np.concatenate(column) for column in zip(*parts, strict=True))
        rows.append({"model": name, "seed": seed, "AUC": roc_auc_score(y, answers)})
    table = pd.DataFrame(rows).pivot(index="model", columns="seed", values="AUC")
    table["mean"] = table.mean(axis=1)
    for name in table.index:
        table.loc[name, "s"] = np.mean(seconds[name])
    return table


def show(title: str, table: pd.DataFrame, heads: list[str]) -> None:
    print(f"\n{title}\n{table.round(3).to_string()}")
    for name in heads:
        gain = table.loc[f"{name}, pretrained"] - table.loc[name]
        own = gain.drop(["mean", "s"])
        print(f"{name}: pretraining {gain['mean']:+.3f} ({own.min():+.3f} to {own.max():+.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labelled", type=int, default=100)
    parser.add_argument("--unlabelled", type=int, default=1500)
    parser.add_argument("--only", choices=("all", "synthetic", "films"), default="all")
    parser.add_argument("--heads", nargs="+", default=["concat"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only != "films":
        made = synthetic(options.labelled, options.unlabelled, options.seeds)
        title = f"synthetic: {options.labelled} labelled, {options.unlabelled} without a label"
        show(title, judge(made, counted, options.heads), options.heads)
    if options.only != "synthetic":
        parts = {
            "image": af.ImageEncoder("image", backbone="efficientnet_lite0"),
            "table": af.TabularEncoder(TABLE),
            "notes": af.TextEncoder("notes_masked", backbone="tfidf"),
        }
        folder = options.data / "cxr"
        table = judge(films(folder, options.seeds), lambda _: parts, options.heads)
        show("chest radiographs", table, options.heads)


if __name__ == "__main__":
    main()
