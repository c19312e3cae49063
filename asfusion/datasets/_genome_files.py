"""A genome as files that genetics tools open: PLINK 1 binary and VCF 4.3.

Equal input gives equal bytes: no clock and no machine name. The bytes of a compressed VCF
depend on the version of zlib too.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._files import clear_leftovers, write_file
from asfusion.datasets._genome import Genome
from asfusion.exceptions import ConfigurationError, InputError, ShapeError
from asfusion.genomics.loci import Locus

_SAMPLE_ID = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_SEX_CODES = {"male": "1", "female": "2", "unknown": "0"}

_BED_MAGIC = b"\x6c\x1b\x01"  # the last byte: one SNP after another
# Indexed by dosage, so that -1, a missing call, takes the last entry of each.
_BED_CODES = np.array([0b11, 0b10, 0b00, 0b01], dtype=np.uint8)
_VCF_CALLS = ("0/0", "0/1", "1/1", "./.")

_VCF_HEADER = """\
##fileformat=VCFv4.3
##source=asfusion
##synthetic=Simulated genotypes of simulated people; no person was typed
##positions=Placeholders that keep order within a chromosome; not coordinates of any assembly
##alleles=REF is the allele that does not raise risk; it was not compared with any assembly
##INFO=<ID=SYN,Number=0,Type=Flag,Description="The SNP itself is made up">
##INFO=<ID=LOCUS,Number=1,Type=String,Description="Gene or band">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype, unphased">
"""

_BGZF_BLOCK = 65_280  # bytes of content; a block's length, compressed or not, fits 16 bits
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def write_plink(
    prefix: str | os.PathLike[str],
    genome: Genome,
    sample_ids: Sequence[str],
    sex: Sequence[str],
) -> tuple[Path, Path, Path]:
    """Write a genome as PLINK 1 binary files: ``.bed``, ``.bim`` and ``.fam``.

    One SNP after another, by chromosome and position. Allele 1 of the ``.bim`` is the risk
    allele and allele 2 the other, so that the count of allele 1 is the dosage. Two bits a
    person, the first person in the lowest: 00 two copies of allele 1, 10 one copy, 11 none,
    01 no call. The family is the person; parents are unknown; the phenotype is missing (-9),
    so that the files do not give away who is a case. HLA-B27 itself is not a SNP and is not
    in the files. Each file is there completely or not at all; the ``.bed`` comes last.

    Parameters
    ----------
    prefix : str or PathLike
        Path without the endings; its folder is made, what was there before is replaced.
    genome : Genome
        What to write.
    sample_ids : sequence of str
        One a person: letters, digits, ``_``, ``.`` and ``-``, at most 40, not ``"0"``.
    sex : sequence of {"female", "male", "unknown"}
        One a person.

    Returns
    -------
    tuple of Path
        The ``.bed``, ``.bim`` and ``.fam``.

    Raises
    ------
    ShapeError
        If the lengths differ from that of `genome`.
    InputError
        If an identifier repeats or has other characters, or a sex is not one of the three.

    Notes
    -----
    Units: copies of the risk allele. Positions are placeholders, in no assembly.

    References
    ----------
    Chang et al., GigaScience 2015;4:7, doi:10.1186/s13742-015-0047-8.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from asfusion.datasets._genome import Genome
    >>> from asfusion.genomics.loci import LOCI
    >>> from asfusion.datasets._genome_files import write_plink
    >>> genome = Genome(np.array([1, 0]), {"rs11209026": np.array([2, -1])}, LOCI[:1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bed, bim, fam = write_plink(f"{folder}/cohort", genome, ["a", "b"], ["male", "female"])
    ...     bed.read_bytes().hex()
    '6c1b0104'
    """
    names = _check_ids(sample_ids, len(genome))
    codes = _sex_codes(sex, len(genome))
    loci = _in_order(genome)
    bim = "".join(
        f"{locus.chromosome}\t{locus.rsid}\t0\t{locus.position}"
        f"\t{locus.risk_allele}\t{locus.other_allele}\n"
        for locus in loci
    )
    fam = "".join(
        f"{name}\t{name}\t0\t0\t{code}\t-9\n" for name, code in zip(names, codes, strict=True)
    )
    stem = os.fspath(prefix)
    paths = Path(f"{stem}.bed"), Path(f"{stem}.bim"), Path(f"{stem}.fam")
    _write(paths[1], bim.encode("ascii"))
    _write(paths[2], fam.encode("ascii"))
    _write(paths[0], _BED_MAGIC + _packed(_dosage_rows(genome, loci)))
    return paths


def write_vcf(path: str | os.PathLike[str], genome: Genome, sample_ids: Sequence[str]) -> Path:
    """Write a genome as a Variant Call Format 4.3 file.

    Records by chromosome and position; ALT is the risk allele, so that the count of ALT is
    the dosage. Calls are unphased; ``./.`` is no call. The header says that the genotypes are
    synthetic and positions placeholders. Of made-up SNPs, the record says so too. HLA-B27
    itself is not a SNP and is not in the file. A name that ends in ``.vcf.gz`` is compressed
    in blocks (BGZF), as indexing tools need it.

    Parameters
    ----------
    path : str or PathLike
        File ending in ``.vcf`` or ``.vcf.gz``; its folder is made, what was there before is
        replaced. It is there completely or not at all.
    genome : Genome
        What to write.
    sample_ids : sequence of str
        One a person: letters, digits, ``_``, ``.`` and ``-``, at most 40, not ``"0"``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfigurationError
        If the name ends in something else.
    ShapeError
        If the number of identifiers differs from that of people in `genome`.
    InputError
        If an identifier repeats or has other characters.

    Notes
    -----
    Units: copies of the risk allele. Positions are placeholders, in no assembly.

    References
    ----------
    Danecek et al., Bioinformatics 2011;27:2156, doi:10.1093/bioinformatics/btr330.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from asfusion.datasets._genome import Genome
    >>> from asfusion.genomics.loci import LOCI
    >>> from asfusion.datasets._genome_files import write_vcf
    >>> genome = Genome(np.array([1, 0]), {"rs11209026": np.array([2, -1])}, LOCI[:1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = write_vcf(f"{folder}/cohort.vcf", genome, ["a", "b"]).read_text()
    >>> text.splitlines()[-1].split()[-2:]
    ['1/1', './.']
    """
    target = Path(path)
    if not target.name.endswith((".vcf", ".vcf.gz")):
        msg = "path: expected a name ending in '.vcf' or '.vcf.gz', got another ending."
        raise ConfigurationError(msg)
    names = _check_ids(sample_ids, len(genome))
    loci = _in_order(genome)
    columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *names]
    chromosomes = sorted({locus.chromosome for locus in loci})
    lines = [f"##contig=<ID={chromosome}>" for chromosome in chromosomes]
    lines.append("\t".join(columns))
    for locus, row in zip(loci, _dosage_rows(genome, loci), strict=True):
        lines.append("\t".join([*_record(locus), *(_VCF_CALLS[count] for count in row.tolist())]))
    content = (_VCF_HEADER + "\n".join(lines) + "\n").encode("ascii")
    _write(target, _bgzf(content) if target.name.endswith(".gz") else content)
    return target


def _check_ids(sample_ids: Sequence[str], n_people: int) -> list[str]:
    """Return identifiers that both formats can hold; messages never show them."""
    names = _as_list("sample_ids", sample_ids, n_people)
    bad = [
        i
        for i, name in enumerate(names)
        if not isinstance(name, str) or not _SAMPLE_ID.fullmatch(name) or name == "0"
    ]
    if bad:
        msg = (
            f"sample_ids: expected 1 to 40 letters, digits, '_', '.' or '-', and not '0', got "
            f"something else in {len(bad)} rows, first in row {bad[0]}."
        )
        raise InputError(msg)
    n_repeats = len(names) - len(set(names))
    if n_repeats:
        msg = f"sample_ids: expected each once, got {n_repeats} repeats."
        raise InputError(msg)
    return names


def _sex_codes(sex: Sequence[str], n_people: int) -> list[str]:
    given = _as_list("sex", sex, n_people)
    bad = [i for i, item in enumerate(given) if not isinstance(item, str) or item not in _SEX_CODES]
    if bad:
        msg = (
            f"sex: expected 'female', 'male' or 'unknown', got something else in {len(bad)} "
            f"rows, first in row {bad[0]}."
        )
        raise InputError(msg)
    return [_SEX_CODES[item] for item in given]


def _as_list(name: str, values: Sequence[str], n_people: int) -> list[Any]:
    items = list(values)
    if len(items) != n_people:
        msg = f"{name}: expected {n_people} rows, one a person, got {len(items)}."
        raise ShapeError(msg)
    return items


def _in_order(genome: Genome) -> list[Locus]:
    return sorted(genome.loci, key=lambda locus: (locus.chromosome, locus.position, locus.rsid))


def _dosage_rows(genome: Genome, loci: Sequence[Locus]) -> NDArray[np.int8]:
    rows = np.zeros((len(loci), len(genome)), dtype=np.int8)
    for row, locus in zip(rows, loci, strict=True):
        row[:] = genome.dosages[locus.rsid]
    return rows


def _packed(dosages: NDArray[np.int8]) -> bytes:
    """Return two bits a call; each SNP starts a new byte, and spare bits are 0."""
    n_loci, n_people = dosages.shape
    calls = np.zeros((n_loci, -(-n_people // 4), 4), dtype=np.uint8)
    calls.reshape(n_loci, -1)[:, :n_people] = _BED_CODES[dosages]
    places = np.array([0, 2, 4, 6], dtype=np.uint8)
    packed: NDArray[np.uint8] = (calls << places).sum(axis=2, dtype=np.uint8)
    return packed.tobytes()


def _record(locus: Locus) -> list[str]:
    info = "LOCUS=" + re.sub(r"[,;=\s]+", "_", locus.locus)
    if locus.role == "neutral":
        info += ";SYN"
    alleles = (locus.other_allele, locus.risk_allele)
    return [str(locus.chromosome), str(locus.position), locus.rsid, *alleles, ".", ".", info, "GT"]


def _bgzf(content: bytes) -> bytes:
    """Return gzip members that each tell their length, and the empty one that ends a file."""
    starts = range(0, len(content), _BGZF_BLOCK)
    return b"".join(_block(content[i : i + _BGZF_BLOCK]) for i in starts) + _BGZF_END


def _block(part: bytes) -> bytes:
    squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = squeeze.compress(part) + squeeze.flush()
    size = 18 + len(body) + 8  # head, body, checksum and length
    head = struct.pack("<4BIBBHBBHH", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, size - 1)
    return head + body + struct.pack("<II", zlib.crc32(part), len(part))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path)
    write_file(path, content)
