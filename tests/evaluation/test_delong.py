"""DeLong's interval and test equal their definition, in any order and with any ties."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from asfusion.evaluation.delong import area_covariance, delong_interval, delong_test
from asfusion.exceptions import InputError


def by_pairs(y, scores, groups):
    """Return areas and their covariance from every pair of rows, as the papers define them."""
    positive, negative = np.flatnonzero(y), np.flatnonzero(~y)
    wins = [
        (s[positive][:, None] > s[negative]) + 0.5 * (s[positive][:, None] == s[negative])
        for s in scores
    ]
    areas = np.array([w.mean() for w in wins])
    names = np.unique(groups)
    m, n = len(positive), len(negative)
    up = np.array(
        [
            [sum(w.mean(axis=1)[groups[positive] == g] - a) for g in names]
            for w, a in zip(wins, areas, strict=True)
        ]
    )
    down = np.array(
        [
            [sum(w.mean(axis=0)[groups[negative] == g] - a) for g in names]
            for w, a in zip(wins, areas, strict=True)
        ]
    )
    i10, i01 = len(np.unique(groups[positive])), len(np.unique(groups[negative]))
    s10 = i10 / ((i10 - 1) * m) * up @ up.T
    s01 = i01 / ((i01 - 1) * n) * down @ down.T
    s11 = len(names) / (len(names) - 1) * up @ down.T
    return areas, s10 / m + s01 / n + (s11 + s11.T) / (m * n)


def make(seed, n=40, n_groups=12, decimals=1):
    rng = np.random.default_rng(seed)
    groups = np.unique(rng.integers(0, n_groups, n), return_inverse=True)[1]
    y = rng.random(n) < 0.4
    scores = np.round(rng.normal(size=(2, n)) + 0.8 * y, decimals)
    return y, scores, groups


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([0, 1, 8]))
def test_areas_and_covariance_equal_their_definition(seed, grouped, decimals):
    y, scores, groups = make(seed, decimals=decimals)
    groups = groups if grouped else np.arange(len(y))
    assume(min(len(np.unique(groups[y])), len(np.unique(groups[~y]))) >= 2)
    areas, covariance = area_covariance(y, scores, groups)
    expected = by_pairs(y, scores, groups)
    np.testing.assert_allclose(areas, expected[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(covariance, expected[1], rtol=0, atol=1e-12)


def test_rows_alone_give_delongs_own_formula():
    y, scores, _ = make(1)
    _, covariance = area_covariance(y, scores, np.arange(len(y)))
    pairs = [(s[y][:, None] > s[~y]) + 0.5 * (s[y][:, None] == s[~y]) for s in scores]
    first = np.cov([p.mean(axis=1) for p in pairs]) / y.sum()
    second = np.cov([p.mean(axis=0) for p in pairs]) / (~y).sum()
    np.testing.assert_allclose(covariance, first + second, rtol=0, atol=1e-12)


@given(st.integers(0, 10_000))
def test_monotone_transforms_change_nothing(seed):
    y, (score, _), groups = make(seed)
    assume(y.any() and not y.all())
    first = delong_interval(y, score, groups=groups)
    again = delong_interval(y, np.exp(score) * 3 - 7, groups=groups)
    np.testing.assert_allclose(
        [first.low, first.high, first.estimate], [again.low, again.high, again.estimate]
    )
    order = np.random.default_rng(seed).permutation(len(y))
    turned = delong_interval(y[order], score[order], groups=groups[order])
    np.testing.assert_allclose([first.low, first.high], [turned.low, turned.high])


def test_interval_is_the_normal_one_within_zero_and_one():
    y, scores, groups = make(3, n=200)
    found = delong_interval(y, scores[0], groups=groups, confidence=0.9)
    area, covariance = area_covariance(y, scores[:1], groups)
    assert found.estimate == pytest.approx(roc_auc_score(y, scores[0]), abs=1e-12)
    limits = norm.interval(0.9, area[0], covariance[0, 0] ** 0.5)
    assert (found.low, found.high) == pytest.approx(limits, abs=1e-12)
    assert delong_interval([0, 1, 0, 1], [0.1, 0.9, 0.5, 0.4]).high == 1.0


def test_repeated_rows_of_a_patient_add_no_evidence():
    y, scores, _ = make(4, n=60)
    many, names = np.repeat(np.arange(60), 5), np.arange(60)
    once = delong_interval(y, scores[0])
    clustered = delong_interval(y[many], scores[0][many], groups=names[many])
    assert (clustered.low, clustered.high) == pytest.approx((once.low, once.high), abs=1e-12)
    naive = delong_interval(y[many], scores[0][many])
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


@pytest.mark.parametrize(
    ("y", "score", "groups"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], None),
        ([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], None),
        ([0, 0, 0, 1], [0.1, 0.6, 0.3, 0.4], None),
        ([0, 1, 0, 1], [0.1, 0.6, 0.7, 0.4], [0, 0, 0, 0]),
    ],
    ids=["perfect", "constant", "one positive", "one patient"],
)
def test_without_a_variance_there_are_no_limits(y, score, groups):
    found = delong_interval(y, score, groups=groups)
    assert np.isfinite(found.estimate) and np.isnan(found.low) and np.isnan(found.high)


def test_paired_test_uses_that_rows_are_the_same():
    y, scores, groups = make(5, n=300, n_groups=200, decimals=6)
    close = scores[0] + 0.02 * scores[1]
    test = delong_test(y, scores[0], close, groups=groups)
    _, covariance = area_covariance(y, np.stack([scores[0], close]), groups)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    gap = roc_auc_score(y, scores[0]) - roc_auc_score(y, close)
    assert (test.first - test.second, test.difference.estimate) == pytest.approx((gap, gap))
    assert test.statistic == pytest.approx(gap / error)
    assert test.p_value == pytest.approx(2 * norm.sf(abs(gap / error)))
    assert test.difference.high - test.difference.low < 0.2 * error + 4 * error
    turned = delong_test(y, close, scores[0], groups=groups)
    assert turned.p_value == pytest.approx(test.p_value)


def test_equal_orders_have_no_test():
    y, scores, _ = make(6)
    test = delong_test(y, scores[0], np.exp(scores[0]))
    assert test.difference.estimate == 0 and np.isnan(test.p_value)


def test_p_values_are_uniform_where_nothing_differs():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        y = rng.random(150) < 0.4
        shared = rng.normal(size=150) + y
        found.append(delong_test(y, *(shared + rng.normal(size=(2, 150)))).p_value)
    assert np.mean(np.asarray(found) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.asarray(found) < 0.5) == pytest.approx(0.5, abs=0.08)


def test_no_pair_is_formed():
    rng = np.random.default_rng(0)
    y = rng.random(400_000) < 0.3  # 3e10 pairs
    found = delong_interval(y, rng.normal(size=len(y)) + y)
    assert found.high - found.low < 0.01


@pytest.mark.parametrize(
    ("y", "score", "message"),
    [
        ([1, 1, 1], [1, 2, 3], "y: expected one 0 or 1 .* both of them present"),
        ([0, 1, 2], [1, 2, 3], "y: expected one 0 or 1"),
        (1, [1], "y: expected 0 entries"),
        ([0, 1, None], [1, 2, 3], "y: expected a value for every row, got 1 missing"),
        ([0, 1, 1], [1, 2], "scores: expected 3 entries, one per row, got 2"),
        ([0, 1, 1], [1, 2, np.nan], "scores: expected a value for every row"),
        ([0, 1, 1], [1, 2, np.inf], "scores: expected one finite number per row"),
        ([0, 1, 1], ["a", "b", "c"], "scores: expected one finite number per row"),
    ],
)
def test_unusable_input_is_refused(y, score, message):
    with pytest.raises(InputError, match=message):
        delong_interval(y, score)
