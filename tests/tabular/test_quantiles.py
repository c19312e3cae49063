"""Quantiles of many columns at once are those of each column alone, as numpy has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asfusion.tabular.quantiles import (
    SortedColumns,
    center_and_scale,
    centers_and_scales,
    weighted_quantile,
)

NAN = float("nan")
cells = st.sampled_from([NAN, -0.0, 0.0, 1.0, 1.5, -7.25, 1e-300, 1e308, -1e308])
tables = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=12)
)


def _alone(column: Any, weights: Any, q: float) -> float:
    known = ~np.isnan(column)
    found = np.quantile(column[known], q, weights=weights[known], method="inverted_cdf")
    return float(found)


@given(tables, st.booleans(), st.floats(0.01, 1.0))
def test_every_column_has_its_own_quantile(
    rows: list[list[float]], weighted: bool, q: float
) -> None:
    values = np.asarray(rows)
    values[0, np.isnan(values).all(axis=0)] = 3.0
    # Powers of two: their sums are exact in any order of equal cells.
    weights = 2.0 ** (np.arange(len(values)) % 5 - 2) if weighted else np.ones(len(values))
    ordered = SortedColumns(values, weights)
    for level in (q, 0.25, 0.5, 0.75, 1.0):
        expected = [_alone(column, weights, level) for column in values.T]
        np.testing.assert_array_equal(ordered.quantile(level), expected)
    alone = [center_and_scale(c[~np.isnan(c)], weights[~np.isnan(c)]) for c in values.T]
    np.testing.assert_array_equal(np.transpose(centers_and_scales(values, weights)), alone)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 30, 97])
def test_shares_of_many_rows_are_those_of_numpy(n: int) -> None:
    values = np.random.default_rng(n).permutation(np.arange(float(n)))
    for q in np.linspace(0.0, 1.0, 33):
        expected = _alone(values, np.ones(n), q)
        assert weighted_quantile(values, q, np.ones(n)) == expected
        assert weighted_quantile(values, q, np.full(n, 0.5)) == expected


def test_spread_where_most_cells_are_the_same() -> None:
    values = np.array([[0.0, 7.0, 0.1 + 0.2, 1e308, NAN]] * 9 + [[20.0, 7.0, 0.3, -1e308, 4.0]])
    centers, scales = centers_and_scales(values, np.ones(10))
    assert centers.tolist() == [0.0, 7.0, 0.1 + 0.2, 1e308, 4.0]
    # The standard deviation; nothing, as is what rounding leaves; more than a float holds.
    assert scales.tolist() == pytest.approx([6.0, 1.0, 1.0, np.finfo(float).max, 1.0])


def test_the_sign_of_a_zero_does_not_depend_on_the_order_of_rows() -> None:
    for values in ([0.0, -0.0, -0.0], [-0.0, -0.0, 0.0]):
        assert not np.signbit(weighted_quantile(np.asarray(values), 0.5, np.ones(3)))
