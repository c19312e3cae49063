"""Every estimator keeps scikit-learn's contract, and the promises on missing modalities."""

import itertools
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from asfusion.encoders.tabular import TabularEncoder
from asfusion.encoders.text import TextEncoder
from asfusion.estimators.early import EarlyFusionClassifier, EarlyFusionRegressor
from asfusion.estimators.joint import JointFusionClassifier, JointFusionRegressor
from asfusion.estimators.late import LateFusionClassifier, LateFusionRegressor
from asfusion.exceptions import AsfusionWarning, ConfigurationError
from asfusion.selection.auto import AutoFusionClassifier, AutoFusionRegressor

FAMILIES = [
    AutoFusionClassifier,
    AutoFusionRegressor,
    EarlyFusionClassifier,
    EarlyFusionRegressor,
    JointFusionClassifier,
    JointFusionRegressor,
    LateFusionClassifier,
    LateFusionRegressor,
]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)


# Checks that ask how well an estimator has learned: as users have it. The others ask what it
# accepts and keeps, which four epochs show as well as a hundred.
LEARNING = {
    "check_class_weight_classifiers",
    "check_classifiers_train",
    "check_regressors_train",
}


@parametrize_with_checks([family(verbose=0) for family in FAMILIES])
def test_scikit_learn_contract(estimator, check):
    if check.func.__name__ not in LEARNING or "Auto" in type(estimator).__name__:
        estimator = clone(estimator).set_params(**short_training(estimator, 4))
    check(estimator)


def short_training(estimator, max_epochs):
    if isinstance(estimator, JointFusionClassifier | JointFusionRegressor):
        return {"max_epochs": max_epochs}
    joint = JointFusionClassifier if is_classifier(estimator) else JointFusionRegressor
    network = {"network": joint(max_epochs=max_epochs)}
    if isinstance(estimator, AutoFusionClassifier | AutoFusionRegressor):
        return {"members": ["early linear", "late mean"], "cv": 2, **network}
    return network


# -- on several modalities -----------------------------------------------------------------

N_ROWS = 60
WORDS = {0: "no pain at night, improves with rest", 1: "back pain at night, morning stiffness"}


def make_table(n=N_ROWS, seed=0, missing=0.15):
    """A table of three modalities; y needs more than one of them."""
    rng = np.random.default_rng(seed)
    crp, snp, pain = rng.normal(size=n), rng.normal(size=n), rng.integers(0, 2, size=n)
    y = (crp + snp + 1.5 * (pain - 0.5) > 0).astype(int)
    X = pd.DataFrame(
        {
            "crp": crp,
            "esr": rng.normal(size=n),
            "sex": rng.choice(["f", "m"], size=n),
            "rs30187": snp,
            "note": [f"{WORDS[p]}, visit {i % 7}" for i, p in enumerate(pain)],
        }
    )
    X.loc[rng.random(n) < missing, "esr"] = np.nan  # a missing cell
    gone = rng.random((n, 2)) < missing
    gone[gone.all(axis=1)] = False
    X.loc[gone[:, 0], "rs30187"] = np.nan  # missing modalities
    X.loc[gone[:, 1], "note"] = None
    return X, y


def make_encoders():
    return {
        "labs": TabularEncoder(["crp", "esr", "sex"], d_out=8),
        "genes": TabularEncoder(["rs30187"], d_out=8),
        "notes": TextEncoder("note", backbone="tfidf", n_components=8, d_out=8),
    }


def make_model(family, **params):
    params = short_training(family(), 5) | params
    return family(make_encoders(), verbose=0, random_state=0, **params)


def target_of(family, y):
    return y if is_classifier(family()) else y + 0.1 * np.arange(len(y))


def outputs(model, X):
    return model.predict_proba(X) if is_classifier(model) else model.predict(X)


@every_family
def test_pandas_and_polars_give_equal_results(family):
    X, y = make_table()
    y = target_of(family, y)
    left = outputs(make_model(family).fit(X, y), X)
    P = pl.from_pandas(X)
    right = outputs(make_model(family).fit(P, pl.Series(y)), P)
    np.testing.assert_array_equal(left, right)


@every_family
def test_a_seed_gives_the_same_bytes(family):
    X, y = make_table()
    y = target_of(family, y)
    first, second = (outputs(make_model(family).fit(X, y), X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@every_family
def test_one_row_alone_predicts_as_among_many(family):
    X, y = make_table()
    model = make_model(family).fit(X, target_of(family, y))
    together = outputs(model, X)
    alone = np.concatenate([outputs(model, X.iloc[[i]]) for i in range(12)])
    np.testing.assert_allclose(alone, together[:12], rtol=1e-5, atol=1e-6)


@every_family
def test_clone_carries_nothing_that_was_learned(family):
    X, y = make_table()
    model = make_model(family).fit(X, target_of(family, y))
    model.encoders["labs"].fit(X)  # also not what a caller fitted by hand
    copy = clone(model)
    assert not [name for name in vars(copy) if name.endswith("_")]
    for encoder in copy.encoders.values():
        assert not [name for name in vars(encoder) if name.endswith("_")]
    assert repr(copy) == repr(clone(copy))


@every_family
def test_every_subset_of_modalities_predicts(family):
    X, y = make_table()
    model = make_model(family).fit(X, target_of(family, y))
    columns = {"labs": ["crp", "esr", "sex"], "genes": ["rs30187"], "notes": ["note"]}
    full = outputs(model, X)
    for size in range(1, 3):
        for absent in itertools.combinations(columns, size):
            part = X.copy()
            for name in absent:
                part[columns[name]] = None
            with warnings.catch_warnings():
                # A few rows have nothing left, which is said.
                warnings.simplefilter("ignore", AsfusionWarning)
                got = outputs(model, part)
            has_any = part.notna().any(axis=1).to_numpy()
            assert np.isfinite(got).all()
            assert not np.allclose(got[has_any], full[has_any]), f"{absent} did not count"


@every_family
def test_a_row_without_anything_gets_the_prior_and_says_so(family):
    X, y = make_table()
    y = target_of(family, y)
    model = make_model(family).fit(X, y)
    empty = X.head(3).copy()
    empty.iloc[1] = None
    with pytest.warns(AsfusionWarning, match=r"1 row\(s\) have none of the fitted modalities"):
        got = outputs(model, empty)
    expected = np.bincount(y) / len(y) if is_classifier(model) else y.mean()
    np.testing.assert_allclose(got[1], expected)


@every_family
@pytest.mark.parametrize("absent", ["genes", "notes"])
def test_a_modality_may_be_missing_at_fit(family, absent):
    X, y = make_table()
    empty = X.copy()
    empty["rs30187" if absent == "genes" else "note"] = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = make_model(family).fit(empty, target_of(family, y))
    said = [str(w.message) for w in caught if w.category is AsfusionWarning]
    assert any(f"Modality '{absent}'" in text and "left out" in text for text in said)
    np.testing.assert_array_equal(outputs(model, X), outputs(model, empty))


@pytest.mark.filterwarnings("ignore:Column 'crp' has no value in any of these rows")
@every_family
def test_content_of_a_missing_modality_cannot_change_anything(family):
    """A missing cell differs from a missing modality: only the latter is masked."""
    X, y = make_table(missing=0.0)
    model = make_model(family).fit(X, target_of(family, y))
    one_cell, whole = X.copy(), X.copy()
    one_cell["crp"] = np.nan
    whole[["crp", "esr", "sex"]] = None
    assert not np.allclose(outputs(model, one_cell), outputs(model, whole))


@every_family
def test_sample_weight_zero_is_absence(family):
    X, y = make_table()
    y = target_of(family, y)
    weights = np.ones(N_ROWS)
    weights[40:] = 0
    left = make_model(family).fit(X, y, sample_weight=weights)
    right = make_model(family).fit(X.head(40), y[:40])
    np.testing.assert_array_equal(outputs(left, X), outputs(right, X))


@pytest.mark.parametrize("family", [f for f in FAMILIES if is_classifier(f())])
def test_class_weight_moves_predictions_towards_the_class(family):
    X, y = make_table()
    plain = make_model(family).fit(X, y).predict_proba(X)[:, 1].mean()
    heavy = make_model(family, class_weight={0: 1.0, 1: 20.0}).fit(X, y)
    assert heavy.predict_proba(X)[:, 1].mean() > plain + 0.05


@every_family
def test_works_inside_scikit_learn(family):
    X, y = make_table()
    y = target_of(family, y)
    groups = np.arange(N_ROWS) // 2
    model = make_model(family)
    scores = cross_val_score(model, X, y, groups=groups, cv=GroupKFold(3))
    assert scores.shape == (3,) and np.isfinite(scores).all()
    result = cross_validate(model, X, y, groups=groups, cv=GroupKFold(2), params={"groups": None})
    assert len(result["test_score"]) == 2
    pipeline = Pipeline([("keep", FunctionTransformer()), ("model", clone(model))]).fit(X, y)
    assert len(pipeline.predict(X)) == N_ROWS
    search = GridSearchCV(model, {"encoders__labs__d_out": [4, 8]}, cv=2).fit(X, y)
    assert search.best_params_["encoders__labs__d_out"] in (4, 8)
    if is_classifier(model):
        calibrated = CalibratedClassifierCV(model, cv=2).fit(X, y)
        np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)


@every_family
def test_nested_parameters_are_read_and_set(family):
    model = make_model(family)
    assert model.get_params()["encoders__labs__d_out"] == 8
    given = model.encoders
    model.set_params(encoders__labs__d_out=4, encoders__genes=TabularEncoder(["esr"]), verbose=1)
    assert model.encoders["labs"].d_out == 4
    assert model.encoders["genes"].columns == ["esr"]
    assert given["genes"].columns == ["rs30187"], "a replaced part leaves the caller's dict"
    with pytest.raises(ValueError, match=r"encoders: expected one of 'labs', .* got 'mri'"):
        model.set_params(encoders__mri__d_out=4)
    with pytest.raises(ValueError, match=r"encoders: expected a dict .* asfusion.infer_encoders"):
        family().set_params(encoders__labs__d_out=4)


def test_a_part_and_its_parameters_are_set_at_once():
    model = LateFusionClassifier(make_encoders(), {"labs": LogisticRegression()})
    model.set_params(estimator=LogisticRegression(), estimator__C=0.1)
    assert model.estimator.C == 0.1
    model.set_params(estimator={"genes": LogisticRegression()}, estimator__genes__C=0.2)
    assert model.estimator["genes"].C == 0.2
    model = EarlyFusionClassifier().set_params(encoders=make_encoders(), encoders__labs__d_out=4)
    assert model.encoders["labs"].d_out == 4


def test_parts_that_are_names_or_absent_have_no_parameters_to_set():
    model = JointFusionClassifier(fusion="gated")
    with pytest.raises(ConfigurationError, match=r"fusion: .* such as asfusion.fusion.Gated\(\)"):
        model.set_params(fusion__d_out=8)
    assert model.fusion == "gated"
    for params in ({"estimator__C": 0.1}, {"network__max_epochs": 3}):
        with pytest.raises(ConfigurationError, match="expected an estimator to set .* got None"):
            EarlyFusionClassifier().set_params(**params)
    with pytest.raises(ConfigurationError, match="estimator: expected an estimator to set"):
        LateFusionClassifier().set_params(estimator__labs__C=0.1)


@every_family
def test_encoders_auto_says_what_it_chose(family, capsys):
    X, y = make_table()
    params = short_training(family(), 2)
    if "Late" in family.__name__:
        forest = RandomForestClassifier if is_classifier(family()) else RandomForestRegressor
        params["estimator"] = forest(5)
    model = family(random_state=0, **params).fit(X, target_of(family, y))
    said = capsys.readouterr().out
    assert "table" in said and "note" in said
    assert np.isfinite(outputs(model, X)).all()
    family(random_state=0, verbose=0, **params).fit(X, target_of(family, y))
    assert capsys.readouterr().out == ""
