"""The penalty of linear models, chosen by patients that were left out; models by their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mean_poisson_deviance

import asfusion as af
from asfusion.estimators import _penalty
from asfusion.estimators._penalty import choose_penalty
from asfusion.estimators.joint import JointFusionClassifier
from asfusion.exceptions import ConfigurationError
from asfusion.survival._read import read_times
from asfusion.targets import Classes, Counts, Grades, Labels, Numbers, Survival

QUIET: dict[str, Any] = {"verbose": 0, "random_state": 0}
ONES = np.ones


def table(
    n: int = 200, width: int = 30, seed: int = 0, strength: float = 3.0
) -> tuple[pd.DataFrame, Any]:
    """Return a narrow modality that tells and a wide one of noise, and classes."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 2 + width)), columns=[f"x{i}" for i in range(2 + width)])
    return X, (strength * X["x0"] + rng.logistic(size=n) > 0).astype(int).to_numpy()


def blocks(X: pd.DataFrame) -> dict[str, Any]:
    return {"labs": af.TabularEncoder(["x0", "x1"]), "wide": af.TabularEncoder([*X.columns[2:]])}


def chosen(features: Any, y: Any, groups: Any = None, target: Any = None) -> float:
    target = Classes() if target is None else target
    coded = target.fit(y).code(y)
    return choose_penalty(target, features, coded, ONES(len(y)), groups, seed=0)


def test_a_signal_is_shrunk_little_and_noise_as_much_as_it_gets():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(200, 1))
    y = (signal[:, 0] > 0).astype(int)
    assert chosen(signal, y) == min(Classes.penalties)
    assert chosen(rng.normal(size=(200, 30)) / np.sqrt(30), rng.permutation(y)) >= 10.0


@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([-1.0, -0.0, 0.0, 2.0]), min_size=width, max_size=width),
            min_size=1,
            max_size=20,
        )
    )
)
def test_rows_that_differ_are_found_as_numpy_finds_them(rows: list[list[float]]) -> None:
    table = np.asarray(rows)
    _, first, place = np.unique(table, axis=0, return_index=True, return_inverse=True)
    found = _penalty._distinct([*table.T])
    assert found[0].tolist() == first.tolist() and found[1].tolist() == place.ravel().tolist()


def test_visits_of_one_patient_do_not_judge_each_other():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(50), 4)
    # Features that tell who it is, and nothing else.
    who = np.eye(50)[patients] + 0.01 * rng.normal(size=(200, 50))
    y = rng.integers(0, 2, 50)[patients]
    assert chosen(who, y, patients) == max(Classes.penalties)
    assert chosen(who, y) < 1.0, "the leak that groups close"


def test_with_few_patients_nothing_is_chosen():
    X, y = table(120)
    features = X.to_numpy() / 5.0
    few = np.arange(120) % 30
    rare = np.where(np.arange(120) < 4, 1, 0)
    assert chosen(features, y, few) == chosen(features[:39], y[:39]) == _penalty.USUAL
    assert chosen(features, rare) == _penalty.USUAL


def test_a_weight_counts_as_copies_do_and_the_order_of_rows_not_at_all():
    X, y = table(60, 20)
    features, rng = X.to_numpy() / 3.0, np.random.default_rng(1)
    times, order = rng.integers(1, 4, 60), rng.permutation(60)
    target = Classes().fit(y)
    told = choose_penalty(target, features, y, times * 1.0, None, seed=0)
    copied, labels = np.repeat(features, times, axis=0), np.repeat(y, times)
    assert chosen(copied, labels) == told
    assert chosen(features[order], y[order]) == chosen(features, y)
    assert chosen(np.repeat(features[:20], 3, axis=0), np.repeat(y[:20], 3)) == _penalty.USUAL


def test_more_features_than_rows_are_turned_without_loss():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 200)), rng.normal(size=60)
    seen, asked = _penalty._narrowed(X[:40], X[40:].copy())
    assert seen.shape == (40, 40)
    X[:5] = 0.0
    assert _penalty._narrowed(X[:40], X[40:])[0].shape == (40, 35)
    X = np.random.default_rng(0).normal(size=(60, 200))
    plain = Numbers().linear(1.0).fit(X[:40], y[:40]).predict(X[40:])
    turned = Numbers().linear(1.0).fit(seen, y[:40]).predict(asked)
    np.testing.assert_allclose(turned, plain, rtol=1e-8)


def grades(score: Any) -> Any:
    return np.digitize(score, [-0.5, 0.5])


def labels(score: Any) -> Any:
    y = np.column_stack([score > 0, score > 0.5, np.ones(len(score))]).astype(float)
    y[::4, 0] = np.nan
    return y


def times(score: Any) -> pd.DataFrame:
    return pd.DataFrame({"event": np.arange(len(score)) % 3 > 0, "time": np.exp(-score)})


PATHS: dict[str, tuple[Any, Any]] = {
    "two classes": (Classes(), lambda s: (s > 0) * 1),
    "three classes": (Classes(), grades),
    "grades": (Grades(), grades),
    "labels": (Labels(), labels),
    "numbers": (Numbers(), lambda s: np.column_stack([s, -s])),
    "counts": (Counts(), lambda s: np.round(np.exp(s))),
    "times": (Survival(), lambda s: read_times(times(s), len(s))),
}


@pytest.mark.parametrize("width", [3, 120])
@pytest.mark.parametrize("name", PATHS)
def test_a_path_answers_what_each_model_answers(name: str, width: int) -> None:
    target, make = PATHS[name]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, width)) / np.sqrt(width)
    y = make(np.sqrt(width) * X[:, 0] + 0.5 * rng.normal(size=80))
    coded, weight = target.fit(y).code(y), rng.uniform(0.5, 2.0, 80)
    found = target.ridge_path(X[:60], coded[:60], weight[:60], X[60:])
    # Where weights are hardly penalised, and many, no two searches end at quite the same place.
    some = slice(0, 5, 2) if width > 3 else slice(None, None, 3)
    for penalty, outputs in zip(target.penalties[some], found[some], strict=True):
        alone, known = target.for_part(target.linear(penalty), coded[:60])
        alone.fit(X[:60], known, sample_weight=weight[:60])
        np.testing.assert_allclose(outputs, target.ask_part(alone, X[60:]), rtol=0.05, atol=0.02)


def test_a_class_that_no_row_to_learn_from_has() -> None:
    y = np.repeat([0, 2, 2], 10)
    target = Classes().fit(np.array([0, 1, 2]))
    X = y[:, None] + np.random.default_rng(0).normal(size=(30, 1))
    found = target.ridge_path(X, y, ONES(30), X)
    assert (found[:, :, 1] == 0).all()
    np.testing.assert_allclose(found.sum(axis=2), 1.0)


def test_of_many_rows_some_patients_choose(monkeypatch):
    monkeypatch.setattr(_penalty, "_MOST_ROWS", 300)
    groups = np.repeat(np.arange(400), 3)
    kept = _penalty._some(1200, groups, 300, seed=0)
    assert 200 < len(kept) < 400
    assert set(np.bincount(groups[kept]).tolist()) == {0, 3}
    X, y = table(1200)
    assert chosen(X.to_numpy() / 5.0, y, groups) < 10.0


def test_probabilities_are_not_timid():
    X, y = table(300, strength=8.0)
    new, truth = table(2000, seed=1, strength=8.0)
    default = af.EarlyFusionClassifier(blocks(X), **QUIET).fit(X, y)
    fixed = LogisticRegression()
    before = af.EarlyFusionClassifier(blocks(X), fixed, scale="blocks", **QUIET).fit(X, y)
    told = [model.predict_proba(new)[:, 1] for model in (default, before)]
    slopes = [af.evaluate(p, y=truth, n_bootstrap=2).scores for p in told]
    found, timid = (s["calibration_slope"].estimate for s in slopes)
    assert 0.8 < found < 1.35 < 1.6 < timid
    assert log_loss(truth, told[0]) < log_loss(truth, told[1]) - 0.01
    assert default.penalty_ in Classes.penalties and before.penalty_ is None


def test_without_a_seed_it_is_the_same_twice():
    X, y = table(80)
    told = [
        af.EarlyFusionClassifier(blocks(X), verbose=0).fit(X, y).predict_proba(X) for _ in range(3)
    ]
    np.testing.assert_array_equal(told[0], told[1])
    np.testing.assert_array_equal(told[0], told[2])


def test_features_are_scaled_as_asked():
    X, y = table(60, 8)
    kept = {}
    for scale in ("auto", "blocks", "columns", "none"):
        model = af.EarlyFusionClassifier(blocks(X), LogisticRegression(), scale=scale, **QUIET)
        kept[scale] = model.fit(X, y).features(X)[0].var(axis=0)
    np.testing.assert_allclose([kept["blocks"][:2].sum(), kept["blocks"][2:].sum()], 1.0)
    np.testing.assert_allclose(kept["columns"], 1.0)
    np.testing.assert_array_equal(kept["auto"], kept["none"])
    assert kept["none"].std() > 0.01
    default = af.EarlyFusionClassifier(blocks(X), **QUIET).fit(X, y).features(X)[0].var(axis=0)
    np.testing.assert_array_equal(default, kept["blocks"])
    with pytest.raises(ConfigurationError, match="scale: expected one of 'auto', 'blocks'"):
        af.EarlyFusionClassifier(blocks(X), scale="rows", **QUIET).fit(X, y)


def test_what_varies_by_rounding_alone_is_no_feature(tmp_path: Any) -> None:
    X, y = table(47, 3)
    X["x4"] = 0.1 + 1e-16 * np.arange(47)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, 47)
    model = af.EarlyFusionClassifier(blocks(X), **QUIET).fit(X, y, sample_weight=weight)
    place = list(model.feature_names_).index("wide__x4")
    flat = X.assign(x4=0.1)
    for one in (model.fit(X, y, sample_weight=weight), model.fit(flat, y)):
        assert np.isfinite(one.features(flat)[0]).all()
        assert (one.features(flat)[0][:, place] == 0.0).all()
    again = af.load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_models_go_by_name():
    X, y = table(60, 3)
    forest = af.EarlyFusionClassifier(blocks(X), "forest", **QUIET).fit(X, y)
    assert isinstance(forest.estimator_, RandomForestClassifier) and forest.penalty_ is None
    named = af.EarlyFusionClassifier(blocks(X), "linear", **QUIET).fit(X, y)
    plain = af.EarlyFusionClassifier(blocks(X), **QUIET).fit(X, y)
    np.testing.assert_array_equal(named.predict_proba(X), plain.predict_proba(X))
    parts = {"labs": "boosted", "wide": "linear"}
    late = af.LateFusionClassifier(blocks(X), parts, **QUIET).fit(X, y)
    assert "HistGradient" in type(late.models_["labs"].estimator_).__name__
    assert late.models_["wide"].penalty_ is not None
    for family in (af.EarlyFusionClassifier, af.LateFusionClassifier):
        with pytest.raises(ConfigurationError, match="expected one of 'linear', 'boosted'"):
            family(blocks(X), "oracle", **QUIET).fit(X, y)
    with pytest.raises(ConfigurationError, match="estimator: expected one of"):
        af.EarlyFusionClassifier(blocks(X), "network", **QUIET).fit(X, y)
    with pytest.raises(ConfigurationError, match=r"estimator\['labs'\]: expected an estimator"):
        late.set_params(estimator__labs__C=1.0)


def test_late_fusion_has_networks_where_something_has_to_learn_or_by_request():
    X, y = table(60, 3)
    X["note"] = np.where(y == 1, "pain at night", "pain after lifting")
    parts = {**blocks(X), "note": af.TextEncoder("note")}
    short = JointFusionClassifier(max_epochs=1)
    late = af.LateFusionClassifier(parts, network=short, **QUIET).fit(X, y)
    networks = {name: isinstance(m, JointFusionClassifier) for name, m in late.models_.items()}
    assert networks == {"labs": False, "wide": False, "note": True}
    late = af.LateFusionClassifier(blocks(X), "network", network=short, **QUIET).fit(X, y)
    assert all(isinstance(m, JointFusionClassifier) for m in late.models_.values())
    for family in (af.EarlyFusionClassifier, af.LateFusionClassifier):
        with pytest.raises(ConfigurationError, match="network: expected None or a JointFusionC"):
            family(blocks(X), network=LogisticRegression(), **QUIET).fit(X, y)


def test_deviance_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    p, w = rng.dirichlet(ONES(3), 40), rng.uniform(0.5, 2.0, 40)
    y = rng.integers(0, 3, 40)
    told = Classes().deviance(p, y, w)
    assert told == pytest.approx(log_loss(y, p, sample_weight=w, labels=[0, 1, 2]))
    counts, means = rng.poisson(2.0, (40, 1)).astype(float), rng.uniform(0.5, 4.0, (2, 40, 1))
    ours = [Counts().deviance(m, counts, w) for m in means]
    theirs = [mean_poisson_deviance(counts, m, sample_weight=w) for m in means]
    assert 2 * (ours[0] - ours[1]) == pytest.approx(theirs[0] - theirs[1])
    labels = np.array([[1.0, np.nan], [0.0, 1.0]])
    told = Labels().deviance(np.array([[0.8, 0.1], [0.4, 0.5]]), labels, ONES(2))
    assert told == pytest.approx(-np.log([0.8, 0.6, 0.5]).mean())
    numbers = rng.normal(size=(40, 2)) * [1.0, 100.0]
    assert Numbers().deviance(np.tile(numbers.mean(0), (40, 1)), numbers, ONES(40)) == 1.0
    y = np.array([(True, 1.0), (True, 2.0)], [("event", bool), ("time", float)])
    times = Survival().fit(y)
    sure = times.deviance(np.array([[0.0, 0.0], [1.0, 0.0]]), times.code(y), ONES(2))
    assert sure == 0.0 < times.deviance(np.full((2, 2), 0.5), times.code(y), ONES(2))


# -- product of experts ----------------------------------------------------------------------


def late_product(X: Any, y: Any, columns: dict[str, list[str]], **options: Any) -> Any:
    parts = {name: af.TabularEncoder(own) for name, own in columns.items()}
    return af.LateFusionClassifier(parts, combine="product", **QUIET, **options).fit(X, y)


def test_what_copies_say_counts_once_and_what_is_independent_counts_in_full():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    X = pd.DataFrame({"a": y + rng.normal(size=600), "b": y + rng.normal(size=600)})
    X["copy"], X["again"] = X["a"], X["a"]
    same = late_product(X, y, {name: [name] for name in ("a", "copy", "again")})
    assert same.dependence_ == pytest.approx(1.0, abs=0.2)
    alone = same.models_["a"].predict_proba(X)
    np.testing.assert_allclose(same.predict_proba(X), alone, atol=0.06)
    apart = late_product(X, y, {"a": ["a"], "b": ["b"]})
    assert apart.dependence_ == pytest.approx(0.0, abs=0.3)
    # A modality that is alone says what it says, whatever was learned of several.
    X.loc[:20, ["copy", "again"]] = np.nan
    np.testing.assert_allclose(same.predict_proba(X)[:20], alone[:20])


def test_with_few_patients_experts_are_taken_for_independent():
    X, y = table(60, 2)
    columns = {"a": ["x0"], "b": ["x1", "x2"]}
    assert late_product(X, y, columns).dependence_ != 0.0
    assert late_product(X[:39], y[:39], columns).dependence_ == 0.0
    assert late_product(X, y, {"a": ["x0"]}).dependence_ == 0.0
