"""scikit-learn and XGBoost on the rows of the peers' benchmark; run by ``run.py``.

The image is the frozen embedding that asfusion made; scikit-learn reads no images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from harness import Model, Peer, Rows, Task, main
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

IMAGES, ALL = ("cxr", "axspa"), ("cxr", "axspa", "rosmap")


def gather(part: Rows, task: Task) -> Any:
    """Return one frame: the table, ``note``, and the embedding as ``image_0`` and so on."""
    # user code begins: shared
    embedding = pd.DataFrame(part.embedding).add_prefix("image_")
    return part.frame[task.table].join(embedding).assign(note=part.frame["note"])


def linear() -> Any:
    penalties = np.logspace(-4, 1, 11)
    return LogisticRegressionCV(Cs=penalties, cv=5, scoring="neg_log_loss", max_iter=5000)


def scaled() -> Any:
    return make_pipeline(
        SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler()
    )


def table(task: Task) -> list[Any]:
    categories = OneHotEncoder(handle_unknown="ignore")
    return [(scaled(), task.numbers), (categories, task.categories)]


image = make_column_selector(pattern="^image_")
# user code ends


def early(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    if task.blocks:
        return rosmap_early(train, test, task, linear())
    # user code begins: early, logistic
    X, X_test = (gather(part, task).fillna({"note": ""}) for part in (train, test))
    columns = make_column_transformer(*table(task), (TfidfVectorizer(), "note"), (scaled(), image))
    model = make_pipeline(columns, linear()).fit(X, train.y)
    proba = model.predict_proba(X_test)[:, 1]
    # user code ends
    return proba, None


def boosted(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    if task.blocks:
        return rosmap_early(train, test, task, XGBClassifier(n_jobs=1, random_state=task.seed))
    # user code begins: early, XGBoost
    X, X_test = (gather(part, task).fillna({"note": ""}) for part in (train, test))
    words = make_pipeline(TfidfVectorizer(), TruncatedSVD(10, random_state=task.seed))
    ten = make_pipeline(scaled(), PCA(10, random_state=task.seed))
    columns = make_column_transformer(*table(task), (words, "note"), (ten, image))
    trees = XGBClassifier(n_jobs=1, random_state=task.seed)
    model = make_pipeline(columns, trees).fit(X, train.y)
    proba = model.predict_proba(X_test)[:, 1]
    # user code ends
    return proba, None


def late(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    if task.blocks:
        return rosmap_late(train, test, task)
    # user code begins: late, logistic
    X, X_test = (gather(part, task).fillna({"note": ""}) for part in (train, test))
    parts = [table(task), [(TfidfVectorizer(), "note")], [(scaled(), image)]]
    models = [make_pipeline(make_column_transformer(*part), linear()) for part in parts]
    told = [model.fit(X, train.y).predict_proba(X_test)[:, 1] for model in models]
    proba = np.mean(told, axis=0)
    # user code ends
    return proba, None


def rosmap_early(train: Rows, test: Rows, task: Task, model: Any) -> tuple[np.ndarray, Any]:
    fitted = make_pipeline(StandardScaler(), model).fit(train.frame[task.numbers], train.y)
    return fitted.predict_proba(test.frame[task.numbers])[:, 1], None


def rosmap_late(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    told = []
    for columns in task.blocks.values():
        model = make_pipeline(StandardScaler(), linear()).fit(train.frame[columns], train.y)
        told.append(model.predict_proba(test.frame[columns])[:, 1])
    return np.mean(told, axis=0), None


def raw(train: Rows, test: Rows, task: Task) -> tuple[np.ndarray, Any]:
    parts = [*table(task), (TfidfVectorizer(), "note")]
    X, X_test = train.frame, test.frame
    if isinstance(X, pd.DataFrame):  # its column selector takes no polars
        X, X_test = gather(train, task), gather(test, task)
        parts.append((scaled(), image))
    model = make_pipeline(make_column_transformer(*parts), linear()).fit(X, train.y)
    return model.predict_proba(X_test)[:, 1], None


def estimator(task: Task) -> Any:
    return make_pipeline(make_column_transformer(*table(task)), linear())


def explain(train: Rows, test: Rows, task: Task) -> list[str]:
    columns = train.frame[task.table]
    model = estimator(task).fit(columns, train.y)
    permutation_importance(model, columns, train.y, n_repeats=1)
    return ["columns (permutation_importance)"]


def make() -> Peer:
    everything = "image, table, note"
    return Peer(
        package="scikit-learn",
        models={
            "early, logistic": Model(early, everything, "same features", ALL),
            "early, XGBoost": Model(boosted, everything, "same features", ALL),
            "late, logistic": Model(late, everything, "same features", ALL),
        },
        raw=raw,
        estimator=estimator,
        explain=explain,
        notes=("a missing embedding is filled with the column means by SimpleImputer",),
    )


if __name__ == "__main__":
    main(__file__, make)
