"""draw_genome and the files of a genome: genetics that other tools and textbooks agree with."""

from __future__ import annotations

import gzip
import struct
import tempfile
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from asfusion.clinical.genetics import odds_ratio
from asfusion.datasets._genome import (
    LOCI,
    TAG_SNP,
    Genome,
    Locus,
    draw_genome,
    neutral_loci,
    risk_score,
)
from asfusion.datasets._genome_files import write_plink, write_vcf
from asfusion.exceptions import ConfigurationError, InputError, ShapeError

N = 20_000
CASES = np.arange(N) < N // 2
SNPS = {locus.rsid: locus for locus in LOCI}
ERAP1 = SNPS["rs30187"]


@pytest.fixture(scope="module")
def cohort() -> Genome:
    return draw_genome(CASES, np.random.default_rng(7))


def draw(n: int = 40, seed: int = 0, **changes: Any) -> Genome:
    return draw_genome(np.arange(n) < n // 2, np.random.default_rng(seed), **changes)


def frequency(genome: Genome, rsid: str, people: np.ndarray) -> tuple[float, int]:
    """Return the frequency of the risk allele and the number of alleles that it is of."""
    calls = genome.dosages[rsid][people]
    calls = calls[calls >= 0]
    return calls.mean() / 2, 2 * len(calls)


def assert_share(found: float, expected: float, n: int) -> None:
    """Four standard errors: one test in 16 000 would fail by chance."""
    assert found == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / n))


# What is claimed of the SNPs


def test_published_rows_are_those_of_the_study() -> None:
    published = {
        "rs11209026": (0.066, 1.61),
        "rs12141575": (0.330, 1.15),
        "rs6600247": (0.499, 1.16),
        "rs4129267": (0.408, 1.18),
        "rs1801274": (0.476, 1.11),
        "rs41299637": (0.285, 1.19),
        "rs6759298": (0.378, 1.29),
        "rs12615545": (0.421, 1.12),
        "rs4676410": (0.209, 1.13),
    }
    rows = {locus.rsid: locus for locus in LOCI if locus.confidence == "published"}
    assert set(rows) == set(published)
    for rsid, (minor, ratio) in published.items():
        frequency = rows[rsid].risk_frequency
        assert min(frequency, 1 - frequency) == pytest.approx(minor)
        assert rows[rsid].odds_ratio == ratio
        assert rows[rsid].doi == "10.1038/ng.2667"


def test_no_locus_claims_a_published_risk_allele() -> None:
    assert {locus.allele_basis for locus in LOCI} == {"recalled", "assumed"}


def test_only_erap1_needs_b27() -> None:
    assert [locus.rsid for locus in LOCI if locus.only_with_b27] == ["rs30187"]


def test_every_snp_has_its_own_name_and_place() -> None:
    loci = (*LOCI, TAG_SNP, *neutral_loci(200))
    assert len({locus.rsid for locus in loci}) == len(loci)
    assert len({(locus.chromosome, locus.position) for locus in loci}) == len(loci)
    for locus in loci:
        assert 1 <= locus.chromosome <= 22
        assert {locus.risk_allele, locus.other_allele} < set("ACGT")
        assert locus.risk_allele != locus.other_allele
        assert 0 < locus.risk_frequency < 1


def test_neutral_snps_never_look_like_real_ones() -> None:
    loci = neutral_loci(30)
    assert [locus.rsid for locus in loci[:2]] == ["syn0001", "syn0002"]
    assert {(locus.odds_ratio, locus.doi, locus.confidence) for locus in loci} == {
        (1.0, "", "synthetic")
    }
    assert loci[:10] == neutral_loci(10)
    assert 6 not in {locus.chromosome for locus in loci}


def test_case_frequency_has_the_odds_ratio() -> None:
    for locus in LOCI:
        found = odds_ratio(locus.case_frequency, locus.risk_frequency)
        assert found == pytest.approx(locus.odds_ratio)


# What is drawn


@pytest.mark.parametrize(
    "locus", [locus for locus in LOCI if not locus.only_with_b27], ids=lambda locus: locus.rsid
)
def test_frequencies_and_odds_ratio_are_recovered(cohort: Genome, locus: Locus) -> None:
    controls, n_controls = frequency(cohort, locus.rsid, ~CASES)
    cases, n_cases = frequency(cohort, locus.rsid, CASES)
    assert_share(controls, locus.risk_frequency, n_controls)
    assert_share(cases, locus.case_frequency, n_cases)
    error = np.sqrt(
        1 / (n_cases * cases * (1 - cases)) + 1 / (n_controls * controls * (1 - controls))
    )
    found = np.log(odds_ratio(cases, controls))
    assert found == pytest.approx(np.log(locus.odds_ratio), abs=4 * error)


def test_controls_are_in_hardy_weinberg_proportions(cohort: Genome) -> None:
    for locus in cohort.loci:
        calls = cohort.dosages[locus.rsid][~CASES]
        calls = calls[calls >= 0]
        if locus.role != "tag":
            p = locus.risk_frequency
            for copies, share in enumerate([(1 - p) ** 2, 2 * p * (1 - p), p**2]):
                assert_share((calls == copies).mean(), share, len(calls))


def test_erap1_acts_in_b27_carriers_only(cohort: Genome) -> None:
    carries = cohort.hla_b27
    raised, n = frequency(cohort, ERAP1.rsid, CASES & carries)
    assert_share(raised, ERAP1.case_frequency, n)
    for people in (CASES & ~carries, ~CASES & carries, ~CASES & ~carries):
        found, n = frequency(cohort, ERAP1.rsid, people)
        assert_share(found, ERAP1.risk_frequency, n)


def test_erap1_predicts_nothing_without_b27() -> None:
    many = draw(N, b27_in_cases=0.3)
    typed = ~many.hla_b27 & (many.dosages[ERAP1.rsid] >= 0)
    auc = roc_auc_score(CASES[typed], many.dosages[ERAP1.rsid][typed])
    n_cases, n_controls = (CASES & typed).sum(), (~CASES & typed).sum()
    error = np.sqrt((n_cases + n_controls + 1) / (12 * n_cases * n_controls))
    assert auc == pytest.approx(0.5, abs=4 * error)


def test_b27_carriage_and_its_auc(cohort: Genome) -> None:
    assert_share(cohort.hla_b27[CASES].mean(), 0.823, N // 2)
    assert_share(cohort.hla_b27[~CASES].mean(), 0.085, N // 2)
    assert 0.85 < roc_auc_score(CASES, cohort.hla_b27) < 0.89


def test_b27_on_both_chromosomes_is_rare_and_commoner_in_cases(cohort: Genome) -> None:
    twice = cohort.hla_b27_copies == 2
    q = 1 - np.sqrt(1 - 0.085)
    for people, ratio in ((CASES, 3.3), (~CASES, 1.0)):
        carries = people & cohort.hla_b27
        odds = ratio * q**2 / (2 * q * (1 - q))
        assert_share(twice[carries].mean(), odds / (1 + odds), carries.sum())
    assert 0 < twice[~CASES].mean() < 0.01


def test_b27_shares_are_the_callers() -> None:
    found = draw(N, b27_in_cases=0.5, b27_in_controls=0.2).hla_b27
    assert_share(found[CASES].mean(), 0.5, N // 2)
    assert_share(found[~CASES].mean(), 0.2, N // 2)


def test_tag_finds_carriers_and_no_one_else(cohort: Genome) -> None:
    tagged = cohort.carriers(TAG_SNP.rsid)
    called = tagged >= 0
    assert not tagged[called & ~cohort.hla_b27].any()
    found = tagged[called & cohort.hla_b27]
    assert_share(found.mean(), 0.946, len(found))
    found, n = frequency(cohort, TAG_SNP.rsid, ~CASES)
    assert_share(found, TAG_SNP.risk_frequency, n)


def test_calls_are_missing_at_random(cohort: Genome) -> None:
    calls = np.stack([*cohort.dosages.values()])
    for people in (CASES, ~CASES):
        assert_share((calls[:, people] < 0).mean(), 0.01, calls[:, people].size)
    everything = draw(call_rate=1.0)
    nothing = draw(call_rate=0.0)
    assert all((calls >= 0).all() for calls in everything.dosages.values())
    assert all((calls == -1).all() for calls in nothing.dosages.values())


def test_call_rate_changes_no_genotype() -> None:
    whole, holed = draw(200, call_rate=1.0), draw(200, call_rate=0.7)
    for rsid, calls in holed.dosages.items():
        seen = calls >= 0
        assert np.array_equal(calls[seen], whole.dosages[rsid][seen])


def test_number_of_neutral_snps_changes_no_named_one() -> None:
    few, many = draw(n_neutral=0), draw(n_neutral=50)
    assert len(many.loci) == len(few.loci) + 50
    for rsid, calls in few.dosages.items():
        assert np.array_equal(calls, many.dosages[rsid])


def test_equal_seeds_draw_equal_genomes() -> None:
    first, again, other = draw(), draw(), draw(seed=1)
    assert all(np.array_equal(first.dosages[name], again.dosages[name]) for name in SNPS)
    assert np.array_equal(first.hla_b27_copies, again.hla_b27_copies)
    assert any(not np.array_equal(first.dosages[name], other.dosages[name]) for name in SNPS)


def test_ancestry_of_the_frequencies_is_the_default() -> None:
    named, unnamed = draw(ancestry=["EUR"] * 40), draw()
    assert np.array_equal(named.hla_b27_copies, unnamed.hla_b27_copies)


def test_no_people_and_one_person_are_groups_too() -> None:
    assert len(draw(0)) == 0
    assert draw(1).dosages["rs30187"].shape == (1,)


# The score


def small(copies: list[int], **dosages: list[int]) -> Genome:
    calls = {name: np.array(values) for name, values in dosages.items()}
    return Genome(np.array(copies), calls, tuple(SNPS.get(name, TAG_SNP) for name in dosages))


def test_score_is_the_sum_of_log_odds() -> None:
    genome = small([0, 1, 2], rs6759298=[0, 1, 2], rs6600247=[2, 0, 1])
    expected = [2 * np.log(1.16), np.log(50 * 1.29), np.log(50 * 1.29**2 * 1.16)]
    assert risk_score(genome) == pytest.approx(expected)


def test_score_counts_erap1_in_carriers_only() -> None:
    genome = small([0, 1], rs30187=[2, 2])
    assert risk_score(genome) == pytest.approx([0, np.log(50 * 1.3**2)])


def test_score_without_b27_does_not_depend_on_b27() -> None:
    genome = small([0, 1, 2], rs30187=[2, 2, 2], rs6759298=[1, 1, 1])
    assert len(set(risk_score(genome, b27_odds_ratio=None))) == 1


def test_score_of_b27_alone() -> None:
    genome = small([0, 1, 2], rs30187=[2, 2, 2])
    assert risk_score(genome, []) == pytest.approx([0, np.log(50), np.log(50)])


def test_missing_call_counts_as_the_mean_of_controls_or_spoils_the_score() -> None:
    genome = small([0, 0], rs6759298=[-1, 1])
    mean = 2 * 0.378 * np.log(1.29)
    assert risk_score(genome) == pytest.approx([mean, np.log(1.29)])
    spoiled = risk_score(genome, missing="nan")
    assert np.isnan(spoiled).tolist() == [True, False]


def test_erap1_call_that_would_not_count_spoils_nothing() -> None:
    genome = small([0, 1], rs30187=[-1, -1])
    assert np.isnan(risk_score(genome, missing="nan")).tolist() == [False, True]


def test_tag_counts_once_for_carriage() -> None:
    genome = small([0, 1, 2], rs4349859=[0, 1, 2])
    found = risk_score(genome, [TAG_SNP], b27_odds_ratio=None)
    assert found == pytest.approx([0, np.log(TAG_SNP.odds_ratio), np.log(TAG_SNP.odds_ratio)])
    assert 35 < TAG_SNP.odds_ratio < 50


def test_missing_tag_counts_as_the_share_of_carriers() -> None:
    found = risk_score(small([0], rs4349859=[-1]), [TAG_SNP], b27_odds_ratio=None)
    assert found == pytest.approx([0.085 * 0.946 * np.log(TAG_SNP.odds_ratio)])


def test_scores_separate_as_well_as_their_parts_allow(cohort: Genome) -> None:
    other = roc_auc_score(CASES, risk_score(cohort, b27_odds_ratio=None))
    full = roc_auc_score(CASES, risk_score(cohort))
    assert 0.55 < other < 0.72
    assert roc_auc_score(CASES, cohort.hla_b27) + 0.01 < full < 0.94


def test_neutral_snps_separate_nothing(cohort: Genome) -> None:
    neutral = [locus for locus in cohort.loci if locus.role == "neutral"]
    assert len(neutral) == 20
    assert not risk_score(cohort, neutral, b27_odds_ratio=None).any()
    allele_count = sum(cohort.dosages[locus.rsid].astype(int) for locus in neutral)
    assert roc_auc_score(CASES, allele_count) == pytest.approx(0.5, abs=0.017)


# Files


@st.composite
def genomes(draw_from: st.DrawFn) -> Genome:
    n_people = draw_from(st.integers(0, 11))
    loci = (*LOCI[:3], TAG_SNP, *neutral_loci(draw_from(st.integers(0, 3))))
    calls = draw_from(hnp.arrays(np.int8, (len(loci), n_people), elements=st.integers(-1, 2)))
    copies = draw_from(hnp.arrays(np.int8, n_people, elements=st.integers(0, 2)))
    dosages = {locus.rsid: row for locus, row in zip(loci, calls, strict=True)}
    return Genome(copies, dosages, loci)


def ids(genome: Genome) -> list[str]:
    return [f"P{i:04d}" for i in range(len(genome))]


def sexes(genome: Genome) -> list[str]:
    return [("female", "male", "unknown")[i % 3] for i in range(len(genome))]


def read_bed(prefix: Path) -> dict[str, list[int]]:
    """Count allele 1 of each SNP, bit by bit, as the description of the format tells it."""
    content = Path(f"{prefix}.bed").read_bytes()
    snps = [line.split("\t")[1] for line in Path(f"{prefix}.bim").read_text().splitlines()]
    n_people = len(Path(f"{prefix}.fam").read_text().splitlines())
    assert content[:3] == bytes([0b01101100, 0b00011011, 0b00000001])
    width = (n_people + 3) // 4
    assert len(content) == 3 + width * len(snps)
    meaning = {"00": 2, "01": -1, "10": 1, "11": 0}
    calls = {}
    for i, snp in enumerate(snps):
        block = content[3 + i * width : 3 + (i + 1) * width]
        pairs = [f"{byte:08b}"[6 - 2 * k : 8 - 2 * k] for byte in block for k in range(4)]
        assert set(pairs[n_people:]) <= {"00"}
        calls[snp] = [meaning[pair] for pair in pairs[:n_people]]
    return calls


def read_vcf(text: str) -> tuple[list[str], dict[str, list[int]]]:
    """Return names of people and the count of ALT for each SNP."""
    lines = text.splitlines()
    header = next(line for line in lines if line.startswith("#CHROM"))
    meaning = {"0/0": 0, "0/1": 1, "1/1": 2, "./.": -1}
    records = [line.split("\t") for line in lines if not line.startswith("#")]
    return header.split("\t")[9:], {row[2]: [meaning[call] for call in row[9:]] for row in records}


def as_lists(genome: Genome) -> dict[str, list[int]]:
    return {name: calls.tolist() for name, calls in genome.dosages.items()}


@given(genome=genomes())
def test_files_hold_the_genome(genome: Genome) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_plink(Path(folder) / "made", genome, ids(genome), sexes(genome))
        assert read_bed(Path(folder) / "made") == as_lists(genome)
        text = write_vcf(Path(folder) / "made.vcf", genome, ids(genome)).read_text()
        names, calls = read_vcf(text)
        assert names == ids(genome)
        assert calls == as_lists(genome)


def test_bed_of_five_people_byte_by_byte(tmp_path: Path) -> None:
    genome = small([0] * 5, rs6759298=[2, 1, 0, -1, 1])
    bed, _, _ = write_plink(tmp_path / "five", genome, ids(genome), sexes(genome))
    assert bed.read_bytes() == b"\x6c\x1b\x01" + bytes([0b01_11_10_00, 0b10])


def test_bim_names_the_risk_allele_first_and_fam_no_case(tmp_path: Path) -> None:
    genome = small([0] * 3, rs6759298=[2, 1, 0])
    _, bim, fam = write_plink(tmp_path / "a.b", genome, ids(genome), sexes(genome))
    assert (bim.name, fam.name) == ("a.b.bim", "a.b.fam")
    assert bim.read_text() == "2\trs6759298\t0\t1000000\tC\tG\n"
    assert fam.read_text().splitlines() == [
        "P0000\tP0000\t0\t0\t2\t-9",
        "P0001\tP0001\t0\t0\t1\t-9",
        "P0002\tP0002\t0\t0\t0\t-9",
    ]


def test_snps_are_sorted_by_place(tmp_path: Path) -> None:
    genome = draw()
    _, bim, _ = write_plink(tmp_path / "made", genome, ids(genome), sexes(genome))
    rows = [line.split("\t") for line in bim.read_text().splitlines()]
    places = [(int(row[0]), int(row[3])) for row in rows]
    assert all(first < second for first, second in pairwise(places))
    records = write_vcf(tmp_path / "made.vcf", genome, ids(genome)).read_text().splitlines()
    written = [line.split("\t")[2] for line in records if not line.startswith("#")]
    assert written == [row[1] for row in rows]


def test_vcf_says_what_it_is(tmp_path: Path) -> None:
    genome = draw()
    lines = write_vcf(tmp_path / "made.vcf", genome, ids(genome)).read_text().splitlines()
    assert lines[0] == "##fileformat=VCFv4.3"
    assert any(line.startswith("##synthetic=") for line in lines)
    records = {line.split("\t")[2]: line.split("\t") for line in lines if line[0] != "#"}
    assert records["rs6759298"][3:5] == ["G", "C"]
    assert records["rs6759298"][7] == "LOCUS=2p15"
    assert records["syn0001"][7].endswith(";SYN")
    contigs = {line for line in lines if line.startswith("##contig")}
    assert contigs == {f"##contig=<ID={row[0]}>" for row in records.values()}
    assert records["rs12141575"][7] == "LOCUS=IL23R_second_signal"


def blocks(content: bytes) -> list[bytes]:
    """Follow the lengths that BGZF blocks tell, and return what each holds."""
    parts, place = [], 0
    while place < len(content):
        magic, flags, extra, name, size = struct.unpack(
            "<3sBxxxxxxH4sH", content[place : place + 18]
        )
        assert (magic, flags, extra, name) == (b"\x1f\x8b\x08", 4, 6, b"BC\x02\x00")
        block = content[place : place + size + 1]
        part = zlib.decompress(block[18:-8], wbits=-15)
        assert struct.unpack("<II", block[-8:]) == (zlib.crc32(part), len(part))
        assert content[place + 4 : place + 8] == bytes(4)
        parts.append(part)
        place += size + 1
    return parts


def test_compressed_vcf_is_in_blocks(tmp_path: Path) -> None:
    genome = draw(1000)
    plain = write_vcf(tmp_path / "made.vcf", genome, ids(genome)).read_bytes()
    content = write_vcf(tmp_path / "made.vcf.gz", genome, ids(genome)).read_bytes()
    parts = blocks(content)
    assert len(parts) > 2
    assert max(map(len, parts)) <= 2**16
    assert parts[-1] == b""
    assert all(parts[:-1])
    assert b"".join(parts) == plain == gzip.decompress(content)
    assert content[-28:].hex() == "1f8b08040000000000ff0600424302001b0003000000000000000000"


def test_equal_genomes_give_equal_bytes_whatever_was_there(tmp_path: Path) -> None:
    genome = draw()
    found = []
    for folder in ("one", "one", "deep/two"):
        base = tmp_path / folder
        paths = [
            *write_plink(base / "made", genome, ids(genome), sexes(genome)),
            write_vcf(base / "made.vcf", genome, ids(genome)),
            write_vcf(base / "made.vcf.gz", genome, ids(genome)),
        ]
        found.append([path.read_bytes() for path in paths])
        assert sorted(base.iterdir()) == sorted(paths)
    assert found[0] == found[1] == found[2]


def test_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_vcf(tmp_path / "made.vcf", draw(), ids(draw()))
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_vcf(path, draw(seed=1), ids(draw()))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_bed_reader_reads_the_same(tmp_path: Path) -> None:
    bed_reader = pytest.importorskip("bed_reader")
    genome = draw(101)
    bed, _, _ = write_plink(tmp_path / "made", genome, ids(genome), sexes(genome))
    with bed_reader.open_bed(bed, count_A1=True) as opened:
        calls = opened.read(dtype="int8", num_threads=1)
        assert opened.iid.tolist() == ids(genome)
        assert {k: calls[:, i].tolist() for i, k in enumerate(opened.sid)} == {
            k: [-127 if c < 0 else c for c in v] for k, v in as_lists(genome).items()
        }


@pytest.mark.parametrize("name", ["made.vcf", "made.vcf.gz"])
def test_pysam_reads_the_same(tmp_path: Path, name: str) -> None:
    pysam = pytest.importorskip("pysam")
    genome = draw(1000)
    path = write_vcf(tmp_path / name, genome, ids(genome))
    with pysam.VariantFile(str(path)) as opened:
        assert list(opened.header.samples) == ids(genome)
        calls = {
            record.id: [
                -1 if None in call["GT"] else sum(call["GT"]) for call in record.samples.values()
            ]
            for record in opened
        }
    assert calls == as_lists(genome)
    if name.endswith(".gz"):
        pysam.tabix_index(str(path), preset="vcf")
        with pysam.VariantFile(str(path)) as opened:
            assert {row.id for row in opened.fetch("6")} == {TAG_SNP.rsid}


# What is refused


@pytest.mark.parametrize(
    ("is_case", "changes", "error", "words"),
    [
        ([[True]], {}, ShapeError, "is_case: expected one dimension, got 2"),
        ([0, 1], {}, InputError, "is_case: expected truth values, got int64"),
        ([True], {"ancestry": ["EUR", "EUR"]}, ShapeError, r"ancestry: expected shape \(1,\)"),
        ([True] * 3, {"ancestry": ["EUR", "EAS", None]}, ConfigurationError, "else in 2"),
        ([True], {"b27_in_cases": 1.0}, ConfigurationError, "b27_in_cases: expected a number"),
        ([True], {"b27_in_controls": 0.0}, ConfigurationError, "b27_in_controls: expected a num"),
        ([True], {"call_rate": 1.1}, ConfigurationError, "call_rate: expected a number"),
        ([True], {"n_neutral": -1}, ConfigurationError, "n_neutral: expected an integer"),
    ],
)
def test_draw_refuses(
    is_case: Any, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        draw_genome(is_case, np.random.default_rng(0), **changes)


def test_draw_refuses_a_seed() -> None:
    with pytest.raises(ConfigurationError, match="rng: expected a numpy Generator, got int"):
        draw_genome([True], 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("copies", "dosages", "error", "words"),
    [
        ([0, 1], {"rs6759298": [0]}, ShapeError, r"rs6759298: expected shape \(2,\), got \(1,\)"),
        ([0], {"rs6759298": [3]}, InputError, "rs6759298: expected integers from -1 to 2"),
        ([0], {"rs6759298": [1.0]}, InputError, "rs6759298: expected integers from -1 to 2"),
        ([-1], {"rs6759298": [0]}, InputError, "hla_b27_copies: expected integers from 0 to 2"),
        ([0], {"rs6600247": [0]}, InputError, "expected one dosage array for each of the 1 loci"),
        ([0], {}, InputError, "expected one dosage array for each of the 1 loci"),
    ],
)
def test_genome_refuses(
    copies: list[int], dosages: dict[str, list[Any]], error: type[Exception], words: str
) -> None:
    calls = {name: np.array(values) for name, values in dosages.items()}
    with pytest.raises(error, match=words):
        Genome(np.array(copies), calls, (SNPS["rs6759298"],))


def test_genome_is_read_only() -> None:
    genome = draw()
    with pytest.raises(ValueError, match="read-only"):
        genome.dosages["rs30187"][0] = 1
    with pytest.raises(TypeError, match="does not support item assignment"):
        genome.dosages["rs30187"] = np.zeros(40)  # type: ignore[index]


def test_carriers_of_an_unknown_snp() -> None:
    with pytest.raises(ConfigurationError, match="rsid: expected one of 'rs30187'"):
        small([0], rs30187=[1]).carriers("rs1")


def test_carriers_keep_missing_calls() -> None:
    assert small([0] * 4, rs30187=[-1, 0, 1, 2]).carriers("rs30187").tolist() == [-1, 0, 1, 1]


@pytest.mark.parametrize(
    ("loci", "changes", "words"),
    [
        ([TAG_SNP], {}, "'rs4349859' stands in for HLA-B27, which would count twice"),
        ([LOCI[0]], {}, "got 'rs11209026', which it lacks"),
        ([ERAP1, ERAP1], {}, "each once, got a SNP twice"),
        (None, {"missing": "zero"}, "missing: expected one of 'mean', 'nan'"),
        (None, {"b27_odds_ratio": 0.0}, "b27_odds_ratio: expected a number"),
    ],
)
def test_score_refuses(loci: list[Locus] | None, changes: dict[str, Any], words: str) -> None:
    genome = small([0], rs30187=[1], rs4349859=[1])
    with pytest.raises(ConfigurationError, match=words):
        risk_score(genome, loci, **changes)


@pytest.mark.parametrize(
    ("names", "sex", "error", "words"),
    [
        (["a"], ["male"] * 2, ShapeError, "sample_ids: expected 2 rows, one a person, got 1"),
        (["a", "b"], ["male"], ShapeError, "sex: expected 2 rows, one a person, got 1"),
        (["a", "b c"], ["male"] * 2, InputError, "else in 1 rows, first in row 1"),
        (["0", "b"], ["male"] * 2, InputError, "else in 1 rows, first in row 0"),
        (["a", "a\n"], ["male"] * 2, InputError, "else in 1 rows, first in row 1"),
        ([1, 2], ["male"] * 2, InputError, "else in 2 rows, first in row 0"),
        (["a", "a"], ["male"] * 2, InputError, "sample_ids: expected each once, got 1 repeats"),
        (["a", "b"], [["male"], "male"], InputError, "sex: expected .* in 1 rows, first in row 0"),
        (["a", "b"], ["male", "M"], InputError, "sex: expected 'female', 'male' or 'unknown'"),
    ],
)
def test_plink_refuses(
    tmp_path: Path, names: Any, sex: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        write_plink(tmp_path / "made", small([0, 1], rs30187=[1, 2]), names, sex)
    assert not list(tmp_path.iterdir())


def test_vcf_refuses_another_ending_and_bad_names(tmp_path: Path) -> None:
    genome = small([0, 1], rs30187=[1, 2])
    with pytest.raises(ConfigurationError, match=r"ending in '\.vcf' or '\.vcf\.gz'"):
        write_vcf(tmp_path / "made.bcf", genome, ["a", "b"])
    with pytest.raises(InputError, match="sample_ids: expected each once"):
        write_vcf(tmp_path / "made.vcf", genome, ["a", "a"])
    assert not list(tmp_path.iterdir())
