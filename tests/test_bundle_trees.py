"""Forged trees, and whatever else compiled code follows without looking: refused at load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.neighbors import KernelDensity, KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MultiLabelBinarizer, OneHotEncoder, PolynomialFeatures
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from skops import io as skops_io
from xgboost import XGBClassifier

from asfusion.bundle import sklearn_parts
from asfusion.bundle.sklearn_parts import _without_addresses, dump_skops, load_skops
from asfusion.bundle.xgboost_parts import dump_xgboost, load_xgboost
from asfusion.exceptions import BundleError
from tests.forging.trees import forged_skops
from tests.test_bundle_sklearn import entries, pack

PLAIN: dict[str, Any] = {"n_estimators": 2, "max_depth": 2, "n_jobs": 1}
ROOT = Path(__file__).resolve().parents[1]
X = np.random.default_rng(0).normal(size=(60, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
K = np.arange(60) % 3


def sneaked(part: Any) -> bytes:
    """Return what `dump_skops` would write if it did not look."""
    return _without_addresses(skops_io.dumps(part))


def put(name: str, at: Any, value: Any) -> Callable[[Any], None]:
    """Return what changes one number of an array of a part, or of its tree."""

    def change(part: Any) -> None:
        tree = getattr(part, "tree_", part)
        array = getattr(tree if hasattr(tree, name) else part, name)
        array[at] = value

    return change


def be(**values: Any) -> Callable[[Any], None]:
    """Return what replaces attributes of a part."""

    def change(part: Any) -> None:
        for name, value in values.items():
            setattr(part, name, value(getattr(part, name)) if callable(value) else value)

    return change


def of_first(change: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return the same for the first member of an ensemble."""
    return lambda part: change(np.ravel(part.estimators_)[0])


def record(name: str, value: Any, *, inner: bool = True) -> Callable[[Any], None]:
    """Return what changes the first node of a tree of histograms, or the last."""

    def change(part: Any) -> None:
        part._predictors[0][0].nodes[name][0 if inner else -1] = value

    return change


TREE = DecisionTreeClassifier(random_state=0)
FOREST = RandomForestClassifier(3, random_state=0)
BOOSTING = GradientBoostingClassifier(n_estimators=2)
HISTOGRAMS = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5)
ISOLATION = IsolationForest(n_estimators=2, max_features=2, random_state=0)
BRUTE = KNeighborsClassifier(3, algorithm="brute")
WORDS = CountVectorizer()
NOTES = ["morning stiffness", "no stiffness"]
CODES = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
ROUGH = OneHotEncoder(min_frequency=8, sparse_output=False, handle_unknown="infrequent_if_exist")
CASES: dict[str, tuple[Any, Any, Callable[[Any], None], str]] = {
    "child beyond": (TREE, Y, put("children_left", 0, 10**6), "the children of a tree"),
    "child of itself": (TREE, Y, put("children_left", 0, 0), "the children of a tree"),
    "one child twice": (TREE, Y, put("children_left", 0, 2), "the children of a tree"),
    "half a leaf": (TREE, Y, put("children_right", -1, 1), "the children of a tree"),
    "feature beyond": (TREE, Y, put("feature", 0, 100_000), "the features of a tree"),
    "feature before": (TREE, Y, put("feature", 0, -5), "the features of a tree"),
    "no threshold": (TREE, Y, put("threshold", 0, np.nan), "the nodes of a tree"),
    "no samples": (TREE, Y, put("n_node_samples", 0, 0), "the nodes of a tree"),
    "weight": (TREE, Y, put("weighted_n_node_samples", 0, np.inf), "the nodes of a tree"),
    "no value": (TREE, Y, put("value", 0, np.nan), "the values of a tree"),
    "other width": (TREE, Y, be(n_features_in_=9), "the features of a tree"),
    "no width": (TREE, Y, lambda part: delattr(part, "n_features_in_"), "n_features_in_"),
    "other outputs": (TREE, Y, be(n_outputs_=2), "n_outputs_"),
    "no tree": (TREE, Y, be(tree_=FOREST), "holds tree_"),
    "loose tree": (TREE, Y, lambda p: setattr(FOREST, "x_", p.tree_) or setattr(p, "x_", [p.tree_])
                   or delattr(p, "tree_") or delattr(FOREST, "x_"), "holds Tree"),
    "narrow forest": (FOREST, Y, be(n_features_in_=2), "estimators_"),
    "no forest": (FOREST, Y, be(estimators_=[]), "estimators_"),
    "strange forest": (FOREST, Y, be(estimators_=[HISTOGRAMS]), "estimators_"),
    "many classes": (FOREST, Y, be(n_classes_=10**8), "n_classes_"),
    "many outputs": (FOREST, Y, be(n_outputs_=10**8), "n_outputs_"),
    "boosting wider": (BOOSTING, Y, be(estimators_=lambda e: np.hstack([e, e])), "n_trees_per_it"),
    "boosting too wide": (
        BOOSTING,
        Y,
        be(estimators_=lambda e: np.hstack([e, e]), n_trees_per_iteration_=2),
        "estimators_",
    ),
    "boosting of nothing": (BOOSTING, Y, be(estimators_=lambda e: e[:0]), "estimators_"),
    "boosting astray": (BOOSTING, K, of_first(put("children_left", 0, 99)), "the children of"),
    "isolation": (ISOLATION, None, be(_max_features=4), "estimators_features_"),
    "fewer": (ISOLATION, None, be(estimators_features_=lambda e: e[:1]), "estimators_features_"),
    "record beyond": (HISTOGRAMS, Y, record("left", 10**6), "the children of a predictor"),
    "record loops": (HISTOGRAMS, Y, record("right", 0), "the children of a predictor"),
    "record feature": (HISTOGRAMS, Y, record("feature_idx", 4), "the features of a predictor"),
    "record category": (HISTOGRAMS, Y, record("is_categorical", 1), "the categories of a pred"),
    "record value": (HISTOGRAMS, Y, record("value", np.nan, inner=False), "the values of a pred"),
    "record count": (HISTOGRAMS, Y, record("count", 0), "the nodes of a predictor"),
    "record type": (
        HISTOGRAMS,
        Y,
        lambda p: setattr(p._predictors[0][0], "nodes", p._predictors[0][0].nodes[:0]),
        "the nodes of a predictor",
    ),
    "bit sets": (
        HISTOGRAMS,
        Y,
        lambda p: setattr(p._predictors[0][0], "raw_left_cat_bitsets", np.zeros((1, 1), "u4")),
        "the nodes of a predictor",
    ),
    "many per round": (HISTOGRAMS, Y, be(n_trees_per_iteration_=10**9), "n_trees_per_iteration_"),
    "label beyond": (BRUTE, K, put("_y", 0, 10**6), "holds _y"),
    "fewer labels": (BRUTE, K, be(_y=lambda y: y[:3]), "holds _y"),
    "narrow data": (BRUTE, K, be(_fit_X=lambda x: x[:, :1].copy()), "_fit_X"),
    "more data": (BRUTE, K, be(n_samples_fit_=10**6), "n_samples_fit_"),
    "more neighbours": (BRUTE, K, be(n_neighbors=100), "n_neighbors"),
    "data of nothing": (KNeighborsClassifier(), K, put("_fit_X", 0, np.nan), "the data of a k-d"),
    "leaf size": (KNeighborsClassifier(), K, be(leaf_size=0), "leaf_size"),
    "density": (KernelDensity(), None, be(n_features_in_=2), "holds tree_"),
    "support": (SVC(), K, put("_n_support", 0, 1000), "_n_support"),
    "negative support": (SVC(), K, put("_n_support", slice(2), [-5, 40]), "_n_support"),
    "classes of support": (SVC(), K, be(_n_support=lambda n: n[:2]), "_n_support"),
    "coefficients": (SVC(), K, be(_dual_coef_=lambda c: c[:, :1].copy()), "_dual_coef_"),
    "intercepts": (SVC(), K, be(_intercept_=lambda i: i[:1]), "_intercept_"),
    "vectors": (SVC(), K, be(support_vectors_=lambda v: v[:, :1].copy()), "support_vectors_"),
    "another machine": (SVC(), K, be(_impl="one_class"), "SVC._impl"),
    "a regression": (SVR(), Y, put("_n_support", 1, 0), "_n_support"),
    "own rows": (SVC(kernel="precomputed"), K, put("support_", 0, 10**6), "support_"),
    "centres": (KMeans(2), None, be(cluster_centers_=lambda c: c[:, :1].copy()), "cluster_cent"),
    "column of a word": (WORDS, NOTES, be(vocabulary_={"no": 10**9}), "vocabulary_"),
    "no columns": (HashingVectorizer(), NOTES, be(n_features=0), "n_features"),
    "fewer codes": (CODES, None, be(_n_features_outs=[1] * 4), "_n_features_outs"),
    "rare codes": (
        ROUGH,
        None,
        lambda p: p._default_to_infrequent_mappings[0].__setitem__(0, 10**6),
        "_n_features_outs",
    ),
    "dropped code": (CODES, None, be(_drop_idx_after_grouping=np.array([-1] * 4)), "drop_idx_"),
    "labels twice": (MultiLabelBinarizer(), [[1], [2]], be(classes_=np.array([1, 1])), "classes_"),
    "endless": (PolynomialFeatures(2), None, be(degree=10**9), "degree"),
    "method": (TREE, Y, be(predict=5), "DecisionTreeClassifier.predict"),
    "threads": (FOREST, Y, be(n_jobs="all"), "n_jobs"),
}  # fmt: skip


def fitted(part: Any, y: Any) -> Any:
    rows = X.copy()  # some parts keep what they are given
    if isinstance(y, list):
        rows, y = y, None
    elif getattr(part, "kernel", "") == "precomputed":
        rows = X @ X.T
    elif isinstance(part, OneHotEncoder):
        rows = np.floor(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return part.fit(rows) if y is None else part.fit(rows, y)


@pytest.mark.parametrize("case", CASES)
def test_what_leads_compiled_code_astray_is_refused(case: str) -> None:
    from sklearn.base import clone

    part, y, change, what = CASES[case]
    part = fitted(clone(part), y)
    load_skops(sneaked(part))
    change(part)
    with pytest.raises(BundleError, match=f"load: a scikit-learn part .* {what}"):
        load_skops(sneaked(part))


def test_depth_that_paths_would_overflow() -> None:
    part = fitted(DecisionTreeClassifier(), Y)
    part.tree_.max_depth = 0
    with pytest.raises(BundleError, match="the depth of a tree"):
        load_skops(sneaked(part))
    part.tree_.max_depth = 10**6
    with pytest.raises(BundleError, match="the size of a tree"):
        load_skops(sneaked(part))


def test_chain_that_is_no_tree() -> None:
    steps = np.arange(2500)
    part = DecisionTreeRegressor().fit(steps[:, None], np.exp2(steps / 4.0))
    with pytest.raises(BundleError, match="save: .*trees of more than 2000 levels"):
        dump_skops(part)


def test_votes_for_a_class_that_is_none() -> None:
    part = VotingClassifier([("a", DecisionTreeClassifier())]).fit(X, Y)
    part.estimators_[0].classes_ = np.array([0, 2**31 - 1])
    with pytest.raises(BundleError, match="the classes of a vote"):
        load_skops(sneaked(part))


def test_random_numbers_from_beyond_their_block() -> None:
    for generator in (np.random.RandomState(0), np.random.Generator(np.random.Philox(0))):
        part = fitted(RandomForestClassifier(2, random_state=0), Y)
        part.random_state = generator
        raw = sneaked(part)
        load_skops(raw)
        name = b'"pos"' if isinstance(generator, np.random.RandomState) else b'"buffer_pos"'
        schema = json.loads(_schema_of(raw))
        _set(schema, name.decode().strip('"'), "100000")
        with pytest.raises((BundleError, ValueError), match="a random generator"):
            load_skops(_with_schema(raw, schema))


def test_nearest_neighbours_are_planted_anew() -> None:
    part = fitted(KNeighborsClassifier(3), K)
    expected = part.predict_proba(X)
    raw = sneaked(part)
    part._tree.__getstate__()[1][:] = 10**6
    again = load_skops(sneaked(part))
    np.testing.assert_array_equal(again.predict_proba(X), expected)
    assert again._tree.__getstate__()[1].max() < 60
    np.testing.assert_array_equal(load_skops(raw).predict_proba(X), expected)


def test_no_more_threads_than_there_are_cores() -> None:
    part = fitted(RandomForestClassifier(2, random_state=0), Y).set_params(n_jobs=10**7)
    assert load_skops(dump_skops(part)).n_jobs == os.cpu_count()
    assert load_skops(dump_skops(part.set_params(n_jobs=-1))).n_jobs == -1
    assert load_xgboost("XGBClassifier", {"n_jobs": 10**7}, None).n_jobs == os.cpu_count()
    with pytest.raises(BundleError, match="load: a number of threads is none"):
        load_xgboost("XGBClassifier", {"n_jobs": "many"}, None)


def test_cache_in_other_words_is_refused() -> None:
    """A folder of pickles, named so that a look at the text would miss it."""
    part = VotingClassifier([("a", Pipeline([("tree", DecisionTreeClassifier())]))])
    schema = json.loads(_schema_of(sneaked(part)))
    _set(schema, "memory", ' "cache"')
    with pytest.raises(BundleError, match="load: a pipeline with memory= names"):
        load_skops(_with_schema(sneaked(part), schema))


def test_what_could_not_be_loaded_is_not_saved() -> None:
    part = fitted(DecisionTreeClassifier(), Y)
    part.tree_.value[0] = np.inf
    with pytest.raises(BundleError, match=r"save: DecisionTreeClassifier could not be loaded"):
        dump_skops(part)


# -- the words of skops ------------------------------------------------------------------


def _schema_of(raw: bytes) -> bytes:
    return entries(raw)["schema.json"]


def _with_schema(raw: bytes, schema: Any) -> bytes:
    return pack(entries(raw) | {"schema.json": json.dumps(schema).encode()})


def _set(node: Any, key: str, content: str) -> None:
    """Change the number or text that stands under a key, wherever it does."""
    if isinstance(node, dict):
        if isinstance(node.get(key), dict):
            node[key] = dict(node[key], content=content, __id__=-1)
            node[key] |= {"__loader__": "JsonNode", "__class__": "str", "__module__": "builtins"}
        for value in node.values():
            _set(value, key, content)
    elif isinstance(node, list):
        for value in node:
            _set(value, key, content)


def _trees(node: Any) -> list[Any]:
    if isinstance(node, list):
        return [tree for item in node for tree in _trees(item)]
    if not isinstance(node, dict):
        return []
    found = [node] if node.get("__loader__") == "TreeNode" else []
    return found + [tree for item in node.values() for tree in _trees(item)]


def _stand_in(tree: Any, node: Any) -> None:
    """Let a node be read as another one of its number, which lies elsewhere."""
    tree["elsewhere"] = node | {"content": []}
    del node["__loader__"]


SCHEMAS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "outputs": (lambda t: t["__reduce__"]["args"]["content"][2].update(content="99", __id__=-1),
                "a tree of other outputs"),
    "no outputs": (lambda t: t["__reduce__"]["args"]["content"][2].update(content="-1", __id__=-1),
                   "a count that is none"),
    "nodes": (lambda t: t["content"]["content"]["node_count"].update(content="99", __id__=-1),
              "a tree of other nodes"),
    "twice": (lambda t: t["__reduce__"]["args"].update(__id__=t["content"]["__id__"]),
              "a tree twice"),
    "other outputs elsewhere": (lambda t: _stand_in(t, t["__reduce__"]["args"]),
                                "a tree of other kinds"),
    "other classes elsewhere": (lambda t: _stand_in(t, t["__reduce__"]["args"]["content"][1]),
                                "a tree of other kinds"),
    "other nodes elsewhere": (lambda t: _stand_in(t, t["content"]["content"]["nodes"]),
                              "a tree of other kinds"),
    "looked up in an object": (lambda t: t["content"].update(
        __loader__="ObjectNode", __module__="sklearn.pipeline", __class__="Pipeline"),
        "a tree of other kinds"),
    "no number": (lambda t: t.pop("__id__"), "a node without number"),
    "other number": (lambda t: t["__reduce__"]["args"]["content"][2].update(content="99"),
                     "two nodes of one number"),
    "list": (lambda t: t["__reduce__"]["args"]["content"][2].update(content="[[]]", __id__=-1),
             "a list in place of a number"),
    "one file": (lambda t: t["content"]["content"]["values"].update(
        file=t["content"]["content"]["nodes"]["file"]), "one file for two arrays"),
    "made of rows": (lambda t: t["content"]["content"]["values"].update(
        __module__="sklearn.neighbors._kd_tree", __class__="KDTree"), "types that no saved"),
    "empty": (lambda t: t.update(__loader__="ObjectNode"), "objects without content"),
    "partial": (lambda t: t.update(__loader__="PartialNode"), "types that no saved model has"),
}  # fmt: skip


@pytest.mark.parametrize("case", SCHEMAS)
def test_schema_that_skops_would_not_write(case: str) -> None:
    change, what = SCHEMAS[case]
    raw = sneaked(fitted(RandomForestClassifier(2, random_state=0), Y))
    schema = json.loads(_schema_of(raw))
    change(_trees(schema)[0])
    # Some are found by a look at the text alone, before it is known what they hold.
    with pytest.raises(BundleError, match=rf"as save wrote it(: it holds {what}| \(its schema\))"):
        load_skops(_with_schema(raw, schema))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b"'shape': (2,)", b"'shape': (9,)", "an array of another size"),
        (b"'shape': (2,)", b"'shape': -2  ", "an array of no size"),
        (b"'<i8'", b"'|O8'", "an array of nothing"),
        (b"'<i8'", b"'?!!'", "an array with another header"),
        (b"\x93NUMPY", b"\x93NUMPI", "an array without header"),
    ],
)
def test_array_that_is_not_as_its_header_says(old: bytes, new: bytes, what: str) -> None:
    contents = entries(sneaked(fitted(RandomForestClassifier(2, random_state=0), Y)))
    name = next(n for n, c in contents.items() if old in c[:120] and b"(2,)" in c[:120])
    contents[name] = contents[name].replace(old, new, 1)
    with pytest.raises(BundleError, match=what):
        load_skops(pack(contents))


# -- any seed --------------------------------------------------------------------------------

_FORGE = """
import pathlib, sys, time
import numpy as np
from asfusion.bundle import sklearn_parts
from asfusion.bundle.sklearn_parts import load_skops
from asfusion.bundle.xgboost_parts import load_xgboost
from tests.forging.trees import forged_skops, forged_ubjson

X = np.random.default_rng(0).normal(size=(60, 4))
FORGE = {".ubj": forged_ubjson, ".skops": forged_skops}

def load(raw, kind):
    return load_skops(raw) if kind == ".skops" else load_xgboost("XGBRegressor", {"n_jobs": 1}, raw)

slowest = 0
for file in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    raw, kind = file.read_bytes(), file.suffix
    if kind == ".skops":
        load(raw, kind)  # which imports what is slow to import
    for seed in range(4):
        begin = time.process_time()
        try:
            load(FORGE[kind](raw, seed), kind).predict(X)
        except Exception:
            pass
        slowest = max(slowest, time.process_time() - begin)
print(slowest)
"""


def test_forged_trees_end_in_an_error_or_a_number(tmp_path: Path) -> None:
    for number, model in enumerate(
        (XGBClassifier(**PLAIN), XGBClassifier(**PLAIN, booster="dart"))
    ):
        (tmp_path / f"{number}.ubj").write_bytes(dump_xgboost(model.fit(X, K)))
    for name in ("child beyond", "narrow forest", "boosting astray", "record beyond", "support",
                 "isolation", "label beyond", "density"):  # fmt: skip
        part, y, _, _ = CASES[name]
        (tmp_path / f"{name}.skops").write_bytes(dump_skops(fitted(part, y)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORGE, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert float(done.stdout) < 10


def test_forgeries_follow_from_their_seed() -> None:
    raw = dump_skops(fitted(DecisionTreeClassifier(random_state=0), Y))
    assert forged_skops(raw, 3) == forged_skops(raw, 3)
    assert forged_skops(raw, 3) != forged_skops(raw, 4)


def test_directory_of_an_archive_is_measured_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each entry is an object of Python: seventy thousand of a hundred bytes are as many MB."""
    raw = dump_skops(fitted(RandomForestClassifier(2, random_state=0), Y))
    monkeypatch.setattr(sklearn_parts, "_MOST_DIRECTORY", 100)
    monkeypatch.setattr(sklearn_parts.zipfile, "ZipFile", None)  # is not asked
    with pytest.raises(BundleError, match="it holds another archive"):
        load_skops(raw)
    with pytest.raises(BundleError, match="it holds another archive"):
        load_skops(raw + b" ")
