"""Tables inside a graph: cells to features, as `tabular.preprocess` makes them.

Numbers, booleans and dates (days since 1970-01-01) come as float64, NaN where a cell is missing;
categories as text, empty where one is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from asfusion.serving._graph import ML, Graph
from asfusion.serving._kinds import NUMBERS, TEXTS

_NUMBERS, _TEXTS = "numbers", "texts"  # inputs of a graph
_CLIP = 10.0


class Cells:
    """The columns of cells that a graph reads, each once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.plans: dict[tuple[str, str], dict[str, Any]] = {}

    def place(self, plan: dict[str, Any]) -> tuple[str, int]:
        """Return the input of a column, and its place there."""
        source = _TEXTS if plan["kind"] in TEXTS else _NUMBERS
        self.plans.setdefault((plan["name"], plan["kind"]), plan)
        own = [key for key in self.plans if (key[1] in TEXTS) == (source == _TEXTS)]
        return source, own.index((plan["name"], plan["kind"]))

    def declared(self, source: str) -> list[dict[str, Any]]:
        """Return the plans of the columns of an input, in their order."""
        return [p for (_, kind), p in self.plans.items() if (kind in TEXTS) == (source == _TEXTS)]


class Block(NamedTuple):
    """Features (N, F) in float64 and which rows (N,) have the table."""

    features: str
    present: str


class _Read(NamedTuple):
    scaled: str  # (N, C), float64
    missing: str  # (N, C), bool


def table_block(cells: Cells, plans: Sequence[dict[str, Any]], dtype: str) -> Block:
    """Return the features of a table; what stands in rows without it carries no meaning."""
    graph = cells.graph
    known: list[str] = []
    places: list[int] = []  # of the features, in the order in which they are made
    parts: list[str] = []
    starts = np.cumsum([0, *(width_of(plan) for plan in plans)]).tolist()
    numbers = [n for n, p in enumerate(plans) if p["kind"] in NUMBERS]
    ordered = [n for n, p in enumerate(plans) if p["kind"] == "ordered"]
    for chosen in [numbers, *([n] for n in ordered)]:
        if not chosen:
            continue
        read = (_numbers if chosen is numbers else _places)(cells, [plans[n] for n in chosen])
        known.append(graph.any_in(graph.add("Not", read.missing)))
        flagged = [k for k, n in enumerate(chosen) if plans[n]["with_flag"]]
        parts.append(read.scaled)
        places += [starts[n] for n in chosen]
        if flagged:
            parts.append(graph.cast(graph.columns(read.missing, flagged), "float64"))
            places += [starts[chosen[k]] + 1 for k in flagged]
    for n, plan in enumerate(plans):
        if plan["kind"] == "category":
            features, there = _levels(cells, plan)
            known.append(there)
            parts += [features] if width_of(plan) else []
            places += range(starts[n], starts[n + 1])
    features = graph.columns(graph.side_by_side(parts), np.argsort(places).tolist())
    if dtype == "float32":  # rounded as it was learned from
        features = graph.cast(graph.cast(features, "float32"), "float64")
    return Block(features, graph.any_of(known))


def width_of(plan: dict[str, Any]) -> int:
    """Return the number of features of a column."""
    own = {"empty": 0, "category": len(plan["levels"])}.get(plan["kind"], 1)
    return int(own + plan["with_flag"])


def _numbers(cells: Cells, plans: Sequence[dict[str, Any]]) -> _Read:
    places = [cells.place(plan)[1] for plan in plans]
    return _scaled(cells.graph, cells.graph.columns(_NUMBERS, places), plans)


def _places(cells: Cells, plans: Sequence[dict[str, Any]]) -> _Read:
    """Return the levels of an ordered category by their place; another level is missing."""
    graph, (plan,) = cells.graph, plans
    text = graph.columns(_TEXTS, [cells.place(plan)[1]])
    place = graph.add(
        "LabelEncoder", text, domain=ML, keys_strings=list(plan["levels"]),
        values_floats=[float(n) for n in range(len(plan["levels"]))], default_float=float("nan"),
    )  # fmt: skip
    return _scaled(graph, graph.cast(place, "float64"), plans)


def _scaled(graph: Graph, raw: str, plans: Sequence[dict[str, Any]]) -> _Read:
    missing = graph.add("IsNaN", raw)
    center = np.asarray([float(p["center"]) for p in plans])
    shift = np.asarray([0.0 if p["kind"] == "boolean" else float(p["center"]) for p in plans])
    scale = np.asarray([float(p["scale"]) for p in plans])
    filled = graph.add("Where", missing, graph.constant(center), raw)
    moved = graph.add("Div", graph.add("Sub", filled, graph.constant(shift)), graph.constant(scale))
    ends = graph.constant(np.asarray(-_CLIP)), graph.constant(np.asarray(_CLIP))
    return _Read(graph.add("Clip", moved, *ends), missing)


def _levels(cells: Cells, plan: dict[str, Any]) -> tuple[str, str]:
    """Return features (N, F) of a category, and which cells (N,) are known."""
    graph = cells.graph
    text = graph.columns(_TEXTS, [cells.place(plan)[1]])
    levels = list(plan["levels"])
    number = graph.add(
        "LabelEncoder", text, domain=ML, keys_strings=[*levels, ""],
        values_int64s=[*range(len(levels)), -2], default_int64=-1,
    )  # fmt: skip
    missing = graph.add("Equal", number, graph.constant(np.asarray(-2)))
    flags = [graph.add("Equal", number, graph.constant(np.arange(len(levels))[None]))]
    flags += [missing] if plan["with_flag"] else []
    known = graph.add("Squeeze", graph.add("Not", missing), graph.constant(np.asarray([1])))
    return graph.cast(graph.side_by_side(flags), "float64"), known
