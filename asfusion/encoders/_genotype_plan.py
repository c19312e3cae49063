"""What a genotype encoder learns of its columns, and the features that follow from it.

Dimensions: N rows, V dosage columns, Q values (dosages, HLA-B27, interactions, score), F flags.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import in_words, quoted
from asfusion._warn import warn_user
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.genomics.harmonised import harmonise_checked, strand_note
from asfusion.genomics.loci import B27_TAGS, ERAP1, LOCI
from asfusion.genomics.weights import check_weights, published_weights

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

B27_LOCUS = "HLA-B27"
_WITH_ALLELE = re.compile(r"(?P<id>.+)_(?P<allele>[ACGTacgt]+)")
_ERAP1_GENE = "ERAP1"
_COMPLEMENT = str.maketrans("ACGT", "TGCA")
# Of that many rows, frequencies tell whether the other allele is counted.
_ENOUGH_ROWS, _FAR, _NEAR = 50, 0.25, 0.1


def split_allele(column: str) -> tuple[str, str]:
    """Return ``("rs30187", "T")`` of ``"rs30187_T"``; no allele where the name has none."""
    match = _WITH_ALLELE.fullmatch(column)
    return (column, "") if match is None else (match["id"], match["allele"].upper())


def genes_of(
    columns: Sequence[str], hla_b27: str | None, annotation: Any, weights: Any
) -> list[str]:
    """Return the gene or locus of each column; where it is unknown, the variant stands alone.

    HLA-B27 and the SNPs that stand in for it are one locus.
    """
    known = _annotation(annotation)
    if weights is not None and not known:
        known = _genes(weights) if hasattr(weights, "columns") else {}
    tags = {tag.rsid for tag in B27_TAGS}
    found = []
    for column in columns:
        name = split_allele(column)[0]
        is_b27 = column == hla_b27 or name in tags
        found.append(B27_LOCUS if is_b27 else known.get(name, known.get(column, name)))
    return found


def _annotation(annotation: Any) -> dict[str, str]:
    if annotation is None:
        return {}
    if isinstance(annotation, str):
        if annotation != "published":
            msg = (
                f"annotation: expected a mapping, a DataFrame or 'published', "
                f"got {in_words(annotation)}."
            )
            raise ConfigurationError(msg)
        # One gene may hold two signals: "IL23R, second signal".
        return {locus.rsid: locus.locus.split(",")[0] for locus in LOCI}
    if isinstance(annotation, Mapping):
        return {str(name): str(gene) for name, gene in annotation.items()}
    if hasattr(annotation, "columns") and {"id", "gene"} <= set(annotation.columns):
        return _genes(annotation)
    msg = (
        "annotation: expected a mapping of variant to gene, 'published', or a DataFrame with the "
        f"columns 'id' and 'gene', got {type(annotation).__name__}."
    )
    raise ConfigurationError(msg)


def _genes(table: Any) -> dict[str, str]:
    if not {"id", "gene"} <= set(table.columns):
        return {}
    pairs = zip(list(table["id"]), list(table["gene"]), strict=True)
    return {str(name): str(gene) for name, gene in pairs if isinstance(gene, str) and gene}


def score_terms(
    columns: Sequence[str], weights: Any, annotation: Any
) -> list[tuple[int, float, bool, bool]]:
    """Return column, weight, whether the other allele is meant, and whether B27 is needed.

    Columns whose name has no allele, and of which no annotation tells it, are taken to count
    the effect allele. Of the others, alleles are compared, and what does not fit is said.
    """
    names = [split_allele(column) for column in columns]
    place = {name: i for i, (name, _) in enumerate(names)}
    if isinstance(weights, Mapping):
        table = {str(name): float(weight) for name, weight in weights.items()}
        terms = [(place[n], w, False, False) for n, w in table.items() if n in place]
    else:
        checked = published_weights(recalled=True) if isinstance(weights, str) else weights
        terms = _terms_of_table(names, place, check_weights(checked), annotation)
    if not terms:
        msg = (
            "weights: expected weights of the variants among the columns, got none of "
            f"{quoted(place)}. Are their identifiers of the same kind?"
        )
        raise InputError(msg)
    return terms


def _terms_of_table(
    names: Sequence[tuple[str, str]],
    place: Mapping[str, int],
    weights: pd.DataFrame,
    annotation: Any,
) -> list[tuple[int, float, bool, bool]]:
    import pandas as pd

    stated = _stated_alleles(annotation)
    rows = []
    table = weights[weights["id"].isin(list(place))].reset_index(drop=True)
    cells = table[["id", "effect_allele", "other_allele"]].astype(object).to_numpy().tolist()
    for name, effect, other in cells:
        own = stated.get(name) or _pair(names[place[name]][1], effect, other)
        rows.append((name, "", pd.NA, *(own or (effect, other or "?"))))
    columns = ["id", "chrom", "pos", "effect_allele", "other_allele"]
    variants = pd.DataFrame(rows, columns=columns).drop_duplicates("id", ignore_index=True)
    told = {name for name, allele in names if allele} | set(stated)
    found = harmonise_checked(variants, table, "id", "drop", None).table
    assumed = ~found["id"].isin(told)
    kept = (found["variant"] >= 0) | assumed
    lost = found.loc[~kept, "id"].tolist()
    if lost:
        msg = (
            f"GenotypeEncoder: the risk score leaves out {len(lost)} of {len(found)} variants, "
            "whose alleles do not fit those of the columns or read alike on both strands: "
            f"{quoted(lost)}."
        )
        warn_user(msg)
    if note := strand_note(found[~assumed]):
        warn_user(f"GenotypeEncoder: {note}")
    flipped = found["flipped"] & ~assumed
    terms = zip(
        found["id"].tolist(),
        found["weight"].tolist(),
        flipped.tolist(),
        found["only_with_b27"].tolist(),
        kept.tolist(),
        strict=True,
    )
    return [(place[n], float(w), bool(f), bool(b)) for n, w, f, b, keep in terms if keep]


def _stated_alleles(annotation: Any) -> dict[str, tuple[str, str]]:
    needed = {"id", "effect_allele", "other_allele"}
    if not hasattr(annotation, "columns") or not needed <= set(annotation.columns):
        return {}
    cells = (list(annotation[name]) for name in ("id", "effect_allele", "other_allele"))
    return {str(n): (str(a).upper(), str(b).upper()) for n, a, b in zip(*cells, strict=True)}


def _pair(allele: str, effect: str, other: str) -> tuple[str, str] | None:
    """Return the counted allele and the one that has to be its other."""
    if not allele:
        return None
    for pair in ((effect, other), (effect.translate(_COMPLEMENT), other.translate(_COMPLEMENT))):
        if allele in pair:
            return allele, pair[1 - pair.index(allele)] or "?"
    return allele, "?"


def learn(
    dosages: Array,
    carriers: Array | None,
    weights: Array,
    columns: Sequence[str],
    genes: Sequence[str],
    hla_b27: str | None,
    terms: Sequence[tuple[int, float, bool, bool]],
) -> dict[str, Any]:
    """Return what training rows say, as plain values and arrays."""
    raw = dosages if carriers is None else np.column_stack([dosages, carriers])
    known = ~np.isnan(raw)
    total = np.where(known, weights[:, None], 0.0).sum(axis=0)
    mean = np.where(known, raw, 0.0).T @ weights / np.where(total > 0, total, 1.0)
    erap1 = [
        i
        for i, column in enumerate(columns)
        if split_allele(column)[0] == ERAP1 or genes[i] == _ERAP1_GENE
    ]
    plan: dict[str, Any] = {
        "mean": mean,
        "flagged": np.flatnonzero(~known.all(axis=0)),
        "with_b27": np.asarray(erap1 if carriers is not None else [], dtype=np.int64),
        "terms": np.asarray(terms, dtype=np.float64).reshape(-1, 4),
        "has_b27": carriers is not None,
        "n_rows": len(raw),
    }
    values = _values(plan, np.where(known, raw, mean))
    center = np.average(values, axis=0, weights=weights)
    spread = np.sqrt(np.average((values - center) ** 2, axis=0, weights=weights))
    plan["center"] = center
    plan["scale"] = np.where(spread > 1e-12, spread, 1.0)
    return plan


def feature_names(
    plan: Mapping[str, Any], columns: Sequence[str], hla_b27: str | None
) -> list[str]:
    """Return the names of values and flags."""
    read = [*columns, hla_b27] if plan["has_b27"] else list(columns)
    names = [
        *read,
        *(f"{columns[i]}_x_{hla_b27}" for i in plan["with_b27"]),
        *(["risk_score"] if len(plan["terms"]) else []),
    ]
    return [*map(str, names), *(f"{read[i]}_missing" for i in plan["flagged"])]


def features(plan: Mapping[str, Any], raw: Array) -> Array:
    """Return the features (N, Q + F) of dosages and, behind them, carriage of HLA-B27."""
    absent = np.isnan(raw)
    values = _values(plan, np.where(absent, plan["mean"], raw))
    scaled = (values - plan["center"]) / plan["scale"]
    return np.column_stack([scaled, absent[:, plan["flagged"]]])


def _values(plan: Mapping[str, Any], filled: Array) -> Array:
    carriage = filled[:, -1] if plan["has_b27"] else np.ones(len(filled))
    parts = [filled, filled[:, plan["with_b27"]] * carriage[:, None]]
    terms = plan["terms"]
    if len(terms):
        copies = filled[:, terms[:, 0].astype(np.int64)]
        copies = np.where(terms[:, 2] > 0, 2.0 - copies, copies)
        acting = np.where(terms[:, 3] > 0, carriage[:, None], 1.0)
        parts.append(((copies * acting) @ terms[:, 1])[:, None])
    return np.column_stack(parts)


def warn_if_exchanged(plan: Mapping[str, Any], dosages: Array, columns: Sequence[str]) -> None:
    """Say so where rows look as if the other allele were counted than in training."""
    n_called = (~np.isnan(dosages)).sum(axis=0)
    now = np.where(np.isnan(dosages), 0.0, dosages).sum(axis=0) / (2.0 * np.maximum(n_called, 1))
    then = plan["mean"][: len(columns)] / 2.0
    turned = (np.abs(now - then) > _FAR) & (np.abs(1.0 - now - then) < _NEAR)
    suspects = np.flatnonzero(turned & (n_called >= _ENOUGH_ROWS)).tolist()
    if plan["n_rows"] >= _ENOUGH_ROWS and suspects:
        msg = (
            "GenotypeEncoder: allele frequencies look as if the other allele were counted than in "
            f"training: {quoted(columns[i] for i in suspects)}. Genotypes.to_frame("
            "with_allele=True) makes the counted allele part of the name."
        )
        warn_user(msg)
