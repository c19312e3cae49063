"""Genotype files, written by hand and by the synthetic cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

CODES = np.array([0b11, 0b10, 0b00, 0b01], dtype=np.uint8)  # by copies of allele 1; -1 is missing
HEAD = (
    "##fileformat=VCFv4.2\n##contig=<ID=6>\n##contig=<ID=7>\n"
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    '##FORMAT=<ID=DS,Number=A,Type=Float,Description="Dosage">\n'
)


def bed_bytes(copies: Any) -> bytes:
    """Return a bed file of copies (samples, variants), -1 where missing."""
    calls = CODES[np.asarray(copies).T]
    padded = np.zeros((len(calls), -(-calls.shape[1] // 4) * 4), dtype=np.uint8)
    padded[:, : calls.shape[1]] = calls
    parts = [padded[:, i::4] << (2 * i) for i in range(4)]
    return b"\x6c\x1b\x01" + (parts[0] | parts[1] | parts[2] | parts[3]).tobytes()


def write_bed(folder: Path, copies: Any, *, alleles: str = "AG") -> Path:
    """Write three files for copies (samples, variants) and return the name of the first."""
    array = np.asarray(copies)
    n, v = array.shape
    (folder / "x.bed").write_bytes(bed_bytes(array))
    (folder / "x.bim").write_text(
        "".join(f"6\trs{i}\t0\t{100 + i}\t{alleles[0]}\t{alleles[1]}\n" for i in range(v))
    )
    (folder / "x.fam").write_text("".join(f"f{i}\ts{i}\t0\t0\t0\t-9\n" for i in range(n)))
    return folder / "x.bed"


def write_vcf_text(folder: Path, *records: str, samples: str = "a b c", head: str = HEAD) -> Path:
    """Write a VCF file of records whose fields are separated by spaces."""
    names = "\t".join(samples.split())
    columns = f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{names}"
    columns = columns.rstrip() + "\n"
    lines = ["\t".join(record.split()) + "\n" for record in records]
    file = folder / "x.vcf"
    file.write_text(head + columns + "".join(lines))
    return file
