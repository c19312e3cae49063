"""A model knows its patients only together with the key."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import asfusion as af
from asfusion.exceptions import InputError
from asfusion.federated import remember_patients, was_learned_from

KEY, OTHER = b"k" * 32, b"o" * 16


@pytest.fixture(scope="module")
def model() -> Any:
    X = np.random.default_rng(0).normal(size=(40, 3))
    return af.EarlyFusionClassifier(verbose=0).fit(X, X[:, 0] > 0)


def test_a_saved_model_knows_whom_it_learned_from(model: Any, tmp_path: Path) -> None:
    remember_patients(model, pd.Series(["maria", "jose\u0301", "maria"]), KEY)
    remember_patients(model, [7, 8], OTHER)
    path = model.save(tmp_path / "model.asf")
    asked = ["jos\u00e9", " maria ", "zoe", "7"]
    assert was_learned_from(path, asked, KEY).tolist() == [True, True, False, False]
    assert was_learned_from(str(path), np.array([8.0, 9.0]), OTHER).tolist() == [True, False]
    assert was_learned_from(path, pl.Series([7, 1]), OTHER).tolist() == [True, False]
    assert was_learned_from(path, [], KEY).tolist() == []
    content = b"".join(file.read_bytes() for file in path.iterdir())
    assert b"maria" not in content
    assert KEY not in content
    assert sorted(len(one) for one in model.patients_.values()) == [2, 2]
    remember_patients(model, ["zoe"], KEY)  # more of the same hospital
    assert was_learned_from(model, asked, KEY)[:3].all()


def test_hashes_are_in_no_order_and_say_nothing_under_another_key(model: Any) -> None:
    asked = [([3, 1, 2], KEY), ([2, 3, 1], KEY), ([2, 3, 1], OTHER)]
    found = [remember_patients(fresh(model), *one).patients_ for one in asked]
    one, two, three = (next(iter(register.values())) for register in found)
    assert (one == two).all()
    assert not {row.tobytes() for row in one} & {row.tobytes() for row in three}
    assert found[0].keys() != found[2].keys()


def fresh(model: Any) -> Any:
    """Return a model that was told of nobody."""
    other = copy.copy(model)
    other.__dict__.pop("patients_", None)
    return other


def test_a_fit_forgets(model: Any) -> None:
    again = remember_patients(af.EarlyFusionClassifier(verbose=0).fit(*data()), [1], KEY)
    with pytest.raises(InputError, match="expected a model that was told of its patients"):
        was_learned_from(again.fit(*data()), [1], KEY)


def data() -> tuple[Any, Any]:
    X = np.random.default_rng(1).normal(size=(30, 2))
    return X, X[:, 0] > 0


@pytest.mark.parametrize(
    ("ids", "key", "why"),
    [
        ([1], b"another key, long enough", "key: expected the one by which"),
        ([1], b"short", "key: expected at least 16 bytes.*got 5"),
        ([1], "text", "key: expected at least 16 bytes.*got str"),
        ([1, None], KEY, "1 missing"),
        ([""], KEY, "got an empty one"),
        ([1.5], KEY, "got one of type float"),
        ("maria", KEY, "several identifiers, got a single one"),
    ],
)
def test_what_cannot_be_answered_is_said(ids: Any, key: Any, why: str) -> None:
    model = remember_patients(af.EarlyFusionClassifier(verbose=0).fit(*data()), [1], KEY)
    with pytest.raises(InputError, match=why):
        was_learned_from(model, ids, key)
