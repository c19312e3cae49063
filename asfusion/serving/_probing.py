"""Rows by which an exported model is compared with the one that it was made from.

They are nobody's, unless a user gives some: tables are made of what was learned of their columns,
notes of known words, films of soft shadows. Each row is asked with every subset of its modalities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.serving._schema import Content, Schema
from asfusion.tabular._synthetic import N_ROWS, synthetic_cells

_MOST_WHOLE = 8  # modalities of which all subsets are asked
_MOST_ROWS = 512
_WORDS = 40
_FILM, _SHADOWS = (57, 48), (6, 5)

Cells = dict[str, list[Any]]


class Probe(NamedTuple):
    """Rows as columns of cells, and how many subsets of modalities they lack in turn."""

    cells: Cells
    n_subsets: int


def probe_rows(
    schema: Schema, plans: Sequence[Mapping[str, Any]], modalities: Mapping[str, Sequence[str]],
    given: Frame | None,
) -> Probe:  # fmt: skip
    """Return rows with all subsets of their modalities (all but few of them where they are many).

    Parameters
    ----------
    schema : Schema
        What the file will say.
    plans : sequence of dict
        What was learned of the columns of tables.
    modalities : mapping of str to sequence of str
        The columns of each.
    given : Frame, optional
        Rows of the user's own, of which the first are asked beside those that are made up.
    """
    whole = _made_up(schema, plans)
    n_rows = N_ROWS
    if given is not None:
        frame = given.select(schema.columns)
        first = frame.take(np.arange(min(len(frame), N_ROWS)))
        whole = {name: [*whole[name], *first.cells(name)] for name in schema.columns}
        n_rows += len(first)
    subsets = _subsets(list(modalities))
    n_rows = max(1, min(n_rows, _MOST_ROWS // len(subsets)))
    cells: Cells = {name: [] for name in schema.columns}
    for subset in subsets:
        kept = {column for name in subset for column in modalities[name]}
        for name in schema.columns:
            own = whole[name][:n_rows]
            cells[name] += own if name in kept else [None] * n_rows
    return Probe(cells, len(subsets))


def _subsets(names: list[str]) -> list[tuple[str, ...]]:
    """Return all subsets but the empty one; of many, those with one, two, or all but one."""
    sizes = range(1, len(names) + 1)
    if len(names) > _MOST_WHOLE:
        sizes = sorted({1, 2, len(names) - 1, len(names)})  # type: ignore[assignment]
    return [subset for size in sizes for subset in combinations(names, size)]


def _made_up(schema: Schema, plans: Sequence[Mapping[str, Any]]) -> Cells:
    cells: Cells = dict(synthetic_cells([dict(plan) for plan in plans]))
    rng = np.random.default_rng(0)
    for content in schema.contents:
        make = {"terms": _notes, "pieces": _written, "image": _films}[content.kind]
        for column in content.columns:
            cells.setdefault(column, make(content, rng))
    return {name: cells.get(name, [None] * N_ROWS) for name in schema.columns}


def _notes(content: Content, rng: np.random.Generator) -> list[Any]:
    """Return notes of known words, one of which knows none."""
    terms = list(content.terms)
    picked = [rng.choice(len(terms), _WORDS) for _ in range(N_ROWS - 1)]
    return [*(" ".join(terms[n] for n in own) for own in picked), "..."]


def _written(content: Content, rng: np.random.Generator) -> list[Any]:
    """Return notes of known word pieces, of several lengths: one has two windows."""
    from asfusion.notes.tokenizer import open_windows, vocabulary_size

    fast, size = open_windows(content.tokenizer, 1_000_000), vocabulary_size(content.tokenizer)
    lengths = [3, 9, content.max_tokens // 2 + 1, 17, content.max_tokens + 9, 5]
    return [
        fast.decode(rng.integers(0, size, length).tolist()) or "a" for length in lengths[:N_ROWS]
    ]


def _films(content: Content, rng: np.random.Generator) -> list[Any]:
    """Return films of soft shadows: of noise, which no film is, float32 has other last digits."""
    made = []
    for _ in range(N_ROWS):
        grey = rng.integers(0, 256, _SHADOWS).astype(np.float64)
        made.append(_smooth(_smooth(grey, _FILM[0]).T, _FILM[1]).T.astype(np.uint8))
    return made


def _smooth(grey: NDArray[np.float64], height: int) -> NDArray[np.float64]:
    """Return the rows of a picture, as many as asked for, straight lines between them."""
    at, known = np.linspace(0.0, len(grey) - 1.0, height), np.arange(len(grey))
    return np.stack([np.interp(at, known, column) for column in grey.T], axis=1)


def as_table(cells: Cells, *, is_array: bool) -> Any:
    """Return cells as the container that a model was fitted on."""
    import pandas as pd

    if is_array:
        return np.column_stack([np.asarray(own, dtype=np.float64) for own in cells.values()])
    return pd.DataFrame({name: pd.Series(_held(own)) for name, own in cells.items()})


def _held(cells: list[Any]) -> Any:
    """Return cells as a column can hold them: arrays one by one."""
    if any(isinstance(cell, np.ndarray | list) for cell in cells):
        return np.fromiter(cells, object, len(cells))
    return [None] * len(cells) if all(cell is None for cell in cells) else cells


def largest_difference(expected: NDArray[Any], got: NDArray[Any], *, is_share: bool) -> float:
    """Return the largest difference: of shares as it is, of numbers over the largest of them."""
    if not np.isfinite(got).all():
        return float("inf")
    scale = 1.0 if is_share else max(1.0, float(np.abs(expected).max(initial=0.0)))
    return float(np.abs(expected - got).max(initial=0.0)) / scale
