"""What an ONNX file holds, walked through before a runtime sees it: no package for it is needed.

A file from elsewhere may name files beside it as weights, hide loops that never end, or ask for
operators that a runtime brings from elsewhere. None of that is in a file that `export` writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from asfusion.exceptions import BundleError

MOST_BYTES = 2**31 - 1  # more a message of protobuf cannot hold
_MOST_NODES = 500_000
_MOST_METADATA = 256 << 20
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")

# Numbers of the fields, by onnx.proto.
_GRAPH, _SETS, _METADATA, _TRAINING, _FUNCTIONS = 7, 8, 14, 20, 25
_NODE, _WEIGHT, _SPARSE = 1, 5, 15
_ATTRIBUTE, _DOMAIN = 5, 7
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS, _SPARSE_ONE, _SPARSE_MANY = 5, 6, 10, 11, 22, 23
_EXTERNAL, _LOCATION = 13, 14


class Found(NamedTuple):
    """What a file says of itself, and the SHA-256 of its graph."""

    metadata: dict[str, str]
    digest: str


def walk(raw: bytes) -> Found:
    """Return what stands beside the graph, and refuse what no exported model holds.

    Raises
    ------
    BundleError
        If the file is cut, too large, or holds what is not allowed.
    """
    if not 0 < len(raw) <= MOST_BYTES:
        raise _refused(f"expected a file of 1 to {MOST_BYTES} bytes, got {len(raw)}")
    metadata: dict[str, str] = {}
    graphs: list[bytes] = []
    for field, value in _fields(raw):
        if field in (_TRAINING, _FUNCTIONS):
            raise _refused("expected one plain graph, got functions or training steps with it")
        if field == _SETS:
            _check_set(_message(value))
        elif field == _METADATA:
            key, text = _entry(_message(value))
            if key in metadata:
                raise _refused("expected each entry of the metadata once, got one more often")
            metadata[key] = text
        elif field == _GRAPH:
            graphs.append(_message(value))
    if len(graphs) != 1:
        raise _refused(f"expected one graph, got {len(graphs)}")
    _check_graph(graphs[0])
    return Found(metadata, hashlib.sha256(graphs[0]).hexdigest())


def _check_graph(raw: bytes) -> None:
    n_nodes = 0
    for field, value in _fields(raw):
        if field == _SPARSE:
            raise _refused("expected dense weights, got sparse ones")
        if field == _WEIGHT:
            _check_weight(_message(value))
        elif field == _NODE:
            n_nodes += 1
            if n_nodes > _MOST_NODES:
                raise _refused(f"expected at most {_MOST_NODES} nodes, got more")
            _check_node(_message(value))


def _check_node(raw: bytes) -> None:
    for field, value in _fields(raw):
        if field == _DOMAIN and _text(_message(value)) not in _DOMAINS:
            raise _refused("expected standard operators, got one of another domain")
        if field != _ATTRIBUTE:
            continue
        for own, inner in _fields(_message(value)):
            if own in (_SUBGRAPH, _SUBGRAPHS):
                raise _refused("expected a graph without branches and loops, got one with them")
            if own in (_SPARSE_ONE, _SPARSE_MANY):
                raise _refused("expected dense weights, got sparse ones")
            if own in (_TENSOR, _TENSORS):
                _check_weight(_message(inner))


def _check_weight(raw: bytes) -> None:
    for field, value in _fields(raw):
        if field == _EXTERNAL or (field == _LOCATION and value != 0):
            raise _refused("expected all weights within the file, got a path to another file")


def _check_set(raw: bytes) -> None:
    for field, value in _fields(raw):
        if field == 1 and _text(_message(value)) not in _DOMAINS:
            raise _refused("expected standard operators, got a set of another domain")


def _entry(raw: bytes) -> tuple[str, str]:
    found = {1: "", 2: ""}
    for field, value in _fields(raw):
        if field in found:
            found[field] = _text(_message(value))
    return found[1], found[2]


def _text(raw: bytes) -> str:
    if len(raw) > _MOST_METADATA:
        raise _refused(f"expected texts of at most {_MOST_METADATA} bytes, got a longer one")
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        raise _refused("expected texts in UTF-8, got other bytes") from None


def _message(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise _refused("expected parts of a model, got a number in the place of one")
    return value


def _fields(raw: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield the fields of a message: numbers as they are, all else as its bytes."""
    view, place = memoryview(raw), 0
    while place < len(view):
        key, place = _varint(view, place)
        field, kind = key >> 3, key & 7
        if kind == 0:
            number, place = _varint(view, place)
            yield field, number
            continue
        if kind == 2:
            size, place = _varint(view, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise _refused("expected a model in the format of ONNX, got other bytes")
        if size > len(view) - place:
            raise _refused("expected a whole file, got one that is cut short")
        yield field, view[place : place + size]  # type: ignore[misc]
        place += size


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(view):
            raise _refused("expected a whole file, got one that is cut short")
        byte = view[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return number, place
    raise _refused("expected a model in the format of ONNX, got other bytes")


def _refused(problem: str) -> BundleError:
    return BundleError(f"OnnxModel: {problem}. Take a file that asfusion.export wrote.")
