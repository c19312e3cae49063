"""Histogram-based boosted trees of scikit-learn as a graph, which no converter writes in float64.

The trees compare in float64 and add up in it, as the model does. A graph's sum comes out in
float32; what the trees began from is added after that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import numpy_helper

from asfusion.serving._graph import ML, Graph


def is_histogram(model: Any) -> bool:
    """Return whether a model is one of these."""
    return type(model).__module__.startswith("sklearn.ensemble._hist_gradient_boosting")


def of_histogram(model: Any, width: int) -> Any:
    """Return what a fitted model says of features (N, F): probabilities (N, K), or numbers (N, 1).

    Raises
    ------
    ValueError
        If a tree asks for a category, or the model has a link of its own.
    """
    trees = [(tree.nodes, k) for step in model._predictors for k, tree in enumerate(step)]
    if model._preprocessor is not None or any(nodes["is_categorical"].any() for nodes, _ in trees):
        raise ValueError
    graph = Graph()
    features = graph.input("X", "float64", [width])
    baseline = np.asarray(model._baseline_prediction, np.float64).reshape(1, -1)
    sums = graph.cast(_summed(graph, features, trees, baseline.shape[1]), "float64")
    said = _LINKS[type(model._loss.link).__name__](
        graph, graph.add("Add", sums, graph.constant(baseline))
    )
    n_said = max(2, baseline.shape[1]) if hasattr(model, "classes_") else 1
    graph.output(said, "said", "float64", [n_said])
    return graph.model({})


def _summed(graph: Graph, features: str, trees: list[tuple[Any, int]], n_sums: int) -> str:
    """Return the sum (N, K) of the leaves that rows end in."""
    sizes = [len(nodes) for nodes, _ in trees]
    every = np.concatenate([nodes for nodes, _ in trees])
    tree = np.repeat(np.arange(len(trees)), sizes)
    place = np.concatenate([np.arange(size) for size in sizes])
    leaf = every["is_leaf"].astype(bool)
    target = np.repeat([k for _, k in trees], sizes)
    return graph.add(
        "TreeEnsembleRegressor",
        features,
        domain=ML,
        n_targets=n_sums,
        nodes_treeids=tree.tolist(),
        nodes_nodeids=place.tolist(),
        nodes_featureids=np.where(leaf, 0, every["feature_idx"]).tolist(),
        nodes_modes=["LEAF" if one else "BRANCH_LEQ" for one in leaf],
        nodes_values_as_tensor=_tensor(np.where(leaf, 0.0, every["num_threshold"])),
        nodes_truenodeids=np.where(leaf, 0, every["left"]).astype(int).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, every["right"]).astype(int).tolist(),
        nodes_missing_value_tracks_true=every["missing_go_to_left"].astype(int).tolist(),
        target_treeids=tree[leaf].tolist(),
        target_nodeids=place[leaf].tolist(),
        target_ids=target[leaf].tolist(),
        target_weights_as_tensor=_tensor(every["value"][leaf]),
    )


def _tensor(values: Any) -> Any:
    return numpy_helper.from_array(np.ascontiguousarray(values, dtype=np.float64), "values")


def _of_two(graph: Graph, sums: str) -> str:
    second = graph.add("Sigmoid", sums)
    first = graph.add("Sub", graph.constant(np.asarray(1.0)), second)
    return graph.side_by_side([first, second])


_LINKS: dict[str, Callable[[Graph, str], str]] = {
    "IdentityLink": lambda _, sums: sums,
    "LogLink": lambda graph, sums: graph.add("Exp", sums),
    "LogitLink": _of_two,
    "MultinomialLogit": lambda graph, sums: graph.add("Softmax", sums, axis=1),
}
