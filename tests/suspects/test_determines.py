"""Columns that alone determine the target, and strong ones that honestly do not."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_iris, make_blobs

from asfusion._frames import Frame
from asfusion.encoders.infer import column_roles
from asfusion.encoders.judged import patient_numbers
from asfusion.suspects.determines import find_determiners
from asfusion.suspects.outcome import read_outcomes

N = 150


def found(X: Any, y: Any, groups: Any = None) -> dict[str, str]:
    frame = Frame.read(X)
    numbers = patient_numbers(groups, len(frame))
    suspects = find_determiners(
        frame,
        column_roles(frame),
        read_outcomes(y, len(frame)),
        np.arange(len(frame)) if numbers is None else numbers,
        is_grouped=numbers is not None,
    )
    return {suspect.column: suspect.evidence for suspect in suspects}


def honest(rng: np.random.Generator, n: int) -> dict[str, Any]:
    return {
        "crp": rng.gamma(2, 4, n).round(1),
        "years": rng.integers(18, 90, n),
        "sex": rng.choice(["f", "m"], n),
        "carrier": rng.random(n) < 0.3,
    }


@pytest.mark.parametrize("seed", range(4))
def test_copies_of_classes_are_found(df_module: ModuleType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = honest(rng, N)
    y = (X["crp"] + rng.normal(0, 3, N) > 6).astype(int)
    planted = {
        "copy": y,
        "float": y * 3.0 - 1,
        "log": np.log1p(y),
        "flag": y == 0,
        "text": np.where(y == 1, "admitted", "sent home"),
        "unit": np.where(y == 1, rng.choice(["A", "B"], N), rng.choice(["C", "D", "E"], N)),
        "ward": np.where(y == 1, rng.choice([3, 8, 11], N), rng.choice([1, 5, 9, 12], N)),
        "risk": y + rng.normal(0, 0.02, N),
        "days": np.where(y == 1, rng.integers(1, 30, N), np.nan),
    }
    table = df_module.DataFrame(X | planted)
    assert set(found(table, pd.Series(y, name="icu"))) == set(planted)
    assert found(df_module.DataFrame(X), y) == {}
    told = found(df_module.DataFrame(X | {"copy": y}), pd.Series(y, name="icu"))["copy"]
    assert told.startswith("alone it tells 'icu' (right in 100 % of rows that it was not learned")


def test_a_few_slips_of_the_pen_hide_no_copy() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    copy = np.where(rng.random(600) < 0.004, 1 - y, y).astype(float)
    copy[::7] = np.nan
    assert set(found(pd.DataFrame({"copy": copy}), y)) == {"copy"}


@pytest.mark.parametrize("seed", range(4))
def test_functions_of_numbers_are_found(df_module: ModuleType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = honest(rng, N)
    y = X["crp"] * 2 + rng.normal(0, 3, N)
    planted = {
        "copy": y,
        "exp": np.exp(y / 10),
        "cube": -(y**3),
        "rounded": y.round(1),
        "text": [f"{value:.4f}" for value in y],
        "upper": y > np.median(y),
        "thirds": np.searchsorted(np.quantile(y, [0.33, 0.67]), y),
    }
    assert set(found(df_module.DataFrame(X | planted), pd.Series(y, name="asdas"))) == set(planted)
    assert found(df_module.DataFrame(X), y) == {}


def test_joined_classes_are_found() -> None:
    rng = np.random.default_rng(0)
    y = rng.choice(["disc", "normal", "slip"], N)
    X = pd.DataFrame(
        honest(rng, N) | {"ill": y != "normal", "code": np.searchsorted(["e", "o"], y)}
    )
    assert found(X, y)["ill"] == "it is the target with classes joined"


def test_a_rule_of_one_measurement_is_found() -> None:
    rng = np.random.default_rng(0)
    X = honest(rng, 300)
    assert set(found(pd.DataFrame(X), X["crp"] > 8)) == {"crp"}
    assert set(found(pd.DataFrame(X), X["years"] >= 60)) == {"years"}


def test_what_parts_flowers_and_cells_well_is_honest() -> None:
    flowers = load_iris(as_frame=True)
    cells = load_breast_cancer(as_frame=True)
    some = flowers.target < 2
    assert found(flowers.data, flowers.target) == found(cells.data, cells.target) == {}
    assert found(flowers.data[some], flowers.target[some]) == {}
    assert found(flowers.data, flowers.target == 0) == {}


@pytest.mark.parametrize("apart", [3.0, 4.0, 6.0])
@pytest.mark.parametrize("seed", range(3))
def test_heaps_far_apart_are_honest(apart: float, seed: int) -> None:
    rng = np.random.default_rng([seed, int(apart)])
    for n in (60, 120, 400):
        y = rng.integers(0, 2, n)
        X = pd.DataFrame({f"marker_{k}": rng.normal(apart * y, 1.0) for k in range(8)})
        assert found(X.round(2), y) == {}


@pytest.mark.parametrize("seed", range(6))
def test_several_heaps_are_honest(seed: int) -> None:
    X, y = make_blobs(150, n_features=6, centers=3 + seed % 3, random_state=seed)
    assert found(pd.DataFrame(X).add_prefix("x"), y) == {}


def test_wide_tables_of_few_patients_agree_by_chance() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    X = pd.DataFrame(rng.integers(0, 3, (24, 3000)), columns=[f"rs{i}001" for i in range(3000)])
    assert found(X, y) == {}
    assert found(pd.DataFrame({"copy": y[:10]}), y[:10]) == {}


def test_a_patients_own_level_tells_nothing_of_others() -> None:
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(40), 5)
    y = rng.permutation(np.arange(40) % 2)[patient]
    ward = np.asarray([f"bed {p}" for p in patient])
    assert found(pd.DataFrame({"ward": ward}), y, patient) == {}
    assert set(found(pd.DataFrame({"ward": ward}), y)) == {"ward"}
