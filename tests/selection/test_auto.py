"""Automatic fusion: members judged by patient, averaged, explained and saved as one."""

from __future__ import annotations

from math import factorial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import asfusion as af
from asfusion.exceptions import AsfusionWarning, ConfigurationError, InputError
from asfusion.selection._average import (
    averaged,
    learned_sharpness,
    member_weights,
    unseen_average,
)
from asfusion.targets import Classes, Labels, Numbers

N = 80
WORDS = ("no pain at night", "back pain at night, stiff", "pain at rest, stiff")
FEW = {"members": ["late mean", "late product", "early linear"], "cv": 3, "verbose": 0}


def rows(n: int = N, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["crp", "esr", "rs1"])
    told = rng.integers(0, 3, n)
    X["note"] = [WORDS[i] for i in told]
    y = (X["crp"] + X["rs1"] + told + rng.normal(size=n) > 1).to_numpy().astype(int)
    gone = rng.random((n, 3)) < 0.2
    gone[gone.all(axis=1), 0] = False
    X.loc[gone[:, 0], ["crp", "esr"]] = np.nan
    X.loc[gone[:, 1], "rs1"] = np.nan
    X.loc[gone[:, 2], "note"] = None
    return X, y, np.arange(n) // 2


def encoders() -> dict[str, Any]:
    return {
        "labs": af.TabularEncoder(["crp", "esr"]),
        "genes": af.TabularEncoder("rs1"),
        "notes": af.TextEncoder("note", backbone="tfidf", n_components=4),
    }


@pytest.fixture(scope="module")
def fitted() -> Any:
    X, y, groups = rows()
    wanted = [*FEW["members"], "early forest"]
    model = af.AutoFusionClassifier(encoders(), wanted, cv=3, verbose=0, random_state=0)
    return model.fit(X, y, groups=groups)


def test_what_cannot_be_read_is_told_by_its_row() -> None:
    X, y, _ = rows()
    films: list[Any] = [np.full((8, 8), i, dtype=np.uint8) for i in range(N)]
    films[2], films[7] = None, "none.png"
    X["film"] = films
    parts = {
        "labs": af.TabularEncoder(["crp"]),
        "film": af.ImageEncoder("film"),
    }
    with pytest.raises(InputError, match="'film', row 7: expected an existing file"):
        af.AutoFusionClassifier(parts, verbose=0, random_state=0).fit(X, y)


def test_it_is_the_average_of_its_members(fitted: Any) -> None:
    X, _, _ = rows()
    weights = np.asarray(list(fitted.weights_.values()))
    assert weights.min() >= 0.5 / 4 and weights.sum() == pytest.approx(1.0)
    each = [model.predict_proba(X) for model in fitted.models_.values()]
    mean = np.einsum("v,vnk->nk", weights, each) ** fitted.sharpness_
    expected = mean / mean.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(X), expected, atol=1e-10)


def test_members_are_judged_by_patient(fitted: Any) -> None:
    board = fitted.leaderboard_
    assert set(board.index) == {*fitted.models_, "average"}
    assert board["auc"].is_monotonic_decreasing
    assert ((board["low"] <= board["auc"]) & (board["auc"] <= board["high"])).all()
    assert board["seconds"].min() > 0
    X, _, groups = rows()
    # A patient's rows are alike to the bit: whoever has seen one knows the other.
    X = X.iloc[groups * 2].reset_index(drop=True)
    X["crp"] = np.random.default_rng(1).normal(size=N // 2)[groups]
    noise = np.random.default_rng(2).integers(0, 2, N // 2)[groups]
    deep = af.EarlyFusionClassifier(estimator=memoriser(), verbose=0)
    model = af.AutoFusionClassifier(encoders(), {"deep": deep}, cv=3, verbose=0, random_state=0)
    assert model.fit(X, noise, groups=groups).leaderboard_.loc["deep", "auc"] < 0.75
    assert model.fit(X, noise).leaderboard_.loc["deep", "auc"] > 0.85


def memoriser() -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(30)


def test_explanation_equals_brute_force(fitted: Any) -> None:
    X, _, _ = rows()
    X = X.dropna().head(3)
    found = af.explain(fitted, X, background=X, verbose=0)
    names = list(encoders())
    columns = {"labs": ["crp", "esr"], "genes": ["rs1"], "notes": ["note"]}

    def worth(kept: set[str]) -> np.ndarray:
        if not kept:
            return np.full(len(X), fitted.prior_[1])
        part = X.astype(object)
        for name in names:
            if name not in kept:
                part[columns[name]] = None
        part = part.astype(dict.fromkeys(("crp", "esr", "rs1"), float))
        return np.asarray(fitted.predict_proba(part)[:, 1])

    for name in names:
        others = [n for n in names if n != name]
        value = np.zeros(len(X))
        for size in range(3):
            for subset in subsets(others, size):
                weight = factorial(size) * factorial(2 - size) / factorial(3)
                value += weight * (worth({*subset, name}) - worth(set(subset)))
        np.testing.assert_allclose(found.modalities[name], value, atol=1e-6)


def subsets(names: list[str], size: int) -> list[tuple[str, ...]]:
    from itertools import combinations

    return list(combinations(names, size))


def test_explanation_of_numbers_is_that_of_its_members() -> None:
    X, _, groups = rows()
    y = X["crp"].fillna(0.0).to_numpy() + np.arange(N) % 3
    model = af.AutoFusionRegressor(encoders(), random_state=0, **FEW).fit(X, y, groups=groups)
    X = X.dropna().head(2)
    whole = af.explain(model, X, background=X, verbose=0)
    parts = {n: af.explain(m, X, background=X, verbose=0) for n, m in model.models_.items()}
    for found in (lambda e: e.modalities, lambda e: e["labs"].values):
        expected = sum(w * np.asarray(found(parts[n])) for n, w in model.weights_.items())
        np.testing.assert_allclose(np.asarray(found(whole)), expected, atol=1e-6)


def test_a_timid_average_is_made_bolder() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(size=4000)
    y = (rng.random(4000) < 1 / (1 + np.exp(-odds))).astype(int)
    target = Classes().fit(y)
    p = 1 / (1 + np.exp(-odds / 2))
    said = np.column_stack([1 - p, p])
    assert learned_sharpness(target, said, Rows(y)) == pytest.approx(2.0, abs=0.15)
    assert learned_sharpness(Numbers().fit(odds), odds[:, None], Rows(odds[:, None])) == 1.0
    labels = Labels().fit(np.column_stack([y, 1.0 - y]))
    both = labels.sharpened(np.column_stack([p, 1 - p]), 2.0)
    np.testing.assert_allclose(both.sum(axis=1), 1.0)
    np.testing.assert_allclose(target.sharpened(said, 2.0)[:, 1], both[:, 0], atol=1e-9)


def test_what_members_share_is_saved_once(fitted: Any, tmp_path: Path) -> None:
    X, _, _ = rows()
    path = fitted.save(tmp_path / "model.asf")
    loaded = af.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    pd.testing.assert_frame_equal(loaded.leaderboard_, fitted.leaderboard_)
    again = loaded.save(tmp_path / "again.asf")
    np.testing.assert_array_equal(af.load(again).predict_proba(X), fitted.predict_proba(X))
    late = loaded.models_
    assert late["late product"].models_ is late["late mean"].models_


def test_a_killed_fit_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asfusion.selection import _members

    X, y, groups = rows()
    model = af.AutoFusionClassifier(encoders(), random_state=0, checkpoint=tmp_path, **FEW)
    asked: list[int] = []
    say = _members._said

    def stops(*arguments: Any) -> Any:
        asked.append(1)
        if len(asked) == 11:  # three modalities in each of three folds, then members by fold
            raise KeyboardInterrupt
        return say(*arguments)

    monkeypatch.setattr(_members, "_said", stops)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, groups=groups)
    assert not hasattr(model, "models_")
    done = model.fit(X, y, groups=groups).predict_proba(X)
    assert len(asked) == 11 + 2
    straight = af.AutoFusionClassifier(encoders(), random_state=0, **FEW).fit(X, y, groups=groups)
    np.testing.assert_array_equal(done, straight.predict_proba(X))


def test_time_that_is_up_leaves_out_what_is_not_done() -> None:
    X, y, _ = rows()
    model = af.AutoFusionClassifier(encoders(), max_minutes=0.0, random_state=0, **FEW)
    with pytest.warns(AsfusionWarning, match="the time is up, and 'early linear' are left out"):
        model.fit(X, y)
    assert list(model.weights_) == ["late mean", "late product"]
    assert np.isfinite(model.predict_proba(X)).all()


def test_with_more_time_what_was_judged_is_not_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asfusion.selection import _members

    X, y, _ = rows()
    model = af.AutoFusionClassifier(encoders(), random_state=0, checkpoint=tmp_path, **FEW)
    with pytest.warns(AsfusionWarning, match="the time is up"):
        model.set_params(max_minutes=0.0).fit(X, y)
    asked: list[int] = []
    say = _members._said
    monkeypatch.setattr(_members, "_said", lambda *args: asked.append(1) or say(*args))
    model.set_params(max_minutes=None).fit(X, y)
    assert len(asked) == 3  # the linear model, in each of three folds


def test_networks_of_folds_do_not_write_where_the_final_ones_do(tmp_path: Path) -> None:
    X, y, _ = rows(40)
    X["note"] = X["note"].fillna("no words")
    parts = {"labs": af.TabularEncoder(["crp", "esr"]), "notes": af.TextEncoder("note")}
    network = af.JointFusionClassifier(max_epochs=1, checkpoint=tmp_path)
    wanted = {"members": ["late mean", "early linear"], "cv": 2, "verbose": 0}
    model = af.AutoFusionClassifier(parts, network=network, random_state=0, **wanted)
    told = model.fit(X, y).predict_proba(X)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.ckpt"]
    np.testing.assert_array_equal(model.fit(X, y, resume=True).predict_proba(X), told)
    assert network.checkpoint == tmp_path


def test_too_few_rows_for_folds_weigh_members_the_same() -> None:
    X, y, _ = rows()
    model = af.AutoFusionClassifier(encoders(), random_state=0, **FEW)
    with pytest.warns(AsfusionWarning, match="Members are not judged, and weigh the same"):
        model.fit(X, y, groups=np.zeros(N))
    assert set(model.weights_.values()) == {1 / 3}
    assert "auc" not in model.leaderboard_


def test_members_join_from_enough_rows_on() -> None:
    wanted = af.AutoFusionClassifier()._wanted
    assert list(wanted(999)) == ["late mean", "late product", "early linear", "early forest"]
    assert "joint" in wanted(1000) and "early boosted" in wanted(1000)


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ("forest", "members: expected 'auto', some of 'late mean'.*got str"),
        ([], "members: expected 'auto'"),
        (["forest"], "members: expected one of 'late mean'.*got 'forest'"),
        ({"average": af.EarlyFusionClassifier()}, "members: expected other names than 'average'"),
        ({"mine": object()}, r"members\['mine'\]: expected a fusion estimator.*got object"),
        ({"mine": af.EarlyFusionRegressor()}, "for a classifier.*got EarlyFusionRegressor"),
    ],
)
def test_members_that_cannot_be(members: Any, match: str) -> None:
    X, y, _ = rows()
    with pytest.raises(ConfigurationError, match=match):
        af.AutoFusionClassifier(encoders(), members, verbose=0).fit(X, y)


def test_a_member_may_read_less_than_the_whole() -> None:
    X, y, groups = rows()
    own = {"labs": encoders()["labs"], "inflammation": af.TabularEncoder("crp")}
    mine = {"mine": af.EarlyFusionClassifier(own), "early linear": None}
    model = af.AutoFusionClassifier(encoders(), mine, cv=3, verbose=0, random_state=0)
    assert np.isfinite(model.fit(X, y, groups=groups).predict_proba(X)).all()
    assert set(model.encoders_) == {*encoders(), "inflammation"}


@pytest.mark.parametrize(
    ("own", "match"),
    [
        (("labs", ["esr", "crp"]), r"members\['mine'\]: expected the same encoder 'labs' every"),
        (("bmi", ["bmi"]), r"members\['mine'\]: expected columns that encoders.*got 'bmi'"),
    ],
)
def test_a_name_means_one_encoder_and_the_whole_reads_all_columns(own: Any, match: str) -> None:
    X, y, _ = rows()
    name, columns = own
    mine = af.EarlyFusionClassifier({name: af.TabularEncoder(columns)})
    model = af.AutoFusionClassifier(encoders(), {"mine": mine}, verbose=0)
    with pytest.raises(ConfigurationError, match=match):
        model.fit(X.assign(bmi=1.0), y)


def test_parameters_of_members_are_read_and_set() -> None:
    mine = {"mine": af.EarlyFusionClassifier(estimator=memoriser()), "late mean": None}
    model = af.AutoFusionClassifier(encoders(), mine)
    model.set_params(members__mine__scale="columns", members__mine__estimator__n_estimators=7)
    assert model.get_params()["members__mine__estimator__n_estimators"] == 7
    copy = clone(model)
    assert copy.members["mine"].scale == "columns" and copy.members["mine"] is not mine["mine"]
    with pytest.raises(ConfigurationError, match="members: expected one of 'mine', 'late mean'"):
        model.set_params(members__other__scale="none")
    with pytest.raises(ConfigurationError, match="members: expected a dict of fusion estimators"):
        model.set_params(members="auto").set_params(members__mine__scale="none")


def test_members_keep_no_rows() -> None:
    X, y, groups = rows()
    mine = {"product": af.LateFusionClassifier(combine="product"), "late product": None}
    model = af.AutoFusionClassifier(encoders(), mine, cv=2, verbose=0, random_state=0)
    model.fit(X, y, groups=groups)
    assert [member._judged for member in model.models_.values()] == [None, None]


def test_without_folds_experts_are_taken_for_independent() -> None:
    X, y, _ = rows()
    model = af.AutoFusionClassifier(encoders(), random_state=0, **{**FEW, "cv": 1})
    with pytest.warns(AsfusionWarning, match="Members are not judged"):
        model.fit(X, y)
    assert model.models_["late product"].dependence_ == 0.0


def test_rows_without_any_cell_teach_nothing() -> None:
    X, y, _ = rows(20)
    numbers = ["crp", "esr", "rs1"]
    X[numbers] = np.nan
    X["note"] = None
    X.loc[0, "crp"] = 1.0
    with pytest.raises(InputError, match="with a modality"):
        af.AutoFusionClassifier(encoders(), verbose=0).fit(X, y)


def test_a_chosen_threshold_is_of_rows_not_seen() -> None:
    X, y, groups = rows()
    model = af.AutoFusionClassifier(encoders(), threshold="youden", random_state=0, **FEW)
    model.fit(X, y, groups=groups)
    assert 0.0 < model.threshold_ < 1.0 and model._judged is None


def test_numbers_and_times_are_averaged() -> None:
    X, _, groups = rows()
    y = X["crp"].fillna(0.0).to_numpy() + 0.1 * np.arange(N) / N
    number = af.AutoFusionRegressor(encoders(), random_state=0, **FEW).fit(X, y, groups=groups)
    assert "mae" in number.leaderboard_ and number.predict(X).shape == (N,)
    wait = np.random.default_rng(0).exponential(size=N) + 0.01
    times = pd.DataFrame({"event": np.arange(N) % 3 > 0, "time": np.exp(-y) * wait})
    wanted = {"members": ["late mean", "early linear"], "cv": 3, "verbose": 0}
    risk = af.AutoFusionSurvival(encoders(), random_state=0, **wanted).fit(X, times, groups=groups)
    curves = risk.predict_survival_function(X.head(3))
    assert (np.diff(curves, axis=1) <= 1e-12).all()
    assert "c_index" in risk.leaderboard_ or "uno_c" in risk.leaderboard_


def test_weights_are_those_of_the_least_loss_drawn_to_equal_ones() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 1))
    good, bad = y + 0.1 * rng.normal(size=y.shape), rng.normal(size=y.shape)
    target = Numbers().fit(y[:, 0])
    rows = Rows(y)
    weights = member_weights(target, np.stack([good, bad]), rows)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] == pytest.approx(0.75, abs=0.02) and weights[1] == pytest.approx(
        0.25, abs=0.02
    )
    missing = np.stack([good, bad])
    missing[1, :50] = np.nan
    np.testing.assert_allclose(averaged(missing, weights)[:50], good[:50])
    half = [(np.arange(100), np.arange(100, 200)), (np.arange(100, 200), np.arange(100))]
    unseen = unseen_average(target, np.stack([good, bad]), rows, half)
    assert np.isfinite(unseen).all()


class Rows:
    """As much of training rows as weights are learned from."""

    def __init__(self, y: np.ndarray) -> None:
        self.y, self.loss_weight = y, np.ones(len(y))

    def take(self, rows: np.ndarray) -> Rows:
        return Rows(self.y[rows])
