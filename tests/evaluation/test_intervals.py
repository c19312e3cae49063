"""Intervals resample groups, pair models, and leave out what is undefined."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from asfusion.evaluation.intervals import (
    bootstrap_scores,
    draw_counts,
    paired_difference,
    percentile_interval,
    score_intervals,
)
from asfusion.evaluation.metrics import (
    BinaryScorer,
    MulticlassScorer,
    RegressionScorer,
    binary_scores,
)


def make(n=150, n_groups=60, seed=0):
    rng = np.random.default_rng(seed)
    groups = np.unique(rng.integers(0, n_groups, n), return_inverse=True)[1]
    y = rng.random(n) < 0.5
    return y, 1 / (1 + np.exp(-rng.normal(y, 1.0))), groups


def test_counts_draw_as_many_groups_as_there_are():
    counts = np.concatenate(list(draw_counts(30, 400, 0, width=30)))
    assert counts.shape == (400, 30)
    assert (counts.sum(axis=1) == 30).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(30), abs=0.25)
    assert counts.var() == pytest.approx(1 - 1 / 30, abs=0.1)  # multinomial


def test_counts_depend_on_the_seed_alone():
    narrow = np.concatenate(list(draw_counts(50, 200, 3, width=50)))
    wide = np.concatenate(list(draw_counts(50, 200, 3, width=90_000)))
    assert (narrow == wide).all()
    other = np.concatenate(list(draw_counts(50, 200, 4, width=50)))
    assert (narrow != other).any()


def test_replicates_equal_a_loop_over_resampled_rows():
    y, p, groups = make()
    scorer = BinaryScorer(y, p, groups=groups)
    found = bootstrap_scores(scorer, n_bootstrap=40, seed=5, width=len(y))["auc"]
    counts = np.concatenate(list(draw_counts(scorer.n_groups, 40, 5, width=len(y))))
    for replicate, drawn in enumerate(counts):
        rows = np.concatenate(
            [np.tile(np.flatnonzero(groups == g), int(k)) for g, k in enumerate(drawn) if k]
        )
        assert found[replicate] == pytest.approx(roc_auc_score(y[rows], p[rows]), abs=1e-12)


@pytest.mark.parametrize("n", [60, 900])
def test_every_binary_replicate_equals_scores_of_resampled_rows(n):
    y, p, groups = make(n=n, n_groups=n // 2)
    scorer = BinaryScorer(y, p, threshold=0.4, groups=groups)
    found = bootstrap_scores(scorer, n_bootstrap=25, seed=2, width=n)
    counts = np.concatenate(list(draw_counts(scorer.n_groups, 25, 2, width=n)))
    for replicate, drawn in enumerate(counts):
        rows = np.repeat(np.arange(n), drawn[groups].astype(int))
        line = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky")
        slope = line.fit(np.log(p / (1 - p))[rows, None], y[rows]).coef_[0, 0]
        assert found["calibration_slope"][replicate] == pytest.approx(slope, abs=1e-8)
        for name, value in binary_scores(y[rows], p[rows], threshold=0.4).items():
            assert found[name][replicate] == pytest.approx(value, abs=1e-9, nan_ok=True), name


def test_gap_of_calibration_is_corrected_for_its_bias():
    rng = np.random.default_rng(0)
    p = rng.random(150)
    options = {"n_bootstrap": 300, "confidence": 0.95, "seed": 0, "width": 150}
    calibrated = BinaryScorer(rng.random(150) < p, p)
    found, replicates = score_intervals(calibrated, **options)
    plain = percentile_interval(found["ece"].estimate, replicates["ece"], 0.95)
    bias = np.median(replicates["ece"]) - plain.estimate
    assert plain.low > 0.02 and found["ece"].low == 0  # chance alone makes such gaps
    assert found["ece"].high == pytest.approx(plain.high - bias)
    extreme = BinaryScorer(rng.random(150) < 0.5, p)
    found, replicates = score_intervals(extreme, **options)
    plain = percentile_interval(found["ece"].estimate, replicates["ece"], 0.95)
    bias = np.median(replicates["ece"]) - plain.estimate
    assert found["ece"].low == pytest.approx(plain.low - 2 * bias) and found["ece"].low > 0.1


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_gap_by_chance_is_that_of_bins_around_what_the_rows_show(kind):
    y, p, groups = make(n=80, n_groups=30)
    if kind == "binary":
        scorer, right, top = BinaryScorer(y, p, groups=groups), y, p
    else:
        table = np.column_stack([p, (1 - p) * 0.6, (1 - p) * 0.4])
        names = ["a", "b", "c"]
        scorer = MulticlassScorer(np.where(y, 0, 1), table, names=names, groups=groups)
        right, top = table.argmax(axis=1) == np.where(y, 0, 1), table.max(axis=1)
    bins = np.minimum((top * 10).astype(int), 9)
    counts = next(draw_counts(scorer.n_groups, 7, 3, width=80))
    gaps = np.array(
        [np.bincount(bins, w * (right * 1.0 - top), 10) / w.sum() for w in counts[:, groups]]
    )
    as_is = np.bincount(bins, right * 1.0 - top, 10) / 80
    assert scorer.ece_by_chance(counts) == pytest.approx(np.abs(gaps - as_is).sum(axis=1))


def test_interval_is_the_central_share():
    interval = percentile_interval(50.0, np.arange(101.0), 0.9)
    assert (interval.low, interval.high) == pytest.approx((5.0, 95.0))
    assert (interval.estimate, interval.n_undefined) == (50.0, 0)


def test_undefined_replicates_are_left_out_and_counted():
    replicates = np.append(np.arange(101.0), [np.nan] * 7)
    interval = percentile_interval(50.0, replicates, 0.9)
    assert (interval.low, interval.high) == pytest.approx((5.0, 95.0))
    assert interval.n_undefined == 7


def test_infinite_replicates_count_as_large():
    replicates = np.append(np.arange(95.0), [np.inf] * 6)
    interval = percentile_interval(50.0, replicates, 0.9)
    assert (interval.low, interval.high) == pytest.approx((5.0, np.inf))
    assert interval.n_undefined == 0
    finite = np.random.default_rng(0).normal(size=500)
    found = percentile_interval(0.0, finite, 0.95)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(finite, [0.025, 0.975])))


def test_mostly_undefined_gives_no_interval():
    interval = percentile_interval(0.5, np.array([0.4, np.nan, np.nan]), 0.95)
    assert np.isnan(interval.low) and np.isnan(interval.high) and interval.n_undefined == 2
    assert np.isnan(percentile_interval(np.nan, np.ones(9), 0.95).low)


def test_few_positives_make_undefined_replicates():
    y = np.zeros(20, bool)
    y[:2] = True
    scorer = BinaryScorer(y, np.linspace(0.9, 0.1, 20))
    intervals, _ = score_intervals(scorer, n_bootstrap=500, confidence=0.95, seed=0, width=20)
    # Both positives are missed with probability (18 / 20) ** 20.
    assert intervals["auc"].n_undefined == pytest.approx(500 * 0.9**20, abs=25)
    assert intervals["auc"].estimate == 1.0
    assert intervals["accuracy"].n_undefined == 0


def test_repeated_visits_widen_the_interval():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(40), 8)
    error = rng.normal(size=40)[patient]
    rows = {"y": error[:, None], "predicted": 0 * error[:, None]}
    options = {"n_bootstrap": 500, "confidence": 0.95, "seed": 0, "width": 320}

    def width(groups):
        found = score_intervals(RegressionScorer(**rows, groups=groups), **options)[0]["mae"]
        return found.high - found.low

    assert width(patient) > 2 * width(None)


def test_difference_is_paired():
    y, p, groups = make()
    nearly = np.clip(p + 0.01 * (y - 0.5), 0, 1)
    scorers = [BinaryScorer(y, q, groups=groups) for q in (nearly, p)]
    options = {"n_bootstrap": 300, "confidence": 0.95, "seed": 0, "width": len(y)}
    (first, one), (second, two) = (score_intervals(scorer, **options) for scorer in scorers)
    difference = paired_difference(
        (first["auc"].estimate, second["auc"].estimate), (one["auc"], two["auc"]), 0.95
    )
    assert difference.estimate == pytest.approx(first["auc"].estimate - second["auc"].estimate)
    assert 0 < difference.low < difference.estimate < difference.high
    assert difference.high - difference.low < 0.3 * (first["auc"].high - first["auc"].low)
