"""Which rows of different patients are equal, or nearly so.

Each function returns few links: enough to join all patients that belong together, not one
per pair. Dimensions: N rows.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Pair = tuple[int, int, float]  # positions of two rows, and how alike they are

SHORTEST_NOTE = 10  # words; shorter notes are phrases that many patients share
ALIKE_NOTES = 0.6  # Jaccard index of sets of three words
ALIKE_IMAGES = 1.0 - 23 / 255  # share of equal bits of perceptual hashes
ALIKE_VOLUMES = 0.85  # the same for volumes, of which those of two patients differ by more
_SHINGLE = 3
_BANDS, _DEPTH = 32, 4
_SMALL_BUCKET = 64
_PRIME = np.uint64((1 << 31) - 1)
_BLOCK = 2048
_CHANCE = 0.01  # expected chance twins of a row above which equality is no surprise
_WORD = re.compile(r"\w+")


class Joined:
    """Sets of patients that were linked (union-find)."""

    def __init__(self, n: int) -> None:
        self.parents = np.arange(n)

    def root(self, group: int) -> int:
        """Return the patient that stands for the set of a patient."""
        while self.parents[group] != group:
            self.parents[group] = self.parents[self.parents[group]]
            group = int(self.parents[group])
        return group

    def join(self, first: int, second: int) -> bool:
        """Join two sets; return False if they are one already."""
        a, b = self.root(first), self.root(second)
        self.parents[max(a, b)] = min(a, b)
        return a != b


def equal_pairs(keys: Sequence[Hashable | None], groups: Rows, joined: Joined) -> list[Pair]:
    """Return links between rows of equal key; None is equal to nothing."""
    firsts: dict[Hashable, int] = {}
    pairs = []
    for row, key in enumerate(keys):
        if key is None:
            continue
        first = firsts.setdefault(key, row)
        if groups[first] != groups[row] and joined.join(int(groups[first]), int(groups[row])):
            pairs.append((first, row, 1.0))
    return pairs


def alike_pairs(pairs: Iterable[Pair], groups: Rows, joined: Joined) -> list[Pair]:
    """Return those of the pairs that link patients which are not linked yet, best first."""
    kept = []
    for first, second, alike in sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1])):
        mine, other = int(groups[first]), int(groups[second])
        if mine != other and joined.join(mine, other):
            kept.append((first, second, alike))
    return kept


# -- images ----------------------------------------------------------------------------


def image_pairs(
    hashes: Sequence[NDArray[np.bool_] | None], least: float = ALIKE_IMAGES
) -> Iterator[Pair]:
    """Yield all pairs of rows of whose perceptual hashes at least a share of bits are equal."""
    rows = np.asarray([i for i, bits in enumerate(hashes) if bits is not None], dtype=np.int64)
    if len(rows) < 2:
        return
    signs = np.stack([np.where(hashes[i], 1.0, -1.0) for i in rows]).astype(np.float32)
    n_bits = signs.shape[1]
    for start in range(0, len(rows), _BLOCK):
        equal = (signs[start : start + _BLOCK] @ signs[start:].T + n_bits) / (2 * n_bits)
        for i, j in np.argwhere(np.triu(equal >= least - 1e-6, k=1)).tolist():
            yield int(rows[start + i]), int(rows[start + j]), float(equal[i, j])


# -- notes -----------------------------------------------------------------------------


def note_words(note: str | None) -> list[str]:
    """Return the words of a note, without case, punctuation and layout."""
    return _WORD.findall(unicodedata.normalize("NFKC", note).casefold()) if note else []


def note_keys(notes: Sequence[Sequence[str]]) -> list[str | None]:
    """Return a hash of the words of each note, None for those too short to mean anything."""
    return [
        hashlib.sha256(" ".join(words).encode("utf-8", "surrogatepass")).hexdigest()
        if len(words) >= SHORTEST_NOTE
        else None
        for words in notes
    ]


def note_pairs(notes: Sequence[Sequence[str]]) -> Iterator[Pair]:
    """Yield pairs of notes with many runs of three words in common.

    Candidates come from MinHash signatures in bands [1]_, so that time grows with the
    number of notes and not with that of pairs; each is then compared exactly.

    References
    ----------
    .. [1] Broder, "On the resemblance and containment of documents", SEQUENCES 1997.
       https://doi.org/10.1109/SEQUEN.1997.666900
    """
    shingles = {
        i: frozenset(_shingles(words))
        for i, words in enumerate(notes)
        if len(words) >= SHORTEST_NOTE
    }
    rng = np.random.default_rng(0)  # the hash functions, the same every time
    factors = rng.integers(1, int(_PRIME), size=(2, _BANDS * _DEPTH, 1), dtype=np.uint64)
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for i, numbers in shingles.items():
        values = np.fromiter(numbers, dtype=np.uint64)
        signature = ((factors[0] * values + factors[1]) % _PRIME).min(axis=1)
        for band, part in enumerate(signature.reshape(_BANDS, _DEPTH)):
            buckets.setdefault((band, part.tobytes()), []).append(i)
    seen = set()
    for members in buckets.values():
        # Of thousands that a template puts into one bucket, only neighbours are compared.
        is_small = len(members) <= _SMALL_BUCKET
        for pair in combinations(members, 2) if is_small else pairwise(members):
            if pair not in seen:
                seen.add(pair)
                first, second = shingles[pair[0]], shingles[pair[1]]
                alike = len(first & second) / len(first | second)
                if alike >= ALIKE_NOTES:
                    yield *pair, alike


def _shingles(words: Sequence[str]) -> Iterator[int]:
    for i in range(len(words) - _SHINGLE + 1):
        text = " ".join(words[i : i + _SHINGLE]).encode("utf-8", "surrogatepass")
        yield int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") % int(_PRIME)


# -- tables ----------------------------------------------------------------------------


def row_keys(columns: Sequence[Sequence[Hashable | None]]) -> list[tuple[Hashable, ...] | None]:
    """Return the cells of each row, None where others may well be equal by chance.

    A chance twin is expected as often as the product of the shares of a row's values
    says, as if columns were independent: two patients of one age and sex are no surprise,
    two with the same seven laboratory values are.
    """
    n_rows = len(columns[0]) if columns else 0
    surprise = np.zeros(n_rows)
    for cells in columns:
        counts: dict[Hashable | None, int] = {}
        for cell in cells:
            counts[cell] = counts.get(cell, 0) + 1
        surprise -= [0.0 if c is None else float(np.log(counts[c] / n_rows)) for c in cells]
    telling = n_rows * np.exp(-surprise) < _CHANCE
    return [
        tuple(cells) if tells else None
        for tells, cells in zip(telling.tolist(), zip(*columns, strict=True), strict=True)
    ]
