"""Variant Call Format files, plain or compressed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice
from asfusion._door import public
from asfusion._optional import import_optional
from asfusion.exceptions import InputError
from asfusion.genomics._sources import Floats32, Ints, Source, split_places
from asfusion.genomics._vcf_text import (
    UNREADABLE,
    Check,
    Record,
    check_ends,
    read_header,
    scan,
)
from asfusion.genomics.genotypes import Genotypes, bare_chromosome, parse_region

Field: TypeAlias = Literal["GT", "DS"]

_LEVEL_VARIABLE = "CYVCF2_HTSLIB_LOG_LEVEL"
_SILENT, _WARNINGS = 0, 3  # levels of htslib; the latter is its default
_MISSING, _PADDING = -1, -2  # of an allele, as cyvcf2 gives them


@dataclass(frozen=True)
class _Reading:
    """How the calls of a file are understood."""

    field: Field
    multiallelic: str
    half_calls: str
    haploid: str
    region: str | None


@public
def read_vcf(
    path: str | os.PathLike[str],
    *,
    field: Field = "GT",
    multiallelic: Literal["refuse", "split", "skip"] = "refuse",
    half_calls: Literal["refuse", "missing"] = "refuse",
    haploid: Literal["refuse", "double"] = "refuse",
    region: str | None = None,
) -> Genotypes:
    """Open a VCF file; calls are read when they are asked for, in one pass.

    The dosage counts the alternative allele, which is the ``effect_allele``; the reference is
    the other one. A variant without a name is called by place and alleles,
    ``6:31353908:G:A`` (reference, then alternative).

    Parameters
    ----------
    path : str or PathLike
        A ``.vcf`` or ``.vcf.gz`` file.
    field : {"GT", "DS"}
        What dosages are: called genotypes, counted, or imputed dosages as they stand.
    multiallelic : {"refuse", "split", "skip"}
        What becomes of a site with several alternative alleles: an error; a variant for each
        of them, named ``rs1:T``, whose dosage counts that allele alone; or nothing.
    half_calls : {"refuse", "missing"}
        Whether a genotype of which one allele is missing, ``0/.``, is an error or missing.
    haploid : {"refuse", "double"}
        Whether a genotype of one allele, as men have on the X chromosome, is an error or counts
        as two alike.
    region : str, optional
        ``"6:31000000-32000000"``: only that part, which is quick where the file has an index
        (``.tbi`` or ``.csi``) beside it.

    Returns
    -------
    Genotypes
        Of every sample and variant; `Genotypes.select` narrows them.

    Raises
    ------
    InputError
        If the file is not a whole VCF file, if samples or variants repeat, if a site has
        several alternatives, or, once dosages are read, if a call cannot be understood.
    MissingDependencyError
        If the extra ``genomics`` is not installed.

    Notes
    -----
    Units: copies of the alternative allele; positions in base pairs of the file's assembly.

    References
    ----------
    Danecek et al., Bioinformatics 2011;27:2156, doi:10.1093/bioinformatics/btr330.

    Pedersen and Quinlan (cyvcf2), Bioinformatics 2017;33:1867,
    doi:10.1093/bioinformatics/btx057.

    Examples
    --------
    >>> import tempfile
    >>> import asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(20, random_state=0, modalities=["genes"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cohort.write_vcf(folder + "/cohort.vcf.gz")
    ...     genotypes = af.genomics.read_vcf(folder + "/cohort.vcf.gz")
    ...     frame = genotypes.select(["rs30187"]).to_frame(with_allele=True)
    >>> genotypes.shape[0], list(frame.columns)
    (20, ['rs30187_T'])
    """
    check_choice(field, "field", ("GT", "DS"))
    check_choice(multiallelic, "multiallelic", ("refuse", "split", "skip"))
    check_choice(half_calls, "half_calls", ("refuse", "missing"))
    check_choice(haploid, "haploid", ("refuse", "double"))
    if region is not None:
        parse_region(region)
    import_optional("cyvcf2", needed_for="read_vcf", extra="genomics")
    check_ends(Path(path))
    reading = _Reading(field, multiallelic, half_calls, haploid, region)
    source = VcfSource(Path(path), reading)
    return Genotypes._open(source, source.samples, source.variants)


class VcfSource(Source):
    """The records of a file, each alternative allele a variant.

    Parameters
    ----------
    path : Path
        The file.
    reading : _Reading
        How its calls are understood.
    """

    def __init__(self, path: Path, reading: _Reading) -> None:
        import pandas as pd

        self.path, self.reading = path, reading
        self.is_whole = reading.field == "GT"
        self.header = read_header(path)
        self.samples = self.header.samples
        table: list[tuple[str, str, int, str, str]] = []
        where: list[tuple[int, int, int]] = []  # record, allele and position of each variant
        for number, record in enumerate(self._scanned()):
            named = _alternatives(record, reading.multiallelic)
            table += [row for _, row in named]
            where += [(number, allele, record.position) for allele, _ in named]
        names = ["id", "chrom", "pos", "effect_allele", "other_allele"]
        self.variants = pd.DataFrame(table, columns=names)
        numbers = np.asarray(where, dtype=np.int64).reshape(-1, 3)
        self.record, self.allele, self.position = numbers.T

    def blocks(self, rows: Ints, columns: Ints) -> Iterator[tuple[Ints, Floats32]]:
        """Yield dosages from one pass over the file, in the order of its records."""
        order = np.argsort(self.record[columns], kind="stable")
        records = self._records()
        number, record, fresh, calls = -1, None, False, np.empty(0)
        for part in split_places(len(rows), len(columns)):
            places = order[part]
            block = np.empty((len(rows), len(places)), dtype=np.float32)
            for k, column in enumerate(columns[places]):
                wanted, allele = int(self.record[column]), int(self.allele[column])
                while number < wanted:
                    number, record, fresh = number + 1, next(records, None), True
                if record is None or self.position[column] != record.POS:
                    raise InputError("read_vcf: the file has changed since it was opened.")
                if fresh:
                    calls, fresh = self._understood(record), False
                block[:, k] = self._copies(calls, allele)[rows]
            yield places, block

    def _scanned(self) -> Iterator[Record]:
        """Yield the records in the region."""
        region = self.reading.region
        if self._has_index():
            check = Check(self.header)
            lines = (str(record).rstrip("\n").encode() for record in self._records())
            every: Iterator[Record] = (check.read(line, i) for i, line in enumerate(lines, start=1))
        else:
            every = scan(self.path, self.header)
        if region is None:
            yield from every
            return
        chromosome, start, end = parse_region(region)
        for record in every:
            inside = start is None or end is None or start <= record.position <= end
            named = record if inside and bare_chromosome(record.chromosome) == chromosome else None
            yield named or record._replace(alternatives=())

    def _has_index(self) -> bool:
        """Whether a region is wanted that an index leads to."""
        name = self.path.name
        found = (self.path.with_name(name + ending).exists() for ending in (".tbi", ".csi"))
        return self.reading.region is not None and any(found)

    def _records(self) -> Iterator[Any]:
        """Yield the records, of the region where an index leads to it; any fault is one error."""
        cyvcf2 = import_optional("cyvcf2", needed_for="read_vcf", extra="genomics")
        number = 0
        try:
            with _quietly():
                vcf = cyvcf2.VCF(str(self.path))
                records = iter(vcf(self._limits(vcf)) if self._has_index() else vcf)
            if len(vcf.samples) != len(self.samples):
                raise InputError(UNREADABLE.format(1))
            while True:
                with _quietly():
                    record = next(records, None)
                if record is None:
                    return
                number += 1
                yield record
        except (InputError, GeneratorExit):
            raise
        except Exception:  # cyvcf2 raises bare Exceptions, and their text may show a cell
            raise InputError(UNREADABLE.format(number + 1)) from None

    def _limits(self, vcf: Any) -> str:
        """Return the region with the file's own name of the chromosome."""
        chromosome, start, end = parse_region(str(self.reading.region))
        known = [name for name in vcf.seqnames if bare_chromosome(name) == chromosome]
        name = known[0] if known else chromosome
        return name if start is None else f"{name}:{start}-{end}"

    def _understood(self, record: Any) -> NDArray[Any]:
        """Return the calls of a record; of those that no rule foresees, one error, too."""
        try:
            with _quietly():
                return self._calls(record)
        except InputError:
            raise
        except Exception:  # cyvcf2 raises bare Exceptions, and their text may show a cell
            msg = (
                f"read_vcf: the field {self.reading.field} of the record at {record.CHROM}:"
                f"{record.POS} cannot be understood. See what bcftools says of it."
            )
            raise InputError(msg) from None

    def _calls(self, record: Any) -> NDArray[Any]:
        """Return the alleles (n, ploidy) of a record, or its dosages (n, alternatives)."""
        where = f"{record.CHROM}:{record.POS}"
        field = self.reading.field
        if field not in (record.FORMAT or ()):
            have = ", ".join(record.FORMAT or ()) or "none"
            msg = (
                f"read_vcf: expected the field {field} in the record at {where}, got {have}. "
                "Pass field='GT' or field='DS', whichever the file has."
            )
            raise InputError(msg)
        if field == "GT":
            return self._checked(record.genotype.array()[:, :-1], len(record.ALT), where)
        dosages = np.asarray(record.format("DS"), dtype=np.float64)
        if dosages.shape[1] != len(record.ALT) or (dosages < 0).any() or (dosages > 2).any():
            msg = (
                f"read_vcf: expected a dosage from 0 to 2 for each alternative allele in the "
                f"record at {where}, got something else. Pass field='GT' if there are calls."
            )
            raise InputError(msg)
        return dosages

    def _checked(self, alleles: NDArray[Any], n_alternatives: int, where: str) -> NDArray[Any]:
        """Return two alleles a sample, both missing where the call is."""
        if alleles.shape[1] > 2 and (alleles[:, 2:] != _PADDING).any():
            msg = (
                f"read_vcf: expected at most two alleles a sample at {where}, got more. Leave the "
                f"record out: bcftools view --targets ^{where}."
            )
            raise InputError(msg)
        first, last = alleles[:, 0], alleles[:, min(1, alleles.shape[1] - 1)]
        alone = (last == _PADDING) | (alleles.shape[1] == 1)
        second = np.where(alone, first, last)
        single = alone & (first != _MISSING)
        if single.any() and self.reading.haploid == "refuse":
            msg = (
                f"read_vcf: expected two alleles a sample, got one in {int(single.sum())} "
                f"sample(s) at {where}. Pass haploid='double' to count it twice."
            )
            raise InputError(msg)
        half = (first == _MISSING) != (second == _MISSING)
        if half.any() and self.reading.half_calls == "refuse":
            msg = (
                f"read_vcf: expected whole calls, got {int(half.sum())} of which one allele is "
                f"missing at {where}. Pass half_calls='missing' to take them for missing."
            )
            raise InputError(msg)
        if (first > n_alternatives).any() or (second > n_alternatives).any():
            msg = (
                f"read_vcf: expected calls at {where} to name an allele of the record, got another "
                f"number. Correct the record, or leave it out: bcftools view --targets ^{where}."
            )
            raise InputError(msg)
        pair = np.stack([first, second], axis=1)
        pair[half] = _MISSING
        return pair

    def _copies(self, calls: NDArray[Any], allele: int) -> NDArray[Any]:
        if self.reading.field == "DS":
            return calls[:, allele - 1]
        return np.where(calls[:, 0] == _MISSING, np.nan, (calls == allele).sum(axis=1))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep htslib from writing to the standard error what may hold parts of a file.

    What is wrong is said by errors of ours. Whoever sets the level for all of cyvcf2 by its
    variable of the environment keeps it; older versions of cyvcf2 have no level to set.
    """
    lib = import_optional("cyvcf2", needed_for="read_vcf", extra="genomics").cyvcf2
    set_level = getattr(lib, "set_htslib_log_level", None)
    if set_level is None or _LEVEL_VARIABLE in os.environ:
        yield
        return
    set_level(_SILENT)
    try:
        yield
    finally:
        set_level(_WARNINGS)


def _alternatives(
    record: Record, multiallelic: str
) -> list[tuple[int, tuple[str, str, int, str, str]]]:
    """Return the variants of a record: the number of the allele, and a row of the table."""
    chromosome, position, own, reference, alternatives = record
    several = len(alternatives) > 1
    if several and multiallelic == "refuse":
        msg = (
            f"read_vcf: expected one alternative allele, got {len(alternatives)} at "
            f"{chromosome}:{position}. Pass multiallelic='split' or 'skip'."
        )
        raise InputError(msg)
    if several and multiallelic == "skip":
        return []
    found = []
    for allele, alternative in enumerate(alternatives, start=1):
        name = f"{own}:{alternative}" if several else own
        if own == ".":
            name = f"{chromosome}:{position}:{reference}:{alternative}"
        found.append((allele, (name, chromosome, position, alternative, reference)))
    return found
