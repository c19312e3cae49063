"""Ranks within a row: no scale of a whole row, and no platform, changes them."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import rankdata

import asfusion as af
from asfusion.tabular import ranks
from asfusion.tabular.preprocess import TablePreprocessor
from asfusion.tabular.ranks import rank_within_rows

RNG = np.random.default_rng(0)


def expression(n=60, width=12, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"gene_{i}" for i in range(width)]
    return pd.DataFrame(rng.normal(size=(n, width)), columns=names)


def ranking(**options):
    return af.TabularEncoder(scale="rank_within_row", **options)


def by_hand(row):
    known = ~np.isnan(row)
    out = np.full(len(row), np.nan)
    out[known] = (2 * rankdata(row[known]) - 1) / known.sum() - 1
    return out


def test_ranks_against_one_row_at_a_time(monkeypatch):
    cells = RNG.integers(0, 5, (40, 9)).astype(float)  # many ties
    cells[RNG.random(cells.shape) < 0.3] = np.nan
    cells[0] = np.nan
    expected = np.array([by_hand(row) for row in cells])
    np.testing.assert_allclose(rank_within_rows(cells), expected)
    monkeypatch.setattr(ranks, "_CELLS_AT_ONCE", 20)
    np.testing.assert_allclose(rank_within_rows(cells), expected)
    assert rank_within_rows(np.empty((0, 3))).shape == (0, 3)


def test_what_is_measured_on_another_scale_is_read_alike():
    X = expression()
    X.iloc[3, 4] = np.nan
    encoder = ranking().fit(X)
    shift, factor = RNG.normal(size=(60, 1)), RNG.uniform(0.1, 9.0, (60, 1))
    np.testing.assert_array_equal(encoder.transform(X * factor + shift), encoder.transform(X))
    np.testing.assert_array_equal(encoder.transform(np.exp(X)), encoder.transform(X))
    assert not np.allclose(af.TabularEncoder().fit(X).transform(np.exp(X)), encoder.transform(X))


def test_a_row_is_read_alone_as_among_others_and_gaps_stay_gaps():
    X = expression()
    X.iloc[::7, 2] = np.nan
    X.iloc[5] = np.nan
    encoder = ranking().fit(X)
    whole = encoder.transform(X)
    for row in (0, 5, 7):
        np.testing.assert_array_equal(encoder.transform(X.iloc[[row]]), whole[[row]])
    flag = list(encoder.get_feature_names_out()).index("gene_2_missing")
    assert whole[0, flag] == 1.0 and whole[1, flag] == 0.0 and np.isnan(whole[5]).all()
    np.testing.assert_array_equal(encoder.transform(pl.from_pandas(X)), whole)


def test_only_numbers_with_values_in_training_are_ranked():
    X = expression(width=3).assign(sex=["f", "m"] * 30, empty=np.nan, old=[True, False] * 30)
    X["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(60), unit="D")
    with pytest.warns(af.exceptions.AsfusionWarning, match="'empty' has no value"):
        encoder = ranking().fit(X)
    plans = {plan["name"]: plan["is_ranked"] for plan in encoder.plan_}
    assert plans == {name: name.startswith("gene") for name in X}
    later = X.assign(empty=1e9)  # a column that training never saw takes no part
    np.testing.assert_array_equal(encoder.transform(later), encoder.transform(X))
    plain = af.TabularEncoder(["sex", "old", "day"]).fit(X)
    np.testing.assert_array_equal(encoder.transform(X)[:, 3:], plain.transform(X))


def test_numbers_in_columns_of_objects_and_of_several_types_rank_together():
    X = expression(width=4)
    mixed = X.assign(gene_1=X["gene_1"].astype(object), gene_2=X["gene_2"].astype("float32"))
    expected = ranking().fit(X).transform(X)
    np.testing.assert_allclose(ranking().fit(mixed).transform(mixed), expected)
    assert np.isfinite(TablePreprocessor(rank_rows=True).fit(X, list(X)).transform(X)).all()


def test_a_model_crosses_to_another_platform_is_saved_and_explained(tmp_path):
    X, there = expression(120), expression(120, seed=1)
    y, truth = ((t["gene_0"] > t["gene_1"]).astype(int) for t in (X, there))
    there = 100.0 + 40.0 * there * RNG.uniform(0.5, 2.0, (120, 1))
    areas = {}
    for scale in ("robust", "rank_within_row"):
        parts = {"omics": af.TabularEncoder(scale=scale, d_out=8)}
        model = af.EarlyFusionClassifier(parts, verbose=0, random_state=0).fit(X, y)
        report = af.evaluate(model, there, truth, n_bootstrap=2)
        areas[scale] = report.scores["auc"].estimate
    assert areas["rank_within_row"] > 0.9 > areas["robust"] + 0.1
    model.save(tmp_path / "model.asf")
    again = af.load(tmp_path / "model.asf").predict_proba(there)
    np.testing.assert_array_equal(again, model.predict_proba(there))
    found = af.explain(model, there.head(2), background=there.head(20))
    assert np.isfinite(found.details.of("omics").values).all()


def test_a_scale_that_is_none():
    with pytest.raises(af.exceptions.ConfigurationError, match="scale: expected one of 'robust'"):
        af.TabularEncoder(scale="rank").fit(expression())
