"""Scores of survival curves against brute force, and what reports say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import asfusion as af
import asfusion.evaluation._survival_scorer as module
from asfusion.evaluation._survival_scorer import SurvivalScorer
from asfusion.evaluation.intervals import bootstrap_scores
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.survival.curves import cumulative_risk, survival_at


def drawn(seed: int, n_rows: int = 20) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    time = rng.integers(1, 9, n_rows).astype(float)
    event = rng.random(n_rows) < 0.6
    times = np.asarray([1.0, 2.0, 4.0, 7.0])
    survival = np.sort(rng.random((n_rows, 4)).round(1), axis=1)[:, ::-1]
    return event, time, survival, times


def still_there(event: Any, time: Any, weight: Any, at: float, *, before: bool) -> float:
    """Return the censoring curve just before a time, or at it."""
    left = 1.0
    for known in np.unique(time):
        if known < at or (known == at and not before):
            there = (time > known) | ((time == known) & ~event)
            gone = (time == known) & ~event
            if weight[there].sum() > 0:
                left *= 1.0 - weight[gone].sum() / weight[there].sum()
    return left


def by_hand(  # noqa: C901 - as the papers write it, nothing shared with what it judges
    event: Any, time: Any, survival: Any, times: Any, horizons: Any, weight: Any
) -> Any:
    """Return the scores as their papers define them, row by row."""
    rows, risk = np.flatnonzero(weight), cumulative_risk(survival)
    last = max(horizons)

    def known(at: float) -> Any:
        own = [still_there(event, time, weight, t, before=True) for t in time]
        end = still_there(event, time, weight, at, before=False)
        return [
            (1.0 / own[i] if event[i] and time[i] <= at else 1.0 / end if time[i] > at else 0.0)
            for i in range(len(time))
        ]

    def brier(at: float) -> float:
        alive, factor = survival_at(survival, times, [at])[:, 0], known(at)
        costs = [weight[i] * factor[i] * ((time[i] > at) - alive[i]) ** 2 for i in rows]
        return float(sum(costs) / weight.sum())

    def auc(at: float) -> float:
        score, factor = 1.0 - survival_at(survival, times, [at])[:, 0], known(at)
        agree = pairs = 0.0
        for i in rows:
            if event[i] and time[i] <= at:
                for j in rows:
                    if time[j] > at:
                        pair = weight[i] * weight[j] * factor[i]
                        pairs += pair
                        agree += pair * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
        return agree / pairs if pairs else np.nan

    agree = pairs = 0.0
    for i in rows:
        if event[i] and time[i] <= last:
            factor = still_there(event, time, weight, time[i], before=True) ** -2
            for j in rows:
                if time[j] > time[i] or (time[j] == time[i] and not event[j]):
                    pairs += weight[i] * weight[j] * factor
                    agree += weight[i] * weight[j] * factor * (
                        (risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j])
                    )  # fmt: skip
    grid = np.linspace(min(time[event].min(), last), last, 50)
    briers = [brier(at) for at in grid]
    span = grid[-1] - grid[0]
    return {
        "c_uno": agree / pairs if pairs else np.nan,
        "ibs": np.trapezoid(briers, grid) / span if span else briers[-1],
        "brier_by": np.mean([brier(at) for at in horizons]),
        "auc_by": np.mean([auc(at) for at in horizons]),
    }


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_their_papers(seed: int) -> None:
    event, time, survival, times = drawn(seed)
    horizons = (2.0, 5.0)
    for weight in (np.ones(20), np.random.default_rng(seed).integers(0, 3, 20).astype(float)):
        found = SurvivalScorer(event, time, survival, times, horizons=horizons)(weight[None])
        for name, value in by_hand(event, time, survival, times, horizons, weight).items():
            assert found[name][0] == pytest.approx(value, abs=1e-9, nan_ok=True), name


def test_many_rows_are_scored_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=1500)
    own, end = rng.exponential(np.exp(-x)), rng.exponential(2.0, 1500)
    event, time = own < end, np.minimum(own, end)
    times = np.quantile(time, [0.2, 0.5, 0.8])
    survival = np.exp(-np.exp(x)[:, None] * times)

    def replicates(groups: Any) -> Any:
        scorer = SurvivalScorer(
            event, time, survival, times, horizons=[float(times[1])], groups=groups
        )
        return bootstrap_scores(scorer, n_bootstrap=30, seed=0, width=1500)

    for groups in (None, np.arange(1500) // 2):
        all_pairs = replicates(groups)
        with monkeypatch.context() as patched:
            patched.setattr(module, "_MOST_PAIRED", 10)
            expanded = replicates(groups)
        for name in ("c_index", "c_uno"):
            spread = all_pairs[name].std()
            assert np.abs(all_pairs[name] - expanded[name]).max() < 0.2 * spread
    exact = SurvivalScorer(event, time, survival, times, horizons=[1.0])
    monkeypatch.setattr(module, "_MOST_PAIRED", 10)
    near = SurvivalScorer(event, time, survival, times, horizons=[1.0])
    ones = np.ones((1, 1500))
    for name in ("c_index", "c_uno"):
        assert exact(ones)[name] == pytest.approx(near(ones)[name], abs=1e-12)


def test_truth_without_censoring_is_that_of_two_classes() -> None:
    rng = np.random.default_rng(0)
    time = rng.exponential(size=200)
    risk = rng.random(200)
    y = pd.DataFrame({"event": True, "time": time})
    report = af.evaluate((1.0 - risk)[:, None], y=y, classes=[1.0], horizons=1.0, n_bootstrap=20)
    plain = af.evaluate(risk, y=(time <= 1.0).astype(int), n_bootstrap=20)
    for ours, theirs in (("auc_by", "auc"), ("brier_by", "brier")):
        assert report.scores[ours].estimate == pytest.approx(plain.scores[theirs].estimate)


def test_intervals_resample_patients() -> None:
    rng = np.random.default_rng(0)
    time = rng.exponential(size=60)
    once = pd.DataFrame({"event": True, "time": time})
    curves = np.exp(-rng.gamma(2, size=60))[:, None]
    many, patient = np.repeat(np.arange(60), 5), np.repeat(np.arange(60), 5)
    options: Any = {"classes": [1.0], "horizons": 1.0, "n_bootstrap": 200}
    one = af.evaluate(curves, y=once, **options).scores["brier_by"]
    five = af.evaluate(curves[many], y=once.iloc[many], groups=patient, **options).scores
    assert five["brier_by"].low == pytest.approx(one.low, abs=1e-9)
    assert five["brier_by"].high == pytest.approx(one.high, abs=1e-9)


def test_report_is_shown_saved_and_drawn() -> None:
    event, time, survival, times = drawn(0, 120)
    y = pd.DataFrame({"event": event, "time": time})
    report = af.evaluate(survival, y=y, classes=times, horizons=[2, 5], n_bootstrap=20)
    text = str(report)
    for words in ("Harrell's C", "AUC by 2", "events. Horizons, in the unit of y: 2, 5", "weights"):
        assert words in text
    again = type(report).from_json(report.to_json())
    assert again.scores == report.scores
    axes = again.plot()
    assert [axis.get_title() for axis in axes.ravel()] == [
        "Without event, by predicted risk",
        "Calibration",
        "Decision curve, by 5",
    ]


def test_decisions_count_as_the_score_does() -> None:
    rng = np.random.default_rng(0)
    time, end = rng.exponential(size=150), rng.exponential(2.0, 150)
    y = pd.DataFrame({"event": time < end, "time": np.minimum(time, end)})
    curves = np.exp(-rng.gamma(2, 0.5, size=(150, 1)) * [0.5, 1.0])
    options: dict[str, Any] = {"y": y, "classes": [0.5, 1.0], "n_bootstrap": 40}
    groups = np.repeat(np.arange(50), 3)
    for horizons, name in ((1.0, "net_benefit_by"), ([0.5, 1.0], "net_benefit_by[1]")):
        report = af.evaluate(curves, groups=groups, horizons=horizons, threshold=0.3, **options)
        frame = report.to_frame("decision").set_index("threshold")
        told, score = frame.loc[0.3], report.scores[name]
        assert (told["net_benefit"], told["low"], told["high"]) == pytest.approx(
            (score.estimate, score.low, score.high), abs=1e-12
        )
    known = y["event"] | (y["time"] > 1.0)
    plain = af.evaluate(curves, horizons=1.0, thresholds=(0.2, 0.4), **options).to_frame("decision")
    assert plain["threshold"].tolist() == [k / 100 for k in range(20, 41)]
    assert known.mean() < 1.0
    # Without censoring it is the curve of two classes.
    y = pd.DataFrame({"event": True, "time": time})
    found = af.evaluate(curves, horizons=1.0, **{**options, "y": y}).to_frame("decision")
    two = af.evaluate(1.0 - curves[:, 1], y=(time <= 1.0).astype(int), n_bootstrap=2)
    np.testing.assert_allclose(
        found[["net_benefit", "treat_all"]], two.to_frame("decision")[["net_benefit", "treat_all"]]
    )


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"horizons": 99.0}, ConfigurationError, "before the longest follow-up"),
        ({"horizons": -1.0}, ConfigurationError, "horizons"),
        ({"classes": [3.0, 2.0, 1.0, 4.0]}, InputError, "rising"),
        ({"classes": None}, InputError, "predict_survival_function"),
        ({"thresholds": (0.5, 0.2)}, ConfigurationError, "thresholds: expected two numbers"),
        ({"mic": 1.0}, ConfigurationError, "mic: expected None for a survival task"),
    ],
)
def test_what_cannot_be_judged_is_refused(options: Any, error: Any, match: str) -> None:
    event, time, survival, times = drawn(0)
    y = pd.DataFrame({"event": event, "time": time})
    with pytest.raises(error, match=match):
        af.evaluate(survival, y=y, **{"classes": times, "n_bootstrap": 5, **options})


def test_curves_must_be_probabilities() -> None:
    event, time, survival, times = drawn(0)
    y = pd.DataFrame({"event": event, "time": time})
    with pytest.raises(InputError, match="probabilities from 0 to 1"):
        af.evaluate(survival * 2, y=y, classes=times, n_bootstrap=5)
    with pytest.raises(InputError, match="at least one event"):
        af.evaluate(survival, y=y.assign(event=0), classes=times, n_bootstrap=5)
