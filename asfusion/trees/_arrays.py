"""Read the trees of a fitted model into arrays.

Every tree is brought to one form: a row goes left where its feature, in single precision, is
at most the threshold; a missing cell goes to the side the model learned.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import get_tags

from asfusion._checks import quoted
from asfusion.exceptions import ConfigurationError

Floats = NDArray[np.float64]

_LOGIT = ("binary:logistic", "reg:logistic")
_LOG = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:aft", "survival:cox")


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree: per node its children (-1 at a leaf), split, training weight and values.

    `values` has shape (n_nodes, k); they add to the outputs `first` to ``first + k - 1``.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Floats
    missing_left: NDArray[np.bool_]
    cover: Floats
    values: Floats
    first: int = 0


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trees whose values are added up, or of which a weighted median is taken.

    `base` has one number per output. `scalar` is True where the output is one number.
    `median_weights` holds a weight per tree where the model predicts their weighted median;
    each tree's values are its own prediction then. `missing` is the number that stands for
    a missing cell besides NaN.
    """

    trees: list[Tree]
    n_features: int
    base: Floats
    scalar: bool
    names: tuple[str, ...] | None
    accepts_missing: bool
    missing: float = float("nan")
    median_weights: Floats | None = None


def is_supported(model: Any) -> bool:
    """Return whether the model's kind, booster and parts can be read, fitted or not."""
    return _obstacle(model) is None


def read_ensemble(model: Any) -> Ensemble:
    """Return the trees of a fitted model.

    Raises
    ------
    ConfigurationError
        If the model is of another kind, not fitted, or uses what cannot be added up.
    """
    obstacle = _obstacle(model)
    if obstacle is not None:
        raise ConfigurationError(obstacle)
    if not _is_fitted(model):
        msg = f"model: expected a fitted {type(model).__name__}, got an unfitted one. Call fit."
        raise ConfigurationError(msg)
    return _reader(model)(model)


def _is_fitted(model: Any) -> bool:
    if _is_xgboost(model):
        return bool(model.__sklearn_is_fitted__())
    return hasattr(model, "tree_") or hasattr(model, "estimators_")


def _reader(model: Any) -> Callable[[Any], Ensemble]:
    if _is_xgboost(model):
        return _read_xgboost
    kinds: tuple[tuple[Any, Callable[[Any], Ensemble]], ...] = (
        ((DecisionTreeClassifier, DecisionTreeRegressor), _read_tree),
        ((RandomForestClassifier, ExtraTreesClassifier), _read_forest),
        ((RandomForestRegressor, ExtraTreesRegressor), _read_forest),
        ((GradientBoostingClassifier, GradientBoostingRegressor), _read_boosting),
        (AdaBoostClassifier, _read_votes),
        (AdaBoostRegressor, _read_median),
    )
    return next(read for kind, read in kinds if isinstance(model, kind))


_SKLEARN = (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    AdaBoostClassifier,
    AdaBoostRegressor,
)


def _is_xgboost(model: Any) -> bool:
    # Where xgboost was never imported no model can be one of its own.
    module = sys.modules.get("xgboost")
    return module is not None and isinstance(model, (module.XGBClassifier, module.XGBRegressor))


def _obstacle(model: Any) -> str | None:
    """Return why the model cannot be explained by its trees, or None."""
    name = type(model).__name__
    if _is_xgboost(model):
        return _xgboost_obstacle(model)
    if not isinstance(model, _SKLEARN):
        known = quoted([kind.__name__ for kind in _SKLEARN] + ["XGBClassifier"], limit=20)
        return (
            f"model: expected one of {known} or 'XGBRegressor', got a {name}. Pass the tree "
            "model itself, such as the last step of a pipeline with the rows it receives."
        )
    if isinstance(model, (AdaBoostClassifier, AdaBoostRegressor)):
        parts = getattr(model, "estimators_", None) or [model.estimator]
        trees = (DecisionTreeClassifier, DecisionTreeRegressor, type(None))
        if not all(isinstance(part, trees) for part in parts):
            return (
                f"model: expected an {name} of decision trees, got one of "
                f"{type(parts[0]).__name__}. Set estimator to a decision tree."
            )
    return _outputs_obstacle(model) or _init_obstacle(model)


def _outputs_obstacle(model: Any) -> str | None:
    n_outputs = getattr(model, "n_outputs_", 1)
    if n_outputs > 1 and hasattr(model, "predict_proba"):
        return (
            f"model: expected a classifier of one target, got one of {n_outputs}. "
            "Fit one classifier per target."
        )
    return None


def _init_obstacle(model: Any) -> str | None:
    boosting = isinstance(model, (GradientBoostingClassifier, GradientBoostingRegressor))
    init = model.init if boosting else None
    if init in (None, "zero") or isinstance(init, (DummyClassifier, DummyRegressor)):
        return None
    return (
        f"model: expected boosting that starts from a constant, got init={type(init).__name__}. "
        "Set init to None or 'zero'."
    )


def _xgboost_obstacle(model: Any) -> str | None:
    if model.booster not in (None, "gbtree", "dart"):
        return (
            f"model: expected an XGBoost model of trees, got booster={model.booster!r}. "
            "Set booster to 'gbtree' or 'dart'."
        )
    if model.multi_strategy == "multi_output_tree":
        return (
            "model: expected XGBoost trees of one output each, got "
            "multi_strategy='multi_output_tree'. Set it to 'one_output_per_tree'."
        )
    return None


def _names(model: Any) -> tuple[str, ...] | None:
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else tuple(str(name) for name in names)


def _sklearn_ensemble(model: Any, trees: list[Tree], **fields: Any) -> Ensemble:
    accepts = bool(get_tags(model).input_tags.allow_nan)
    return Ensemble(trees, int(model.n_features_in_), names=_names(model),
                    accepts_missing=accepts, **fields)  # fmt: skip


def _sklearn_tree(tree: Any, values: Floats, first: int = 0) -> Tree:
    return Tree(
        tree.children_left.astype(np.int64),
        tree.children_right.astype(np.int64),
        tree.feature.astype(np.int64),
        tree.threshold.astype(np.float64),
        tree.missing_go_to_left.astype(bool),
        tree.weighted_n_node_samples.astype(np.float64),
        np.ascontiguousarray(values, dtype=np.float64),
        first,
    )


def _predictions(estimator: Any) -> Floats:
    """Return per node the class probabilities, or the prediction of each target."""
    value = estimator.tree_.value
    if not hasattr(estimator, "predict_proba"):
        return np.asarray(value[:, :, 0], dtype=np.float64)
    fractions = value[:, 0, :]
    totals = fractions.sum(axis=1, keepdims=True)
    return np.asarray(fractions / np.where(totals > 0, totals, 1.0), dtype=np.float64)


def _read_tree(model: Any) -> Ensemble:
    return _read_average(model, [model])


def _read_forest(model: Any) -> Ensemble:
    return _read_average(model, model.estimators_)


def _read_average(model: Any, members: list[Any]) -> Ensemble:
    trees = [_sklearn_tree(m.tree_, _predictions(m) / len(members)) for m in members]
    n_outputs = trees[0].values.shape[1]
    scalar = n_outputs == 1 and not hasattr(model, "predict_proba")
    return _sklearn_ensemble(model, trees, base=np.zeros(n_outputs), scalar=scalar)


def _read_boosting(model: Any) -> Ensemble:
    members = model.estimators_
    rate = model.learning_rate
    trees = [
        _sklearn_tree(member.tree_, member.tree_.value[:, :, 0] * rate, k)
        for stage in members
        for k, member in enumerate(stage)
    ]
    # The constant that boosting starts from is what a prediction has beside the trees.
    row = np.zeros((1, model.n_features_in_), dtype=np.float32)
    names = getattr(model, "feature_names_in_", None)
    named: Any = row
    if names is not None:
        import pandas as pd

        named = pd.DataFrame(row, columns=names)
    decide = getattr(model, "decision_function", model.predict)
    base = np.array(decide(named), dtype=np.float64).reshape(-1)
    for stage in members:
        base -= rate * np.array([member.tree_.predict(row)[0, 0] for member in stage])
    return _sklearn_ensemble(model, trees, base=base, scalar=len(base) == 1)


def _read_votes(model: Any) -> Ensemble:
    """Read AdaBoost's decision function: each tree's leaf votes for one class."""
    classes = list(model.classes_)
    n_classes = len(classes)
    members = model.estimators_
    weights = np.asarray(model.estimator_weights_[: len(members)], dtype=np.float64)
    shares = weights / weights.sum()
    trees = []
    for member, share in zip(members, shares, strict=True):
        own = np.array([classes.index(label) for label in member.classes_])
        winner = own[np.argmax(member.tree_.value[:, 0, :], axis=1)]
        if n_classes == 2:
            votes = np.where(winner == 1, 2.0, -2.0)[:, None]
        else:
            votes = np.full((len(winner), n_classes), -1.0 / max(n_classes - 1, 1))
            votes[np.arange(len(winner)), winner] = 1.0
        trees.append(_sklearn_tree(member.tree_, share * votes))
    n_outputs = trees[0].values.shape[1]
    return _sklearn_ensemble(model, trees, base=np.zeros(n_outputs), scalar=n_classes == 2)


def _read_median(model: Any) -> Ensemble:
    members = model.estimators_
    weights = np.asarray(model.estimator_weights_[: len(members)], dtype=np.float64)
    trees = [_sklearn_tree(member.tree_, _predictions(member)) for member in members]
    return _sklearn_ensemble(model, trees, base=np.zeros(1), scalar=True, median_weights=weights)


def _read_xgboost(model: Any) -> Ensemble:
    booster = model.get_booster()
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    parts = learner["gradient_booster"]
    drop = parts.get("weight_drop")
    content = parts.get("gbtree", parts)["model"]
    n_used = _n_trees_used(model, content)
    scale = np.ones(n_used) if drop is None else np.asarray(drop[:n_used], dtype=np.float32)
    chosen = zip(content["trees"][:n_used], content["tree_info"], scale, strict=False)
    trees = [_xgboost_tree(tree, int(k), float(s)) for tree, k, s in chosen]
    base = _xgboost_base(learner)
    names = booster.feature_names
    missing = float("nan") if model.missing is None else float(model.missing)
    return Ensemble(
        trees,
        int(model.n_features_in_),
        base,
        scalar=len(base) == 1,
        names=None if names is None else tuple(names),
        accepts_missing=True,
        missing=missing,
    )


def _n_trees_used(model: Any, content: Any) -> int:
    """Return how many trees `predict` uses: early stopping leaves the later ones out."""
    try:
        stop = int(model.best_iteration) + 1
    except AttributeError:
        return len(content["trees"])
    return int(content["iteration_indptr"][stop])


def _xgboost_base(learner: Any) -> Floats:
    parameters = learner["learner_model_param"]
    # XGBoost keeps the score in single precision.
    stored = np.atleast_1d(np.asarray(json.loads(parameters["base_score"]), dtype=np.float32))
    n_outputs = max(int(parameters["num_class"]), int(parameters["num_target"]), 1)
    base: Floats = np.broadcast_to(stored.astype(np.float64), (n_outputs,)).copy()
    objective = learner["objective"]["name"]
    if objective in _LOGIT:
        return np.asarray(np.log(base / (1 - base)))
    return np.asarray(np.log(base)) if objective in _LOG else base


def _xgboost_tree(tree: Any, output: int, scale: float) -> Tree:
    if any(tree["split_type"]):
        msg = (
            "model: expected XGBoost trees that split on numbers, got splits on categories. "
            "Encode the categories as numbers and fit without enable_categorical."
        )
        raise ConfigurationError(msg)
    left = np.asarray(tree["left_children"], dtype=np.int64)
    condition = np.asarray(tree["split_conditions"], dtype=np.float32)
    # XGBoost goes left below the threshold, not at it.
    threshold = np.nextafter(condition, np.float32(-np.inf)).astype(np.float64)
    return Tree(
        left,
        np.asarray(tree["right_children"], dtype=np.int64),
        np.asarray(tree["split_indices"], dtype=np.int64),
        threshold,
        np.asarray(tree["default_left"], dtype=bool),
        np.asarray(tree["sum_hessian"], dtype=np.float32).astype(np.float64),
        scale * condition.astype(np.float64)[:, None],
        output,
    )


def leaf_sums_are_constant(trees: list[Tree], n_outputs: int) -> bool:
    """Return whether the outputs of every tree add up to one number, as probabilities do."""
    return n_outputs > 1 and all(
        tree.values.shape[1] == n_outputs and np.ptp(leaves.sum(axis=1)) < 1e-14
        for tree, leaves in _leaves(trees)
    )


def _leaves(trees: list[Tree]) -> Iterator[tuple[Tree, Floats]]:
    for tree in trees:
        yield tree, tree.values[tree.left < 0]
