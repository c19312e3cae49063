"""`evaluate` and its report: numbers, words, pictures, files, refusals."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import pyplot as plt
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import (
    cohen_kappa_score,
    confusion_matrix,
    mean_absolute_error,
    roc_auc_score,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from asfusion.estimators.early import EarlyFusionClassifier
from asfusion.evaluation.report import Report, evaluate
from asfusion.evaluation.subgroups import audit_subgroups
from asfusion.exceptions import AsfusionWarning, ConfigurationError, InputError
from asfusion.show.figures import tick_names

N = 160
FAST = {"n_bootstrap": 200}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(N // 2), 2)
    X = rng.normal(size=(N, 3)) + 0.5 * rng.normal(size=(N // 2, 3))[patient]
    y = (X[:, 0] + rng.normal(size=N) > 0).astype(int)
    return SimpleNamespace(X=X, y=y, groups=patient, target=X @ [1.0, 2.0, 0.0])


@pytest.fixture(scope="module")
def reports(rows):
    probability = 1 / (1 + np.exp(-rows.X[:, 0]))
    three = rng_classes(rows)
    return {
        "binary": evaluate(probability, y=rows.y, groups=rows.groups, **FAST),
        "multiclass": evaluate(three[0], y=three[1], groups=rows.groups, **FAST),
        "regression": evaluate(rows.X[:, 1], y=rows.target, groups=rows.groups, **FAST),
        "two targets": evaluate(rows.X[:, :2], y=rows.X[:, 1:], **FAST),
    }


def rng_classes(rows):
    table = np.exp(rows.X)
    labels = np.array(["hernia", "normal", "slip"])[(rows.X + 0.5 * rows.X[::-1]).argmax(axis=1)]
    return table / table.sum(axis=1, keepdims=True), labels


TASKS = ["binary", "multiclass", "regression", "two targets"]


# -- numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_of_predictions_are_found_by_name(rows, frame):
    p = 1 / (1 + np.exp(-rows.X[:, 0]))
    y = np.where(rows.y == 1, "yes", "no")
    plain = evaluate(p, y=rows.y, **FAST).scores
    turned = frame({"yes": p, "no": 1 - p})
    report = evaluate(turned, y=y, **FAST)
    assert report.classes == ("no", "yes") and report.scores == plain
    stated = evaluate(turned, y=y, classes=["no", "yes"], **FAST)
    assert stated.scores == plain
    assert evaluate(frame({"1": p, "0": 1 - p}), y=rows.y, **FAST).scores == plain
    table, labels = rng_classes(rows)
    kept = labels != "slip"
    two = table[kept][:, :2] / table[kept][:, :2].sum(axis=1, keepdims=True)
    named = frame({"slip": np.zeros(kept.sum()), "normal": two[:, 1], "hernia": two[:, 0]})
    assert evaluate(named, y=labels[kept], **FAST).classes == ("hernia", "normal", "slip")


def test_columns_of_predictions_without_names_are_in_order(rows):
    p = 1 / (1 + np.exp(-rows.X[:, 0]))
    plain = evaluate(p, y=rows.y, **FAST).scores
    table = np.stack([1 - p, p], axis=1)
    assert evaluate(pd.DataFrame(table), y=rows.y + 1, **FAST).scores == plain
    other = pd.DataFrame(table, columns=["p_healthy", "p_ill"])
    assert evaluate(other, y=rows.y, classes=[0, 1], **FAST).scores == plain
    with pytest.raises(InputError, match="columns named by the 2 classes of y, got 2 other name"):
        evaluate(other, y=rows.y, **FAST)
    with pytest.raises(InputError, match="columns named by the 2 classes of y, got 1 other name"):
        evaluate(other.set_axis(["0", "ill"], axis=1), y=rows.y, classes=[0, 1], **FAST)


@pytest.mark.parametrize("column", [pd.DataFrame, pl.DataFrame, lambda d: d["y"][:, None]])
def test_labels_in_one_column_are_labels(rows, column):
    p = 1 / (1 + np.exp(-rows.X[:, 0]))
    model = LogisticRegression().fit(rows.X, rows.y)
    for asked in [(p,), (model, rows.X)]:
        report = evaluate(*asked, y=column({"y": rows.y}), **FAST)
        assert report.task == "binary"
        assert report.scores == evaluate(*asked, y=rows.y, **FAST).scores


def test_scores_of_a_model_equal_scikit_learn(rows):
    model = LogisticRegression().fit(rows.X, rows.y)
    report = evaluate(model, rows.X, rows.y, groups=rows.groups, **FAST)
    expected = roc_auc_score(rows.y, model.predict_proba(rows.X)[:, 1])
    auc = report.scores["auc"]
    assert auc.estimate == pytest.approx(expected, abs=1e-12)
    assert auc.low < auc.estimate < auc.high
    assert (report.task, report.n_rows, report.n_groups) == ("binary", N, N // 2)
    assert report.shares[1] == pytest.approx(rows.y.mean())
    assert report.patterns == ()


def test_probabilities_in_one_or_two_columns_and_any_container_agree(rows):
    p = 1 / (1 + np.exp(-rows.X[:, 0]))
    reports = [
        evaluate(p, y=rows.y, **FAST),
        evaluate(np.c_[1 - p, p], y=rows.y, **FAST),
        evaluate(list(p), y=list(rows.y), **FAST),
        evaluate(pd.Series(p), y=pd.Series(rows.y == 1), **FAST),
        evaluate(pl.Series(p), y=pl.Series(rows.y).replace_strict({0: "no", 1: "yes"}), **FAST),
    ]
    for report in reports:
        assert report.scores == reports[0].scores
    assert reports[-1].classes == ("no", "yes")


def test_order_of_rows_and_names_of_patients_do_not_matter(rows):
    p = np.round(1 / (1 + np.exp(-rows.X[:, 0])), 3)
    # Names that sort as the numbers do: the draws are of the sorted patients.
    names = np.array([f"patient {g:04d}" for g in rows.groups])
    order = np.random.default_rng(0).permutation(N)
    first = evaluate(p, y=rows.y, groups=rows.groups, **FAST)
    second = evaluate(p[order], y=rows.y[order], groups=names[order], **FAST)
    for name, score in first.scores.items():
        assert second.scores[name].low == pytest.approx(score.low, abs=1e-9)


def test_seed_repeats_and_patients_widen(rows):
    p = 1 / (1 + np.exp(-rows.X[:, 0]))
    first, same, other = (
        evaluate(p, y=rows.y, random_state=seed, **FAST).scores["auc"] for seed in (0, 0, 1)
    )
    assert first == same
    assert (first.low, first.high) != (other.low, other.high)
    doubled = np.repeat(np.arange(N), 4)
    many = {"y": rows.y[doubled], **FAST}
    rowwise = evaluate(p[doubled], **many).scores["auc"]
    by_patient = evaluate(p[doubled], groups=doubled, **many).scores["auc"]
    assert by_patient.high - by_patient.low > 1.5 * (rowwise.high - rowwise.low)


def test_threshold_is_given_stored_or_the_default(rows):
    model = LogisticRegression().fit(rows.X, rows.y)
    assert evaluate(model, rows.X, rows.y, **FAST).threshold_source == "default"
    given = evaluate(model, rows.X, rows.y, threshold=0.2, **FAST)
    assert (given.threshold, given.threshold_source) == (0.2, "given")
    model.threshold_ = 0.7
    stored = evaluate(model, rows.X, rows.y, **FAST)
    assert (stored.threshold, stored.threshold_source) == (0.7, "model")
    called = model.predict_proba(rows.X)[:, 1] >= 0.7
    assert stored.scores["sensitivity"].estimate == pytest.approx(called[rows.y == 1].mean())
    assert "Threshold 0.7, stored in the model: class 1 from there on." in repr(stored)


def test_labels_in_the_place_of_probabilities_are_told(rows):
    model = LogisticRegression().fit(rows.X, rows.y)
    with pytest.warns(AsfusionWarning, match="got 0 or 1 in every row, as labels are"):
        evaluate(model.predict(rows.X), y=rows.y, **FAST)
    evaluate(model.predict_proba(rows.X), y=rows.y, **FAST)


def test_it_is_said_which_of_two_names_is_counted(rows):
    names = np.where(rows.y == 1, "ill", "well")
    report = evaluate(LogisticRegression().fit(rows.X, names), rows.X, names, **FAST)
    said = (
        "Sensitivity, predictive values, net benefit and average precision count class well, the "
        "last in order. To count class ill, fit and judge with y == 'ill'."
    )
    assert said in repr(report) and "y == &#x27;ill&#x27;" in report._repr_html_()
    called = LogisticRegression().fit(rows.X, names).predict(rows.X) == "well"
    assert report.scores["sensitivity"].estimate == pytest.approx(called[rows.y == 0].mean())
    for clear in (rows.y, rows.y == 1, 2.0 * rows.y - 1):
        assert "last in order" not in repr(
            evaluate(LogisticRegression().fit(rows.X, clear), rows.X, clear, **FAST)
        )


def test_regression_of_models_and_predictions(rows, reports):
    model = LinearRegression().fit(rows.X, rows.target)
    assert evaluate(model, rows.X, rows.target, **FAST).scores["r2"].estimate == pytest.approx(1.0)
    expected = mean_absolute_error(rows.target, rows.X[:, 1])
    assert reports["regression"].scores["mae"].estimate == pytest.approx(expected)
    assert reports["regression"].threshold is None


def test_classes_name_the_columns_of_predictions(rows):
    p = np.c_[rows.X[:, 0] > 0, rows.X[:, 0] <= 0] * 0.8 + 0.1
    turned = evaluate(p, y=rows.y, classes=[1, 0], **FAST)
    assert turned.classes == ("1", "0")
    assert turned.scores["auc"].estimate > 0.6


# -- what scores depend on -------------------------------------------------------------


def test_stated_prevalence_moves_predictive_values_and_net_benefit(rows):
    p = 1 / (1 + np.exp(-rows.X[:, 0]))
    here = evaluate(p, y=rows.y, groups=rows.groups, **FAST)
    there = evaluate(p, y=rows.y, groups=rows.groups, prevalence=0.05, **FAST)
    sens, spec = (there.scores[k].estimate for k in ("sensitivity", "specificity"))
    expected = 0.05 * sens / (0.05 * sens + 0.95 * (1 - spec))
    assert there.scores["ppv"].estimate == pytest.approx(expected)
    assert there.scores["ppv"].low < expected < there.scores["ppv"].high
    assert there.scores["auc"] == here.scores["auc"]
    assert here.prevalence is None and there.prevalence == 0.05
    share = f"{100 * rows.y.mean():.3g} %"
    assert f"for a prevalence like that of the rows, {share}" in repr(here)
    assert f"a prevalence of 5 %, as given, not for that of the rows, {share}" in repr(there)
    curve = there.to_frame("decision")
    at = curve.loc[np.isclose(curve["threshold"], 0.5)].iloc[0]
    assert at["net_benefit"] == pytest.approx(there.scores["net_benefit"].estimate, abs=1e-12)
    assert at["low"] == pytest.approx(there.scores["net_benefit"].low, abs=1e-12)
    assert curve["treat_all"].iloc[0] == pytest.approx(0.05 - 0.95 * 0.01 / 0.99)


def test_delong_stands_beside_the_bootstrap(reports):
    boot, delong = (reports["binary"].scores[k] for k in ("auc", "auc_delong"))
    assert delong.estimate == pytest.approx(boot.estimate, abs=1e-12)
    assert (delong.low, delong.high) == pytest.approx((boot.low, boot.high), abs=0.02)


def test_decision_curve_has_the_asked_thresholds(rows):
    p = 1 / (1 + np.exp(-rows.X[:, 0]))
    report = evaluate(p, y=rows.y, thresholds=(0.05, 0.4), threshold=0.2, **FAST)
    frame = report.to_frame("decision")
    assert list(frame.columns) == ["threshold", "net_benefit", "low", "high", "treat_all"]
    assert frame["threshold"].tolist() == [k / 100 for k in range(5, 41)]
    assert "Net benefit is above that of treating all and treating none at" in repr(report)
    assert report.to_frame("roc").shape == (101, 4)
    with pytest.raises(ConfigurationError, match='part: expected "scores", or for a binary'):
        report.to_frame("histogram")


def test_frames_of_other_tasks_are_scores_alone(reports):
    with pytest.raises(ConfigurationError, match="part: .* for a regression task"):
        reports["regression"].to_frame("decision")


def test_ordered_classes_have_kappas_in_their_order(rows):
    table, labels = rng_classes(rows)
    order = ["slip", "hernia", "normal"]
    report = evaluate(table, y=labels, ordinal=order, groups=rows.groups, **FAST)
    assert report.order == tuple(order) and report.classes == ("hernia", "normal", "slip")
    place = {name: k for k, name in enumerate(order)}
    true = [place[name] for name in labels]
    called = [place[report.classes[k]] for k in table.argmax(axis=1)]
    kappa = report.scores["kappa_quadratic"]
    expected = cohen_kappa_score(true, called, weights="quadratic")
    assert kappa.estimate == pytest.approx(expected, abs=1e-9)
    assert kappa.low < kappa.estimate < kappa.high
    assert "Classes in order, the lowest first: slip, hernia, normal." in repr(report)
    assert report.curves["called"] == pytest.approx(
        confusion_matrix(true, called, normalize="true")
    )
    ticks = [text.get_text() for text in report.plot()[1].get_xticklabels()]
    assert ticks == order
    assert Report.from_json(report.to_json()).to_json() == report.to_json()


def test_numbers_as_classes_are_ordered_by_value(rows):
    table, labels = rng_classes(rows)
    grades = np.unique(labels, return_inverse=True)[1] + 8  # as text, 10 comes before 9
    report = evaluate(table, y=grades, ordinal=True, classes=[8, 9, 10], **FAST)
    assert report.order == ("8", "9", "10")
    turned = evaluate(table[:, ::-1], y=grades, ordinal=True, classes=[10, 9, 8], **FAST)
    assert turned.order == ("8", "9", "10")
    name = "kappa_linear"
    assert turned.scores[name].estimate == pytest.approx(report.scores[name].estimate)


def test_minimal_important_change_of_targets(rows):
    report = evaluate(rows.X[:, 1], y=rows.target, mic=1.1, groups=rows.groups, **FAST)
    within = np.abs(rows.X[:, 1] - rows.target) <= 1.1
    score = report.scores["within_mic"]
    assert score.estimate == pytest.approx(within.mean()) and score.low < score.high
    assert "Minimal important change: 1.1, in the units of y." in repr(report)
    two = evaluate(rows.X[:, :2], y=rows.X[:, 1:], mic=[0.5, 2], **FAST)
    assert two.mic == (0.5, 2.0)


def test_infinite_limits_are_shown_and_saved():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    p = np.where(y == 1, 0.9, 0.1)
    p[[0, 1]] = [0.8, 0.2]  # one false positive, which many replicates lack
    report = evaluate(np.clip(p + 0.01 * rng.random(60), 0, 1), y=y, **FAST)
    score = report.scores["lr_positive"]
    assert np.isfinite(score.estimate) and np.isinf(score.high)
    assert re.search(r"Positive likelihood ratio .* to ∞", repr(report))
    assert Report.from_json(report.to_json()).scores["lr_positive"] == score


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        LinearRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        GridSearchCV(LogisticRegression(), {"C": [1.0]}),
        EarlyFusionClassifier(verbose=0),
    ],
)
def test_models_that_are_not_fitted_say_so(rows, model):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        evaluate(model, rows.X, rows.y, **FAST)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        audit_subgroups(model, rows.X, rows.y, by={"sex": rows.y}, **FAST)


# -- modalities ------------------------------------------------------------------------


def fused_model(rows):
    """Return what a fitted early fusion looks like from here, and rows that lack cells."""
    X = pd.DataFrame(rows.X, columns=["crp", "esr", "age"])
    X.loc[:99, "age"] = np.nan
    X.loc[100:104, ["crp", "esr"]] = np.nan

    class Model(LogisticRegression):
        def predict_proba(self, X):
            return super().predict_proba(X.fillna(0).to_numpy())

    model = Model().fit(rows.X, rows.y)
    model.encoders_ = {
        "labs": SimpleNamespace(columns_=("crp", "esr")),
        "who": SimpleNamespace(columns_=("age",)),
    }
    return model, X


def test_scores_by_present_modalities(rows):
    model, X = fused_model(rows)
    report = evaluate(model, X, rows.y, groups=rows.groups, **FAST)
    assert [(p.present, p.n_rows) for p in report.patterns] == [
        (("labs",), 100),
        (("labs", "who"), None),  # 160 - 100 - 55 would tell the last one
        (("who",), None),
    ]
    for shown in (repr(report), str(report.model_card())):
        assert not re.search(r"\b55\b", shown)
    part = slice(0, 100)
    expected = roc_auc_score(rows.y[part], model.predict_proba(X[part])[:, 1])
    assert report.patterns[0].score.estimate == pytest.approx(expected)
    assert report.patterns[2].score is None
    assert re.search(r"^labs \+ who +10 or more +0", repr(report), re.M)
    assert re.search(r"^who +not shown +- +-$", repr(report), re.M)
    assert "nor one from which such a number would follow" in repr(report)


def test_small_cells_stay_hidden_beside_an_audit_of_the_same(rows):
    model, X = fused_model(rows)
    report = evaluate(model, X, rows.y, subgroups="modalities", **FAST)
    told = {" + ".join(pattern.present): pattern.n_rows for pattern in report.patterns}
    assert told == {part.level: part.n_rows for part in report.subgroups.subgroups}
    assert sorted(told.values(), key=str) == [100, None, None]


def test_numbers_of_modalities_are_shown_where_none_is_small(rows):
    model, X = fused_model(rows)
    X.loc[100:104, ["crp", "esr"]] = 0.0
    report = evaluate(model, X, rows.y, **FAST)
    assert [pattern.n_rows for pattern in report.patterns] == [100, 60]
    assert "not shown" not in repr(report)


def test_modalities_of_late_fusion_and_of_a_search_are_found(rows):
    model, X = fused_model(rows)
    parts = {
        name: SimpleNamespace(encoders_={name: encoder})
        for name, encoder in model.encoders_.items()
    }
    early = evaluate(model, X, rows.y, **FAST).patterns
    model.models_ = parts
    del model.encoders_
    assert evaluate(model, X, rows.y, **FAST).patterns == early
    searched = LogisticRegression().fit(rows.X, rows.y)
    searched.predict_proba = model.predict_proba
    searched.best_estimator_ = model
    assert evaluate(searched, X, rows.y, **FAST).patterns == early


def test_unknown_modalities_are_no_error(rows):
    model, X = fused_model(rows)
    renamed = X.rename(columns={"age": "years"})
    assert evaluate(model, renamed, rows.y, **FAST).patterns == ()


@pytest.mark.parametrize("change", [{"scores": {"luck": {}}}, {"n_rows": "x"}, {"seed": None}])
def test_reports_with_unknown_contents_are_refused(reports, change):
    state = json.loads(reports["binary"].to_json()) | change
    state["scores"] = {
        n: {"estimate": 1, "low": 0, "high": 1, "n_undefined": 0} for n in state["scores"]
    }
    with pytest.raises(InputError, match="Report.from_json: expected a report as JSON"):
        Report.from_json(json.dumps(state))


def test_few_rows_are_told():
    few = repr(evaluate([0.1, 0.9, 0.8], y=[0, 1, 1], **FAST))
    assert "Only 3 rows (no groups were given): scores of so few are mostly chance" in few
    assert "mostly chance" not in repr(evaluate(np.linspace(0, 1, 20), y=np.arange(20) % 2, **FAST))


def test_fractions_are_measured_and_one_class_is_named():
    report = evaluate([1.5], y=[2.5], **FAST)
    assert report.task == "regression" and report.scores["mae"].estimate == 1.0
    for y in ([1, 1], ["a", "a"]):
        with pytest.raises(InputError, match="at least 2 classes, got rows of 1 class"):
            evaluate([0.5, 0.6], y=y, **FAST)
        with pytest.raises(InputError, match="at least 2 classes, got rows of 1 class"):
            evaluate([[0.5, 0.5], [0.4, 0.6]], y=y, **FAST)


# -- pictures of what is long, rare or manifold ----------------------------------------


def _drawn(axes):
    """Draw, and return the width of the first axes as a share of the figure."""
    figure = axes[0].figure
    figure.canvas.draw()  # warns, which fails a test, where there is no room
    return axes[0].get_position().width


def test_long_names_of_classes_leave_room(rows):
    table, labels = rng_classes(rows)
    long = {n: f"a class of many words, {n}, " + "and so on" * 4 for n in np.unique(labels)}
    report = evaluate(table, y=[long[n] for n in labels], **FAST)
    axes = report.plot()
    assert _drawn(axes) > 0.2
    ticks = [text.get_text() for text in axes[1].get_yticklabels()]
    assert len(set(ticks)) == 3 and all("…" in text and len(text) < 25 for text in ticks)
    assert "so on" in repr(report)  # tables have room for all
    two = evaluate(table[:, 0], y=np.where(rows.y, *list(long.values())[:2]), **FAST)
    assert _drawn(two.plot()) > 0.2


def test_ten_classes_have_colours_of_their_own_and_a_legend_beside():
    rng = np.random.default_rng(0)
    report = evaluate(rng.dirichlet(np.ones(10), 200), y=np.arange(200) % 10, **FAST)
    axes = report.plot()
    _drawn(axes)
    curves = axes[0].get_lines()[1:]
    assert len({str(line.get_color()) for line in curves}) == 10
    box = axes[0].get_legend().get_window_extent()
    assert box.x0 >= axes[0].get_window_extent().x1 - 1


def test_pictures_of_a_rare_outcome_are_not_in_a_corner():
    rng = np.random.default_rng(0)
    p = 1 / (1 + np.exp(4.5 - rng.normal(size=3000)))
    report = evaluate(p, y=(rng.random(3000) < p).astype(int), **FAST)
    roc, calibration, decision, bars = report.plot()
    assert roc.get_xlim()[1] > 1
    assert max(report.curves["calibration"]["predicted"]) > 0.25 * calibration.get_xlim()[1]
    assert decision.get_xlim()[1] < 0.5
    assert max(report.curves["decision"]["net_benefit"]) > 0.2 * decision.get_ylim()[1]
    assert bars.get_xlim()[1] < 0.3
    held = report.curves["histogram"]
    assert sum(held["negative"]) + sum(held["positive"]) == 3000
    usual = evaluate(rng.random(200), y=np.arange(200) % 2, **FAST).plot()
    assert [axis.get_xlim()[1] for axis in usual] == [1.02, 1.02, 0.99, 1.0]


def test_short_names_stay_apart():
    names = ["a" * 30 + "1" + "b" * 30, "a" * 30 + "2" + "b" * 30, "mild $"]
    first, second, third = tick_names(names, 20)
    assert first != second and second.startswith(first) and third == r"mild \$"


# -- words, pictures, files ------------------------------------------------------------


def test_text_shows_every_score_with_its_interval(reports):
    text = repr(reports["binary"])
    auc = reports["binary"].scores["auc"]
    assert f"AUC {'':20} {auc.estimate:.3f}  {auc.low:.3f} to {auc.high:.3f}".split() == next(
        line.split() for line in text.splitlines() if line.startswith("AUC")
    )
    assert f"160 rows of 80 patients: {reports['binary'].shares[0]:.0%} class 0" in text
    assert "200 bootstrap replicates of patients." in text
    assert "of rows (no groups were given)" in repr(reports["two targets"])


def test_undefined_replicates_are_told(rows):
    p = np.linspace(0.9, 0.1, 20)
    report = evaluate(p, y=np.arange(20) < 2, **FAST)
    assert re.search(r"Some score is undefined in up to \d+ replicates", repr(report))
    assert report.to_frame().loc["auc", "n_undefined"] > 0


@pytest.mark.parametrize("task", TASKS)
def test_frame_has_one_row_per_score(reports, task):
    frame = reports[task].to_frame()
    assert list(frame.columns) == ["estimate", "low", "high", "n_undefined"]
    assert list(frame.index) == list(reports[task].scores)


@pytest.mark.parametrize("task", TASKS)
def test_json_returns_the_same_report(reports, task):
    report = reports[task]
    again = Report.from_json(report.to_json())
    assert again.to_json() == report.to_json()
    assert repr(again) == repr(report)
    assert again._repr_html_() == report._repr_html_()


def test_json_holds_no_row(rows, reports):
    numbers = re.findall(r"-?\d+\.\d{6,}", reports["regression"].to_json())
    assert not {f"{v:.6f}" for v in rows.target} & {f"{float(v):.6f}" for v in numbers}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "asfusion report 1"}', "null"])
def test_other_json_is_refused(text, reports):
    with pytest.raises(InputError, match="Report.from_json: expected a report as JSON"):
        Report.from_json(text)


def test_report_with_a_strange_field_is_refused(reports):
    state = json.loads(reports["binary"].to_json())
    with pytest.raises(InputError, match="Report.from_json"):
        Report.from_json(json.dumps({**state, "surprise": 1}))


@pytest.mark.parametrize(("task", "count"), list(zip(TASKS, [4, 2, 1, 2], strict=True)))
def test_plots_are_labelled_axes(reports, task, count):
    axes = reports[task].plot()
    assert axes.shape == (count,)
    for axis in axes:
        assert axis.get_xlabel() and axis.get_ylabel() and axis.get_title()
    _, given = plt.subplots(1, count)
    assert list(reports[task].plot(given)) == list(np.ravel(given))


def test_wrong_axes_are_refused(reports):
    with pytest.raises(ConfigurationError, match="axes: expected 4 matplotlib Axes, got 1"):
        reports["binary"].plot(plt.figure().subplots())


def test_html_page_is_alone_and_inert(tmp_path, rows):
    p = np.c_[1 - (rows.X[:, 0] > 0) * 0.5, (rows.X[:, 0] > 0) * 0.5]
    hostile = '<script>alert("$x$")</script>'
    report = evaluate(p, y=np.where(rows.y == 1, hostile, "no"), classes=["no", hostile], **FAST)
    page = report.to_html(tmp_path / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert not re.search(r"https?://", page) and "default-src 'none'" in page
    assert page.count("research tool, not a medical device") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_writing_replaces_whole_files(tmp_path, reports, monkeypatch):
    target = tmp_path / "report.html"
    target.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        reports["binary"].to_html(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_few_rows_have_no_calibration_curve_and_still_draw():
    report = evaluate([0.2, 0.4, 0.6, 0.8, 0.5], y=[0, 0, 1, 1, 0], **FAST)
    assert report.curves["calibration"]["predicted"] == []
    assert report.plot().shape == (4,)


def test_equal_predictions_share_a_bin(rows):
    report = evaluate(np.where(rows.X[:, 0] > 0, 0.75, 0.25), y=rows.y, **FAST)
    curve = report.curves["calibration"]
    assert curve["predicted"] == pytest.approx([0.25, 0.75])
    assert curve["observed"][1] == pytest.approx(rows.y[rows.X[:, 0] > 0].mean())


# -- refusals --------------------------------------------------------------------------

P = [0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(
    ("predictions", "options", "message"),
    [
        (P, {"y": None}, "y: expected 4 entries, one per row, got None"),
        (P, {"y": [0, 1]}, "y: expected 4 entries, one per row, got 2"),
        (P, {"y": 1}, "y: expected 4 entries, one per row, got a single value"),
        (P, {"y": [0, 1, None, 1]}, "y: expected a value for every row, got 1 missing"),
        (P, {"y": [0, 1, np.nan, 1]}, "y: expected a value for every row, got 1 missing"),
        (
            P,
            {"y": ["a", "b", "c", "a"]},
            "y: expected 2 classes with one probability per row, got 3",
        ),
        (P, {"y": [1, 1, 1, 1]}, "y: expected rows of at least 2 classes, got rows of 1"),
        (P, {"y": ["a", "b", "c", "a"]}, "y: expected 2 classes with one .*, got 3"),
        (P, {"y": [[0, 1]] * 4, "classes": [0, 1]}, "y: expected one label per row, got 2"),
        (P, {"y": [1, 1, 1, 1], "classes": [0, 1]}, "y: expected rows of at least 2 classes"),
        (P, {"y": [0, 1, 2, 1], "classes": [0, 1]}, "only the 2 classes .* others in 1 row"),
        (P, {"y": [0.5, 1, 2, np.inf]}, "y: expected finite numbers, got infinity"),
        (P, {"y": [[1.0, 2.0]] * 4}, r"predictions: expected 2 target\(s\) per row like y, got 1"),
        (["a"] * 4, {"y": [0, 1, 0, 1]}, "predictions: expected numbers .* use predict_proba"),
        ([0.1, 0.2, 0.3, np.nan], {"y": [0, 1, 0, 1]}, "predictions: .* NaN or infinity in 1 row"),
        ([-3.0, 0.2, 4.0, 0.1], {"y": [0, 1, 0, 1]}, "probabilities from 0 to 1, got others in 2"),
        ([], {"y": []}, r"predictions: expected shape .* at least one row, got \(0,\)"),
        ([[0.1, 0.2]] * 4, {"y": [0, 1, 0, 1]}, "rows that sum to 1, got other sums in 4 row"),
        ([[0.1, 0.9]] * 4, {"y": ["a", "b", "c", "a"]}, "each of 3 classes, got 2 column"),
        (P, {"y": [0, 1, 0, 1], "groups": [1, 2]}, "groups: expected 4 entries, one per row"),
        (P, {"y": [0, 1, 0, 1], "groups": ["a", None, "b", "c"]}, "groups: .* got 1 missing"),
        (P, {"y": [0, 1, 0, 1], "groups": [[1, 1]] * 4}, "groups: expected one label per row"),
        (P, {"X": [1, 2], "y": [0, 1, 0, 1]}, "X: expected None beside predictions"),
    ],
)
def test_unusable_input_is_refused(predictions, options, message):
    with pytest.raises(InputError, match=message):
        evaluate(predictions, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_bootstrap": 0}, "n_bootstrap: expected an integer of at least 1, got 0"),
        ({"confidence": 95}, "confidence: expected a number in"),
        ({"threshold": 1.5}, r"threshold: expected a number in \[0, 1\], got 1.5"),
        ({"prevalence": 0}, r"prevalence: expected a number in \(0, 1\), got 0"),
        ({"thresholds": 0.5}, "thresholds: expected two numbers"),
        ({"thresholds": (0.4, 0.1)}, "thresholds: expected two numbers"),
        ({"thresholds": (0.1, 0.999)}, "thresholds: expected two numbers"),
        ({"mic": 1.0}, "mic: expected None for a binary task"),
        ({"ordinal": True}, "ordinal: expected False for a binary task"),
        ({"random_state": "x"}, "random_state: expected None"),
    ],
)
def test_unusable_parameters_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        evaluate(P, y=[0, 1, 0, 1], **options)


def test_unusable_models_are_refused(rows):
    classifier = SVC().fit(rows.X, rows.y)
    with pytest.raises(ConfigurationError, match="classifier with predict_proba, got SVC"):
        evaluate(classifier, rows.X, rows.y)
    with pytest.raises(InputError, match="X and y: expected both beside a model"):
        evaluate(classifier, rows.X)
    regressor = LinearRegression().fit(rows.X, rows.target)
    with pytest.raises(ConfigurationError, match="threshold: expected None for a regression task"):
        evaluate(regressor, rows.X, rows.target, threshold=0.5)
    with pytest.raises(InputError, match="y: expected numbers for a regressor"):
        evaluate(regressor, rows.X, np.full(N, "tall"))
    classifier = LogisticRegression().fit(rows.X, rows.y)
    classifier.threshold_ = 7
    with pytest.raises(ConfigurationError, match="model.threshold_: expected a number"):
        evaluate(classifier, rows.X, rows.y)


def test_unusable_rules_are_refused(rows):
    table, labels = rng_classes(rows)
    with pytest.raises(ConfigurationError, match="ordinal: expected the classes in order"):
        evaluate(table, y=labels, ordinal=True)
    for strange in (["hernia", "normal"], ["hernia", "normal", "ship"], "hernia"):
        with pytest.raises(ConfigurationError, match="ordinal: expected True, or each of the 3"):
            evaluate(table, y=labels, ordinal=strange)
    with pytest.raises(ConfigurationError, match="prevalence: expected None for a multiclass"):
        evaluate(table, y=labels, prevalence=0.1)
    with pytest.raises(ConfigurationError, match="mic: expected one number, or one for each of 1"):
        evaluate(rows.X[:, 1], y=rows.target, mic=[1, 2])
    with pytest.raises(ConfigurationError, match="mic: expected a number in"):
        evaluate(rows.X[:, 1], y=rows.target, mic=-1)


def test_messages_show_no_cell():
    secret = "Jane Doe"
    for options in ({"y": [secret, "b", "c", "d"]}, {"y": [0, 1, 0, 1], "groups": [secret]}):
        with pytest.raises(InputError) as caught:
            evaluate(P, **options)
        assert secret not in str(caught.value)


def test_judging_needs_no_torch():
    code = (
        "import sys; from asfusion.evaluation.report import evaluate; "
        "evaluate([.1, .9], y=[0, 1], n_bootstrap=5)._repr_html_(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
