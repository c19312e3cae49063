"""By what the defaults of early and late fusion were chosen, on training rows alone.

Run: ``python benchmarks/choose_defaults.py [--part penalty late forest] [--only cxr rosmap ...]``

Which rows it sees: of each data set of ``_datasets.py`` the training part only (three of four
patients by a fixed seed, or the official training part), split again into five folds by
patient. The others are left for those who judge (``defaults.py``).

*penalty*: one fixed penalty, the one with the least out-of-fold loss, and the largest within one
standard error of it; features of each modality to one variance together, or each to its own.
*late*: what is done with decisions; a product as it is, with one power for all rows, with one that
falls with the number of modalities; on all rows, and on rows that lost a random part of their
modalities. *forest*: settings of the forest that goes by name.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _datasets import DATA, DATASETS, Task, tasks, training_part
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

import asfusion as af
import asfusion.targets._pools as _pools
from asfusion._splits import patient_folds
from asfusion.estimators import _penalty, early, late
from asfusion.estimators._base import estimator_class
from asfusion.survival.concordance import harrell_c
from asfusion.targets import Classes, Numbers, Survival

TARGETS = {"binary": Classes, "classes": Classes, "numbers": Numbers, "survival": Survival}
Make = Callable[[Task], Any]


# -- options -----------------------------------------------------------------------------


def largest_within_one_error(
    target: Any, features: Any, y: Any, weight: Any, groups: Any, *, seed: int
) -> float:
    """Return the largest penalty whose loss is within one standard error of the least."""
    folds = _penalty._folds(target, y, groups, seed)
    if not folds:
        return _penalty.USUAL
    found = _penalty._unseen(target, features, y, weight, folds)
    losses = np.array(
        [[target.deviance(o[rows], y[rows], weight[rows]) for _, rows in folds] for o in found]
    )
    mean, best = losses.mean(axis=1), int(losses.mean(axis=1).argmin())
    error = losses[best].std(ddof=1) / np.sqrt(len(folds))
    return float(_penalty.PENALTIES[int(np.argmax(mean <= mean[best] + error))])


@contextmanager
def in_place(module: Any, **others: Any) -> Iterator[None]:
    """Let a module of the library use other functions."""
    usual = {name: getattr(module, name) for name in others}
    vars(module).update(others)
    try:
        yield
    finally:
        vars(module).update(usual)


def fixed(*_: Any, **__: Any) -> float:
    return _penalty.USUAL


def none(loss: Any) -> float:
    return 0.0


def by_one_power(evidence: Any, present: Any, dependence: float) -> Any:
    """Return the evidence that is present, the same power of it whatever is absent."""
    summed = np.where(present[:, :, None], evidence, 0.0).sum(axis=1)
    return summed * float(present.shape[1]) ** -dependence


RULES: dict[str, Callable[..., float]] = {
    "fixed": fixed,
    "least": _penalty.choose_penalty,
    "one error": largest_within_one_error,
}


def of(task: Task, family: str, *more: Any, **options: Any) -> Any:
    """Return an unfitted model of a family for a task."""
    made = estimator_class(family, TARGETS[task.kind]())
    return made(task.encoders(), *more, verbose=0, random_state=0, **options)


# -- judging -----------------------------------------------------------------------------


def inner_folds(task: Task, seed: int) -> list[Any]:
    strata = None
    if task.kind in ("binary", "classes"):
        strata = np.unique(task.y, return_inverse=True)[1]
    return patient_folds(task.groups, 5, n_rows=len(task.X), strata=strata, seed=seed)


def answers(task: Task, make: Make, seed: int, lose: float = 0.0) -> tuple[Any, Any, float]:
    """Return outputs of rows not seen, the target, and processor seconds of all fits."""
    target = TARGETS[task.kind]()
    coded = target.read(task.y, len(task.X))
    target.fit(coded)
    outputs = np.zeros((len(task.X), target.n_outputs_))
    spent = 0.0
    for learn, judge in inner_folds(task, seed):
        part, asked = task.take(learn), task.take(judge)
        model = make(part)
        model.target = target.pinned()
        begun = time.process_time()
        model.fit(part.X, part.y, groups=part.groups)
        spent += time.process_time() - begun
        X = hidden(asked, lose, seed) if lose else asked.X
        outputs[judge] = _asked(model, X, target)
    return outputs, target, spent


def _asked(model: Any, X: pd.DataFrame, target: Any) -> Any:
    if hasattr(model, "predict_survival_function"):
        return model.predict_survival_function(
            X, np.minimum(target.times_, model.target_.times_[-1])
        )
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)[:, None]


def hidden(task: Task, share: float, seed: int) -> pd.DataFrame:
    """Return rows without a random part of their modalities, at least one left."""
    rng = np.random.default_rng(seed)
    X, parts = task.X.copy(), task.encoders()
    lost = rng.random((len(X), len(parts))) < share
    lost[lost.all(axis=1), 0] = False
    for gone, part in zip(lost.T, parts.values(), strict=True):
        columns = list(part._columns_among(list(X.columns)))
        X[columns] = X[columns].mask(np.repeat(gone[:, None], len(columns), axis=1))
    return X


def slope(p: Any, y: Any) -> float:
    """Return the calibration slope: 1 where probabilities are right, above it where timid."""
    z = logit(np.clip(p, 1e-6, 1 - 1e-6))

    def loss(line: Any) -> Any:
        score = line[0] * z + line[1]
        error = expit(score) - y
        value = np.mean(np.logaddexp(0.0, score) - y * score)
        return value, np.array([np.mean(error * z), error.mean()])

    return float(minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x[0])


def judge(task: Task, outputs: Any, target: Any) -> dict[str, float]:
    y = target.code(target.read(task.y, len(task.X)))
    found = {"loss": target.deviance(outputs, y, np.ones(len(y)))}
    if task.kind == "binary":
        found |= {"auc": roc_auc_score(y, outputs[:, 1]), "slope": slope(outputs[:, 1], y)}
    elif task.kind == "classes":
        found["auc"] = roc_auc_score(y, outputs, multi_class="ovr")
    elif task.kind == "survival":
        risk = target.shaped(np.clip(outputs, 1e-6, 1 - 1e-6))
        found["auc"] = harrell_c(task.y["event"], task.y["time"], risk)
    return found


# -- the parts ---------------------------------------------------------------------------

Option = tuple[str, Make, Any, float]


def penalty(task: Task) -> Iterator[Option]:
    """Yield early fusion by each rule."""
    for name, choose in RULES.items():
        yield name, lambda part: of(part, "early"), in_place(early, choose_penalty=choose), 0.0
    columns = lambda part: of(part, "early", scale="columns")  # noqa: E731
    yield "least, columns", columns, nullcontext(), 0.0


def decisions(task: Task) -> Iterator[Option]:
    """Yield late fusion by each combination, all modalities there or some of them lost."""
    ways = {
        "mean": ("mean", nullcontext),
        "weighted": ("weighted", nullcontext),
        "stacking": ("stacking", nullcontext),
        "product, independent": ("product", lambda: in_place(late, learned_dependence=none)),
        "product, one power": ("product", lambda: in_place(_pools, added=by_one_power)),
        "product, falling": ("product", nullcontext),
    }
    for lose in (0.0, 0.4):
        for name, (combine, patched) in ways.items():
            label = f"{name}{', some lost' if lose else ''}"
            yield label, lambda p, how=combine: of(p, "late", None, how), patched(), lose


def forest(task: Task) -> Iterator[Option]:
    """Yield early fusion by each forest."""
    if task.kind not in ("binary", "classes"):
        return
    for n_trees in (300, 500):
        for leaf in (1, 3, 5):
            trees = RandomForestClassifier(n_trees, min_samples_leaf=leaf)
            name = f"{n_trees} trees, {leaf} per leaf"
            yield name, lambda p, m=trees: of(p, "early", m), nullcontext(), 0.0


PARTS = {"penalty": penalty, "late": decisions, "forest": forest}


def study(part: str, task: Task, seeds: int) -> Iterator[dict[str, Any]]:
    """Yield what each option scores on a data set."""
    for name, make, patched, lose in PARTS[part](task):
        with patched:
            for seed in range(seeds):
                outputs, target, spent = answers(task, make, seed, lose)
                known = {"data": task.name, "option": name, "seed": seed, "s": spent}
                yield known | judge(task, outputs, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--only", nargs="+", choices=DATASETS, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=af.exceptions.AsfusionWarning)
    for part in options.part:
        rows = []
        for task in map(training_part, tasks(options.only, options.data)):
            rows += list(study(part, task, options.seeds))
            own = pd.DataFrame([row for row in rows if row["data"] == task.name])
            print(f"{part}, {task.name}, {len(task.X)} rows\n{means(own)}", flush=True)
        print(f"{part}, mean over data sets\n{means(pd.DataFrame(rows))}", flush=True)


def means(table: pd.DataFrame) -> str:
    shown = [name for name in ("loss", "auc", "slope", "s") if name in table]
    return table.groupby("option", sort=False)[shown].mean().round(4).to_string()


if __name__ == "__main__":
    main()
