"""A planted shift is found by its name, rows that do not differ find nothing, no cell is kept."""

import dataclasses
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import asfusion as af
from asfusion._frames import Frame
from asfusion.exceptions import ColumnError, ConfigurationError, InputError
from asfusion.sites import Reference, make_reference
from asfusion.sites._outcome import closed_test
from asfusion.sites._sums import FEWEST, sum_up

FAST = {"n_bootstrap": 60}


def make_rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "crp": rng.gamma(2, 5, n),
            "haemoglobin": rng.normal(140, 12, n),
            "age": rng.integers(20, 70, n).astype(float),
            "smoker": rng.random(n) < 0.3,
            "drug": rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]),
        }
    )
    X.loc[rng.random(n) < 0.1, "age"] = np.nan
    z = -2.2 + 0.15 * X["crp"].to_numpy() + 0.8 * X["smoker"].to_numpy()
    risk = 1 / (1 + np.exp(-z))
    return X, (rng.random(n) < risk).astype(int), risk


@pytest.fixture(scope="module")
def reference():
    X, y, risk = make_rows()
    return make_reference(risk, X, y, **FAST)


def validate(reference, X, y=None, risk=None, **options):
    return af.external_validation(risk, X, y, reference=reference, **FAST, **options)


def test_rows_that_do_not_differ_find_nothing(reference):
    looks = [validate(reference, *make_rows(300, seed)) for seed in range(1, 9)]
    quiet = [found for found in looks if not found.found]
    assert len(quiet) >= 7  # of many, one in twenty is not: benchmarks/external.py counts them
    assert {len(found.findings) for found in looks} == {14}
    verdict = quiet[0].verdict
    assert "No input differs" in verdict and "does not differ" in verdict


@pytest.mark.parametrize(
    ("column", "change", "unit"),
    [
        ("crp", lambda x: x / 10, "mg/dL for mg/L"),
        ("haemoglobin", lambda x: x / 16.114, "mmol/L for g/L"),
        ("haemoglobin", lambda x: x / 10, "g/dL for g/L"),
        ("age", lambda x: x * 10, "times 10"),
        ("age", lambda x: x + 8, ""),
        ("crp", lambda x: x * 1.6, ""),
    ],
)
def test_a_shift_is_found_and_another_unit_is_named(reference, column, change, unit):
    X, _, _ = make_rows(300, 1)
    found = validate(reference, X.assign(**{column: change(X[column])}))
    told = [(f.name, f.kind, f.unit) for f in found.found]
    assert told == [(column, "distribution", unit)]


def test_missing_cells_levels_and_flags_are_found(reference):
    X, _, _ = make_rows(300, 2)
    rng = np.random.default_rng(0)
    changed = X.assign(age=X["age"].where(rng.random(300) < 0.6), smoker=~X["smoker"])
    changed["drug"] = np.where(rng.random(300) < 0.2, "new", X["drug"])
    found = {(f.name, f.kind) for f in validate(reference, changed).found}
    assert found == {("age", "missing"), ("smoker", "distribution"), ("drug", "distribution")}
    empty = validate(reference, X.assign(age=np.nan)).found
    assert [(f.name, f.kind) for f in empty] == [("age", "missing")]


@pytest.mark.parametrize(
    ("shift", "slope", "kinds", "update"),
    [
        (1.2, 1.0, {"intercept", "prevalence"}, "intercept"),
        (0.0, 0.25, {"slope"}, "slope"),
        (0.0, 1.0, set(), "none"),
    ],
)
def test_what_has_to_be_updated_is_told(reference, shift, slope, kinds, update):
    X, _, risk = make_rows(900, 5)
    odds = np.log(risk / (1 - risk))
    y = np.random.default_rng(1).random(900) < 1 / (1 + np.exp(-(shift + slope * odds)))
    found = validate(reference, X, y.astype(int), risk)
    assert (
        kinds
        <= {f.kind for f in found.found}
        <= kinds | {"discrimination", "prevalence", "intercept"}
    )
    assert found.update == update


def test_inputs_that_say_more_than_the_prediction_ask_for_a_refit(reference):
    X, _, risk = make_rows(900, 6)
    z = np.log(risk / (1 - risk)) + 0.1 * (X["haemoglobin"].to_numpy() - 140)
    y = (np.random.default_rng(0).random(900) < 1 / (1 + np.exp(-z))).astype(int)
    found = validate(reference, X, y, risk)
    assert found.update == "refit" and "refitted" in found.verdict


def test_a_narrower_case_mix_is_no_fault_of_the_model(reference):
    X, y, risk = make_rows(2000, 7)
    alike = np.abs(np.log(risk / (1 - risk)) + 0.8) < 0.6
    found = validate(reference, X[alike], y[alike], risk[alike])
    change = found.new.auc - found.reference.auc
    assert change < -0.1 and found.case_mix < 0.7 * change
    assert "discrimination" not in {f.kind for f in found.found}


def test_the_auc_is_the_usual_one_and_the_expected_one_that_of_true_probabilities():
    X, y, risk = make_rows(3000, 8)
    outcome = make_reference(risk.round(2), X, y, **FAST).outcome
    assert outcome.auc == pytest.approx(roc_auc_score(y, risk.round(2)))
    assert outcome.expected_auc == pytest.approx(outcome.auc, abs=0.03)


def test_no_cell_and_no_count_below_five_is_kept():
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X, _, _ = make_rows(int(rng.integers(20, 90)), seed)
        X["rare"] = np.where(np.arange(len(X)) < 3, "unique", "usual")
        X["note"] = [f"patient {i} has back pain" for i in range(len(X))]
        X.loc[:2, "crp"] = np.nan
        made = make_reference(None, X)
        assert "note" not in made.columns and "unique" not in made.to_json()
        assert made.columns["crp"].n_missing == 0
        for sums in made.columns.values():
            counts = [n for n in (sums.n_missing, *sums.counts) if n]
            assert min(counts) >= FEWEST
        cells = set(X["crp"].dropna()) | set(X["haemoglobin"])
        for name in ("crp", "haemoglobin"):
            kept = made.columns[name]
            assert not cells & {kept.mean, kept.middle, kept.spread, *kept.cuts}


def test_a_reference_is_read_as_it_was_written_and_nothing_else_is(reference):
    again = Reference.from_json(reference.to_json())
    assert again.to_json() == reference.to_json()
    assert "no cell is kept" in repr(again) and "<table" in again._repr_html_()
    assert list(again.to_frame().index) == list(reference.columns)
    state = json.loads(reference.to_json())
    odd = [
        "{}", "[]", "null", "3", "{", "[" * 100_000,
        json.dumps({**state, "format": "other"}),
        json.dumps({**state, "n_rows": -1}),
        json.dumps({**state, "columns": {"crp": {"n_missing": 0}}}),
        json.dumps({**state, "outcome": {**state["outcome"], "n_positive": 0}}),
        json.dumps({**state, "outcome": {**state["outcome"], "more": 1}}),
        json.dumps({**state, "presence": {"labs": 10**9}}),
    ]  # fmt: skip
    for text in odd:
        with pytest.raises(InputError, match="expected a reference as JSON"):
            Reference.from_json(text)


def test_a_fitted_model_a_report_and_patients_with_several_rows():
    X, y, _ = make_rows(300, 3)
    labs = af.TabularEncoder(["crp", "haemoglobin", "smoker"])
    drug = af.TabularEncoder(["drug"])
    model = af.EarlyFusionClassifier({"labs": labs, "drug": drug}, verbose=0).fit(X, y)
    own, truth, _ = make_rows(300, 4)
    reference = make_reference(model, own, truth, **FAST)
    assert set(reference.columns) == {"crp", "haemoglobin", "smoker", "drug"}
    assert reference.presence == {"labs": 300, "drug": 300}
    new, answer, _ = make_rows(200, 5)
    new.loc[:80, "drug"] = None
    found = af.external_validation(model, new, answer, reference=reference, **FAST)
    assert {(f.name, f.kind) for f in found.found} == {("drug", "missing")}
    report = af.evaluate(model, own, truth, n_bootstrap=60)
    outcomes = af.external_validation(model, new, answer, reference=report, **FAST)
    assert not outcomes.has_inputs and "make_reference" in repr(outcomes)
    assert np.isnan(outcomes.case_mix)
    twice = pd.concat([new, new], ignore_index=True)
    patients = np.tile(np.arange(len(new)), 2)
    again = af.external_validation(
        model, twice, np.tile(answer, 2), reference=reference, groups=patients, **FAST
    )
    assert again.n_rows == 200
    inputs = [f for f in found.findings if f.name != "outcome"]
    assert [f for f in again.findings if f.name != "outcome"] == inputs
    assert again.new.auc_error == pytest.approx(found.new.auc_error, rel=0.4)


def test_a_result_shows_itself(reference, tmp_path):
    X, y, risk = make_rows(300, 9)
    found = validate(reference, X.assign(crp=X["crp"] / 10), y, risk)
    assert "crp looks like another unit (mg/dL for mg/L)" in repr(found)
    assert "since the patients differ" in repr(found)
    frame = found.to_frame()
    assert frame["is_found"].iloc[0] and frame["name"].iloc[0] == "crp"
    page = found.to_html(tmp_path / "page.html").read_text()
    assert "External validation" in page and "<script" not in page
    axes = found.plot()
    assert [axis.get_title() for axis in axes] == ["Inputs", "Outcome"]
    plt.close(axes[0].figure)
    assert "<img" in validate(reference, X)._repr_html_()
    with pytest.raises(ConfigurationError, match="axes: expected 2 matplotlib Axes"):
        found.plot(axes=[1])


def test_what_cannot_be_compared_is_refused(reference):
    X, y, risk = make_rows(100, 1)
    wrong = [
        (ColumnError, "crp", lambda: validate(reference, X.drop(columns="crp"))),
        (ColumnError, "'crp': expected numbers", lambda: validate(reference, X.assign(crp="low"))),
        (InputError, "at least 20 patients, got 9", lambda: validate(reference, X.head(9))),
        (InputError, "at least 10 rows of each class", lambda: validate(reference, X, 0 * y + (np.arange(100) < 2), risk)),  # noqa: E501
        (ConfigurationError, "reference: expected what", lambda: validate({}, X)),
        (ConfigurationError, "classes of the reference", lambda: validate(reference, X, np.where(y, "yes", "no"), risk)),  # noqa: E501
        (ConfigurationError, "two classes", lambda: validate(reference, X, y + 0.5 * risk, risk)),
        (InputError, "y_new: expected", lambda: validate(af.evaluate(risk, y=y, **FAST), X)),
        (ConfigurationError, "report of two classes", lambda: validate(af.evaluate(risk, y=risk, n_bootstrap=50), X, y, risk)),  # noqa: E501
    ]  # fmt: skip
    for kind, said, call in wrong:
        with pytest.raises(kind, match=said):
            call()


def test_a_closed_test_without_inputs_has_three_answers():
    _, y, risk = make_rows(500, 2)
    update, p_values = closed_test(y == 1, risk, np.zeros((500, 0)))
    assert update == "none" and set(p_values) == {"none", "intercept", "slope"}
    assert p_values["slope"] == 1.0


def test_constant_columns_are_compared_as_they_are():
    X = pd.DataFrame({"same": np.full(50, 3.0), "few": np.r_[np.ones(4), np.full(46, np.nan)]})
    reference = make_reference(None, X)
    assert list(reference.columns) == ["same"]
    assert not validate(reference, X).found
    assert [f.name for f in validate(reference, X.assign(same=4.0)).found] == ["same"]
    assert sum_up(Frame.read(X), "few") is None
    assert dataclasses.is_dataclass(reference)
