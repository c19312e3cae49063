"""Look-up tables of a DICOM header: modality, value of interest, and colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import DicomReadError
from asfusion.imaging.dicom.encoding import swapped

_COLOURS = ("Red", "Green", "Blue")
TABLE_KEYWORDS = (
    "ModalityLUTSequence",
    "VOILUTSequence",
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in _COLOURS),
    *(f"{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS),
)
_LONGEST = 2**16


def read_tables(dataset: Any, little: bool) -> dict[str, Any]:
    """Return the tables of a header as numbers.

    Parameters
    ----------
    dataset : Dataset
        A header that may hold any of `TABLE_KEYWORDS`.
    little : bool
        Byte order of the file.

    Returns
    -------
    dict
        ``"modality"`` and ``"voi"``: first value mapped, bits and entries. ``"palette"``:
        the same with three lists of entries. Tables that cannot be used are left out, but for
        a modality table, which is empty then.
    """
    tables: dict[str, Any] = {}
    for name, keyword in (("modality", "ModalityLUTSequence"), ("voi", "VOILUTSequence")):
        if keyword not in dataset:
            continue
        try:
            items = dataset[keyword].value
            if items is not None and len(items):
                tables[name] = _table(items[0].LUTDescriptor, items[0].LUTData, little)
        except Exception:
            if name == "modality":
                tables[name] = {}
    try:
        tables["palette"] = _palette(dataset, little)
    except Exception:
        return tables
    return tables


def _table(descriptor: Sequence[int], data: Any, little: bool) -> dict[str, Any]:
    n, first, bits = (int(part) for part in descriptor)
    n = n or _LONGEST
    entries = _unpacked(data, n, little)
    if not 0 < entries.size <= _LONGEST:
        raise ValueError
    if int(entries.max()) >= 2**bits:
        bits = 16  # a descriptor that says less than its table holds
    return {"first": first, "bits": bits, "entries": entries.tolist()}


def _unpacked(data: Any, n: int, little: bool) -> NDArray[Any]:
    """Return entries as numbers, at most `n` of them."""
    if isinstance(data, bytes):
        # Entries of one byte may be packed into words, and padded to an even number.
        if len(data) < 2 * n:
            return np.frombuffer(_bytewise(data, little), "u1", count=n)
        return np.frombuffer(data, "<u2" if little else ">u2", count=n)
    return np.atleast_1d(np.asarray(data))[:n].astype(np.int64) & 0xFFFF


def _bytewise(data: bytes, little: bool) -> bytes:
    """Return bytes that are packed into words, the first of each word first."""
    if little:
        return data
    return swapped(data[: len(data) // 2 * 2])


def _palette(dataset: Any, little: bool) -> dict[str, Any]:
    colours, first, depth = [], 0, 8
    for colour in _COLOURS:
        n, first, depth = (
            int(part) for part in dataset.get(f"{colour}PaletteColorLookupTableDescriptor")
        )
        n = n or _LONGEST
        whole = dataset.get(f"{colour}PaletteColorLookupTableData")
        if whole is not None:
            colours.append(_unpacked(whole, n, little))
            continue
        parts = dataset.get(f"Segmented{colour}PaletteColorLookupTableData")
        if depth == 8:
            codes, form = _bytewise(parts, little), "u1"
        else:
            codes, form = parts, "<u2" if little else ">u2"
        colours.append(_expanded(np.frombuffer(codes, form).tolist(), n, form == "u1", little))
    if len({len(colour) for colour in colours}) != 1 or not len(colours[0]):
        raise ValueError
    # Entries of eight bits may stand in sixteen.
    deep = depth != 8 or max(int(colour.max()) for colour in colours) > 255
    return {
        "first": first, "bits": 16 if deep else 8, "entries": [c.tolist() for c in colours]
    }  # fmt: skip


def _expanded(codes: list[int], n: int, bytewise: bool, little: bool) -> NDArray[Any]:
    """Return a segmented table in full, PS3.3 C.7.9.2; never more than `n` entries."""
    out: list[int] = []
    _expand(codes, 0, None, out, n, (bytewise, little))
    return np.asarray(out[:n], dtype=np.int64)


def _expand(
    codes: list[int], at: int, n_segments: int | None, out: list[int], n: int,
    form: tuple[bool, bool],
) -> None:  # fmt: skip
    done = 0
    while at + 1 < len(codes) and len(out) < n and (n_segments is None or done < n_segments):
        kind, count = codes[at], codes[at + 1]
        done += 1
        if kind == 0:  # values as they are
            out.extend(codes[at + 2 : at + 2 + count])
            at += 2 + count
        elif kind == 1:  # a line to the next value
            start, end = out[-1], codes[at + 2]
            out.extend(np.rint(np.linspace(start, end, count + 1)[1:]).astype(int).tolist())
            at += 3
        elif kind == 2 and n_segments is None:  # segments from before, once more
            offset, width = _offset(codes[at + 2 :], form)
            _expand(codes, offset, count, out, n, form)
            at += 2 + width
        else:
            raise ValueError


def _offset(codes: list[int], form: tuple[bool, bool]) -> tuple[int, int]:
    """Return where an indirect segment points, and how many codes say so."""
    bytewise, little = form
    width = 4 if bytewise else 2
    parts = codes[:width] if little else codes[:width][::-1]
    offset = sum(part << (8 if bytewise else 16) * i for i, part in enumerate(parts))
    return (offset if bytewise else offset // 2), width


def apply_table(table: dict[str, Any], values: NDArray[Any], signed: bool) -> NDArray[Any]:
    """Return the entries that whole numbers point at; beyond the ends, the end's own."""
    first = _first(table, signed)
    entries = np.asarray(table["entries"])
    entries = entries.astype(np.uint16 if table["bits"] > 8 else np.uint8)
    places = np.clip(values.astype(np.int64) - first, 0, len(entries) - 1)
    return np.asarray(entries[places])


def _first(table: dict[str, Any], signed: bool) -> int:
    """Return the first value mapped, whatever sign its sixteen bits were read with."""
    first = int(table["first"]) % 2**16
    return first - 2**16 if signed and first >= 2**15 else first


def apply_palette(table: dict[str, Any] | None, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the colours (..., 3), eight bits, that stored values point at."""
    if table is None:
        msg = "expected an image with a palette, got one whose palette cannot be read."
        raise DicomReadError(msg)
    places = pixels.astype(np.int64) - _first(table, pixels.dtype.kind == "i")
    colours = np.asarray(table["entries"]).astype(np.int64) >> max(0, table["bits"] - 8)
    eight = np.clip(colours, 0, 255).astype(np.uint8).T
    return np.asarray(eight[np.clip(places, 0, len(eight) - 1)])
