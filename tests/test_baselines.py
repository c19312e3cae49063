"""BASDAI and BASFI from a table: fit, refuse, judge, explain, interval, save."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

import asfusion as af
from asfusion._frames import Frame
from asfusion.baselines._explained import MEDIAN
from asfusion.baselines._models import MODELS
from asfusion.baselines._scores import IndexInfo, IndexScorer, cv_plus, patient_weights
from asfusion.baselines.regressors import (
    BasdaiRegressor,
    BasfiRegressor,
    ClinicalIndexRegressor,
    compare_baselines,
)
from asfusion.exceptions import (
    BundleError,
    CircularityError,
    ColumnError,
    ConfigurationError,
    InputError,
)
from asfusion.tabular.preprocess import TablePreprocessor

NAMES = {"crp": "CRP (mg/L)", "bmi": "BMI_kg_m2", "rotation": "cerv_rot", "smoker": "smoker"}


def make_table(n_rows: int = 120, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Return a table with missing cells, and a BASDAI that CRP and rotation tell in part."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "CRP (mg/L)": rng.gamma(2.0, 6.0, n_rows),
            "BMI_kg_m2": rng.normal(26.0, 4.0, n_rows),
            "cerv_rot": rng.normal(65.0, 15.0, n_rows),
            "smoker": rng.choice(["never", "former", "current"], n_rows),
        }
    )
    y = 5.0 + 0.1 * (X["CRP (mg/L)"] - 12.0) - 0.05 * (X["cerv_rot"] - 65.0)
    y = (y + rng.normal(0.0, 0.7, n_rows)).clip(0.0, 10.0).rename("basdai")
    X.loc[rng.random(n_rows) < 0.15, "cerv_rot"] = np.nan
    X.loc[rng.random(n_rows) < 0.10, "smoker"] = None
    return X, y


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, pd.Series]:
    return make_table()


def make(model: Any = "linear", **settings: Any) -> BasdaiRegressor:
    return BasdaiRegressor(model, random_state=0, **settings)


def small(name: str) -> ClinicalIndexRegressor:
    return ClinicalIndexRegressor(name, random_state=0, interval_folds=0)


# --- scikit-learn ---------------------------------------------------------------------

# A forest draws rows at random: one of weight two is not drawn as two rows are. Scikit-learn
# makes the same exception for its own.
_WEIGHTS = "check_sample_weight_equivalence_on_dense_data"
_DRAWN = {_WEIGHTS: "rows are drawn at random"}


def expected_failures(estimator: Any) -> dict[str, str]:
    return _DRAWN if estimator.model == "forest" else {}


@parametrize_with_checks(
    [
        ClinicalIndexRegressor(),
        *(ClinicalIndexRegressor(name, interval_folds=0) for name in MODELS if name != "linear"),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_works_in_pipeline_cross_validation_and_grid_search(table: Any) -> None:
    X, y = table
    model = make(columns=NAMES, interval_folds=0)
    pipeline = make_pipeline(FunctionTransformer(), model)
    scores = cross_val_score(pipeline, X, y, cv=GroupKFold(3), groups=np.arange(len(y)) // 2)
    assert (scores > 0.3).all()
    search = GridSearchCV(model, {"model": ["linear", "mean"], "max_categories": [1, 5]}, cv=3)
    assert search.fit(X, y).best_params_["model"] == "linear"


def test_clone_carries_settings_and_nothing_learned(table: Any) -> None:
    model = make("mean", columns=NAMES).fit(*table)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not [name for name in vars(copy) if name.endswith("_")]


def test_nested_parameters_of_a_given_regressor(table: Any) -> None:
    model = make(GradientBoostingRegressor(n_estimators=5), columns=NAMES, interval_folds=0)
    model.set_params(model__n_estimators=7).fit(*table)
    assert model.model_.n_estimators_ == 7


# --- tables ---------------------------------------------------------------------------


def test_map_names_what_is_shown_and_reads_the_users_columns(table: Any) -> None:
    X, y = table
    model = make(columns=NAMES).fit(X.assign(unused=1.0), y)
    assert model.feature_names_in_.tolist() == list(NAMES.values())
    assert model.get_feature_names_out().tolist() == [
        "crp",
        "bmi",
        "rotation",
        "rotation_missing",
        "smoker_current",
        "smoker_former",
        "smoker_never",
        "smoker_missing",
    ]
    reordered = X[X.columns[::-1]]
    assert np.array_equal(model.predict(reordered), model.predict(X))


@pytest.mark.parametrize("model", ["forest", "xgboost", "linear"])
def test_pandas_and_polars_give_equal_results(table: Any, model: str) -> None:
    X, y = table
    settings = {"columns": NAMES, "interval_folds": 0}
    left = make(model, **settings).fit(X, y).predict(X)
    other = pl.from_pandas(X)
    right = make(model, **settings).fit(other, pl.from_pandas(y)).predict(other)
    assert np.array_equal(left, right)


def test_a_row_without_any_cell_gets_a_prediction(table: Any) -> None:
    model = make(columns=NAMES).fit(*table)
    empty = pd.DataFrame({name: [None] for name in NAMES.values()})
    assert 0.0 <= model.predict(empty)[0] <= 10.0


def test_a_list_of_columns_keeps_their_names(table: Any) -> None:
    X, y = table
    assert make(columns=["BMI_kg_m2"]).fit(X, y).get_feature_names_out().tolist() == ["BMI_kg_m2"]
    assert make(columns="BMI_kg_m2").fit(X, y).n_features_in_ == 1


def test_a_mapped_column_that_is_not_there(table: Any) -> None:
    X, y = table
    with pytest.raises(
        ColumnError, match="expected the column 'smokes' in X.*Did you mean 'smoker'"
    ):
        make(columns={"smoking": "smokes"}).fit(X, y)


@pytest.mark.parametrize("columns", [{}, [], 3, {"crp": 1}, ["a", "a"], {"a": "x", "b": "x"}])
def test_unusable_columns(table: Any, columns: Any) -> None:
    with pytest.raises(ConfigurationError, match="columns: expected None, a list of different"):
        make(columns=columns).fit(*table)


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["basdai", "BASDAI_Q2", "asdas_crp", "Fatigue", "stiffness_duration"]
)
def test_basdai_is_not_predicted_from_what_defines_it(table: Any, name: str) -> None:
    X, y = table
    with pytest.raises(CircularityError, match="expected features that do not define it"):
        make().fit(X.assign(**{name: 1.0}), y.to_numpy())


def test_circularity_is_seen_under_both_names(table: Any) -> None:
    X, y = table
    with pytest.raises(CircularityError, match="BASDAI_Q2"):
        make(columns={"pain": "BASDAI_Q2"}).fit(X.assign(BASDAI_Q2=1.0), y)
    with pytest.raises(CircularityError, match="asdas"):
        make(columns={"asdas": "v17"}).fit(X.assign(v17=1.0), y)


def test_basfi_refuses_its_items_and_takes_basdai(table: Any) -> None:
    X, y = table
    basfi = y.rename("basfi")
    BasfiRegressor().fit(X.assign(basdai=y), basfi)
    with pytest.raises(CircularityError, match="basfi"):
        BasfiRegressor().fit(X.assign(BASFI_q1=y), basfi)


def test_earlier_values_are_allowed_where_names_say_so(table: Any) -> None:
    X, y = table
    make().fit(X.assign(basdai_baseline=y), y.rename("basdai_m6"))


def test_circularity_of_any_index_by_its_name(table: Any) -> None:
    X, y = table
    X = X.rename(columns={"CRP (mg/L)": "crp"})
    with pytest.raises(CircularityError, match="'asdas_crp'"):
        ClinicalIndexRegressor(target="asdas_crp").fit(X, y.to_numpy())
    with pytest.raises(CircularityError, match="'asdas'"):
        ClinicalIndexRegressor().fit(X, y.rename("asdas"))
    ClinicalIndexRegressor(target="asdas_crp", allow_circular=True).fit(X, y)


@pytest.mark.parametrize("value", [-0.1, 10.1, 55.0])
def test_an_index_outside_its_range_is_refused(table: Any, value: float) -> None:
    X, y = table
    with pytest.raises(InputError, match=r"expected BASDAI from 0 to 10, got 1 row\(s\) outside"):
        make(columns=NAMES).fit(X, y.mask(y.index == 3, value))


def test_settings_that_cannot_be_used(table: Any) -> None:
    cases: list[tuple[Any, str]] = [
        (make("forrest"), "model: expected one of .* Did you mean 'forest'"),
        (make(3), "model: expected a scikit-learn estimator"),
        (make(LogisticRegression()), "model: expected a regressor"),
        (make(interval_folds=1), r"interval_folds: expected 0 \(no intervals\) or at least 2"),
        (make(tune_folds=1), "tune_folds: expected an integer of at least 2"),
        (ClinicalIndexRegressor(value_range=(10, 0)), "value_range: expected None or a pair"),
        (ClinicalIndexRegressor(value_range="ab"), "value_range: expected None or a pair"),
        (ClinicalIndexRegressor(important_change=-1), "important_change: expected a number"),
    ]
    for model, message in cases:
        with pytest.raises(ConfigurationError, match=message):
            model.fit(*table)


def test_rows_that_cannot_be_used(table: Any) -> None:
    X, y = table
    with pytest.raises(InputError, match="at least 2 rows to fit, got n_samples=1"):
        make(columns=NAMES).fit(X[:1], y[:1])
    with pytest.raises(InputError, match="at least one known cell"):
        make(columns=["smoker"]).fit(X.assign(smoker=None), y)
    with pytest.raises(InputError, match="same index labels in another order"):
        make(columns=NAMES).fit(X, y[::-1])


# --- predictions ----------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_predictions_and_intervals_never_leave_the_range(crp: float, rotation: float) -> None:
    row = pd.DataFrame(
        {"CRP (mg/L)": [crp], "BMI_kg_m2": [25.0], "cerv_rot": [rotation], "smoker": ["never"]}
    )
    low, high = _FITTED.predict_interval(row)[0]
    assert 0.0 <= low <= high <= 10.0
    assert 0.0 <= _FITTED.predict(row)[0] <= 10.0


_FITTED = make(columns=NAMES).fit(*make_table())


def test_the_general_regressor_clips_only_to_a_range_that_is_given(table: Any) -> None:
    X, y = table
    far = X.assign(**{"CRP (mg/L)": 500.0})
    free = ClinicalIndexRegressor(interval_folds=0).fit(X, y)
    bound = ClinicalIndexRegressor(interval_folds=0, value_range=(0, 10)).fit(X, y)
    assert free.predict(far).max() > 10.0
    assert bound.predict(far).max() == 10.0


def test_the_mean_predicts_the_weighted_mean(table: Any) -> None:
    X, y = table
    weights = np.arange(len(y), dtype=float)
    model = make("mean", columns=NAMES).fit(X, y, sample_weight=weights)
    assert model.predict(X[:2]) == pytest.approx(np.average(y, weights=weights))


@pytest.mark.parametrize("name", MODELS)
def test_a_weight_of_zero_is_the_same_as_no_row(table: Any, name: str) -> None:
    X, y = table
    kept = np.arange(len(y)) % 3 > 0
    weighted = small(name).fit(X, y, sample_weight=kept.astype(float))
    assert np.array_equal(weighted.predict(X), small(name).fit(X[kept], y[kept]).predict(X))


@pytest.mark.parametrize("name", ["forest", "adaboost", "xgboost"])
def test_a_seed_gives_the_same_predictions(table: Any, name: str) -> None:
    X, y = table
    assert np.array_equal(small(name).fit(X, y).predict(X), small(name).fit(X, y).predict(X))


def test_models_learn_what_is_there(table: Any) -> None:
    X, y = table
    unseen, truth = make_table(seed=1)
    for name in MODELS:
        score = small(name).fit(X, y).score(unseen, truth)
        assert score < 0.05 if name == "mean" else score > 0.3


def test_tuning_keeps_patients_together_and_finds_the_better_grid_point(table: Any) -> None:
    X, y = table
    grid = {"alpha": [1e6, 1.0]}
    model = make(columns=NAMES, tune=True, param_grid=grid, interval_folds=0)
    assert model.fit(X, y, groups=np.arange(len(y)) // 3).best_params_ == {"alpha": 1.0}
    # Copies of a patient's row on both sides of a split would make the deepest tree win.
    rng = np.random.default_rng(0)
    noise = pd.DataFrame({"a": np.repeat(rng.normal(size=40), 4)})
    answer, patient = np.repeat(rng.uniform(0, 10, 40), 4), np.repeat(np.arange(40), 4)
    leaves = {"min_samples_leaf": [1, 60], "n_estimators": [20]}
    forest = make("forest", tune=True, param_grid=leaves, interval_folds=0)
    assert forest.fit(noise, answer, groups=patient).best_params_["min_samples_leaf"] == 60
    assert forest.fit(noise, answer).best_params_["min_samples_leaf"] == 1


# --- intervals ------------------------------------------------------------------------


def test_interval_by_hand() -> None:
    # Three patients, errors 1, 2 and 3 around one centre: with four parts of weight 1/4, the
    # third lowest end reaches three quarters, and nothing reaches more.
    weights = patient_weights(np.arange(3))
    folds = np.array([0, 1, 0])
    centres = np.array([[5.0, 5.0]])
    residuals = np.array([1.0, 2.0, 3.0])
    assert cv_plus(centres, residuals, folds, weights, 0.75).tolist() == [[2.0, 8.0]]
    assert cv_plus(centres, residuals, folds, weights, 0.5).tolist() == [[3.0, 7.0]]
    assert cv_plus(centres, residuals, folds, weights, 0.8).tolist() == [[-np.inf, np.inf]]


def test_a_patient_with_many_rows_counts_once() -> None:
    weights = patient_weights(np.array([0, 0, 0, 1]))
    assert weights == pytest.approx([1 / 9, 1 / 9, 1 / 9, 1 / 3])


@pytest.mark.parametrize("model", ["linear", "forest"])
def test_intervals_cover_unseen_patients(model: str) -> None:
    X, y = make_table(150, seed=3)
    unseen, truth = make_table(600, seed=4)
    fitted = make(model, columns=NAMES).fit(X, y)
    widths = []
    for coverage in (0.5, 0.8, 0.95):
        low, high = fitted.predict_interval(unseen, coverage).T
        covered = np.mean((low <= truth) & (truth <= high))
        assert coverage - 0.09 < covered < coverage + 0.13
        widths.append(np.mean(high - low))
    assert widths == sorted(widths)


def test_intervals_keep_patients_together() -> None:
    """Errors on copies of a training row say nothing of new patients."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": np.repeat(rng.normal(size=30), 5)})
    y, patient = np.repeat(rng.uniform(0, 10, 30), 5), np.repeat(np.arange(30), 5)
    forest = GradientBoostingRegressor(n_estimators=200, max_depth=6)
    grouped = make(forest).fit(X, y, groups=patient)
    assert grouped.n_patients_ == 30
    assert np.median(grouped.residuals_) > 4 * np.median(make(forest).fit(X, y).residuals_)


def test_no_interval_without_patients_or_folds(table: Any) -> None:
    X, y = table
    for model in (make(interval_folds=0).fit(X, y), make().fit(X[:9], y[:9])):
        with pytest.raises(
            InputError, match="predict_interval: expected a fit with interval_folds"
        ):
            model.predict_interval(X)


@pytest.mark.parametrize("coverage", [0.0, 1.0, 90])
def test_coverage_is_a_share(table: Any, coverage: float) -> None:
    with pytest.raises(ConfigurationError, match="coverage: expected a number in"):
        _FITTED.predict_interval(table[0], coverage)


# --- SHAP -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_shap_values_add_up_to_the_prediction(table: Any, name: str) -> None:
    X, y = table
    model = make(name, columns=NAMES, interval_folds=0).fit(X, y)
    rows = X[(y > 3) & (y < 7)][:4]
    found = model.shap_values(rows)
    assert found.feature_names == list(NAMES)
    assert found.values.shape == (4, 4)
    predicted = model.predict(rows)
    assert found.values.sum(axis=1) + found.base_values == pytest.approx(predicted, abs=1e-4)
    assert found.data[:, 0] == pytest.approx(rows["CRP (mg/L)"])
    if name == "mean":
        assert not found.values.any()
    else:
        strongest = np.abs(found.values).sum(axis=0).argmax()
        assert found.feature_names[strongest] in ("crp", "rotation")


def test_linear_shap_values_are_coefficient_times_distance() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=40), "b": rng.normal(size=40)})
    y = 2.0 * X["a"] - X["b"] + 3.0
    model = ClinicalIndexRegressor(LinearRegression()).fit(X, y)
    expected = np.column_stack([2.0 * (X["a"] - X["a"].mean()), -(X["b"] - X["b"].mean())])
    assert model.shap_values(X).values == pytest.approx(expected)
    other = model.shap_values(X, background=X[:1])
    assert other.values[0] == pytest.approx([0.0, 0.0])
    assert other.base_values == pytest.approx(np.full(40, y[0]))


def test_shap_of_a_model_that_it_does_not_know_is_repeatable(table: Any) -> None:
    X, y = table
    model = make("adaboost", columns=NAMES, interval_folds=0).fit(X, y)
    first, second = (model.shap_values(X[:2], background=X[:10]).values for _ in range(2))
    assert np.array_equal(first, second)


# --- scores and boards ----------------------------------------------------------------


def test_scores_within_the_important_change_by_hand() -> None:
    basdai = BasdaiRegressor()._index()
    y = np.array([2.0, 2.0, 6.0, 6.0, 4.0])
    predicted = np.array([2.7, 2.8, 7.1, 7.2, 4.9])
    scorer = IndexScorer(y, predicted, basdai.changes(y, None), np.arange(5))
    scores = scorer(np.array([[1.0, 1, 1, 1, 1], [2, 1, 0, 0, 1]]))
    assert scores["within_change"] == pytest.approx([3 / 5, 3 / 4])
    assert scores["mae"][0] == pytest.approx(np.abs(predicted - y).mean())


def test_important_changes_of_both_indices() -> None:
    y = np.array([3.9, 4.0])
    assert BasdaiRegressor()._index().changes(y, None).tolist() == [0.7, 1.1]
    assert BasdaiRegressor()._index().changes(y, np.array([True, False])).tolist() == [1.1, 0.7]
    assert BasfiRegressor()._index().changes(y, None).tolist() == [0.4, 0.4]
    assert BasfiRegressor()._index().changes(y, np.array([True, False])).tolist() == [0.6, 0.4]
    assert IndexInfo("index").changes(y, None) is None


def test_board_where_there_is_something_to_find(table: Any) -> None:
    X, y = table
    board = compare_baselines(
        X,
        y,
        np.arange(len(y)) // 2,
        models=["xgboost"],
        regressor=make(columns=NAMES),
        n_bootstrap=200,
        cv=3,
    )
    assert {s.name for s in board.standings} == {"xgboost", "linear", "mean"}
    assert board.standings[-1].name == "mean"
    assert "Better than the mean predictor: 'linear'" in board.verdict
    assert (board.index, board.n_rows, board.n_groups, board.n_folds) == ("BASDAI", 120, 60, 3)
    frame = board.to_frame()
    assert frame["mae"].is_monotonic_increasing
    assert (frame["mae_low"] < frame["mae"]).all() and (frame["mae"] < frame["mae_high"]).all()
    assert frame.loc["linear", "to_mean"] == pytest.approx(
        frame.loc["linear", "mae"] - frame.loc["mean", "mae"]
    )
    assert frame.loc["linear", "to_mean_high"] < 0
    assert frame.loc["mean", "r2"] <= 0.0 < 0.4 < frame.loc["linear", "r2"]
    error = np.abs(board.predictions["linear"] - y)
    assert frame.loc["linear", "mae"] == pytest.approx(error.mean())
    within = np.mean(error <= np.where(y >= 4, 1.1, 0.7))
    assert frame.loc["linear", "within_change"] == pytest.approx(within)
    assert set(board.standings[0].chosen[0]) <= {"alpha", "max_depth", "n_estimators"}
    assert "1.1 in active disease (BASDAI from 4)" in repr(board)


def test_board_says_when_no_model_beats_the_mean() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"crp": rng.normal(size=90), "bmi": rng.normal(size=90)})
    y = pd.Series(rng.uniform(0, 10, 90), name="basfi")
    models = {"xgboost": "xgboost", "one tree": DecisionTreeRegressor(max_depth=2)}
    board = compare_baselines(X, y, models=models, n_bootstrap=200, cv=3)
    assert board.index == "BASFI"
    assert board.verdict.startswith("No model beats the mean predictor")
    assert "flatters" in board.verdict


def test_board_of_unnamed_numbers_and_one_model() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    board = compare_baselines(X, 100.0 + X[:, 0], models=["linear"], n_bootstrap=50)
    assert (board.index, board.change) == ("index", None)
    assert "within_change" not in board.to_frame()
    assert "flatters" not in board.verdict


def test_board_draws_itself(table: Any) -> None:
    X, y = table
    board = compare_baselines(X, y, models=[], n_bootstrap=50, cv=3)
    page = board._repr_html_()
    assert "<img" in page and "BASDAI" in page and "not a medical device" in page
    axis = board.plot()
    assert [label.get_text() for label in axis.get_yticklabels()] == ["linear", "mean"]
    assert "Mean absolute error" in axis.get_xlabel()
    from matplotlib import pyplot

    assert board.plot(axis) is axis
    pyplot.close(axis.figure)


def test_board_says_which_models_are_worse_than_the_mean() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 3)), rng.normal(size=90)
    models = {"deep tree": DecisionTreeRegressor()}
    board = compare_baselines(X, y, models=models, n_bootstrap=200, cv=3)
    assert "Worse than the mean: 'deep tree' (MAE +" in board.verdict


def test_an_index_that_is_the_same_for_all() -> None:
    rng = np.random.default_rng(0)
    board = compare_baselines(
        rng.normal(size=(6, 1)), np.full(6, 5.0), models=[], n_bootstrap=20, cv=2
    )
    # All predict the same five: nothing to tell apart.
    assert board.verdict.startswith("No model beats the mean predictor")
    assert board.to_frame()["r2"].isna().all()


def test_board_takes_models_by_name_and_leaves_the_template_alone(table: Any) -> None:
    X, y = table
    template = make(columns=NAMES)
    models = {"least squares": LinearRegression()}
    board = compare_baselines(X, y, models=models, regressor=template, n_bootstrap=50, cv=3)
    assert {s.name for s in board.standings} == {"least squares", "linear", "mean"}
    assert not hasattr(template, "model_")


def test_nested_evaluation_stands_beside_linear_and_mean(table: Any) -> None:
    X, y = table
    model = make("xgboost", columns=NAMES, param_grid={"max_depth": [1]})
    board = model.evaluate_nested(X, y, np.arange(len(y)) // 2, cv=3, n_bootstrap=50)
    assert [s.chosen for s in board.standings if s.name == "xgboost"] == [({"max_depth": 1},) * 3]
    own = make(LinearRegression(), columns=NAMES).evaluate_nested(X, y, cv=3, n_bootstrap=50)
    assert "LinearRegression" in own.to_frame().index


def test_test_rows_change_nothing_that_is_learned(table: Any) -> None:
    X, y = table
    rows = np.arange(len(y))
    split = [(rows[:90], rows[90:])]
    spoiled = X.copy()
    spoiled.loc[100:, "CRP (mg/L)"] = 1e6
    settings = {"models": [], "regressor": make(columns=NAMES), "cv": split, "n_bootstrap": 20}
    clean = compare_baselines(X, y, **settings).predictions["linear"]
    other = compare_baselines(spoiled, y, **settings).predictions["linear"]
    assert np.array_equal(clean[90:100], other[90:100])
    assert np.isnan(clean[:90]).all()


def test_active_disease_widens_the_important_change_of_basfi(table: Any) -> None:
    X, y = table
    basfi = y.rename("basfi")
    settings = {"models": [], "n_bootstrap": 20, "cv": 3}
    strict = compare_baselines(X, basfi, **settings)
    wide = compare_baselines(X, basfi, active=np.ones(len(y), bool), **settings)
    assert strict.change == "0.4"
    assert wide.change == "0.4, 0.6 in active disease"
    key = ("linear", "within_change")
    assert wide.to_frame().loc[key] > strict.to_frame().loc[key]


def test_what_a_comparison_refuses(table: Any) -> None:
    X, y = table
    with pytest.raises(ConfigurationError, match="regressor: expected a ClinicalIndexRegressor"):
        compare_baselines(X, y, regressor=LinearRegression())
    with pytest.raises(ConfigurationError, match="models: expected a sequence of names"):
        compare_baselines(X, y, models="forest")
    with pytest.raises(InputError, match="active: expected True or False"):
        compare_baselines(X, y, active=y)
    with pytest.raises(InputError, match="y: expected a finite number for every row"):
        compare_baselines(X, y.astype(str))
    mixed = [(np.arange(0, 60), np.arange(60, 120))]
    with pytest.raises(ConfigurationError, match=r"expected each group \(patient\) on one side"):
        compare_baselines(X, y, np.zeros(len(y)), cv=mixed)


# --- saving ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_saved_and_loaded(table: Any, name: str, tmp_path: Any) -> None:
    X, y = table
    folds = 2 if name in ("linear", "xgboost") else 0
    model = make(name, columns=NAMES, interval_folds=folds).fit(X, y)
    again = af.load(model.save(tmp_path / "model.asf"))
    assert type(again) is BasdaiRegressor
    assert np.array_equal(again.predict(X), model.predict(X))
    if folds:
        assert np.array_equal(again.predict_interval(X), model.predict_interval(X))


def test_a_model_of_ones_own_class_is_not_saved(table: Any, tmp_path: Any) -> None:
    class Own(LinearRegression):
        pass

    model = make(Own(), columns=NAMES, interval_folds=0).fit(*table)
    with pytest.raises(BundleError, match="save: Own cannot be saved without pickle"):
        model.save(tmp_path / "model.asf")


# --- who explains ---------------------------------------------------------------------


def ada(n_columns: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    names = [f"lab_{i}" for i in range(n_columns)]
    X = pd.DataFrame(rng.normal(size=(80, n_columns)), columns=names)
    y = 4 + X["lab_0"] + 0.5 * X["lab_1"] * X["lab_2"]
    model = ClinicalIndexRegressor("adaboost", interval_folds=0, random_state=0)
    return model.fit(X, y), X, y


def test_adaboost_of_few_columns_is_explained_exactly() -> None:
    model, X, _ = ada(4)
    found = model.shap_values(X[:5])
    assert found.feature_names == list(X.columns)
    total = found.values.sum(axis=1) + found.base_values
    np.testing.assert_allclose(total, model.predict(X[:5]), atol=1e-9)
    pairs = model.shap_interactions(X[:5])
    np.testing.assert_allclose(pairs.sum(axis=2), found.values, atol=1e-9)


def test_adaboost_of_many_columns_says_what_its_mean_leaves_open() -> None:
    model, X, _ = ada(14)
    found = model.shap_values(X[:5])
    assert found.feature_names == [*X.columns, MEDIAN]
    total = found.values.sum(axis=1) + found.base_values
    np.testing.assert_allclose(total, model.predict(X[:5]), atol=1e-9)
    features = TablePreprocessor.from_state(model.plan_).transform(Frame.read(X[:5]))
    trees = np.stack([tree.predict(features) for tree in model.model_.estimators_])
    mean = np.average(trees, axis=0, weights=model.model_.estimator_weights_[: len(trees)])
    np.testing.assert_allclose(found.values[:, -1], model.predict(X[:5]) - mean, atol=1e-9)


@pytest.mark.parametrize("name", ["forest", "xgboost", "linear"])
def test_the_package_shap_says_the_same(table: Any, name: str) -> None:
    X, y = table
    model = ClinicalIndexRegressor(name, interval_folds=0, random_state=0).fit(X, y)
    ours, theirs = model.shap_values(X[:4]), model.shap_values(X[:4], algorithm="shap")
    # XGBoost answers shap in single precision.
    np.testing.assert_allclose(ours.values, theirs.values, atol=1e-4)
    np.testing.assert_allclose(ours.base_values, theirs.base_values, atol=1e-4)


def test_adaboost_through_the_package_shap_adds_up() -> None:
    model, X, _ = ada(4)
    found = model.shap_values(X[:3], X[:20], algorithm="shap")
    total = found.values.sum(axis=1) + found.base_values
    np.testing.assert_allclose(total, model.predict(X[:3]), atol=1e-9)


def test_who_explains_is_checked() -> None:
    model, X, y = ada(4)
    with pytest.raises(ConfigurationError, match="algorithm: expected"):
        model.shap_values(X[:2], algorithm="best")
    model = ClinicalIndexRegressor("linear", interval_folds=0).fit(X, y)
    with pytest.raises(ConfigurationError, match="shap_interactions: expected a forest"):
        model.shap_interactions(X[:2])
