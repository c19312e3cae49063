"""Read the part of UBJSON that XGBoost writes, bounded by the bytes that are there.

Nothing is allocated that the file does not hold: a count is compared with what remains
before a list is made, and typed arrays are views into the file.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from asfusion.bundle._unlike import Unlike

_MOST_DEPTH = 12
# Every list and every mapping of a model takes at least this many bytes, in the mean.
_BYTES_PER_CONTAINER = 8
_SPARE_CONTAINERS = 64
_INTEGERS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q"}
_SCALARS = {**_INTEGERS, b"d": ">f", b"D": ">d"}
_DTYPES = {
    kind: np.dtype(name)
    for kind, name in zip(_SCALARS, (">i1", ">u1", ">i2", ">i4", ">i8", ">f4", ">f8"), strict=True)
}
_UNPACKERS = {kind: struct.Struct(name) for kind, name in _SCALARS.items()}
_LENGTH = struct.Struct(">q")


def read_ubjson(raw: bytes) -> dict[str, Any]:
    """Return the mapping that `raw` holds: str, int, float, list, dict and arrays.

    Raises
    ------
    Unlike
        If it is anything but one mapping in the form that XGBoost writes.
    """
    reader = _Reader(raw)
    found = reader.value(0)
    if not isinstance(found, dict) or reader.at != len(raw):
        raise Unlike("not one mapping")
    return found


class _Reader:
    """A place in the bytes, and how many containers they may still open."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0
        self.containers = _SPARE_CONTAINERS + len(raw) // _BYTES_PER_CONTAINER

    def value(self, depth: int) -> Any:
        """Return the value that begins here."""
        kind = self._take(1)
        if kind in _UNPACKERS:
            unpacker = _UNPACKERS[kind]
            return unpacker.unpack(self._take(unpacker.size))[0]
        if kind == b"S":
            return self._text()
        self.containers -= 1
        if depth >= _MOST_DEPTH or self.containers < 0:
            raise Unlike("too deep, or too many containers")
        if kind == b"{":
            return self._mapping(depth)
        if kind == b"[":
            return self._array(depth)
        raise Unlike("a kind of value that no model has")

    def _take(self, count: int) -> bytes:
        found = self.raw[self.at : self.at + count]
        if len(found) < count:
            raise Unlike("cut")
        self.at += count
        return found

    def _count(self) -> int:
        if self._take(1) != b"L":
            raise Unlike("a count is of another kind")
        count: int = _LENGTH.unpack(self._take(8))[0]
        if not 0 <= count <= len(self.raw) - self.at:
            raise Unlike("a count beyond the end")
        return count

    def _text(self) -> str:
        try:
            return self._take(self._count()).decode("utf-8")
        except UnicodeDecodeError:
            raise Unlike("text that is none") from None

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        last = None
        while self.raw[self.at : self.at + 1] != b"}":
            key = self._text()
            if last is not None and key <= last:
                raise Unlike("keys twice, or out of order")
            found[key] = self.value(depth + 1)
            last = key
        self.at += 1
        return found

    def _array(self, depth: int) -> Any:
        mark = self._take(1)
        if mark == b"#":
            return [self.value(depth + 1) for _ in range(self._count())]
        dtype = _DTYPES.get(self._take(1)) if mark == b"$" else None
        if dtype is None or self._take(1) != b"#":
            raise Unlike("an array without kind or count")
        count = self._count()
        if count * dtype.itemsize > len(self.raw) - self.at:
            raise Unlike("an array beyond the end")
        found = np.frombuffer(self.raw, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return found
