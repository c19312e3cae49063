"""The genome of a made-up axial spondyloarthritis cohort: HLA-B27, risk loci, neutral SNPs.

Every SNP is drawn independently of every other, except the one that tags HLA-B27: there is no
linkage within a locus, no relatedness and no population structure. A locus therefore enters
once, by the larger study: the 2p15 SNPs of the 2010 scan (doi:10.1038/ng.513) are left out,
as they repeat the signal of rs6759298.

References
----------
Risk loci: Cortes et al. (IGAS), Nat Genet 2013;45:730, doi:10.1038/ng.2667. ERAP1 in HLA-B27
carriers only: Evans et al., Nat Genet 2011;43:761, doi:10.1038/ng.873. Carriage of HLA-B27,
worked back from the accuracy of the test: Li et al., Ann Rheum Dis 2021;80:1168,
doi:10.1136/annrheumdis-2020-219446. HLA-B27 on both chromosomes: Jaakkola et al., Ann Rheum
Dis 2006;65:775, doi:10.1136/ard.2005.041103. The tag SNP: Akar et al., Ann Rheum Dis
2013;72 Suppl 3:A282, abstract THU0349, and the paper PubMed 26200952.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asfusion._checks import check_choice, check_integer, check_number, quoted
from asfusion.clinical.genetics import odds_ratio, risk_score_log_odds
from asfusion.exceptions import ConfigurationError, InputError, ShapeError
from asfusion.genomics.loci import (
    B27_IN_CASES,
    B27_IN_CONTROLS,
    B27_ODDS_RATIO,
    LOCI,
    SPACING,
    TAG_SENSITIVITY,
    Locus,
)

Dosages: TypeAlias = NDArray[np.int8]

B27_HOMOZYGOUS_ODDS_RATIO = 3.3
"""Of two copies against one, cases against Hardy-Weinberg."""

_NEUTRAL_START, _NEUTRAL_SPACING = 20_000_000, 1_000
_NEUTRAL_CHROMOSOMES = (*range(1, 6), *range(7, 23))  # not 6, where HLA-B27 is
_NEUTRAL_ALLELES = ("AG", "CT", "AC", "GT")
_GOLDEN = (5**0.5 - 1) / 2


def _carriage_to_frequency(carriage: float) -> float:
    """Return the allele frequency at which a share of people carries the allele."""
    return float(1 - np.sqrt(1 - carriage))


TAG_SNP = Locus(
    rsid="rs4349859",
    locus="tag of HLA-B27",
    chromosome=6,
    position=SPACING,
    risk_allele="A",
    other_allele="G",
    risk_frequency=_carriage_to_frequency(B27_IN_CONTROLS * TAG_SENSITIVITY),
    odds_ratio=float(odds_ratio(B27_IN_CASES * TAG_SENSITIVITY, B27_IN_CONTROLS * TAG_SENSITIVITY)),
    doi="",
    confidence="recalled",
    allele_basis="recalled",
    role="tag",
)
"""Stands in for HLA-B27 on an array, with sensitivity 0.946 and specificity 1.

The two shares are of 239 people in Turkey; the frequency and the odds ratio of carriage
follow from them and from the carriage of HLA-B27. The alleles are from memory.
"""


@dataclass(frozen=True, eq=False)
class Genome:
    """What was typed in a group of people.

    Parameters
    ----------
    hla_b27_copies : ndarray of shape (n_people,), int8
        0, 1 or 2. Typing is complete.
    dosages : mapping of str to ndarray of shape (n_people,), int8
        Copies of each SNP's risk allele: 0, 1 or 2, and -1 where the call is missing.
    loci : tuple of Locus
        The SNPs, in the order of `dosages`.

    Raises
    ------
    ShapeError
        If an array is not one-dimensional or lengths differ.
    InputError
        If names differ or repeat, or an array holds anything but copies.

    Notes
    -----
    Units: copies.
    """

    hla_b27_copies: Dosages
    dosages: Mapping[str, Dosages]
    loci: tuple[Locus, ...]

    def __post_init__(self) -> None:
        names = [locus.rsid for locus in self.loci]
        if len(set(names)) != len(names) or list(self.dosages) != names:
            msg = (
                f"Genome: expected one dosage array for each of the {len(names)} loci, in their "
                f"order and without repeats, got {len(self.dosages)}."
            )
            raise InputError(msg)
        shape = (len(self.hla_b27_copies),)
        copies = _frozen_copies("hla_b27_copies", self.hla_b27_copies, shape, lowest=0)
        dosages = {
            name: _frozen_copies(name, values, shape, lowest=-1)
            for name, values in self.dosages.items()
        }
        object.__setattr__(self, "hla_b27_copies", copies)
        object.__setattr__(self, "dosages", MappingProxyType(dosages))

    def __len__(self) -> int:
        """Return the number of people."""
        return len(self.hla_b27_copies)

    @property
    def hla_b27(self) -> NDArray[np.bool_]:
        """Whether each person carries HLA-B27."""
        return self.hla_b27_copies > 0

    def carriers(self, rsid: str) -> Dosages:
        """Return 1 for carriers of a SNP's risk allele, 0 for others, -1 for missing calls."""
        check_choice(rsid, "rsid", self.dosages)
        return np.minimum(self.dosages[rsid], 1).astype(np.int8)


def _frozen_copies(name: str, values: Any, shape: tuple[int, ...], *, lowest: int) -> Dosages:
    """Return a read-only int8 copy of allele counts."""
    array = np.asarray(values)
    if array.shape != shape:
        msg = f"Genome: {name}: expected shape {shape}, got {array.shape}."
        raise ShapeError(msg)
    if array.dtype.kind not in "iu" or ((array < lowest) | (array > 2)).any():
        msg = f"Genome: {name}: expected integers from {lowest} to 2, got something else."
        raise InputError(msg)
    copies = array.astype(np.int8)
    copies.flags.writeable = False
    return copies


def neutral_loci(n_neutral: int) -> tuple[Locus, ...]:
    """Return SNPs that act on nothing: the first `n_neutral` of one fixed sequence."""
    loci = []
    for i in range(n_neutral):
        turn, place = divmod(i, len(_NEUTRAL_CHROMOSOMES))
        alleles = _NEUTRAL_ALLELES[i % len(_NEUTRAL_ALLELES)]
        loci.append(
            Locus(
                rsid=f"syn{i + 1:04d}",
                locus="neutral",
                chromosome=_NEUTRAL_CHROMOSOMES[place],
                position=_NEUTRAL_START + turn * _NEUTRAL_SPACING,
                risk_allele=alleles[0],
                other_allele=alleles[1],
                risk_frequency=round(0.05 + 0.45 * (i * _GOLDEN % 1), 3),
                odds_ratio=1.0,
                doi="",
                confidence="synthetic",
                allele_basis="synthetic",
                role="neutral",
            )
        )
    return tuple(loci)


def draw_genome(
    is_case: ArrayLike,
    rng: np.random.Generator,
    *,
    ancestry: ArrayLike | None = None,
    b27_in_cases: float = B27_IN_CASES,
    b27_in_controls: float = B27_IN_CONTROLS,
    call_rate: float = 0.99,
    n_neutral: int = 20,
) -> Genome:
    """Draw HLA-B27, the risk loci, the tag of HLA-B27 and neutral SNPs.

    Genotypes follow Hardy-Weinberg proportions within cases and within controls. The odds of
    the risk allele in cases are those in controls times the odds ratio; for ERAP1 this holds
    in cases with HLA-B27, and everyone else has the frequency of controls. Among carriers,
    the odds of two copies of HLA-B27 are 3.3 times as high in cases as in controls.

    Parameters
    ----------
    is_case : array-like of shape (n_people,), bool
        Whether each person has axial spondyloarthritis.
    rng : numpy.random.Generator
        Source of randomness. The named SNPs do not depend on `n_neutral`, and no genotype
        depends on `call_rate`.
    ancestry : array-like of shape (n_people,), or None
        Only ``"EUR"``, the ancestry of the frequencies; None stands for it.
    b27_in_cases, b27_in_controls : float
        Share of HLA-B27 carriers, above 0 and below 1.
    call_rate : float
        Chance that a SNP's call is there, 0 to 1. Missing calls depend on nothing else.
    n_neutral : int
        SNPs without effect.

    Returns
    -------
    Genome
        The SNPs are `LOCI`, `TAG_SNP` and the neutral ones.

    Raises
    ------
    InputError
        If `is_case` is not of truth values.
    ShapeError
        If `is_case` is not one-dimensional, or `ancestry` does not match it.
    ConfigurationError
        If a share or count is out of range, `rng` is not a Generator, or an ancestry is not
        supported.

    Notes
    -----
    Units: copies of an allele; shares are unitless.

    References
    ----------
    Evans et al., Nat Genet 2011;43:761, doi:10.1038/ng.873. Li et al., Ann Rheum Dis
    2021;80:1168, doi:10.1136/annrheumdis-2020-219446.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.datasets._genome import draw_genome
    >>> genome = draw_genome([True] * 500 + [False] * 500, np.random.default_rng(0))
    >>> bool(genome.hla_b27[:500].mean() > 0.7), bool(genome.hla_b27[500:].mean() < 0.2)
    (True, True)
    """
    cases = _read_cases(is_case)
    _check_ancestry(ancestry, len(cases))
    if not isinstance(rng, np.random.Generator):
        msg = f"rng: expected a numpy Generator, got {type(rng).__name__}. Use default_rng(seed)."
        raise ConfigurationError(msg)
    in_cases = check_number(b27_in_cases, "b27_in_cases", minimum=0, maximum=1, exclusive=True)
    in_controls = check_number(
        b27_in_controls, "b27_in_controls", minimum=0, maximum=1, exclusive=True
    )
    rate = check_number(call_rate, "call_rate", minimum=0, maximum=1)
    neutral = neutral_loci(check_integer(n_neutral, "n_neutral", minimum=0))

    copies = _draw_b27(cases, in_cases, in_controls, rng)
    # A tag is lost with the chromosome that carries it, so both copies of a person go together.
    tag = copies * (rng.random(len(cases)) < TAG_SENSITIVITY)
    named = np.vstack([_draw_snps(LOCI, cases, copies > 0, rng), tag[None]])
    named = _lose_calls(named, rate, rng)
    others = _lose_calls(_draw_snps(neutral, cases, copies > 0, rng), rate, rng)
    loci = (*LOCI, TAG_SNP, *neutral)
    rows = np.vstack([named, others])
    dosages = {locus.rsid: row for locus, row in zip(loci, rows, strict=True)}
    return Genome(copies, dosages, loci)


def _read_cases(is_case: ArrayLike) -> NDArray[np.bool_]:
    cases = np.asarray(is_case)
    if cases.ndim != 1:
        msg = f"is_case: expected one dimension, got {cases.ndim}."
        raise ShapeError(msg)
    if cases.dtype != np.bool_:
        msg = f"is_case: expected truth values, got {cases.dtype}. Compare with the case label."
        raise InputError(msg)
    return cases


def _check_ancestry(ancestry: ArrayLike | None, n_people: int) -> None:
    if ancestry is None:
        return
    given = np.asarray(ancestry)
    if given.shape != (n_people,):
        msg = f"ancestry: expected shape ({n_people},), got {given.shape}."
        raise ShapeError(msg)
    n_others = int((given != "EUR").sum())
    if n_others:
        msg = (
            f"ancestry: expected 'EUR' in every row, got something else in {n_others}. The "
            "frequencies and odds ratios are of European ancestry; leave the others out."
        )
        raise ConfigurationError(msg)


def _draw_b27(
    cases: NDArray[np.bool_], in_cases: float, in_controls: float, rng: np.random.Generator
) -> Dosages:
    """Return copies of HLA-B27."""
    carries = rng.random(len(cases)) < np.where(cases, in_cases, in_controls)
    q = _carriage_to_frequency(in_controls)
    odds = q / (2 * (1 - q)) * np.where(cases, B27_HOMOZYGOUS_ODDS_RATIO, 1.0)
    twice = rng.random(len(cases)) < odds / (1 + odds)
    return (carries * (1 + twice)).astype(np.int8)


def _draw_snps(
    loci: Sequence[Locus],
    cases: NDArray[np.bool_],
    b27: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Dosages:
    """Return risk alleles, one row a SNP: two independent draws for each person."""
    chances = np.empty((len(loci), len(cases)))
    for row, locus in zip(chances, loci, strict=True):
        acts = cases & b27 if locus.only_with_b27 else cases
        row[:] = np.where(acts, locus.case_frequency, locus.risk_frequency)
    alleles = rng.random((2, *chances.shape)) < chances
    dosages: Dosages = alleles.sum(axis=0, dtype=np.int8)
    return dosages


def _lose_calls(dosages: NDArray[Any], call_rate: float, rng: np.random.Generator) -> Dosages:
    called = rng.random(dosages.shape) < call_rate
    kept: Dosages = np.where(called, dosages, -1).astype(np.int8)
    return kept


def risk_score(
    genome: Genome,
    loci: Sequence[Locus] | None = None,
    *,
    b27_odds_ratio: float | None = B27_ODDS_RATIO,
    missing: Literal["mean", "nan"] = "mean",
) -> NDArray[np.float64]:
    """Return each person's log odds from risk alleles and HLA-B27.

    The sum of ``dosage * ln(odds ratio)``, plus ``ln(b27_odds_ratio)`` for HLA-B27 carriers.
    A SNP that acts only with HLA-B27 counts in carriers only; where HLA-B27 is left out, in
    everyone, as the sum would otherwise give HLA-B27 away. The tag SNP counts once for
    carriage, however many copies there are. The weights are those that drew the cohort: a
    score brought from another cohort would do worse.

    Parameters
    ----------
    genome : Genome
        People to score.
    loci : sequence of Locus, optional
        SNPs to sum, all of them in `genome`. Default: its risk loci, without tag and neutral
        SNPs.
    b27_odds_ratio : float or None
        Odds ratio of carriage; None leaves HLA-B27 out.
    missing : {"mean", "nan"}
        A missing call counts as the mean of controls, or makes the score missing.

    Returns
    -------
    ndarray of shape (n_people,)
        Log odds relative to no risk allele.

    Raises
    ------
    ConfigurationError
        If a SNP is not in `genome` or repeats, if HLA-B27 would be counted twice, or an
        option is out of range.

    Notes
    -----
    Units: log odds (natural logarithm).

    References
    ----------
    Li et al., Ann Rheum Dis 2021;80:1168, doi:10.1136/annrheumdis-2020-219446.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.datasets._genome import LOCI, Genome, risk_score
    >>> genome = Genome(np.array([0, 1]), {"rs11209026": np.array([2, 1])}, LOCI[:1])
    >>> risk_score(genome).round(3).tolist()
    [0.952, 4.388]
    """
    check_choice(missing, "missing", ("mean", "nan"))
    chosen = [locus for locus in genome.loci if locus.role == "risk"] if loci is None else [*loci]
    _check_chosen(genome, chosen, with_b27=b27_odds_ratio is not None)
    total = np.zeros(len(genome))
    acts = np.ones(len(genome), dtype=bool) if b27_odds_ratio is None else genome.hla_b27
    if b27_odds_ratio is not None:
        ratio = check_number(
            b27_odds_ratio, "b27_odds_ratio", minimum=0, maximum=1000, exclusive=True
        )
        total += genome.hla_b27 * np.log(ratio)
    if chosen:
        counted = np.column_stack([_counted(genome, locus, acts, missing) for locus in chosen])
        total += risk_score_log_odds(counted, [locus.odds_ratio for locus in chosen])
    return total


def _check_chosen(genome: Genome, chosen: Sequence[Locus], *, with_b27: bool) -> None:
    names = [locus.rsid for locus in chosen]
    absent = [name for name in names if name not in genome.dosages]
    if absent or len(set(names)) != len(names):
        msg = (
            "loci: expected SNPs of the genome, each once, got "
            + (f"{quoted(absent)}, which it lacks." if absent else "a SNP twice.")
        )  # fmt: skip
        raise ConfigurationError(msg)
    tags = [locus.rsid for locus in chosen if locus.role == "tag"]
    if tags and with_b27:
        msg = (
            f"loci: {quoted(tags)} stands in for HLA-B27, which would count twice. Leave it "
            "out, or set b27_odds_ratio=None."
        )
        raise ConfigurationError(msg)


def _counted(
    genome: Genome, locus: Locus, acts: NDArray[np.bool_], missing: str
) -> NDArray[np.float64]:
    """Return what a SNP's odds ratio is raised to."""
    p = locus.risk_frequency
    if locus.role == "tag":
        calls, expected = genome.carriers(locus.rsid), 1 - (1 - p) ** 2
    else:
        calls, expected = genome.dosages[locus.rsid], 2 * p
    counted = np.where(calls < 0, expected if missing == "mean" else np.nan, calls)
    return np.where(acts, counted, 0.0) if locus.only_with_b27 else counted
