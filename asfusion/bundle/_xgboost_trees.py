"""The trees of an XGBoost model: children, features and categories, all trees at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from asfusion.bundle._forest import depths_of
from asfusion.bundle._unlike import Unlike, require

MOST_GROUPS = 1 << 16
MOST_FEATURES = 1 << 24
# XGBoost keeps a bit for each category up to the greatest of a node: 32 MiB in all.
_MOST_CATEGORY_BITS = 1 << 28
_DELETED = np.iinfo(np.int32).max
_NO_PARENT = (_DELETED, -1)
_COUNT = re.compile(r"[0-9]{1,10}")

_TREE = {
    "base_weights": ">f4",
    "categories": ">i4",
    "categories_nodes": ">i4",
    "categories_segments": ">i8",
    "categories_sizes": ">i8",
    "default_left": "|u1",
    "left_children": ">i4",
    "loss_changes": ">f4",
    "parents": ">i4",
    "right_children": ">i4",
    "split_conditions": ">f4",
    "split_indices": ">i4",
    "split_type": "|u1",
    "sum_hessian": ">f4",
}
_PER_NODE = [name for name in _TREE if not name.startswith("categories")]
_TREE_PARAM = {"num_deleted", "num_feature", "num_nodes", "size_leaf_vector"}


def check_keys(found: Any, expected: set[str], what: str) -> None:
    if not isinstance(found, dict) or set(found) != expected:
        raise Unlike(f"the parts of {what}")


def all_are(found: Any, kind: type) -> bool:
    return isinstance(found, list) and all(type(item) is kind for item in found)


def count_of(found: Any, what: str, *, most: int = 1 << 31) -> int:
    """Return a count that is written as text."""
    require(isinstance(found, str) and _COUNT.fullmatch(found) and int(found) < most, what)
    return int(found)


def check_forest(trees: list[dict[str, Any]], n_features: int) -> int:
    """Check all trees at once, side by side in long arrays, and return the width of a leaf."""
    sizes, width = _check_shapes(trees, n_features)
    nodes = {name: _side_by_side(trees, name) for name in _PER_NODE}
    leaf = nodes["left_children"] == -1
    deleted = leaf & (nodes["split_indices"] == _DELETED) & (nodes["default_left"] == 1)
    roots = np.cumsum(sizes) - sizes
    require(not deleted[roots].any(), "deleted nodes")
    named = [int(tree["tree_param"]["num_deleted"]) for tree in trees]
    require(np.array_equal(np.add.reduceat(deleted.astype(np.int64), roots), named), "num_deleted")
    left, right = nodes["left_children"], nodes["right_children"]
    require(depths_of(left, right, leaf, sizes, deleted) is not None, "children")
    _check_parents(nodes, leaf | deleted, roots, sizes)
    _check_splits(nodes, leaf, deleted, n_features)
    if width > 1:
        _check_vectors(trees, right, leaf, roots, width)
    else:
        require((right[leaf] == -1).all(), "right_children")
    _check_categories(trees, nodes["split_type"], leaf, roots)
    return width


def _side_by_side(trees: list[dict[str, Any]], name: str) -> Any:
    joined = np.concatenate([tree[name] for tree in trees])
    return joined.astype(joined.dtype.newbyteorder("="))


def _check_parents(nodes: Mapping[str, Any], leaf: Any, roots: Any, sizes: Any) -> None:
    """Each child names its parent; what was deleted names some node of its tree."""
    parents = nodes["parents"].astype(np.int64)
    require(np.isin(parents[roots], _NO_PARENT).all(), "parents")
    below = np.ones(len(parents), dtype=bool)
    below[roots] = False
    size = np.repeat(sizes, sizes)
    require(((parents >= 0) & (parents < size))[below].all(), "parents")
    inner = np.flatnonzero(~leaf)
    start = np.repeat(roots, sizes)[inner]
    for name in ("left_children", "right_children"):
        require((parents[start + nodes[name][inner]] + start == inner).all(), "parents")


def _check_splits(nodes: Mapping[str, Any], leaf: Any, deleted: Any, n_features: int) -> None:
    features = nodes["split_indices"]
    require(((features >= 0) & (features < max(n_features, 1)))[~deleted].all(), "split_indices")
    for name in ("default_left", "split_type"):
        require((nodes[name] <= 1).all(), name)
    for name in ("base_weights", "sum_hessian", "loss_changes"):
        require(np.isfinite(nodes[name]).all(), name)
    # A threshold may be infinite: everything that is known goes one way.
    conditions = nodes["split_conditions"]
    require(np.isfinite(conditions[leaf]).all() and not np.isnan(conditions).any(), "conditions")


def _check_vectors(
    trees: list[dict[str, Any]], right: Any, leaf: Any, roots: Any, width: int
) -> None:
    """Where leaves are vectors, the right child of a leaf is its place among the vectors."""
    n_leaves = np.add.reduceat(leaf.astype(np.int64), roots)
    most = np.repeat(n_leaves, np.diff([*roots, len(leaf)]))
    require(((right >= 0) & (right < most))[leaf].all(), "right_children")
    for tree, count in zip(trees, n_leaves, strict=True):
        weights = tree["leaf_weights"]
        require(isinstance(weights, np.ndarray) and weights.dtype == ">f4", "leaf_weights")
        require(len(weights) == count * width and np.isfinite(weights).all(), "leaf_weights")


def _check_categories(trees: list[dict[str, Any]], kinds: Any, leaf: Any, roots: Any) -> None:
    """Each split by categories has its own stretch of them, one after another."""
    require(not kinds[leaf].any(), "split_type")
    bits = 0
    for tree, root in zip(trees, roots, strict=True):
        split = np.flatnonzero(kinds[root : root + len(tree["split_type"])])
        if not len(split) and not len(tree["categories"]) and not len(tree["categories_nodes"]):
            require(
                not len(tree["categories_segments"]) and not len(tree["categories_sizes"]),
                "categories",
            )
            continue
        require(np.array_equal(tree["categories_nodes"], split), "categories_nodes")
        bits += _bits(tree, len(split))
        require(bits <= _MOST_CATEGORY_BITS, "categories")


def _bits(tree: Mapping[str, Any], n_splits: int) -> int:
    """Return how many bits XGBoost makes of the categories of a tree."""
    found, sizes = tree["categories"], tree["categories_sizes"].astype(np.int64)
    starts = tree["categories_segments"]
    require(n_splits > 0, "categories_nodes")
    require(len(sizes) == n_splits and len(starts) == n_splits, "categories_sizes")
    require(((sizes > 0) & (sizes <= len(found))).all(), "categories_sizes")
    ends = np.cumsum(sizes)
    require(ends[-1] == len(found) and np.array_equal(starts, ends - sizes), "categories_segments")
    require((found >= 0).all() and (found < MOST_FEATURES).all(), "categories")
    return int((np.maximum.reduceat(found.astype(np.int64), ends - sizes) + 32).sum())


def check_names_of_categories(cats: Any, n_features: int) -> None:
    """Check the names of categories by feature, by which XGBoost reads a table of pandas."""
    check_keys(cats, {"enc", "feature_segments", "sorted_idx"}, "cats")
    codes, segments, order = cats["enc"], cats["feature_segments"], cats["sorted_idx"]
    for found in (segments, order):
        require(isinstance(found, np.ndarray) and found.dtype == ">i4", "cats")
    require(all_are(codes, dict) and len(codes) in (0, n_features), "cats")
    if not codes:
        require(not len(segments) and not len(order), "cats")
        return
    sizes = [_size_of_names(code) for code in codes]
    ends = np.cumsum(sizes)
    require(np.array_equal(segments, [0, *ends]) and len(order) == ends[-1], "cats")
    for end, size in zip(ends, sizes, strict=True):
        require(np.array_equal(np.sort(order[end - size : end]), np.arange(size)), "cats")


def _size_of_names(code: dict[str, Any]) -> int:
    """Return how many categories a feature has."""
    values: Any = code.get("values")
    require(isinstance(values, np.ndarray), "cats")
    if "type" in code:
        check_keys(code, {"type", "values"}, "cats")
        require(type(code["type"]) is int and 0 <= code["type"] < 1 << 7, "cats")
        return len(values)
    check_keys(code, {"offsets", "values"}, "cats")
    offsets: Any = code["offsets"]
    require(isinstance(offsets, np.ndarray) and offsets.dtype == ">i4", "cats")
    require(values.dtype == "|i1", "cats")
    if not len(offsets):
        require(not len(values), "cats")
        return 0
    require(offsets[0] == 0 and offsets[-1] == len(values), "cats")
    require((np.diff(offsets.astype(np.int64)) >= 0).all(), "cats")
    return len(offsets) - 1


def _check_shapes(trees: list[dict[str, Any]], n_features: int) -> tuple[Any, int]:
    """Return how many nodes each tree has, and how wide all leaves are."""
    sizes, widths = [], set()
    for number, tree in enumerate(trees):
        param: Any = tree.get("tree_param")
        check_keys(param, _TREE_PARAM, "tree_param")
        width = count_of(param["size_leaf_vector"], "size_leaf_vector", most=MOST_GROUPS)
        check_keys(tree, _VECTOR_KEYS if width > 1 else _TREE_KEYS, "a tree")
        require(type(tree["id"]) is int and tree["id"] == number, "the order of trees")
        size = count_of(param["num_nodes"], "num_nodes")
        require(
            size > 0 and count_of(param["num_feature"], "num_feature") == n_features, "tree_param"
        )
        count_of(param["num_deleted"], "num_deleted", most=size)
        _check_arrays(tree, size, width)
        sizes.append(size)
        widths.add(max(width, 1))
    require(len(widths) == 1, "size_leaf_vector")
    return np.array(sizes), widths.pop()


_TREE_KEYS = {*_TREE, "id", "tree_param"}
_VECTOR_KEYS = {*_TREE_KEYS, "leaf_weights"}


def _check_arrays(tree: Mapping[str, Any], size: int, width: int) -> None:
    for name, dtype in _TREE.items():
        found = tree[name]
        if not isinstance(found, np.ndarray) or found.dtype.str != dtype:
            raise Unlike(name)
        if name in _PER_NODE:
            wide = max(width, 1) if name == "base_weights" else 1
            require(len(found) == size * wide, name)
