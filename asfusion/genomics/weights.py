"""Tables of weights: from a file, or the loci of ankylosing spondylitis that are published."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, quoted
from asfusion._door import public
from asfusion.exceptions import ColumnError, InputError
from asfusion.genomics.loci import LOCI

if TYPE_CHECKING:
    import pandas as pd

# Names of the PGS Catalog, also of its older files, by our own.
_FILE_NAMES = {
    "id": ("rsID", "hm_rsID"),
    "chrom": ("chr_name",),
    "pos": ("chr_position",),
    "effect_allele": ("effect_allele",),
    "other_allele": ("other_allele", "reference_allele", "hm_inferOtherAllele"),
    "weight": ("effect_weight",),
    "effect_frequency": ("allelefrequency_effect",),
    "gene": ("locus_name",),
}
_HARMONISED = {"chrom": ("hm_chr",), "pos": ("hm_pos",), "id": ("hm_rsID", "rsID")}
_NOT_ADDITIVE = (
    "is_interaction", "is_haplotype", "is_diplotype", "is_recessive", "is_dominant",
    "dosage_0_weight", "dosage_1_weight", "dosage_2_weight",
)  # fmt: skip
_TEXT = ("id", "chrom", "effect_allele", "other_allele", "gene", "source", "ancestry")
_NO = {"", "false", "0", "f", "no"}
# Of a ratio the logarithm is summed. Types are free text: "OR", "Odds ratio", "log(OR)".
_RATIOS = {
    "or": "log(OR)", "oddsratio": "log(OR)", "hr": "log(HR)", "hazardratio": "log(HR)",
    "rr": "log(RR)", "riskratio": "log(RR)", "relativerisk": "log(RR)",
}  # fmt: skip
_STATED = re.compile(r"#+\s*weight_type\s*=\s*(.*)", re.IGNORECASE)
_LONGEST_HEADER = 1000  # lines


@public
def read_weights(
    path: str | os.PathLike[str], *, positions: Literal["reported", "harmonised"] = "reported"
) -> pd.DataFrame:
    r"""Read the weights of a polygenic score from a file as the PGS Catalog gives them.

    Lines that begin with ``#`` are the header; columns are separated by tabs or commas; the file
    may be compressed. Needed are ``effect_allele`` and ``effect_weight``, and either ``rsID``
    or ``chr_name`` and ``chr_position``; ``other_allele`` and ``allelefrequency_effect`` make
    the match surer. Where header or a column state as ``weight_type`` that weights are ratios
    (``OR``, ``HR``), their natural logarithm is taken.

    Parameters
    ----------
    path : str or PathLike
        The file.
    positions : {"reported", "harmonised"}
        Which positions count: those of the study, or those that the catalog lifted to
        another assembly (``hm_chr``, ``hm_pos``).

    Returns
    -------
    pandas.DataFrame
        Columns ``id``, ``chrom``, ``pos``, ``effect_allele``, ``other_allele``, ``weight``,
        ``effect_frequency``, ``only_with_b27``, ``gene``, ``source``, ``ancestry`` and
        ``weight_type``: what ``weight`` is, ``"log(OR)"`` where the file gave odds ratios,
        otherwise as the file has it. What the file lacks is blank.

    Raises
    ------
    InputError
        If the file cannot be read as a table, if a weight is not a finite number, or a ratio
        not above 0, if a variant repeats, or if a weight is of something other than copies of
        one allele.
    ColumnError
        If a column is missing.

    Notes
    -----
    Units: of ``weight``, per copy, as ``weight_type`` has it; mostly log odds. Where the file
    does not state it, look it up in the study: ratios that are taken for their logarithms
    make a wrong score, and cannot be told by their numbers.

    References
    ----------
    Lambert et al., Nat Genet 2021;53:420, doi:10.1038/s41588-021-00783-5.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from asfusion.genomics import read_weights
    >>> text = "#pgs_id=none\nrsID,effect_allele,other_allele,effect_weight\nrs1,A,G,0.2\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "weights.txt")
    ...     _ = file.write_text(text)
    ...     weights = read_weights(file)
    >>> weights[["id", "effect_allele", "weight"]].values.tolist()
    [['rs1', 'A', 0.2]]
    """
    import pandas as pd

    check_choice(positions, "positions", ("reported", "harmonised"))
    raw = _read_table(Path(path))
    _refuse_other_models(raw)
    names = {**_FILE_NAMES, **(_HARMONISED if positions == "harmonised" else {})}
    table = {}
    for own, given in names.items():
        found = next((name for name in given if name in raw), own if own in raw else None)
        if found is not None:
            table[own] = raw[found]
    return _with_types(check_weights(pd.DataFrame(table)), _texts(raw["weight_type"]))


def _with_types(table: pd.DataFrame, stated: NDArray[Any]) -> pd.DataFrame:
    """Return weights to be summed: of a ratio, as the file states, the logarithm."""
    logs = [_RATIOS.get(re.sub(r"[^a-z]", "", text.lower())) for text in stated]
    is_ratio = np.asarray([log is not None for log in logs], dtype=bool)
    weight = table["weight"].to_numpy()
    wrong = is_ratio & (weight <= 0)
    if wrong.any():
        msg = (
            "read_weights: expected ratios above 0, as the file states by weight_type, got another "
            f"number in {int(wrong.sum())} row(s), the first at position "
            f"{int(np.flatnonzero(wrong)[0])}. If they are logarithms, state weight_type=log(OR)."
        )
        raise InputError(msg)
    table["weight"] = np.where(is_ratio, np.log(np.where(is_ratio, weight, 1.0)), weight)
    table["weight_type"] = [log or text for log, text in zip(logs, stated, strict=True)]
    return table


@public
def published_weights(*, recalled: bool = False) -> pd.DataFrame:
    """Return published loci of ankylosing spondylitis outside the HLA region as weights.

    Nine loci of the Immunochip study, whose frequencies and odds ratios were read from its
    table. That table gives the size of an odds ratio but not its allele: for all but IL23R
    the rarer allele was ASSUMED to carry the risk (``allele_basis``). With `recalled`, eleven
    more, among them ERAP1, whose figures are from memory and right in order of magnitude only
    (``confidence``). All are of European ancestry.

    Parameters
    ----------
    recalled : bool
        Whether loci with recalled figures are among them.

    Returns
    -------
    pandas.DataFrame
        As from `read_weights`, with ``confidence`` and ``allele_basis``; ``source`` is a DOI and
        ``weight`` the logarithm of the odds ratio. Positions are blank: match by ``id``.

    Notes
    -----
    Units: log odds per copy of the effect allele. HLA-B27, which outweighs them all, is no
    SNP: give carriers to `risk_score`.

    References
    ----------
    Cortes et al. (IGAS), Nat Genet 2013;45:730, doi:10.1038/ng.2667.

    Evans et al. (ERAP1 in HLA-B27 carriers only), Nat Genet 2011;43:761, doi:10.1038/ng.873.

    Examples
    --------
    >>> from asfusion.genomics import published_weights
    >>> weights = published_weights()
    >>> weights.loc[0, ["id", "gene", "effect_allele", "source"]].tolist()
    ['rs11209026', 'IL23R', 'G', '10.1038/ng.2667']
    >>> float(weights.loc[0, "weight"].round(3))
    0.476
    """
    import pandas as pd

    chosen = [locus for locus in LOCI if recalled or locus.confidence == "published"]
    table = check_weights(
        pd.DataFrame(
            {
                "id": [locus.rsid for locus in chosen],
                "effect_allele": [locus.risk_allele for locus in chosen],
                "other_allele": [locus.other_allele for locus in chosen],
                "weight": [math.log(locus.odds_ratio) for locus in chosen],
                "effect_frequency": [locus.risk_frequency for locus in chosen],
                "only_with_b27": [locus.only_with_b27 for locus in chosen],
                "gene": [locus.locus for locus in chosen],
                "source": [locus.doi for locus in chosen],
                "ancestry": "EUR",
            }
        )
    )
    table["confidence"] = [locus.confidence for locus in chosen]
    table["allele_basis"] = [locus.allele_basis for locus in chosen]
    return table


def check_weights(weights: Any) -> pd.DataFrame:
    """Return a table of weights with every column, or say what is wrong with it.

    Raises
    ------
    ColumnError
        If a column is missing.
    InputError
        If a cell cannot be used, or a variant repeats.
    """
    import pandas as pd

    if not isinstance(weights, pd.DataFrame):
        if hasattr(weights, "to_pandas"):
            weights = pd.DataFrame(weights.to_dict(as_series=False))  # to_pandas needs pyarrow
        else:
            msg = (
                f"weights: expected a DataFrame or 'published', got {type(weights).__name__}. "
                "Read a file first, with asfusion.genomics.read_weights."
            )
            raise InputError(msg)
    absent = [name for name in ("effect_allele", "weight") if name not in weights]
    if not absent and "id" not in weights and not {"chrom", "pos"} <= set(weights.columns):
        absent = ["id"]
    if absent:
        msg = (
            f"weights: expected the column(s) {quoted(absent)}, got {quoted(weights.columns, 12)}. "
            "Files of the PGS Catalog are read by asfusion.genomics.read_weights."
        )
        raise ColumnError(msg)
    made = pd.DataFrame(index=range(len(weights)))
    for name in _TEXT:
        made[name] = _texts(weights[name]) if name in weights else ""
    made["pos"] = _numbers(weights, "pos") if "pos" in weights else np.nan
    made["weight"] = _numbers(weights, "weight")
    made["effect_frequency"] = (
        _numbers(weights, "effect_frequency") if "effect_frequency" in weights else np.nan
    )
    made["only_with_b27"] = (
        _truths(weights["only_with_b27"]) if "only_with_b27" in weights else False
    )
    for name in ("effect_allele", "other_allele"):
        made[name] = made[name].str.upper()
    _check_cells(made)
    return made[["id", "chrom", "pos", "effect_allele", "other_allele", "weight",
                 "effect_frequency", "only_with_b27", "gene", "source", "ancestry"]]  # fmt: skip


def _check_cells(made: pd.DataFrame) -> None:
    if not len(made):
        raise InputError("weights: expected at least one row, got none.")
    faults = {
        "a finite weight": ~np.isfinite(made["weight"].to_numpy()),
        "an effect allele": (made["effect_allele"] == "").to_numpy(),
        "an id, or a chromosome and a position": _unnamed(made),
        "a frequency from 0 to 1": ~made["effect_frequency"].fillna(0.5).between(0, 1).to_numpy(),
    }
    for expected, wrong in faults.items():
        if wrong.any():
            msg = (
                f"weights: expected {expected} in every row, got something else in "
                f"{int(wrong.sum())}, the first at position {int(np.flatnonzero(wrong)[0])}."
            )
            raise InputError(msg)
    keys = (
        ["id", "effect_allele"] if (made["id"] != "").all() else ["chrom", "pos", "effect_allele"]
    )
    repeats = int(made.duplicated(keys).sum())
    if repeats:
        msg = f"weights: expected each variant once, got {repeats} repeat(s). Remove them."
        raise InputError(msg)


def _unnamed(made: pd.DataFrame) -> NDArray[np.bool_]:
    placed = (made["chrom"] != "") & made["pos"].notna()
    return np.asarray((made["id"] == "") & ~placed)


def _texts(column: pd.Series[Any]) -> NDArray[Any]:
    return column.fillna("").astype(str).str.strip().replace(".", "").to_numpy(dtype=object)


def _truths(column: pd.Series[Any]) -> NDArray[np.bool_]:
    """Return which cells are true; a missing one is not."""
    return np.asarray(column.eq(True).to_numpy(dtype=bool, na_value=False))


def _numbers(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    import pandas as pd

    column = table[name]
    if not pd.api.types.is_numeric_dtype(column):
        column = column.replace({"": None, "NA": None, ".": None})
    read = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    unread = np.isnan(read) & column.notna().to_numpy()
    if unread.any():
        msg = (
            f"weights: expected numbers in {name!r}, got something else in {int(unread.sum())} "
            f"rows, the first at position {int(np.flatnonzero(unread)[0])}."
        )
        raise InputError(msg)
    return read


def _read_table(path: Path) -> pd.DataFrame:
    import pandas as pd

    options: dict[str, Any] = {"comment": "#", "dtype": str, "keep_default_na": False}
    try:
        head = pd.read_csv(path, sep="\x01", nrows=1, **options)
        separator = "\t" if "\t" in str(head.columns[0]) else ","
        table: pd.DataFrame = pd.read_csv(
            path, sep=separator, index_col=False, on_bad_lines="error", **options
        )
        if "weight_type" not in table:
            table["weight_type"] = _stated_type(path)
    except FileNotFoundError:
        raise InputError("read_weights: expected a file, got none. Check the path.") from None
    except (OSError, ValueError, EOFError, IndexError) as error:
        msg = (
            f"read_weights: the file cannot be read as a table ({type(error).__name__}). Expected "
            "lines of equally many fields, separated by tabs or commas, under a line of names."
        )
        raise InputError(msg) from None
    return table


def _stated_type(path: Path) -> str:
    """Return the ``weight_type`` of the header, blank without one."""
    import pandas as pd

    lines = pd.read_csv(path, sep="\x01", header=None, nrows=_LONGEST_HEADER, dtype=str, quoting=3)
    for line in lines[0].fillna(""):
        if not line.startswith("#"):
            break
        if match := _STATED.fullmatch(line.strip()):
            return match[1]
    return ""


def _refuse_other_models(raw: pd.DataFrame) -> None:
    """Raise where a weight is not per copy of an allele: a plain sum would be wrong."""
    found: Sequence[str] = [
        name
        for name in _NOT_ADDITIVE
        if name in raw and not raw[name].fillna("").str.strip().str.lower().isin(_NO).all()
    ]
    if found:
        msg = (
            f"read_weights: expected weights per copy of one allele, got others: {quoted(found)}. "
            "Such a score is not a plain sum; choose one that is."
        )
        raise InputError(msg)
