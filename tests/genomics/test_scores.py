"""Risk scores: equal to a plain sum however they are come by, and nothing dropped in silence."""

from __future__ import annotations

import gzip
import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asfusion.clinical.genetics import risk_score_log_odds
from asfusion.datasets._genome import risk_score as score_of_cohort
from asfusion.datasets.axspa_cohort import make_axspa_cohort
from asfusion.exceptions import (
    AsfusionWarning,
    ColumnError,
    ConfigurationError,
    InputError,
    ShapeError,
)
from asfusion.genomics import _sources, _sums
from asfusion.genomics.genotypes import Genotypes
from asfusion.genomics.harmonised import harmonise
from asfusion.genomics.loci import LOCI
from asfusion.genomics.plink import read_plink
from asfusion.genomics.scoring import risk_score
from asfusion.genomics.tags import hla_b27_from_tag
from asfusion.genomics.weights import published_weights, read_weights
from tests.genomics.files import write_bed

STRAND = str.maketrans("ACGT", "TGCA")


def table(*rows, columns="id effect_allele other_allele weight"):
    names = columns.split()
    made = pd.DataFrame([r.split() if isinstance(r, str) else r for r in rows], columns=names)
    return made.astype({name: float for name in names if name in ("weight", "effect_frequency")})


VARIANTS = table("rs1 A G", "rs2 C T", "rs3 A T", columns="id effect_allele other_allele")


def genotypes(dosages, variants=VARIANTS):
    return Genotypes(dosages, [f"p{i}" for i in range(len(dosages))], variants)


# -- alleles ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alleles", "status", "flipped"),
    [
        ("A G", "same", False),
        ("G A", "flipped", True),
        ("T C", "strand", False),
        ("C T", "strand_flipped", True),
        ("a g", "same", False),
        ("A C", "mismatch", False),
        ("A .", "same", False),
        ("G .", "flipped", True),
        ("C .", "strand_flipped", True),
    ],
)
def test_alleles_are_brought_into_line(alleles, status, flipped):
    found = harmonise(VARIANTS, table(f"rs1 {alleles} 0.5")).table.iloc[0]
    assert (found["status"], found["flipped"]) == (status, flipped)
    assert found["variant"] == (-1 if status == "mismatch" else 0)


def test_indels_are_read_on_the_other_strand_backwards():
    variants = table("rs1 ACG A", columns="id effect_allele other_allele")
    assert harmonise(variants, table("rs1 CGT T 1")).counts["strand"] == 1
    assert harmonise(variants, table("rs1 TGC T 1")).counts["mismatch"] == 1


@pytest.mark.parametrize(
    ("ours", "theirs", "status"),
    [
        (0.2, 0.25, "same"),
        (0.8, 0.25, "strand_flipped"),
        (0.45, 0.2, "palindromic"),
        (0.2, 0.55, "palindromic"),
        (0.2, np.nan, "palindromic"),
    ],
)
def test_palindromic_alleles_are_told_by_frequency_or_dropped(ours, theirs, status):
    weights = table(
        ["rs3", "A", "T", 1.0, theirs],
        columns="id effect_allele other_allele weight effect_frequency",
    )
    frequencies = [0.5, 0.5, ours]
    told = harmonise(VARIANTS, weights, palindromic="frequency", frequencies=frequencies)
    assert told.table["status"].tolist() == [status]
    assert harmonise(VARIANTS, weights).counts["palindromic"] == 1
    assert harmonise(VARIANTS, weights, palindromic="keep").counts["same"] == 1


def test_a_weight_finds_its_variant_by_place():
    variants = VARIANTS.assign(chrom=["6", "chr6", "7"], pos=[10, 10, 10])
    weights = table(
        ["6", 10, "T", "C", 0.5], ["chr7", 10, "A", "G", 1.0], ["8", 1, "A", "G", 1.0],
        columns="chrom pos effect_allele other_allele weight",
    )  # fmt: skip
    found = harmonise(variants, weights)
    # Two variants stand at 6:10: T and C are the letters of the second.
    assert found.table["variant"].tolist() == [1, -1, -1]
    assert found.table["status"].tolist() == ["flipped", "mismatch", "absent"]
    assert "used 1: 1 flipped; left out 2: 1 mismatch, 1 absent" in repr(found)
    with pytest.raises(ConfigurationError, match="match by position"):
        harmonise(VARIANTS, weights)
    with pytest.raises(ConfigurationError, match="expected those of the variants"):
        harmonise(VARIANTS, table("rs3 A T 1"), palindromic="frequency")
    with pytest.raises(ConfigurationError, match=r"frequencies: expected shape \(3,\)"):
        harmonise(VARIANTS, table("rs3 A T 1"), palindromic="frequency", frequencies=[0.1])


# -- scores ----------------------------------------------------------------------------


def test_a_score_by_hand():
    people = genotypes([[2, 0, 1], [np.nan, 1, 1], [1, 2, 1]])
    with pytest.warns(AsfusionWarning, match="1 of 2 weights that are used .* other strand"):
        found = risk_score(people, table("rs1 G A 1.0", "rs2 G A 10.0", "rs3 A T 100", "rs9 A C 7"))
    # rs1: 2 less the dosages is 0, missing, 1, of mean one half; rs2 on the other strand.
    np.testing.assert_allclose(found.scores, [0.0, 0.5 + 10.0, 1.0 + 20.0])
    assert found.harmonised.counts == {
        "same": 0, "flipped": 1, "strand": 1, "strand_flipped": 0,
        "palindromic": 1, "mismatch": 0, "absent": 1,
    }  # fmt: skip
    np.testing.assert_allclose(found.called, [1.0, 0.5, 1.0])
    assert found.coverage == 0.5
    assert found.harmonised.table["n_missing"].tolist()[:2] == [1, 0]
    assert found.to_frame().index.tolist() == ["p0", "p1", "p2"]
    assert "3 samples, 4 weights: 1 flipped, 1 strand, 1 palindromic, 1 absent" in repr(found)


def test_missing_calls_count_as_asked():
    people = genotypes([[2, 0, 1], [np.nan, 1, 1]])
    weights = table(
        ["rs1", "A", "G", 1.0, 0.25],
        columns="id effect_allele other_allele weight effect_frequency",
    )
    scores = {
        how: risk_score(people, weights, missing=how).scores.tolist()
        for how in ("mean", "reference", "omit")
    }
    assert scores == {"mean": [2.0, 2.0], "reference": [2.0, 0.5], "omit": [2.0, 0.0]}
    with pytest.raises(ConfigurationError, match="expected an effect_frequency with every weight"):
        risk_score(people, table("rs1 A G 1"), missing="reference")


@given(st.integers(0, 10_000), st.integers(1, 70), st.integers(1, 40))
def test_the_compiled_loop_equals_a_plain_sum(seed, n, v):
    import tempfile
    from pathlib import Path

    rng = np.random.default_rng(seed)
    copies = rng.integers(-1, 3, (n, v))
    effect, other = np.where(rng.random(v) < 0.5, "A", "G"), None
    other = np.where(effect == "A", "G", "A")
    weights = pd.DataFrame(
        {"id": [f"rs{i}" for i in range(v)], "effect_allele": effect, "other_allele": other,
         "weight": rng.normal(size=v)}
    )  # fmt: skip
    rows = [f"s{i}" for i in sorted(rng.permutation(n)[: max(1, (3 * n) // 4)])]
    with tempfile.TemporaryDirectory() as name:
        people = read_plink(write_bed(Path(name), copies)).select(samples=rows)
        people = people.select(rng.permutation(people.variants["id"]).tolist())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_sums, "_WORTH_COMPILING", 0)
            patch.setattr(_sources, "_WORD_BYTES", 16 * 8)  # a group of variants at a time
            compiled = risk_score(people, weights)
        plain = risk_score(people, weights)
    chosen = copies[[int(name[1:]) for name in rows]].astype(float)
    chosen[chosen < 0] = np.nan
    signed = np.where(effect == "A", chosen, 2 - chosen)
    called = ~np.isnan(signed)
    mean = np.where(called, signed, 0).sum(0) / np.maximum(called.sum(0), 1)
    expected = np.where(called, signed, mean) @ weights["weight"].to_numpy()
    for found in (compiled, plain):
        np.testing.assert_allclose(found.scores, expected, atol=1e-12)
        np.testing.assert_allclose(found.called, called.mean(axis=1))
        shown = found.harmonised.table
        np.testing.assert_allclose(shown["frequency"], np.where(called.any(0), mean / 2, np.nan))
        assert shown["n_missing"].tolist() == (~called).sum(0).tolist()


def test_large_files_take_the_compiled_loop(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    file = write_bed(tmp_path, rng.integers(0, 3, (2100, 2000)))
    weights = pd.DataFrame({"id": [f"rs{i}" for i in range(0, 2000)], "effect_allele": "A"})
    monkeypatch.setattr(_sums, "_of_blocks", lambda *a: pytest.fail("the slow way was taken"))
    people = read_plink(file)
    assert len(risk_score(people, weights.assign(weight=1.0))) == 2100
    file.write_bytes(file.read_bytes()[:-9000])
    with pytest.raises(InputError, match="cut or replaced meanwhile"):
        risk_score(people, weights.assign(weight=1.0))


def test_the_score_of_the_cohort_is_that_of_its_maker(tmp_path):
    cohort = make_axspa_cohort(400, random_state=1, modalities=["genes"])
    cohort.write_plink(tmp_path / "c")
    people = read_plink(tmp_path / "c")
    weights = published_weights(recalled=True)
    found = risk_score(
        people, weights, hla_b27=cohort.genome.hla_b27, hla_b27_weight=math.log(50.0),
        missing="reference", palindromic="keep", ancestry="EUR",
    )  # fmt: skip
    np.testing.assert_allclose(found.scores, score_of_cohort(cohort.genome), atol=1e-9)
    assert found.notes == ()
    by_default = risk_score(people, hla_b27=cohort.genome.hla_b27, ancestry="EUR")
    assert by_default.harmonised.counts["palindromic"] == 1  # rs6759298, C>G
    assert any("assumed for all but IL23R" in note for note in by_default.notes)
    difference = by_default.scores - risk_score(people, ancestry="EUR").scores
    np.testing.assert_allclose(difference, math.log(50) * cohort.genome.hla_b27, atol=1e-9)


def test_erap1_counts_in_carriers_only():
    weights = table("rs1 A G 2.0", "rs2 C T 5").assign(only_with_b27=[True, False])
    people = genotypes([[1, 1, 0], [1, 1, 0], [1, 0, 0]])
    assert risk_score(people, weights).scores.tolist() == [7.0, 7.0, 2.0]
    blank = weights.assign(only_with_b27=pd.array([True, None], dtype="boolean"))
    assert risk_score(people, blank, hla_b27=[0, 0, 1]).scores.tolist() == [5.0, 5.0, 2.0]
    for carriers in ([1, 0, 0], {"p2": 0, "p1": 0, "p0": 2}, pd.Series([True, False, False])):
        if isinstance(carriers, pd.Series):
            carriers.index = ["p0", "p1", "p2"]
        found = risk_score(people, weights, hla_b27=carriers, hla_b27_weight=3.0)
        assert found.scores.tolist() == [10.0, 5.0, 0.0]
    unknown = risk_score(people, weights, hla_b27=[1, 0, None]).scores
    assert unknown.tolist() == [7.0, 5.0, 1.0]
    assert risk_score(people, weights, hla_b27=[1, 0, None], missing="omit").scores.iloc[2] == 0


def test_carriers_are_checked_and_never_counted_twice():
    people, weights = genotypes([[1, 1, 0], [1, 1, 0]]), table("rs1 A G 1")
    with pytest.raises(InputError, match="got none for 1 and 0 repeat"):
        risk_score(people, weights, hla_b27={"p0": 1})
    with pytest.raises(ShapeError, match="expected 2 entries, one a sample, got 3"):
        risk_score(people, weights, hla_b27=[1, 0, 1])
    with pytest.raises(InputError, match="expected 1, 0 or copies"):
        risk_score(people, weights, hla_b27=["yes", 0])
    with pytest.raises(InputError, match="at least one known carrier"):
        risk_score(people, weights, hla_b27=[None, None])
    with pytest.raises(ConfigurationError, match="expected carriers in hla_b27="):
        risk_score(people, weights, hla_b27_weight=1.0)
    tag = table("rs4349859 A G", columns="id effect_allele other_allele")
    with pytest.raises(ConfigurationError, match="would count twice"):
        risk_score(
            genotypes([[0], [1]], tag), tag.assign(weight=1.0), hla_b27=[1, 0], hla_b27_weight=2.0
        )


def test_what_spoils_a_score_is_said():
    people = genotypes([[1, 1, 0]] * 9)
    with pytest.warns(AsfusionWarning, match="Only 1 of 3 weights found their variant"):
        risk_score(people, table("rs1 A G 1", "rs7 A G 1", "rs8 A G 1"))
    with pytest.raises(InputError, match=r"got none \(<Harmonised: 1 weights"):
        risk_score(people, table("rs7 A G 1"))
    studied = table("rs1 A G 1").assign(ancestry="EUR")
    with pytest.warns(AsfusionWarning, match="that of the samples is unknown"):
        risk_score(people, studied)
    with pytest.warns(AsfusionWarning, match="the samples of another"):
        risk_score(people, studied, ancestry="EAS")
    far = table("rs1 A G 1", "rs2 C T 1").assign(effect_frequency=0.95)
    with pytest.warns(AsfusionWarning, match="Frequencies of 2 of 2 effect alleles differ") as said:
        found = risk_score(people, far)
    assert len(said) == 1 and len(found.notes) == 1
    assert risk_score(people, studied, ancestry="EUR").notes == ()


def test_weights_of_the_other_strand_are_counted_and_said():
    people = genotypes([[1, 2, 0], [0, 1, 0]])
    turned = table("rs1 T C 1", "rs2 A G 2")
    with pytest.warns(AsfusionWarning, match="risk_score: 2 of 2 weights .* other strand") as said:
        found = risk_score(people, turned)
    assert len(said) == 1 and found.notes[0].startswith("2 of 2 weights that are used")
    assert found.harmonised.counts["strand"] == 1 and found.scores.tolist() == [1.0, 2.0]
    with pytest.warns(AsfusionWarning, match="1 of 2 weights"):
        risk_score(people, table("rs1 A G 1", "rs2 A G 2"))
    assert risk_score(people, table("rs1 A G 1", "rs2 C T 2")).notes == ()


@given(st.lists(st.floats(1.01, 5), min_size=2, max_size=6), st.integers(0, 1000))
def test_a_score_of_odds_ratios_is_that_of_the_clinical_room(ratios, seed):
    copies = np.random.default_rng(seed).integers(0, 3, (5, len(ratios)))
    variants = table(
        *[f"rs{i} A G" for i in range(len(ratios))], columns="id effect_allele other_allele"
    )
    found = risk_score(genotypes(copies, variants), variants.assign(weight=np.log(ratios)))
    np.testing.assert_allclose(found.scores, risk_score_log_odds(copies, ratios), rtol=1e-9)


# -- weights ---------------------------------------------------------------------------

CATALOG = """\
###PGS CATALOG SCORING FILE
#pgs_id=none
rsID\tchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\thm_chr\thm_pos
rs1\t6\t10\tA\tG\t0.5\t6\t99
rs2\t6\t20\tC\tT\t-0.25\t6\t
"""


def test_files_of_the_catalog_are_read(tmp_path):
    file = tmp_path / "w.txt"
    file.write_text(CATALOG)
    weights = read_weights(file)
    assert weights[["id", "chrom", "pos", "weight"]].values.tolist() == [
        ["rs1", "6", 10.0, 0.5], ["rs2", "6", 20.0, -0.25],
    ]  # fmt: skip
    lifted = read_weights(file, positions="harmonised")
    assert lifted["pos"].tolist()[0] == 99 and np.isnan(lifted["pos"].tolist()[1])
    packed = tmp_path / "w.txt.gz"
    packed.write_bytes(gzip.compress(CATALOG.replace("\t", ",").encode()))
    pd.testing.assert_frame_equal(read_weights(packed), weights)
    found = risk_score(genotypes([[1, 2, 0]]), weights)
    assert found.scores.tolist() == [0.0]
    assert risk_score(genotypes([[1, 2, 0]]), pl.from_pandas(weights)).scores.tolist() == [0.0]


@pytest.mark.parametrize(
    ("stated", "weights", "read"),
    [
        ("OR", ["1.5", "0.8"], ("log(OR)", [math.log(1.5), math.log(0.8)])),
        ("odds ratio", ["1.5", "0.8"], ("log(OR)", [math.log(1.5), math.log(0.8)])),
        ("HR", ["2", "1"], ("log(HR)", [math.log(2), 0.0])),
        ("log(OR)", ["0.5", "-0.25"], ("log(OR)", [0.5, -0.25])),
        ("beta", ["0.5", "-0.25"], ("beta", [0.5, -0.25])),
        ("NR", ["0.5", "-0.25"], ("NR", [0.5, -0.25])),
        ("", ["0.5", "-0.25"], ("", [0.5, -0.25])),
    ],
)
def test_ratios_are_read_as_their_logarithms(tmp_path, stated, weights, read):
    text = CATALOG.replace("0.5", weights[0]).replace("-0.25", weights[1])
    file = tmp_path / "w.txt"
    file.write_text(text.replace("#pgs_id=none", f"#pgs_id=none\n#weight_type={stated}"))
    found = read_weights(file)
    assert found["weight_type"].tolist() == [read[0]] * 2
    np.testing.assert_allclose(found["weight"], read[1])
    people = genotypes([[2, 1, 0]])
    np.testing.assert_allclose(risk_score(people, found).scores, 2 * read[1][0] + read[1][1])


def test_older_files_state_the_type_of_each_weight(tmp_path):
    file = tmp_path / "w.csv"
    file.write_text("rsID,effect_allele,effect_weight,weight_type\nrs1,A,1.5,OR\nrs2,C,-0.2,beta\n")
    found = read_weights(file)
    assert found["weight_type"].tolist() == ["log(OR)", "beta"]
    np.testing.assert_allclose(found["weight"], [math.log(1.5), -0.2])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("#pgs_id=none", "#weight_type=OR", "expected ratios above 0, .* got another number in 1"),
        ("effect_weight", "beta", "expected the column"),
        ("0.5", "half", "expected numbers in 'weight', got something else in 1 rows"),
        ("0.5", "inf", "expected a finite weight in every row"),
        ("0.5", "", "expected a finite weight in every row"),
        ("\tA\t", "\t\t", "expected an effect allele in every row"),
        ("rs2\t6\t20\tC", "rs1\t6\t20\tA", "expected each variant once, got 1 repeat"),
        ("hm_chr", "is_interaction", "expected weights per copy of one allele"),
        ("hm_chr", "dosage_1_weight", "'dosage_1_weight'"),
        ("rs2\t6\t20", "rs2\t6\t20\t1\t2\t3\t4\t5\t6", "cannot be read as a table"),
        (CATALOG, "", "cannot be read as a table"),
        ("rs1", "", "expected an id, or a chromosome and a position|finite"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(tmp_path, old, new, message):
    text = CATALOG.replace(old, new, 1)
    if old == "rs1":
        text = text.replace("\t6\t10", "\t\t10")
    (tmp_path / "w.txt").write_text(text)
    with pytest.raises((InputError, ColumnError), match=message):
        read_weights(tmp_path / "w.txt")


def test_weights_are_a_table():
    with pytest.raises(InputError, match="read_weights: expected a file, got none"):
        read_weights("nowhere.txt")
    with pytest.raises(InputError, match="expected a DataFrame or 'published', got dict"):
        risk_score(genotypes([[1, 1, 1]]), {"rs1": 1.0})
    with pytest.raises(InputError, match="expected at least one row"):
        harmonise(VARIANTS, table(columns="id effect_allele other_allele weight"))
    with pytest.raises(InputError, match="expected a frequency from 0 to 1"):
        harmonise(VARIANTS, table("rs1 A G 1").assign(effect_frequency=3.0))


def test_published_loci_say_where_they_come_from():
    weights = published_weights()
    assert len(weights) == 9 and (weights["confidence"] == "published").all()
    assert (weights["source"] == "10.1038/ng.2667").all()
    assert weights.set_index("id")["allele_basis"].to_dict()["rs11209026"] == "recalled"
    assert (weights["allele_basis"] == "assumed").sum() == 8
    every = published_weights(recalled=True)
    assert len(every) == len(LOCI) and every.loc[every["only_with_b27"], "id"].tolist() == [
        "rs30187"
    ]


# -- tags ------------------------------------------------------------------------------


def test_the_tag_finds_carriers_as_often_as_it_says(tmp_path):
    cohort = make_axspa_cohort(3000, random_state=0, modalities=["genes"])
    cohort.write_plink(tmp_path / "c")
    found = hla_b27_from_tag(read_plink(tmp_path / "c"))
    called = found.carriers.notna().to_numpy()
    truth, told = cohort.genome.hla_b27[called], found.carriers.to_numpy()[called] == 1
    assert abs(told[truth].mean() - found.sensitivity) < 0.03 and not told[~truth].any()
    assert "sensitivity 0.946, specificity 1.0 in 239 people in Turkey" in repr(found)


def test_a_tag_needs_its_allele():
    def one(rsid, alleles="A G"):
        return genotypes(
            [[0], [2]], table(f"{rsid} {alleles}", columns="id effect_allele other_allele")
        )

    assert hla_b27_from_tag(one("rs13202464"), tag_allele="g").carriers.tolist() == [1.0, 0.0]
    with pytest.raises(ConfigurationError, match="tag_allele: expected the allele of rs13202464"):
        hla_b27_from_tag(one("rs13202464"))
    with pytest.raises(InputError, match="expected the allele T, .* got A and G"):
        hla_b27_from_tag(one("rs116488202"))
    with pytest.raises(InputError, match="among the variants, got none of them"):
        hla_b27_from_tag(one("rs1"))
    with pytest.raises(ConfigurationError, match="rsid: expected one of 'rs4349859'"):
        hla_b27_from_tag(one("rs1"), "rs1")


def test_paths_are_no_genotypes_and_no_weights(tmp_path):
    weights = table("rs1 T C 1")
    for wrong in ("cohort.bed", tmp_path, pd.DataFrame({"rs1": [1.0]})):
        with pytest.raises(InputError, match="genotypes: expected Genotypes, as read_plink and"):
            risk_score(wrong, weights)
    for wrong in ("PGS000001.txt.gz", tmp_path):
        with pytest.raises((ConfigurationError, InputError), match="weights: .*read_weights"):
            risk_score(genotypes([[1, 1, 0]]), wrong)
