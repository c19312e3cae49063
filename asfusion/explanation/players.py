"""Shapley values of any cooperative game, over many rows at once.

A game is a function of coalitions: given C of them as a boolean array of shape (C, P), True
where a player takes part, it returns C payoffs, or C payoffs for each of N rows. What a
player is (a lab value, a modality, a region) and what stands in for one that is absent is
the caller's affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any, Literal, TypeAlias

import numpy as np

from asfusion._checks import check_choice, check_integer
from asfusion.explanation._coalitions import (
    Floats,
    Game,
    Masks,
    check_budget,
    check_enumerable,
    check_payoffs,
    draw_pairs,
    play,
    solve_pairs,
)

Method: TypeAlias = Literal["auto", "exact", "kernel", "permutation"]

AUTO_EXACT = 10
"""Up to this many players, `shapley` with ``method="auto"`` plays every coalition."""


@dataclass(frozen=True, eq=False)
class ShapleyResult:
    """Shapley values, and how they were come by.

    Parameters
    ----------
    values : ndarray of shape (P,) or (P, N)
        What each player adds, in the unit of the game's payoff. They sum to
        ``full - base``.
    errors : ndarray of the shape of `values`, or None
        Standard errors from the sampling of coalitions; None where nothing was sampled, so
        that the values are exact.
    base : ndarray of shape () or (N,)
        The payoff when no player takes part.
    full : ndarray of shape () or (N,)
        The payoff when all do.
    method : {"exact", "kernel", "permutation"}
        The solver.
    n_evaluations : int
        Coalitions that were played.

    Examples
    --------
    >>> found = shapley(lambda masks: 5.0 + masks @ [1.0, 2.0], 2)
    >>> found.values.tolist(), float(found.base), float(found.full), found.errors
    ([1.0, 2.0], 5.0, 8.0, None)
    """

    values: Floats
    errors: Floats | None
    base: Floats
    full: Floats
    method: str
    n_evaluations: int


def all_subsets(n_players: int) -> Masks:
    """Return every coalition; bit i of a row's number says whether player i takes part.

    Parameters
    ----------
    n_players : int
        P, from 1 to 20.

    Returns
    -------
    ndarray of bool, shape (2**P, P)
        The first row is the empty coalition, the last one the full.

    Raises
    ------
    ConfigurationError
        If `n_players` is not an integer from 1 to 20.

    Examples
    --------
    >>> all_subsets(2).astype(int).tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    count = check_enumerable(n_players)
    bits: Masks = (np.arange(2**count)[:, None] >> np.arange(count)) & 1 == 1
    return bits


def play_all(game: Game, n_players: int, *, batch: int | None = None) -> Floats:
    """Play every coalition once, in the order that `exact_shapley` reads.

    Parameters
    ----------
    game : callable
        ``game(masks) -> payoffs``, see `shapley`.
    n_players : int
        P, from 1 to 20.
    batch : int or None
        Most coalitions in one call of `game`; None plays all in one.

    Returns
    -------
    ndarray of shape (2**P,) or (2**P, N)
        The payoffs, in the order of `all_subsets`.

    Raises
    ------
    ConfigurationError
        If `n_players` or `batch` cannot be used.
    ShapeError
        If the game does not return one payoff, or one row of payoffs, for each coalition.
    InputError
        If a payoff is not a finite number.

    Examples
    --------
    >>> play_all(lambda masks: masks @ [1.0, 2.0], 2).tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    return play(game, all_subsets(n_players), batch)


def exact_shapley(values_of_all_subsets: Any) -> Floats:
    """Return Shapley values from the payoffs of all coalitions.

    Parameters
    ----------
    values_of_all_subsets : array_like of shape (2**P, ...)
        Payoffs; bit i of the index says whether player i takes part.

    Returns
    -------
    ndarray of shape (P, ...)
        The Shapley value of each player, in the unit of the payoffs.

    Raises
    ------
    ShapeError
        If the first axis is not 2**P long for a P from 1 to 20.
    InputError
        If a payoff is not a finite number.

    References
    ----------
    Shapley LS. A value for n-person games. Contributions to the Theory of Games II, 1953.
    doi:10.1515/9781400881970-018

    Examples
    --------
    Two players that are worth 1 and 2 alone and 6 together:

    >>> exact_shapley([0.0, 1.0, 2.0, 6.0]).tolist()
    [2.5, 3.5]
    """
    payoffs, n_players = check_payoffs(values_of_all_subsets)
    numbers = np.arange(2**n_players)
    sizes = np.bitwise_count(numbers)
    weights = np.array([1 / (n_players * comb(n_players - 1, s)) for s in range(n_players)])
    values = np.empty((n_players, *payoffs.shape[1:]))
    for i in range(n_players):
        without = numbers[(numbers >> i) & 1 == 0]
        gains = payoffs[without | (1 << i)] - payoffs[without]
        values[i] = np.tensordot(weights[sizes[without]], gains, axes=1)
    return values


def shapley_interactions(values_of_all_subsets: Any) -> Floats:
    """Return the pairwise Shapley interaction index, with main effects on the diagonal.

    The index of a pair is split evenly between its two cells, and the diagonal holds what
    is left of each player's Shapley value, so that rows sum to `exact_shapley`: the reading
    of the package shap.

    Parameters
    ----------
    values_of_all_subsets : array_like of shape (2**P, ...)
        Payoffs; bit i of the index says whether player i takes part.

    Returns
    -------
    ndarray of shape (P, P, ...)
        Symmetric in the first two axes, in the unit of the payoffs.

    Raises
    ------
    ShapeError
        If the first axis is not 2**P long for a P from 1 to 20.
    InputError
        If a payoff is not a finite number.

    References
    ----------
    Grabisch M, Roubens M. An axiomatic approach to the concept of interaction among players
    in cooperative games. International Journal of Game Theory 1999.
    doi:10.1007/s001820050125

    Lundberg SM et al. From local explanations to global understanding with explainable AI
    for trees. Nature Machine Intelligence 2020. doi:10.1038/s42256-019-0138-9

    Examples
    --------
    Two players that are worth 1 and 2 alone and 6 together gain 3 by meeting:

    >>> shapley_interactions([0.0, 1.0, 2.0, 6.0]).tolist()
    [[1.0, 1.5], [1.5, 2.0]]
    """
    payoffs, n_players = check_payoffs(values_of_all_subsets)
    result = np.zeros((n_players, n_players, *payoffs.shape[1:]))
    numbers = np.arange(2**n_players)
    sizes = np.bitwise_count(numbers)
    weights = [1 / ((n_players - 1) * comb(n_players - 2, s)) for s in range(n_players - 1)]
    for i, j in combinations(range(n_players), 2):
        one, other = 1 << i, 1 << j
        without = numbers[numbers & (one | other) == 0]
        surplus = payoffs[without | one | other] - payoffs[without | one]
        surplus -= payoffs[without | other] - payoffs[without]
        index = np.tensordot(np.array(weights)[sizes[without]], surplus, axes=1)
        result[i, j] = result[j, i] = index / 2
    diagonal = np.arange(n_players)
    result[diagonal, diagonal] = exact_shapley(payoffs) - result.sum(axis=1)
    return result


def kernel_shap(
    game: Game,
    n_players: int,
    *,
    n_coalitions: int | Literal["auto"] = "auto",
    seed: int = 0,
    batch: int | None = None,
) -> ShapleyResult:
    """Estimate Shapley values by weighted least squares on sampled coalitions.

    Small and large coalitions, which weigh most, are all played while the budget allows;
    the rest are drawn, each with its complement. The values sum to ``full - base`` exactly,
    whatever was drawn. All rows of the game share the same coalitions.

    Parameters
    ----------
    game : callable
        ``game(masks) -> payoffs``, see `shapley`.
    n_players : int
        P, at least 1.
    n_coalitions : int or "auto"
        Most coalitions to play, the empty and the full one among them. From 2**P on, all
        are played and the values are exact. At least ``4 * P + 2``, or 2**P if that is
        less. "auto" takes ``2 * P + 2048``.
    seed : int
        Seeds the draw.
    batch : int or None
        Most coalitions in one call of `game`; None plays all in one.

    Returns
    -------
    ShapleyResult
        With standard errors, unless all coalitions were played. The errors are themselves
        estimates: on the smallest budgets they come out somewhat small.

    Raises
    ------
    ConfigurationError
        If a parameter cannot be used.
    ShapeError
        If the game does not return one payoff, or one row of payoffs, for each coalition.
    InputError
        If a payoff is not a finite number.

    References
    ----------
    Lundberg SM, Lee SI. A unified approach to interpreting model predictions. NeurIPS 2017.
    doi:10.48550/arXiv.1705.07874

    Covert I, Lee SI. Improving KernelSHAP: practical Shapley value estimation via linear
    regression. AISTATS 2021. doi:10.48550/arXiv.2012.01536

    Examples
    --------
    >>> found = kernel_shap(lambda masks: masks @ [1.0, 2.0, 3.0], 3)
    >>> found.values.round(6).tolist(), found.n_evaluations
    ([1.0, 2.0, 3.0], 8)
    """
    count = check_integer(n_players, "n_players", minimum=1)
    budget = check_budget(n_coalitions, count)
    rng = np.random.default_rng(check_integer(seed, "seed", minimum=0))
    pairs = draw_pairs(count, budget, rng)
    # One evaluation serves a coalition that was drawn again.
    masks, place = np.unique(pairs.masks, axis=0, return_inverse=True)
    edges = np.array([np.zeros(count, bool), np.ones(count, bool)])
    played = play(game, np.concatenate([edges, masks, ~masks]), batch)
    flat = played.reshape(len(played), -1)
    here, there = np.split(flat[2:], 2)
    values, variance = solve_pairs(pairs, (here - there)[place.ravel()], flat[1] - flat[0])
    shape = (count, *played.shape[1:])
    return ShapleyResult(
        values=values.reshape(shape),
        errors=None if variance is None else np.sqrt(variance).reshape(shape),
        base=played[0],
        full=played[1],
        method="kernel",
        n_evaluations=len(played),
    )


def permutation_shapley(
    game: Game,
    n_players: int,
    *,
    n_permutations: int = 50,
    seed: int = 0,
    batch: int | None = None,
) -> ShapleyResult:
    """Estimate Shapley values from random orders, each walked forwards and backwards.

    Unbiased for any game; the two walks of an order cancel much of each other's error.

    Parameters
    ----------
    game : callable
        ``game(masks) -> payoffs``, see `shapley`.
    n_players : int
        P, at least 1.
    n_permutations : int
        Orders to draw, at least 2. Each plays ``2 * (P - 1)`` coalitions.
    seed : int
        Seeds the draw.
    batch : int or None
        Most coalitions in one call of `game`; None plays all in one.

    Returns
    -------
    ShapleyResult
        With standard errors of the mean over orders, rough below some 50 orders.

    Raises
    ------
    ConfigurationError
        If a parameter cannot be used.
    ShapeError
        If the game does not return one payoff, or one row of payoffs, for each coalition.
    InputError
        If a payoff is not a finite number.

    References
    ----------
    Mitchell R et al. Sampling permutations for Shapley value estimation. Journal of Machine
    Learning Research 2022. doi:10.48550/arXiv.2104.12199

    Examples
    --------
    >>> found = permutation_shapley(lambda masks: masks @ [1.0, 2.0, 3.0], 3)
    >>> found.values.round(6).tolist(), found.n_evaluations
    ([1.0, 2.0, 3.0], 202)
    """
    count = check_integer(n_players, "n_players", minimum=1)
    n_orders = check_integer(n_permutations, "n_permutations", minimum=2)
    rng = np.random.default_rng(check_integer(seed, "seed", minimum=0))
    orders = rng.permuted(np.tile(np.arange(count), (n_orders, 1)), axis=1)
    joined_at = np.argsort(orders, axis=1)
    steps = np.arange(1, count)
    forward = (joined_at[:, None, :] < steps[:, None]).reshape(-1, count)
    edges = np.array([np.zeros(count, bool), np.ones(count, bool)])
    played = play(game, np.concatenate([edges, forward, ~forward]), batch)
    flat = played.reshape(len(played), -1)
    walks = np.empty((2, n_orders, count + 1, flat.shape[1]))
    walks[:, :, 1:-1] = flat[2:].reshape(2, n_orders, count - 1, flat.shape[1])
    # The complements of a walk's coalitions are the walk back, from the full one down.
    walks[:, :, [0, -1]] = np.array([flat[[0, 1]], flat[[1, 0]]])[:, None]
    gains = (np.diff(walks[0], axis=1) - np.diff(walks[1], axis=1)) / 2
    by_player = np.take_along_axis(gains, joined_at[:, :, None], axis=1)
    shape = (count, *played.shape[1:])
    return ShapleyResult(
        values=by_player.mean(axis=0).reshape(shape),
        errors=(by_player.std(axis=0, ddof=1) / np.sqrt(n_orders)).reshape(shape),
        base=played[0],
        full=played[1],
        method="permutation",
        n_evaluations=len(played),
    )


def shapley(
    game: Game,
    n_players: int,
    *,
    method: Method = "auto",
    n_coalitions: int | Literal["auto"] = "auto",
    n_permutations: int = 50,
    seed: int = 0,
    batch: int | None = None,
) -> ShapleyResult:
    """Return the Shapley values of a game.

    Parameters
    ----------
    game : callable
        ``game(masks) -> payoffs``. `masks` is a boolean array of shape (C, P), True where a
        player takes part; the payoffs are finite numbers of shape (C,), or (C, N) for N
        rows that are played at once.
    n_players : int
        P, at least 1.
    method : {"auto", "exact", "kernel", "permutation"}
        "exact" plays all 2**P coalitions; "kernel" is `kernel_shap`, "permutation" is
        `permutation_shapley`; "auto" is exact up to `AUTO_EXACT` players and kernel above.
    n_coalitions : int or "auto"
        Budget of `kernel_shap`.
    n_permutations : int
        Orders that `permutation_shapley` draws.
    seed : int
        Seeds the draw of the sampling solvers.
    batch : int or None
        Most coalitions in one call of `game`; None plays all in one.

    Returns
    -------
    ShapleyResult
        Values in the unit of the payoffs, players first.

    Raises
    ------
    ConfigurationError
        If a parameter cannot be used.
    ShapeError
        If the game does not return one payoff, or one row of payoffs, for each coalition.
    InputError
        If a payoff is not a finite number.

    Examples
    --------
    >>> def game(masks):
    ...     return masks @ [1.0, 2.0, 0.0] + 3.0 * (masks[:, 0] & masks[:, 1])
    >>> found = shapley(game, 3)
    >>> found.method, found.values.round(6).tolist(), float(found.full)
    ('exact', [2.5, 3.5, 0.0], 6.0)
    """
    count = check_integer(n_players, "n_players", minimum=1)
    chosen = check_choice(method, "method", ("auto", "exact", "kernel", "permutation"))
    if chosen == "permutation":
        return permutation_shapley(
            game, count, n_permutations=n_permutations, seed=seed, batch=batch
        )
    if chosen == "kernel" or (chosen == "auto" and count > AUTO_EXACT):
        return kernel_shap(game, count, n_coalitions=n_coalitions, seed=seed, batch=batch)
    payoffs = play_all(game, count, batch=batch)
    return ShapleyResult(
        values=exact_shapley(payoffs),
        errors=None,
        base=payoffs[0],
        full=payoffs[-1],
        method="exact",
        n_evaluations=len(payoffs),
    )
