"""One site's model as arrays, and the mean of several: what is sent where weights are not averaged.

Of trees only features, thresholds, children and the values of leaves leave a site: no count, no
gain, no bins of cells. They are read without trust, and evaluated here alone.

Dimensions: N rows, F features, K outputs, T trees, V nodes of all trees.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge

from asfusion.exceptions import ConfigurationError, InputError
from asfusion.trees._arrays import Tree, read_ensemble

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]
Link = Literal["identity", "logistic", "softmax", "share"]

_LINKS: tuple[Link, ...] = ("identity", "logistic", "softmax", "share")
_ODD = "Message: expected the arrays of a model of trees, or of a linear one, got others."
_MOST_NODES = 5_000_000
_DEEPEST = 1000  # levels: deeper trees are there to cost time
_LARGEST = 1e30
_MOST_LEAVES = 2**22  # of rows and trees, at once


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees whose leaves add up: nodes of all of them one after the other, -1 for no child.

    Parameters
    ----------
    roots, left, right, feature : ndarray of int64
        First node of each tree (T,); children, and the feature that is asked (V,).
    threshold : ndarray of shape (V,)
        A row goes left where its feature is at most this.
    value : ndarray of shape (V, K)
        Of leaves.
    base : ndarray of shape (K,)
        What the leaves add to.
    """

    roots: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Floats
    value: Floats
    base: Floats

    def leaves(self, features: Floats) -> NDArray[np.int64]:
        """Return the leaf (N, T) that each row reaches in each tree."""
        at = np.tile(self.roots, (len(features), 1))
        asked = features.astype(np.float32).astype(np.float64)
        while (inner := self.left[at] >= 0).any():
            rows, trees = np.nonzero(inner)
            node = at[rows, trees]
            goes_left = asked[rows, self.feature[node]] <= self.threshold[node]
            at[rows, trees] = np.where(goes_left, self.left[node], self.right[node])
        return at

    def margin(self, features: Floats) -> Floats:
        """Return the sum (N, K) of the leaves that rows reach."""
        total = np.tile(self.base, (len(features), 1))
        step = max(1, _MOST_LEAVES // len(self.roots))
        for start in range(0, len(features), step):
            for column in self.leaves(features[start : start + step]).T:
                total[start : start + step] += self.value[column]
        return total

    @property
    def lowest(self) -> float:
        """Lowest value of a leaf."""
        return float(min(self.value.min(), self.base.min()))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is sent."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False)
class Linear:
    """Coefficients (F, K) and what is added to them (K,)."""

    coefficients: Floats
    base: Floats

    def margin(self, features: Floats) -> Floats:
        """Return the weighted sum (N, K) of features."""
        return np.asarray(features @ self.coefficients + self.base)

    @property
    def lowest(self) -> float:
        """Nothing bounds a sum from below."""
        return -np.inf

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is sent."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False)
class LocalModel:
    """What one site has learned.

    Parameters
    ----------
    content : Trees or Linear
        From features to margins.
    link : {"identity", "logistic", "softmax", "share"}
        From margins to outputs; shares of trees, added, become those of all.
    known : ndarray of int64
        Which outputs those are: classes that the site has.
    n_outputs : int
        Number K of all outputs.
    """

    content: Trees | Linear
    link: Link
    known: NDArray[np.int64]
    n_outputs: int

    def outputs(self, features: Floats) -> Floats:
        """Return predictions (N, K), zero for classes that the site never saw."""
        margin = self.content.margin(features)
        if self.link == "softmax":
            margin = np.asarray(softmax(margin, axis=1))
        elif self.link == "logistic":
            second = expit(margin)
            margin = np.hstack([1.0 - second, second])
        elif self.link == "share":
            total = margin.sum(axis=1, keepdims=True)
            margin = np.where(
                total > 0, margin / np.where(total > 0, total, 1), 1 / len(self.known)
            )
        found = np.zeros((len(features), self.n_outputs))
        found[:, self.known] = margin
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is sent."""
        link = np.asarray([_LINKS.index(self.link)])
        return {**self.content.arrays(), "known": self.known, "link": link}

    @classmethod
    def read(cls, arrays: Arrays, n_features: int, n_outputs: int) -> LocalModel:
        """Return the model of a message, for features and outputs that are known here.

        Raises
        ------
        InputError
            If the arrays are not those of such a model.
        """
        try:
            link = _LINKS[int(arrays["link"][0])]
            known = _whole(arrays["known"], n_outputs)
            rest = {k: a for k, a in arrays.items() if k not in ("link", "known")}
            read = _linear if "coefficients" in rest else _trees
            content = read(rest, n_features)
            _require(len(np.unique(known)) == len(known) > 0)
            _require(len(content.base) == (1 if link == "logistic" else len(known)))
            _require(link != "logistic" or len(known) == 2)
            _require(link != "share" or content.lowest >= 0)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError):
            raise InputError(_ODD) from None
        return cls(content, link, known, n_outputs)


# -- reading a message -------------------------------------------------------------------


def _require(holds: bool) -> None:
    if not holds:
        raise InputError(_ODD)


def _whole(array: NDArray[Any], below: int, *, lowest: int = 0) -> NDArray[np.int64]:
    """Return whole numbers of a range."""
    _require(array.dtype.kind in "iu" and array.ndim == 1)
    found = array.astype(np.int64)
    _require(not len(found) or bool(found.min() >= lowest and found.max() < below))
    return found


def _finite(array: NDArray[Any], n_dims: int) -> Floats:
    _require(array.dtype.kind == "f" and array.ndim == n_dims)
    _require(bool((np.abs(array) < _LARGEST).all()))
    return array.astype(np.float64)


def _is_shallow(
    left: NDArray[np.int64], right: NDArray[np.int64], level: NDArray[np.int64]
) -> bool:
    """Return whether no leaf is deeper than trees of hospitals grow."""
    for _ in range(_DEEPEST):
        inner = level[left[level] >= 0]
        if not len(inner):
            return True
        level = np.concatenate([left[inner], right[inner]])
    return False


def _linear(arrays: Arrays, n_features: int) -> Linear:
    found = Linear(_finite(arrays["coefficients"], 2), _finite(arrays["base"], 1))
    _require(found.coefficients.shape == (n_features, len(found.base)) and len(arrays) == 2)
    return found


def _trees(arrays: Arrays, n_features: int) -> Trees:
    n_nodes = len(arrays["left"])
    _require(0 < n_nodes <= _MOST_NODES and len(arrays) == 7)
    left, right = (_whole(arrays[k], n_nodes, lowest=-1) for k in ("left", "right"))
    feature = _whole(arrays["feature"], n_features)
    roots = _whole(arrays["roots"], n_nodes)
    threshold, value = _finite(arrays["threshold"], 1), _finite(arrays["value"], 2)
    base = _finite(arrays["base"], 1)
    own, inner = np.arange(n_nodes), left >= 0
    # Children stand behind their parents, and have one: no row goes round in a circle.
    _require(bool((np.minimum(left, right)[inner] > own[inner]).all()))
    children = np.concatenate([left[inner], right[inner]])
    _require(len(np.unique(np.concatenate([children, roots]))) == len(children) + len(roots))
    _require(_is_shallow(left, right, roots))
    _require(bool((right[~inner] < 0).all()) and len(roots) > 0)
    _require({len(a) for a in (left, right, feature, threshold, value)} == {n_nodes})
    _require(value.shape[1] == len(base))
    return Trees(roots, left, right, feature, threshold, value, base)


# -- from a fitted model -----------------------------------------------------------------


def local_model(estimator: Any, n_outputs: int) -> LocalModel:
    """Return a fitted model of trees, or a linear one, as arrays."""
    own = getattr(estimator, "known_classes_", getattr(estimator, "classes_", range(n_outputs)))
    known = np.asarray(own, dtype=np.int64)
    link = _link(estimator)
    content = linear_of(estimator) if is_linear_model(estimator) else trees_of(estimator, link)
    return LocalModel(content, link, known, n_outputs)


def _link(estimator: Any) -> Link:
    if not hasattr(estimator, "classes_"):
        return "identity"
    if _gives_shares(estimator):
        return "share"
    return "logistic" if len(estimator.classes_) == 2 else "softmax"


def is_linear_model(estimator: Any) -> bool:
    """Return whether a model is one of scikit-learn's linear ones, fitted or not."""
    return isinstance(estimator, LogisticRegression | Ridge)


def is_histogram(estimator: Any) -> bool:
    """Return whether a model is scikit-learn's boosting by histograms, fitted or not."""
    kinds = HistGradientBoostingClassifier | HistGradientBoostingRegressor
    return isinstance(estimator, kinds)


def is_xgboost(estimator: Any) -> bool:
    """Return whether a model is one of XGBoost's, fitted or not."""
    module = sys.modules.get("xgboost")
    return module is not None and isinstance(estimator, module.XGBModel)


def linear_of(estimator: Any) -> Linear:
    """Return the coefficients of a fitted linear model."""
    coefficients = np.atleast_2d(estimator.coef_).astype(np.float64).T
    base = np.broadcast_to(
        np.asarray(estimator.intercept_, dtype=np.float64), coefficients.shape[1]
    )
    return Linear(np.ascontiguousarray(coefficients), np.array(base))


def trees_of(estimator: Any, link: Link) -> Trees:
    """Return the trees of a fitted model; of classes, with values of two digits.

    A share of rows in a leaf would else tell how many they are.
    """
    if is_histogram(estimator):
        base = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)
        trees = list(_histogram_trees(estimator))
    else:
        found = read_ensemble(estimator)
        trees, base = found.trees, found.base
    made = _joined(trees, len(base))
    if link == "identity":
        return replace(made, base=base)
    if link == "share":  # of each tree, not of all
        return replace(made, value=np.round(made.value * len(trees), 2), base=base)
    return replace(made, value=rounded(made.value), base=rounded(base, digits=3))


def _gives_shares(estimator: Any) -> bool:
    """Return whether the leaves of a classifier hold probabilities, and not margins."""
    return not (
        is_linear_model(estimator)
        or is_histogram(estimator)
        or is_xgboost(estimator)
        or hasattr(estimator, "init_")  # gradient boosting
    )


def _joined(trees: list[Tree], n_outputs: int) -> Trees:
    """Return the nodes of trees one after the other, those of a tree by their depth."""
    parts: dict[str, list[NDArray[Any]]] = {}
    roots, start = [], 0
    for tree in trees:
        order = _by_depth(tree)
        place = np.full(len(tree.left) + 1, -1)  # the last one for no child
        place[order] = np.arange(start, start + len(order))
        inner = tree.left[order] >= 0
        values = np.zeros((len(order), n_outputs))
        values[:, tree.first : tree.first + tree.values.shape[1]] = tree.values[order]
        roots.append(start)
        start += len(order)
        own = {
            "left": place[tree.left[order]],
            "right": place[tree.right[order]],
            "feature": np.where(inner, tree.feature[order], 0),
            "threshold": np.where(inner, tree.threshold[order], 0.0),
            "value": np.where(inner[:, None], 0.0, values),
        }
        for name, array in own.items():
            parts.setdefault(name, []).append(array)
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return Trees(np.asarray(roots), **joined, base=np.zeros(n_outputs))


def _by_depth(tree: Tree) -> NDArray[np.int64]:
    """Return the nodes that are reached, parents before their children."""
    order, level = [], [0]
    while level:
        order += level
        level = [int(c) for node in level for c in (tree.left[node], tree.right[node]) if c >= 0]
    return np.asarray(order, dtype=np.int64)


def _histogram_trees(estimator: Any) -> Iterator[Tree]:
    for stage in estimator._predictors:
        for first, predictor in enumerate(stage):
            nodes = predictor.nodes
            if nodes["is_categorical"].any():
                msg = (
                    "estimator: expected boosting that splits on numbers, got splits on "
                    "categories. Leave categorical_features as it is."
                )
                raise ConfigurationError(msg)
            leaf = nodes["is_leaf"].astype(bool)
            yield Tree(
                np.where(leaf, -1, nodes["left"].astype(np.int64)),
                np.where(leaf, -1, nodes["right"].astype(np.int64)),
                nodes["feature_idx"].astype(np.int64),
                nodes["num_threshold"].astype(np.float64),
                nodes["missing_go_to_left"].astype(bool),
                nodes["count"].astype(np.float64),
                nodes["value"].astype(np.float64)[:, None],
                first,
            )


def rounded(values: Floats, *, digits: int = 2) -> Floats:
    """Return numbers with so many significant digits."""
    size = np.where(values == 0, 1.0, np.abs(values))
    step = 10.0 ** (np.floor(np.log10(size)) - digits + 1)
    return np.asarray(np.round(values / step) * step)
