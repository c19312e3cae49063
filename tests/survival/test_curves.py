"""Kaplan-Meier curves, censoring curves and the C index, against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import asfusion as af
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.survival import BoostedSurvival, CoxRegression, ForestSurvival, KaplanMeier, ranked
from asfusion.survival._read import read_times
from asfusion.survival.concordance import harrell_c
from asfusion.survival.curves import survival_at
from asfusion.survival.kaplan_meier import ProductLimit


def drawn(seed: int, most: int = 30) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    n_rows = int(rng.integers(2, most))
    time = rng.integers(1, 8, n_rows).astype(float)
    return (
        rng.random(n_rows) < 0.6,
        time,
        rng.integers(0, 5, n_rows).astype(float),
        rng.integers(0, 4, n_rows).astype(float),
    )


@given(st.integers(0, 10_000))
def test_c_counts_pairs(seed: int) -> None:
    event, time, risk, weight = drawn(seed)
    agree = comparable = 0.0
    for i in np.flatnonzero(event):
        later = (time > time[i]) | ((time == time[i]) & ~event)
        pairs = weight[i] * weight * later
        comparable += pairs.sum()
        agree += (pairs * ((risk[i] > risk) + 0.5 * (risk[i] == risk))).sum()
    found = harrell_c(event, time, risk, weight)
    expected = agree / comparable if comparable else np.nan
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(st.integers(0, 10_000))
def test_curves_multiply_what_is_left(seed: int) -> None:
    event, time, _, weight = drawn(seed)
    for of_censoring in (False, True):
        curve = ProductLimit(event, time, of_censoring=of_censoring)
        steps = curve.steps(np.stack([weight, np.ones(len(time))]))
        for row, counts in enumerate((weight, np.ones(len(time)))):
            left = 1.0
            for at in np.unique(time):
                # Whoever has an event at a time cannot be censored at it any more.
                there = (time > at) | ((time == at) & ~event) if of_censoring else time >= at
                gone = (time == at) & (event != of_censoring)
                if counts[there].sum() > 0:
                    left *= 1.0 - counts[gone].sum() / counts[there].sum()
                assert steps[row, curve.places(at)] == pytest.approx(left, abs=1e-12)
            assert (steps[row, curve.places(time.min(), before=True)] == 1.0).all()


@pytest.mark.filterwarnings("ignore")
def test_kaplan_and_meier_as_lifelines_has_them() -> None:
    lifelines = pytest.importorskip("lifelines", reason="the oracle is not installed")
    event, time, _, _ = drawn(3, 200)
    theirs = lifelines.KaplanMeierFitter().fit(time, event)
    ours = KaplanMeier().fit(pd.DataFrame({"event": event, "time": time}))
    times = [0.5, 2.0, 3.5, 7.0]
    np.testing.assert_allclose(ours.predict(times), theirs.predict(times), atol=1e-12)
    # Greenwood's variance is that of the logarithm of the curve.
    assert (np.diff(ours.variance_) >= 0).all()


def test_weights_must_be_those_of_the_rows() -> None:
    y = pd.DataFrame({"event": [1, 0], "time": [1.0, 2.0]})
    with pytest.raises(InputError, match=r"expected shape \(2,\), got \(3,\)"):
        KaplanMeier().fit(y, [1, 1, 1])


def test_curves_are_straight_between_known_times() -> None:
    found = survival_at(np.asarray([[0.8, 0.4]]), np.asarray([1.0, 3.0]), [0.0, 0.5, 2.0, 3.0, 9.0])
    np.testing.assert_allclose(found, [[1.0, 0.9, 0.6, 0.4, 0.4]])


@pytest.mark.parametrize("model", [BoostedSurvival(3, cv=4), ForestSurvival(3, cv=4)])
def test_baselines_are_learned_on_other_patients(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), pd.DataFrame({"event": 1, "time": rng.exponential(size=40)})
    groups = np.array([f"p{i % 10}" for i in range(40)])
    X[:, 1] = np.arange(40) % 10  # the patient, to be seen by whoever learns and judges
    learned: list[set[float]] = []
    fitted, asked = type(model)._fitted, type(model)._risk

    def fit(self: Any, X: Any, *rest: Any) -> Any:
        learned.append(set(X[:, 1]))
        return fitted(self, X, *rest)

    def judge(self: Any, found: Any, X: Any) -> Any:
        assert not learned[-1] & set(X[:, 1])
        return asked(self, found, X)

    monkeypatch.setattr(type(model), "_fitted", fit)
    monkeypatch.setattr(type(model), "_risk", judge)
    model.fit(X, y, groups=groups)
    assert len(learned) == 5
    with pytest.raises(InputError, match="groups: expected at least 2 patients, got 1"):
        model.fit(X, y, groups=np.zeros(40))
    with pytest.raises(InputError, match="groups: expected 40 entries"):
        model.fit(X, y, groups=groups[1:])


def test_patients_of_a_fusion_stay_together_in_its_parts() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 2)), columns=["crp", "esr"])
    y = pd.DataFrame({"event": 1, "time": rng.exponential(size=60)})
    groups = np.repeat(np.arange(20), 3)
    model = af.EarlyFusionSurvival(estimator=ForestSurvival(3), verbose=0, random_state=0)
    assert np.isfinite(model.fit(X, y, groups=groups).predict(X)).all()
    assert model.estimator_.cv == 3


@pytest.mark.parametrize("weight", [[-1.0] * 40, ["a"] * 40, [1.0] * 39])
def test_weights_are_read_alike_by_every_model(weight: Any) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), pd.DataFrame({"event": 1, "time": rng.exponential(size=40)})
    for fit in (
        lambda: KaplanMeier().fit(y, weight),
        lambda: CoxRegression().fit(X, y, weight),
        lambda: BoostedSurvival(3).fit(X, y, weight),
        lambda: ForestSurvival(3).fit(X, y, weight),
    ):
        with pytest.raises(InputError, match="sample_weight: expected"):
            fit()


MODELS = [CoxRegression(), BoostedSurvival(3), ForestSurvival(3)]


@pytest.mark.parametrize("times", [[], [np.nan], ["soon"], [[1.0]], None])
def test_curves_at_no_time_are_refused(times: Any) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), pd.DataFrame({"event": 1, "time": rng.exponential(size=40)})
    asked = [model.fit(X, y).predict_survival_function for model in MODELS]
    for ask in (*asked, lambda X, times: KaplanMeier().fit(y).predict(times)):
        with pytest.raises(InputError, match="times: expected one number or several"):
            ask(X, times)


@pytest.mark.parametrize("model", MODELS[1:])
def test_patients_stay_whole_while_the_baseline_is_learned(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(20), 3)
    X, time = rng.normal(size=(20, 2))[patient], rng.exponential(size=60)
    # Two patients with events, fewer than folds: scikit-learn would warn of it.
    y = pd.DataFrame({"event": patient < 2, "time": time})
    seen = []
    fitted = type(model)._fitted
    monkeypatch.setattr(
        type(model), "_fitted", lambda self, X, *rest: seen.append(X) or fitted(self, X, *rest)
    )
    model.fit(X, y, groups=pd.Series(patient).astype(str))
    folds = [set(map(tuple, part)) for part in seen[:-1]]
    assert len(folds) == 2
    assert all(len(part) == 3 * len(fold) for part, fold in zip(seen, folds, strict=False))
    model.fit(X, y)
    for groups, match in (
        (np.where(patient < 2, 0, patient), "with events of several, .* got those of 1"),
        (patient[:5], "groups: expected 60 entries"),
        (np.zeros(60), "with events of several, .* got those of 1"),
    ):
        with pytest.raises(InputError, match=match):
            model.fit(X, y, groups=groups)


def test_trees_that_did_not_draw_a_row_stand_for_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(60, 3)), rng.uniform(0.5, 2.0, 60)
    X[0, 0] = np.nan
    y = pd.DataFrame({"event": rng.random(60) < 0.7, "time": rng.exponential(size=60)})
    n_fits = 0
    fitted = ForestSurvival._fitted

    def counted(self: Any, *rest: Any) -> Any:
        nonlocal n_fits
        n_fits += 1
        return fitted(self, *rest)

    monkeypatch.setattr(ForestSurvival, "_fitted", counted)
    monkeypatch.setattr(ranked, "_FEWEST_TREES", 10)
    model = ForestSurvival(50, random_state=0).fit(X, y, weight, groups=np.arange(60))
    assert n_fits == 1
    told = ranked._out_of_bag(model.model_, X)
    plain = model.model_.set_params(oob_score=True, warm_start=False)
    known = read_times(y, 60)
    plain.fit(X, model._labels(known, weight), sample_weight=weight)
    np.testing.assert_allclose(told, plain.oob_prediction_)
    curve = CoxRegression(1e-3).fit(told[:, None], y, sample_weight=weight)
    np.testing.assert_array_equal(curve.coef_, model.curve_.coef_)
    weight[0] = 60.0  # drawn by nearly every tree
    for few in (
        lambda: ForestSurvival(50, random_state=0).fit(X, y, weight),
        lambda: ForestSurvival(20, random_state=0).fit(X, y),
        lambda: ForestSurvival(50, random_state=0).fit(X, y, groups=np.arange(60) // 2),
    ):
        n_fits = 0
        few()
        assert n_fits == 4
    with pytest.raises(ConfigurationError, match="n_estimators: expected"):
        ForestSurvival("many").fit(X, y)  # type: ignore[arg-type]


def test_generators_seed_either_objective() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), pd.DataFrame({"event": 1, "time": rng.exponential(size=60)})
    for objective in ("survival:cox", "survival:aft"):
        one, two, none, zero = (
            BoostedSurvival(3, objective=objective, random_state=seed).fit(X, y).predict(X)
            for seed in (np.random.RandomState(3), np.random.RandomState(3), None, 0)
        )
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(none, zero)
