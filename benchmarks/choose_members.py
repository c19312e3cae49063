"""From how many rows on boosting and a network help an automatic fusion, and how to average.

Run: ``python benchmarks/choose_members.py [--rows 300 600 1200 2400] [--seeds 2]``
``python benchmarks/choose_members.py --part average [--only cxr rosmap ...]``

Sees training rows only (`_datasets.training_part`): of those, two in three patients teach and the
others judge. All six members are fitted once; then averages of the first four, with boosting, with
joint fusion, and with both are weighed and sharpened as `AutoFusionClassifier` does, and judged by
log-loss and AUC. The synthetic cohort is drawn without films, so that it can be large; two made-up
tables of other kinds (linear, and of clusters that only trees and networks tell apart) stand beside
it.

``--part average`` fits the first four on three folds by patient of each real training part, and
judges, beside each member, averages by other weights (half-way to equal ones as it is, all the
way, or none of it) and of members that were sharpened one by one before.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import _datasets
import numpy as np
import pandas as pd
import torch
from _datasets import DATA, Task, training_part
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GroupShuffleSplit

import asfusion as af
from asfusion._splits import patient_folds
from asfusion.selection._average import _SHRUNK, averaged, learned_sharpness, member_weights

REAL = ["cxr", "vertebral", "rosmap", "tcga_kirc3y", "tcga_luad3y", "breast_cancer", "wine"]
REAL += ["diabetes_above_median"]
QUICK = ["wine"]
FIRST_SEED = 100  # other patients than those by whom defaults are judged
FIRST = ["late mean", "late product", "early linear", "early forest"]
SETS = {
    "four": FIRST,
    "+ boosted": [*FIRST, "early boosted"],
    "+ joint": [*FIRST, "joint"],
    "+ both": [*FIRST, "early boosted", "joint"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[300, 600, 1200, 2400])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--part", choices=("rows", "average"), default="rows")
    parser.add_argument("--only", nargs="+", default=REAL, help="data sets of the part `average`")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.part == "average":
        compare_averages(QUICK if options.quick else options.only, options.data)
        return
    lines = []
    for n_rows in [120] if options.quick else options.rows:
        for seed in range(1 if options.quick else options.seeds):
            for task in tasks(n_rows, seed):
                lines += judge(training_part(task), seed)
                print(
                    pd.DataFrame(lines[-len(SETS) :]).round(3).to_string(header=False), flush=True
                )
    table = pd.DataFrame(lines)
    table["size"] = table["rows"].round(-2)
    shown = table.groupby(["task", "size", "members"], sort=False)[["log_loss", "auc"]].mean()
    print(shown.unstack().round(4).to_string())


def tasks(n_rows: int, seed: int) -> Iterator[Task]:
    """Yield tasks of about as many training rows as are asked for."""
    n = int(n_rows / 0.75 / (2 / 3))
    seed += FIRST_SEED
    cohort = af.datasets.make_axspa_cohort(
        n, random_state=seed, modalities=["labs", "notes", "genes"]
    )
    parts = af.infer_encoders(cohort.X)
    yield Task("cohort", cohort.X, cohort.y, cohort.groups, parts, "binary")
    for name, clusters in (("linear", 1), ("clusters", 6)):
        X, y = make_classification(
            n,
            30,
            n_informative=8,
            n_redundant=6,
            n_clusters_per_class=clusters,
            flip_y=0.1,
            class_sep=0.6,
            random_state=seed,
        )
        table = pd.DataFrame(X, columns=[f"x{i}" for i in range(30)])
        blocks = {f"part{k}": af.TabularEncoder(list(table)[k::3]) for k in range(3)}
        yield Task(name, table, y, None, blocks, "binary")


def judge(task: Task, seed: int) -> list[dict[str, Any]]:
    """Return log-loss and AUC of each set of members."""
    patients = np.arange(len(task.X)) if task.groups is None else task.groups
    splitter = GroupShuffleSplit(1, test_size=1 / 3, random_state=seed)
    learn, test = next(splitter.split(task.X, groups=patients))
    known, asked = task.take(learn), task.take(test)
    model = Kept(task.encoders(), SETS["+ both"], verbose=0, random_state=seed)
    model.fit(known.X, known.y, groups=known.groups)
    outputs, rows = model.kept
    said = {name: part.predict_proba(asked.X) for name, part in model.models_.items()}
    names = list(model.models_)
    lines = []
    for label, members in SETS.items():
        places = [names.index(name) for name in members]
        weights = member_weights(model.target_, outputs[places], rows)
        known = averaged(outputs[places], weights)
        power = learned_sharpness(model.target_, known, rows)
        mean = sum(w * said[name] for w, name in zip(weights, members, strict=True))
        mean = model.target_.sharpened(np.asarray(mean), power)
        lines.append(
            {
                "task": task.name,
                "rows": len(learn),
                "members": label,
                "log_loss": log_loss(asked.y, mean),
                "auc": roc_auc_score(asked.y, mean[:, 1]),
            }
        )
    return lines


def compare_averages(names: Sequence[str], data: Path) -> None:
    """Print AUC and log-loss of each way to average, for each training part and on average."""
    lines = []
    for task in _datasets.tasks(names, data):
        part = training_part(task)
        classes, y = np.unique(part.y, return_inverse=True)
        said: dict[str, np.ndarray] = {}
        for learn, test in patient_folds(part.groups, 3, n_rows=len(y), strata=y, seed=7):
            for way, answer in averages(part.take(learn), part.take(test)).items():
                said.setdefault(way, np.empty((len(y), len(classes))))[test] = answer
        for way, answer in said.items():
            auc = roc_auc_score(y, answer[:, 1] if len(classes) == 2 else answer, multi_class="ovr")
            loss = log_loss(y, answer)
            lines.append({"set": task.name, "way": way, "auc": auc, "log_loss": loss})
    table = pd.DataFrame(lines)
    for score in ("auc", "log_loss"):
        shown = table.pivot(index="way", columns="set", values=score)
        print(f"\n{score}\n{shown.assign(mean=shown.mean(axis=1)).round(4).to_string()}")


def averages(known: Task, asked: Task) -> dict[str, np.ndarray]:
    """Return what members say of the rows that are asked about, and averages of it."""
    model = Kept(known.encoders(), FIRST, verbose=0, random_state=0)
    model.fit(known.X, known.y, groups=known.groups)
    target, (outputs, rows) = model.target_, model.kept
    said = {name: part.predict_proba(asked.X) for name, part in model.models_.items()}
    plain = np.stack(list(said.values()))
    powers = [learned_sharpness(target, own, rows) for own in outputs]
    own, others = (
        np.stack([sharpened(target, part, power) for part, power in zip(of, powers, strict=True)])
        for of in (outputs, plain)
    )
    for label, seen, new in (("as they are", outputs, plain), ("sharpened", own, others)):
        for shrunk in (0.0, 0.5, 1.0):
            weights = weighed(target, seen, rows, shrunk)
            power = learned_sharpness(target, averaged(seen, weights), rows)
            mean = np.tensordot(weights, new, 1)
            said[f"average, {label}, shrunk {shrunk}"] = target.sharpened(mean, power)
    return said


def sharpened(target: Any, outputs: np.ndarray, power: float) -> np.ndarray:
    """Return sharpened probabilities, NaN where there are none."""
    there = ~np.isnan(outputs).any(axis=1)
    made = np.full(outputs.shape, np.nan)
    made[there] = target.sharpened(outputs[there], power)
    return made


def weighed(target: Any, outputs: np.ndarray, rows: Any, shrunk: float) -> np.ndarray:
    """Return weights drawn so far to equal ones."""
    half, even = member_weights(target, outputs, rows), np.full(len(outputs), 1 / len(outputs))
    return even + (half - even) * (1.0 - shrunk) / (1.0 - _SHRUNK)


class Kept(af.AutoFusionClassifier):
    """Automatic fusion that keeps what its members said of rows that they had not seen."""

    def _weigh_members(self, outputs: Any, rows: Any, splits: Any, seconds: Any) -> None:
        self.kept = outputs, rows
        super()._weigh_members(outputs, rows, splits, seconds)


if __name__ == "__main__":
    main()
