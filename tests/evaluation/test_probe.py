"""A site that an embedding knows is found; a label that differs between sites is not blamed."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import asfusion as af
from asfusion.evaluation._probe_scores import SiteRegression
from asfusion.exceptions import ConfigurationError, InputError

FAST = {"n_permutations": 99}


def two_visits(seed, n=80, known=0.0):
    """Three sites with another share of ill patients; embeddings that know label, and site."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n), 2)
    site = rng.integers(0, 3, n)
    y = (rng.random(n) < np.where(site == 0, 0.8, 0.3)).astype(int)[patient]
    site = site[patient]
    E = rng.normal(size=(n, 12))[patient] + 0.3 * rng.normal(size=(2 * n, 12))
    E[:, :3] += 1.2 * y[:, None]
    E[:, 4] += known * (site == 1)
    return E, site, y, patient


def test_a_planted_site_is_found_and_none_is_not():
    found = false = 0
    for seed in range(40):
        E, site, y, patient = two_visits(seed, known=2.0)
        probe = af.site_probe({"film": E}, site=site, y=y, groups=patient, **FAST)
        found += probe.embeddings["film"].p_value <= 0.05
        E, site, y, patient = two_visits(seed + 100)
        probe = af.site_probe({"film": E}, site=site, y=y, groups=patient, **FAST)
        false += probe.embeddings["film"].p_value <= 0.05
    assert found / 40 >= 0.8
    assert false / 40 <= 0.15


def test_the_label_alone_is_the_baseline():
    E, site, y, patient = two_visits(0, n=400)
    aware = af.site_probe({"film": E}, site=site, y=y, groups=patient, **FAST)
    naive = af.site_probe({"film": E}, site=site, groups=patient, **FAST)
    assert aware.label_auc > 0.55
    assert naive.label_auc is None
    assert naive.embeddings["film"].p_value == pytest.approx(0.01)
    assert aware.embeddings["film"].p_value > 0.05
    assert aware.embeddings["film"].expected > 0.55
    assert naive.embeddings["film"].expected == pytest.approx(0.5, abs=0.03)
    assert "beyond what the label explains" in aware.verdict
    of_number = af.site_probe({"film": E}, site=site, y=y + 0.01 * np.arange(len(y)), **FAST)
    assert of_number.label_auc is not None


def test_the_regression_is_ridge_regression():
    E, site, _, _ = two_visits(1)
    folds = np.arange(160) % 4
    areas = []
    # The scale includes the number of features, so that the penalty means the same for any.
    model = make_pipeline(StandardScaler(), Ridge(12.0))
    for k in range(3):
        predicted = cross_val_predict(model, E, (site == k) * 1.0, cv=PredefinedSplit(folds))
        areas.append(roc_auc_score(site == k, predicted))
    assert SiteRegression(E, folds)(site[None, :], 3)[0] == pytest.approx(np.mean(areas), abs=1e-9)


@pytest.mark.parametrize("family", [af.EarlyFusionClassifier, af.LateFusionClassifier])
def test_modalities_of_a_model_and_their_presence(family):
    rng = np.random.default_rng(2)
    site = np.repeat(["north", "south"], 60)
    X = pd.DataFrame(rng.normal(size=(120, 3)), columns=["crp", "esr", "bmi"])
    X.loc[site == "south", "crp"] += 3.0
    X.loc[(site == "south") & (rng.random(120) < 0.7), "bmi"] = np.nan
    y = np.arange(120) % 2
    encoders = {
        "labs": af.TabularEncoder(["crp", "esr"], d_hidden=4, d_out=4),
        "body": af.TabularEncoder(["bmi"], d_hidden=4, d_out=4),
    }
    model = family(encoders, verbose=0, random_state=0)
    if family is af.LateFusionClassifier:
        model.set_params(estimator=LogisticRegression())
    model.fit(X, y)
    probe = af.site_probe(model, X, site, y=y, **FAST)
    assert set(probe.embeddings) == {"labs", "body", "presence"}
    assert probe.embeddings["body"].n_rows == X["bmi"].notna().sum()
    assert {k for k, v in probe.embeddings.items() if v.adjusted <= 0.05} == {"labs", "presence"}
    assert "The site is given away" in probe.verdict
    assert "labs (AUC" in repr(probe)
    frame = probe.to_frame()
    assert frame.loc["labs", "auc"] > 0.9
    wrapped = af.RecalibratedClassifier(model, prefit=True).fit(X, y)
    pd.testing.assert_frame_equal(af.site_probe(wrapped, X, site, y=y, **FAST).to_frame(), frame)
    html = af.site_probe({"<b>": X[["esr"]].to_numpy()}, site=site, **FAST)._repr_html_()
    assert "<b>" not in html.replace("<body", "")


def test_what_cannot_be_probed_is_refused():
    E, site, y, patient = two_visits(3)
    probe = af.site_probe
    with pytest.raises(InputError, match="site: expected one site per patient, got several for 80"):
        probe({"a": E}, site=np.arange(160) % 2, groups=patient)
    with pytest.raises(InputError, match="site: expected at least 2 sites, got 1"):
        probe({"a": E}, site=np.zeros(160))
    with pytest.raises(InputError, match="site: expected 160 entries"):
        probe({"a": E}, site=site[:3])
    with pytest.raises(InputError, match="X: expected None beside embeddings"):
        probe({"a": E}, E, site)
    with pytest.raises(InputError, match=r"Embedding 'a': expected shape \(n_rows, n_features\)"):
        probe({"a": E[:, 0]}, site=site)
    with pytest.raises(InputError, match="as many rows in each"):
        probe({"a": E, "b": E[:5]}, site=site)
    with pytest.raises(InputError, match="y: expected one label per row, got an array of 2"):
        probe({"a": E}, site=site, y=E)
    with pytest.raises(ConfigurationError, match="model: expected a fitted fusion estimator, or"):
        probe(LogisticRegression().fit(E, y), E, site)
    early = af.EarlyFusionClassifier(verbose=0).fit(E, y)
    with pytest.raises(InputError, match="X: expected the rows beside a model"):
        probe(early, site=site)
    assert len(probe(early, E, site, **FAST).embeddings) == 1
    with pytest.raises(ConfigurationError, match="n_permutations: expected an integer of at least"):
        probe({"a": E}, site=site, n_permutations=5)
    rare = np.full_like(E, np.nan)
    rare[:8] = 0
    assert probe({"a": E, "rare": rare}, site=site, **FAST).skipped == ("rare",)
    assert "Too few rows have: rare." in repr(probe({"a": E, "rare": rare}, site=site, **FAST))


def test_site_that_is_the_label_cannot_be_tested():
    rng = np.random.default_rng(0)
    site = np.repeat(["a", "b"], 40)
    film = rng.normal(size=(80, 3)) + (site == "b")[:, None]
    probe = af.site_probe({"film": film}, site=site, y=(site == "b").astype(int), n_permutations=19)
    assert not probe.is_testable
    assert "cannot be tested" in probe.verdict and "No embedding" not in probe.verdict
    assert af.site_probe({"film": film}, site=site, n_permutations=19).is_testable


def test_a_wide_table_that_knows_the_site_is_advised_to_be_ranked():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(90, 60)), columns=[f"g{i}" for i in range(60)])
    site, y = np.arange(90) % 2, rng.integers(0, 2, 90)
    X[site == 1] += 5.0  # another platform
    told = {}
    for name, columns, scale in (
        ("wide", None, "robust"),
        ("narrow", ["g0", "g1"], "robust"),
        ("ranked", None, "rank_within_row"),
    ):
        parts = {name: af.TabularEncoder(columns, scale=scale)}
        model = af.EarlyFusionClassifier(parts, "linear", verbose=0).fit(X, y)
        told[name] = af.site_probe(model, X, site, n_permutations=39)
    assert "rank_within_row" in told["wide"].verdict and "60 columns" in told["wide"].verdict
    assert "given away by: narrow" in told["narrow"].verdict
    assert "rank_within_row" not in told["narrow"].verdict
    assert told["ranked"].embeddings["ranked"].p_value > 0.05
