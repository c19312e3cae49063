"""Alleles of weights brought into line with those of genotypes, every mismatch counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice
from asfusion._door import public
from asfusion.exceptions import ConfigurationError
from asfusion.genomics.genotypes import bare_chromosome, check_variants
from asfusion.genomics.weights import check_weights

if TYPE_CHECKING:
    import pandas as pd

Match: TypeAlias = Literal["auto", "id", "position"]
Palindromic: TypeAlias = Literal["drop", "keep", "frequency"]

USED = ("same", "flipped", "strand", "strand_flipped")
_TURNED = ("strand", "strand_flipped")
DROPPED = ("palindromic", "mismatch", "absent")
_COMPLEMENT = str.maketrans("ACGT", "TGCA")
_NEAR_HALF = 0.08  # nearer than that to one half, a frequency does not tell two alleles apart


@dataclass(frozen=True, eq=False, repr=False)
class Harmonised:
    """Which variant each weight belongs to, and which of its alleles is meant.

    Parameters
    ----------
    table : pandas.DataFrame
        The weights, with ``variant`` (position among the variants, -1 if none), ``flipped``
        (whether the effect allele is the variant's other allele) and ``status``: ``"same"``;
        ``"flipped"``; ``"strand"``, read on the other strand; ``"strand_flipped"``, both; or,
        of those that are left out, ``"palindromic"`` (A/T or C/G, strand unknown),
        ``"mismatch"`` (other alleles) and ``"absent"`` (no such variant).

    Examples
    --------
    >>> import pandas as pd
    >>> from asfusion.genomics import harmonise
    >>> variants = pd.DataFrame({"id": ["rs1"], "effect_allele": "G", "other_allele": "A"})
    >>> weights = pd.DataFrame({"id": ["rs1"], "effect_allele": "T", "other_allele": "C",
    ...                         "weight": 0.1})
    >>> harmonise(variants, weights)
    <Harmonised: 1 weights; used 1: 1 strand_flipped; left out 0>
    """

    table: pd.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """How many weights have each status."""
        found = self.table["status"].value_counts()
        return {name: int(found.get(name, 0)) for name in (*USED, *DROPPED)}

    @property
    def used(self) -> pd.DataFrame:
        """The weights that have a variant, in the order of the variants."""
        return self.table[self.table["variant"] >= 0].sort_values("variant", kind="stable")

    def __repr__(self) -> str:
        counts = self.counts
        said = [
            f"{title} {sum(counts[name] for name in names)}"
            + "".join(
                f"{':' if first else ','} {counts[name]} {name}"
                for first, name in zip(
                    [True] + [False] * len(names), [n for n in names if counts[n]], strict=False
                )
            )
            for title, names in (("used", USED), ("left out", DROPPED))
        ]
        return f"<Harmonised: {len(self.table)} weights; {'; '.join(said)}>"


@public
def harmonise(
    variants: Any,
    weights: Any,
    *,
    match: Match = "auto",
    palindromic: Palindromic = "drop",
    frequencies: Any = None,
) -> Harmonised:
    """Find each weight's variant and which of its alleles the weight is about.

    Where effect and other allele are exchanged, the dosage will be 2 less itself; where they
    are those of the other strand (A for T, C for G), they are read as such. A weight whose
    alleles are neither is left out and counted, never guessed.

    Parameters
    ----------
    variants : DataFrame
        As of `Genotypes.variants`.
    weights : DataFrame
        As from `read_weights`. Without an ``other_allele``, the effect allele alone has to fit.
    match : {"auto", "id", "position"}
        How a weight finds its variant: by ``id``, or by ``chrom`` and ``pos``, which must be of
        the same assembly. "auto" is by id if every weight has one.
    palindromic : {"drop", "keep", "frequency"}
        What becomes of A/T and C/G, which read the same on both strands: left out; taken as
        they stand, which is right only if both sides name alleles on the same strand; or told by
        frequency, leaving out those within 0.08 of one half.
    frequencies : array_like of shape (n_variants,), optional
        Of each variant's effect allele, for ``palindromic="frequency"``.

    Returns
    -------
    Harmonised
        The table and the counts.

    Raises
    ------
    ConfigurationError
        If a parameter is unusable, or frequencies are needed and not there.
    InputError
        If a table cannot be used.

    Examples
    --------
    >>> import pandas as pd
    >>> from asfusion.genomics import harmonise
    >>> variants = pd.DataFrame(
    ...     {"id": ["rs1", "rs2"], "effect_allele": ["A", "C"], "other_allele": ["G", "G"]}
    ... )
    >>> weights = variants.assign(weight=0.1, effect_allele=["G", "C"], other_allele=["A", "G"])
    >>> harmonise(variants, weights).table["status"].tolist()
    ['flipped', 'palindromic']
    """
    check_choice(match, "match", ("auto", "id", "position"))
    check_choice(palindromic, "palindromic", ("drop", "keep", "frequency"))
    return harmonise_checked(
        check_variants(variants), check_weights(weights), match, palindromic, frequencies
    )


def harmonise_checked(
    variants: pd.DataFrame,
    weights: pd.DataFrame,
    match: Match,
    palindromic: Palindromic,
    frequencies: Any,
) -> Harmonised:
    """Do what `harmonise` does with tables that were checked already."""
    weight, variant = _pairs(variants, weights, match)
    codes = _Codes(variants, weights)
    status = codes.compare(weight, variant)
    ambiguous = codes.reads_both_ways(variant) & (status >= 0)
    if palindromic == "drop":
        status[ambiguous] = _PALINDROMIC
    elif palindromic == "frequency" and ambiguous.any():
        ours = _frequencies(frequencies, len(variants))[variant[ambiguous]]
        theirs = weights["effect_frequency"].to_numpy()[weight[ambiguous]]
        status[ambiguous] = _by_frequency(status[ambiguous], ours, theirs)
    return Harmonised(_best(weights, weight, variant, status))


def strand_note(table: pd.DataFrame) -> str | None:
    """Return what to know of weights that are read on the other strand, None without any."""
    n_turned = int(table["status"].isin(_TURNED).sum())
    if not n_turned:
        return None
    return (
        f"{n_turned} of {int(table['status'].isin(USED).sum())} weights that are used name alleles "
        "of the other strand than the genotypes (A for T, C for G), and are read on it. Check that "
        "ids and assembly are the same; A/T and C/G variants cannot be told apart by letters."
    )


_PALINDROMIC, _MISMATCH, _ABSENT = -1, -2, -3


class _Codes:
    """Alleles as numbers, and those of the other strand."""

    def __init__(self, variants: pd.DataFrame, weights: pd.DataFrame) -> None:
        import pandas as pd

        columns = [
            frame[name].to_numpy(dtype=object)
            for frame in (variants, weights)
            for name in ("effect_allele", "other_allele")
        ]
        codes, names = pd.factorize(np.concatenate(columns))
        upper = [str(name).upper() for name in names]
        numbers = {name: i for i, name in enumerate(dict.fromkeys(upper))}
        plain = np.asarray([numbers[name] for name in upper], dtype=np.int64)
        lengths = np.cumsum([len(column) for column in columns])[:-1]
        self.a1, self.a2, self.effect, self.other = np.split(plain[codes], lengths)
        self.blank = numbers.get("", -9)
        self.turned = np.asarray(
            [numbers.get(_other_strand(name), -1) for name in numbers], dtype=np.int64
        )

    def compare(self, weight: NDArray[np.int64], variant: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a place in `USED` for each pair, or `_MISMATCH`."""
        a1, a2 = self.a1[variant], self.a2[variant]
        effect, other = self.effect[weight], self.other[weight]
        unknown = other == self.blank
        turned_effect, turned_other = self.turned[effect], self.turned[other]
        status = np.full(len(weight), _MISMATCH)
        tries = (
            (3, turned_effect, turned_other, a2, a1),
            (2, turned_effect, turned_other, a1, a2),
            (1, effect, other, a2, a1),
            (0, effect, other, a1, a2),
        )
        for place, one, two, first, second in tries:  # later ones are surer, and win
            status[(one == first) & (unknown | (two == second))] = place
        return status

    def reads_both_ways(self, variant: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(self.turned[self.a1[variant]] == self.a2[variant])


def _other_strand(allele: str) -> str:
    if not allele or set(allele) - set("ACGT"):
        return "?"
    return allele.translate(_COMPLEMENT)[::-1]


def _pairs(
    variants: pd.DataFrame, weights: pd.DataFrame, match: Match
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the weight and the variant of each pair that might belong together."""
    import pandas as pd

    has_ids = bool((weights["id"] != "").all())
    by_id = has_ids if match == "auto" else match == "id"
    if by_id:
        found = pd.Index(variants["id"]).get_indexer(pd.Index(weights["id"]))
        weight = np.flatnonzero(found >= 0)
        return weight, found[weight].astype(np.int64)
    placed = (weights["chrom"] != "").all() and weights["pos"].notna().all()
    if not placed or not variants["pos"].notna().any():
        msg = (
            "match: expected a chromosome and a position of every weight and of variants to match "
            "by position, got blank ones. Pass match='id', or fill them in."
        )
        raise ConfigurationError(msg)
    left, right = (
        pd.DataFrame(
            {
                "chrom": [bare_chromosome(name) for name in table["chrom"]],
                "pos": table["pos"].to_numpy(dtype=np.float64, na_value=np.nan),
                "row": np.arange(len(table)),
            }
        ).dropna()
        for table in (weights, variants)
    )
    both = left.merge(right, on=["chrom", "pos"], suffixes=("_weight", "_variant"))
    return both["row_weight"].to_numpy(np.int64), both["row_variant"].to_numpy(np.int64)


def _frequencies(frequencies: Any, n_variants: int) -> NDArray[np.float64]:
    if frequencies is None:
        msg = (
            "frequencies: expected those of the variants' effect alleles for "
            "palindromic='frequency', got none. Pass Genotypes.frequencies()."
        )
        raise ConfigurationError(msg)
    found = np.asarray(frequencies, dtype=np.float64)
    if found.shape != (n_variants,):
        msg = f"frequencies: expected shape ({n_variants},), got {found.shape}."
        raise ConfigurationError(msg)
    return found


def _by_frequency(
    status: NDArray[np.int64], ours: NDArray[np.float64], theirs: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return whether the effect allele is the variant's first, as its frequency has it."""
    with np.errstate(invalid="ignore"):
        clear = (np.abs(ours - 0.5) > _NEAR_HALF) & (np.abs(theirs - 0.5) > _NEAR_HALF)
        first = (ours > 0.5) == (theirs > 0.5)
    by_letter = np.isin(status, (0, 2))
    told = np.where(first, np.where(by_letter, 0, 2), np.where(by_letter, 3, 1))
    return np.where(clear, told, _PALINDROMIC)


def _best(
    weights: pd.DataFrame,
    weight: NDArray[np.int64],
    variant: NDArray[np.int64],
    status: NDArray[np.int64],
) -> pd.DataFrame:
    """Return one row a weight; of several variants at its position, the one that fits best.

    A variant is used once: of two weights for it, say for both of its alleles, both count.
    """
    # The surest pair of a weight comes last, and is what stays.
    rank = np.where(status >= 0, 10 - status, status)
    order = np.lexsort((rank, weight))
    chosen = np.full(len(weights), _ABSENT)
    place = np.full(len(weights), -1)
    chosen[weight[order]] = status[order]
    place[weight[order]] = variant[order]
    names = np.asarray([*USED, *DROPPED], dtype=object)
    number = np.where(chosen >= 0, chosen, len(USED) - 1 - chosen)
    table = weights.copy()
    table["variant"] = np.where(chosen >= 0, place, -1)
    table["flipped"] = np.isin(chosen, (1, 3))
    table["status"] = names[number]
    return table
