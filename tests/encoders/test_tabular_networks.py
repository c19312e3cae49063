"""Networks, number embeddings and boosted trees on tables, through the estimators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from xgboost import XGBClassifier

import asfusion as af

CHOICES: dict[str, dict[str, Any]] = {
    "mlp": {},
    "tabnet": {"network": "tabnet"},
    "ft_transformer": {"network": "ft_transformer"},
    "tabm": {"network": "tabm"},
    "resnet": {"network": "resnet"},
    "mlp, piecewise": {"number_embedding": "piecewise_linear"},
    "mlp, periodic": {"number_embedding": "periodic"},
    "tabm, piecewise": {"network": "tabm", "number_embedding": "piecewise_linear"},
    "ft, piecewise": {"network": "ft_transformer", "number_embedding": "piecewise_linear"},
    "resnet, periodic": {"network": "resnet", "number_embedding": "periodic"},
}
BOOSTED = {
    "HistGradientBoosting": HistGradientBoostingClassifier(max_iter=10),
    "GradientBoosting": GradientBoostingClassifier(n_estimators=10),
    "XGBoost": XGBClassifier(n_estimators=10, n_jobs=1),
}


def make_table(n: int = 80, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table with missing cells, rows without labs, and labels that labs explain."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "crp": rng.gamma(2, 4, n),
            "esr": rng.gamma(2, 12, n),
            "sex": rng.choice(["f", "m"], n),
            "age": rng.uniform(20, 60, n),
        }
    )
    y = ((X["crp"] > 6) ^ (rng.random(n) < 0.05)).to_numpy().astype(int)
    X.loc[::9, "esr"] = np.nan
    X.loc[::11, ["crp", "esr"]] = np.nan
    return X, y


def encoders_of(**parameters: Any) -> dict[str, af.Encoder]:
    return {
        "labs": af.TabularEncoder(["crp", "esr"], d_hidden=16, **parameters),
        "person": af.TabularEncoder(["sex", "age"], d_hidden=16, **parameters),
    }


@pytest.mark.parametrize("name", CHOICES)
def test_every_network_learns_is_saved_and_does_not_mind_other_rows(
    name: str, tmp_path: Path
) -> None:
    X, y = make_table()
    model = af.JointFusionClassifier(
        encoders_of(**CHOICES[name]), learning_rate=8e-3, max_epochs=25, verbose=0,
        early_stopping=False, random_state=0,
    )  # fmt: skip
    model.fit(X, y)
    proba = model.predict_proba(X)
    assert ((proba[:, 1] > 0.5) == y).mean() > 0.75
    alone = np.vstack([model.predict_proba(X.iloc[[row]]) for row in (0, 1, 9)])
    np.testing.assert_allclose(alone, proba[[0, 1, 9]], rtol=1e-9, atol=1e-9)
    again = af.load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(again.predict_proba(X), proba)


@pytest.mark.parametrize("network", ["ft_transformer", "tabm", "resnet"])
def test_a_seed_gives_the_same_network(network: str) -> None:
    X, y = make_table(40)
    model = af.JointFusionClassifier(
        encoders_of(network=network), max_epochs=2, verbose=0, random_state=3
    )
    first = model.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), first)


@pytest.mark.parametrize("network", ["resnet", "tabnet"])
def test_a_batch_may_have_one_row_with_the_modality(network: str) -> None:
    X, y = make_table(24)
    X.loc[X.index[1:], ["crp", "esr"]] = np.nan
    X.loc[X.index[0], ["crp", "esr"]] = 5.0
    model = af.JointFusionClassifier(
        encoders_of(network=network), max_epochs=2, batch_size=8, verbose=0, random_state=0
    )
    assert np.isfinite(model.fit(X, y).predict_proba(X)).all()


# ------------------------------------------------------------------ bins


def bins_of(encoder: af.TabularEncoder) -> dict[str, list[float]]:
    return {plan["name"]: plan["edges"] for plan in encoder.plan_}


def piecewise() -> af.TabularEncoder:
    return af.TabularEncoder(["crp", "esr", "sex"], number_embedding="piecewise_linear")


def test_bins_hold_equal_shares_of_training_rows() -> None:
    X, _ = make_table(400)
    encoder = piecewise().fit(X)
    bins = bins_of(encoder)
    assert bins["sex"] == []
    edges = np.asarray(bins["crp"])
    assert len(edges) == 33 and (np.diff(edges) > 0).all()
    known = X["crp"].notna().to_numpy()
    feature = encoder.transform(X)[known][:, encoder.get_feature_names_out().tolist().index("crp")]
    counts, _ = np.histogram(feature, edges)
    assert counts.min() >= 0.5 * counts.mean() and counts.max() <= 2 * counts.mean()
    assert all(plan["edges"] == [] for plan in af.TabularEncoder().fit(X).plan_)


def test_few_distinct_values_have_few_bins() -> None:
    X = pd.DataFrame({"crp": [1.0, 2.0, 3.0] * 20, "esr": [1.0] * 60, "sex": ["f", "m"] * 30})
    bins = bins_of(piecewise().fit(X))
    assert len(bins["crp"]) <= 3 and len(bins["esr"]) == 1
    encoder = piecewise().fit(X)
    tokens = encoder.build().eval()(dict(encoder.prepare(X).tensors))
    assert torch.isfinite(tokens.values).all()


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=40, max_size=40).filter(lambda w: sum(map(bool, w)) > 5)
)
def test_a_weight_counts_rows_in_bins(weights: list[int]) -> None:
    X, _ = make_table(40)
    repeated = X.iloc[np.repeat(np.arange(40), weights)].reset_index(drop=True)
    assert piecewise().fit(X, sample_weight=weights).plan_ == piecewise().fit(repeated).plan_


def test_test_rows_move_no_bin() -> None:
    X, _ = make_table()
    encoder = piecewise().fit(X)
    before = json.dumps(encoder.plan_)
    encoder.transform(X.assign(crp=1e6))
    assert json.dumps(encoder.plan_) == before
    wild = encoder.prepare(X.assign(crp=1e9, esr=-1e9))
    assert torch.isfinite(encoder.build().eval()(dict(wild.tensors)).values).all()


def test_a_missing_cell_keeps_its_flag_beside_the_embedding() -> None:
    X, _ = make_table()
    encoder = piecewise().fit(X)
    network = encoder.build().eval()
    middle = float(X["esr"].quantile(0.5, interpolation="lower"))
    rows = pd.DataFrame({"crp": [5.0, 5.0], "esr": [middle, np.nan], "sex": ["f", "f"]})
    features = encoder.prepare(rows).tensors["x"]
    assert features[0, 2] == features[1, 2]  # imputed by the median, which the first row has
    tokens = network({"x": features}).values
    assert not torch.allclose(tokens[0], tokens[1])


# ------------------------------------------------------------------ boosted trees


@pytest.mark.parametrize("name", BOOSTED)
@pytest.mark.parametrize("family", ["early", "late"])
def test_boosted_trees_fuse_early_and_late(name: str, family: str, tmp_path: Path) -> None:
    X, y = make_table()
    make = af.EarlyFusionClassifier if family == "early" else af.LateFusionClassifier
    model = make(encoders_of(), BOOSTED[name], verbose=0, random_state=0).fit(X, y)
    proba = model.predict_proba(X)
    assert np.isfinite(proba).all() and ((proba[:, 1] > 0.5) == y).mean() > 0.8
    again = af.load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(again.predict_proba(X), proba)


# ------------------------------------------------------------------ wide tables


def test_a_wide_table_holds_no_row_out_by_default() -> None:
    """With 600 columns and 300 rows each row is missed, and a few judge poorly."""
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(110, 120)), columns=[f"g{i}" for i in range(120)])
    y = (wide["g0"] + wide["g1"] > 0).astype(int)
    quiet = {"max_epochs": 2, "verbose": 0, "random_state": 0}
    halves = {
        "first": af.TabularEncoder([f"g{i}" for i in range(60)]),
        "second": af.TabularEncoder([f"g{i}" for i in range(60, 120)]),
    }
    for encoders in ({"all": af.TabularEncoder()}, halves):
        model = af.JointFusionClassifier(encoders, **quiet).fit(wide, y)
        assert "validation_loss" not in model.history_[0]
    many = pd.DataFrame(rng.normal(size=(1000, 3)), columns=["a", "b", "c"])
    narrow = af.JointFusionClassifier(**quiet).fit(many, (many.sum(axis=1) > 0).astype(int))
    assert "validation_loss" in narrow.history_[0]
    asked = af.JointFusionClassifier(halves, early_stopping=True, **quiet).fit(wide, y)
    assert "validation_loss" in asked.history_[0]
