"""Fusion of tables alone: three omics blocks, and spinal parameters.

Run: ``python benchmarks/tables.py --data ../shared/data``

ROSMAP (three blocks of 200 preselected features, official split) and the UCI vertebral
column (six parameters, three classes, 5-fold), each beside scikit-learn's own models.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import asfusion as af

SEEDS = 3


def read_rosmap(folder: Path) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """Return train and test rows with labels; columns are named after their block."""
    parts = {}
    for part in ("tr", "te"):
        blocks = [pd.read_csv(folder / f"{i}_{part}.csv", header=None) for i in (1, 2, 3)]
        for i, block in enumerate(blocks, start=1):
            block.columns = [f"omics{i}_{j}" for j in range(block.shape[1])]
        labels = np.loadtxt(folder / f"labels_{part}.csv").astype(int)
        parts[part] = (pd.concat(blocks, axis=1), labels)
    return parts


def rosmap(folder: Path) -> pd.DataFrame:
    """Return the AUC of each model on the official test part, mean and range over seeds."""
    parts = read_rosmap(folder)
    (X, y), (X_test, y_test) = parts["tr"], parts["te"]
    encoders = {
        f"omics{i}": af.TabularEncoder([c for c in X.columns if c.startswith(f"omics{i}_")])
        for i in (1, 2, 3)
    }
    logistic = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
    # The penalty is chosen inside the training part.
    tuned = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(
            Cs=np.logspace(-4, 1, 11), cv=5, scoring="neg_log_loss", max_iter=5000
        ),
    )
    forest = RandomForestClassifier(500)
    models: dict[str, Any] = {
        f"{name} alone, tuned logistic": af.EarlyFusionClassifier({name: encoder}, tuned)
        for name, encoder in encoders.items()
    }
    kinds = {"logistic": logistic, "tuned logistic": tuned, "forest": forest}
    for name, model in kinds.items():
        models[f"early, {name}"] = af.EarlyFusionClassifier(encoders, model)
        for combine in ("mean", "product", "stacking"):
            models[f"late {combine}, {name}"] = af.LateFusionClassifier(encoders, model, combine)
    models["early, default"] = af.EarlyFusionClassifier(encoders)
    for fusion in ("concat", "gated", "attention"):
        models[f"joint {fusion}"] = af.JointFusionClassifier(encoders, fusion)
    rows = {}
    for name, model in models.items():
        scores = []
        for seed in range(SEEDS):
            fitted = clone(model).set_params(random_state=seed, verbose=0).fit(X, y)
            scores.append(roc_auc_score(y_test, fitted.predict_proba(X_test)[:, 1]))
        rows[name] = {"AUC": np.mean(scores), "lowest": min(scores), "highest": max(scores)}
        print(f"  {name:<32} {np.mean(scores):.3f}", flush=True)
    for name, model in {"logistic": logistic, "tuned logistic": tuned}.items():
        rows[f"scikit-learn: {name} per block, mean"] = dict.fromkeys(
            ("AUC", "lowest", "highest"), _plain_mean(X, y, X_test, y_test, model)
        )
    return pd.DataFrame(rows).T.sort_values("AUC", ascending=False)


def _plain_mean(X: Any, y: Any, X_test: Any, y_test: Any, model: Any) -> float:
    parts = []
    for i in (1, 2, 3):
        columns = [c for c in X.columns if c.startswith(f"omics{i}_")]
        parts.append(clone(model).fit(X[columns], y).predict_proba(X_test[columns])[:, 1])
    return float(roc_auc_score(y_test, np.mean(parts, axis=0)))


def vertebral(file: Path) -> pd.DataFrame:
    """Return accuracy and one-against-rest AUC of 5-fold predictions, mean over seeds."""
    data = pd.read_csv(file, sep=" ", header=None)
    data.columns = ["incidence", "tilt", "lordosis", "slope", "radius", "grade", "class"]
    X, y = data.drop(columns="class"), data["class"]
    encoders = {
        "pelvis": af.TabularEncoder(["incidence", "tilt", "slope"]),
        "spine": af.TabularEncoder(["lordosis", "radius", "grade"]),
    }
    table = {"table": af.TabularEncoder()}
    models: dict[str, Any] = {
        "scikit-learn: logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "scikit-learn: forest": RandomForestClassifier(300),
        "one table, early default": af.EarlyFusionClassifier(table),
        "one table, MLP": af.JointFusionClassifier(table),
        "one table, TabNet": af.JointFusionClassifier(
            {"table": af.TabularEncoder(network="tabnet", d_hidden=16, n_layers=3)}
        ),
        "two tables, early default": af.EarlyFusionClassifier(encoders),
        "two tables, joint concat": af.JointFusionClassifier(encoders),
        "two tables, joint attention": af.JointFusionClassifier(encoders, "attention"),
        "two tables, late product, forest": af.LateFusionClassifier(
            encoders, RandomForestClassifier(300), "product"
        ),
    }
    rows = {}
    for name, model in models.items():
        scores = []
        for seed in range(SEEDS):
            seeds = {k: seed for k in model.get_params() if k.endswith("random_state")}
            seeds |= {"verbose": 0} if name.startswith(("one", "two")) else {}
            folds = StratifiedKFold(5, shuffle=True, random_state=seed)
            proba = cross_val_predict(
                clone(model).set_params(**seeds), X, y, cv=folds, method="predict_proba"
            )
            classes = np.unique(y)
            accuracy = accuracy_score(y, classes[proba.argmax(axis=1)])
            scores.append((accuracy, roc_auc_score(y, proba, multi_class="ovr")))
        accuracy, auc = np.mean(scores, axis=0)
        rows[name] = {"accuracy": accuracy, "AUC (one against rest)": auc}
        print(f"  {name:<36} {accuracy:.3f} {auc:.3f}", flush=True)
    return pd.DataFrame(rows).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    print("ROSMAP, official split\n", rosmap(arguments.data / "mogonet").round(3).to_string())
    print("\nVertebral column\n", vertebral(arguments.data / "vertebral/column_3C.dat").round(3))


if __name__ == "__main__":
    main()
