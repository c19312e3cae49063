"""Save one model of each kind with its predictions, or load such models and compare them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

import asfusion as af

X = np.random.default_rng(0).normal(size=(80, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
# Equal up to the order in which sums are made, which differs between versions.
TOLERANCE = 1e-10


def parts() -> dict[str, Any]:
    """Return an estimator of each kind that a fusion may hold."""
    seed = {"random_state": 0}
    return {
        "boosting": ensemble.GradientBoostingClassifier(n_estimators=5, **seed),
        "calibrated": CalibratedClassifierCV(linear_model.LogisticRegression(), cv=2),
        "extra-trees": ensemble.ExtraTreesClassifier(5, **seed),
        "forest": ensemble.RandomForestClassifier(5, **seed),
        "histograms": ensemble.HistGradientBoostingClassifier(max_iter=5, **seed),
        "linear": linear_model.LogisticRegression(),
        "naive-bayes": naive_bayes.GaussianNB(),
        "neighbours": neighbors.KNeighborsClassifier(),
        "network": neural_network.MLPClassifier((4,), max_iter=300, tol=1e-2, **seed),
        "pipeline": make_pipeline(StandardScaler(), PCA(2), linear_model.LogisticRegression()),
        "ridge": CalibratedClassifierCV(linear_model.RidgeClassifier(), cv=2),
        "stacking": ensemble.StackingClassifier(
            [("a", naive_bayes.GaussianNB())], linear_model.LogisticRegression(), cv=2
        ),
        "svm": CalibratedClassifierCV(svm.SVC(**seed), cv=2),
        "tree": tree.DecisionTreeClassifier(**seed),
        "xgboost": XGBClassifier(n_estimators=5, n_jobs=1),
    }


def models() -> dict[str, Any]:
    """Return an asfusion model around each of them, and one network."""
    early = {name: af.EarlyFusionClassifier(estimator=part) for name, part in parts().items()}
    return {**early, "joint": af.JointFusionClassifier(max_epochs=2, random_state=0)}


def answers(model: Any) -> Any:
    """Return the probabilities of a model."""
    return model.predict_proba(X)


def save(folder: Path) -> None:
    """Fit and save each model beside its answers."""
    folder.mkdir(parents=True)
    for name, model in models().items():
        model.fit(X, Y).save(folder / f"{name}.asf")
        np.save(folder / f"{name}.npy", answers(model))


def compare(folder: Path) -> None:
    """Load each model and exit with the names of those that answer otherwise."""
    files = sorted(folder.glob("*.npy"))
    other = []
    for file in files:
        found = answers(af.load(file.with_suffix(".asf")))
        off = float(np.abs(found - np.load(file)).max())
        if not off <= TOLERANCE:
            other.append(f"{file.stem} by {off:.1e}")
    if other or not files:
        sys.exit(f"Answers differ from where the models were saved: {', '.join(other) or 'none'}")
    sys.stdout.write(f"{len(files)} models answer as where they were saved.\n")


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", InconsistentVersionWarning)
    {"save": save, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
