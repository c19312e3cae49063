"""What XGBoost would believe: every number of its UBJSON that it indexes by, checked first.

XGBoost trusts the counts, children and categories of a model file: a forged one crashes
the process or reads memory that is not its own. So a file is read here first, and reaches
XGBoost only if it is one that XGBoost itself would write.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from asfusion.bundle._ubjson import read_ubjson
from asfusion.bundle._unlike import require
from asfusion.bundle._xgboost_trees import (
    MOST_FEATURES,
    MOST_GROUPS,
    all_are,
    check_forest,
    check_keys,
    check_names_of_categories,
    count_of,
)

# The first version whose files are read. 3.1 began to write one base score for each
# output, which older readers drop in silence; 3.2 keeps vectors of leaves apart, and
# crashes on those of 3.1.
OLDEST = (3, 2)
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
    check_keys(model, {"learner", "version"}, "the model")
    version = _version(model["version"])
    if version < OLDEST:
        return Facts(version, "", "", 0)
    learner = model["learner"]
    check_keys(learner, _LEARNER, "the learner")
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


def _version(found: Any) -> tuple[int, int]:
    require(
        all_are(found, int) and len(found) == 3 and all(0 <= n < 1000 for n in found), "its version"
    )
    return found[0], found[1]


def _shape(param: Any) -> tuple[int, int]:
    """Return how many features go in and how many numbers come out."""
    check_keys(param, _LEARNER_PARAM, "learner_model_param")
    n_features = count_of(param["num_feature"], "num_feature", most=MOST_FEATURES)
    n_named = count_of(param["num_class"], "num_class", most=MOST_GROUPS)
    n_targets = count_of(param["num_target"], "num_target", most=MOST_GROUPS)
    require(n_targets == 1 or (n_targets > 1 and n_named == 0), "num_target")
    n_groups = max(n_named, n_targets)
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
        require(all_are(learner[name], str) and len(learner[name]) in (0, n_features), name)


def _check_attributes(found: Any, n_rounds: int) -> None:
    require(
        isinstance(found, dict) and all(isinstance(v, str) for v in found.values()), "attributes"
    )
    if "best_iteration" in found:
        # Predictions use the trees up to this one.
        count_of(found["best_iteration"], "best_iteration", most=max(n_rounds, 1))


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
        require(n_groups > 1 and count_of(param["num_class"], "num_class") == n_groups, "num_class")
    if "quantile_alpha" in param:
        require(len(_numbers(param["quantile_alpha"], "quantile_alpha")) == n_groups, "quantiles")


def _check_gradient_booster(found: Any, n_features: int, n_groups: int) -> tuple[str, int]:
    """Return the name of the booster and how many rounds it has."""
    require(isinstance(found, dict), "the booster")
    name = found.get("name")
    if name == "gblinear":
        check_keys(found, {"model", "name"}, "gblinear")
        return name, _check_linear(found["model"], n_features, n_groups)
    if name == "dart":
        check_keys(found, {"gbtree", "name", "weight_drop"}, "dart")
        inner, weights = found["gbtree"], found["weight_drop"]
        require(isinstance(inner, dict) and inner.get("name") == "gbtree", "dart")
        require(all_are(weights, float) and np.isfinite(weights).all(), "weight_drop")
    else:
        require(name == "gbtree", "the booster")
        inner, weights = found, None
    check_keys(inner, {"model", "name"}, "gbtree")
    n_trees, n_rounds = _check_trees(inner["model"], n_features, n_groups)
    require(weights is None or len(weights) == n_trees, "weight_drop")
    return str(name), n_rounds


def _check_linear(model: Any, n_features: int, n_groups: int) -> int:
    check_keys(model, {"boosted_rounds", "weights"}, "gblinear")
    rounds, weights = model["boosted_rounds"], model["weights"]
    require(type(rounds) is int and 0 <= rounds < 1 << 31, "boosted_rounds")
    require(isinstance(weights, np.ndarray) and weights.dtype == ">f4", "weights")
    # A booster of no round has no weights yet, and gives its base score.
    require(
        len(weights) == (n_features + 1) * n_groups or (rounds == 0 and not len(weights)), "weights"
    )
    require(np.isfinite(weights).all(), "weights")
    return int(rounds)


def _check_trees(model: Any, n_features: int, n_groups: int) -> tuple[int, int]:
    """Return how many trees and how many rounds there are."""
    check_keys(model, _MODEL, "gbtree")
    check_keys(model["gbtree_model_param"], {"num_parallel_tree", "num_trees"}, "gbtree")
    trees, rounds = model["trees"], model["iteration_indptr"]
    require(all_are(trees, dict), "trees")
    n_trees = len(trees)
    param = model["gbtree_model_param"]
    require(count_of(param["num_trees"], "num_trees") == n_trees, "num_trees")
    require(count_of(param["num_parallel_tree"], "num_parallel_tree") >= 1, "num_parallel_tree")
    require(
        all_are(rounds, int) and rounds[:1] == [0] and rounds[-1] == n_trees, "iteration_indptr"
    )
    require(all(a < b for a, b in itertools.pairwise(rounds)), "iteration_indptr")
    width = check_forest(trees, n_features) if trees else 1
    require(width in (1, n_groups), "size_leaf_vector")
    _check_groups_of_trees(model["tree_info"], n_trees, 1 if width > 1 else n_groups)
    check_names_of_categories(model["cats"], n_features)
    return n_trees, len(rounds) - 1


_MODEL = {"cats", "gbtree_model_param", "iteration_indptr", "tree_info", "trees"}


def _check_groups_of_trees(found: Any, n_trees: int, n_groups: int) -> None:
    require(all_are(found, int) and len(found) == n_trees, "tree_info")
    # Each output has trees, or none has any.
    require(not n_trees or set(found) == set(range(n_groups)), "tree_info")
