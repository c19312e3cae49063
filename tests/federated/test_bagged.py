"""Sites that send whole models once: no row, no count, no cell between two others in a message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from xgboost import XGBClassifier, XGBRegressor

import asfusion as af
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.federated import (
    FedAvg,
    ScoreCounts,
    Site,
    SiteEnsemble,
    Task,
    Update,
    _bagged,
    make_plan,
    simulate,
)
from asfusion.federated._bagged import Bagging
from asfusion.federated._local import LocalModel, local_model
from tests.federated.test_federated import rows

SMALL: dict[str, Any] = {
    "forest": RandomForestClassifier(5),
    "extra": ExtraTreesClassifier(5),
    "histograms": HistGradientBoostingClassifier(max_iter=6),
    "boosting": GradientBoostingClassifier(n_estimators=6),
    "xgboost": XGBClassifier(n_estimators=6, max_depth=3),
    "linear": "linear",
}


def encoders() -> dict[str, Any]:
    return {
        "labs": af.TabularEncoder(["crp", "b27", "sex"]),
        "notes": af.TextEncoder("note", backbone="tfidf"),
        "genes": af.GenotypeEncoder(["rs1"]),
    }


def early(name: str) -> Any:
    return af.EarlyFusionClassifier(encoders(), SMALL[name], verbose=0, random_state=0)


def sites_of(model: Any, n: int = 160) -> tuple[Any, dict[str, Site]]:
    X, y = rows(n)
    lost = {"north": [], "south": ["note"]}
    sites = {
        name: Site(model, X[part::2].drop(columns=gone), y[part::2])
        for part, (name, gone) in enumerate(lost.items())
    }
    plan = make_plan(model, {name: site.summary() for name, site in sites.items()})
    return plan, {name: site.join(plan) for name, site in sites.items()}


def sent_by(site: Site) -> Update:
    return Update.from_bytes(site.fit_round({}).to_bytes())


@pytest.mark.parametrize("name", ["forest", "histograms", "xgboost", "linear"])
def test_a_message_holds_no_count_and_no_leaf_of_few_rows(name: str) -> None:
    plan, sites = sites_of(early(name))
    for site in sites.values():
        update = sent_by(site)
        told = {key.split("|")[1] for key in update.weights}
        trees = {"roots", "left", "right", "feature", "threshold", "value", "base"}
        assert told == {"link", "known"} | ({"coefficients", "base"} if name == "linear" else trees)
        if name == "linear":
            continue
        part = plan.estimator()
        arrays = {key.split("|")[1]: a for key, a in update.weights.items()}
        model = LocalModel.read(arrays, len(part.feature_names_), 2)
        features, _ = part._fill(part._blocks(site._rows.frame))
        for leaves in model.content.leaves(features).T:
            counts = np.bincount(leaves)
            assert (counts[counts > 0] >= 3).all()  # of cells as they are, a few cross an edge
        digits = model.content.value[model.content.value != 0]
        assert np.allclose(digits, [float(f"{v:.2g}") for v in digits])  # no share of so many rows


def test_thresholds_lie_between_means_of_bins_and_not_at_cells() -> None:
    plan, sites = sites_of(early("xgboost"))
    bins = plan.total.modalities["labs"].columns["crp"].bins
    means = np.unique(np.float32([mean for _, _, mean in bins]))
    part = plan.estimator()
    crp = [n for n, name in enumerate(part.feature_names_) if name == "labs__crp"]
    told = sites["north"]._frame.numbers("crp")
    other = part._fill(part._blocks(sites["north"]._rows.frame))[0][:, crp[0]]
    arrays = sent_by(sites["north"]).weights
    asked = (arrays["model|left"] >= 0) & (arrays["model|feature"] == crp[0])
    thresholds = np.unique(arrays["model|threshold"][asked])
    assert len(thresholds) > 2 and not np.isin(thresholds, np.float32(other)).any()
    assert len(means) > 10 and len(told) == len(other)


@pytest.mark.parametrize(
    ("family", "name"), [("early", "forest"), ("early", "histograms"), ("late", "linear")]
)
def test_sites_together_predict_and_their_model_is_saved(
    family: str, name: str, tmp_path: Any
) -> None:
    X, y = rows(300, seed=1)
    kinds = {"early": af.EarlyFusionClassifier, "late": af.LateFusionClassifier}
    model = kinds[family](encoders(), SMALL[name], verbose=0, random_state=0)
    where = np.arange(300) % 3
    X.loc[where == 1, "note"] = None
    run = simulate(model, X, y, where, holdout=0.2, verbose=0)
    assert len(run.rounds_) == 1 and not run.rounds_[0].refused
    Xt, yt = rows(300, seed=2)
    found = run.model_.predict_proba(Xt)
    assert roc_auc_score(yt, found[:, 1]) > 0.75
    assert run.scores_.n_rows == 60 and "What left a site" in repr(run)
    run.model_.save(tmp_path / "model.asf")
    np.testing.assert_array_equal(af.load(tmp_path / "model.asf").predict_proba(Xt), found)
    assert np.isfinite(run.model_.predict_proba(Xt.assign(note=None))).all()


@pytest.mark.parametrize(
    "estimator",
    [RandomForestRegressor(5), HistGradientBoostingRegressor(max_iter=9), XGBRegressor(), "linear"],
    ids=["forest", "histograms", "xgboost", "linear"],
)
def test_numbers_are_predicted_too(estimator: Any) -> None:
    X, y = rows(160)
    target = 3.0 * y + 7.0 + np.random.default_rng(0).normal(size=160) / 5
    if isinstance(estimator, XGBRegressor):
        estimator = XGBRegressor(n_estimators=10)
    model = af.EarlyFusionRegressor(encoders(), estimator, verbose=0, random_state=0)
    run = simulate(model, X, target, np.arange(160) % 2, holdout=0.0, verbose=0)
    assert np.corrcoef(run.model_.predict(X), target)[0, 1] > 0.6


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_arrays_predict_as_the_model_they_were_read_from(name: str, n_classes: int) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 4)).round(1)
    y = np.digitize(features[:, 0], [0.0, 0.8][: n_classes - 1])
    model = af.targets.Classes().linear() if name == "linear" else SMALL[name]
    fitted = model.fit(features, y)
    found = local_model(fitted, n_classes).outputs(features)
    np.testing.assert_allclose(found, fitted.predict_proba(features), atol=0.02)


def test_a_site_without_a_class_or_a_modality_speaks_of_the_others() -> None:
    X, y = rows(180)
    y = np.where((np.arange(180) % 3 == 2) & (y == 1), 2, y)
    where = np.where(y == 2, 1, np.arange(180) % 2)
    model = af.EarlyFusionClassifier(encoders(), SMALL["forest"], verbose=0, random_state=0)
    run = simulate(model, X, y, where, holdout=0.0, verbose=0)
    found = run.model_.predict_proba(X)
    assert found.shape == (180, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-9)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: af.EarlyFusionClassifier(encoders(), SVC(probability=True)), "may hold rows"),
        (lambda: af.EarlyFusionClassifier(encoders(), KNeighborsClassifier()), "may hold rows"),
        (lambda: af.EarlyFusionClassifier(encoders(), AdaBoostClassifier()), "may hold rows"),
        (lambda: af.LateFusionClassifier(encoders(), combine="stacking"), "from no row"),
        (lambda: af.EarlyFusionClassifier({"x": af.ImageEncoder("x")}, "forest"), "not learn"),
    ],
    ids=["vectors", "neighbours", "adaboost", "stacking", "network"],
)
def test_what_may_hold_rows_is_refused(made: Any, message: str) -> None:
    X, y = rows(40)
    with pytest.raises(ConfigurationError, match=message):
        Site(made(), X, y)


def test_a_strategy_for_weights_is_refused() -> None:
    X, y = rows(40)
    with pytest.raises(ConfigurationError, match="strategy: expected None"):
        simulate(early("linear"), X, y, np.arange(40) % 2, strategy=FedAvg(), verbose=0)


def test_leaves_of_few_rows_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    _, sites = sites_of(early("forest"))
    monkeypatch.setattr(_bagged, "with_leaves", lambda estimator, *_: estimator)
    with pytest.raises(InputError, match="expected leaves of at least 5 rows"):
        sites["north"].fit_round({})


# -- messages that are not trusted --------------------------------------------------------


def arrays_of(update: Update) -> dict[str, Any]:
    return {key.split("|")[1]: array for key, array in update.weights.items()}


def broken(update: Update, **arrays: Any) -> Update:
    weights = {**update.weights, **{f"model|{key}": a for key, a in arrays.items()}}
    return replace(update, weights=weights)


def test_models_that_cannot_be_are_refused_and_the_others_go_on() -> None:
    plan, sites = sites_of(early("forest"))
    good = sent_by(sites["north"])
    left, value = good.weights["model|left"], good.weights["model|value"]
    circle = left.copy()
    circle[circle >= 0] = 0
    far, wide = left.copy(), good.weights["model|feature"].copy()
    far[0], wide[0] = len(left) + 5, 999
    bad = {
        "circle": broken(good, left=circle),
        "far": broken(good, left=far),
        "wide": broken(good, feature=wide),
        "shared": broken(good, right=left),
        "huge": broken(good, value=value * 1e40),
        "nan": broken(good, value=np.full_like(value, np.nan)),
        "short": broken(good, value=value[:3]),
        "words": broken(good, threshold=np.zeros(len(left), dtype=int)),
        "link": broken(good, link=np.asarray([7])),
        "more": broken(good, extra=np.zeros(3)),
        "twice": broken(good, known=np.asarray([1, 1])),
        "none": replace(good, weights={}),
        "other": replace(good, weights={"odd|left": left}),
        "rowless": replace(good, n_rows=0),
    }
    joined = Bagging(plan).start()
    union = joined.aggregate({}, {"good": good, **bad})
    assert sorted(joined.refused_) == sorted(bad) and union["rows"].tolist() == [good.n_rows]
    with pytest.raises(InputError, match="expected models of at least one site"):
        joined.aggregate({}, bad)
    with pytest.raises(InputError, match="arrays of a model of trees"):
        SiteEnsemble({"0|left": left}, [3], n_features=2)
    chain = np.arange(1, 4002)
    chain[-2:] = -1
    with pytest.raises(InputError, match="arrays of a model of trees"):  # deep, to cost time
        nodes = {"left": chain, "right": np.where(chain < 0, -1, chain), "roots": np.zeros(1, int)}
        SiteEnsemble({f"0|{k}": a for k, a in {**arrays_of(good), **nodes}.items()}, [3], 9)
    for arrays in ({}, {"rows": np.ones(1), "x|model|left": left}):
        with pytest.raises(InputError, match="expected models of sites"):
            plan.model_of(arrays)
    task = Task(union, 1, 0, 1.0, plan.to_bytes().decode())
    assert sites["south"].work(Task.from_bytes(task.to_bytes())).weights == {}


# -- counts ------------------------------------------------------------------------------


def test_counts_calibrate_and_cover() -> None:
    X, y = rows(400, seed=3)
    run = simulate(early("forest"), X, y, np.arange(400) % 2, holdout=0.5, verbose=0)
    Xt, yt = rows(1000, seed=4)
    plain = run.model_.predict_proba(Xt)[:, 1]
    for method in ("temperature", "sigmoid", "prevalence"):
        better = run.calibrated(method).predict_proba(Xt)[:, 1]
        assert abs(better.mean() - yt.mean()) < 0.08
        assert np.square(better - yt).mean() < np.square(plain - yt).mean() + 0.01
    covered = run.conformal(0.8).predict_set(Xt)[np.arange(1000), yt].mean()
    assert 0.72 < covered < 0.9
    with pytest.raises(InputError, match="rows of two classes that sites hold out"):
        replace(run, scores_=ScoreCounts(())).calibrated()
