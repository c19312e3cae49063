"""Decision curves equal dcurves, and a loop over resampled patients."""

import warnings

import numpy as np
import pandas as pd
import pytest

from asfusion.evaluation._decision import DecisionCurve, decision_curve, percent_grid, where_useful
from asfusion.evaluation._inputs import Judged
from asfusion.evaluation.intervals import draw_counts, percentile_interval
from asfusion.evaluation.metrics import binary_scores

GRID = percent_grid(0.01, 0.99)


def make(n=240, n_groups=90, seed=0):
    rng = np.random.default_rng(seed)
    groups = np.unique(rng.integers(0, n_groups, n), return_inverse=True)[1]
    y = (rng.random(n) < 0.3).astype(int)
    p = np.round(1 / (1 + np.exp(-rng.normal(1.5 * y - 1, 1.0))), 2)
    return Judged("binary", y, p, ("0", "1"), groups, True)


@pytest.mark.parametrize("prevalence", [None, 0.1])
def test_curve_equals_dcurves(prevalence):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dcurves import dca

        judged = make()
        table = pd.DataFrame({"y": judged.y, "p": judged.predicted})
        found = dca(table, "y", ["p"], thresholds=GRID, prevalence=prevalence)
    ours = decision_curve(judged, GRID, prevalence, n_bootstrap=2, confidence=0.95, seed=0)
    assert ours["threshold"] == GRID.tolist()
    for name, model in (("net_benefit", "p"), ("treat_all", "all")):
        expected = found.loc[found["model"] == model, "net_benefit"].to_numpy()
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("prevalence", [None, 0.1])
def test_replicates_equal_a_loop_over_resampled_rows(prevalence):
    judged = make()
    counts = np.concatenate(list(draw_counts(judged.n_groups, 6, 1, width=10)))
    drawn = DecisionCurve(judged, GRID, prevalence)(counts)[0]
    for replicate, count in enumerate(counts):
        rows = np.repeat(np.arange(len(judged)), count[judged.groups].astype(int))
        for at in (0, 19, 49, 98):
            scores = binary_scores(
                judged.y[rows], judged.predicted[rows], threshold=GRID[at], prevalence=prevalence
            )
            assert drawn[replicate, at] == pytest.approx(scores["net_benefit"], abs=1e-12)


def test_band_is_that_of_each_threshold():
    judged = make()
    options = {"confidence": 0.9, "seed": 3, "n_bootstrap": 200}
    found = decision_curve(judged, GRID[:30], None, **options)
    counts = np.concatenate(list(draw_counts(judged.n_groups, 200, 3, width=10)))
    drawn = DecisionCurve(judged, GRID[:30], None)(counts)[0]
    expected = percentile_interval(found["net_benefit"][9], drawn[:, 9], 0.9)
    assert (found["low"][9], found["high"][9]) == (expected.low, expected.high)


def test_grid_is_whole_percent():
    assert percent_grid(0.05, 0.4).tolist() == [k / 100 for k in range(5, 41)]
    assert percent_grid(0.62, 0.99).tolist() == [k / 100 for k in range(62, 100)]


def test_useful_thresholds_in_words():
    curve = {"threshold": GRID, "treat_all": 0.3 - GRID}
    some = np.where((GRID > 0.095) & (GRID < 0.605), 0.31, -0.1)
    told = where_useful({**curve, "net_benefit": some})
    assert told == "at thresholds from 10 to 60 %, of 1 to 99 %"
    for none in (-np.ones(99), np.maximum(0.3 - GRID, 0.0)):  # worse, and no better
        assert where_useful({**curve, "net_benefit": none}) == "at no threshold from 1 to 99 %"
    gaps = np.where(np.arange(99) % 2, 0.4, -1.0)
    assert where_useful({**curve, "net_benefit": gaps}) == (
        "at 49 of the 99 thresholds from 1 to 99 %"
    )
