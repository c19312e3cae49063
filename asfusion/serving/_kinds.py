"""What a cell of a column is, by the kind of what reads it: told once for models and files."""

from __future__ import annotations

from typing import Literal, TypeAlias

CellKind: TypeAlias = Literal[
    "number", "dosage", "boolean", "date", "category", "text", "image", "visits", "empty"
]

# Columns of a table that a graph reads as numbers, and as texts.
NUMBERS = ("number", "boolean", "date")
TEXTS = ("category", "ordered")

_CELLS: dict[str, CellKind] = {
    # columns of a table
    "number": "number",
    "boolean": "boolean",
    "date": "date",
    "category": "category",
    "ordered": "category",
    # encoders
    "note": "text",
    "concepts": "text",
    "image": "image",
    "regions": "image",
    "genotypes": "dosage",
    "visits": "visits",
    # what a file reads before its graph
    "terms": "text",
    "pieces": "text",
}


def cell_of(kind: str) -> CellKind:
    """Return what a cell holds; an empty one holds nothing that is read."""
    return _CELLS.get(kind, "empty")
