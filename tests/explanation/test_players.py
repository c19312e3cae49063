"""Solvers of cooperative games: the axioms, exact answers, and honest errors."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from asfusion.exceptions import ConfigurationError, InputError, ShapeError
from asfusion.explanation.players import (
    AUTO_EXACT,
    all_subsets,
    exact_shapley,
    kernel_shap,
    permutation_shapley,
    play_all,
    shapley,
    shapley_interactions,
)

payoff = st.floats(-100, 100, allow_subnormal=False)


def payoffs_of(n_players, *trailing):
    return arrays(float, (2**n_players, *trailing), elements=payoff)


some_payoffs = st.integers(1, 5).flatmap(payoffs_of)


def lookup(payoffs):
    """A game that reads its payoffs from a table."""
    payoffs = np.asarray(payoffs)
    n_players = len(payoffs).bit_length() - 1

    def game(masks):
        return payoffs[masks @ (1 << np.arange(n_players))]

    return game


def by_orders(payoffs):
    """Shapley values by their definition: the mean gain over all orders of joining."""
    n_players = len(payoffs).bit_length() - 1
    gains = np.zeros((n_players, *np.shape(payoffs)[1:]))
    orders = list(permutations(range(n_players)))
    for order in orders:
        coalition = 0
        for player in order:
            joined = coalition | (1 << player)
            gains[player] += payoffs[joined] - payoffs[coalition]
            coalition = joined
    return gains / len(orders)


class Additive:
    """Additive effects with a few interactions, over many rows, counting its calls."""

    def __init__(self, n_players, n_rows, seed=0):
        rng = np.random.default_rng(seed)
        self.main = rng.normal(size=(n_players, n_rows))
        self.pairs = [(0, 1), (2, 5), (3, 7), (8, 11)]
        self.pairs = [pair for pair in self.pairs if max(pair) < n_players]
        self.joint = rng.normal(size=(len(self.pairs), n_rows)) * 2
        self.calls = []

    def __call__(self, masks):
        self.calls.append(len(masks))
        value = 0.5 + masks @ self.main
        for (i, j), effect in zip(self.pairs, self.joint, strict=True):
            value = value + np.outer(masks[:, i] & masks[:, j], effect)
        return value

    @property
    def truth(self):
        values = self.main.copy()
        for (i, j), effect in zip(self.pairs, self.joint, strict=True):
            values[[i, j]] += effect / 2
        return values


def saturating(n_players, n_rows, seed=0):
    """A logistic game: interactions of every order."""
    rng = np.random.default_rng(seed)
    slopes = rng.normal(size=(n_players, n_rows))
    return lambda masks: 1 / (1 + np.exp(-(masks @ slopes)))


# --- exact -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_players", [1, 2, 3, 4, 5, 6])
def test_exact_is_the_mean_over_all_orders(n_players):
    payoffs = np.random.default_rng(n_players).normal(size=(2**n_players, 2))
    np.testing.assert_allclose(exact_shapley(payoffs), by_orders(payoffs), atol=1e-12)


@given(some_payoffs)
def test_efficiency(payoffs):
    total = exact_shapley(payoffs).sum()
    assert total == pytest.approx(payoffs[-1] - payoffs[0], abs=1e-9)


@given(payoffs_of(4), st.permutations(range(4)))
def test_symmetry_values_follow_the_players_when_these_are_renamed(payoffs, order):
    masks = all_subsets(4)
    renamed = lookup(payoffs)(masks[:, order])
    np.testing.assert_allclose(exact_shapley(renamed)[order], exact_shapley(payoffs), atol=1e-9)


@given(payoffs_of(3), st.integers(0, 3), payoff)
def test_a_player_who_only_adds_a_constant_gets_it(payoffs, place, worth):
    masks = all_subsets(4)
    others = lookup(payoffs)(np.delete(masks, place, axis=1))
    values = exact_shapley(others + worth * masks[:, place])
    assert values[place] == pytest.approx(worth, abs=1e-9)
    np.testing.assert_allclose(np.delete(values, place), exact_shapley(payoffs), atol=1e-9)


@given(payoffs_of(3), payoffs_of(3), payoff)
def test_linearity(one, other, factor):
    together = exact_shapley(one + factor * other)
    apart = exact_shapley(one) + factor * exact_shapley(other)
    np.testing.assert_allclose(together, apart, atol=1e-7)


def test_exact_keeps_trailing_axes():
    payoffs = np.random.default_rng(0).normal(size=(8, 3, 2))
    values = exact_shapley(payoffs)
    assert values.shape == (3, 3, 2)
    np.testing.assert_allclose(values[:, 1, 1], exact_shapley(payoffs[:, 1, 1]))


def test_a_large_constant_costs_no_digits():
    payoffs = np.random.default_rng(0).normal(size=1024)
    np.testing.assert_allclose(exact_shapley(payoffs + 1e6), exact_shapley(payoffs), atol=1e-8)


# --- interactions ------------------------------------------------------------------------


@given(some_payoffs)
def test_interactions_are_symmetric_and_their_rows_sum_to_the_values(payoffs):
    found = shapley_interactions(payoffs)
    np.testing.assert_allclose(found, found.T)
    np.testing.assert_allclose(found.sum(axis=1), exact_shapley(payoffs), atol=1e-9)


def test_interaction_of_a_pair_is_what_it_gains_by_meeting():
    payoffs = play_all(Additive(6, 3, seed=1), 6)
    game = Additive(6, 3, seed=1)
    found = shapley_interactions(payoffs)
    np.testing.assert_allclose(found[0, 1], game.joint[0] / 2)
    np.testing.assert_allclose(found[5, 2], game.joint[1] / 2)
    np.testing.assert_allclose(found[0, 2], 0, atol=1e-12)
    np.testing.assert_allclose(found[range(6), range(6)], game.main)


def test_interaction_index_is_its_defining_mean_over_orders():
    # In a random order, with the pair glued together, the expected gain of gluing.
    payoffs = np.random.default_rng(0).normal(size=16)
    total = 0.0
    orders = list(permutations(["pair", 2, 3]))
    for order in orders:
        before = sum(1 << player for player in order[: order.index("pair")])
        total += payoffs[before | 3] - payoffs[before | 1] - payoffs[before | 2] + payoffs[before]
    assert shapley_interactions(payoffs)[0, 1] == pytest.approx(total / len(orders) / 2)


def test_interactions_of_one_player_are_its_value():
    assert shapley_interactions([1.0, 3.0]).tolist() == [[2.0]]


# --- kernel ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_players", [1, 2, 3, 4, 7, 10])
def test_kernel_on_all_coalitions_is_exact(n_players):
    payoffs = np.random.default_rng(n_players).normal(size=(2**n_players, 3))
    found = kernel_shap(lookup(payoffs), n_players, n_coalitions=2**n_players)
    np.testing.assert_allclose(found.values, exact_shapley(payoffs), atol=1e-10)
    assert found.errors is None
    assert found.n_evaluations == 2**n_players


@given(st.integers(5, 7).flatmap(payoffs_of), st.integers(0, 1000), st.integers(30, 127))
@settings(max_examples=50)
def test_kernel_is_efficient_and_keeps_its_budget(payoffs, seed, budget):
    n_players = len(payoffs).bit_length() - 1
    found = kernel_shap(lookup(payoffs), n_players, n_coalitions=budget, seed=seed)
    assert found.values.sum() == pytest.approx(payoffs[-1] - payoffs[0], abs=1e-8)
    assert found.n_evaluations <= budget
    if found.errors is None:
        np.testing.assert_allclose(found.values, exact_shapley(payoffs), atol=1e-8)


def test_kernel_needs_few_coalitions_where_effects_meet_at_most_in_pairs():
    # A pairwise effect is antisymmetric within pairs of complements up to a linear term, so
    # that paired regression is exact.
    game = Additive(12, 5)
    found = kernel_shap(game, 12, n_coalitions=200)
    np.testing.assert_allclose(found.values, game.truth, atol=1e-9)
    assert found.errors.max() < 1e-8


def test_kernel_converges():
    game = saturating(12, 20)
    exact = exact_shapley(play_all(game, 12))
    miss = [
        np.abs(kernel_shap(game, 12, n_coalitions=n, seed=3).values - exact).max()
        for n in (60, 600, 3000)
    ]
    assert miss[0] > miss[1] > miss[2]
    assert miss[2] < 6e-3


@pytest.mark.parametrize("solver", ["kernel", "permutation"])
def test_standard_errors_cover(solver):
    game = saturating(11, 40, seed=4)
    exact = exact_shapley(play_all(game, 11))
    scores = []
    for seed in range(60):
        found = shapley(
            game, 11, method=solver, n_coalitions=250, n_permutations=100, seed=seed, batch=None
        )
        scores.append((found.values - exact) / found.errors)
    scores = np.array(scores)
    assert 0.92 < (np.abs(scores) < 1.96).mean() < 0.97
    assert 0.85 < scores.std() < 1.25
    assert np.abs(scores.mean()) < 0.1


def test_standard_errors_hold_up_on_the_smallest_budget():
    game = saturating(11, 40, seed=4)
    exact = exact_shapley(play_all(game, 11))
    runs = [kernel_shap(game, 11, n_coalitions=46, seed=seed) for seed in range(60)]
    scores = np.array([(run.values - exact) / run.errors for run in runs])
    assert 0.87 < (np.abs(scores) < 1.96).mean() < 0.97


def test_paired_draws_repeat_with_the_seed_and_differ_without():
    game = saturating(12, 2)
    one, same, other = (kernel_shap(game, 12, n_coalitions=100, seed=s).values for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_thirty_players_cost_one_big_call():
    game = Additive(30, 50)
    found = shapley(game, 30)
    assert found.method == "kernel"
    assert game.calls == [found.n_evaluations]
    assert 1500 < found.n_evaluations <= 2 * 30 + 2048
    assert found.values.shape == found.errors.shape == (30, 50)
    np.testing.assert_allclose(found.values, game.truth, atol=1e-9)


def test_batches_change_nothing_but_the_calls():
    game = Additive(12, 4)
    whole = kernel_shap(game, 12, n_coalitions=300)
    game.calls.clear()
    parts = kernel_shap(game, 12, n_coalitions=300, batch=64)
    assert max(game.calls) == 64
    assert sum(game.calls) == whole.n_evaluations
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-12)


def test_kernel_agrees_with_the_package_shap():
    shap = pytest.importorskip("shap")
    rng = np.random.default_rng(0)
    background, rows = np.zeros((1, 6)), rng.normal(size=(3, 6))

    def model(X):
        return X @ np.arange(1.0, 7) + 2 * X[:, 0] * X[:, 1] - X[:, 2] * X[:, 3] * X[:, 4]

    theirs = shap.KernelExplainer(model, background).shap_values(rows, silent=True)

    def game(masks):
        cells = np.where(masks[:, None], rows, 0.0)
        return model(cells.reshape(-1, 6)).reshape(len(masks), -1)

    for method in ("exact", "kernel"):
        np.testing.assert_allclose(shapley(game, 6, method=method).values.T, theirs, atol=1e-8)


def test_exact_agrees_with_captum():
    torch = pytest.importorskip("torch")
    captum = pytest.importorskip("captum.attr")
    row = torch.tensor([[1.0, -2.0, 0.5, 3.0]], dtype=torch.float64)

    def model(X):
        return X.sum(dim=1) + X[:, 0] * X[:, 1] * X[:, 3]

    payoffs = play_all(lambda masks: model(torch.as_tensor(masks) * row).numpy(), 4)
    sampled = captum.ShapleyValueSampling(model)
    orders = torch.tensor(list(permutations(range(4))))
    theirs = np.mean(
        [_walk(captum.FeatureAblation(model), model, row, order) for order in orders], axis=0
    )
    np.testing.assert_allclose(exact_shapley(payoffs), theirs, atol=1e-9)
    torch.manual_seed(0)
    rough = sampled.attribute(row, n_samples=400).numpy()[0]
    np.testing.assert_allclose(exact_shapley(payoffs), rough, atol=0.6)


def _walk(ablation, model, row, order):
    """Captum's ablation of one player after the other, in one order."""
    torch = pytest.importorskip("torch")
    left, values = row.clone(), np.zeros(row.shape[1])
    for player in order.tolist():
        values[player] = float(ablation.attribute(left)[0, player])
        left = left.clone()
        left[0, player] = torch.zeros((), dtype=left.dtype)
    return values


# --- permutations ------------------------------------------------------------------------


def test_permutations_are_efficient_and_exact_for_pairs():
    game = Additive(12, 3)
    found = permutation_shapley(game, 12, n_permutations=5)
    np.testing.assert_allclose(found.values, game.truth, atol=1e-9)
    np.testing.assert_allclose(found.values.sum(axis=0), found.full - found.base)
    assert found.n_evaluations == 2 + 5 * 2 * 11 == sum(game.calls)


@pytest.mark.parametrize("n_players", [1, 2, 3])
def test_permutations_of_few_players(n_players):
    payoffs = np.random.default_rng(0).normal(size=2**n_players)
    found = permutation_shapley(lookup(payoffs), n_players, n_permutations=400)
    allowed = 4 * found.errors + 1e-9
    assert (np.abs(found.values - exact_shapley(payoffs)) <= allowed).all()


# --- the dispatcher ----------------------------------------------------------------------


def test_auto_is_exact_for_few_players():
    game = saturating(AUTO_EXACT, 2)
    found = shapley(game, AUTO_EXACT)
    assert (found.method, found.n_evaluations, found.errors) == ("exact", 1024, None)
    np.testing.assert_allclose(found.values.sum(axis=0), found.full - found.base)
    assert shapley(saturating(AUTO_EXACT + 1, 2), AUTO_EXACT + 1).method == "kernel"


@pytest.mark.parametrize("method", ["exact", "kernel", "permutation"])
@pytest.mark.parametrize("n_rows", [None, 0, 1, 3])
def test_every_method_keeps_the_shape_of_the_game(method, n_rows):
    trailing = () if n_rows is None else (n_rows,)

    def game(masks):
        return np.zeros((len(masks), *trailing)) + masks.sum(axis=1)[(..., *[None] * len(trailing))]

    found = shapley(game, 6, method=method, n_coalitions=40)
    assert found.values.shape == (6, *trailing)
    assert found.base.shape == found.full.shape == trailing
    np.testing.assert_allclose(found.values, 1)
    if method != "exact":
        assert found.errors.shape == found.values.shape
        np.testing.assert_allclose(found.errors, 0, atol=1e-12)


# --- errors ------------------------------------------------------------------------------


def test_unknown_method():
    with pytest.raises(ConfigurationError, match=r"method: expected one of .*'kernal'.*'kernel'"):
        shapley(lambda masks: masks.sum(axis=1), 3, method="kernal")


@pytest.mark.parametrize("call", [play_all, kernel_shap, permutation_shapley, shapley])
def test_number_of_players(call):
    with pytest.raises(ConfigurationError, match="n_players: expected an integer of at least 1"):
        call(lambda masks: masks.sum(axis=1), 0)


def test_too_many_players_to_play_all():
    with pytest.raises(ConfigurationError, match=r"at most 20 .* got 21\. Use method='kernel'"):
        shapley(lambda masks: masks.sum(axis=1), 21, method="exact")


@pytest.mark.parametrize(
    ("call", "options", "match"),
    [
        (kernel_shap, {"n_coalitions": 41}, "n_coalitions: expected at least 42 for 10 players"),
        (kernel_shap, {"n_coalitions": "many"}, "n_coalitions: expected an integer"),
        (kernel_shap, {"seed": -1}, "seed: expected an integer of at least 0"),
        (kernel_shap, {"batch": 0}, "batch: expected an integer of at least 1"),
        (permutation_shapley, {"n_permutations": 1}, "n_permutations: .* at least 2, got 1"),
        (permutation_shapley, {"seed": "a"}, "seed: expected an integer"),
    ],
)
def test_options(call, options, match):
    with pytest.raises(ConfigurationError, match=match):
        call(lambda masks: masks.sum(axis=1), 10, **options)


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((4, 2, 2)), np.float64(1)])
def test_payoffs_of_the_wrong_shape(wrong):
    with pytest.raises(ShapeError, match=r"game: expected payoffs of shape \(4,\) or \(4, N\)"):
        play_all(lambda masks: wrong, 2)


def test_payoffs_that_change_shape_between_calls():
    def game(masks):
        return np.zeros((len(masks), 1 + int(masks[:, -1].any())))

    with pytest.raises(ShapeError, match="same shape of payoff in every call"):
        play_all(game, 3, batch=4)


def test_payoffs_that_are_not_finite():
    with (
        np.errstate(divide="ignore"),
        pytest.raises(InputError, match="game: expected finite payoffs, got 1 of 8"),
    ):
        shapley(lambda masks: np.log(masks.sum(axis=1)), 3)
    with pytest.raises(InputError, match="values_of_all_subsets: expected finite payoffs, got 2"):
        exact_shapley([0.0, np.nan, np.inf, 1.0])


@pytest.mark.parametrize("length", [0, 1, 3, 6])
@pytest.mark.parametrize("call", [exact_shapley, shapley_interactions])
def test_payoffs_of_no_number_of_players(call, length):
    with pytest.raises(ShapeError, match=rf"expected 2\*\*P payoffs .* got {length}"):
        call(np.zeros(length))
