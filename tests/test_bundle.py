"""Bundles: exact values, complete or untouched folders, and nothing else than `BundleError`."""

from __future__ import annotations

import collections
import contextlib
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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save as save_arrays

from asfusion._files import locked
from asfusion.bundle import _budget
from asfusion.bundle import folder as folder_module
from asfusion.bundle._budget import read_schema
from asfusion.bundle.folder import FORMAT, MANIFEST, read_bundle, sealed, write_bundle
from asfusion.bundle.objects import describe_bundle, load_bundle, save_bundle
from asfusion.exceptions import BundleError
from tests.forging.savers import contend

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


many = st.integers(16, 40).flatmap(
    lambda n: st.one_of(
        *(
            st.lists(kind, min_size=n, max_size=n)
            for kind in (
                st.floats(allow_nan=True),
                st.integers(-(2**63), 2**63 - 1),
                st.integers(2**60, 2**70),
                st.booleans(),
                st.booleans() | st.integers(),
                text,
                st.fixed_dictionaries({"name": text, "x": st.floats(), "y": st.lists(scalars)}),
                st.fixed_dictionaries({1: text, "x": st.floats()}),
                st.dictionaries(st.sampled_from("ab"), st.integers()),
            )
        )
    )
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.large_base_example])
@given(value=many)
def test_long_lists_come_back_exactly(
    value: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert same(round_trip(value, tmp_path_factory.mktemp("lists")), value)


def test_long_lists_cost_little_text(tmp_path: Path) -> None:
    """A table of 20,000 columns stays far below what a state may have."""
    plans = [{"name": f"c{i}", "center": i / 7, "scale": i / 3, "edges": []} for i in range(20_000)]
    save_bundle(plans, tmp_path / "x.asf")
    (state,) = (tmp_path / "x.asf").glob("state-*.json")
    assert state.stat().st_size < 400_000
    assert load(tmp_path / "x.asf") == plans


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


def test_savers_and_readers_at_once(tmp_path: Path) -> None:
    """In a process of its own; some of the savers are killed."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    contest = contend(tmp_path, savers=3, readers=3, each=6, kills=4, seed=3)
    assert contest.is_clean, contest
    assert (contest.loaded, contest.killed) == (18, 4)
    assert contest.saved >= 3 * 6 + 2 * 6


def test_saver_does_not_wait_for_ever(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_LONGEST_WAIT_S", 0.05)
    for path, lock in (
        (bundle, bundle / ".lock"), (tmp_path / "y.asf", tmp_path / ".y.asf.lock"),
    ):  # fmt: skip
        before = content(bundle)
        with locked(lock, wait_s=1.0):
            with pytest.raises(BundleError, match="others have been at it for 0 s. Nothing was"):
                save_bundle(1, path)
            (bundle / ".lock").unlink(missing_ok=True)
        assert content(bundle) == before
    assert not (tmp_path / "y.asf").exists()


def test_two_that_make_one_path_replace_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the lock of a path that is there once it has it."""
    real = folder_module.locked

    @contextlib.contextmanager
    def late(lock: Path, *, wait_s: float) -> Iterator[bool]:
        monkeypatch.setattr(folder_module, "locked", real)
        save_bundle("first", tmp_path / "x.asf")
        with real(lock, wait_s=wait_s) as alone:
            yield alone

    monkeypatch.setattr(folder_module, "locked", late)
    save_bundle("second", tmp_path / "x.asf")
    assert load(tmp_path / "x.asf") == "second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.asf"]


def test_nothing_is_deleted_without_a_lock(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unknown)
    before = set(content(bundle))
    save_bundle([1, 2], bundle)
    assert before < set(content(bundle))
    assert load(bundle) == [1, 2]


def test_reader_begins_again_when_the_model_was_saved_over(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, models = folder_module._read_parts, [[1], [2], [1]]

    def slow(path: Path, manifest: Any, max_bytes: int) -> Any:
        if models:
            save_bundle(models.pop(), path)
        return real(path, manifest, max_bytes)

    monkeypatch.setattr(folder_module, "_read_parts", slow)
    assert load(bundle) == [1]


def test_reader_does_not_begin_again_for_ever(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, numbers = folder_module._read_parts, iter(range(10**6))

    def slow(path: Path, manifest: Any, max_bytes: int) -> Any:
        save_bundle([next(numbers)], path)
        return real(path, manifest, max_bytes)

    monkeypatch.setattr(folder_module, "_read_parts", slow)
    monkeypatch.setattr(folder_module, "_LONGEST_READ_S", 0.2)
    with pytest.raises(BundleError, match="missing, cut or changed"):
        load(bundle)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: None, "What was saved before is untouched"),
        (lambda path: next(path.glob("state-*")).write_bytes(b"1"), "There is no whole model"),
        (lambda path: (path / MANIFEST).write_bytes(b"1"), "There is no whole model"),
    ],
)
def test_failure_tells_what_is_there(
    damage: Callable[[Path], Any],
    told: str,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    damage(bundle)
    with monkeypatch.context() as patch:
        fail_at(patch, os, "fsync", 0, OSError(errno.EIO, os.strerror(errno.EIO)))
        with pytest.raises(BundleError, match=told):
            save_bundle(1, bundle)
    with monkeypatch.context() as patch:
        fail_at(patch, os, "fsync", 0, OSError(errno.EIO, os.strerror(errno.EIO)))
        with pytest.raises(BundleError, match="Nothing was saved"):
            save_bundle(1, tmp_path / "new.asf")
    with monkeypatch.context() as patch:
        fail_at(patch, folder_module, "sync_folder", 0, OSError(errno.EIO, os.strerror(errno.EIO)))
        with pytest.raises(BundleError, match="took its place, but the disk may lose it"):
            save_bundle(1, tmp_path / "new.asf")


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
    "raw",
    [
        b"", b"\xff", b"[" * 100_000, b'{"a":' + b"[" * 700 + b"]" * 700 + b"}", b" " * (1 << 21),
        b'{"format": NaN}', b"9" * 5000,
    ],
    ids=range(7),
)  # fmt: skip
def test_manifest_that_is_not_json(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(raw)
    with pytest.raises(BundleError, match="load: "):
        load(tmp_path)
    with pytest.raises(BundleError, match="load: "):
        describe_bundle(tmp_path, max_bytes=MOST)


def test_a_part_is_named_once(tmp_path: Path) -> None:
    array = node("array", name="a0")
    arrays = save_arrays({"a0": np.zeros(3)})
    for state in ([array, array], [array, node("numbers", name="a0")], [node("scalar", name="x")]):
        path = craft(tmp_path / f"{len(str(state))}.asf", state, arrays__safetensors=arrays)
        with pytest.raises(BundleError, match="named that is not there, or was named before"):
            load(path)
    path = craft(tmp_path / "unnamed.asf", [1], arrays__safetensors=arrays)
    with pytest.raises(BundleError, match="parts that nothing in it names"):
        load(path)


def test_rows_of_values_have_names(tmp_path: Path) -> None:
    for number, keys in enumerate((["auto_map"], [1], [["a"]])):
        state = node("records", keys=keys, columns=[[1, 2]])
        with pytest.raises(BundleError, match="names that none have"):
            load(craft(tmp_path / f"{number}.asf", state))


def test_schema_is_as_save_wrote_it() -> None:
    for raw in (b"[]" * 2**23, b'"' + b"a" * 2**23 + b'"'):
        with pytest.raises(BundleError, match="description of at most 8 MB, got 8 MB|got 16 MB"):
            read_schema(raw)
    text = {"__loader__": "JsonNode", "__id__": 1, "content": "1"}
    assert read_schema(json.dumps([text, text]).encode()) == [text, text]
    for second in (
        text | {"content": "2"}, {"__loader__": "JsonNode", "__id__": 2, "content": " [1]"},
        {"__loader__": "JsonNode", "__id__": 2, "content": ["1"]},
        {"__loader__": "NdArrayNode", "file": "1.npy"},
    ):  # fmt: skip
        with pytest.raises(BundleError, match=r"not as save wrote it \(its schema\)"):
            read_schema(json.dumps([text, second]).encode())


def test_text_is_measured_as_json_reads_it() -> None:
    rng = random.Random(0)
    letters = ['"', "\\", "[", "]", "{", ",", ":", "a", "ü", "\n"]
    for _ in range(300):
        words = ["".join(rng.choices(letters, k=rng.randrange(9))) for _ in range(9)]
        value = [words, {word: [word, {}] for word in words}, 1.5, None]
        raw = json.dumps(value).encode()
        counts, n_texted, depth = _budget._counted(raw)
        bare = json.loads(raw, object_pairs_hook=lambda pairs: [2, *(v for _, v in pairs)])
        assert counts == {sign: json.dumps(blanked(value)).count(sign) for sign in "{[,:"}, raw
        assert depth == 4
        assert n_texted > 0 and bare


def blanked(value: Any) -> Any:
    """Return the same structure without a sign in any text; keys stay apart."""
    if isinstance(value, list):
        return [blanked(item) for item in value]
    if isinstance(value, dict):
        return {f"k{i}": blanked(item) for i, item in enumerate(value.values())}
    return "" if isinstance(value, str) else value


@pytest.mark.parametrize("text", [b"ab", b"a\\u00fc", b"a\\ud83d\\ude00"], ids=ascii)
def test_wide_letters_count_as_what_they_take(text: bytes) -> None:
    size = 40 << 20 if text == b"ab" else (24 << 20 if b"00fc" in text else 12 << 20)
    raw = b'"' + text + b"b" * size + b'"'
    with pytest.raises(BundleError, match="got more than 56 MB of objects"):
        _budget.Budget("load").spend_text(raw)
    _budget.Budget("load").spend_text(raw[: len(text)] + raw[1 - (size // 3) :])


def test_save_refuses_what_load_would(tmp_path: Path) -> None:
    for value, told in (
        (["x" * 9] * 10**6, "more than 56 MB of objects"),
        (np.array(["x"] * 10**5 + ["y" * 200]), "more than 56 MB of objects"),
        (["x" * (15 << 20)] * 2, "got state.json of 30 MB, more than 16 MB|56 MB of objects"),
        (dict.fromkeys(range(6000), 0), "more than 5000 keys that are no text"),
    ):  # fmt: skip
        with pytest.raises(BundleError, match=f"save: .*({told}).*Use fewer columns, categories"):
            save_bundle(value, tmp_path / "x.asf")
    with pytest.raises(BundleError, match="save: .*nested more than 200 deep"):
        save_bundle(nested(150), tmp_path / "x.asf")
    with pytest.raises(BundleError, match="save: .*state.json of 17 MB, more than 16 MB"):
        write_bundle(tmp_path / "x.asf", {"state.json": b" " * (17 << 20)}, {})
    assert list(tmp_path.iterdir()) == []


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


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
