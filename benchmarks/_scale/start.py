"""From a saved model to one prediction: in a fresh process, and in one that runs already.

The rival is scikit-learn: a pipeline of imputer, scaler, one-hot codes and the same kind of model,
kept by joblib. Cold is a process of its own that imports, loads and predicts one row; warm is
``predict_proba`` of one row, many times. XGBoost's rival is its own estimator in that pipeline, and
that of an automatic fusion a vote of a linear model and a forest of as many trees. Rows
with categories go through a ColumnTransformer; rows of numbers alone stand beside, against a plain
pipeline.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

import asfusion as af

MOST_COLD, MOST_WARM = 1.3, 2.0
NUMBERS = [f"lab{number}" for number in range(20)]

_OURS = """
import asfusion as af, pandas as pd
model = af.load({path!r})
"""
_THEIRS = """
import joblib, sklearn, pandas as pd
model = joblib.load({path!r})
"""
_ROW = """
row = pd.DataFrame({row})
(model.predict_proba if hasattr(model, "predict_proba") else model.predict)(row)
import sys, time
print(time.process_time(), "torch" in sys.modules, len(sys.modules))
"""


def run(args: argparse.Namespace) -> None:
    rounds = args.rounds or (3 if args.quick else 7)
    warnings.simplefilter("ignore")
    X, y = _table()
    pairs = {name: pair for name, pair in _pairs().items() if not args.only or name in args.only}
    fitted = {name: _fit(ours, theirs, X, y) for name, (ours, theirs) in pairs.items()}
    with tempfile.TemporaryDirectory() as folder:
        _cold(fitted, X, Path(folder), rounds)
    times = 100 if args.quick else 300
    print(f"\nOne row more: processor milliseconds, medians of {times} pairs, in turns")
    _warm(fitted, X, times)
    print("\nThe same of numbers alone, against a pipeline without a choice of columns")
    _warm(_of_numbers(X, y), X[NUMBERS], times)
    _warm(_of_array(X, y), X[NUMBERS].to_numpy(), times)


def _table(n_rows: int = 400) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n_rows, len(NUMBERS))), columns=NUMBERS)
    X = X.mask(rng.random(X.shape) < 0.05)
    X["sex"] = rng.choice(["female", "male"], n_rows)
    X["clinic"] = rng.choice(["north", "south", "west"], n_rows)
    return X, (X["lab0"].fillna(0) + rng.normal(size=n_rows)).clip(-4, 4)


def _pipeline(model: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    parts = [
        ("numbers", numbers, NUMBERS),
        ("categories", OneHotEncoder(handle_unknown="ignore"), ["sex", "clinic"]),
    ]
    return make_pipeline(ColumnTransformer(parts), model)


def _pairs() -> dict[str, tuple[Any, Any]]:
    encoders = {
        "labs": af.TabularEncoder(NUMBERS),
        "person": af.TabularEncoder(["sex", "clinic"]),
    }
    own: dict[str, Any] = {"encoders": encoders, "random_state": 0, "verbose": 0}
    linear, forest = LogisticRegression(max_iter=1000), RandomForestClassifier(50, random_state=0)
    boosted = XGBClassifier(n_estimators=50, n_jobs=1)
    large = RandomForestClassifier(500, min_samples_leaf=3, random_state=0)
    vote = VotingClassifier([("linear", linear), ("forest", large)], voting="soft")
    members = ["early linear", "early forest", "late mean"]
    return {
        "early, linear": (af.EarlyFusionClassifier(**own), _pipeline(linear)),
        "early, forest": (af.EarlyFusionClassifier(estimator=forest, **own), _pipeline(forest)),
        "early, XGBoost": (af.EarlyFusionClassifier(estimator=boosted, **own), _pipeline(boosted)),
        "late, linear": (af.LateFusionClassifier(**own), _pipeline(linear)),
        "automatic": (af.AutoFusionClassifier(members=members, cv=2, **own), _pipeline(vote)),
        "BASDAI, linear": (af.BasdaiRegressor(interval_folds=0), _pipeline(Ridge())),
    }


def _fit(ours: Any, theirs: Any, X: pd.DataFrame, y: pd.Series) -> tuple[Any, Any]:
    y = y + 4 if is_regressor(theirs) else (y > 0).astype(int)
    return ours.fit(X, y), theirs.fit(X, y)


# -- cold --------------------------------------------------------------------------------


def _cold(
    fitted: Mapping[str, tuple[Any, Any]], X: pd.DataFrame, folder: Path, rounds: int
) -> None:
    print(f"A fresh process to one row: processor seconds, medians of {rounds} pairs, in turns")
    print(f"{'':<18}{'scikit-learn':>14}{'asfusion':>10}{'ratio':>8}{'limit':>7}{'torch':>7}")
    row = json.dumps(X.head(1).fillna(0.0).to_dict("list"))
    for number, (name, (ours, theirs)) in enumerate(fitted.items()):
        own, other = folder / f"{number}.asf", folder / f"{number}.joblib"
        ours.save(own)
        joblib.dump(theirs, other)
        codes = [
            (start + _ROW).format(path=str(path), row=row)
            for start, path in ((_THEIRS, other), (_OURS, own))
        ]
        for code in codes:
            _fresh(code)  # which writes bytecode and fills the disk's cache
        runs = [[_fresh(code) for code in codes] for _ in range(rounds)]
        ratio = statistics.median(b[0] / a[0] for a, b in runs)
        seconds = [statistics.median(run[side][0] for run in runs) for side in (0, 1)]
        torch = "yes" if runs[0][1][1] else "no"
        verdict = "" if ratio <= MOST_COLD and torch == "no" else "  ABOVE"
        print(
            f"{name:<18}{seconds[0]:>14.2f}{seconds[1]:>10.2f}{ratio:>8.2f}{MOST_COLD:>7}"
            f"{torch:>7}{verdict}",
            flush=True,
        )


def _fresh(code: str) -> tuple[float, bool]:
    """Return the processor time of a process that ends itself, and whether it has torch."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=kept | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, torch, _ = done.stdout.split()
    return float(seconds), torch == "True"


# -- warm --------------------------------------------------------------------------------


def _of_numbers(X: pd.DataFrame, y: pd.Series) -> dict[str, tuple[Any, Any]]:
    plain = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), LogisticRegression())
    halves = {"one": af.TabularEncoder(NUMBERS[:10]), "two": af.TabularEncoder(NUMBERS[10:])}
    models = {
        "early, frame": af.EarlyFusionClassifier(verbose=0),
        "early, 2 tables": af.EarlyFusionClassifier(halves, verbose=0),
        "late, 2 tables": af.LateFusionClassifier(halves, verbose=0),
    }
    return {name: _fit(model, clone(plain), X[NUMBERS], y) for name, model in models.items()}


def _of_array(X: pd.DataFrame, y: pd.Series) -> dict[str, tuple[Any, Any]]:
    plain = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), LogisticRegression())
    array = X[NUMBERS].to_numpy()
    return {"early, array": _fit(af.EarlyFusionClassifier(verbose=0), plain, array, y)}


def _warm(fitted: Mapping[str, tuple[Any, Any]], X: Any, times: int) -> None:
    print(f"{'':<18}{'scikit-learn':>14}{'asfusion':>10}{'ratio':>8}{'limit':>7}")
    row = X[:1]
    for name, (ours, theirs) in fitted.items():
        asked = [getattr(m, "predict_proba", None) or m.predict for m in (theirs, ours)]
        pairs = [[_milliseconds(each, row) for each in asked] for _ in range(times)][times // 10 :]
        first, second = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        verdict = "" if second / first <= MOST_WARM else "  ABOVE"
        print(
            f"{name:<18}{first:>14.2f}{second:>10.2f}{second / first:>8.2f}{MOST_WARM:>7}{verdict}",
            flush=True,
        )


def _milliseconds(ask: Callable[[Any], Any], row: Any) -> float:
    start = time.process_time()
    ask(row)
    return 1000 * (time.process_time() - start)
