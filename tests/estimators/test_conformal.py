"""Sets and intervals cover as often as they say, also for patients with several visits."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import asfusion as af
from asfusion.estimators._conformal import score_quantile, sorted_scores
from asfusion.exceptions import AsfusionWarning, ConfigurationError, InputError


def visits(n_patients, rng, most=6):
    """Patients of whom the sicker come more often: their rows are no sample of patients."""
    patient = np.arange(n_patients)
    effect = rng.normal(size=n_patients)
    times = np.where(effect > 0.8, most, 1)
    patient, effect = np.repeat(patient, times), np.repeat(effect, times)
    x = rng.normal(size=len(patient))
    return x[:, None], x + 2 * effect + 0.3 * rng.normal(size=len(patient)), patient


def test_quantile_of_single_rows_is_the_usual_one():
    rng = np.random.default_rng(0)
    scores = rng.random(57)
    table = sorted_scores(scores, np.arange(57))
    for coverage in (0.5, 0.8, 0.9, 0.95):
        rank = int(np.ceil(58 * coverage - 1e-9))
        assert score_quantile(table, coverage) == np.sort(scores)[rank - 1]
    assert score_quantile(table, 0.99) == np.inf


def test_quantile_weighs_patients_by_hand():
    """Patients of one, two and four rows: each weighs a quarter, the new one the last."""
    scores = np.array([0.5, 0.1, 0.9, 0.2, 0.3, 0.4, 0.8])
    table = sorted_scores(scores, np.array([0, 1, 1, 2, 2, 2, 2]))
    # In order: .1 (1/8), .2 .3 .4 (1/16 each), .5 (1/4), .8 (1/16), .9 (1/8).
    np.testing.assert_allclose(
        np.cumsum(table[:, 1])[[0, 3, 4, 5, 6]], [2 / 16, 5 / 16, 9 / 16, 10 / 16, 12 / 16]
    )
    assert score_quantile(table, 0.5) == 0.5
    assert score_quantile(table, 0.75) == 0.9
    assert score_quantile(table, 0.76) == np.inf


def test_sets_are_those_of_mapie():
    mapie = pytest.importorskip("mapie.classification")
    rng = np.random.default_rng(1)
    X = rng.normal(size=(500, 3))
    y = np.argmax(X + rng.gumbel(size=X.shape), axis=1)
    model = LogisticRegression().fit(X[:200], y[:200])
    theirs = mapie.SplitConformalClassifier(model, confidence_level=0.8, prefit=True)
    theirs.conformalize(X[200:400], y[200:400])
    own = af.ConformalClassifier(model, 0.8, prefit=True).fit(X[200:400], y[200:400])
    scores = np.sort(np.ravel(theirs.conformity_scores))
    np.testing.assert_allclose(scores, own.scores_["", 0][:, 0], atol=1e-9)
    sets = theirs.predict_set(X[400:])[1][:, :, 0]
    np.testing.assert_array_equal(own.predict_set(X[400:]), sets)


def test_adaptive_sets_hold_the_likeliest_classes_up_to_the_true_one():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 3))
    y = np.argmax(X + rng.gumbel(size=X.shape), axis=1)
    model = LogisticRegression().fit(X[:200], y[:200])
    own = af.ConformalClassifier(model, 0.8, method="aps", prefit=True).fit(X[200:600], y[200:600])
    sets, p = own.predict_set(X[600:]), own.predict_proba(X[600:])
    # Three standard errors of one calibration; the mean over many is in benchmarks/conformal.py.
    assert sets[np.arange(2400), y[600:]].mean() == pytest.approx(0.8, abs=0.065)
    outside = np.where(sets, 0, p).max(axis=1)
    assert (np.where(sets, p, 1).min(axis=1) >= outside).all()
    assert sets.any(axis=1).all()
    above = np.sort(p, axis=1)[:, ::-1].cumsum(axis=1)[:, :2]
    # The second and the third class are in if what is likelier than they is little enough.
    cut = own.scores_["", 0][:, 0][int(np.ceil(401 * 0.8)) - 1]
    np.testing.assert_array_equal(sets.sum(axis=1), 1 + (above <= cut + 1e-12).sum(axis=1))
    plain = af.ConformalClassifier(model, 0.8, prefit=True).fit(X[200:600], y[200:600])
    assert plain.predict_set(X[600:]).sum() < sets.sum()


def test_intervals_are_those_of_mapie():
    mapie = pytest.importorskip("mapie.regression")
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 3))
    y = X[:, 0] + rng.normal(size=300)
    model = LinearRegression().fit(X[:100], y[:100])
    theirs = mapie.SplitConformalRegressor(model, confidence_level=0.9, prefit=True)
    theirs.conformalize(X[100:200], y[100:200])
    own = af.ConformalRegressor(model, 0.9, prefit=True).fit(X[100:200], y[100:200])
    expected = theirs.predict_interval(X[200:])[1][:, :, 0]
    np.testing.assert_allclose(own.predict_interval(X[200:]), expected, atol=1e-9)


def test_coverage_is_of_patients_however_often_they_come():
    """Over 200 studies. Counting rows instead, those who come often would rule the width."""
    rng = np.random.default_rng(3)
    by_patient, by_row = [], []
    for _ in range(200):
        X, y, patient = visits(60, rng)
        new, truth, who = visits(200, rng)
        model = DummyRegressor(strategy="constant", constant=0.0).fit(X, y)
        for groups, into in ((patient, by_patient), (None, by_row)):
            fitted = af.ConformalRegressor(model, 0.8, prefit=True).fit(X, y, groups=groups)
            low, high = fitted.predict_interval(new).T
            hit = (low <= truth) & (truth <= high)
            into.append(np.bincount(who, hit) @ (1 / np.bincount(who)) / 200)
    assert np.mean(by_patient) == pytest.approx(0.8, abs=0.02)
    assert np.mean(by_row) > 0.84


def test_coverage_within_a_category_and_within_a_class():
    rng = np.random.default_rng(4)

    def draw(n):
        X = pd.DataFrame({"x": rng.normal(size=n), "site": rng.choice(["quiet", "noisy"], n)})
        spread = np.where(X["site"] == "quiet", 0.2, 2.0)
        return X, X["x"].to_numpy() + spread * rng.normal(size=n)

    X, y = draw(600)
    new, truth = draw(4000)
    encoders = {"table": af.TabularEncoder(["x"])}
    early = af.EarlyFusionRegressor(encoders, verbose=0, random_state=0)
    model = af.ConformalRegressor(early, 0.9, by="site", random_state=0).fit(X, y)
    low, high = model.predict_interval(new).T
    for site in ("quiet", "noisy"):
        rows = (new["site"] == site).to_numpy()
        covered = (low[rows] <= truth[rows]) & (truth[rows] <= high[rows])
        assert covered.mean() == pytest.approx(0.9, abs=0.06)
    assert (high - low)[new["site"] == "noisy"].mean() > 5 * (high - low)[
        new["site"] == "quiet"
    ].mean()
    rare = (y > 1.5).astype(int)
    classifier = LogisticRegression().fit(X[["x"]], rare)
    asked = new[["x"]]
    for per_class, expected in ((True, 0.8), (False, None)):
        sets = af.ConformalClassifier(classifier, 0.8, per_class=per_class, prefit=True)
        found = sets.fit(X[["x"]], rare).predict_set(asked)[truth > 1.5, 1].mean()
        assert (found == pytest.approx(0.8, abs=0.1)) if expected else (found < 0.6)


def test_rare_categories_exclude_nothing_and_say_so():
    rng = np.random.default_rng(5)
    X = pd.DataFrame({"x": rng.normal(size=60), "site": ["a"] * 55 + ["b"] * 4 + [None]})
    y = X["x"].to_numpy() + rng.normal(size=60)
    early = af.EarlyFusionRegressor({"table": af.TabularEncoder(["x"])}, verbose=0).fit(X, y)
    model = af.ConformalRegressor(early, 0.9, by="site", prefit=True)
    with pytest.warns(AsfusionWarning, match="2 of 3 categories have fewer than 9 patients"):
        model.fit(X, y)
    more = pd.concat([X, X.tail(1).assign(site="new")], ignore_index=True)
    with pytest.warns(AsfusionWarning, match=r"6 row\(s\) are of a category with too few"):
        low, high = model.predict_interval(more).T
    assert np.isfinite(low[:55]).all()
    assert (low[55:] == -np.inf).all()
    assert (high[55:] == np.inf).all()
    wide = model.predict_interval(X.head(1), coverage=0.99)
    assert np.isinf(wide).all()


def test_what_cannot_be_covered_is_refused():
    rng = np.random.default_rng(6)
    X, y = rng.normal(size=(40, 2)), np.arange(40) % 2
    good = LogisticRegression()
    with pytest.raises(InputError, match="at least 99 patients .* 0.99, got 10 in all"):
        af.ConformalClassifier(good, 0.99).fit(X, y)
    with pytest.raises(InputError, match="at least 9 patients .* got 5 in all"):
        af.ConformalClassifier(good.fit(X, y), prefit=True).fit(X, y, groups=np.arange(40) // 8)
    with pytest.raises(ConfigurationError, match="coverage: expected a number"):
        af.ConformalClassifier(good, 1.0).fit(X, y)
    with pytest.raises(ConfigurationError, match="method: expected one of 'lac', 'aps'"):
        af.ConformalClassifier(good, method="top").fit(X, y)
    with pytest.raises(ConfigurationError, match="by: expected the name of a column or None"):
        af.ConformalClassifier(good, by=["site"]).fit(X, y)
    with pytest.raises(InputError, match="by: expected the column 'site' in X"):
        af.ConformalClassifier(good, by="site").fit(X, y)
    with pytest.raises(InputError, match="set some aside for calibration, got n_samples=40"):
        af.ConformalClassifier(good).fit(X, y, groups=np.zeros(40))
    with pytest.raises(ConfigurationError, match="calibration_fraction: expected a number"):
        af.ConformalClassifier(good, calibration_fraction=0.9).fit(X, y)
    with pytest.raises(InputError, match="y: expected one target, got 2"):
        af.ConformalRegressor(LinearRegression()).fit(X, X)
    by_column = af.ConformalClassifier(good, 0.5, by=1).fit(np.c_[X[:, 0], y], y)
    assert by_column.predict_set(np.c_[X[:, 0], y]).shape == (40, 2)


def scores_from_0_to_10(n, rng):
    """A score that is often at an end of its range, as BASFI is."""
    X = rng.normal(size=(n, 2))
    return X, np.clip(5.0 + 4.0 * X[:, 0] + 3.0 * rng.standard_t(2, size=n), 0.0, 10.0)


def bounded(family, **options):
    kind = {"early": af.EarlyFusionRegressor, "joint": af.JointFusionRegressor}[family]
    return kind(verbose=0, random_state=0, target=af.targets.Bounded(0, 10), **options)


@pytest.mark.parametrize("family", ["early", "joint"])
def test_intervals_of_bounded_scores_stay_within_and_cover_as_often(family):
    rng = np.random.default_rng(7)
    model = bounded(family, **({"max_epochs": 3} if family == "joint" else {}))
    model.fit(*scores_from_0_to_10(120, rng))
    new, truth = scores_from_0_to_10(300, rng)
    error = np.abs(truth - model.predict(new))
    shares = []
    for seed in range(30):
        own = scores_from_0_to_10(60, np.random.default_rng([7, seed]))
        fitted = af.ConformalRegressor(model, 0.8, prefit=True).fit(*own)
        for coverage in (0.5, 0.8, 0.999):  # the last is more than 60 patients can bound
            low, high = fitted.predict_interval(new, coverage).T
            assert (low >= 0).all()
            assert (high <= 10).all()
            assert (low <= high).all()
            covers = (low <= truth) & (truth <= high)
            # What is cut off holds no truth.
            uncut = error <= score_quantile(fitted.scores_["", 0], coverage)
            np.testing.assert_array_equal(covers, uncut)
            shares += [covers.mean()] if coverage == 0.8 else []
    assert np.mean(shares) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model,
        lambda model: make_pipeline(StandardScaler(), model),
        lambda model: GridSearchCV(make_pipeline(model), {"earlyfusionregressor__verbose": [0]}),
    ],
)
def test_bounds_are_those_of_the_model_that_answers(wrap):
    X, y = scores_from_0_to_10(80, np.random.default_rng(8))
    inner = bounded("early")
    fitted = af.ConformalRegressor(wrap(inner), 0.9, random_state=0).fit(X, y)
    found = fitted.predict_interval(X * 3.0)
    assert found.min() == 0.0
    assert found.max() == 10.0
    plain = af.ConformalRegressor(LinearRegression(), 0.9, random_state=0).fit(X, y)
    assert plain.predict_interval(X * 3.0).max() > 10.0  # nobody said that it ends there


def test_a_score_in_another_unit_is_refused_by_a_fitted_model():
    X, y = scores_from_0_to_10(40, np.random.default_rng(9))
    model = af.ConformalRegressor(bounded("early").fit(X, y), prefit=True)
    with pytest.raises(InputError, match=r"y: expected numbers from 0 to 10, got others in 40"):
        model.fit(X, y + 11.0)


def test_intervals_of_counts_do_not_go_below_zero():
    rng = np.random.default_rng(10)
    X = rng.normal(size=(60, 2))
    y = rng.poisson(np.exp(0.5 * X[:, 0]))
    early = af.EarlyFusionRegressor(verbose=0, random_state=0, target=af.targets.Counts())
    low, high = af.ConformalRegressor(early, 0.9, random_state=0).fit(X, y).predict_interval(X).T
    assert low.min() == 0.0
    assert (high > 0.0).all()
