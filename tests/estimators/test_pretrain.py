"""Rows whose y is missing: refused as ever, or learned from before y is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

import asfusion as af
from asfusion.estimators._unlabelled import divide, known_targets, missing_rows
from asfusion.exceptions import ConfigurationError, InputError

OPTIONS = {"max_epochs": 2, "pretrain": "contrastive", "verbose": 0, "random_state": 0}


def encoders():
    return {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder(["bmi", "age"])}


def table(n=60, n_known=30):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=["crp", "esr", "bmi", "age"])
    y = (X["crp"] + X["bmi"] > 0).astype(float)
    y[n_known:] = np.nan
    return X, y


def test_rows_without_y_are_learned_from_in_the_same_way_each_time(tmp_path):
    X, y = table()
    groups = np.arange(60) // 2
    model = af.JointFusionClassifier(encoders(), **OPTIONS).fit(X, y, groups=groups)
    again = af.JointFusionClassifier(encoders(), **OPTIONS).fit(X, y, groups=groups)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))
    plain = af.JointFusionClassifier(encoders(), **{**OPTIONS, "pretrain": None})
    plain.fit(X[:30], y[:30], groups=groups[:30])
    assert np.abs(plain.predict_proba(X) - model.predict_proba(X)).max() > 1e-6
    assert model.prior_.tolist() == plain.prior_.tolist(), "y alone tells how rare a class is"
    assert model._unlabelled is None, "no row stays in the model"
    loaded = af.load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_encoders_read_all_rows_whose_weight_is_above_zero():
    X, y = table()
    X.loc[30:, "crp"] += 100.0
    fitted = af.JointFusionClassifier(encoders(), **OPTIONS).fit(X, y)
    weight = np.where(y.isna(), 0.0, 1.0)
    weight[59] = 1.0
    spared = af.JointFusionClassifier(encoders(), **OPTIONS).fit(X, y, sample_weight=weight)
    few = spared.encoders_["labs"].transform(X).max()
    assert few > fitted.encoders_["labs"].transform(X).max() + 1


def test_thresholds_are_chosen_on_rows_with_y():
    X, y = table(60, 40)
    model = af.JointFusionClassifier(encoders(), threshold="youden", **OPTIONS).fit(X, y)
    assert 0 < model.threshold_ < 1


@pytest.mark.parametrize("kind", ["numbers", "labels", "survival"])
def test_every_kind_of_y_may_be_missing(kind):
    X, y = table()
    if kind == "numbers":
        model = af.JointFusionRegressor(encoders(), **OPTIONS)
    elif kind == "labels":
        y = pd.DataFrame({"uveitis": y, "psoriasis": y.where(y.index > 3)})
        model = af.JointFusionMultilabel(encoders(), **OPTIONS)
    else:
        y = pd.DataFrame({"event": y, "time": np.where(y.isna(), np.nan, 1.0 + np.arange(60))})
        model = af.JointFusionSurvival(encoders(), **OPTIONS)
    assert np.isfinite(model.fit(X, y).predict(X)).all()


def test_what_is_missing_in_each_container():
    expected = [False, True, False]
    for y in (
        [0, None, 1],
        pd.Series(["a", None, "b"]),
        pd.Series([0, pd.NA, 1], dtype="Int64"),
        pl.Series([0, None, 1]),
        np.array([0.0, np.nan, 1.0]),
        np.array([[0, np.nan], [np.nan, np.nan], [1, 1]]),
        np.array([(True, 1.0), (True, np.nan), (False, 2.0)], dtype="?,f8"),
    ):
        assert missing_rows(y, 3).tolist() == expected
        rest = np.asarray(known_targets(y, np.array([0, 2])))
        assert len(rest) == 2
    assert known_targets(np.array([0, None, 1], dtype=object), np.array([0, 2])).dtype.kind == "i"
    assert known_targets(pd.Series([0, None, 1], dtype=object), np.array([0, 2])).dtype.kind == "i"


def test_patients_have_one_number_on_both_sides():
    X, y = table(4, 2)
    labelled, others = divide(X, y, ["p9", "p10", "p10", "p9"], None)
    assert others.patients.tolist() == others.labelled.tolist()[::-1]
    assert labelled.groups.tolist() == ["p9", "p10"] and len(others.frame) == 2
    assert divide(X, y, None, None)[1].patients.tolist() == [2, 3]


def test_unusable_rows_are_named():
    X, y = table()
    with pytest.raises(InputError, match="y: expected a value for every row, got 30 missing"):
        af.JointFusionClassifier(encoders(), **{**OPTIONS, "pretrain": None}).fit(X, y)
    model = af.JointFusionClassifier(encoders(), **OPTIONS)
    with pytest.raises(InputError, match="pretrain='contrastive': expected rows whose y is miss"):
        model.fit(X[:30], y[:30])
    one = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp"])}, **OPTIONS)
    with pytest.raises(ConfigurationError, match="expected at least two modalities, got 1"):
        one.fit(X, y)
    with pytest.raises(InputError, match="y: expected 60 entries, one per row of X, got 59"):
        model.fit(X, y.to_numpy()[:59])
    with pytest.raises(InputError, match="y: expected an entry for each row, missing where"):
        model.fit(X, None)
    with pytest.raises(ConfigurationError, match="pretrain: expected one of 'contrastive'"):
        model.set_params(pretrain="simclr").fit(X, y)
