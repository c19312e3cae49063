"""Explanations of genotypes: by variant, and by locus as one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import asfusion as af
from asfusion.exceptions import ConfigurationError
from asfusion.explanation.genotypes import GenotypeAttribution


@pytest.fixture(scope="module")
def cohort():
    return af.datasets.make_axspa_cohort(260, random_state=0, modalities=["labs", "genes"])


def explained(cohort, encoder, rows=4):
    encoders = {"labs": af.TabularEncoder(["crp", "esr"]), "genes": encoder}
    model = af.EarlyFusionClassifier(encoders, random_state=0, verbose=0)
    X = cohort.X
    model.fit(X[:200], cohort.y[:200])
    asked = X[200:][X[200:]["rs30187"].notna()].head(rows)
    return model, asked, af.explain(model, asked, background=X[:200], n_background=8, verbose=0)


def test_hla_b27_and_its_tag_are_one_locus_and_first(cohort):
    encoder = af.GenotypeEncoder(hla_b27="hla_b27", annotation="published")
    _, asked, e = explained(cohort, encoder)
    found = e["genes"]
    loci = found.by_locus()
    assert isinstance(found, GenotypeAttribution)
    np.testing.assert_allclose(found.outputs, loci.outputs, atol=1e-12)
    size = np.abs(loci.values).mean(axis=0)
    names = list(loci.feature_names)
    assert names[1:][np.argmax(size[1:])] == "HLA-B27"
    # Its two columns share what the locus is worth.
    own = [found.feature_names.index(c) for c in ("hla_b27", "rs4349859")]
    np.testing.assert_allclose(
        found.values[:, own].sum(axis=1), loci.values[:, names.index("HLA-B27")], atol=0.03
    )
    cells = loci.data[:, names.index("HLA-B27")]
    assert cells[0].startswith("rs4349859 ") and ", hla_b27 " in cells[0]
    frame = found.to_frame()
    assert set(frame["level"]) == {"variant", "locus"}
    assert len(frame) == len(asked) * (len(found.feature_names) + len(names))


def test_few_loci_are_played_exactly_and_equal_by_hand(cohort):
    columns = ["rs30187", "rs2910686", "rs11209026"]
    encoder = af.GenotypeEncoder(
        columns, hla_b27="hla_b27", annotation={"rs30187": "5q15", "rs2910686": "5q15"}
    )
    model, asked, e = explained(cohort, encoder, rows=1)
    loci = e["genes"].by_locus()
    assert loci.feature_names[1:] == ("5q15", "rs11209026", "HLA-B27") and loci.error is None
    background = e.details.frame.take(np.arange(1, len(e.details.frame))).to_native()

    def worth(kept, with_labs):
        rows = background.copy()
        for locus in kept:
            for column in encoder_columns[locus]:
                rows[column] = asked[column].iloc[0]
        for column in ("crp", "esr"):
            rows[column] = asked[column].iloc[0] if with_labs else np.nan
        return model.predict_proba(rows)[:, 1].mean()

    fitted = model.encoders_["genes"]
    encoder_columns = fitted.locus_groups()
    every = list(encoder_columns)
    present = background[list(fitted.columns_)].notna().any(axis=1)
    background = background[present]
    top = sum(worth(every, labs) for labs in (True, False)) / 2
    bottom = sum(worth([], labs) for labs in (True, False)) / 2
    np.testing.assert_allclose(loci.values[0, 1:].sum(), top - bottom, atol=1e-9)
    first = "5q15"
    gains = []
    for order in (0, 1, 2):
        from itertools import combinations

        for others in combinations([x for x in every if x != first], order):
            both = [worth([*others, first], labs) - worth(others, labs) for labs in (True, False)]
            gains.append(np.mean(both) / (3 * (1, 2, 1)[order]))
    np.testing.assert_allclose(loci.values[0, 1], sum(gains), atol=1e-9)


def test_without_shared_loci_there_is_nothing_to_group(cohort):
    _, _, e = explained(cohort, af.GenotypeEncoder(["rs30187", "rs2910686"]), rows=2)
    with pytest.raises(ConfigurationError, match="by_locus: expected variants that share a gene"):
        e["genes"].by_locus()
    assert set(e["genes"].to_frame()["level"]) == {"variant"}
    assert isinstance(e.to_frame(), pd.DataFrame) and e.check()["passed"].notna().all()


def test_absent_calls_stay_absent_in_the_table(cohort):
    encoders = {"genes": af.GenotypeEncoder(["rs30187", "rs4349859"], hla_b27="hla_b27")}
    X = cohort.X.copy()
    X.loc[X.index[0], "rs30187"] = np.nan
    X.loc[X.index[0], "rs4349859"], X.loc[X.index[0], "hla_b27"] = np.nan, True
    model = af.JointFusionClassifier(encoders, max_epochs=2, random_state=0, verbose=0)
    model.fit(X[:100], cohort.y[:100])
    found = af.explain(model, X[:1], background=X[:20], verbose=0)["genes"]
    assert found.data[0, 1] is None
    assert found.by_locus().data[0, -1] == "rs4349859 ?, hla_b27 1"
