"""Sites share sums and weights: enough to learn together, too little to show a row."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

import asfusion as af
from asfusion._frames import Frame
from asfusion.exceptions import ColumnError, ConfigurationError, InputError, ShapeError
from asfusion.federated import (
    Coordinator,
    FedAdam,
    FedAvg,
    ScoreCounts,
    Site,
    Summary,
    Task,
    Update,
    make_plan,
    read_plan,
    simulate,
)
from asfusion.federated.plan import describe_model
from asfusion.tabular.told import tell_columns, tell_numbers

WORDS = ["stiff at night", "better by rest", "pain by night", "uveitis before"]


def rows(n: int = 160, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    crp = np.exp(rng.normal(size=n) + y)
    crp[rng.random(n) < 0.1] = np.nan
    return pd.DataFrame(
        {
            "crp": crp,
            "b27": np.where(rng.random(n) < 0.25, None, rng.random(n) < 0.2 + 0.5 * y),
            "sex": rng.choice(["f", "m"], n),
            "rs1": rng.integers(3, size=n).astype(float),
            "note": [WORDS[k] for k in np.clip(rng.integers(3, size=n) + y, 0, 3)],
        }
    ), y


def model(**settings: Any) -> Any:
    encoders = {
        "labs": af.TabularEncoder(["crp", "b27", "sex"]),
        "notes": af.TextEncoder("note", backbone="tfidf"),
        "genes": af.GenotypeEncoder(["rs1"]),
    }
    return af.JointFusionClassifier(encoders, verbose=0, **settings)


@pytest.fixture(scope="module")
def hospitals() -> dict[str, Site]:
    X, y = rows()
    return {
        name: Site(model(), X[part::2].drop(columns=lost), y[part::2])
        for part, (name, lost) in enumerate({"north": [], "south": ["note"]}.items())
    }


@pytest.fixture(scope="module")
def plan(hospitals: dict[str, Site]) -> Any:
    made = make_plan(model(), {name: site.summary() for name, site in hospitals.items()})
    for site in hospitals.values():
        site.join(read_plan(made.to_bytes(), model()))
    return made


# -- what is told ------------------------------------------------------------------------


def counts_of(state: dict[str, Any]) -> list[int]:
    """Return every count in a summary."""
    found = []
    for key, value in state.items():
        if key in ("n_rows", "n_missing"):
            found.append(value)
        elif key in ("levels", "terms"):
            found += value.values()
        elif key == "bins":
            found += [n for _, n, _ in value]
        elif isinstance(value, dict):
            found += counts_of(value)
    return found


cells = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(0, 2).map(float))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(cells, st.sampled_from([None, "a", "b", "c"]), st.booleans()), max_size=60),
    st.integers(2, 7),
)
def test_no_count_under_the_floor_is_told(table: list[Any], least: int) -> None:
    X = pd.DataFrame(table, columns=["x", "level", "flag"]).astype({"x": float})
    told = tell_columns(Frame.read(X), X.columns, least)
    assert all(n == 0 or n >= least for n in counts_of(told.to_state()))
    for sums in told.columns.values():
        assert sums.n_rows == told.n_rows  # nothing follows from a difference
    assert told.n_rows in (0, len(X)) or len(X) - told.n_rows >= least


def test_a_summary_holds_no_cell_and_comes_back_as_it_was(hospitals: dict[str, Site]) -> None:
    for site in hospitals.values():
        data = site.summary().to_bytes()
        assert all(n == 0 or n >= 5 for n in counts_of(json.loads(data)))
        assert Summary.from_bytes(data).to_bytes() == data


def test_numbers_of_few_values_keep_them() -> None:
    told = tell_numbers(np.repeat([0.0, 1.0, 2.0], 20), 5)
    assert [(n, mean) for _, n, mean in told.bins] == [(20, 0.0), (20, 1.0), (20, 2.0)]


def test_encoders_of_a_plan_read_nearly_as_those_of_all_rows(plan: Any) -> None:
    X, _ = rows()
    fitted = plan.estimator().encoders_
    pooled = {"labs": ["crp", "b27", "sex"], "genes": ["rs1"]}
    for name, columns in pooled.items():
        own = fitted[name].transform(X)
        all_rows = model().encoders[name].fit(X[columns]).transform(X)
        assert own.shape == all_rows.shape
        np.testing.assert_allclose(own, all_rows, rtol=0.15, atol=0.15)


def test_words_weigh_as_in_all_notes() -> None:
    X, y = rows(200)
    one = af.TextEncoder("note", backbone="tfidf").fit(X)
    site = Site(af.JointFusionClassifier({"notes": one}, verbose=0), X, y)
    told = make_plan(site.model, [site.summary()]).estimator().encoders_["notes"]
    assert told.tfidf_["terms"] == one.tfidf_["terms"]
    np.testing.assert_allclose(told.tfidf_["idf"], one.tfidf_["idf"])
    ratio = told.tfidf_["scale"] / one.tfidf_["scale"]
    assert ((ratio > 0.4) & (ratio < 2.5)).all()


def test_a_site_says_in_which_unit_a_column_is() -> None:
    X, y = rows()
    labs = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp"])}, verbose=0)
    here, there = X[["crp"]], X[["crp"]] / 10
    same = Site(labs, there, y, units={"crp": "mg/dL"}).summary()
    assert same.modalities["labs"].columns["crp"].median == pytest.approx(
        Site(labs, here, y).summary().modalities["labs"].columns["crp"].median, rel=0.05
    )
    with pytest.warns(af.exceptions.AsfusionWarning, match="in the median of 'crp': are they in"):
        make_plan(labs, [Site(labs, here, y).summary(), Site(labs, there, y).summary()])
    with pytest.raises(ConfigurationError, match="units: expected names of columns"):
        Site(labs, here, y, units={"esr": "mm/h"})


# -- rounds ------------------------------------------------------------------------------


def test_sites_learn_together_and_each_by_what_it_has(
    hospitals: dict[str, Site], plan: Any
) -> None:
    start = plan.weights()
    updates = {name: site.fit_round(start, epochs=1) for name, site in hospitals.items()}
    assert not [name for name in updates["south"].weights if name.startswith("encoders.notes.")]
    assert updates["south"].n_present["notes"] == 0
    learned = FedAvg().aggregate(start, updates)
    only = next(name for name in start if name.startswith("encoders.notes."))
    np.testing.assert_allclose(learned[only], updates["north"].weights[only])
    again = hospitals["north"].fit_round(start, epochs=1)
    assert again.to_bytes() == updates["north"].to_bytes()  # a site that restarts says the same
    data = updates["south"].to_bytes()
    assert Update.from_bytes(data).to_bytes() == data


def test_one_round_of_one_site_is_a_fit_from_the_plan(plan: Any, hospitals: Any) -> None:
    before = plan.weights()
    assert {name: a.shape for name, a in before.items()} == {
        name: a.shape for name, a in plan.weights().items()
    }
    with pytest.raises(ShapeError, match="Weights"):
        hospitals["north"].fit_round({"odd": np.zeros(1)})


def test_simulation_beats_chance_and_its_model_can_be_saved(tmp_path: Any) -> None:
    X, y = rows(300, seed=1)
    hospital = np.asarray(["north", "south", "west"])[np.arange(300) % 3]
    run = simulate(model(), X, y, hospital, rounds=3, epochs=2, holdout=0.3, verbose=0)
    assert run.rounds_[-1].auc > 0.6
    assert "What left a site" in repr(run) and "<img" in run._repr_html_()
    assert len(run.to_frame()) == 9
    run.model_.save(tmp_path / "model.asf")
    loaded = af.load(tmp_path / "model.asf")
    np.testing.assert_allclose(loaded.predict_proba(X), run.model_.predict_proba(X), atol=1e-6)
    run.plot().figure.clear()


def test_numbers_are_learned_across_sites_too() -> None:
    X, y = rows(120)
    target = 2.0 * y + 5.0 + np.random.default_rng(0).normal(size=120) / 5
    labs = af.JointFusionRegressor({"labs": af.TabularEncoder(["crp", "b27", "sex"])}, verbose=0)
    run = simulate(labs, X, target, np.arange(120) % 2, rounds=2, holdout=0.0, verbose=0)
    assert abs(run.model_.predict(X).mean() - target.mean()) < 1.0


def test_a_personal_head_stays_at_its_site() -> None:
    X, y = rows(80)
    site = Site(model(class_weight="balanced"), X, y, personal="head")
    plan = make_plan(site.model, [site.summary()])
    update = site.join(plan).fit_round(plan.weights(), epochs=1)
    assert not [name for name in update.weights if name.startswith("head")]
    own = site.model_of(FedAvg().aggregate(plan.weights(), {"a": update}))
    assert not np.allclose(own.network_.head.bias.detach(), plan.weights()["head.bias"])


# -- what is refused ---------------------------------------------------------------------


def updates_of(n: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Update]]:
    rng = np.random.default_rng(seed)
    start, way = {"w": np.zeros(50)}, rng.normal(size=50)
    sites = {f"s{k}": Update({"w": way + rng.normal(size=50)}, 10) for k in range(n)}
    return start, sites


@pytest.mark.parametrize("how", ["guarded", "median", "krum"])
def test_one_bad_site_does_not_lead_the_others(how: Any) -> None:
    start, sites = updates_of(5)
    clean = FedAvg(how).aggregate(start, sites)["w"]
    for factor in (-1.0, -10.0, 100.0):
        bad = {
            **sites,
            "s0": replace(sites["s0"], weights={"w": factor * sites["s0"].weights["w"]}),
        }
        found = FedAvg(how).aggregate(start, bad)["w"]
        assert np.corrcoef(found, clean)[0, 1] > 0.8
    strategy = FedAvg(how)
    strategy.aggregate(start, bad)
    assert list(strategy.refused_) == (["s0"] if how == "guarded" else [])


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ({"w": np.full(50, np.nan)}, "not finite"),
        ({"w": np.zeros(3)}, "another model"),
        ({"v": np.zeros(50)}, "another model"),
        ({}, "no rows"),
    ],
)
def test_unusable_weights_are_told_and_the_round_goes_on(weights: Any, why: str) -> None:
    start, sites = updates_of(3)
    strategy = FedAvg()
    found = strategy.aggregate(start, {**sites, "bad": Update(weights, 10)})
    assert why in strategy.refused_["bad"] and np.isfinite(found["w"]).all()
    with pytest.raises(InputError, match="expected weights of at least one site"):
        strategy.aggregate(start, {"bad": Update(weights, 10)})


@pytest.mark.parametrize("n_present", [-50, 11])
def test_rows_of_a_modality_that_cannot_be_are_refused(n_present: int) -> None:
    start, sites = updates_of(3)
    strategy = FedAvg()
    strategy.aggregate(start, {**sites, "s0": replace(sites["s0"], n_present={"w": n_present})})
    assert "more rows with a modality than rows" in strategy.refused_["s0"]


def test_a_site_cannot_weigh_more_than_it_told_of(hospitals: dict[str, Site], plan: Any) -> None:
    def exchange(kind: str, messages: Any) -> dict[str, bytes]:
        if kind == "summary":
            return {name: hospitals[name].summary().to_bytes() for name in messages}
        told = {}
        for name, data in messages.items():
            task = Task.from_bytes(data)
            if task.plan.startswith("{"):
                hospitals[name].join(read_plan(task.plan.encode(), model()))
            update = hospitals[name].work(task)
            told[name] = replace(update, n_rows=10**9 if name == "south" else update.n_rows)
        return {name: update.to_bytes() for name, update in told.items()}

    run = Coordinator(model(), exchange, rounds=1, epochs=1, min_sites=1).run(list(hospitals))
    assert run.rounds_[0].refused == {"south": "more rows than it told of"}
    for site in hospitals.values():
        site.join(plan)


@pytest.mark.parametrize("levels", [{"[1]": 9, "2": 9}, {"none": 9, "2": 9}, {"null": 9, "1": 9}])
def test_classes_that_are_none_are_refused(levels: Any, hospitals: dict[str, Site]) -> None:
    state = json.loads(hospitals["north"].summary().to_bytes())
    state["target"] = {"kind": "category", "n_missing": 0, "bins": [], "levels": levels}
    plan = make_plan(model(), [Summary.from_bytes(json.dumps(state).encode())])
    with pytest.raises(InputError, match="expected classes as text or numbers"):
        plan.weights()


def test_counts_beyond_memory_cost_none(hospitals: dict[str, Site]) -> None:
    state = json.loads(hospitals["north"].summary().to_bytes())
    state["target"]["levels"] = {"0": 10**15, "1": 10**14}
    weights = make_plan(model(), [Summary.from_bytes(json.dumps(state).encode())]).weights()
    assert len(weights["head.bias"]) == 2


def test_a_silent_site_is_done_without_and_adam_goes_on() -> None:
    start, sites = updates_of(3)
    strategy = FedAdam("mean", rate=0.1).start()
    first = strategy.aggregate(start, sites)
    second = strategy.aggregate(first, {"s1": sites["s1"]})
    assert np.abs(second["w"]).sum() > 0


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_foreign_messages_end_in_one_error(data: bytes) -> None:
    for read in (Summary.from_bytes, Update.from_bytes, ScoreCounts.from_bytes):
        with pytest.raises(InputError, match="Message"):
            read(data)
    with pytest.raises(InputError, match="Message"):
        read_plan(data, model())


@pytest.mark.parametrize("field", ["target", "modalities", "n_rows"])
def test_a_summary_with_a_part_of_another_kind_is_refused(
    field: str, hospitals: dict[str, Site]
) -> None:
    state = json.loads(hospitals["north"].summary().to_bytes())
    for other in (None, [], {"kind": "number"}, {"labs": 3}, "x"):
        with pytest.raises(InputError):
            Summary.from_bytes(json.dumps({**state, field: other}).encode())


def test_a_model_is_the_same_wherever_its_films_lie_and_another_by_any_column() -> None:
    films, names = af.ImageEncoder("film", root="/a"), [f"rs{n}" for n in range(100)]
    encoders = {"films": films, "genes": af.GenotypeEncoder(names)}
    here = af.JointFusionClassifier(encoders, device="cpu")
    there = {"genes": encoders["genes"], "films": af.ImageEncoder("film", root="/b", store="/c")}
    assert describe_model(here) == describe_model(af.JointFusionClassifier(there))
    names = [*names[:50], "rs7777", *names[51:]]
    other = af.JointFusionClassifier({"films": films, "genes": af.GenotypeEncoder(names)})
    assert describe_model(here) != describe_model(other)


def test_other_models_columns_and_classes_are_told(hospitals: dict[str, Site], plan: Any) -> None:
    X, y = rows()
    other = model().set_params(encoders__labs__max_categories=3)
    with pytest.raises(InputError, match="models that are described differently"):
        make_plan(model(), [hospitals["north"].summary(), Site(other, X, y).summary()])
    with pytest.raises(InputError, match="described differently"):
        read_plan(plan.to_bytes(), other)
    with pytest.raises(InputError, match="described differently"):
        Site(other, X, y).join(plan)
    text = Site(model(), X.assign(crp=np.where(X["crp"] > 2, "high", "low")), y)
    with pytest.raises(ColumnError, match="'crp': expected one kind of cells at all sites"):
        make_plan(model(), [hospitals["north"].summary(), text.summary()])
    with pytest.raises(InputError, match="expected classes that the plan knows"):
        Site(model(), X, np.where(np.arange(len(y)) < 2, 7, y)).join(plan)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: LogisticRegression(), "expected an estimator of early, joint or late fusion"),
        (lambda: af.JointFusionClassifier(), "the same at all sites, got 'auto'"),
        (lambda: model(threshold="youden"), "a threshold that is learned from rows"),
    ],
)
def test_models_that_sites_cannot_train_are_refused(made: Any, message: str) -> None:
    X, y = rows(40)
    with pytest.raises(ConfigurationError, match=message):
        Site(made(), X, y)


def test_too_little_to_speak_of_is_said() -> None:
    X, y = rows(40)
    with pytest.raises(InputError, match="at least 10 rows at a site"):
        Site(model(), X[:9], y[:9])
    with pytest.raises(InputError, match="expected two classes of 5 rows or more"):
        make_plan(model(), [Site(model(), X, np.zeros(40, dtype=int)).summary()])
    with pytest.raises(InputError, match="expected those of at least one site"):
        make_plan(model(), [])
    with pytest.raises(InputError, match="expected join"):
        Site(model(), X, y).fit_round({})
    with pytest.raises(InputError, match="expected at least 2 sites"):
        simulate(model(), X, y, np.zeros(40))
    visits = af.JointFusionClassifier({"visits": af.VisitEncoder("visits")}, verbose=0)
    with pytest.raises(ConfigurationError, match="VisitEncoder: expected an encoder that sites"):
        Site(visits, X.assign(visits=[[]] * 40), y).model.encoders["visits"]._check_blank()


# -- judging -----------------------------------------------------------------------------


@pytest.mark.parametrize(("least", "error"), [(1, 1e-4), (5, 0.01)])
def test_counts_give_the_scores_of_rows(least: int, error: float) -> None:
    from sklearn.metrics import brier_score_loss, roc_auc_score

    rng = np.random.default_rng(3)
    y = rng.integers(2, size=4000)
    p = 1 / (1 + np.exp(-(rng.normal(size=4000) + 1.5 * y - 0.75)))
    parts = [ScoreCounts.of(p[k::4], y[k::4], least=least) for k in range(4)]
    total = parts[0] + parts[1] + parts[2] + parts[3]
    assert total.n_rows == 4000
    assert all(n == 0 or n >= least for _, *counts in total.bins for n in counts)
    assert abs(total.auc() - roc_auc_score(y, p)) < error
    assert abs(total.brier() - brier_score_loss(y, p)) < error
    assert ScoreCounts.from_bytes(total.to_bytes()) == total
    quantile = total.conformal_quantile(0.9)
    scores = np.where(y == 1, 1 - p, p)
    assert abs((scores <= quantile).mean() - 0.9) < 0.01
    intercept, slope = total.calibration()
    assert abs(slope - 1.5) < 0.2 and abs(intercept) < 0.1


def test_a_site_tells_counts_of_its_own_rows(hospitals: dict[str, Site], plan: Any) -> None:
    X, y = rows(60, seed=9)
    counts = hospitals["south"].evaluate(plan.weights(), X, y)
    assert counts.n_rows == 60
    few = ScoreCounts.of(np.linspace(0, 1, 30), np.arange(30) % 2)
    assert len(few.bins) < 6 and np.isnan(few.auc())  # too coarse to rank anything
    assert np.isnan(ScoreCounts.of(np.ones(3), np.zeros(3, dtype=int)).auc())
