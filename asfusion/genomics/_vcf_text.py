"""The text of a VCF file, checked line by line before a parser in C sees it.

cyvcf2 0.35 can end the process behind a line whose fields are not of the types that the header
states, so such a line never gets there.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from asfusion.exceptions import InputError

GZIP = b"\x1f\x8b"
UNREADABLE = (
    "read_vcf: expected a whole VCF file, got one that cannot be read at or after record {}. See "
    "what bcftools says of it."
)
_BLOCKED_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_FIRST = b"##fileformat=VCF"
_COLUMNS = (b"#CHROM", b"POS", b"ID", b"REF", b"ALT", b"QUAL", b"FILTER", b"INFO", b"FORMAT")
_LONGEST = 1 << 28  # bytes of a line: some ten million samples

_WORD = rb"[!-~]+"
_RECORD = re.compile(
    rb"\t".join(
        [
            rb"(?!#)" + _WORD,  # CHROM
            rb"\d{1,9}",  # POS
            _WORD,  # ID
            rb"[A-Za-z]+",  # REF
            rb"[!-+\--~]+(?:,[!-+\--~]+)*",  # ALT: no alternative is empty
            rb"(?:\.|\d{1,9}(?:\.\d{1,20})?(?:[eE][-+]?\d{1,2})?)",  # QUAL
            _WORD,  # FILTER
            rb"[ -~]+",  # INFO
            rb"[A-Za-z_][A-Za-z0-9_.]*(?::[A-Za-z_][A-Za-z0-9_.]*)*",  # FORMAT
        ]
    )
)


_TYPE = re.compile(rb"##(INFO|FORMAT)=<ID=([^,]+),.*?Type=([A-Za-z]+)[,>]")
_INTEGER = rb"(?:\.|[-+]?\d{1,9})"
_FLOAT = rb"(?:\.|[nN]a[nN]|[-+]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][-+]?\d{1,2})?)"
_ALLELE = rb"(?:\.|\d{1,4})"
_VALUES = {
    b"Integer": _INTEGER + rb"(?:," + _INTEGER + rb")*",
    b"Float": _FLOAT + rb"(?:," + _FLOAT + rb")*",
}
_ANY = rb"[!-9;-~]+"
_GENOTYPE = _ALLELE + rb"(?:[/|]" + _ALLELE + rb")*"


class Header(NamedTuple):
    """Samples, and the type that is stated of each field, ``("FORMAT", "DS")`` as bytes."""

    samples: tuple[str, ...]
    types: dict[tuple[bytes, bytes], bytes]


class Record(NamedTuple):
    """The columns of a line that say which variant it is; `alternatives` may be ``(".",)``."""

    chromosome: str
    position: int
    name: str
    reference: str
    alternatives: tuple[str, ...]


def check_ends(path: Path) -> None:
    """Raise unless a file begins and ends as a VCF file does."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(1 << 12)
            file.seek(max(0, size - len(_BLOCKED_END)))
            end = file.read()
    except OSError as error:
        got = "none" if isinstance(error, FileNotFoundError) else "one that cannot be opened"
        msg = f"read_vcf: expected a VCF file, got {got}. Check the path and who may read it."
        raise InputError(msg) from None
    text, compressed = head, head.startswith(GZIP)
    if compressed:
        try:
            text = zlib.decompressobj(31).decompress(head, 1 << 10)
        except zlib.error:
            text = b""
    if not text.startswith(_FIRST):
        msg = (
            "read_vcf: expected a VCF file, plain or compressed, got one with another beginning. "
            "Unpack archives; bcftools view -Oz makes a VCF of a BCF file."
        )
        raise InputError(msg)
    blocked = compressed and head[12:14] == b"BC"
    if (blocked and end != _BLOCKED_END) or (not compressed and not end.endswith(b"\n")):
        msg = (
            "read_vcf: expected a whole VCF file, got one that was cut before its end. Copy or "
            "download it again."
        )
        raise InputError(msg)


def read_header(path: Path) -> Header:
    """Return the samples that the line of names lists, and the types of fields."""
    types: dict[tuple[bytes, bytes], bytes] = {}
    with _opened(path) as file:
        for line in _lines(file):
            if b"\0" in line:  # where a parser in C would end the header
                raise InputError(UNREADABLE.format(1))
            if not line.startswith(b"##"):
                break
            stated = _TYPE.match(line)
            if stated is not None:
                types.setdefault((stated[1], stated[2]), stated[3])
        else:
            line = b""
    fields = line.split(b"\t")
    samples = tuple(field.decode("utf-8", "replace") for field in fields[9:])
    if tuple(fields[:9]) == _COLUMNS and samples and all(samples):
        return Header(samples, types)
    msg = (
        "read_vcf: expected a line of names, from #CHROM to FORMAT and then at least one sample, "
        "got none. A file of sites alone has no genotypes."
    )
    raise InputError(msg)


def scan(path: Path, header: Header) -> Iterator[Record]:
    """Yield what every line says of its variant, after a look at the whole line."""
    number = 0
    check = Check(header)
    with _opened(path) as file:
        for line in _lines(file):
            if not number and line.startswith(b"#"):
                continue
            number += 1
            yield check.read(line, number)


class Check:
    """Looks at the lines of a file with a given header.

    Parameters
    ----------
    header : Header
        Its samples and types.
    """

    def __init__(self, header: Header) -> None:
        self.n_tabs, self.types = 8 + len(header.samples), header.types
        self._samples: dict[bytes, re.Pattern[bytes]] = {}

    def read(self, line: bytes, number: int) -> Record:
        """Return what a line says of its variant."""
        fields = line.split(b"\t", 9)
        if not (
            line.count(b"\t") == self.n_tabs
            and _RECORD.fullmatch(b"\t".join(fields[:9]))
            and self._is_info(fields[7])
            and self._of_samples(fields[8]).fullmatch(fields[9])
        ):
            raise InputError(UNREADABLE.format(number))
        chromosome, position, name, reference, others = (f.decode("ascii") for f in fields[:5])
        return Record(chromosome, int(position), name, reference, tuple(others.split(",")))

    def _is_info(self, info: bytes) -> bool:
        for item in info.split(b";"):
            name, _, value = item.partition(b"=")
            pattern = _VALUES.get(self.types.get((b"INFO", name), b""))
            if pattern is not None and re.fullmatch(pattern, value) is None:
                return False
        return True

    def _of_samples(self, keys: bytes) -> re.Pattern[bytes]:
        """Return what the columns of samples look like; fields at the end may be left out."""
        if keys not in self._samples:
            column = b""
            for key in reversed(keys.split(b":")):
                stated = self.types.get((b"FORMAT", key), b"")
                own = _GENOTYPE if key == b"GT" else _VALUES.get(stated, _ANY)
                column = own + (b"(?::" + column + b")?" if column else b"")
            self._samples[keys] = re.compile(column + rb"(?:\t" + column + rb")*")
        return self._samples[keys]


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP
    return cast("IO[bytes]", gzip.open(path, "rb") if compressed else path.open("rb"))


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield lines without their end; damage to the compression is one error."""
    number = 0
    try:
        while line := file.readline(_LONGEST):
            number += not line.startswith(b"#")
            if not line.endswith(b"\n"):
                raise InputError(UNREADABLE.format(number))
            yield line.removesuffix(b"\n").removesuffix(b"\r")
    except (OSError, EOFError, zlib.error):
        raise InputError(UNREADABLE.format(number + 1)) from None
