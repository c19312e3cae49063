"""Numeric tables, the models of both sides, and what one of them costs in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

MISSING = 0.05
PENALTIES = 10.0 ** np.arange(2.0, -3.0, -0.5)  # as early fusion chooses from
_CHOSEN_ON = 10_000  # rows, at most; of wide tables fewer, as in early fusion
_CELLS, _FEWEST = 10_000_000, 500


def table(
    n_rows: int, n_columns: int, dtype: str = "float64", missing: float = MISSING
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return cells, one in twenty missing, and classes that three columns tell."""
    rng = np.random.default_rng(n_rows + n_columns)
    cells = rng.standard_normal((n_rows, n_columns), dtype=np.float32).astype(dtype, copy=False)
    risk = cells[:, :3].sum(axis=1) + rng.normal(size=n_rows)
    cells *= (10.0 ** rng.integers(-3, 4, n_columns)).astype(dtype)
    for start in range(0, n_rows, 50_000):
        part = cells[start : start + 50_000]
        part[rng.random(part.shape, dtype=np.float32) < missing] = np.nan
    names = [f"p{i}" for i in range(n_columns)]
    return pd.DataFrame(cells, columns=names, copy=False), (risk > 0).astype(int)


def _unit_variance(features: np.ndarray) -> np.ndarray:
    """Give all features together a variance of one, as early fusion does with a modality."""
    return features / np.sqrt(features.shape[1])


def _pipeline(last: Any) -> Pipeline:
    """Return what a competent user writes: medians with indicators, standardised, a model."""
    filled = SimpleImputer(strategy="median", add_indicator=True)
    return make_pipeline(filled, StandardScaler(), FunctionTransformer(_unit_variance), last)


class Chosen:
    """A pipeline whose penalty is chosen by scikit-learn, on as many rows as early fusion takes."""

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Chosen:
        self.model = _pipeline(LogisticRegression(C=chosen_c(X, y), max_iter=5000)).fit(X, y)
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.model.predict_proba(X))


class Stacked:
    """A pipeline for each half of the columns, their penalties chosen, and five folds stacked."""

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Stacked:
        parts = []
        for name, columns in halves(X).items():
            model = LogisticRegression(C=chosen_c(X[columns], y), max_iter=5000)
            part = make_pipeline(FunctionTransformer(_Select(columns)), _pipeline(model))
            parts.append((name, part))
        self.model = StackingClassifier(parts, LogisticRegression(), cv=5).fit(X, y)
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.model.predict_proba(X))


class _Select:
    def __init__(self, columns: list[str]) -> None:
        self.columns = columns

    def __call__(self, X: pd.DataFrame) -> pd.DataFrame:
        return X[self.columns]


def chosen_c(X: pd.DataFrame, y: np.ndarray) -> float:
    """Return C by the log-loss of five folds, on as many rows as early fusion takes."""
    most = min(_CHOSEN_ON, max(_FEWEST, _CELLS // (2 * X.shape[1])))
    rows = np.sort(np.random.default_rng(0).permutation(len(X))[:most])
    cv = LogisticRegressionCV(
        Cs=1.0 / PENALTIES, cv=5, scoring="neg_log_loss", max_iter=5000, use_legacy_attributes=False
    )
    return float(_pipeline(cv).fit(X.iloc[rows], y[rows])[-1].C_)


def halves(X: pd.DataFrame) -> dict[str, list[str]]:
    """Return the columns of two modalities."""
    names = list(X.columns)
    return {"first": names[: len(names) // 2], "second": names[len(names) // 2 :]}


def _forest() -> Any:
    return RandomForestClassifier(20, max_depth=8, max_samples=0.2, random_state=0)


def _xgboost() -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=50, max_bin=64, n_jobs=1, random_state=0)


def _early(X: pd.DataFrame, estimator: Any, dtype: Any = None, **options: Any) -> Any:
    """Return early fusion whose features are of the type of the table, or of another."""
    import asfusion as af

    encoders = {"t": af.TabularEncoder(dtype=dtype or str(X.dtypes.iloc[0]))}
    return af.EarlyFusionClassifier(encoders, estimator, verbose=0, random_state=0, **options)


def _single() -> Any:
    return make_pipeline(FunctionTransformer(_as_float32), _pipeline(_plain()))


def _as_float32(X: pd.DataFrame) -> pd.DataFrame:
    return X.astype(np.float32)


def _late(X: pd.DataFrame) -> Any:
    import asfusion as af

    dtype: Any = str(X.dtypes.iloc[0])
    encoders = {n: af.TabularEncoder(columns, dtype=dtype) for n, columns in halves(X).items()}
    return af.LateFusionClassifier(encoders, verbose=0, random_state=0)


def _plain() -> Any:
    return LogisticRegression(max_iter=5000)


# For each: ours and the rival's, unfitted, for the given rows.
MODELS: dict[str, tuple[Callable[[pd.DataFrame], Any], Callable[[pd.DataFrame], Any]]] = {
    "early": (lambda X: _early(X, None), lambda X: Chosen()),
    "given": (lambda X: _early(X, _plain(), scale="blocks"), lambda X: _pipeline(_plain())),
    "late": (_late, lambda X: Stacked()),
    "single": (lambda X: _early(X, _plain(), "float32", scale="blocks"), lambda X: _single()),
    "forest": (
        lambda X: _early(X, _forest()),
        lambda X: make_pipeline(SimpleImputer(strategy="median", add_indicator=True), _forest()),
    ),
    "xgboost": (
        lambda X: _early(X, _xgboost()),
        lambda X: make_pipeline(SimpleImputer(strategy="median", add_indicator=True), _xgboost()),
    ),
}


def notes(count: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return notes of 60 words or so, and classes that five of the words tell."""
    rng = np.random.default_rng(count)
    words = np.asarray([f"w{i}" for i in range(20_000)])
    share = 1.0 / (10.0 + np.arange(len(words)))
    lengths = rng.integers(30, 90, count)
    drawn = rng.choice(len(words), lengths.sum(), p=share / share.sum())
    said = np.split(drawn, np.cumsum(lengths)[:-1])
    risk = np.asarray([np.isin(note, np.arange(20, 25)).sum() for note in said]) - 1.0
    y = (risk + rng.logistic(scale=0.5, size=count) > 0).astype(int)
    return pd.DataFrame({"note": [" ".join(words[note]) for note in said]}), y


class Counted:
    """Sparse tf-idf and a logistic regression whose penalty is chosen, of scikit-learn alone."""

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Counted:
        self.words = TfidfVectorizer(
            token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True, min_df=2
        )
        counted = self.words.fit_transform(X["note"])
        shares = counted.mean(axis=0)
        self.whole = np.sqrt(counted.power(2).mean() * counted.shape[1] - np.square(shares).sum())
        cv = LogisticRegressionCV(
            Cs=1.0 / PENALTIES,
            cv=5,
            scoring="neg_log_loss",
            max_iter=5000,
            use_legacy_attributes=False,
        )
        self.model = cv.fit(counted / self.whole, y)
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.model.predict_proba(self.words.transform(X["note"]) / self.whole))


def _read_by(n_components: int | None) -> Any:
    import asfusion as af

    encoder = af.TextEncoder("note", backbone="tfidf", n_components=n_components)
    return af.EarlyFusionClassifier({"note": encoder}, verbose=0, random_state=0)


NOTE_MODELS: dict[str, Callable[[], Any]] = {
    "sparse": lambda: _read_by(None),
    "rival": Counted,
    "projected": lambda: _read_by(512),
}


def peak(
    model: str, side: int, n_rows: int, n_columns: int, dtype: str, missing: float
) -> dict[str, float]:
    """Return the peaks of fit and of prediction above the data, in bytes, of a fresh process."""
    told = json.dumps([model, side, n_rows, n_columns, dtype, missing])
    done = subprocess.run(
        [sys.executable, __file__, told], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _memory(name: str) -> int:
    """Return bytes of this process: ``VmRSS`` now, or ``VmHWM``, its highest since `_reset`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def _reset() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _measure(
    model: str, side: int, n_rows: int, n_columns: int, dtype: str, missing: float
) -> dict[str, float]:
    small, labels = table(200, n_columns if n_columns < 1000 else 20)
    MODELS[model][side](small).fit(small, labels).predict_proba(small)  # imports, thread pools
    X, y = table(n_rows, n_columns, dtype, missing)
    X = X.copy()  # freed pages of the making are not lent to what is measured
    found = {"data": float(n_rows * n_columns * np.dtype(dtype).itemsize)}
    before = _memory("VmRSS")
    _reset()
    fitted = MODELS[model][side](X).fit(X, y)
    found["fit"] = float(_memory("VmHWM") - before)
    before = _memory("VmRSS")
    _reset()
    fitted.predict_proba(X)
    found["predict"] = float(_memory("VmHWM") - before)
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(_measure(*json.loads(sys.argv[1]))))
