"""Forged bundles: bytes that changed on the way, and edits by somebody who can compute hashes.

    for path in forged(source, folder, 1000, seed=1): ...
    for outcome in watched(paths): ...

`forged` yields copies of a saved model, each with one thing wrong; `bombs` are small folders that
ask for gigabytes or minutes; `watched` loads folders in a process of its own and says what each
one did and cost. All but the byte flips carry the hashes that they should have.
"""

from __future__ import annotations

import copy
import functools
import io
import json
import os
import random
import selectors
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asfusion.bundle import folder as door
from asfusion.bundle.folder import MANIFEST, read_bundle, sealed

ROOT = Path(__file__).resolve().parents[2]
_MOST = 1 << 32
_KIND = "$"
CLASSES = [
    "os:system", "builtins:eval", "builtins:object", "subprocess:Popen", "torch:load",
    "asfusion.persistence:load", "asfusion.estimators._base:FusionEstimator",
    "asfusion.imaging.stores.image_store:ImageStore", "asfusion.encoders.image:ImageEncoder",
    "asfusion.encoders.text:TextEncoder", "asfusion.estimators.late:LateFusionClassifier",
    "asfusion.fusion.attention:CrossAttention", "asfusion.targets.numbers:Numbers",
    "asfusion.training.options:TrainingOptions", "", ":", "a:b:c", 7, None, [], "x" * 100_000,
]  # fmt: skip
VALUES = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**9, 10**18, -(10**18), 1e308, -1e-308, "", "nan",
    "auto", "/etc/passwd", "../../x", "\\\\host\\share\\x", "http://127.0.0.1:9/x", "(a+)+b",
    "x" * 10_000, "\ud83d\ude00" * 1000, [], {}, [[]], [None] * 1000, [0] * 20, {"$": "dict"},
    {"$": "dict", "items": []}, {"$": "tuple", "items": []}, {"$": "float", "value": "nan"},
    {"$": "float", "value": "inf"}, {"$": "path", "value": "/tmp/x"}, {"$": "array", "name": "a0"},
    {"$": "numbers", "name": "a1"}, {"$": "tensor", "name": "t0"}, {"$": "scalar", "name": "a0"},
    {"$": "object", "class": "asfusion.encoders.tabular:TabularEncoder", "state": {}},
]  # fmt: skip


# -- copies of a model with one thing wrong ----------------------------------------------


def forged(
    source: Path, folder: Path, n: int, seed: int, *, payload: bool = True
) -> Iterator[Path]:
    """Yield `n` forged copies of the bundle at `source`, below `folder`.

    Parameters
    ----------
    source : Path
        A saved model.
    folder : Path
        Where the copies go, under names that tell what was done.
    n : int
        How many.
    seed : int
        Of everything that is drawn.
    payload : bool
        Whether bytes within tensors, trees and scikit-learn parts change, too.
    """
    rng = random.Random(seed)
    kinds: list[Callable[[Path, Path, random.Random], None]] = [
        _flip,
        _cut,
        _edit,
        _edit,
        _manifest,
    ]
    kinds += [_payload] if payload else []
    for number in range(n):
        kind = rng.choice(kinds)
        target = folder / f"{seed}-{number:05d}{kind.__name__}"
        kind(source, target, rng)
        yield target


def _flip(source: Path, target: Path, rng: random.Random) -> None:
    """Change a byte of a file, hashes left as they were."""
    shutil.copytree(source, target)
    file = rng.choice(sorted(target.iterdir()))
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def _cut(source: Path, target: Path, rng: random.Random) -> None:
    """Shorten, lengthen, remove or exchange files, hashes left as they were."""
    shutil.copytree(source, target)
    files = sorted(target.iterdir())
    file, other = rng.choice(files), rng.choice(files)
    content = file.read_bytes()
    match rng.randrange(4):
        case 0:
            file.write_bytes(content[: rng.randrange(len(content))])
        case 1:
            file.write_bytes(content + b"\0" * rng.randrange(1, 9))
        case 2:
            file.unlink()
        case _:
            file.write_bytes(other.read_bytes() + b" " * (file == other))


def _edit(source: Path, target: Path, rng: random.Random) -> None:
    """Change the state in one to three places, and sign it again."""
    parts, about = _read(source)
    name = "probe.json" if "probe.json" in parts and rng.random() < 0.1 else "state.json"
    state = json.loads(parts[name])
    for _ in range(rng.randint(1, 3)):
        state = _edited(state, rng)
    _write_unchecked(target, {**parts, name: json.dumps(state).encode()}, about)


def _payload(source: Path, target: Path, rng: random.Random) -> None:
    """Change one to eight bytes of a part, and sign it again."""
    parts, about = _read(source)
    name = rng.choice([name for name in sorted(parts) if name != "state.json"])
    content = bytearray(parts[name])
    for _ in range(rng.randint(1, 8)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    _write_unchecked(target, {**parts, name: bytes(content)}, about)


def _manifest(source: Path, target: Path, rng: random.Random) -> None:
    """Change the manifest, and sign it again."""
    shutil.copytree(source, target)
    manifest = json.loads((target / MANIFEST).read_bytes())
    del manifest["sha256"]
    changed = _edited(manifest, rng)
    raw = sealed(changed) if isinstance(changed, dict) else json.dumps(changed).encode()
    (target / MANIFEST).write_bytes(raw)


def _edited(tree: Any, rng: random.Random) -> Any:
    """Return a JSON tree with one place changed."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    if not places:
        return rng.choice(VALUES)
    holder, key = rng.choice(places)
    old = holder[key]
    match rng.randrange(8):
        case 0 | 1 | 2:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        case 3:
            holder[key] = rng.choice(CLASSES) if isinstance(old, str) else [old]
        case 4:
            del holder[key]
        case 5:
            other, at = rng.choice(places)
            holder[key] = copy.deepcopy(other[at])
        case 6 if isinstance(holder, list):
            holder.extend(copy.deepcopy(old) for _ in range(rng.choice([1, 10, 300])))
        case _:
            holder[key] = functools.reduce(
                lambda inner, _: [inner], range(rng.choice([3, 300])), old
            )
    return tree


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(node) if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])


def _read(source: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    parts, manifest = read_bundle(source, max_bytes=_MOST)
    return parts, {k: v for k, v in manifest.items() if k not in ("files", "format")}


# -- small folders that cost a lot -------------------------------------------------------


def bombs(source: Path, folder: Path, only: Collection[str] = ()) -> dict[str, Path]:
    """Write a bundle for each way to ask for more than a folder holds; return them by title.

    Those that need a model around them are made of the one at `source`. `only` chooses titles.
    """
    makers = bomb_makers(source)
    made = {}
    for number, title in enumerate(only or makers):
        made[title] = folder / f"bomb{number:02d}"
        _write_unchecked(made[title], makers[title]())
    return made


def _write_unchecked(path: Path, parts: dict[str, bytes], about: Any = None) -> None:
    """Write a bundle as a stranger would: not through the checks of save, nor to the disk."""
    files = {door._hashed_name(name, content): content for name, content in parts.items()}
    path.mkdir(parents=True)
    manifest = door._manifest(files, about or {"class": "a:b"})
    for name, content in {**files, MANIFEST: manifest}.items():
        (path / name).write_bytes(content)


def bomb_makers(source: Path) -> dict[str, Callable[[], dict[str, bytes]]]:
    """Return what makes the parts of each bomb, by title."""
    parts, _ = _read(source)

    def around(**changed: bytes) -> dict[str, bytes]:
        return {**parts, **{name.replace("__", "."): raw for name, raw in changed.items()}}

    def parameter(values: dict[str, Any]) -> dict[str, bytes]:
        tree = json.loads(parts["state.json"])
        _set(tree, values)
        return around(state__json=json.dumps(tree).encode())

    asks = {"cells": {}, "answers": [[0]] * 10**5}
    makers: dict[str, Callable[[], dict[str, bytes]]] = {
        "rows to ask: 15 MB of []": lambda: around(probe__json=_repeated(b"[],", 15)),
        "rows to ask: 100,000": lambda: around(probe__json=json.dumps(asks).encode()),
    }
    for title, values in _PARAMETERS.items():
        makers[title] = functools.partial(parameter, values)
    for title, text in _TEXTS.items():
        makers[title] = functools.partial(lambda text: {"state.json": text()}, text)
    return makers | _TREES | _ARCHIVES


def _repeated(unit: bytes, megabytes: int) -> bytes:
    """Return a JSON list of one element over and over."""
    return b"[" + unit * ((megabytes << 20) // len(unit)) + b"0]"


_TEXTS: dict[str, Callable[[], bytes]] = {
    "20 MB of []": lambda: _repeated(b"[],", 20),
    "15 MB of []": lambda: _repeated(b"[],", 15),
    "4 MB of []": lambda: _repeated(b"[],", 4),
    "15 MB of {}": lambda: _repeated(b"{},", 15),
    "15 MB of 0,": lambda: _repeated(b"0,", 15),
    '15 MB of "",': lambda: _repeated(b'"",', 15),
    '3 MB of "",': lambda: _repeated(b'"",', 3),
    "15 MB of texts": lambda: _repeated(b'"ab",', 15),
    "15 MB of 1e5": lambda: _repeated(b"1e5,", 15),
    "15 MB of [ and no ]": lambda: b"[" * (15 << 20),
    "15 MB of quotes": lambda: b'"' + b'\\"' * (15 << 19),
    "15 MB of quotes, and no end": lambda: b'"' + b'\\"' * (15 << 19) + b"\\",
    "one wide letter in 15 MB": lambda: b'"' + b"a" * (15 << 20) + b'\\ud83d\\ude00"',
    "15 MB of digits": lambda: b"0." + b"1" * (15 << 20),
    "whole numbers of 4300 digits": lambda: b"[" + b",".join([b"9" * 4300] * 3000) + b"]",
    "one whole number of 15 MB": lambda: b"9" * (15 << 20),
    "UTF-16": lambda: _repeated(b"[],", 7).decode().encode("utf-16"),
    "UTF-32": lambda: _repeated(b"[],", 3).decode().encode("utf-32"),
    "100,000 deep": lambda: b"[" * 100_000 + b"]" * 100_000,
    "900 deep": lambda: b"[" * 900 + b"]" * 900,
}


def _node(kind: str, **fields: Any) -> dict[str, Any]:
    return {_KIND: kind, **fields}


def _tree(state: Any, **parts: Callable[[], bytes]) -> Callable[[], dict[str, bytes]]:
    """Return what makes a state and its parts; ``__`` stands for the point in their names."""

    def make() -> dict[str, bytes]:
        made = {name.replace("__", "."): part() for name, part in parts.items()}
        return {"state.json": json.dumps(state()).encode(), **made}

    return make


def _arrays(array: Any) -> Callable[[], bytes]:
    from safetensors.numpy import save

    return lambda: save({"a0": array})


def _encoder() -> dict[str, Any]:
    params = _node("dict", items=[["columns", "a"]])
    state = _node("dict", items=[["params", params], ["fitted", _node("dict", items=[])]])
    return _node("object", state=state, **{"class": "asfusion.encoders.tabular:TabularEncoder"})


def _tree_model() -> dict[str, Any]:
    return _node("xgboost", params=_node("dict", items=[]), **{"class": "XGBClassifier"})


def _cells(dtype: str, cells: list[str]) -> dict[str, Any]:
    return _node("cells", dtype=dtype, shape=[len(cells)], cells=cells)


_ARRAY, _PART = _node("array", name="a0"), _node("sklearn", name="sklearna.skops")
_NUMBERS, _BYTES = _node("numbers", name="a0"), np.zeros(10**7, np.uint8)
_PRIME = 2**61 - 1  # what Python takes whole numbers modulo
_TREES: dict[str, Callable[[], dict[str, bytes]]] = {
    "300 references to one array of 10 MB": _tree(
        lambda: [_ARRAY] * 300, arrays__safetensors=_arrays(np.zeros(10 << 17))
    ),
    "2000 references to one part": _tree(lambda: [_PART] * 2000, sklearna__skops=lambda: _forest()),
    "4 MB of wide cells": _tree(lambda: _cells("<U1000", ["a"] * 10**6)),
    "1 MB of wide cells": _tree(lambda: _cells("<U1000", ["a"] * 200_000)),
    "one wide cell": _tree(lambda: _cells("<U2000000000", ["a"])),
    "one long cell among many": _tree(lambda: _cells("<U1", ["a"] * 99_999 + ["b" * 10**5])),
    "100,000 tree models": _tree(lambda: [_tree_model()] * 100_000),
    "20,000 tree models": _tree(lambda: [_tree_model()] * 20_000),
    "40,000 encoders": _tree(lambda: [_encoder()] * 40_000),
    "keys that collide": _tree(
        lambda: _node("dict", items=[[i * _PRIME, 0] for i in range(150_000)])
    ),
    "20,000 keys that collide": _tree(
        lambda: _node("dict", items=[[i * _PRIME, 0] for i in range(20_000)])
    ),
    "many numbers in a part": _tree(lambda: _NUMBERS, arrays__safetensors=_arrays(_BYTES)),
    "many rows of one column": _tree(
        lambda: _node("records", keys=["a"], columns=[_NUMBERS]),
        arrays__safetensors=_arrays(_BYTES),
    ),
    "many rows of none": _tree(lambda: _node("records", keys=[], columns=[[0] * 10**6])),
    "a million empty tensors": _tree(lambda: 0, arrays__safetensors=lambda: _empty_tensors(10**6)),
    "50,000 empty tensors": _tree(lambda: 0, arrays__safetensors=lambda: _empty_tensors(50_000)),
}


_PARAMETERS: dict[str, dict[str, Any]] = {
    "a network of a billion": {"d_hidden": 10**9, "d_out": 10**9},
    "a billion layers": {"n_layers": 10**9},
    "a million layers": {"n_layers": 10**6},
    "a billion outputs": {"n_outputs_": 10**9},
    "a million heads": {"n_heads": 10**6},
    "a billion tokens": {"max_tokens": 10**9, "vocab_size_": 10**9, "max_tokens_": 10**9},
    "images of a million": {"size": 10**6, "size_": 10**6},
}


def _set(node: Any, values: dict[str, Any]) -> None:
    """Set named values wherever they stand."""
    if isinstance(node, dict):
        for value in node.values():
            _set(value, values)
    elif isinstance(node, list):
        if len(node) == 2 and isinstance(node[0], str) and node[0] in values:
            node[1] = values[node[0]]
        for value in node:
            _set(value, values)


def _empty_tensors(n: int) -> bytes:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"a{i}": entry for i in range(n)}).encode()
    return len(header).to_bytes(8, "little") + header


def _forest() -> bytes:
    from sklearn.ensemble import RandomForestClassifier

    from asfusion.bundle.sklearn_parts import dump_skops

    X = np.random.default_rng(0).normal(size=(60, 3))
    return dump_skops(RandomForestClassifier(20, random_state=0).fit(X, X[:, 0] > 0))


def _listed(content: list[Any], number: int = 1) -> dict[str, Any]:
    kind = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode"}
    return {**kind, "content": content, "__id__": number}


def _text(content: str, number: int) -> dict[str, Any]:
    kind = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode"}
    return {**kind, "content": content, "__id__": number}


def _named_file(**number: int) -> dict[str, Any]:
    kind = {"__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode"}
    return {**kind, "type": "numpy", "file": "1.npy", **number}


def _laughs(levels: int) -> dict[str, Any]:
    """Return a list that names the next one twice, and so on."""
    laugh = _text("1", 2)
    for number in range(3, 3 + levels):
        laugh = _listed([laugh, _listed([], laugh["__id__"])], number)
    return laugh


def _archived(schema: Callable[[], Any], with_file: bool = False) -> Callable[[], dict[str, bytes]]:
    def make() -> dict[str, bytes]:
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(10 << 17))
        files = {"1.npy": buffer.getvalue()} if with_file else {}
        state = json.dumps(_PART).encode()
        return {"state.json": state, "sklearna.skops": _archive(schema(), files)}

    return make


_ARCHIVES: dict[str, Callable[[], dict[str, bytes]]] = {
    "300 names of one file": _archived(
        lambda: _listed([_named_file(__id__=i) for i in range(2, 302)]), with_file=True
    ),
    "300 names of one file without numbers": _archived(
        lambda: _listed([_named_file()] * 300), with_file=True
    ),
    "a billion laughs": _archived(lambda: _laughs(40)),
    "a list in a text": _archived(lambda: _text("[" + "[]," * (2 << 20) + "0]", 2)),
    "a schema of []": _archived(lambda: [[]] * (3 << 19)),
    "70,000 small parts": _archived(lambda: _listed([_text("1", i) for i in range(2, 70_000)])),
}


def _archive(content: Any, files: dict[str, bytes]) -> bytes:
    """Return a skops archive."""
    from skops.io._protocol import PROTOCOL

    told = {"protocol": PROTOCOL, "_skops_version": "0.13"}
    schema = {**content, **told} if isinstance(content, dict) else content
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, raw in {**files, "schema.json": json.dumps(schema).encode()}.items():
            archive.writestr(name, raw)
    return out.getvalue()


# -- what each of them does --------------------------------------------------------------


@dataclass
class Outcome:
    """What loading a folder did.

    Parameters
    ----------
    path : Path
        The folder.
    how : str
        ``"loaded"``, ``"refused"`` (a `BundleError`), ``"crashed"``, ``"hung"``, or the class of
        another error.
    seconds, megabytes : float
        What it took; memory above that of a model that loads, at its peak.
    message : str
        Of the error.
    """

    path: Path
    how: str
    seconds: float = 0.0
    megabytes: float = 0.0
    message: str = ""


_CHILD = """
import gc, json, re, sys, time, warnings
from asfusion.exceptions import BundleError
from asfusion.persistence import load
warnings.simplefilter("ignore")
def peak(name="VmHWM"):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
def forget():
    gc.collect()
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
def ask(path):
    begun, message = time.perf_counter(), ""
    try:
        load(path); how = "loaded"
    except BundleError as error:
        how, message = "refused", str(error)
    except BaseException as error:
        how, message = type(error).__name__, str(error)
    return how, message, time.perf_counter() - begun
for _ in range(2):
    forget(); ask(sys.argv[1]); usual = peak()
print("ready", flush=True)
for line in sys.stdin:
    forget(); base = max(peak("VmRSS"), usual)
    how, message, seconds = ask(line.rstrip("\\n"))
    print(json.dumps([how, seconds, peak() - base, message[:300]]), flush=True)
"""


def watched(paths: Iterable[Path], good: Path, *, most_s: float = 10.0) -> Iterator[Outcome]:
    """Load folders one after another in a process of its own, a new one after each that dies.

    Parameters
    ----------
    paths : iterable of Path
        The folders.
    good : Path
        A model that loads, to compare the memory with.
    most_s : float
        Seconds until a load is taken to hang.
    """
    child = None
    for path in paths:
        if child is None:
            child = _start(good)
        assert child.stdin is not None
        child.stdin.write(f"{path}\n".encode())
        child.stdin.flush()
        line = _line(child, most_s)
        if line:
            how, seconds, megabytes, message = json.loads(line)
            yield Outcome(path, how, seconds, megabytes, message)
            continue
        hung = child.poll() is None and line is None
        _end(child)
        child = None
        yield Outcome(path, "hung" if hung else "crashed", most_s if hung else 0.0)
    if child is not None:
        _end(child)


def _start(good: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(good)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (_line(child, 120.0) or b"").startswith(b"ready")
    return child


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    with child:  # which waits, and closes what leads to it
        pass


def _line(child: subprocess.Popen[bytes], most_s: float) -> bytes | None:
    """Return the next line; empty if the child died, None if it says nothing in time."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        return child.stdout.readline() if selector.select(most_s) else None
