"""Features that are put side by side a few rows at a time: the same as all of them at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

import asfusion as af
from asfusion._frames import Frame
from asfusion.estimators import _assembled, _blocks


def _rows(seed: int, n_rows: int = 250) -> tuple[pd.DataFrame, np.ndarray]:
    """Return rows with gaps in every column, some without one table, some without any."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n_rows, 4)) * [1, 9, 1e3, 1e-3], columns=list("abcd"))
    risk = X["a"] + X["b"] / 9 + rng.normal(size=n_rows)
    X["unit"] = rng.choice(["north", "south", "west"], n_rows)
    X["day"] = pd.Timestamp("2020-02-01") + pd.to_timedelta(rng.integers(0, 900, n_rows), unit="D")
    X["smoker"] = pd.array(rng.choice([True, False], n_rows), dtype="boolean")
    X = X.mask(rng.random(X.shape) < 0.2)
    X.iloc[:10] = X.iloc[:10].mask(X.iloc[:10].notna())
    X.loc[10:30, ["a", "b", "unit"]] = np.nan
    return X, risk.to_numpy()


def _encoders(number: int) -> dict[str, af.TabularEncoder]:
    one = {"all": af.TabularEncoder()}
    two = {
        "first": af.TabularEncoder(["a", "b", "unit"]),
        "second": af.TabularEncoder(["c", "d", "day", "smoker"]),
    }
    return (one, two)[number - 1]


@pytest.fixture
def in_pieces(monkeypatch):
    """Give a way to have features made in pieces of a few rows, or all at once."""

    def choose(pieces: bool) -> None:
        monkeypatch.setattr(_assembled, "_MANY", 1 if pieces else 2**60)
        monkeypatch.setattr(_blocks, "_VALUES_AT_ONCE", 2000 if pieces else 2**20)

    return choose


@pytest.mark.parametrize(("task", "n_tables"), [("Classifier", 1), ("Regressor", 2), ("grades", 2)])
def test_pieces_are_the_same(in_pieces, task, n_tables):
    X, risk = _rows(n_tables)
    y = {"Classifier": risk > 0, "Regressor": risk, "grades": np.digitize(risk, [-1, 1])}[task]
    weight = np.random.default_rng(0).random(len(y)) if n_tables == 2 else None
    family = af.EarlyFusionRegressor if task == "Regressor" else af.EarlyFusionClassifier
    said = []
    for fitted_so, asked_so in ((False, False), (False, True), (True, True)):
        in_pieces(fitted_so)
        model = family(_encoders(n_tables), verbose=0).fit(X, y, sample_weight=weight)
        in_pieces(asked_so)
        ask = model.predict if task == "Regressor" else model.predict_proba
        with pytest.warns(UserWarning, match="none of the fitted modalities"):
            said.append(ask(X))
    np.testing.assert_allclose(said[1], said[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(said[2], said[0], rtol=0, atol=1e-9)


def test_other_models_are_asked_in_pieces(in_pieces):
    X, risk = _rows(3)
    forest = RandomForestClassifier(5, random_state=0)
    model = af.EarlyFusionClassifier(_encoders(2), forest, verbose=0)
    in_pieces(True)
    model.fit(X, risk > 0)
    said = model.predict_proba(X[30:])
    in_pieces(False)
    np.testing.assert_allclose(model.predict_proba(X[30:]), said, rtol=0, atol=1e-12)


@pytest.mark.parametrize("columns", [None, ["unit"], ["a", "unit", "b"], ["day", "smoker"]])
def test_packed_features_are_those_of_transform(columns):
    X, _ = _rows(4)
    encoder = af.TabularEncoder(columns).fit(X)
    packed = encoder._packed(Frame.read(X))
    np.testing.assert_array_equal(packed[:], encoder.transform(X))
    some = np.asarray([0, 7, 12, 249])
    np.testing.assert_array_equal(packed[some], encoder.transform(X)[some])


def test_few_marks_are_not_packed():
    frame = pd.DataFrame(np.eye(5), columns=list("abcde"))
    assert af.TabularEncoder().fit(frame)._packed(Frame.read(frame)) is None
