"""What a graph reads of a row: tables by cell, notes and films by what is made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from asfusion.exceptions import ConfigurationError
from asfusion.serving._graph import Graph
from asfusion.serving._tables import Cells, table_block


class Rows(NamedTuple):
    """Tensors of a modality as its network reads them, and which rows (N,) have it.

    `shapes` are those of the tensors behind the rows, a name where a size is left open.
    """

    tensors: dict[str, str]
    shapes: dict[str, tuple[int | str, ...]]
    present: str


class Writer:
    """A graph in the making, with all that it reads, each once."""

    def __init__(self, precision: str = "float32") -> None:
        self.precision = precision  # of networks
        self.has_networks = False
        self.graph = Graph()
        self.cells = Cells(self.graph)
        self.readings: dict[str, dict[str, Any]] = {}
        self._read: dict[str, Rows] = {}
        self.said: dict[Any, Any] = {}  # by model: what is shared is computed once

    def rows(self, name: str, encoder: Any) -> Rows:
        """Return the rows of a modality.

        Raises
        ------
        ConfigurationError
            If its rows cannot be read without the library.
        """
        reading = encoder._reading()
        if reading is None:
            msg = (
                f"export: modality {name!r}: expected a table in its own units, notes or whole "
                f"films, got {type(encoder).__name__} with settings that need the whole library. "
                "Leave the modality out, or use the saved model."
            )
            raise ConfigurationError(msg)
        plain, arrays = dict(reading), reading.pop("arrays", {})
        plain.pop("arrays", None)
        key = _digest(plain, arrays)
        if key not in self._read:
            self._read[key] = getattr(self, f"_{plain['kind']}")(name, plain, arrays)
        return self._read[key]

    def _table(self, name: str, plain: dict[str, Any], arrays: Mapping[str, Any]) -> Rows:
        block = table_block(self.cells, plain["columns"], plain["dtype"])
        width = plain["n_features"]
        return Rows({"x": block.features}, {"x": (width,)}, block.present)

    def _terms(self, name: str, plain: dict[str, Any], arrays: Mapping[str, Any]) -> Rows:
        """Return weighed terms of notes, projected where they are many."""
        graph, key = self.graph, self._declare(name, plain)
        places = graph.input(f"{key}.terms", "int64", [f"{key}.n"])
        weights = graph.input(f"{key}.weights", "float64", [f"{key}.n"])
        directions = arrays.get("components")
        if directions is not None:
            table = graph.constant(np.asarray(directions, np.float64).T)
            weighed = graph.add("Mul", graph.add("Gather", table, places), _last(graph, weights))
            vectors = graph.add("ReduceSum", weighed, graph.constant(np.asarray([1])), keepdims=0)
        else:
            vectors = self._spread(places, weights, len(plain["terms"]))
        moved = graph.add("Sub", vectors, graph.constant(np.asarray(arrays["mean"], np.float64)))
        scaled = graph.add("Div", moved, graph.constant(np.asarray(arrays["scale"], np.float64)))
        if plain["rounded"]:
            scaled = graph.cast(scaled, "float32")
        width = len(arrays["mean"])
        return Rows({"vectors": scaled}, {"vectors": (width,)}, self._present(key))

    def _spread(self, places: str, weights: str, n_terms: int) -> str:
        """Return weights (N, n) at their places among all terms (N, n_terms)."""
        graph = self.graph
        n_rows = graph.add("Shape", places, start=0, end=1)
        shape = graph.add("Concat", n_rows, graph.constant(np.asarray([n_terms])), axis=0)
        zeros = graph.add("Expand", graph.constant(np.zeros((1, 1))), shape)
        return graph.add("ScatterElements", zeros, places, weights, axis=1, reduction="add")

    def _pieces(self, name: str, plain: dict[str, Any], arrays: Mapping[str, Any]) -> Rows:
        key = self._declare(name, plain)
        shape = (f"{key}.windows", f"{key}.length")
        tensors = {
            "ids": self.graph.input(f"{key}.ids", "int64", shape),
            "mask": self.graph.input(f"{key}.mask", "bool", shape),
        }
        return Rows(tensors, dict.fromkeys(tensors, shape), self._present(key))

    def _image(self, name: str, plain: dict[str, Any], arrays: Mapping[str, Any]) -> Rows:
        key = self._declare(name, plain)
        shape = (plain["channels"], plain["size"], plain["size"])
        pixels = self.graph.input(f"{key}.pixels", "uint8", shape)
        return Rows({"pixels": pixels}, {"pixels": shape}, self._present(key))

    def _present(self, key: str) -> str:
        return self.graph.input(f"{key}.present", "bool", [])

    def _declare(self, name: str, plain: dict[str, Any]) -> str:
        """Return a name of its own for what is read of a modality."""
        key, number = name, 2
        while key in self.readings:
            key, number = f"{name}_{number}", number + 1
        self.readings[key] = plain
        return key


def _last(graph: Graph, value: str) -> str:
    return graph.add("Unsqueeze", value, graph.constant(np.asarray([2])))


def _digest(plain: dict[str, Any], arrays: Mapping[str, Any]) -> str:
    told = hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode())
    for name, array in sorted(arrays.items()):
        if array is not None:
            told.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return told.hexdigest()
