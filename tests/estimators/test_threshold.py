"""The threshold comes from training rows that the deciding model did not see."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import asfusion as af
from asfusion.estimators._threshold import choose_threshold
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.persistence import load

N = 240
QUIET = {"verbose": 0, "random_state": 0}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(N, 3)), columns=["crp", "esr", "bmi"])
    y = (3 * (X["crp"] + X["bmi"]) + rng.logistic(size=N) > 2).astype(int).to_numpy()
    return X, y


@pytest.mark.parametrize("estimator", [None, LogisticRegression(), RandomForestClassifier(5)])
def test_cases_of_one_patient_are_too_few_to_choose_by(rows, estimator):
    X, y = rows[0].head(30), np.r_[1, 1, np.zeros(28, int)]
    groups = np.r_[0, 0, np.arange(1, 29)]
    model = af.EarlyFusionClassifier(encoders(), estimator, threshold="youden", **QUIET)
    with pytest.raises(
        InputError, match="threshold: .* 2 classes to learn from .* got 1 class in 1"
    ):
        model.fit(X, y, groups=groups)


@pytest.mark.filterwarnings("ignore:.*among those that have it:UserWarning")
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: af.LateFusionClassifier(
                encoders(), LogisticRegression(), combine="stacking", **QUIET
            ),
            "combine='stacking': expected rows of at least 2 classes among those predicted unseen",
        ),
        (
            lambda: af.RecalibratedClassifier(LogisticRegression(), random_state=0),
            "cv: expected rows of at least 2 classes to learn from in each of 5 inner folds",
        ),
    ],
)
def test_one_case_is_too_few_to_learn_from_unseen_predictions(rows, make, match):
    with pytest.raises(InputError, match=match):
        make().fit(rows[0].head(12), np.r_[0, 1, np.zeros(10, int)])


def test_modality_that_only_one_class_has_teaches_nothing_alone(rows):
    X, y = rows[0].copy(), rows[1]
    X.loc[y == 1, "bmi"] = np.nan
    model = af.EarlyFusionClassifier(
        {"body": af.TabularEncoder("bmi")}, LogisticRegression(), **QUIET
    )
    with pytest.raises(InputError, match="X: expected rows of at least 2 classes among those with"):
        model.fit(X, y)


def encoders():
    return {
        "labs": af.TabularEncoder(["crp", "esr"], d_hidden=8, d_out=8),
        "body": af.TabularEncoder(["bmi"], d_hidden=8, d_out=8),
    }


def make(family, **params):
    forest = RandomForestClassifier(60)
    if family == "early":
        return af.EarlyFusionClassifier(encoders(), forest, **params, **QUIET)
    if family == "joint":
        return af.JointFusionClassifier(encoders(), max_epochs=3, **params, **QUIET)
    return af.LateFusionClassifier(encoders(), forest, **params, **QUIET)


@pytest.mark.parametrize("family", ["early", "joint", "late"])
def test_predict_evaluate_and_a_saved_model_agree_on_the_threshold(family, rows, tmp_path):
    X, y = rows
    model = make(family, threshold="youden").fit(X[:160], y[:160])
    assert 0 < model.threshold_ < 1
    assert model.threshold_ != 0.5
    called = model.predict_proba(X[160:])[:, 1] >= model.threshold_
    np.testing.assert_array_equal(model.predict(X[160:]) == 1, called)
    report = af.evaluate(model, X[160:], y[160:], n_bootstrap=20)
    assert (report.threshold, report.threshold_source) == (model.threshold_, "model")
    truth = y[160:] == 1
    assert report.scores["sensitivity"].estimate == pytest.approx(called[truth].mean())
    again = load(model.save(tmp_path / "model.asf"))
    assert again.threshold_ == model.threshold_
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert not hasattr(clone(model), "threshold_")


@pytest.mark.parametrize("family", ["early", "late"])
def test_a_forest_is_not_asked_about_the_rows_that_it_knows(family, rows):
    """On its own rows a full forest is perfect, and any threshold would find nine in ten."""
    X, y = rows
    model = make(family, threshold={"sensitivity": 0.9}).fit(X, y)
    known = model.predict_proba(X)[:, 1]
    resubstituted = choose_threshold({"sensitivity": 0.9}, y, known, np.ones(N))
    assert model.threshold_ < resubstituted - 0.1
    rng = np.random.default_rng(1)
    new = pd.DataFrame(rng.normal(size=(4000, 3)), columns=X.columns)
    truth = 3 * (new["crp"] + new["bmi"]) + rng.logistic(size=4000) > 2
    found = model.predict(new)[truth] == 1
    assert 0.8 < found.mean() < 0.97
    missed = model.predict_proba(new)[truth.to_numpy(), 1] >= resubstituted
    assert missed.mean() < 0.75


def test_a_patients_rows_stay_on_one_side(rows):
    """Three copies of each row: without groups the forest would know every unseen one."""
    X, y = rows
    copies = pd.concat([X[:120]] * 3, ignore_index=True)
    patient = np.tile(np.arange(120), 3)
    target = np.random.default_rng(2).permutation(np.tile(y[:120], 3)[:120])
    target = np.tile(target, 3)
    rule = {"specificity": 0.9}
    apart = make("early", threshold=rule).fit(copies, target, groups=patient).threshold_
    mixed = make("early", threshold=rule).fit(copies, target).threshold_
    assert apart > mixed + 0.1


def test_cheap_rules_and_the_default(rows):
    X, y = rows
    plain = make("early").fit(X, y)
    assert plain.threshold_ == 0.5
    best = plain.classes_[plain.predict_proba(X).argmax(axis=1)]
    np.testing.assert_array_equal(plain.predict(X), best)
    assert make("early", threshold="prevalence").fit(X, y).threshold_ == pytest.approx(y.mean())
    balanced = make("early", threshold="prevalence", class_weight="balanced").fit(X, y)
    assert balanced.threshold_ == pytest.approx(0.5)
    assert make("early", threshold=0.2).fit(X, y).threshold_ == 0.2


def test_stacking_and_networks_that_are_trained_first(rows):
    X, y = rows
    stacked = make("late", combine="stacking", cv=3, threshold="youden").fit(X, y)
    assert 0 < stacked.threshold_ < 1
    assert stacked._judged is None
    X = X.assign(note=np.where(y == 1, "night pain", "no pain"))
    notes = {"note": af.TextEncoder("note", vocab_size=300, max_tokens=8, d_out=8)}
    network = af.JointFusionClassifier(max_epochs=1)
    early = af.EarlyFusionClassifier(notes, network=network, threshold="youden", **QUIET)
    assert 0 < early.fit(X[:60], y[:60]).threshold_ < 1


def test_rules_on_known_numbers():
    y, p = np.array([0, 0, 1, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
    one = np.ones(6)
    assert choose_threshold("youden", y, p, np.array([1, 1, 2, 1, 1, 1.0])) == pytest.approx(0.25)
    assert choose_threshold({"sensitivity": 1.0}, y, p, one) == pytest.approx(0.25)
    assert choose_threshold({"sensitivity": 0.5}, y, p, one) == pytest.approx(0.5)
    assert choose_threshold({"specificity": 1.0}, y, p, one) == pytest.approx(0.5)
    assert choose_threshold({"specificity": 0.6}, y, p, one) == pytest.approx(0.25)
    heavy = np.array([1, 1, 1, 9, 1, 1.0])
    assert choose_threshold("youden", y, p, heavy) == pytest.approx(0.5)
    with pytest.raises(InputError, match="rows of both classes among those predicted unseen"):
        choose_threshold("youden", np.ones(6), p, one)


@pytest.mark.parametrize("rule", ["best", {"sens": 0.9}, {"sensitivity": 2.0}, 1.5, None])
def test_unknown_rules_are_refused(rule, rows):
    X, y = rows
    with pytest.raises(ConfigurationError, match="threshold.*: expected a number"):
        make("early", threshold=rule).fit(X, y)


def test_what_cannot_be_learned_is_refused(rows):
    X, _ = rows
    three = np.arange(N) % 3
    with pytest.raises(ConfigurationError, match=r"threshold: expected 0.5 for 3 classes"):
        make("early", threshold="youden").fit(X, three)
    assert not hasattr(make("early").fit(X, three), "threshold_")
    with pytest.raises(InputError, match="enough rows and groups for inner folds"):
        one = np.zeros(N)
        make("early", threshold="youden").fit(X, np.arange(N) % 2, groups=one)


def test_evaluate_finds_the_threshold_of_scikit_learns_own(rows):
    X, y = rows

    def used(model):
        return af.evaluate(model, X, y, n_bootstrap=5).threshold

    plain = LogisticRegression()
    assert used(FixedThresholdClassifier(plain, threshold=0.2).fit(X, y)) == 0.2
    assert used(FixedThresholdClassifier(plain).fit(X, y)) == 0.5
    tuned = TunedThresholdClassifierCV(plain).fit(X, y)
    assert used(tuned) == tuned.best_threshold_
    piped = make_pipeline(FunctionTransformer(), make("early", threshold=0.3)).fit(X, y)
    assert used(piped) == 0.3
    search = GridSearchCV(make("early", threshold=0.3), {"estimator__max_depth": [2]}, cv=2)
    assert used(search.fit(X, y)) == 0.3
