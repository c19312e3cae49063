"""Counted words stay sparse on their way to an estimator that reads them so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, issparse
from sklearn import config_context
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import asfusion as af
from asfusion.estimators import _penalty, _sparse
from asfusion.exceptions import ConfigurationError

WORDS = ["pain", "back", "stiff", "morning", "night", "knee", "hip", "better", "rest", "sleep"]
QUIET: dict[str, Any] = {"verbose": 0, "random_state": 0}


def patients(n: int = 60, *, absent: bool = True) -> tuple[pd.DataFrame, np.ndarray]:
    """Return notes and a number, some of either missing, and what a word and the number tell."""
    rng = np.random.default_rng(n)
    said = [list(rng.choice(WORDS, 6)) for _ in range(n)]
    X = pd.DataFrame({"note": [" ".join(words) for words in said], "crp": rng.normal(size=n)})
    y = np.asarray(["pain" in words for words in said]) ^ (rng.random(n) < 0.1)
    if absent:
        X.loc[::6, "note"] = None
        X.loc[1::12, "crp"] = np.nan
    return X, y.astype(int)


def encoder() -> Any:
    return af.TextEncoder("note", backbone="tfidf", n_components=None)


def encoders() -> dict[str, Any]:
    return {"note": encoder(), "labs": af.TabularEncoder("crp")}


def dense(block: Any) -> np.ndarray:
    return np.asarray(block.toarray() if issparse(block) else block)


def test_words_come_without_zeros_and_an_absent_note_is_nan() -> None:
    X, _ = patients()
    fitted = encoder().fit(X)
    found = fitted.transform(X)
    assert isinstance(found, csr_array) and fitted.is_sparse
    assert found.shape == (60, len(fitted.get_feature_names_out()))
    absent = X["note"].isna().to_numpy()
    assert np.isnan(found.data).sum() == absent.sum()
    np.testing.assert_array_equal(_sparse.present_rows(found), ~absent)
    np.testing.assert_allclose(np.linalg.norm(dense(found)[~absent], axis=1), 1.0)
    plain = fitted.plain_features(X)
    assert np.isnan(plain[absent]).all()
    np.testing.assert_array_equal(plain[~absent], dense(found)[~absent])
    assert fitted.transform(X[absent]).nnz == absent.sum()
    assert not af.TextEncoder("note", backbone="tfidf").is_sparse


def test_a_given_model_gets_the_words_as_scikit_learn_would() -> None:
    X, y = patients(absent=False)
    model = af.EarlyFusionClassifier(
        {"note": encoder()}, LogisticRegression(), scale="none", **QUIET
    ).fit(X, y)
    words = encoder().fit(X).transform(X)
    expected = LogisticRegression().fit(words, y).predict_proba(words)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-12)
    assert issparse(model.features(X)[0])
    with config_context(transform_output="pandas"):
        np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-12)


@pytest.mark.parametrize("scale", ["auto", "blocks", "columns", "none"])
def test_sparse_and_dense_features_are_the_same(scale: Any) -> None:
    X, y = patients()
    linear = af.EarlyFusionClassifier(encoders(), scale=scale, **QUIET).fit(X, y)
    features, names = linear.features(X)
    assert issparse(features) and features.shape == (60, len(names))
    assert features.nnz < 0.6 * features.shape[0] * features.shape[1]
    # Trees that read dense features only get the same ones.
    trees = HistGradientBoostingClassifier(max_iter=2)
    other = af.EarlyFusionClassifier(encoders(), trees, scale=scale, **QUIET).fit(X, y)
    found = other.features(X)[0]
    assert isinstance(found, np.ndarray)
    if scale != "auto":
        np.testing.assert_allclose(dense(features), found, atol=1e-15)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:, -2:], X[["note", "crp"]].notna().to_numpy())
    words = found[:, : len(encoder().fit(X).get_feature_names_out())]
    assert not words[X["note"].isna()].any(), "an absent note has no word"


def test_a_block_of_words_has_a_variance_of_one() -> None:
    X, y = patients(absent=False)
    model = af.EarlyFusionClassifier(encoders(), **QUIET).fit(X, y)
    features = dense(model.features(X)[0])
    assert features[:, :-1].var(axis=0).sum() == pytest.approx(1.0)
    assert features[:, -1].var() == pytest.approx(1.0)
    # A note that is absent only now is an average one.
    words = features[:, :-1].mean(axis=0)
    X["note"] = None
    np.testing.assert_allclose(dense(model.features(X)[0])[:, :-1], np.tile(words, (60, 1)))


@pytest.mark.parametrize("family", [af.EarlyFusionClassifier, af.LateFusionClassifier])
def test_a_sparse_model_is_used_like_any_other(family: Any, tmp_path: Path) -> None:
    X, y = patients()
    model = family(encoders(), **QUIET).fit(X[:40], y[:40])
    found = model.predict_proba(X)
    assert ((found[:40, 1] > 0.5) == y[:40]).mean() > 0.7
    loaded = af.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict_proba(X), found)
    for row in (0, 1, 2):  # without a note, without a number, with both
        np.testing.assert_allclose(model.predict_proba(X[row : row + 1])[0], found[row], rtol=1e-12)
    for absence in ("missing", "background"):
        told = af.explain(model, X[:2], background=X[:9], absence=absence, n_samples=8, verbose=0)
        assert np.isfinite(told.values).all()


def test_numbers_and_forests_read_sparse_words() -> None:
    X, y = patients()
    target = y + 0.1 * np.arange(60)
    for model in (None, RandomForestClassifier(5)):
        found = af.EarlyFusionClassifier(encoders(), model, **QUIET).fit(X, y).predict_proba(X)
        assert np.isfinite(found).all()
    labels = np.column_stack([y, np.arange(60) % 2]).astype(float)
    labels[3, 0] = np.nan
    several = af.EarlyFusionMultilabel(encoders(), **QUIET).fit(X, labels)
    assert several.predict_proba(X).shape == (60, 2)
    ridge = af.EarlyFusionRegressor(encoders(), **QUIET).fit(X, target)
    assert ridge.predict(X).shape == (60,) and issparse(ridge.features(X)[0])


def test_a_network_says_that_it_needs_dense_vectors() -> None:
    X, y = patients()
    with pytest.raises(ConfigurationError, match="n_components: expected a number for a network"):
        af.JointFusionClassifier(encoders(), **QUIET).fit(X, y)
    with pytest.raises(ConfigurationError, match="n_components: expected a number for a network"):
        encoder().fit(X).build()


def test_a_comparison_reads_the_words_densely() -> None:
    X, y = patients()
    board = af.compare(
        X, y, encoders(), families=["early"], cv=2, n_bootstrap=2, verbose=0, random_state=0
    )
    assert "early" in repr(board)


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=3, max_size=3), min_size=1))
def test_sparse_rows_that_differ_are_those_of_the_dense_ones(rows: list[list[float]]) -> None:
    table = np.asarray(rows)
    first, place = _sparse.distinct(csr_array(table[:, :2]), table[:, 2])
    other = _penalty._distinct([*table.T])
    assert sorted(first.tolist()) == sorted(other[0].tolist())
    assert len(np.unique(np.column_stack([place, other[1]]), axis=0)) == len(first)
