"""Samples, variants and dosages, read only as far as they are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, in_words, quoted, suggestion
from asfusion._door import public
from asfusion._frames import Frame
from asfusion.exceptions import ColumnError, ConfigurationError, InputError, ShapeError
from asfusion.genomics._sources import ArraySource, Ints, Source

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("id", "chrom", "pos", "effect_allele", "other_allele")
"""Columns of a table of variants."""

_REGION = re.compile(r"(?P<chrom>[^:]+)(:(?P<start>[\d,]+)-(?P<end>[\d,]+))?")


class Genotypes:
    """Dosages of variants in samples.

    `read_plink` and `read_vcf` make one that reads its file only when dosages are asked for,
    and then only those. A dosage counts copies of ``effect_allele``, which is stated for each
    variant: allele 1 of a bim file, the alternative allele of a VCF.

    Parameters
    ----------
    dosages : array_like of shape (n_samples, n_variants)
        Copies of each variant's effect allele, 0 to 2, NaN where the call is missing.
    samples : sequence of str
        Identifier of each sample; they differ.
    variants : DataFrame
        A row for each variant: ``id``, ``chrom``, ``pos`` (base pairs, counted from 1),
        ``effect_allele`` and ``other_allele``. Identifiers differ. Of a frame without ``chrom``
        and ``pos``, positions are unknown.

    Attributes
    ----------
    samples : tuple of str
        Identifiers, in the order of rows.
    variants : pandas.DataFrame
        The variants, in the order of columns.

    Raises
    ------
    ShapeError
        If the array does not fit samples and variants.
    InputError
        If a sample or variant repeats, or a dosage lies outside 0 to 2.

    Notes
    -----
    Units: copies of the effect allele; positions in base pairs of whatever assembly the file has.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from asfusion.genomics import Genotypes
    >>> variants = pd.DataFrame(
    ...     {"id": ["rs1", "rs2"], "effect_allele": ["A", "T"], "other_allele": ["G", "C"]}
    ... )
    >>> genotypes = Genotypes([[0, 2], [1, np.nan]], ["p1", "p2"], variants)
    >>> genotypes
    <Genotypes: 2 samples, 2 variants>
    >>> genotypes.to_frame()
        rs1  rs2
    p1  0.0  2.0
    p2  1.0  NaN
    """

    def __init__(self, dosages: Any, samples: Sequence[str], variants: pd.DataFrame) -> None:
        source = _in_memory(dosages)
        self._set(source, _check_samples(samples), check_variants(variants))
        if self.shape != source.dosages.shape:
            got = source.dosages.shape
            msg = f"dosages: expected shape {self.shape} (samples, variants), got {got}."
            raise ShapeError(msg)

    @classmethod
    def _open(cls, source: Source, samples: Sequence[str], variants: pd.DataFrame) -> Genotypes:
        """Return genotypes of a file, whose table a reader has made."""
        made = cls.__new__(cls)
        _check_ids(variants["id"])
        made._set(source, _check_samples(samples), variants)
        return made

    def _set(self, source: Source, samples: tuple[str, ...], variants: pd.DataFrame) -> None:
        self._source, self.samples, self.variants = source, samples, variants
        self._rows, self._columns = np.arange(len(samples)), np.arange(len(variants))

    @property
    def shape(self) -> tuple[int, int]:
        """How many samples and variants there are."""
        return len(self.samples), len(self.variants)

    def __repr__(self) -> str:
        return f"<Genotypes: {self.shape[0]} samples, {self.shape[1]} variants>"

    @public
    def select(
        self,
        variants: Sequence[str] | None = None,
        *,
        region: str | None = None,
        samples: Sequence[str] | None = None,
    ) -> Genotypes:
        """Return some of the samples and variants, reading nothing yet.

        Parameters
        ----------
        variants : sequence of str, optional
            Identifiers, in the order in which they are to stand.
        region : str, optional
            ``"6"`` or ``"6:31000000-32000000"``: a chromosome, or base pairs of it, both ends
            included. ``"chr6"`` is the same as ``"6"``.
        samples : sequence of str, optional
            Identifiers, in the order in which they are to stand.

        Returns
        -------
        Genotypes
            A view of the same file.

        Raises
        ------
        InputError
            If a sample or variant is not there, or named twice.
        ConfigurationError
            If a region cannot be read.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from asfusion.genomics import Genotypes
        >>> variants = pd.DataFrame(
        ...     {"id": ["rs1", "rs2"], "effect_allele": ["A", "T"], "other_allele": ["G", "C"]}
        ... )
        >>> genotypes = Genotypes([[0, 2], [1, 1]], ["p1", "p2"], variants)
        >>> genotypes.select(["rs2"], samples=["p2"]).dosages()
        array([[1.]], dtype=float32)
        """
        kept = np.arange(self.shape[1])
        if variants is not None:
            kept = _find(list(self.variants["id"]), variants, "variants", shown=True)
        if region is not None:
            inside = _in_region(self.variants, region)
            kept = kept[inside[kept]]
        rows = np.arange(self.shape[0])
        if samples is not None:
            rows = _find(self.samples, samples, "samples", shown=False)
        return self._take(rows, kept)

    @public
    def dosages(self, dtype: Literal["float32", "float64", "int8"] = "float32") -> NDArray[Any]:
        """Read the dosages.

        Parameters
        ----------
        dtype : {"float32", "float64", "int8"}
            ``"int8"`` takes a quarter of the memory; a missing call is -1 there, and NaN
            otherwise.

        Returns
        -------
        ndarray of shape (n_samples, n_variants)
            Copies of the effect allele.

        Raises
        ------
        InputError
            If a call cannot be read, or fractions are asked for as ``"int8"``.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from asfusion.genomics import Genotypes
        >>> variants = pd.DataFrame({"id": ["rs1"], "effect_allele": "A", "other_allele": "G"})
        >>> Genotypes([[2], [np.nan]], ["p1", "p2"], variants).dosages("int8").tolist()
        [[2], [-1]]
        """
        check_choice(dtype, "dtype", ("float32", "float64", "int8"))
        whole = dtype == "int8"
        out = np.empty(self.shape, dtype=dtype)
        for places, block in self.blocks():
            if whole and not np.array_equal(block, np.round(block), equal_nan=True):
                msg = (
                    "dosages: expected counts of alleles for dtype='int8', got fractions. Ask "
                    "for dtype='float32'."
                )
                raise InputError(msg)
            out[:, places] = np.where(np.isnan(block), -1, block) if whole else block
        return out

    @public
    def blocks(self) -> Iterator[tuple[Ints, NDArray[np.float32]]]:
        """Yield the dosages in blocks of variants, so that memory stays small.

        Yields
        ------
        tuple of two ndarrays
            Positions (K,) among the variants, and their dosages (n_samples, K).

        Examples
        --------
        >>> import pandas as pd
        >>> from asfusion.genomics import Genotypes
        >>> variants = pd.DataFrame({"id": ["rs1"], "effect_allele": "A", "other_allele": "G"})
        >>> for places, block in Genotypes([[2], [1]], ["p1", "p2"], variants).blocks():
        ...     print(places, block.ravel())
        [0] [2. 1.]
        """
        return self._source.blocks(self._rows, self._columns)

    @public
    def frequencies(self) -> pd.Series[float]:
        """Return how frequent each effect allele is among the called alleles of the samples.

        Returns
        -------
        pandas.Series
            0 to 1 by variant; NaN where no sample has a call.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from asfusion.genomics import Genotypes
        >>> variants = pd.DataFrame({"id": ["rs1"], "effect_allele": "A", "other_allele": "G"})
        >>> Genotypes([[2], [1], [np.nan]], ["a", "b", "c"], variants).frequencies().tolist()
        [0.75]
        """
        import pandas as pd

        found = np.full(self.shape[1], np.nan)
        for places, block in self.blocks():
            n_called = (~np.isnan(block)).sum(axis=0)
            total = np.nansum(block, axis=0, dtype=np.float64)
            found[places] = np.where(n_called > 0, total / (2.0 * np.maximum(n_called, 1)), np.nan)
        return pd.Series(found, index=list(self.variants["id"]), name="frequency")

    @public
    def to_frame(self, *, with_allele: bool = False) -> pd.DataFrame:
        """Return the dosages as columns, to be joined to other columns by sample.

        Parameters
        ----------
        with_allele : bool
            Whether the counted allele is part of the name, ``rs30187_T``: a table of another
            hospital that counts the other allele then has another column.

        Returns
        -------
        pandas.DataFrame
            A row for each sample, named by it, and a column for each variant; NaN if missing.

        Examples
        --------
        >>> import pandas as pd
        >>> from asfusion.genomics import Genotypes
        >>> variants = pd.DataFrame({"id": ["rs1"], "effect_allele": "A", "other_allele": "G"})
        >>> X = pd.DataFrame({"patient": ["p2", "p1"], "crp": [3.0, 9.0]})
        >>> genes = Genotypes([[2], [1]], ["p1", "p2"], variants).to_frame(with_allele=True)
        >>> X.join(genes, on="patient")
          patient  crp  rs1_A
        0      p2  3.0    1.0
        1      p1  9.0    2.0
        """
        import pandas as pd

        names = list(self.variants["id"])
        if with_allele:
            alleles = self.variants["effect_allele"]
            names = [f"{name}_{allele}" for name, allele in zip(names, alleles, strict=True)]
        return pd.DataFrame(self.dosages(), index=list(self.samples), columns=names)

    def _take(self, rows: Ints, columns: Ints) -> Genotypes:
        made = type(self).__new__(type(self))
        variants = self.variants.iloc[columns].reset_index(drop=True)
        made._set(self._source, tuple(self.samples[i] for i in rows), variants)
        made._rows, made._columns = self._rows[rows], self._columns[columns]
        return made


def check_variants(variants: pd.DataFrame) -> pd.DataFrame:
    """Return a table with exactly the columns of variants, or say what is wrong with it."""
    import pandas as pd

    frame = Frame.read(variants)
    needed = [name for name in COLUMNS if name not in ("chrom", "pos")]
    frame.check_columns(needed, "variants")
    table = {name: [_text(x) for x in frame.strings(name)] for name in needed}
    n = len(frame)
    has_place = "chrom" in frame.columns and "pos" in frame.columns
    chromosomes = [_text(x) for x in frame.strings("chrom")] if has_place else [""] * n
    places = frame.numbers("pos") if has_place else np.full(n, np.nan)
    blank = next((name for name in needed if "" in table[name]), None)
    if blank is not None:
        msg = f"variants: expected {blank!r} in every row, got blank ones. Fill them in."
        raise ColumnError(msg)
    made = pd.DataFrame({"id": table["id"], "chrom": chromosomes})
    _check_ids(made["id"])
    made["pos"] = pd.array(np.where(np.isnan(places), 0, places).astype(np.int64), dtype="Int64")
    made.loc[np.isnan(places), "pos"] = pd.NA
    made["effect_allele"], made["other_allele"] = table["effect_allele"], table["other_allele"]
    return made


def bare_chromosome(name: str) -> str:
    """Return ``"6"`` for ``"chr6"`` and ``"6"``."""
    return name[3:] if name.lower().startswith("chr") else name


def _text(cell: str | None) -> str:
    return "" if cell is None else cell


def _check_ids(names: pd.Series[Any]) -> None:
    repeated = names[names.duplicated()].unique().tolist()
    if repeated:
        msg = (
            f"variants: expected each id once, got {quoted(repeated)} more than once. Rename or "
            "remove the repeats."
        )
        raise InputError(msg)


def _check_samples(samples: Sequence[str]) -> tuple[str, ...]:
    found = tuple(str(sample) for sample in samples)
    repeats = len(found) - len(set(found))
    if repeats:
        msg = (
            f"samples: expected each identifier once, got {repeats} repeat(s). Remove duplicate "
            "samples; of a PLINK file, see whether sample_id='family_and_sample' tells them apart."
        )
        raise InputError(msg)
    return found


def _in_memory(dosages: Any) -> ArraySource:
    array = np.asarray(dosages, dtype=np.float32)
    with np.errstate(invalid="ignore"):
        outside = ~np.isnan(array) & ~((array >= 0) & (array <= 2))
    if outside.any():
        msg = (
            f"dosages: expected copies of an allele, from 0 to 2, or NaN, got something else in "
            f"{int(outside.sum())} cells."
        )
        raise InputError(msg)
    return ArraySource(array)


def _find(known: Sequence[str], asked: Sequence[str], what: str, *, shown: bool) -> Ints:
    """Return the positions of names; names of samples are patients' and never shown."""
    if isinstance(asked, str):
        msg = f"{what}: expected a list of identifiers, got one text. Put it into a list."
        raise ConfigurationError(msg)
    places = {name: i for i, name in enumerate(known)}
    wanted = [str(name) for name in asked]
    absent = [name for name in wanted if name not in places]
    if absent:
        hint = suggestion(absent[0], known) if shown and len(known) <= 10_000 else ""
        names = f": {quoted(absent)}" if shown else ""
        msg = (
            f"{what}: expected identifiers of the {len(known)} {what} that are there, got "
            f"{len(absent)} of {len(wanted)} that are not{names}.{hint}"
        )
        raise InputError(msg)
    if len(set(wanted)) < len(wanted):
        msg = f"{what}: expected each once, got {len(wanted) - len(set(wanted))} repeat(s)."
        raise InputError(msg)
    return np.asarray([places[name] for name in wanted], dtype=np.int64)


def parse_region(region: str) -> tuple[str, int | None, int | None]:
    """Return chromosome, first and last base pair of a region; None for a whole chromosome."""
    match = _REGION.fullmatch(region) if isinstance(region, str) else None
    if match is None:
        msg = f"region: expected such as '6' or '6:31000000-32000000', got {in_words(region)}."
        raise ConfigurationError(msg)
    chromosome = bare_chromosome(match["chrom"])
    if match["start"] is None:
        return chromosome, None, None
    return chromosome, int(match["start"].replace(",", "")), int(match["end"].replace(",", ""))


def _in_region(variants: pd.DataFrame, region: str) -> NDArray[np.bool_]:
    wanted, start, end = parse_region(region)
    inside = np.asarray([bare_chromosome(name) == wanted for name in variants["chrom"]], dtype=bool)
    if start is None or end is None:
        return inside
    position = variants["pos"].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(inside & (position >= start) & (position <= end))
