"""Time of exact tree Shapley values, beside shap's own.

Run: ``python benchmarks/tree_shap.py``

Each model explains the same rows with `asfusion.trees.shapley.tree_shap` and with
`shap.TreeExplainer` (path-dependent), one thread each, in turns. The first call of ours
compiles and is timed by itself; reading the model is part of every later one, as building the
explainer is part of shap's. For XGBoost shap calls XGBoost's own compiled code, which works in
single precision; that is the difference there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import shap
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from xgboost import XGBClassifier

from asfusion.trees.shapley import tree_shap


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def by_shap(model: Any, X: np.ndarray) -> np.ndarray:
    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    return np.asarray(explainer.shap_values(X, check_additivity=False))


def compare(model: Any, X: np.ndarray, rounds: int) -> dict[str, float]:
    """Return the shortest times of each, their ratio, and the largest difference."""
    ours, theirs = [], []
    difference = 0.0
    for _ in range(rounds):
        seconds, mine = timed(lambda: tree_shap(model, X))
        ours.append(seconds)
        seconds, other = timed(lambda: by_shap(model, X))
        theirs.append(seconds)
        difference = max(difference, float(np.abs(mine.values - other).max()))
    return {
        "asfusion, s": min(ours),
        "shap, s": min(theirs),
        "ratio": min(theirs) / min(ours),
        "lowest ratio": min(np.divide(theirs, ours)),
        "max difference": difference,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    X, y = make_classification(
        options.rows, options.features, n_informative=10, flip_y=0.1, random_state=0
    )
    X = X.astype(np.float32).astype(np.float64)
    amount = X @ np.linspace(0, 1, options.features) + y
    n = options.trees
    models: dict[str, Any] = {
        "forest, 2 classes, full depth": RandomForestClassifier(n, random_state=0).fit(X, y),
        "forest regressor, full depth": RandomForestRegressor(max(n // 5, 1), random_state=0).fit(
            X, amount
        ),
        "xgboost, depth 6": XGBClassifier(n_estimators=n, max_depth=6, n_jobs=1).fit(X, y),
        "xgboost, depth 3": XGBClassifier(n_estimators=n, max_depth=3, n_jobs=1).fit(X, y),
    }
    first, _ = timed(lambda: tree_shap(models["xgboost, depth 3"], X[:2]))
    print(f"first call, which compiles: {first:.1f} s\n", flush=True)
    rows = {}
    for name, model in models.items():
        rows[name] = compare(model, X, options.rounds)
        print(name, {key: f"{value:.3g}" for key, value in rows[name].items()}, flush=True)
    print("\n" + pd.DataFrame(rows).T.to_string(float_format=lambda v: f"{v:.3g}"))


if __name__ == "__main__":
    main()
