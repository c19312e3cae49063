"""Cut a note into words, and score it with any of its words left out.

Dimensions: B texts of a batch, P players (words, or chunks of neighbouring words), S subsets.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import comb
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import InputError, ShapeError
from asfusion.notes._sentences import find_sentences

Score = Callable[[list[str]], Any]
Offsets = tuple[int, int]

_HYPHENS_AND_APOSTROPHES = frozenset("-'\u2010\u2011\u2019")
_INVISIBLE_INSIDE = frozenset("\u00ad\u200c\u200d")  # soft hyphen and joiners
_DECIMAL_SIGNS = frozenset(".,")
_PAUSES = frozenset(",;:()")


class Values(NamedTuple):
    """One value per player, and how sure it is."""

    values: NDArray[np.float64]
    standard_errors: tuple[float, ...]
    total: float


def find_words(text: str) -> list[Offsets]:
    words: list[Offsets] = []
    start: int | None = None
    for place, character in enumerate(text):
        if start is None:
            start = place if character.isalnum() else None
        elif not (character.isalnum() or _stays_inside(text, place)):
            words.append((start, place))
            start = None
    if start is not None:
        words.append((start, len(text)))
    return words


def _stays_inside(text: str, place: int) -> bool:
    """Return whether a sign right behind a part of a word is part of it too."""
    character, following = text[place], text[place + 1 : place + 2]
    if character in _DECIMAL_SIGNS:
        return text[place - 1].isdecimal() and following.isdecimal()
    if character in _HYPHENS_AND_APOSTROPHES or character in _INVISIBLE_INSIDE:
        return following.isalnum()
    return unicodedata.category(character).startswith("M")


def group_words(text: str, words: Sequence[Offsets], max_players: int) -> list[Offsets]:
    """Return at most `max_players` runs of neighbouring words, none of which leaves its sentence.

    The longest sentences are cut, at a comma where there is one about half-way. Of more sentences
    than there may be runs, neighbours share one.
    """
    if len(words) <= max_players:
        return list(words)
    runs = _by_sentence(text, words)
    if len(runs) > max_players:
        edges = np.linspace(0, len(runs), max_players + 1).round().astype(int)
        runs = [[w for run in runs[a:b] for w in run] for a, b in pairwise(edges.tolist())]
    counts = [1] * len(runs)
    for _ in range(max_players - len(runs)):
        counts[max(range(len(runs)), key=lambda k: len(runs[k]) / counts[k])] += 1
    parts = [p for run, n in zip(runs, counts, strict=True) for p in _cut_run(text, run, n)]
    return [(part[0][0], part[-1][1]) for part in parts]


def _by_sentence(text: str, words: Sequence[Offsets]) -> list[list[Offsets]]:
    ends = [end for _, end, _ in find_sentences(text)]
    runs: list[list[Offsets]] = [[] for _ in range(len(ends) + 1)]
    for word in words:
        runs[bisect_right(ends, word[0])].append(word)
    return [run for run in runs if run]


def _cut_run(text: str, run: Sequence[Offsets], n_parts: int) -> list[Sequence[Offsets]]:
    """Return a run in parts as equal as can be, cut at a pause where one is near."""
    reach = len(run) // n_parts // 4
    edges = [0]
    for ideal in np.linspace(0, len(run), n_parts + 1).round().astype(int)[1:-1].tolist():
        near = range(max(edges[-1] + 1, ideal - reach), min(len(run) - 1, ideal + reach) + 1)
        pauses = [edge for edge in near if _has_pause(text, run[edge - 1], run[edge])]
        edges.append(min(pauses, key=lambda edge: abs(edge - ideal), default=ideal))
    return [run[first:last] for first, last in pairwise([*edges, len(run)])]


def _has_pause(text: str, word: Offsets, following: Offsets) -> bool:
    return any(sign in _PAUSES for sign in text[word[1] : following[0]])


def cut_text(text: str, spans: Sequence[Offsets]) -> list[str]:
    """Return one piece of text per player; joined, they are the whole text.

    Signs and spaces behind a word are its own up to the last space before the next word,
    so that ``CRP (high)`` is cut into ``CRP`` and ``(high)``. Without any player left the
    text is empty, which is what makes the values add up.
    """
    edges = [0]
    for (_, end), (start, _) in pairwise(spans):
        between = text[end:start]
        spaces = [place for place, sign in enumerate(between) if sign.isspace()]
        edges.append(end + spaces[-1] + 1 if spaces else start)
    edges.append(len(text))
    return [text[first:last] for first, last in pairwise(edges)]


def score_texts(score: Score, texts: Sequence[str], batch_size: int) -> NDArray[np.float64]:
    """Return the score of each text (B,), asked for in batches."""
    values = np.empty(len(texts))
    for first in range(0, len(texts), batch_size):
        batch = list(texts[first : first + batch_size])
        scores = np.asarray(score(batch), dtype=np.float64)
        if scores.shape != (len(batch),):
            msg = (
                f"score: expected one number per text, shape ({len(batch)},), got shape "
                f"{scores.shape}. Pick one class or output inside the function."
            )
            raise ShapeError(msg)
        if not np.isfinite(scores).all():
            msg = (
                "score: expected finite numbers, got NaN or infinity for "
                f"{int((~np.isfinite(scores)).sum())} of {len(batch)} texts with words left "
                "out. Note that the empty text is among those asked for."
            )
            raise InputError(msg)
        values[first : first + len(batch)] = scores
    return values


def delete_words(score: Score, pieces: Sequence[str], batch_size: int) -> Values:
    """Return what the score loses without each piece alone."""
    n_players = len(pieces)
    kept = np.vstack([np.ones((1, n_players), bool), np.zeros((1, n_players), bool)])
    kept = np.vstack([kept, ~np.eye(n_players, dtype=bool)])
    scores = _score_subsets(score, pieces, kept, batch_size)
    return Values(scores[0] - scores[2:], (), float(scores[0] - scores[1]))


def shapley_words(
    score: Score, pieces: Sequence[str], batch_size: int, *, n_samples: int, seed: int
) -> Values:
    """Return the Shapley value of each piece: exact where that costs no more than sampling."""
    n_players = len(pieces)
    if 2**n_players <= n_samples * n_players:
        return _exact(score, pieces, batch_size)
    orders = _antithetic_orders(n_players, n_samples, seed)
    ranks = np.argsort(orders, axis=1)
    steps = np.arange(n_players + 1)
    kept = ranks[:, None, :] < steps[None, :, None]
    scores = _score_subsets(score, pieces, kept.reshape(-1, n_players), batch_size)
    gains = np.diff(scores.reshape(len(orders), n_players + 1), axis=1)
    by_player = np.take_along_axis(gains, ranks, axis=1)
    # An order and its reverse depend on each other; pairs do not.
    pairs = by_player.reshape(-1, 2, n_players).mean(axis=1)
    errors = pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs))
    total = float(scores[n_players] - scores[0])
    return Values(pairs.mean(axis=0), tuple(errors.tolist()), total)


def _exact(score: Score, pieces: Sequence[str], batch_size: int) -> Values:
    """Return Shapley values by their definition, over all subsets."""
    n_players = len(pieces)
    numbers = np.arange(2**n_players)
    kept = (numbers[:, None] >> np.arange(n_players)) % 2 == 1
    scores = _score_subsets(score, pieces, kept, batch_size)
    weights = np.asarray([1 / (n_players * comb(n_players - 1, k)) for k in range(n_players)])
    sizes = kept.sum(axis=1)
    values = np.empty(n_players)
    for player in range(n_players):
        without = numbers[~kept[:, player]]
        gains = scores[without | (1 << player)] - scores[without]
        values[player] = weights[sizes[without]] @ gains
    return Values(values, (0.0,) * n_players, float(scores[-1] - scores[0]))


def _antithetic_orders(n_players: int, n_samples: int, seed: int) -> NDArray[np.int64]:
    """Return random orders (S, P), each followed by its reverse."""
    generator = np.random.default_rng(seed)
    drawn = [generator.permutation(n_players) for _ in range(-(-n_samples // 2))]
    return np.stack([order for one in drawn for order in (one, one[::-1])])


def _score_subsets(
    score: Score, pieces: Sequence[str], kept: NDArray[np.bool_], batch_size: int
) -> NDArray[np.float64]:
    """Return the score of each subset (S,); equal texts are scored once.

    Once is also what makes values add up exactly where a network's last bits depend on
    the batch.
    """
    rows: dict[str, int] = {}
    where = np.empty(len(kept), dtype=np.int64)
    for number, row in enumerate(kept):
        text = "".join(piece for piece, is_kept in zip(pieces, row, strict=True) if is_kept)
        where[number] = rows.setdefault(text, len(rows))
    return score_texts(score, list(rows), batch_size)[where]
