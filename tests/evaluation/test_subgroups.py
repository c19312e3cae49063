"""A planted bias is found, none is not, small cells are kept back."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression

import asfusion as af
from asfusion.evaluation._subgroup_scores import holm
from asfusion.evaluation.report import Report
from asfusion.exceptions import ColumnError, ConfigurationError, InputError

FAST = {"n_bootstrap": 200}


def people(n, seed, bias=0.0, visits=1):
    """Patients of three sites; at site c the prediction knows less by `bias`."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n), visits)
    site = rng.choice(["a", "b", "c"], n)[patient]
    sex = rng.choice(["f", "m"], n)[patient]
    z = 1.5 * rng.normal(size=n)
    y = (rng.random(n) < expit(z)).astype(int)[patient]
    known = np.where(site == "c", (1 - bias) * z[patient], z[patient])
    return {"site": site, "sex": sex}, y, expit(known), patient


def beyond(audit):
    """Return factor and score of gaps that remain after correction."""
    frame = audit.to_frame()
    kept = frame[frame["adjusted"] <= 0.05].reset_index()
    return set(zip(kept["factor"], kept["level"], kept["score"], strict=True))


def test_a_planted_bias_is_found_with_power_and_none_is_not():
    found, false = 0, 0
    for seed in range(25):
        by, y, p, patient = people(400, seed, bias=1.0, visits=2)
        audit = af.audit_subgroups(p, y=y, by=by, groups=patient, **FAST)
        found += ("site", "c", "auc") in beyond(audit)
        by, y, p, patient = people(400, seed + 100, visits=2)
        false += bool(beyond(af.audit_subgroups(p, y=y, by=by, groups=patient, **FAST)))
    assert found / 25 >= 0.8
    assert false / 25 <= 0.16  # aimed at 0.05: more than 4 of 25 have a probability of 1 %


def test_repeated_visits_do_not_make_gaps_certain():
    by, y, p, patient = people(120, 3, visits=6)
    rows = af.audit_subgroups(p, y=y, by=by, **FAST).to_frame()
    patients = af.audit_subgroups(p, y=y, by=by, groups=patient, **FAST).to_frame()
    wide = (patients["gap_high"] - patients["gap_low"]) / (rows["gap_high"] - rows["gap_low"])
    assert wide.median() == pytest.approx(np.sqrt(6), rel=0.25)


def test_estimates_are_those_of_fairlearn():
    fairlearn = pytest.importorskip("fairlearn.metrics")
    from sklearn.metrics import recall_score, roc_auc_score

    by, y, p, _ = people(500, 4, bias=0.5)
    frame = af.audit_subgroups(p, y=y, by=by, threshold=0.4, **FAST).to_frame()["estimate"]
    for name, score, predicted in (
        ("auc", roc_auc_score, p),
        ("sensitivity", recall_score, (p >= 0.4).astype(int)),
    ):
        theirs = fairlearn.MetricFrame(
            metrics=score, y_true=y, y_pred=predicted, sensitive_features=by["site"]
        ).by_group
        for level, value in theirs.items():
            assert frame["site", level, name] == pytest.approx(value, abs=1e-12)


def test_scores_and_gaps_by_hand():
    by, y, p, _ = people(500, 5)
    audit = af.audit_subgroups(p, y=y, by={"sex": by["sex"]}, threshold=0.3, **FAST)
    frame = audit.to_frame()
    female = by["sex"] == "f"
    called = p[female] >= 0.3
    benefit = (called & (y[female] == 1)).mean() - (called & (y[female] == 0)).mean() * 0.3 / 0.7
    assert frame.loc[("sex", "f", "net_benefit"), "estimate"] == pytest.approx(benefit)
    assert np.isnan(frame.loc[("sex", "f", "net_benefit"), "gap"])
    one, other = frame.loc[("sex", "f")], frame.loc[("sex", "m")]
    gap = one["estimate"] - other["estimate"]
    assert one.loc["auc", "gap"] == pytest.approx(gap["auc"])
    assert other.loc["auc", "gap"] == pytest.approx(-gap["auc"])
    assert audit.n_gaps == 5, "two halves have one gap, seen from two sides"
    assert one.loc["auc", "p_value"] == pytest.approx(other.loc["auc", "p_value"])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_small_cells_are_kept_back_and_cannot_be_inferred():
    by, y, p, patient = people(300, 6)
    site = np.where(np.arange(300) < 7, "rare", by["site"])
    audit = af.audit_subgroups(p, y=y, by={"site": site}, groups=patient, **FAST)
    cells = {part.level: part for part in audit.subgroups}
    assert (cells["rare"].n_rows, cells["rare"].refused) == (None, "under 10")
    assert cells["rare"].scores == cells["rare"].gaps == {}
    assert sum(part.n_rows is None for part in audit.subgroups) == 2, "one would follow"
    assert "under 10" in repr(audit)
    assert "10 or more" in repr(audit)
    shown = json.dumps(audit._state(), default=str)
    assert '"n_rows": 7' not in shown
    few = np.where((np.arange(300) < 60) & (y == 0), "mostly well", by["site"])
    few[np.flatnonzero(y == 1)[:4]] = "mostly well"
    refused = {p.level: p for p in af.audit_subgroups(p, y=y, by={"s": few}, **FAST).subgroups}
    assert refused["mostly well"].refused == "under 10 of a class"
    assert refused["mostly well"].n_rows is not None
    one_patient = np.where(np.arange(300) < 40, "clinic", by["site"])
    same = np.where(np.arange(300) < 40, 0, np.arange(300))
    audit = af.audit_subgroups(p, y=y, by={"s": one_patient}, groups=same, **FAST)
    assert next(q for q in audit.subgroups if q.level == "clinic").refused == "under 10"


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(7)
    X = pd.DataFrame(
        {
            "crp": rng.normal(size=300),
            "bmi": rng.normal(size=300),
            "age": rng.integers(18, 80, 300).astype(float),
            "sex": rng.choice(["f", "m"], 300),
            "b27": rng.choice([0, 1], 300),
        }
    )
    X.loc[:39, "crp"] = np.nan
    X.loc[50:70, "age"] = np.nan
    y = (X["crp"].fillna(0) + X["bmi"] + rng.logistic(size=300) > 0).astype(int).to_numpy()
    encoders = {"labs": af.TabularEncoder(["crp"]), "body": af.TabularEncoder(["bmi"])}
    model = af.EarlyFusionClassifier(encoders, verbose=0, random_state=0).fit(X, y)
    return model, X, y


def levels(audit, factor):
    return [part.level for part in audit.subgroups if part.factor == factor]


@pytest.mark.parametrize("library", [pd, pl])
def test_columns_bands_and_modalities(table, library):
    model, X, y = table
    X = X if library is pd else pl.from_pandas(X)
    by = ["sex", "age", "b27", "modalities"]
    audit = af.audit_subgroups(model, X, y, by=by, bands={"age": (40, 60)}, **FAST)
    assert levels(audit, "age") == ["under 40", "40 to under 60", "60 and over", "missing"]
    assert levels(audit, "b27") == ["0", "1"]
    assert levels(audit, "modalities") == ["body", "labs + body"]
    thirds = af.audit_subgroups(model, X, y, by="age", **FAST)
    sizes = [part.n_rows for part in thirds.subgroups]
    assert len(sizes) == 4
    assert min(sizes[:3]) > 70
    again = af.audit_subgroups(model, X, y, by=by, bands={"age": (40, 60)}, **FAST)
    pd.testing.assert_frame_equal(audit.to_frame(), again.to_frame())


def test_few_rows_of_many_numbers_are_cut_rather_than_listed(table):
    model, X, y = table
    ages = np.repeat([34.0, 39, 51, 55, 61, 64, 65, 74], 5)
    audit = af.audit_subgroups(model, X[:40], y[:40], by={"age": ages}, **FAST)
    assert levels(audit, "age") == ["under 51", "51 to under 64", "64 and over"]
    grades = np.arange(40) % 8
    assert (
        len(levels(af.audit_subgroups(model, X[:40], y[:40], by={"g": grades}, **FAST), "g")) == 3
    )
    for few in ([0, 1, 2], [0, 1]):
        by = {"code": np.resize(few, 12)}
        audit = af.audit_subgroups(model, X[:12], y[:12], by=by, **FAST)
        assert levels(audit, "code") == [str(code) for code in few]
    plenty = af.audit_subgroups(model, X, y, by={"g": np.arange(300) % 8}, **FAST)
    assert levels(plenty, "g") == [str(grade) for grade in range(8)]


def test_the_report_carries_the_audit(table):
    model, X, y = table
    report = af.evaluate(model, X, y, subgroups=["sex"], **FAST)
    alone = af.audit_subgroups(model, X, y, by=["sex"], **FAST)
    pd.testing.assert_frame_equal(report.subgroups.to_frame(), alone.to_frame())
    again = Report.from_json(report.to_json())
    assert again.to_json() == report.to_json()
    assert repr(again) == repr(report)
    assert "sex = f" in repr(report)
    assert "By subgroup" in report._repr_html_()
    plain = af.evaluate(model, X, y, **FAST)
    assert plain.subgroups is None
    assert Report.from_json(plain.to_json()).subgroups is None


def test_other_tasks():
    rng = np.random.default_rng(8)
    X, sex = rng.normal(size=(300, 3)), rng.choice(["f", "m"], 300)
    target = X[:, 0] + np.where(sex == "f", 0.8, 0.0) + 0.3 * rng.normal(size=300)
    model = LinearRegression().fit(X, target)
    audit = af.audit_subgroups(model, X, target, by={"sex": sex}, **FAST)
    assert ("sex", "f", "mean_error") in beyond(audit)
    frame = audit.to_frame()["estimate"]
    error = (model.predict(X) - target)[sex == "f"].mean()
    assert frame["sex", "f", "mean_error"] == pytest.approx(error)
    three = np.argmax(X + rng.gumbel(size=X.shape), axis=1)
    audit = af.audit_subgroups(
        LogisticRegression().fit(X, three), X, three, by={"sex": sex}, **FAST
    )
    assert {"auc", "brier"} <= set(audit.subgroups[0].scores)
    for drawn in (audit.plot(), af.audit_subgroups(model, X, target, by={"s": sex}, **FAST).plot()):
        assert len(drawn) == 2
    plt.close("all")


def test_words_and_pictures():
    by, y, p, patient = people(500, 9, bias=1.0)
    audit = af.audit_subgroups(p, y=y, by=by, groups=patient, **FAST)
    assert "Beyond chance (Holm's correction): AUC in site = c -" in audit.verdict
    assert "by chance alone" in audit.verdict
    by_fair, y_fair, p_fair, _ = people(500, 10)
    fair = af.audit_subgroups(p_fair, y=y_fair, by=by_fair, **FAST)
    assert "That is no proof of equality: the interval for" in fair.verdict
    tiny = af.audit_subgroups(p[:30], y=y[:30], by={"x": np.arange(30) // 15}, **FAST)
    assert tiny.verdict.startswith("No two subgroups are large enough")
    axes = audit.plot(["auc"])
    assert axes[0].get_yticklabels()[0].get_text() == "all (500)"
    _, given = plt.subplots(1, 2)
    assert audit.plot(axes=given)[0] is given[0]
    plt.close("all")
    html = af.audit_subgroups(p, y=y, by={"<script>": by["site"]}, **FAST)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt; = a" in html
    for bad, match in ((["acu"], "scores: expected some of"), ([], "scores: expected some of")):
        with pytest.raises(ConfigurationError, match=match):
            audit.plot(bad)
    with pytest.raises(ConfigurationError, match="axes: expected 1 matplotlib Axes"):
        audit.plot("auc", axes=[1])


def test_what_divides_nothing_is_refused(table):
    model, X, y = table
    p = model.predict_proba(X)[:, 1]
    audit = af.audit_subgroups
    with pytest.raises(ColumnError, match="by: expected the column 'gender' in X"):
        audit(model, X, y, by=["gender"])
    with pytest.raises(ConfigurationError, match="a dict of name to values beside predictions"):
        audit(p, y=y, by=["sex"])
    with pytest.raises(ConfigurationError, match="names of columns, or a dict"):
        audit(model, X, y, by=3)
    with pytest.raises(ConfigurationError, match="at least one column or mapping entry"):
        audit(model, X, y, by=[])
    with pytest.raises(InputError, match=r"by\['s'\]: expected 300 values, one per row, got 2"):
        audit(p, y=y, by={"s": [1, 2]})
    with pytest.raises(InputError, match=r"by\['s'\]: expected one value per row, got 2 dim"):
        audit(p, y=y, by={"s": np.ones((300, 2))})
    with pytest.raises(InputError, match="looks like an identifier"):
        audit(p, y=y, by={"name": [f"n{i}" for i in range(300)]})
    with pytest.raises(ConfigurationError, match=r"'modalities' needs a model with named modal"):
        audit(LogisticRegression().fit(X[["bmi"]], y), X[["bmi"]], y, by="modalities")
    with pytest.raises(ConfigurationError, match="bands: expected factors among 'sex', got 'age'"):
        audit(model, X, y, by="sex", bands={"age": (40,)})
    with pytest.raises(ConfigurationError, match=r"bands\['sex'\]: expected a factor of numbers"):
        audit(model, X, y, by="sex", bands={"sex": (40,)})
    for edges in ((60, 40), "old", (), (np.nan,)):
        with pytest.raises(ConfigurationError, match=r"bands\['age'\]: expected rising numbers"):
            audit(model, X, y, by="age", bands={"age": edges})


def test_long_names_of_factors_and_levels_leave_room():
    by, y, p, _ = people(200, 0)
    name = "the department that the ward wrote down at admission " * 2
    levels = {"f": "x" * 100, "m": "a level of many words " * 5}
    audit = af.audit_subgroups(p, y=y, by={name: [levels[s] for s in by["sex"]]}, **FAST)
    axes = audit.plot()
    axes[0].figure.canvas.draw()  # warns, which fails a test, where there is no room
    assert axes[0].get_position().width > 0.2
    assert name.strip() in repr(audit)
    plt.close("all")
