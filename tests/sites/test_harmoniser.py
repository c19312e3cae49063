"""What a site adds and stretches is taken out, and never in silence where it is disease."""

import warnings

import numpy as np
import pandas as pd
import pytest

import asfusion as af
from asfusion.exceptions import AsfusionWarning, ConfigurationError, InputError
from asfusion.sites import SiteHarmoniser
from asfusion.sites._combat import fit_combat

N = 240
LABS = ["crp", "esr", "sex"]


def make_rows(seed=0, prevalence=(0.5, 0.5, 0.5)):
    """Three sites, of which one has other units and one another spread; a fifth is missing."""
    rng = np.random.default_rng(seed)
    site = np.repeat(["a", "b", "c"], N // 3)
    y = (rng.random(N) < np.repeat(prevalence, N // 3)).astype(int)
    X = pd.DataFrame({"site": site, "crp": rng.normal(10, 2, N), "esr": rng.normal(20, 5, N)})
    X["crp"] += y
    X.loc[site == "b", ["crp", "esr"]] *= 4.0
    X.loc[site == "c", "esr"] = 2.0 * X["esr"] + 9.0
    X["sex"] = rng.choice(["f", "m"], N)
    X["age"] = rng.normal(45, 10, N)
    X.loc[rng.random(N) < 0.2, "crp"] = np.nan
    return X, y


def labs(**options):
    return SiteHarmoniser(af.TabularEncoder(LABS), "site", **options)


def published(values, sites):
    """Return what the published formulas give, written once more, sum by sum."""
    n_rows = len(values)
    levels = np.unique(sites)
    counts = np.array([(sites == level).sum() for level in levels])
    means = np.stack([values[sites == level].mean(axis=0) for level in levels])
    grand = counts @ means / n_rows
    pooled = sum(((values[sites == s] - means[i]) ** 2).sum(axis=0) for i, s in enumerate(levels))
    scale = np.sqrt(pooled / n_rows)
    made = np.empty_like(values)
    for level in levels:
        z = (values[sites == level] - grand) / scale
        n, g, d = len(z), z.mean(axis=0), z.var(axis=0, ddof=1)
        bar, tau = g.mean(), g.var(ddof=1)
        a, b = d.mean() ** 2 / d.var(ddof=1) + 2, d.mean() ** 3 / d.var(ddof=1) + d.mean()
        gamma, delta = g.copy(), d.copy()
        for _ in range(200):
            gamma = (n * tau * g + delta * bar) / (n * tau + delta)
            delta = (b + 0.5 * ((z - gamma) ** 2).sum(axis=0)) / (n / 2 + a - 1)
        made[sites == level] = (z - gamma) / np.sqrt(delta) * scale + grand
    return made


def test_without_missing_cells_the_numbers_are_those_of_the_published_method():
    rng = np.random.default_rng(1)
    sites = rng.integers(0, 3, 90)
    values = rng.normal(size=(90, 7)) * (1 + sites[:, None]) + sites[:, None] * rng.normal(size=7)
    none = np.zeros((90, 0))
    found = fit_combat(values, sites, 3, np.ones(90), none, none).apply(values, sites, none)
    np.testing.assert_allclose(found, published(values, sites), atol=2e-3)


def test_a_row_of_weight_two_is_two_rows():
    rng = np.random.default_rng(2)
    values, sites, none = rng.normal(size=(40, 3)), np.arange(40) % 2, np.zeros((40, 0))
    twice = np.r_[np.arange(40), np.arange(10)]
    weighted = fit_combat(values, sites, 2, 1.0 + (np.arange(40) < 10), none, none)
    copied = fit_combat(values[twice], sites[twice], 2, np.ones(50), none[twice], none[twice])
    np.testing.assert_allclose(weighted.shift, copied.shift, atol=1e-3)
    np.testing.assert_allclose(weighted.stretch, copied.stretch, atol=1e-3)


def test_missing_cells_stay_missing_and_what_is_no_number_stays_as_it_is():
    X, _ = make_rows()
    X["flag"] = np.arange(N) % 2
    encoder = SiteHarmoniser(af.TabularEncoder([*LABS, "flag"]), "site").fit(X)
    made = encoder._changed(encoder._read(X)).to_native()
    pd.testing.assert_series_equal(made["crp"].isna(), X["crp"].isna())
    pd.testing.assert_frame_equal(made[["sex", "flag"]], X[["sex", "flag"]], check_dtype=False)
    spread = made.groupby(X.site)[["crp", "esr"]].mean().std()
    assert (spread < 0.15 * X.groupby("site")[["crp", "esr"]].mean().std()).all()


@pytest.mark.parametrize(
    "family", [af.EarlyFusionClassifier, af.LateFusionClassifier, af.JointFusionClassifier]
)
def test_every_fusion_takes_it_and_a_saved_one_answers_alike(family, tmp_path):
    X, y = make_rows()
    X["note"] = np.where(y == 1, "uveitis", "back pain")
    options = {"max_epochs": 2} if "Joint" in family.__name__ else {}
    concepts = SiteHarmoniser(af.ConceptEncoder("note"), "site")
    model = family({"labs": labs(keep=["age"]), "notes": concepts}, verbose=0, **options)
    model.fit(X, y)
    told = model.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X.iloc[[7]]), told[[7]], atol=1e-12)
    saved = af.load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(saved.predict_proba(X), told)
    part = saved.predict_proba(X.assign(note=None))
    assert np.isfinite(part).all()


def test_the_probe_finds_the_site_before_and_not_after():
    X, y = make_rows()
    learn, ask = np.arange(N) % 2 == 0, np.arange(N) % 2 == 1
    encoders = {"plain": af.TabularEncoder(LABS), "harmonised": labs()}
    model = af.EarlyFusionClassifier(encoders, verbose=0).fit(X[learn], y[learn])
    probe = af.site_probe(model, X[ask], X.site[ask], y=y[ask], n_permutations=99)
    found = probe.embeddings
    assert found["plain"].auc > 0.85 and found["plain"].adjusted < 0.05
    assert found["harmonised"].auc < 0.65


def test_sites_that_differ_in_the_target_are_told_with_figures():
    X, y = make_rows(prevalence=(0.2, 0.5, 0.8))
    with pytest.warns(AsfusionWarning, match=r"prevalence differs .* \(\d+% to \d+%\), \d+% of"):
        encoder = labs().fit(X, y)
    assert 0.1 < encoder.entangled_ < 0.5
    with pytest.warns(AsfusionWarning, match="mean of the target differs between the sites"):
        labs().fit(X, y + np.random.default_rng(0).normal(0, 0.1, N))
    for seed in range(5):
        X, y = make_rows(seed)
        labs().fit(X, y)


def test_what_is_kept_is_kept():
    """Site b is of the sick: without their label the difference is taken for one of the site."""
    rng = np.random.default_rng(0)
    site = np.repeat(["a", "b"], N // 2)
    y = (rng.random(N) < np.where(site == "b", 0.8, 0.2)).astype(int)
    X = pd.DataFrame({"site": site, "crp": rng.normal(10, 2, N) + 6.0 * y, "old": y * 1.0})
    gaps = {}
    for name, options in {
        "plain": {},
        "target": {"keep_target": True},
        "covariate": {"keep": ["old"]},
    }.items():
        encoder = SiteHarmoniser(af.TabularEncoder(["crp"]), **options)
        with pytest.warns(AsfusionWarning, match="prevalence differs"):
            made = encoder.fit(X, y)._changed(encoder._read(X)).to_native()["crp"]
        gaps[name] = made[y == 1].mean() - made[y == 0].mean()
    assert gaps["plain"] < 5.2 < min(gaps["target"], gaps["covariate"])


def test_the_target_of_a_row_changes_nothing_of_it():
    X, y = make_rows()
    encoder = labs(keep_target=True).fit(X, y)
    pd.testing.assert_frame_equal(
        pd.DataFrame(encoder.transform(X)), pd.DataFrame(encoder.transform(X.assign(y=1 - y)))
    )


def test_an_unseen_site_passes_or_reads_as_the_largest_or_is_refused():
    X, _ = make_rows()
    X = pd.concat([X, X[X.site == "a"]], ignore_index=True)
    strange = X[X.site == "b"].assign(site="z")
    plain = labs().fit(X)
    untouched = plain._changed(plain._read(strange)).to_native()
    np.testing.assert_allclose(untouched["esr"], strange["esr"])
    reference = labs(unseen="reference").fit(X)
    as_a = reference.transform(strange.assign(site="a"))
    np.testing.assert_array_equal(reference.transform(strange), as_a)
    np.testing.assert_array_equal(reference.transform(strange.assign(site=None)), as_a)
    with pytest.raises(InputError, match=r"column 'site' of 80 row\(s\)"):
        labs(unseen="error").fit(X).transform(strange)
    few = X[(X.site != "b") | (X.index % 30 == 0)]
    assert labs().fit(few).sites_ == ["a", "c"]


def test_one_site_is_left_as_it_is_and_told():
    X, _ = make_rows()
    alone = X[X.site == "a"]
    with pytest.warns(AsfusionWarning, match="got 1. Nothing is harmonised"):
        encoder = labs().fit(alone)
    expected = af.TabularEncoder(LABS).fit(alone).transform(alone)
    np.testing.assert_array_equal(encoder.transform(alone), expected)


def test_sites_are_the_same_as_numbers_and_as_text():
    X, _ = make_rows()
    codes = X.site.map({"a": 1, "b": 2, "c": 3})
    text = labs().fit(X.assign(site=codes.astype(str))).transform(X.assign(site=codes))
    number = labs().fit(X.assign(site=codes)).transform(X.assign(site=codes.astype(float)))
    np.testing.assert_array_equal(text, number)


def test_constant_and_empty_columns_and_one_that_a_site_lacks():
    X, _ = make_rows()
    X["same"], X["few"] = 3.0, np.where(X.site == "b", np.nan, X["age"])
    encoder = SiteHarmoniser(af.TabularEncoder(["same", "few", "esr"]), "site").fit(X)
    made = encoder._changed(encoder._read(X.assign(few=X["age"]))).to_native()
    assert (made["same"] == 3.0).all()
    there = X.site == "b"
    enormous = X.assign(esr=X["esr"] * 1e200)
    huge = SiteHarmoniser(af.TabularEncoder(["esr"]), "site").fit(enormous)
    assert np.isfinite(huge._changed(huge._read(enormous)).to_native()["esr"]).all()
    np.testing.assert_allclose(made["few"][there], X["age"][there])


def test_a_target_that_is_the_site_is_refused():
    X, _ = make_rows()
    y = (X.site == "b").astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AsfusionWarning)
        with pytest.raises(InputError, match="says which site it is"):
            labs(keep_target=True).fit(X, y)


def test_sparse_and_untrained_encoders_and_odd_parameters_are_refused():
    X, _ = make_rows()
    X["note"] = "back pain"
    wrong = {
        "gives sparse counts": SiteHarmoniser(
            af.TextEncoder("note", backbone="tfidf", n_components=None)
        ),
        "learns from targets": SiteHarmoniser(af.ImageEncoder("note", backbone="compact")),
        "encoder: expected an encoder": SiteHarmoniser("labs"),
        "encoder of named columns": SiteHarmoniser(af.TabularEncoder()),
        "'site' as well": SiteHarmoniser(af.TabularEncoder(["site", "crp"])),
        "a list of names, got one name": labs(keep="age"),
        "keep: expected columns without": labs(keep=["site"]),
        "unseen: expected": labs(unseen="drop"),
        "keep_target=True: expected targets": labs(keep_target=True),
    }
    for said, encoder in wrong.items():
        with pytest.raises(ConfigurationError, match=said):
            encoder.fit(X)


def test_it_is_fitted_within_folds_and_compared():
    X, y = make_rows()
    board = af.compare(
        X,
        y,
        encoders={"labs": labs(), "age": af.TabularEncoder(["age"])},
        families=["early"],
        cv=2,
        n_bootstrap=50,
        verbose=0,
    )
    assert "early" in str(board)
    result = af.cross_validate(
        af.EarlyFusionClassifier({"labs": labs()}, verbose=0), X, y,
        cv="leave-one-site-out", sites=X.site, n_bootstrap=50, verbose=0,
    )  # fmt: skip
    assert len(result.to_frame()) == 3
