"""From rows to what a graph reads of them."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.exceptions import ImageReadError
from asfusion.notes.cells import read_notes
from asfusion.notes.cleaning import fold_note
from asfusion.serving._schema import Column, Content, Schema
from asfusion.tabular.preprocess import ColumnPlan, read_column

_WORD = re.compile(r"\w+")
_WHO = "TextEncoder"  # whose words an error has in `predict_proba`, too


def feeds_of(schema: Schema, frame: Frame, root: Any) -> dict[str, NDArray[Any]]:
    """Return the inputs of a graph, by name."""
    feeds: dict[str, NDArray[Any]] = {}
    if schema.numbers:
        feeds["numbers"] = numbers_of(schema.numbers, frame)
    if schema.texts:
        feeds["texts"] = texts_of(schema.texts, frame)
    for content in schema.contents:
        read = {"terms": _terms, "pieces": pieces_of, "image": _pixels}[content.kind]
        found = read(content, frame, root)
        feeds |= {f"{content.key}.{name}": array for name, array in found.items()}
    return feeds


def numbers_of(columns: tuple[Column, ...], frame: Frame) -> NDArray[np.float64]:
    """Return cells (N, C), NaN where one is missing."""
    cells = np.empty((len(frame), len(columns)))
    plain = [n for n, c in enumerate(columns) if c.kind == "number" and c.name in frame.plain]
    if plain:
        cells[:, plain] = frame.numbers_of([columns[n].name for n in plain])
    for n, column in enumerate(columns):
        if n not in plain:
            cells[:, n] = read_column(_plan(column), frame)
    return cells


def texts_of(columns: tuple[Column, ...], frame: Frame) -> NDArray[np.object_]:
    """Return cells (N, C) as text, empty where one is missing."""
    cells = np.empty((len(frame), len(columns)), dtype=object)
    for n, column in enumerate(columns):
        cells[:, n] = [text or "" for text in read_column(_plan(column), frame)]
    return cells


@lru_cache(maxsize=4096)
def _plan(column: Column) -> ColumnPlan:
    kind: Any = column.kind
    return ColumnPlan(column.name, kind, levels=column.levels)


# -- notes -----------------------------------------------------------------------------


def _terms(content: Content, frame: Frame, root: Any) -> dict[str, NDArray[Any]]:
    """Return known terms of each row and their weights (N, n), zero behind the last."""
    rows = read_notes(frame, content.columns, _WHO)
    weighed = [weigh_note(content, "\n".join(notes)) for notes in rows]
    longest = max(1, *(len(places) for places, _ in weighed))
    terms = np.zeros((len(rows), longest), np.int64)
    weights = np.zeros((len(rows), longest))
    for row, (places, values) in enumerate(weighed):
        terms[row, : len(places)], weights[row, : len(places)] = places, values
    return {"terms": terms, "weights": weights, "present": _any(rows)}


def weigh_note(content: Content, text: str) -> tuple[list[int], NDArray[np.float64]]:
    """Return the places of the known terms of a note and their weights, of length one together."""
    words = _WORD.findall(fold_note(text))
    found = Counter(words)
    found.update(f"{a} {b}" for a, b in pairwise(words))
    counts = {content.terms[term]: n for term, n in found.items() if term in content.terms}
    places = sorted(counts)
    values = (1.0 + np.log([counts[place] for place in places])) * content.idf[places]
    length = float(np.sqrt(np.square(values).sum()))
    return places, values / length if length > 0 else values


def pieces_of(content: Content, frame: Frame, root: Any) -> dict[str, NDArray[Any]]:
    """Return word pieces (N, W, L) of each row, cut where all rows have ended."""
    from asfusion.notes.tokenizer import encode_opened

    rows = read_notes(frame, content.columns, _WHO)
    sizes = {"max_tokens": content.max_tokens, "max_windows": content.max_windows}
    found = encode_opened(_opened(content.tokenizer, content.max_tokens), rows, **sizes)
    used = np.flatnonzero(np.asarray(found.mask.any(axis=(0, 1))))
    length = int(used.max(initial=0)) + 1
    ids, mask = found.ids[:, :, :length], found.mask[:, :, :length]
    return {"ids": ids, "mask": mask, "present": _any(rows)}


@lru_cache(maxsize=8)
def _opened(tokenizer: str, max_tokens: int) -> Any:
    from asfusion.notes.tokenizer import open_windows

    return open_windows(tokenizer, max_tokens)


def _any(rows: list[list[str]]) -> NDArray[np.bool_]:
    return np.asarray([bool(notes) for notes in rows], dtype=bool)


# -- films -----------------------------------------------------------------------------


def _pixels(content: Content, frame: Frame, root: Any) -> dict[str, NDArray[Any]]:
    """Return pixels (N, C, S, S) of the films of rows."""
    from asfusion.encoders._files import FIX, explain_file, films_of
    from asfusion.imaging._in_memory import read_content
    from asfusion.imaging.read import WHO, read_image

    (column,) = content.columns
    films = films_of(frame, column, root)
    size, channels = content.size, content.channels
    pixels = np.zeros((len(films), channels, size, size), np.uint8)
    for row, film in enumerate(films):
        if film is None:
            continue
        try:
            if isinstance(film, str):
                pixels[row] = read_image(film, size=size, channels=channels)
            else:
                pixels[row] = read_content(film, size, channels)
        except ImageReadError as error:
            told = str(error).removeprefix(WHO)
            place = int(frame.origin[row])
            problem = explain_file(column, place, told, film, root)
            raise ImageReadError(problem + FIX) from None
    return {"pixels": pixels, "present": np.asarray([film is not None for film in films])}
