"""Playing coalitions: which to play, what they paid, and values from paired ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, helmert

from asfusion._checks import check_integer
from asfusion.exceptions import ConfigurationError, InputError, ShapeError

Floats: TypeAlias = NDArray[np.float64]
Masks: TypeAlias = NDArray[np.bool_]
Game: TypeAlias = Callable[[Masks], Any]
Play: TypeAlias = Callable[[Masks], Floats]

MAX_EXACT = 20

_KERNEL_EVALUATIONS = 2048


@dataclass(frozen=True)
class Pairs:
    """Coalitions that each stand for themselves and their complement."""

    masks: Masks
    weights: Floats
    n_drawn: int
    """How many, counted from the end, were drawn; the others are all of their size."""


def draw_pairs(n_players: int, budget: int, rng: np.random.Generator) -> Pairs:
    """Return pairs that cost at most `budget` evaluations, besides the two edges."""
    sizes = np.arange(1, n_players // 2 + 1)
    totals = 2 * (n_players - 1) / (sizes * (n_players - sizes))
    totals[2 * sizes == n_players] /= 2  # this size is its own complement
    left = (budget - 2) // 2
    masks, weights = [np.zeros((0, n_players), bool)], [np.zeros(0)]
    done = 0
    for size, total in zip(sizes, totals, strict=True):
        n_pairs = comb(n_players, int(size)) // (2 if 2 * size == n_players else 1)
        expected = left * total / totals[done:].sum()
        # Drawing would meet each coalition of this size once or more: play them all instead.
        # Single players always are, which keeps the regression well posed.
        if n_pairs > left or (size > 1 and expected < n_pairs * (1 - 1e-8)):
            break
        masks.append(_all_of_size(n_players, int(size), n_pairs))
        weights.append(np.full(n_pairs, total / n_pairs))
        left -= n_pairs
        done += 1
    n_drawn = left if done < len(sizes) else 0
    if n_drawn:
        rest = totals[done:].sum()
        drawn = rng.choice(sizes[done:], size=n_drawn, p=totals[done:] / rest)
        ranks = rng.random((n_drawn, n_players)).argsort(axis=1).argsort(axis=1)
        masks.append(ranks < drawn[:, None])
        weights.append(np.full(n_drawn, rest / n_drawn))
    return Pairs(np.concatenate(masks), np.concatenate(weights), n_drawn)


def _all_of_size(n_players: int, size: int, n_pairs: int) -> Masks:
    """Return the first `n_pairs` coalitions of a size, in lexical order."""
    # Where a size is its own complement, the first half of this order holds player 0, and
    # the second half its complements.
    members = np.array(list(islice(combinations(range(n_players), size), n_pairs)))
    masks = np.zeros((n_pairs, n_players), bool)
    np.put_along_axis(masks, members, True, axis=1)
    return masks


def solve_pairs(pairs: Pairs, gaps: Floats, total: Floats) -> tuple[Floats, Floats | None]:
    """Return values (P, N) and their variances, from payoff gaps within pairs (pairs, N)."""
    n_players = pairs.masks.shape[1]
    values = np.broadcast_to(total / n_players, (n_players, len(total)))
    if not len(gaps):  # one player takes all
        return values.copy(), None
    # Coordinates orthogonal to (1, ..., 1) leave the sum of the values untouched. In them a
    # complement is the mirror image, so a pair is one equation on half its gap.
    basis = helmert(n_players).T
    design = pairs.masks @ basis
    target = gaps / 2 - (pairs.masks.mean(axis=1) - 0.5)[:, None] * total
    weighted = design * pairs.weights[:, None]
    factor = cho_factor(design.T @ weighted)
    shift = cho_solve(factor, weighted.T @ target)
    values = values + basis @ shift
    if not pairs.n_drawn:
        return values, None
    # Sandwich: only what was drawn varies, by its residuals and its pull on each value.
    drawn = slice(-pairs.n_drawn, None)
    solved = cho_solve(factor, weighted[drawn].T).T
    # A draw that the fit leans on has a residual too small by its leverage (as in HC3).
    leverage = (solved * design[drawn]).sum(axis=1, keepdims=True)
    residuals = (target[drawn] - design[drawn] @ shift) / (1 - leverage)
    pull = solved @ basis.T * pairs.n_drawn
    spread = (pull**2).T @ residuals**2 / pairs.n_drawn
    spread -= (pull.T @ residuals / pairs.n_drawn) ** 2
    return values, np.clip(spread, 0, None) / (pairs.n_drawn - 1)


def play(game: Game, masks: Masks, batch: int | None) -> Floats:
    """Return the payoffs of coalitions, checked."""
    step = len(masks) if batch is None else check_integer(batch, "batch", minimum=1)
    parts = [_payoffs(game, masks[start : start + step]) for start in range(0, len(masks), step)]
    shapes = sorted({part.shape[1:] for part in parts})
    if len(shapes) > 1:
        msg = (
            f"game: expected the same shape of payoff in every call, got {shapes}. "
            "Return an array of shape (C,) or (C, N) with a constant N."
        )
        raise ShapeError(msg)
    return np.concatenate(parts)


def in_steps(play: Play, step: int) -> Play:
    """Return a game that asks `play` of at most `step` coalitions at a time."""

    def whole(masks: Masks) -> Floats:
        starts = range(0, len(masks), max(1, step))
        return np.concatenate([play(masks[start : start + max(1, step)]) for start in starts])

    return whole


def _payoffs(game: Game, masks: Masks) -> Floats:
    found = np.asarray(game(masks), dtype=np.float64)
    if found.ndim not in (1, 2) or len(found) != len(masks):
        msg = (
            f"game: expected payoffs of shape ({len(masks)},) or ({len(masks)}, N) for "
            f"{len(masks)} coalitions, got {found.shape}. Return one payoff, or one row of "
            "payoffs, for each row of `masks`."
        )
        raise ShapeError(msg)
    _check_finite(found, "game")
    return found


def _check_finite(payoffs: Floats, name: str) -> None:
    bad = np.count_nonzero(~np.isfinite(payoffs))
    if bad:
        msg = (
            f"{name}: expected finite payoffs, got {bad} of {payoffs.size} that are not. "
            "Look for a model output that is NaN or infinite, such as the log-odds of 0 or 1."
        )
        raise InputError(msg)


def check_payoffs(values: Any) -> tuple[Floats, int]:
    payoffs = np.asarray(values, dtype=np.float64)
    length = len(payoffs) if payoffs.ndim else 0
    n_players = length.bit_length() - 1
    if not 1 <= n_players <= MAX_EXACT or length != 2**n_players:
        msg = (
            f"values_of_all_subsets: expected 2**P payoffs for 1 to {MAX_EXACT} players, "
            f"got {length}. `play_all` returns them in the right order."
        )
        raise ShapeError(msg)
    _check_finite(payoffs, "values_of_all_subsets")
    return payoffs, n_players


def check_enumerable(n_players: object) -> int:
    count = check_integer(n_players, "n_players", minimum=1)
    if count > MAX_EXACT:
        msg = (
            f"n_players: expected at most {MAX_EXACT} to play every coalition, got {count}. "
            "Use method='kernel' or 'permutation', or group the players."
        )
        raise ConfigurationError(msg)
    return count


def check_budget(n_coalitions: object, n_players: int) -> int:
    if n_coalitions == "auto":
        return min(2 * n_players + _KERNEL_EVALUATIONS, 1 << n_players)
    least = min(4 * n_players + 2, 1 << n_players)
    asked = check_integer(n_coalitions, "n_coalitions", minimum=1)
    if asked < least:
        msg = (
            f"n_coalitions: expected at least {least} for {n_players} players, got {asked}. "
            "Fewer do not determine the values and their errors."
        )
        raise ConfigurationError(msg)
    return min(asked, 1 << n_players)
