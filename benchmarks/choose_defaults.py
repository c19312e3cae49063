"""By what the defaults of early and late fusion were chosen, on training rows alone.

Run: ``python benchmarks/choose_defaults.py [--part penalty late] [--only cxr rosmap ...]``

Which rows it sees: of each data set of ``_datasets.py`` the training part only (three of four
patients by a fixed seed, or the official training part), split again into five folds by
patient. The others are left for those who judge (``defaults.py``).

*penalty*: one fixed penalty, the one with the least out-of-fold loss, and the largest within one
standard error of it; features of each modality to one variance together, or each to its own.
*late*: the same decisions of one linear model per modality, combined by their mean, by a product as
it is, by one with a learned power for all rows, and by one whose power falls with the number of
modalities; on all rows, and on rows that lost each modality by a coin.
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
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit, softmax
from sklearn.metrics import roc_auc_score

import asfusion as af
from asfusion._frames import Frame
from asfusion._splits import patient_folds
from asfusion.estimators import _penalty, early, late
from asfusion.estimators._base import estimator_class
from asfusion.survival.concordance import harrell_c
from asfusion.targets import Classes, Numbers, Survival
from asfusion.targets._pools import product_of_experts, weighted_mean

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
    return float(target.penalties[int(np.argmax(mean <= mean[best] + error))])


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


def _coded(task: Task) -> Any:
    target = TARGETS[task.kind]()
    return target.fit(target.read(task.y, len(task.X)))


def answers(task: Task, make: Make, seed: int) -> tuple[Any, Any, float]:
    """Return outputs of rows not seen, the target, and processor seconds of all fits."""
    target = _coded(task)
    outputs = np.zeros((len(task.X), target.n_outputs_))
    spent = 0.0
    for learn, judge in inner_folds(task, seed):
        part, asked = task.take(learn), task.take(judge)
        model = make(part)
        model.target = target.pinned()
        begun = time.process_time()
        model.fit(part.X, part.y, groups=part.groups)
        spent += time.process_time() - begun
        outputs[judge] = _asked(model, asked.X, target)
    return outputs, target, spent


def _asked(model: Any, X: pd.DataFrame, target: Any) -> Any:
    if hasattr(model, "predict_survival_function"):
        return model.predict_survival_function(
            X, np.minimum(target.times_, model.target_.times_[-1])
        )
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)[:, None]


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

Option = tuple[str, Make, Any]


def penalty(task: Task) -> Iterator[Option]:
    """Yield early fusion by each rule."""
    for name, choose in RULES.items():
        yield name, lambda part: of(part, "early"), in_place(early, choose_penalty=choose)
    columns = lambda part: of(part, "early", scale="columns")  # noqa: E731
    yield "least, columns", columns, nullcontext()


def decisions(task: Task, seed: int) -> Iterator[dict[str, Any]]:
    """Yield what each way to combine the same decisions scores, with all modalities or some."""
    if task.kind not in ("binary", "classes"):
        return
    target, folds = _coded(task), inner_folds(task, seed)
    told = {
        (lose, way): np.zeros((len(task.X), target.n_outputs_)) for lose in LOST for way in WAYS
    }
    for learn, judged in folds:
        part, asked = task.take(learn), task.take(judged)
        with kept_unseen() as unseen:
            model = of(part, "late", None, "product").fit(part.X, part.y, groups=part.groups)
        encoded = model._encode(Frame.read(asked.X))
        found = np.stack(list(encoded.contents.values()), axis=1)
        rng = np.random.default_rng(seed)
        for lose in LOST:
            present = encoded.present & (rng.random(encoded.present.shape) >= lose)
            for way, combine in WAYS.items():
                some = present.any(axis=1)[:, None]
                said = combine(found, present, model, *unseen[0])
                told[lose, way][judged] = np.where(some, said, model.prior_)
    for (lose, way), outputs in told.items():
        label = f"{way}{', some lost' if lose else ''}"
        yield {"data": task.name, "option": label, "seed": seed} | judge(task, outputs, target)


LOST = (0.0, 0.5)


@contextmanager
def kept_unseen() -> Iterator[list[Any]]:
    """Keep the decisions on rows that were not seen, which a fit forgets."""
    kept: list[Any] = []
    usual = late._LateFusion._out_of_fold

    def keeping(self: Any, rows: Any) -> Any:
        kept.append(usual(self, rows))
        return kept[-1]

    late._LateFusion._out_of_fold = keeping
    try:
        yield kept
    finally:
        late._LateFusion._out_of_fold = usual


def _product(power: Callable[[Any, float], Any]) -> Callable[..., Any]:
    """Return a product of experts whose evidence counts `power` of who is present."""

    def told(found: Any, present: Any, prior: Any, value: float) -> Any:
        log_prior = np.log(prior)
        evidence = np.log(np.clip(found, 1e-6, 1.0)) - log_prior
        summed = np.where(present[:, :, None], evidence, 0.0).sum(axis=1)
        return softmax(log_prior + power(present, value)[:, None] * summed, axis=1)

    def combine(found: Any, present: Any, model: Any, unseen: Any, there: Any, rows: Any) -> Any:
        def loss(value: float) -> float:
            return model.target_.deviance(
                told(unseen, there, model.prior_, value), rows.y, rows.loss_weight
            )

        best = minimize_scalar(loss, bounds=(-1.0, 2.0), method="bounded").x
        return told(found, present, model.prior_, best)

    return combine


def _mean(found: Any, present: Any, *_: Any) -> Any:
    return weighted_mean(found, present, np.ones(found.shape[1]))


def _independent(found: Any, present: Any, model: Any, *_: Any) -> Any:
    return product_of_experts(found, present, model.prior_)


def _as_learned(found: Any, present: Any, model: Any, *_: Any) -> Any:
    return product_of_experts(found, present, model.prior_, model.dependence_)


WAYS: dict[str, Callable[..., Any]] = {
    "mean": _mean,
    "product, independent": _independent,
    "product, one power": _product(lambda there, v: np.full(len(there), 1.0 - v / 2.0)),
    "product, falling": _product(lambda there, v: np.maximum(there.sum(axis=1), 1.0) ** -v),
    "product, falling, as it is": _as_learned,
}


PARTS = ("penalty", "late")


def study(part: str, task: Task, seeds: int) -> Iterator[dict[str, Any]]:
    """Yield what each option scores on a data set."""
    if part == "late":
        for seed in range(seeds):
            yield from decisions(task, seed)
        return
    for name, make, patched in penalty(task):
        with patched:
            for seed in range(seeds):
                outputs, target, spent = answers(task, make, seed)
                known = {"data": task.name, "option": name, "seed": seed, "s": spent}
                yield known | judge(task, outputs, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
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
