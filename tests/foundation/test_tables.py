"""Foundation models of tables: by reference and digest, and rows only with consent."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.utils.estimator_checks import check_estimator

import asfusion as af
from asfusion.exceptions import (
    BundleError,
    ConfigurationError,
    InputError,
    MissingDependencyError,
)
from asfusion.foundation import (
    TableFoundationClassifier,
    TableFoundationRegressor,
    use_weights,
)
from asfusion.foundation import weights as places
from asfusion.foundation._engines import ENGINES, Settings, Task, make_engine


class StandIn:
    """Nearness to the training rows, as sharp as the weights say."""

    def __init__(self, task: Task, settings: Settings) -> None:
        with safe_open(str(settings.weights), framework="pt") as file:
            self.sharpness = float(file.get_tensor("sharpness"))
        self.task, self.seed = task, settings.seed

    def fit(self, X: Any, y: Any) -> StandIn:
        self.X, self.y = np.nan_to_num(X), y
        return self

    def _near(self, X: Any) -> Any:
        distance = ((np.nan_to_num(X)[:, None] - self.X) ** 2).sum(axis=2)
        near = np.exp(-self.sharpness * (distance - distance.min(axis=1, keepdims=True)))
        return near / near.sum(axis=1, keepdims=True)

    def predict_proba(self, X: Any) -> Any:
        return self._near(X) @ np.eye(self.y.max() + 1)[self.y]

    def predict(self, X: Any) -> Any:
        return self._near(X) @ self.y


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(ENGINES, "tabicl", StandIn)
    monkeypatch.setattr(places, "_KNOWN", {})
    save_file({"sharpness": torch.tensor(2.0)}, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def table(n: int = 40) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["crp", "esr", "age"])
    y = np.where(X["crp"] + X["esr"] > 0, "sick", "well")
    X.iloc[::7, 2] = np.nan
    return X, y


def test_classes_are_those_that_were_given(weights: Path) -> None:
    X, y = table()
    model = TableFoundationClassifier(weights=weights, random_state=0).fit(X, y)
    assert model.classes_.tolist() == ["sick", "well"]
    assert (model.predict(X) == y).mean() > 0.9
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_allclose(model.predict_proba(X[3:4]), proba[3:4])
    one = TableFoundationClassifier(weights=weights).fit(X, np.zeros(len(X)))
    assert one.predict_proba(X).tolist() == [[1.0]] * len(X)
    number = TableFoundationRegressor(weights=weights).fit(X, X["crp"])
    assert np.corrcoef(number.predict(X), X["crp"])[0, 1] > 0.9


def test_early_and_late_fusion_take_it_and_save_it_by_reference(
    weights: Path, tmp_path: Path
) -> None:
    X, y = table()
    encoders = {"labs": af.TabularEncoder(["crp", "esr"]), "age": af.TabularEncoder(["age"])}
    model = TableFoundationClassifier(weights=weights, save_rows=True)
    early = af.EarlyFusionClassifier(encoders, model, verbose=0, random_state=0).fit(X, y)
    late = af.LateFusionClassifier(
        encoders, {"labs": model, "age": model}, verbose=0, random_state=0
    ).fit(X, y)
    for number, fused in enumerate((early, late)):
        folder = tmp_path / f"{number}.asf"
        expected = fused.predict_proba(X)
        fused.save(folder)
        np.testing.assert_allclose(af.load(folder).predict_proba(X), expected)
        written = b"".join(f.read_bytes() for f in folder.rglob("*") if f.is_file())
        assert str(tmp_path).encode() not in written and b"sharpness" not in written
        assert use_weights(weights).encode() in written


def test_an_automatic_fusion_takes_it_as_a_member(weights: Path, tmp_path: Path) -> None:
    X, y = table()
    model = TableFoundationClassifier(weights=weights, save_rows=True)
    members = {"early linear": None, "shown": af.EarlyFusionClassifier(estimator=model)}
    auto = af.AutoFusionClassifier(members=members, cv=2, verbose=0, random_state=0).fit(X, y)
    assert set(auto.weights_) == set(members)
    expected = auto.predict_proba(X)
    auto.save(tmp_path / "auto.asf")
    np.testing.assert_allclose(af.load(tmp_path / "auto.asf").predict_proba(X), expected)


def test_rows_are_saved_by_consent_alone(weights: Path, tmp_path: Path) -> None:
    X, y = table()
    model = TableFoundationClassifier(weights=weights)
    early = af.EarlyFusionClassifier(estimator=model, verbose=0).fit(X, y)
    with pytest.raises(BundleError, match=r"patient by patient.*Fit with save_rows=True"):
        early.save(tmp_path / "model.asf")
    assert not (tmp_path / "model.asf").exists()


def test_other_weights_are_refused_and_moved_ones_are_found(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = table()
    model = TableFoundationClassifier(weights=weights, save_rows=True)
    early = af.EarlyFusionClassifier(estimator=model, verbose=0, random_state=0).fit(X, y)
    expected = early.predict_proba(X)
    early.save(tmp_path / "model.asf")
    moved = weights.rename(tmp_path / "moved.safetensors")
    monkeypatch.setattr(places, "_KNOWN", {})  # as in a new process
    match = r"load: weights: expected the file with SHA-256 [0-9a-f]{64}.*use_weights\(path\)"
    with pytest.raises(BundleError, match=match):
        af.load(tmp_path / "model.asf")
    save_file({"sharpness": torch.tensor(0.1)}, weights)
    use_weights(weights)
    with pytest.raises(BundleError, match=match):
        af.load(tmp_path / "model.asf")
    use_weights(moved)
    again = af.load(tmp_path / "model.asf")
    np.testing.assert_allclose(again.predict_proba(X), expected)
    save_file({"sharpness": torch.tensor(0.1)}, moved)  # exchanged where it lay
    later = copy.deepcopy(again)
    with pytest.raises(ConfigurationError, match="expected the file with SHA-256"):
        later.predict_proba(X)


def test_another_process_finds_the_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = table()
    model = TableFoundationClassifier(weights=weights, random_state=0).fit(X, y)
    sent = copy.deepcopy(model)  # by the state that would be sent
    assert "_engine" not in vars(sent)
    monkeypatch.setattr(places, "_KNOWN", {})
    np.testing.assert_array_equal(sent.predict_proba(X), model.predict_proba(X))


def test_seeds_of_the_views(weights: Path) -> None:
    X, y = table()
    seeds = [
        TableFoundationClassifier(weights=weights, random_state=s).fit(X, y).seed_
        for s in (0, 0, 1)
    ]
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"name": "other"}, "name: expected one of 'tabicl', 'tabpfn'"),
        ({"n_estimators": 0}, "n_estimators: expected an integer of at least 1"),
        ({"weights": None}, "expected the safetensors file of tabicl, got None"),
        ({"weights": "no.safetensors"}, "got one in another format or that is not there"),
        ({"weights": 3}, "weights: expected a safetensors file, got int"),
    ],
)
def test_bad_parameters_are_refused(weights: Path, parameters: dict[str, Any], match: str) -> None:
    X, y = table()
    with pytest.raises(ConfigurationError, match=match):
        TableFoundationClassifier(**{"weights": weights, **parameters}).fit(X, y)


@pytest.mark.parametrize("kind", [TableFoundationClassifier, TableFoundationRegressor])
def test_scikit_learn_finds_nothing_amiss(weights: Path, kind: Any) -> None:
    reports = check_estimator(kind(weights=weights, random_state=0), on_fail=None, on_skip=None)
    assert [r["check_name"] for r in reports if r["status"] == "failed"] == []
    with pytest.raises(InputError, match="y: requires y to be passed, but the target y is None"):
        kind(weights=weights).fit(table()[0], None)


def test_checkpoints_that_are_unpickled_are_refused(weights: Path, tmp_path: Path) -> None:
    torch.save({"config": {}, "state_dict": {}}, tmp_path / "tabicl.ckpt")
    with pytest.raises(ConfigurationError, match="can run code when they are read"):
        TableFoundationClassifier(weights=tmp_path / "tabicl.ckpt").fit(*table())


# -- the packages themselves, as far as they are driven ------------------------------------


class _Network(torch.nn.Linear):
    def __init__(self, width: int) -> None:
        super().__init__(width, 1)


def _package(monkeypatch: pytest.MonkeyPatch, base: type) -> None:
    package, inner = ModuleType("tabicl"), ModuleType("tabicl._model.tabicl")
    package.TabICLClassifier = base  # type: ignore[attr-defined]
    inner.TabICL = _Network  # type: ignore[attr-defined]
    for module in (package, ModuleType("tabicl._model"), inner):
        monkeypatch.setitem(__import__("sys").modules, module.__name__, module)


class _Loads:
    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def _load_model(self) -> None:
        raise AssertionError("a checkpoint was unpickled")


def _settings(weights: Path) -> Settings:
    return Settings(weights, 4, 7, "auto")


def test_tabicl_is_given_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _package(monkeypatch, _Loads)
    file, network = tmp_path / "w.safetensors", _Network(3)
    save_file(network.state_dict(), file, metadata={"config": json.dumps({"width": 3})})
    engine = make_engine("tabicl", "Classifier", _settings(file))
    assert engine.settings["allow_auto_download"] is False
    assert (engine.settings["n_estimators"], engine.settings["random_state"]) == (4, 7)
    engine._load_model()
    assert torch.equal(engine.model_.weight, network.weight) and not engine.model_.training
    for metadata in (None, {"config": "{}"}, {"config": json.dumps({"width": 4})}):
        save_file(network.state_dict(), file, metadata=metadata)
        with pytest.raises(ConfigurationError, match="weights of TabICL with their configuration"):
            engine._load_model()


def test_versions_and_packages_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _package(monkeypatch, type("Other", (), {}))
    with pytest.raises(ConfigurationError, match="expected a version of tabicl that loads"):
        make_engine("tabicl", "Classifier", _settings(tmp_path / "w.safetensors"))
    for name in ("tabicl", "tabpfn"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(MissingDependencyError, match=f"pip install {name}"):
            make_engine(name, "Regressor", _settings(tmp_path / "w.safetensors"))
