"""PLINK 1 binary files: ``.bed``, ``.bim`` and ``.fam``."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from asfusion._checks import check_choice
from asfusion._door import public
from asfusion._optional import import_optional
from asfusion.exceptions import InputError
from asfusion.genomics._sources import BedSource
from asfusion.genomics.genotypes import Genotypes

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_MAGIC = b"\x6c\x1b"
_BY_VARIANT, _BY_SAMPLE = 1, 0
_UNNAMED = [".", "0"]
_ENDINGS = (".bed", ".bim", ".fam")
_FIELDS = 6


@public
def read_plink(
    path: str | os.PathLike[str],
    *,
    sample_id: Literal["sample", "family_and_sample"] = "sample",
) -> Genotypes:
    """Open PLINK 1 binary files; calls are read when they are asked for.

    The dosage counts allele 1 of the ``.bim`` file, which is its ``effect_allele``; allele 2 is
    the other one. A variant without a name is called by place and alleles,
    ``6:31353908:G:A`` (other allele, then effect allele).

    Parameters
    ----------
    path : str or PathLike
        The ``.bed`` file, or its name without the ending. ``.bim`` and ``.fam`` stand beside it.
    sample_id : {"sample", "family_and_sample"}
        What identifies a sample: the second column of the ``.fam`` file, or the first and the
        second joined by ``_``, where samples are numbered within families.

    Returns
    -------
    Genotypes
        Of every sample and variant; `Genotypes.select` narrows them.

    Raises
    ------
    InputError
        If a file is not there or is not of its format, if sizes contradict each other, if
        samples or variants repeat, or if the calls stand sample by sample.
    MissingDependencyError
        If the extra ``genomics`` is not installed.

    Notes
    -----
    Units: copies of allele 1; positions in base pairs of the file's assembly.

    References
    ----------
    Chang et al., GigaScience 2015;4:7, doi:10.1186/s13742-015-0047-8.

    Examples
    --------
    >>> import tempfile
    >>> import asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(20, random_state=0, modalities=["genes"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cohort.write_plink(folder + "/cohort")
    ...     genotypes = af.genomics.read_plink(folder + "/cohort.bed")
    ...     dosages = genotypes.select(["rs30187"]).dosages()
    >>> genotypes.shape[0], dosages.shape
    (20, (20, 1))
    """
    check_choice(sample_id, "sample_id", ("sample", "family_and_sample"))
    import_optional("bed_reader", needed_for="read_plink", extra="genomics")
    bed = Path(path)
    known = bed.suffix in _ENDINGS
    bed = bed.with_suffix(".bed") if known else bed.with_name(f"{bed.name}.bed")
    if not any(bed.with_suffix(ending).is_file() for ending in _ENDINGS):
        msg = "read_plink: expected .bed, .bim and .fam files, got none of them. Check the path."
        raise InputError(msg)
    people = _table(bed.with_suffix(".fam"))
    samples = people["1"].to_list()
    if sample_id == "family_and_sample":
        samples = [f"{a}_{b}" for a, b in zip(people["0"].to_list(), samples, strict=True)]
    variants = _variants(_table(bed.with_suffix(".bim")))
    _check_bed(bed, len(samples), len(variants))
    return Genotypes._open(BedSource(bed, len(samples), len(variants)), samples, variants)


def _table(path: Path) -> pl.DataFrame:
    """Return the six fields of each line of a ``.fam`` or ``.bim`` file, as text."""
    import polars as pl

    content = _content(path)
    names = [str(i) for i in range(_FIELDS)]
    if b" " not in content and b"\n\n" not in content:
        with contextlib.suppress(pl.exceptions.PolarsError):
            table = pl.read_csv(
                content, separator="\t", has_header=False, new_columns=names, quote_char=None,
                infer_schema=False,
            )  # fmt: skip
            if table.width == _FIELDS and not table.null_count().row(0).count(0) < _FIELDS:
                return table.with_columns(pl.col(names[-1]).str.strip_chars_end("\r"))
    return pl.DataFrame(_rows(path.suffix, content), schema=names, orient="row")


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        content.decode("utf-8")
    except FileNotFoundError:
        msg = (
            f"read_plink: expected a {path.suffix} file beside the others, got none. Copy it there "
            "under their name; plink --make-bed writes all three."
        )
        raise InputError(msg) from None
    except (OSError, UnicodeDecodeError) as error:
        msg = (
            f"read_plink: expected the {path.suffix} file as UTF-8 text, got one that cannot be "
            f"read as text ({type(error).__name__}). Unpack it, or check its encoding."
        )
        raise InputError(msg) from None
    return content


def _rows(ending: str, content: bytes) -> list[list[str]]:
    """Return the fields line by line, which is slower and says what is wrong."""
    rows = [line.split() for line in content.decode("utf-8").split("\n") if line.strip()]
    wrong = next((i for i, row in enumerate(rows) if len(row) != _FIELDS), None)
    if wrong is None and rows:
        return rows
    got = "no line" if wrong is None else f"{len(rows[wrong])} in line {wrong + 1}"
    msg = f"read_plink: expected {_FIELDS} fields in every line of the {ending} file, got {got}."
    raise InputError(msg)


def _variants(table: pl.DataFrame) -> pd.DataFrame:
    import pandas as pd
    import polars as pl

    table = table.with_columns(pl.col("3").cast(pl.Int64, strict=False))
    unread = table["3"].is_null() | (table["3"] < 0)
    if unread.any():
        line = (unread.arg_max() or 0) + 1
        msg = f"read_plink: expected a position in base pairs in line {line} of the .bim file."
        raise InputError(msg)
    place = pl.format("{}:{}:{}:{}", "0", "3", "5", "4")
    name = pl.when(pl.col("1").is_in(_UNNAMED)).then(place).otherwise("1")
    table = table.with_columns(name.alias("1"))
    return pd.DataFrame(
        {
            "id": table["1"].to_list(),
            "chrom": table["0"].to_list(),
            "pos": pd.array(table["3"].to_numpy(), dtype="Int64"),
            "effect_allele": table["4"].to_list(),
            "other_allele": table["5"].to_list(),
        }
    )


def _check_bed(path: Path, n_samples: int, n_variants: int) -> None:
    """Raise unless the file has the head and the size that its companions ask for."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(3)
    except OSError as error:
        got = "none" if isinstance(error, FileNotFoundError) else "one that cannot be opened"
        msg = f"read_plink: expected a .bed file, got {got}. Check the path and who may read it."
        raise InputError(msg) from None
    if head[:2] != _MAGIC or len(head) < 3 or head[2] not in (_BY_VARIANT, _BY_SAMPLE):
        msg = (
            "read_plink: expected a PLINK 1 .bed file, got one with another beginning. Unpack it, "
            "or write it anew: plink --make-bed."
        )
        raise InputError(msg)
    if head[2] == _BY_SAMPLE:
        msg = (
            "read_plink: expected calls variant by variant, got a .bed file sample by sample, an "
            "old order. Convert it: plink --bfile OLD --make-bed --out NEW."
        )
        raise InputError(msg)
    expected = 3 + n_variants * -(-n_samples // 4)
    if size != expected:
        msg = (
            f"read_plink: expected a .bed file of {expected} bytes for {n_samples} samples and "
            f"{n_variants} variants, got {size}. It was cut, or belongs to other .bim and .fam "
            "files."
        )
        raise InputError(msg)
