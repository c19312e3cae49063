"""A graph of ONNX that is written node by node, and takes other graphs in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, ML_OPSET = 18, 3
ML = "ai.onnx.ml"
_TYPES = {
    "float64": TensorProto.DOUBLE,
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
    "text": TensorProto.STRING,
}


class Graph:
    """Nodes in the order of their making; each method returns the name of what it makes.

    Dimensions: N rows, which every input has first.
    """

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._weights: dict[str, Any] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._inputs: dict[str, Any] = {}
        self._outputs: list[Any] = []
        self._n_names = 0

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declare an input of N rows; asked for again, it is the same."""
        if name not in self._inputs:
            value = helper.make_tensor_value_info(name, _TYPES[dtype], ["rows", *shape])
            self._inputs[name] = value
        return name

    def output(self, value: str, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declare a value as an output."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        made = helper.make_tensor_value_info(name, _TYPES[dtype], ["rows", *shape])
        self._outputs.append(made)

    def constant(self, array: NDArray[Any] | Sequence[Any]) -> str:
        """Return the name of an array; equal ones are kept once."""
        array = np.asarray(array)
        key = array.dtype.str, array.shape, array.tobytes()
        if array.dtype.kind == "O" or key not in self._known:
            name = self._new("c")
            self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
            self._weights[name].dims[:] = array.shape  # a scalar stays one
            self._known[key] = name
        return self._known[key]

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        name = self._new("v")
        node = helper.make_node(op, list(inputs), [name], domain=domain, **attributes)
        self._nodes.append(node)
        return name

    def cast(self, value: str, dtype: str) -> str:
        """Return a value as another type."""
        return self.add("Cast", value, to=_TYPES[dtype])

    def columns(self, value: str, places: Sequence[int]) -> str:
        """Return some columns (N, C) of a value (N, ...)."""
        return self.add("Gather", value, self.constant(np.asarray(places, np.int64)), axis=1)

    def side_by_side(self, values: Sequence[str], axis: int = 1) -> str:
        """Return values joined along an axis."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=axis)

    def upright(self, value: str) -> str:
        """Return a value (N,) as a column (N, 1)."""
        return self.add("Unsqueeze", value, self.constant(np.asarray([1])))

    def any_of(self, flags: Sequence[str]) -> str:
        """Return whether any of several flags (N,) is set."""
        found = flags[0]
        for other in flags[1:]:
            found = self.add("Or", found, other)
        return found

    def any_in(self, flags: str) -> str:
        """Return whether any flag (N, C) of a row is set."""
        counts = self.add(
            "ReduceSum", self.cast(flags, "int64"), self.constant(np.asarray([1])), keepdims=0
        )
        return self.add("Greater", counts, self.constant(np.asarray(0, np.int64)))

    def merge(self, model: Any, inputs: Mapping[str, str]) -> list[str]:
        """Take the nodes of a model in, fed by values of this graph; return its outputs.

        Parameters
        ----------
        model : onnx.ModelProto
            Of the same operator sets, without functions of its own.
        inputs : mapping of str to str
            What stands for each of its inputs.
        """
        graph, names = model.graph, dict(inputs)
        for weight in graph.initializer:
            name = self._new("w")
            names[weight.name] = name
            own = TensorProto()
            own.CopyFrom(weight)
            own.name = name
            self._weights[name] = own
        for node in graph.node:
            own = onnx.NodeProto()
            own.CopyFrom(node)
            own.name = ""
            own.ClearField("doc_string")
            own.ClearField("metadata_props")
            for place, name in enumerate(node.input):
                own.input[place] = names[name] if name else ""
            for place, name in enumerate(node.output):
                names[name] = own.output[place] = self._new("v") if name else ""
            self._nodes.append(own)
        return [names[value.name] for value in graph.output]

    def model(self, metadata: Mapping[str, str]) -> Any:
        """Return the model, checked."""
        graph = helper.make_graph(
            self._nodes, "asfusion", list(self._inputs.values()), self._outputs,
            list(self._weights.values()),
        )  # fmt: skip
        sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        model = helper.make_model(
            graph, opset_imports=sets, producer_name="asfusion", ir_version=10
        )
        helper.set_model_props(model, dict(metadata))
        return model

    def _new(self, kind: str) -> str:
        self._n_names += 1
        return f"{kind}{self._n_names}"
