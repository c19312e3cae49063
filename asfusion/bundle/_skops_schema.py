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
from typing import Any

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
_NOT_OBJECTS = ("sklearn.tree._tree.", "sklearn._loss._loss.", "sklearn.linear_model._sgd_fast.")
FOREIGN = "types that no saved model has: {names}"
_MOST_HEADER = 10_000
_NPY = b"\x93NUMPY"


def check_schema(raw: bytes, archive: zipfile.ZipFile, schema: Any) -> None:
    """Check all nodes of an archive.

    Raises
    ------
    Unlike
        If skops would not have written it.
    """
    shapes = {
        entry.filename: _shape(raw, entry)
        for entry in archive.infolist()
        if entry.filename.endswith(".npy")
    }
    nodes = list(nodes_of(schema))
    leaves: dict[int, Any] = {}
    files: dict[str, int] = {}
    for node in nodes:
        _check_node(node, leaves, files)
    times = Counter(node["__id__"] for node in nodes)
    for node in nodes:
        if node["__loader__"] == "TreeNode":
            _check_tree(node, shapes, times)


def nodes_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Return every mapping that says how it is loaded."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "__loader__" in node:
                yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _check_node(node: Mapping[str, Any], leaves: dict[int, Any], files: dict[str, int]) -> None:
    kind: Any = node["__loader__"]
    number: Any = node.get("__id__")
    name = f"{node.get('__module__')}.{node.get('__class__')}"
    allowed = _NAMES.get(kind) if isinstance(kind, str) else None
    if allowed is None or not name.startswith(allowed):
        raise Unlike(FOREIGN.format(names=quoted([name])))
    require(kind != "ObjectNode" or not name.startswith(_NOT_OBJECTS), "objects without content")
    require(type(number) is int and number, "a node without number")
    if kind == "JsonNode" or "file" in node:
        # Skops takes the first of two nodes with one number for both.
        require(leaves.setdefault(number, node) == node, "two nodes of one number")
    if kind == "JsonNode":
        require(str(node.get("content"))[:1] not in ("[", "{"), "a list in place of a number")
    if "file" in node:
        require(files.setdefault(node["file"], number) == number, "one file for two arrays")


def _check_tree(node: Mapping[str, Any], shapes: Mapping[str, Any], times: Counter[int]) -> None:
    """Compare the counts that a tree is made from: it copies as many numbers, unasked."""
    args, state = node["__reduce__"]["args"], node["content"]
    n_features, classes, n_outputs = args["content"]
    nodes = state["content"]["nodes"]
    # What stands here is what skops takes only if its number stands nowhere else.
    require(all(times[each["__id__"]] == 1 for each in (args, classes, state)), "a tree twice")
    dtype, shape = shapes[classes["file"]]
    same = dtype == np.dtype(np.intp) and shape == (_count(n_outputs),)
    require(same and _count(n_features) > 0, "a tree of other outputs")
    n_nodes = _count(state["content"]["node_count"])
    require(shapes[nodes["file"]][1] == (n_nodes,), "a tree of other nodes")


def _count(node: Mapping[str, Any]) -> int:
    found = json.loads(node["content"])
    if node["__loader__"] != "JsonNode" or type(found) is not int or not 0 <= found < 1 << 31:
        raise Unlike("a count that is none")
    return found


def _shape(raw: bytes, entry: zipfile.ZipInfo) -> tuple[Any, tuple[int, ...]]:
    """Return type and shape of an array that is stored as it is in the archive."""
    at = entry.header_offset
    name_size, extra_size = struct.unpack_from("<HH", raw, at + 26)
    start = at + 30 + name_size + extra_size
    # The version of the format says how many bytes hold the size of the header.
    form, first = ("<H", 10) if raw[start + 6 : start + 7] == b"\x01" else ("<I", 12)
    require(raw[start : start + 6] == _NPY and entry.file_size >= first, "an array without header")
    (size,) = struct.unpack_from(form, raw, start + 8)
    dtype, shape = _parse_header(raw[start + first : start + first + size])
    held = entry.file_size - first - size
    require(dtype.itemsize * math.prod(shape) == held, "an array of another size")
    return dtype, shape


@functools.lru_cache(maxsize=4096)
def _parse_header(header: bytes) -> tuple[Any, tuple[int, ...]]:
    require(len(header) <= _MOST_HEADER, "an array with another header")
    try:
        found = ast.literal_eval(header.decode("latin1"))
        dtype, shape = np.lib.format.descr_to_dtype(found["descr"]), found["shape"]
    except (SyntaxError, ValueError, TypeError, KeyError, MemoryError, RecursionError):
        raise Unlike("an array with another header") from None
    whole = isinstance(shape, tuple) and len(shape) <= 32
    require(
        whole and all(type(n) is int and 0 <= n < 1 << 48 for n in shape), "an array of no size"
    )
    require(dtype.itemsize and not dtype.hasobject, "an array of nothing")
    return dtype, shape
