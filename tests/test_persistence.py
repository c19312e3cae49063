"""`save` and `load`: the same bits back, and no foreign code on the way."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import pkgutil
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from xgboost import XGBClassifier, XGBRegressor

import asfusion
from asfusion import persistence
from asfusion._described import Described
from asfusion.baselines.regressors import BasfiRegressor
from asfusion.bundle import _compat
from asfusion.bundle.folder import read_bundle, write_bundle
from asfusion.bundle.objects import Bundled
from asfusion.encoders.concepts import ConceptEncoder
from asfusion.encoders.image import ImageEncoder
from asfusion.encoders.tabular import TabularEncoder
from asfusion.encoders.text import TextEncoder
from asfusion.estimators.conformal_classifier import ConformalClassifier
from asfusion.estimators.early import EarlyFusionClassifier, EarlyFusionRegressor
from asfusion.estimators.joint import JointFusionClassifier, JointFusionRegressor
from asfusion.estimators.late import LateFusionClassifier, LateFusionRegressor
from asfusion.estimators.recalibrated import RecalibratedClassifier
from asfusion.exceptions import AsfusionWarning, BundleError, ConfigurationError, ShapeError
from asfusion.fusion._base import Fusion
from asfusion.fusion.attention import CrossAttention
from asfusion.nn._budget import at_most_values
from asfusion.persistence import describe, load
from tests.forging.bundles import bombs, forged, watched
from tests.test_bundle import NAMES, STATE, hashed, hostile_manifests, pickled
from tests.test_bundle_sklearn import hostile_archives

ROOT = Path(__file__).resolve().parents[1]
MOST = 1 << 30
N = 24
QUIET: dict[str, Any] = {"verbose": 0, "random_state": 0}
SHORT: dict[str, Any] = {"max_epochs": 2, **QUIET}


class OwnHead(Fusion):
    """A head that a user may write."""

    def __init__(self, d_out: int = 16) -> None:
        super().__init__()
        self.d_out = d_out

    def make_layers(self, dims: Any) -> None:
        self.layer = nn.Linear(sum(dims.values()), self.d_out)

    def fuse(self, tokens: Any) -> Tensor:
        return self.layer(torch.cat([part.pool() for part in tokens.values()], dim=1))


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return columns of every modality, some cells and some whole modalities missing."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    images: list[str | None] = []
    for i in range(N):
        Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(folder / f"{i}.png")
        images.append(str(folder / f"{i}.png"))
    notes: list[str | None] = [f"Stiff for {m} minutes." for m in rng.integers(0, 90, N)]
    crp: list[float | None] = rng.gamma(2.0, 4.0, N).tolist()
    notes[3] = images[4] = crp[5] = None
    return {
        "crp": crp,
        "b27": [bool(flag) for flag in rng.random(N) < 0.5],
        "sex": rng.choice(["female", "male"], N).tolist(),
        "rs1": rng.normal(size=N).tolist(),
        "note": notes,
        "image": images,
    }


@pytest.fixture(scope="module")
def X(columns: dict[str, list[Any]]) -> pd.DataFrame:
    return pd.DataFrame(columns)


Y = np.array(["axSpA", "other"])[np.arange(N) % 2]
TARGETS = np.random.default_rng(1).normal(size=(N, 2))


def tables() -> dict[str, Any]:
    return {
        "labs": TabularEncoder(["crp", "b27", "sex"], d_hidden=8, d_out=8),
        "genes": TabularEncoder(["rs1"], network="tabnet", d_hidden=8, d_out=8),
    }


def everything() -> dict[str, Any]:
    return tables() | {
        "note": TextEncoder("note", vocab_size=300, max_tokens=16, d_out=8),
        "words": TextEncoder("note", backbone="tfidf", n_components=4, d_out=8),
        "concepts": ConceptEncoder(
            "note", concepts={"vaping": ["vap(?:es|ing)"]}, d_hidden=8, d_out=8
        ),
        "image": ImageEncoder("image", size=32, d_out=8),
    }


FAMILIES: dict[str, Callable[[], Any]] = {
    "joint": lambda: JointFusionClassifier(everything(), "gated", **SHORT),
    "joint, described head": lambda: JointFusionClassifier(
        tables(), CrossAttention(n_heads=2), class_weight={"axSpA": 2.0, "other": 1.0}, **SHORT
    ),
    "joint of numbers": lambda: JointFusionRegressor(tables(), "attention", **SHORT),
    "early": lambda: EarlyFusionClassifier(
        everything(), network=JointFusionClassifier(**SHORT), **QUIET
    ),
    "early with a forest": lambda: EarlyFusionClassifier(
        tables(), RandomForestClassifier(5), **QUIET
    ),
    "early with XGBoost": lambda: EarlyFusionClassifier(
        tables(), XGBClassifier(n_estimators=3), **QUIET
    ),
    "early with a pipeline": lambda: EarlyFusionClassifier(
        tables(), make_pipeline(StandardScaler(), PCA(2), RandomForestClassifier(3)), **QUIET
    ),
    "early of numbers": lambda: EarlyFusionRegressor(
        tables(), XGBRegressor(n_estimators=3), **QUIET
    ),
    "late": lambda: LateFusionClassifier(
        everything(), {"labs": XGBClassifier(n_estimators=3)},
        network=JointFusionClassifier(**SHORT), **QUIET,
    ),
    "late, stacked": lambda: LateFusionClassifier(
        tables(), RandomForestClassifier(3), "stacking", cv=2, **QUIET
    ),
    "late of numbers": lambda: LateFusionRegressor(
        tables(), "network", "weighted", cv=2, network=JointFusionRegressor(**SHORT), **QUIET
    ),
}  # fmt: skip


def answer(model: Any, X: Any) -> np.ndarray:
    ask = getattr(model, "predict_proba", model.predict)
    return np.asarray(ask(X))


def fitted(name: str, X: Any) -> Any:
    return FAMILIES[name]().fit(X, TARGETS if "numbers" in name else Y)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.filterwarnings("ignore::asfusion.exceptions.AsfusionWarning")
def test_loaded_model_predicts_the_same_bits(name: str, X: pd.DataFrame, tmp_path: Path) -> None:
    model = fitted(name, X)
    before = answer(model, X)
    path = model.save(tmp_path / "model.asf")
    np.testing.assert_array_equal(answer(model, X), before)
    again = load(str(path))
    assert type(again) is type(model)
    np.testing.assert_array_equal(answer(again, X), answer(model, X))
    np.testing.assert_array_equal(answer(again, X[3:5]), answer(model, X[3:5]))
    if "numbers" not in name:
        assert again.predict(X).tolist() == model.predict(X).tolist()
    assert repr(again) == repr(model)
    bytes_before = {entry.name: entry.read_bytes() for entry in path.iterdir()}
    assert sum(file.startswith("probe-") for file in bytes_before) == 1
    again.save(path)
    assert {entry.name: entry.read_bytes() for entry in path.iterdir()} == bytes_before


def test_tables_of_either_library(
    columns: dict[str, list[Any]], df_module: ModuleType, tmp_path: Path
) -> None:
    X = df_module.DataFrame(columns)
    model = fitted("joint, described head", X)
    again = load(model.save(tmp_path / "model.asf"))
    np.testing.assert_array_equal(answer(again, X), answer(model, X))


def test_loaded_model_can_be_fitted_again(X: pd.DataFrame, tmp_path: Path) -> None:
    model = fitted("joint, described head", X)
    again = load(model.save(tmp_path / "model.asf")).fit(X, Y)
    np.testing.assert_array_equal(answer(again, X), answer(model, X))


def test_own_head_needs_trust(X: pd.DataFrame, tmp_path: Path) -> None:
    for name, head in (("head", OwnHead()), ("other", OwnHead(8))):
        model = JointFusionClassifier(tables(), head, **SHORT).fit(X, Y)
        path = model.save(tmp_path / f"{name}.asf")
        with pytest.raises(BundleError, match=r"load\(path, trusted=\[YourClass\]\)"):
            load(path)
        with pytest.raises(BundleError, match="not asfusion's own"):
            load(path, trusted=[RandomForestClassifier])
        again = load(path, trusted=[OwnHead])
        np.testing.assert_array_equal(answer(again, X), answer(model, X))


def test_trusted_takes_classes(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="trusted: expected classes, got an object of"):
        load(tmp_path, trusted=[OwnHead()])  # type: ignore[list-item]


def test_unfitted_model_is_not_saved(tmp_path: Path) -> None:
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="not fitted"):
        JointFusionClassifier(tables()).save(tmp_path / "model.asf")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_saved_says_so(X: pd.DataFrame, tmp_path: Path) -> None:
    options = QUIET | {"random_state": np.random.default_rng(0)}
    model = EarlyFusionClassifier(tables(), **options).fit(X, Y)
    with pytest.raises(BundleError, match="a random_state by an int"):
        model.save(tmp_path / "model.asf")


def test_describe_shows_what_a_model_holds(saved: Path) -> None:
    manifest, tree = describe(saved)
    assert manifest["class"] == "asfusion.estimators.joint:JointFusionClassifier"
    assert tree["class"] == manifest["class"]


def test_size_limit(saved: Path) -> None:
    with pytest.raises(BundleError, match="Raise max_bytes if you trust it"):
        load(saved, max_bytes=1000)


# -- hostile models ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(X: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoders = {
        "genes": TabularEncoder(["rs1"], network="tabnet", d_hidden=8, d_out=8),
        "note": TextEncoder("note", vocab_size=300, max_tokens=16, d_out=8),
        "image": ImageEncoder("image", size=32, d_out=8),
    }
    model = JointFusionClassifier(encoders, CrossAttention(n_heads=2), **SHORT).fit(X, Y)
    return Path(model.save(tmp_path_factory.mktemp("saved") / "model.asf"))


def forge(source: Path, target: Path, change: Callable[[Any], Any]) -> Path:
    """Write a copy of a model with a changed state and correct hashes."""
    parts, _ = read_bundle(source, max_bytes=MOST)
    state = change(json.loads(parts["state.json"]))
    write_bundle(target, parts | {"state.json": json.dumps(state).encode()}, {"asfusion": "1"})
    return target


FOREIGN = [
    "os:system", "builtins:eval", "subprocess:Popen", "asfusion.fusion.gated:torch",
    "asfusion.fusion.gated:nn", "asfusion.fusion._base:Fusion",
    "asfusion.fusion._resolve:importlib", "asfusion.fusion.gated:Gated.__init__",
    "asfusion.fusion.gated.x:Gated", "asfusion.fusion.:Gated",
    "asfusion.fusion.../os:system", "asfusion.persistence:load", "asfusion.estimators.joint:torch",
    "asfusion.estimators._base:FusionEstimator", "sklearn.ensemble:RandomForestClassifier", "", ":",
    "JointFusionClassifier", "tests.test_bundle:Bomb", "antigravity:x", 5, None, [], {"$": "dict"},
]  # fmt: skip


def test_a_model_of_another_class_than_asked_for(saved: Path) -> None:
    assert type(load(saved, JointFusionClassifier)) is JointFusionClassifier
    words = "load: expected a saved EarlyFusionClassifier, got a JointFusionClassifier"
    with pytest.raises(BundleError, match=words):
        load(saved, asfusion.EarlyFusionClassifier)
    with pytest.raises(ConfigurationError, match="kind: expected None or a class, got 'Joint"):
        load(saved, "JointFusionClassifier")  # type: ignore[call-overload]


@pytest.mark.parametrize("name", FOREIGN, ids=str)
def test_class_that_is_not_on_the_list(name: Any, saved: Path, tmp_path: Path) -> None:
    path = forge(saved, tmp_path / "x.asf", lambda state: state | {"class": name})
    with pytest.raises(BundleError, match="names a class that is not asfusion's own"):
        load(path)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        "asfusion.comparison.comparer:compare",
        "asfusion.imaging.stores.image_store:ImageStore",
        "asfusion.clinical.asdas:CRP_FLOOR_MG_L",
        "asfusion.encoders._base:Encoder",
        "asfusion.targets._base:Target",
        "asfusion._tokens:Tokens",
    ],
)
def test_what_is_public_and_no_part_of_a_model(name: str, saved: Path, tmp_path: Path) -> None:
    path = forge(saved, tmp_path / "x.asf", lambda state: state | {"class": name})
    with pytest.raises(BundleError, match="names a class that is not asfusion's own"):
        load(path)


def kinds_of(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def test_every_class_that_models_are_made_of_is_on_the_list() -> None:
    """A new encoder, head, target or estimator is saved and loaded for its line in a stub."""
    for found in pkgutil.walk_packages(asfusion.__path__, "asfusion."):
        importlib.import_module(found.name)
    kinds = {kind for base in (Bundled, Described) for kind in kinds_of(base)}
    names = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in kinds}
    own = {
        name
        for name in names
        if name.startswith("asfusion.") and "._" not in name and ":_" not in name
    }
    assert len(own) > 20 and own <= persistence._saved_names()
    for name in own:
        assert persistence._resolve(name) is names[name]
    others = persistence._saved_names() - own
    for name in others:
        with pytest.raises(BundleError, match="not asfusion's own"):
            persistence._resolve(name)


def test_part_in_place_of_an_estimator(tmp_path: Path) -> None:
    params = {"$": "dict", "items": [["params", {"$": "dict", "items": []}]]}
    head = {"$": "object", "class": "asfusion.fusion.gated:Gated", "state": params}
    for state in (5, head):
        write_bundle(tmp_path / "x.asf", {"state.json": json.dumps(state).encode()}, {})
        with pytest.raises(BundleError, match="expected a saved estimator or finder"):
            load(tmp_path / "x.asf")


def walk(node: Any) -> Iterator[Any]:
    yield node
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for value in inner:
        yield from walk(value)


@pytest.mark.parametrize("name", ["predict", "__class__", "_private_", "__dict__", "x"])
def test_attribute_that_no_model_has(name: str, saved: Path, tmp_path: Path) -> None:
    def add(state: Any) -> Any:
        for node in walk(state):
            if isinstance(node, list) and node and node[0] == "seed_":
                node[0] = name
        return state

    with pytest.raises(BundleError, match="fitted attribute has a name that none has"):
        load(forge(saved, tmp_path / "x.asf", add))


def test_weights_of_another_shape_or_missing(saved: Path, tmp_path: Path) -> None:
    def swap(state: Any) -> Any:
        nodes = [n for n in walk(state) if isinstance(n, dict) and n.get("$") == "tensor"]
        nodes[0]["name"], nodes[-1]["name"] = nodes[-1]["name"], nodes[0]["name"]
        return state

    def drop(state: Any) -> Any:
        for node in walk(state):
            if isinstance(node, list) and node[:1] == ["network"] and isinstance(node[1], dict):
                node[1]["items"] = node[1]["items"][1:]
        return state

    for change in (swap, drop):
        with pytest.raises(BundleError, match=r"could not be restored \(RuntimeError\)"):
            load(forge(saved, tmp_path / "x.asf", change))


def test_code_from_the_hub_is_never_asked_for(saved: Path, tmp_path: Path) -> None:
    """`transformers` fetches an attention kernel by its name in a configuration, and runs it."""
    config = {"model_type": "bert", "attn_implementation": "evil/kernel", "vocab_size": 9}

    def describe_it(state: Any) -> Any:
        for node in walk(state):
            if isinstance(node, list) and node and node[0] == "config_":
                node[1] = {"$": "dict", "items": [list(item) for item in config.items()]}
        return state

    with pytest.raises(BundleError, match="described with code from elsewhere"):
        load(forge(saved, tmp_path / "x.asf", describe_it))


def test_description_of_a_huge_network_costs_nothing(saved: Path, tmp_path: Path) -> None:
    """Every whole number of a model in turn becomes a billion."""
    parts, _ = read_bundle(saved, max_bytes=MOST)
    state = json.loads(parts["state.json"])
    places = list(numbers(state))
    before, refused = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    for number, (node, index) in enumerate(places):
        kept, node[index] = node[index], 10**9
        write_bundle(
            tmp_path / "x.asf",
            parts | {"state.json": json.dumps(state).encode()},
            {"asfusion": "1"},
        )
        try:
            load(tmp_path / "x.asf")
        except BundleError:
            refused += 1
        node[index] = kept
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 400 << 10, (number, node)  # KiB
    assert 0 < refused < len(places)  # a seed, say, may be any number


def numbers(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield container and key of every whole number below `node`."""
    keys = node if isinstance(node, dict) else range(len(node))
    for key in keys:
        if type(node[key]) is int:
            yield node, key
        elif isinstance(node[key], dict | list):
            yield from numbers(node[key])


def test_network_that_fits_its_weights_is_built() -> None:
    with at_most_values(0):
        nn.Linear(100, 100)
    with (
        pytest.raises(ShapeError, match="got a description of a far larger one"),
        at_most_values(9),
    ):
        nn.Linear(1000, 1000)
    nn.Linear(1000, 1000)


_WATCH = """
import json, sys
from pathlib import Path
from asfusion.exceptions import BundleError
from asfusion.persistence import load

folder = Path(sys.argv[1])
for path in sorted((folder / "clean").iterdir()):
    load(path)
import asfusion.fusion.concat, asfusion.fusion.gated  # a name may lead to any head of ours
from asfusion.bundle._skops import skops_io
skops_io()  # reads what is not plain, and is imported for that alone

WATCHED = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen",
           "socket.", "exec", "compile", "pickle.find_class", "os.remove", "os.rename", "shutil.",
           "ctypes.dlopen", "urllib.Request", "marshal.loads")
events, watching, known = [], [False], set(sys.modules)

def watch(event, args):
    if not watching[0]:
        return
    if event == "compile" and args[1] == "<unknown>" and b"descr" in bytes(str(args[0]), "utf8"):
        return  # the header of a NumPy file, parsed as a literal
    if event.startswith(WATCHED):
        events.append(f"{event} {args!r:.200}")
    elif event == "import" and args[0] not in known and not args[0].startswith("sklearn"):
        events.append(f"import {args[0]}")
    elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        events.append(f"open {args!r:.200}")

sys.addaudithook(watch)
loaded = []
for path in sorted((folder / "hostile").iterdir()):
    watching[0] = True
    try:
        load(path)
        loaded.append(path.name)
    except BundleError:
        pass
    finally:
        watching[0] = False
print(json.dumps({"events": events, "loaded": loaded}))
"""


@pytest.mark.filterwarnings("ignore::asfusion.exceptions.AsfusionWarning")
def test_nothing_runs_while_a_hostile_model_is_read(
    X: pd.DataFrame, saved: Path, tmp_path: Path
) -> None:
    (tmp_path / "clean").mkdir()
    for name in ("early with XGBoost", "early with a pipeline", "joint, described head"):
        fitted(name, X).save(tmp_path / "clean" / name.replace(" ", "-"))
    hostile = tmp_path / "hostile"
    for number, name in enumerate(FOREIGN):
        forge(saved, hostile / f"class{number}", lambda state, name=name: state | {"class": name})
    for name in NAMES:
        state = {"state.json": json.dumps(STATE.get(name)).encode()}
        for how in ("pickle", "joblib", "torch"):
            write_bundle(hostile / f"{how}-{name}", state | {name: pickled(how)}, {})
    part = {"state.json": json.dumps({"$": "sklearn", "name": "sklearna.skops"}).encode()}
    for name, make in hostile_archives().items():
        write_bundle(hostile / f"archive {name}", part | {"sklearna.skops": make()}, {})
    for number, manifest in enumerate(hostile_manifests().values()):
        (hostile / f"manifest{number}").mkdir()
        (hostile / f"manifest{number}" / "manifest.json").write_bytes(hashed(manifest))
    run = subprocess.run(
        [sys.executable, "-c", _WATCH, str(tmp_path)],
        check=True, capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert json.loads(run.stdout) == {"events": [], "loaded": []}
    assert not (tmp_path / "owned.txt").exists()


SOME_BOMBS = [
    "4 MB of []", '3 MB of "",', "900 deep", "300 references to one array of 10 MB",
    "1 MB of wide cells", "20,000 keys that collide", "50,000 empty tensors",
    "300 names of one file", "a billion laughs", "rows to ask: 100,000",
]  # fmt: skip


def test_forged_models_neither_crash_nor_cost_much(saved: Path, tmp_path: Path) -> None:
    """Some of each kind; ``benchmarks/red_team.py`` asks thousands."""
    paths = list(bombs(saved, tmp_path, SOME_BOMBS).values())
    paths += forged(saved, tmp_path, 24, seed=11)
    seen = list(watched(paths, saved, most_s=120.0))
    assert len(seen) == len(paths)
    bad = [each for each in seen if each.how not in ("refused", "loaded") or each.megabytes > 64]
    assert bad == []
    assert sum(each.how == "refused" for each in seen) > 20


# -- what belongs to a machine -----------------------------------------------------------

_OF_A_MACHINE = re.compile(
    r"path|dir|folder|store|root|checkpoint|device|download|jobs|cache|trust|url|host|token$|memory"
)


def test_no_parameter_of_a_machine_is_saved() -> None:
    """A new one has to be named by its class, or it travels to whoever loads the model."""
    found = {}
    for kind in {k for base in (Bundled, Described) for k in kinds_of(base)}:
        if not kind.__module__.startswith("asfusion."):
            continue
        names = set(inspect.signature(kind.__init__).parameters)
        local = {name for name in names if _OF_A_MACHINE.search(name)}
        if local - getattr(kind, "_local_params", frozenset()):
            found[kind.__name__] = local
    assert found == {}
    assert JointFusionClassifier._local_params == {"checkpoint", "device", "memory_gb"}
    assert ImageEncoder._local_params == {"download", "root", "store"}


def test_a_model_says_nothing_of_the_machine_that_saved_it(X: pd.DataFrame, tmp_path: Path) -> None:
    name = "secret-folder"
    (tmp_path / name).mkdir()
    root, cells = Path(X["image"][0]).parent, X["image"].map(Path, na_action="ignore")
    here = X.assign(image=cells.map(lambda path: path.name, na_action="ignore"))
    network = JointFusionClassifier(checkpoint=tmp_path / name, device="cpu", **SHORT)
    encoder = ImageEncoder("image", size=32, d_out=8, root=root, store=tmp_path / name / "store")
    encoders = {"labs": tables()["labs"], "image": encoder}
    for kind in (EarlyFusionClassifier, LateFusionClassifier):
        path = kind(encoders, network=network, **QUIET).fit(here, Y).save(tmp_path / "model.asf")
        told = b"".join(file.read_bytes() for file in path.iterdir())
        assert name.encode() not in told and str(tmp_path).encode() not in told
        again = load(path)
        assert (again.network.checkpoint, again.network.device) == (None, "auto")
        fitted_encoder = again._modality_encoders()["image"]
        for part in (again.encoders["image"], fitted_encoder):
            assert (part.store, part.root, part.download) == (None, None, False)
        fitted_encoder.set_params(root=root)
        answer(again, here)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/home/anna/models/rad-dino", "./rad-dino"), ("C:\\models\\rad-dino", "./rad-dino"),
        ("\\\\host\\share\\x", "./x"), ("../x/y/", "./y"), ("~/x", "./x"),
        (Path("/a/b.safetensors"), "./b.safetensors"), ("a/b.safetensors", "./b.safetensors"),
        ("microsoft/rad-dino", "microsoft/rad-dino"), ("resnet18", "resnet18"), ("./x", "./x"),
        ("a/b/c", "./c"), (None, None), ("", ""), (5, 5), ("/", "/"),
    ],
)  # fmt: skip
def test_paths_of_weights_lose_their_folders(given: Any, kept: Any) -> None:
    state = ImageEncoder("x", backbone=given, weights=given)._bundle_state()
    assert (state["params"]["backbone"], state["params"]["weights"]) == (kept, kept)
    made = ImageEncoder.__new__(ImageEncoder)
    made._restore_bundle_state({"params": {"column": "x", "weights": given}, "fitted": {}})
    assert made.weights == kept


def test_an_edited_model_writes_and_fetches_nothing(
    saved: Path, X: pd.DataFrame, tmp_path: Path
) -> None:
    """Decoded pixels of patients once went to whatever folder a model named."""
    store = tmp_path / "stolen"
    added = [
        ["store", str(store)], ["root", "/"], ["download", True], ["checkpoint", str(store)],
        ["device", "cuda:7"],
    ]  # fmt: skip

    def add(state: Any) -> Any:
        for node in list(walk(state)):
            if isinstance(node, list) and node[:1] == ["params"] and isinstance(node[1], dict):
                names = [str(item[0]) for item in node[1]["items"]]
                node[1]["items"] += added[:3] if "on_error" in names else []
                node[1]["items"] += added[3:] if "max_epochs" in names else []
        return state

    again = load(forge(saved, tmp_path / "x.asf", add))
    assert (again.checkpoint, again.device) == (None, "auto")
    np.testing.assert_array_equal(answer(again, X), answer(load(saved), X))
    assert not store.exists()


def test_xgboost_is_not_told_of_the_machine(X: pd.DataFrame, tmp_path: Path) -> None:
    trees = XGBClassifier(n_estimators=3, n_jobs=1, device="cpu")
    path = EarlyFusionClassifier(tables(), trees, **QUIET).fit(X, Y).save(tmp_path / "model.asf")
    again = load(path)
    assert (again.estimator_.n_jobs, again.estimator_.device) == (None, None)

    def many(state: Any) -> Any:
        for node in walk(state):
            if isinstance(node, list) and node[:1] in (["n_jobs"], ["device"]):
                node[1] = 10**9
        return state

    again = load(forge(path, tmp_path / "x.asf", many))
    assert (again.estimator_.n_jobs, again.estimator_.device) == (None, None)


# -- the same numbers elsewhere ----------------------------------------------------------


def probe_of(path: Path) -> Any:
    (file,) = path.glob("probe-*.json")
    return json.loads(file.read_bytes())


def with_probe(source: Path, target: Path, change: Callable[[Any], Any]) -> Path:
    """Write a copy of a model with other synthetic rows or answers, and correct hashes."""
    parts, manifest = read_bundle(source, max_bytes=MOST)
    probe = change(json.loads(parts["probe.json"]))
    about = {"versions": manifest["versions"] | {"torch": "1.2.3"}}
    write_bundle(target, parts | {"probe.json": json.dumps(probe).encode()}, about)
    return target


def moved(by: float) -> Callable[[Any], Any]:
    return lambda probe: (
        probe | {"answers": [[cell + by for cell in row] for row in probe["answers"]]}
    )


def test_other_predictions_than_those_that_were_saved(
    saved: Path, X: pd.DataFrame, tmp_path: Path
) -> None:
    load(with_probe(saved, tmp_path / "0.asf", moved(3e-5)))
    shorter = lambda probe: probe | {"answers": [row[:1] for row in probe["answers"]]}  # noqa: E731
    for number, change in enumerate((moved(1e-3), moved(-0.3), shorter), start=1):
        with pytest.raises(BundleError, match=r"got others .* torch 1\.2\.3 \(here "):
            load(with_probe(saved, tmp_path / f"{number}.asf", change))
    path = fitted("early with XGBoost", X).save(tmp_path / "trees.asf")
    with pytest.raises(BundleError, match="expected the predictions that the model gave"):
        load(with_probe(path, tmp_path / "4.asf", moved(1e-5)))


def test_lost_base_score_is_seen(X: pd.DataFrame, tmp_path: Path) -> None:
    """What an older XGBoost made of models of a newer one."""
    y = 140.0 + TARGETS[:, 0]
    model = EarlyFusionRegressor(tables(), XGBRegressor(n_estimators=3), **QUIET).fit(X, y)
    path = model.save(tmp_path / "model.asf")
    with pytest.raises(BundleError, match="expected the predictions that the model gave"):
        load(with_probe(path, tmp_path / "x.asf", moved(-139.5)))


def test_rows_that_are_asked_are_nobodys(X: pd.DataFrame, tmp_path: Path) -> None:
    path = fitted("joint", X).save(tmp_path / "model.asf")
    probe = probe_of(path)
    assert set(probe["cells"]) == {"crp", "b27", "sex", "rs1"}
    assert {len(column) for column in probe["cells"].values()} == {len(probe["answers"])}
    asked = set(zip(probe["cells"]["crp"], probe["cells"]["rs1"], strict=True))
    assert asked.isdisjoint(set(zip(X["crp"], X["rs1"], strict=True)))
    assert probe["answers"] and len({str(row) for row in probe["answers"]}) > 1


def test_arrays_and_wrappers_are_asked_too(X: pd.DataFrame, tmp_path: Path) -> None:
    rows = X[["rs1", "crp"]].fillna(1.0).to_numpy()
    early = EarlyFusionClassifier(**QUIET).fit(rows, Y)
    early.save(tmp_path / "array.asf")
    assert set(probe_of(tmp_path / "array.asf")["cells"]) == {"x0", "x1"}
    sure = ConformalClassifier(early, prefit=True).fit(rows, Y)
    other = RecalibratedClassifier(early, prefit=True).fit(rows, Y)
    index = BasfiRegressor(random_state=0).fit(X[["crp", "rs1", "sex"]], np.linspace(0, 9, N))
    for number, (model, given) in enumerate(
        ((sure, rows), (other, rows), (index, X[["crp", "rs1", "sex"]]))
    ):
        path = model.save(tmp_path / f"{number}.asf")
        assert probe_of(path)["answers"]
        np.testing.assert_allclose(answer(load(path), given), answer(model, given))
        with pytest.raises(BundleError, match="expected the predictions that the model gave"):
            load(with_probe(path, tmp_path / f"{number}-moved.asf", moved(0.1)))


@pytest.mark.parametrize(
    "cells",
    [
        {"rs1": [1.0]}, {"rs1": 5}, {"rs1": [[1.0]] * 6}, {"rs1": [{"a": 1}] * 6},
        {"rs1": None, "image": 0} | {"rs1": "abcdef"},
    ],
)  # fmt: skip
def test_strange_rows_are_not_asked(cells: Any, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="synthetic rows of the model are not as save wrote"):
        load(with_probe(saved, tmp_path / "x.asf", lambda probe: probe | {"cells": cells}))


def test_rows_name_no_file(saved: Path, tmp_path: Path) -> None:
    """Cells of images and notes are missing, whatever the folder says."""
    add = {"image": ["/etc/passwd"] * 6, "note": ["aaaa"] * 6, "strange": [1] * 6}
    load(with_probe(saved, tmp_path / "x.asf", lambda p: p | {"cells": p["cells"] | add}))
    text = {"rs1": ["a"] * 6}
    with pytest.raises(BundleError, match=r"expected answers to the synthetic rows .* torch 1\.2"):
        load(with_probe(saved, tmp_path / "y.asf", lambda p: p | {"cells": text}))
    for number, raw in enumerate((b"[" + b"1," * (5 << 20) + b"1]", b"{}", b'{"answers": 5}')):
        parts, _ = read_bundle(saved, max_bytes=MOST)
        write_bundle(tmp_path / f"{number}.asf", parts | {"probe.json": raw}, {})
        with pytest.raises(BundleError, match="load: "):
            load(tmp_path / f"{number}.asf")


def test_model_that_cannot_answer_made_up_rows_is_saved_without(
    X: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted("early with a forest", X)

    def fail(rows: Any) -> Any:
        raise ValueError("a cell is missing")

    for broken in (fail, lambda rows: np.full((6, 2), np.nan)):
        monkeypatch.setattr(type(model), "predict_proba", lambda self, rows, do=broken: do(rows))
        path = model.save(tmp_path / "model.asf")
        assert not list(path.glob("probe-*"))
    monkeypatch.undo()
    np.testing.assert_array_equal(answer(load(path), X), answer(model, X))


def test_versions_between_which_numbers_changed(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, manifest = read_bundle(saved, max_bytes=MOST)
    assert set(manifest["versions"]) >= {"asfusion", "python", "numpy", "torch", "xgboost"}
    assert manifest["versions"]["torch"] == torch.__version__
    change = _compat.Change("torch", "3.1", "safetensors", "older", "weights come out as noise")
    for own, wrote, refused in (
        ("2.9.1", "3.1.0", True), ("2.9.1+cpu", "3.2.0rc1", True), ("3.1.0", "2.9", False),
        ("3.1", "3.2", False), ("2.8", "2.9", False), ("2.9", "x" * 50, False), ("2.9", 5, False),
    ):  # fmt: skip
        monkeypatch.setattr(_compat, "installed", lambda own=own: {"torch": own})
        write_bundle(tmp_path / "x.asf", parts, {"versions": {"torch": wrote}})
        for changes in ((change,), (replace(change, hurt="both"),)):
            monkeypatch.setattr(_compat, "CHANGES", changes)
            newer = changes[0].hurt == "both" and (own, wrote) == ("3.1.0", "2.9")
            if refused or newer:
                with pytest.raises(BundleError, match=f"expected torch {wrote}, .*, got"):
                    load(tmp_path / "x.asf")
            else:
                load(tmp_path / "x.asf")
    monkeypatch.setattr(_compat, "installed", lambda: {"torch": "2.9.1"})
    write_bundle(tmp_path / "x.asf", parts, {"versions": {"torch": "3.1.0"}})
    monkeypatch.setattr(_compat, "CHANGES", (replace(change, refuse=False),))
    with pytest.warns(AsfusionWarning, match="weights come out as noise. Install torch 3.1.0"):
        load(tmp_path / "x.asf")
    monkeypatch.setattr(_compat, "CHANGES", (replace(change, ending="ubj"),))
    load(tmp_path / "x.asf")


# -- the library itself ------------------------------------------------------------------

_FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
# What a process sends to workers that it started itself, packed as joblib packs it: no file.
_TO_OWN_WORKERS = ["_job.py imports pickle", "_job.py imports cloudpickle"]
_CALLS = {"joblib.load", "np.load", "numpy.load", "torch.load", "eval", "exec", "skops_io.load"}


@pytest.mark.parametrize("folder", ["asfusion", "benchmarks"])
def test_no_module_can_run_a_file(folder: str) -> None:
    found = []
    for file in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            elif (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in _CALLS
                # numpy's own format, without objects, holds numbers alone.
                and "allow_pickle=False" not in [ast.unparse(word) for word in node.keywords]
            ):
                found.append(f"{file.name}:{node.lineno} {ast.unparse(node.func)}")
            found += [f"{file.name} imports {n}" for n in names if n.split(".")[0] in _FORBIDDEN]
    assert found == (_TO_OWN_WORKERS if folder == "asfusion" else [])


_KILLS = """
import dataclasses, json, pathlib, random, sys
from benchmarks import kill_saves
kill_saves._EPOCHS, kill_saves._RESUME_EVERY, kill_saves._LONGEST_DELAY_S = 10, 5, 0.05
folder, rng = pathlib.Path(sys.argv[1]), random.Random(0)
saves = kill_saves.kill_while_saving(folder / "saves", 8, rng)
training = kill_saves.kill_while_training(folder / "training", 7, rng)
print(json.dumps([{**dataclasses.asdict(t), "clean": t.is_clean} for t in (saves, training)]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_saves_and_trainings(tmp_path: Path) -> None:
    """In a process of its own: a fork of one with threads may wait for their locks for ever."""
    run = subprocess.run(
        [sys.executable, "-c", _KILLS, str(tmp_path)],
        check=True, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    saves, training = json.loads(run.stdout)
    assert (saves["kills"], training["kills"], training["resumed"]) == (8, 7, 1)
    assert saves["clean"]
    assert training["clean"]
