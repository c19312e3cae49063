"""Weighted sums of dosages over variants, in memory that does not grow with their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.genomics import _kernel
from asfusion.genomics._sources import BedSource, Ints
from asfusion.genomics.genotypes import Genotypes

# Below that many calls, a compiler costs more than it saves.
_WORTH_COMPILING = 4_000_000


@dataclass
class Sums:
    """Weighted sums over variants, and what was met on the way.

    `total` and `n_missing` have an entry for each sample; `frequency`, of the effect allele
    among called ones, and `n_uncalled` one for each weight.
    """

    total: NDArray[np.float64]
    n_missing: NDArray[np.int64]
    frequency: NDArray[np.float64]
    n_uncalled: NDArray[np.int64]


def weighted_sums(
    genotypes: Genotypes,
    variants: Ints,
    weights: NDArray[np.float64],
    flipped: NDArray[np.bool_],
    stand_in: NDArray[np.float64],
) -> Sums:
    """Return the sum over variants of weight times copies of the effect allele.

    Parameters
    ----------
    genotypes : Genotypes
        The samples.
    variants : ndarray of int, shape (V,)
        Positions among the variants.
    weights, flipped, stand_in : ndarray of shape (V,)
        Per copy of the effect allele; whether that is the variant's other allele; and what a
        missing call counts as, in copies: NaN for the mean of the samples.
    """
    source = genotypes._source
    is_large = len(variants) * len(genotypes.samples) >= _WORTH_COMPILING
    # All samples of a file are read at once: that pays where most of them are wanted.
    if isinstance(source, BedSource) and is_large and 4 * len(genotypes.samples) > source.n_samples:
        return _of_words(genotypes, source, variants, weights, flipped, stand_in)
    return _of_blocks(genotypes, variants, weights, flipped, stand_in)


def _of_blocks(
    genotypes: Genotypes,
    variants: Ints,
    weights: NDArray[np.float64],
    flipped: NDArray[np.bool_],
    stand_in: NDArray[np.float64],
) -> Sums:
    n, v = len(genotypes.samples), len(variants)
    out = Sums(np.zeros(n), np.zeros(n, np.int64), np.full(v, np.nan), np.zeros(v, np.int64))
    columns = genotypes._columns[variants]
    for places, block in genotypes._source.blocks(genotypes._rows, columns):
        copies = block.astype(np.float64)
        copies = np.where(flipped[places], 2.0 - copies, copies)
        absent = np.isnan(copies)
        n_called = n - absent.sum(axis=0)
        mean = np.nansum(copies, axis=0) / np.maximum(n_called, 1)
        fill = np.where(np.isnan(stand_in[places]), mean, stand_in[places])
        out.total += np.where(absent, fill, copies) @ weights[places]
        out.n_missing += absent.sum(axis=1)
        out.n_uncalled[places] = n - n_called
        out.frequency[places] = np.where(n_called > 0, mean / 2.0, np.nan)
    return out


def _of_words(
    genotypes: Genotypes,
    source: BedSource,
    variants: Ints,
    weights: NDArray[np.float64],
    flipped: NDArray[np.bool_],
    stand_in: NDArray[np.float64],
) -> Sums:
    people = np.zeros(-(-source.n_samples // _kernel.PEOPLE_A_WORD) * _kernel.PEOPLE_A_WORD, bool)
    people[genotypes._rows] = True
    counted = _lower_bits(people)
    total, missing = np.zeros(len(people)), np.zeros(len(people), np.int32)
    counts = np.zeros((len(variants), 3), dtype=np.int64)
    for places, words in source.words(genotypes._columns[variants]):
        n = len(places)
        padded = -(-n // _kernel.GROUP) * _kernel.GROUP
        block_counts = np.zeros((padded, 3), dtype=np.int64)
        _kernel.count_and_add(
            words[:padded],
            counted,
            _filled(weights[places], padded, 0.0),
            _filled(flipped[places], padded, False),
            _filled(stand_in[places], padded, 0.0),
            total,
            missing,
            block_counts,
            n,
        )
        counts[places] = block_counts[:n]
    n_called = len(genotypes._rows) - counts[:, 2]
    first = (2.0 * counts[:, 0] + counts[:, 1]) / (2.0 * np.maximum(n_called, 1))
    frequency = np.where(n_called > 0, np.where(flipped, 1.0 - first, first), np.nan)
    rows = genotypes._rows
    return Sums(total[rows], missing[rows].astype(np.int64), frequency, counts[:, 2])


def _lower_bits(people: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return words with the lower of the two bits of each chosen person set."""
    bits = people.astype(np.uint8).reshape(-1, 4)
    packed = bits @ np.array([1, 4, 16, 64], dtype=np.uint8)
    return packed.astype(np.uint8).view(np.uint64)


def _filled(values: NDArray[Any], length: int, rest: float) -> NDArray[Any]:
    out = np.full(length, rest, dtype=values.dtype)
    out[: len(values)] = values
    return out
