"""Bundles: exact values, complete or untouched folders, and nothing else than `BundleError`."""

from __future__ import annotations

import collections
import errno
import hashlib
import io
import json
import os
import pickle  # noqa: TID251
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asfusion.bundle.folder import FORMAT, MANIFEST, read_bundle, sealed, write_bundle
from asfusion.bundle.objects import describe_bundle, load_bundle, save_bundle
from asfusion.exceptions import BundleError

MOST = 1 << 30
ROOT = Path(__file__).resolve().parents[1]


def nothing(name: str) -> type:
    raise BundleError("load: no class is allowed here.")


def load(path: Path, **options: Any) -> Any:
    return load_bundle(path, nothing, **({"max_bytes": MOST} | options))


def round_trip(value: Any, folder: Path) -> Any:
    save_bundle(value, folder / "x.asf")
    return load(folder / "x.asf")


def same(a: Any, b: Any) -> bool:
    """Equal in type, shape and every bit; NaN equals NaN."""
    if type(a) is not type(b):
        return isinstance(a, os.PathLike) and a == b
    if isinstance(a, np.ndarray | np.generic):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype.kind in "OU":
            return same(a.tolist(), b.tolist())
        return a.tobytes() == b.tobytes()
    if isinstance(a, torch.Tensor):
        flat = [t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b) if t.numel()]
        return a.dtype == b.dtype and a.shape == b.shape and (not flat or torch.equal(*flat))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a), list(b)) and same(list(a.values()), list(b.values()))
    return bool(a == b) or (a != a and b != b)


# -- values ------------------------------------------------------------------------------

text = st.text(st.characters())  # surrogates, too
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | text
dtypes = st.sampled_from(["?", "i1", "<i8", "<u2", "<f2", "<f4", "<f8", "<U5"])
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
objects = st.lists(st.none() | text | st.floats(), max_size=4).map(
    lambda cells: np.array([*cells, None], dtype=object)
)
values = st.recursive(
    scalars | arrays | objects,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers() | text | st.tuples(text, st.booleans()), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=values)
def test_values_come_back_exactly(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert same(round_trip(value, tmp_path_factory.mktemp("values")), value)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 2**80, -(2**63), True,
        "\ud800", "a\0b", {"$": "tuple", "items": []}, {1: "a", "1": "b", None: "c", (1, 2): "d"},
        np.float64(0.1), np.float32(0.1), np.int8(-3), np.bool_(True), np.uint64(2**64 - 1),
        np.array(3.5), np.empty((0, 4)), np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10)[::3], np.array(["a", "bcd"]), np.array([["ä", None], [1, 2.5]], dtype=object),
        np.array([[1, 2], None], dtype=object), Path("a") / "b",
        torch.tensor(2), torch.randn(3, 4).T, torch.ones(2, dtype=torch.bfloat16),
        torch.empty(0, 2), torch.tensor([True]), torch.tensor([np.nan], dtype=torch.float64),
    ],
    ids=lambda value: f"{type(value).__name__}",
)  # fmt: skip
def test_value_comes_back_exactly(value: Any, tmp_path: Path) -> None:
    assert same(round_trip(value, tmp_path), value)


def test_tensors_that_share_memory_come_back_apart(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    first, second = round_trip([base, base[2:4]], tmp_path)
    first[2] = -1
    assert second.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (lambda x: x, "value of type builtins.function cannot be saved"),
        (print, "value of type builtins.builtin_function_or_method cannot be saved"),
        (np.random.RandomState(0), "RandomState cannot be saved without pickle"),
        (np.random.default_rng(0), "Generator cannot be saved"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear cannot be saved"),
        (collections.deque(), "collections.deque cannot be saved"),
        ({1, 2}, "builtins.set cannot be saved"),
        (b"bytes", "builtins.bytes cannot be saved"),
        (1j, "builtins.complex cannot be saved"),
        (np.array([1j]), "arrays of numbers or text, got dtype complex128"),
        (np.array(["2020-01-01"], dtype="M8[D]"), r"got dtype datetime64\[D\]"),
        (np.zeros(2, dtype=[("a", "f8")]), "got dtype"),
        (np.array([object()], dtype=object), "builtins.object cannot be saved"),
        ({"deep": [lambda: 0]}, "builtins.function cannot be saved"),
    ],
    ids=range(14),
)
def test_what_cannot_be_saved_fails_at_save(value: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=complaint):
        save_bundle(value, tmp_path / "x.asf")
    assert list(tmp_path.iterdir()) == []


def test_value_that_holds_itself(tmp_path: Path) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(BundleError, match="holds itself, or is nested too deep"):
        save_bundle(value, tmp_path / "x.asf")


# -- the same bytes ----------------------------------------------------------------------

_SAVE = """
import sys
from pathlib import Path
from asfusion.bundle.objects import save_bundle
from tests.test_bundle import a_model
save_bundle(a_model(), Path(sys.argv[1]))
"""


def a_model() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    X = np.random.default_rng(0).normal(size=(30, 3))
    forest = RandomForestClassifier(3, random_state=0).fit(X, X[:, 0] > 0)
    return {"b": forest, "a": X, "c": [{"x": 1, "y": np.array(["u", None], dtype=object)}]}


def content(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def test_equal_models_give_equal_bytes_in_every_process(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", _SAVE, str(tmp_path / "other.asf")],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
    )
    save_bundle(a_model(), tmp_path / "own.asf")
    assert content(tmp_path / "other.asf") == content(tmp_path / "own.asf")
    save_bundle(load(tmp_path / "own.asf"), tmp_path / "again.asf")
    assert content(tmp_path / "again.asf") == content(tmp_path / "own.asf")


# -- the folder --------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "x.asf"
    save_bundle({"weights": torch.arange(20.0), "x": np.arange(9), "note": "text" * 9}, path)
    return path


def damage(path: Path, positions: int, truncations: int) -> None:
    """Flip bytes and cut files of a bundle; each time it must be refused."""
    rng = random.Random(0)
    files = sorted(path.iterdir())
    places = [(file, at) for file in files for at in range(file.stat().st_size)]
    for file, at in rng.sample(places, min(positions, len(places))):
        whole = file.read_bytes()
        file.write_bytes(
            whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :]
        )
        with pytest.raises(BundleError, match="load: "):
            load(path)
        file.write_bytes(whole)
    for file, at in rng.sample(places, min(truncations, len(places))):
        whole = file.read_bytes()
        file.write_bytes(whole[:at])
        with pytest.raises(BundleError, match="load: "):
            load(path)
        file.write_bytes(whole)


def test_flipped_bytes_and_cut_files_are_refused(bundle: Path) -> None:
    damage(bundle, positions=300, truncations=100)
    load(bundle)


def test_missing_swapped_and_extra_files(bundle: Path) -> None:
    (bundle / "README.txt").write_text("of the user")
    load(bundle)
    files = [f for f in sorted(bundle.iterdir()) if f.name not in (MANIFEST, "README.txt")]
    for file in [*files, bundle / MANIFEST]:
        whole = file.read_bytes()
        file.unlink()
        with pytest.raises(BundleError, match="missing, cut or changed|expected the folder"):
            load(bundle)
        file.write_bytes(whole)
    first, second = files[0].read_bytes(), files[1].read_bytes()
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    with pytest.raises(BundleError, match="missing, cut or changed"):
        load(bundle)


def test_what_is_not_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path, tmp_path / "file", Path("\0")):
        with pytest.raises(BundleError, match="load: "):
            load(path)


def test_size_limit(bundle: Path) -> None:
    with pytest.raises(BundleError, match="larger than allowed. Raise max_bytes"):
        load(bundle, max_bytes=10)


def test_links_and_pipes_are_not_read(bundle: Path, tmp_path: Path) -> None:
    for file in sorted(bundle.iterdir()):
        aside = tmp_path / "aside"
        file.rename(aside)
        file.symlink_to(aside)
        with pytest.raises(BundleError, match="missing, cut or changed"):
            load(bundle)
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(BundleError, match="missing, cut or changed"):
            load(bundle)
        file.unlink()
        file.mkdir()
        with pytest.raises(BundleError, match="missing, cut or changed"):
            load(bundle)
        file.rmdir()
        aside.rename(file)
    load(bundle)


def test_save_replaces_a_bundle_and_keeps_what_is_not_its_own(bundle: Path) -> None:
    (bundle / "README.txt").write_text("of the user")
    (bundle / ".manifest.json.abcd1234.tmp").write_text("killed")
    (bundle / "state-0123456789abcdef.json").write_text("outdated")
    save_bundle([1, 2], bundle)
    assert load(bundle) == [1, 2]
    names = sorted(entry.name for entry in bundle.iterdir())
    assert len(names) == 3
    assert names[:2] == ["README.txt", MANIFEST]


def test_save_refuses_a_foreign_folder_or_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("folder", "file"):
        with pytest.raises(BundleError, match="expected a new path or a saved model to replace"):
            save_bundle(1, tmp_path / name)
    assert (tmp_path / "folder" / "thesis.tex").read_text() == "x"
    with pytest.raises(BundleError, match="could not be written"):
        save_bundle(1, tmp_path / "file" / "below")


def test_save_makes_the_folders_above(tmp_path: Path) -> None:
    save_bundle(1, tmp_path / "a" / "b" / "x.asf")
    assert load(tmp_path / "a" / "b" / "x.asf") == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(os, "fsync"), (os, "fdopen"), (Path, "replace"), (Path, "rename"), (Path, "chmod")],
)
@pytest.mark.parametrize("fresh", [True, False], ids=["new path", "over another"])
def test_failing_disk_leaves_the_last_good_model(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    code: int,
    fresh: bool,
) -> None:
    """Let every call fail in turn: the first, the second, until the save succeeds."""
    for step in range(30):
        path = tmp_path / f"{step}.asf"
        if not fresh:
            save_bundle({"version": "old", "x": np.zeros(3)}, path)
        with monkeypatch.context() as patch:
            calls = fail_at(patch, owner, name, step, OSError(code, os.strerror(code)))
            try:
                save_bundle({"version": "new", "x": np.ones(4)}, path)
                failed = False
            except BundleError as error:
                assert f"could not be written ({os.strerror(code)})" in str(error)
                failed = True
        if path.exists():  # the disk may fail after the new model took its place
            assert load(path)["version"] in ({"old", "new"} if failed else {"new"})
        assert path.exists() or (fresh and failed)
        assert not list(tmp_path.rglob("*.tmp"))
        shutil.rmtree(path, ignore_errors=True)
        if len(calls) <= step:
            assert not failed
            return
    pytest.fail("The save never succeeded.")


def fail_at(
    patch: pytest.MonkeyPatch, owner: Any, name: str, step: int, error: OSError
) -> list[None]:
    real, calls = getattr(owner, name), []

    def call(*args: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) == step + 1:
            raise error
        return real(*args, **options)

    patch.setattr(owner, name, call)
    return calls


def test_leftovers_of_this_path_only_are_cleared(tmp_path: Path) -> None:
    for name in (".x.asf.abcd1234.tmp", ".y.asf.abcd1234.tmp"):
        (tmp_path / name).mkdir()
    save_bundle(1, tmp_path / "x.asf")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".y.asf.abcd1234.tmp", "x.asf"]


# -- hostile folders ---------------------------------------------------------------------


class Bomb:
    """Run a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return os.system, ("echo owned > owned.txt",)


def pickled(how: str) -> bytes:
    buffer = io.BytesIO()
    if how == "pickle":
        pickle.dump(Bomb(), buffer)
    elif how == "joblib":
        joblib.dump(Bomb(), buffer)
    else:
        torch.save(Bomb(), buffer)
    return buffer.getvalue()


NAMES = ["state.json", "arrays.safetensors", "tensors.safetensors", "treesa.ubj", "sklearna.skops"]
STATE: Mapping[str, Any] = {
    "arrays.safetensors": {"$": "array", "name": "a0"},
    "tensors.safetensors": {"$": "tensor", "name": "t0"},
    "treesa.ubj": {
        "$": "xgboost", "class": "XGBClassifier", "params": {"$": "dict", "items": []},
        "name": "treesa.ubj",
    },
    "sklearna.skops": {"$": "sklearn", "name": "sklearna.skops"},
}  # fmt: skip


def craft(path: Path, state: Any, **parts: bytes) -> Path:
    """Write a bundle with correct hashes around whatever content."""
    raw = state if isinstance(state, bytes) else json.dumps(state).encode()
    named = {name.replace("__", "."): content for name, content in parts.items()}
    write_bundle(path, {"state.json": raw} | named, {"asfusion": "0.1", "class": "a:b"})
    return path


@pytest.mark.parametrize("how", ["pickle", "joblib", "torch"])
@pytest.mark.parametrize("name", NAMES)
def test_pickles_under_any_name_are_refused_unread(
    how: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parts = {"state.json": json.dumps(STATE.get(name)).encode()} | {name: pickled(how)}
    write_bundle(tmp_path / "x.asf", parts, {})
    with pytest.raises(BundleError, match="load: "):
        load(tmp_path / "x.asf")
    assert not (tmp_path / "owned.txt").exists()


def node(kind: Any, **fields: Any) -> dict[str, Any]:
    return {"$": kind, **fields}


@pytest.mark.parametrize(
    "state",
    [
        b"", b"\x80", b"{", b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[1e999]", b"\xff\xfe[\0]",
        b"[" * 200_000, b'{"$":"tuple","items":[' * 50_000, b"[" * 30_000 + b"]" * 30_000,
        b"1" * 5000, {}, {"a": 1}, node(None), node([]), node({}), node("eval"), node("__class__"),
        node("float", value="1.0.0"), node("float"), node("tuple"), node("tuple", items=5),
        node("dict", items=[[1]]), node("dict", items=[[[], 1]]), node("dict", items=[5]),
        node("dict", items=[["attn_implementation", "evil/kernel"]]),
        node("dict", items=[["auto_map", 1]]),
        node("array", name="a0"), node("array", name=5), node("array", name=[]), node("array"),
        node("scalar", name="a0"), node("tensor", name="t0"), node("path", value=5),
        node("cells", dtype="object", shape=[10**9], cells=[]),
        node("cells", dtype="object", shape=[2], cells=[1]),
        node("cells", dtype="O", shape=[0], cells=[]),
        node("cells", dtype="f8", shape=[0], cells=[]),
        node("cells", dtype="<U2000000000", shape=[1], cells=["a"]),
        node("cells", dtype="<U500000000", shape=[3], cells=["a", "b", "c"]),
        node("cells", dtype="V8", shape=[0], cells=[]),
        node("cells", dtype=[["a", "O"]], shape=[0], cells=[]),
        node("sklearn", name="state.json"), node("sklearn", name="../x"), node("sklearn"),
        node("xgboost", **{"class": "os.system", "params": node("dict", items=[])}),
        node("xgboost", **{"class": "XGBModel", "params": node("dict", items=[])}),
        node("xgboost", **{"class": "XGBRegressor", "params": 5}),
        node("xgboost", **{"class": ["XGBRegressor"], "params": node("dict", items=[])}),
        node("container", **{"class": "os:system", "state": node("dict", items=[])}),
        node("container", **{"class": "sklearn.pipeline:Pipeline", "state": 5}),
        node("container", **{
            "class": "sklearn.pipeline:FeatureUnion",
            "state": node("dict", items=[["__class__", 1]]), "x": 1,
        }),
        node("object", **{"class": "os:system", "state": {}}),
    ],
    ids=lambda state: str(state)[:50],
)  # fmt: skip
def test_hostile_state_is_refused(state: Any, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="load: "):
        load(craft(tmp_path / "x.asf", state))


def hostile_manifests() -> dict[str, Any]:
    empty = {"size": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    half = empty["sha256"][:16]  # type: ignore[index]
    good = f"state-{half}.json"
    listed: dict[str, Any] = {
        name: {"format": FORMAT, "files": {name: empty}}
        for name in (
            "../../etc/passwd", "/etc/passwd", f"../state-{half}.json", f"./state-{half}.json",
            "C:\\x.json", f"state-{half}.json\0", f"stäte-{half}.json", f"state-{half}.json\n", "",
            f"state-{half}.pkl", f"state-{half}.exe", MANIFEST, ".", "..", f"a/state-{half}.json",
            f"state-{'0' * 16}.json",
        )
    }  # fmt: skip
    return listed | {
        "twice": {"format": FORMAT, "files": {good: empty, f"state-{'0' * 16}.json": empty}},
        "future": {"format": 3, "files": {}},
        "format text": {"format": "1", "files": {}},
        "no format": {"files": {}},
        "no files": {"format": FORMAT},
        "no file": {"format": FORMAT, "files": {}},
        "files list": {"format": FORMAT, "files": [good]},
        "entry list": {"format": FORMAT, "files": {good: []}},
        "entry null": {"format": FORMAT, "files": {good: None}},
        "size text": {"format": FORMAT, "files": {good: empty | {"size": "0"}}},
        "size bool": {"format": FORMAT, "files": {good: empty | {"size": True}}},
        "size float": {"format": FORMAT, "files": {good: empty | {"size": 0.0}}},
        "size negative": {"format": FORMAT, "files": {good: empty | {"size": -1}}},
        "size huge": {"format": FORMAT, "files": {good: empty | {"size": 10**30}}},
        "size allowed": {"format": FORMAT, "files": {good: empty | {"size": 10**8}}},
        "hash null": {"format": FORMAT, "files": {good: empty | {"sha256": None}}},
        "hash short": {"format": FORMAT, "files": {good: empty | {"sha256": half}}},
        "more": {"format": FORMAT, "files": {good: empty | {"url": "http://x"}}},
        "list": [],
        "null": None,
        "text": "x",
    }


def hashed(manifest: Any) -> bytes:
    """Return the text of a manifest with the hash that it should have."""
    return sealed(manifest) if isinstance(manifest, dict) else json.dumps(manifest).encode()


@pytest.mark.parametrize("case", hostile_manifests(), ids=ascii)
def test_hostile_manifest_is_refused(case: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(hashed(hostile_manifests()[case]))
    with pytest.raises(BundleError, match="load: "):
        load(tmp_path)


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b"[" * 100_000, b" " * (1 << 21), b'{"format": NaN}', b"9" * 5000]
)
def test_manifest_that_is_not_json(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(raw)
    with pytest.raises(BundleError, match="load: "):
        load(tmp_path)
    with pytest.raises(BundleError, match="load: "):
        describe_bundle(tmp_path, max_bytes=MOST)


def test_two_files_for_one_part(tmp_path: Path) -> None:
    files = {}
    for raw in (b"1", b"2"):
        digest = hashlib.sha256(raw).hexdigest()
        name = f"state-{digest[:16]}.json"
        (tmp_path / name).write_bytes(raw)
        files[name] = {"size": 1, "sha256": digest}
    (tmp_path / MANIFEST).write_bytes(sealed({"format": FORMAT, "files": files}))
    with pytest.raises(BundleError, match="two files for one part"):
        read_bundle(tmp_path, max_bytes=MOST)


def test_version_in_a_message_is_a_version(tmp_path: Path) -> None:
    for named, shown in (
        ("1.2.3.dev0", r"asfusion 1\.2\.3\.dev0 \(here "),
        ("\x1b[31m", "by the versions that are"),
    ):
        path = tmp_path / f"{len(named)}.asf"
        parts = {"state.json": b'{"$": "no"}'}
        write_bundle(path, parts, {"versions": {"asfusion": named, "x": 1}})
        with pytest.raises(BundleError, match=shown):
            load(path)


def test_describe_reads_without_restoring(tmp_path: Path) -> None:
    craft(tmp_path / "x.asf", node("object", **{"class": "os:system", "state": {}}))
    manifest, tree = describe_bundle(tmp_path / "x.asf", max_bytes=MOST)
    assert manifest["format"] == FORMAT
    assert tree["class"] == "os:system"
    write_bundle(tmp_path / "y.asf", {"other.json": b"1"}, {})
    with pytest.raises(BundleError, match="missing or not JSON"):
        describe_bundle(tmp_path / "y.asf", max_bytes=MOST)
