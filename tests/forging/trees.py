"""Forged trees: parts of a saved model whose numbers would lead compiled code astray.

``forged_ubjson`` mutates an XGBoost file, ``forged_skops`` a scikit-learn part, and
``forge_bundle`` any such part of a saved model, with digests that fit. Everything follows
from the seed.
"""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from asfusion.bundle._ubjson import read_ubjson
from asfusion.bundle.folder import read_bundle, write_bundle

NASTY = (
    *(0, 1, -1, -2, 2, 3, 7, 127, 128, 255, 256, 32767, 65535, 100_000, 10**6, 10**9),
    *(2**24, 2**24 - 1, 2**31, 2**31 - 1, -(2**31), 2**32 - 1, 2**62, -(2**62), 2**63 - 1),
)
NASTY_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e38, -1e38, 1e308, np.inf, -np.inf, np.nan)
NASTY_TEXTS = (
    *("", "0", "1", "-1", "2", "3", "1000000000", "4294967295", " 7", "7a", "0x7", "1E0"),
    *("nan", "inf", "[]", "[1E0,2E0]", "[1E0", "1e400", "[nan]", "x" * 50),
    *("multi:softprob", "reg:squarederror", "binary:logistic", "gbtree", "gblinear", "dart"),
)
WORDS = (
    *("null", "true", "1e308", "NaN", "[]", "{}", '"auto"', '"brute"', '"kd_tree"'),
    *('"precomputed"', '"linear"'),
)
_MARKS = {
    **{">i1": b"i", "|i1": b"i", "|u1": b"U", ">i2": b"I", ">i4": b"l"},
    **{">i8": b"L", ">f4": b"d", ">f8": b"D"},
}


def forged_ubjson(valid: bytes, seed: int) -> bytes:
    """Return the file with its bytes, or what they mean, changed in a few places."""
    chance = random.Random(seed)
    if chance.random() < 0.4:
        return _noise(valid, chance)
    model = read_ubjson(valid)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        _change_value(model, chance)
    return write_ubjson(model)


def forged_skops(valid: bytes, seed: int) -> bytes:
    """Return the archive with its arrays or its schema changed, well-formed as an archive."""
    chance = random.Random(seed)
    with zipfile.ZipFile(io.BytesIO(valid)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    arrays = [name for name in entries if name.endswith(".npy")]
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if arrays and chance.random() < 0.6:
            name = chance.choice(arrays)
            entries[name] = _forged_npy(entries[name], chance)
        else:
            entries["schema.json"] = _forged_schema(entries["schema.json"], chance)
    return _zipped(entries)


def forge_bundle(folder: str | Path, seed: int) -> None:
    """Change one part with trees of the saved model in `folder`, and its digests with it."""
    parts, manifest = read_bundle(Path(folder), max_bytes=1 << 30)
    forge: dict[str, Callable[[bytes, int], bytes]] = {"ubj": forged_ubjson, "skops": forged_skops}
    names = sorted(name for name in parts if name.rpartition(".")[2] in forge)
    name = random.Random(seed).choice(names)
    parts[name] = forge[name.rpartition(".")[2]](parts[name], seed)
    about = {
        key: value for key, value in manifest.items() if key not in ("files", "format", "digest")
    }
    write_bundle(Path(folder), parts, about)


def write_ubjson(value: Any) -> bytes:
    """Return a value in the form that XGBoost writes."""
    if isinstance(value, dict):
        return b"{" + b"".join(_text(k) + write_ubjson(v) for k, v in value.items()) + b"}"
    if isinstance(value, list):
        return b"[#L" + struct.pack(">q", len(value)) + b"".join(map(write_ubjson, value))
    if isinstance(value, np.ndarray):
        mark = _MARKS[value.dtype.str]
        return b"[$" + mark + b"#L" + struct.pack(">q", len(value)) + value.tobytes()
    if isinstance(value, str):
        return b"S" + _text(value)
    if isinstance(value, float):
        return b"d" + np.array(value, ">f4").tobytes()
    for mark, form in ((b"i", ">b"), (b"I", ">h"), (b"l", ">i"), (b"L", ">q")):
        try:
            return mark + struct.pack(form, value)
        except struct.error:
            continue
    return b"Z"


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"L" + struct.pack(">q", len(raw)) + raw


def _noise(raw: bytes, chance: random.Random) -> bytes:
    """Return the bytes with some changed, cut out, doubled, or the end cut off."""
    changed = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(len(changed))
        kind = chance.random()
        if kind < 0.6:
            changed[at] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        elif kind < 0.7:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind < 0.8:
            del changed[at : at + chance.choice((1, 4, 8, 100))]
        elif kind < 0.9:
            changed[at:at] = changed[at : at + chance.choice((1, 4, 8, 500))]
        elif kind < 0.97:
            changed[at : at + 8] = struct.pack(">q", chance.choice(NASTY))
        else:
            del changed[at:]
        if not changed:
            return b""
    return bytes(changed)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container and key within a value."""
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        keys: Any = list(value)
    elif isinstance(value, list):
        keys = range(len(value))
    else:
        return found
    for key in keys:
        found.append((value, key))
        found += _places(value[key])
    return found


def _change_value(model: Any, chance: random.Random) -> None:
    places = _places(model)
    if not places:
        return
    # Keys first, so that the few counts are met as often as the many arrays.
    name = chance.choice(sorted({str(key) for _, key in places if isinstance(key, str)} or {""}))
    holder, key = chance.choice([p for p in places if str(p[1]) == name] or places)
    value = holder[key]
    kind = chance.random()
    if kind < 0.04:
        del holder[key]
    elif kind < 0.08:
        other, place = chance.choice(places)
        holder[key] = copy.deepcopy(other[place]) if _has(other, place) else {}
    elif isinstance(value, list):
        _change_list(value, chance)
    elif isinstance(value, dict):
        value[chance.choice(("zz", "", "name", "type"))] = chance.choice(("1", 1, 1.0, [], {}))
    else:
        holder[key] = _changed(value, chance)


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _changed(value: Any, chance: random.Random) -> Any:
    if isinstance(value, np.ndarray):
        return _changed_array(value, chance)
    if isinstance(value, str):
        return chance.choice((*NASTY_TEXTS, str(chance.choice(NASTY))))
    return float(chance.choice(NASTY_FLOATS)) if isinstance(value, float) else chance.choice(NASTY)


def _change_list(value: list[Any], chance: random.Random) -> None:
    kind = chance.random()
    if value and kind < 0.3:
        del value[chance.randrange(len(value))]
    elif value and kind < 0.6:
        value.append(chance.choice(value))
    elif value and kind < 0.9 and isinstance(value[0], int):
        value[chance.randrange(len(value))] = chance.choice((*NASTY, len(value)))
    elif value and kind < 0.95:
        chance.shuffle(value)
    else:
        value.extend([0] * chance.choice((1, 100, 10_000)))


def _changed_array(array: Any, chance: random.Random) -> Any:
    """Return an array with a number, its length or its type changed."""
    kind = chance.random()
    if kind < 0.1:
        return np.resize(array, 2 * len(array) if kind < 0.05 else len(array) // 2).astype(
            array.dtype
        )
    if kind < 0.15:
        with np.errstate(all="ignore"):
            return array.astype(chance.choice((">i1", ">u1", ">i4", ">i8", ">f4", ">f8")))
    if kind < 0.2:
        return np.resize(array, len(array) + 1).astype(array.dtype)
    if not array.size:
        return np.zeros(chance.choice((1, 7)), array.dtype)
    changed = array.copy()
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(array.size)
        near = (at, at + 1, at - 1, array.size, array.size - 1, array.size + 1, 0)
        choices: Any = NASTY_FLOATS if array.dtype.kind == "f" else (*NASTY, *near, *near)
        with np.errstate(all="ignore"):
            _put(changed.reshape(-1), at, chance.choice(choices))
    return changed


def _put(flat: Any, at: int, value: Any) -> None:
    dtype = flat.dtype
    if dtype.kind in "iu":
        bits = dtype.itemsize * 8
        value = int(value) & ((1 << bits) - 1)
        if dtype.kind == "i" and value >> (bits - 1):
            value -= 1 << bits
    flat[at] = value


def _forged_npy(raw: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.15:
        return _noise(raw, chance)
    try:
        array = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    except Exception:
        return _noise(raw, chance)  # it was forged before
    if array.dtype.names is not None and array.size:
        array = array.copy()
        for _ in range(chance.choice((1, 1, 2, 4))):
            name = chance.choice(array.dtype.names)
            array[name] = _same_size(array[name], chance)
        if chance.random() < 0.1:
            array = array[: chance.randrange(len(array) + 1)]
    elif array.dtype.kind in "iufb":
        array = _reshaped(array, chance)
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=False)
    return out.getvalue()


def _same_size(field: Any, chance: random.Random) -> Any:
    changed = field.copy()
    for _ in range(chance.choice((1, 1, 3))):
        at = chance.randrange(field.size)
        near = (at, at + 1, at - 1, field.size, field.size - 1, field.size + 1, 0)
        choices: Any = NASTY_FLOATS if field.dtype.kind == "f" else (*NASTY, *near, *near)
        with np.errstate(all="ignore"):
            _put(changed, at, chance.choice(choices))
    return changed


def _reshaped(array: Any, chance: random.Random) -> Any:
    kind = chance.random()
    if array.size and kind < 0.55:
        flat = np.ascontiguousarray(array).reshape(-1)
        changed = _same_size(flat.astype(np.uint8) if flat.dtype.kind == "b" else flat, chance)
        return changed.astype(array.dtype).reshape(array.shape)
    if kind < 0.65:
        return array.reshape(-1)
    if kind < 0.75 and array.ndim:
        return array[: len(array) // 2]
    if kind < 0.85 and array.ndim > 1:
        return np.ascontiguousarray(array[:, :1]) if chance.random() < 0.5 else array.T.copy()
    if kind < 0.95:
        return np.concatenate([array, array], axis=-1) if array.ndim else array
    return array.astype(chance.choice(("i4", "i8", "f4", "f8", "u1", "U3", "c16")))


def _nodes(node: Any) -> list[dict[str, Any]]:
    found = []
    if isinstance(node, dict):
        if "__loader__" in node:
            found.append(node)
        for value in node.values():
            found += _nodes(value)
    elif isinstance(node, list):
        for value in node:
            found += _nodes(value)
    return found


def _forged_schema(raw: bytes, chance: random.Random) -> bytes:
    schema = json.loads(raw)
    nodes = _nodes(schema)
    node, other = chance.choice(nodes), chance.choice(nodes)
    kind = chance.random()
    texts = [n for n in nodes if n["__loader__"] == "JsonNode"]
    numbers = [n for n in texts if n["content"].lstrip("-").isdigit()]
    if kind < 0.55 and numbers:
        node = chance.choice(numbers)
        node["content"] = str(chance.choice((*NASTY, 1, 2, 3, 4, 5)))
        if chance.random() < 0.8:
            node["__id__"] = -chance.randrange(1, 1 << 30)
    elif kind < 0.65:
        same = [n for n in nodes if n["__loader__"] == node["__loader__"]]
        _swap(node, chance.choice(same))
    elif kind < 0.72:
        _swap(node, other)
    elif kind < 0.8 and "__id__" in other:
        node["__id__"] = other["__id__"]
    elif kind < 0.86:
        node["__class__"], node["__module__"] = other["__class__"], other["__module__"]
    elif kind < 0.92:
        _drop(chance.choice([n for n in nodes if n["__loader__"] == "DictNode"] or [node]), chance)
    else:
        chance.choice(texts or [node])["content"] = chance.choice(WORDS)
    return json.dumps(schema).encode()


def _swap(node: dict[str, Any], other: dict[str, Any]) -> None:
    """Put a copy of the content of one node into another, under the identity of the first."""
    copy = json.loads(json.dumps(other))
    kept = {key: node[key] for key in ("__id__", "protocol", "_skops_version") if key in node}
    node.clear()
    node.update({**copy, **kept})


def _drop(node: dict[str, Any], chance: random.Random) -> None:
    content = node.get("content")
    if isinstance(content, dict) and content:
        del content[chance.choice(sorted(content))]


def _zipped(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()
