"""The phases of a joint fit, called one by one as those who learn in several places do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import asfusion as af
from asfusion.exceptions import ShapeError


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(80, 3)), columns=["crp", "esr", "bmi"])
    y = np.where(X["crp"] + X["bmi"] > 0, "axSpA", "other")
    X.loc[:9, "bmi"] = np.nan
    return X, y


def model(**params):
    encoders = {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder(["bmi"])}
    given = {"max_epochs": 8, "learning_rate": 1e-2, **params}
    return af.JointFusionClassifier(encoders, "gated", verbose=0, random_state=0, **given)


def planned(table, **params):
    """Return a model with a plan, all rows, and their tensors."""
    one = model(**params)
    rows = one._read_training(*table, None, None)
    return one, *one._plan(rows)


def test_the_phases_are_what_fit_does(table):
    X, y = table
    one, rows, tensors = planned(table)
    assert not hasattr(one, "network_")
    one._build()
    one._learn(rows, tensors)
    one._finish(rows)
    np.testing.assert_array_equal(one.predict_proba(X), model().fit(X, y).predict_proba(X))
    assert one.predict(X).tolist() == model().fit(X, y).predict(X).tolist()


def test_weights_that_left_one_model_make_another(table):
    X, _ = table
    one, rows, tensors = planned(table)
    one._build()
    weights = one._learn(rows, tensors)
    assert all(isinstance(array, np.ndarray) for array in weights.values())
    other, *_ = planned(table)
    other._build(weights)
    np.testing.assert_array_equal(other.predict_proba(X), one.predict_proba(X))


def test_learning_goes_on_from_where_the_weights_are(table):
    # Smoothed labels and blended rows keep a loss from falling far, whatever is known.
    plain = {
        "label_smoothing": 0.0,
        "training": af.TrainingOptions(mixup=0.0, unimodal_losses=0.0),
    }
    one, rows, tensors = planned(table, **plain)
    one._build()
    weights = one._learn(rows, tensors)
    before = one.history_
    other, *_ = planned(table, **plain)
    other._build(weights)
    other._learn(rows, tensors)
    assert other.history_[0]["loss"] < 0.7 * before[0]["loss"]


def test_sites_learn_by_one_plan_and_their_mean_is_a_model(table, tmp_path):
    X, y = table
    server, rows, _ = planned(table, max_epochs=10)
    server._build()
    file = planned(table, max_epochs=10)[0].save(tmp_path / "plan.asf")
    sites = []
    for part in (np.arange(40), np.arange(40, 80)):
        site = af.load(file)  # a plan without a network, as it arrives
        sites.append((site, *site._tensors_of(rows.take(part))))
    weights = None
    for _ in range(6):
        answers = []
        for site, own, tensors in sites:
            site._build(weights)
            answers.append(site._learn(own, tensors))
        weights = {name: np.mean([a[name] for a in answers], axis=0) for name in answers[0]}
    server._build(weights)
    assert (server.predict_proba(X).argmax(axis=1) == (y == "other")).mean() > 0.85


def test_weights_of_another_plan_are_refused(table):
    one, *_ = planned(table)
    one._build()
    weights = one._learn(*planned(table)[1:])
    other = planned(table)[0].set_params(fusion="concat")
    with pytest.raises(ShapeError, match="Weights: expected those of a network built alike"):
        other._build(weights)
