"""What every kind of target can do: each family, judged, compared, explained and saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import asfusion as af
from asfusion._stubs import public_names
from asfusion.exceptions import AsfusionError, ConfigurationError, InputError
from asfusion.survival import BoostedSurvival, CoxRegression, ForestSurvival
from asfusion.targets import Bounded, Classes, Counts, Grades, Labels, Numbers, Survival

N_ROWS = 90
ENCODERS = {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder(["bmi"])}
FAST: dict[str, Any] = {"verbose": 0, "random_state": 0}


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(N_ROWS, 3)), columns=["crp", "esr", "bmi"])
    X.loc[::4, "bmi"] = np.nan
    return X


def classes(signal: Any) -> Any:
    return np.where(signal > 0, "yes", "no")


def grades(signal: Any) -> Any:
    return pd.Series(
        pd.cut(signal, [-99, -0.7, 0.5, 99], labels=["none", "mild", "grave"], ordered=True)
    )


def labels(signal: Any) -> Any:
    noise = np.random.default_rng(2).normal(size=(N_ROWS, 2))
    y = pd.DataFrame((noise + np.stack([signal, -signal], axis=1) > 0) * 1.0)
    y.columns = ["uveitis", "psoriasis"]
    y.iloc[::3, 0] = np.nan
    return y


def times(signal: Any) -> Any:
    rng = np.random.default_rng(3)
    own, end = rng.exponential(np.exp(-signal)), rng.exponential(2.0, N_ROWS)
    return pd.DataFrame({"event": own < end, "time": np.minimum(own, end)})


@dataclass(frozen=True)
class Kind:
    """A target, and a y of it.

    Parameters
    ----------
    target : Target
        Unfitted.
    face : str
        Ending of the names of its estimators.
    y : callable
        From a signal (N,) to y.
    predict : str
        The method that gives all outputs.
    """

    target: Any
    face: str
    y: Callable[[Any], Any]
    predict: str = "predict"


KINDS = {
    "classes": Kind(Classes(), "Classifier", classes, "predict_proba"),
    "grades": Kind(Grades(), "Classifier", grades, "predict_proba"),
    "labels": Kind(Labels(), "Multilabel", labels, "predict_proba"),
    "numbers": Kind(Numbers(), "Regressor", lambda signal: 5.0 + signal),
    "bounded": Kind(Bounded(0, 10), "Regressor", lambda signal: 10.0 / (1.0 + np.exp(-signal))),
    "counts": Kind(
        Counts(), "Regressor", lambda s: np.random.default_rng(1).poisson(np.exp(0.5 * s))
    ),
    "survival": Kind(Survival(), "Survival", times, "predict_survival_function"),
    "hazards": Kind(Survival("hazards", 8), "Survival", times, "predict_survival_function"),
}
every_kind = pytest.mark.parametrize("name", KINDS)


@pytest.fixture(scope="module")
def X() -> pd.DataFrame:
    return rows()


def y_of(name: str, X: pd.DataFrame) -> Any:
    noise = np.random.default_rng(4).normal(size=N_ROWS)
    return KINDS[name].y((X["crp"] + 0.4 * noise).to_numpy())


def model_of(name: str, family: str, **options: Any) -> Any:
    kind = KINDS[name]
    network = getattr(af, f"JointFusion{kind.face}")(max_epochs=3, target=kind.target, **FAST)
    if family == "joint":
        return network.set_params(encoders=ENCODERS, **options)
    made = getattr(af, f"{family.capitalize()}Fusion{kind.face}")
    return made(ENCODERS, network=network, target=kind.target, **options, **FAST)


def test_every_public_target_is_tested() -> None:
    helpers = {"Target", "OrderedClassifier", "PerLabel"}
    public = {name for module, name in public_names() if module.startswith("asfusion.targets.")}
    assert public - helpers == {type(kind.target).__name__ for kind in KINDS.values()}


@every_kind
@pytest.mark.parametrize("family", ["early", "late", "joint"])
def test_it_is_fitted_judged_explained_and_saved(
    name: str, family: str, X: pd.DataFrame, tmp_path: Path
) -> None:
    y, method = y_of(name, X), KINDS[name].predict
    model = model_of(name, family).fit(X, y)
    outputs = getattr(model, method)(X)
    assert len(outputs) == N_ROWS
    assert np.isfinite(outputs).all()
    nothing = X.head(1).assign(crp=np.nan, esr=np.nan, bmi=np.nan)
    with pytest.warns(af.exceptions.AsfusionWarning, match="none of the fitted modalities"):
        prior = getattr(model, method)(nothing)
    np.testing.assert_allclose(np.ravel(prior), model.prior_)
    report = af.evaluate(model, X, y, n_bootstrap=5)
    assert report.task == model.target_.task
    assert report.primary in report.scores
    assert type(report).from_json(report.to_json()).scores.keys() == report.scores.keys()
    assert report._repr_html_()
    values = af.explain(model, X.head(2), background=X)
    assert values._repr_html_()
    model.save(tmp_path / "model.asf")
    again = af.load(tmp_path / "model.asf")
    np.testing.assert_array_equal(getattr(again, method)(X), outputs)


@every_kind
def test_decisions_are_combined_in_every_way(name: str, X: pd.DataFrame) -> None:
    y, part = y_of(name, X), KINDS[name].target.linear()
    for combine in ("weighted", "product", "stacking"):
        model = model_of(name, "late", combine=combine).set_params(estimator=part).fit(X, y)
        outputs = getattr(model, KINDS[name].predict)(X)
        assert np.isfinite(outputs).all()
        assert model.fit(X, y) is model  # fitted twice


@every_kind
def test_it_is_compared_and_cross_validated(name: str, X: pd.DataFrame) -> None:
    y = y_of(name, X)
    options: dict[str, Any] = {"cv": 2, "n_bootstrap": 5, "verbose": 0}
    board = af.compare(X, y, ENCODERS, task=KINDS[name].target, families=("early",), **options)
    assert {"early", "plain: mean", "labs"} <= {entry.name for entry in board.standings}
    found = af.cross_validate(model_of(name, "early"), X, y, canary=True, **options)
    assert found.report.task == board.task
    assert found.canary is not None


@pytest.mark.parametrize("name", ["grades", "labels", "survival"])
def test_compare_knows_it_without_being_told(name: str, X: pd.DataFrame) -> None:
    y, options = y_of(name, X), {"cv": 2, "n_bootstrap": 5, "verbose": 0}
    board = af.compare(X, y, ENCODERS, families=("early",), **options)
    told = af.compare(X, y, ENCODERS, task=KINDS[name].target, families=("early",), **options)
    assert board.task == told.task
    assert board.to_frame().drop(columns="seconds").equals(told.to_frame().drop(columns="seconds"))


@every_kind
def test_a_signal_is_found_by_every_kind_of_model(name: str, X: pd.DataFrame) -> None:
    """Each model beats what is said of a row of which nothing is known."""
    kind, y = KINDS[name], y_of(name, X)
    target = kind.target
    for what in ("linear", "boosted", "forest"):
        part = target.linear() if what == "linear" else target.model(what)
        model = model_of(name, "early").set_params(estimator=part).fit(X, y)
        report = af.evaluate(model, X, y, n_bootstrap=5)
        chance = {"auc": 0.5, "auc_macro": 0.5, "kappa_quadratic": 0.0, "c_index": 0.5}
        score = report.scores[report.primary].estimate
        if report.primary in chance:
            assert score > chance[report.primary] + 0.2
        else:
            r2 = report.scores["d2" if "d2" in report.scores else "r2"].estimate
            assert r2 > 0.05


@every_kind
def test_boosted_trees_go_by_their_name(name: str, X: pd.DataFrame) -> None:
    model = model_of(name, "early").set_params(estimator="boosted").fit(X, y_of(name, X))
    used = model.estimator_.get_params()
    rate = next(value for key, value in used.items() if key.endswith("learning_rate"))
    assert rate == KINDS[name].target.small_trees().learning_rate


WRONG: list[tuple[str, Any, str]] = [
    ("classes", np.ones((N_ROWS, 2)), "one label per row"),
    ("numbers", times(np.zeros(N_ROWS)), "got event and time. Use a Survival estimator"),
    ("numbers", pd.Series(pd.date_range("2020", periods=N_ROWS)), "expected numbers"),
    ("grades", classes(np.arange(N_ROWS) - 9.0), "grades with an order"),
    ("labels", np.ones(N_ROWS), "a column for each label"),
    ("labels", np.full((N_ROWS, 2), 2.0), "1, 0 or a missing cell"),
    ("labels", np.full((N_ROWS, 2), np.nan), "a known label in every row"),
    ("labels", [["a", "b"]] * N_ROWS, "get_dummies"),
    ("bounded", np.full(N_ROWS, 11.0), r"from 0 to 10, got others in 90 row\(s\)"),
    ("counts", np.full(N_ROWS, 0.5), "whole numbers from 0 on"),
    ("counts", np.full(N_ROWS, -1), "whole numbers from 0 on"),
    ("survival", np.ones(N_ROWS), "DataFrame with columns"),
    ("survival", np.ones((N_ROWS, 2)), "DataFrame with columns"),
]


@pytest.mark.parametrize(("name", "y", "match"), WRONG)
def test_another_y_is_refused(name: str, y: Any, match: str, X: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=match):
        model_of(name, "early").fit(X, y)


@pytest.mark.parametrize(
    ("target", "match"),
    [
        (Bounded(5, 5), "low: expected a number below"),
        (Grades("abc"), "sequence of grades"),
        (Survival("weibull"), "network"),
        (Survival(n_times=0), "n_times"),
    ],
)
def test_unusable_targets(target: Any, match: str) -> None:
    y = times(np.zeros(9)[:9].repeat(10)) if isinstance(target, Survival) else np.ones(N_ROWS)
    with pytest.raises(ConfigurationError, match=match):
        target.read(y, N_ROWS)


@every_kind
def test_models_and_settings_that_it_lacks_are_named(name: str) -> None:
    target = KINDS[name].target
    for kind in ("forest", "boosted", "xgboost"):
        model = target.model(kind, random_state=3)
        assert model.get_params()["random_state"] == 3
        with pytest.raises(ConfigurationError, match=f"{kind}: expected parameters of .*'depth'"):
            target.model(kind, depth=3)
    with pytest.raises(ConfigurationError, match="Model: expected one of 'boosted', 'forest'"):
        target.model("bagged")


def test_survival_has_words_of_its_own() -> None:
    with pytest.raises(ConfigurationError, match="Model: .* for Survival, got 'adaboost'"):
        Survival().model("adaboost")
    with pytest.raises(ConfigurationError, match="BoostedSurvival, got 'max_leaf_nodes'"):
        Survival().model("boosted", max_leaf_nodes=8)
    trees = Survival().small_trees(100, 7)
    assert (trees.n_estimators, trees.learning_rate, trees.random_state) == (200, 0.05, 7)


def test_grades_of_another_spelling_are_refused() -> None:
    with pytest.raises(InputError, match=r"others in 1 row\(s\)"):
        Grades(["none", "mild"]).read(np.asarray(["none", "mild", "Mild"]), 3)


def test_grades_keep_their_order_through_everything(X: pd.DataFrame, tmp_path: Path) -> None:
    y = y_of("grades", X)
    model = model_of("grades", "early").fit(X, y)
    assert model.classes_.tolist() == ["none", "mild", "grave"]
    named = af.EarlyFusionClassifier(
        ENCODERS, target=Grades(["none", "mild", "grave"]), **FAST
    ).fit(X, y.astype(str))
    np.testing.assert_allclose(named.predict_proba(X), model.predict_proba(X))
    assert af.evaluate(named, X, y.astype(str), n_bootstrap=5).order == ("none", "mild", "grave")


def test_wrappers_give_each_grade_its_own_probability(X: pd.DataFrame) -> None:
    """Grades stand in their order, the classes of a wrapper in that of the alphabet."""
    y = y_of("grades", X).astype(str).to_numpy()
    model = af.EarlyFusionClassifier(ENCODERS, target=Grades(["none", "mild", "grave"]), **FAST)
    wrapped = af.ConformalClassifier(model, 0.5, random_state=0).fit(X, y)
    frame = pd.DataFrame(wrapped.predict_proba(X), columns=wrapped.classes_)
    inner = pd.DataFrame(wrapped.estimator_.predict_proba(X), columns=wrapped.estimator_.classes_)
    pd.testing.assert_frame_equal(frame[inner.columns], inner)
    assert (wrapped.predict_set(X)[np.arange(N_ROWS), frame.columns.get_indexer(y)]).mean() > 0.4


def test_a_focal_loss_is_refused_for_grades(X: pd.DataFrame) -> None:
    model = model_of("grades", "joint").set_params(loss="focal")
    with pytest.raises(ConfigurationError, match="grades, which have a loss of their own"):
        model.fit(X, y_of("grades", X))


def test_bounds_and_signs_are_kept_far_outside(X: pd.DataFrame) -> None:
    far = X * 100.0
    for family in ("early", "joint"):
        score = model_of("bounded", family).fit(X, y_of("bounded", X)).predict(far)
        assert score.min() >= 0.0
        assert score.max() <= 10.0
        assert model_of("counts", family).fit(X, y_of("counts", X)).predict(far).min() > 0.0


def test_labels_that_never_vary_are_answered_by_their_share(X: pd.DataFrame) -> None:
    y = y_of("labels", X).assign(always=1.0)
    model = model_of("labels", "early").fit(X, y)
    assert (model.predict_proba(X)[:, 2] == 1.0).all()
    with pytest.raises(InputError, match="a label that is both 1 and 0"):
        model_of("labels", "early").fit(X, y[["always"]].assign(never=0.0))


# -- times to an event ---------------------------------------------------------------------


def test_curves_fall_from_one_and_stop_at_the_last_event(X: pd.DataFrame) -> None:
    y = times(X["crp"].to_numpy())
    for family in ("early", "late", "joint"):
        model = model_of("survival", family).fit(X, y)
        curves = model.predict_survival_function(X)
        assert (np.diff(curves, axis=1) <= 1e-12).all()
        assert (model.predict_survival_function(X, 0.0) == 1.0).all()
        last = y.loc[y["event"], "time"].max()
        for wanted, match in (
            ([last * 1.01], "Nothing is known beyond it"),
            ([-1.0], "from 0 to the last event"),
            ([], "times: expected one number or several"),
            (["soon"], "times: expected one number or several"),
        ):
            # Times are looked at before rows are, let alone networks asked.
            with pytest.raises(InputError, match=match):
                model.predict_survival_function(None, wanted)
        median, half = model.predict_median(X), curves[:, -1] <= 0.5
        assert np.isfinite(median[half]).all()
        assert np.isinf(median[~half]).all()
        at_median = [
            model.predict_survival_function(X.iloc[[row]], median[row])[0, 0]
            for row in np.flatnonzero(half)[:3]
        ]
        np.testing.assert_allclose(at_median, 0.5, atol=1e-6)
        order = np.argsort(model.predict(X))
        assert model.score(X, y) > 0.6
        assert curves[order[0]].mean() > curves[order[-1]].mean()


@pytest.mark.parametrize(
    "estimator",
    [
        CoxRegression(0.1, 0.5),
        BoostedSurvival(20),
        BoostedSurvival(20, objective="survival:aft"),
        ForestSurvival(20),
    ],
)
def test_survival_models_are_parts(estimator: Any, X: pd.DataFrame, tmp_path: Path) -> None:
    y = times(X["crp"].to_numpy())
    model = model_of("survival", "early").set_params(estimator=estimator).fit(X, y)
    assert model.score(X, y) > 0.6
    model.save(tmp_path / "model.asf")
    np.testing.assert_array_equal(af.load(tmp_path / "model.asf").predict(X), model.predict(X))


def test_models_without_curves_are_refused(X: pd.DataFrame) -> None:
    from sklearn.linear_model import Ridge

    with pytest.raises(ConfigurationError, match="predict_survival_function, such as"):
        model_of("survival", "early").set_params(estimator=Ridge()).fit(
            X, times(X["crp"].to_numpy())
        )


def test_a_time_beyond_what_is_known_is_not_explained(X: pd.DataFrame) -> None:
    model = model_of("survival", "early").fit(X, times(X["crp"].to_numpy()))
    with pytest.raises(AsfusionError, match="up to the last event"):
        af.explain(model, X.head(1), output=1e6)


@every_kind
def test_sites_are_left_out_one_by_one(name: str, X: pd.DataFrame) -> None:
    """Scores within sites have the same names in each, though their times and labels differ."""
    y, sites = y_of(name, X), np.repeat(["north", "south", "west"], N_ROWS // 3)
    options: dict[str, Any] = {"n_bootstrap": 5, "verbose": 0, "cv": "leave-one-site-out"}
    found = af.cross_validate(model_of(name, "early"), X, y, sites=sites, **options)
    assert found.sites == ("north", "south", "west")
    board = af.compare(
        X, y, ENCODERS, task=KINDS[name].target, families=("early",), sites=sites, **options
    )
    assert np.isfinite(board.standings[0].score.estimate)


def test_horizons_end_before_follow_up_does() -> None:
    y = pd.DataFrame({"event": [1, 1, 1, 1, 1, 0], "time": [1.0, 2.0, 3.0, 3.0, 3.0, 3.0]})
    curves = np.linspace(0.2, 0.9, 12).reshape(6, 2)[:, ::-1]
    scores = af.evaluate(curves, y=y, classes=[1.0, 3.0], n_bootstrap=5).scores
    assert np.isfinite(scores["auc_by"].estimate)


def test_rows_of_another_order_are_not_scored(X: pd.DataFrame) -> None:
    y = times(X["crp"].to_numpy())
    model = model_of("survival", "early").fit(X, y)
    with pytest.raises(InputError, match="order"):
        model.score(X, y.iloc[::-1])


def test_hazards_have_few_times_unless_more_are_asked_for() -> None:
    y = pd.DataFrame({"event": 1, "time": np.arange(1.0, 101.0)})
    for target, n_times in (
        (Survival(), 40),
        (Survival("hazards"), 10),
        (Survival("hazards", 30), 30),
    ):
        assert target.fit(target.read(y, 100)).n_outputs_ == n_times


def test_a_curve_that_was_not_fitted_says_so() -> None:
    with pytest.raises(AsfusionError, match="Call fit first"):
        af.survival.KaplanMeier().predict([1.0])
