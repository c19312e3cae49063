"""Grades keep their order and no grade is ever impossible; counts may vary widely."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import nbinom
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import asfusion as af
from asfusion.evaluation.metrics import MulticlassScorer
from asfusion.exceptions import ConfigurationError
from asfusion.targets import Counts, Grades, OrderedClassifier
from asfusion.targets.counts import moment_dispersion
from asfusion.targets.ordered import middle_grade

ENCODERS = {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder(["bmi"])}
FAST: dict[str, Any] = {"verbose": 0, "random_state": 0}


class Sure(ClassifierMixin, BaseEstimator):
    """Says nothing but 0 or 1: whether the first column is above zero."""

    def fit(self, X: Any, y: Any) -> "Sure":
        assert set(y) == {0, 1}
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Any:
        above = (np.asarray(X)[:, 0] > 0) * 1.0
        return np.stack([1.0 - above, above], axis=1)


def test_steps_are_multiplied_and_drawn_in_by_hand() -> None:
    y = np.repeat([0, 1, 2], [5, 3, 2])  # 10 rows reach grade 0, 5 grade 1
    model = OrderedClassifier(Sure()).fit(np.zeros((10, 1)), y)
    np.testing.assert_allclose(model.sizes_, [10, 5])
    on = np.array([11 / 12, 6 / 7]), np.array([1 / 12, 1 / 7])
    expected = [[1 - a, a * (1 - b), a * b] for a, b in on]
    np.testing.assert_allclose(model.predict_proba([[1.0], [-1.0]]), expected)
    np.testing.assert_array_equal(model.predict([[1.0], [-1.0]]), [2, 0])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("part", [RandomForestClassifier(5, random_state=0), LogisticRegression()])
def test_no_grade_is_impossible_and_rows_sum_to_one(part: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_grades = int(rng.integers(3, 7))
    y = np.concatenate([np.arange(n_grades).repeat(2), rng.integers(n_grades, size=30)])
    X = rng.normal(size=(len(y), 4)) * 10.0 ** rng.integers(-2, 3)
    told = OrderedClassifier(part).fit(X, y).predict_proba(np.concatenate([X, 50.0 * X]))
    np.testing.assert_allclose(told.sum(axis=1), 1.0)
    assert (told[: len(y)] > 0).all()
    assert (told > -1e-15).all()
    assert np.isfinite(np.log(told[: len(y)])).all()


def test_weights_count_by_their_ratios() -> None:
    rng = np.random.default_rng(1)
    X, y, weight = rng.normal(size=(60, 2)), rng.integers(4, size=60), rng.random(60)
    part = LogisticRegression(C=1e6, max_iter=5000, tol=1e-10)
    one, same = (OrderedClassifier(part).fit(X, y, w) for w in (weight, 1000.0 * weight))
    np.testing.assert_allclose(one.sizes_, same.sizes_)
    np.testing.assert_allclose(one.predict_proba(X), same.predict_proba(X), atol=1e-4)
    even = OrderedClassifier(part).fit(X, y, np.full(60, 0.5))
    np.testing.assert_allclose(even.sizes_, [(y >= k).sum() for k in range(3)])
    # Where nobody counts who reached a grade, nothing is known of who goes on.
    alone = OrderedClassifier(part).fit(X, y, np.where(y < 2, 1.0, 0.0))
    told = alone.predict_proba(X)
    np.testing.assert_allclose(told[:, 2], told[:, 3])


def test_a_table_with_names_stays_one() -> None:
    X, y = rows()
    own = make_pipeline(ColumnTransformer([("a", StandardScaler(), ["crp"])]), LogisticRegression())
    model = OrderedClassifier(own).fit(X, y)
    assert model.predict_proba(X.head(3)).shape == (3, 4)


def test_the_middle_grade_is_wrong_by_fewest_grades() -> None:
    rng = np.random.default_rng(2)
    for n_grades in (2, 3, 5, 8):
        told = rng.dirichlet(np.full(n_grades, 0.4), size=200)
        cost = np.abs(np.arange(n_grades)[:, None] - np.arange(n_grades)) * 1.0
        expected = told @ cost
        found = middle_grade(told)
        np.testing.assert_allclose(expected[np.arange(200), found], expected.min(axis=1))
    # Halves and thirds are met in spite of rounding, by the lower of two that are as good.
    third = np.full((1, 3), 1.0 / 3.0)
    assert middle_grade(third).tolist() == [1]
    assert middle_grade(np.array([[0.5, 0.5], [0.1 + 0.2 + 0.2, 0.5], [0.4, 0.6]])).tolist() == [
        0,
        0,
        1,
    ]


def test_a_sure_network_leaves_every_grade_possible() -> None:
    steps = torch.tensor([[60.0, -60.0, 80.0], [-200.0, 0.0, 0.0], [0.3, -0.2, 0.1]])
    told = Grades().activate(steps, None)
    assert (told > 0).all()
    np.testing.assert_allclose(told.sum(dim=1), 1.0)
    above = 1.0 - told.cumsum(dim=1)[2, :-1]
    np.testing.assert_allclose(above, torch.sigmoid(steps[2].double()).cumprod(0))


def rows(n: int = 80, seed: int = 0) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["crp", "esr", "bmi"])
    signal = X["crp"] + X["bmi"] + rng.normal(size=n)
    return X, pd.cut(signal, [-99, -1.5, 0, 0.4, 99], labels=False).to_numpy()


@pytest.mark.parametrize("family", ["early", "late", "joint"])
def test_what_is_predicted_judged_and_explained_is_the_middle_grade(family: str) -> None:
    X, y = rows()
    kind = getattr(af, f"{family.capitalize()}FusionClassifier")
    options = {"max_epochs": 3} if family == "joint" else {}
    if family == "late":
        options = {"estimator": LogisticRegression()}
    model = kind(ENCODERS, target=Grades(), **options, **FAST).fit(X, y)
    told, called = model.predict_proba(X), model.predict(X)
    np.testing.assert_array_equal(called, middle_grade(told))
    assert (told.argmax(axis=1) != called).any()
    report = af.evaluate(model, X, y, n_bootstrap=5)
    found = {name: report.scores[name].estimate for name in report.scores}
    assert found["kappa_quadratic"] == pytest.approx(
        cohen_kappa_score(y, called, weights="quadratic")
    )
    assert found["class_error"] == pytest.approx(np.abs(called - y).mean())
    assert found["accuracy"] == pytest.approx(model.score(X, y))
    shares = np.asarray(report.curves["called"])
    np.testing.assert_allclose(shares[2], np.bincount(called[y == 2], minlength=4) / (y == 2).sum())
    wanted = model.target_.choose_output(told, None)
    np.testing.assert_array_equal(wanted, called)


def test_calibration_is_that_of_what_is_called() -> None:
    told = np.array([[0.4, 0.2, 0.4], [0.45, 0.15, 0.4]])
    scorer = MulticlassScorer(
        np.array([1, 1]), told, names=list("abc"), ranks=np.arange(3), called=middle_grade(told)
    )
    scores = {name: float(value[0]) for name, value in scorer(np.ones((1, 2))).items()}
    assert scores["accuracy"] == 1.0
    assert scores["ece"] == pytest.approx(1.0 - (0.2 + 0.15) / 2)


# -- counts --------------------------------------------------------------------------------


def overdispersed(n: int, dispersion: float, seed: int = 0) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["crp", "esr", "bmi"])
    mean = np.exp(0.5 + 0.4 * X["crp"].to_numpy())
    return X, nbinom.rvs(1 / dispersion, 1 / (1 + dispersion * mean), random_state=rng)


def test_dispersion_is_found_by_moments_and_never_negative() -> None:
    rng = np.random.default_rng(0)
    wide = nbinom.rvs(1 / 0.7, 1 / (1 + 0.7 * 4.0), size=40_000, random_state=rng)
    narrow = rng.binomial(4, 0.9, size=40_000)  # varies less than a Poisson count
    table = np.column_stack([wide, narrow, np.zeros(40_000), np.full(40_000, 3)])
    np.testing.assert_allclose(moment_dispersion(table * 1.0), [0.7, 0, 0, 0], atol=0.05)
    target = Counts("auto").fit(Counts("auto").read(table, 40_000))
    np.testing.assert_allclose(target.dispersion_, moment_dispersion(table * 1.0))
    assert Counts(0.3).fit(np.array([1.0, 2.0])).dispersion_.tolist() == [0.3]


@pytest.mark.parametrize("dispersion", [1e-9, 0.2, 3.0])
def test_the_loss_is_the_likelihood_of_negative_binomial_counts(dispersion: float) -> None:
    rng = np.random.default_rng(1)
    y, logs = rng.poisson(3.0, size=(40, 2)) * 1.0, rng.normal(size=(40, 2))
    target = Counts(dispersion).fit(y)
    loss = target.loss(torch.from_numpy(logs), torch.from_numpy(y)).numpy()
    used = max(dispersion, 1e-6)
    mean = np.exp(logs)
    told = nbinom.logpmf(y, 1 / used, 1 / (1 + used * mean)).mean(axis=1)
    best = nbinom.logpmf(y, 1 / used, 1 / (1 + used * np.maximum(y, 1e-12))).mean(axis=1)
    own = target.loss(torch.from_numpy(np.log(np.maximum(y, 1e-12))), torch.from_numpy(y)).numpy()
    np.testing.assert_allclose(loss - own, best - told, atol=1e-6)
    assert Counts().fit(y).loss == "counts"


def test_the_loss_has_finite_gradients_far_out() -> None:
    target = Counts(0.5).fit(np.array([1.0, 2.0]))
    logs = torch.tensor([[-300.0], [-80.0], [80.0], [300.0]], requires_grad=True)
    target.loss(logs, torch.tensor([[0.0], [5.0], [0.0], [5.0]])).sum().backward()
    assert torch.isfinite(logs.grad).all()


@pytest.mark.parametrize("dispersion", [0.8, 0.0])
def test_deviances_are_those_of_the_distributions(dispersion: float) -> None:
    X, y = overdispersed(150, 0.8)
    y = y if dispersion else np.random.default_rng(3).binomial(6, 0.9, size=150)
    mean = np.exp(0.5 + 0.3 * X["crp"].to_numpy())
    model = af.EarlyFusionRegressor(ENCODERS, target=Counts("auto"), **FAST).fit(X, y)
    mean = model.predict(X)
    report = af.evaluate(model, X, y, n_bootstrap=5)
    found = report.scores["deviance_nb"].estimate
    spread = moment_dispersion(y[:, None] * 1.0)[0]
    if spread == 0:
        assert dispersion == 0
        assert found == pytest.approx(report.scores["deviance"].estimate)
        return
    best = nbinom.logpmf(y, 1 / spread, 1 / (1 + spread * np.maximum(y, 1e-300)))
    told = nbinom.logpmf(y, 1 / spread, 1 / (1 + spread * mean))
    assert found == pytest.approx(2 * (best - told).mean())
    assert f"at a dispersion of {spread:.3g}" in report._repr_html_()


def test_networks_learn_wide_counts_and_are_saved(tmp_path: Path) -> None:
    X, y = overdispersed(120, 1.0)
    model = af.JointFusionRegressor(ENCODERS, target=Counts("auto"), max_epochs=15, **FAST)
    model.fit(X, y)
    assert model.target_.dispersion_[0] > 0.5
    model.save(tmp_path / "model.asf")
    again = af.load(tmp_path / "model.asf")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.target_.dispersion_, model.target_.dispersion_)
    assert np.corrcoef(np.log(model.predict(X)), X["crp"])[0, 1] > 0.5
    plain = af.JointFusionRegressor(ENCODERS, target=Counts(), max_epochs=15, **FAST).fit(X, y)
    assert not np.allclose(plain.predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("dispersion", "match"),
    [
        ("large", "dispersion: expected a number or 'auto', got 'large'"),
        (-0.1, "dispersion: expected a number"),
        (np.nan, "dispersion: expected a"),
        (None, "dispersion: expected a number"),
    ],
)
def test_unusable_dispersions_are_refused(dispersion: Any, match: str) -> None:
    X, y = overdispersed(20, 1.0)
    with pytest.raises(ConfigurationError, match=match):
        af.EarlyFusionRegressor(ENCODERS, target=Counts(dispersion), **FAST).fit(X, y)
