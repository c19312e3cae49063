"""Shapley values of trees: against shap, against enumeration, and by their axioms."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from asfusion.exceptions import ConfigurationError, InputError
from asfusion.trees._arrays import Ensemble, Tree, read_ensemble
from asfusion.trees._kernel import add_tree, expectation, make_edges, make_table
from asfusion.trees.shapley import supports_trees, tree_shap, tree_shap_interactions

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import shap

Floats = NDArray[np.float64]
N_FEATURES = 6


def make_rows(n: int = 150, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    # Rounded, so that rows sit exactly on thresholds of single precision.
    X = rng.standard_normal((n, N_FEATURES)).astype(np.float32).round(2).astype(np.float64)
    return X, X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.standard_normal(n)


X, Y = make_rows()
BINARY = (Y > 0).astype(int)
THREE = np.digitize(Y, [-0.7, 0.7])
WEIGHTS = np.random.default_rng(1).integers(1, 6, len(Y)).astype(float)
X_MISSING = np.where(np.random.default_rng(2).random(X.shape) < 0.15, np.nan, X)


def oracle(model: Any, rows: Any, *, interactions: bool = False) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
        # Else shap hands XGBoost's models to XGBoost, which answers in single precision.
        explainer.model.model_type = "internal"
        if interactions:
            return np.asarray(explainer.shap_interaction_values(rows))
        return np.asarray(explainer.shap_values(rows, check_additivity=False))


def fitted(model: Any, target: Any, *, rows: Any = X, weights: Any = None) -> Any:
    return model.fit(rows, target, sample_weight=weights)


CASES = {
    "tree classifier": lambda: fitted(DecisionTreeClassifier(random_state=0), THREE),
    "tree regressor": lambda: fitted(DecisionTreeRegressor(random_state=0), Y),
    "tree with missing": lambda: fitted(DecisionTreeRegressor(random_state=0), Y, rows=X_MISSING),
    "forest classifier": lambda: fitted(RandomForestClassifier(5, random_state=0), BINARY),
    "forest, 3 classes": lambda: fitted(
        RandomForestClassifier(5, random_state=0), THREE, weights=WEIGHTS
    ),
    "forest regressor": lambda: fitted(
        RandomForestRegressor(5, random_state=0), Y, weights=WEIGHTS
    ),
    "forest, 2 targets": lambda: fitted(
        RandomForestRegressor(3, random_state=0), np.stack([Y, -2 * Y + X[:, 4]], axis=1)
    ),
    "best-first forest": lambda: fitted(
        RandomForestRegressor(3, max_leaf_nodes=12, random_state=0), Y
    ),
    "extra trees classifier": lambda: fitted(ExtraTreesClassifier(4, random_state=0), THREE),
    "extra trees regressor": lambda: fitted(ExtraTreesRegressor(4, random_state=0), Y),
    "boosting classifier": lambda: fitted(
        GradientBoostingClassifier(n_estimators=6, random_state=0), BINARY
    ),
    "boosting regressor": lambda: fitted(
        GradientBoostingRegressor(n_estimators=6, random_state=0), Y, weights=WEIGHTS
    ),
    "xgboost, binary": lambda: fitted(XGBClassifier(n_estimators=6, n_jobs=1), BINARY),
    "xgboost, 3 classes": lambda: fitted(XGBClassifier(n_estimators=4, n_jobs=1), THREE),
    "xgboost regressor": lambda: fitted(XGBRegressor(n_estimators=6, n_jobs=1), Y, weights=WEIGHTS),
    "xgboost with missing": lambda: fitted(
        XGBRegressor(n_estimators=6, n_jobs=1), Y, rows=X_MISSING
    ),
}


def output_of(model: Any, rows: Any) -> Floats:
    if isinstance(model, (XGBClassifier, XGBRegressor)):
        return np.asarray(model.predict(rows, output_margin=True), dtype=np.float64)
    if hasattr(model, "decision_function"):
        return np.asarray(model.decision_function(rows))
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(rows))
    return np.asarray(model.predict(rows))


def assert_adds_up(model: Any, rows: Any, *, tolerance: float = 1e-9) -> None:
    result = tree_shap(model, rows)
    total = result.base_value + result.values.sum(axis=1)
    np.testing.assert_allclose(total, output_of(model, rows), rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_equals_shap(case: str) -> None:
    model = CASES[case]()
    rows = (X_MISSING if "missing" in case else X)[:70]
    result = tree_shap(model, rows)
    expected = oracle(model, rows)
    assert result.values.shape == expected.shape
    assert result.n_features == N_FEATURES
    assert result.surrogate_error is None
    np.testing.assert_allclose(result.values, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_base_and_values_add_up_to_the_output(case: str) -> None:
    rows = (X_MISSING if "missing" in case else X)[:70]
    # XGBoost adds its trees in single precision.
    assert_adds_up(CASES[case](), rows, tolerance=2e-6 if "xgboost" in case else 1e-9)


@pytest.mark.parametrize(
    "case", ["tree with missing", "forest, 3 classes", "xgboost with missing", "xgboost, 3 classes"]
)
def test_interactions_equal_shap(case: str) -> None:
    model = CASES[case]()
    rows = (X_MISSING if "missing" in case else X)[:20]
    result = tree_shap_interactions(model, rows)
    np.testing.assert_allclose(result, oracle(model, rows, interactions=True), rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.sum(axis=2), tree_shap(model, rows).values, rtol=0, atol=1e-9)


def test_boosting_that_shap_cannot_read_adds_up() -> None:
    assert_adds_up(GradientBoostingClassifier(n_estimators=4, random_state=0).fit(X, THREE), X)
    zero = GradientBoostingRegressor(n_estimators=3, init="zero", random_state=0)
    assert_adds_up(zero.fit(X, Y), X)


@pytest.mark.parametrize(
    "model",
    [
        XGBClassifier(n_estimators=4, n_jobs=1, base_score=0.2),
        XGBClassifier(n_estimators=4, n_jobs=1, objective="binary:logitraw"),
        XGBRegressor(n_estimators=4, n_jobs=1, objective="count:poisson"),
        XGBRegressor(n_estimators=4, n_jobs=1, objective="reg:gamma"),
        XGBRegressor(n_estimators=4, n_jobs=1, objective="reg:tweedie"),
        XGBRegressor(n_estimators=4, n_jobs=1, objective="reg:absoluteerror"),
        XGBRegressor(n_estimators=6, n_jobs=1, booster="dart", rate_drop=0.5),
        XGBRegressor(n_estimators=3, n_jobs=1, num_parallel_tree=2, subsample=0.5),
    ],
    ids=["base score", "raw", "poisson", "gamma", "tweedie", "absolute", "dart", "parallel"],
)
def test_every_objective_of_xgboost_adds_up(model: Any) -> None:
    target = BINARY if isinstance(model, XGBClassifier) else THREE + 0.5
    assert_adds_up(model.fit(X, target), X, tolerance=2e-6)


def test_xgboost_stopped_early_uses_the_trees_that_predict_uses() -> None:
    noise = np.random.default_rng(3).standard_normal(60)
    model = XGBRegressor(n_estimators=50, n_jobs=1, early_stopping_rounds=2)
    model.fit(X[:60], noise, eval_set=[(X[60:], Y[60:])], verbose=False)
    assert model.best_iteration < model.get_booster().num_boosted_rounds() - 1
    assert_adds_up(model, X, tolerance=2e-6)


def test_a_number_may_stand_for_missing_in_xgboost() -> None:
    marked = np.where(np.isnan(X_MISSING), -999.0, X_MISSING)
    model = XGBRegressor(n_estimators=5, n_jobs=1, missing=-999.0).fit(marked, Y)
    assert_adds_up(model, marked, tolerance=2e-6)
    assert np.array_equal(tree_shap(model, marked).values, tree_shap(model, X_MISSING).values)


@pytest.mark.parametrize("target", [BINARY, THREE], ids=["two", "three"])
@pytest.mark.parametrize("depth", [1, 3])
def test_adaboost_votes_add_up_to_the_decision_function(target: Any, depth: int) -> None:
    model = AdaBoostClassifier(DecisionTreeClassifier(max_depth=depth), n_estimators=8)
    model.fit(X, target, sample_weight=WEIGHTS)
    assert_adds_up(model, X)
    if target is THREE:
        assert tree_shap(model, X[:3]).values.shape == (3, N_FEATURES, 3)


def test_adaboost_votes_equal_enumeration() -> None:
    model = AdaBoostClassifier(DecisionTreeClassifier(max_depth=3), n_estimators=4, random_state=0)
    model.fit(X, BINARY)
    rows = X[:5]
    expected = by_enumeration(read_ensemble(model), rows)
    np.testing.assert_allclose(tree_shap(model, rows).values, expected, rtol=0, atol=1e-12)


def boosted_median(n_features: int = N_FEATURES, **options: Any) -> tuple[Any, Floats]:
    rows = np.random.default_rng(5).standard_normal((120, n_features)).astype(np.float32)
    target = rows @ np.linspace(1, 2, n_features)
    model = AdaBoostRegressor(
        DecisionTreeRegressor(max_depth=3), n_estimators=7, random_state=0, **options
    )
    return model.fit(rows, target), rows.astype(np.float64)


def test_adaboost_median_is_exact_for_few_features() -> None:
    model, rows = boosted_median()
    rows = rows[:6]
    result = tree_shap(model, rows)
    assert result.surrogate_error is None
    assert_adds_up(model, rows)
    ensemble = read_ensemble(model)
    weights = model.estimator_weights_

    def median(row: Floats, known: frozenset[int]) -> Floats:
        expected = [expect(tree, 0, row, known)[0] for tree in ensemble.trees]
        order = np.argsort(expected)
        position = np.searchsorted(np.cumsum(weights[order]), 0.5 * weights.sum())
        return np.array([expected[order[position]]])

    expected = np.stack([enumerate_shapley(median, row, 1)[:, 0] for row in rows])
    np.testing.assert_allclose(result.values, expected, rtol=0, atol=1e-12)
    matrix = tree_shap_interactions(model, rows)
    np.testing.assert_allclose(matrix.sum(axis=2), result.values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(matrix, np.swapaxes(matrix, 1, 2), rtol=0, atol=0)
    pair = enumerate_pair(median, rows[0], 4, 5)[0]
    assert abs(pair) > 1e-6
    np.testing.assert_allclose(matrix[0, 4, 5], pair, rtol=0, atol=1e-12)


def test_adaboost_mean_states_its_distance_from_the_median() -> None:
    model, rows = boosted_median(14)
    result = tree_shap(model, rows)
    trees = np.stack([tree.predict(rows.astype(np.float32)) for tree in model.estimators_])
    mean = np.average(trees, axis=0, weights=model.estimator_weights_)
    total = result.base_value + result.values.sum(axis=1)
    np.testing.assert_allclose(total, mean, rtol=0, atol=1e-9)
    assert result.surrogate_error == pytest.approx(np.abs(model.predict(rows) - mean).max())
    assert result.surrogate_error > 0
    np.testing.assert_allclose(
        tree_shap_interactions(model, rows[:3]).sum(axis=2), result.values[:3], rtol=0, atol=1e-9
    )
    few, few_rows = boosted_median()
    assert tree_shap(few, few_rows[:4], output="mean").surrogate_error is not None
    with pytest.raises(ConfigurationError, match="up to 10, got 14. Use output='mean'"):
        tree_shap(model, rows, output="median")


# --- by definition -----------------------------------------------------------------------


def expect(tree: Tree, node: int, row: Floats, known: frozenset[int]) -> Floats:
    left, right = int(tree.left[node]), int(tree.right[node])
    if left < 0:
        return tree.values[node]
    x = row[tree.feature[node]]
    if int(tree.feature[node]) in known:
        goes_left = tree.missing_left[node] if np.isnan(x) else x <= tree.threshold[node]
        return expect(tree, left if goes_left else right, row, known)
    parts = [expect(tree, child, row, known) * tree.cover[child] for child in (left, right)]
    return (parts[0] + parts[1]) / tree.cover[node]


def enumerate_shapley(payoff: Any, row: Floats, n_outputs: int) -> Floats:
    n = len(row)
    values = np.zeros((n, n_outputs))
    for i in range(n):
        rest = [j for j in range(n) if j != i]
        for size in range(n):
            weight = 1 / (n * math.comb(n - 1, size))
            for coalition in map(frozenset, itertools.combinations(rest, size)):
                values[i] += weight * (payoff(row, coalition | {i}) - payoff(row, coalition))
    return values


def enumerate_pair(payoff: Any, row: Floats, i: int, j: int) -> Floats:
    n = len(row)
    rest = [k for k in range(n) if k not in (i, j)]
    total = np.zeros(1)
    for size in range(n - 1):
        weight = 0.5 / ((n - 1) * math.comb(n - 2, size))
        for some in map(frozenset, itertools.combinations(rest, size)):
            both = payoff(row, some | {i, j}) - payoff(row, some | {i})
            total += weight * (both - payoff(row, some | {j}) + payoff(row, some))
    return total


def by_enumeration(ensemble: Ensemble, rows: Floats) -> Floats:
    def payoff(row: Floats, known: frozenset[int]) -> Floats:
        total = ensemble.base.copy()
        for tree in ensemble.trees:
            total[tree.first : tree.first + tree.values.shape[1]] += expect(tree, 0, row, known)
        return total

    values = np.stack([enumerate_shapley(payoff, row, len(ensemble.base)) for row in rows])
    return values[..., 0] if ensemble.scalar else values


@given(
    seed=st.integers(0, 10_000),
    n_features=st.integers(1, 4),
    depth=st.integers(1, 7),
    levels=st.integers(2, 6),
    missing=st.booleans(),
)
def test_equals_the_definition(
    seed: int, n_features: int, depth: int, levels: int, missing: bool
) -> None:
    rng = np.random.default_rng(seed)
    # Few levels and few features make features return along a path.
    rows = rng.integers(0, levels, (30, n_features)).astype(float)
    if missing:
        rows[rng.random(rows.shape) < 0.2] = np.nan
    weights = rng.random(30) + 0.01
    model = DecisionTreeRegressor(max_depth=depth, random_state=seed)
    model.fit(rows, rng.standard_normal(30), sample_weight=weights)
    result = tree_shap(model, rows[:4])
    expected = by_enumeration(read_ensemble(model), rows[:4])
    np.testing.assert_allclose(result.values, expected, rtol=0, atol=1e-12)
    total = result.base_value + result.values.sum(axis=1)
    np.testing.assert_allclose(total, model.predict(rows[:4]), rtol=0, atol=1e-12)


def test_a_side_that_no_weight_reached_adds_only_where_a_row_goes() -> None:
    """The right side was never taken in training, and splits again."""
    tree = Tree(
        left=np.array([1, -1, 3, -1, -1]),
        right=np.array([2, -1, 4, -1, -1]),
        feature=np.array([0, -2, 1, -2, -2]),
        threshold=np.zeros(5),
        missing_left=np.zeros(5, dtype=bool),
        cover=np.array([4.0, 4.0, 0.0, 0.0, 0.0]),
        values=np.array([[0.0], [1.0], [0.0], [10.0], [20.0]]),
    )
    edges = make_edges(tree)
    assert expectation(tree, edges) == [1.0]
    out = np.zeros((3, 2, 1))
    rows = np.array([[-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    add_tree(rows, edges, make_table(edges), tree.values, out)
    # Known alone, the first feature gives 15; the second moves that by 5 if the first is known.
    expected = [[0.0, 0.0], [11.5, -2.5], [16.5, 2.5]]
    np.testing.assert_allclose(out[..., 0], expected, rtol=0, atol=1e-12)


def test_a_single_leaf_gives_every_feature_nothing() -> None:
    model = DecisionTreeRegressor().fit(X, np.full(len(X), 2.5))
    result = tree_shap(model, X[:4])
    assert result.base_value == 2.5
    assert np.array_equal(result.values, np.zeros((4, N_FEATURES)))
    assert np.array_equal(tree_shap_interactions(model, X[:1]), np.zeros((1, 6, 6)))
    one = DecisionTreeClassifier().fit(X, np.zeros(len(X)))
    assert np.array_equal(tree_shap(one, X[:1]).values, np.zeros((1, N_FEATURES, 1)))
    median = AdaBoostRegressor(n_estimators=2, random_state=0).fit(X, np.full(len(X), 2.5))
    assert tree_shap(median, X[:1]).base_value == 2.5


@pytest.mark.parametrize("repeats", [1, 4])
def test_a_chain_of_depth_40_keeps_its_precision(repeats: int) -> None:
    """Each level splits one row off: with 40 features, or with ten of them four times."""
    depth, n_features = 40, 40 // repeats
    rows = np.zeros((depth + 1, n_features))
    for level in range(depth):
        rows[level + 1 :, level % n_features] += 1.0
    model = DecisionTreeRegressor(random_state=0).fit(rows, 3.0 ** np.arange(depth + 1))
    assert model.get_depth() == depth
    result = tree_shap(model, rows)
    scale = 3.0**depth
    assert_adds_up(model, rows, tolerance=1e-12 * scale)
    expected = oracle(model, rows)
    np.testing.assert_allclose(result.values / scale, expected / scale, rtol=0, atol=1e-9)


def test_a_row_alone_has_the_values_it_has_among_many() -> None:
    model = RandomForestClassifier(5, random_state=0).fit(X, THREE)
    among = tree_shap(model, X).values
    alone = np.concatenate([tree_shap(model, X[i : i + 1]).values for i in range(3)])
    np.testing.assert_allclose(alone, among[:3], rtol=0, atol=1e-14)
    assert tree_shap(model, X[:0]).values.shape == (0, N_FEATURES, 3)


def test_frames_give_what_arrays_give() -> None:
    columns = [f"lab_{i}" for i in range(N_FEATURES)]
    frame = pd.DataFrame(X, columns=columns)
    for model in (
        GradientBoostingRegressor(n_estimators=3).fit(frame, Y),
        XGBRegressor(n_estimators=3, n_jobs=1).fit(frame, Y),
    ):
        expected = tree_shap(model, X).values
        assert np.array_equal(tree_shap(model, frame).values, expected)
        assert np.array_equal(tree_shap(model, pl.from_pandas(frame)).values, expected)
        with pytest.raises(InputError, match="missing: 'lab_2'"):
            tree_shap(model, frame.rename(columns={"lab_2": "other"}))
        with pytest.raises(InputError, match="not known to the model: 'more'"):
            tree_shap(model, frame.assign(more=1.0))
        with pytest.raises(InputError, match="found: another order"):
            tree_shap(model, frame[columns[::-1]])


# --- what is refused ---------------------------------------------------------------------


def test_which_models_are_supported() -> None:
    yes = [AdaBoostRegressor(), AdaBoostClassifier(DecisionTreeClassifier()), XGBClassifier()]
    no = [
        LogisticRegression(),
        AdaBoostRegressor(LinearRegression()),
        XGBRegressor(booster="gblinear"),
    ]
    assert all(supports_trees(model) for model in yes)
    assert not any(supports_trees(model) for model in no)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (LinearRegression(), "expected one of .* got a LinearRegression. Pass the tree model"),
        (AdaBoostRegressor(LinearRegression()), "got one of LinearRegression. Set estimator"),
        (RandomForestRegressor(), "expected a fitted RandomForestRegressor"),
        (XGBRegressor(), "expected a fitted XGBRegressor"),
        (
            GradientBoostingRegressor(init=LinearRegression()),
            "got init=LinearRegression. Set init to None or 'zero'.$",
        ),
        (XGBRegressor(booster="gblinear"), "got booster='gblinear'"),
        (XGBRegressor(multi_strategy="multi_output_tree"), "one_output_per_tree"),
    ],
)
def test_models_that_are_refused(model: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        tree_shap(model, X)
    with pytest.raises(ConfigurationError, match=match):
        tree_shap_interactions(model, X)


def test_a_classifier_of_two_targets_is_refused() -> None:
    model = RandomForestClassifier(2).fit(X, np.stack([BINARY, THREE], axis=1))
    with pytest.raises(ConfigurationError, match="one target, got one of 2"):
        tree_shap(model, X)


def test_splits_on_categories_are_refused() -> None:
    frame = pd.DataFrame({"site": pd.Categorical(["a", "b", "c"] * 20), "crp": np.arange(60.0)})
    target = np.where(frame["site"] == "b", 5.0, 0.0)
    model = XGBRegressor(n_estimators=2, n_jobs=1, enable_categorical=True).fit(frame, target)
    with pytest.raises(ConfigurationError, match="splits on categories. Encode"):
        tree_shap(model, np.zeros((1, 2)))


def test_outputs_that_are_refused() -> None:
    model = DecisionTreeRegressor().fit(X, Y)
    with pytest.raises(ConfigurationError, match="output: expected one of"):
        tree_shap(model, X, output="margin")
    with pytest.raises(ConfigurationError, match="is for AdaBoostRegressor, got a Decision"):
        tree_shap(model, X, output="median")


def test_rows_that_are_refused() -> None:
    model = RandomForestRegressor(2).fit(X, Y)
    with pytest.raises(InputError, match=r"of 6 features.*got an array of shape \(150, 5\)"):
        tree_shap(model, X[:, :5])
    with pytest.raises(InputError, match=r"got an array of shape \(6,\)"):
        tree_shap(model, X[0])
    with pytest.raises(InputError, match="expected numbers, got values that are not") as caught:
        tree_shap(model, [["secret"] * 6])
    assert "secret" not in str(caught.value)
    huge = X.copy()
    huge[[0, 7], 1] = 1e300
    with pytest.raises(InputError, match="infinite ones in 2 of 150 rows"):
        tree_shap(model, huge)
    boosted = GradientBoostingRegressor(n_estimators=2).fit(X, Y)
    with pytest.raises(InputError, match="got some in 96 of 150 rows. Impute"):
        tree_shap(boosted, np.where(np.arange(150)[:, None] < 96, np.nan, X))


def test_import_leaves_numba_alone() -> None:
    code = (
        "import sys, asfusion.trees.shapley as t; "
        "assert 'numba' not in sys.modules and 'xgboost' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


_EXPLAIN = """
import sys
from numba.core.caching import CompileResultCacheImpl
import numpy as np
from sklearn.tree import DecisionTreeRegressor
if "nowhere" in sys.argv:  # a read-only installation, and a user without a home
    CompileResultCacheImpl._locator_classes = []
from asfusion.trees._arrays import read_ensemble
from asfusion.trees._kernel import expectation, make_edges
from asfusion.trees import _compiled
X = np.random.default_rng(0).normal(size=(40, 3))
model = DecisionTreeRegressor(max_depth=3, random_state=0).fit(X, X[:, 0])
[tree] = read_ensemble(model).trees
assert np.allclose(expectation(tree, make_edges(tree)), X[:, 0].mean())
stats = _compiled.order.stats
assert stats.cache_path is None or _compiled.walk.stats.cache_path
print(sum(stats.cache_hits.values()) if stats.cache_path else "not kept")
"""


def compile_in_a_new_process(folder: Path, *argv: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _EXPLAIN, *argv],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_next_process_finds_what_was_compiled(tmp_path: Path) -> None:
    assert compile_in_a_new_process(tmp_path) == "0"
    assert list(tmp_path.rglob("*.nbi"))
    assert compile_in_a_new_process(tmp_path) == "1"


def test_where_nothing_can_be_kept_it_is_compiled_again(tmp_path: Path) -> None:
    assert compile_in_a_new_process(tmp_path, "nowhere") == "not kept"
    assert not list(tmp_path.rglob("*.nbi"))
