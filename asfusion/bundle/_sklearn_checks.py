"""What scikit-learn's compiled code would believe: numbers that it indexes by, checked first.

Python and NumPy answer a wrong index with an error; compiled loops read or write what lies
there. So each kind of part that is handed to such a loop is checked when it is loaded:
shapes against each other, indices against what they index, trees for being trees. What can be
made anew from data, is (k-d trees). Parts whose predictions are NumPy need nothing here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from asfusion.bundle._sklearn_trees import Trees, check_predictors
from asfusion.bundle._unlike import NamesCache, Unlike, require

_THREADS = ("n_jobs", "_n_threads", "n_threads")
# Rounds that are run at each prediction, and the most of them that a model may ask for.
_ROUNDS = {
    "sklearn.decomposition._dict_learning.DictionaryLearning": ("transform_max_iter", 20_000),
    "sklearn.decomposition._dict_learning.MiniBatchDictionaryLearning": (
        "transform_max_iter",
        20_000,
    ),
    "sklearn.decomposition._dict_learning.SparseCoder": ("transform_max_iter", 20_000),
    "sklearn.decomposition._lda.LatentDirichletAllocation": ("max_doc_update_iter", 20_000),
    "sklearn.decomposition._nmf.NMF": ("max_iter", 20_000),
    "sklearn.decomposition._nmf.MiniBatchNMF": ("max_iter", 20_000),
    "sklearn.kernel_approximation.AdditiveChi2Sampler": ("sample_steps", 100),
    "sklearn.kernel_approximation.PolynomialCountSketch": ("degree", 100),
    "sklearn.preprocessing._polynomial.PolynomialFeatures": ("degree", 100),
}


def check_part(part: Any) -> None:
    """Check everything within a part, and make anew what is never believed.

    Raises
    ------
    Unlike
        If compiled code could not be given it.
    """
    trees = Trees()
    later: list[Callable[[], None]] = []
    for thing in _objects(part):
        _check_attributes(thing)
        for kind in type(thing).__mro__:
            check = _CHECKS.get(f"{kind.__module__}.{kind.__name__}")
            if check is not None:
                check(thing, trees, later)
    trees.check()
    for check_now in later:
        check_now()


def _objects(part: Any) -> Iterator[Any]:
    """Return every object of scikit-learn within a part, once."""
    seen: dict[int, Any] = {}
    waiting = [part]
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, str | int | float | None) or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if isinstance(thing, dict):
            waiting.extend(thing.values())
        elif isinstance(thing, list | tuple | set):
            waiting.extend(thing)
        elif isinstance(thing, np.ndarray):
            if thing.dtype.hasobject:
                waiting.extend(thing.ravel().tolist())
        elif isinstance(thing, np.random.RandomState | np.random.Generator):
            _check_generator(thing)
        elif type(thing).__module__.partition(".")[0] == "sklearn":
            yield thing
            # What a check has put anew is not looked at again.
            waiting.extend(vars(thing).values() if hasattr(thing, "__dict__") else ())


def _check_generator(generator: Any) -> None:
    """Numbers are taken from a block from a position on, which nothing else checks."""
    if isinstance(generator, np.random.RandomState):
        state: Any = generator.get_state(legacy=False)
    else:
        state = generator.bit_generator.state
    inner = state["state"]
    if isinstance(inner, dict) and "pos" in inner:
        require(0 <= inner["pos"] <= len(inner["key"]), "a random generator")
    if "buffer_pos" in state:
        require(0 <= state["buffer_pos"] <= len(state["buffer"]), "a random generator")


def _check_attributes(thing: Any) -> None:
    """Check what all parts have in common, and ask for no more threads than there are."""
    if not hasattr(thing, "__dict__"):
        return
    found = vars(thing)
    kind = type(thing)
    if found.get("memory") is not None:
        raise NamesCache("memory")
    for name in found:
        # Data in the place of a method or of a constant of the class.
        if hasattr(kind, name) and name not in _parameters(kind):
            raise Unlike(f"{kind.__name__}.{name}")
    for name in _THREADS:
        if found.get(name) is not None:
            require(type(found[name]) in (int, np.int64), name)
            found[name] = min(int(found[name]), os.cpu_count() or 1)
    classes, count = found.get("classes_"), found.get("n_classes_")
    if classes is not None and count is not None:
        many = isinstance(classes, list)
        sizes = [len(each) for each in classes] if many else [len(classes)]
        require(np.ndim(count) == int(many) and list(np.ravel(count)) == sizes, "n_classes_")
    name, most = _ROUNDS.get(f"{kind.__module__}.{kind.__name__}", ("", 0))
    if name and isinstance(found.get(name), int):
        require(found[name] <= most, name)


def _parameters(kind: type) -> list[str]:
    names = getattr(kind, "_get_param_names", None)
    return list(names()) if names is not None else []


def _array(thing: Any, name: str, kinds: str, n_dims: int) -> Any:
    found = vars(thing).get(name)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in kinds or found.ndim != n_dims:
        raise Unlike(name)
    return found


def _n_features(thing: Any) -> int:
    found = vars(thing).get("n_features_in_")
    if type(found) not in (int, np.int64) or found < 1:
        raise Unlike("n_features_in_")
    return int(found)


# -- trees -------------------------------------------------------------------------------


def _check_bare(thing: Any, trees: Trees, _: Any) -> None:
    """Refuse a tree or a k-d tree that was not met, and checked, by what holds it."""
    require(trees.knows(thing), type(thing).__name__)


def _check_tree(thing: Any, trees: Trees, _: Any) -> None:
    tree = vars(thing).get("tree_")
    if tree is not None:
        trees.add(tree, _n_features(thing))
        require(vars(thing).get("n_outputs_") == tree.n_outputs, "n_outputs_")


def _check_members(thing: Any, n_features: int) -> list[Any]:
    """Return the fitted trees of an ensemble that hands them its rows unchecked."""
    members = list(np.ravel(np.array(vars(thing)["estimators_"], dtype=object)))
    for member in members:
        kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(member).__mro__}
        require("sklearn.tree._classes.BaseDecisionTree" in kinds, "estimators_")
        require("tree_" in vars(member) and _n_features(member) == n_features, "estimators_")
    return members


def _check_forest(thing: Any, _: Trees, __: Any) -> None:
    if "estimators_" not in vars(thing):
        return
    members = _check_members(thing, _n_features(thing))
    require(bool(members), "estimators_")
    for member in members:
        for name in ("n_outputs_", "n_classes_"):
            one, all_ = vars(member).get(name), vars(thing).get(name)
            require(all_ is None or np.array_equal(one, all_), name)


def _check_isolation(thing: Any, _: Trees, __: Any) -> None:
    """Trees see the columns that were drawn for them."""
    if "estimators_" not in vars(thing):
        return
    n_features, seen = _n_features(thing), vars(thing).get("_max_features")
    drawn = vars(thing)["estimators_features_"]
    require(len(drawn) == len(thing.estimators_), "estimators_features_")
    for member, columns in zip(thing.estimators_, drawn, strict=True):
        given = n_features if seen == n_features else len(columns)
        require(_n_features(member) == given, "estimators_features_")


def _check_boosting(thing: Any, _: Trees, later: list[Callable[[], None]]) -> None:
    """Each column of trees adds to a column of what the first guess returns."""
    if "estimators_" not in vars(thing):
        return
    n_features = _n_features(thing)
    stages = _array(thing, "estimators_", "O", 2)
    require(stages.size, "estimators_")
    for member in _check_members(thing, n_features):
        tree = member.tree_
        require(tree.n_outputs == 1 and tree.max_n_classes == 1, "estimators_")
    require(vars(thing).get("n_trees_per_iteration_") == stages.shape[1], "n_trees_per_iteration_")

    def guess() -> None:
        first = thing._raw_predict_init(np.zeros((1, n_features), dtype=np.float32))
        require(first.shape == (1, stages.shape[1]), "estimators_")

    later.append(guess)


def _check_histograms(thing: Any, _: Trees, __: Any) -> None:
    if "_predictors" not in vars(thing):
        return
    n_features, bins = _n_features(thing), vars(thing)["_bin_mapper"]
    require(vars(thing).get("_preprocessor") is None, "_preprocessor")
    require(not vars(thing).get("_in_fit", False), "_in_fit")
    per_round = {len(each) for each in thing._predictors}
    require(per_round <= {vars(thing).get("n_trees_per_iteration_")}, "n_trees_per_iteration_")
    categorical = _array(bins, "is_categorical_", "u", 1)
    require(categorical.shape == (n_features,), "is_categorical_")
    require(len(bins.bin_thresholds_) == n_features, "bin_thresholds_")
    require(thing.n_trees_per_iteration_ < 1 << 16, "n_trees_per_iteration_")
    check_predictors([each for group in thing._predictors for each in group], categorical)


# -- neighbours --------------------------------------------------------------------------


def _check_neighbours(thing: Any, trees: Trees, _: Any) -> None:
    if vars(thing).get("_fit_method") is None:
        return
    data = _array(thing, "_fit_X", "fiu", 2)
    require(data.size and data.shape[1] == _n_features(thing), "_fit_X")
    require(vars(thing).get("n_samples_fit_") == len(data), "n_samples_fit_")
    if vars(thing).get("_tree") is not None:
        thing._tree = _planted(data, vars(thing).get("leaf_size"), None)
        trees.know(thing._tree)
    labels = vars(thing).get("_y")
    if labels is not None:
        require(isinstance(labels, np.ndarray) and len(labels) == len(data), "_y")
        if "classes_" in vars(thing):
            _check_labels(thing, labels)
    if "KNeighborsC" in type(thing).__name__:
        wanted = vars(thing).get("n_neighbors")
        require(type(wanted) is int and 1 <= wanted <= len(data), "n_neighbors")


def _check_labels(thing: Any, labels: Any) -> None:
    """Votes are counted in the place that a label says."""
    classes = thing.classes_ if isinstance(thing.classes_, list) else [thing.classes_]
    columns = labels.reshape(len(labels), -1)
    require(labels.dtype.kind in "iu" and columns.shape[1] == len(classes), "_y")
    for column, known in zip(columns.T, classes, strict=True):
        require(((column >= 0) & (column < len(known))).all(), "_y")


def _check_density(thing: Any, trees: Trees, _: Any) -> None:
    old = vars(thing).get("tree_")
    if old is None:
        return
    require(type(old).__name__ == "KDTree", "tree_")
    state = old.__getstate__()
    require(np.ndim(state[0]) == 2 and state[0].shape[1] == _n_features(thing), "tree_")
    thing.tree_ = _planted(state[0], state[4], state[12])
    trees.know(thing.tree_)


def _planted(data: Any, leaf_size: Any, weights: Any) -> Any:
    """Return a k-d tree made anew: its own arrays of nodes would be believed."""
    from sklearn.neighbors import KDTree

    require(np.isfinite(data).all(), "the data of a k-d tree")
    require(type(leaf_size) is int and 1 <= leaf_size < 1 << 31, "leaf_size")
    if weights is not None:
        require(np.isfinite(weights).all() and weights.shape == data.shape[:1], "sample_weight")
    return KDTree(data, leaf_size=leaf_size, metric="euclidean", sample_weight=weights)


# -- kernels, centres, categories ----------------------------------------------------------


def _check_svm(thing: Any, _: Trees, __: Any) -> None:
    """Libsvm takes the counts of support vectors and copies as many coefficients."""
    if "support_vectors_" not in vars(thing):
        return
    require(vars(thing).get("_sparse") is False, "_sparse")
    vectors, counts = _array(thing, "support_vectors_", "f", 2), _array(thing, "_n_support", "i", 1)
    support = _array(thing, "support_", "i", 1)
    n_features, n_vectors = _n_features(thing), len(support)
    n_classes = _check_counts(thing, counts, n_vectors)
    require(_array(thing, "_dual_coef_", "f", 2).shape == (n_classes - 1, n_vectors), "_dual_coef_")
    n_pairs = n_classes * (n_classes - 1) // 2
    require(_array(thing, "_intercept_", "f", 1).shape == (n_pairs,), "_intercept_")
    for name in ("_probA", "_probB"):
        require(len(_array(thing, name, "f", 1)) in (0, n_pairs), name)
    require(thing._probA.shape == thing._probB.shape or n_pairs == 1, "_probA")
    if thing.kernel == "precomputed":
        require(((support >= 0) & (support < n_features)).all(), "support_")
        require(tuple(thing.shape_fit_) == (n_features, n_features), "shape_fit_")
    else:
        require(vectors.shape == (n_vectors, n_features), "support_vectors_")
    require(type(thing.degree) is int and np.isfinite(thing._gamma), "degree")


def _check_counts(thing: Any, counts: Any, n_vectors: int) -> int:
    """Return how many classes there are; a regression counts as two."""
    if thing._impl in ("c_svc", "nu_svc"):
        require(len(counts) == len(thing.classes_) >= 2, "_n_support")
        require((counts >= 0).all() and counts.sum(dtype=np.int64) == n_vectors, "_n_support")
    else:
        require(np.array_equal(counts, [n_vectors, n_vectors]), "_n_support")
    return len(counts)


def _check_centres(thing: Any, _: Trees, __: Any) -> None:
    if "cluster_centers_" in vars(thing):
        centres = _array(thing, "cluster_centers_", "f", 2)
        require(len(centres) and centres.shape[1] == _n_features(thing), "cluster_centers_")


def _check_one_hot(thing: Any, _: Trees, __: Any) -> None:
    """Cells of a sparse matrix are written where categories say."""
    if "categories_" not in vars(thing):
        return
    sizes = vars(thing).get("_n_features_outs")
    require(len(thing.categories_) == _n_features(thing), "categories_")
    require(isinstance(sizes, list) and len(sizes) == len(thing.categories_), "_n_features_outs")
    dropped = vars(thing).get("_drop_idx_after_grouping")
    mappings = vars(thing).get("_default_to_infrequent_mappings") or [None] * len(sizes)
    if not vars(thing).get("_infrequent_enabled", False):
        mappings = [None] * len(sizes)
    drops = [None] * len(sizes) if dropped is None else list(dropped)
    for known, size, mapping, drop in zip(thing.categories_, sizes, mappings, drops, strict=True):
        n_codes = len(known)
        if mapping is not None:
            require(len(mapping) == n_codes and (mapping >= 0).all(), "infrequent categories")
            n_codes = int(mapping.max()) + 1
        if drop is not None:
            require(0 <= drop < n_codes, "drop_idx_")
            n_codes -= 1
        require(n_codes <= size <= len(known), "_n_features_outs")


def _check_votes(thing: Any, _: Trees, __: Any) -> None:
    """Votes are counted up to the greatest class that a member names."""
    for member in vars(thing).get("estimators_", ()):
        named = np.asarray(getattr(member, "classes_", ()))
        n_classes = len(vars(thing)["classes_"])
        require(named.dtype.kind in "iu" or not named.size, "the classes of a vote")
        require(((named >= 0) & (named < n_classes)).all(), "the classes of a vote")


def _check_vocabulary(thing: Any, _: Trees, __: Any) -> None:
    """Words are counted in the column that the vocabulary says."""
    for name in ("vocabulary_", "vocabulary"):
        found = vars(thing).get(name)
        if isinstance(found, dict):
            columns = list(found.values())
            require(all(type(c) in (int, np.int64) for c in columns), name)
            require(sorted(columns) == list(range(len(columns))), name)


def _check_hasher(thing: Any, _: Trees, __: Any) -> None:
    size = vars(thing).get("n_features")
    require(type(size) is int and 1 <= size < 1 << 31, "n_features")


def _check_labels_by_word(thing: Any, _: Trees, __: Any) -> None:
    classes = vars(thing).get("classes_")
    if classes is not None:
        require(len(set(np.ravel(classes).tolist())) == len(classes), "classes_")
    require(vars(thing).get("_cached_dict") is None, "_cached_dict")


_CHECKS: dict[str, Callable[[Any, Trees, list[Callable[[], None]]], None]] = {
    "sklearn.cluster._kmeans._BaseKMeans": _check_centres,
    "sklearn.ensemble._forest.BaseForest": _check_forest,
    "sklearn.ensemble._gb.BaseGradientBoosting": _check_boosting,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting": (
        _check_histograms
    ),
    "sklearn.ensemble._iforest.IsolationForest": _check_isolation,
    "sklearn.ensemble._voting.VotingClassifier": _check_votes,
    "sklearn.feature_extraction._dict_vectorizer.DictVectorizer": _check_vocabulary,
    "sklearn.feature_extraction._hash.FeatureHasher": _check_hasher,
    "sklearn.feature_extraction.text.CountVectorizer": _check_vocabulary,
    "sklearn.feature_extraction.text.HashingVectorizer": _check_hasher,
    "sklearn.neighbors._base.NeighborsBase": _check_neighbours,
    "sklearn.neighbors._kd_tree.KDTree": _check_bare,
    "sklearn.neighbors._kde.KernelDensity": _check_density,
    "sklearn.preprocessing._encoders.OneHotEncoder": _check_one_hot,
    "sklearn.preprocessing._label.MultiLabelBinarizer": _check_labels_by_word,
    "sklearn.svm._base.BaseLibSVM": _check_svm,
    "sklearn.tree._classes.BaseDecisionTree": _check_tree,
    "sklearn.tree._tree.Tree": _check_bare,
}
