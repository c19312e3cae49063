"""Recalibration does what it says, against scikit-learn's own where there is one."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import asfusion as af
from asfusion.estimators._recalibration import (
    apply_lines,
    apply_shifts,
    apply_steps,
    apply_temperature,
    fit_lines,
    fit_shifts,
    fit_steps,
    fit_temperature,
)
from asfusion.evaluation.metrics import binary_scores
from asfusion.exceptions import ConfigurationError, InputError

METHODS = ("temperature", "sigmoid", "isotonic", "prevalence")


@pytest.fixture(scope="module")
def overconfident():
    """Probabilities whose log-odds are three times too far and shifted, of 4000 rows."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=4000)
    y = (rng.random(4000) < expit(z)).astype(int)
    p = expit(3 * z + 0.6)
    return np.stack([1 - p, p], axis=1), y, np.ones(4000)


def test_each_map_mends_what_it_can(overconfident):
    p, y, one = overconfident
    assert fit_temperature(p, y, one) == pytest.approx(3, rel=0.15)
    ((slope, shift),) = fit_lines(p, y, one)
    assert (slope, shift) == (pytest.approx(1 / 3, rel=0.1), pytest.approx(-0.2, abs=0.08))
    lined = apply_lines(p, fit_lines(p, y, one))[:, 1]
    scores = binary_scores(y, lined)
    assert scores["calibration_slope"] == pytest.approx(1, abs=0.01)
    assert scores["calibration_intercept"] == pytest.approx(0, abs=0.01)
    shifted = apply_shifts(p, fit_shifts(p, y, one))[:, 1]
    assert shifted.mean() == pytest.approx(y.mean(), abs=1e-4)
    stepped = apply_steps(p, fit_steps(p, y, one))[:, 1]
    assert binary_scores(y, stepped)["ece"] < 1e-6
    np.testing.assert_array_equal(np.argsort(lined), np.argsort(p[:, 1]))


def test_temperature_and_steps_are_those_of_scikit_learn(overconfident):
    p, y, one = overconfident
    three = np.stack([0.5 * p[:, 0], 0.5 * p[:, 0], p[:, 1]], axis=1)
    labels = np.where(y == 1, 2, np.arange(len(y)) % 2)
    model = LogisticRegression(C=0.1).fit(np.log(three), labels)
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="temperature", cv=2)
    theirs.fit(np.log(three), labels)
    mine = model.predict_proba(np.log(three))
    found = apply_temperature(mine, fit_temperature(mine, labels, one))
    np.testing.assert_allclose(found, theirs.predict_proba(np.log(three)), atol=2e-3)
    assert log_loss(labels, found) <= log_loss(labels, theirs.predict_proba(np.log(three))) + 1e-9
    step = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p[:, 1], y)
    np.testing.assert_allclose(
        apply_steps(p, fit_steps(p, y, one))[:, 1], step.predict(p[:, 1]), atol=1e-12
    )


@pytest.mark.parametrize("method", METHODS)
def test_several_classes_stay_probabilities(method):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 3))
    y = np.array(["a", "b", "c"])[np.argmax(X + rng.gumbel(size=(300, 3)), axis=1)]
    forest = RandomForestClassifier(20, random_state=0)
    model = af.RecalibratedClassifier(forest, method, random_state=0).fit(X, y)
    p = model.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(model.predict(X), model.classes_[p.argmax(axis=1)])
    assert not hasattr(model, "threshold_")


def test_unseen_predictions_of_a_forest_are_used_not_those_of_known_rows():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(600, 4))
    y = (X[:, 0] + rng.logistic(size=600) > 0).astype(int)
    new = rng.normal(size=(3000, 4))
    truth = (new[:, 0] + rng.logistic(size=3000) > 0).astype(int)
    forest = RandomForestClassifier(100, random_state=0)
    plain = forest.fit(X, y).predict_proba(new)[:, 1]
    losses = {m: log_loss(truth, _fitted(forest, m, X, y).predict_proba(new)) for m in METHODS[:2]}
    assert max(losses.values()) < log_loss(truth, plain) - 0.02
    slope = binary_scores(truth, _fitted(forest, "sigmoid", X, y).predict_proba(new)[:, 1])
    assert slope["calibration_slope"] == pytest.approx(1, abs=0.25)


def _fitted(estimator, method, X, y, **params):
    return af.RecalibratedClassifier(estimator, method, random_state=0, **params).fit(X, y)


@pytest.mark.parametrize("given", [0.1, {0: 0.9, 1: 0.1}])
def test_prevalence_elsewhere_is_bayes_rule(given, overconfident):
    """Cases and controls half and half; where the model goes, one in ten has the disease."""
    rng = np.random.default_rng(3)
    y = np.repeat([0, 1], 3000)
    X = (y + rng.normal(size=6000))[:, None]
    model = _fitted(LogisticRegression(), "sigmoid", X, y, prevalence=given)
    truth = np.repeat([0, 1], [9000, 1000])
    scores = binary_scores(
        truth, model.predict_proba((truth + rng.normal(size=10_000))[:, None])[:, 1]
    )
    assert scores["calibration_intercept"] == pytest.approx(0, abs=0.12)
    plain = _fitted(LogisticRegression(), "sigmoid", X, y).predict_proba(X)[:, 1]
    np.testing.assert_allclose(
        logit(model.predict_proba(X)[:, 1]), logit(plain) + np.log(1 / 9), atol=1e-3
    )


def test_a_chosen_threshold_moves_along(overconfident):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(200, 3))
    y = (X[:, 0] + rng.logistic(size=200) > 1).astype(int)
    quiet = {"verbose": 0, "random_state": 0}
    inner = af.EarlyFusionClassifier(threshold=0.2, **quiet).fit(X, y)
    for method in ("temperature", "sigmoid", "prevalence"):
        model = _fitted(inner, method, X, y, prefit=True, prevalence=0.05)
        assert model.threshold_ != 0.2
        np.testing.assert_array_equal(model.predict(X), inner.predict(X))
    assert _fitted(LogisticRegression(), "sigmoid", X, y).threshold_ == 0.5


def test_weights_and_patients_count():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(200, 2))
    y = (X[:, 0] + rng.logistic(size=200) > 0).astype(int)
    weight = np.r_[np.ones(150), np.zeros(50)]
    left = af.RecalibratedClassifier(LogisticRegression(), random_state=0)
    right = af.RecalibratedClassifier(LogisticRegression(), random_state=0)
    left.fit(X, y, sample_weight=weight)
    right.fit(X[:150], y[:150])
    np.testing.assert_array_equal(left.predict_proba(X), right.predict_proba(X))
    # Copies of each row: a forest knows every unseen one unless patients are kept together.
    copies, target = np.repeat(X, 3, axis=0), np.repeat(rng.permutation(y), 3)
    forest = RandomForestClassifier(30, random_state=0)
    patient = np.repeat(np.arange(200), 3)
    apart = af.RecalibratedClassifier(forest, random_state=0).fit(copies, target, groups=patient)
    mixed = af.RecalibratedClassifier(forest, random_state=0).fit(copies, target)
    assert apart.map_ > 3 * mixed.map_


def test_what_cannot_be_recalibrated_is_refused():
    X, y = np.random.default_rng(6).normal(size=(40, 2)), np.arange(40) % 2
    good = LogisticRegression()
    with pytest.raises(ConfigurationError, match="method: expected one of"):
        _fitted(good, "platt", X, y)
    for share in (0.0, "half"):
        with pytest.raises(ConfigurationError, match="prevalence: expected a number"):
            _fitted(good, "sigmoid", X, y, prevalence=share)
    with pytest.raises(ConfigurationError, match="a share for each of the 2 classes, by label"):
        _fitted(good, "sigmoid", X, y, prevalence={"yes": 0.1, "no": 0.9})
    with pytest.raises(ConfigurationError, match="shares above 0 that sum to 1"):
        _fitted(good, "sigmoid", X, y, prevalence={0: 0.4, 1: 0.1})
    with pytest.raises(ConfigurationError, match="a dict with a share for each of 3 classes"):
        _fitted(good, "sigmoid", X, np.arange(40) % 3, prevalence=0.1)
    with pytest.raises(InputError, match="rows of all 2 classes to recalibrate on, got none of 1"):
        _fitted(good.fit(X, y), "sigmoid", X, np.zeros(40), prefit=True)
    with pytest.raises(InputError, match="expected only the 2 classes .* got others in 40 row"):
        _fitted(good.fit(X, y), "sigmoid", X, np.full(40, 7), prefit=True)
    with pytest.raises(InputError, match="at least 2 classes and 2 patients"):
        af.RecalibratedClassifier(good).fit(X, y, groups=np.zeros(40))
    with pytest.raises(ConfigurationError, match="sample_weight: KNeighborsClassifier does not"):
        from sklearn.neighbors import KNeighborsClassifier

        af.RecalibratedClassifier(KNeighborsClassifier()).fit(X, y, sample_weight=np.arange(40.0))
