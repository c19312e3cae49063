"""Plain parts are read without skops, the others by one that is imported without all of sklearn."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils import all_estimators
from skops import io as skops

from asfusion.bundle import sklearn_parts
from asfusion.bundle._skops import estimators, skops_io
from asfusion.bundle._skops_reader import _is_number_type, is_estimator, is_plain
from asfusion.bundle._skops_schema import _nodes
from asfusion.bundle.sklearn_parts import TRUSTED, dump_skops, load_skops
from asfusion.bundle.xgboost_parts import is_xgboost
from tests.test_bundle_sklearn import PARTS, quietly_fitted

# What has a loss of compiled code, a generator, or a part of its own within.
_LEFT_TO_SKOPS = {
    "boosting", "histograms", "histograms of numbers", "with a generator", "MLP", "search",
}  # fmt: skip


def test_the_list_is_that_of_scikit_learn() -> None:
    assert estimators() == all_estimators()
    assert estimators("cluster") == all_estimators("cluster")


def test_it_is_left_as_it_was() -> None:
    skops_io()
    assert all_estimators.__module__ == "sklearn.utils.discovery"


def test_each_of_them_is_known_by_its_name_alone() -> None:
    listed = {f"{kind.__module__}.{kind.__name__}" for _, kind in all_estimators()}
    assert not [name for name in listed if not is_estimator(name)]


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "sklearn.base.BaseEstimator",
        "sklearn.base.ClassifierMixin",
        "sklearn.conftest.fixture",
        "sklearn.ensemble.RandomForestClassifier",  # not by its own module
        "sklearn.ensemble._forest.BaseForest",
        "sklearn.ensemble._nothing.RandomForestClassifier",
        "sklearn.no_such_module.Thing",
        "sklearn..ensemble.RandomForestClassifier",
        "sklearn.\0.RandomForestClassifier",
        "sklearn.ensemble/_forest.RandomForestClassifier",
        "sklearn.tests.test_base.MyEstimator",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "sklearn",
        "",
    ],
)
def test_nothing_else_is(name: str) -> None:
    assert not is_estimator(name)


def test_a_foreign_module_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("importlib.import_module", asked.append)
    for name in ("os.system", "sklearn.tests.x.Y", "sklearn.externals.x.Y", "sklearn.conftest.Y"):
        assert not is_estimator(name + "_")
    assert asked == []


def test_types_of_numbers_are_those_of_skops() -> None:
    from skops.io._trusted_types import NUMPY_DTYPE_TYPE_NAMES

    names = {f"numpy.{name}" for name in dir(np)}
    left = {"numpy.object_", "numpy.void"}
    assert {name for name in names if _is_number_type(name)} == set(NUMPY_DTYPE_TYPE_NAMES) - left


def _schema(raw: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return json.loads(archive.read("schema.json"))


def _plain(raw: bytes) -> bool:
    return is_plain(_schema(raw), _nodes(_schema(raw)), TRUSTED)


@pytest.mark.parametrize("name", sorted(PARTS))
def test_a_part_is_made_as_skops_makes_it(name: str) -> None:
    part, y = PARTS[name]
    if is_xgboost(part) or "XGB" in str(part):
        pytest.skip("goes another way")
    raw = dump_skops(quietly_fitted(copy.deepcopy(part), y))
    assert _plain(raw) == (name not in _LEFT_TO_SKOPS)
    own, theirs = load_skops(raw), skops.loads(raw, trusted=sorted(TRUSTED))
    if name not in _LEFT_TO_SKOPS:
        assert dump_skops(own) == dump_skops(theirs)


def test_types_of_arrays_and_keys_are_kept() -> None:
    part = RandomForestClassifier(2, class_weight={0: 1.0, 1: 2.0}, random_state=0)
    part.fit(np.eye(4), [0, 1, 0, 1])
    part.extra_ = {
        "cells": np.array(["a", None], dtype=object),
        "table": np.array([["a", 1], ["b", None]], dtype=object),
        "arrays": np.array([np.zeros(2), np.ones(2), None], dtype=object)[:2],
        "set": {1, 2},
        "tuple": (1.5, True, None, "x"),
        "scalar": np.float32(1.5),
        "dtype": np.float64,
        "shared": [part.classes_, part.classes_],
    }
    raw = sklearn_parts._without_addresses(skops.dumps(part))
    assert _plain(raw)
    again = load_skops(raw)
    extra = again.extra_
    assert again.class_weight == {0: 1.0, 1: 2.0}
    assert extra["cells"].tolist() == ["a", None]
    assert extra["table"].shape == (2, 2)
    assert [each.tolist() for each in extra["arrays"]] == [[0, 0], [1, 1]]
    assert extra["set"] == {1, 2} and extra["tuple"] == (1.5, True, None, "x")
    assert type(extra["scalar"]) is np.float32 and extra["dtype"] is np.float64
    assert extra["shared"][0] is extra["shared"][1] is again.classes_


@pytest.mark.parametrize("change", [{"protocol": 1}, {"protocol": True}, {"protocol": None}])
def test_another_protocol_is_left_to_skops(change: dict[str, Any]) -> None:
    raw = dump_skops(quietly_fitted(*_CASE))
    schema = _schema(raw) | change
    assert not is_plain(schema, _nodes(schema), TRUSTED)


_CASE = PARTS["logistic"]
