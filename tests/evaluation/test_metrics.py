"""Scores equal scikit-learn's, one weighting at a time or many at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import label_binarize

from asfusion.evaluation.metrics import (
    SCORES,
    BinaryScorer,
    MulticlassScorer,
    RegressionScorer,
    binary_scores,
    multiclass_scores,
    regression_scores,
)

CLOSE = {"rtol": 0, "atol": 1e-9}


def binary_by_sklearn(y, p, w, threshold=0.5):
    called = p >= threshold
    logit = np.log(p / (1 - p))[:, None]
    line = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky").fit(logit, y, w)
    return {
        "auc": sk.roc_auc_score(y, p, sample_weight=w),
        "average_precision": sk.average_precision_score(y, p, sample_weight=w),
        "sensitivity": sk.recall_score(y, called, sample_weight=w),
        "specificity": sk.recall_score(y, called, pos_label=0, sample_weight=w),
        "ppv": sk.precision_score(y, called, sample_weight=w),
        "npv": sk.precision_score(y, called, pos_label=0, sample_weight=w),
        "balanced_accuracy": sk.balanced_accuracy_score(y, called, sample_weight=w),
        "accuracy": sk.accuracy_score(y, called, sample_weight=w),
        "log_loss": sk.log_loss(y, p, sample_weight=w),
        "brier": sk.brier_score_loss(y, p, sample_weight=w),
        "calibration_slope": float(line.coef_[0, 0]),
    }


def make_binary(seed=0, n=300, ties=True):
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.4
    p = 1 / (1 + np.exp(-rng.normal(y, 1.3)))
    if ties:
        p = np.clip(np.round(p, 1), 0.05, 0.95)
    return y, p, rng.integers(0, 4, n) + 0.0 * p


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize("weighted", [True, False])
def test_binary_scores_equal_scikit_learn(ties, threshold, weighted):
    y, p, w = make_binary(ties=ties)
    w = w if weighted else np.ones(len(y))
    scores = binary_scores(y, p, threshold=threshold, sample_weight=w)
    for name, expected in binary_by_sklearn(y, p, w, threshold).items():
        assert scores[name] == pytest.approx(expected, abs=1e-9), name


def test_recalibration_solves_the_score_equations():
    y, p, w = make_binary()
    z = np.log(p / (1 - p))
    scores = binary_scores(y, p, sample_weight=w)
    shifted = 1 / (1 + np.exp(-(z + scores["calibration_intercept"])))
    assert np.sum(w * (y - shifted)) == pytest.approx(0, abs=1e-8)
    # The slope has an intercept of its own: find it by bisection.
    low, high = -20.0, 20.0
    for _ in range(200):
        middle = (low + high) / 2
        mean = 1 / (1 + np.exp(-(middle + scores["calibration_slope"] * z)))
        low, high = (middle, high) if np.sum(w * (y - mean)) > 0 else (low, middle)
    assert np.sum(w * (y - mean) * z) == pytest.approx(0, abs=1e-6)


def reweighted(strength):
    """Draws of weights that move the calibration by little or by much."""
    y, p, _ = make_binary(n=400, ties=False)
    z = np.log(p / (1 - p))
    rng = np.random.default_rng(2)
    tilts = strength * rng.normal(size=(20, 2))
    noise = 1 + 0.1 * strength * rng.random((20, len(y)))
    return y, p, z, np.exp(tilts[:, :1] * (y - 0.5) + tilts[:, 1:] * (y - 0.5) * np.sign(z)) * noise


@pytest.mark.parametrize("strength", [0.01, 0.1, 0.5, 2.0])
def test_recalibration_of_many_weightings_solves_the_score_equations(strength):
    """Near the start an expansion answers alone, further away it helps, and far it is no help."""
    y, p, z, weights = reweighted(strength)
    scores = BinaryScorer(y, p)
    order = scores.ranking.order
    np.testing.assert_array_equal(np.sort(order), np.arange(len(y)))
    told = scores(weights)
    shifted = 1 / (1 + np.exp(-(z + told["calibration_intercept"][:, None])))
    np.testing.assert_allclose((weights * (y - shifted)).mean(axis=1), 0, atol=1e-9)
    for w, slope in zip(weights, told["calibration_slope"], strict=True):
        line = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky")
        assert slope == pytest.approx(line.fit(z[:, None], y, w).coef_[0, 0], abs=1e-7)


@pytest.mark.parametrize("rare", [True, False])
def test_recalibration_with_one_row_of_a_class(rare):
    p = np.array([0.2, 0.5, 0.4, 0.7, 0.3])
    y = np.array([0, 0, 1, 0, 0]) == rare
    z = np.log(p / (1 - p))
    scores = binary_scores(y, p)
    shifted = 1 / (1 + np.exp(-(z + scores["calibration_intercept"])))
    assert np.sum(y - shifted) == pytest.approx(0, abs=1e-9)
    line = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky").fit(z[:, None], y)
    assert scores["calibration_slope"] == pytest.approx(line.coef_[0, 0], abs=1e-7)


def test_calibration_of_known_truths():
    rng = np.random.default_rng(0)
    z = rng.normal(size=40_000)
    y = rng.random(len(z)) < 1 / (1 + np.exp(-z))
    right = binary_scores(y, 1 / (1 + np.exp(-z)))
    assert right["calibration_slope"] == pytest.approx(1, abs=0.05)
    assert right["calibration_intercept"] == pytest.approx(0, abs=0.05)
    assert right["ece"] < 0.01
    extreme = binary_scores(y, 1 / (1 + np.exp(-2 * z)))
    assert extreme["calibration_slope"] == pytest.approx(0.5, abs=0.03)
    low = binary_scores(y, 1 / (1 + np.exp(-(z - 1))))
    assert low["calibration_intercept"] == pytest.approx(1, abs=0.05)


def test_expected_calibration_error_equals_its_definition():
    y, p, w = make_binary(ties=False)
    bins = np.minimum((p * 10).astype(int), 9)
    expected = sum(abs(np.sum(w[bins == b] * (y - p)[bins == b])) for b in range(10)) / w.sum()
    assert binary_scores(y, p, sample_weight=w)["ece"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("y", "p", "undefined"),
    [
        ([1, 1, 1], [0.2, 0.6, 0.8], {"auc", "specificity", "balanced_accuracy", "lr_positive",
                                      "lr_negative", "calibration_slope",
                                      "calibration_intercept"}),
        ([0, 0, 0], [0.2, 0.6, 0.8], {"auc", "average_precision", "sensitivity", "lr_positive",
                                      "lr_negative", "balanced_accuracy", "calibration_slope",
                                      "calibration_intercept"}),
        ([0, 1, 0], [0.5, 0.5, 0.5], {"calibration_slope", "npv", "lr_negative"}),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], {"calibration_slope"}),
    ],
    ids=["only positive", "only negative", "one prediction", "separated"],
)  # fmt: skip
def test_what_is_undefined_is_nan(y, p, undefined):
    scores = binary_scores(y, p)
    assert {name for name, value in scores.items() if np.isnan(value)} == undefined


def test_certain_predictions_have_finite_calibration():
    scores = binary_scores([0, 1, 0, 1, 1, 0], [0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    assert all(np.isfinite(value) for value in scores.values())


@given(st.integers(0, 10_000), st.integers(4, 40), st.booleans())
def test_any_predictions_give_defined_or_nan_scores(seed, n, coarse):
    rng = np.random.default_rng(seed)
    y = rng.random(n) < rng.random()
    p = rng.random(n) ** rng.integers(1, 8)
    p = np.round(p) if coarse else p
    scores = binary_scores(y, p, sample_weight=rng.integers(0, 3, n) * 1.0)
    bounded = set(SCORES) - {"log_loss", "calibration_slope", "calibration_intercept"}
    bounded -= {"lr_positive", "lr_negative", "net_benefit"}
    for name, value in scores.items():
        if name in bounded and np.isfinite(value):
            assert -1e-12 <= value <= 1 + 1e-12, name


@given(st.integers(0, 10_000))
def test_auc_is_the_probability_of_the_right_order(seed):
    rng = np.random.default_rng(seed)
    y, p = rng.random(30) < 0.5, np.round(rng.random(30), 1)
    if y.all() or not y.any():
        return
    pairs = p[y][:, None] - p[~y][None, :]
    expected = np.mean((pairs > 0) + 0.5 * (pairs == 0))
    assert binary_scores(y, p)["auc"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("weighted", [True, False])
def test_multiclass_scores_equal_scikit_learn(weighted):
    rng = np.random.default_rng(0)
    n = 200
    y = rng.integers(0, 3, n)
    p = rng.dirichlet([1, 1, 1], n) + 0.4 * np.eye(3)[y]
    p /= p.sum(axis=1, keepdims=True)
    w = rng.random(n) if weighted else np.ones(n)
    scores = multiclass_scores(y, p, sample_weight=w, names=["a", "b", "c"])
    called, one_hot = p.argmax(axis=1), label_binarize(y, classes=[0, 1, 2])
    areas = [sk.roc_auc_score(one_hot[:, k], p[:, k], sample_weight=w) for k in range(3)]
    bins = np.minimum((p.max(axis=1) * 10).astype(int), 9)
    gap = w * ((called == y) - p.max(axis=1))
    expected = {
        "auc": np.mean(areas),
        "auc[b]": areas[1],
        "average_precision": sk.average_precision_score(one_hot, p, sample_weight=w),
        "balanced_accuracy": sk.balanced_accuracy_score(y, called, sample_weight=w),
        "accuracy": sk.accuracy_score(y, called, sample_weight=w),
        "log_loss": sk.log_loss(y, p, sample_weight=w),
        "brier": np.average(((p - one_hot) ** 2).sum(axis=1), weights=w),
        "ece": sum(abs(gap[bins == b].sum()) for b in range(10)) / w.sum(),
    }
    if not weighted:
        expected["auc"] = sk.roc_auc_score(y, p, multi_class="ovr")
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-9), name


def test_classes_may_be_numbered_by_fractions_that_are_whole():
    table = np.random.default_rng(0).dirichlet(np.ones(3), 30)
    y = np.arange(30) % 3
    assert multiclass_scores(y.astype(float), table) == multiclass_scores(y, table)


def test_a_class_without_rows_leaves_the_mean_undefined():
    scores = multiclass_scores([0, 1, 0], [[0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.5, 0.4, 0.1]])
    assert np.isnan(scores["auc"])
    assert scores["auc[0]"] == 1.0
    assert scores["accuracy"] == 1.0


@pytest.mark.parametrize("n_targets", [1, 2])
def test_regression_scores_equal_scikit_learn(n_targets):
    rng = np.random.default_rng(0)
    y = 1000 + rng.normal(size=(80, n_targets))
    guess, w = y + 0.5 * rng.normal(size=y.shape), rng.random(80)
    scores = regression_scores(y, guess, sample_weight=w)
    assert scores["mae"] == pytest.approx(sk.mean_absolute_error(y, guess, sample_weight=w))
    assert scores["rmse"] == pytest.approx(sk.root_mean_squared_error(y, guess, sample_weight=w))
    assert scores["r2"] == pytest.approx(sk.r2_score(y, guess, sample_weight=w), abs=1e-9)
    assert np.isnan(regression_scores([2.0, 2.0], [1.0, 2.0])["r2"])


def scorers(groups):
    rng = np.random.default_rng(1)
    n = len(groups)
    y, p, _ = make_binary(n=n)
    three = rng.integers(0, 3, n)
    table = rng.dirichlet([1, 1, 1], n)
    target = rng.normal(size=(n, 1))
    return {
        "binary": (
            BinaryScorer(y, p, groups=groups, prevalence=0.1),
            lambda w: binary_scores(y, p, sample_weight=w, prevalence=0.1),
        ),
        "multiclass": (
            MulticlassScorer(
                three, table, names=["0", "1", "2"], ranks=np.arange(3), groups=groups
            ),
            lambda w: multiclass_scores(three, table, ranks=[0, 1, 2], sample_weight=w),
        ),
        "regression": (
            RegressionScorer(target, 0.5 * target, mic=0.3, groups=groups),
            lambda w: regression_scores(target, 0.5 * target, mic=0.3, sample_weight=w),
        ),
    }


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_many_counts_at_once_equal_one_weighting_each(task):
    rng = np.random.default_rng(0)
    groups = np.unique(rng.integers(0, 60, 120), return_inverse=True)[1]
    scorer, alone = scorers(groups)[task]
    counts = rng.integers(0, 3, (7, scorer.n_groups)).astype(float)
    counts[0] = 0.0
    together = scorer(counts)
    for replicate in range(1, 7):
        for name, value in alone(counts[replicate][groups]).items():
            assert together[name][replicate] == pytest.approx(value, abs=1e-9, nan_ok=True)
    assert all(np.isnan(values[0]) for values in together.values())


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_calibration_error_by_chance_is_that_of_gaps_around_those_of_the_rows(task):
    rng = np.random.default_rng(0)
    groups = np.unique(rng.integers(0, 60, 120), return_inverse=True)[1]
    if task == "binary":
        y, p, _ = make_binary(n=120)
        scorer = BinaryScorer(y, p, groups=groups)
    else:
        classes, table = rng.integers(0, 3, 120), rng.dirichlet([1, 1, 1], 120)
        scorer = MulticlassScorer(classes, table, names=["0", "1", "2"], groups=groups)
        y, p = table.argmax(axis=1) == classes, table.max(axis=1)
    counts = rng.integers(0, 3, (7, scorer.n_groups)).astype(float)
    bins = np.minimum((p * 10).astype(int), 9)[:, None] == np.arange(10)
    gaps = bins * (y - p)[:, None]
    for told, count in zip(scorer.ece_by_chance(counts), counts, strict=True):
        drawn = np.average(gaps, axis=0, weights=count[groups])
        assert told == pytest.approx(np.abs(drawn - gaps.mean(axis=0)).sum(), abs=1e-12)


def test_thresholds_of_each_row_call_it_and_net_benefit_keeps_one_price():
    y, p, w = make_binary()
    cuts = np.where(np.arange(len(y)) % 2, 0.3, 0.6)
    scorer = BinaryScorer(y, p, threshold=0.4, cuts=cuts)
    told = {name: value[0] for name, value in scorer(w[None, :]).items()}
    called, plain = p >= cuts, binary_scores(y, p, threshold=0.4, sample_weight=w)
    assert told["accuracy"] == pytest.approx(np.average(called == y, weights=w))
    assert told["sensitivity"] == pytest.approx(np.average(called[y], weights=w[y]))
    assert told["ppv"] == pytest.approx(np.average(y[called], weights=w[called]))
    for name in ("net_benefit", "auc", "brier", "ece", "calibration_slope"):
        assert told[name] == plain[name], name


def test_steps_of_the_curve_are_at_the_distinct_probabilities():
    y, p, _ = make_binary()
    assert BinaryScorer(y, p).ranking.thresholds.tolist() == sorted(set(p), reverse=True)


def test_every_score_has_a_label():
    y, p, _ = make_binary()
    named = {*binary_scores(y, p), *regression_scores([1, 2], [1, 2], mic=1)}
    ordered = multiclass_scores([0, 1, 2], np.eye(3), ranks=[0, 1, 2])
    named |= {n for n in ordered if "[" not in n}
    assert named | {"auc_delong"} == set(SCORES)


def test_likelihood_ratios_equal_scikit_learn():
    y, p, w = make_binary()
    scores = binary_scores(y, p, threshold=0.4, sample_weight=w)
    expected = sk.class_likelihood_ratios(y, p >= 0.4, sample_weight=w)
    assert (scores["lr_positive"], scores["lr_negative"]) == pytest.approx(expected, abs=1e-9)


def test_likelihood_ratios_over_zero_are_infinite():
    assert binary_scores([0, 1, 1], [0.2, 0.6, 0.4])["lr_positive"] == np.inf
    assert binary_scores([0, 1, 1], [0.7, 0.6, 0.4])["lr_negative"] == np.inf


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("prevalence", [None, 0.05, 0.7])
def test_predictive_values_and_net_benefit_follow_bayes(threshold, prevalence):
    y, p, _ = make_binary()
    scores = binary_scores(y, p, threshold=threshold, prevalence=prevalence)
    share = y.mean() if prevalence is None else prevalence
    sens, spec = np.mean(p[y] >= threshold), np.mean(p[~y] < threshold)
    true, false = sens * share, (1 - spec) * (1 - share)
    spared, missed = spec * (1 - share), (1 - sens) * share
    assert scores["ppv"] == pytest.approx(true / (true + false), abs=1e-12)
    assert scores["npv"] == pytest.approx(spared / (spared + missed), abs=1e-12)
    benefit = true - false * threshold / (1 - threshold)
    assert scores["net_benefit"] == pytest.approx(benefit, abs=1e-12)
    plain = binary_scores(y, p, threshold=threshold)
    for name in set(scores) - {"ppv", "npv", "net_benefit"}:
        assert scores[name] == pytest.approx(plain[name], nan_ok=True), name


def test_net_benefit_at_the_ends():
    y, p, _ = make_binary()
    assert binary_scores(y, p, threshold=0.0)["net_benefit"] == pytest.approx(y.mean())
    assert np.isnan(binary_scores(y, p, threshold=1.0)["net_benefit"])


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("ranks", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_kappas_equal_scikit_learn(weighted, ranks):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 200)
    p = rng.dirichlet(np.ones(4), 200) + 0.4 * np.eye(4)[y]
    p /= p.sum(axis=1, keepdims=True)
    w = rng.random(200) if weighted else np.ones(200)
    scores = multiclass_scores(y, p, ranks=ranks, sample_weight=w)
    true, called = np.asarray(ranks)[y], np.asarray(ranks)[p.argmax(axis=1)]
    for name in ("linear", "quadratic"):
        expected = sk.cohen_kappa_score(true, called, weights=name, sample_weight=w)
        assert scores[f"kappa_{name}"] == pytest.approx(expected, abs=1e-9)
    expected = sk.mean_absolute_error(true, called, sample_weight=w)
    assert scores["class_error"] == pytest.approx(expected, abs=1e-12)
    unordered = multiclass_scores(y, p, sample_weight=w)
    assert unordered == {name: scores[name] for name in unordered}


def test_kappa_of_one_class_is_undefined():
    scores = multiclass_scores([1, 1], [[0.1, 0.8, 0.1]] * 2, ranks=[0, 1, 2])
    assert np.isnan(scores["kappa_linear"]) and scores["class_error"] == 0.0


def test_share_within_the_minimal_important_change():
    scores = regression_scores([1.1, 2.0, 3.0, 4.0], [2.1, 2.5, 1.0, 5.1], mic=1.0)
    assert scores["within_mic"] == 0.5  # 2.1 - 1.1 is a rounding error above 1
    large = regression_scores([1_000_000.1], [3_000_000.3], mic=2_000_000.2)
    assert large["within_mic"] == 1.0
    two = regression_scores([[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 3.0]], mic=[0.5, 2.0])
    assert two["within_mic"] == 0.25
