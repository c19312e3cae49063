"""Models of scikit-learn and XGBoost inside a graph, where a converter knows them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from asfusion.exceptions import ConfigurationError
from asfusion.serving._graph import ML, ML_OPSET, OPSET, Graph
from asfusion.serving._hist_trees import is_histogram, of_histogram

_SETS = {"": OPSET, ML: ML_OPSET}


_TRIED = 64  # rows by which ways to compute are compared
_EXACT = 1e-7


class _Way(NamedTuple):
    """A converted model, in which precision it computes, and of features in float32 or not."""

    made: Any
    dtype: str
    rounded: bool


def answers(graph: Graph, model: Any, features: str, width: int, who: str) -> str:
    """Return what a fitted model says of features (N, F): (N, C), in float64.

    It computes in float64 where the runtime can; trees read features in float32, as they do in
    scikit-learn and XGBoost.

    Raises
    ------
    ConfigurationError
        If no converter knows the model.
    """
    if hasattr(model, "sizes_") and hasattr(model, "steps_"):
        return _by_steps(graph, model, features, width, who)
    if hasattr(model, "steps"):
        features, width, model = _prepared(graph, model, features, width, who)
    convert, dtypes = _converter(model)
    exact = not _reads_float32(model)
    failed = "ConfigurationError"
    best: tuple[float, _Way] | None = None
    for dtype in dtypes:
        try:
            made = convert(model, width, dtype)
            way = _Way(made, dtype, rounded=not exact or dtype == "float32")
            apart = _difference(model, way, width)
        except Exception as error:  # converters and the runtime raise what they like
            failed = type(error).__name__
            continue
        if best is None or apart < best[0]:
            best = apart, way
        if apart <= _EXACT:
            break
    if best is not None:
        return _fed(graph, best[1], features)
    msg = (
        f"export: {who} expected a model that skl2onnx or onnxmltools converts, got "
        f"{type(model).__name__} ({failed}). Use a linear model, a forest, AdaBoost, boosted trees "
        "of numbers or XGBoost in its place."
    )
    raise ConfigurationError(msg)


def _by_steps(graph: Graph, model: Any, features: str, width: int, who: str) -> str:
    """Return probabilities (N, K) of grades, as `OrderedClassifier` makes them of its steps."""
    one = graph.constant(np.asarray(1.0))
    reached, told = [], None
    for step, size in zip(model.steps_, model.sizes_.tolist(), strict=True):
        if step is None:  # half, in each row
            first = graph.columns(features, [0])
            there = graph.cast(graph.add("Equal", first, first), "float64")
            going_on = graph.add("Mul", there, graph.constant(np.asarray(0.5)))
        else:
            going_on = graph.columns(answers(graph, step, features, width, who), [1])
        drawn = graph.add("Add", graph.add("Mul", going_on, graph.constant(np.asarray(size))), one)
        drawn = graph.add("Div", drawn, graph.constant(np.asarray(size + 2.0)))
        told = drawn if told is None else graph.add("Mul", told, drawn)
        reached.append(told)
    stays = [graph.add("Sub", one, reached[0])]
    stays += [graph.add("Sub", a, b) for a, b in pairwise(reached)]
    return graph.side_by_side([*stays, reached[-1]])


def _converter(model: Any) -> tuple[Callable[[Any, int, str], Any], tuple[str, ...]]:
    """Return what makes a graph of a model, and of features in which precisions."""
    if is_histogram(model):
        return lambda one, width, _: of_histogram(one, width), ("float64",)
    if type(model).__module__.split(".")[0] == "xgboost":
        return lambda one, width, _: _of_xgboost(one, width), ("float32",)
    return _of_sklearn, ("float64", "float32")


def _prepared(
    graph: Graph, model: Any, features: str, width: int, who: str
) -> tuple[str, int, Any]:
    """Return what the steps before the last make of features, how many those are, and the last."""
    before, last = model[:-1], model[-1]
    if not len(before):
        return features, width, last
    try:
        made = _of_sklearn(before, width, "float64")
        made_width = int(before.transform(np.zeros((1, width))).shape[1])
    except Exception as error:
        msg = (
            f"export: {who} expected steps that skl2onnx converts, got one that it does not "
            f"({type(error).__name__}). Leave it out of the pipeline."
        )
        raise ConfigurationError(msg) from None
    value = graph.merge(made, {made.graph.input[0].name: features})[0]
    return graph.cast(value, "float64"), made_width, last


def _reads_float32(model: Any) -> bool:
    """Return whether a model is trees, which read features in float32."""
    parts = getattr(model, "estimators_", ())
    return hasattr(model, "tree_") or any(hasattr(part, "tree_") for part in np.ravel(parts))


def _fed(graph: Graph, way: _Way, features: str) -> str:
    value = graph.cast(features, "float32") if way.rounded else features
    value = graph.cast(value, way.dtype)
    source, output = way.made.graph.input[0].name, way.made.graph.output[-1]
    said = graph.cast(graph.merge(way.made, {source: value})[-1], "float64")
    return said if len(output.type.tensor_type.shape.dim) != 1 else graph.upright(said)


def _difference(model: Any, way: _Way, width: int) -> float:
    """Return how far a converted model is from the model itself, on rows of noise."""
    import onnxruntime

    graph = Graph()
    said = _fed(graph, way, graph.input("X", "float64", [width]))
    graph.output(said, "said", "float64", ["outputs"])
    run = onnxruntime.InferenceSession(
        graph.model({}).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rows = np.random.default_rng(0).normal(size=(_TRIED, width))
    got = run.run(["said"], {"X": rows})[0]
    ask = getattr(model, "predict_proba", model.predict)
    expected = np.asarray(ask(rows), dtype=np.float64).reshape(got.shape)
    return float(np.abs(got - expected).max()) / max(1.0, float(np.abs(expected).max()))


def _of_sklearn(model: Any, width: int, dtype: str) -> Any:
    import skl2onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    kind = DoubleTensorType if dtype == "float64" else FloatTensorType
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return skl2onnx.to_onnx(
            model, initial_types=[("X", kind([None, width]))], options=options, target_opset=_SETS
        )


def _of_xgboost(model: Any, width: int) -> Any:
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return onnxmltools.convert_xgboost(
            model, initial_types=[("X", FloatTensorType([None, width]))], target_opset=15
        )


def selected(graph: Graph, said: str, places: Any, n_outputs: int) -> str:
    """Return answers (N, C) of a model at their places among all outputs, zero elsewhere."""
    places = np.asarray(places, dtype=np.int64)
    if np.array_equal(places, np.arange(n_outputs)):
        return said
    spread = np.zeros((len(places), n_outputs))
    spread[np.arange(len(places)), places] = 1.0
    return graph.add("MatMul", said, graph.constant(spread))
