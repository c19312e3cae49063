"""What a file says of its rows and answers: read as from a stranger.

The schema is JSON in the metadata of the file. It names columns, kinds, levels and words; no path
in it is followed, and nothing of it is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asfusion.exceptions import BundleError
from asfusion.serving._kinds import NUMBERS, TEXTS

KEY = "asfusion"
FORMAT = 1
_MOST_BYTES = 128 << 20
_MOST_COLUMNS, _MOST_TERMS, _MOST_SIDE, _MOST_CLASSES = 200_000, 5_000_000, 4096, 100_000
_MOST_LONG = 100_000
_TASKS = ("binary", "multiclass", "grades", "regression")


@dataclass(frozen=True)
class Column:
    """A column of cells: its name, how its cells are read, and the levels of a category."""

    name: str
    kind: str
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """A modality whose cells are read before the graph: notes or films."""

    key: str
    kind: str
    columns: tuple[str, ...]
    terms: Mapping[str, int] = field(default_factory=dict)
    idf: Any = None
    tokenizer: str = ""
    max_tokens: int = 0
    max_windows: int = 0
    size: int = 0
    channels: int = 0


@dataclass(frozen=True)
class Schema:
    """What is needed to ask an exported model."""

    model: str
    task: str
    classes: Any
    n_outputs: int
    is_matrix: bool
    columns: tuple[str, ...]
    numbers: tuple[Column, ...]
    texts: tuple[Column, ...]
    contents: tuple[Content, ...]
    modalities: Mapping[str, tuple[str, ...]]
    coverage: float | None
    digest: str
    told: Mapping[str, Any]

    def outputs(self) -> set[str]:
        """Return the names of what the graph says."""
        return {"outputs", "called", "known"} | ({"set"} if self.coverage is not None else set())

    def inputs(self) -> dict[str, str]:
        """Return the names of what the graph reads, with their types."""
        own = {
            "terms": {"terms": "int64", "weights": "double"},
            "pieces": {"ids": "int64", "mask": "bool"},
            "image": {"pixels": "uint8"},
        }
        found: dict[str, str] = {}
        found |= {"numbers": "double"} if self.numbers else {}
        found |= {"texts": "string"} if self.texts else {}
        for content in self.contents:
            found |= {f"{content.key}.{name}": kind for name, kind in own[content.kind].items()}
            found[f"{content.key}.present"] = "bool"
        return {name: f"tensor({kind})" for name, kind in found.items()}


def read_schema(text: str | None, digest: str) -> Schema:
    """Return a checked schema.

    Parameters
    ----------
    text : str or None
        JSON from the metadata.
    digest : str
        SHA-256 of the graph that it stands beside.

    Raises
    ------
    BundleError
        If there is none, or it is not as `export` writes it.
    """
    if text is None:
        raise _bad("a schema in its metadata, got none")
    if len(text) > _MOST_BYTES:
        raise _bad(f"a schema of at most {_MOST_BYTES} bytes, got a longer one")
    try:
        told = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError, MemoryError):
        raise _bad("a schema in JSON, got other text") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise _bad(f"a schema of format {FORMAT}, got another")
    if told.get("digest") != digest:
        raise _bad("the graph that the schema was written for, got another")
    return _checked(told)


def _checked(told: dict[str, Any]) -> Schema:
    task = _text(told, "task", _TASKS)
    n_outputs = _number(told, "n_outputs", _MOST_CLASSES)
    classes = None if told.get("classes") is None else _classes(told, n_outputs)
    columns = _texts(told, "columns", _MOST_COLUMNS)
    numbers = tuple(_column(one, NUMBERS, columns) for one in _list(told, "numbers"))
    texts = tuple(_column(one, TEXTS, columns) for one in _list(told, "texts"))
    contents = _list(told, "contents")
    read = tuple(_content(one, columns) for one in contents)
    if len({one.key for one in read}) < len(read) or len(set(columns)) < len(columns):
        raise _bad("each column and modality once, got one more often")
    parts = told.get("modalities")
    if not isinstance(parts, dict) or not {
        c for n in parts for c in _texts(parts, n, _MOST_COLUMNS)
    } <= set(columns):
        raise _bad("modalities of known columns, got others")
    modalities = {str(name): tuple(own) for name, own in parts.items()}
    model, matrix = _text(told, "model"), told.get("is_matrix")
    if not isinstance(matrix, bool):
        raise _bad("'is_matrix' as a boolean, got something else")
    return Schema(
        model, task, classes, n_outputs, matrix, columns, numbers, texts, read, modalities,
        _coverage(told), told["digest"], told,
    )  # fmt: skip


def _coverage(told: dict[str, Any]) -> float | None:
    """Return the share of rows whose class is in their set, where the file says sets."""
    share = told.get("coverage")
    if share is not None and (type(share) is not float or not 0.0 < share < 1.0):
        raise _bad("'coverage' as a share or null, got something else")
    return share


def _classes(told: dict[str, Any], n_outputs: int) -> Any:
    labels = _list(told, "classes")
    kinds = {"text": str, "integer": int, "number": float, "boolean": bool}
    kind = kinds[_text(told, "class_kind", tuple(kinds))]
    if len(labels) != n_outputs or any(type(label) is not kind for label in labels):
        raise _bad("a label of one kind for each output, got others")
    as_objects = told.get("class_objects") is True
    try:
        return np.asarray(labels, dtype=object if as_objects else None)
    except (OverflowError, ValueError):
        raise _bad("labels that fit an array, got others") from None


def _column(one: Any, kinds: tuple[str, ...], columns: tuple[str, ...]) -> Column:
    if not isinstance(one, dict):
        raise _bad("columns as objects, got something else")
    name, kind = _text(one, "column", columns), _text(one, "kind", kinds)
    levels = _texts(one, "levels", _MOST_COLUMNS) if kind in TEXTS else ()
    return Column(name, kind, levels)


def _content(one: Any, columns: tuple[str, ...]) -> Content:
    if not isinstance(one, dict):
        raise _bad("modalities as objects, got something else")
    kind = _text(one, "kind", ("terms", "pieces", "image"))
    own = _texts(one, "columns", _MOST_COLUMNS)
    if not own or not set(own) <= set(columns):
        raise _bad("modalities of known columns, got others")
    plain: dict[str, Any] = {"key": _text(one, "key"), "kind": kind, "columns": own}
    if kind == "terms":
        terms = _texts(one, "terms", _MOST_TERMS)
        idf = _floats(one, "idf", len(terms))
        return Content(**plain, terms={t: n for n, t in enumerate(terms)}, idf=idf)
    if kind == "pieces":
        most, windows = (_number(one, name, _MOST_LONG) for name in ("max_tokens", "max_windows"))
        return Content(
            **plain, tokenizer=_text(one, "tokenizer"), max_tokens=most, max_windows=windows
        )
    channels = _number(one, "channels", 3)
    if channels == 2 or len(own) != 1:
        raise _bad("films of 1 or 3 channels in one column, got others")
    return Content(**plain, size=_number(one, "size", _MOST_SIDE), channels=channels)


def _list(told: dict[str, Any], key: str) -> list[Any]:
    value = told.get(key)
    if not isinstance(value, list):
        raise _bad(f"{key!r} as a list, got something else")
    return value


def _texts(told: dict[str, Any], key: str, most: int) -> tuple[str, ...]:
    value = _list(told, key)
    if len(value) > most or any(not isinstance(one, str) for one in value):
        raise _bad(f"{key!r} as a list of at most {most} texts, got something else")
    return tuple(value)


def _text(told: dict[str, Any], key: str, among: tuple[str, ...] | None = None) -> str:
    value = told.get(key)
    if not isinstance(value, str) or (among is not None and value not in among):
        raise _bad(f"{key!r} as one of the texts that it can be, got something else")
    return value


def _number(told: dict[str, Any], key: str, most: int) -> int:
    value = told.get(key)
    if type(value) is not int or not 1 <= value <= most:
        raise _bad(f"{key!r} as a whole number from 1 to {most}, got something else")
    return value


def _floats(told: dict[str, Any], key: str, n: int) -> Any:
    value = _list(told, key)
    if len(value) != n or any(type(one) not in (int, float) for one in value):
        raise _bad(f"{key!r} as {n} numbers, got something else")
    try:
        return np.asarray(value, dtype=np.float64)
    except OverflowError:
        raise _bad(f"{key!r} as numbers that a float holds, got larger ones") from None


def _no_constant(_: str) -> None:
    raise ValueError


def _bad(problem: str) -> BundleError:
    return BundleError(f"OnnxModel: expected {problem}. Take a file that asfusion.export wrote.")
