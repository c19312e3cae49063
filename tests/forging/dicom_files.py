"""Small DICOM files of every plain kind, written byte by byte, with the values that they hold.

Nothing here uses a DICOM library: what is written is what the standard says (PS3.5, 8 and A).
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

IMPLICIT, EXPLICIT, BIG, DEFLATED = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99",
)  # fmt: skip
_CLASS = "1.2.840.10008.5.1.4.1.1.7"
_LONG = ("OB", "OW", "OF", "OD", "SQ", "UN")


class Case(NamedTuple):
    """A file, the stored values (frames, H, W[, 3]) that it holds, and what is special about it."""

    content: bytes
    values: np.ndarray
    kind: dict[str, Any]


def case(seed: int) -> Case:
    """Return a file of a random kind: depth, sign, byte order, planes, frames, unused bits."""
    rng = np.random.default_rng(seed)
    kind = _kind(rng)
    shape = (kind["frames"], *rng.integers(1, 12, 2), *((3,) if kind["samples"] == 3 else ()))
    values = _values(rng, shape, kind)
    cells = _cells(rng, values, kind)
    entries = _entries(values, kind)
    return Case(assembled(entries, _packed(cells, kind), kind), values, kind)


def _kind(rng: np.random.Generator) -> dict[str, Any]:
    syntax = str(rng.choice([IMPLICIT, EXPLICIT, BIG, DEFLATED]))
    samples = int(rng.choice([1, 1, 3]))
    allocated = int(rng.choice([8, 16] if samples == 3 else [1, 8, 8, 16, 16, 32]))
    stored = allocated if allocated in (1, 32) else int(rng.integers(allocated // 2, allocated + 1))
    words = syntax == IMPLICIT or allocated > 8 or bool(rng.random() < 0.5)
    return {
        "syntax": syntax, "samples": samples, "allocated": allocated, "stored": stored,
        "signed": bool(samples == 1 and allocated > 1 and rng.random() < 0.4),
        "high": stored - 1 if rng.random() < 0.7 else allocated - 1,
        "planar": int(rng.integers(2)) if samples == 3 else 0,
        "frames": int(rng.choice([1, 1, 2, 3])),
        "VR": "OW" if words else "OB",
        "overlay": bool(rng.random() < 0.4),
        "photometric": "RGB" if samples == 3 else str(rng.choice(["MONOCHROME1", "MONOCHROME2"])),
    }  # fmt: skip


def _values(rng: np.random.Generator, shape: tuple[int, ...], kind: dict[str, Any]) -> np.ndarray:
    low, high = 0, 2 ** kind["stored"]
    if kind["signed"]:
        low, high = -high // 2, high // 2
    width = max(1, kind["allocated"] // 8)
    return rng.integers(low, high, shape).astype(f"{'i' if kind['signed'] else 'u'}{width}")


def _cells(rng: np.random.Generator, values: np.ndarray, kind: dict[str, Any]) -> np.ndarray:
    """Return unsigned pixel cells: values at their high bit, and anything in the bits beside."""
    allocated, stored = kind["allocated"], kind["stored"]
    below = kind["high"] + 1 - stored
    cells = (values.astype(np.int64) & (2**stored - 1)) << below
    if kind["overlay"]:
        noise = rng.integers(0, 2**allocated, values.shape)
        cells |= noise & ~((2**stored - 1) << below) & (2**allocated - 1)
    return cells.astype(f"u{max(1, allocated // 8)}")


def _packed(cells: np.ndarray, kind: dict[str, Any]) -> bytes:
    """Return cells as the bytes of the element."""
    if kind["planar"]:
        cells = np.moveaxis(cells, -1, 1)
    big = kind["syntax"] == BIG
    if kind["allocated"] == 1:
        data = np.packbits(cells.reshape(-1), bitorder="little").tobytes()
    else:
        data = cells.astype(cells.dtype.newbyteorder(">" if big else "<")).tobytes()
    data += b"\0" * (len(data) % 2)
    if big and kind["VR"] == "OW" and kind["allocated"] <= 8:
        data = np.frombuffer(data, np.uint16).byteswap().tobytes()
    return data


def _entries(values: np.ndarray, kind: dict[str, Any]) -> list[tuple[int, str, Any]]:
    rows, columns = values.shape[1:3]
    entries: list[tuple[int, str, Any]] = [
        (0x00080016, "UI", _CLASS), (0x00080018, "UI", "1.2.3"), (0x00080060, "CS", "OT"),
        (0x00280002, "US", kind["samples"]), (0x00280004, "CS", kind["photometric"]),
    ]  # fmt: skip
    if kind["samples"] == 3:
        entries.append((0x00280006, "US", kind["planar"]))
    if kind["frames"] > 1:
        entries.append((0x00280008, "IS", str(kind["frames"])))
    numbers = (
        rows, columns, kind["allocated"], kind["stored"], kind["high"], int(kind["signed"])
    )  # fmt: skip
    tags = (0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103)
    return entries + [(tag, "US", n) for tag, n in zip(tags, numbers, strict=True)]


def assembled(entries: list[tuple[int, str, Any]], data: bytes, kind: dict[str, Any]) -> bytes:
    """Return a file of entries, in the order of their tags, and the pixel data behind them."""
    syntax = kind["syntax"]
    meta = b"".join(
        element(tag, "UI", value, EXPLICIT)
        for tag, value in ((0x00020002, _CLASS), (0x00020003, "1.2.3"), (0x00020010, syntax))
    )
    body = b"".join(element(tag, vr, value, syntax) for tag, vr, value in sorted(entries))
    body += element(0x7FE00010, kind["VR"], data, syntax)
    if syntax == DEFLATED:
        deflate = zlib.compressobj(wbits=-15)
        body = deflate.compress(body) + deflate.flush()
        body += b"\0" * (len(body) % 2)
    length = element(0x00020000, "UL", len(meta), EXPLICIT)
    return bytes(128) + b"DICM" + length + meta + body


def element(tag: int, vr: str, value: Any, syntax: str) -> bytes:
    """Return one element as a transfer syntax writes it."""
    order = ">" if syntax == BIG else "<"
    if isinstance(value, str):
        value = value.encode("ascii") + (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    if isinstance(value, int):
        value = struct.pack(order + {"US": "H", "SS": "h", "UL": "L"}[vr], value)
    if isinstance(value, tuple):
        value = struct.pack(order + {"US": "H", "SS": "h"}[vr] * len(value), *value)
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return bytes(head + struct.pack("<L", len(value)) + value)
    if vr in _LONG:
        return bytes(head + vr.encode() + struct.pack(f"{order}HL", 0, len(value)) + value)
    return bytes(head + vr.encode() + struct.pack(f"{order}H", len(value)) + value)
