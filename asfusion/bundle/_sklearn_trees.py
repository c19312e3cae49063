"""Whether scikit-learn's trees are trees: children, features and depths, many trees at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from asfusion.bundle._forest import depths_of
from asfusion.bundle._unlike import Unlike

_LEAF = -1
# Trees are put side by side up to so many nodes, which bounds what a check takes.
_NODES_AT_ONCE = 1 << 20


class Trees:
    """The trees of a part, each with the number of columns that it will be shown."""

    def __init__(self) -> None:
        self._trees: dict[int, tuple[Any, int]] = {}
        self._known: dict[int, Any] = {}

    def add(self, tree: Any, n_features: int) -> None:
        """Note a tree whose rows will have `n_features` columns."""
        kind = type(tree)
        if f"{kind.__module__}.{kind.__name__}" != "sklearn.tree._tree.Tree":
            raise Unlike("tree_")
        if (
            tree.n_features != n_features
            or self._trees.get(id(tree), (tree, n_features))[1] != n_features
        ):
            raise Unlike("the features of a tree")
        if not 0 < tree.node_count <= tree.capacity or not 0 <= tree.max_depth < tree.node_count:
            raise Unlike("the size of a tree")
        self._trees[id(tree)] = (tree, n_features)

    def know(self, thing: Any) -> None:
        """Note that a thing was made here."""
        self._known[id(thing)] = thing

    def knows(self, thing: Any) -> bool:
        """Return whether a thing was added, or made here."""
        return id(thing) in self._trees or id(thing) in self._known

    def check(self) -> None:
        """Check all trees that were added, raising `Unlike` for what is none."""
        batch: list[tuple[Any, int]] = []
        n_nodes = 0
        for tree, n_features in self._trees.values():
            batch.append((tree, n_features))
            n_nodes += tree.node_count
            if n_nodes > _NODES_AT_ONCE:
                _check_batch(batch)
                batch, n_nodes = [], 0
        if batch:
            _check_batch(batch)


def _check_batch(batch: list[tuple[Any, int]]) -> None:
    trees = [tree for tree, _ in batch]
    sizes = np.array([tree.node_count for tree in trees])
    nodes = [tree.__getstate__()["nodes"] for tree in trees]

    def field(name: str) -> Any:
        return np.concatenate([each[name] for each in nodes])

    left, right = field("left_child"), field("right_child")
    leaf = left == _LEAF
    depths = depths_of(left, right, leaf, sizes)
    if depths is None or not (right[leaf] == _LEAF).all():
        raise Unlike("the children of a tree")
    # Paths are written into room for as many nodes as the depth says.
    if (depths > [tree.max_depth for tree in trees]).any():
        raise Unlike("the depth of a tree")
    feature, most = field("feature"), np.repeat([n for _, n in batch], sizes)
    if not ((feature >= 0) & (feature < most))[~leaf].all() or not (feature[leaf] < 0).all():
        raise Unlike("the features of a tree")
    # A threshold is infinite where all that is known goes one way.
    if np.isnan(field("threshold")).any() or not (field("n_node_samples") > 0).all():
        raise Unlike("the nodes of a tree")
    if not np.isfinite(field("weighted_n_node_samples")).all():
        raise Unlike("the nodes of a tree")
    if not all(np.isfinite(tree.value).all() for tree in trees):
        raise Unlike("the values of a tree")


def check_predictors(predictors: list[Any], categorical: Any) -> None:
    """Check the trees of a boosting by histograms; `categorical` tells columns of categories.

    Raises
    ------
    Unlike
        If compiled code could not follow them.
    """
    from sklearn.ensemble._hist_gradient_boosting.common import (
        PREDICTOR_RECORD_DTYPE,
    )

    for predictor in predictors:
        kind = type(predictor)
        found = vars(predictor) if kind.__name__ == "TreePredictor" else {}
        nodes: Any = found.get("nodes")
        sets: Any = found.get("raw_left_cat_bitsets")
        if not isinstance(nodes, np.ndarray) or nodes.dtype != PREDICTOR_RECORD_DTYPE:
            raise Unlike("the nodes of a predictor")
        if nodes.ndim != 1 or not len(nodes) or not _is_bitset(sets):
            raise Unlike("the nodes of a predictor")
        if not _is_bitset(found.get("binned_left_cat_bitsets")):
            raise Unlike("the categories of a predictor")
        if len(found["binned_left_cat_bitsets"]) != len(sets):
            raise Unlike("the categories of a predictor")
    if predictors:
        _check_records(predictors, categorical)


def _is_bitset(found: Any) -> bool:
    return (
        isinstance(found, np.ndarray)
        and found.dtype == np.uint32
        and found.ndim == 2
        and found.shape[1] == 8
    )


def _check_records(predictors: list[Any], categorical: Any) -> None:
    sizes = np.array([len(each.nodes) for each in predictors])
    nodes = np.concatenate([each.nodes for each in predictors])
    leaf = nodes["is_leaf"] != 0
    if depths_of(nodes["left"], nodes["right"], leaf, sizes) is None:
        raise Unlike("the children of a predictor")
    inner = nodes[~leaf]
    features = inner["feature_idx"]
    if not ((features >= 0) & (features < len(categorical))).all():
        raise Unlike("the features of a predictor")
    of_sets = np.repeat([len(each.raw_left_cat_bitsets) for each in predictors], sizes)[~leaf]
    by_set = inner["is_categorical"] != 0
    if not (categorical[features][by_set] != 0).all():
        raise Unlike("the categories of a predictor")
    if not (inner["bitset_idx"][by_set] < of_sets[by_set]).all():
        raise Unlike("the categories of a predictor")
    if not np.isfinite(nodes["value"]).all() or np.isnan(inner["num_threshold"]).any():
        raise Unlike("the values of a predictor")
    if not (nodes["count"] > 0).all():
        raise Unlike("the nodes of a predictor")
