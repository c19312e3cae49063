"""A fit that is interrupted, wherever, leaves what was: a model that predicts, or none."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import asfusion as af
from asfusion.encoders.tabular import TabularEncoder
from asfusion.encoders.text import TextEncoder

N = 24
PACKAGE = str(af.__path__[0])


class Stop(BaseException):
    """What no handler for errors catches, as the Ctrl-C of a user is not."""


def encoders() -> dict[str, Any]:
    return {
        "labs": TabularEncoder(["crp", "esr"], d_out=4),
        "note": TextEncoder("note", backbone="tfidf", n_components=2, d_out=4),
    }


def joint(family: str = "Classifier") -> Any:
    return getattr(af, f"JointFusion{family}")(
        encoders(), max_epochs=2, random_state=0, verbose=0, early_stopping=True
    )


MODELS: dict[str, Callable[[], Any]] = {
    "early": lambda: af.EarlyFusionClassifier(encoders(), threshold="youden", verbose=0),
    "joint": joint,
    "joint regressor": lambda: joint("Regressor"),
    "late": lambda: af.LateFusionClassifier(
        encoders(),
        "network",
        "weighted",
        cv=2,
        network=joint().set_params(encoders="auto"),
        random_state=0,
        verbose=0,
    ),
    "auto": lambda: af.AutoFusionClassifier(
        encoders(),
        ["late product", "early linear"],
        cv=2,
        threshold="youden",
        random_state=0,
        verbose=0,
    ),
    "recalibrated": lambda: af.RecalibratedClassifier(
        af.EarlyFusionClassifier(encoders(), verbose=0), cv=2, random_state=0
    ),
    "conformal": lambda: af.ConformalRegressor(
        af.EarlyFusionRegressor(encoders(), verbose=0), coverage=0.5, random_state=0
    ),
    "index": lambda: af.BasdaiRegressor(interval_folds=2, random_state=0),
    "table encoder": lambda: TabularEncoder(["crp", "esr"]),
    "note encoder": lambda: TextEncoder("note", backbone="tfidf", n_components=2),
}


def rows(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    words = rng.choice(["pain", "night", "stiff", "better", "worse"], size=(N, 4))
    X = pd.DataFrame({"crp": rng.normal(size=N), "esr": rng.normal(size=N)})
    return X.assign(note=[" ".join(row) for row in words]), np.arange(N) % 2


def answers(model: Any, X: pd.DataFrame) -> np.ndarray:
    how = getattr(model, "predict_proba", getattr(model, "predict", None))
    return np.asarray((how or model.transform)(X))


def is_stop(frame: FrameType) -> bool:
    """Return whether a call can be stopped: what ends a generator swallows that."""
    is_generator = bool(frame.f_code.co_flags & inspect.CO_GENERATOR)
    return frame.f_code.co_filename.startswith(PACKAGE) and not is_generator


def calls_of(work: Callable[[], Any]) -> int:
    """Return how many functions of the package a piece of work calls."""
    count = 0

    def watch(frame: FrameType, event: str, _arg: Any) -> None:
        nonlocal count
        count += event == "call" and is_stop(frame)

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def stopped(work: Callable[[], Any], at: int) -> bool:
    """Do a piece of work and stop it at the call of this number; return whether it was."""
    count = 0

    def watch(frame: FrameType, event: str, _arg: Any) -> None:
        nonlocal count
        if event == "call" and is_stop(frame):
            count += 1
            if count == at:
                sys.setprofile(None)
                raise Stop

    sys.setprofile(watch)
    try:
        work()
    except Stop:
        return True
    finally:
        sys.setprofile(None)
    return False


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_ends_or_leaves_what_was(name: str) -> None:
    (X, y), (other, z) = rows(0), rows(1)
    if name == "index":
        X, other = X[["crp", "esr"]], other[["crp", "esr"]]
    model = MODELS[name]().fit(X, y)
    before = answers(model, X)
    n_calls = calls_of(lambda: clone(model).fit(other, z))
    for at in np.unique(np.linspace(1, 0.95 * n_calls, 5).astype(int)):
        assert stopped(lambda: model.fit(other, z), int(at))
        np.testing.assert_array_equal(answers(model, X), before)
        fresh = MODELS[name]()
        if stopped(lambda new=fresh: new.fit(other, z), int(at)):  # type: ignore[misc]
            assert not [key for key in vars(fresh) if key.endswith("_")]
            with pytest.raises(NotFittedError):
                answers(fresh, X)


def test_what_an_older_fit_learned_does_not_stand_beside_the_new() -> None:
    X, y = rows(0)
    model = MODELS["late"]().set_params(combine="stacking").fit(X, y)
    assert hasattr(model, "stacker_") and hasattr(model, "threshold_")
    model.set_params(combine="mean").fit(X, np.arange(N) % 3)
    assert not hasattr(model, "stacker_") and not hasattr(model, "threshold_")


def test_an_error_in_fit_leaves_what_was() -> None:
    X, y = rows(0)
    model = MODELS["joint"]().fit(X, y)
    before = answers(model, X)
    with pytest.raises(af.exceptions.InputError):
        model.fit(X.assign(crp=np.inf), y)
    with pytest.raises(af.exceptions.TrainingError):
        model.set_params(learning_rate=1e30).fit(X, y)
    np.testing.assert_array_equal(answers(model, X), before)
