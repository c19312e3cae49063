"""What stands around a fusion model: recalibrated probabilities, and sets that cover.

Dimensions: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from asfusion.estimators._conformal import quantiles_of
from asfusion.exceptions import ConfigurationError
from asfusion.serving._graph import Graph
from asfusion.serving._parts import selected

SLACK = 1e-6  # by which a set of a file is more generous: answers are as close as that
_FLOOR = 1e-6  # as in `estimators._recalibration`


def around(graph: Graph, outputs: str, wrappers: tuple[Any, ...]) -> str:
    """Return probabilities (N, K) as the wrappers change them."""
    for wrapper in wrappers:
        places = [wrapper.classes_.tolist().index(c) for c in wrapper.estimator_.classes_.tolist()]
        outputs = selected(graph, outputs, places, len(wrapper.classes_))
        if hasattr(wrapper, "map_"):
            outputs = _MAPS[wrapper.method](graph, outputs, wrapper.map_)
            if wrapper.shifts_.any():
                outputs = _shifted(graph, outputs, wrapper.shifts_)
    return outputs


def covering(graph: Graph, outputs: str, model: Any) -> str:
    """Return which classes (N, K) are in the set of each row, at the coverage of the model.

    Raises
    ------
    ConfigurationError
        If the coverage holds within categories of a column, which no graph reads.
    """
    if model.by is not None:
        msg = (
            "export: ConformalClassifier expected by=None, got a column. Calibrate without it, or "
            "export the model within."
        )
        raise ConfigurationError(msg)
    kinds = range(len(model.classes_)) if model.per_class else [0]
    most = quantiles_of(model.scores_, np.asarray([""], object), kinds, model.coverage)
    costs = _costs(graph, outputs, model.method, len(model.classes_))
    return graph.add("LessOrEqual", costs, graph.constant(most + SLACK))


def _costs(graph: Graph, outputs: str, method: str, n_classes: int) -> str:
    if method == "lac":
        return graph.add("Sub", graph.constant(np.asarray(1.0)), outputs)
    # What is more probable than a class, and of equals what stands before it.
    own = graph.add("Unsqueeze", outputs, graph.constant(np.asarray([2])))
    other = graph.add("Unsqueeze", outputs, graph.constant(np.asarray([1])))
    before = graph.constant(np.tri(n_classes, k=-1, dtype=bool)[None])
    level = graph.add("And", graph.add("Equal", other, own), before)
    ahead = graph.cast(graph.add("Or", graph.add("Greater", other, own), level), "float64")
    spent = graph.add("Mul", ahead, other)
    return graph.add("ReduceSum", spent, graph.constant(np.asarray([2])), keepdims=0)


# -- maps of probabilities, as `estimators._recalibration` applies them ------------------


def _logs(graph: Graph, outputs: str, highest: float = 1.0) -> str:
    ends = graph.constant(np.asarray(_FLOOR)), graph.constant(np.asarray(highest))
    return graph.add("Log", graph.add("Clip", outputs, *ends))


def _cooled(graph: Graph, outputs: str, temperature: float) -> str:
    divided = graph.add("Div", _logs(graph, outputs), graph.constant(np.asarray(temperature)))
    return graph.add("Softmax", divided, axis=1)


def _shifted(graph: Graph, outputs: str, shifts: Any) -> str:
    moved = graph.add("Add", _logs(graph, outputs), graph.constant(np.asarray(shifts)))
    return graph.add("Softmax", moved, axis=1)


def _on_lines(graph: Graph, outputs: str, lines: Any) -> str:
    own = _own(graph, outputs, len(lines))
    one = graph.constant(np.asarray(1.0))
    rest = graph.add("Sub", one, own)
    highest = 1.0 - _FLOOR
    odds = graph.add("Sub", _logs(graph, own, highest), _logs(graph, rest, highest))
    slopes, shifts = (graph.constant(np.asarray(lines)[None, :, n]) for n in (0, 1))
    moved = graph.add("Add", graph.add("Mul", odds, slopes), shifts)
    return _together(graph, graph.add("Sigmoid", moved), len(lines))


def _on_steps(graph: Graph, outputs: str, steps: list[Any]) -> str:
    own = _own(graph, outputs, len(steps))
    columns = [graph.columns(own, [k]) for k in range(len(steps))]
    moved = [_risen(graph, one, step) for one, step in zip(columns, steps, strict=True)]
    return _together(graph, graph.side_by_side(moved), len(steps))


def _risen(graph: Graph, value: str, step: Any) -> str:
    """Return a value (N, 1) through straight lines between the points of a step function."""
    x, y = (np.asarray(a, np.float64) for a in (step.X_thresholds_, step.y_thresholds_))
    if len(x) < 2:
        x, y = np.append(x, x[-1] + 1.0), np.append(y, y[-1])
    ends = graph.constant(np.asarray(x[0])), graph.constant(np.asarray(x[-1]))
    value = graph.add("Clip", value, *ends)
    passed = graph.cast(graph.add("GreaterOrEqual", value, graph.constant(x[None, 1:-1])), "int64")
    place = graph.add("ReduceSum", passed, graph.constant(np.asarray([1])), keepdims=1)
    at, base, slope = (
        graph.add("Gather", graph.constant(array), place)
        for array in (x[:-1], y[:-1], np.diff(y) / np.diff(x))
    )
    return graph.add("Add", base, graph.add("Mul", graph.add("Sub", value, at), slope))


def _own(graph: Graph, outputs: str, n_maps: int) -> str:
    """Return the columns that have a map of their own: of two classes the second."""
    return graph.columns(outputs, [1]) if n_maps == 1 else outputs


def _together(graph: Graph, moved: str, n_maps: int) -> str:
    one = graph.constant(np.asarray(1.0))
    if n_maps == 1:
        return graph.side_by_side([graph.add("Sub", one, moved), moved])
    total = graph.add("ReduceSum", moved, graph.constant(np.asarray([1])), keepdims=1)
    there = graph.add("Greater", total, graph.constant(np.asarray(0.0)))
    shared = graph.add("Div", moved, graph.add("Where", there, total, one))
    return graph.add("Where", there, shared, graph.constant(np.asarray(1.0 / n_maps)))


_MAPS: dict[str, Callable[[Graph, str, Any], str]] = {
    "temperature": _cooled,
    "sigmoid": _on_lines,
    "isotonic": _on_steps,
    "prevalence": _shifted,
}
