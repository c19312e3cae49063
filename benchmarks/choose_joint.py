"""What joint fusion does by default, chosen inside training folds.

Run: ``python benchmarks/choose_joint.py --data ../shared/data [--only rosmap vertebral ...]``

Of each data set only the training part is read (`_datasets.training_part`; synthetic patients are
others than those by which defaults are judged). Inside it every candidate is fitted on folds by
patient and judged on the rest: area under the ROC curve (one against rest where there are more
than two classes), log-loss and calibration slope. A candidate is the one above it with one thing
changed; what is now the default comes after that, and what it might have beside it last.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _datasets import DATA, Task, tasks, training_part
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

import asfusion as af

REAL = ("rosmap", "vertebral", "tcga_kirc3y", "tcga_luad3y", "breast_cancer", "wine", "cxr")
COHORTS = {"cohort of 250": (250, 22), "cohort of 800": (800, 21)}
QUICK = ("vertebral", "wine")
FORMER, FORMER_FEW = "former", 100


def candidates() -> dict[str, dict[str, Any]]:
    """Return what is asked of `JointFusionClassifier`, by name; ``former`` stops as it did."""
    former = {
        "max_epochs": 100,
        "label_smoothing": 0.0,
        "modality_dropout": 0.1,
        "training": af.TrainingOptions(dropout=0.0, mixup=0.0, unimodal_losses=0.0),
        "early_stopping": FORMER,
    }
    smoothed = former | {"label_smoothing": "auto"}
    brief = smoothed | {"max_epochs": "auto", "early_stopping": "auto"}
    plain = af.TrainingOptions(mixup=0.0, unimodal_losses=0.0)
    dropped = brief | {"modality_dropout": 0.2, "training": plain}
    mixed = dropped | {"training": af.TrainingOptions(unimodal_losses=0.0)}
    steps: dict[str, dict[str, Any]] = {
        "former default": former,
        "+ label smoothing": smoothed,
        "+ few epochs, on all rows": brief,
        "+ dropout": dropped,
        "+ mixup": mixed,
        "+ unimodal losses (default)": {},
    }
    beside: dict[str, dict[str, Any]] = {
        "gradient blend": {"unimodal_losses": "gradient_blend"},
        "from unimodal solutions": {"initialise": "unimodal"},
    }
    return steps | {
        f"default, {name}": {"training": af.TrainingOptions(**options)}
        for name, options in beside.items()
    }


def parts(names: Sequence[str], data: Path) -> Iterator[Task]:
    """Yield the training part of each data set."""
    for task in tasks([name for name in names if name in REAL], data):
        yield training_part(task)
    for name in (name for name in names if name in COHORTS):
        n_patients, seed = COHORTS[name]
        made = af.datasets.make_axspa_cohort(
            n_patients, random_state=seed, modalities=["labs", "notes", "genes"]
        )
        encoders = af.infer_encoders(made.X)
        yield training_part(Task(name, made.X, made.y, made.groups, encoders, "binary"))


def folds(task: Task, n_folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    patients = np.arange(len(task.X)) if task.groups is None else task.groups
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=0)
    return list(splitter.split(task.X, task.y, patients))


def model(task: Task, fusion: str, asked: dict[str, Any], n_rows: int) -> Any:
    asked = dict(asked)
    if asked.get("early_stopping") == FORMER:
        # Tables were wide where they had more features than there were rows.
        n_features = task.X.select_dtypes("number").shape[1]
        asked["early_stopping"] = bool(n_rows >= FORMER_FEW and n_features <= n_rows)
    made = af.JointFusionClassifier(task.encoders(), fusion, verbose=0, random_state=0)
    return made.set_params(**asked)


def judge(task: Task, fusion: str, asked: dict[str, Any], n_folds: int) -> dict[str, float]:
    """Return scores of rows that were not learned from, and the processor time of a fit."""
    y = np.unique(task.y, return_inverse=True)[1]
    told, begun = np.zeros((len(y), y.max() + 1)), time.process_time()
    for learn, rest in folds(task, n_folds):
        groups = None if task.groups is None else task.groups[learn]
        fitted = model(task, fusion, asked, len(learn))
        fitted.fit(task.X.iloc[learn], y[learn], groups=groups)
        told[rest] = fitted.predict_proba(task.X.iloc[rest])
    seconds = (time.process_time() - begun) / n_folds
    told = np.clip(told, 1e-9, 1.0)
    binary = told.shape[1] == 2
    auc = roc_auc_score(y, told[:, 1] if binary else told / told.sum(1)[:, None], multi_class="ovr")
    classes = [1] if binary else range(told.shape[1])
    slopes = [slope(y == k, told[:, k]) for k in classes]
    return {
        "AUC": float(auc),
        "log-loss": float(log_loss(y, told)),
        "slope": float(np.mean(slopes)),
        "s": seconds,
    }


def slope(y: np.ndarray, p: np.ndarray) -> float:
    """Return the slope of the outcome on the log odds that were predicted."""
    p = np.clip(p, 1e-4, 1 - 1e-4)
    odds = np.log(p / (1 - p))[:, None]
    return float(LogisticRegression(C=1e6).fit(odds, y).coef_[0, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", choices=(*REAL, *COHORTS))
    parser.add_argument("--fusions", nargs="+", default=["concat", "attention"])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--candidates", nargs="+", help="only those that begin so")
    parser.add_argument("--quick", action="store_true", help="two small data sets")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    names = options.only or (QUICK if options.quick else (*REAL, *COHORTS))
    rows = []
    for task in parts(names, options.data):
        for fusion in options.fusions:
            for name, asked in candidates().items():
                if options.candidates and not name.startswith(tuple(options.candidates)):
                    continue
                found = judge(task, fusion, asked, options.folds)
                rows.append({"data": task.name, "fusion": fusion, "candidate": name, **found})
                shown = "  ".join(f"{key} {value:.3f}" for key, value in found.items())
                print(f"{task.name:<15} {fusion:<10} {name:<34} {shown}", flush=True)
    table = pd.DataFrame(rows)
    for fusion, own in table.groupby("fusion"):
        means = own.groupby("candidate", sort=False)[["AUC", "log-loss", "slope", "s"]].mean()
        print(f"\n{fusion}, mean over {own['data'].nunique()} data sets\n{means.round(3)}")


if __name__ == "__main__":
    main()
