"""Carriage of HLA-B27 from a SNP that tags it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from asfusion._checks import in_words, quoted
from asfusion._door import public
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.genomics.genotypes import Genotypes
from asfusion.genomics.loci import B27_TAGS, B27Tag

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class TaggedCarriage:
    """Who carries HLA-B27, as far as a tag SNP tells.

    Parameters
    ----------
    carriers : pandas.Series
        1, 0, or NaN without a call, by sample; named ``hla_b27``.
    rsid : str
        The tag.
    tag_allele : str
        Its allele that goes with HLA-B27.
    sensitivity, specificity : float
        Of the tag for HLA-B27, where it was studied.
    studied_in : str
        Where that was.

    Examples
    --------
    >>> import pandas as pd
    >>> from asfusion.genomics import Genotypes, hla_b27_from_tag
    >>> variants = pd.DataFrame({"id": ["rs4349859"], "effect_allele": "G", "other_allele": "A"})
    >>> found = hla_b27_from_tag(Genotypes([[2], [1]], ["p1", "p2"], variants))
    >>> found.carriers.tolist(), found.sensitivity
    ([0.0, 1.0], 0.946)
    """

    carriers: pd.Series[float]
    rsid: str
    tag_allele: str
    sensitivity: float
    specificity: float
    studied_in: str

    def __repr__(self) -> str:
        return (
            f"<TaggedCarriage: {int(np.nansum(self.carriers))} carriers of {len(self.carriers)} "
            f"by {self.rsid}-{self.tag_allele}; sensitivity {self.sensitivity}, specificity "
            f"{self.specificity} in {self.studied_in}; elsewhere unknown>"
        )


@public
def hla_b27_from_tag(
    genotypes: Genotypes, rsid: str | None = None, *, tag_allele: str | None = None
) -> TaggedCarriage:
    """Tell carriers of HLA-B27 by a SNP that is inherited with it.

    A stand-in where nobody typed HLA-B27. Its accuracy was studied in few people of one
    country, and is lower where other subtypes of HLA-B27 are common.

    Parameters
    ----------
    genotypes : Genotypes
        The samples.
    rsid : str, optional
        ``"rs4349859"``, ``"rs116488202"`` or ``"rs13202464"``; by default the first of them
        that is there.
    tag_allele : str, optional
        The allele that goes with HLA-B27, on the strand of the genotypes. Known of the first
        two (A, from memory, and T); of rs13202464 it has to be given.

    Returns
    -------
    TaggedCarriage
        Carriers, and how accurate the tag was where it was studied.

    Raises
    ------
    ConfigurationError
        If the tag is unknown, or its allele has to be given.
    InputError
        If the tag is not among the variants, or has other alleles.

    References
    ----------
    Akar et al., Ann Rheum Dis 2013;72 Suppl 3:A282, abstract THU0349, and the paper
    PubMed 26200952: 207 patients and 32 others in Turkey.

    Examples
    --------
    >>> import asfusion as af, tempfile
    >>> cohort = af.datasets.make_axspa_cohort(200, random_state=0, modalities=["genes"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cohort.write_plink(folder + "/cohort")
    ...     found = af.genomics.hla_b27_from_tag(af.genomics.read_plink(folder + "/cohort"))
    >>> found.rsid, found.tag_allele
    ('rs4349859', 'A')
    """
    import pandas as pd

    ids = list(genotypes.variants["id"])
    tag = _choose(rsid, ids)
    allele = (tag_allele or tag.allele or "").upper()
    if not allele:
        msg = (
            f"tag_allele: expected the allele of {tag.rsid} that goes with HLA-B27, got none: it "
            "is not known here. Look it up on the strand of your genotypes."
        )
        raise ConfigurationError(msg)
    one = genotypes.select([tag.rsid])
    alleles = [str(a).upper() for a in one.variants.loc[0, ["effect_allele", "other_allele"]]]
    if allele not in alleles:
        msg = (
            f"{tag.rsid}: expected the allele {allele}, which goes with HLA-B27, got "
            f"{' and '.join(alleles)}. If those are of the other strand, pass tag_allele=."
        )
        raise InputError(msg)
    copies = one.dosages("float64")[:, 0]
    copies = copies if allele == alleles[0] else 2.0 - copies
    carriers = np.where(np.isnan(copies), np.nan, copies >= 0.5)
    return TaggedCarriage(
        carriers=pd.Series(carriers, index=list(genotypes.samples), name="hla_b27"),
        rsid=tag.rsid,
        tag_allele=allele,
        sensitivity=tag.sensitivity,
        specificity=tag.specificity,
        studied_in=tag.studied_in,
    )


def _choose(rsid: str | None, ids: list[str]) -> B27Tag:
    known = {tag.rsid: tag for tag in B27_TAGS}
    if rsid is not None and rsid not in known:
        msg = f"rsid: expected one of {quoted(known)}, got {in_words(rsid)}."
        raise ConfigurationError(msg)
    wanted = list(known) if rsid is None else [rsid]
    found = next((name for name in wanted if name in ids), None)
    if found is None:
        msg = f"hla_b27_from_tag: expected {quoted(wanted)} among the variants, got none of them."
        raise InputError(msg)
    return known[found]
