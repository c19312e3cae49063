"""A kind of target that the package does not know is judged and shown as those that it knows."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import asfusion as af
from asfusion.comparison._board_scores import make_board
from asfusion.comparison._standings import Entry
from asfusion.crossvalidation._folds import score_folds
from asfusion.evaluation import registry
from asfusion.evaluation._inputs import Judged, read_complete, read_groups, read_predictions
from asfusion.evaluation.metrics import ScoreInfo
from asfusion.evaluation.registry import register_scoring, scoring_of
from asfusion.evaluation.report import Report, evaluate
from asfusion.evaluation.scoring import Scoring
from asfusion.exceptions import ConfigurationError
from asfusion.targets.numbers import Numbers

FAST = {"n_bootstrap": 40}


class Deviance:
    """Scores predicted rates of events by their Poisson deviance."""

    def __init__(self, judged):
        y, rate = judged.y.astype(float).reshape(-1), np.maximum(judged.predicted, 0.01)
        with np.errstate(divide="ignore", invalid="ignore"):
            own = 2 * (np.where(y > 0, y * np.log(y / rate), 0.0) - y + rate)
        self.n_groups = judged.n_groups
        self.sums = np.zeros((self.n_groups, 3))
        np.add.at(self.sums, judged.groups, np.stack([own, rate - y, np.ones(len(y))], axis=1))

    def __call__(self, counts):
        deviance, excess, total = (counts @ self.sums).T
        return {"deviance": deviance / total, "excess": excess / total}


class EventScoring(Scoring):
    """Predicted numbers of flares in a year."""

    task = "events"
    primary = "deviance"
    board = folds = compared = audited = ("deviance", "excess")
    drawn = ("excess",)
    canary = ("deviance", 0.0)
    infos = {  # noqa: RUF012
        "deviance": ScoreInfo("Poisson deviance", "low", 0.0),
        "excess": ScoreInfo("Excess of events", "ideal", 0.0),
    }

    def read(self, predicted, y, groups, classes):
        rates = read_predictions(predicted).reshape(-1)
        numbers, is_grouped = read_groups(groups, len(rates))
        return Judged("events", read_complete(y, "y", len(rates)), rates, (), numbers, is_grouped)

    def scorer(self, judged, rules):
        return Deviance(judged)

    def curves(self, judged, rules, **options):
        return {"seen": np.bincount(judged.y.astype(int).reshape(-1)).tolist()}

    def panels(self, report):
        return 1, 1

    def draw(self, report, axes):
        axes[0].bar(range(len(report.curves["seen"])), report.curves["seen"])
        axes[0].set(xlabel="Flares", ylabel="Rows", title="Seen")


class Events(Numbers):
    """Numbers of flares: what a model learns them by is another test's concern."""

    @property
    def task(self):
        return "events"

    def judged(self, outputs):
        return np.maximum(outputs[:, 0], 0.01)


@pytest.fixture
def events():
    register_scoring(EventScoring())
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    y = rng.poisson(np.exp(X[:, 0]))
    model = SimpleNamespace(
        target_=SimpleNamespace(task="events"), predict=lambda X: np.exp(X[:, 0])
    )
    yield SimpleNamespace(
        X=X, y=y, model=model, groups=np.arange(120) // 2, sex=rng.choice(["f", "m"], 120)
    )
    registry._KNOWN.pop("events")
    plt.close("all")


def test_report_audit_and_picture_of_a_new_kind(events):
    report = evaluate(
        events.model,
        events.X,
        events.y,
        groups=events.groups,
        subgroups={"sex": events.sex},
        **FAST,
    )
    assert (report.task, report.primary, list(report.scores)) == (
        "events", "deviance", ["deviance", "excess"]
    )  # fmt: skip
    deviance = report.scores["deviance"]
    assert deviance.low < deviance.estimate < deviance.high
    assert "Poisson deviance" in repr(report) and "Excess of events" in report._repr_html_()
    assert report.plot()[0].get_xlabel() == "Flares"
    assert Report.from_json(report.to_json()).to_json() == report.to_json()
    assert "Poisson deviance" in str(report.model_card())
    audit = report.subgroups
    assert set(audit.subgroups[0].gaps) == {"deviance", "excess"}
    assert audit.plot()[0].get_title() == "Excess of events"
    with pytest.raises(ConfigurationError, match="scores: expected some of 'deviance', 'excess'"):
        audit.plot("auc")


def test_board_and_folds_of_a_new_kind(events):
    truth = Judged("events", events.y, np.ones(120), (), events.groups, True)
    answers = {
        Entry("labs", "single"): np.exp(events.X[None, :, :1]),
        Entry("early", "fusion"): np.full((1, 120, 1), events.y.mean()),
    }
    target = SimpleNamespace(judged=lambda answers: answers[:, 0])
    board = make_board(
        target,
        truth,
        answers,
        {"labs": 0.0, "early": 0.0},
        n_folds=2,
        seeds=(0,),
        confidence=0.9,
        seed=0,
        **FAST,
    )
    assert [s.name for s in board.standings] == ["labs", "early"]
    assert set(board.standings[0].others) == {"deviance", "excess"}
    assert "Poisson deviance" in repr(board) and "lower is better" in board.plot().get_xlabel()
    folds = score_folds([truth], np.arange(120)[:, None] % 2, ())
    assert set(folds[0].scores) == {"deviance", "excess"}


def test_a_target_of_its_own_is_judged_by_it_everywhere(events):
    X = pd.DataFrame(np.exp(events.X), columns=["crp", "bmi"])
    encoders = {"labs": af.TabularEncoder("crp"), "body": af.TabularEncoder("bmi")}
    model = af.EarlyFusionRegressor(encoders, target=Events(), verbose=0, random_state=0)
    options = {"groups": events.groups, "n_bootstrap": 20, "verbose": 0}
    found = af.cross_validate(model, X, events.y, cv=2, canary=True, **options)
    assert found.report.primary == "deviance" and found.canary.name == "deviance"
    assert "Poisson deviance" in found.verdict and "Excess of events" in repr(found)
    site = {"cv": "leave-one-site-out", "sites": events.groups % 2}
    assert af.cross_validate(model, X, events.y, **site, **options).within_sites["excess"]
    joint = af.JointFusionRegressor(target=Events(), max_epochs=1, verbose=0)
    only = {"task": Events(), "families": ["early"], "network": joint}
    board = af.compare(X, events.y, encoders, cv=2, **only, **options)
    assert (board.task, board.primary) == ("events", "deviance")
    assert "Poisson deviance" in board._repr_html_()
    fitted = model.fit(X, events.y)
    report = evaluate(fitted, X, events.y + 0, subgroups=["modalities"], **FAST)
    assert report.task == "events" and report.patterns[0].score.low > 0


def test_options_of_other_kinds_are_refused(events):
    with pytest.raises(ConfigurationError, match="threshold: expected None for a events task, got"):
        evaluate(events.model, events.X, events.y, threshold=0.5, **FAST)
    with pytest.raises(
        ConfigurationError, match="mic: .* It belongs to a regression or counts task"
    ):
        evaluate(events.model, events.X, events.y, mic=1.0, **FAST)


def test_a_kind_that_nobody_registered_is_named(events):
    with pytest.raises(ConfigurationError, match="task: expected one of 'binary', .*got 'ranking'"):
        scoring_of("ranking")
    with pytest.raises(ConfigurationError, match="got 'ranking'"):
        evaluate(
            SimpleNamespace(target_=SimpleNamespace(task="ranking"), predict=len),
            events.X, events.y,
        )  # fmt: skip


def test_threshold_of_one_counts_as_everywhere():
    """No number of true positives is worth a false one: an audit once said otherwise."""
    rng = np.random.default_rng(0)
    y, p = np.arange(80) % 2, rng.random(80)
    by = {"sex": np.arange(80) // 40}
    report = evaluate(p, y=y, threshold=1.0, subgroups=by, **FAST)
    assert np.isnan(report.scores["net_benefit"].estimate)
    assert np.isnan(report.subgroups.overall["net_benefit"].estimate)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_kind_shows_only_scores_that_it_has(task):
    scoring = scoring_of(task)
    y = np.arange(12) % 3 if task == "multiclass" else np.arange(12) % 2
    predicted = {
        "binary": np.linspace(0, 1, 12),
        "multiclass": np.tile([0.2, 0.5, 0.3], (12, 1)),
        "regression": np.linspace(0, 1, 12)[:, None],
    }[task]
    names = tuple("abc") if task == "multiclass" else ()
    truth = y[:, None].astype(float) if task == "regression" else y
    judged = Judged(task, truth, predicted, names, np.arange(12), False)
    rules = scoring.fold_rules(judged)
    found = scoring.scorer(judged, rules)(np.ones((1, 12)))
    assert {scoring.primary, scoring.canary[0], *scoring.board, *scoring.folds} <= set(found)
    audited = scoring.audit_scorer(judged, rules)(np.ones((1, 12)))
    assert set(scoring.audited) <= set(audited)
    assert set(scoring.compared) | set(scoring.drawn) <= set(scoring.audited)
