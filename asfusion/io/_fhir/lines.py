"""FHIR resources as blocks of lines, a resource a line, read within bounds wherever they are."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from asfusion._checks import in_words
from asfusion.exceptions import InputError
from asfusion.io._fhir.strict_json import NotReadable, dumped, parsed

FULL_URL = "_fullUrl"  # what the entry of a bundle calls a resource, carried along with it
LONGEST_LINE = 64 << 20
LARGEST_BUNDLE = 128 << 20
_BLOCK = 8 << 20
_LINES, _WHOLE = (".ndjson", ".jsonl"), (".json",)
# Exports of a hospital shrink to a twentieth; deflate can go to a thousandth.
_SHRINKS, _SMALL = 300, 64 << 20
_OF_EXPORT = ("log.ndjson", "manifest.json")  # what clients of bulk exports write beside them
_BOM = b"\xef\xbb\xbf"
_KINDS = "files named .ndjson, .jsonl or .json, each also .gz"


@dataclass(frozen=True)
class Block:
    """Some whole lines.

    Parameters
    ----------
    data : bytes
        The lines, each a resource, or blank.
    where : str
        The file in words, without its name.
    first : int
        Number of the first line, from 1.
    unit : str
        What a line is called: ``"line"`` of a file or ``"entry"`` of a bundle.
    too_long : bool
        Whether it stands for a single line that is too long to be read.
    inner : tuple of Block
        The blocks that it was made of, where the lines are of several.
    """

    data: bytes
    where: str
    first: int
    unit: str = "line"
    too_long: bool = False
    inner: tuple[Block, ...] = ()


def blocks_of(source: Any) -> Iterator[Block]:
    """Yield the resources of a folder, a file, or a bundle in memory.

    Small blocks, of a bundle for each patient for example, are put together: each costs some
    milliseconds, whatever it holds.

    Raises
    ------
    InputError
        If there are none, a file cannot be unpacked, or a bundle is none.
    """
    held: list[Block] = []
    for block in _each(source):
        size = sum(len(one.data) for one in held)
        if held and (block.too_long or held[0].unit != block.unit or size > _BLOCK // 2):
            yield _together(held)
            held = []
        held.append(block)
        if block.too_long:
            yield held.pop()
    if held:
        yield _together(held)


def _together(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    data = b"\n".join(block.data for block in blocks)
    return Block(data, "the files", 1, blocks[0].unit, inner=tuple(blocks))


def _each(source: Any) -> Iterator[Block]:
    if isinstance(source, Mapping):
        yield from entries_of(_as_json(source), "the bundle")
        return
    files = _files(source)
    for number, file in enumerate(files, start=1):
        where = f"file {number} of {len(files)} (in the order of their names)"
        yield from _of_file(file, where if len(files) > 1 else "the file")


def _as_json(bundle: Mapping[str, Any]) -> Any:
    try:
        return parsed(dumped(bundle))
    except NotReadable as error:
        msg = (
            f"source: expected a bundle of plain JSON, got {error}. Pass what json.load "
            "returned, or the path of the file."
        )
        raise InputError(msg) from None


def _files(source: Any) -> list[Path]:
    expected = f"source: expected a folder of {_KINDS}, one such file, or a bundle as a dictionary"
    try:
        path = Path(source)
        if path.is_dir():
            ours = (file for file in path.iterdir() if file.name.lower() not in _OF_EXPORT)
            found = sorted(file for file in ours if _ending(file) and file.is_file())
        else:
            found = [path] if _ending(path) and path.is_file() else []
    except (TypeError, ValueError, OSError):
        raise InputError(f"{expected}, got {in_words(source)}.") from None
    if not found:
        raise InputError(f"{expected}, got a path with none of them. Check the path.")
    return found


def _ending(file: Path) -> str:
    """Return the ending of a file of ours without ``.gz``, empty for any other."""
    name = file.name.lower().removesuffix(".gz")
    return next((end for end in (*_LINES, *_WHOLE) if name.endswith(end)), "")


def _of_file(file: Path, where: str) -> Iterator[Block]:
    read = _lines if _ending(file) in _LINES else _document
    try:
        with file.open("rb") as raw:
            packed = file.name.lower().endswith(".gz")
            stream = _Unpacked(raw, file.stat().st_size, where) if packed else raw
            yield from read(stream, where)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        msg = (
            f"{_upper(where)}: expected a whole gzip file, got one that is damaged or cut. "
            "Export it again."
        )
        raise InputError(msg) from None


class _Unpacked(io.RawIOBase):
    """A gzip file that may not unpack to far more than files of its size do."""

    def __init__(self, raw: BinaryIO, size: int, where: str) -> None:
        self._file = gzip.GzipFile(fileobj=raw, mode="rb")
        self._left, self._where = _SMALL + _SHRINKS * size, where

    def read(self, size: int = -1) -> bytes:
        """Return some bytes.

        Raises
        ------
        InputError
            If there are too many.
        """
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            msg = (
                f"{_upper(self._where)}: expected at most {_SHRINKS} times its size unpacked, got "
                "more. If it is what it should be, unpack it first."
            )
            raise InputError(msg)
        return data


def _lines(stream: Any, where: str) -> Iterator[Block]:
    """Yield blocks that end with a line; of a line that is too long, nothing is kept."""
    rest, first, start = [stream.read(_BLOCK).removeprefix(_BOM)], 1, True
    while start or rest[-1]:
        start = False
        if (end := rest[-1].rfind(b"\n") + 1) > 0:
            data = b"".join([*rest[:-1], rest[-1][:end]])
            yield Block(data, where, first)
            first += data.count(b"\n")
            rest = [rest[-1][end:]]
        if sum(map(len, rest)) > LONGEST_LINE:
            rest = [_after_line(stream)]
            yield Block(b"", where, first, too_long=True)
            first += 1
            start = True
            continue
        rest.append(stream.read(_BLOCK))
    if last := b"".join(rest):
        yield Block(last, where, first)


def _after_line(stream: Any) -> bytes:
    """Read on to the end of a line, and return what stands behind it."""
    while part := stream.read(_BLOCK):
        if (end := part.find(b"\n") + 1) > 0:
            return bytes(part[end:])
    return b""


def _document(stream: Any, where: str) -> Iterator[Block]:
    data = b""
    while len(data) <= LARGEST_BUNDLE and (part := stream.read(_BLOCK)):
        data += part
    if len(data) > LARGEST_BUNDLE:
        msg = (
            f"{_upper(where)}: expected a bundle of at most {LARGEST_BUNDLE >> 20} MB, got a "
            "larger one. Export it as NDJSON, a resource a line, which is read in pieces."
        )
        raise InputError(msg)
    try:
        content = parsed(data.removeprefix(_BOM))
    except NotReadable as error:
        msg = (
            f"{_upper(where)}: expected a bundle or one resource as JSON, got {error}. Export it "
            "again; a file with a resource on each line is to be named .ndjson."
        )
        raise InputError(msg) from None
    yield from entries_of(content, where)


def entries_of(content: Any, where: str) -> Iterator[Block]:
    """Yield the resources of a bundle, or the one that stands alone."""
    if not isinstance(content, dict) or not isinstance(content.get("resourceType"), str):
        msg = (
            f"{_upper(where)}: expected a bundle or a resource, got JSON without a resourceType. "
            "Pass files of FHIR alone."
        )
        raise InputError(msg)
    if content["resourceType"] != "Bundle":
        yield Block(dumped(content), where, 1, unit="entry")
        return
    entries = content.get("entry")
    if not isinstance(entries, list | None):
        msg = f"{_upper(where)}: expected a list of entries, got {in_words(entries)}."
        raise InputError(msg)
    lines: list[bytes] = []
    for entry in entries or []:
        lines.append(_resource(entry))
    yield Block(b"\n".join(lines), where, 1, unit="entry")


def _resource(entry: Any) -> bytes:
    """Return the resource of an entry as a line; blank where there is none, as of a deletion."""
    if not isinstance(entry, dict):
        return dumped(entry)  # which is no resource, and told as such
    resource, url = entry.get("resource"), entry.get("fullUrl")
    if resource is None:
        return b""
    if isinstance(resource, dict) and isinstance(url, str):
        resource = {**resource, FULL_URL: url}
    return dumped(resource)


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
