"""Genotype files: what was written is read, in part or whole, and damage is one clear error."""

from __future__ import annotations

import builtins
import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asfusion.datasets._genome_files import _bgzf
from asfusion.datasets.axspa_cohort import make_axspa_cohort
from asfusion.exceptions import (
    ColumnError,
    ConfigurationError,
    InputError,
    MissingDependencyError,
    ShapeError,
)
from asfusion.genomics import vcf
from asfusion.genomics.genotypes import Genotypes
from asfusion.genomics.plink import read_plink
from asfusion.genomics.vcf import read_vcf
from tests.genomics.files import HEAD, write_bed, write_vcf_text

COPIES = np.array([[0, 2, 1], [1, -1, 2], [2, 0, 0], [-1, 1, 1], [1, 1, -1]])
VARIANTS = pd.DataFrame(
    {"id": ["rs1", "rs2"], "effect_allele": ["A", "T"], "other_allele": ["G", "C"]}
)


@pytest.fixture(scope="module")
def cohort():
    return make_axspa_cohort(130, random_state=3, modalities=["genes"])


@pytest.fixture(scope="module")
def cohort_files(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    cohort.write_plink(folder / "c")
    cohort.write_vcf(folder / "c.vcf")
    cohort.write_vcf(folder / "c.vcf.gz")
    return folder


@pytest.mark.parametrize("name", ["c", "c.bed", "c.bim", "c.fam", "c.vcf", "c.vcf.gz"])
def test_the_cohort_comes_back(cohort, cohort_files, name):
    read = read_vcf if "vcf" in name else read_plink
    genotypes = read(cohort_files / name)
    written = np.column_stack([cohort.genome.dosages[i] for i in genotypes.variants["id"]])
    np.testing.assert_array_equal(genotypes.dosages("int8"), written)
    dosages = genotypes.dosages()
    assert dosages.dtype == np.float32 and (np.isnan(dosages) == (written < 0)).all()
    loci = {locus.rsid: locus for locus in cohort.genome.loci}
    for row in genotypes.variants.itertuples():
        assert row.effect_allele == loci[row.id].risk_allele
        assert row.other_allele == loci[row.id].other_allele
    assert genotypes.samples[:2] == ("P00001", "P00002")


@pytest.mark.parametrize("name", ["c", "c.vcf"])
def test_a_part_is_that_part_of_the_whole(cohort_files, name):
    genotypes = (read_vcf if "vcf" in name else read_plink)(cohort_files / name)
    whole = genotypes.to_frame()
    part = genotypes.select(["rs6759298", "rs30187"], samples=["P00009", "P00002", "P00120"])
    pd.testing.assert_frame_equal(
        part.to_frame(), whole.loc[list(part.samples), ["rs6759298", "rs30187"]]
    )
    region = genotypes.select(region="chr5:1,000,000-2000000")
    assert list(region.variants["id"]) == ["rs30187", "rs2910686"]
    both = region.select(samples=["P00003"]).to_frame()
    pd.testing.assert_frame_equal(both, whole.loc[["P00003"], ["rs30187", "rs2910686"]])
    assert genotypes.select(region="22").shape[1] == (whole.shape[1] > 0) * sum(
        genotypes.variants["chrom"] == "22"
    )


def test_only_what_is_asked_for_is_read(tmp_path, monkeypatch):
    genotypes = read_plink(write_bed(tmp_path, COPIES))
    seen = []
    bed_reader = pytest.importorskip("bed_reader")
    read = bed_reader.open_bed.read
    monkeypatch.setattr(
        bed_reader.open_bed, "read",
        lambda self, index, **k: (seen.append(index), read(self, index, **k))[1],
    )  # fmt: skip
    genotypes.select(["rs2"], samples=["s4", "s0"]).dosages()
    ((rows, columns),) = seen
    assert rows.tolist() == [4, 0] and columns.tolist() == [2]


def test_frames_join_by_sample(tmp_path):
    genotypes = read_plink(write_bed(tmp_path, COPIES))
    X = pd.DataFrame({"patient": ["s2", "s9", "s0"]}).join(genotypes.to_frame(), on="patient")
    np.testing.assert_array_equal(X["rs0"], [2.0, np.nan, 0.0])
    assert list(genotypes.to_frame(with_allele=True)) == ["rs0_A", "rs1_A", "rs2_A"]


def test_frequencies_are_of_called_alleles(tmp_path):
    found = read_plink(write_bed(tmp_path, COPIES)).frequencies()
    np.testing.assert_allclose(found, [4 / 8, 4 / 8, 4 / 8])
    nobody = Genotypes([[np.nan, 1.0]], ["p"], VARIANTS).frequencies()
    assert np.isnan(nobody["rs1"]) and nobody["rs2"] == 0.5


def test_variants_without_a_name_are_called_by_place(tmp_path):
    file = write_bed(tmp_path, COPIES)
    bim = file.with_suffix(".bim")
    bim.write_text(bim.read_text().replace("rs1", ".").replace("\t", " "))
    assert read_plink(file).variants["id"].tolist() == ["rs0", "6:101:G:A", "rs2"]


def test_families_tell_samples_apart(tmp_path):
    file = write_bed(tmp_path, COPIES)
    fam = file.with_suffix(".fam")
    fam.write_text("".join(f"f{i}\t1\t0\t0\t0\t-9\r\n" for i in range(5)))
    with pytest.raises(InputError, match="samples: expected each identifier once, got 4 repeat"):
        read_plink(file)
    assert read_plink(file, sample_id="family_and_sample").samples[1] == "f1_1"


@pytest.mark.parametrize(
    ("ending", "change", "message"),
    [
        (
            ".bed",
            lambda b: b[:-1],
            r"expected a \.bed file of 9 bytes for 5 samples and 3 variants",
        ),
        (".bed", lambda b: b + b"\0", "got 10"),
        (".bed", lambda b: b"PK" + b[2:], "another beginning. Unpack it, or write it anew: plink"),
        (".bed", lambda b: b[:2], "another beginning"),
        (".bed", lambda b: b[:2] + b"\0" + b[3:], "sample by sample"),
        (".bim", lambda b: b + b"6\trs9\t0\t1\tA\tG\n", "got 9"),
        (".bim", lambda b: b.replace(b"\t100\t", b"\tx\t"), r"position in base pairs in line 1"),
        (".bim", lambda b: b.replace(b"\t101\t", b"\t-101\t"), r"position in base pairs in line 2"),
        (".bim", lambda b: b.replace(b"\tG\n", b"\n", 1), r"got 5 in line 1"),
        (".bim", lambda b: b.replace(b"rs1", b"rs0"), "variants: expected each id once, got 'rs0'"),
        (".fam", lambda b: b"", r"every line of the \.fam file, got no line"),
        (".fam", lambda b: b"\xff\xfe" + b, "cannot be read as text"),
        (".fam", lambda b: b.replace(b"s1", b"s0"), "samples: expected each identifier once"),
    ],
)
def test_damaged_plink_files_are_refused(tmp_path, ending, change, message):
    file = write_bed(tmp_path, COPIES).with_suffix(ending)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(InputError, match=message):
        read_plink(tmp_path / "x")


def test_no_file_at_all_is_a_wrong_path(tmp_path):
    with pytest.raises(InputError, match="expected .bed, .bim and .fam files, got none of them"):
        read_plink(tmp_path / "nobody.bed")


@pytest.mark.parametrize("ending", [".bed", ".bim", ".fam"])
def test_absent_files_are_named_without_their_path(tmp_path, ending):
    write_bed(tmp_path, COPIES).with_suffix(ending).unlink()
    with pytest.raises(InputError, match=rf"expected a \{ending} file") as error:
        read_plink(tmp_path / "x")
    assert str(tmp_path) not in str(error.value)


def test_a_file_that_changes_later_is_one_error(tmp_path):
    file = write_bed(tmp_path, COPIES)
    genotypes = read_plink(file)
    file.write_bytes(file.read_bytes()[:5])
    with pytest.raises(InputError, match="could not be read as it was"):
        genotypes.dosages()


@given(st.binary(max_size=40), st.integers(0, 60), st.sampled_from([".bed", ".bim", ".fam"]))
def test_any_bytes_give_dosages_or_the_one_error(noise, place, ending):
    with tempfile.TemporaryDirectory() as name:
        file = write_bed(Path(name), COPIES).with_suffix(ending)
        content = file.read_bytes()
        file.write_bytes(content[:place] + noise + content[place + len(noise) :])
        try:
            dosages = read_plink(Path(name, "x")).dosages()
        except InputError:
            return
        known = dosages[~np.isnan(dosages)]
        assert np.isin(known, (0, 1, 2)).all()


def test_vcf_calls_are_read_as_they_are_written(tmp_path):
    file = write_vcf_text(
        tmp_path,
        "6 10 rs1 A G . . . GT:DS 0/0:0.1 0|1:1 ./.:.",
        "7 20 . C T . . . GT:DS 1/1:1.9 1|0:0.7 0/0:0",
    )
    genotypes = read_vcf(file)
    assert genotypes.variants["id"].tolist() == ["rs1", "7:20:C:T"]
    assert genotypes.variants["effect_allele"].tolist() == ["G", "T"]
    assert genotypes.dosages("int8").tolist() == [[0, 2], [1, 1], [-1, 0]]
    imputed = read_vcf(file, field="DS")
    np.testing.assert_allclose(imputed.dosages(), [[0.1, 1.9], [1, 0.7], [np.nan, 0]], rtol=1e-6)
    with pytest.raises(InputError, match="fractions"):
        imputed.dosages("int8")
    assert read_vcf(file, region="7:1-100").variants["id"].tolist() == ["7:20:C:T"]
    assert read_vcf(file, region="6").dosages("int8").tolist() == [[0], [1], [-1]]


def test_several_alternatives_are_refused_split_or_skipped(tmp_path):
    file = write_vcf_text(
        tmp_path,
        "6 10 rs1 A G,T . . . GT:DS 0/2:0.1,0.9 1/2:1,1 2/2:0,2",
        "6 20 rs2 A G . . . GT:DS 0/1:1 0/0:0 0/0:0",
    )
    with pytest.raises(InputError, match="expected one alternative allele, got 2 at 6:10"):
        read_vcf(file)
    split = read_vcf(file, multiallelic="split")
    assert split.variants["id"].tolist() == ["rs1:G", "rs1:T", "rs2"]
    assert split.dosages("int8").tolist() == [[0, 1, 1], [1, 1, 0], [0, 2, 0]]
    assert split.select(["rs2", "rs1:T"]).dosages("int8").tolist() == [[1, 1], [0, 1], [0, 2]]
    both = read_vcf(file, multiallelic="split", field="DS").dosages()
    np.testing.assert_allclose(both[0], [0.1, 0.9, 1.0], rtol=1e-6)
    assert read_vcf(file, multiallelic="skip").variants["id"].tolist() == ["rs2"]


@pytest.mark.parametrize(
    ("calls", "options", "expected"),
    [
        ("0/. 0/1 ./1", {"half_calls": "missing"}, [-1, 1, -1]),
        ("1 0 0/1", {"haploid": "double"}, [2, 0, 1]),
        (". ./. 1/1", {}, [-1, -1, 2]),
    ],
)
def test_odd_calls_count_as_asked(tmp_path, calls, options, expected):
    file = write_vcf_text(tmp_path, f"6 10 rs1 A G . . . GT {calls}")
    assert read_vcf(file, **options).dosages("int8").ravel().tolist() == expected


@pytest.mark.parametrize(
    ("record", "options", "message"),
    [
        ("6 10 rs1 A G . . . GT 0/. 0/1 0/0", {}, "expected whole calls, got 1 .* at 6:10"),
        ("6 10 rs1 A G . . . GT 1 0/1 0/0", {}, r"expected two alleles a sample, got one in 1"),
        ("6 10 rs1 A G . . . GT 0/0/1 0/1 0/0", {}, "at most two alleles a sample"),
        ("6 10 rs1 A G . . . GT 0/3 0/1 0/0", {}, "allele of the record, got another number. Corr"),
        ("6 10 rs1 A G . . . GT 0/x 0/1 0/0", {}, "cannot be read at or after record 1"),
        ("6 10 rs1 A G . . . DS 1 1 0", {}, "expected the field GT in the record at 6:10, got DS"),
        ("6 10 rs1 A G . . . GT 0/0 0/1 0/0", {"field": "DS"}, "expected the field DS"),
        ("6 10 rs1 A G . . . DS 1 2.5 0", {"field": "DS"}, "expected a dosage from 0 to 2"),
    ],
)
def test_calls_that_cannot_be_understood_are_refused(tmp_path, record, options, message):
    with pytest.raises(InputError, match=message):
        read_vcf(write_vcf_text(tmp_path, record), **options).dosages()


def test_whole_files_alone_are_read(tmp_path, cohort_files, capfd):
    file = write_vcf_text(tmp_path, "6 10 rs1 A G . . . GT 0/0 0/1 0/0")
    text, blocked = file.read_bytes(), (cohort_files / "c.vcf.gz").read_bytes()
    damaged = {
        "another beginning. Unpack": [b"", b"\0" * 99, b"BCF\2\2", text[5:], b"\x1f\x8b" + text],
        "was cut before its end. Copy": [text[:-1], text[:-9], blocked[:-28], blocked[:999]],
        "cannot be read at or after record": [
            text.replace(b"\t10\t", b"\tx\t"), text + b"6\t11\n", text.replace(b"\t0/1", b""),
            text.replace(b"a\tb", b"a\tb\0"),
        ],
    }  # fmt: skip
    for message, contents in damaged.items():
        for content in contents:
            file.write_bytes(content)
            with pytest.raises(InputError, match=message) as error:
                read_vcf(file).dosages()
            assert str(tmp_path) not in str(error.value)
    file.unlink()
    with pytest.raises(InputError, match="expected a VCF file, got none"):
        read_vcf(file)
    capfd.readouterr()


def test_the_parser_in_c_says_nothing_of_its_own(tmp_path, capfd):
    record = "7 10 rs1 A G . WHO BAR GT 0/0 0/1 0/0"
    file = write_vcf_text(tmp_path, record, head=HEAD.replace("##contig=<ID=7>\n", ""))
    read_vcf(file).dosages()
    said = capfd.readouterr()
    assert said.err == "" and said.out == ""


def test_sites_without_samples_and_fields_of_another_type_are_refused(tmp_path):
    with pytest.raises(InputError, match="at least one sample, got none. A file of sites"):
        read_vcf(write_vcf_text(tmp_path, "6 10 rs1 A G . . . GT", samples=""))
    with pytest.raises(InputError, match="cannot be read at or after record 1"):
        read_vcf(write_vcf_text(tmp_path, "6 10 rs1 A G . . . DS one 1 0"), field="DS")
    head = HEAD.replace("Type=Float", "Type=String")
    file = write_vcf_text(tmp_path, "6 10 rs1 A G . . . DS one 1 0", head=head)
    with pytest.raises(InputError, match="field DS of the record at 6:10 cannot be understood"):
        read_vcf(file, field="DS").dosages()


def test_samples_and_variants_of_a_vcf_differ(tmp_path):
    record = "6 10 rs1 A G . . . GT 0/0 0/1 0/0"
    with pytest.raises(InputError, match="variants: expected each id once, got 'rs1'"):
        read_vcf(write_vcf_text(tmp_path, record, record))
    with pytest.raises(InputError):
        read_vcf(write_vcf_text(tmp_path, record, samples="a a b"))


@given(st.binary(max_size=30), st.integers(0, 420))
def test_any_vcf_gives_dosages_or_the_one_error(noise, place):
    with tempfile.TemporaryDirectory() as name:
        file = write_vcf_text(
            Path(name), "6 10 rs1 A G . . . GT 0/0 0/1 0/0", "6 11 rs2 A G,T . . . GT 0/2 ./. 1/1"
        )
        content = file.read_bytes()
        file.write_bytes(content[:place] + noise + content[place + len(noise) :])
        try:
            dosages = read_vcf(file, multiallelic="split").dosages()
        except InputError:
            return
        assert np.isin(dosages[~np.isnan(dosages)], (0, 1, 2)).all()


def test_plain_gzip_is_read_and_a_cut_one_is_not(tmp_path, capfd):
    file = write_vcf_text(tmp_path, *[f"6 {i} . A G . . . GT 0/0 0/1 0/0" for i in range(1, 999)])
    packed = gzip.compress(file.read_bytes())
    other = tmp_path / "y.vcf.gz"
    other.write_bytes(packed)
    assert read_vcf(other).shape == (3, 998)
    other.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="read_vcf"):
        read_vcf(other).dosages()
    capfd.readouterr()


def test_genotypes_in_memory_are_checked():
    with pytest.raises(ShapeError, match=r"expected shape \(1, 2\) \(samples, variants\)"):
        Genotypes([[0.0]], ["p"], VARIANTS)
    with pytest.raises(InputError, match="from 0 to 2, or NaN, got something else in 1 cells"):
        Genotypes([[0, 3]], ["p"], VARIANTS)
    with pytest.raises(InputError, match="samples: expected each identifier once"):
        Genotypes([[0, 1], [0, 1]], ["p", "p"], VARIANTS)
    with pytest.raises(ColumnError, match="'effect_allele' in every row"):
        Genotypes([[0, 1]], ["p"], VARIANTS.assign(effect_allele=["A", None]))
    with pytest.raises(ColumnError, match="expected the column"):
        Genotypes([[0, 1]], ["p"], VARIANTS[["id", "effect_allele"]])
    made = Genotypes([[0, 1.5]], ["p"], pl.from_pandas(VARIANTS))
    assert made.shape == (1, 2) and made.variants["pos"].isna().all()


def test_unknown_parts_are_named_but_samples_never_shown():
    genotypes = Genotypes([[0, 1], [1, 1]], ["secret1", "secret2"], VARIANTS)
    with pytest.raises(InputError, match="got 1 of 1 that are not: 'rs3'. Did you mean"):
        genotypes.select(["rs3"])
    with pytest.raises(InputError, match="got 1 of 2 that are not") as error:
        genotypes.select(samples=["secret1", "secret9"])
    assert "secret" not in str(error.value)
    with pytest.raises(InputError, match="variants: expected each once, got 1 repeat"):
        genotypes.select(["rs1", "rs1"])
    with pytest.raises(ConfigurationError, match="expected a list of identifiers"):
        genotypes.select("rs1")
    with pytest.raises(ConfigurationError, match="region: expected such as"):
        genotypes.select(region="6:1")


@pytest.mark.parametrize(("read", "module"), [(read_plink, "bed_reader"), (read_vcf, "cyvcf2")])
def test_absent_packages_are_named(monkeypatch, tmp_path, read, module):
    real = builtins.__import__

    def refuse(name, *args):
        raise ModuleNotFoundError(name=module)

    import asfusion._optional as optional

    monkeypatch.setattr(optional.importlib, "import_module", refuse)
    assert real is builtins.__import__
    with pytest.raises(MissingDependencyError, match=r"asfusion\[genomics\]"):
        read(tmp_path / "x")


def write_index(file):
    """Write the .tbi of a compressed file of one block: all records of a chromosome in bin 0."""
    text = gzip.decompress(file.read_bytes())
    places, offset = {}, 0
    for line in text.splitlines(keepends=True):
        if not line.startswith(b"#"):
            name = line.split(b"\t")[0]
            first, _ = places.get(name, (offset, 0))
            places[name] = (first, offset + len(line))
        offset += len(line)
    names = b"".join(name + b"\0" for name in places)
    content = (
        b"TBI\1" + struct.pack("<8i", len(places), 2, 1, 2, 0, ord("#"), 0, len(names)) + names
    )
    for first, end in places.values():
        content += struct.pack("<iIiQQi", 1, 0, 1, first, end, 0)
    file.with_name(file.name + ".tbi").write_bytes(_bgzf(content))


def test_an_index_leads_to_a_region(tmp_path, monkeypatch):
    file = write_vcf_text(
        tmp_path, "6 10 rs1 A G . . . GT 0/0 0/1 0/0", "6 20 rs2 A G . . . GT 1/1 0/1 0/0",
        "7 15 rs3 A G . . . GT 0/0 0/1 1/1", "7 30 rs4 A G . . . GT ./. 0/1 1/1",
    )  # fmt: skip
    packed = tmp_path / "y.vcf.gz"
    packed.write_bytes(_bgzf(file.read_bytes()))
    without = read_vcf(packed, region="chr7:12-40").to_frame()
    write_index(packed)
    monkeypatch.setattr(vcf, "scan", lambda *a: pytest.fail("the whole file was read"))
    genotypes = read_vcf(packed, region="chr7:12-40")
    assert genotypes.variants["id"].tolist() == ["rs3", "rs4"]
    pd.testing.assert_frame_equal(genotypes.to_frame(), without)
    assert genotypes.select(["rs4"]).dosages("int8").ravel().tolist() == [-1, 1, 2]
    assert read_vcf(packed, region="7:20-40").variants["id"].tolist() == ["rs4"]


def test_a_vcf_that_changes_later_is_one_error(tmp_path):
    file = write_vcf_text(tmp_path, "6 10 rs1 A G . . . GT 0/0 0/1 0/0")
    genotypes = read_vcf(file)
    write_vcf_text(tmp_path, "6 11 rs1 A G . . . GT 0/0 0/1 0/0")
    with pytest.raises(InputError, match="the file has changed since it was opened"):
        genotypes.dosages()
