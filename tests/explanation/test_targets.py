"""What is explained of a prediction that is no single class or number: risks, grades, labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import asfusion as af
from asfusion._tokens import Tokens
from asfusion.exceptions import AsfusionError, ConfigurationError
from asfusion.explanation._gradients import worth_of_tokens
from asfusion.survival import CoxRegression, ForestSurvival
from asfusion.targets import Grades, Survival

Floats = np.ndarray
N = 80
COLUMNS = {"labs": ["crp", "esr"], "body": ["bmi"], "age": ["age"]}
ENCODERS = {name: af.TabularEncoder(columns) for name, columns in COLUMNS.items()}
FAST: dict[str, Any] = {"verbose": 0, "random_state": 0}
NETWORK: dict[str, Any] = {"max_epochs": 2, **FAST}
pytestmark = pytest.mark.filterwarnings("ignore:.*none of the fitted modalities")


@pytest.fixture(scope="module")
def X() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    X = pd.DataFrame(rng.normal(size=(N, 4)), columns=["crp", "esr", "bmi", "age"])
    X.loc[::5, "bmi"] = np.nan
    return X


def times(X: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    own, end = rng.exponential(np.exp(-X["crp"] - 0.5 * X["age"])), rng.exponential(2.0, N)
    return pd.DataFrame({"event": own < end, "time": np.minimum(own, end)})


def grades(X: pd.DataFrame) -> Floats:
    return np.array(["none", "mild", "grave"])[np.digitize(X["crp"] + X["age"], [-0.7, 0.7])]


def labels(X: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"uveitis": X["crp"] > 0, "psoriasis": X["age"] > 0.3}) * 1.0


MODELS: dict[str, Callable[[], Any]] = {
    "early": lambda: af.EarlyFusionSurvival(ENCODERS, **FAST),
    "early forest": lambda: af.EarlyFusionSurvival(ENCODERS, ForestSurvival(10), **FAST),
    "joint": lambda: af.JointFusionSurvival(ENCODERS, **NETWORK),
    "joint hazards": lambda: af.JointFusionSurvival(
        ENCODERS, target=Survival("hazards", 5), **NETWORK
    ),
    "late": lambda: af.LateFusionSurvival(ENCODERS, CoxRegression(0.1), **FAST),
    "late product": lambda: af.LateFusionSurvival(
        ENCODERS, CoxRegression(0.1), combine="product", **FAST
    ),
}


def brute_force(ask: Callable[[pd.DataFrame], Floats], rows: pd.DataFrame) -> tuple[Any, Any]:
    """Return base (R,) and Shapley values (R, M), by every order of modalities, asked in turn."""

    @cache
    def worth(kept: frozenset[str]) -> Floats:
        masked = rows.copy()
        for name, columns in COLUMNS.items():
            if name not in kept:
                masked[columns] = np.nan
        return ask(masked)

    values = np.zeros((len(rows), len(COLUMNS)))
    orders = list(permutations(COLUMNS))
    for order in orders:
        for place, name in enumerate(order):
            before = frozenset(order[:place])
            gain = worth(before | {name}) - worth(before)
            values[:, list(COLUMNS).index(name)] += gain / len(orders)
    return worth(frozenset()), values


@pytest.mark.parametrize("name", MODELS)
def test_risk_is_shared_as_by_brute_force(name: str, X: pd.DataFrame) -> None:
    model, rows = MODELS[name]().fit(X, times(X)), X.iloc[[0, 1, 7]]
    found = af.explain(model, rows, background=X, **FAST)
    assert set(found.output_names) == {"log risk of an event"}
    np.testing.assert_allclose(found.predictions, model.predict(rows), atol=1e-12)
    base, values = brute_force(model.predict, rows)
    np.testing.assert_allclose(found.base_values, base, atol=1e-7)
    np.testing.assert_allclose(found.values, values, atol=1e-7)
    gap = found.base_values + found.values.sum(axis=1) - found.predictions
    assert np.abs(gap).max() < 1e-5
    for modality in COLUMNS:  # down to the columns
        within = found[modality].values.sum(axis=1)
        np.testing.assert_allclose(within, found.modalities[modality], atol=1e-5)
    told = af.explain(model, rows, background=X, output="risk", **FAST)
    np.testing.assert_array_equal(told.values, found.values)


def test_risk_of_a_cox_regression_is_linear_in_its_features(X: pd.DataFrame) -> None:
    """Log hazards add up: what a modality adds is its part of the linear predictor."""
    model = af.EarlyFusionSurvival(ENCODERS, CoxRegression(100.0), **FAST).fit(X, times(X))
    assert model.predict_survival_function(X).min() > 1e-6  # nearer ones count as that near
    rows = X.iloc[[1, 2, 3]]
    found = af.explain(model, rows, background=X, absence="background", n_background=N, **FAST)
    for modality, columns in (("labs", ["crp", "esr"]), ("age", ["age"])):
        moved = rows.assign(**{name: X[name].mean() for name in columns})
        part = model.predict(rows) - model.predict(moved)
        np.testing.assert_allclose(found.modalities[modality], part, atol=1e-6)


@pytest.mark.parametrize("name", ["joint", "joint hazards"])
def test_gradients_lead_to_the_risk(name: str, X: pd.DataFrame) -> None:
    """What is asked of tokens is what coalitions are asked, with the slope that it has."""
    model = MODELS[name]().fit(X, times(X))
    game = af.explain(model, X.head(2), background=X, **FAST).details.game
    worth = worth_of_tokens(game, 1, "labs")
    own = game.parts.take(np.array([1])).contents["labs"]
    values = own.values.clone().requires_grad_()
    found = worth(Tokens(values, own.mask))
    expected = game.own_value(1, "labs") + game.without(1, "labs")
    np.testing.assert_allclose(found.item(), expected, atol=1e-6)
    found.backward()
    slope = values.grad
    assert slope is not None
    step = 1e-2 * slope / slope.norm()
    with torch.no_grad():
        ends = [worth(Tokens(own.values + side * step, own.mask)).item() for side in (1.0, -1.0)]
    assert (ends[0] - ends[1]) / 2e-2 == pytest.approx(slope.norm().item(), rel=2e-2)


def test_a_time_is_explained_as_before(X: pd.DataFrame) -> None:
    model = af.EarlyFusionSurvival(ENCODERS, **FAST).fit(X, times(X))
    time = float(model.target_.times_[3])
    found = af.explain(model, X.head(2), background=X, output=time, **FAST)
    assert found.output_names[0].startswith("probability of no event by ")
    survival = model.predict_survival_function(X.head(2), time)[:, 0]
    np.testing.assert_allclose(found.predictions, survival, atol=1e-12)
    odds = af.explain(model, X.head(2), background=X, output=time, link="logit", **FAST)
    np.testing.assert_allclose(odds.predictions, np.log(survival / (1 - survival)), atol=1e-9)


def test_what_cannot_be_explained_of_times_is_refused(X: pd.DataFrame) -> None:
    model = af.EarlyFusionSurvival(ENCODERS, **FAST).fit(X, times(X))
    with pytest.raises(ConfigurationError, match="the log risk of an event, which has no odds"):
        af.explain(model, X.head(1), background=X, link="logit", **FAST)
    with pytest.raises(ConfigurationError, match='output: expected "risk" or a time in the unit'):
        af.explain(model, X.head(1), background=X, output="hazard", **FAST)
    with pytest.raises(AsfusionError, match="output: expected"):
        af.explain(model, X.head(1), background=X, output=-1.0, **FAST)


@pytest.mark.parametrize("family", ["early", "joint", "late"])
def test_a_grade_or_above_is_explained(family: str, X: pd.DataFrame) -> None:
    order = ["none", "mild", "grave"]
    options = {"target": Grades(order), **(NETWORK if family == "joint" else FAST)}
    made = getattr(af, f"{family.capitalize()}FusionClassifier")(ENCODERS, **options)
    if family == "late":
        made.set_params(estimator=made.target.linear())
    model, rows = made.fit(X, grades(X)), X.iloc[[0, 1]]

    def above(masked: pd.DataFrame) -> Floats:
        return np.asarray(model.predict_proba(masked)[:, 1:].sum(axis=1))

    found = af.explain(model, rows, background=X, output=">=mild", **FAST)
    assert set(found.output_names) == {"probability of grade mild or above"}
    base, values = brute_force(above, rows)
    np.testing.assert_allclose(found.base_values, base, atol=1e-7)
    np.testing.assert_allclose(found.values, values, atol=1e-7)
    np.testing.assert_allclose(found.predictions, above(rows), atol=1e-12)
    last = af.explain(model, rows, background=X, output=">= grave", link="logit", **FAST)
    assert set(last.output_names) == {"log odds of grade grave or above"}
    one = af.explain(model, rows, background=X, output="grave", link="logit", **FAST)
    np.testing.assert_allclose(last.values, one.values, atol=1e-9)  # none is above it
    with pytest.raises(ConfigurationError, match='output: expected ">=" and one of .mild., .gra'):
        af.explain(model, rows, background=X, output=">=none", **FAST)


def test_a_grade_may_look_like_a_question() -> None:
    target = Grades(["0", ">=1", "2"]).fit(np.array(["0", ">=1", "2"]))
    outputs = np.array([[0.2, 0.2, 0.6]])
    assert target.choose_output(outputs, ">=1").tolist() == [1]
    assert target.choose_output(outputs, ">=2").tolist() == [4]
    assert target.choose_output(outputs, None).tolist() == [2]
    assert target.choose_output(np.array([[0.4, 0.2, 0.4]]), None).tolist() == [1]  # the predicted


def test_each_label_is_explained(X: pd.DataFrame) -> None:
    model, rows = af.EarlyFusionMultilabel(ENCODERS, **FAST).fit(X, labels(X)), X.iloc[[0, 1]]
    for k, label in enumerate(["uveitis", "psoriasis"]):
        found = af.explain(model, rows, background=X, output=label, **FAST)
        assert set(found.output_names) == {f"probability of {label}"}
        base, values = brute_force(lambda masked, k=k: model.predict_proba(masked)[:, k], rows)
        np.testing.assert_allclose(found.base_values, base, atol=1e-9)
        np.testing.assert_allclose(found.values, values, atol=1e-9)
