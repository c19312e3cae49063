"""How late fusion combines decisions, against sums done by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asfusion.estimators._combine import Stacker
from asfusion.targets._pools import (
    inverse_variances,
    pooling_weights,
    product_of_experts,
    weighted_mean,
)
from asfusion.targets.classes import Classes


def test_the_mean_is_over_what_is_present():
    decisions = np.array([[[0.2], [0.6], [np.nan]], [[0.2], [np.nan], [np.nan]]])
    present = np.array([[True, True, False], [True, False, False]])
    equal = weighted_mean(decisions, present, np.full(3, 1 / 3))
    np.testing.assert_allclose(equal, [[0.4], [0.2]])
    uneven = weighted_mean(decisions, present, np.array([3.0, 1.0, 9.0]))
    np.testing.assert_allclose(uneven, [[0.3], [0.2]])
    nothing_weighs = weighted_mean(decisions, present, np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(nothing_weighs, [[0.4], [0.2]])


def test_the_product_is_bayes_rule():
    prior = np.array([0.8, 0.2])
    one, two = np.array([0.5, 0.5]), np.array([0.3, 0.7])
    joint = prior * (one / prior) * (two / prior)
    got = product_of_experts(np.array([[one, two]]), np.array([[True, True]]), prior)
    np.testing.assert_allclose(got, [joint / joint.sum()])
    alone = product_of_experts(np.array([[one, two]]), np.array([[False, True]]), prior)
    np.testing.assert_allclose(alone, [two])
    nobody = product_of_experts(np.array([[one, two]]), np.array([[False, False]]), prior)
    np.testing.assert_allclose(nobody, [prior])


@given(hnp.arrays(float, (4, 3, 3), elements=st.floats(0, 1)), hnp.arrays(bool, (4, 3)))
def test_the_product_is_always_a_distribution(decisions, present):
    got = product_of_experts(decisions, present, np.array([0.5, 0.3, 0.2]))
    np.testing.assert_allclose(got.sum(axis=1), 1.0)
    assert (got >= 0).all()


def test_pooling_trusts_the_modality_that_knows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    good = np.where(y == 1, 0.85, 0.15)
    noise = rng.uniform(0.05, 0.95, 400)
    decisions = np.stack([np.c_[1 - p, p] for p in (good, noise)], axis=1)
    present = np.ones((400, 2), dtype=bool)
    weights = pooling_weights(decisions, present, y, np.ones(400))
    assert weights[0] > 0.9 and weights.sum() == pytest.approx(1.0)


def test_inverse_variances_are_the_gaussian_product():
    y = np.zeros((4, 1))
    y[:, 0] = [1, 2, 3, 4]
    decisions = np.stack([y + 1.0, y + 2.0, np.full_like(y, np.nan)], axis=1)
    present = np.array([[True, True, False]] * 4)
    weights = inverse_variances(decisions, present, y, np.ones(4))
    np.testing.assert_allclose(weights, [0.8, 0.2, 0.0])


def test_stacking_uses_evidence_where_there_is_any():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    p = np.where(y == 1, 0.9, 0.1)
    decisions = np.stack([np.c_[1 - p, p], np.full((300, 2), 0.5)], axis=1)
    present = np.stack([rng.random(300) < 0.8, np.ones(300, dtype=bool)], axis=1)
    stacker = Stacker(Classes().fit(np.array([0, 1])), np.array([0.5, 0.5]))
    model = stacker.fit(decisions, present, y, np.ones(300))
    got = stacker.predict(model, decisions, present)[:, 1]
    assert ((got > 0.5) == y)[present[:, 0]].all()
    assert np.ptp(got[~present[:, 0]]) == pytest.approx(0.0)
