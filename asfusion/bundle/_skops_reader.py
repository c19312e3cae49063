"""A scikit-learn part of a skops archive, made without skops where it is plain.

Importing skops takes as long as all else that a saved model of a table needs. What most models
hold is estimators, trees, arrays, containers and numbers: these few kinds of nodes are read here,
after the same checks and with the same outcome. An archive with anything else is left to skops.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from asfusion.bundle._skops import holds_estimators
from asfusion.bundle._skops_schema import Stored

_PROTOCOL = 2  # of skops, since 0.10
_PLAIN = {
    "DictNode": ("builtins.dict", "collections.OrderedDict", "sklearn.utils._bunch.Bunch"),
    "JsonNode": ("builtins.str",),
    "ListNode": ("builtins.list",),
    "SetNode": ("builtins.set",),
    "TreeNode": ("sklearn.tree._tree.Tree",),
    "TupleNode": ("builtins.tuple",),
}
_BUILTINS = {"builtins.bool": bool, "builtins.float": float, "builtins.int": int,
             "builtins.str": str}  # fmt: skip


def is_plain(schema: Any, nodes: Iterable[Mapping[str, Any]], known: frozenset[str]) -> bool:
    """Return whether a checked schema holds nothing but what `read_part` makes.

    Parameters
    ----------
    schema : mapping
        The schema as a whole.
    nodes : iterable of mapping
        Every node of it.
    known : frozenset of str
        Types that a part may hold beside estimators.
    """
    return schema.get("protocol") == _PROTOCOL and all(_is_ours(node, known) for node in nodes)


def _is_ours(node: Mapping[str, Any], known: frozenset[str]) -> bool:
    kind, name = node["__loader__"], _name(node)
    if kind == "NdArrayNode":
        return _is_array(node, name)
    if kind == "TypeNode":
        return name in _BUILTINS or _is_number_type(name)
    if kind == "ObjectNode":
        return name in known or is_estimator(name)
    return name in _PLAIN.get(kind, ())


def _is_array(node: Mapping[str, Any], name: str) -> bool:
    if node.get("type") == "json":
        return name == "numpy.ndarray"
    return node.get("type") == "numpy" and (name == "numpy.ndarray" or _is_number_type(name))


@functools.lru_cache(maxsize=256)
def _is_number_type(name: str) -> bool:
    kinds = set(np.sctypeDict.values()) - {np.object_, np.void}  # void is as large as it says
    return name in {f"numpy.{kind.__name__}" for kind in kinds}


@functools.lru_cache(maxsize=1024)
def is_estimator(name: str) -> bool:
    """Return whether a name is that of a public estimator of scikit-learn, by its own module.

    They are those that `sklearn.utils.all_estimators` lists, looked for where one has to be.
    """
    module, _, kind = name.rpartition(".")
    public: list[str] = []
    for part in module.split("."):
        if part.startswith("_"):
            break
        public.append(part)
    named = all(part.isidentifier() for part in public) and public[:1] == ["sklearn"]
    if not named or kind.startswith("_") or not holds_estimators(public):
        return False
    try:
        found: Any = getattr(importlib.import_module(".".join(public)), kind, None)
    except ImportError:
        return False
    return _is_listed(found) and f"{found.__module__}.{found.__name__}" == name


def _is_listed(found: Any) -> bool:
    from sklearn.base import BaseEstimator

    is_kind = inspect.isclass(found) and issubclass(found, BaseEstimator)
    return is_kind and found is not BaseEstimator and not inspect.isabstract(found)


def read_part(schema: Any, raw: bytes, arrays: Mapping[str, Stored]) -> Any:
    """Return what a schema describes of which `is_plain` holds; each number is made once."""
    return _Reader(raw, arrays).make(schema)


class _Reader:
    def __init__(self, raw: bytes, arrays: Mapping[str, Stored]) -> None:
        self._raw = raw
        self._arrays = arrays
        self._made: dict[int, Any] = {}
        self._makers: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "DictNode": self._dict,
            "JsonNode": lambda node: json.loads(node["content"]),
            "ListNode": self._items,
            "NdArrayNode": self._array,
            "ObjectNode": self._object,
            "SetNode": lambda node: set(self._items(node)),
            "TreeNode": self._tree,
            "TupleNode": lambda node: tuple(self._items(node)),
            "TypeNode": lambda node: _BUILTINS.get(_name(node)) or _class(node),
        }

    def make(self, node: Mapping[str, Any]) -> Any:
        number = node["__id__"]
        if number not in self._made:
            self._made[number] = self._makers[node["__loader__"]](node)
        return self._made[number]

    def _items(self, node: Mapping[str, Any]) -> list[Any]:
        return [self.make(each) for each in node["content"]]

    def _dict(self, node: Mapping[str, Any]) -> Any:
        made, kinds = _class(node)(), self.make(node["key_types"])
        for kind, (key, value) in zip(kinds, node["content"].items(), strict=True):
            made[kind(key)] = self.make(value)
        return made

    def _array(self, node: Mapping[str, Any]) -> Any:
        if node["type"] == "json":
            return self._cells(node)
        array = self._arrays[node["file"]].taken(self._raw)
        return array if node["__class__"] == "ndarray" else _class(node)(array)

    def _cells(self, node: Mapping[str, Any]) -> Any:
        shape, cells = self.make(node["shape"]), self._items(node)
        if len(shape) != 1:
            return np.array(cells, dtype=object)
        array = np.empty(len(cells), dtype=object)
        for place, cell in enumerate(cells):  # one by one: arrays among them would be spread out
            array[place] = cell
        return array

    def _object(self, node: Mapping[str, Any]) -> Any:
        kind = _class(node)
        made = kind.__new__(kind)
        state = None if node.get("content") is None else self.make(node["content"])
        return made if state is None else _restored(made, state)

    def _tree(self, node: Mapping[str, Any]) -> Any:
        state = self.make(node["content"])
        made = _class(node)(*self.make(node["__reduce__"]["args"]))
        return _restored(made, state) if state else made


def _restored(made: Any, state: Any) -> Any:
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
    else:
        vars(made).update(state)
    return made


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['__module__']}.{node['__class__']}"


def _class(node: Mapping[str, Any]) -> Any:
    return getattr(importlib.import_module(node["__module__"]), node["__class__"])
