"""A small table with a note, and files that were exported from models of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import asfusion as af

N_ROWS = 48
WORDS = ("back pain", "uveitis", "no", "stiff", "morning", "hip", "severe")
QUIET: dict[str, Any] = {"random_state": 0, "verbose": 0}


def table() -> pd.DataFrame:
    """Return rows of every kind of cell, with gaps and without whole modalities."""
    rng = np.random.default_rng(0)
    grades = pd.CategoricalDtype(["none", "mild", "severe"], ordered=True)
    days = pd.to_timedelta(rng.integers(0, 900, N_ROWS), "D")
    X = pd.DataFrame(
        {
            "crp": rng.gamma(2.0, 5.0, N_ROWS),
            "esr": rng.normal(size=N_ROWS),
            "seen": pd.Timestamp("2020-01-01") + days,
            "grade": pd.Series(rng.choice(["none", "mild", "severe"], N_ROWS)).astype(grades),
            "age": rng.normal(50.0, 9.0, N_ROWS),
            "sex": rng.choice(["f", "m"], N_ROWS),
            "b27": pd.Series(rng.random(N_ROWS) > 0.5, dtype="boolean"),
            "note": [" ".join(rng.choice(WORDS, 6)) for _ in range(N_ROWS)],
        }
    )
    X.loc[::7, "crp"] = np.nan
    X.loc[3::10, ["crp", "esr", "seen", "grade"]] = None
    X.loc[::5, ["age", "sex", "b27"]] = None
    X.loc[1::4, "note"] = None
    return X


def targets(X: pd.DataFrame) -> dict[str, Any]:
    """Return y of every kind that can be exported."""
    rng = np.random.default_rng(1)
    hidden = X["esr"].fillna(0.0).to_numpy() + rng.normal(size=len(X))
    return {
        "binary": np.where(hidden > 0, "yes", "no"),
        "multiclass": np.digitize(hidden, [-0.5, 0.5]),
        "grades": np.asarray(["low", "some", "high"])[np.digitize(hidden, [-0.5, 0.5])],
        "counts": np.digitize(hidden, [-0.5, 0.5]),
        "numbers": np.column_stack([hidden * 9.0, hidden**2]),
    }


def encoders(note: Any = "tfidf") -> dict[str, Any]:
    """Return encoders of two tables, and of the note if it is asked for."""
    made: dict[str, Any] = {
        "labs": af.TabularEncoder(["crp", "esr", "seen", "grade"]),
        "person": af.TabularEncoder(["age", "sex", "b27"], dtype="float32"),
    }
    if note == "tfidf":
        made["note"] = af.TextEncoder("note", backbone="tfidf", n_components=8)
    elif note == "terms":
        made["note"] = af.TextEncoder("note", backbone="tfidf", n_components=None)
    elif note is not None:
        made["note"] = note
    return made


def exported(model: Any, folder: Path) -> Any:
    """Return a model that was written and is asked from its file."""
    return af.serving.OnnxModel(af.export(model, folder / "model.onnx"))
