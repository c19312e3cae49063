"""Every default, before and now, against the best that scikit-learn and XGBoost give.

Run: ``python benchmarks/defaults.py --data ../shared/data [--only cxr ...] [--store FOLDER]``

Five folds by patient of all rows of each data set. Whatever a strategy chooses (penalties, weights,
when to stop) it chooses inside the training rows of a fold. Strategies:

- the defaults of early, late and joint fusion as they were (their settings spelt out here) and as
  they are, late fusion by its mean and by its product, and automatic fusion;
- early fusion of each modality by itself: the best of them on the test rows stands for "best
  single", which flatters it;
- scikit-learn as a competent user takes it: imputation, scaling, one-hot, tf-idf and the same
  frozen image features, then logistic regression with the penalty cross-validated by patient, on
  all columns at once (image features as they are or as a few principal components, whichever is
  better on inner folds) or for each modality and averaged; and a forest of 500 trees;
- XGBoost with usual settings.

Rows of `training_part`, by which defaults were chosen, are among those that judge. ``--others``
judges by the rest alone, one patient in four: the same answers, wider intervals.

With ``--store`` answers are kept by data set, strategy and fold, so that a run that was ended goes
on, and one strategy can be run anew. Times to an event are judged by Harrell's C in the place of
the AUC; rivals there are lifelines' Cox regression on all columns, with the penalty chosen by
concordance on inner folds, and XGBoost's Cox loss.
"""

from __future__ import annotations

import argparse
import hashlib
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _datasets import DATASETS, Task, other_rows, tasks
from scipy.stats import rankdata
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, OneHotEncoder, StandardScaler

import asfusion as af
from asfusion._splits import patient_folds
from asfusion.evaluation._judge import judge, make_scorer
from asfusion.evaluation.intervals import bootstrap_scores
from asfusion.evaluation.registry import scoring_of

FOLDS, REPLICATES = 5, 1000
N_COMPONENTS = 20  # of image features
CONSTANT = 1e-9
JUDGED = [name for name in DATASETS if name != "diabetes"]
QUIET: dict[str, Any] = {"verbose": 0, "random_state": 0}
Answer = np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="+", default=JUDGED, choices=JUDGED)
    parser.add_argument("--strategies", nargs="+", help="these alone; others from the store")
    parser.add_argument("--store", type=Path)
    words = "judge by rows that had no part in the choice of a default"
    parser.add_argument("--others", action="store_true", help=words)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = ["vertebral"] if options.quick else options.only
    boards = {}
    for task in tasks(names, options.data):
        answers = dict(answers_of(task, options.store, options.strategies))
        if options.others:
            rows = other_rows(task)
            task = task.take(rows)
            answers = {name: said[rows] for name, said in answers.items()}
        if answers:
            boards[task.name] = board(task, answers)
            show(task, boards[task.name])
    if len(boards) > 1:
        summary(boards)


# -- strategies --------------------------------------------------------------------------


def strategies(task: Task) -> dict[str, Callable[[], Any]]:
    """Return what makes each strategy for a task: an estimator with `fit` and `answer`."""
    if task.kind == "survival":
        return {
            **{name: partial(Fused, make) for name, make in of_survival(task).items()},
            "lifelines Cox": LifelinesCox,
            "XGBoost Cox": partial(Fused, boosted_cox),
        }
    own = {name: partial(Fused, make) for name, make in of_classes(task).items()}
    rivals = {
        "scikit-learn early": partial(PlainEarly, logistic_cv),
        "scikit-learn late": partial(PlainLate, logistic_cv),
        "scikit-learn forest": partial(Plain, forest),
        "XGBoost": partial(Plain, boosted),
    }
    return own | rivals


def of_classes(task: Task) -> dict[str, Callable[[Task], Any]]:
    """Return the fusions of a task with classes."""
    return {
        "early, before": lambda t: af.EarlyFusionClassifier(
            t.encoders(), LogisticRegression(max_iter=1000), scale="blocks", **QUIET
        ),
        "early": lambda t: af.EarlyFusionClassifier(t.encoders(), **QUIET),
        "late, before": lambda t: af.LateFusionClassifier(
            t.encoders(), {name: before(t, [name]) for name in t.parts}, combine="mean", **QUIET
        ),
        "late": lambda t: af.LateFusionClassifier(t.encoders(), combine="mean", **QUIET),
        "late product": lambda t: af.LateFusionClassifier(t.encoders(), combine="product", **QUIET),
        "joint, before": lambda t: before(t, t.parts).set_params(encoders=t.encoders()),
        "joint": lambda t: af.JointFusionClassifier(t.encoders(), **QUIET),
        "joint attention": lambda t: af.JointFusionClassifier(t.encoders(), "attention", **QUIET),
        "auto": lambda t: af.AutoFusionClassifier(t.encoders(), **QUIET),
        **{f"alone: {name}": partial(alone, af.EarlyFusionClassifier, name) for name in task.parts},
    }


def of_survival(task: Task) -> dict[str, Callable[[Task], Any]]:
    """Return the fusions of a task with times to an event."""
    return {
        "early": lambda t: af.EarlyFusionSurvival(t.encoders(), **QUIET),
        "late": lambda t: af.LateFusionSurvival(t.encoders(), **QUIET),
        "joint": lambda t: af.JointFusionSurvival(t.encoders(), **QUIET),
        "auto": lambda t: af.AutoFusionSurvival(t.encoders(), **QUIET),
        **{f"alone: {name}": partial(alone, af.EarlyFusionSurvival, name) for name in task.parts},
    }


def alone(family: Any, name: str, task: Task) -> Any:
    """Return early fusion of one modality."""
    return family({name: task.encoders()[name]}, **QUIET)


def before(task: Task, names: Iterable[str]) -> Any:
    """Return a network of these modalities with the settings that were its default."""
    encoders = {name: task.encoders()[name] for name in names}
    some = np.flatnonzero(np.any([has(task, name) for name in encoders], axis=0))
    X = task.X.iloc[some].reset_index(drop=True)
    n_features = sum(encoder.fit(X).n_features for encoder in encoders.values())
    return af.JointFusionClassifier(
        max_epochs=100,
        label_smoothing=0.0,
        modality_dropout=0.1,
        early_stopping=len(X) >= 100 and n_features <= len(X),
        training=af.TrainingOptions(dropout=0.0, mixup=0.0, unimodal_losses=0.0),
        **QUIET,
    )


def boosted_cox(task: Task) -> Any:
    """Return early fusion by XGBoost's Cox loss."""
    return af.EarlyFusionSurvival(task.encoders(), af.survival.BoostedSurvival(), **QUIET)


class Fused:
    """One of our estimators."""

    def __init__(self, make: Callable[[Task], Any]) -> None:
        self.make = make

    def fit(self, task: Task) -> Fused:
        """Fit to a task."""
        self.model = self.make(task).fit(task.X, task.y, groups=task.groups)
        return self

    def answer(self, task: Task) -> Answer:
        """Return what it says of each row."""
        if task.kind == "survival":
            curves = self.model.predict_survival_function(task.X)
            return np.column_stack([self.model.predict(task.X), curves])
        return np.asarray(self.model.predict_proba(task.X))


class Plain:
    """scikit-learn or XGBoost on the columns of all modalities side by side."""

    def __init__(
        self,
        make: Callable[..., Any],
        names: tuple[str, ...] | None = None,
        n_components: int | None = None,
    ) -> None:
        self.make, self.names, self.n_components = make, names, n_components

    def fit(self, task: Task) -> Plain:
        """Fit to a task."""
        self.read = Columns(task, self.names or tuple(task.parts), self.n_components)
        X = self.read.fit(task.X)
        groups = np.arange(len(task.X)) if task.groups is None else task.groups
        y = self.labels(task, fitted=False)
        folds = patient_folds(groups, FOLDS, n_rows=len(y), strata=y, seed=1)
        self.model = self.make(folds).fit(X, y)
        return self

    def labels(self, task: Task, *, fitted: bool) -> np.ndarray:
        """Return the number of the class of each row."""
        self.coder = self.coder if fitted else LabelEncoder().fit(task.y)
        return np.asarray(self.coder.transform(task.y))

    def answer(self, task: Task) -> Answer:
        """Return what it says of each row."""
        return np.asarray(self.model.predict_proba(self.read(task.X)))


class PlainEarly:
    """All columns: image features as they are, or a few principal components of them.

    A thousand features of a film drown a few labs, or tell what those do not: inner folds say
    which.
    """

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def fit(self, task: Task) -> PlainEarly:
        """Fit to a task in both ways, and keep the one with the lower log-loss on inner folds."""
        has_images = any(part.kind == "image" for part in task.parts.values())
        ways = (None, N_COMPONENTS) if has_images else (None,)
        fitted = [Plain(self.make, n_components=way).fit(task) for way in ways]
        # Scores by fold, share of the penalty on absolute values (one) and penalty.
        self.best = max(fitted, key=lambda plain: plain.model.scores_.mean(axis=0).max())
        return self

    def answer(self, task: Task) -> Answer:
        """Return what it says of each row."""
        return self.best.answer(task)


class PlainLate:
    """The same for each modality, averaged over those that a row has."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def fit(self, task: Task) -> PlainLate:
        """Fit to a task, a modality at a time."""
        self.parts = {}
        for name in task.parts:
            have = np.flatnonzero(has(task, name))
            if len(have) and len(np.unique(task.y[have])) == len(np.unique(task.y)):
                self.parts[name] = Plain(self.make, (name,)).fit(task.take(have))
        return self

    def answer(self, task: Task) -> Answer:
        """Return what it says of each row."""
        total, count = 0.0, np.zeros((len(task.X), 1))
        for name, part in self.parts.items():
            there = has(task, name)[:, None]
            total = total + np.where(there, part.answer(task), 0.0)
            count += there
        return np.asarray(total / np.maximum(count, 1))


def has(task: Task, name: str) -> np.ndarray:
    """Return which rows have a modality."""
    return np.asarray(task.X[columns_of(task, name)].notna().any(axis=1))


def columns_of(task: Task, name: str) -> list[str]:
    """Return the columns of a modality."""
    return [str(c) for c in task.parts[name]._columns_among(list(task.X.columns))]


class Columns:
    """Columns as a competent user of scikit-learn reads them."""

    def __init__(self, task: Task, names: tuple[str, ...], n_components: int | None = None) -> None:
        self.n_components = n_components
        tables: list[str] = []
        self.notes: list[tuple[str, Any]] = []
        self.images: list[Any] = []
        for name in names:
            kind = task.parts[name].kind
            if kind == "image":
                self.images.append(task.encoders()[name])
            elif kind == "note":
                words = TfidfVectorizer(min_df=2, sublinear_tf=True)
                self.notes.append((columns_of(task, name)[0], words))
            else:
                tables += columns_of(task, name)
        numeric = [c for c in tables if pd.api.types.is_numeric_dtype(task.X[c])]
        other = [c for c in tables if c not in numeric]
        fill = SimpleImputer(strategy="median", add_indicator=True)
        self.table = make_column_transformer(
            (make_pipeline(fill, StandardScaler()), numeric),
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), other),
        )
        self.has_table = bool(tables)

    def fit(self, X: pd.DataFrame) -> np.ndarray:
        """Learn from rows, and return their features."""
        if self.has_table:
            self.table.fit(X)
        for column, words in self.notes:
            words.fit(X[column].fillna(""))
        self.seen = [
            (encoder.fit(X), self._scaler().fit(encoder.transform(X))) for encoder in self.images
        ]
        return self(X)

    def _scaler(self) -> Any:
        """Return what standardises image features; those of an absent image are at their means."""
        fill = SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)
        narrow = (
            []
            if self.n_components is None
            else [PCA(self.n_components, whiten=True, random_state=0)]
        )
        return make_pipeline(StandardScaler(), fill, *narrow)

    def __call__(self, X: pd.DataFrame) -> np.ndarray:
        """Return the features of rows."""
        blocks = [np.asarray(self.table.transform(X), dtype=float)] if self.has_table else []
        blocks += [w.transform(X[c].fillna("")).toarray() for c, w in self.notes]
        blocks += [scaler.transform(encoder.transform(X)) for encoder, scaler in self.seen]
        return np.column_stack(blocks)


def logistic_cv(folds: Any) -> Any:
    """Return logistic regression with its penalty chosen by patient."""
    return LogisticRegressionCV(
        Cs=10,
        cv=folds,
        scoring="neg_log_loss",
        max_iter=2000,
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    )


def forest(folds: Any) -> Any:
    """Return a forest of 500 trees."""
    return RandomForestClassifier(500, min_samples_leaf=2, random_state=0)


def boosted(folds: Any) -> Any:
    """Return XGBoost with usual settings."""
    from xgboost import XGBClassifier

    return XGBClassifier(
        n_estimators=300,
        learning_rate=0.05,
        max_depth=4,
        subsample=0.8,
        colsample_bytree=0.5,
        random_state=0,
        n_jobs=1,
    )


class LifelinesCox:
    """lifelines' Cox regression, its penalty chosen by concordance on inner folds."""

    penalties = (0.01, 0.1, 1.0, 10.0)

    def fit(self, task: Task) -> LifelinesCox:
        """Fit to a task."""
        from lifelines import CoxPHFitter
        from lifelines.exceptions import ConvergenceError
        from lifelines.utils import concordance_index

        self.read = Columns(task, tuple(task.parts))
        table = self.table(self.read.fit(task.X)).assign(
            event=task.y["event"].to_numpy(), time=task.y["time"].to_numpy()
        )
        folds = patient_folds(None, FOLDS, n_rows=len(table), strata=table["event"], seed=1)

        def fitted(rows: Any, penalty: float) -> Any:
            part = table.iloc[rows]
            varies = part.columns[part.std() > CONSTANT]  # it divides by the spread of the others
            return CoxPHFitter(penalizer=penalty).fit(part[varies], "time", "event")

        def judged(penalty: float) -> float:
            found = []
            for learn, test in folds:
                part = table.iloc[test]
                try:
                    risk = fitted(learn, penalty).predict_log_partial_hazard(part)
                except ConvergenceError:  # of many columns, with little penalty
                    return 0.0
                found.append(concordance_index(part["time"], -risk, part["event"]))
            return float(np.mean(found))

        self.model = fitted(np.arange(len(table)), max(self.penalties, key=judged))
        return self

    def table(self, features: np.ndarray) -> pd.DataFrame:
        """Return features with names."""
        return pd.DataFrame(features, columns=[f"x{i}" for i in range(features.shape[1])])

    def answer(self, task: Task) -> Answer:
        """Return what it says of each row."""
        return np.asarray(self.model.predict_log_partial_hazard(self.table(self.read(task.X))))[
            :, None
        ]


# -- answers -----------------------------------------------------------------------------


def answers_of(
    task: Task, store: Path | None, wanted: list[str] | None
) -> Iterator[tuple[str, Answer]]:
    """Yield each strategy with its out-of-fold answers (N, K)."""
    strata = task.y["event"].to_numpy() if task.kind == "survival" else task.y
    strata = np.unique(strata, return_inverse=True)[1]
    folds = patient_folds(task.groups, FOLDS, n_rows=len(task.X), strata=strata, seed=0)
    for name, make in strategies(task).items():
        is_asked = wanted is None or any(name.startswith(stem) for stem in wanted)
        parts = [
            one_answer(task, name, make, fold, number, store, is_asked=is_asked)
            for number, fold in enumerate(folds)
        ]
        if any(part is None for part in parts):
            continue
        width = min(part.shape[1] for part in parts if part is not None)
        found = np.full((len(task.X), width), np.nan)
        for (_, test), part in zip(folds, parts, strict=True):
            assert part is not None
            # Curves end at the last event of the training rows: the risk alone is of all folds.
            found[test] = part[:, :width]
        yield name, found


def one_answer(
    task: Task,
    name: str,
    make: Callable[[], Any],
    fold: Any,
    number: int,
    store: Path | None,
    *,
    is_asked: bool,
) -> Answer | None:
    """Return what a strategy says of the test rows of a fold, from the store if it is there."""
    key = hashlib.sha256(f"{task.name}/{name}/{number}".encode()).hexdigest()[:16]
    file = None if store is None else store / f"{key}.npy"
    if file is not None and file.exists():
        return np.asarray(np.load(file, allow_pickle=False))
    if not is_asked:
        return None
    learn, judge = fold
    begun = time.perf_counter()
    found = make().fit(task.take(learn)).answer(task.take(judge))
    print(f"{task.name}, {name}, fold {number}: {time.perf_counter() - begun:.1f} s", flush=True)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, found)
    return np.asarray(found)


# -- scores ------------------------------------------------------------------------------


def board(task: Task, answers: dict[str, Answer]) -> pd.DataFrame:
    """Return a line for each strategy, and its difference to the best of scikit-learn."""
    drawn = replicates(task, answers)
    table = pd.DataFrame({name: scores(task, said) for name, said in answers.items()}).T
    rivals = [n for n in table.index if n.startswith(("scikit-learn", "lifelines", "XGBoost"))]
    singles = [n for n in table.index if n.startswith("alone")]
    best = {"rival": _best(table, rivals), "single": _best(table, singles)}
    for kind, other in best.items():
        if other is None:
            continue
        for name in answers:
            low, high = np.nanquantile(drawn[name] - drawn[other], (0.025, 0.975))
            over = table.loc[name, "rank"] - table.loc[other, "rank"]
            table.loc[name, [f"over_{kind}", f"{kind}_low", f"{kind}_high"]] = over, low, high
    return table


def replicates(task: Task, answers: dict[str, Answer]) -> dict[str, np.ndarray]:
    """Return the ranking score of each strategy on the same draws of patients."""
    if task.kind == "survival":
        groups = np.arange(len(task.X)) if task.groups is None else task.groups
        rng = np.random.default_rng(0)
        draws = [_drawn(groups, rng) for _ in range(REPLICATES // 10)]
        return {
            name: np.asarray([rank_score(task, said, rows) for rows in draws])
            for name, said in answers.items()
        }
    found = {}
    for name, said in answers.items():
        sure = said / said.sum(axis=1, keepdims=True)
        judged = judge(sure, None, task.y, task.groups, np.unique(task.y))
        scorer = make_scorer(judged)
        boot = bootstrap_scores(scorer, n_bootstrap=REPLICATES, seed=0, width=len(said))
        found[name] = boot[scoring_of(judged).primary]
    return found


def _best(table: pd.DataFrame, names: list[str]) -> str | None:
    return max(names, key=lambda name: table.loc[name, "rank"]) if names else None


def _drawn(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) > 0])
    parts = np.split(order, starts[1:])
    return np.concatenate([parts[i] for i in rng.integers(len(parts), size=len(parts))])


def scores(task: Task, said: Answer) -> dict[str, float]:
    """Return AUC or C as ``rank``, log-loss, and the slope of calibration."""
    rows = np.arange(len(task.X))
    found = {"rank": rank_score(task, said, rows)}
    if task.kind == "survival":
        return found
    labels, y = np.unique(task.y, return_inverse=True)
    sure = np.clip(said, 1e-6, 1 - 1e-6)
    found["log_loss"] = float(log_loss(y, sure / sure.sum(axis=1, keepdims=True)))
    if len(labels) == 2:
        odds = np.log(sure[:, 1] / (1 - sure[:, 1]))[:, None]
        found["slope"] = float(LogisticRegression(C=np.inf).fit(odds, y).coef_[0, 0])
    return found


def rank_score(task: Task, said: Answer, rows: np.ndarray) -> float:
    """Return AUC, mean AUC of each class against the rest, or Harrell's C."""
    if task.kind == "survival":
        from asfusion.survival.concordance import harrell_c

        y = task.y.iloc[rows]
        return float(harrell_c(y["event"].to_numpy(), y["time"].to_numpy(), said[rows, 0]))
    labels, y = np.unique(task.y, return_inverse=True)
    if len(np.unique(y[rows])) < len(labels):
        return float("nan")
    found = said[rows, 1] if len(labels) == 2 else said[rows]
    found = found if len(labels) == 2 else found / found.sum(axis=1, keepdims=True)
    return float(roc_auc_score(y[rows], found, multi_class="ovr"))


def show(task: Task, table: pd.DataFrame) -> None:
    """Print the board of a data set."""
    print(f"\n{task.name}: {len(task.X)} rows, {task.kind}. {task.remarks}")
    print(table.sort_values("rank", ascending=False).round(3).to_string(), "\n", flush=True)


def summary(boards: dict[str, pd.DataFrame]) -> None:
    """Print means over the data sets where all strategies of a kind stand."""
    common = [n for n in next(iter(boards.values())).index if not n.startswith("alone")]
    rows: dict[str, dict[str, float]] = {}
    for name in common:
        there = {data: board.loc[name] for data, board in boards.items() if name in board.index}
        ranks = [
            rankdata(-board.loc[board.index.isin(common), "rank"])[
                list(board.index[board.index.isin(common)]).index(name)
            ]
            for board in boards.values()
            if name in board.index
        ]
        lines = pd.DataFrame(there).T
        rows[name] = {
            "sets": float(len(lines)),
            "mean_rank": float(np.mean(ranks)),
            "mean_score": float(lines["rank"].mean()),
            "over_rival": float(lines["over_rival"].mean()),
            "worst": float(lines["over_rival"].min()),
            "clearly_worse": float((lines["rival_high"] < 0).sum()),
            "clearly_better": float((lines["rival_low"] > 0).sum()),
            "worse_than_single": float((lines["single_high"] < 0).sum()),
            "log_loss": float(lines["log_loss"].mean()) if "log_loss" in lines else np.nan,
            "slope": float(lines["slope"].mean()) if "slope" in lines else np.nan,
        }
    print("All data sets:")
    print(pd.DataFrame(rows).T.sort_values("mean_rank").round(3).to_string())


if __name__ == "__main__":
    main()
