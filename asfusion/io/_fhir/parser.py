"""Lines of FHIR resources as tables of fixed columns, a table for each type of resource."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from asfusion.exceptions import InputError
from asfusion.io._fhir.lines import FULL_URL, LONGEST_LINE, Block, entries_of
from asfusion.io._fhir.schema import SCHEMAS, Schema
from asfusion.io._fhir.strict_json import MOST_VALUES, NotReadable, dumped, parsed

_TYPE = {"resourceType": pl.String()}
_FIRST, _FAR = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]+)"'), 2000
_LONG = 16 << 20  # bytes from which a block is a line, whose values are counted first
NOT_JSON, NO_RESOURCE, SHAPE = "that are no JSON", "that are no resource", "of another shape"
_FIX = "Export it again, or pass invalid='missing' to leave such lines out, counted."


@dataclass
class Parser:
    """Makes tables of lines, and keeps count of what could not be read.

    Parameters
    ----------
    wanted : collection of str
        Types of resources that are read.
    strict : bool
        Whether a line that cannot be read is an error.
    needs : mapping of str to bytes
        What blocks must hold, or else resources of a type are passed over.
    met : Counter
        How many resources of each type there were.
    bad : Counter
        How many lines could not be read, by the reason.
    """

    wanted: Collection[str]
    strict: bool
    needs: Mapping[str, bytes] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)

    def tables(self, block: Block) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield the type and the fields of the resources in a block.

        Raises
        ------
        InputError
            If a line is damaged, and that is an error.
        """
        alike = self._of_one_kind(block)
        if alike is not None:
            yield alike
            return
        kinds = None if block.too_long else _kinds_of(block)
        if kinds is None:
            yield from self._one_by_one(block, None)
            return
        for kind, n in Counter(kinds).items():
            if kind == "Bundle":
                yield from self._one_by_one(block, kind)
            elif kind not in self.wanted:
                self._see(kind, n)
            else:
                data = block.data if n == len(kinds) else _lines_of(block.data, kinds, kind)
                yield from self._of_kind(kind, n, data, block)

    def _of_one_kind(self, block: Block) -> tuple[str, pl.DataFrame] | None:
        """Return the table of a block whose lines are all of the first one's type, else None."""
        found = _FIRST.search(block.data, 0, _FAR) if block.unit == "line" else None
        kind = "" if found is None else found[1].decode()
        if kind not in self.wanted or kind in self.needs or _is_full(block.data):
            return None
        table = _read(block.data, kind, block)
        if table is None or not (table["resourceType"] == kind).all(ignore_nulls=False):
            return None
        self._see(kind, len(table))
        return kind, table

    def _of_kind(
        self, kind: str, n: int, data: bytes, block: Block
    ) -> Iterator[tuple[str, pl.DataFrame]]:
        if self.needs.get(kind, b"") not in data:
            self._see(kind, n)
        elif (table := _read(data, kind, block)) is None:
            yield from self._one_by_one(block, kind)
        else:
            self._see(kind, n)
            yield kind, table

    def _see(self, kind: str, n: int = 1) -> None:
        self.met[kind if kind.isascii() and kind.isalpha() and len(kind) < 60 else "others"] += n

    def _one_by_one(self, block: Block, only: str | None) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield the same from lines that are looked at one by one; of one type, if it is given."""
        for part in block.inner:
            yield from self._one_by_one(part, only)
        clean: dict[str, list[bytes]] = {}
        for number, line in _numbered(block):
            resource = self._resource(line, number, block)
            kind = None if resource is None else str(resource["resourceType"])
            if resource is None or kind is None or only not in (None, kind):
                continue
            if kind == "Bundle" and block.unit == "line":
                for inner in entries_of(resource, f"{block.where}, line {number}"):
                    yield from self.tables(inner)
                continue
            self._see(kind)
            if kind in self.wanted:
                self._add(resource, clean.setdefault(kind, []), number, block)
        for kind, lines in clean.items():
            table = _read(b"\n".join(lines), kind, block) if lines else None
            if table is not None:
                yield kind, table

    def _resource(self, line: bytes, number: int, block: Block) -> dict[str, Any] | None:
        try:
            if block.too_long:
                raise NotReadable(f"more than {LONGEST_LINE >> 20} MB")
            content = parsed(line)
        except NotReadable as error:
            self._refuse(NOT_JSON, f"JSON, got {error}", number, block)
            return None
        if isinstance(content, dict) and isinstance(content.get("resourceType"), str):
            return content
        self._refuse(NO_RESOURCE, "a resource, got JSON without a resourceType", number, block)
        return None

    def _add(self, resource: dict[str, Any], lines: list[bytes], number: int, block: Block) -> None:
        """Add the line of a resource, if its fields are of the shapes that they have in FHIR."""
        kind = str(resource["resourceType"])
        odd = next((k for k, t in SCHEMAS[kind].items() if not _fits(resource.get(k), t)), None)
        if odd is None:
            fields = {k: resource[k] for k in SCHEMAS[kind] if k in resource}
            lines.append(dumped({"resourceType": kind, **fields}))
            return
        expected = f"a {kind} as in FHIR R4, got another shape of {odd!r}"
        self._refuse(SHAPE, expected, number, block)

    def _refuse(self, reason: str, expected: str, number: int, block: Block) -> None:
        if self.strict:
            raise InputError(
                f"{block.where[0].upper()}{block.where[1:]}, {block.unit} {number}: expected "
                f"{expected}. {_FIX}"
            )
        self.bad[reason] += 1


def _numbered(block: Block) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank; of a block of several, none."""
    if block.too_long:
        yield block.first, b""
    elif not block.inner:
        for number, line in enumerate(block.data.split(b"\n"), start=block.first):
            if line.strip():
                yield number, line


def _kinds_of(block: Block) -> list[str] | None:
    """Return the type of each resource of a block; None where a line is not as it should be."""
    table = None if _is_full(block.data) else _parsed(block.data, _TYPE)
    if table is None:
        return None
    kinds: list[str | None] = table["resourceType"].to_list()
    if not all(kind is not None and kind.isalpha() for kind in set(kinds)):
        return None  # a number becomes text there
    return [kind for kind in kinds if kind is not None]


def _is_full(data: bytes) -> bool:
    """Return whether a block holds more values than a line may."""
    return len(data) > _LONG and sum(data.count(sign) for sign in (b",", b"[", b"{")) > MOST_VALUES


def _lines_of(data: bytes, kinds: list[str], kind: str) -> bytes:
    lines = [line for line in data.split(b"\n") if line.strip()]
    return b"\n".join(line for line, own in zip(lines, kinds, strict=True) if own == kind)


def _read(data: bytes, kind: str, block: Block) -> pl.DataFrame | None:
    """Return the fields of resources of one type; None if one is not as it should be."""
    schema = {**_TYPE, **SCHEMAS[kind]}
    if block.unit == "line":
        schema.pop(FULL_URL, None)  # which is ours, and not the server's
    table = _parsed(data, schema)
    if table is None or FULL_URL in schema:
        return table
    return table.with_columns(pl.lit(None, dtype=pl.String).alias(FULL_URL))


def _parsed(data: bytes, schema: Schema) -> pl.DataFrame | None:
    try:
        return pl.read_ndjson(io.BytesIO(data), schema=schema)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _fits(value: Any, dtype: Any) -> bool:
    """Return whether a part of a resource has the shape of its column."""
    if value is None or dtype == pl.String:
        return True  # what is no text becomes one
    if isinstance(dtype, pl.List):
        return isinstance(value, list) and all(_fits(part, dtype.inner) for part in value)
    if isinstance(dtype, pl.Struct):
        inner = {part.name: part.dtype for part in dtype.fields}
        return isinstance(value, dict) and all(_fits(value.get(k), t) for k, t in inner.items())
    return isinstance(value, int | float) and not isinstance(value, bool)
