"""Estimators around another keep scikit-learn's contract, read every table, and are saved."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone, is_classifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import asfusion as af
from asfusion.exceptions import BundleError, ConfigurationError, InputError
from asfusion.persistence import load

N = 160
QUIET = {"verbose": 0, "random_state": 0}
METHODS = ("temperature", "sigmoid", "isotonic", "prevalence")


def expected_failures(estimator):
    """Folds of repeated rows are not folds of weighted rows, in scikit-learn's own neither."""
    if not isinstance(estimator, af.RecalibratedClassifier):
        return {}
    kinds = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{kind}_data": "other folds" for kind in kinds}


@parametrize_with_checks(
    [
        *(af.RecalibratedClassifier(LogisticRegression(), m, random_state=0) for m in METHODS),
        af.ConformalClassifier(LogisticRegression(), 0.5, random_state=0),
        af.ConformalRegressor(Ridge(), 0.5, random_state=0),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(N, 3)), columns=["crp", "esr", "bmi"])
    X["site"] = rng.choice(["north", "south"], N)
    X.loc[::7, ["crp", "esr"]] = np.nan
    y = (X["crp"].fillna(0) + X["bmi"] + 0.5 * rng.logistic(size=N) > 0).astype(int).to_numpy()
    return X, y, np.arange(N) // 2


def encoders():
    return {"labs": af.TabularEncoder(["crp", "esr"]), "body": af.TabularEncoder(["bmi"])}


WRAPPERS = {
    "temperature": lambda e: af.RecalibratedClassifier(e, random_state=0),
    "sigmoid": lambda e: af.RecalibratedClassifier(e, "sigmoid", random_state=0),
    "isotonic": lambda e: af.RecalibratedClassifier(e, "isotonic", random_state=0),
    "prevalence": lambda e: af.RecalibratedClassifier(e, "prevalence", prevalence=0.2),
    "sets": lambda e: af.ConformalClassifier(e, random_state=0),
    "sets by site": lambda e: af.ConformalClassifier(e, 0.8, by="site", random_state=0),
    "sets by class": lambda e: af.ConformalClassifier(
        e, 0.8, method="aps", per_class=True, random_state=0
    ),
    "sets of recalibrated": lambda e: af.ConformalClassifier(
        af.RecalibratedClassifier(e, random_state=0), random_state=0
    ),
    "intervals": lambda e: af.ConformalRegressor(e, random_state=0),
    "intervals by site": lambda e: af.ConformalRegressor(e, 0.8, by="site", random_state=0),
}
every_wrapper = pytest.mark.parametrize("name", WRAPPERS)


def make(name, **params):
    kind = af.EarlyFusionRegressor if "intervals" in name else af.EarlyFusionClassifier
    return WRAPPERS[name](kind(encoders(), **params, **QUIET))


def answers(model, X):
    if hasattr(model, "predict_set"):
        return model.predict_set(X)
    return model.predict_proba(X) if is_classifier(model) else model.predict_interval(X)


@every_wrapper
def test_pandas_polars_and_a_saved_model_give_equal_answers(name, rows, tmp_path):
    X, y, patient = rows
    model = make(name)
    if getattr(model, "random_state", 0) is None:
        model.set_params(random_state=0)
    model.fit(X, y, groups=patient)
    same = clone(model).fit(pl.from_pandas(X), pl.Series(y), groups=pl.Series(patient))
    np.testing.assert_array_equal(answers(model, X), answers(same, pl.from_pandas(X)))
    again = load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(answers(model, X), answers(again, X))
    np.testing.assert_array_equal(model.predict(X), again.predict(X))
    assert type(again) is type(model)
    assert again.get_params(deep=False).keys() == model.get_params(deep=False).keys()


@every_wrapper
def test_a_fitted_estimator_is_kept_by_clone_search_and_save(name, rows, tmp_path):
    X, y, patient = rows
    fitted = make(name).estimator.fit(X[:80], y[:80])
    for wrapper in (
        clone(make(name)).set_params(estimator=fitted, prefit=True),
        clone(make(name)).set_params(estimator=FrozenEstimator(fitted)),
    ):
        copy = clone(clone(wrapper))
        copy.fit(X[80:], y[80:], groups=patient[80:])
        assert copy.estimator_ is fitted
        scores = cross_val_score(wrapper, X[80:], y[80:], groups=patient[80:], cv=GroupKFold(2))
        assert np.isfinite(scores).all()
        again = load(copy.save(tmp_path / "model.asf"))
        np.testing.assert_array_equal(answers(copy, X), answers(again, X))
        assert again.prefit
        assert again.estimator is again.estimator_


def test_searches_pipelines_and_nesting(rows):
    X, y, _ = rows
    asked = {"method": ["temperature", "sigmoid"], "estimator__threshold": [0.3]}
    search = GridSearchCV(make("temperature"), asked, cv=2).fit(X, y)
    assert 0 < search.best_estimator_.threshold_ < 1
    piped = make_pipeline(FunctionTransformer(), make("sets")).fit(X, y)
    assert len(piped.predict(X)) == N
    late = af.LateFusionClassifier(
        encoders(), af.RecalibratedClassifier(RandomForestClassifier(10)), **QUIET
    )
    assert late.fit(X, y).predict_proba(X).shape == (N, 2)


def test_late_fusion_of_recalibrated_forests_is_saved(rows, tmp_path):
    X, y, _ = rows
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(5))
    late = af.LateFusionClassifier(
        encoders(), af.RecalibratedClassifier(forest, "isotonic"), **QUIET
    ).fit(X, y)
    again = load(late.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(late.predict_proba(X), again.predict_proba(X))


def test_reports_and_explanations_know_what_is_wrapped(rows):
    X, y, patient = rows
    model = make("temperature", threshold=0.3).fit(X, y, groups=patient)
    report = af.evaluate(model, X, y, groups=patient, n_bootstrap=20)
    assert {pattern.present for pattern in report.patterns} == {("labs", "body"), ("body",)}
    assert report.threshold == model.threshold_
    with pytest.raises(ConfigurationError, match=r"explain\(model.estimator_, X\)"):
        af.explain(model, X)
    assert len(af.explain(model.estimator_, X.head(2), background=X, verbose=0)) == 2
    sets = make("sets", threshold=0.3).fit(X, y, groups=patient)
    assert af.evaluate(sets, X, y, n_bootstrap=5).threshold == 0.3


@every_wrapper
def test_what_cannot_be_wrapped_is_refused(name, rows, tmp_path):
    X, y, _ = rows
    wrapper = make(name)
    with pytest.raises(ConfigurationError, match=r"expected a fitted .* with prefit=True"):
        clone(wrapper).set_params(prefit=True).fit(X, y)
    other = Ridge() if is_classifier(wrapper) else LogisticRegression()
    with pytest.raises(ConfigurationError, match="estimator: expected a (classifier|regressor)"):
        clone(wrapper).set_params(estimator=other).fit(X[["bmi"]], y)
    with pytest.raises(InputError, match="groups: "):
        wrapper.fit(X, y, groups=np.arange(3))
    with pytest.raises(ValueError, match="not fitted"):
        clone(wrapper).save(tmp_path / "x.asf")


def test_own_classes_are_not_smuggled_in(rows, tmp_path):
    X, y, _ = rows

    class Own(LogisticRegression):
        pass

    model = af.RecalibratedClassifier(Own()).fit(X[["bmi"]], y)
    with pytest.raises(BundleError, match="cannot be saved without pickle"):
        model.save(tmp_path / "model.asf")
