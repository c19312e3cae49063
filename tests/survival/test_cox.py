"""Cox regression against brute force, lifelines and what must hold for any data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from asfusion.exceptions import AsfusionWarning, ConfigurationError, InputError
from asfusion.survival import CoxRegression, _efron, _newton


def made(n_rows: int = 120, seed: int = 0, *, ties: bool = True) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 3))
    time = rng.exponential(np.exp(-X[:, 0] + 0.5 * X[:, 1]))
    end = rng.exponential(2.0, n_rows)
    seen = np.minimum(time, end)
    seen = np.ceil(seen * 8) / 8 if ties else seen
    return X, pd.DataFrame({"event": time <= end, "time": seen})


def partial_likelihood(coef: Any, X: Any, y: Any, weight: Any, ties: str) -> float:
    """Return the log partial likelihood, event time by event time."""
    risk, total = X @ coef, 0.0
    event, time = y["event"].to_numpy(), y["time"].to_numpy()
    for at in np.unique(time[event]):
        deaths, there = event & (time == at), time >= at
        n_deaths = int(deaths.sum())
        total += weight[deaths] @ risk[deaths]
        for k in range(n_deaths):
            share = k / n_deaths if ties == "efron" else 0.0
            exposed = weight[there] @ np.exp(risk[there])
            exposed -= share * (weight[deaths] @ np.exp(risk[deaths]))
            total -= weight[deaths].mean() * np.log(exposed)
    return float(total)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_coefficients_make_the_penalised_likelihood_largest(ties: Any, alpha: float) -> None:
    X, y = made()
    weight = np.random.default_rng(1).integers(1, 4, len(X)).astype(float)
    model = CoxRegression(alpha, ties=ties).fit(X, y, sample_weight=weight)

    def loss(coef: Any) -> float:
        return 0.5 * alpha * coef @ coef - partial_likelihood(coef, X, y, weight, ties)

    found = minimize(loss, np.zeros(3), tol=1e-10)
    np.testing.assert_allclose(model.coef_, found.x, atol=1e-4)
    assert loss(model.coef_) <= found.fun + 1e-9


def test_weights_are_copies_of_rows_where_none_are_tied() -> None:
    X, y = made(60, ties=False)
    weight = np.random.default_rng(2).integers(1, 4, len(X))
    # Copies have their events at one time, which Breslow's approximation counts as weights do.
    many = np.repeat(np.arange(len(X)), weight)
    one = CoxRegression(ties="breslow").fit(X, y, sample_weight=weight)
    two = CoxRegression(ties="breslow").fit(X[many], y.iloc[many])
    np.testing.assert_allclose(one.coef_, two.coef_, atol=1e-8)


@pytest.mark.filterwarnings("ignore")
def test_equals_lifelines() -> None:
    lifelines = pytest.importorskip("lifelines", reason="the oracle is not installed")
    data = lifelines.datasets.load_rossi()
    X, y = data.drop(columns=["week", "arrest"]), data.rename(columns={"arrest": "event"})
    y = y.assign(time=y["week"].astype(float))[["event", "time"]]
    theirs = lifelines.CoxPHFitter().fit(data, "week", "arrest")
    ours = CoxRegression().fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.params_, atol=1e-6)
    C = lifelines.utils.concordance_index(data["week"], -ours.predict(X), data["arrest"])
    assert ours.score(X, y) == pytest.approx(C, abs=1e-9)
    theirs = lifelines.CoxPHFitter(strata=["race"]).fit(data, "week", "arrest")
    ours = CoxRegression().fit(X.drop(columns="race"), y, strata=data["race"])
    np.testing.assert_allclose(ours.coef_, theirs.params_, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_many_rows_equal_lifelines_too() -> None:
    lifelines = pytest.importorskip("lifelines", reason="the oracle is not installed")
    X, y = made(9000)
    table = pd.DataFrame(X, columns=list("abc")).join(y)
    assert _newton.Newton(X, likelihood_of(y), penalty(3))._sample() is not None
    # It ends as soon as the likelihood grows by less than a billionth; here that is early.
    to_the_end = {"precision": 1e-12, "r_precision": 1e-15}
    theirs = lifelines.CoxPHFitter().fit(table, "time", "event", fit_options=to_the_end)
    np.testing.assert_allclose(CoxRegression().fit(X, y).coef_, theirs.params_, atol=1e-6)


def likelihood_of(y: Any, weight: Any = None, strata: Any = None, ties: str = "efron") -> Any:
    n_rows = len(y)
    return _efron.PartialLikelihood(
        y["event"].to_numpy(),
        y["time"].to_numpy(),
        np.ones(n_rows) if weight is None else weight,
        np.zeros(n_rows, dtype=np.int64) if strata is None else strata,
        ties,
    )


def penalty(n_features: int) -> Any:
    return _newton.Penalty(np.zeros(n_features), np.zeros(n_features), 1e-9, 100)


def far_out(X: Any, rng: Any) -> Any:
    """Return features of which a sample sees too little: outliers, a rare and a constant one."""
    rare = rng.random(len(X)) < 0.001
    return np.column_stack([np.exp(2.0 * X[:, 0]), X[:, 1] + rare, rare, np.full(len(X), 3.0)])


@pytest.mark.parametrize("kind", ["plain", "far out", "weighted", "strata", "lasso", "units"])
def test_a_sample_to_begin_with_changes_no_coefficient(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = made(9000, seed=7)
    rng = np.random.default_rng(8)
    X = {"far out": far_out(X, rng), "units": X * [1e-9, 1.0, 1e6] + 1e3}.get(kind, X)
    options = {
        "weighted": {"sample_weight": rng.gamma(0.3, size=len(X))},
        "strata": {"strata": rng.integers(0, 9, len(X))},
    }.get(kind, {})
    model = CoxRegression(200.0, 0.7) if kind == "lasso" else CoxRegression()
    found = model.fit(X, y, **options).coef_ * X.std(axis=0)
    monkeypatch.setattr(_newton, "_LARGEST_SHARE", 0.0)
    np.testing.assert_allclose(found, model.fit(X, y, **options).coef_ * X.std(axis=0), atol=1e-7)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("cached", [1, 40, 2**17])
def test_the_curvature_is_that_of_the_slope(
    ties: str, cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_efron, "_CACHED", cached)
    X, y = made(90, seed=3)
    rng = np.random.default_rng(4)
    weight, strata = rng.integers(0, 3, 90).astype(float), rng.integers(0, 3, 90)
    likelihood, coef = likelihood_of(y, weight, strata, ties), np.asarray([0.5, -1.0, 0.2])
    risk, step = X @ coef, 1e-5 * np.eye(3)
    found = likelihood.curvature(X, risk, likelihood.slope(risk).expected)

    def gradient(moved: Any) -> Any:
        return X.T @ likelihood.slope(X @ moved).residuals

    bends = [gradient(coef - e) - gradient(coef + e) for e in step]
    np.testing.assert_allclose(found, np.stack(bends) / 2e-5, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_step_is_that_of_the_inverse_whether_there_is_one_or_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, gradient = rng.normal(size=(30, 6)), rng.normal(size=6)
    X[:, 5] = X[:, 4] + seed * 1e-7 * X[:, 0]  # told twice, exactly or all but
    X[:, 3] = 0.0
    sure, unsure = X[:, :3].T @ X[:, :3], X.T @ X
    for curvature, slope in ((sure, gradient[:3]), (unsure, gradient)):
        wanted = _newton._inverse(curvature) @ slope
        np.testing.assert_allclose(_newton._solved(curvature, slope), wanted, rtol=1e-9)
    assert len(_newton._solved(np.zeros((0, 0)), np.zeros(0))) == 0


def test_a_start_changes_no_coefficient() -> None:
    X, y = made(150, seed=5)
    wide = np.random.default_rng(5).normal(size=(150, 200))
    weight = np.ones(150)
    for features in (X, wide):
        alone = CoxRegression(2.0).fit(features, y)
        near = CoxRegression(1.0).fit(features, y).coef_
        found = CoxRegression(2.0)._fit_from(features, y, weight, start=near)
        np.testing.assert_allclose(found.coef_, alone.coef_, atol=1e-7)


@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_lasso_holds_what_does_not_matter_at_zero(l1_ratio: float) -> None:
    X, y = made(300)
    model = CoxRegression(25.0, l1_ratio).fit(X, y)
    assert model.coef_[2] == 0.0
    assert model.coef_[0] > 0.1
    # The conditions of the optimum: the slope equals the penalty's, or is held by its kink.
    step = 1e-6
    for k in range(3):
        moved = [model.coef_ + sign * step * np.eye(3)[k] for sign in (1, -1)]
        ones = np.ones(len(X))
        values = [partial_likelihood(coef, X, y, ones, "efron") for coef in moved]
        slope = (values[0] - values[1]) / (2 * step) - 25.0 * (1 - l1_ratio) * model.coef_[k]
        if model.coef_[k]:
            assert slope == pytest.approx(25.0 * l1_ratio * np.sign(model.coef_[k]), abs=1e-2)
        else:
            assert abs(slope) <= 25.0 * l1_ratio


def test_more_features_than_rows_are_solved_among_the_rows() -> None:
    rng = np.random.default_rng(0)
    X, y = made(40)
    wide = np.hstack([X, rng.normal(size=(40, 60))])
    narrow = CoxRegression(2.0).fit(wide, y)
    # The same ridge where features outnumber rows by columns of nothing.
    padded = CoxRegression(2.0).fit(np.hstack([wide[:, :39], np.zeros((40, 2))]), y)
    direct = CoxRegression(2.0).fit(wide[:, :39], y)
    np.testing.assert_allclose(padded.coef_[:39], direct.coef_, atol=1e-7)
    assert np.isfinite(narrow.coef_).all()


def test_survival_is_that_of_kaplan_and_meier_where_features_say_nothing() -> None:
    _, y = made(200)
    model = CoxRegression(1e9).fit(np.random.default_rng(0).normal(size=(200, 1)), y)
    times = [0.1, 0.5, 1.0]
    curve = model.predict_survival_function(np.zeros((1, 1)), times)[0]
    event, time = y["event"].to_numpy(), y["time"].to_numpy()
    known = np.unique(time[event])
    hazard = [
        sum(
            sum(1.0 / (there - k) for k in range(int((event & (time == at)).sum())))
            for at in known
            if at <= t
            for there in [int((time >= at).sum())]
        )
        for t in times
    ]
    np.testing.assert_allclose(curve, np.exp(-np.asarray(hazard)), rtol=1e-6)


@given(st.integers(0, 10_000))
def test_units_and_order_of_rows_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y = made(50, seed)
    order = rng.permutation(50)
    scale = np.asarray([10.0, 0.1, 3.0])
    one = CoxRegression().fit(X, y)
    two = CoxRegression().fit((X * scale + 5.0)[order], y.assign(time=y["time"] * 7).iloc[order])
    np.testing.assert_allclose(one.coef_, two.coef_ * scale, atol=1e-6)
    np.testing.assert_allclose(
        one.predict_survival_function(X[:3], [0.5]),
        two.predict_survival_function((X * scale + 5.0)[:3], [3.5]),
        atol=1e-8,
    )


def test_a_feature_that_separates_is_told() -> None:
    y = pd.DataFrame({"event": [1, 1, 1, 0, 0, 0], "time": [1.0, 2, 3, 4, 5, 6]})
    X = np.asarray([[3.0], [2.5], [2.0], [0.0], [0.1], [0.2]])
    with pytest.warns(AsfusionWarning, match="use alpha > 0"):
        CoxRegression(max_iter=5).fit(X, y)


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.ones(6), "DataFrame with columns"),
        (pd.DataFrame({"event": [1] * 6, "days": [1.0] * 6}), "of other names"),
        (pd.DataFrame({"event": [0] * 6, "time": [1.0] * 6}), "at least one event"),
        (pd.DataFrame({"event": [2] + [1] * 5, "time": [1.0] * 6}), "true or false"),
        (pd.DataFrame({"event": [None] + [1] * 5, "time": [1.0] * 6}), "1 missing"),
        (pd.DataFrame({"event": [1] * 6, "time": [0.0] * 6}), r"above 0, got others in 6 row\(s\)"),
        (pd.DataFrame({"event": [1] * 6, "time": [np.inf] + [1.0] * 5}), "finite"),
        (pd.DataFrame({"event": [1] * 6, "time": pd.to_timedelta([1] * 6, "D")}), "one day"),
        (pd.DataFrame({"event": [1] * 6, "time": list("abcdef")}), "time as numbers"),
        (pd.DataFrame({"event": [1] * 5, "time": [1.0] * 5}), "6 entries"),
    ],
)  # fmt: skip
def test_times_that_cannot_be_used(y: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        CoxRegression().fit(np.zeros((6, 1)), y)


def test_structured_arrays_of_any_names_are_read() -> None:
    X, y = made(50)
    told = np.empty(50, dtype=[("died", bool), ("days", float)])
    told["died"], told["days"] = y["event"], y["time"]
    assert CoxRegression().fit(X, told).coef_ == pytest.approx(CoxRegression().fit(X, y).coef_)


@pytest.mark.parametrize(
    ("params", "match"),
    [({"alpha": -1.0}, "alpha"), ({"l1_ratio": 2.0}, "l1_ratio"), ({"ties": "exact"}, "ties")],
)
def test_unusable_parameters(params: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        CoxRegression(**params).fit(*made(20))


def test_strata_that_were_not_fitted_are_refused() -> None:
    X, y = made(40)
    site = np.repeat(["a", "b"], 20)
    model = CoxRegression().fit(X, y, strata=site)
    assert model.predict_survival_function(X[:2], [1.0], site[:2]).shape == (2, 1)
    with pytest.raises(InputError, match="got None"):
        model.predict_survival_function(X[:2], [1.0])
    with pytest.raises(InputError, match="1 of them new"):
        model.predict_survival_function(X[:2], [1.0], ["a", "c"])
    assert [len(times) for times, _ in model.baselines_] == [
        y.loc[(site == one) & y["event"], "time"].nunique() for one in model.strata_
    ]


NO_STRATA: list[tuple[Any, str]] = [
    (["a"] * 3, r"strata: expected 40 entries, one per row, got shape \(3,\)"),
    ("a", "strata: expected 40 entries, one per row, got a single value"),
    (np.full((40, 2), "a"), r"got shape \(40, 2\)"),
    (["a", None] * 20, "strata: expected an entry in every row, got 20 missing"),
    (np.where(np.arange(40) % 4 == 0, np.nan, 1.0), "got 10 missing"),
    (pd.Series(["a", pd.NA] * 20, dtype="string"), "got 20 missing"),
    (pd.Series(["a", 1] * 20), "strata: expected entries of one type"),
    ([["a"], ["b", "c"]] * 20, "strata: expected 40 entries"),
]


@pytest.mark.parametrize(("strata", "match"), NO_STRATA)
def test_strata_that_are_none(strata: Any, match: str) -> None:
    X, y = made(40)
    with pytest.raises(InputError, match=match):
        CoxRegression().fit(X, y, strata=strata)
    model = CoxRegression().fit(X, y, strata=["a", "b"] * 20)
    with pytest.raises(InputError, match=match):
        model.predict_survival_function(X, [1.0], strata)


@pytest.mark.parametrize(
    ("weight", "match"),
    [(np.full(40, -1.0), "weights of at least zero"), (np.zeros(40), "one weight above zero")],
)
def test_weights_that_cannot_be_used(weight: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        CoxRegression().fit(*made(40), sample_weight=weight)


def test_a_feature_of_rounding_noise_is_constant():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=80), 1e-16 * rng.normal(size=80)])
    own = rng.exponential(np.exp(-X[:, 0]))
    y = pd.DataFrame({"event": own < 2, "time": np.minimum(own, 2)})
    for alpha in (0.0, 100.0):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            both = CoxRegression(alpha=alpha).fit(X, y)
        alone = CoxRegression(alpha=alpha).fit(X[:, :1], y)
        assert both.coef_[0] == pytest.approx(alone.coef_[0], rel=1e-6)
        assert abs(both.coef_[1]) < 1e-6
