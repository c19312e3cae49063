"""Trees of XGBoost: forged ones are refused before XGBoost sees them, and so are other versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost
from xgboost import XGBClassifier, XGBRegressor

from asfusion.bundle._ubjson import read_ubjson
from asfusion.bundle.xgboost_parts import dump_xgboost, load_xgboost
from asfusion.exceptions import BundleError
from tests.forging.trees import write_ubjson

X = np.random.default_rng(0).normal(size=(60, 4))
K = np.arange(60) % 3
PLAIN = {"n_estimators": 2, "max_depth": 2, "n_jobs": 1}
CATEGORIES = {**PLAIN, "feature_types": ["c", "q", "q", "q"], "enable_categorical": True}


@pytest.fixture(scope="module")
def boosters() -> dict[str, bytes]:
    codes = np.c_[K, X[:, 1:]]
    many = {**PLAIN, "multi_strategy": "multi_output_tree", "tree_method": "hist"}
    made = {
        "numbers": XGBRegressor(**PLAIN).fit(X, X[:, 0] + 140),
        "classes": XGBClassifier(**PLAIN).fit(X, K),
        "categories": XGBRegressor(**CATEGORIES, max_cat_to_onehot=9).fit(codes, K),
        "vectors": XGBRegressor(**many).fit(X, X[:, :2]),
        "dart": XGBRegressor(**PLAIN, booster="dart").fit(X, X[:, 0]),
        "linear": XGBRegressor(**{**PLAIN, "max_depth": None}, booster="gblinear").fit(X, X[:, 0]),
        "quantiles": XGBRegressor(
            **PLAIN, objective="reg:quantileerror", quantile_alpha=[0.1, 0.9]
        ).fit(X, X[:, 0]),
        "ranks": xgboost.XGBRanker(**PLAIN, lambdarank_unbiased=True).fit(
            X, K, qid=K.cumsum() // 20
        ),
        "pruned": XGBRegressor(**PLAIN, tree_method="exact", gamma=5.0).fit(X, 9 * X[:, 0]),
        "names": XGBRegressor(**PLAIN).fit(_frame(), X[:, 0]),
        "none": XGBRegressor(n_estimators=0).fit(X, X[:, 0]),
    }
    return {name: dump_xgboost(model) for name, model in made.items()}


def _frame() -> Any:
    import pandas as pd

    return pd.DataFrame(X, columns=list("abcd"))


def test_boosters_of_all_kinds_are_read(boosters: dict[str, bytes]) -> None:
    for name, raw in boosters.items():
        assert write_ubjson(read_ubjson(raw)) == raw, name
        params = {"booster": {"dart": "dart", "linear": "gblinear"}.get(name), "n_jobs": 1}
        assert load_xgboost("XGBRegressor", params, raw).get_booster().num_features() == 4


def step(model: Any, path: str) -> tuple[Any, Any]:
    """Return the container and the key that a path such as "learner/attributes" ends in."""
    keys = [int(key) if key.isdigit() else key for key in path.split("/")]
    for key in keys[:-1]:
        model = model[key]
    return model, keys[-1]


GBTREE = "learner/gradient_booster/model"
FIRST = f"{GBTREE}/trees/0"
PARAM = "learner/learner_model_param"
FORGED: list[tuple[str, str, Any, str]] = [
    ("numbers", f"{FIRST}/left_children", lambda a: put_at(a, 0, 10**6), "children"),
    ("numbers", f"{FIRST}/left_children", lambda a: put_at(a, 0, 0), "children"),
    ("numbers", f"{FIRST}/right_children", lambda a: put_at(a, 0, 1), "children"),
    ("numbers", f"{FIRST}/right_children", lambda a: put_at(a, -1, 5), "right_children"),
    ("numbers", f"{FIRST}/parents", lambda a: put_at(a, 1, 10**6), "parents"),
    ("numbers", f"{FIRST}/parents", lambda a: put_at(a, 1, 2), "parents"),
    ("numbers", f"{FIRST}/parents", lambda a: put_at(a, 0, 0), "parents"),
    ("numbers", f"{FIRST}/split_indices", lambda a: put_at(a, 0, 4), "split_indices"),
    ("numbers", f"{FIRST}/split_type", lambda a: put_at(a, 0, 1), "categories_nodes"),
    ("numbers", f"{FIRST}/split_type", lambda a: put_at(a, -1, 1), "split_type"),
    ("numbers", f"{FIRST}/split_type", lambda a: put_at(a, 0, 7), "split_type"),
    ("numbers", f"{FIRST}/default_left", lambda a: put_at(a, 0, 7), "default_left"),
    ("numbers", f"{FIRST}/base_weights", lambda a: put_at(a, 0, np.nan), "base_weights"),
    ("numbers", f"{FIRST}/base_weights", lambda a: a[:1], "base_weights"),
    ("numbers", f"{FIRST}/base_weights", lambda a: a.astype(">f8"), "base_weights"),
    ("numbers", f"{FIRST}/split_conditions", lambda a: put_at(a, -1, np.inf), "conditions"),
    ("numbers", f"{FIRST}/id", 1, "the order of trees"),
    ("numbers", f"{FIRST}/tree_param/num_nodes", "1000000000", "left_children|base_weights"),
    ("numbers", f"{FIRST}/tree_param/num_nodes", "0", "tree_param"),
    ("numbers", f"{FIRST}/tree_param/num_nodes", "7a", "num_nodes"),
    ("numbers", f"{FIRST}/tree_param/num_feature", "1000", "tree_param"),
    ("numbers", f"{FIRST}/tree_param/num_deleted", "1", "num_deleted"),
    ("numbers", f"{FIRST}/tree_param/size_leaf_vector", "9", "the parts of a tree"),
    ("numbers", f"{FIRST}/tree_param", {}, "the parts of tree_param"),
    ("numbers", f"{GBTREE}/trees", lambda t: t[:1], "num_trees"),
    ("numbers", f"{GBTREE}/trees/0", 5, "trees"),
    ("numbers", f"{GBTREE}/tree_info", [0, 9], "tree_info"),
    ("numbers", f"{GBTREE}/tree_info", [0], "tree_info"),
    ("numbers", f"{GBTREE}/iteration_indptr", [0, 9, 2], "iteration_indptr"),
    ("numbers", f"{GBTREE}/gbtree_model_param/num_trees", "1000000000", "num_trees"),
    ("numbers", f"{GBTREE}/gbtree_model_param/num_parallel_tree", "0", "num_parallel_tree"),
    ("numbers", f"{GBTREE}/cats/enc", [{}] * 4, "cats"),
    ("numbers", f"{GBTREE}/cats", {}, "the parts of cats"),
    ("numbers", "learner/gradient_booster/name", "gbmystery", "the booster"),
    ("numbers", "learner/gradient_booster", {}, "the booster"),
    ("numbers", f"{PARAM}/num_feature", "1000000000", "num_feature"),
    ("numbers", f"{PARAM}/num_class", "1000", "base_score|tree_info"),
    ("numbers", f"{PARAM}/num_target", "0", "num_target"),
    ("numbers", f"{PARAM}/num_target", "3", "tree_info"),
    ("numbers", f"{PARAM}/base_score", "[1,2,3]", "base_score"),
    ("numbers", f"{PARAM}/base_score", "[nan]", "base_score"),
    ("numbers", f"{PARAM}/boost_from_average", "maybe", "boost_from_average"),
    ("numbers", "learner/attributes", {"best_iteration": "1000000"}, "best_iteration"),
    ("numbers", "learner/attributes", {"a": 5}, "attributes"),
    ("numbers", "learner/feature_names", ["a"], "feature_names"),
    ("numbers", "learner/objective", {"name": "own:loss"}, "the objective"),
    ("numbers", "learner/objective", {"name": "reg:gamma", "zz": 5}, "the objective"),
    ("numbers", "learner/objective", {"name": "multi:softmax"}, "the objective"),
    ("numbers", "learner/objective/reg_loss_param", {"a": 5}, "reg_loss_param"),
    ("numbers", "learner", {}, "the parts of the learner"),
    ("numbers", "version", [3], "its version"),
    ("classes", "learner/objective/softmax_multiclass_param/num_class", "7", "num_class"),
    ("quantiles", "learner/objective/quantile_loss_param/quantile_alpha", "[1E-1]", "quantiles"),
    ("categories", f"{FIRST}/categories", lambda a: put_at(a, 0, 2**24), "categories"),
    ("categories", f"{FIRST}/categories", lambda a: put_at(a, 0, -1), "categories"),
    ("categories", f"{FIRST}/categories_sizes", lambda a: put_at(a, 0, 10**9), "categories_sizes"),
    ("categories", f"{FIRST}/categories_sizes", lambda a: a[:0], "categories_sizes"),
    ("categories", f"{FIRST}/categories_segments", lambda a: put_at(a, 0, 9), "categories_segm"),
    ("categories", f"{FIRST}/categories_nodes", lambda a: put_at(a, 0, 10**6), "categories_nodes"),
    ("numbers", f"{FIRST}/categories", lambda a: np.zeros(1, ">i4"), "categories_nodes"),
    ("vectors", f"{FIRST}/leaf_weights", lambda a: a[:1], "leaf_weights"),
    ("vectors", f"{FIRST}/right_children", lambda a: put_at(a, -1, 10**6), "right_children"),
    ("dart", "learner/gradient_booster/weight_drop", [1.0], "weight_drop"),
    ("dart", "learner/gradient_booster/gbtree/name", "dart", "dart"),
    ("linear", f"{GBTREE}/weights", lambda a: a[:1], "weights"),
    ("linear", f"{GBTREE}/boosted_rounds", -1, "boosted_rounds"),
]


def put_at(array: Any, at: int, value: Any) -> Any:
    changed = array.copy()
    changed[at] = value
    return changed


@pytest.mark.parametrize(
    ("kind", "path", "value", "what"),
    FORGED,
    ids=[f"{c[0]}-{c[1]}-{i}" for i, c in enumerate(FORGED)],
)
def test_forged_trees_of_xgboost_are_refused(
    kind: str, path: str, value: Any, what: str, boosters: dict[str, bytes]
) -> None:
    model = read_ubjson(boosters[kind])
    holder, key = step(model, path)
    holder[key] = value(holder[key]) if callable(value) else value
    with pytest.raises(BundleError, match=rf"trees are not as XGBoost writes them \(({what})"):
        load_xgboost("XGBRegressor", {}, write_ubjson(model))


def test_categories_that_take_memory_without_end(boosters: dict[str, bytes]) -> None:
    model = read_ubjson(boosters["categories"])
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    for tree in trees:
        ends = np.cumsum(tree["categories_sizes"].astype(int)) - 1
        tree["categories"] = tree["categories"].copy()
        tree["categories"][ends] = 2**24 - 1
    many = trees * 40
    for number, tree in enumerate(many):
        many[number] = {**tree, "id": number}
    inner = model["learner"]["gradient_booster"]["model"]
    inner |= {"trees": many, "tree_info": [0] * 80, "iteration_indptr": list(range(81))}
    inner["gbtree_model_param"]["num_trees"] = "80"
    with pytest.raises(BundleError, match=r"\(categories\)"):
        load_xgboost("XGBRegressor", {}, write_ubjson(model))


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"", "a kind of value that no model has|cut"),
        (b"5", "a kind of value"),
        (b"{}x", "not one mapping"),
        (b"i\x05", "not one mapping"),
        (b"{L" + bytes(7) + b"\x01a", "cut|a kind of value"),
        (b"{i\x01aZ}", "a count is of another kind"),
        (b"{L\x7f" + bytes(7) + b"aZ}", "a count beyond the end"),
        (b"{L" + bytes(7) + b"\x01\xff", "text that is none"),
        (b"{" + 2 * (b"L" + bytes(7) + b"\x01ai\x01") + b"}", "keys twice"),
        (
            b"{L" + bytes(7) + b"\x01a" + b"[#L" + bytes(7) + b"\x01" * 40,
            "too deep|a kind of value",
        ),
        (b"[#L" + bytes(7) + b"\x01" + 20 * (b"[#L" + bytes(7) + b"\x01"), "too deep"),
        (b"{L" + bytes(7) + b"\x01a[i", "an array without kind or count"),
        (b"{L" + bytes(7) + b"\x01a[$L#L" + bytes(7) + b"\x02abc}", "an array beyond the end"),
    ],
    ids=str,
)
def test_bytes_that_are_no_ubjson(raw: bytes, what: str) -> None:
    with pytest.raises(BundleError, match=rf"trees are not as XGBoost writes them \(({what})"):
        load_xgboost("XGBRegressor", {}, raw)


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"objective": "multi:softprob"}, "another objective"),
        ({"booster": "gblinear"}, "another booster"),
        ({"num_class": 5}, "another num_class"),
        ({"num_feature": 10**9}, "another num_feature"),
    ],
)
def test_parameters_that_are_not_those_of_the_trees(
    params: dict[str, Any], what: str, boosters: dict[str, bytes]
) -> None:
    with pytest.raises(BundleError, match=what):
        load_xgboost("XGBRegressor", params, boosters["numbers"])


# Trees of a newer version lose their base score under an older one, without a word.
@pytest.mark.parametrize(
    ("writer", "reader", "complaint"),
    [
        ((3, 2), "2.1.4", "lose their base score"),
        ((3, 2), "3.0.5", "lose their base score"),
        ((3, 2), "3.1.3", "lose their base score"),
        ((2, 1), "3.2.0", "lose their base score"),
        ((3, 1), "3.2.0", "lose their base score"),
        ((3, 3), "3.2.0", "may read them with other predictions"),
        ((4, 0), "3.9.1", "may read them with other predictions"),
        ((3, 2), "strange", "lose their base score"),
        ((3, 2), "3.2.1", None),
        ((3, 2), "3.10.0", None),
    ],
)
def test_pairs_of_versions_that_read_other_numbers(
    writer: tuple[int, int],
    reader: str,
    complaint: str | None,
    boosters: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = read_ubjson(boosters["numbers"])
    model["version"] = [*writer, 0]
    monkeypatch.setattr(xgboost, "__version__", reader)
    if complaint is None:
        load_xgboost("XGBRegressor", {}, write_ubjson(model))
        return
    with pytest.raises(BundleError, match=complaint):
        load_xgboost("XGBRegressor", {}, write_ubjson(model))


def test_trees_of_an_unknown_form_are_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    model = XGBRegressor(**PLAIN).fit(X, X[:, 0])
    with monkeypatch.context() as patch:
        patch.setattr(xgboost, "__version__", "3.1.0")
        with pytest.raises(BundleError, match="save: expected trees of XGBoost 3.2 or newer"):
            dump_xgboost(model)
    model.objective = "reg:gamma"
    with pytest.raises(BundleError, match=r"save: XGBRegressor writes its trees in a form"):
        dump_xgboost(model)
