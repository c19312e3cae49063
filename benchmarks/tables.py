"""Fusion of tables alone: three omics blocks, and spinal parameters.

Run: ``python benchmarks/tables.py --data ../shared/data [--seeds 3] [--only networks]``

ROSMAP (three blocks of 200 preselected features, official split) and the UCI vertebral
column (six parameters, three classes, 5-fold): every network and boosted trees, each beside
scikit-learn's own models.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

import asfusion as af

# Every network with its defaults; TabNet as its paper has it for small tables.
NETWORKS: dict[str, dict[str, Any]] = {
    "MLP": {},
    "MLP, piecewise linear": {"number_embedding": "piecewise_linear"},
    "MLP, periodic": {"number_embedding": "periodic"},
    "TabNet": {"network": "tabnet", "d_hidden": 16, "n_layers": 3},
    "FT-Transformer": {"network": "ft_transformer"},
    "TabM": {"network": "tabm"},
    "TabM, piecewise linear": {"network": "tabm", "number_embedding": "piecewise_linear"},
    "ResNet": {"network": "resnet"},
}
# Six hundred tokens at the default width would take an hour.
ON_OMICS = {"FT-Transformer": {"d_hidden": 16, "n_layers": 1}}
BOOSTED = {
    "boosted trees": HistGradientBoostingClassifier(),
    "XGBoost": XGBClassifier(n_jobs=1),
}


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


def rosmap(folder: Path, n_seeds: int, only: str) -> pd.DataFrame:
    """Return the AUC of each model on the official test part, mean and range over seeds."""
    parts = read_rosmap(folder)
    (X, y), (X_test, y_test) = parts["tr"], parts["te"]
    rows = {}
    for name, model in _rosmap_models(X, only).items():
        scores = []
        for seed in range(n_seeds):
            seeds = {k: seed for k in model.get_params() if k.endswith("random_state")}
            seeds |= {"verbose": 0} if not name.startswith("scikit") else {}
            fitted = clone(model).set_params(**seeds).fit(X, y)
            scores.append(roc_auc_score(y_test, fitted.predict_proba(X_test)[:, 1]))
        rows[name] = {"AUC": np.mean(scores), "lowest": min(scores), "highest": max(scores)}
        print(f"  {name:<40} {np.mean(scores):.3f}", flush=True)
    for name, model in {"logistic": _logistic(), "tuned logistic": _tuned()}.items():
        rows[f"scikit-learn: {name} per block, mean"] = dict.fromkeys(
            ("AUC", "lowest", "highest"), _plain_mean(X, y, X_test, y_test, model)
        )
    return pd.DataFrame(rows).T.sort_values("AUC", ascending=False)


def inside(folder: Path, n_seeds: int = 2) -> pd.DataFrame:
    """Return AUCs by five folds of the training part alone: what defaults are chosen by."""
    X, y = read_rosmap(folder)["tr"]
    kinds = {
        "three blocks, concat": (_blocks(X), "concat"),
        "three blocks, attention": (_blocks(X), "attention"),
        "one table of 600": ({"omics": af.TabularEncoder()}, "concat"),
    }
    models: dict[str, Any] = {"scikit-learn: logistic": _logistic()}
    for name, (encoders, fusion) in kinds.items():
        for stop in (True, False):
            models[f"{name}, early stopping: {stop}"] = af.JointFusionClassifier(
                encoders, fusion, early_stopping=stop, verbose=0
            )
    rows = {}
    for name, model in models.items():
        scores = []
        for seed in range(n_seeds):
            seeds = {k: seed for k in model.get_params() if k == "random_state"}
            folds = StratifiedKFold(5, shuffle=True, random_state=seed)
            proba = cross_val_predict(
                clone(model).set_params(**seeds), X, y, cv=folds, method="predict_proba"
            )
            scores.append(roc_auc_score(y, proba[:, 1]))
        rows[name] = {"AUC": np.mean(scores), "lowest": min(scores), "highest": max(scores)}
        print(f"  {name:<48} {np.mean(scores):.3f}", flush=True)
    return pd.DataFrame(rows).T


def _logistic() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))


def _tuned() -> Any:
    """Return a logistic regression whose penalty is chosen inside the training part."""
    return make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(
            Cs=np.logspace(-4, 1, 11), cv=5, scoring="neg_log_loss", max_iter=5000
        ),
    )


def _blocks(X: pd.DataFrame, **parameters: Any) -> dict[str, Any]:
    """Return one encoder per block of omics."""
    return {
        f"omics{i}": af.TabularEncoder(
            [c for c in X.columns if c.startswith(f"omics{i}_")], **parameters
        )
        for i in (1, 2, 3)
    }


def _rosmap_models(X: pd.DataFrame, only: str) -> dict[str, Any]:
    encoders = _blocks(X)
    models: dict[str, Any] = {
        f"joint concat, {name}": af.JointFusionClassifier(
            _blocks(X, **network | ON_OMICS.get(name, {}))
        )
        for name, network in NETWORKS.items()
    }
    models["one table of 600, MLP"] = af.JointFusionClassifier({"omics": af.TabularEncoder()})
    for name, trees in BOOSTED.items():
        models[f"early, {name}"] = af.EarlyFusionClassifier(encoders, trees)
        models[f"late mean, {name}"] = af.LateFusionClassifier(encoders, trees)
        models[f"scikit-learn: {name}, 600 columns"] = trees
    if only == "networks":
        return models
    kinds = {"logistic": _logistic(), "tuned logistic": _tuned()}
    for name, encoder in encoders.items():
        models[f"{name} alone, tuned logistic"] = af.EarlyFusionClassifier(
            {name: encoder}, _tuned()
        )
    for name, model in {**kinds, "forest": RandomForestClassifier(500)}.items():
        models[f"early, {name}"] = af.EarlyFusionClassifier(encoders, model)
        for combine in ("mean", "product", "stacking"):
            models[f"late {combine}, {name}"] = af.LateFusionClassifier(encoders, model, combine)
    models["early, default"] = af.EarlyFusionClassifier(encoders)
    for fusion in ("gated", "attention"):
        models[f"joint {fusion}, MLP"] = af.JointFusionClassifier(encoders, fusion)
    return models


def _plain_mean(X: Any, y: Any, X_test: Any, y_test: Any, model: Any) -> float:
    parts = []
    for i in (1, 2, 3):
        columns = [c for c in X.columns if c.startswith(f"omics{i}_")]
        parts.append(clone(model).fit(X[columns], y).predict_proba(X_test[columns])[:, 1])
    return float(roc_auc_score(y_test, np.mean(parts, axis=0)))


def vertebral(file: Path, n_seeds: int) -> pd.DataFrame:
    """Return accuracy and one-against-rest AUC of 5-fold predictions, mean over seeds."""
    data = pd.read_csv(file, sep=" ", header=None)
    data.columns = ["incidence", "tilt", "lordosis", "slope", "radius", "grade", "class"]
    X, y = data.drop(columns="class"), data["class"]
    labels = np.unique(y, return_inverse=True)[1]
    rows = {}
    for name, model in _vertebral_models().items():
        scores = []
        for seed in range(n_seeds):
            seeds = {k: seed for k in model.get_params() if k.endswith("random_state")}
            seeds |= {"verbose": 0} if not name.startswith("scikit") else {}
            folds = StratifiedKFold(5, shuffle=True, random_state=seed)
            proba = cross_val_predict(
                clone(model).set_params(**seeds), X, labels, cv=folds, method="predict_proba"
            )
            accuracy = accuracy_score(labels, proba.argmax(axis=1))
            scores.append((accuracy, roc_auc_score(labels, proba, multi_class="ovr")))
        accuracy, auc = np.mean(scores, axis=0)
        rows[name] = {"accuracy": accuracy, "AUC (one against rest)": auc}
        print(f"  {name:<40} {accuracy:.3f} {auc:.3f}", flush=True)
    return pd.DataFrame(rows).T


def _vertebral_models() -> dict[str, Any]:
    encoders = {
        "pelvis": af.TabularEncoder(["incidence", "tilt", "slope"]),
        "spine": af.TabularEncoder(["lordosis", "radius", "grade"]),
    }
    table = {"table": af.TabularEncoder()}
    models: dict[str, Any] = {
        "scikit-learn: logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "scikit-learn: forest": RandomForestClassifier(300),
        "one table, early default": af.EarlyFusionClassifier(table),
        "two tables, early default": af.EarlyFusionClassifier(encoders),
        "two tables, joint concat": af.JointFusionClassifier(encoders),
        "two tables, joint attention": af.JointFusionClassifier(encoders, "attention"),
        "two tables, late product, forest": af.LateFusionClassifier(
            encoders, RandomForestClassifier(300), "product"
        ),
    }
    for name, trees in BOOSTED.items():
        models[f"scikit-learn: {name}"] = trees
        models[f"one table, early, {name}"] = af.EarlyFusionClassifier(table, trees)
        models[f"two tables, late product, {name}"] = af.LateFusionClassifier(
            encoders, trees, "product"
        )
    for name, network in NETWORKS.items():
        described = {"table": af.TabularEncoder(**network)}
        models[f"one table, {name}"] = af.JointFusionClassifier(described)
    return models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("all", "networks", "inside"), default="all")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the networks are small, and trees take no part in it
    if options.only == "inside":
        print(inside(options.data / "mogonet").round(3).to_string())
        return
    columns = rosmap(options.data / "mogonet", options.seeds, options.only)
    print("ROSMAP, official split\n", columns.round(3).to_string())
    columns = vertebral(options.data / "vertebral/column_3C.dat", options.seeds)
    print("\nVertebral column\n", columns.round(3).to_string())


if __name__ == "__main__":
    main()
