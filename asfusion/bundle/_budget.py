"""What a saved model may cost to read: its text before it is parsed, and what is made of it.

Hashes say that a folder is whole, not who made it. A few kilobytes of text may ask for gigabytes
of objects; here their number is known before there is one. The same is counted when a model is
saved, so that what was saved loads.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from asfusion.exceptions import BundleError

# Bytes of Python objects beside the tensors and arrays, which are as large as their files.
MOST_BYTES = 56 << 20
_MOST_DEPTH = 200
# Numbers and tuples as keys, which unlike texts can be chosen to collide: they cost their square.
_MOST_PLAIN_KEYS = 5_000
# Bytes of a list, a dict, a text and an element of either, parsed and unpacked again.
_LIST, _DICT, _TEXT, _ELEMENT, _OBJECT = 150, 320, 60, 34, 2_000
_HEADER_FACTOR = 28
# A schema that skops wrote costs 13 bytes for each of its own, and a second for two megabytes.
_SCHEMA_BYTES, _SCHEMA_FACTOR, _MOST_SCHEMA = 8 << 20, 16, 8 << 20
_CHUNK = 1 << 20
_STEPS = np.zeros(256, dtype=np.int8)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1


class Budget:
    """Bytes that are left to make objects of.

    Parameters
    ----------
    who : str
        ``"load"`` or ``"save"``, which begins the message.
    n_bytes : int
        How many there are.
    """

    def __init__(self, who: str, n_bytes: int = MOST_BYTES) -> None:
        self._who = who
        self._n_bytes = self._left = n_bytes
        self._keys_left = _MOST_PLAIN_KEYS

    def spend(self, n_bytes: int) -> None:
        """Take bytes of the budget.

        Raises
        ------
        BundleError
            If there are not that many left.
        """
        self._left -= n_bytes
        if self._left < 0:
            self._refuse(f"more than {self._n_bytes >> 20} MB of objects")

    def spend_object(self) -> None:
        """Take what an object costs that is made of its parameters."""
        self.spend(_OBJECT)

    def spend_numbers(self, n_numbers: int) -> None:
        """Take what a list of numbers costs that are a part of their own."""
        self.spend(_ELEMENT * n_numbers)

    def spend_records(self, n_rows: int, n_fields: int) -> None:
        """Take what dicts cost of which the text knows nothing."""
        self.spend(n_rows * (_DICT + _ELEMENT * n_fields) if n_fields else n_rows)

    def spend_header(self, raw: bytes) -> None:
        """Take what the names and shapes of a file of tensors cost."""
        self.spend(_HEADER_FACTOR * int.from_bytes(raw[:8], "little"))

    def spend_key(self, key: object) -> None:
        """Take the key of a dict, unless it is a text."""
        if isinstance(key, str):
            return
        self._keys_left -= 1
        if self._keys_left < 0:
            self._refuse(f"more than {_MOST_PLAIN_KEYS} keys that are no text")

    def spend_text(self, raw: bytes) -> None:
        """Take what parsing a JSON text of ASCII will cost, which is not done here."""
        if not raw.isascii():
            self._refuse("a state that is not in ASCII")
        self.spend(len(raw) + _TEXT * (raw.count(b'"') // 2))
        counts, n_texted, depth = _counted(raw)
        self.spend(_DICT * counts["{"] + _LIST * counts["["])
        self.spend(_ELEMENT * (counts[","] + counts[":"]))
        self.spend(n_texted * _width(raw))
        if depth > _MOST_DEPTH:
            self._refuse(f"a state that is nested more than {_MOST_DEPTH} deep")

    def _refuse(self, got: str) -> None:
        msg = (
            f"{self._who}: expected a model of bounded cost, got {got}. No model that save wrote "
            "has that."
        )
        if self._who == "save":
            msg = (
                f"save: expected a model that load accepts, got {got}. Use fewer columns, "
                "categories or words."
            )
        raise BundleError(msg)


def _counted(raw: bytes) -> tuple[dict[str, int], int, int]:
    """Return how often signs stand outside of texts, the length of all texts, and the depth."""
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    totals = np.zeros(256, dtype=np.int64)
    inside, depth, deepest = 0, 0, 0
    for start in range(0, len(raw), _CHUNK):
        part = np.frombuffer(raw, np.uint8, min(_CHUNK, len(raw) - start), start)
        quotes = part == ord('"')
        # Its last bit is all that counts, which survives the overflow.
        within = (np.cumsum(quotes, dtype=np.uint8) + np.uint8(inside)) & 1
        inside = int(within[-1])
        bare = part[(within == 0) & ~quotes]
        totals += np.bincount(bare, minlength=256)
        steps = np.cumsum(_STEPS[bare], dtype=np.int64)
        if len(steps):
            deepest = max(deepest, depth + int(steps.max()))
            depth += int(steps[-1])
    return {sign: int(totals[ord(sign)]) for sign in "{[,:"}, len(raw) - int(totals.sum()), deepest


def _width(raw: bytes) -> int:
    """Return the most bytes that a character of any text takes once it is parsed."""
    if b"\\u" not in raw:
        return 1
    return 4 if re.search(rb"\\u[dD][89abAB]", raw) else 2


def check_schema_size(raw: bytes, who: str) -> None:
    """Raise if the schema of a skops archive is larger than `read_schema` takes."""
    if len(raw) > _MOST_SCHEMA:
        msg = (
            f"{who}: expected a scikit-learn part with a description of at most "
            f"{_MOST_SCHEMA >> 20} MB, got {len(raw) >> 20} MB. Use fewer trees, or XGBoost."
        )
        raise BundleError(msg)


def read_schema(raw: bytes) -> Any:
    """Return the schema of a skops archive, which names no file twice and expands no further.

    skops walks through a shared part once for each place that names it: thirty that each name
    the next one twice would be walked through a billion times.

    Raises
    ------
    BundleError
        If the schema costs too much, or more than it says.
    """
    check_schema_size(raw, "load")
    Budget("load", _SCHEMA_BYTES + _SCHEMA_FACTOR * len(raw)).spend_text(raw)
    schema = json.loads(raw)
    _Shared().look_at(schema)
    return schema


class _Shared:
    """What each shared part of a schema looks like, and which part owns each file."""

    def __init__(self) -> None:
        self._looks: dict[Any, int] = {}
        self._owners: dict[Any, Any] = {}

    def look_at(self, node: Any) -> int:
        """Return what stands for a node and all below it, numbers and files left out."""
        if isinstance(node, str):  # of which there are most
            return hash((node,))
        if isinstance(node, list):
            return hash(("list", *map(self.look_at, node)))
        if not isinstance(node, dict):
            return hash(repr(node))
        inner = [
            (name, hash((value,)) if type(value) is str else self.look_at(value))
            for name, value in node.items()
            if name not in _NUMBERED
        ]
        look = hash(("dict", *inner))
        loader = node.get("__loader__")
        if loader in (None, "CachedNode"):
            return look
        own = node.get("__id__")
        own = own if isinstance(own, int) else repr(own)
        file = node.get("file")
        strange = own != "None" and self._looks.setdefault(own, look) != look
        if isinstance(file, str):
            strange |= self._owners.setdefault(file, own) != own or own == "None"
        content = node.get("content")
        if loader == "JsonNode":  # a text within the text, which nobody has counted
            strange |= not isinstance(content, str) or content.lstrip()[:1] in ("[", "{")
        if strange:
            raise BundleError("load: a scikit-learn part is not as save wrote it (its schema).")
        return look


_NUMBERED = frozenset({"__id__", "file"})
