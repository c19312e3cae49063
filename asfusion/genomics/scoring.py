"""Polygenic risk scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_choice, check_number, quoted
from asfusion._door import public
from asfusion._warn import warn_user
from asfusion.exceptions import ConfigurationError, InputError, ShapeError
from asfusion.genomics._sums import Sums, weighted_sums
from asfusion.genomics.genotypes import Genotypes
from asfusion.genomics.harmonised import Match, Palindromic, harmonise_checked, strand_note
from asfusion.genomics.loci import B27_ODDS_RATIO, B27_TAGS
from asfusion.genomics.risk import RiskScore
from asfusion.genomics.weights import check_weights, published_weights

if TYPE_CHECKING:
    import pandas as pd

_FEW = 0.5  # share of weights that found their variant
_GROSS = 0.2  # difference of two frequencies of an allele
_MANY = 0.05  # share of variants with a gross difference
_TAGS = [tag.rsid for tag in B27_TAGS]


@public
def risk_score(
    genotypes: Genotypes,
    weights: Any = "published",
    *,
    hla_b27: Any = None,
    hla_b27_weight: float | None = None,
    missing: Literal["mean", "reference", "omit"] = "mean",
    match: Match = "auto",
    palindromic: Palindromic = "drop",
    ancestry: str | None = None,
) -> RiskScore:
    """Return the weighted sum of effect alleles of each sample.

    Weights are brought into line with the genotypes' alleles first, and what is left out is
    counted. Of a PLINK file the calls are summed as they are read, so that memory does not
    grow with the number of variants.

    Parameters
    ----------
    genotypes : Genotypes
        The samples.
    weights : DataFrame or "published"
        As from `read_weights`; "published" is `published_weights`.
    hla_b27 : Series, mapping or array_like of shape (n_samples,), optional
        Whether each sample carries HLA-B27, 1 or 0 (or copies), missing if unknown: by sample,
        or in their order. Weights that are marked ``only_with_b27`` count in carriers only.
        Without it they count in everyone.
    hla_b27_weight : float, optional
        What carriage adds. By default ``ln 50`` to the published loci, and nothing to weights
        of your own, which may hold the region already.
    missing : {"mean", "reference", "omit"}
        A missing call counts as the mean of the samples, as twice the ``effect_frequency`` of
        the weights, or not at all. A single sample has no mean: take "reference".
    match : {"auto", "id", "position"}
        See `harmonise`.
    palindromic : {"drop", "keep", "frequency"}
        See `harmonise`.
    ancestry : str, optional
        Ancestry of the samples, as weights name theirs (``"EUR"``). A score of another ancestry
        than that of its study does not carry over.

    Returns
    -------
    RiskScore
        Scores, share of calls, and the fate of every weight.

    Raises
    ------
    ConfigurationError
        If a parameter is unusable, or HLA-B27 would be counted twice.
    InputError
        If no weight finds its variant, or carriers cannot be read.
    ShapeError
        If there are not as many carriers as samples.

    Warns
    -----
    AsfusionWarning
        If fewer than half of the weights find a variant, if some are read on the other strand,
        if the ancestry of samples is unknown or another than that of the weights, or if allele
        frequencies differ grossly (by more than 0.2 in more than one variant of twenty).

    Notes
    -----
    Units: those of the weights, mostly log odds. A score is not a diagnosis: it ranks samples,
    and says nothing of absolute risk without the frequency of the disease.

    References
    ----------
    Li et al., Ann Rheum Dis 2021;80:1168, doi:10.1136/annrheumdis-2020-219446.

    Examples
    --------
    >>> import pandas as pd
    >>> from asfusion.genomics import Genotypes, risk_score
    >>> variants = pd.DataFrame(
    ...     {"id": ["rs11209026", "rs6600247"], "effect_allele": ["A", "T"],
    ...      "other_allele": ["G", "C"]}
    ... )
    >>> genotypes = Genotypes([[0, 1], [1, 2]], ["p1", "p2"], variants)
    >>> weights = pd.DataFrame(
    ...     {"id": ["rs11209026"], "effect_allele": "G", "other_allele": "A", "weight": 0.476}
    ... )
    >>> risk_score(genotypes, weights).scores.tolist()
    [0.952, 0.476]
    """
    check_choice(missing, "missing", ("mean", "reference", "omit"))
    check_choice(match, "match", ("auto", "id", "position"))
    check_choice(palindromic, "palindromic", ("drop", "keep", "frequency"))
    if not isinstance(genotypes, Genotypes):
        msg = (
            "genotypes: expected Genotypes, as read_plink and read_vcf give them, got "
            f"{type(genotypes).__name__}. Read the file first."
        )
        raise InputError(msg)
    is_published = isinstance(weights, str)
    if is_published:
        if weights != "published":
            msg = (
                "weights: expected a table or 'published', got another text. Read a file first, "
                "with asfusion.genomics.read_weights."
            )
            raise ConfigurationError(msg)
        weights = published_weights()
    table = check_weights(weights)
    carriage = _carriage(hla_b27, hla_b27_weight, is_published, genotypes, missing)
    frequencies = None
    if palindromic == "frequency":
        frequencies = _frequencies_of_palindromic(genotypes)
    found = harmonise_checked(genotypes.variants, table, match, palindromic, frequencies)
    used = found.used
    if not len(used):
        msg = (
            f"risk_score: expected variants of the {len(table)} weights among the genotypes, got "
            f"none ({found!r}). Are ids or positions of the same kind and assembly?"
        )
        raise InputError(msg)
    _refuse_twice(used, carriage)
    scores, sums = _score(genotypes, used, carriage, missing)
    for name, values in (("frequency", sums.frequency), ("n_missing", sums.n_uncalled)):
        found.table[name] = np.nan
        found.table.loc[used.index, name] = values
    notes = _notes(found.table, len(used), ancestry, is_published)
    return _result(genotypes, scores, sums, found, notes)


def _result(
    genotypes: Genotypes, scores: NDArray[np.float64], sums: Sums, found: Any, notes: list[str]
) -> RiskScore:
    import pandas as pd

    samples = pd.Index(genotypes.samples)
    called = 1.0 - sums.n_missing / len(sums.frequency)
    return RiskScore(
        scores=pd.Series(scores, index=samples, name="risk_score"),
        called=pd.Series(called, index=samples, name="called"),
        harmonised=found,
        notes=tuple(notes),
    )


def _score(
    genotypes: Genotypes,
    used: pd.DataFrame,
    carriage: tuple[NDArray[np.float64], float] | None,
    missing: str,
) -> tuple[NDArray[np.float64], Sums]:
    """Return the scores, and the sums over all weights together."""
    stand_in = _stand_in(used, missing)
    depends = used["only_with_b27"].to_numpy(dtype=bool) & (carriage is not None)
    columns = ("variant", "weight", "flipped")
    variant, weight, flipped = (used[name].to_numpy() for name in columns)
    parts = []
    for chosen in (~depends, depends):
        if chosen.any():
            some = weighted_sums(
                genotypes, variant[chosen], weight[chosen], flipped[chosen], stand_in[chosen]
            )
            parts.append((chosen, some))
    sums = _together(parts, len(used))
    if carriage is None:
        return sums.total, sums
    carriers, of_carriage = carriage
    scores = of_carriage * carriers
    for chosen, some in parts:
        scores = scores + (carriers * some.total if depends[chosen].any() else some.total)
    return scores, sums


def _together(parts: list[tuple[NDArray[np.bool_], Sums]], n_weights: int) -> Sums:
    frequency = np.full(n_weights, np.nan)
    n_uncalled = np.zeros(n_weights, dtype=np.int64)
    for chosen, some in parts:
        frequency[chosen], n_uncalled[chosen] = some.frequency, some.n_uncalled
    total = np.sum([some.total for _, some in parts], axis=0)
    n_missing = np.sum([some.n_missing for _, some in parts], axis=0)
    return Sums(total, n_missing, frequency, n_uncalled)


def _stand_in(used: pd.DataFrame, missing: str) -> NDArray[np.float64]:
    """Return what a missing call counts as, in copies of the effect allele; NaN for the mean."""
    if missing == "mean":
        return np.full(len(used), np.nan)
    if missing == "omit":
        return np.zeros(len(used))
    reference = 2.0 * used["effect_frequency"].to_numpy()
    if np.isnan(reference).any():
        msg = (
            "missing='reference': expected an effect_frequency with every weight that is used, got "
            f"{int(np.isnan(reference).sum())} without. Take missing='mean' or 'omit'."
        )
        raise ConfigurationError(msg)
    return reference


def _carriage(
    hla_b27: Any, weight: float | None, is_published: bool, genotypes: Genotypes, missing: str
) -> tuple[NDArray[np.float64], float] | None:
    """Return who carries HLA-B27, unknown ones filled in, and what carriage adds."""
    if hla_b27 is None:
        if weight is not None:
            msg = "hla_b27_weight: expected carriers in hla_b27= to go with it, got none."
            raise ConfigurationError(msg)
        return None
    carriers = _read_carriers(hla_b27, genotypes.samples)
    unknown = np.isnan(carriers)
    if unknown.all():
        raise InputError("hla_b27: expected at least one known carrier status, got none.")
    known = carriers[~unknown]
    carriers = np.where(unknown, 0.0 if missing == "omit" else known.mean(), carriers)
    if weight is None:
        return carriers, math.log(B27_ODDS_RATIO) if is_published else 0.0
    return carriers, check_number(weight, "hla_b27_weight")


def _read_carriers(hla_b27: Any, samples: tuple[str, ...]) -> NDArray[np.float64]:
    import pandas as pd

    if isinstance(hla_b27, Mapping):
        hla_b27 = pd.Series(dict(hla_b27))
    if isinstance(hla_b27, pd.Series):
        by_sample = hla_b27[~hla_b27.index.duplicated()]
        absent = ~pd.Index(samples).isin(by_sample.index)
        if absent.any() or len(by_sample) < len(hla_b27):
            msg = (
                f"hla_b27: expected one entry for each of the {len(samples)} samples, by sample, "
                f"got none for {int(absent.sum())} and {len(hla_b27) - len(by_sample)} repeat(s). "
                "Set the index to the sample, or pass an array in the order of the samples."
            )
            raise InputError(msg)
        hla_b27 = by_sample.reindex(list(samples))
    column = pd.Series(hla_b27)
    if column.shape != (len(samples),):
        msg = f"hla_b27: expected {len(samples)} entries, one a sample, got {len(column)}."
        raise ShapeError(msg)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    unread = np.isnan(numbers) & column.notna().to_numpy()
    if unread.any() or not np.isin(numbers[~np.isnan(numbers)], (0, 1, 2)).all():
        msg = "hla_b27: expected 1, 0 or copies, or missing, got something else. Convert it."
        raise InputError(msg)
    return np.where(np.isnan(numbers), np.nan, np.minimum(numbers, 1.0))


def _refuse_twice(used: pd.DataFrame, carriage: tuple[Any, float] | None) -> None:
    tags = used["id"][used["id"].isin(_TAGS)].tolist()
    if tags and carriage is not None and carriage[1]:
        msg = (
            f"weights: {quoted(tags)} stand(s) in for HLA-B27, which would count twice. Leave it "
            "out of the weights, or pass hla_b27_weight=0."
        )
        raise ConfigurationError(msg)


def _frequencies_of_palindromic(genotypes: Genotypes) -> NDArray[np.float64]:
    """Return frequencies of A/T and C/G variants alone, which are all that is asked for."""
    first, second = (
        genotypes.variants[name].str.upper() for name in ("effect_allele", "other_allele")
    )
    chosen = np.flatnonzero((first + second).isin(["AT", "TA", "CG", "GC"]).to_numpy())
    found = np.full(len(genotypes.variants), np.nan)
    if len(chosen):
        nothing = np.zeros(len(chosen))
        sums = weighted_sums(genotypes, chosen, nothing, nothing.astype(bool), nothing)
        found[chosen] = sums.frequency
    return found


def _notes(table: pd.DataFrame, n_used: int, ancestry: str | None, is_published: bool) -> list[str]:
    """Return what to know of a score; what may spoil it is warned of, too."""
    said, warned = [], []
    if n_used < _FEW * len(table):
        warned.append(f"Only {n_used} of {len(table)} weights found their variant.")
    if note := strand_note(table):
        warned.append(note)
    studied = sorted(set(table["ancestry"].unique()) - {""})
    if studied and ancestry is None:
        warned.append(
            f"The weights are of {', '.join(studied)} ancestry, and that of the samples is "
            "unknown; pass ancestry= if you know it. Scores do not carry over."
        )
    elif studied and [ancestry] != studied:
        warned.append(
            f"The weights are of {', '.join(studied)} ancestry and the samples of another: the "
            "score may be biased and predict less."
        )
    difference = (table["frequency"] - table["effect_frequency"]).abs().dropna()
    n_gross = int((difference > _GROSS).sum())
    if n_gross > max(1.0, _MANY * len(difference)):
        warned.append(
            f"Frequencies of {n_gross} of {len(difference)} effect alleles differ by more than "
            f"{_GROSS} from those of the weights: another ancestry, or alleles exchanged."
        )
    if is_published:
        said.append(
            "Published loci: which allele carries the risk is assumed for all but IL23R; see "
            "published_weights()."
        )
    for text in warned:
        warn_user(f"risk_score: {text}")
    return [*warned, *said]
