"""What XGBoost would believe: every number of its UBJSON that it indexes by, checked first.

XGBoost trusts the counts, children and categories of a model file: a forged one crashes
the process or reads memory that is not its own. So a file is read here first, and reaches
XGBoost only if it is one that XGBoost itself would write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from asfusion.bundle._forest import depths_of
from asfusion.bundle._ubjson import read_ubjson
from asfusion.bundle._unlike import Unlike, require

# The first version whose files are read. 3.1 began to write one base score for each
# output, which older readers drop in silence; 3.2 keeps vectors of leaves apart, and
# crashes on those of 3.1.
OLDEST = (3, 2)
_MOST_FEATURES = 1 << 24
_MOST_GROUPS = 1 << 16
# XGBoost keeps a bit for each category up to the greatest of a node: 32 MiB in all.
_MOST_CATEGORY_BITS = 1 << 28
_DELETED = np.iinfo(np.int32).max
_NO_PARENT = (np.iinfo(np.int32).max, -1)

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
_COUNT = re.compile(r"[0-9]{1,10}")
_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?")
_OBJECTIVE = re.compile(r"(binary|count|multi|rank|reg|survival):[a-z]{1,20}")


@dataclass(frozen=True)
class Facts:
    """What the estimator around a booster has to agree with."""

    version: tuple[int, int]
    booster: str
    objective: str
    n_groups: int


def check_booster(raw: bytes) -> Facts:
    """Return what a booster is.

    Raises
    ------
    Unlike
        If it is not as XGBoost of a version that is read would write it.
    """
    model = read_ubjson(raw)
    _check_keys(model, {"learner", "version"}, "the model")
    version = _version(model["version"])
    if version < OLDEST:
        return Facts(version, "", "", 0)
    learner = model["learner"]
    _check_keys(learner, _LEARNER, "the learner")
    n_features, n_groups = _shape(learner["learner_model_param"])
    _check_names(learner, n_features)
    booster, n_rounds = _check_gradient_booster(learner["gradient_booster"], n_features, n_groups)
    _check_attributes(learner["attributes"], n_rounds)
    return Facts(version, booster, _objective(learner["objective"], n_groups), n_groups)


_LEARNER = {
    "attributes",
    "feature_names",
    "feature_types",
    "gradient_booster",
    "learner_model_param",
    "objective",
}


def _check_keys(found: Any, expected: set[str], what: str) -> None:
    if not isinstance(found, dict) or set(found) != expected:
        raise Unlike(f"the parts of {what}")


def _version(found: Any) -> tuple[int, int]:
    require(
        _all(found, int) and len(found) == 3 and all(0 <= n < 1000 for n in found), "its version"
    )
    return found[0], found[1]


def _all(found: Any, kind: type) -> bool:
    return isinstance(found, list) and all(type(item) is kind for item in found)


def _count(found: Any, what: str, *, most: int = 1 << 31) -> int:
    """Return a count that is written as text."""
    require(isinstance(found, str) and _COUNT.fullmatch(found) and int(found) < most, what)
    return int(found)


def _shape(param: Any) -> tuple[int, int]:
    """Return how many features go in and how many numbers come out."""
    _check_keys(param, _LEARNER_PARAM, "learner_model_param")
    n_features = _count(param["num_feature"], "num_feature", most=_MOST_FEATURES)
    n_classes = _count(param["num_class"], "num_class", most=_MOST_GROUPS)
    n_targets = _count(param["num_target"], "num_target", most=_MOST_GROUPS)
    require(n_targets == 1 or (n_targets > 1 and n_classes == 0), "num_target")
    n_groups = max(n_classes, n_targets)
    require(len(_numbers(param["base_score"], "base_score")) in (1, n_groups), "base_score")
    require(param["boost_from_average"] in ("0", "1"), "boost_from_average")
    return n_features, n_groups


_LEARNER_PARAM = {"base_score", "boost_from_average", "num_class", "num_feature", "num_target"}


def _numbers(found: Any, what: str) -> list[str]:
    """Return the numbers of a text such as "[1E0,2.5E-1]"."""
    require(isinstance(found, str) and found[:1] == "[" and found[-1:] == "]", what)
    numbers: list[str] = found[1:-1].split(",")
    require(all(_NUMBER.fullmatch(number) for number in numbers), what)
    return numbers


def _check_names(learner: Mapping[str, Any], n_features: int) -> None:
    for name in ("feature_names", "feature_types"):
        require(_all(learner[name], str) and len(learner[name]) in (0, n_features), name)


def _check_attributes(found: Any, n_rounds: int) -> None:
    require(
        isinstance(found, dict) and all(isinstance(v, str) for v in found.values()), "attributes"
    )
    if "best_iteration" in found:
        # Predictions use the trees up to this one.
        _count(found["best_iteration"], "best_iteration", most=max(n_rounds, 1))


def _objective(found: Any, n_groups: int) -> str:
    require(isinstance(found, dict) and isinstance(found.get("name"), str), "the objective")
    name: str = found["name"]
    require(_OBJECTIVE.fullmatch(name), "the objective")
    for key, value in found.items():
        if isinstance(value, dict):
            require(all(isinstance(v, str) and len(v) < 1 << 20 for v in value.values()), key)
            _check_groups(value, n_groups)
        elif isinstance(value, np.ndarray):
            require(value.dtype == ">f4" and np.isfinite(value).all(), "the objective")
        else:
            require(key == "name", "the objective")
    require(("softmax_multiclass_param" in found) == name.startswith("multi:"), "the objective")
    return name


def _check_groups(param: Mapping[str, str], n_groups: int) -> None:
    """Compare the counts that an objective divides outputs by with their number."""
    if "num_class" in param:
        require(n_groups > 1 and _count(param["num_class"], "num_class") == n_groups, "num_class")
    if "quantile_alpha" in param:
        require(len(_numbers(param["quantile_alpha"], "quantile_alpha")) == n_groups, "quantiles")


def _check_gradient_booster(found: Any, n_features: int, n_groups: int) -> tuple[str, int]:
    """Return the name of the booster and how many rounds it has."""
    require(isinstance(found, dict), "the booster")
    name = found.get("name")
    if name == "gblinear":
        _check_keys(found, {"model", "name"}, "gblinear")
        return name, _check_linear(found["model"], n_features, n_groups)
    if name == "dart":
        _check_keys(found, {"gbtree", "name", "weight_drop"}, "dart")
        inner, weights = found["gbtree"], found["weight_drop"]
        require(isinstance(inner, dict) and inner.get("name") == "gbtree", "dart")
        require(_all(weights, float) and np.isfinite(weights).all(), "weight_drop")
    else:
        require(name == "gbtree", "the booster")
        inner, weights = found, None
    _check_keys(inner, {"model", "name"}, "gbtree")
    n_trees, n_rounds = _check_trees(inner["model"], n_features, n_groups)
    require(weights is None or len(weights) == n_trees, "weight_drop")
    return str(name), n_rounds


def _check_linear(model: Any, n_features: int, n_groups: int) -> int:
    _check_keys(model, {"boosted_rounds", "weights"}, "gblinear")
    rounds, weights = model["boosted_rounds"], model["weights"]
    require(type(rounds) is int and 0 <= rounds < 1 << 31, "boosted_rounds")
    require(isinstance(weights, np.ndarray) and weights.dtype == ">f4", "weights")
    # A booster of no round has no weights yet, and gives its base score.
    require(
        len(weights) == (n_features + 1) * n_groups or (rounds == 0 and not len(weights)), "weights"
    )
    require(np.isfinite(weights).all(), "weights")
    return rounds


def _check_trees(model: Any, n_features: int, n_groups: int) -> tuple[int, int]:
    """Return how many trees and how many rounds there are."""
    _check_keys(model, _MODEL, "gbtree")
    _check_keys(model["gbtree_model_param"], {"num_parallel_tree", "num_trees"}, "gbtree")
    trees, rounds = model["trees"], model["iteration_indptr"]
    require(_all(trees, dict), "trees")
    n_trees = len(trees)
    param = model["gbtree_model_param"]
    require(_count(param["num_trees"], "num_trees") == n_trees, "num_trees")
    require(_count(param["num_parallel_tree"], "num_parallel_tree") >= 1, "num_parallel_tree")
    require(_all(rounds, int) and rounds[:1] == [0] and rounds[-1] == n_trees, "iteration_indptr")
    require(all(a < b for a, b in zip(rounds, rounds[1:], strict=False)), "iteration_indptr")
    width = _check_forest(trees, n_features) if trees else 1
    require(width in (1, n_groups), "size_leaf_vector")
    _check_groups_of_trees(model["tree_info"], n_trees, 1 if width > 1 else n_groups)
    _check_categories_of_data(model["cats"], n_features)
    return n_trees, len(rounds) - 1


_MODEL = {"cats", "gbtree_model_param", "iteration_indptr", "tree_info", "trees"}


def _check_groups_of_trees(found: Any, n_trees: int, n_groups: int) -> None:
    require(_all(found, int) and len(found) == n_trees, "tree_info")
    # Each output has trees, or none has any.
    require(not n_trees or set(found) == set(range(n_groups)), "tree_info")


def _check_forest(trees: list[dict[str, Any]], n_features: int) -> int:
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
    require(len(sizes) == n_splits and len(starts) == n_splits, "categories_sizes")
    require(((sizes > 0) & (sizes <= len(found))).all(), "categories_sizes")
    ends = np.cumsum(sizes)
    require(ends[-1] == len(found) and np.array_equal(starts, ends - sizes), "categories_segments")
    require((found >= 0).all() and (found < _MOST_FEATURES).all(), "categories")
    return int((np.maximum.reduceat(found.astype(np.int64), ends - sizes) + 32).sum())


def _check_categories_of_data(cats: Any, n_features: int) -> None:
    """The names of categories by feature, by which XGBoost reads a table of pandas."""
    _check_keys(cats, {"enc", "feature_segments", "sorted_idx"}, "cats")
    codes, segments, order = cats["enc"], cats["feature_segments"], cats["sorted_idx"]
    for found in (segments, order):
        require(isinstance(found, np.ndarray) and found.dtype == ">i4", "cats")
    require(_all(codes, dict) and len(codes) in (0, n_features), "cats")
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
    values = code.get("values")
    require(isinstance(values, np.ndarray), "cats")
    if "type" in code:
        _check_keys(code, {"type", "values"}, "cats")
        require(type(code["type"]) is int and 0 <= code["type"] < 1 << 7, "cats")
        return len(values)
    _check_keys(code, {"offsets", "values"}, "cats")
    offsets = code["offsets"]
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
        param = tree.get("tree_param")
        _check_keys(param, _TREE_PARAM, "tree_param")
        width = _count(param["size_leaf_vector"], "size_leaf_vector", most=_MOST_GROUPS)
        _check_keys(tree, _VECTOR_KEYS if width > 1 else _TREE_KEYS, "a tree")
        require(type(tree["id"]) is int and tree["id"] == number, "the order of trees")
        size = _count(param["num_nodes"], "num_nodes")
        require(
            size > 0 and _count(param["num_feature"], "num_feature") == n_features, "tree_param"
        )
        _count(param["num_deleted"], "num_deleted", most=size)
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
