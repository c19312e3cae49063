"""Saved models: objects to a safe folder, and back.

Values become a JSON tree; arrays and weights go to safetensors, XGBoost models to UBJSON,
scikit-learn parts to skops with a closed list of types. Reading checks every file before
it is parsed, makes objects of classes that the caller names and of nothing else, and
answers any doubt with one `BundleError`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from asfusion._version import __version__
from asfusion.bundle.folder import read_bundle, write_bundle
from asfusion.bundle.sklearn_parts import NO_CACHE, dump_skops, load_skops
from asfusion.bundle.xgboost_parts import dump_xgboost, is_xgboost, load_xgboost
from asfusion.exceptions import BundleError

Resolve = Callable[[str], type]
_MOST_TEXT_BYTES = 4 << 30
# What makes `transformers` fetch and run code when it builds a network from a description.
_FETCHES_CODE = frozenset(
    {"attn_implementation", "_attn_implementation", "auto_map", "trust_remote_code"}
)
_KIND = "$"
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
    parts = packer.parts()
    parts["state.json"] = json.dumps(tree, sort_keys=True, allow_nan=False).encode()
    about = {"asfusion": __version__, "class": _class_name(type(thing))}
    write_bundle(path, parts, about)


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
    try:
        tree = _parse(parts["state.json"])
        return _Unpacker(parts, resolve).unpack(tree)
    except BundleError:
        raise
    except Exception as error:  # whatever foreign content does, the answer is one error
        named = str(manifest.get("asfusion"))
        saved_by = named if re.fullmatch(r"[0-9a-z.+]{1,40}", named) else "?"
        msg = (
            f"load: the model could not be restored ({type(error).__name__}). It was saved by "
            f"asfusion {saved_by}, this is {__version__}; install that version, or save the "
            "model again."
        )
        raise BundleError(msg) from error


def describe_bundle(path: Path, *, max_bytes: int) -> tuple[dict[str, Any], Any]:
    """Return the manifest and the bare state tree of a bundle, restoring nothing."""
    parts, manifest = read_bundle(path, max_bytes=max_bytes)
    try:
        return manifest, _parse(parts["state.json"])
    except (KeyError, ValueError, RecursionError):
        raise BundleError("load: the state of the model is missing or not JSON.") from None


class Bundled:
    """Parameters and what was learned, as a saved model holds them.

    Networks (``network_``) are left to the owner, who saves weights, not modules.
    """

    def _bundle_state(self) -> dict[str, Any]:
        """Return parameters and fitted attributes."""
        fitted = {k: v for k, v in vars(self).items() if k.endswith("_") and k != "network_"}
        return {"params": self.get_params(deep=False), "fitted": fitted}  # type: ignore[attr-defined]

    def _restore_bundle_state(self, state: dict[str, Any]) -> None:
        """Become what `_bundle_state` described."""
        self.__init__(**state["params"])  # type: ignore[misc]
        for name, value in state["fitted"].items():
            if name.startswith("_") or not name.endswith("_"):
                raise BundleError("load: a fitted attribute has a name that none has.")
            setattr(self, name, value)


class _Packer:
    """Turn values into a JSON tree, setting large and binary ones aside."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}
        self.tensors: dict[str, Any] = {}
        self.blobs: dict[str, bytes] = {}

    def pack(self, value: Any) -> Any:
        """Return the node of one value."""
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {_KIND: "float", "value": repr(value)}
        if type(value) is list:
            return [self.pack(item) for item in value]
        if type(value) is tuple:
            return {_KIND: "tuple", "items": [self.pack(item) for item in value]}
        if isinstance(value, dict):
            items = [[self.pack(k), self.pack(v)] for k, v in value.items()]
            return {_KIND: "dict", "items": items}
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

    def _pack_array(self, value: Any) -> Any:
        array = np.asarray(value)
        kind = "scalar" if isinstance(value, np.generic) else "array"
        if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
            name = f"a{len(self.arrays)}"
            self.arrays[name] = np.array(array, order="C", copy=True)
            return {_KIND: kind, "name": name}
        if array.dtype.kind in "OU":
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
            return {**node, "state": self.pack(dict(vars(value)))}
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
        params = self.pack(value.get_params(deep=False))
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
    """Turn nodes back into values, making nothing but what `pack` knows."""

    def __init__(self, parts: dict[str, bytes], resolve: Resolve) -> None:
        self.parts = parts
        self.resolve = resolve
        self.arrays: dict[str, Any] = {}
        self.tensors: dict[str, Any] = {}
        if "arrays.safetensors" in parts:
            from safetensors.numpy import load

            self.arrays = load(parts["arrays.safetensors"])
        if "tensors.safetensors" in parts:
            from safetensors.torch import load as load_tensors

            self.tensors = load_tensors(parts["tensors.safetensors"])
        self.readers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "float": lambda node: float(node["value"]),
            "tuple": lambda node: tuple(self.unpack(item) for item in node["items"]),
            "dict": self._dict,
            "array": lambda node: self.arrays[node["name"]],
            "scalar": lambda node: self.arrays[node["name"]][()],
            "cells": self._cells,
            "path": lambda node: Path(node["value"]),
            "tensor": lambda node: self.tensors[node["name"]],
            "xgboost": self._xgboost,
            "sklearn": lambda node: load_skops(self.parts[node["name"]]),
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

    def _dict(self, node: dict[str, Any]) -> Any:
        items = {self.unpack(key): self.unpack(value) for key, value in node["items"]}
        if not _FETCHES_CODE.isdisjoint(items):
            raise BundleError("load: a network is described with code from elsewhere.")
        return items

    def _cells(self, node: dict[str, Any]) -> Any:
        dtype = node["dtype"]
        if dtype != "object":
            kind = np.dtype(dtype)
            if kind.kind != "U" or kind.itemsize * len(node["cells"]) > _MOST_TEXT_BYTES:
                raise BundleError("load: an array of text is of another type, or too large.")
        array = np.empty(len(node["cells"]), dtype=object)
        array[:] = [self.unpack(cell) for cell in node["cells"]]
        shaped = array.reshape(node["shape"])
        return shaped if dtype == "object" else shaped.astype(str).astype(dtype)

    def _xgboost(self, node: dict[str, Any]) -> Any:
        booster = self.parts[node["name"]] if "name" in node else None
        return load_xgboost(node["class"], self.unpack(node["params"]), booster)

    def _container(self, node: dict[str, Any]) -> Any:
        from sklearn.multioutput import MultiOutputRegressor
        from sklearn.pipeline import Pipeline

        kinds = dict(zip(_CONTAINERS, (Pipeline, MultiOutputRegressor), strict=True))
        made = object.__new__(kinds[node["class"]])
        vars(made).update(self.unpack(node["state"]))
        if vars(made).get("memory") is not None:
            raise BundleError(NO_CACHE.format(what="load"))
        return made

    def _object(self, node: dict[str, Any]) -> Any:
        kind: Any = self.resolve(node["class"])
        state = self.unpack(node["state"])
        if not hasattr(kind, "_restore_bundle_state"):
            return kind(**state["params"])
        made = kind.__new__(kind)
        made._restore_bundle_state(state)
        return made


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
