"""What is known of the genome in ankylosing spondylitis: risk loci, and carriage of HLA-B27.

References
----------
Risk loci: Cortes et al. (IGAS), Nat Genet 2013;45:730, doi:10.1038/ng.2667. ERAP1 in HLA-B27
carriers only: Evans et al., Nat Genet 2011;43:761, doi:10.1038/ng.873. Carriage of HLA-B27,
worked back from the accuracy of the test: Li et al., Ann Rheum Dis 2021;80:1168,
doi:10.1136/annrheumdis-2020-219446. The tag SNPs: Akar et al., Ann Rheum Dis 2013;72 Suppl
3:A282, abstract THU0349, and the paper PubMed 26200952.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["risk", "tag", "neutral"]
Confidence: TypeAlias = Literal["published", "recalled", "synthetic"]
AlleleBasis: TypeAlias = Literal["recalled", "assumed", "synthetic"]

B27_IN_CASES = 0.823
B27_IN_CONTROLS = 0.085
B27_ODDS_RATIO = 50.0
"""Of carriage; what the two shares above give."""
TAG_SENSITIVITY = 0.946
"""Share of HLA-B27 carriers whom the tag SNP finds; it has no false positives."""

ERAP1 = "rs30187"
SPACING = 1_000_000
"""Between the placeholder positions of named SNPs."""


@dataclass(frozen=True)
class B27Tag:
    """A SNP that is inherited with HLA-B27; `allele` is empty where it is not known here."""

    rsid: str
    allele: str
    sensitivity: float
    specificity: float
    studied_in: str


_TURKEY = "239 people in Turkey (PubMed 26200952)"
B27_TAGS = (
    B27Tag("rs4349859", "A", TAG_SENSITIVITY, 1.0, _TURKEY),
    B27Tag("rs116488202", "T", TAG_SENSITIVITY, 1.0, _TURKEY),
    B27Tag("rs13202464", "", 0.878, 0.934, _TURKEY),
)

_IGAS, _EVANS = "10.1038/ng.2667", "10.1038/ng.873"


@dataclass(frozen=True)
class Locus:
    """One SNP, what is claimed of it and how sure that is.

    Parameters
    ----------
    rsid : str
        dbSNP identifier; ``syn`` and a number where the SNP is made up.
    locus : str
        Gene or band.
    chromosome : int
        1 to 22.
    position : int
        Placeholder that keeps SNPs of a chromosome apart and in a fixed order. It is NOT a
        coordinate of GRCh37 or GRCh38; join by `rsid`.
    risk_allele, other_allele : str
        On the strand that the source lists. Of a neutral SNP, the counted and the other one.
    risk_frequency : float
        Of the risk allele among controls of European ancestry, 0 to 1.
    odds_ratio : float
        Of one more risk allele; for a tag, of carriage.
    doi : str
        Study that reports the association; empty where there is none.
    confidence : {"published", "recalled", "synthetic"}
        ``published``: alleles, frequency and odds ratio were read from the table of the study.
        ``recalled``: they are from memory and right in order of magnitude only.
    allele_basis : {"recalled", "assumed", "synthetic"}
        How the risk allele was told from the other: the table of the study gives the size of
        an odds ratio but not its allele. ``assumed``: the rarer allele was taken.
    only_with_b27 : bool
        Whether the SNP acts in HLA-B27 carriers only.
    role : {"risk", "tag", "neutral"}
        A tag stands in for HLA-B27 and must not be counted beside it.
    """

    rsid: str
    locus: str
    chromosome: int
    position: int
    risk_allele: str
    other_allele: str
    risk_frequency: float
    odds_ratio: float
    doi: str
    confidence: Confidence
    allele_basis: AlleleBasis
    only_with_b27: bool = False
    role: Role = "risk"

    @property
    def case_frequency(self) -> float:
        """Share of risk alleles among cases on whom the SNP acts."""
        raised = self.odds_ratio * self.risk_frequency
        return raised / (1 - self.risk_frequency + raised)


_Row: TypeAlias = tuple[str, str, int, str, float, float, AlleleBasis]  # alleles: risk, other

_PUBLISHED: tuple[_Row, ...] = (
    ("rs11209026", "IL23R", 1, "GA", 0.934, 1.61, "recalled"),
    ("rs12141575", "IL23R, second signal", 1, "AG", 0.330, 1.15, "assumed"),
    ("rs6600247", "RUNX3", 1, "TC", 0.499, 1.16, "assumed"),
    ("rs4129267", "IL6R", 1, "TC", 0.408, 1.18, "assumed"),
    ("rs1801274", "FCGR2A", 1, "TC", 0.476, 1.11, "assumed"),
    ("rs41299637", "KIF21B/GPR25", 1, "GT", 0.285, 1.19, "assumed"),
    ("rs6759298", "2p15", 2, "CG", 0.378, 1.29, "assumed"),
    ("rs12615545", "UBE2E3", 2, "CT", 0.421, 1.12, "assumed"),
    ("rs4676410", "GPR35", 2, "TC", 0.209, 1.13, "assumed"),
)
_RECALLED: tuple[_Row, ...] = (
    (ERAP1, "ERAP1", 5, "TC", 0.34, 1.30, "recalled"),
    ("rs2910686", "ERAP2", 5, "CT", 0.44, 1.17, "assumed"),
    ("rs12186979", "PTGER4", 5, "AG", 0.46, 1.10, "assumed"),
    ("rs6871626", "IL12B", 5, "AC", 0.34, 1.15, "assumed"),
    ("rs4389526", "ANTXR2", 4, "TA", 0.47, 1.13, "assumed"),
    ("rs1128905", "CARD9", 9, "CT", 0.47, 1.11, "assumed"),
    ("rs1860545", "LTBR/TNFRSF1A", 12, "AG", 0.40, 1.17, "assumed"),
    ("rs11624293", "GPR65", 14, "CT", 0.09, 1.23, "assumed"),
    ("rs9901869", "TBX21/NPEPPS", 17, "AG", 0.49, 1.14, "assumed"),
    ("rs35164067", "TYK2", 19, "AG", 0.21, 1.14, "assumed"),
    ("rs2836883", "21q22", 21, "GA", 0.73, 1.25, "recalled"),
)


def _named_loci(rows: tuple[_Row, ...], confidence: Confidence) -> tuple[Locus, ...]:
    """Return risk loci, each at the next free placeholder of its chromosome."""
    loci: list[Locus] = []
    for rsid, locus, chromosome, alleles, frequency, ratio, basis in rows:
        before = sum(other.chromosome == chromosome for other in loci)
        loci.append(
            Locus(
                rsid=rsid,
                locus=locus,
                chromosome=chromosome,
                position=(before + 1) * SPACING,
                risk_allele=alleles[0],
                other_allele=alleles[1],
                risk_frequency=frequency,
                odds_ratio=ratio,
                doi=_EVANS if rsid == ERAP1 else _IGAS,
                confidence=confidence,
                allele_basis=basis,
                only_with_b27=rsid == ERAP1,
            )
        )
    return tuple(loci)


LOCI: tuple[Locus, ...] = (
    *_named_loci(_PUBLISHED, "published"),
    *_named_loci(_RECALLED, "recalled"),
)
"""Risk loci outside the HLA region, the published rows first."""
