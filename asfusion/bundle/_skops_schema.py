"""Whether a skops archive says what skops itself would say, before skops reads it.

Skops asks only whether each type that is named is trusted. Here each kind of node names what
that kind is for, each file is read once, and each array holds what its header promises.
"""

from __future__ import annotations

import ast
import functools
import json
import math
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from asfusion._checks import quoted
from asfusion.bundle._unlike import Unlike, require

# What each kind of node may name: a module, or a package and what is below it.
_NAMES = {
    "DictNode": ("builtins.dict", "collections.OrderedDict", "sklearn.utils._bunch.Bunch"),
    "FunctionNode": ("numpy.", "scipy.special."),
    "JsonNode": ("builtins.str",),
    "ListNode": ("builtins.list",),
    "LossNode": ("sklearn._loss._loss.", "sklearn.linear_model._sgd_fast."),
    "MaskedArrayNode": ("numpy.ma.",),
    "NdArrayNode": ("numpy.",),
    "ObjectNode": ("sklearn.",),
    "RandomGeneratorNode": ("numpy.random._generator.Generator",),
    "RandomStateNode": ("numpy.random.mtrand.RandomState",),
    "SetNode": ("builtins.set",),
    "SliceNode": ("builtins.slice",),
    "TreeNode": ("sklearn.tree._tree.Tree",),
    "TupleNode": ("builtins.tuple",),
    "TypeNode": ("builtins.", "numpy."),
}
_INNER = (dict, list)  # what may hold nodes
_NOT_OBJECTS = ("sklearn.tree._tree.", "sklearn._loss._loss.", "sklearn.linear_model._sgd_fast.")
FOREIGN = "types that no saved model has: {names}"
_MOST_HEADER = 10_000
_NPY = b"\x93NUMPY"


class Stored(NamedTuple):
    """An array as it lies in an archive."""

    dtype: Any
    shape: tuple[int, ...]
    by_column: bool
    start: int

    def taken(self, raw: bytes) -> Any:
        """Return a copy of it, out of the bytes of the archive."""
        n_values = math.prod(self.shape)
        found = np.frombuffer(raw, self.dtype, n_values, self.start) if n_values else _nothing(self)
        return found.reshape(self.shape, order="F" if self.by_column else "C").copy(order="K")


def _nothing(stored: Stored) -> Any:
    return np.empty(0, stored.dtype)


def check_schema(
    raw: bytes, archive: zipfile.ZipFile, schema: Any
) -> tuple[list[dict[str, Any]], dict[str, Stored]]:
    """Check all nodes of an archive; return them, and its arrays by the name of their files.

    Raises
    ------
    Unlike
        If skops would not have written it.
    """
    arrays = {
        entry.filename: _stored(raw, entry)
        for entry in archive.infolist()
        if entry.filename.endswith(".npy")
    }
    nodes = list(_nodes(schema))
    leaves: dict[int, Any] = {}
    files: dict[str, int] = {}
    for node in nodes:
        _check_node(node, leaves, files)
    times = Counter(node["__id__"] for node in nodes)
    for node in nodes:
        if node["__loader__"] == "TreeNode":
            _check_tree(node, arrays, times)
    return nodes, arrays


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Return every mapping that says how it is loaded."""
    waiting: list[Any] = [[schema]]
    while waiting:
        node = waiting.pop()
        inner: Any = node
        if isinstance(node, dict):
            if "__loader__" in node:
                yield node
            inner = node.values()
        waiting.extend(each for each in inner if isinstance(each, _INNER))


def _check_node(node: Mapping[str, Any], leaves: dict[int, Any], files: dict[str, int]) -> None:
    kind: Any = node["__loader__"]
    number: Any = node.get("__id__")
    name = f"{node.get('__module__')}.{node.get('__class__')}"
    allowed = _NAMES.get(kind) if isinstance(kind, str) else None
    if allowed is None or not name.startswith(allowed):
        raise Unlike(FOREIGN.format(names=quoted([name])))
    # Asked before `require` is: a forest has tens of thousands of nodes.
    if kind == "ObjectNode" and name.startswith(_NOT_OBJECTS):
        raise Unlike("objects without content")
    if type(number) is not int:
        raise Unlike("a node without number")
    has_file = "file" in node
    if kind == "JsonNode" or has_file:
        # Skops takes the first of two nodes with one number for both.
        first = leaves.setdefault(number, node)
        require(first is node or first == node, "two nodes of one number")
    if kind == "JsonNode":
        require(str(node.get("content"))[:1] not in ("[", "{"), "a list in place of a number")
    if has_file:
        require(files.setdefault(node["file"], number) == number, "one file for two arrays")


def _check_tree(node: Mapping[str, Any], arrays: Mapping[str, Stored], times: Counter[int]) -> None:
    """Compare the counts that a tree is made from: it copies as many numbers, unasked."""
    args, state = node["__reduce__"]["args"], node["content"]
    n_features, classes, n_outputs = args["content"]
    nodes = state["content"]["nodes"]
    kinds = {"TupleNode": [args], "DictNode": [state], "NdArrayNode": [classes, nodes]}
    same = all(each.get("__loader__") == kind for kind, some in kinds.items() for each in some)
    require(same and classes["type"] == nodes["type"] == "numpy", "a tree of other kinds")
    # What stands here is what skops takes only if its number stands nowhere else.
    require(all(times[each["__id__"]] == 1 for each in (args, classes, state)), "a tree twice")
    held = arrays[classes["file"]]
    same = held.dtype == np.dtype(np.intp) and held.shape == (_count(n_outputs),)
    require(same and _count(n_features) > 0, "a tree of other outputs")
    n_nodes = _count(state["content"]["node_count"])
    require(arrays[nodes["file"]].shape == (n_nodes,), "a tree of other nodes")


def _count(node: Mapping[str, Any]) -> int:
    found = json.loads(node["content"])
    if node["__loader__"] != "JsonNode" or type(found) is not int or not 0 <= found < 1 << 31:
        raise Unlike("a count that is none")
    return found


def _stored(raw: bytes, entry: zipfile.ZipInfo) -> Stored:
    """Return where and how an array is stored, as it is, in the archive."""
    at = entry.header_offset
    name_size, extra_size = struct.unpack_from("<HH", raw, at + 26)
    start = at + 30 + name_size + extra_size
    # The version of the format says how many bytes hold the size of the header.
    form, first = ("<H", 10) if raw[start + 6 : start + 7] == b"\x01" else ("<I", 12)
    require(raw[start : start + 6] == _NPY and entry.file_size >= first, "an array without header")
    (size,) = struct.unpack_from(form, raw, start + 8)
    begin = start + first + size
    dtype, shape, by_column = _parse_header(raw[start + first : begin])
    held = entry.file_size - first - size
    require(dtype.itemsize * math.prod(shape) == held, "an array of another size")
    return Stored(dtype, shape, by_column, begin)


@functools.lru_cache(maxsize=4096)
def _parse_header(header: bytes) -> tuple[Any, tuple[int, ...], bool]:
    require(len(header) <= _MOST_HEADER, "an array with another header")
    try:
        found = ast.literal_eval(header.decode("latin1"))
        dtype, shape = np.lib.format.descr_to_dtype(found["descr"]), found["shape"]
        by_column = found["fortran_order"]
    except (SyntaxError, ValueError, TypeError, KeyError, MemoryError, RecursionError):
        raise Unlike("an array with another header") from None
    whole = isinstance(shape, tuple) and len(shape) <= 32
    require(
        whole and all(type(n) is int and 0 <= n < 1 << 48 for n in shape), "an array of no size"
    )
    require(dtype.itemsize and not dtype.hasobject, "an array of nothing")
    require(type(by_column) is bool, "an array in no order")
    return dtype, shape, by_column
