"""Sums over the calls of a PLINK bed file, two bits each, compiled by numba at the first call.

A word holds the calls of 32 people for one variant. The words of four variants are shuffled so
that each byte holds the four calls of one person: one look-up in a table of 256 sums then
stands for four products, and four tables share one addition to the total.

Dimensions: V variants of a block, W words (of 32 people) of a variant.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

PEOPLE_A_WORD = 32
GROUP = 16  # variants whose tables are in the first cache together; V is a multiple of it


def count_and_add(
    words: NDArray[np.uint64],
    counted: NDArray[np.uint64],
    weights: NDArray[np.float64],
    flipped: NDArray[np.bool_],
    stand_in: NDArray[np.float64],
    total: NDArray[np.float64],
    missing: NDArray[np.int32],
    counts: NDArray[np.int64],
    n_variants: int,
) -> None:
    """Add the weighted calls of a block of variants to each person's total, in place.

    Parameters
    ----------
    words : ndarray of shape (V, W)
        Calls as in the file: 00 two copies of the first allele, 10 one, 11 none, 01 no call.
    counted : ndarray of shape (W,)
        The lower bit of each person who counts: not those that only fill up the last word.
    weights, flipped, stand_in : ndarray of shape (V,)
        What a copy of the effect allele adds; whether that is the second allele; what a missing
        call counts as, in copies, NaN standing for the mean of the people who count.
    total, missing : ndarray of shape (32 * W,)
        Weighted sums, and calls missing, of each person.
    counts : ndarray of shape (V, 3)
        People with two copies of the first allele, with one, and without a call.
    n_variants : int
        Variants of the block that are real: the rest, up to V, fill up the last group.
    """
    _compiled()(words, counted, weights, flipped, stand_in, total, missing, counts, n_variants)


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., None]:
    numba = importlib.import_module("numba")
    jit = numba.njit(nogil=True)
    ones = jit(_ones)
    prepare = jit(_make_prepare(jit(_make_count(ones)), jit(_values), jit(_table)))
    return jit(_make_add(ones, prepare, jit(_look_up)))  # type: ignore[no-any-return]


def _ones(word):  # type: ignore[no-untyped-def]
    """Return how many bits are set; compilers know this for what it is."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


def _values(weight, flipped, stand_in, two, one, called, out):  # type: ignore[no-untyped-def]
    """Write what each of the four calls of a variant adds."""
    zero = called - two - one
    copies = 2.0 * zero + one if flipped else 2.0 * two + one
    if np.isnan(stand_in):
        stand_in = copies / called if called > 0 else 0.0
    out[0] = 0.0 if flipped else 2.0 * weight
    out[1] = stand_in * weight
    out[2] = weight
    out[3] = 2.0 * weight if flipped else 0.0


def _table(values, out):  # type: ignore[no-untyped-def]
    """Write the sums of all calls of four variants: the first in the lowest two bits."""
    for high in range(16):
        above = values[2, high & 3] + values[3, high >> 2]
        for low in range(16):
            out[16 * high + low] = values[0, low & 3] + values[1, low >> 2] + above


def _make_count(ones: Any) -> Any:
    def count(row, counted, missing, found):  # type: ignore[no-untyped-def]
        """Count the calls of one variant, and note whose are missing."""
        two, one, absent = 0, 0, 0
        for w in range(row.shape[0]):
            word, people = row[w], counted[w]
            high = word >> np.uint64(1)
            two += ones(~(word | high) & people)
            one += ones(high & ~word & people)
            gone = word & ~high & people
            absent += ones(gone)
            while gone:
                lowest = gone & (~gone + np.uint64(1))
                missing[32 * w + (ones(lowest - np.uint64(1)) >> np.uint64(1))] += 1
                gone ^= lowest
        found[0], found[1], found[2] = two, one, absent

    return count


def _make_prepare(count: Any, values: Any, table: Any) -> Any:
    def prepare(  # type: ignore[no-untyped-def]
        words, counted, weights, flipped, stand_in, n_people, n_real, missing, counts, worth, tables
    ):
        """Count the calls of 16 variants and write the tables of each four of them."""
        worth[:] = 0.0
        for v in range(n_real):
            count(words[v], counted, missing, counts[v])
            two, one, absent = counts[v]
            called = n_people - absent
            values(weights[v], flipped[v], stand_in[v], two, one, called, worth[v])
        for g in range(4):
            table(worth[4 * g : 4 * g + 4], tables[g])

    return prepare


def _look_up(words, tables, shuffled, total):  # type: ignore[no-untyped-def]
    """Add what 16 variants give to each person's total."""
    pairs, nibbles = np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
    two, four, byte = np.uint64(2), np.uint64(4), np.uint64(255)
    for w in range(words.shape[1]):
        for g in range(4):
            a, b, c, d = (
                words[4 * g, w],
                words[4 * g + 1, w],
                words[4 * g + 2, w],
                words[4 * g + 3, w],
            )
            even1 = (a & pairs) | ((b & pairs) << two)
            odd1 = ((a >> two) & pairs) | (b & ~pairs)
            even2 = (c & pairs) | ((d & pairs) << two)
            odd2 = ((c >> two) & pairs) | (d & ~pairs)
            shuffled[0, g] = (even1 & nibbles) | ((even2 & nibbles) << four)
            shuffled[1, g] = (odd1 & nibbles) | ((odd2 & nibbles) << four)
            shuffled[2, g] = ((even1 >> four) & nibbles) | (even2 & ~nibbles)
            shuffled[3, g] = ((odd1 >> four) & nibbles) | (odd2 & ~nibbles)
        for s in range(4):
            p, q, r, t = shuffled[s, 0], shuffled[s, 1], shuffled[s, 2], shuffled[s, 3]
            for k in range(8):
                shift = np.uint64(8 * k)
                total[32 * w + 4 * k + s] += (
                    tables[0, (p >> shift) & byte] + tables[1, (q >> shift) & byte]
                ) + (tables[2, (r >> shift) & byte] + tables[3, (t >> shift) & byte])


def _make_add(ones: Any, prepare: Any, look_up: Any) -> Any:
    def add(words, counted, weights, flipped, stand_in, total, missing, counts, n_variants):  # type: ignore[no-untyped-def]
        n_people = 0
        for w in range(counted.shape[0]):
            n_people += int(ones(counted[w]))
        tables, worth = np.empty((4, 256)), np.empty((16, 4))
        shuffled = np.empty((4, 4), np.uint64)
        for start in range(0, words.shape[0], 16):
            group = slice(start, start + 16)
            n_real = min(16, n_variants - start)
            prepare(
                words[group], counted, weights[group], flipped[group], stand_in[group], n_people,
                n_real, missing, counts[group], worth, tables,
            )  # fmt: skip
            look_up(words[group], tables, shuffled, total)

    return add
