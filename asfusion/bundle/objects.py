"""Saved models: objects to a safe folder, and back.

Values become a JSON tree; arrays and weights go to safetensors, XGBoost models to UBJSON,
scikit-learn parts to skops with a closed list of types. Reading checks every file before
it is parsed, makes objects of classes that the caller names and of nothing else, and
answers any doubt with one `BundleError`.
"""

from __future__ import annotations

import gc
import hashlib
import inspect
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, ClassVar

import numpy as np

from asfusion._launch import is_first
from asfusion.bundle import _probe
from asfusion.bundle._budget import Budget
from asfusion.bundle._compat import check_versions, installed, told_apart
from asfusion.bundle.folder import read_bundle, write_bundle
from asfusion.bundle.sklearn_parts import NO_CACHE, dump_skops, load_skops
from asfusion.bundle.xgboost_parts import dump_xgboost, is_xgboost, load_xgboost
from asfusion.exceptions import BundleError

Resolve = Callable[[str], type]
# What makes `transformers` fetch and run code when it builds a network from a description.
_FETCHES_CODE = frozenset(
    {"attn_implementation", "_attn_implementation", "auto_map", "trust_remote_code"}
)
# What XGBoost is told of the machine.
_OF_THE_MACHINE = frozenset({"device", "gpu_id", "n_jobs", "nthread"})
_KIND = "$"
# Values of a list from which on they are set aside together, or rows column by column.
_MANY = 16
# Scikit-learn containers that are taken apart, since they may hold what skops cannot.
_CONTAINERS = ("sklearn.pipeline:Pipeline", "sklearn.multioutput:MultiOutputRegressor")


def save_bundle(thing: Any, path: Path) -> None:
    """Write `thing` as a bundle; a bundle that is there already is replaced at once.

    An object of asfusion is saved through ``_bundle_state()`` and restored by
    ``_restore_bundle_state(state)``; one without those by its parameters.

    Raises
    ------
    BundleError
        If a part cannot be saved without running code on load, or writing fails.
    """
    packer = _Packer()
    try:
        tree = packer.pack(thing)
    except RecursionError:
        raise BundleError("save: a value holds itself, or is nested too deep.") from None
    raw = json.dumps(tree, sort_keys=True, allow_nan=False).encode()
    packer.budget.spend_text(raw)
    parts = packer.parts() | {"state.json": raw}
    if probe := _probe.asked(thing):
        parts["probe.json"] = probe
    about = {"class": _class_name(type(thing)), "versions": installed()}
    if is_first():  # of the processes of torchrun, which all have the same model
        write_bundle(path, parts, about)


def digest_of(thing: Any) -> str:
    """Return a digest of all that `save_bundle` would write of `thing`, on whatever machine."""
    packer = _Packer()
    digest = hashlib.sha256(json.dumps(packer.pack(thing)).encode())
    for name, content in sorted(packer.parts().items()):
        digest.update(name.encode() + content)
    return digest.hexdigest()


def load_bundle(path: Path, resolve: Resolve, *, max_bytes: int) -> Any:
    """Return what `save_bundle` wrote.

    Parameters
    ----------
    path : Path
        The folder.
    resolve : callable
        From "module:Class" to the class; raises `BundleError` for any that is not allowed.
    max_bytes : int
        Most bytes to read in all.

    Raises
    ------
    BundleError
        If anything at all is not as it was saved.
    """
    parts, manifest = read_bundle(path, max_bytes=max_bytes)
    check_versions(manifest, {name.rpartition(".")[2] for name in parts})
    try:
        probe = parts.pop("probe.json", None)
        in_float32 = "tensors.safetensors" in parts
        with _without_collecting():
            value = _restored(parts, resolve)
        if probe is not None:
            versions = told_apart(manifest)
            _probe.compare(value, probe, in_float32=in_float32, versions=versions)
        return value
    except BundleError:
        raise
    except Exception as error:  # whatever foreign content does, the answer is one error
        msg = (
            f"load: the model could not be restored ({type(error).__name__}). It was saved by "
            f"{told_apart(manifest)}; install those, or save the model again."
        )
        raise BundleError(msg) from error


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Let Python look for no circles meanwhile: what is made stays, and there is very much of it.

    A forest of 500 trees is described by 140,000 small objects, which would be looked through time
    and again: a quarter of the time that loading takes.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def describe_bundle(path: Path, *, max_bytes: int) -> tuple[dict[str, Any], Any]:
    """Return the manifest and the bare state tree of a bundle, restoring nothing."""
    parts, manifest = read_bundle(path, max_bytes=max_bytes)
    try:
        raw = parts["state.json"]
        Budget("load").spend_text(raw)
        return manifest, _parse(raw)
    except (KeyError, ValueError, RecursionError):
        raise BundleError("load: the state of the model is missing or not JSON.") from None


class Bundled:
    """Parameters and what was learned, as a saved model holds them.

    Networks (``network_``) are left to the owner, who saves weights, not modules.
    """

    # Parameters that say where this machine keeps things, what it computes on, and whether it
    # may fetch: none is saved, and none that a saved model names is taken over.
    _local_params: ClassVar[frozenset[str]] = frozenset()
    # Parameters that name a model or a file of weights: of a path the last part is saved.
    _source_params: ClassVar[frozenset[str]] = frozenset()

    def _bundle_state(self) -> dict[str, Any]:
        """Return parameters and fitted attributes."""
        fitted = {k: v for k, v in vars(self).items() if k.endswith("_") and k != "network_"}
        params = self.get_params(deep=False)  # type: ignore[attr-defined]
        return {"params": self._portable(params), "fitted": fitted}

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        """Become what `_bundle_state` described."""
        self.__init__(**self._portable(state["params"]))  # type: ignore[misc]
        for name, value in state["fitted"].items():
            if name.startswith("_") or not name.endswith("_"):
                raise BundleError("load: a fitted attribute has a name that none has.")
            setattr(self, name, value)

    def _portable(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters without those of the machine that they were set on."""
        known = inspect.signature(type(self).__init__).parameters
        local = {
            name
            for name in self._local_params & params.keys()
            if name in known and known[name].default is not inspect.Parameter.empty
        }
        kept = {name: value for name, value in params.items() if name not in local}
        for name in self._source_params & kept.keys():
            kept[name] = _without_folders(kept[name])
        return kept


def _without_folders(source: Any) -> Any:
    """Return the last part of a path as ``./name``; names of models, also on a hub, as they are."""
    if not isinstance(source, str | os.PathLike):
        return source
    text = os.fspath(source)
    parts = [part for part in re.split(r"[/\\]", text) if part]
    is_name = re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", text) and not text.endswith(".safetensors")
    if not parts or text == parts[-1] or (is_name and isinstance(source, str)):
        return text
    return f"./{parts[-1]}"


class _Packer:
    """Turn values into a JSON tree, setting large and binary ones aside."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}
        self.tensors: dict[str, Any] = {}
        self.blobs: dict[str, bytes] = {}
        self.budget = Budget("save")

    def pack(self, value: Any) -> Any:
        """Return the node of one value."""
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {_KIND: "float", "value": repr(value)}
        if type(value) is list:
            return self._pack_list(value)
        if type(value) is tuple:
            return {_KIND: "tuple", "items": [self.pack(item) for item in value]}
        if isinstance(value, dict):
            return self._pack_dict(value)
        if isinstance(value, np.ndarray | np.generic):
            return self._pack_array(value)
        if isinstance(value, PurePath):
            return {_KIND: "path", "value": str(value)}
        return self._pack_object(value)

    def parts(self) -> dict[str, bytes]:
        """Return the files that the nodes refer to."""
        parts = dict(self.blobs)
        if self.arrays:
            from safetensors.numpy import save

            parts["arrays.safetensors"] = save(self.arrays)
        if self.tensors:
            from safetensors.torch import save as save_tensors

            parts["tensors.safetensors"] = save_tensors(self.tensors)
        return parts

    def _pack_list(self, value: list[Any]) -> Any:
        kinds = {type(item) for item in value} if len(value) >= _MANY else set()
        if kinds in ({float}, {bool}) or (kinds == {int} and _fits(value)):
            self.budget.spend_numbers(len(value))
            return {_KIND: "numbers", "name": self._array(np.asarray(value))}
        if kinds == {dict} and (keys := _same_keys(value)):
            columns = [self.pack([row[key] for row in value]) for key in keys]
            self.budget.spend_records(len(value), len(keys))
            return {_KIND: "records", "keys": keys, "columns": columns}
        return [self.pack(item) for item in value]

    def _pack_dict(self, value: dict[Any, Any]) -> Any:
        for key in value:
            self.budget.spend_key(key)
        items = [[self.pack(k), self.pack(v)] for k, v in value.items()]
        return {_KIND: "dict", "items": items}

    def _array(self, array: Any) -> str:
        """Set an array aside; return its name."""
        name = f"a{len(self.arrays)}"
        self.arrays[name] = np.array(array, order="C", copy=True)
        return name

    def _pack_array(self, value: Any) -> Any:
        array = np.asarray(value)
        kind = "scalar" if isinstance(value, np.generic) else "array"
        if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
            return {_KIND: kind, "name": self._array(array)}
        if array.dtype.kind in "OU":
            self.budget.spend(array.nbytes)
            cells = [self.pack(cell) for cell in array.ravel().tolist()]
            dtype = "object" if array.dtype.kind == "O" else array.dtype.str
            return {_KIND: "cells", "dtype": dtype, "shape": list(array.shape), "cells": cells}
        raise BundleError(f"save: expected arrays of numbers or text, got dtype {array.dtype}.")

    def _pack_object(self, value: Any) -> Any:
        kind = type(value)
        if kind.__module__ == "torch" and kind.__name__ in ("Tensor", "Parameter"):
            name = f"t{len(self.tensors)}"
            self.tensors[name] = value.detach().cpu().clone().contiguous()
            return {_KIND: "tensor", "name": name}
        if hasattr(value, "_bundle_state"):
            return self._object_node(value, value._bundle_state())
        if is_xgboost(value):
            return self._pack_xgboost(value)
        if _class_name(kind) in _CONTAINERS:
            if getattr(value, "memory", None) is not None:
                raise BundleError(NO_CACHE.format(what="save"))
            node = {_KIND: "container", "class": _class_name(kind)}
            return {**node, "state": self.pack(_of_any_machine(vars(value)))}
        if _is_sklearn(value):
            return {_KIND: "sklearn", "name": self._blob("sklearn", "skops", dump_skops(value))}
        if hasattr(value, "get_params"):
            return self._object_node(value, {"params": value.get_params(deep=False)})
        msg = (
            f"save: a value of type {kind.__module__}.{kind.__qualname__} cannot be saved without "
            "pickle. Replace it by plain values (a random_state by an int, for example)."
        )
        raise BundleError(msg)

    def _object_node(self, value: Any, state: dict[str, Any]) -> Any:
        return {_KIND: "object", "class": _class_name(type(value)), "state": self.pack(state)}

    def _pack_xgboost(self, value: Any) -> Any:
        params = self.pack(_of_any_machine(value.get_params(deep=False)))
        node = {_KIND: "xgboost", "class": type(value).__name__, "params": params}
        if value.__sklearn_is_fitted__():
            node["name"] = self._blob("trees", "ubj", dump_xgboost(value))
        return node

    def _blob(self, role: str, ending: str, content: bytes) -> str:
        """Set a file aside; letters number it, since digits belong to the hash."""
        name = f"{role}{_letters(len(self.blobs))}.{ending}"
        self.blobs[name] = content
        return name


class _Unpacker:
    """Turn nodes back into values, making nothing but what `pack` knows, and each part once."""

    def __init__(self, parts: dict[str, bytes], resolve: Resolve, budget: Budget) -> None:
        self.parts = parts
        self.resolve = resolve
        self.budget = budget
        self.arrays: dict[str, Any] = {}
        self.tensors: dict[str, Any] = {}
        if raw := parts.pop("arrays.safetensors", b""):
            from safetensors.numpy import load

            budget.spend_header(raw)
            self.arrays = load(raw)
        if raw := parts.pop("tensors.safetensors", b""):
            from safetensors.torch import load as load_tensors

            budget.spend_header(raw)
            self.tensors = load_tensors(raw)
        self.readers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "float": lambda node: _NOT_FINITE[node["value"]],
            "tuple": lambda node: tuple(self.unpack(item) for item in node["items"]),
            "dict": self._dict,
            "numbers": self._numbers,
            "records": self._records,
            "array": lambda node: _taken(self.arrays, node),
            "scalar": lambda node: _taken(self.arrays, node)[()],
            "cells": self._cells,
            "path": lambda node: Path(node["value"]),
            "tensor": lambda node: _taken(self.tensors, node),
            "xgboost": self._xgboost,
            "sklearn": lambda node: load_skops(_taken(self.parts, node)),
            "container": self._container,
            "object": self._object,
        }

    def unpack(self, node: Any) -> Any:
        """Return the value of one node."""
        if isinstance(node, list):
            return [self.unpack(item) for item in node]
        if isinstance(node, dict):
            return self.readers[node[_KIND]](node)
        return node

    def end(self) -> None:
        """Raise if there is a part that nothing named."""
        if self.parts or self.arrays or self.tensors:
            raise BundleError("load: the model has parts that nothing in it names.")

    def _dict(self, node: dict[str, Any]) -> Any:
        items = {}
        for key, value in node["items"]:
            unpacked = self.unpack(key)
            self.budget.spend_key(unpacked)
            items[unpacked] = self.unpack(value)
        if not _FETCHES_CODE.isdisjoint(items):
            raise BundleError("load: a network is described with code from elsewhere.")
        return items

    def _numbers(self, node: dict[str, Any]) -> Any:
        array = _taken(self.arrays, node)
        self.budget.spend_numbers(array.size)
        return array.tolist()

    def _records(self, node: dict[str, Any]) -> Any:
        keys, columns = node["keys"], [self.unpack(column) for column in node["columns"]]
        if not all(type(key) is str and key not in _FETCHES_CODE for key in keys):
            raise BundleError("load: rows of values have names that none have.")
        self.budget.spend_records(len(columns[0]), len(keys))
        rows = zip(*columns, strict=True)
        return [dict(zip(keys, row, strict=True)) for row in rows]

    def _cells(self, node: dict[str, Any]) -> Any:
        dtype, cells = node["dtype"], [self.unpack(cell) for cell in node["cells"]]
        if dtype == "object":
            array = np.empty(len(cells), dtype=object)
            array[:] = cells
            return array.reshape(node["shape"])
        kind = np.dtype(dtype)
        if kind.kind != "U" or not all(type(cell) is str for cell in cells):
            raise BundleError("load: an array of text is of another type.")
        self.budget.spend(kind.itemsize * len(cells))
        return np.array(cells, dtype=kind).reshape(node["shape"])

    def _xgboost(self, node: dict[str, Any]) -> Any:
        self.budget.spend_object()
        booster = _taken(self.parts, node) if "name" in node else None
        return load_xgboost(node["class"], _of_any_machine(self.unpack(node["params"])), booster)

    def _container(self, node: dict[str, Any]) -> Any:
        from sklearn.multioutput import MultiOutputRegressor
        from sklearn.pipeline import Pipeline

        self.budget.spend_object()
        kinds = dict(zip(_CONTAINERS, (Pipeline, MultiOutputRegressor), strict=True))
        made = object.__new__(kinds[node["class"]])
        vars(made).update(_of_any_machine(self.unpack(node["state"])))
        if vars(made).get("memory") is not None:
            raise BundleError(NO_CACHE.format(what="load"))
        return made

    def _object(self, node: dict[str, Any]) -> Any:
        self.budget.spend_object()
        kind: Any = self.resolve(node["class"])
        state = self.unpack(node["state"])
        if not hasattr(kind, "_restore_bundle_state"):
            return kind(**state["params"])
        made = kind.__new__(kind)
        made._restore_bundle_state(state)
        return made


_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _restored(parts: dict[str, bytes], resolve: Resolve) -> Any:
    """Return the value of checked parts, within one budget for all that is made."""
    budget = Budget("load")
    raw = parts.pop("state.json")
    budget.spend_text(raw)
    unpacker = _Unpacker(parts, resolve, budget)
    value = unpacker.unpack(_parse(raw))
    unpacker.end()
    return value


def _taken(store: dict[str, Any], node: Mapping[str, Any]) -> Any:
    """Return a part that a node names; each is named once."""
    try:
        return store.pop(node["name"])
    except (KeyError, TypeError):
        msg = "load: a part is named that is not there, or was named before."
        raise BundleError(msg) from None


def _of_any_machine(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of others, those of a machine as they are by default."""
    return {k: None if k in _OF_THE_MACHINE else v for k, v in params.items()}


def _fits(numbers: Sequence[int]) -> bool:
    """Return whether whole numbers fit into 64 bits."""
    return min(numbers) >= -(2**63) and max(numbers) < 2**63


def _same_keys(rows: Sequence[dict[Any, Any]]) -> list[str]:
    """Return the names that all rows have, in one order; none if they differ."""
    keys = list(rows[0])
    same = all(list(row) == keys for row in rows) and all(type(key) is str for key in keys)
    return keys if same else []


def _parse(raw: bytes) -> Any:
    """Return the tree of a JSON text without NaN and infinity, which `pack` writes as nodes."""

    def finite(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError("not a finite number")
        return value

    return json.loads(raw, parse_float=finite, parse_constant=finite)


def _class_name(kind: type) -> str:
    if kind.__module__ in ("sklearn.pipeline", "sklearn.multioutput"):
        return f"{kind.__module__}:{kind.__name__}"
    return f"{kind.__module__}:{kind.__qualname__}"


def _is_sklearn(value: Any) -> bool:
    return any(kind.__module__.split(".")[0] == "sklearn" for kind in type(value).__mro__)


def _letters(number: int) -> str:
    digits = "abcdefghij"
    return "".join(digits[int(digit)] for digit in str(number))
