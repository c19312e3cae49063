"""Genotypes as a modality: what features follow from dosages, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import asfusion as af
from asfusion.encoders.genotypes import GenotypeEncoder
from asfusion.exceptions import AsfusionWarning, ColumnError, ConfigurationError, InputError
from asfusion.genomics.weights import published_weights

NAN = np.nan
X = pd.DataFrame(
    {
        "rs30187": [0, 1, 2, NAN, 1, NAN],
        "rs11209026_A": [0, 0, 1, 1, 0, NAN],
        "rs2910686": [2, 1, 1, 0, 0, NAN],
        "hla_b27": [0, 1, 2, NAN, 1, NAN],
        "crp": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    }
)


def features(encoder, rows=X):
    return pd.DataFrame(encoder.transform(rows), columns=list(encoder.get_feature_names_out()))


def test_features_by_hand():
    found = features(GenotypeEncoder(hla_b27="hla_b27").fit(X))
    assert list(found) == [
        "rs30187", "rs11209026_A", "rs2910686", "hla_b27", "rs30187_x_hla_b27",
        "rs30187_missing", "hla_b27_missing",
    ]  # fmt: skip
    known = np.array([0, 1, 2, 1.0, 1])  # the mean of 0, 1, 2 and 1 stands in
    np.testing.assert_allclose(found["rs30187"][:5], (known - 1) / known.std())
    together = known * np.array([0, 1, 1, 0.75, 1])  # two copies of HLA-B27 are carriage too
    np.testing.assert_allclose(
        found["rs30187_x_hla_b27"][:5], (together - together.mean()) / together.std()
    )
    assert found["rs30187_missing"].tolist()[:5] == [0, 0, 0, 1, 0]
    assert found.iloc[5].isna().all(), "no call at all is a missing modality"


def test_a_missing_call_is_imputed_and_flagged_and_no_missing_modality():
    prepared = GenotypeEncoder(hla_b27="hla_b27").fit(X).prepare(X)
    assert prepared.present.tolist() == [True] * 5 + [False]
    without_flags = GenotypeEncoder(["rs2910686"]).fit(X[:5])
    assert list(without_flags.get_feature_names_out()) == ["rs2910686"]


def test_a_row_of_weight_two_is_two_rows():
    twice = GenotypeEncoder().fit(X.iloc[[0, 1, 1, 2]].reset_index(drop=True))
    weighted = GenotypeEncoder().fit(X[:4], sample_weight=[1, 2, 1, 0])
    np.testing.assert_allclose(twice.transform(X), weighted.transform(X))


@pytest.mark.parametrize(
    ("weights", "score"),
    [
        ({"rs30187": 1.0, "rs2910686": 10.0}, [20, 11, 12, 1, 1]),
        # The columns count A; the weight is of G, the other allele.
        (("rs11209026", "G", "A", 1.0), [2, 2, 1, 1, 2]),
        (("rs11209026", "A", "G", 1.0), [0, 0, 1, 1, 0]),
        # Nothing says which allele this column counts: the effect allele.
        (("rs2910686", "C", "T", 1.0), [2, 1, 1, 0, 0]),
    ],
)
def test_the_score_counts_the_allele_of_the_weight(weights, score):
    if isinstance(weights, tuple):
        names = ["id", "effect_allele", "other_allele", "weight"]
        weights = pd.DataFrame([weights], columns=names)
    found = features(GenotypeEncoder(weights=weights).fit(X))["risk_score"][:5].to_numpy()
    score = np.asarray(score, dtype=float)
    np.testing.assert_allclose(found, (score - score.mean()) / score.std(), atol=1e-12)


def test_alleles_of_the_other_strand_are_read_so_and_said():
    # T and C are A and G on the other strand; the last column does not say what it counts.
    weights = pd.DataFrame(
        [("rs11209026", "C", "T", 1.0), ("rs2910686", "C", "T", 0.0)],
        columns=["id", "effect_allele", "other_allele", "weight"],
    )
    with pytest.warns(
        AsfusionWarning, match="1 of 1 weights that are used .* other strand"
    ) as said:
        found = features(GenotypeEncoder(weights=weights).fit(X))["risk_score"][:5].to_numpy()
    assert len(said) == 1
    score = np.array([2.0, 2, 1, 1, 2])
    np.testing.assert_allclose(found, (score - score.mean()) / score.std(), atol=1e-12)


def test_published_weights_count_erap1_in_carriers_only():
    encoder = GenotypeEncoder(hla_b27="hla_b27", weights="published").fit(X)
    weights = published_weights(recalled=True).set_index("id")["weight"]
    carriers = np.array([0, 1, 1, 0.75, 1])
    score = (
        np.array([0, 1, 2, 1, 1]) * carriers * weights["rs30187"]
        + (2 - X["rs11209026_A"][:5]) * weights["rs11209026"]
        + X["rs2910686"][:5] * weights["rs2910686"]
    )
    np.testing.assert_allclose(
        features(encoder)["risk_score"][:5], (score - score.mean()) / score.std(ddof=0)
    )


def test_alleles_that_do_not_fit_are_left_out_and_said():
    weights = pd.DataFrame(
        [("rs11209026", "G", "C", 1.0), ("rs30187", "T", "C", 1.0)],
        columns=["id", "effect_allele", "other_allele", "weight"],
    )
    with pytest.warns(AsfusionWarning, match="leaves out 1 of 2 variants.*'rs11209026'"):
        encoder = GenotypeEncoder(weights=weights).fit(X)
    assert len(encoder.plan_["terms"]) == 1
    annotation = pd.DataFrame(
        {"id": ["rs30187"], "gene": "ERAP1", "effect_allele": "C", "other_allele": "T"}
    )
    told = GenotypeEncoder(weights=weights[1:], annotation=annotation).fit(X)
    found = features(told)
    np.testing.assert_allclose(found["risk_score"][:3], -found["rs30187"][:3])


def test_loci_come_from_the_annotation_and_b27_has_its_tags():
    frame = X.assign(rs4349859=[0, 1, 1, 0, 1, 0])
    encoder = GenotypeEncoder(hla_b27="hla_b27", annotation="published").fit(frame)
    assert encoder.locus_groups() == {
        "ERAP1": ["rs30187"], "IL23R": ["rs11209026_A"], "ERAP2": ["rs2910686"],
        "HLA-B27": ["rs4349859", "hla_b27"],
    }  # fmt: skip
    mapped = GenotypeEncoder(annotation={"rs30187": "5q15", "rs2910686": "5q15"}).fit(frame)
    assert mapped.locus_groups()["5q15"] == ["rs30187", "rs2910686"]
    of_weights = published_weights(recalled=True)
    assert "ERAP1" in GenotypeEncoder(weights=of_weights).fit(frame).locus_groups()


def test_rows_that_count_the_other_allele_are_noticed():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"rs1": rng.binomial(2, 0.2, 200), "rs2": rng.binomial(2, 0.5, 200)})
    encoder = GenotypeEncoder().fit(rows)
    encoder.transform(rows)
    with pytest.warns(AsfusionWarning, match="as if the other allele were counted.*'rs1'"):
        encoder.transform(rows.assign(rs1=2 - rows["rs1"]))


@pytest.mark.parametrize("network", ["mlp", "attention"])
@pytest.mark.parametrize("family", ["Early", "Joint", "Late"])
def test_all_families_learn_from_genes_and_save_what_they_learned(tmp_path, network, family):
    cohort = af.datasets.make_axspa_cohort(240, random_state=0, modalities=["labs", "genes"])
    encoders = {
        "labs": af.TabularEncoder(["crp", "esr"]),
        "genes": af.GenotypeEncoder(
            hla_b27="hla_b27", weights=published_weights(), annotation="published",
            network=network, d_hidden=16,
        ),
    }  # fmt: skip
    options = {"max_epochs": 30, "learning_rate": 3e-3} if family == "Joint" else {}
    kind = getattr(af, f"{family}FusionClassifier")
    model = kind(encoders, random_state=0, verbose=0, **options)
    model.fit(cohort.X[:180], cohort.y[:180])
    assert model.score(cohort.X[180:], cohort.y[180:]) > 0.6
    again = af.load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(
        again.predict_proba(cohort.X[180:]), model.predict_proba(cohort.X[180:])
    )
    table = again.get_params()["encoders"]["genes"].weights
    pd.testing.assert_frame_equal(table, published_weights(), check_dtype=False)


@pytest.mark.parametrize(
    ("options", "rows", "error", "message"),
    [
        ({}, X.assign(rs30187=[0, 3, 1, 1, 1, 1]), InputError, "'rs30187', row 1: expected copies"),
        ({}, X.assign(rs30187=["A"] * 6), ColumnError, "'rs30187', row 0: expected a number"),
        ({"hla_b27": "crp"}, X, InputError, "Column 'crp', row 2: expected copies"),
        ({}, X[["crp"]], ColumnError, r"expected the column 'rs\.\.\.' of a variant"),
        ({"columns": ["rs9"]}, X, ColumnError, "expected the column 'rs9' in X"),
        ({}, X[5:], InputError, "expected a call in at least one training row"),
        ({"columns": "rs30187"}, X, ConfigurationError, "columns: expected None, or a list"),
        ({"columns": []}, X, ConfigurationError, "columns: expected None, or a list"),
        ({"prefix": ""}, X, ConfigurationError, "prefix: expected a text"),
        ({"network": "cnn"}, X, ConfigurationError, "network: expected one of 'mlp', 'attention'"),
        ({"weights": "mine"}, X, ConfigurationError, "weights: expected one of 'published'"),
        ({"weights": {"rs9": 1.0}}, X, InputError, "weights: expected weights of the variants"),
        ({"annotation": "mine"}, X, ConfigurationError, "annotation: expected a mapping, a Data"),
        ({"annotation": [1]}, X, ConfigurationError, "annotation: expected a mapping of variant"),
    ],
)
def test_what_cannot_be_used_is_refused(options, rows, error, message):
    with pytest.raises(error, match=message):
        GenotypeEncoder(**options).fit(rows)


def test_columns_named_like_variants_are_inferred():
    frame = X.drop(index=5).assign(rs30187=[0, 1, 2, 1, 1])
    encoder = af.infer_encoders(frame)["genes"]
    assert isinstance(encoder, GenotypeEncoder) and encoder.hla_b27 == "hla_b27"
    assert encoder.columns == ["rs30187", "rs11209026_A", "rs2910686"]
    alone = af.infer_encoders(frame[["hla_b27", "crp"]])
    assert isinstance(alone["genes"], af.TabularEncoder)
